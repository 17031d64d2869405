package state

import (
	"bytes"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
)

// op is one change on its way into the tree.
type op struct {
	change *Change
	tag    uint32
	slot   uint32 // of the index, if the key is present
	old    uint32 // record before the change, 0 if absent
	record uint32 // record after it, 0 if absent
	spare  uint32 // inner node for an insert
	leaves uint16 // insert: the bit at which its path leaves the old tree; otherwise pathBits
}

const (
	// minJobOps is the least number of changes worth a job of their own.
	minJobOps = 128
	// splitDepth bounds the jobs of one batch: subtrees this many levels below
	// the root.
	splitDepth = 4
)

// Commit applies changes, in strictly ascending path order, and returns the new
// root and what takes the batch back. The root does not depend on run.
func (t *Tree) Commit(changes []Change, run Runner) (chain.Hash, *Undo) {
	for i := 1; i < len(changes); i++ {
		invariant.Hold(comparePaths(&changes[i-1].Path, &changes[i].Path) < 0, "change %d of a batch is out of path order", i)
	}
	t.records.recycle()
	ops := make([]op, len(changes))
	t.resolve(ops, changes, run)
	ops, undo := t.store(ops)
	t.rehash(ops, run)
	return t.root.hash, undo
}

// resolve finds what each change replaces; it only reads the tree.
func (t *Tree) resolve(ops []op, changes []Change, run Runner) {
	var jobs []func()
	for lo := 0; lo < len(ops); lo += minJobOps {
		part, of := ops[lo:min(lo+minJobOps, len(ops))], changes[lo:]
		jobs = append(jobs, func() {
			for i := range part {
				t.resolveOne(&part[i], &of[i])
			}
		})
	}
	run.do(jobs)
}

func (t *Tree) resolveOne(o *op, c *Change) {
	o.change, o.tag, o.leaves = c, tagOf(c.Key), pathBits
	o.old, o.slot = t.index.find(c.Key, o.tag)
	if o.old == 0 && !c.Delete && t.root.ref != 0 {
		near := t.leafPath(t.walk(t.root.ref, &c.Path))
		o.leaves = uint16(diverge(&c.Path, &near))
	}
}

// store brings records and index up to date, from where Get reads them, and
// drops the changes that change nothing.
func (t *Tree) store(ops []op) ([]op, *Undo) {
	undo, inserts := newUndo(ops, &t.records), 0
	for i := range ops {
		if ops[i].old == 0 {
			inserts++
		}
	}
	if t.index.reserve(inserts) {
		for i := range ops {
			_, ops[i].slot = t.index.find(ops[i].change.Key, ops[i].tag)
		}
	}
	kept := ops[:0]
	for i := range ops {
		o := &ops[i]
		if t.unchanged(o) {
			continue
		}
		undo.add(o, &t.records)
		t.storeOne(o)
		kept = append(kept, *o)
	}
	return kept, undo
}

func (t *Tree) unchanged(o *op) bool {
	if o.old == 0 || o.change.Delete {
		return o.old == 0 && o.change.Delete
	}
	return bytes.Equal(t.records.value(o.old), o.change.Value)
}

func (t *Tree) storeOne(o *op) {
	c := o.change
	checkSizes(c.Key, c.Value)
	switch {
	case c.Delete:
		t.index.remove(o.slot)
		t.records.release(o.old)
	case o.old == 0:
		o.record, o.spare = t.records.add(c.Key, c.Value), t.nodes.alloc()
		t.index.insert(o.tag, o.record)
	case classOf(len(c.Key), len(c.Value)) == classOf(len(c.Key), len(t.records.value(o.old))):
		o.record = o.old
		t.records.setValue(o.record, c.Value)
	default:
		o.record = t.records.add(c.Key, c.Value)
		t.index.move(o.slot, o.tag, o.record)
		t.records.release(o.old)
	}
}

// rehash brings the inner nodes and the root up to date: the top of the tree is
// divided into subtrees, which are independent jobs, and then joined.
func (t *Tree) rehash(ops []op, run Runner) {
	if len(ops) == 0 {
		return
	}
	var jobs []func()
	top := t.divide(t.root, ops, splitDepth, &jobs)
	run.do(jobs)
	t.root = t.join(top)
}

// part is a subtree and the changes in it: either a job, or an inner node and
// its two parts.
type part struct {
	work subtree
	out  link
	node uint32
	half [2]*part
}

func (t *Tree) divide(in link, ops []op, depth int, jobs *[]func()) *part {
	p := &part{work: subtree{tree: t}, out: in}
	if len(ops) == 0 {
		return p
	}
	if depth == 0 || len(ops) < minJobOps || in.ref == 0 || isLeaf(in.ref) || firstLeaving(ops) < t.bitBelow(in.ref) {
		*jobs = append(*jobs, func() {
			p.work.warm(in.ref, ops)
			p.out = p.work.apply(in, ops)
		})
		return p
	}
	n := t.nodes.at(in.ref)
	p.node = in.ref
	i := splitOps(ops, n.bit)
	p.half[0] = t.divide(link{n.child[0], n.hash[0]}, ops[:i], depth-1, jobs)
	p.half[1] = t.divide(link{n.child[1], n.hash[1]}, ops[i:], depth-1, jobs)
	return p
}

func (t *Tree) join(p *part) link {
	if p.node != 0 {
		p.out = p.work.join(p.node, t.nodes.at(p.node).bit, t.join(p.half[0]), t.join(p.half[1]))
	}
	t.nodes.free = append(t.nodes.free, p.work.freed...)
	return p.out
}

// bitBelow is the bit that ref decides on, pathBits for a leaf or nothing.
func (t *Tree) bitBelow(ref uint32) int {
	if ref == 0 || isLeaf(ref) {
		return pathBits
	}
	return int(t.nodes.at(ref).bit)
}

// firstLeaving is the first bit at which any of the changes leaves the old tree.
func firstLeaving(ops []op) int {
	first := uint16(pathBits)
	for i := range ops {
		first = min(first, ops[i].leaves)
	}
	return int(first)
}

// splitOps returns the number of changes on the left of bit, given that they
// agree on all bits before it.
func splitOps(ops []op, bit uint8) int {
	lo, hi := 0, len(ops)
	for lo < hi {
		if mid := (lo + hi) / 2; bitOf(&ops[mid].change.Path, bit) == 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// subtree is the work in one subtree. Two of them touch no common node.
type subtree struct {
	tree  *Tree
	freed []uint32
}

// warm walks for several changes at once, so that the processor fetches their
// nodes from memory side by side; apply, which needs one after the other, then
// finds them near. It takes a fifth off a batch among 1 M keys.
func (u *subtree) warm(root uint32, ops []op) {
	for len(ops) > 0 {
		n := min(len(ops), walkers)
		u.warmSome(root, ops[:n])
		ops = ops[n:]
	}
}

// walkers is about the number of cache misses a core has in flight.
const walkers = 8

func (u *subtree) warmSome(root uint32, ops []op) {
	var at [walkers]uint32
	for i := range ops {
		at[i] = root
	}
	for moved := true; moved; {
		moved = false
		for i := range ops {
			if at[i] != 0 && !isLeaf(at[i]) {
				n := u.tree.nodes.at(at[i])
				at[i] = n.child[bitOf(&ops[i].change.Path, n.bit)]
				moved = true
			}
		}
	}
}

// apply returns the subtree after changes, of which there is at least one.
func (u *subtree) apply(in link, ops []op) link {
	if in.ref == 0 {
		u.freed = append(u.freed, ops[0].spare)
		return u.grow(ops)
	}
	bit := u.tree.bitBelow(in.ref)
	if first := firstLeaving(ops); first < bit {
		return u.fork(in, ops, uint8(first))
	}
	if isLeaf(in.ref) {
		invariant.Hold(len(ops) == 1 && ops[0].old == in.ref&^leafBit, "%d changes arrive at the leaf of record %d", len(ops), in.ref&^leafBit)
		return leafAfter(&ops[0])
	}
	n := u.tree.nodes.at(in.ref)
	i := splitOps(ops, n.bit)
	half := [2]link{{n.child[0], n.hash[0]}, {n.child[1], n.hash[1]}}
	if i > 0 {
		half[0] = u.apply(half[0], ops[:i])
	}
	if i < len(ops) {
		half[1] = u.apply(half[1], ops[i:])
	}
	return u.join(in.ref, n.bit, half[0], half[1])
}

func leafAfter(o *op) link {
	if o.record == 0 {
		return link{}
	}
	return link{leafBit | o.record, hashLeaf(&o.change.Path, o.change.Value)}
}

// fork puts an inner node above a subtree where inserts leave it: all changes on
// the side of bit that the old tree is not on.
func (u *subtree) fork(in link, ops []op, bit uint8) link {
	i := splitOps(ops, bit)
	fresh, rest, side := ops[:i], ops[i:], 0
	if i == 0 || int(ops[0].leaves) != int(bit) {
		fresh, rest, side = ops[i:], ops[:i], 1
	}
	var half [2]link
	half[side], half[1-side] = u.grow(fresh), in
	if len(rest) > 0 {
		half[1-side] = u.apply(in, rest)
	}
	return u.join(fresh[0].spare, bit, half[0], half[1])
}

// grow builds a subtree from inserts alone. It takes the spare node of every one
// but the first, which its caller has a use for.
func (u *subtree) grow(ops []op) link {
	if len(ops) == 1 {
		return leafAfter(&ops[0])
	}
	bit := uint8(diverge(&ops[0].change.Path, &ops[len(ops)-1].change.Path))
	i := splitOps(ops, bit)
	return u.join(ops[i].spare, bit, u.grow(ops[:i]), u.grow(ops[i:]))
}

// join makes ref the inner node above two subtrees, or gives it back if one of
// them is gone.
func (u *subtree) join(ref uint32, bit uint8, left, right link) link {
	if left.ref == 0 || right.ref == 0 {
		u.freed = append(u.freed, ref)
		if left.ref == 0 {
			return right
		}
		return left
	}
	n := u.tree.nodes.at(ref)
	*n = node{child: [2]uint32{left.ref, right.ref}, hash: [2]chain.Hash{left.hash, right.hash}, bit: bit}
	return link{ref, hashNode(bit, &left.hash, &right.hash)}
}
