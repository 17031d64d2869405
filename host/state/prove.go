package state

import (
	"bytes"
	"crypto/sha256"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state/proof"
)

// Prove proves what key is, against [Tree.Root]. The proof shares no memory with
// the tree.
func (t *Tree) Prove(key []byte) proof.Proof { return t.proveAfter(nil, key) }

// proveAfter proves what key would be if changes, in path order, were applied.
// It only reads the tree.
func (t *Tree) proveAfter(changes []Change, key []byte) proof.Proof {
	pr := prover{tree: t, path: PathOf(key)}
	pr.prove(t.sub(t.root), changes, 0)
	return pr.proof
}

type prover struct {
	tree  *Tree
	path  chain.Hash
	proof proof.Proof
}

// sub is a subtree and the path of one of its leaves.
type sub struct {
	link
	near chain.Hash
}

func (t *Tree) sub(l link) sub {
	if l.ref == 0 {
		return sub{}
	}
	leaf := l.ref
	for !isLeaf(leaf) {
		leaf = t.nodes.at(leaf).child[0]
	}
	return sub{l, t.leafPath(leaf)}
}

// halves divides a subtree, whose leaves agree on all bits before bit.
func (t *Tree) halves(s sub, bit uint8) (half [2]sub) {
	if t.bitBelow(s.ref) != int(bit) {
		half[bitOf(&s.near, bit)] = s
		return half
	}
	n := t.nodes.at(s.ref)
	for i := range half {
		half[i] = t.sub(n.link(i))
	}
	return half
}

// decides reports that the one change is all there is to know about s.
func (s *sub) decides(changes []Change) bool {
	return len(changes) == 1 && (s.ref == 0 || isLeaf(s.ref) && s.near == changes[0].Path)
}

// after is the subtree's hash once changes are applied; false if nothing is left.
func (t *Tree) after(s sub, changes []Change, bit int) (chain.Hash, bool) {
	switch {
	case len(changes) == 0:
		return s.hash, s.ref != 0
	case s.decides(changes):
		c := &changes[0]
		return hashLeaf(&c.Path, c.Value), !c.Delete
	}
	hash, ok := t.halvesAfter(s, changes, bit)
	switch {
	case !ok[0]:
		return hash[1], ok[1]
	case !ok[1]:
		return hash[0], true
	}
	return hashNode(uint8(bit), &hash[0], &hash[1]), true
}

func (t *Tree) halvesAfter(s sub, changes []Change, bit int) (hash [2]chain.Hash, ok [2]bool) {
	half, cut := t.halves(s, uint8(bit)), splitChanges(changes, uint8(bit))
	hash[0], ok[0] = t.after(half[0], changes[:cut], bit+1)
	hash[1], ok[1] = t.after(half[1], changes[cut:], bit+1)
	return hash, ok
}

// prove walks by the bits of the path through the tree as it would be.
func (p *prover) prove(s sub, changes []Change, bit int) {
	if len(changes) == 0 {
		p.proveStored(s.ref)
		return
	}
	if s.decides(changes) {
		if c := &changes[0]; !c.Delete {
			p.end(&c.Path, c.Value)
		}
		return
	}
	hash, ok := p.tree.halvesAfter(s, changes, bit)
	side := bitOf(&p.path, uint8(bit))
	switch {
	case ok[0] && ok[1]:
		p.proof.Steps = append(p.proof.Steps, proof.Step{Bit: uint8(bit), Sibling: hash[1-side]})
	case ok[1-side]:
		side = 1 - side
	case !ok[side]:
		return
	}
	cut := splitChanges(changes, uint8(bit))
	p.prove(p.tree.halves(s, uint8(bit))[side], [2][]Change{changes[:cut], changes[cut:]}[side], bit+1)
}

// proveStored walks through a subtree that no change is in.
func (p *prover) proveStored(ref uint32) {
	if ref == 0 {
		return
	}
	for !isLeaf(ref) {
		n := p.tree.nodes.at(ref)
		side := bitOf(&p.path, n.bit())
		p.proof.Steps = append(p.proof.Steps, proof.Step{Bit: n.bit(), Sibling: *n.hash(1 - side)})
		ref = n.child[side]
	}
	path := p.tree.leafPath(ref)
	p.end(&path, p.tree.records.value(ref&^leafBit))
}

// end puts the leaf that the walk arrived at into the proof.
func (p *prover) end(path *chain.Hash, value []byte) {
	if *path == p.path {
		p.proof.Kind, p.proof.Value = proof.Present, bytes.Clone(value)
		return
	}
	p.proof.Kind, p.proof.Path, p.proof.ValueHash = proof.Other, *path, sha256.Sum256(value)
}

func splitChanges(changes []Change, bit uint8) int {
	lo, hi := 0, len(changes)
	for lo < hi {
		if mid := (lo + hi) / 2; bitOf(&changes[mid].Path, bit) == 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
