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

// APIWallet is a key that may sign for an account.
type APIWallet struct {
	Address chain.Address `json:"address"`
	Expiry  uint64        `json:"expiry"`  // ms; 0: never
	Expired bool          `json:"expired"` // at the block's time
}
