package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Limit bounds one slice of [Versions.AscendAt]: about so many keys, and about so
// many bytes of keys and values. A slice may exceed the bytes by one value.
type Limit struct {
	Keys  int
	Bytes int
}

// Position is where a walk over the keys of a block goes on; the zero value is
// its beginning. It belongs to one walk.
type Position struct {
	from chain.Hash
	end  bool

	live, changed []slot // of the slice before, for their memory
	walk          *walk  // likewise
}

// End reports whether nothing is left.
func (p *Position) End() bool { return p.end }

// AscendAt calls yield, in path order, for the next keys of the state after a
// retained block and their paths, which are valid until yield returns, and returns
// where to go on. So a walk over all keys can be done
// in slices between which blocks are committed: a key that a later block changed
// or deleted is given with its old value, and one that a later block added is
// left out.
//
// It takes memory for about three times limit, and time for that and for what the blocks
// since changed among these keys.
func (v *Versions) AscendAt(height uint64, at Position, limit Limit, yield func(path *chain.Hash, key, value []byte)) (Position, error) {
	n, err := v.back(height)
	if err != nil || at.end {
		return at, err
	}
	if at.walk == nil {
		at.walk = new(walk)
	}
	at.walk.tree = v.tree
	w := window{from: at.from, end: true}
	at.live = w.live(at.live[:0], at.walk, limit)
	at.changed = w.changed(at.changed[:0], v.undos[len(v.undos)-n:], limit)
	w.merge(at.live, at.changed, yield)
	at.from, at.end = w.to, w.end
	return at, nil
}

// window is a range of paths: from and above, and below to unless it goes to the
// end.
type window struct {
	from, to chain.Hash
	end      bool
}

// close makes the window end below path, if that makes it smaller.
func (w *window) close(path *chain.Hash) {
	if w.end || comparePaths(path, &w.to) < 0 {
		w.to, w.end = *path, false
	}
}

func (w *window) holds(path *chain.Hash) bool { return w.end || comparePaths(path, &w.to) < 0 }

// slot is a key in a window. Of several with one path the first counts.
type slot struct {
	path       chain.Hash
	key, value []byte
	present    bool
	age        int // 0 is the oldest block
}

// changed appends the old values of the keys in the window that changed in any
// of the blocks, oldest first, each key once, and closes it at the limit.
func (w *window) changed(slots []slot, undos []*Undo, limit Limit) []slot {
	size := 0
	for age, u := range undos {
		from := len(slots)
		slots = w.collect(slots, u, age, limit)
		for i := range slots[from:] {
			size += slots[from+i].size()
		}
		if len(slots) > 2*limit.Keys || size > 2*limit.Bytes {
			slots, size = w.narrow(slots, limit)
		}
	}
	slots, _ = w.narrow(slots, limit)
	return slots
}

// narrow puts slots in order, each key once, and closes the window at the limit; size
// is what is left.
func (w *window) narrow(slots []slot, limit Limit) (left []slot, size int) {
	slices.SortFunc(slots, func(a, b slot) int {
		if c := comparePaths(&a.path, &b.path); c != 0 {
			return c
		}
		return cmp.Compare(a.age, b.age)
	})
	slots = slices.CompactFunc(slots, func(a, b slot) bool { return a.path == b.path })
	for i := range slots {
		if i > 0 && (i >= limit.Keys || size >= limit.Bytes) {
			w.close(&slots[i].path)
		}
		if !w.holds(&slots[i].path) {
			return slots[:i], size
		}
		size += slots[i].size()
	}
	return slots, size
}

func (s *slot) size() int { return len(s.key) + len(s.value) }

// collect appends what is in the window of one block: at least one key, so that
// a walk always goes on.
func (w *window) collect(slots []slot, u *Undo, age int, limit Limit) []slot {
	keys, size := 0, 0
	for i := u.search(binary.BigEndian.Uint64(w.from[:8])); i < len(u.entries); i++ {
		key, value, present := u.at(i)
		path := PathOf(key)
		if comparePaths(&path, &w.from) < 0 {
			continue
		}
		if keys > 0 && (keys >= limit.Keys || size >= limit.Bytes) {
			w.close(&path)
		}
		if !w.holds(&path) {
			break
		}
		slots = append(slots, slot{path, key, value, present, age})
		keys, size = keys+1, size+len(key)+len(value)
	}
	return slots
}

// live appends the keys of the tree in the window, and closes it at the limit.
func (w *window) live(slots []slot, tree *walk, limit Limit) []slot {
	size := 0
	tree.ascendPaths(&w.from, func(path *chain.Hash, key, value []byte) bool {
		if len(slots) > 0 && (len(slots) >= limit.Keys || size >= limit.Bytes) {
			w.close(path)
		}
		if !w.holds(path) {
			return false
		}
		slots, size = append(slots, slot{path: *path, key: key, value: value, present: true}), size+len(key)+len(value)
		return true
	})
	return slots
}

// merge gives both lists in path order; where they meet, the old value counts.
func (w *window) merge(live, changed []slot, yield func(path *chain.Hash, key, value []byte)) {
	for len(live) > 0 || len(changed) > 0 {
		side := 1
		if len(changed) > 0 {
			side = -1
			if len(live) > 0 {
				side = bytes.Compare(changed[0].path[:], live[0].path[:])
			}
		}
		next := &live
		if side <= 0 {
			next = &changed
		}
		s := &(*next)[0]
		if side == 0 {
			live = live[1:]
		}
		*next = (*next)[1:]
		if !w.holds(&s.path) {
			return
		}
		if s.present {
			yield(&s.path, s.key, s.value)
		}
	}
}
