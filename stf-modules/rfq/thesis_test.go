package rfq_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// In these tests account 1 is the user and account 2 the solver.
const (
	user   = 1
	solver = 2
)

// quoteOf is an offer of solver to user that is sound now: 10,000 to win 15,000 if
// BTC/USDT stays within 90 to 110 for the next second.
func (w *world) quoteOf(user, solver int) tx.Quote {
	base, _ := params.Token("BTC")
	quote, _ := params.Token("USDT")
	now := w.ctx.Time
	return tx.Quote{Base: base, Quote: quote, Lower: 90, Upper: 110, BetAmount: 10_000, Payout: 15_000, Start: now, End: now + 1000, Deadline: now,
		User: w.gen.Address(user), Solver: w.gen.Address(solver)}
}

// accept is the solver's transaction for a quote that the signer has accepted.
func (w *world) accept(signer int, q tx.Quote) tx.Transaction {
	var h tx.Hasher
	digest := h.QuoteDigest(traffic.Keccak{Crypto: w.gen.Scheme}, &q)
	return tx.Transaction{Kind: tx.KindRfqSubmit, RfqSubmit: tx.RfqSubmit{Quote: q, UserSignature: w.gen.Scheme.Sign(signer, &digest)}}
}

func claim(id uint64, s tx.Settlement) tx.Transaction {
	return tx.Transaction{Kind: tx.KindSystemSettle, SystemSettle: tx.SystemSettle{ThesisID: id, Settlement: s}}
}

func cancel(id uint64) tx.Transaction {
	return admin(tx.AdminAction{Kind: tx.CancelThesis, ThesisID: id})
}

// theses begins a chain with a price of 100 at the time of its open block.
func theses(t testing.TB) *world {
	w := fake(t)
	w.tick(100, 100)
	return w
}

// tick opens the next block, ms later, with a price of that time, or without one.
func (w *world) tick(ms, price uint64) {
	at := w.ctx.Time + ms
	if price == 0 {
		w.block(at, chain.OracleSnapshot{Timestamp: at})
		return
	}
	w.block(at, oracle(price, at))
}

// run opens a block every 100 ms up to time, each with the price.
func (w *world) run(until, price uint64) {
	for w.ctx.Time < until {
		w.tick(min(100, until-w.ctx.Time), price)
	}
}

// walk opens a block every 2.9 s up to time, each with the price: no hole, and
// quickly through the history.
func (w *world) walk(until, price uint64) {
	for w.ctx.Time < until {
		w.tick(min(2900, until-w.ctx.Time), price)
	}
}

// rest is the state without what only says that transactions were executed: the
// replay windows.
func (w *world) rest() map[string]string {
	m := maps.Clone(w.state.m)
	for k, v := range m {
		switch k[0] {
		case 'a':
			m[k] = v[:19+29*int(v[18])]
		case 'w':
			delete(m, k)
		}
	}
	return m
}

// unchanged sends a transaction that has to fail with the error and to change
// nothing.
func (w *world) unchanged(want string, signer int, t tx.Transaction) {
	w.Helper()
	before := w.rest()
	r := w.send(signer, t)
	if r.name != want || r.detail == "" || len(r.events) != 0 {
		w.Errorf("came to %s (%s) with %d events, want %s", r.name, r.detail, len(r.events), want)
	}
	after := w.rest()
	for k, v := range after {
		if old, there := before[k]; old != v && (there || k[0] != 'a' || strings.Trim(v, "\x00") != "") {
			w.Errorf("%s changed %x from %x to %x", want, k, old, v)
		}
	}
	if len(before) > len(after) {
		w.Errorf("%s removed something", want)
	}
}

func (w *world) holds(n int) string {
	a := w.query(query.Account(w.gen.Address(n)))
	return fmt.Sprint(a["balance"], " ", a["locked"])
}

func (w *world) thesis(id uint64) map[string]any {
	w.Helper()
	return w.query(query.Thesis(id))
}

func (w *world) openInterest() string {
	m := w.query(query.Markets())["markets"].([]any)[0].(map[string]any)
	return fmt.Sprint(m["open_interest"], " ", m["open_theses"])
}

func TestThesis(t *testing.T) {
	w := theses(t)
	q := w.quoteOf(user, solver)
	q.Start, q.End, q.Deadline, q.Salt = q.Start+50, q.End+50, q.Deadline+7, 1<<63+5
	created := w.ctx.Time
	r := w.must("ok", solver, w.accept(user, q))
	var h tx.Hasher
	hash := chain.Hash(h.QuoteHash(traffic.Keccak{Crypto: w.gen.Scheme}, &q))
	u, s := chain.Address(q.User), chain.Address(q.Solver)
	want := fmt.Sprintf(`thesis_created thesis_id=1 quote_hash=%q user=%q solver=%q base=%q quote=%q lower="90" upper="110" bet_amount="10000" payout="15000" start=%d end=%d due=%d`,
		hash, u, s, chain.Address(q.Base), chain.Address(q.Quote), q.Start, q.End, q.End+traffic.ChallengeMs)
	if !slices.Equal(r.events, []string{want}) {
		t.Errorf("events %v, want %s", r.events, want)
	}
	if w.holds(user) != "990000 10000" || w.holds(solver) != "995000 5000" || w.openInterest() != "15000 1" {
		t.Errorf("user %s, solver %s, open interest %s", w.holds(user), w.holds(solver), w.openInterest())
	}
	thesis := map[string]any{"thesis_id": 1.0, "state": "Created", "outcome": nil, "quote_hash": hash.String(), "thesis_type": 0.0, "pair": "BTC/USDT",
		"base": chain.Address(q.Base).String(), "quote": chain.Address(q.Quote).String(), "lower": "90", "upper": "110", "bet_amount": "10000", "payout": "15000",
		"start": float64(q.Start), "end": float64(q.End), "due": float64(q.End + traffic.ChallengeMs), "deadline": float64(q.Deadline), "user": u.String(), "solver": s.String(),
		"salt": "9223372036854775813", "created_at": float64(created), "settled_at": nil, "settled_by": nil, "breach_timestamp": nil, "breach_price": nil}
	if got := w.thesis(1); !reflect.DeepEqual(got, thesis) {
		t.Errorf("thesis %v\nwant %v", got, thesis)
	}
	if string(rfq.ThesisKey(1)) != "t\x00\x00\x00\x00\x00\x00\x00\x01" || w.state.m[string(rfq.ThesisKey(1))] == "" {
		t.Error("no thesis under its key")
	}
	for _, c := range []struct {
		at    uint64
		state string
	}{{q.Start - 1, "Created"}, {q.Start, "Active"}, {q.End - 1, "Active"}, {q.End, "InChallengeWindow"}, {q.End + traffic.ChallengeMs - 1, "InChallengeWindow"}, {q.End + traffic.ChallengeMs, "Due"}} {
		w.run(c.at, 100)
		if got := w.thesis(1)["state"]; got != c.state {
			t.Errorf("%d ms after start it is %v, want %s", int64(c.at-q.Start), got, c.state)
		}
	}
	r = w.must("ok", traffic.Settler, claim(1, tx.Settlement{Kind: tx.UserWins}))
	want = fmt.Sprintf(`thesis_settled thesis_id=1 outcome="user_wins" user=%q solver=%q payout="15000" user_received="15000" solver_received="0" breach_timestamp=0 breach_price="0" settled_by=%q`,
		u, s, chain.Address(w.gen.Address(traffic.Settler)))
	if !slices.Equal(r.events, []string{want}) {
		t.Errorf("events %v, want %s", r.events, want)
	}
	thesis["state"], thesis["outcome"], thesis["settled_at"], thesis["settled_by"] = "SettledUserWin", "user_wins", float64(w.ctx.Time), chain.Address(w.gen.Address(traffic.Settler)).String()
	if got := w.thesis(1); !reflect.DeepEqual(got, thesis) {
		t.Errorf("thesis %v\nwant %v", got, thesis)
	}
	if w.holds(user) != "1005000 0" || w.holds(solver) != "995000 0" || w.openInterest() != "0 0" {
		t.Errorf("user %s, solver %s, open interest %s", w.holds(user), w.holds(solver), w.openInterest())
	}
	if got := w.query(query.Params())["theses"]; got != 1.0 {
		t.Errorf("%v thesis ids given out", got)
	}
}

// badQuote is one fault of a quote.
type badQuote struct {
	name string
	want string
	do   func(w *world, q *tx.Quote)
}

const maxU64 = ^uint64(0)

// badQuotes are in the order of the checks, so that of two faults the first one
// listed is the error.
var badQuotes = []badQuote{
	{"type 1", "InvalidThesisType", func(_ *world, q *tx.Quote) { q.ThesisType = 1 }},
	{"type 255", "InvalidThesisType", func(_ *world, q *tx.Quote) { q.ThesisType = 255 }},
	{"unknown base", "InvalidOraclePair", func(_ *world, q *tx.Quote) { q.Base[0]++ }},
	{"unknown quote", "InvalidOraclePair", func(_ *world, q *tx.Quote) { q.Quote[0]++ }},
	{"pair turned around", "InvalidOraclePair", func(_ *world, q *tx.Quote) { q.Base, q.Quote = q.Quote, q.Base }},
	{"paused market", "MarketPaused", func(w *world, q *tx.Quote) { q.Base = tx.Address{19: 2} }},
	{"lower = upper", "InvalidPriceRange", func(_ *world, q *tx.Quote) { q.Lower = q.Upper }},
	{"lower > upper", "InvalidPriceRange", func(_ *world, q *tx.Quote) { q.Lower = q.Upper + 1 }},
	{"lower at the edge", "InvalidPriceRange", func(_ *world, q *tx.Quote) { q.Lower = maxU64 }},
	{"upper 0", "InvalidPriceRange", func(_ *world, q *tx.Quote) { q.Lower, q.Upper = 0, 0 }},
	{"bet 0", "InvalidPayout", func(_ *world, q *tx.Quote) { q.BetAmount = 0 }},
	{"payout = bet", "InvalidPayout", func(_ *world, q *tx.Quote) { q.Payout = q.BetAmount }},
	{"payout < bet", "InvalidPayout", func(_ *world, q *tx.Quote) { q.Payout = q.BetAmount - 1 }},
	{"payout 0", "InvalidPayout", func(_ *world, q *tx.Quote) { q.Payout = 0 }},
	{"bet at the edge", "InvalidPayout", func(_ *world, q *tx.Quote) { q.BetAmount = maxU64 }},
	{"bet below the least", "BetAmountOutOfRange", func(_ *world, q *tx.Quote) { q.BetAmount = 9_999 }},
	{"bet above the greatest", "BetAmountOutOfRange", func(_ *world, q *tx.Quote) { q.BetAmount, q.Payout = 100_000_000_001, maxU64 }},
	{"bet and payout at the edge", "BetAmountOutOfRange", func(_ *world, q *tx.Quote) { q.BetAmount, q.Payout = maxU64-1, maxU64 }},
	{"user on the blacklist", "UserBlacklisted", func(w *world, q *tx.Quote) { q.User = w.gen.Address(3) }},
	{"solver on the blacklist", "UserBlacklisted", func(w *world, q *tx.Quote) { q.Solver = w.gen.Address(3) }},
	{"deadline passed", "QuoteDeadlineExpired", func(w *world, q *tx.Quote) { q.Deadline = w.ctx.Time - 1 }},
	{"deadline 0", "QuoteDeadlineExpired", func(_ *world, q *tx.Quote) { q.Deadline = 0 }},
	{"start passed", "InvalidStartTime", func(w *world, q *tx.Quote) { q.Start = w.ctx.Time - 1 }},
	{"start 0", "InvalidStartTime", func(_ *world, q *tx.Quote) { q.Start = 0 }},
	{"end = start", "InvalidEndTime", func(_ *world, q *tx.Quote) { q.End = q.Start }},
	{"end < start", "InvalidEndTime", func(_ *world, q *tx.Quote) { q.End = q.Start - 1 }},
	{"end 0", "InvalidEndTime", func(_ *world, q *tx.Quote) { q.End = 0 }},
	{"end too far", "InvalidEndTime", func(w *world, q *tx.Quote) { q.End = w.ctx.Time + rfq.MaxDueMs - traffic.ChallengeMs + 1 }},
	{"end + challenge window overflows", "InvalidEndTime", func(_ *world, q *tx.Quote) { q.End = maxU64 - traffic.ChallengeMs + 1 }},
	{"end + challenge window at the edge", "InvalidEndTime", func(_ *world, q *tx.Quote) { q.End = maxU64 - traffic.ChallengeMs }},
	{"end at the edge", "InvalidEndTime", func(_ *world, q *tx.Quote) { q.End = maxU64 }},
	{"start at the edge", "InvalidEndTime", func(_ *world, q *tx.Quote) { q.Start = maxU64 }},
	{"start and end at the edge", "InvalidEndTime", func(_ *world, q *tx.Quote) { q.Start, q.End = maxU64-1, maxU64 }},
	{"another solver", "Unauthorized", func(w *world, q *tx.Quote) { q.Solver = w.gen.Address(4) }},
	{"user and solver swapped", "Unauthorized", func(_ *world, q *tx.Quote) { q.User, q.Solver = q.Solver, q.User }},
	{"bet with oneself", "SelfBet", func(_ *world, q *tx.Quote) { q.User = q.Solver }},
	{"another user", "InvalidUserSignature", func(w *world, q *tx.Quote) { q.User = w.gen.Address(4) }},
	{"used", "QuoteAlreadyUsed", func(w *world, q *tx.Quote) { q.Salt = usedSalt }},
	{"payout beyond the solver's balance", "InsufficientBalance", func(_ *world, q *tx.Quote) { q.Payout = q.BetAmount + 1_000_001 }},
	{"payout at the edge", "InsufficientBalance", func(_ *world, q *tx.Quote) { q.Payout = maxU64 }},
	{"bet beyond the user's balance", "InsufficientBalance", func(_ *world, q *tx.Quote) { q.BetAmount, q.Payout = 1_000_001, 1_000_002 }},
	{"price stale", "OracleStale", func(_ *world, q *tx.Quote) { q.Base = tx.Address{19: 3} }},
}

// usedSalt is the salt of the sound quote that badWorld has opened a thesis on.
const usedSalt = 77

// badWorld has what the faults need: ETH's market is paused, SOL's has no price,
// account 3 is on the blacklist.
func badWorld(t testing.TB) *world {
	w := theses(t)
	usdt, _ := params.Token("USDT")
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.PauseMarket, Base: tx.Address{19: 2}, Quote: usdt}))
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.BlacklistAdd, Account: w.gen.Address(3)}))
	q := w.quoteOf(user, solver)
	q.Salt, q.BetAmount, q.Payout = usedSalt, 10_000, 10_001
	w.must("ok", solver, w.accept(user, q))
	return w
}

// TestBadQuotes is issue item 9: every fault has its own error and changes
// nothing, and so does every two faults together.
func TestBadQuotes(t *testing.T) {
	for _, c := range badQuotes {
		t.Run(c.name, func(t *testing.T) {
			w := badWorld(t)
			q := w.quoteOf(user, solver)
			q.Payout = 10_001 // the used quote is this one but for its salt
			c.do(w, &q)
			w.unchanged(c.want, solver, w.accept(user, q))
		})
	}
}

// TestOrderOfChecks begins with a quote that fails every check and repairs one
// after the other: the errors come in the order of the checks.
func TestOrderOfChecks(t *testing.T) {
	w := theses(t)
	usdt, _ := params.Token("USDT")
	limits := func(most uint64) tx.Transaction {
		return admin(tx.AdminAction{Kind: tx.SetMarketLimits, Base: tx.Address{19: 1}, Quote: usdt, Limits: tx.Limits{MinBet: 10_000, MaxBet: 20_000, MaxOpenInterest: most}})
	}
	list := func(kind tx.Action, n int) tx.Transaction {
		return admin(tx.AdminAction{Kind: kind, Account: w.gen.Address(n)})
	}
	good := w.quoteOf(user, solver)
	good.Start, good.End, good.Deadline = good.Start+10_000, good.End+20_000, good.Deadline+10_000
	w.must("ok", solver, w.accept(user, good)) // the quote is used, and its money refunded
	w.must("ok", traffic.Admin, cancel(1))
	for _, n := range []int{user, solver} {
		w.must("ok", n, transfer(tx.Address{1}, 995_001))
	}
	for _, x := range []tx.Transaction{limits(20_001), list(tx.BlacklistAdd, user), list(tx.BlacklistAdd, 4),
		admin(tx.AdminAction{Kind: tx.PauseMarket, Base: tx.Address{19: 2}, Quote: usdt}), admin(tx.AdminAction{Kind: tx.PauseSystem})} {
		w.must("ok", traffic.Admin, x)
	}
	old := oracle(100, w.ctx.Time+3001)
	old.Stale = true
	w.block(w.ctx.Time+3001, old)

	q := good
	q.ThesisType, q.Base, q.Lower, q.BetAmount, q.Payout = 9, tx.Address{9}, q.Upper, 9_999, 9_999
	q.Deadline, q.Start, q.End, q.Solver = w.ctx.Time-1, w.ctx.Time-1, w.ctx.Time-1, w.gen.Address(4)
	signer := 5
	for _, c := range []struct {
		want   string
		repair func()
	}{
		{"SystemPaused", func() { w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.UnpauseSystem})) }},
		{"InvalidThesisType", func() { q.ThesisType = 0 }},
		{"InvalidOraclePair", func() { q.Base = tx.Address{19: 2} }},
		{"MarketPaused", func() { q.Base = good.Base }},
		{"InvalidPriceRange", func() { q.Lower = good.Lower }},
		{"InvalidPayout", func() { q.Payout = good.Payout }},
		{"BetAmountOutOfRange", func() { q.BetAmount = good.BetAmount }},
		{"UserBlacklisted", func() { w.must("ok", traffic.Admin, list(tx.BlacklistRemove, user)) }},
		{"UserBlacklisted", func() { w.must("ok", traffic.Admin, list(tx.BlacklistRemove, 4)) }},
		{"QuoteDeadlineExpired", func() { q.Deadline = good.Deadline }},
		{"InvalidStartTime", func() { q.Start = good.Start }},
		{"InvalidEndTime", func() { q.End = good.End }},
		{"Unauthorized", func() { q.Solver, q.User = w.gen.Address(solver), w.gen.Address(solver) }},
		{"SelfBet", func() { q.User = good.User }},
		{"InvalidUserSignature", func() { signer = user }},
		{"QuoteAlreadyUsed", func() { q.Salt++ }},
		{"InsufficientBalance", func() { w.must("ok", traffic.Relayer, deposit(w.gen.Address(user), 5_001, 1)) }},
		{"InsufficientBalance", func() { w.must("ok", traffic.Relayer, deposit(w.gen.Address(solver), 1, 2)) }},
		{"OracleStale", func() { w.tick(1, 0) }},
		{"OracleStale", func() { w.tick(1, 100) }},
		{"", func() {}},
	} {
		if c.want != "" {
			w.unchanged(c.want, solver, w.accept(signer, q))
		}
		c.repair()
	}
	w.must("ok", solver, w.accept(user, q))
	for _, n := range []int{user, solver} {
		w.must("ok", traffic.Relayer, deposit(w.gen.Address(n), 100_000, byte(10+n)))
	}
	q.Salt++
	w.unchanged("MarketOiExceeded", solver, w.accept(user, q))
	w.must("ok", traffic.Admin, limits(30_000))
	w.must("ok", solver, w.accept(user, q))
	q.Salt++
	w.unchanged("MarketOiExceeded", solver, w.accept(user, q))
	w.must("ok", traffic.Admin, limits(20_001)) // below what is open already
	w.unchanged("MarketOiExceeded", solver, w.accept(user, q))
}

// TestOpenInterestEdge fills a market to the last unit, and no sum overflows.
func TestOpenInterestEdge(t *testing.T) {
	w := newWorld(t, traffic.New(1, traffic.Fake{}), func(_ *chain.Genesis, p *params.Params) {
		p.Markets[0].Limits = tx.Limits{MinBet: 1, MaxBet: maxU64 - 1, MaxOpenInterest: maxU64}
		for i := range p.Accounts {
			p.Accounts[i].Balance = 0
		}
	})
	w.tick(100, 100)
	w.must("ok", traffic.Relayer, deposit(w.gen.Address(user), 1<<63, 1))
	w.must("ok", traffic.Relayer, deposit(w.gen.Address(solver), 1<<63-1, 2))
	q := w.quoteOf(user, solver)
	q.Lower, q.Upper, q.BetAmount, q.Payout = 0, maxU64, 1<<63, maxU64
	w.must("ok", solver, w.accept(user, q))
	if w.holds(user) != "0 9223372036854775808" || w.holds(solver) != "0 9223372036854775807" || w.openInterest() != "18446744073709551615 1" {
		t.Errorf("user %s, solver %s, open interest %s", w.holds(user), w.holds(solver), w.openInterest())
	}
	w.unchanged("SupplyOverflow", traffic.Relayer, deposit(w.gen.Address(user), 1, 3))
	w.run(q.End+traffic.ChallengeMs, 100)
	w.must("ok", traffic.Settler, claim(1, tx.Settlement{Kind: tx.UserWins}))
	if w.holds(user) != "18446744073709551615 0" || w.holds(solver) != "0 0" || w.openInterest() != "0 0" {
		t.Errorf("user %s, solver %s, open interest %s", w.holds(user), w.holds(solver), w.openInterest())
	}
}

// TestExactFunds bets everything there is, and one more.
func TestExactFunds(t *testing.T) {
	w := theses(t)
	q := w.quoteOf(user, solver)
	for _, c := range []struct {
		bet, payout uint64
		want        string
	}{{1_000_001, 1_500_000, "InsufficientBalance"}, {1_000_000, 2_000_001, "InsufficientBalance"}, {1_000_000, 2_000_000, "ok"}} {
		q.BetAmount, q.Payout = c.bet, c.payout
		if c.want == "ok" {
			w.must("ok", solver, w.accept(user, q))
		} else {
			w.unchanged(c.want, solver, w.accept(user, q))
		}
	}
	if w.holds(user) != "0 1000000" || w.holds(solver) != "0 1000000" {
		t.Errorf("user %s, solver %s", w.holds(user), w.holds(solver))
	}
}

// TestStale is about how old a price may be, to the ms, and about a snapshot that
// is marked.
func TestStale(t *testing.T) {
	w := theses(t)
	salt := uint64(0)
	submit := func(want string) {
		t.Helper()
		q := w.quoteOf(user, solver)
		salt++
		if q.Salt = salt; want == "ok" {
			w.must("ok", solver, w.accept(user, q))
		} else {
			w.unchanged(want, solver, w.accept(user, q))
		}
	}
	w.tick(3000, 0)
	submit("ok")
	w.tick(1, 0)
	submit("OracleStale")
	w.tick(1, 100)
	submit("ok")
	marked := oracle(100, w.ctx.Time+100)
	marked.Stale = true
	w.block(w.ctx.Time+100, marked)
	submit("OracleStale")
	w.tick(100, 0)
	submit("ok")

	w = newWorld(t, traffic.New(1, traffic.Fake{}), nil)
	w.block(2000, chain.OracleSnapshot{}) // no price yet, and little time
	submit("OracleStale")
}

// TestWrongSigner is about the two signatures under a quote.
func TestWrongSigner(t *testing.T) {
	w := theses(t)
	q := w.quoteOf(user, solver)
	forged := w.accept(user, q)
	forged.From = w.gen.Address(solver)
	for _, signer := range []int{user, 5, traffic.Admin} { // the transaction is not the solver's
		if r := w.send(signer, forged); r.name != "InvalidSolverSignature" || !r.refused {
			t.Errorf("signed by %d: %s, refused %v", signer, r.name, r.refused)
		}
	}
	forged.From = w.gen.Address(6)
	if r := w.send(5, forged); r.name != "InvalidSignature" || !r.refused {
		t.Errorf("of somebody who is not even the solver: %s, refused %v", r.name, r.refused)
	}
	w.unchanged("Unauthorized", 6, w.accept(user, q))
	for _, signer := range []int{solver, 5, traffic.Admin} { // the quote is not accepted by the user
		w.unchanged("InvalidUserSignature", solver, w.accept(signer, q))
	}
	x := w.accept(user, q)
	x.RfqSubmit.UserSignature[64] = 29
	w.unchanged("InvalidUserSignature", solver, x)
	x = w.accept(user, q)
	x.RfqSubmit.UserSignature = tx.Signature{}
	w.unchanged("InvalidUserSignature", solver, x)
	for change := range 13 { // what was accepted is not what is submitted
		x = w.accept(user, q)
		c := &x.RfqSubmit.Quote
		term := [...]func(){func() { c.Lower-- }, func() { c.Upper++ }, func() { c.BetAmount++ }, func() { c.Payout-- }, func() { c.Start++ }, func() { c.End++ },
			func() { c.Deadline++ }, func() { c.Salt++ }, func() { c.Lower, c.Upper = c.Lower+1, c.Upper-1 }, func() { c.BetAmount, c.Payout = c.BetAmount+1, c.Payout+1 },
			func() { c.User = w.gen.Address(7) }, func() { c.End-- }, func() { c.Payout++ }}
		term[change]()
		w.unchanged("InvalidUserSignature", solver, x)
	}
	w.must("ok", solver, w.accept(user, q))
}

// TestWalletsInQuotes lets API wallets sign on both sides, as long as they may at
// block time.
func TestWalletsInQuotes(t *testing.T) {
	w := theses(t)
	users, solvers := 8, 9
	expiry := w.ctx.Time + 1000
	w.must("ok", user, nominate(w.gen.Address(users), expiry))
	w.must("ok", solver, nominate(w.gen.Address(solvers), expiry))
	salt := uint64(0)
	submit := func(accepts, sends int) tx.Transaction {
		salt++
		q := w.quoteOf(user, solver)
		q.Salt, q.Payout = salt, 10_001
		x := w.accept(accepts, q)
		x.From = w.gen.Address(solver)
		return x
	}
	w.must("ok", solver, submit(users, solver))
	w.must("ok", solvers, submit(user, solvers))
	w.must("ok", solvers, submit(users, solvers))
	w.must("InvalidUserSignature", solver, submit(solvers, solver)) // wallet of the wrong account
	w.must("InvalidSolverSignature", users, submit(user, users))
	x := submit(user, solvers) // a wallet is not the account
	x.RfqSubmit.Quote.Solver, x.From = w.gen.Address(solvers), w.gen.Address(solvers)
	w.must("InvalidUserSignature", solvers, x)

	w.run(expiry-1, 100)
	w.must("ok", solvers, submit(users, solvers))
	w.run(expiry, 100)
	w.unchanged("InvalidUserSignature", solver, submit(users, solver))
	w.must("InvalidSolverSignature", solvers, submit(user, solvers))
	w.must("ok", user, nominate(w.gen.Address(users), 0))
	w.must("ok", solver, submit(users, solver))
	w.must("ok", user, revoke(w.gen.Address(users)))
	w.unchanged("InvalidUserSignature", solver, submit(users, solver))
}

// TestQuoteOnce tries to use a quote again, whatever became of its thesis and
// however it is signed.
func TestQuoteOnce(t *testing.T) {
	w := newWorld(t, traffic.New(1, traffic.Secp()), nil)
	w.tick(100, 100)
	w.must("ok", user, nominate(w.gen.Address(8), 0))
	var quotes []tx.Quote
	for i := range uint64(4) { // open, cancelled, won by the user, void
		q := w.quoteOf(user, solver)
		q.Salt, q.Deadline, q.Start, q.End = i, maxU64, q.Start+20_000, q.End+40_000
		quotes = append(quotes, q)
		w.must("ok", solver, w.accept(user, q))
	}
	w.must("ok", traffic.Admin, cancel(2))
	again := func(i int, want string) {
		t.Helper()
		w.unchanged(want, solver, w.accept(user, quotes[i]))
		w.unchanged(want, solver, w.accept(8, quotes[i])) // by the user's wallet
		x := w.accept(user, quotes[i])
		x.RfqSubmit.UserSignature[64] -= 27
		w.unchanged(want, solver, x)
	}
	for i := range quotes {
		again(i, "QuoteAlreadyUsed")
	}
	w.run(quotes[2].Start, 100)
	again(1, "QuoteAlreadyUsed")
	w.tick(1, 100)
	for i := range quotes {
		again(i, "InvalidStartTime")
	}
	if w.thesis(4)["thesis_id"] != 4.0 || w.query(query.Params())["theses"] != 4.0 {
		t.Error("ids do not count from 1")
	}
}

// TestSpan opens the longest thesis there can be, and settles it when only
// anybody may.
func TestSpan(t *testing.T) {
	w := theses(t)
	q := w.quoteOf(user, solver)
	q.End = w.ctx.Time + rfq.MaxDueMs - traffic.ChallengeMs
	if rfq.MaxDueMs != 65_536*100-2*6_400-60_000 {
		t.Fatalf("a thesis may be due in %d ms", rfq.MaxDueMs)
	}
	w.must("ok", solver, w.accept(user, q))
	w.walk(q.End+traffic.ChallengeMs+rfq.GraceMs-1, 100)
	w.unchanged("ChallengeWindowNotOver", 5, settle(1))
	w.tick(1, 100)
	w.must("ok", 5, settle(1))
	if got := w.thesis(1)["outcome"]; got != "user_wins" {
		t.Errorf("it ended with %v", got)
	}
}
