package state

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state/internal/lanes"
)

// ErrStream is wrapped when keys given to Build are too large or out of order.
var ErrStream = errors.New("not a stream of keys in path order")

// Leaf is a key and value with the hashes that [Prepare] has computed for them.
type Leaf struct {
	key, value []byte
	path, hash chain.Hash
}

// Prepare hashes a key and value, which it does not copy, on the way into
// [BuildLeaves]: half of the work of building, and any goroutine may do it.
func Prepare(key, value []byte) Leaf {
	path := PathOf(key)
	return Leaf{key: key, value: value, path: path, hash: hashLeaf(&path, value)}
}

// Unprepared is a leaf that a [Preparer] has yet to hash.
func Unprepared(key, value []byte) Leaf { return Leaf{key: key, value: value} }

// Preparer does what [Prepare] does for many leaves at a time, whose hashes are
// computed side by side. The zero value is ready; it belongs to one goroutine.
type Preparer struct {
	hasher lanes.Hasher
	leaves [][leafBytes]byte // what the hashes of the leaves are of
}

// Prepare hashes n leaves, which at gives.
func (p *Preparer) Prepare(n int, at func(i int) *Leaf) {
	p.leaves = slices.Grow(p.leaves[:0], n)[:n]
	for i := range n {
		l := at(i)
		p.hasher.Sum(l.key, (*[32]byte)(&l.path))
		p.hasher.Sum(l.value, (*[32]byte)(p.leaves[i][33:]))
	}
	p.hasher.Flush()
	for i := range n {
		l, msg := at(i), &p.leaves[i]
		msg[0] = leafKind
		copy(msg[1:], l.path[:])
		p.hasher.Sum(msg[:], (*[32]byte)(&l.hash))
	}
	p.hasher.Flush()
}

// Sums puts the SHA-256 of messages of any length into sums, which is as long: side
// by side, as the tree's nodes are hashed. It takes least time if the longest come first,
// and calls between now and then, for a caller who wants to let others run.
func Sums(messages [][]byte, sums [][32]byte, between func()) { lanes.Long(messages, sums, between) }

// Key, Value and Path are what was prepared, and where it is in the tree.
func (l *Leaf) Key() []byte      { return l.key }
func (l *Leaf) Value() []byte    { return l.value }
func (l *Leaf) Path() chain.Hash { return l.path }

// Build makes a tree from keys and values in strictly ascending path order, as
// [Tree.Ascend] gives them, with one hash per node.
func Build(seq iter.Seq2[[]byte, []byte]) (*Tree, error) {
	return BuildLeaves(prepared(seq))
}

func prepared(seq iter.Seq2[[]byte, []byte]) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		for key, value := range seq {
			if !yield(Prepare(key, value)) {
				return
			}
		}
	}
}

// BuildLeaves is [Build] from keys that are hashed already. Keys and values are
// copied.
func BuildLeaves(seq iter.Seq[Leaf]) (*Tree, error) {
	b := builder{tree: NewTree()}
	if err := b.addAll(seq); err != nil {
		return nil, err
	}
	b.tree.root = b.last
	return b.tree, nil
}

// RootOf is the root that [BuildLeaves] would come to, and the number of keys,
// without the memory of a tree.
func RootOf(seq iter.Seq[Leaf]) (root chain.Hash, keys int, err error) {
	var b builder
	err = b.addAll(seq)
	return b.last.hash, b.keys, err
}

// builder holds the right edge of the growing tree: subtrees that are complete
// and wait for what is right of them.
type builder struct {
	tree *Tree // nil: only the root is wanted
	keys int
	edge []waiting
	last link // the complete subtree right of the edge
	path chain.Hash
}

type waiting struct {
	left link
	bit  int
}

func (b *builder) addAll(seq iter.Seq[Leaf]) error {
	for l := range seq {
		if err := b.add(&l); err != nil {
			return fmt.Errorf("%w: key %d: %w", ErrStream, b.keys, err)
		}
	}
	b.fold(-1)
	return nil
}

func (b *builder) add(l *Leaf) error {
	if len(l.key) > MaxKeyBytes || len(l.value) > MaxValueBytes {
		return fmt.Errorf("key of %d bytes, value of %d, limits %d and %d", len(l.key), len(l.value), MaxKeyBytes, MaxValueBytes)
	}
	if b.keys > 0 {
		if comparePaths(&b.path, &l.path) >= 0 {
			return fmt.Errorf("path %s follows %s", l.path, b.path)
		}
		bit := diverge(&b.path, &l.path)
		b.fold(bit)
		b.edge = append(b.edge, waiting{b.last, bit})
	}
	b.last, b.path = link{b.record(l), l.hash}, l.path
	b.keys++
	return nil
}

// record stores a leaf and returns its reference.
func (b *builder) record(l *Leaf) uint32 {
	t := b.tree
	if t == nil {
		return 0
	}
	t.index.reserve(1)
	record := t.records.add(l.key, l.value)
	t.index.insert(tagOf(l.key), record)
	return leafBit | record
}

// fold joins what waits below bit: nothing more comes there.
func (b *builder) fold(bit int) {
	for n := len(b.edge); n > 0 && b.edge[n-1].bit > bit; n-- {
		w := b.edge[n-1]
		b.last = b.join(uint8(w.bit), w.left, b.last)
		b.edge = b.edge[:n-1]
	}
}

func (b *builder) join(bit uint8, left, right link) link {
	if b.tree == nil {
		return link{hash: hashNode(bit, &left.hash, &right.hash)}
	}
	ref := b.tree.nodes.alloc()
	n := b.tree.nodes.begin(ref, bit)
	n.child = [2]uint32{left.ref, right.ref}
	*n.hash(0), *n.hash(1) = left.hash, right.hash
	return link{ref, sha256.Sum256(n.msg[:])}
}
