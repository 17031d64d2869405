package settle

// Preview tells a core the prices that the open block began with, whose height is
// given. They are not in the stream yet, but the chain has recorded them already,
// as far as it records them:
// a breach among them can be claimed in that very block, one block earlier than
// the stream would allow. A core that is never told so is only later.
//
// A price that does not come with the sealed block was none: what rests on it is
// taken back, and the chain refuses what was sent.
func (c *Core) Preview(height uint64, prices []Price) {
	if height != c.height+1 || height == c.preview {
		return
	}
	c.preview = height
	for i := range prices {
		p := &prices[i]
		if p.Price == 0 || !c.settles(p.Pair) {
			continue
		}
		if m := c.market(p.Pair); m.records(p) {
			m.eachBroken(p, func(it *item) { c.foresee(it, p) })
		}
	}
}

// foresee takes a breach that is in the open block.
func (c *Core) foresee(it *item, p *Price) {
	if it.breachTime != 0 || it.doubt || it.gone || it.phase != idle && it.phase != queued {
		return
	}
	c.unschedule(it)
	it.phase = idle
	it.breachTime, it.breachPrice, it.preview = p.Timestamp, p.Price, true
	c.previewed = append(c.previewed, it.ID)
	c.enqueue(it)
}

// endPreviews takes back what the block that is sealed now did not confirm.
func (c *Core) endPreviews() {
	for _, id := range c.previewed {
		if it := c.items[id]; it != nil && it.preview {
			c.revoke(it)
		}
	}
	c.previewed = nil
}

// revoke forgets a breach that was not. A transaction that claims it stays where
// it is: the chain's answer decides.
func (c *Core) revoke(it *item) {
	it.breachTime, it.breachPrice, it.preview = 0, 0, false
	if it.stamp == 0 && (it.phase == idle || it.phase == queued) {
		c.unschedule(it)
		c.plan(it, 0)
	}
}

// records foretells whether the chain records a price: if it is newer than the
// last, and its slot or the next one is free.
func (m *market) records(p *Price) bool {
	return p.Timestamp > m.last && m.next <= p.Timestamp/SlotMs+1
}

// eachBroken calls f with every thesis that the market's next price breaks, and
// changes nothing. It costs as much as there are, and as the price begins.
func (m *market) eachBroken(p *Price, f func(*item)) {
	inTime := func(it *item) {
		if it.End >= p.Timestamp && (p.Price < it.Lower || p.Price > it.Upper) {
			f(it)
		}
	}
	m.lower.each(0, func(it *item) bool { return it.Lower > p.Price }, inTime)
	m.upper.each(0, func(it *item) bool { return it.Upper < p.Price }, inTime)
	m.pending.each(0, func(it *item) bool { return it.Start <= p.Timestamp }, inTime)
}
