package settle

import "slices"

// hole is a time without recorded price, from one to the next, that is longer
// than prices may be apart.
type hole struct{ from, to uint64 }

// market is what is known of one pair's prices, and the theses that wait for the
// next one. A price costs O(log n) for each thesis whose window it begins, ends
// or breaks, and nothing for the others.
type market struct {
	pair  Pair
	last  uint64 // time of the newest price, or from when on none was recorded
	price uint64 // the newest price; 0: none is known
	next  uint64 // the first slot of the chain's record that is free
	reach uint64 // the chain had forgotten what was before, when that was asked
	holes []hole // ascending

	pending heap // theses not begun, by start
	ending  heap // watched ones, by end
	lower   heap // watched ones, greatest lower bound first
	upper   heap // watched ones, least upper bound first
}

func newMarket(p Pair) *market {
	return &market{
		pair:    p,
		pending: heap{slot: slotLife, less: func(a, b *item) bool { return a.Start < b.Start || a.Start == b.Start && a.ID < b.ID }},
		ending:  heap{slot: slotLife, less: func(a, b *item) bool { return a.End < b.End || a.End == b.End && a.ID < b.ID }},
		lower:   heap{slot: slotLower, less: func(a, b *item) bool { return a.Lower > b.Lower || a.Lower == b.Lower && a.ID < b.ID }},
		upper:   heap{slot: slotUpper, less: func(a, b *item) bool { return a.Upper < b.Upper || a.Upper == b.Upper && a.ID < b.ID }},
	}
}

// watch begins to look after a thesis. It reports whether the newest price is in
// its window already, and breaks it: a thesis may begin with the very price of
// the block that made it.
func (m *market) watch(it *item) (breached bool) {
	switch {
	case it.Start > m.last:
		m.pending.push(it)
	case it.End >= m.last:
		if m.price != 0 && (m.price < it.Lower || m.price > it.Upper) {
			it.breachTime, it.breachPrice = m.last, m.price
			return true
		}
		m.activate(it)
	}
	return false
}

func (m *market) activate(it *item) {
	it.watched = true
	m.ending.push(it)
	m.lower.push(it)
	m.upper.push(it)
}

func (m *market) unwatch(it *item) {
	if it.watched {
		it.watched = false
		m.ending.remove(it)
		m.lower.remove(it)
		m.upper.remove(it)
		return
	}
	m.pending.remove(it)
}

// note takes the next price: theses that it finds begun are watched, those that
// it finds ended are not any more. It reports whether there was a hole before it.
func (m *market) note(p *Price, maxStaleMs uint64) (hole bool) {
	if p.Timestamp <= m.last {
		return false
	}
	hole = m.noteHole(p.Timestamp, maxStaleMs)
	m.last, m.price, m.next = p.Timestamp, p.Price, max(p.Timestamp/SlotMs, m.next)+1
	for it := m.pending.top(); it != nil && it.Start <= m.last; it = m.pending.top() {
		m.pending.remove(it)
		if it.End >= m.last {
			m.activate(it)
		}
	}
	for it := m.ending.top(); it != nil && it.End < m.last; it = m.ending.top() {
		m.unwatch(it)
	}
	return hole
}

// noteHole remembers a hole for as long as the chain remembers prices.
func (m *market) noteHole(now, maxStaleMs uint64) bool {
	if now-m.last <= maxStaleMs {
		return false
	}
	old := 0
	for old < len(m.holes) && m.holes[old].to+SpanMs+PageMs < now {
		old++
	}
	m.holes = append(slices.Delete(m.holes, 0, old), hole{m.last, now})
	return true
}

// nextBreached takes out one watched thesis that a price breaks, nil if there are
// no more.
func (m *market) nextBreached(p *Price) *item {
	if p.Timestamp != m.last || p.Price != m.price {
		return nil // an old price
	}
	it := m.lower.top()
	if it == nil || it.Lower <= p.Price {
		if it = m.upper.top(); it == nil || it.Upper >= p.Price {
			return nil
		}
	}
	m.unwatch(it)
	return it
}

// reachNow is the time before which the chain has forgotten prices, ms.
func (m *market) reachNow() uint64 {
	if page := m.last - m.last%PageMs; page > SpanMs {
		return max(m.reach, page-SpanMs)
	}
	return m.reach
}

// hasHole says whether more than maxStaleMs of [start, end], which is over by
// now, went without price.
func (m *market) hasHole(start, end, maxStaleMs uint64) bool {
	if inside(hole{m.last, end}, start, end) > maxStaleMs {
		return true
	}
	first, _ := slices.BinarySearchFunc(m.holes, start, func(h hole, start uint64) int {
		if h.to <= start {
			return -1
		}
		return 1
	})
	for _, h := range m.holes[first:] {
		if h.from >= end {
			break
		}
		if inside(h, start, end) > maxStaleMs {
			return true
		}
	}
	return false
}

// inside is how much of a hole is inside [start, end], ms.
func inside(h hole, start, end uint64) uint64 {
	from, to := max(h.from, start), min(h.to, end)
	if to <= from {
		return 0
	}
	return to - from
}
