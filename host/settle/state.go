package settle

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// StateVersion is the version of what [Core.Append] and [AppendBatch] write.
// host/relay/STATE.md shows every byte.
const StateVersion uint16 = 1

// ErrState is wrapped when bytes are not a saved core of this version;
// [ErrPairs] when it is one of other pairs, so that theses would be missing.
var (
	ErrState = errors.New("not a saved settler state")
	ErrPairs = errors.New("saved settler state is of other pairs")
)

// Flags of a saved thesis.
const (
	flagDoubt = 1 << iota
	flagDenied
	flagGone
	flagSent     // stamp and claim follow
	flagAnswered // the block it settles in follows
	flags        = 1<<iota - 1
)

// Smallest encodings, for counts: a pair, a market, a hole, a thesis, a
// settlement.
const (
	pairBytes       = 20 + 20
	marketBytes     = pairBytes + 4*8 + 4
	holeBytes       = 2 * 8
	itemBytes       = 8 + 4 + 5*8 + 2*8 + 2
	settlementBytes = 2*8 + claimBytes
	claimBytes      = 1 + 2*8
)

// Append appends everything that a core knows. Blocks that follow, given to what
// [Restore] makes of it, make the same core.
func (c *Core) Append(dst []byte) []byte {
	dst = abi.AppendU16(dst, StateVersion)
	dst = abi.AppendU32(dst, uint32(len(c.cfg.Pairs)))
	for _, p := range c.cfg.Pairs {
		dst = p.append(dst)
	}
	dst = append(abi.AppendU64(dst, c.height), c.hash[:]...)
	dst = abi.AppendU64(abi.AppendU64(dst, c.time), c.stamp)
	dst = abi.AppendU32(dst, uint32(len(c.markets)))
	at := make(map[*market]uint32, len(c.markets))
	for i, m := range c.markets {
		at[m] = uint32(i)
		dst = m.append(dst)
	}
	dst = abi.AppendU32(dst, uint32(len(c.items)))
	for _, id := range slices.Sorted(maps.Keys(c.items)) {
		it := c.items[id]
		dst = it.append(dst, at[it.market])
	}
	return dst
}

func (p Pair) append(dst []byte) []byte { return append(append(dst, p.Base[:]...), p.Quote[:]...) }

func readPair(r *abi.Reader) Pair { return Pair{r.Bytes20(), r.Bytes20()} }

func (m *market) append(dst []byte) []byte {
	dst = m.pair.append(dst)
	for _, v := range [...]uint64{m.last, m.price, m.next, m.reach} {
		dst = abi.AppendU64(dst, v)
	}
	dst = abi.AppendU32(dst, uint32(len(m.holes)))
	for _, h := range m.holes {
		dst = abi.AppendU64(abi.AppendU64(dst, h.from), h.to)
	}
	return dst
}

func readMarket(r *abi.Reader) *market {
	m := newMarket(readPair(r))
	m.last, m.price, m.next, m.reach = r.U64(), r.U64(), r.U64(), r.U64()
	m.holes = make([]hole, r.Count(holeBytes))
	for i := range m.holes {
		m.holes[i] = hole{r.U64(), r.U64()}
	}
	return m
}

func (it *item) append(dst []byte, market uint32) []byte {
	dst = abi.AppendU32(abi.AppendU64(dst, it.ID), market)
	breachTime, breachPrice := it.breachTime, it.breachPrice
	if it.preview { // no block says so
		breachTime, breachPrice = 0, 0
	}
	for _, v := range [...]uint64{it.Lower, it.Upper, it.Start, it.End, it.Due, breachTime, breachPrice} {
		dst = abi.AppendU64(dst, v)
	}
	dst = append(dst, it.flags(), it.tries)
	if it.stamp != 0 {
		dst = it.claim.append(abi.AppendU64(dst, it.stamp))
	}
	if it.phase == answered {
		dst = abi.AppendU64(dst, it.until)
	}
	return dst
}

func (it *item) flags() (f byte) {
	for i, set := range [...]bool{it.doubt, it.denied, it.gone, it.stamp != 0, it.phase == answered} {
		if set {
			f |= 1 << i
		}
	}
	return f
}

func readItem(r *abi.Reader, markets []*market) *item {
	it := &item{Thesis: Thesis{ID: r.U64()}}
	if n := r.U32(); int64(n) < int64(len(markets)) {
		it.market = markets[n]
		it.Pair = it.market.pair
	} else {
		r.Fail()
	}
	for _, p := range [...]*uint64{&it.Lower, &it.Upper, &it.Start, &it.End, &it.Due, &it.breachTime, &it.breachPrice} {
		*p = r.U64()
	}
	f := r.U8()
	it.tries = r.U8()
	it.doubt, it.denied, it.gone = f&flagDoubt != 0, f&flagDenied != 0, f&flagGone != 0
	if f&flagSent != 0 {
		it.stamp, it.claim = r.U64(), readClaim(r)
	}
	if f&flagAnswered != 0 {
		it.phase, it.until = answered, r.U64()
	}
	if f > flags || it.ID == 0 || f&flagSent != 0 && it.stamp == 0 {
		r.Fail()
	}
	return it
}

func (c *Claim) append(dst []byte) []byte {
	return abi.AppendU64(abi.AppendU64(append(dst, byte(c.Kind)), c.BreachTimestamp), c.BreachPrice)
}

func readClaim(r *abi.Reader) Claim {
	c := Claim{Kind(r.U8()), r.U64(), r.U64()}
	if c.Kind >= claims {
		r.Fail()
	}
	return c
}

// Restore makes the core that [Core.Append] saved. What had been sent and not
// answered is sent again, unchanged.
func Restore(cfg Config, saved []byte) (*Core, error) {
	c := New(cfg)
	r := abi.NewReader(saved)
	if v := r.U16(); v != StateVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrState, v, StateVersion)
	}
	pairs := make([]Pair, r.Count(pairBytes))
	for i := range pairs {
		pairs[i] = readPair(&r)
	}
	c.height, c.hash, c.time, c.stamp = r.U64(), r.Bytes32(), r.U64(), r.U64()
	c.markets = make([]*market, r.Count(marketBytes))
	for i := range c.markets {
		c.markets[i] = readMarket(&r)
		if i > 0 && c.markets[i-1].pair.compare(c.markets[i].pair) >= 0 {
			r.Fail()
		}
	}
	items := c.readItems(&r)
	if !r.Done() {
		return nil, fmt.Errorf("%w: %d bytes", ErrState, len(saved))
	}
	if !slices.Equal(pairs, c.cfg.Pairs) {
		return nil, fmt.Errorf("%w: %d pairs, settling %d", ErrPairs, len(pairs), len(c.cfg.Pairs))
	}
	for _, it := range items {
		c.restore(it)
	}
	return c, nil
}

func (c *Core) readItems(r *abi.Reader) []*item {
	items := make([]*item, r.Count(itemBytes))
	for i := range items {
		items[i] = readItem(r, c.markets)
		if !r.OK() || i > 0 && items[i-1].ID >= items[i].ID {
			r.Fail()
			return nil
		}
	}
	return items
}

// restore places a thesis in the heaps.
func (c *Core) restore(it *item) {
	c.items[it.ID] = it
	if it.breachTime == 0 {
		it.market.watch(it)
	}
	c.setSent(it, it.stamp, it.claim)
	switch it.phase {
	case answered:
		c.waiting = append(c.waiting, it.ID)
	default:
		c.replan(it)
	}
}

// AppendInFlight appends every transaction that was sent, or is about to be, and
// that the stream has yet to tell of. It has to be durable before the batch of
// [Core.Next] is sent, so that after a crash the same transactions are sent again
// and no others for the same theses.
func (c *Core) AppendInFlight(dst []byte) []byte {
	kept := c.inFlight[:0]
	for _, id := range c.inFlight {
		it := c.items[id]
		switch {
		case it == nil:
		case it.stamp == 0:
			it.listed = false
		default:
			kept = append(kept, id)
		}
	}
	c.inFlight = kept
	dst = abi.AppendU32(abi.AppendU16(dst, StateVersion), uint32(len(kept)))
	for _, id := range kept {
		it := c.items[id]
		dst = it.claim.append(abi.AppendU64(abi.AppendU64(dst, id), it.stamp))
	}
	return dst
}

// DecodeInFlight reads exactly what [Core.AppendInFlight] wrote.
func DecodeInFlight(b []byte) ([]Settlement, error) {
	r := abi.NewReader(b)
	if v := r.U16(); v != StateVersion {
		return nil, fmt.Errorf("%w: transactions in flight, version %d, this program reads %d", ErrState, v, StateVersion)
	}
	batch := make([]Settlement, r.Count(settlementBytes))
	for i := range batch {
		batch[i] = Settlement{r.U64(), r.U64(), readClaim(&r)}
	}
	if !r.Done() {
		return nil, fmt.Errorf("%w: %d bytes of transactions in flight", ErrState, len(b))
	}
	return batch, nil
}
