package oracle

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/kaizenchain/kaizen/host/chain"
)

// FutureToleranceMs is how far ahead of the node's clock a timestamp of the
// service may be, ms: clocks that are kept by NTP differ by less. Beyond it the
// data is future-dated and refused.
const FutureToleranceMs = 1_000

// Reason is why prices were not used. The numbers are array indexes, not an
// encoding; the names are label values of a metric and do not change.
type Reason uint8

// Reasons for a whole answer, and from Unknown on for one pair or the whole.
const (
	Timeout     Reason = iota // no answer within oracle.timeout_ms
	Unreachable               // no connection, or it broke
	Status                    // an HTTP status other than 200
	TooLarge                  // a body over MaxAnswerBytes
	Malformed                 // not the shape of protocol section 6
	Unknown                   // a pair that is not in the token table, or with other addresses
	Zero                      // a price of zero
	Future                    // dated more than FutureToleranceMs ahead of the node's clock
	Backwards                 // dated before what was accepted already
	Conflict                  // another price for an instant that has one
	Full                      // one pair more than chain.MaxMarkets
	ReasonCount
)

var reasonNames = [ReasonCount]string{"timeout", "unreachable", "status", "too_large", "malformed", "unknown",
	"zero", "future", "backwards", "conflict", "full"}

func (r Reason) String() string { return reasonNames[r] }

// Refusal is an answer, or one pair of an answer, that was not used.
type Refusal struct {
	Reason Reason
	Pair   string // empty: the whole answer
	Detail string
}

func (r *Refusal) Error() string {
	if r.Pair == "" {
		return fmt.Sprintf("oracle: %s: %s", r.Reason, r.Detail)
	}
	return fmt.Sprintf("oracle: %.40s: %s: %s", r.Pair, r.Reason, r.Detail)
}

func refuse(reason Reason, pair, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Pair: pair, Detail: fmt.Sprintf(format, args...)}
}

// Stats is what a feed has seen since it was made.
type Stats struct {
	Accepted uint64              // answers of which at least one pair was used
	Refused  [ReasonCount]uint64 // answers and pairs not used, by reason
	Failures uint64              // pulls in a row that brought nothing
	LastGood uint64              // node's clock at the last accepted answer, ms; 0 before
}

// Feed decides which prices are in force. It is a state machine without a clock:
// time is an argument, ms. The rules (K-12, protocol section 6):
//
//   - what is malformed, zero, future-dated or goes backwards in time is refused
//     and counted, never used; the last known price stays in force;
//   - one bad pair is refused alone; an answer whose own timestamp is bad is
//     refused whole;
//   - one instant of a pair has one price: a second one for the same lastUpdate
//     is refused (Conflict), because a breach is proved by naming timestamp and
//     price;
//   - no observation is dated later than the moment it was received: a service
//     whose clock is ahead within the tolerance has its times cut to the node's.
//
// So over the snapshots of successive blocks a pair's timestamp never goes
// back, and a changed price always has a later timestamp.
type Feed struct {
	tokens Tokens
	answer instant
	prices []held // ascending by (Base, Quote)
	stats  Stats
}

// instant is one moment on two clocks: as the service said, to tell new from
// old, and as the chain sees it.
type instant struct{ said, stamp uint64 }

type held struct {
	price uint64
	at    instant
	key   chain.Price // Base and Quote only
}

// NewFeed makes a feed over a token table. last is the snapshot of the last block
// (the zero value on a new chain): its prices stay in force over a restart.
func NewFeed(tokens Tokens, last chain.OracleSnapshot) *Feed {
	f := &Feed{tokens: tokens, answer: instant{last.Timestamp, last.Timestamp}}
	for _, p := range last.Prices {
		f.prices = append(f.prices, held{price: p.Price, at: instant{p.Timestamp, p.Timestamp},
			key: chain.Price{Base: p.Base, Quote: p.Quote}})
	}
	return f
}

// Accept uses what it may of an answer that was received at now, and returns
// what it refused. Its answer is in force from the next [Feed.Snapshot] on.
func (f *Feed) Accept(a *Answer, now uint64) []*Refusal {
	if r := f.checkAnswer(a, now); r != nil {
		f.Fail(r)
		return []*Refusal{r}
	}
	var refused []*Refusal
	for i := range a.Entries {
		if r := f.acceptEntry(&a.Entries[i], now); r != nil {
			f.stats.Refused[r.Reason]++
			refused = append(refused, r)
		}
	}
	if len(refused) == len(a.Entries) {
		f.stats.Failures++ // an answer without one usable price does not renew anything
		return refused
	}
	f.answer.advance(a.Timestamp, now)
	f.stats.Accepted, f.stats.Failures, f.stats.LastGood = f.stats.Accepted+1, 0, now
	return refused
}

// Fail records a pull that brought nothing; err is what [Client.Pull] returned.
func (f *Feed) Fail(err error) {
	reason := Unreachable
	if r := (*Refusal)(nil); errors.As(err, &r) {
		reason = r.Reason
	}
	f.stats.Refused[reason]++
	f.stats.Failures++
}

// Stats is a copy of the counters.
func (f *Feed) Stats() Stats { return f.stats }

// Snapshot is what a block that opens at blockTime carries. It is stale when the
// last accepted answer is more than maxStale ms older than the block, and before
// the first one. No time in it is later than the block, even if the node's clock
// was set back after the prices came in.
func (f *Feed) Snapshot(blockTime, maxStale uint64) chain.OracleSnapshot {
	s := chain.OracleSnapshot{Timestamp: min(f.answer.stamp, blockTime)}
	s.Stale = s.Timestamp == 0 || blockTime-s.Timestamp > maxStale
	if len(f.prices) > 0 {
		s.Prices = make([]chain.Price, len(f.prices))
	}
	for i, h := range f.prices {
		s.Prices[i] = chain.Price{Base: h.key.Base, Quote: h.key.Quote, Price: h.price, Timestamp: min(h.at.stamp, blockTime)}
	}
	return s
}

func (f *Feed) checkAnswer(a *Answer, now uint64) *Refusal {
	switch {
	case len(a.Entries) == 0:
		return refuse(Malformed, "", "no prices")
	case ahead(a.Timestamp, now):
		return refuse(Future, "", "timestamp %d, the clock here says %d", a.Timestamp, now)
	case a.Timestamp < f.answer.said:
		return refuse(Backwards, "", "timestamp %d, an earlier answer had %d", a.Timestamp, f.answer.said)
	}
	return nil
}

func (f *Feed) acceptEntry(e *Entry, now uint64) *Refusal {
	if r := f.checkEntry(e, now); r != nil {
		return r
	}
	i, found := f.find(e)
	if !found {
		return f.insert(i, e, now)
	}
	h := &f.prices[i]
	changed := h.price != e.Price
	switch {
	case e.LastUpdate < h.at.said:
		return refuse(Backwards, e.Name, "lastUpdate %d, it was %d before", e.LastUpdate, h.at.said)
	case changed && e.LastUpdate == h.at.said:
		return refuse(Conflict, e.Name, "price %d, but the price at %d is %d", e.Price, e.LastUpdate, h.price)
	case changed && min(e.LastUpdate, now) <= h.at.stamp:
		return refuse(Backwards, e.Name, "lastUpdate %d was received at %d, the price in force is of %d", e.LastUpdate, now, h.at.stamp)
	}
	h.price = e.Price
	h.at.advance(e.LastUpdate, now)
	return nil
}

func (f *Feed) checkEntry(e *Entry, now uint64) *Refusal {
	if e.Bad != nil {
		return e.Bad
	}
	pair, err := f.tokens.Pair(e.Name)
	switch {
	case err != nil:
		return refuse(Unknown, e.Name, "%v", err)
	case pair != e.Pair:
		return refuse(Unknown, e.Name, "addresses %s/%s, want %s/%s", e.Base, e.Quote, pair.Base, pair.Quote)
	case e.Price == 0:
		return refuse(Zero, e.Name, "price is 0")
	case e.LastUpdate == 0:
		return refuse(Malformed, e.Name, "lastUpdate is 0")
	case ahead(e.LastUpdate, now):
		return refuse(Future, e.Name, "lastUpdate %d, the clock here says %d", e.LastUpdate, now)
	}
	return nil
}

func (f *Feed) find(e *Entry) (int, bool) {
	key := chain.Price{Base: e.Base, Quote: e.Quote}
	return sort.Find(len(f.prices), func(i int) int { return key.Compare(&f.prices[i].key) })
}

func (f *Feed) insert(i int, e *Entry, now uint64) *Refusal {
	if len(f.prices) >= chain.MaxMarkets {
		return refuse(Full, e.Name, "%d pairs have a price already", len(f.prices))
	}
	h := held{price: e.Price, key: chain.Price{Base: e.Base, Quote: e.Quote}}
	h.at.advance(e.LastUpdate, now)
	f.prices = slices.Insert(f.prices, i, h)
	return nil
}

func (t *instant) advance(said, now uint64) {
	t.said = said
	t.stamp = max(t.stamp, min(said, now))
}

// ahead says whether t is too far in the future; t may be any number that a
// service can write.
func ahead(t, now uint64) bool { return t > now && t-now > FutureToleranceMs }
