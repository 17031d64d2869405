package api

import "github.com/kaizenchain/kaizen/host/chain"

// Account is the answer of kaizen_getAccount. The module renders everything but
// Block; fields it adds later are ignored here.
type Account struct {
	Address     chain.Address `json:"address"`
	Balance     Amount        `json:"balance"`
	Locked      Amount        `json:"locked"` // in escrow of theses
	APIWallets  []APIWallet   `json:"api_wallets"`
	Permissions []string      `json:"permissions"` // admin, relayer, settler
	Blacklisted bool          `json:"blacklisted"`
	Block       BlockRef      `json:"block"`
}

// AccountTransactions is the answer of kaizen_getAccountTransactions.
type AccountTransactions struct {
	Transactions []AccountTransaction `json:"transactions"` // newest first
	// Next is the cursor to go on with, whether any were found or not; null: what is
	// older is not kept, or there is none.
	Next    *Bytes   `json:"next"`
	Scanned Scanned  `json:"scanned"`
	Block   BlockRef `json:"block"` // the newest when it began
}

// AccountTransaction is a transaction with its block's time, ms.
type AccountTransaction struct {
	Transaction
	Time uint64 `json:"time"`
}

// Scanned are the blocks that a call has looked at, of the last one perhaps a
// part; zero if there was nothing to look at.
type Scanned struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// APIWallet is a key that may sign for an account.
type APIWallet struct {
	Address chain.Address `json:"address"`
	Expiry  uint64        `json:"expiry"`  // ms; 0: never
	Expired bool          `json:"expired"` // at the block's time
}
