// Package wallet signs market transactions with a key at hand, as a wallet would:
// it owns the step from what a person wants to bytes that a write node takes.
//
// It imports the transaction types and host/secp; it must not send anything.
//
//	w := wallet.New(key)
//	raw, id, err := w.Sign(&tx.Transaction{From: w.Address, Timestamp: ms, Kind: tx.KindTransfer, …})
//
// A Wallet belongs to one goroutine.
package wallet

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Wallet is a key with what signing needs.
type Wallet struct {
	Address chain.Address
	key     *secp.Key
	hasher  tx.Hasher
}

// New makes a wallet.
func New(key *secp.Key) *Wallet { return &Wallet{Address: key.Address(), key: key} }

// Sign puts the signature into t and returns its encoding and its id.
func (w *Wallet) Sign(t *tx.Transaction) (raw []byte, id chain.Hash, err error) {
	err = w.hasher.Sign(secp.Keccak{}, t, func(digest *tx.Hash) (tx.Signature, error) {
		id = *digest
		return w.key.Sign(digest)
	})
	if err != nil {
		return nil, id, fmt.Errorf("sign transaction: %w", err)
	}
	return t.Append(nil), id, nil
}

// SignQuote is what a user gives to accept a quote: a signature of every term, as
// a wallet shows them.
func (w *Wallet) SignQuote(q *tx.Quote) (tx.Signature, error) {
	digest := w.hasher.QuoteDigest(secp.Keccak{}, q)
	sig, err := w.key.Sign(&digest)
	if err != nil {
		return sig, fmt.Errorf("sign quote: %w", err)
	}
	return sig, nil
}
