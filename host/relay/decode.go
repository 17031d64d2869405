package relay

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/settle"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/event"
)

// settled is one settlement that a block tells of, as far as figures go.
type settled struct {
	outcome         string
	by              chain.Address
	breachTimestamp uint64
}

// decode is what the core needs of a block, and what the figures do. Prices come
// from the block's first hook; theses begin and end in transactions and hooks.
func decode(b *follow.EventBlock) (*settle.Block, []settled, error) {
	h := &b.Header
	d := decoder{block: &settle.Block{Height: h.Height, Parent: h.Parent, Hash: h.Hash(), Time: h.Time}}
	d.events(b.Results.Begin)
	for i := range b.Results.Receipts {
		d.events(b.Results.Receipts[i].Events)
	}
	d.events(b.Results.End)
	if d.bad != nil {
		return nil, nil, fmt.Errorf("%w: block %d: event %x", ErrModule, h.Height, d.bad)
	}
	return d.block, d.settled, nil
}

type decoder struct {
	block   *settle.Block
	settled []settled
	bad     []byte // an event that is not what its tag says
}

func (d *decoder) events(events [][]byte) {
	for _, b := range events {
		if !d.event(b) {
			d.bad = b
		}
	}
}

// event takes one event; false if it is not what its tag says.
func (d *decoder) event(b []byte) bool {
	switch event.TagOf(b) {
	case event.TagPrice:
		e, ok := event.DecodePrice(b)
		d.block.Prices = append(d.block.Prices, settle.Price{Pair: settle.Pair{Base: e.Base, Quote: e.Quote}, Timestamp: e.Timestamp, Price: e.Price})
		return ok
	case event.TagThesisCreated:
		e, ok := event.DecodeThesisCreated(b)
		d.block.Events = append(d.block.Events, settle.Event{Created: &settle.Thesis{ID: e.ThesisID, Pair: settle.Pair{Base: e.Base, Quote: e.Quote},
			Lower: e.Lower, Upper: e.Upper, Start: e.Start, End: e.End, Due: e.Due}})
		return ok
	case event.TagThesisSettled:
		e, ok := event.DecodeThesisSettled(b)
		d.block.Events = append(d.block.Events, settle.Event{Settled: e.ThesisID})
		d.settled = append(d.settled, settled{e.Outcome, e.SettledBy, e.BreachTimestamp})
		return ok
	}
	return true
}
