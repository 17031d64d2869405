package rfq_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// listed is a thesis as the test knows it.
type listed struct {
	id, due      uint64
	market       int
	user, solver int
	state        query.State
}

// crowd begins a chain with theses in every state, of some users and solvers.
func crowd(t testing.TB, n int) (w *world, all []listed) {
	w = newWorld(t, traffic.New(1, traffic.Fake{}), func(_ *chain.Genesis, p *params.Params) {
		for i := range p.Markets {
			p.Markets[i].Limits.MinBet = 1
		}
	})
	w.pricesOfAll(100)
	r := w.gen.Rand
	now := w.ctx.Time
	for i := range n {
		x := listed{id: uint64(i + 1), market: r.IntN(3), user: r.IntN(3), solver: 3 + r.IntN(2)}
		q := w.quoteOf(x.user, x.solver)
		q.Base, q.BetAmount, q.Payout, q.Salt = tx.Address{19: byte(x.market + 1)}, 1, 2, x.id
		q.Start += r.Uint64N(3) * 1000
		q.End = q.Start + 500 + r.Uint64N(2_000)
		x.due = q.End + traffic.ChallengeMs
		w.must("ok", x.solver, w.accept(x.user, q))
		if q.Start > now && r.IntN(4) == 0 {
			w.must("ok", traffic.Admin, cancel(x.id))
			x.state = query.Cancelled
		}
		all = append(all, x)
	}
	w.block(now+1200, chain.OracleSnapshot{})
	for i := range all {
		x := &all[i]
		q, _ := tx.DecodeQuote([]byte(w.state.m[string(rfq.ThesisKey(x.id))][93:]))
		switch at := w.ctx.Time; {
		case x.state == query.Cancelled:
		case at < q.Start:
			x.state = query.Created
		case at < q.End:
			x.state = query.Active
		case at < x.due:
			x.state = query.InChallengeWindow
		case r.IntN(2) == 0:
			x.state = query.Due
		default:
			x.state = query.SettledUserWin
			w.must("ok", traffic.Settler, claim(x.id, tx.Settlement{Kind: tx.UserWins}))
		}
	}
	return w, all
}

// pricesOfAll opens a block with a price for every market.
func (w *world) pricesOfAll(price uint64) {
	at := w.ctx.Time + 100
	s := chain.OracleSnapshot{Timestamp: at}
	for n := range 3 {
		p := oracle(price, at).Prices[0]
		p.Base = chain.Address{19: byte(n + 1)}
		s.Prices = append(s.Prices, p)
	}
	w.block(at, s)
}

var pairs = [...]string{"BTC/USDT", "ETH/USDT", "SOL/USDT"}

// pages follows next from the first page to the last.
func (w *world) pages(limit uint32, ask func(query.Page) []byte) (ids []uint64, count int) {
	w.Helper()
	p := query.Page{Limit: limit}
	for {
		got := w.query(ask(p))
		page := got["theses"].([]any)
		if len(page) > int(limit) {
			w.Fatalf("a page of %d, want %d at most", len(page), limit)
		}
		for _, v := range page {
			ids = append(ids, uint64(v.(map[string]any)["thesis_id"].(float64)))
		}
		count++
		next, more := got["next"].(string)
		if !more {
			return ids, count
		}
		p.Cursor, _ = hex.DecodeString(next[2:])
	}
}

// TestTheses asks for theses by everything they can be asked for.
func TestTheses(t *testing.T) {
	w, all := crowd(t, 600)
	for _, limit := range []uint32{1, 7, 64, 500} {
		for i := range 60 {
			if limit == 1 && i > 10 {
				break
			}
			r := w.gen.Rand
			f := query.Filter{State: query.State(r.IntN(len(query.StateNames)))}
			var tests []func(x listed) bool
			if r.IntN(2) == 0 {
				n := r.IntN(3)
				f.Pair = pairs[n]
				tests = append(tests, func(x listed) bool { return x.market == n })
			}
			if n := r.IntN(6); n < 3 {
				a := w.gen.Address(n)
				f.User = &a
				tests = append(tests, func(x listed) bool { return x.user == n })
			}
			if n := r.IntN(6); n < 3 {
				a := w.gen.Address(n + 3)
				f.Solver = &a
				tests = append(tests, func(x listed) bool { return x.solver == n+3 })
			}
			want := slices.DeleteFunc(slices.Clone(all), func(x listed) bool {
				return !f.State.Has(x.state) || slices.ContainsFunc(tests, func(f func(listed) bool) bool { return !f(x) })
			})
			if f.User == nil && f.Solver == nil && query.Open.Has(f.State) || f.State == query.Open && f.User == nil && f.Solver == nil {
				slices.SortStableFunc(want, byDue)
			} else {
				slices.Reverse(want)
			}
			got, _ := w.pages(limit, func(p query.Page) []byte {
				f.Page = p
				return query.Theses(&f)
			})
			if !slices.Equal(got, ids(want)) {
				t.Fatalf("filter %+v: %v, want %v", f, got, ids(want))
			}
		}
	}
}

func byDue(a, b listed) int {
	if a.market != b.market {
		return a.market - b.market
	}
	if a.due != b.due {
		return int(a.due) - int(b.due)
	}
	return int(a.id) - int(b.id)
}

func ids(all []listed) (ids []uint64) {
	for _, x := range all {
		ids = append(ids, x.id)
	}
	return ids
}

func TestDueTheses(t *testing.T) {
	w, all := crowd(t, 400)
	for market, name := range pairs {
		for _, until := range []uint64{0, w.ctx.Time, all[10].due, all[100].due, all[200].due, all[300].due - 1, maxU64} {
			want := slices.DeleteFunc(slices.Clone(all), func(x listed) bool {
				return x.market != market || !query.Open.Has(x.state) || x.due > until
			})
			slices.SortFunc(want, byDue)
			got, pages := w.pages(9, func(p query.Page) []byte { return query.DueTheses(name, until, p) })
			if !slices.Equal(got, ids(want)) || pages != max(1, (len(want)+8)/9) {
				t.Fatalf("%s until %d: %v in %d pages, want %v", name, until, got, pages, ids(want))
			}
		}
	}
}

// TestWork meets the bound on what one answer costs.
func TestWork(t *testing.T) {
	w, _ := crowd(t, query.MaxWork+10)
	got := w.query(query.Theses(&query.Filter{State: query.SettledSolverWin, Page: query.Page{Limit: 5}}))
	if len(got["theses"].([]any)) != 0 || got["next"] != "0x0a00000000000000" {
		t.Errorf("the first answer is %v", got)
	}
	none, pages := w.pages(5, func(p query.Page) []byte {
		return query.Theses(&query.Filter{State: query.SettledSolverWin, Page: p})
	})
	if len(none) != 0 || pages != 2 {
		t.Errorf("%v in %d pages", none, pages)
	}
	got = w.query(query.Theses(&query.Filter{State: query.Any, Page: query.Page{Limit: query.MaxTheses}}))
	if n := len(got["theses"].([]any)); n != 286 || got["next"] == nil {
		t.Errorf("a page has %d, and then %v", n, got["next"])
	}
}

func TestBadThesisQueries(t *testing.T) {
	w, _ := crowd(t, 30)
	a := w.gen.Address(0)
	page := func(limit uint32, cursor ...byte) query.Page { return query.Page{Limit: limit, Cursor: cursor} }
	for _, c := range []struct {
		q    []byte
		want string
	}{
		{query.Thesis(0), "ThesisNotFound"},
		{query.Thesis(31), "ThesisNotFound"},
		{query.Thesis(1)[:8], "InvalidQuery"},
		{query.Theses(&query.Filter{Page: page(0)}), "InvalidQuery"},
		{query.Theses(&query.Filter{Page: page(query.MaxTheses + 1)}), "InvalidQuery"},
		{query.Theses(&query.Filter{State: 11, Page: page(1)}), "InvalidQuery"},
		{query.Theses(&query.Filter{Pair: "BTC/EUR", Page: page(1)}), "InvalidOraclePair"},
		{query.Theses(&query.Filter{Pair: strings.Repeat("x", 33), Page: page(1)}), "InvalidQuery"},
		{query.Theses(&query.Filter{State: query.Any, Page: page(1, 1)}), "InvalidQuery"},
		{query.Theses(&query.Filter{State: query.Any, Page: page(1, make([]byte, 19)...)}), "InvalidQuery"},
		{query.Theses(&query.Filter{User: &a, Page: page(1, make([]byte, 18)...)}), "InvalidQuery"},
		{query.Theses(&query.Filter{State: query.Open, Page: page(1, make([]byte, 8)...)}), "InvalidQuery"},
		{query.Theses(&query.Filter{State: query.Open, Pair: "ETH/USDT", Page: page(1, make([]byte, 18)...)}), "InvalidQuery"}, // BTC's
		{query.Theses(&query.Filter{State: query.Open, Page: page(1, append([]byte{3}, make([]byte, 17)...)...)}), "InvalidQuery"},
		{append(query.Theses(&query.Filter{Page: page(1)}), 0), "InvalidQuery"},
		{query.DueTheses("BTC/EUR", 1, page(1)), "InvalidOraclePair"},
		{query.DueTheses("BTC/USDT", 1, page(0)), "InvalidQuery"},
		{query.DueTheses("BTC/USDT", 1, page(1, 1, 2)), "InvalidQuery"},
		{append(query.DueTheses("BTC/USDT", 1, page(1)), 0), "InvalidQuery"},
	} {
		out, err := w.program.Query(w.state, w.ctx, c.q)
		if err != nil || w.name(out.Code) != c.want {
			t.Errorf("query %x: %s %v, want %s", c.q, w.name(out.Code), err, c.want)
		}
	}
	// A cursor beyond the end goes on from the end.
	got := w.query(query.Theses(&query.Filter{State: query.Any, Page: page(1, abi.AppendU64(nil, maxU64)...)}))
	if fmt.Sprint(got["theses"].([]any)[0].(map[string]any)["thesis_id"]) != "30" {
		t.Errorf("got %v", got)
	}
}

// FuzzThesisQueries asks what nobody would: an answer, an error, never a trap.
func FuzzThesisQueries(f *testing.F) {
	w, _ := crowd(f, 100)
	a := w.gen.Address(1)
	f.Add(query.Theses(&query.Filter{State: query.Open, User: &a, Pair: "BTC/USDT", Page: query.Page{Limit: 5, Cursor: abi.AppendU64(nil, 9)}})[1:])
	f.Add(query.DueTheses("ETH/USDT", maxU64, query.Page{Limit: 500})[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, tag := range []query.Tag{query.TagTheses, query.TagDue, query.TagThesis} {
			out, err := w.program.Query(w.state, w.ctx, append([]byte{byte(tag)}, b...))
			if err != nil || out.Code >= abi.HostCodeMin || out.Code == abi.CodeOK && !json.Valid(out.Output) {
				t.Fatalf("query %d %x: %x %s %v", tag, b, out.Code, out.Detail, err)
			}
		}
	})
}
