package state

import (
	"errors"
	"fmt"
	"iter"

	"github.com/kaizenchain/kaizen/host/chain"
)

// ErrStream is wrapped when keys given to Build are too large or out of order.
var ErrStream = errors.New("not a stream of keys in path order")

// Build makes a tree from keys and values in strictly ascending path order, as
// [Tree.Ascend] gives them, with one hash per node.
func Build(seq iter.Seq2[[]byte, []byte]) (*Tree, error) {
	b := builder{tree: NewTree()}
	for key, value := range seq {
		if err := b.add(key, value); err != nil {
			return nil, fmt.Errorf("%w: key %d: %w", ErrStream, b.tree.Len(), err)
		}
	}
	b.fold(-1)
	b.tree.root = b.last
	return b.tree, nil
}

// builder holds the right edge of the growing tree: subtrees that are complete
// and wait for what is right of them.
type builder struct {
	tree *Tree
	edge []waiting
	last link // the complete subtree right of the edge
	path chain.Hash
}

type waiting struct {
	left link
	bit  int
}

func (b *builder) add(key, value []byte) error {
	if len(key) > MaxKeyBytes || len(value) > MaxValueBytes {
		return fmt.Errorf("key of %d bytes, value of %d, limits %d and %d", len(key), len(value), MaxKeyBytes, MaxValueBytes)
	}
	path := PathOf(key)
	if b.last.ref != 0 {
		if comparePaths(&b.path, &path) >= 0 {
			return fmt.Errorf("path %s follows %s", path, b.path)
		}
		bit := diverge(&b.path, &path)
		b.fold(bit)
		b.edge = append(b.edge, waiting{b.last, bit})
	}
	b.last, b.path = b.leaf(path, key, value), path
	return nil
}

func (b *builder) leaf(path chain.Hash, key, value []byte) link {
	t := b.tree
	t.index.reserve(1)
	record := t.records.add(key, value)
	t.index.insert(tagOf(key), record)
	return link{leafBit | record, hashLeaf(&path, value)}
}

// fold joins what waits below bit: nothing more comes there.
func (b *builder) fold(bit int) {
	u := subtree{tree: b.tree}
	for n := len(b.edge); n > 0 && b.edge[n-1].bit > bit; n-- {
		w := b.edge[n-1]
		b.last = u.join(b.tree.nodes.alloc(), uint8(w.bit), w.left, b.last)
		b.edge = b.edge[:n-1]
	}
}
