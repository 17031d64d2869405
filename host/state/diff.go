package state

import "github.com/kaizenchain/kaizen/host/chain"

// Difference is a key that two states do not have alike.
type Difference struct {
	Key   []byte
	Value [2][]byte // in each of the two; nil if absent
	In    [2]bool
}

// FirstDifference is the first key in path order that two trees do not have alike;
// false if they are equal. It goes where hashes differ and nowhere else. The slices
// are the trees' own.
func FirstDifference(a, b *Tree) (Difference, bool) {
	return pair{a, b}.first(a.root, b.root)
}

// pair is two trees that are compared.
type pair [2]*Tree

func (p pair) first(a, b link) (Difference, bool) {
	switch {
	case a.hash == b.hash:
		return Difference{}, false
	case a.ref == 0:
		return p.only(1, b), true
	case b.ref == 0:
		return p.only(0, a), true
	}
	near := [2]chain.Hash{p[0].leafPath(p[0].walk(a.ref, &chain.Hash{})), p[1].leafPath(p[1].walk(b.ref, &chain.Hash{}))}
	bits := [2]int{p[0].bitBelow(a.ref), p[1].bitBelow(b.ref)}
	links := [2]link{a, b}
	switch apart := diverge(&near[0], &near[1]); {
	case apart < min(bits[0], bits[1]): // they have nothing in common
		side := bitOf(&near[0], uint8(apart))
		return p.only(side, links[side]), true
	case bits[0] == bits[1] && bits[0] == pathBits:
		return p.both(a.ref, b.ref), true
	case bits[0] == bits[1]:
		return p.inner(p[0].nodes.at(a.ref), p[1].nodes.at(b.ref))
	case bits[0] < bits[1]:
		return p.below(0, p[0].nodes.at(a.ref), links, &near[1])
	}
	return p.below(1, p[1].nodes.at(b.ref), links, &near[0])
}

// inner compares two nodes on one bit.
func (p pair) inner(a, b *node) (Difference, bool) {
	if d, found := p.first(a.link(0), b.link(0)); found {
		return d, true
	}
	return p.first(a.link(1), b.link(1))
}

// below compares a node of one tree with what the other has on one side of it.
func (p pair) below(tree int, n *node, links [2]link, near *chain.Hash) (Difference, bool) {
	side := bitOf(near, n.bit())
	if side == 1 {
		return p.only(tree, n.link(0)), true
	}
	links[tree] = n.link(0)
	if d, found := p.first(links[0], links[1]); found {
		return d, true
	}
	return p.only(tree, n.link(1)), true
}

// only is the first key of a subtree that one tree has alone.
func (p pair) only(tree int, l link) (d Difference) {
	t := p[tree]
	ref := t.walk(l.ref, &chain.Hash{}) &^ leafBit
	d.Key, d.Value[tree], d.In[tree] = t.records.key(ref), t.records.value(ref), true
	return d
}

// both is one key with two values.
func (p pair) both(a, b uint32) Difference {
	a, b = a&^leafBit, b&^leafBit
	return Difference{Key: p[0].records.key(a), Value: [2][]byte{p[0].records.value(a), p[1].records.value(b)}, In: [2]bool{true, true}}
}
