// Package schedule keeps the open theses of a market in the order in which they
// are due, in state: an ordered set of (due time, id), so that a settler that
// starts again asks for what comes next and nobody ever scans.
//
// It imports nothing. State comes from the caller ([Store]).
//
//	root ─▶ inner nodes: (least key of a child, child) … ─▶ leaves: (due, id) …
//
// It is a B+tree with nodes of up to 64 entries, one state record each: adding or
// removing a thesis reads one node per level and writes, nearly always, one leaf.
// Node 0 is the root and knows how many numbers were given out. A node that is full
// is split in two, or begins a new one if what comes is its last; a node that is
// empty goes; nodes are never merged. An empty set has no record at all.
//
// A Schedule holds buffers and belongs to one goroutine. STATE.md of package rfq
// shows the bytes.
package schedule

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// The geometry. Changing any of it is a new state version.
const (
	MaxEntries = 64 // of a node
	headBytes  = 1 + 1 + 8
	leafEntry  = 16                                // due, id
	innerEntry = leafEntry + 8                     // least key, child
	nodeBytes  = headBytes + MaxEntries*innerEntry // of the largest node
	// maxDepth bounds the levels: a level more takes 32 times as many splits, and
	// 32^8 is more than will ever be.
	maxDepth = 8
)

// NodePrefix begins the state keys; the market's index follows, big-endian u16,
// and the node's number, big-endian u64.
const NodePrefix = 'v'

// Store is the state that schedules are kept in. A value from Get is valid until
// the next Get.
type Store interface {
	Get(key []byte) (value []byte, ok bool)
	Set(key, value []byte)
	Delete(key []byte)
}

// Key is one entry: a thesis and when its challenge window is over, ms. Keys are
// in order of Due, then ID.
type Key struct{ Due, ID uint64 }

func (k Key) less(o Key) bool { return k.Due < o.Due || k.Due == o.Due && k.ID < o.ID }

// Schedule reads and writes the set of one market. Use it through [Open].
type Schedule struct {
	store  Store
	market uint16
	key    [11]byte
	path   [maxDepth]node // from the root to where the last call went
	right  node           // the new half of one that is split
}

// node is one record:
//
//	level u8 (0 = leaf), count u8, given u64, entries
//
// given counts the numbers that were given out, and counts in the root only.
type node struct {
	number uint64
	at     int // which child the path goes on with
	buf    [nodeBytes]byte
}

func (n *node) level() int     { return int(n.buf[0]) }
func (n *node) count() int     { return int(n.buf[1]) }
func (n *node) setCount(c int) { n.buf[1] = byte(c) }
func (n *node) full() bool     { return n.count() == MaxEntries }
func (n *node) bytes() []byte  { return n.buf[:headBytes+n.count()*n.size()] }
func (n *node) given() uint64  { return abi.U64(n.buf[2:]) }
func (n *node) give() uint64   { abi.PutU64(n.buf[2:], n.given()+1); return n.given() }
func (n *node) entry(i int) []byte {
	return n.buf[headBytes+i*n.size():][:n.size()]
}

// size is that of an entry.
func (n *node) size() int {
	if n.level() == 0 {
		return leafEntry
	}
	return innerEntry
}

func (n *node) keyAt(i int) Key {
	e := n.entry(i)
	return Key{abi.U64(e), abi.U64(e[8:])}
}

func (n *node) child(i int) uint64 { return abi.U64(n.entry(i)[leafEntry:]) }

// search is the first entry from lo on whose key is not less than k.
func (n *node) search(lo int, k Key) int {
	hi := n.count()
	for lo < hi {
		if mid := (lo + hi) / 2; n.keyAt(mid).less(k) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// toward is the child in whose range k is. Keys are lower bounds from the second
// child on; the first one takes what is below, so its key says nothing: it may
// have come to the front when those before it went.
func (n *node) toward(k Key) int {
	i := n.search(1, k)
	if i < n.count() && n.keyAt(i) == k {
		return i
	}
	return i - 1
}

// insert makes room at i and puts an entry there; the node is not full.
func (n *node) insert(i int, k Key, child uint64) {
	size, end := n.size(), len(n.bytes())
	at := headBytes + i*size
	copy(n.buf[at+size:], n.buf[at:end])
	n.setCount(n.count() + 1)
	n.put(i, k, child)
}

func (n *node) put(i int, k Key, child uint64) {
	e := n.entry(i)
	abi.PutU64(e, k.Due)
	abi.PutU64(e[8:], k.ID)
	if n.level() > 0 {
		abi.PutU64(e[leafEntry:], child)
	}
}

func (n *node) remove(i int) {
	at, end := headBytes+i*n.size(), len(n.bytes())
	copy(n.buf[at:], n.buf[at+n.size():end])
	n.setCount(n.count() - 1)
}

// cut moves the entries from i on into other, which becomes a node of the same
// level.
func (n *node) cut(i int, other *node) {
	other.buf[0] = n.buf[0]
	other.setCount(n.count() - i)
	abi.PutU64(other.buf[2:], 0)
	copy(other.buf[headBytes:], n.bytes()[headBytes+i*n.size():])
	n.setCount(i)
}

// Open points s at a market's set.
func (s *Schedule) Open(store Store, market uint16) { s.store, s.market = store, market }

func (s *Schedule) keyOf(number uint64) []byte {
	s.key = [...]byte{NodePrefix, byte(s.market >> 8), byte(s.market),
		byte(number >> 56), byte(number >> 48), byte(number >> 40), byte(number >> 32),
		byte(number >> 24), byte(number >> 16), byte(number >> 8), byte(number)}
	return s.key[:]
}

// load reads a node into the path; only the root may be absent, and is an empty
// leaf then.
func (s *Schedule) load(depth int, number uint64) *node {
	n := &s.path[depth]
	n.number = number
	b, ok := s.store.Get(s.keyOf(number))
	if !ok {
		if number != 0 {
			panic("a node of the schedule is missing from state")
		}
		clear(n.buf[:headBytes])
		return n
	}
	copy(n.buf[:], b)
	return n
}

func (s *Schedule) save(n *node) { s.store.Set(s.keyOf(n.number), n.bytes()) }

// descend loads the path to the leaf in whose range k is, and returns its depth.
func (s *Schedule) descend(k Key) int {
	depth := 0
	n := s.load(0, 0)
	for n.level() > 0 {
		n.at = n.toward(k)
		depth++
		n = s.load(depth, n.child(n.at))
	}
	return depth
}

// Add puts k into the set, where it must not be.
func (s *Schedule) Add(k Key) {
	depth := s.descend(k)
	n := &s.path[depth]
	s.insert(depth, n.search(0, k), k, 0)
}

// insert puts an entry into the node at depth, splitting it if it is full.
func (s *Schedule) insert(depth, i int, k Key, child uint64) {
	n := &s.path[depth]
	switch {
	case !n.full():
		n.insert(i, k, child)
		s.save(n)
	case depth == 0:
		s.grow()
		s.insert(1, i, k, child)
	default:
		s.split(depth, i, k, child)
	}
}

// grow puts a level between the root, which is full, and what it holds: a node
// that takes all of it, and will be split.
func (s *Schedule) grow() {
	root, below := &s.path[0], &s.path[1]
	below.number = root.give()
	root.cut(0, below)
	root.buf[0]++
	root.insert(0, below.keyAt(0), below.number)
	root.at = 0
}

// split puts an entry into a node that is full: its upper half goes into a new
// node, or nothing if the entry is to be the last.
func (s *Schedule) split(depth, i int, k Key, child uint64) {
	n, right := &s.path[depth], &s.right
	right.number = s.path[0].give()
	half := MaxEntries / 2
	if i == MaxEntries {
		half = MaxEntries
	}
	n.cut(half, right)
	if i > half || half == MaxEntries {
		right.insert(i-half, k, child)
	} else {
		n.insert(i, k, child)
	}
	s.save(n)
	s.save(right)
	parent := &s.path[depth-1]
	s.insert(depth-1, parent.at+1, right.keyAt(0), right.number)
	if depth > 1 { // the root has given a number
		s.save(&s.path[0])
	}
}

// Remove takes k, which must be there, out of the set.
func (s *Schedule) Remove(k Key) {
	depth := s.descend(k)
	n := &s.path[depth]
	i := n.search(0, k)
	if i == n.count() || n.keyAt(i) != k {
		panic("a thesis is missing from the schedule")
	}
	n.remove(i)
	for ; depth > 0 && n.count() == 0; depth-- {
		s.store.Delete(s.keyOf(n.number))
		n = &s.path[depth-1]
		n.remove(n.at)
	}
	if depth == 0 {
		s.settle(n)
		return
	}
	s.save(n)
}

// settle writes the root after it lost an entry: one that has a single child
// takes its place, and one that has nothing goes.
func (s *Schedule) settle(root *node) {
	for root.level() > 0 && root.count() == 1 {
		below := s.load(1, root.child(0))
		s.store.Delete(s.keyOf(below.number))
		root.buf[0] = below.buf[0]
		root.setCount(below.count())
		copy(root.buf[headBytes:], below.bytes()[headBytes:])
	}
	if root.count() == 0 {
		s.store.Delete(s.keyOf(0))
		return
	}
	s.save(root)
}

// Each calls f with every entry from k on, in order, until f returns false. It
// reports whether f never did.
func (s *Schedule) Each(k Key, f func(Key) bool) bool { return s.each(0, 0, k, f) }

func (s *Schedule) each(depth int, number uint64, k Key, f func(Key) bool) bool {
	n := s.load(depth, number)
	if n.level() == 0 {
		for i := n.search(0, k); i < n.count(); i++ {
			if !f(n.keyAt(i)) {
				return false
			}
		}
		return true
	}
	for i := n.toward(k); i < n.count(); i++ {
		if !s.each(depth+1, n.child(i), k, f) {
			return false
		}
	}
	return true
}
