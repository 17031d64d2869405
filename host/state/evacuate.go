package state

import (
	"math/bits"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state/internal/lanes"
)

// How much of a tree may be free, whatever was written, changed and deleted before.
// Of the units of records one in freeShare, beside one page for each class; of the
// inner nodes as much, beside a chunk. What the newest batches released may add to
// that: a batch moves about as much as the one before it released, which is as fast as
// free memory can come to be. To free a page of whose slots one in freeShare is
// free takes moving less than a page.
const (
	freeShare = 8
	// minMoveUnits and minMoveNodes are moved in a batch even if little was
	// released, so that an idle chain gets tidy.
	minMoveUnits = 32 << 10 / unitBytes
	minMoveNodes = 256
)

// tidy begins a batch: memory that rested is used again, and what lies scattered
// is moved together. Hashes do not depend on where things are.
func (t *Tree) tidy() {
	budget := minMoveUnits + t.records.recycle()
	t.records.trim()
	t.evacuate(budget)
	t.compact(minMoveNodes + t.nodes.recycle())
}

// tooFree reports that more of the records' memory is free than may be.
func (s *records) tooFree() bool { return s.free > s.units/freeShare+s.slack }

// trim leaves blank pages to the garbage collector if there is too much free.
func (s *records) trim() {
	for len(s.blank) > 0 && s.tooFree() {
		last := len(s.blank) - 1
		s.dropPage(s.blank[last])
		s.blank = s.blank[:last]
		s.units -= pageUnits
		s.free -= pageUnits
	}
}

// evacuate moves records out of sparse pages until not too much is free, or so many
// units have been moved. What it leaves of a page rests and is blank in the next batch.
//
// Readers may still have the old slot, or find the new one: both are whole. The
// leaf is found by its path.
func (t *Tree) evacuate(budget int) {
	s := &t.records
	for from := 0; budget > 0 && s.findVictim(); {
		m := t.scratch.theMover()
		if m.gather(s, &from); m.n == 0 {
			s.victim, from = 0, 0
			continue
		}
		budget -= m.move(t)
	}
}

// findVictim reports whether there is a page to empty. It picks the sparsest of the
// class with the largest share of free slots, of which it must have more than a page,
// so that the others hold what is in it.
func (s *records) findVictim() bool {
	if s.victim != 0 {
		return true
	}
	if !s.tooFree() {
		return false
	}
	best, bestFree, bestAll := -1, 0, 1
	for i := range s.class {
		c := &s.class[i]
		all := c.pages * slotsOf(i)
		if free := all - c.taken; free >= slotsOf(i) && free*bestAll > bestFree*all {
			best, bestFree, bestAll = i, free, all
		}
	}
	if best < 0 {
		return false
	}
	open := s.class[best].open
	s.victim = open[0]
	for _, n := range open {
		if s.page[n].taken < s.page[s.victim].taken {
			s.victim = n
		}
	}
	s.leave(s.victim)
	return true
}

// mover moves some records at a time, so that the processor fetches from memory
// side by side what leads to them.
type mover struct {
	n       int
	records [walkers]uint32
	changes [walkers]Change // keys and paths
	ops     [walkers]op
	hasher  lanes.Hasher
}

// gather takes the next records of the victim, from a slot on.
func (m *mover) gather(s *records, from *int) {
	p := &s.page[s.victim]
	slots, units := slotsOf(p.class), slotUnits[p.class]
	for m.n = 0; m.n < walkers && *from < slots; {
		word := p.used[*from/64] >> (*from % 64)
		if word == 0 {
			*from = (*from/64 + 1) * 64
			continue
		}
		if *from += bits.TrailingZeros64(word); *from < slots {
			m.records[m.n] = s.victim*pageUnits + uint32(*from*units)
			m.n++
			*from++
		}
	}
}

// move moves what was gathered and returns the units that takes.
func (m *mover) move(t *Tree) (units int) {
	for i, r := range m.records[:m.n] {
		m.changes[i].Key = t.records.key(r)
		m.hasher.Sum(m.changes[i].Key, (*[32]byte)(&m.changes[i].Path))
	}
	m.hasher.Flush()
	for i := range m.n {
		c := &m.changes[i]
		m.ops[i] = op{change: c, prefix: prefixOf(&c.Path), tag: tagOf(c.Key)}
	}
	t.lookAhead(m.ops[:m.n])
	t.warmSome(t.root.ref, m.ops[:m.n])
	for i, r := range m.records[:m.n] {
		units += t.moveRecord(r, &m.ops[i])
	}
	clear(m.changes[:])
	return units
}

func (t *Tree) moveRecord(r uint32, o *op) (units int) {
	found, slot := t.index.find(o.change.Key, o.tag)
	leaf := t.refTo(leafBit|r, &o.change.Path)
	if found != r {
		invariant.Broken("record %d is at %d by the index", r, found)
	}
	to := t.records.add(o.change.Key, t.records.value(r))
	*leaf = leafBit | to
	t.index.move(slot, o.tag, to)
	t.records.rest(r)
	return t.records.roomOf(r)
}

// refTo returns where the parent of a leaf or inner node, which is on the way to
// path, refers to it.
func (t *Tree) refTo(ref uint32, path *chain.Hash) *uint32 {
	at := &t.root.ref
	for *at != ref {
		if *at == 0 || isLeaf(*at) {
			invariant.Broken("the walk to node or leaf %d ends at %d", ref, *at)
		}
		n := t.nodes.at(*at)
		at = &n.child[bitOf(path, n.bit())]
	}
	return at
}

// compact moves inner nodes from the end of the arena to free places before it, at
// most so many, and leaves chunks that become empty to the garbage collector.
func (t *Tree) compact(budget int) {
	a := &t.nodes
	for live := max(0, t.Len()-1); a.tooFree(live) && budget > 0; budget-- {
		last := a.next - 1
		if n := a.at(last); n.msg[0] == innerKind {
			path := t.leafPath(t.walk(last, &chain.Hash{}))
			parent, to := t.refTo(last, &path), a.alloc()
			*a.at(to) = *n
			*parent = to
		}
		a.dropLast()
	}
}
