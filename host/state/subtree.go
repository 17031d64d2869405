package state

import (
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state/internal/lanes"
)

// subtree is the work in one subtree. Two of them touch no common node.
//
// It goes over the tree twice. The first time it makes every node what it will be,
// except for the hashes, and notes for each hash that it owes where it belongs: in
// the parent. The second time it computes them, from the leaves up, one height after
// the other: hashes of one height do not depend on each other and fill all lanes.
type subtree struct {
	tree   *Tree
	freed  []uint32
	owed   []owed               // number 0 is none
	owing  [pathBits + 1]uint32 // by height, the last of owed
	height int                  // the greatest
	leaves [][leafBytes]byte    // what the hashes of the leaves are of
	hasher lanes.Hasher
}

// owed is a hash to be computed: of a leaf if there is a change, else of the node.
type owed struct {
	out    *chain.Hash
	change *Change
	node   uint32
	next   uint32 // of the same height
	height int
}

// place is where a parent holds a child.
type place struct {
	ref  *uint32
	hash *chain.Hash
}

// update brings the subtree at a place up to date; first is firstLeaving of ops.
func (u *subtree) update(at place, ops []op, first int) {
	u.warm(*at.ref, ops)
	u.apply(at, ops, first)
	u.hash()
}

// warm walks for several changes at once, so that the processor fetches their
// nodes from memory side by side; apply, which needs one after the other, then
// finds them near. It takes a fifth off a batch among 1 M keys.
func (u *subtree) warm(root uint32, ops []op) {
	for len(ops) > 0 {
		n := min(len(ops), walkers)
		u.tree.warmSome(root, ops[:n])
		ops = ops[n:]
	}
}

// walkers is the number of changes that go to memory side by side. More than a core
// has cache misses in flight do no harm, and hide what it takes to begin and end.
const walkers = 32

// warmSome returns what says nothing, but without it there would be less reading.
//
//go:noinline
func (t *Tree) warmSome(root uint32, ops []op) (sum byte) {
	var at [walkers]uint32
	for i := range ops {
		at[i] = root
	}
	for moved := true; moved; {
		moved = false
		for i := range ops {
			if at[i] != 0 && !isLeaf(at[i]) {
				n := t.nodes.at(at[i])
				at[i] = n.child[ops[i].bit(n.bit())]
				sum += n.msg[nodeBytes-1]
				moved = true
			}
		}
	}
	return sum
}

// apply makes the subtree at a place what it is after changes, of which there is at
// least one, and returns the number of its hash in owed, 0 if that is in place
// already. first is firstLeaving of ops.
func (u *subtree) apply(at place, ops []op, first int) uint32 {
	ref := *at.ref
	if ref == 0 {
		u.freed = append(u.freed, ops[0].spare)
		return u.grow(at, ops)
	}
	if len(ops) == 1 && first == pathBits {
		return u.applyOne(at, &ops[0])
	}
	if first < u.tree.bitBelow(ref) {
		return u.fork(at, ops, uint8(first))
	}
	if isLeaf(ref) {
		invariant.Broken("%d changes arrive at the leaf of record %d", len(ops), ref&^leafBit)
	}
	n := u.tree.nodes.at(ref)
	var number [2]uint32
	switch i := splitOps(ops, n.bit()); i {
	case 0:
		number[1] = u.apply(n.place(1), ops, first)
	case len(ops):
		number[0] = u.apply(n.place(0), ops, first)
	default:
		number[0] = u.apply(n.place(0), ops[:i], stillLeaving(first, ops[:i]))
		number[1] = u.apply(n.place(1), ops[i:], stillLeaving(first, ops[i:]))
	}
	return u.settle(at, ref, number)
}

// applyOne is apply for one change of a key that is there: what nearly every walk
// becomes somewhere on its way.
func (u *subtree) applyOne(at place, o *op) uint32 {
	ref := *at.ref
	if isLeaf(ref) {
		if o.old != ref&^leafBit {
			invariant.Broken("a change of record %d arrives at the leaf of record %d", o.old, ref&^leafBit)
		}
		return u.leaf(at, o)
	}
	n := u.tree.nodes.at(ref)
	side := o.bit(n.bit())
	var number [2]uint32
	number[side] = u.applyOne(n.place(side), o)
	return u.settle(at, ref, number)
}

// stillLeaving is firstLeaving of ops, which are some of those whose first that is:
// mostly there is none that leaves at all.
func stillLeaving(first int, ops []op) int {
	if first == pathBits {
		return first
	}
	return firstLeaving(ops)
}

// leaf puts what is left of one change at a place.
func (u *subtree) leaf(at place, o *op) uint32 {
	if o.record == 0 {
		*at.ref, *at.hash = 0, chain.Hash{}
		return 0
	}
	*at.ref = leafBit | o.record
	return u.owe(owed{out: at.hash, change: o.change})
}

// fork puts an inner node above a subtree where inserts leave it: all changes on
// the side of bit that the old tree is not on.
func (u *subtree) fork(at place, ops []op, bit uint8) uint32 {
	i := splitOps(ops, bit)
	fresh, rest, side := ops[:i], ops[i:], 0
	if i == 0 || int(ops[0].leaves) != int(bit) {
		fresh, rest, side = ops[i:], ops[:i], 1
	}
	n := u.tree.nodes.begin(fresh[0].spare, bit)
	old := n.place(1 - side)
	*old.ref, *old.hash = *at.ref, *at.hash
	var number [2]uint32
	number[side] = u.grow(n.place(side), fresh)
	if len(rest) > 0 {
		number[1-side] = u.apply(old, rest, firstLeaving(rest))
	}
	return u.settle(at, fresh[0].spare, number)
}

// grow builds a subtree from inserts alone. It takes the spare node of every one
// but the first, which its caller has a use for.
func (u *subtree) grow(at place, ops []op) uint32 {
	if len(ops) == 1 {
		return u.leaf(at, &ops[0])
	}
	bit := uint8(diverge(&ops[0].change.Path, &ops[len(ops)-1].change.Path))
	i := splitOps(ops, bit)
	n := u.tree.nodes.begin(ops[i].spare, bit)
	left, right := u.grow(n.place(0), ops[:i]), u.grow(n.place(1), ops[i:])
	return u.settle(at, ops[i].spare, [2]uint32{left, right})
}

// join settles the top of the tree when its parts are done.
func (u *subtree) join(p *part) uint32 {
	if p.node == 0 {
		return 0
	}
	return u.settle(p.at, p.node, [2]uint32{u.join(p.half[0]), u.join(p.half[1])})
}

// settle puts an inner node at a place, or, if one of its children is gone, the
// other. number is where their hashes are in owed.
func (u *subtree) settle(at place, ref uint32, number [2]uint32) uint32 {
	n := u.tree.nodes.at(ref)
	if n.child[0] != 0 && n.child[1] != 0 {
		*at.ref = ref
		return u.owe(owed{out: at.hash, node: ref, height: 1 + max(u.owed[number[0]].height, u.owed[number[1]].height)})
	}
	u.freed = append(u.freed, ref)
	side := 0
	if n.child[0] == 0 {
		side = 1
	}
	*at.ref = n.child[side]
	if number[side] == 0 {
		*at.hash = *n.hash(side)
	} else {
		u.owed[number[side]].out = at.hash
	}
	return number[side]
}

// owe notes a hash to be computed and returns its number.
func (u *subtree) owe(o owed) uint32 {
	number := uint32(len(u.owed))
	o.next, u.owing[o.height] = u.owing[o.height], number
	u.height = max(u.height, o.height)
	u.owed = append(u.owed, o)
	return number
}

// hash computes what is owed.
func (u *subtree) hash() {
	u.hashLeaves()
	for height := 1; height <= u.height; height++ {
		for i := u.owing[height]; i != 0; {
			o := &u.owed[i]
			u.hasher.Sum(u.tree.nodes.at(o.node).msg[:], (*[32]byte)(o.out))
			i = o.next
		}
		u.hasher.Flush()
	}
}

// hashLeaves first puts the hashes of the values where those of the leaves are of
// them. Both passes meet the leaves in the same order.
func (u *subtree) hashLeaves() {
	u.leaves = slices.Grow(u.leaves[:0], len(u.owed)) // moves no more
	for i := u.owing[0]; i != 0; i = u.owed[i].next {
		c, n := u.owed[i].change, len(u.leaves)
		u.leaves = u.leaves[:n+1]
		msg := &u.leaves[n]
		msg[0] = leafKind
		copy(msg[1:], c.Path[:])
		u.hasher.Sum(c.Value, (*[32]byte)(msg[33:]))
	}
	u.hasher.Flush()
	n := 0
	for i := u.owing[0]; i != 0; i = u.owed[i].next {
		u.hasher.Sum(u.leaves[n][:], (*[32]byte)(u.owed[i].out))
		n++
	}
	u.hasher.Flush()
}

// newSubtree returns one without work.
func newSubtree(t *Tree) *subtree {
	return &subtree{tree: t, owed: make([]owed, 1)}
}

// reset makes u ready for the next batch and lets go of what it points to.
func (u *subtree) reset() {
	if cap(u.owed) > maxScratchOwed {
		*u = *newSubtree(u.tree)
		return
	}
	clear(u.owing[:u.height+1])
	clear(u.owed)
	u.owed, u.freed, u.height = u.owed[:1], u.freed[:0], 0
	u.hasher = lanes.Hasher{}
}
