package quote

import (
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
)

// phase is how far an offer has come.
type phase int

const (
	out   phase = iota // its user may accept it
	taken              // accepted; its fate on the chain is not known
	spent              // it will not be taken again
)

// entry is an offer that was held.
type entry struct {
	offer Offer
	phase phase
}

// Book is every offer that is out, and what is at risk.
type Book struct {
	cfg     Config
	salt    uint64 // of the next offer
	entries map[chain.Hash]*entry
	queue   []chain.Hash // of entries, by deadline: offers live equally long

	// What the chain holds of the solver's money, by the newest answer, and what
	// that answer does not have yet.
	height, locked uint64
	unseen         []uint64 // risks of offers in blocks above height, with heights in unseenAt
	unseenAt       []uint64
	reserved       uint64 // risks of offers that are taken
}

// NewBook makes an empty book. salt makes its offers different from those of
// every other book: give each a random one.
func NewBook(cfg Config, salt uint64) (*Book, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Book{cfg: cfg, salt: salt, entries: make(map[chain.Hash]*entry)}, nil
}

// Quote judges a request. The error is a *[Refusal]. No two offers of a book have
// the same salt.
func (b *Book) Quote(now uint64, v *View, r Request) (*Offer, error) {
	b.expire(now)
	if err := b.cfg.request(now, &r); err != nil {
		return nil, err
	}
	if len(b.queue) >= b.cfg.MaxOffers {
		return nil, refuse(TooManyOffers, "", "%d offers are out; they expire within %d ms", len(b.queue), b.cfg.LifetimeMs)
	}
	o, err := b.cfg.price(now, v, &r)
	if err != nil {
		return nil, err
	}
	if err := b.affords(o); err != nil {
		return nil, err
	}
	o.Quote.Salt = b.salt
	b.salt++
	return o, nil
}

// affords asks whether one more offer is within the limit of all of them.
func (b *Book) affords(o *Offer) error {
	if risk := b.Risk(); risk > b.cfg.MaxTotalRisk || o.Risk() > b.cfg.MaxTotalRisk-risk {
		return refuse(RiskTooHigh, "", "%d is at risk already and this would add %d; all theses together may risk %d", risk, o.Risk(), b.cfg.MaxTotalRisk)
	}
	return nil
}

// Hold remembers that an offer is out. hash is the quote's.
func (b *Book) Hold(hash chain.Hash, o *Offer) {
	invariant.Hold(b.entries[hash] == nil, "quote %s was held before", hash)
	b.entries[hash] = &entry{offer: *o}
	b.queue = append(b.queue, hash)
}

// Take accepts an offer on behalf of its user, once: from then on its risk counts,
// until [Book.Undone]. The error is a *[Refusal].
//
// An offer that has become better than fair since it was made is not honoured.
func (b *Book) Take(now uint64, hash chain.Hash, v *View) error {
	b.expire(now)
	e := b.entries[hash]
	switch {
	case e == nil:
		return refuse(QuoteNotFound, "quote", "no such offer is out: it was made by another solver, changed, or has expired")
	case e.phase != out:
		return refuse(QuoteAlreadyUsed, "quote", "it was accepted before")
	case now > e.offer.Quote.Deadline:
		return refuse(QuoteDeadlineExpired, "quote", "it expired %d ms ago", now-e.offer.Quote.Deadline)
	}
	if err := b.cfg.usable(now, v); err != nil {
		return err
	}
	q := &e.offer.Quote
	if certain := probability(now, v, q.Lower, q.Upper, q.Start, q.End); q.Payout > b.cfg.fair(q.BetAmount, certain) {
		return refuse(PriceMoved, "quote", "at the price of %d now the range holds with %d millionths: ask for a new quote", v.Price, certain)
	}
	if err := b.affords(&e.offer); err != nil {
		return err
	}
	e.phase = taken
	b.reserved += e.offer.Risk()
	return nil
}

// Done notes that a taken offer is a thesis in the block at height.
func (b *Book) Done(hash chain.Hash, height uint64) {
	e := b.settle(hash)
	if height > b.height {
		b.unseen, b.unseenAt = append(b.unseen, e.offer.Risk()), append(b.unseenAt, height)
	}
}

// Undone notes that a taken offer will never be a thesis.
func (b *Book) Undone(hash chain.Hash) { b.settle(hash) }

func (b *Book) settle(hash chain.Hash) *entry {
	e := b.entries[hash]
	invariant.Hold(e != nil && e.phase == taken, "quote %s was not taken", hash)
	e.phase = spent
	b.reserved -= e.offer.Risk()
	return e
}

// Observe takes the chain's word for what is in escrow after the block at height.
// An older answer than the last changes nothing.
func (b *Book) Observe(height, locked uint64) {
	if height < b.height {
		return
	}
	b.height, b.locked = height, locked
	kept := 0
	for i, at := range b.unseenAt {
		if at > height {
			b.unseen[kept], b.unseenAt[kept] = b.unseen[i], at
			kept++
		}
	}
	b.unseen, b.unseenAt = b.unseen[:kept], b.unseenAt[:kept]
}

// Risk is what the solver would lose if every range held: in escrow, in blocks
// that the chain's answer did not have, and in offers that are being taken.
func (b *Book) Risk() uint64 {
	risk := b.locked + b.reserved
	for _, r := range b.unseen {
		risk += r
	}
	return risk
}

// Out is how many offers are held.
func (b *Book) Out() int { return len(b.queue) }

// graceMs is how long an offer is remembered after its deadline, so that whoever
// comes late is told why, and not that it never was.
const graceMs = 10_000

// expire forgets offers whose time is over. One whose fate is unknown stays.
func (b *Book) expire(now uint64) {
	for len(b.queue) > 0 {
		e := b.entries[b.queue[0]]
		if e.phase == taken || now <= e.offer.Quote.Deadline+graceMs {
			return
		}
		delete(b.entries, b.queue[0])
		b.queue = b.queue[1:]
	}
}
