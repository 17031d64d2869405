package state

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state/internal/lanes"
)

// Overlay holds the writes of one block over a parent: the tree, or the overlay
// of the block before. Every write can be taken back to a mark.
//
// One goroutine writes it; once nobody does any more, any number may read it.
type Overlay struct {
	parent  View
	slots   []uint64 // hash table with linear probing: tag<<32 | number of the entry + 1; 0 is free
	shift   uint8    // tag >> shift is the first slot to look at
	entries []entry  // in the order of the first write
	log     []logged // one record per write
	arena   [][]byte // pieces that keys and values are copied to
	filled  int      // of the last piece
}

// Entries and log are the larger part of an open block beside its bytes, and grow while
// it is executed. So they have no pointers: the garbage collector does not go through
// them, nor does the writer have to tell it of what it stores.

type entry struct {
	key, value bytesAt
	tag        uint32 // of key
	deleted    bool
}

// logged is what a write replaced.
type logged struct {
	value   bytesAt
	entry   uint32
	deleted bool
	created bool // there was no entry
}

// bytesAt is where bytes are in the arena.
type bytesAt struct{ piece, at, length uint32 }

// Bounds of the copy arena, bytes.
const (
	firstArena = 4 << 10
	maxArena   = 256 << 10
)

// NewOverlay returns an overlay without writes. A nil parent is an empty state.
func NewOverlay(parent View) *Overlay {
	o := &Overlay{parent: parent}
	o.resize(64)
	return o
}

// Reserve makes room for as many keys and writes at once, in an overlay without writes.
func (o *Overlay) Reserve(keys, writes int) {
	if len(o.log) > 0 {
		return
	}
	o.entries, o.log = make([]entry, 0, keys), make([]logged, 0, writes)
	size := len(o.slots)
	for keys > size/2 {
		size *= 2
	}
	o.resize(size)
}

// SetParent replaces the parent by one with the same contents: the tree, when
// the overlay below has been committed to it. It counts as a write.
func (o *Overlay) SetParent(parent View) { o.parent = parent }

// Len is the number of keys written.
func (o *Overlay) Len() int { return len(o.entries) }

// Get returns the value of key here or below.
func (o *Overlay) Get(key []byte) ([]byte, bool) {
	if i := o.find(key, tagOf(key)); i >= 0 {
		e := &o.entries[i]
		if e.deleted {
			return nil, false
		}
		return o.bytes(e.value), true
	}
	if o.parent == nil {
		return nil, false
	}
	return o.parent.Get(key)
}

// Set writes a key; both slices are copied.
func (o *Overlay) Set(key, value []byte) {
	checkSizes(key, value)
	o.write(key, o.copy(value), false)
}

// Delete removes a key, which may be absent.
func (o *Overlay) Delete(key []byte) {
	checkSizes(key, nil)
	o.write(key, bytesAt{}, true)
}

// Mark names the present contents for [Overlay.Revert].
func (o *Overlay) Mark() int { return len(o.log) }

// Revert takes back every write since mark. Marks taken after mark are void.
func (o *Overlay) Revert(mark int) {
	if mark < 0 || mark > len(o.log) {
		invariant.Broken("revert to mark %d of %d", mark, len(o.log))
	}
	for i := len(o.log) - 1; i >= mark; i-- {
		l := &o.log[i]
		if l.created {
			o.drop(l.entry)
		} else {
			e := &o.entries[l.entry]
			e.value, e.deleted = l.value, l.deleted
		}
	}
	o.log = o.log[:mark]
}

// Changes lists every key written, in ascending path order. The slices in it are
// the overlay's own.
func (o *Overlay) Changes() []Change { return o.changes(o.entries) }

// ChangesSince lists, in the same order, the keys written since mark, with what they are
// now: what was true at mark and these together are [Overlay.Changes]. It may be
// called while there is more to write, and what it returned stays as it is.
func (o *Overlay) ChangesSince(mark int) []Change {
	var entries []entry
	seen := make([]uint64, (len(o.entries)+63)/64)
	for _, l := range o.log[mark:] {
		word, bit := l.entry/64, uint64(1)<<(l.entry%64)
		if seen[word]&bit == 0 {
			seen[word] |= bit
			entries = append(entries, o.entries[l.entry])
		}
	}
	return o.changes(entries)
}

func (o *Overlay) changes(entries []entry) []Change {
	paths := o.paths(entries)
	changes := make([]Change, len(paths))
	for i, p := range inOrder(paths) {
		e := &entries[p.entry]
		c := &changes[i]
		c.Key, c.Path, c.Delete = o.bytes(e.key), paths[p.entry], e.deleted
		if !e.deleted {
			c.Value = o.bytes(e.value)
		}
	}
	return changes
}

// paths returns the path of each entry.
func (o *Overlay) paths(entries []entry) []chain.Hash {
	paths, hasher := make([]chain.Hash, len(entries)), new(lanes.Hasher)
	for i := range entries {
		hasher.Sum(o.bytes(entries[i].key), (*[32]byte)(&paths[i]))
	}
	hasher.Flush()
	return paths
}

// placed is an entry and where it goes in the tree.
type placed struct {
	prefix uint64 // of its path: decides nearly every comparison
	entry  uint32
}

// inOrder sorts paths. They are hashes: about as many shares of their range as
// there are paths hold one or two each, and what is left is to sort those. Keys that
// somebody has chosen to crowd a share cost him no more than a sort.
func inOrder(paths []chain.Hash) []placed {
	shift := 64 - bits.Len(uint(len(paths)))
	ends := make([]uint32, 1<<(64-shift))
	for i := range paths {
		ends[prefixOf(&paths[i])>>shift]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	order := make([]placed, len(paths))
	for i := range paths {
		p := placed{prefixOf(&paths[i]), uint32(i)}
		end := &ends[p.prefix>>shift]
		*end--
		order[*end] = p
	}
	sortShares(order, paths, ends) // each end is now a beginning
	return order
}

func sortShares(order []placed, paths []chain.Hash, begins []uint32) {
	compare := func(a, b placed) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return comparePaths(&paths[a.entry], &paths[b.entry])
	}
	for i, begin := range begins {
		end := len(order)
		if i+1 < len(begins) {
			end = int(begins[i+1])
		}
		if share := order[begin:end]; len(share) > 1 {
			slices.SortFunc(share, compare)
		}
	}
}

func (o *Overlay) write(key []byte, value bytesAt, deleted bool) {
	tag := tagOf(key)
	if i := o.find(key, tag); i >= 0 {
		e := &o.entries[i]
		o.log = append(o.log, logged{value: e.value, deleted: e.deleted, entry: uint32(i)})
		e.value, e.deleted = value, deleted
		return
	}
	o.log = append(o.log, logged{entry: uint32(len(o.entries)), created: true})
	o.entries = append(o.entries, entry{key: o.copy(key), value: value, tag: tag, deleted: deleted})
	if len(o.entries) > len(o.slots)/2 {
		o.resize(2 * len(o.slots))
		return
	}
	o.place(tag, len(o.entries))
}

// find returns the number of key's entry, or -1.
func (o *Overlay) find(key []byte, tag uint32) int {
	mask := uint32(len(o.slots) - 1)
	for s := tag >> o.shift; ; s = (s + 1) & mask {
		slot := o.slots[s]
		if slot == 0 {
			return -1
		}
		if uint32(slot>>32) == tag {
			if i := int(uint32(slot)) - 1; bytes.Equal(o.bytes(o.entries[i].key), key) {
				return i
			}
		}
	}
}

// place puts a number into the first free slot for tag.
func (o *Overlay) place(tag uint32, number int) {
	mask := uint32(len(o.slots) - 1)
	s := tag >> o.shift
	for o.slots[s] != 0 {
		s = (s + 1) & mask
	}
	o.slots[s] = uint64(tag)<<32 | uint64(number)
}

// drop removes the newest entry. Every other entry was placed before it and so
// was never pushed past its slot: freeing that breaks no probe.
func (o *Overlay) drop(i uint32) {
	if int(i) != len(o.entries)-1 {
		invariant.Broken("entry %d of %d is not the newest", i, len(o.entries))
	}
	mask := uint32(len(o.slots) - 1)
	s := o.entries[i].tag >> o.shift
	for uint32(o.slots[s]) != i+1 {
		s = (s + 1) & mask
	}
	o.slots[s] = 0
	o.entries = o.entries[:i]
}

// resize makes a table of n slots, a power of two. Entries go in again in their
// order, which drop relies on.
func (o *Overlay) resize(n int) {
	o.slots, o.shift = make([]uint64, n), uint8(33-bits.Len(uint(n)))
	for i := range o.entries {
		o.place(o.entries[i].tag, i+1)
	}
}

// copy keeps b in the arena.
func (o *Overlay) copy(b []byte) bytesAt {
	last := len(o.arena) - 1
	if last < 0 || len(b) > len(o.arena[last])-o.filled {
		last++
		o.extend(len(b))
	}
	k := bytesAt{uint32(last), uint32(o.filled), uint32(len(b))}
	o.filled += copy(o.arena[last][o.filled:], b)
	return k
}

// extend adds a piece with room for n bytes.
func (o *Overlay) extend(n int) {
	size := firstArena
	if last := len(o.arena) - 1; last >= 0 {
		size = min(maxArena, 2*len(o.arena[last]))
	}
	o.arena, o.filled = append(o.arena, make([]byte, max(size, n))), 0
}

// bytes are those that copy has kept.
func (o *Overlay) bytes(k bytesAt) []byte {
	end := k.at + k.length
	return o.arena[k.piece][k.at:end:end]
}
