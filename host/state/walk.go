package state

import (
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state/internal/lanes"
)

// walk goes over the leaves of a tree in path order, a run of them at a time. It takes
// many subtrees one level down before it takes any of them further, and looks at all
// records of a run before the first is used: so the processor fetches nodes and records
// from memory side by side. One after the other, each would be waited for.
type walk struct {
	tree *Tree
	rest []uint32    // subtrees that are left; the last comes next
	runs [2][]uint32 // one level of a run, and the next

	hasher lanes.Hasher
	paths  [walkRun]chain.Hash
}

// walkRun is the number of leaves in a run, at most.
const walkRun = 64

// Ascend calls yield for every key whose path is from or above it, in path
// order, until yield returns false.
func (t *Tree) Ascend(from chain.Hash, yield func(key, value []byte) bool) {
	w := walk{tree: t}
	w.begin(&from)
	for run := w.next(); len(run) > 0; run = w.next() {
		for _, leaf := range run {
			if !yield(t.records.both(leaf &^ leafBit)) {
				return
			}
		}
	}
}

// AscendPaths is [Tree.Ascend] for who needs paths as well. They are those of the keys
// that are there, hashed side by side, and not what the place in the tree says: whoever
// compares them checks the order. A path is valid until the next step.
func (t *Tree) AscendPaths(from chain.Hash, yield func(path *chain.Hash, key, value []byte) bool) {
	(&walk{tree: t}).ascendPaths(&from, yield)
}

func (w *walk) ascendPaths(from *chain.Hash, yield func(path *chain.Hash, key, value []byte) bool) {
	w.begin(from)
	for run := w.next(); len(run) > 0; run = w.next() {
		w.hash(run)
		for i, leaf := range run {
			key, value := w.tree.records.both(leaf &^ leafBit)
			if !yield(&w.paths[i], key, value) {
				return
			}
		}
	}
}

// hash finds the paths of a run.
func (w *walk) hash(run []uint32) {
	for i, leaf := range run {
		w.hasher.Sum(w.tree.records.key(leaf&^leafBit), (*[32]byte)(&w.paths[i]))
	}
	w.hasher.Flush()
}

// begin makes w go over what is at or above a path.
func (w *walk) begin(from *chain.Hash) {
	ref := w.tree.root.ref
	w.rest = w.rest[:0]
	if ref == 0 {
		return
	}
	near := w.tree.leafPath(w.tree.walk(ref, from))
	apart := diverge(from, &near) // where from leaves the tree
	for !isLeaf(ref) && apart > int(w.tree.nodes.at(ref).bit()) {
		n := w.tree.nodes.at(ref)
		side := bitOf(from, n.bit())
		if side == 0 {
			w.rest = append(w.rest, n.child[1])
		}
		ref = n.child[side]
	}
	if apart == pathBits || bitOf(from, uint8(apart)) == 0 { // all that is left is above from
		w.rest = append(w.rest, ref)
	}
}

// next returns the next leaves, none at the end.
func (w *walk) next() []uint32 {
	run, below := w.take(w.runs[0][:0]), w.runs[1]
	for inner := true; inner; {
		below, inner = w.down(below[:0], run)
		run, below = w.cut(below), run
	}
	w.runs = [2][]uint32{run, below}
	w.lookAhead(run)
	return run
}

// take begins a run with what comes next.
func (w *walk) take(run []uint32) []uint32 {
	for n := len(w.rest); n > 0 && len(run) < walkRun; n-- {
		run = append(run, w.rest[n-1])
		w.rest = w.rest[:n-1]
	}
	return run
}

// down appends what is one level below a run, and reports whether any of it was not a
// leaf.
func (w *walk) down(below, run []uint32) (_ []uint32, inner bool) {
	for _, ref := range run {
		if isLeaf(ref) {
			below = append(below, ref)
			continue
		}
		n := w.tree.nodes.at(ref)
		below, inner = append(below, n.child[0], n.child[1]), true
	}
	return below, inner
}

// cut puts what is too much for a run back.
func (w *walk) cut(run []uint32) []uint32 {
	for n := len(run); n > walkRun; n-- {
		w.rest = append(w.rest, run[n-1])
		run = run[:n-1]
	}
	return run
}

// lookAhead reads the records of leaves. What it returns says nothing, but without it
// there would be no reading.
//
//go:noinline
func (w *walk) lookAhead(run []uint32) (sum byte) {
	for _, leaf := range run {
		sum += w.tree.records.touch(leaf &^ leafBit)
	}
	return sum
}
