package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// Undo is what one batch replaced: the old value of every key that it changed,
// in path order. It never changes.
type Undo struct {
	entries []replaced
	data    []byte // key and value of every entry
}

type replaced struct {
	prefix uint64 // first 8 bytes of the path
	offset int    // of the key in data; the value follows
	value  int32  // its length, or absent
	key    uint8
}

const (
	absent        = -1
	replacedBytes = 24 // of a replaced in memory
)

// newUndo allocates what add will need for ops, no more: undo is kept for long.
func newUndo(ops []op, s *records) *Undo {
	size := 0
	for i := range ops {
		size += len(ops[i].change.Key)
		if ops[i].old != 0 {
			size += len(s.value(ops[i].old))
		}
	}
	return &Undo{entries: make([]replaced, 0, len(ops)), data: make([]byte, 0, size)}
}

func (u *Undo) add(o *op, s *records) {
	e := replaced{
		prefix: binary.BigEndian.Uint64(o.change.Path[:8]), offset: len(u.data),
		value: absent, key: uint8(len(o.change.Key)),
	}
	u.data = append(u.data, o.change.Key...)
	if o.old != 0 {
		v := s.value(o.old)
		e.value = int32(len(v))
		u.data = append(u.data, v...)
	}
	u.entries = append(u.entries, e)
}

// then is what takes back u's batch and the one after it.
func (u *Undo) then(next *Undo) *Undo {
	all := &Undo{entries: make([]replaced, 0, len(u.entries)+len(next.entries)), data: make([]byte, 0, len(u.data)+len(next.data))}
	for i, j := 0, 0; i < len(u.entries) || j < len(next.entries); {
		order := compareEntries(u, i, next, j)
		if order <= 0 {
			all.take(u, i)
			i++
		} else {
			all.take(next, j)
		}
		if order >= 0 {
			j++
		}
	}
	// Copied, since keys of both batches would leave room that nobody counts.
	return &Undo{entries: slices.Clone(all.entries), data: slices.Clone(all.data)}
}

// compareEntries orders entry i of u and entry j of v by their paths; what is beyond the
// last is above all. They are equal if the key is.
func compareEntries(u *Undo, i int, v *Undo, j int) int {
	switch {
	case i == len(u.entries):
		return 1
	case j == len(v.entries):
		return -1
	case u.entries[i].prefix != v.entries[j].prefix:
		return cmp.Compare(u.entries[i].prefix, v.entries[j].prefix)
	}
	one, _, _ := u.at(i)
	other, _, _ := v.at(j)
	if bytes.Equal(one, other) {
		return 0
	}
	a, b := PathOf(one), PathOf(other)
	return comparePaths(&a, &b)
}

// take appends entry i of another.
func (u *Undo) take(from *Undo, i int) {
	e := from.entries[i]
	size := int(e.key) + max(0, int(e.value))
	data := from.data[e.offset : e.offset+size]
	e.offset = len(u.data)
	u.entries, u.data = append(u.entries, e), append(u.data, data...)
}

// size is the memory it takes, bytes.
func (u *Undo) size() int { return cap(u.data) + cap(u.entries)*replacedBytes }

// at returns entry i.
func (u *Undo) at(i int) (key, value []byte, present bool) {
	e := &u.entries[i]
	middle := e.offset + int(e.key)
	key = u.data[e.offset:middle:middle]
	if e.value == absent {
		return key, nil, false
	}
	end := middle + int(e.value)
	return key, u.data[middle:end:end], true
}

// get looks a key up by its path; changed is false if the batch left it alone.
func (u *Undo) get(key []byte, prefix uint64) (value []byte, present, changed bool) {
	for i := u.search(prefix); i < len(u.entries) && u.entries[i].prefix == prefix; i++ {
		if k, v, ok := u.at(i); string(k) == string(key) {
			return v, ok, true
		}
	}
	return nil, false, false
}

// search returns the first entry at or above a path prefix.
func (u *Undo) search(prefix uint64) int {
	return sort.Search(len(u.entries), func(i int) bool { return u.entries[i].prefix >= prefix })
}

// Keys calls yield with every key that the batch changed, in path order. They
// never change.
func (u *Undo) Keys(yield func(key []byte)) {
	for i := range u.entries {
		key, _, _ := u.at(i)
		yield(key)
	}
}

// Into writes the old values into o: with them committed, the batch is undone.
func (u *Undo) Into(o *Overlay) {
	for i := range u.entries {
		if key, value, ok := u.at(i); ok {
			o.Set(key, value)
		} else {
			o.Delete(key)
		}
	}
}
