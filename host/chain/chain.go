// Package chain holds the nouns of the chain and their one encoding: Genesis,
// Header, Block, Receipt, OracleSnapshot, tips, and the hashes that bind them.
// FORMAT.md beside this file shows every byte.
//
// A transaction is opaque here: what is inside belongs to the module that
// executes it. It imports the module contract's encoding primitives and nothing
// else of the project; it does no I/O and knows no clock.
//
//	Genesis ──▶ Block 0 ──parent──▶ Block 1 ──parent──▶ …
//	            Block = Header + OracleSnapshot + transactions
//	            Header commits to both, to the receipts and to the state after it
//
// Values may be shared between goroutines as long as nobody writes to them.
package chain

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Hash is a SHA-256 or Keccak-256 digest; Address an account, the last 20 bytes
// of the Keccak-256 of a public key.
type (
	Hash    [32]byte
	Address [20]byte
)

// Limits of one block; the module contract limits a single transaction.
const (
	// MaxBlockTxs bounds `block.max_txs_per_block`, transactions.
	MaxBlockTxs = 20_000
	// MaxBlockBytes bounds the encoding of a block, bytes: with its framing it
	// fits one sync frame of 4 MiB.
	MaxBlockBytes = 3 << 20
	// MaxBlockResultBytes is the size of a block's results at which its writer
	// seals it, bytes. One more receipt may come on top.
	MaxBlockResultBytes = 32 << 20
	// MaxMarkets bounds the prices of one oracle snapshot.
	MaxMarkets = 256
	// MaxGenesisBytes bounds an encoded genesis document, bytes: it fits one sync
	// frame.
	MaxGenesisBytes = 3 << 20
)

// ErrMalformed is the error of every decoder here: the bytes are not an encoding
// of the noun. It is wrapped with which noun, and why where that is known.
var ErrMalformed = errors.New("malformed encoding")

func malformed(what string) error { return fmt.Errorf("%s: %w", what, ErrMalformed) }

// String is 0x and lower-case hex.
func (h Hash) String() string { return "0x" + hex.EncodeToString(h[:]) }

// Short is the first four bytes, for a status line.
func (h Hash) Short() string { return hex.EncodeToString(h[:4]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText accepts 0x and 64 hex digits.
func (h *Hash) UnmarshalText(b []byte) error { return unhex("hash", h[:], string(b)) }

// ParseHash reads 0x and 64 hex digits.
func ParseHash(s string) (h Hash, err error) { return h, unhex("hash", h[:], s) }

// String is 0x and lower-case hex.
func (a Address) String() string { return "0x" + hex.EncodeToString(a[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText accepts 0x and 40 hex digits of either case.
func (a *Address) UnmarshalText(b []byte) error { return unhex("address", a[:], string(b)) }

// ParseAddress reads 0x and 40 hex digits of either case.
func ParseAddress(s string) (a Address, err error) { return a, unhex("address", a[:], s) }

func unhex(what string, dst []byte, s string) error {
	digits, found := strings.CutPrefix(s, "0x")
	if !found || len(digits) != 2*len(dst) {
		return fmt.Errorf("%s %.80q: want 0x and %d hex digits", what, s, 2*len(dst))
	}
	if _, err := hex.Decode(dst, []byte(digits)); err != nil {
		return fmt.Errorf("%s %.80q: %w", what, s, err)
	}
	return nil
}

// BlockID names a block; BatchID a batch; TipID a tip of one of the three tiers
// above proposed (S-03).
type (
	BlockID struct {
		Number uint64 `json:"number"`
		Hash   Hash   `json:"hash"`
	}
	BatchID struct {
		Number uint64 `json:"number"`
		Hash   Hash   `json:"hash"`
	}
	TipID struct {
		Block BlockID `json:"block"`
		Batch BatchID `json:"batch"`
	}
)

// Tips are the four tiers, read at one instant (S-01):
// finalized <= proven <= checkpointed <= proposed by block number (S-02).
type Tips struct {
	Proposed     BlockID `json:"proposed"`
	Checkpointed TipID   `json:"checkpointed"`
	Proven       TipID   `json:"proven"`
	Finalized    TipID   `json:"finalized"`
}

// BatchOf is the batch that a block forms alone (batch.mode = block, requirements
// section 6, item 1): batch number and hash are those of the block.
func BatchOf(b BlockID) TipID { return TipID{Block: b, Batch: BatchID(b)} }

// LocalTips is what a chain with one sequencer reports: everything durable is
// final (D-2, finality = local).
func LocalTips(durable BlockID) Tips {
	t := BatchOf(durable)
	return Tips{Proposed: durable, Checkpointed: t, Proven: t, Finalized: t}
}
