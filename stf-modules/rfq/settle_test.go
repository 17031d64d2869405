package rfq_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/ring"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// seen is a price: observed at ms after the thesis's start, brought by a block late
// ms after that.
type seen struct {
	at    int
	price uint64
	late  uint64
}

// every is a price of 100 each step ms, from and to inclusive.
func every(step, from, to int) (s []seen) {
	for at := from; at <= to; at += step {
		s = append(s, seen{at, 100, 0})
	}
	return s
}

func join(parts ...[]seen) (s []seen) {
	for _, p := range parts {
		s = append(s, p...)
	}
	return s
}

func at(at int, price uint64) []seen { return []seen{{at, price, 0}} }

// windows are histories of a thesis that runs for 10 s, wants prices of 90 to 110,
// and what is true of it. A first breach is told as its time and price.
var windows = []struct {
	name   string
	prices []seen
	want   string
}{
	{"quiet", every(1000, 0, 11_000), "user_wins"},
	{"touches both bounds", join(every(1000, 0, 4000), at(4500, 90), at(4600, 110), every(1000, 5000, 11_000)), "user_wins"},
	{"below", join(every(1000, 0, 4000), at(4500, 89), every(1000, 5000, 11_000)), "solver_wins 4500 89"},
	{"above", join(every(1000, 0, 4000), at(4500, 111), every(1000, 5000, 11_000)), "solver_wins 4500 111"},
	{"at the edge of numbers", join(every(1000, 0, 4000), at(4500, maxU64), every(1000, 5000, 11_000)), "solver_wins 4500 18446744073709551615"},
	{"two breaches", join(every(1000, 0, 4000), at(4500, 111), at(4700, 1), every(1000, 5000, 11_000)), "solver_wins 4500 111"},
	{"at start", join(at(0, 89), every(1000, 1000, 11_000)), "solver_wins 0 89"},
	{"just before start", join(at(-1, 89), every(1000, 1000, 11_000)), "user_wins"},
	{"at end", join(every(1000, 0, 9000), at(10_000, 111)), "solver_wins 10000 111"},
	{"just after end", join(every(1000, 0, 9000), at(10_001, 111)), "user_wins"},
	{"long before and after", join(at(-500, 1), every(1000, 0, 10_000), at(10_400, 1)), "user_wins"},
	{"silent to 3 s", join(at(-100, 100), every(1000, 3000, 11_000)), "user_wins"},
	{"silent beyond 3 s", join(at(-100, 100), every(1000, 3001, 11_000)), "void"},
	{"silent from 3 s before end", every(1000, 0, 7000), "user_wins"},
	{"silent from more than 3 s before end", every(1000, -1, 6999), "void"},
	{"silent before end, though not after", join(every(1000, -1, 6999), at(10_001, 100)), "void"},
	{"silent for 3 s", join(every(1000, 0, 4000), every(1000, 7000, 11_000)), "user_wins"},
	{"silent for more", join(every(1000, 0, 4000), every(1000, 7001, 11_000)), "void"},
	{"silent all the time", at(-100, 100), "void"},
	{"breach, then silence", at(500, 89), "solver_wins 500 89"},
	{"silence, then breach", at(9000, 89), "solver_wins 9000 89"},
	{"silence between breaches", join(at(100, 111), at(9900, 89)), "solver_wins 100 111"},
	{"breach that comes late", join(every(1000, 0, 9000), []seen{{9990, 89, 450}}), "solver_wins 9990 89"},
	{"breach beyond three seconds old", join(every(1000, 0, 2000), []seen{{2500, 89, 3001}}, every(1000, 6000, 11_000)), "void"},
	{"breach of a price without place", join(every(1000, 0, 4000), at(4002, 100), at(4003, 89), every(1000, 5000, 11_000)), "user_wins"},
	{"breach in the place of the next", join(every(1000, 0, 4000), at(4003, 89), every(1000, 5000, 11_000)), "solver_wins 4003 89"},
	{"silence after a price without place", join(every(1000, 0, 4000), at(4001, 100), at(4002, 100), every(1000, 7002, 11_000)), "void"},
	{"silence after a price with place", join(every(1000, 0, 4000), at(4002, 100), every(1000, 7002, 11_000)), "user_wins"},
}

// played begins a chain on which the history has happened, up to when the thesis
// is due. Start is a multiple of 100 ms, so that slots are easy to reckon with.
func played(t testing.TB, prices []seen) (w *world, q tx.Quote) {
	w = theses(t)
	q = w.quoteOf(user, solver)
	q.Start += 1000
	q.End = q.Start + 10_000
	w.must("ok", solver, w.accept(user, q))
	before := w.rest()
	for _, p := range prices {
		when := q.Start + uint64(p.at)
		w.block(when+p.late, oracle(p.price, when))
		w.early(q, before)
	}
	if last := q.End + traffic.ChallengeMs - 1; w.ctx.Time < last {
		w.tick(last-w.ctx.Time, 0)
	}
	w.early(q, before)
	w.tick(1, 0)
	return w, q
}

// early tries what is too early.
func (w *world) early(q tx.Quote, before map[string]string) {
	w.Helper()
	if w.ctx.Time >= q.End+traffic.ChallengeMs {
		return
	}
	for _, kind := range []tx.SettlementKind{tx.UserWins, tx.Void} {
		w.must("ChallengeWindowNotOver", traffic.Settler, claim(1, tx.Settlement{Kind: kind}))
	}
	w.must("ChallengeWindowNotOver", 5, settle(1))
	if before["b"] != w.rest()["b"] {
		w.Fatal("money moved before the thesis was due")
	}
}

// lies are breaches that were not, whatever the history.
func lies(q tx.Quote, prices []seen) (s []tx.Settlement) {
	times := []uint64{0, 1, q.Start - 1, q.Start, q.Start + 1, q.Start + 4444, q.End - 1, q.End, q.End + 1, maxU64}
	values := []uint64{0, 1, 89, 90, 100, 110, 111, maxU64}
	for _, p := range prices {
		when := q.Start + uint64(p.at)
		times = append(times, when-1, when, when+1)
	}
	for _, when := range times {
		for _, value := range values {
			s = append(s, tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: when, BreachPrice: value})
		}
	}
	return s
}

// liesAbout is the error of a false claim, by what is false about it.
func liesAbout(q tx.Quote, s tx.Settlement) string {
	switch {
	case s.BreachTimestamp < q.Start || s.BreachTimestamp > q.End:
		return "InvalidBreachTimestamp"
	case s.BreachPrice >= q.Lower && s.BreachPrice <= q.Upper:
		return "PriceWithinRange"
	default:
		return "OracleDataNotFound"
	}
}

// recorded asks the history itself whether a price was.
func (w *world) recorded(when, price uint64) bool {
	for _, p := range w.query(query.History("BTC/USDT", when, when))["prices"].([]any) {
		return p.(map[string]any)["price"] == fmt.Sprint(price)
	}
	return false
}

// paid is what user and solver hold after an outcome.
var paid = map[string][2]string{
	"user_wins":   {"1005000 0", "995000 0"},
	"solver_wins": {"990000 0", "1010000 0"},
	"void":        {"1000000 0", "1000000 0"},
	"cancelled":   {"1000000 0", "1000000 0"},
}

func (w *world) settledAs(q tx.Quote, want string, by int) {
	w.Helper()
	name, _, _ := strings.Cut(want, " ")
	if got := [2]string{w.holds(user), w.holds(solver)}; got != paid[name] {
		w.Errorf("user and solver hold %v, want %v", got, paid[name])
	}
	got := w.thesis(1)
	told := fmt.Sprint(got["outcome"])
	if p := got["breach_price"]; p != nil {
		told += fmt.Sprintf(" %.0f %v", got["breach_timestamp"].(float64)-float64(q.Start), p)
	}
	if told != want || got["settled_by"] != chain.Address(w.gen.Address(by)).String() || got["settled_at"] != float64(w.ctx.Time) {
		w.Errorf("thesis %v, want %s", got, want)
	}
	if w.openInterest() != "0 0" || w.query(query.Totals())["escrow"] != "0" {
		w.Errorf("open interest %s, totals %v", w.openInterest(), w.query(query.Totals()))
	}
	w.final()
}

// final tries to settle once more, in every way there is.
func (w *world) final() {
	w.Helper()
	for _, s := range []tx.Settlement{{Kind: tx.UserWins}, {Kind: tx.Void}, {Kind: tx.SolverWins, BreachTimestamp: w.ctx.Time, BreachPrice: 1}} {
		w.unchanged("ThesisNotActive", traffic.Settler, claim(1, s))
	}
	w.unchanged("ThesisNotActive", 5, settle(1))
	w.unchanged("ThesisNotActive", traffic.Admin, cancel(1))
}

// TestDishonestSettler has a settler try every lie about every history, and then
// tell the truth.
func TestDishonestSettler(t *testing.T) {
	for _, c := range windows {
		t.Run(c.name, func(t *testing.T) {
			w, q := played(t, c.prices)
			name, _, _ := strings.Cut(c.want, " ")
			var truth tx.Settlement
			for _, s := range lies(q, c.prices) {
				if liesAbout(q, s) == "OracleDataNotFound" && w.recorded(s.BreachTimestamp, s.BreachPrice) {
					if truth = s; name != "solver_wins" {
						t.Fatalf("%+v is a breach", s)
					}
					continue
				}
				w.unchanged(liesAbout(q, s), traffic.Settler, claim(1, s))
			}
			switch name {
			case "user_wins":
				w.unchanged("OracleDataComplete", traffic.Settler, claim(1, tx.Settlement{Kind: tx.Void}))
				truth = tx.Settlement{Kind: tx.UserWins}
			case "void":
				w.unchanged("OracleDataNotFound", traffic.Settler, claim(1, tx.Settlement{Kind: tx.UserWins}))
				truth = tx.Settlement{Kind: tx.Void}
			default:
				w.unchanged("BreachFound", traffic.Settler, claim(1, tx.Settlement{Kind: tx.Void}))
				w.unchanged("BreachFound", traffic.Settler, claim(1, tx.Settlement{Kind: tx.UserWins}))
			}
			w.unchanged("Unauthorized", solver, claim(1, truth))
			w.must("ok", traffic.Settler, claim(1, truth))
			if name == "solver_wins" { // any of the breaches will do
				w.settledAs(q, fmt.Sprintf("solver_wins %d %d", int64(truth.BreachTimestamp-q.Start), truth.BreachPrice), traffic.Settler)
			} else {
				w.settledAs(q, c.want, traffic.Settler)
			}
		})
	}
}

// TestAnybodySettles comes to the same outcomes without a settler, 60 s after the
// challenge window and not before.
func TestAnybodySettles(t *testing.T) {
	for i, c := range windows {
		t.Run(c.name, func(t *testing.T) {
			w, q := played(t, c.prices)
			w.tick(q.End+traffic.ChallengeMs+rfq.GraceMs-1-w.ctx.Time, 0)
			w.unchanged("ChallengeWindowNotOver", 5, settle(1))
			w.tick(1, 1)
			by := [...]int{5, user, solver, traffic.Settler, traffic.Stranger}[i%5]
			w.must("ok", by, settle(1))
			w.settledAs(q, c.want, by)
		})
	}
}

// TestBreachAtOnce settles a breach in the block that records it.
func TestBreachAtOnce(t *testing.T) {
	w := theses(t)
	q := w.quoteOf(user, solver)
	w.must("ok", solver, w.accept(user, q))
	w.tick(300, 89)
	w.must("ok", traffic.Settler, claim(1, tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: w.ctx.Time, BreachPrice: 89}))
	w.settledAs(q, "solver_wins 300 89", traffic.Settler)
}

// TestFirstPriceCounts opens a thesis whose window begins with the price that is
// there.
func TestFirstPriceCounts(t *testing.T) {
	w := theses(t)
	q := w.quoteOf(user, solver)
	q.Lower, q.Upper = 101, 110
	w.must("ok", solver, w.accept(user, q))
	w.must("ok", traffic.Settler, claim(1, tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: q.Start, BreachPrice: 100}))
	w.settledAs(q, "solver_wins 0 100", traffic.Settler)
}

// TestShortWindow has no hole and no price: the range was never left.
func TestShortWindow(t *testing.T) {
	for _, c := range []struct {
		ms   uint64
		want string
	}{{1, "user_wins"}, {3000, "user_wins"}, {3001, "void"}} {
		w := theses(t)
		q := w.quoteOf(user, solver)
		q.Start++
		q.End = q.Start + c.ms
		w.must("ok", solver, w.accept(user, q))
		w.tick(c.ms+1+traffic.ChallengeMs+rfq.GraceMs, 0)
		w.must("ok", 5, settle(1))
		w.settledAs(q, c.want, 5)
	}
}

// TestForgottenWindow comes back when the history is gone: nobody's money is
// stuck, and what is still known of a breach decides.
func TestForgottenWindow(t *testing.T) {
	for _, c := range []struct {
		name   string
		breach uint64 // after start
		later  uint64 // after the breach
		want   string
		truth  tx.SettlementKind
	}{
		{"quiet and gone", 0, 7_000_000, "void", tx.Void},
		{"quiet and half gone", 0, 6_555_000, "void", tx.Void},
		{"quiet and just there", 0, 6_530_000, "user_wins", tx.UserWins},
		{"breach gone with all else", 300, 7_000_000, "void", tx.Void},
		{"breach gone, rest of the window not", 310, 6_600_000, "void", tx.Void},
		{"breach there, start gone", 19_000, 6_540_000, "solver_wins 19000 89", tx.SolverWins},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, system := range []bool{true, false} {
				w := theses(t)
				q := w.quoteOf(user, solver)
				q.End = q.Start + 20_000
				if c.breach == 310 {
					q.End = q.Start + 400_000
				}
				w.must("ok", solver, w.accept(user, q))
				if c.breach > 0 {
					w.walk(q.Start+c.breach-100, 100)
					w.tick(100, 89)
				}
				w.walk(q.Start+c.breach+c.later, 100)
				if !system {
					w.must("ok", 5, settle(1))
					w.settledAs(q, c.want, 5)
					continue
				}
				for kind, want := range map[tx.SettlementKind]string{tx.UserWins: "OracleDataNotFound", tx.Void: "OracleDataComplete"} {
					if c.truth == tx.SolverWins {
						want = "BreachFound"
					}
					if kind != c.truth {
						w.unchanged(want, traffic.Settler, claim(1, tx.Settlement{Kind: kind}))
					}
				}
				s := tx.Settlement{Kind: c.truth}
				if c.breach > 0 {
					s = tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: q.Start + c.breach, BreachPrice: 89}
				}
				if c.breach > 0 && c.truth != tx.SolverWins {
					w.unchanged("OracleDataNotFound", traffic.Settler, claim(1, s))
					s = tx.Settlement{Kind: c.truth}
				}
				w.must("ok", traffic.Settler, claim(1, s))
				w.settledAs(q, c.want, traffic.Settler)
			}
		})
	}
}

// TestForgottenSecond loses the first second of a window, which is no hole by its
// length: but nobody knows what happened in it.
func TestForgottenSecond(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		w := theses(t)
		q := w.quoteOf(user, solver)
		page := (w.ctx.Time/ring.PageMs + 2) * ring.PageMs
		q.Start, q.End, q.Deadline = page-1000, page+10_000, maxU64
		w.must("ok", solver, w.accept(user, q))
		w.run(q.End, 100)
		newest := page + ring.SpanMs
		want, other := "void", tx.UserWins
		if !forgotten {
			newest -= ring.PageMs
			want, other = "user_wins", tx.Void
		}
		w.walk(newest-1, 100)
		w.tick(1, 100)
		w.unchanged(map[bool]string{true: "OracleDataNotFound", false: "OracleDataComplete"}[forgotten], traffic.Settler, claim(1, tx.Settlement{Kind: other}))
		w.must("ok", 5, settle(1))
		w.settledAs(q, want, 5)
	}
}

// TestHistoryLeaps loses the history to one price after a long silence; while it
// is silent nothing is lost.
func TestHistoryLeaps(t *testing.T) {
	for _, leap := range []bool{false, true} {
		w, q := played(t, every(1000, 0, 11_000))
		w.tick(8_000_000, 0)
		want := "user_wins"
		if leap {
			w.tick(100, 100)
			want = "void"
		}
		w.must("ok", 5, settle(1))
		w.settledAs(q, want, 5)
	}
}

// TestNothingStopsSettling changes everything that may change while a thesis runs.
func TestNothingStopsSettling(t *testing.T) {
	usdt, _ := params.Token("USDT")
	for _, c := range []struct {
		name string
		want string
		by   int
		do   func(w *world) tx.Transaction
	}{
		{"settler", "user_wins", traffic.Settler, func(*world) tx.Transaction { return claim(1, tx.Settlement{Kind: tx.UserWins}) }},
		{"anybody", "user_wins", user, func(w *world) tx.Transaction {
			w.tick(rfq.GraceMs, 100)
			return settle(1)
		}},
		{"an API wallet of anybody", "user_wins", 5, func(w *world) tx.Transaction {
			w.tick(rfq.GraceMs, 100)
			x := settle(1)
			x.From = w.gen.Address(5)
			return x
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := theses(t)
			q := w.quoteOf(user, solver)
			q.Start, q.End = q.Start+1000, q.End+1000
			w.must("ok", solver, w.accept(user, q))
			w.must("ok", 5, nominate(w.gen.Address(8), 0))
			for _, a := range []tx.AdminAction{
				{Kind: tx.PauseMarket, Base: q.Base, Quote: usdt}, {Kind: tx.SetMarketLimits, Base: q.Base, Quote: usdt, Limits: tx.Limits{MinBet: 1, MaxBet: 1, MaxOpenInterest: 2}},
				{Kind: tx.BlacklistAdd, Account: q.User}, {Kind: tx.BlacklistAdd, Account: q.Solver}, {Kind: tx.PauseSystem},
			} {
				w.must("ok", traffic.Admin, admin(a))
			}
			w.run(q.End+traffic.ChallengeMs, 100)
			x := c.do(w)
			signer := c.by
			if x.From != (tx.Address{}) {
				signer = 8
			}
			w.must("ok", signer, x)
			w.settledAs(q, c.want, c.by)
			if w.thesis(1)["state"] != "SettledUserWin" {
				t.Error(w.thesis(1))
			}
		})
	}
}

// TestWhoSettles has a settler, relayer and admin who is a party itself.
func TestWhoSettles(t *testing.T) {
	w := theses(t)
	for _, n := range []int{user, solver} {
		w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.GrantPermissions, Account: w.gen.Address(n), Permissions: tx.PermAll}))
	}
	for id, settler := range []int{user, solver} {
		q := w.quoteOf(user, solver)
		w.must("ok", solver, w.accept(user, q))
		w.run(q.End+traffic.ChallengeMs, 100)
		w.must("ok", settler, claim(uint64(id+1), tx.Settlement{Kind: tx.UserWins}))
	}
	if w.holds(user) != "1010000 0" || w.holds(solver) != "990000 0" {
		t.Errorf("user %s, solver %s", w.holds(user), w.holds(solver))
	}
	q := w.quoteOf(user, solver)
	q.Start, q.End = q.Start+1, q.End+1
	w.must("ok", solver, w.accept(user, q))
	w.must("ok", user, cancel(3))
	if w.holds(user) != "1010000 0" || w.holds(solver) != "990000 0" || w.thesis(3)["state"] != "Cancelled" {
		t.Errorf("user %s, solver %s, thesis %v", w.holds(user), w.holds(solver), w.thesis(3))
	}
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.RevokePermissions, Account: q.User, Permissions: tx.PermSettler}))
	w.unchanged("Unauthorized", user, claim(3, tx.Settlement{Kind: tx.Void}))
}

func TestCancel(t *testing.T) {
	w := theses(t)
	q := w.quoteOf(user, solver)
	q.Start, q.End = q.Start+100, q.End+100
	for _, id := range []uint64{0, 1, maxU64} {
		w.unchanged("ThesisNotFound", traffic.Admin, cancel(id))
	}
	w.must("ok", solver, w.accept(user, q))
	w.unchanged("Unauthorized", solver, cancel(1))
	w.unchanged("ThesisNotFound", traffic.Admin, cancel(2))
	w.tick(99, 100)
	r := w.must("ok", traffic.Admin, cancel(1))
	if len(r.events) != 1 || !strings.Contains(r.events[0], `outcome="cancelled"`) || !strings.Contains(r.events[0], `user_received="10000" solver_received="5000"`) {
		t.Errorf("events %v", r.events)
	}
	w.settledAs(q, "cancelled", traffic.Admin)
	q.Salt++
	q.Start, q.Deadline = w.ctx.Time+1, maxU64
	w.must("ok", solver, w.accept(user, q))
	w.tick(1, 100)
	w.unchanged("ThesisStarted", traffic.Admin, cancel(2))
}

// TestLatePrices is why a challenge window is max_stale_ms at least: then no price of
// the window comes after UserWins was possible.
func TestLatePrices(t *testing.T) {
	shortest := func(g *chain.Genesis, p *params.Params) { p.ChallengeWindowMs = g.MaxStaleMs }
	w := newWorld(t, traffic.New(1, traffic.Fake{}), shortest)
	w.tick(100, 100)
	q := w.quoteOf(user, solver)
	w.must("ok", solver, w.accept(user, q))
	w.tick(q.End+3000-w.ctx.Time, 0)
	w.must("ok", traffic.Settler, claim(1, tx.Settlement{Kind: tx.UserWins}))
	w.settledAs(q, "user_wins", traffic.Settler)
	if events := w.block(w.ctx.Time+1, oracle(89, q.End)); len(events) != 0 {
		t.Errorf("a price of the window was recorded after it: %d events", len(events))
	}
	w.final()

	w = newWorld(t, traffic.New(1, traffic.Fake{}), shortest)
	w.tick(100, 100)
	q = w.quoteOf(user, solver)
	w.must("ok", solver, w.accept(user, q))
	w.block(q.End+3000, oracle(89, q.End)) // the latest that it can come
	w.unchanged("BreachFound", traffic.Settler, claim(1, tx.Settlement{Kind: tx.UserWins}))
}
