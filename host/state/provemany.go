package state

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state/proof"
)

// ErrProofSize is wrapped when a proof of many keys would be over its limits.
var ErrProofSize = errors.New("a proof of so many keys is too large")

// ProveMany proves what each of the keys is, present or absent, against
// [Tree.Root]: the one encoding that [proof.DecodeMulti] takes for them. Keys may
// be given in any order and more than once. The proof shares no memory with the
// tree.
func (t *Tree) ProveMany(keys [][]byte) ([]byte, error) {
	m := manyProver{tree: t, out: proof.AppendMulti(nil)}
	if t.root.ref == 0 {
		return proof.AppendEmpty(m.out), nil
	}
	if err := m.prove(t.root, pathsOf(keys)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProofSize, err)
	}
	return m.out, nil
}

// pathsOf is the path of every key, ascending, each once.
func pathsOf(keys [][]byte) []chain.Hash {
	paths := make([]chain.Hash, len(keys))
	for i, k := range keys {
		paths[i] = PathOf(k)
	}
	slices.SortFunc(paths, func(a, b chain.Hash) int { return comparePaths(&a, &b) })
	return slices.Compact(paths)
}

type manyProver struct {
	tree  *Tree
	out   []byte
	nodes int
}

// prove appends a subtree cut back to the walks for paths, all of which come by.
func (m *manyProver) prove(l link, paths []chain.Hash) error {
	if m.nodes++; m.nodes > proof.MaxMultiNodes || len(m.out) > proof.MaxMultiBytes-maxNodeBytes {
		return fmt.Errorf("%d nodes and %d bytes, limits %d and %d", m.nodes, len(m.out), proof.MaxMultiNodes, proof.MaxMultiBytes)
	}
	switch {
	case len(paths) == 0:
		m.out = proof.AppendHidden(m.out, (*[32]byte)(&l.hash))
		return nil
	case isLeaf(l.ref):
		m.leaf(l.ref, paths)
		return nil
	}
	n := m.tree.nodes.at(l.ref)
	m.out = proof.AppendInner(m.out, n.bit())
	cut := partition(paths, n.bit())
	if err := m.prove(n.link(0), paths[:cut]); err != nil {
		return err
	}
	return m.prove(n.link(1), paths[cut:])
}

// partition puts the paths with bit 0 first and returns how many they are. A walk
// looks at no other bits, so that order says nothing about this one.
func partition(paths []chain.Hash, bit uint8) (cut int) {
	for i := range paths {
		if bitOf(&paths[i], bit) == 0 {
			paths[cut], paths[i] = paths[i], paths[cut]
			cut++
		}
	}
	return cut
}

// maxNodeBytes is the longest encoding of one node.
const maxNodeBytes = 1 + 1 + MaxKeyBytes + 4 + MaxValueBytes

func (m *manyProver) leaf(ref uint32, paths []chain.Hash) {
	r := &m.tree.records
	key, value := r.key(ref&^leafBit), r.value(ref&^leafBit)
	path := PathOf(key)
	if slices.Contains(paths, path) {
		m.out = proof.AppendShown(m.out, key, value)
		return
	}
	sum := sha256.Sum256(value)
	m.out = proof.AppendOther(m.out, (*[32]byte)(&path), &sum)
}
