// Package settle is the settler's core: which thesis to settle when, with which
// claim, exactly once.
//
// It owns every open thesis of its pairs, the breaches and holes that recorded
// prices made in their windows, and what became of each submission. It does no
// I/O, starts no goroutines and knows no clock: the time that counts is that of
// the newest block. It must not import any adapter, nor the module; the relay
// tells it what blocks said.
//
//	core := settle.New(cfg)                     or settle.Restore(cfg, saved)
//	core.Rebuild(snapshot)                      what the state says, when the stream cannot
//	core.Block(block)                           next in the stream; older ones change nothing
//	core.Preview(height, prices)                what the open block began with, to be a block earlier
//	core.Tick()                                 look for those that are due
//	batch, ok := core.Next()                    one is out at a time
//	record := core.AppendInFlight(nil)          make it durable, then send the batch
//	core.Answer(answers)                        what became of it; then Next again
//	saved := core.Append(nil)                   any time: with the newest record, and blocks from there on, the same core
//
// How a thesis is settled once: it leaves only when the chain's own stream says
// that it is settled. A transaction whose fate is unknown is sent again with the
// same bytes, which the chain executes at most once. Whatever else goes wrong,
// the chain refuses a second settlement.
//
// A Core belongs to one goroutine.
package settle

import (
	"errors"
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
)

// Limits and times. Times are ms of the chain's clock.
const (
	// MaxBatch bounds the transactions of one batch: as many as a node takes in one
	// call.
	MaxBatch = 1000
	// GraceMs is how long after its challenge window a thesis may be settled by
	// anybody, the chain deciding the outcome (protocol section 5).
	GraceMs = 60_000
	// SpanMs is how far back the chain keeps prices, PageMs the steps in which it
	// forgets them (a test compares with stf-modules/rfq/ring).
	SpanMs, PageMs = 1023 * 6_400, 6_400
	// SlotMs is the width of a slot of the chain's record: at most two prices of two
	// neighbouring slots are kept.
	SlotMs = 100
	// MaxAheadMs bounds how far a transaction's timestamp may run ahead of the
	// chain's time; the chain allows two days.
	MaxAheadMs = 24 * 3600 * 1000
	// backoffMs and maxBackoffMs are the first and the longest pause after a claim
	// that could not be executed for reasons that may pass.
	backoffMs, maxBackoffMs = 200, 30_000
	// maxTries is how often a claim is made that fails for an unknown reason,
	// before the decision is left to the chain.
	maxTries = 8
)

// ErrGap: a block does not follow the newest one that was taken. The stream has a
// hole, or the chain is another one: ask the state.
var ErrGap = errors.New("block does not follow")

// Pair is a market.
type Pair struct{ Base, Quote chain.Address }

func (p Pair) compare(q Pair) int {
	if c := slices.Compare(p.Base[:], q.Base[:]); c != 0 {
		return c
	}
	return slices.Compare(p.Quote[:], q.Quote[:])
}

// Thesis is what the settler has to know of one: solver wins if a price is
// recorded in [Start, End] that is below Lower or above Upper.
type Thesis struct {
	ID           uint64
	Pair         Pair
	Lower, Upper uint64
	Start, End   uint64
	Due          uint64 // end of the challenge window
}

// Price is one recorded price. Of a market they come in ascending order of time.
type Price struct {
	Pair             Pair
	Timestamp, Price uint64
}

// Event is one thing that a block did to theses: exactly one field is set.
type Event struct {
	Created *Thesis
	Settled uint64 // id of a thesis that reached its final state, by whomever
}

// Block is what the core needs of one. Prices were recorded at its beginning,
// before its events.
type Block struct {
	Height uint64
	Parent chain.Hash
	Hash   chain.Hash
	Time   uint64
	Prices []Price
	Events []Event
}

// History is what the chain has recorded of one market from From on.
type History struct {
	Pair Pair
	// From is the time from which on Prices are complete, Reach the time before
	// which the chain itself has forgotten.
	From, Reach uint64
	Prices      []Price // ascending
}

// Snapshot is what the state after one block says.
type Snapshot struct {
	Height    uint64
	Hash      chain.Hash
	Time      uint64
	Theses    []Thesis // open ones, of the core's pairs
	Histories []History
}

// Config is what a settler settles, and how.
type Config struct {
	// Pairs to settle; empty: every one.
	Pairs []Pair
	// MaxStaleMs is the longest time without price that makes no hole.
	MaxStaleMs uint64
	// BufferMs is waited after the challenge window before UserWins or Void.
	BufferMs uint64
	// BatchSize bounds a batch, 1 to MaxBatch.
	BatchSize int
}

// Core is the settler's state.
type Core struct {
	cfg       Config
	height    uint64
	hash      chain.Hash
	time      uint64
	stamp     uint64 // the newest timestamp that was given to a transaction
	items     map[uint64]*item
	markets   []*market             // ascending by pair
	timers    heap                  // by when to look again
	queue     heap                  // in the order of sending
	enqueued  uint64                // items that were ever queued
	out       bool                  // a batch is out
	waiting   []uint64              // answered, not yet seen in the stream
	resumed   map[uint64]Settlement // sent by the predecessor, for theses that the stream has yet to tell of
	inFlight  []uint64              // theses with a stamp, in the order of stamps, and some that had one
	previewed []uint64              // theses that the open block breaks
	preview   uint64                // the open block that was looked at
	counts    Counts
}

// Counts is what a core has seen since it was made, and where it stands.
type Counts struct {
	Open, Watching, Queued, Out, Answered int // theses now
	Breaches                              uint64
	Holes                                 uint64
	Settled                               uint64 // seen settled in the stream, by whomever
	Sent                                  [claims]uint64
	Answers                               [outcomes]uint64
	Lost                                  uint64 // answered as settled, and not in the stream
	Rebuilt                               uint64 // snapshots taken
}

// phase is where an item's settlement stands.
type phase uint8

const (
	idle   phase = iota // a timer says when to look again
	queued              // to be sent
	sent                // in the batch that is out
	answered
)

// item is one open thesis.
type item struct {
	Thesis
	market      *market
	at          uint64 // when to look again, while idle
	order       uint64 // in the queue
	breachTime  uint64 // 0: none was seen
	breachPrice uint64
	stamp       uint64 // timestamp of a transaction that was sent, and that the stream has yet to tell of; 0: none
	claim       Claim  // of that transaction
	until       uint64 // the block whose events settle it, once answered
	tries       uint8
	phase       phase
	listed      bool         // in the core's inFlight
	preview     bool         // its breach was seen in the open block, and in no sealed one yet
	doubt       bool         // the chain contradicted a claim: let it decide
	denied      bool         // the chain does not take this settler's word: later, anybody may ask it to decide
	gone        bool         // the chain says that it has no prices for the claim any more
	watched     bool         // by its market: until its end, or until it is broken
	slots       [slots]int32 // places in heaps, +1; 0: not in it
}

// New makes a core that knows nothing: give it a snapshot.
func New(cfg Config) *Core {
	invariant.Hold(cfg.BatchSize >= 1 && cfg.BatchSize <= MaxBatch, "batch size %d, limit %d (invariant 11)", cfg.BatchSize, MaxBatch)
	cfg.Pairs = slices.Clone(cfg.Pairs)
	slices.SortFunc(cfg.Pairs, Pair.compare)
	return &Core{
		cfg: cfg, items: map[uint64]*item{}, resumed: map[uint64]Settlement{},
		timers: heap{slot: slotSchedule, less: func(a, b *item) bool { return a.at < b.at || a.at == b.at && a.ID < b.ID }},
		queue:  heap{slot: slotSchedule, less: sendsBefore},
	}
}

// sendsBefore is the order of sending: what was sent before, in the order of its
// timestamps; then claims that need not wait; then as they came.
func sendsBefore(a, b *item) bool {
	switch {
	case (a.stamp != 0) != (b.stamp != 0):
		return a.stamp != 0
	case a.stamp != b.stamp:
		return a.stamp < b.stamp
	case (a.breachTime != 0) != (b.breachTime != 0):
		return a.breachTime != 0
	}
	return a.order < b.order
}

// Height is the newest block that was taken, Hash its hash and Time its time.
func (c *Core) Height() uint64 { return c.height }

// Hash is the hash of the newest block that was taken.
func (c *Core) Hash() chain.Hash { return c.hash }

// Time is the time of the newest block that was taken, ms: the settler's clock.
func (c *Core) Time() uint64 { return c.time }

// Counts says where the core stands.
func (c *Core) Counts() Counts {
	v := c.counts
	v.Open, v.Queued, v.Answered = len(c.items), len(c.queue.items), len(c.waiting)
	for _, m := range c.markets {
		v.Watching += len(m.lower.items)
	}
	return v
}

// Block takes the next block. One that was taken before changes nothing; one that
// does not follow is [ErrGap], and the core stays where it was.
func (c *Core) Block(b *Block) error {
	switch {
	case b.Height <= c.height:
		return nil
	case b.Height != c.height+1:
		return fmt.Errorf("%w: block %d, the newest is %d", ErrGap, b.Height, c.height)
	case b.Parent != c.hash:
		return fmt.Errorf("%w: block %d names parent %s, the newest is %s", ErrGap, b.Height, b.Parent, c.hash)
	}
	c.height, c.hash, c.time = b.Height, b.Hash, b.Time
	for i := range b.Prices {
		c.observe(&b.Prices[i])
	}
	for i := range b.Events {
		if t := b.Events[i].Created; t != nil {
			c.add(t)
		} else if c.remove(b.Events[i].Settled) {
			c.counts.Settled++
		}
	}
	c.endPreviews()
	c.reopenLost()
	return nil
}

// settles says whether a pair is this settler's.
func (c *Core) settles(p Pair) bool {
	_, found := slices.BinarySearchFunc(c.cfg.Pairs, p, Pair.compare)
	return found || len(c.cfg.Pairs) == 0
}

// add starts to look after a thesis, unless it is somebody else's or known.
func (c *Core) add(t *Thesis) *item {
	if c.items[t.ID] != nil || !c.settles(t.Pair) {
		return c.items[t.ID]
	}
	it := &item{Thesis: *t, market: c.market(t.Pair)}
	c.items[t.ID] = it
	c.plan(it, 0)
	if it.market.watch(it) {
		c.counts.Breaches++
		c.breached(it)
	}
	if s, known := c.resumed[t.ID]; known {
		delete(c.resumed, t.ID)
		c.resend(it, &s)
	}
	return it
}

// remove forgets a thesis; false if it is not known.
func (c *Core) remove(id uint64) bool {
	delete(c.resumed, id)
	it := c.items[id]
	if it == nil {
		return false
	}
	it.market.unwatch(it)
	c.unschedule(it)
	if it.phase == answered {
		c.waiting = slices.DeleteFunc(c.waiting, func(w uint64) bool { return w == id })
	}
	delete(c.items, id)
	return true
}

func (c *Core) unschedule(it *item) {
	switch it.phase {
	case idle:
		c.timers.remove(it)
	case queued:
		c.queue.remove(it)
	}
}

// observe looks at a recorded price.
func (c *Core) observe(p *Price) {
	if !c.settles(p.Pair) {
		return
	}
	m := c.market(p.Pair)
	if m.note(p, c.cfg.MaxStaleMs) {
		c.counts.Holes++
	}
	for {
		it := m.nextBreached(p)
		if it == nil {
			return
		}
		requeue := it.phase == queued // its place in line depends on what follows
		if requeue {
			c.queue.remove(it)
			it.phase = idle
		}
		it.breachTime, it.breachPrice, it.preview = p.Timestamp, p.Price, false
		c.counts.Breaches++
		c.breached(it)
		if requeue && it.phase == idle {
			c.enqueue(it)
		}
	}
}

// breached sends a thesis on its way as soon as its breach is known, unless a
// transaction of it is.
func (c *Core) breached(it *item) {
	if it.phase == idle && !it.doubt && !it.gone {
		c.enqueue(it)
	}
}

// market finds or makes the record of a pair.
func (c *Core) market(p Pair) *market {
	i, found := slices.BinarySearchFunc(c.markets, p, func(m *market, p Pair) int { return m.pair.compare(p) })
	if !found {
		c.markets = slices.Insert(c.markets, i, newMarket(p))
	}
	return c.markets[i]
}

// Rebuild replaces what the core knows of the chain by what the state after one
// block says. What it knows of its own transactions stays.
func (c *Core) Rebuild(s *Snapshot) {
	old, counts := c.items, c.counts
	c.inFlight, c.previewed = nil, nil
	c.height, c.hash, c.time = s.Height, s.Hash, s.Time
	c.items, c.markets, c.waiting = make(map[uint64]*item, len(s.Theses)), nil, nil
	c.timers.items, c.queue.items = nil, nil
	for i := range s.Histories {
		h := &s.Histories[i]
		if c.settles(h.Pair) {
			m := c.market(h.Pair)
			m.last, m.reach = max(h.From, 1)-1, h.Reach // the very first one may be From's
		}
	}
	for i := range s.Theses {
		if it := c.add(&s.Theses[i]); it != nil {
			c.carryOver(it, old[it.ID])
		}
	}
	for i := range s.Histories {
		for j := range s.Histories[i].Prices {
			c.observe(&s.Histories[i].Prices[j])
		}
	}
	clear(c.resumed) // what is not open now never will be
	counts.Rebuilt++
	c.counts = counts
}

// carryOver takes over what is known of a thesis's transactions.
func (c *Core) carryOver(it, old *item) {
	if old == nil {
		return
	}
	c.unschedule(it)
	it.phase = idle
	c.setSent(it, old.stamp, old.claim)
	it.tries, it.doubt, it.denied = old.tries, old.doubt, old.denied
	switch {
	case old.phase == sent:
		it.phase = sent
	case old.phase == answered && old.until > c.height:
		it.phase, it.until = answered, old.until
		c.waiting = append(c.waiting, it.ID)
	default:
		c.replan(it)
	}
}

// replan places a thesis that is in no schedule.
func (c *Core) replan(it *item) {
	if it.stamp != 0 || it.breachTime != 0 && !it.doubt && !it.gone {
		c.enqueue(it)
		return
	}
	c.plan(it, 0)
}
