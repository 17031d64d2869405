package refmarket

// Price is what a market cost at a time, ms.
type Price struct {
	Timestamp, Price uint64
}

// observation is a price that was recorded, and its place in the ring.
type observation struct {
	Price
	position uint64
}

// The ring that the log stands for: slots of 100 ms in pages of 64, 1024 pages.
const (
	slotMs    = 100
	pageSlots = 64
	ringPages = 1024
)

// observe takes a price that is newer than the newest. It is recorded in the slot
// of its timestamp, or the one after if that is taken; if both are, it is the
// newest price and no more.
func (x *market) observe(p Price) (recorded bool) {
	x.newest = p
	position := p.Timestamp / slotMs
	if n := len(x.log); n > 0 {
		if last := x.log[n-1].position; last > position {
			return false
		} else if last == position {
			position++
		}
	}
	x.log = append(x.log, observation{p, position})
	return true
}

// kept is the first page of which the ring still has every price.
func (x *market) kept() uint64 {
	if len(x.log) == 0 {
		return 0
	}
	newest := x.log[len(x.log)-1].position / pageSlots
	if newest < ringPages-1 {
		return 0
	}
	return newest - (ringPages - 1)
}

// within is every price of [start, end] that the ring still has, oldest first,
// and whether it has all there ever was.
func (x *market) within(start, end uint64) (prices []Price, complete bool) {
	for _, o := range x.log {
		if o.Timestamp >= start && o.Timestamp <= end && o.position/pageSlots >= x.kept() {
			prices = append(prices, o.Price)
		}
	}
	return prices, start/slotMs/pageSlots >= x.kept()
}

// hole reports whether more than limit ms of [start, end] went by without a price.
func hole(prices []Price, start, end, limit uint64) bool {
	last := start
	for _, p := range prices {
		if p.Timestamp-last > limit {
			return true
		}
		last = p.Timestamp
	}
	return end-last > limit
}
