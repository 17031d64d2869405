package state

import (
	"bytes"
	"math/bits"
	"sync/atomic"
)

// index finds the record of a key: an open-addressing hash table with linear
// probing whose slots are read and written atomically. The writer stores a slot
// only after the record it points to is complete, and never touches the slot of
// a key outside its batch, except by building a larger table beside the old one
// and swapping the two: so a reader of such a key finds it in either.
type index struct {
	records *records
	table   atomic.Pointer[table]
	used    int // slots that are not free, graves included
	keys    int
}

// table has a power of two of slots: tag<<32 | record, 0 if free.
type table struct {
	slots []atomic.Uint64
	shift uint8 // tag >> shift is the first slot to look at
}

// grave is a slot whose key was deleted while the slot after it was taken: a
// probe goes on past it. It is no record, see maxRecord.
const grave = 1 << 31

const minSlots = 64

func (x *index) init(records *records) {
	x.records = records
	x.table.Store(newTable(minSlots))
}

func newTable(n int) *table {
	return &table{slots: make([]atomic.Uint64, n), shift: uint8(33 - bits.Len(uint(n)))}
}

// find returns the record of key and its slot; record 0 if there is none.
func (x *index) find(key []byte, tag uint32) (record, slot uint32) {
	t := x.table.Load()
	mask := uint32(len(t.slots) - 1)
	for s := tag >> t.shift; ; s = (s + 1) & mask {
		v := t.slots[s].Load()
		if v == 0 {
			return 0, s
		}
		r := uint32(v)
		if uint32(v>>32) == tag && r != grave && bytes.Equal(x.records.key(r), key) {
			return r, s
		}
	}
}

// first is what the first slot to look at for tag has: mostly the key's record.
func (x *index) first(tag uint32) (record uint32) {
	t := x.table.Load()
	return uint32(t.slots[tag>>t.shift].Load())
}

// insert adds a key that is absent.
func (x *index) insert(tag, record uint32) {
	t := x.table.Load()
	mask := uint32(len(t.slots) - 1)
	for s := tag >> t.shift; ; s = (s + 1) & mask {
		switch v := t.slots[s].Load(); {
		case v == 0:
			x.used++
		case uint32(v) != grave:
			continue
		}
		t.slots[s].Store(uint64(tag)<<32 | uint64(record))
		x.keys++
		return
	}
}

// move points a slot at the key's new record.
func (x *index) move(slot, tag, record uint32) {
	x.table.Load().slots[slot].Store(uint64(tag)<<32 | uint64(record))
}

// remove deletes the key in a slot. At the end of a run of taken slots nothing
// needs to probe past it, nor past the graves before it.
func (x *index) remove(slot uint32) {
	t := x.table.Load()
	mask := uint32(len(t.slots) - 1)
	x.keys--
	if t.slots[(slot+1)&mask].Load() != 0 {
		t.slots[slot].Store(grave)
		return
	}
	for s := slot; ; {
		t.slots[s].Store(0)
		x.used--
		s = (s - 1) & mask
		if v := t.slots[s].Load(); v == 0 || uint32(v) != grave {
			return
		}
	}
}

// reserve makes sure that n keys can be added without filling the table beyond
// four fifths or leaving it filled to less than an eighth, and reports whether slots
// have moved. A new table is between three tenths and three fifths full.
func (x *index) reserve(n int) bool {
	old := x.table.Load()
	large := len(old.slots) > minSlots && 8*(x.keys+n) < len(old.slots)
	if 5*(x.used+n) <= 4*len(old.slots) && !large {
		return false
	}
	size := minSlots
	for 5*(x.keys+n) > 3*size {
		size *= 2
	}
	t := newTable(size)
	mask := uint32(size - 1)
	for i := range old.slots {
		v := old.slots[i].Load()
		if v == 0 || uint32(v) == grave {
			continue
		}
		s := uint32(v>>32) >> t.shift
		for t.slots[s].Load() != 0 {
			s = (s + 1) & mask
		}
		t.slots[s].Store(v)
	}
	x.used = x.keys
	x.table.Store(t)
	return true
}
