package state

import (
	"bytes"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
)

// op is one change on its way into the tree.
type op struct {
	change *Change
	prefix uint64 // first bits of its path: they decide nearly every turn
	tag    uint32
	slot   uint32 // of the index, if the key is present
	old    uint32 // record before the change, 0 if absent
	record uint32 // record after it, 0 if absent
	spare  uint32 // inner node for an insert
	leaves uint16 // insert: the bit at which its path leaves the old tree; otherwise pathBits
}

// bit is bit i of the path.
func (o *op) bit(i uint8) int {
	if i < 64 {
		return int(o.prefix>>(63-i)) & 1
	}
	return bitOf(&o.change.Path, i)
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
		if comparePaths(&changes[i-1].Path, &changes[i].Path) >= 0 {
			invariant.Broken("change %d of a batch is out of path order", i)
		}
	}
	t.tidy()
	ops := t.scratch.batch(len(changes))
	t.resolve(ops, changes, run)
	ops, undo := t.store(ops)
	t.rehash(ops, run)
	t.scratch.release()
	return t.root.hash, undo
}

// resolve finds what each change replaces; it only reads the tree.
func (t *Tree) resolve(ops []op, changes []Change, run Runner) {
	var jobs []func()
	for lo := 0; lo < len(ops); lo += minJobOps {
		part, of := ops[lo:min(lo+minJobOps, len(ops))], changes[lo:]
		jobs = append(jobs, func() { t.resolveSome(part, of) })
	}
	run.do(jobs)
}

// resolveSome resolves changes a few at a time, and looks ahead at what all of them
// will read: so the processor fetches that from memory side by side.
func (t *Tree) resolveSome(ops []op, changes []Change) {
	for len(ops) > 0 {
		n := min(len(ops), walkers)
		for i := range n {
			c := &changes[i]
			ops[i] = op{change: c, prefix: prefixOf(&c.Path), tag: tagOf(c.Key), leaves: pathBits}
		}
		t.lookAhead(ops[:n])
		for i := range n {
			ops[i].old, ops[i].slot = t.index.find(changes[i].Key, ops[i].tag)
		}
		t.resolveInserts(ops[:n])
		ops, changes = ops[n:], changes[n:]
	}
}

// lookAhead reads where the index and the records have the keys of ops, most
// likely. What it returns says nothing, but without it there would be no reading.
//
//go:noinline
func (t *Tree) lookAhead(ops []op) (sum byte) {
	var at [walkers]uint32
	for i := range ops {
		at[i] = t.index.first(ops[i].tag)
	}
	for i := range ops {
		sum += t.records.touch(at[i])
	}
	return sum
}

// resolveInserts finds where the paths of new keys leave the tree, of which there may
// be as many as walkers. They walk side by side, one step each in turn.
func (t *Tree) resolveInserts(ops []op) {
	var inserts [walkers]*op
	var at [walkers]uint32
	n := 0
	for i := range ops {
		if o := &ops[i]; o.old == 0 && !o.change.Delete && t.root.ref != 0 {
			inserts[n], at[n] = o, t.root.ref
			n++
		}
	}
	for moved := true; moved; {
		moved = false
		for i := range n {
			if !isLeaf(at[i]) {
				node := t.nodes.at(at[i])
				at[i] = node.child[inserts[i].bit(node.bit())]
				moved = true
			}
		}
	}
	t.touchAll(at[:n])
	for i := range n {
		near := t.leafPath(at[i])
		inserts[i].leaves = uint16(diverge(&inserts[i].change.Path, &near))
	}
}

// touchAll reads the records of leaves, as lookAhead does.
//
//go:noinline
func (t *Tree) touchAll(leaves []uint32) (sum byte) {
	for _, ref := range leaves {
		sum += t.records.touch(ref &^ leafBit)
	}
	return sum
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
	case room(len(c.Key), len(c.Value)) == t.records.roomOf(o.old):
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
	d := division{tree: t}
	top := d.divide(place{&t.root.ref, &t.root.hash}, ops, splitDepth)
	run.do(d.jobs)
	u := t.scratch.subtree(t, d.works)
	u.join(top)
	u.hash()
	for _, u := range t.scratch.subtrees {
		t.nodes.release(u.freed)
	}
}

// division is the top of the tree in parts, and the jobs among them.
type division struct {
	tree  *Tree
	jobs  []func()
	works int
}

// part is a subtree and the changes in it: either a job, or nothing, or an inner
// node and its two parts.
type part struct {
	at   place
	node uint32
	half [2]*part
}

func (d *division) divide(at place, ops []op, depth int) *part {
	p, ref := &part{at: at}, *at.ref
	if len(ops) == 0 {
		return p
	}
	first := firstLeaving(ops)
	if depth == 0 || len(ops) < minJobOps || ref == 0 || isLeaf(ref) || first < d.tree.bitBelow(ref) {
		u := d.tree.scratch.subtree(d.tree, d.works)
		d.works++
		d.jobs = append(d.jobs, func() { u.update(at, ops, first) })
		return p
	}
	p.node = ref
	n := d.tree.nodes.at(ref)
	i := splitOps(ops, n.bit())
	p.half[0] = d.divide(n.place(0), ops[:i], depth-1)
	p.half[1] = d.divide(n.place(1), ops[i:], depth-1)
	return p
}

// bitBelow is the bit that ref decides on, pathBits for a leaf or nothing.
func (t *Tree) bitBelow(ref uint32) int {
	if ref == 0 || isLeaf(ref) {
		return pathBits
	}
	return int(t.nodes.at(ref).bit())
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
		if mid := int(uint(lo+hi) / 2); ops[mid].bit(bit) == 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// scratch is memory that one batch leaves to the next.
type scratch struct {
	ops      []op
	subtrees []*subtree
	mover    *mover
}

// Limits of the memory kept: the changes of a batch and the hashes owed in one of
// its subtrees. A first batch of millions is not the measure of the next.
const (
	maxScratchOps  = 1 << 14
	maxScratchOwed = 1 << 12
)

// batch returns room for n changes.
func (s *scratch) batch(n int) []op {
	if n > maxScratchOps {
		return make([]op, n)
	}
	if n > len(s.ops) {
		s.ops = make([]op, min(n+n/4, maxScratchOps))
	}
	return s.ops[:n]
}

// subtree returns number i, empty.
func (s *scratch) subtree(t *Tree, i int) *subtree {
	if i == len(s.subtrees) {
		s.subtrees = append(s.subtrees, newSubtree(t))
	}
	return s.subtrees[i]
}

// theMover is made by the first batch that has something to move.
func (s *scratch) theMover() *mover {
	if s.mover == nil {
		s.mover = new(mover)
	}
	return s.mover
}

// release lets go of what the batch pointed to.
func (s *scratch) release() {
	clear(s.ops)
	for _, u := range s.subtrees {
		u.reset()
	}
}
