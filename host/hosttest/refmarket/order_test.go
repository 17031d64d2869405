package refmarket_test

import (
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/refmarket"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// attempt is an RfqSubmit that would succeed, until a defect is added to it.
type attempt struct {
	*pairing
	t      *testing.T
	q      tx.Quote
	sender int // who sends it
	signer int // who signs the quote
	oracle chain.OracleSnapshot
}

const (
	aUser   = refmarket.FirstUser
	aSolver = refmarket.FirstSolver
)

func newAttempt(t *testing.T) *attempt {
	g := refmarket.NewGenerator(*seed, traffic.Fake{})
	genesis, p := g.Genesis()
	a := &attempt{pairing: newPairing(t, g, genesis, p, everywhere), t: t, sender: aSolver, signer: aUser}
	a.every = 10_000 // done compares
	base, _ := params.Token("BTC")
	quote, _ := params.Token("USDT")
	now := genesis.Time + 100
	a.oracle = chain.OracleSnapshot{Timestamp: now, Prices: []chain.Price{{Base: base, Quote: quote, Price: 100, Timestamp: now}}}
	a.begin(t, now, a.oracle)
	a.q = tx.Quote{Base: base, Quote: quote, Lower: 90, Upper: 110, BetAmount: 1_000, Payout: 1_900, Start: now + 5_000, End: now + 10_000,
		Deadline: now + 5_000, User: g.Address(aUser), Solver: g.Address(aSolver)}
	return a
}

// done ends the last block and compares the state.
func (a *attempt) done() {
	a.t.Helper()
	a.end(a.t)
	a.sameState(a.t, a.modules[0])
}

func (a *attempt) submit() refmarket.Result {
	a.t.Helper()
	return a.send(a.t, a.sender, tx.Transaction{Kind: tx.KindRfqSubmit, RfqSubmit: tx.RfqSubmit{Quote: a.q, UserSignature: a.g.Accept(a.signer, &a.q)}})
}

func (a *attempt) admin(action tx.AdminAction) {
	a.t.Helper()
	a.do(refmarket.AdminKey, tx.Transaction{Kind: tx.KindAdmin, Admin: action})
}

// do sends what has to succeed.
func (a *attempt) do(key int, x tx.Transaction) {
	a.t.Helper()
	if r := a.send(a.t, key, x); r.Error != "" {
		a.t.Fatalf("%+v: %s", x, r.Error)
	}
}

// leave takes all but n from an account.
func (a *attempt) leave(key int, n uint64) {
	a.t.Helper()
	balance := a.ref.Account(a.g.Address(key)).Balance
	a.do(key, tx.Transaction{Kind: tx.KindTransfer, Transfer: tx.Transfer{To: tx.Address{1}, Amount: balance - n}})
}

// pass goes on to a block ms later, without a new price.
func (a *attempt) pass(ms uint64) {
	a.end(a.t)
	a.begin(a.t, a.now+ms, a.oracle)
}

// defects are what can be wrong with an RfqSubmit, in the order in which it is
// found: the first that applies is the answer. terms says that it is in the
// quote's own terms, so that it makes another quote of it.
var defects = []struct {
	name  string
	error string
	terms bool
	make  func(*attempt)
}{
	{"system paused", "SystemPaused", false, func(a *attempt) { a.admin(tx.AdminAction{Kind: tx.PauseSystem}) }},
	{"type", "InvalidThesisType", true, func(a *attempt) { a.q.ThesisType = 1 }},
	{"pair", "InvalidOraclePair", true, func(a *attempt) { a.q.Base = tx.Address{9} }},
	{"market paused", "MarketPaused", false, func(a *attempt) { a.admin(tx.AdminAction{Kind: tx.PauseMarket, Base: a.q.Base, Quote: a.q.Quote}) }},
	{"lower = upper", "InvalidPriceRange", true, func(a *attempt) { a.q.Lower = a.q.Upper }},
	{"payout = bet", "InvalidPayout", true, func(a *attempt) { a.q.Payout = a.q.BetAmount }},
	{"bet 0", "InvalidPayout", true, func(a *attempt) { a.q.BetAmount = 0 }},
	{"bet too small", "BetAmountOutOfRange", true, func(a *attempt) { a.q.BetAmount = 999 }},
	{"bet too large", "BetAmountOutOfRange", true, func(a *attempt) { a.q.BetAmount, a.q.Payout = 5_000_001, 5_000_002 }},
	{"user blacklisted", "UserBlacklisted", false, func(a *attempt) { a.admin(tx.AdminAction{Kind: tx.BlacklistAdd, Account: a.g.Address(aUser)}) }},
	{"solver blacklisted", "UserBlacklisted", false, func(a *attempt) { a.admin(tx.AdminAction{Kind: tx.BlacklistAdd, Account: a.g.Address(aSolver)}) }},
	{"deadline", "QuoteDeadlineExpired", true, func(a *attempt) { a.q.Deadline = a.now - 1 }},
	{"deadline and start pass", "QuoteDeadlineExpired", false, func(a *attempt) { a.pass(5_001) }},
	{"start", "InvalidStartTime", true, func(a *attempt) { a.q.Start = a.now - 1 }},
	{"end = start", "InvalidEndTime", true, func(a *attempt) { a.q.End = a.q.Start }},
	{"end too far", "InvalidEndTime", true, func(a *attempt) { a.q.End = a.now + 65_536*100 }},
	{"end at the edge", "InvalidEndTime", true, func(a *attempt) { a.q.End = ^uint64(0) }},
	{"sent by the user", "Unauthorized", false, func(a *attempt) { a.sender = aUser }},
	{"user is solver", "SelfBet", true, func(a *attempt) { a.q.User, a.signer = a.q.Solver, aSolver }},
	{"user's signature", "InvalidUserSignature", false, func(a *attempt) { a.signer = refmarket.FirstStranger }},
	{"user's wallet has expired", "InvalidUserSignature", false, func(a *attempt) {
		a.nominate(aUser)
		a.signer = refmarket.FirstWallet
		a.pass(1_000)
	}},
	{"user's wallet is another's", "InvalidUserSignature", false, func(a *attempt) { a.nominate(aUser + 1); a.signer = refmarket.FirstWallet }},
	{"used", "QuoteAlreadyUsed", false, nil},
	{"user's balance", "InsufficientBalance", false, func(a *attempt) { a.leave(aUser, 999) }},
	{"solver's balance", "InsufficientBalance", false, func(a *attempt) { a.leave(aSolver, 899) }},
	{"no price for long", "OracleStale", false, func(a *attempt) {
		a.pass(3_001)
	}},
	{"stale snapshot", "OracleStale", false, func(a *attempt) {
		a.oracle.Stale = true
		a.pass(1)
	}},
	{"open interest", "MarketOiExceeded", false, func(a *attempt) { a.limit(1_899) }},
}

// TestDefects: each defect alone is found and changes nothing; the attempt
// without one succeeds.
func TestDefects(t *testing.T) {
	a := newAttempt(t)
	if r := a.submit(); r.Error != "" || len(r.Events) != 1 {
		t.Fatalf("without a defect: %+v", r)
	}
	a.done()
	for i := range defects {
		d := &defects[i]
		t.Run(d.name, func(t *testing.T) {
			a := newAttempt(t)
			a.add(i)
			before := a.ref.Totals()
			if r := a.submit(); r.Refused || r.Error != d.error {
				t.Errorf("%+v, want %s", r, d.error)
			}
			if after := a.ref.Totals(); after != before {
				t.Errorf("totals are %+v, were %+v", after, before)
			}
			a.done()
		})
	}
}

// add adds a defect.
func (a *attempt) add(i int) {
	if d := &defects[i]; d.make != nil {
		d.make(a)
	} else if r := a.submit(); r.Error != "" { // used: has succeeded once
		a.t.Fatalf("first use: %s", r.Error)
	}
}

// TestEdges: what is just within each limit succeeds.
func TestEdges(t *testing.T) {
	for name, edge := range map[string]func(*attempt){
		"deadline now":     func(a *attempt) { a.q.Deadline = a.now },
		"start now":        func(a *attempt) { a.q.Start = a.now },
		"shortest":         func(a *attempt) { a.q.End = a.q.Start + 1 },
		"longest":          func(a *attempt) { a.q.End = a.now + 6_480_800 - challengeMs },
		"narrowest":        func(a *attempt) { a.q.Lower, a.q.Upper = 100, 101 },
		"widest":           func(a *attempt) { a.q.Lower, a.q.Upper = 0, ^uint64(0) },
		"smallest bet":     func(a *attempt) { a.q.BetAmount, a.q.Payout = 1_000, 1_001 },
		"greatest bet":     func(a *attempt) { a.q.BetAmount, a.q.Payout = 5_000_000, 5_000_001 },
		"user's last":      func(a *attempt) { a.leave(aUser, 1_000) },
		"solver's last":    func(a *attempt) { a.leave(aSolver, 900) },
		"oldest price":     func(a *attempt) { a.pass(3_000) },
		"last room":        func(a *attempt) { a.limit(1_900) },
		"user's wallet":    func(a *attempt) { a.nominate(aUser); a.signer = refmarket.FirstWallet },
		"greatest salt":    func(a *attempt) { a.q.Salt = ^uint64(0) },
		"another's wallet": func(a *attempt) { a.nominate(aUser + 1) },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttempt(t)
			edge(a)
			if r := a.submit(); r.Error != "" {
				t.Errorf("%+v", r)
			}
			a.done()
		})
	}
}

// limit sets the market's open interest.
func (a *attempt) limit(most uint64) {
	a.t.Helper()
	a.admin(tx.AdminAction{Kind: tx.SetMarketLimits, Base: a.q.Base, Quote: a.q.Quote, Limits: tx.Limits{MinBet: 1_000, MaxBet: 1_000, MaxOpenInterest: most}})
}

func (a *attempt) nominate(key int) {
	a.t.Helper()
	a.do(key, tx.Transaction{Kind: tx.KindNominateApiWallet, NominateApiWallet: tx.NominateApiWallet{Wallet: a.g.Address(refmarket.FirstWallet), Expiry: a.now + 1_000}})
}

// TestDefectOrder: of any two defects the one that is checked first is the
// answer.
func TestDefectOrder(t *testing.T) {
	for j := range defects {
		for i := range j {
			first, second := &defects[i], &defects[j]
			if first.error == second.error || !compatible(i, j) {
				continue
			}
			t.Run(first.name+", "+second.name, func(t *testing.T) {
				a := newAttempt(t)
				if first.make == nil { // a quote is sound when it is used
					a.add(i)
					a.add(j)
				} else {
					a.add(j)
					a.add(i)
				}
				if r := a.submit(); r.Refused || r.Error != first.error {
					t.Errorf("%+v, want %s", r, first.error)
				}
			})
		}
	}
}

// compatible reports whether both defects can be had at once.
func compatible(i, j int) bool {
	first, second := &defects[i], &defects[j]
	if first.make == nil || second.make == nil {
		return !first.terms && !second.terms
	}
	return first.name != "user blacklisted" || second.name != "user is solver"
}

// FuzzSubmit: module and reference agree about any terms.
func FuzzSubmit(f *testing.F) {
	f.Add(uint8(0), uint64(90), uint64(110), uint64(1_000), uint64(1_900), int64(5_000), int64(10_000), int64(5_000))
	f.Add(uint8(0), uint64(0), ^uint64(0), uint64(1_000), ^uint64(0), int64(0), int64(6_000_000), int64(0))
	f.Add(uint8(1), ^uint64(0), uint64(0), ^uint64(0), ^uint64(0)-1, int64(-1), int64(-2), int64(-1))
	f.Add(uint8(0), uint64(1), uint64(2), uint64(5_000_000), uint64(400_000_000), int64(1), int64(1<<62), int64(1))
	f.Fuzz(func(t *testing.T, thesisType uint8, lower, upper, bet, payout uint64, start, end, deadline int64) {
		a := newAttempt(t)
		a.q.ThesisType, a.q.Lower, a.q.Upper, a.q.BetAmount, a.q.Payout = thesisType, lower, upper, bet, payout
		a.q.Start, a.q.End, a.q.Deadline = a.now+uint64(start), a.now+uint64(end), a.now+uint64(deadline)
		a.submit()
		a.done()
	})
}
