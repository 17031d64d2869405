package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state/proof"
)

// Tree is a set of keys and values under a Merkle root (TREE.md): a binary
// Patricia tree over the SHA-256 of the keys. The package comment says who may
// call what at the same time.
type Tree struct {
	records records
	index   index
	nodes   nodes
	root    link
	scratch scratch
}

// link is a child as its parent holds it: hashes live with the parent, so that
// hashing a path reads no sibling.
type link struct {
	ref  uint32 // leafBit | record, or the number of an inner node, or 0 for nothing
	hash chain.Hash
}

const leafBit = 1 << 31

func isLeaf(ref uint32) bool { return ref&leafBit != 0 }

// node is an inner node: what is below it agrees on all bits before its own. It
// holds what its hash is of as it is hashed, see TREE.md: the hasher reads it in
// place. Child and bit, all that a walk needs, are next to each other.
type node struct {
	child [2]uint32
	msg   [nodeBytes]byte // innerKind, bit, hash of the left child, of the right
}

// Messages of TREE.md: the first byte, and the length.
const (
	leafKind  = 0
	innerKind = 1
	leafBytes = 1 + 32 + 32
	nodeBytes = 2 + 32 + 32
)

func (n *node) bit() uint8 { return n.msg[1] }

func (n *node) hash(side int) *chain.Hash { return (*chain.Hash)(n.msg[2+32*side:]) }

func (n *node) link(side int) link { return link{n.child[side], *n.hash(side)} }

func (n *node) place(side int) place { return place{&n.child[side], n.hash(side)} }

// nodes is an arena of inner nodes. Number 0 stands for none.
type nodes struct {
	chunks [][]node
	next   uint32
	free   []uint32 // and numbers that are not below next any more
	churn  int      // freed since the batch began
}

const (
	chunkNodes = 1 << 12
	unusedKind = 0xff // in place of innerKind: of a free node
)

func (a *nodes) at(ref uint32) *node { return &a.chunks[ref/chunkNodes][ref%chunkNodes] }

// begin returns node ref for a bit, without children.
func (a *nodes) begin(ref uint32, bit uint8) *node {
	n := a.at(ref)
	*n = node{}
	n.msg[0], n.msg[1] = innerKind, bit
	return n
}

func (a *nodes) alloc() uint32 {
	for last := len(a.free) - 1; last >= 0; last-- {
		ref := a.free[last]
		a.free = a.free[:last]
		if ref < a.next {
			return ref
		}
	}
	if a.next%chunkNodes == 0 {
		a.chunks = append(a.chunks, make([]node, chunkNodes))
		a.next = max(a.next, 1)
	}
	ref := a.next
	if ref >= leafBit {
		invariant.Broken("state is full: %d inner nodes", ref)
	}
	a.next++
	return ref
}

// release frees nodes.
func (a *nodes) release(refs []uint32) {
	for _, ref := range refs {
		a.at(ref).msg[0] = unusedKind
	}
	a.free = append(a.free, refs...)
	a.churn += len(refs)
}

// recycle begins a batch and returns how many nodes the one before freed.
func (a *nodes) recycle() (churn int) {
	churn, a.churn = a.churn, 0
	return churn
}

// tooFree reports that more nodes are free than may be, if so many are not.
func (a *nodes) tooFree(live int) bool {
	return int(a.next)-1-live > int(a.next)/freeShare+chunkNodes
}

// dropLast makes the arena end before its last node, which is not in use.
func (a *nodes) dropLast() {
	a.next--
	if a.next%chunkNodes > 0 {
		return
	}
	last := len(a.chunks) - 1
	a.chunks[last] = nil
	a.chunks = a.chunks[:last]
	if len(a.free) > int(a.next) { // most of them are beyond it
		a.free = slices.Clone(slices.DeleteFunc(a.free, func(ref uint32) bool { return ref >= a.next }))
	}
}

// NewTree returns a tree without keys.
func NewTree() *Tree {
	t := new(Tree)
	t.records.init()
	t.index.init(&t.records)
	return t
}

// Len is the number of keys.
func (t *Tree) Len() int { return t.index.keys }

// Root is the hash of the whole, all zero if there is no key.
func (t *Tree) Root() chain.Hash { return t.root.hash }

// Get returns the value of key, valid until the next Commit.
func (t *Tree) Get(key []byte) ([]byte, bool) {
	r, _ := t.index.find(key, tagOf(key))
	if r == 0 {
		return nil, false
	}
	return t.records.value(r), true
}

// leafPath is the path of a leaf, hashed anew: to keep it would cost 32 bytes
// for every key.
func (t *Tree) leafPath(ref uint32) chain.Hash { return PathOf(t.records.key(ref &^ leafBit)) }

// walk returns the leaf that the bits of path lead to from ref, which is not 0.
func (t *Tree) walk(ref uint32, path *chain.Hash) uint32 {
	for !isLeaf(ref) {
		n := t.nodes.at(ref)
		ref = n.child[bitOf(path, n.bit())]
	}
	return ref
}

// bitOf of TREE.md: bit i counted from the most significant of the first byte.
func bitOf(path *chain.Hash, i uint8) int { return proof.Bit((*[32]byte)(path), i) }

// pathBits is the number of bits in a path: what diverge returns for equals.
const pathBits = 256

// diverge returns the first bit in which two paths differ.
func diverge(a, b *chain.Hash) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return pathBits
}

func hashLeaf(path *chain.Hash, value []byte) chain.Hash {
	sum := sha256.Sum256(value)
	return proof.HashLeaf((*[32]byte)(path), &sum)
}

func hashNode(bit uint8, left, right *chain.Hash) chain.Hash {
	return proof.HashNode(bit, (*[32]byte)(left), (*[32]byte)(right))
}

// comparePaths orders two paths.
func comparePaths(a, b *chain.Hash) int { return bytes.Compare(a[:], b[:]) }

// prefixOf is a path's first bits as a number: in the same order.
func prefixOf(path *chain.Hash) uint64 { return binary.BigEndian.Uint64(path[:8]) }
