// Package ring keeps a market's price history in state: 65,536 slots of 100 ms,
// 1.82 hours, with an index over minimum, maximum and holes, so that a question
// about any window costs a handful of reads.
//
// It imports stf-modules/abi and nothing else. State comes from the caller
// ([Store]), and so does the rule for which prices count as observed.
//
//	level   record                       covers            written
//	top     16 summaries                 the whole ring    every 6.8 min
//	super   64 summaries of pages        4096 slots        every 6.4 s
//	page    64 slots (timestamp, price)  64 slots          every price
//
// An observation's position is timestamp / 100, or one more if that slot is taken
// already: a block that is a little late must not cost a price its place. A third
// price in the same 200 ms is not recorded. So positions grow with timestamps, and
// a position is in page position/64, in super position/4096; a record's key is
// that number modulo how many there are, and each record says which lap it is of.
//
// A page's summary is written when the first price of a later page arrives, and a
// super's when the first of a later super does. A Ring holds buffers and belongs
// to one goroutine. STATE.md of package rfq shows the bytes.
package ring

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// The geometry. Changing any of it is a new state version.
const (
	SlotMs     = 100                     // width of a slot, ms
	Slots      = 1 << 16                 // slots of the ring
	PageSlots  = 64                      // slots of a page
	SuperPages = 64                      // pages of a super
	Pages      = Slots / PageSlots       // pages of the ring
	Supers     = Pages / SuperPages      // supers of the ring
	PageMs     = PageSlots * SlotMs      // width of a page, ms
	SpanMs     = (Pages - 1) * PageMs    // history that is always complete, ms: the oldest page is being written over
	slotBytes  = 16                      // timestamp, price
	sumBytes   = 48                      // index+1, min, max, first, last, gap
	pageBytes  = 8 + PageSlots*slotBytes // page number, slots
	superBytes = SuperPages * sumBytes   //
	topBytes   = Supers * sumBytes       //
	headBytes  = 24                      // price, timestamp, next position
)

// Prefixes of the state keys; the market's index follows, big-endian u16, then
// for pages and supers the record's number.
const (
	HeadPrefix  = 'o' // ‖ market
	PagePrefix  = 'r' // ‖ market ‖ page u16
	SuperPrefix = 'q' // ‖ market ‖ super u8
	TopPrefix   = 'h' // ‖ market
)

// Store is the state that rings are kept in. A value from Get is valid until the
// next Get, and may be written to.
type Store interface {
	Get(key []byte) (value []byte, ok bool)
	Set(key, value []byte)
}

// Head is the newest price of a market; all zero before the first.
type Head struct {
	Price     uint64
	Timestamp uint64 // ms
	next      uint64 // the first position that is free
}

// Window is what happened between two times: of the prices observed in it, the
// least and greatest, the first and last timestamp, and the longest time between
// two neighbours, ms. Without any price Empty holds and the rest is zero.
type Window struct {
	Empty       bool
	Min, Max    uint64
	First, Last uint64
	Gap         uint64
}

// Hole is the longest time in [start, end] without an observation, ms.
func (w *Window) Hole(start, end uint64) uint64 {
	if w.Empty {
		return end - start
	}
	return max(w.Gap, w.First-start, end-w.Last)
}

// Ring reads and writes the history of one market. Use it through [Open].
type Ring struct {
	store  Store
	market uint16
	head   Head
	key    [8]byte
	record [headBytes]byte
	page   [pageBytes]byte
	super  [superBytes]byte
	top    [topBytes]byte
}

// Open points r at a market's history and reads its newest price.
func (r *Ring) Open(s Store, market uint16) *Head {
	r.store, r.market, r.head = s, market, Head{}
	if b, ok := s.Get(r.keyOf(HeadPrefix)); ok {
		v := abi.NewReader(b)
		r.head = Head{Price: v.U64(), Timestamp: v.U64(), next: v.U64()}
	}
	return &r.head
}

func (r *Ring) keyOf(prefix byte, number ...byte) []byte {
	return append(append(r.key[:0], prefix, byte(r.market>>8), byte(r.market)), number...)
}

func (r *Ring) pageKey(page uint64) []byte {
	n := page % Pages
	return r.keyOf(PagePrefix, byte(n>>8), byte(n))
}

func (r *Ring) superKey(super uint64) []byte { return r.keyOf(SuperPrefix, byte(super%Supers)) }

// current is the page that is being written; there is one once next is not zero.
func (r *Ring) current() uint64 { return (r.head.next - 1) / PageSlots }

// Record notes that price was observed at timestamp, which must be newer than the
// head's, or nothing happens. It reports whether the price got a slot; if not, it
// is still the newest price.
func (r *Ring) Record(timestamp, price uint64) bool {
	if timestamp <= r.head.Timestamp {
		return false
	}
	position := timestamp / SlotMs
	recorded := r.head.next <= position+1
	if recorded {
		position = max(position, r.head.next)
		r.write(position, timestamp, price)
		r.head.next = position + 1
	}
	r.head.Price, r.head.Timestamp = price, timestamp
	v := abi.AppendU64(abi.AppendU64(r.record[:0], price), timestamp)
	r.store.Set(r.keyOf(HeadPrefix), abi.AppendU64(v, r.head.next))
	return recorded
}

func (r *Ring) write(position, timestamp, price uint64) {
	page := position / PageSlots
	if r.head.next == 0 || page != r.current() {
		r.turn(page)
		clear(r.page[:])
		abi.PutU64(r.page[:], page)
	} else {
		r.loadCurrent()
	}
	slot := r.page[8+position%PageSlots*slotBytes:]
	abi.PutU64(slot, timestamp)
	abi.PutU64(slot[8:], price)
	r.store.Set(r.pageKey(page), r.page[:])
}

// turn leaves the current page for a later one: its summary goes into its super,
// and that super's into the top if it is left too.
func (r *Ring) turn(next uint64) {
	if r.head.next == 0 {
		return
	}
	page := r.current()
	super := page / SuperPages
	r.loadCurrent()
	w := Window{Empty: true}
	w.scan(r.page[8:], 0, ^uint64(0))
	load(r.store, r.superKey(super), r.super[:])
	summaryAt(r.super[:], page%SuperPages).put(page, &w)
	r.store.Set(r.superKey(super), r.super[:])
	if next/SuperPages != super {
		r.finish(super)
	}
}

// finish summarises the super in the buffer, leaving out pages of an earlier lap.
func (r *Ring) finish(super uint64) {
	w := Window{Empty: true}
	for i := range uint64(SuperPages) {
		if s := summaryAt(r.super[:], i); s.is(super*SuperPages + i) {
			w.add(s)
		}
	}
	load(r.store, r.keyOf(TopPrefix), r.top[:])
	summaryAt(r.top[:], super%Supers).put(super, &w)
	r.store.Set(r.keyOf(TopPrefix), r.top[:])
}

// load fills buf with a record of that size, or zeroes.
func load(s Store, key, buf []byte) {
	if v, ok := s.Get(key); ok {
		copy(buf, v)
		return
	}
	clear(buf)
}

// loadPage reads a page into the buffer; false if it is empty, because nothing
// was recorded in it or what was is of another lap.
func (r *Ring) loadPage(page uint64) bool {
	v, ok := r.store.Get(r.pageKey(page))
	if !ok || abi.U64(v) != page {
		return false
	}
	copy(r.page[:], v)
	return true
}

// loadCurrent reads the page of the newest recorded price, which is there.
func (r *Ring) loadCurrent() {
	if !r.loadPage(r.current()) {
		panic("the page of the newest price is missing from state")
	}
}

// oldest is the first page that has not been written over.
func (r *Ring) oldest() uint64 {
	if c := r.current(); c >= Pages {
		return c - Pages + 1
	}
	return 0
}

// Reach is the earliest time from which on every recorded price is still there,
// ms: a question that begins earlier cannot be answered.
func (r *Ring) Reach() uint64 {
	if r.head.next == 0 {
		return 0
	}
	return r.oldest() * PageMs
}

// At returns the price observed at exactly timestamp.
func (r *Ring) At(timestamp uint64) (price uint64, ok bool) {
	r.Each(timestamp, timestamp, func(_, p uint64) bool {
		price, ok = p, true
		return false
	})
	return price, ok
}

// Beyond returns the first price observed in [start, end] that is less than lower
// or greater than upper. Like [Ring.Window], it reads a handful of records however
// long that is: a super or page is gone into only if it has such a price, and that
// can be in vain only at the window's two ends.
func (r *Ring) Beyond(start, end, lower, upper uint64) (timestamp, price uint64, found bool) {
	q, ok := r.query(start, end)
	if !ok {
		return 0, 0, false
	}
	q.lower, q.upper = lower, upper
	load(r.store, r.keyOf(TopPrefix), r.top[:])
	for super := q.first / SuperPages; super <= q.last/SuperPages && !found; super++ {
		if super < r.current()/SuperPages && !summaryAt(r.top[:], super%Supers).tells(super, &q) {
			continue
		}
		timestamp, price, found = r.beyondInSuper(super, &q)
	}
	return timestamp, price, found
}

func (r *Ring) beyondInSuper(super uint64, q *query) (timestamp, price uint64, found bool) {
	load(r.store, r.superKey(super), r.super[:])
	for page := max(q.first, super*SuperPages); page <= min(q.last, super*SuperPages+SuperPages-1) && !found; page++ {
		if page < r.current() && !summaryAt(r.super[:], page%SuperPages).tells(page, q) {
			continue
		}
		r.eachOfPage(page, q.start, q.end, func(t, p uint64) bool {
			if found = q.beyond(p, p); found {
				timestamp, price = t, p
			}
			return !found
		})
	}
	return timestamp, price, found
}

// Window summarises the prices observed in [start, end], both inclusive. The
// cost does not depend on how long that is: at most the top, three supers and
// three pages are read.
func (r *Ring) Window(start, end uint64) Window {
	w := Window{Empty: true}
	r.window(start, end, &w)
	return w
}

func (r *Ring) window(start, end uint64, w *Window) {
	q, ok := r.query(start, end)
	if !ok {
		return
	}
	load(r.store, r.keyOf(TopPrefix), r.top[:])
	for super := q.first / SuperPages; super <= q.last/SuperPages; super++ {
		r.visitSuper(super, &q, w)
	}
}

// query is a window in time, the pages that prices of it can be in, and a range of
// prices.
type query struct{ start, end, first, last, lower, upper uint64 }

// query is false if no price can be in the window.
func (r *Ring) query(start, end uint64) (q query, ok bool) {
	if r.head.next == 0 || end < start {
		return q, false
	}
	q = query{start: start, end: end, first: r.oldest(), last: r.current()}
	q.first = max(q.first, start/PageMs)
	q.last = min(q.last, (end/SlotMs+1)/PageSlots)
	return q, q.first <= q.last
}

// beyond reports whether one of prices with that least and greatest is out of the
// range.
func (q *query) beyond(least, greatest uint64) bool { return least < q.lower || greatest > q.upper }

// visitSuper adds what a super holds: by its summary, if it was left and is inside
// the window, and by its pages otherwise. A super whose first pages have been
// written over is summarised by pages too: its own summary still knows them, but
// what cannot be shown any more must not count.
func (r *Ring) visitSuper(super uint64, q *query, w *Window) {
	if super < r.current()/SuperPages {
		s := summaryAt(r.top[:], super%Supers)
		if !s.is(super) || s.outside(q) {
			return
		}
		if s.inside(q) && super*SuperPages >= q.first {
			w.add(s)
			return
		}
	}
	load(r.store, r.superKey(super), r.super[:])
	for page := max(q.first, super*SuperPages); page <= min(q.last, super*SuperPages+SuperPages-1); page++ {
		r.visitPage(page, q, w)
	}
}

// visitPage adds what a page holds; its super is in the buffer.
func (r *Ring) visitPage(page uint64, q *query, w *Window) {
	if page < r.current() {
		s := summaryAt(r.super[:], page%SuperPages)
		if !s.is(page) || s.outside(q) {
			return
		}
		if s.inside(q) {
			w.add(s)
			return
		}
	}
	if r.loadPage(page) {
		w.scan(r.page[8:], q.start, q.end)
	}
}

// Each calls f with every price observed in [from, to], oldest first, until f
// returns false.
func (r *Ring) Each(from, to uint64, f func(timestamp, price uint64) bool) {
	if r.head.next == 0 || to < from {
		return
	}
	for page := max(r.oldest(), from/PageMs); page <= min(r.current(), (to/SlotMs+1)/PageSlots); page++ {
		if !r.eachOfPage(page, from, to, f) {
			return
		}
	}
}

// eachOfPage reports whether f never returned false.
func (r *Ring) eachOfPage(page, from, to uint64, f func(timestamp, price uint64) bool) bool {
	if !r.loadPage(page) {
		return true
	}
	for i := 8; i < pageBytes; i += slotBytes {
		t := abi.U64(r.page[i:])
		if t != 0 && t >= from && t <= to && !f(t, abi.U64(r.page[i+8:])) {
			return false
		}
	}
	return true
}

// scan adds the prices of a page's slots that are within [start, end].
func (w *Window) scan(slots []byte, start, end uint64) {
	for ; len(slots) >= slotBytes; slots = slots[slotBytes:] {
		if t := abi.U64(slots); t != 0 && t >= start && t <= end {
			p := abi.U64(slots[8:])
			w.merge(p, p, t, t, 0)
		}
	}
}

// add adds what s is about.
func (w *Window) add(s *summary) { w.merge(s.min(), s.max(), s.first(), s.last(), s.gap()) }

// merge adds prices that are all later than those of w. Fields travel one by one:
// inside a guest the structs of a long window would cost more than the rest.
func (w *Window) merge(least, greatest, first, last, gap uint64) {
	if w.Empty {
		*w = Window{Min: least, Max: greatest, First: first, Last: last, Gap: gap}
		return
	}
	w.Min, w.Max = min(w.Min, least), max(w.Max, greatest)
	w.Gap = max(w.Gap, gap, first-w.Last)
	w.Last = last
}

// summary is the window of a whole page or super, in the record it is part of, with
// the number of that plus one, so that zeroes are the summary of nothing.
type summary [sumBytes]byte

func summaryAt(record []byte, i uint64) *summary { return (*summary)(record[i*sumBytes:]) }

func (s *summary) min() uint64   { return abi.U64(s[8:]) }
func (s *summary) max() uint64   { return abi.U64(s[16:]) }
func (s *summary) first() uint64 { return abi.U64(s[24:]) }
func (s *summary) last() uint64  { return abi.U64(s[32:]) }
func (s *summary) gap() uint64   { return abi.U64(s[40:]) }

// is reports whether s is about the page or super of that number, and not of
// another lap or of nothing.
func (s *summary) is(number uint64) bool { return abi.U64(s[:]) == number+1 && s.first() != 0 }

func (s *summary) inside(q *query) bool  { return s.first() >= q.start && s.last() <= q.end }
func (s *summary) outside(q *query) bool { return s.last() < q.start || s.first() > q.end }

// tells reports whether s is about prices near the window, one of them out of the
// range.
func (s *summary) tells(number uint64, q *query) bool {
	return s.is(number) && !s.outside(q) && q.beyond(s.min(), s.max())
}

func (s *summary) put(number uint64, w *Window) {
	for i, v := range [...]uint64{number + 1, w.Min, w.Max, w.First, w.Last, w.Gap} {
		abi.PutU64(s[8*i:], v)
	}
}
