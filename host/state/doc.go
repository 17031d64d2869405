// Package state is the authenticated key-value state: [Overlay], the writes of a
// block that is open or waiting to be hashed; [Tree], the committed keys under a
// Merkle root; [Versions], the tree with the blocks it can go back. TREE.md
// beside this file shows every byte that is hashed and the encoding of proofs,
// which package host/state/proof checks without this one.
//
// It imports host/chain, host/invariant, host/state/proof and, to hash many nodes
// side by side, host/state/internal/lanes; it does no I/O, knows no clock and starts
// no goroutine (a caller lends its cores through [Runner]).
//
//	open overlay (block N+1) ─▶ frozen overlay (block N) ─▶ Tree (block N-1)
//	Get walks this chain; Versions.Commit(N, overlay.Changes()) hashes N into the
//	tree, after which the open overlay's SetParent(tree) drops the frozen one
//
// Concurrency. A tree has one writer: whoever calls Commit or Rollback. One other
// goroutine, the block executor, may call [Tree.Get] without a lock, even while
// Commit runs, but then only for keys that are not in the batch: it finds those
// in the frozen overlay above the tree. A Get that began before one Commit
// returned must be over before the next one starts, and none may meet a Rollback.
// Everything else, At, AscendAt, Prove, ProveMany, Ascend and AscendPaths included, and Get
// from any other goroutine, needs the caller's lock against Commit and Rollback. An overlay
// belongs to one goroutine until its last write; after that any number may read
// it.
//
// Memory. A key takes its record (4 bytes, key and value, rounded up by an eighth at
// most, or 16 bytes), an inner node of 76 bytes and 8 bytes in a table that is between
// an eighth and four fifths full. Of records and nodes at most an eighth is free, and
// some megabytes, whatever was written before: Commit moves what lies scattered, also
// records of keys that are not in the batch. What was moved or deleted stays whole
// where it was until the next Commit begins, for a reader who met it there.
package state

import (
	"crypto/sha256"
	"hash/maphash"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state/proof"
)

// Limits of a key and a value, bytes; the module contract has the same.
const (
	MaxKeyBytes   = proof.MaxKeyBytes
	MaxValueBytes = proof.MaxValueBytes
)

// View is a state that can be read. A value stays valid until the state is
// written.
type View interface {
	Get(key []byte) (value []byte, ok bool)
}

// Change is what a block does to one key.
type Change struct {
	Key    []byte
	Path   chain.Hash // PathOf(Key): where the key is in the tree
	Value  []byte     // nil if Delete
	Delete bool
}

// Runner executes jobs that do not depend on each other, in any order and on any
// number of goroutines, and returns when all are done. A nil Runner stands for
// one after the other.
type Runner func(jobs []func())

func (r Runner) do(jobs []func()) {
	if r != nil && len(jobs) > 1 {
		r(jobs)
		return
	}
	for _, job := range jobs {
		job()
	}
}

// PathOf is where a key is in the tree: its SHA-256.
func PathOf(key []byte) chain.Hash { return sha256.Sum256(key) }

// seed makes the places of keys in this process's hash tables unpredictable to
// whoever chooses keys. It never reaches a result: no table is ever iterated.
var seed = maphash.MakeSeed()

// tagOf is the 32 bits by which hash tables here find a key: the top bits choose
// the slot, so that a table can be grown from its entries alone.
func tagOf(key []byte) uint32 { return uint32(maphash.Bytes(seed, key) >> 32) }

func checkSizes(key, value []byte) {
	if len(key) > MaxKeyBytes || len(value) > MaxValueBytes {
		invariant.Broken("state key of %d bytes with a value of %d, limits %d and %d", len(key), len(value), MaxKeyBytes, MaxValueBytes)
	}
}
