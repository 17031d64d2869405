package main

import (
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/host/solver"
)

// A solver that offers something else than was asked for gets no signature.
func TestQuoteIsWhatWasAskedFor(t *testing.T) {
	const now = 1_700_000_000_000
	m := &marketInfo{Base: chain.Address{1}, Quote: chain.Address{2}}
	r := &solver.QuoteRequest{User: chain.Address{3}, Lower: 10, Upper: 20, BetAmount: 5, Duration: 30_000}
	good := market.Quote{Base: m.Base, Quote: m.Quote, Lower: 10, Upper: 20, BetAmount: 5, Payout: 6, Start: now + 5000, End: now + 35_000, Deadline: now + 5000,
		User: r.User, Solver: chain.Address{4}, Salt: 1}
	if problem := new(bet).compare(&good, r, m, now); problem != "" {
		t.Fatal(problem)
	}
	for name, change := range map[string]func(*market.Quote){
		"type":         func(q *market.Quote) { q.ThesisType = 1 },
		"base":         func(q *market.Quote) { q.Base[0]++ },
		"quote":        func(q *market.Quote) { q.Quote[0]++ },
		"user":         func(q *market.Quote) { q.User[0]++ },
		"lower":        func(q *market.Quote) { q.Lower++ },
		"upper":        func(q *market.Quote) { q.Upper-- },
		"bet":          func(q *market.Quote) { q.BetAmount++ },
		"payout":       func(q *market.Quote) { q.Payout = 5 },
		"longer":       func(q *market.Quote) { q.End++ },
		"backwards":    func(q *market.Quote) { q.Start, q.End = q.End, q.Start },
		"much later":   func(q *market.Quote) { q.Start, q.End = q.Start+120_000, q.End+120_000 },
		"late to sign": func(q *market.Quote) { q.Deadline = q.Start + 1 },
	} {
		q := good
		change(&q)
		if new(bet).compare(&q, r, m, now) == "" {
			t.Errorf("%s: %+v would be signed", name, q)
		}
	}
}

// Only the quote that was signed opened the thesis that is reported.
func TestOpenedBy(t *testing.T) {
	quote := chain.Hash{7}
	opened := func(hash chain.Hash) *api.Receipt {
		return &api.Receipt{Events: []api.Event{{Type: "transfer"}, {Type: "thesis_created", Fields: []api.Field{{Name: "thesis_id", Value: uint64(9)}, {Name: "quote_hash", Value: hash.String()}}}}}
	}
	if id, err := openedBy(opened(quote), quote); id != 9 || err != nil {
		t.Errorf("thesis %d, %v", id, err)
	}
	for name, r := range map[string]*api.Receipt{"another quote": opened(chain.Hash{8}), "no thesis": {Events: []api.Event{{Type: "transfer"}}}, "nothing": {}} {
		if id, err := openedBy(r, quote); err == nil || !strings.Contains(err.Error(), quote.String()) {
			t.Errorf("%s: thesis %d, %v", name, id, err)
		}
	}
}
