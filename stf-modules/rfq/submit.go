package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// submit opens a thesis. The order of the checks is part of the contract: a quote
// with several faults fails for the first of them, everywhere.
func (m *Module) submit(env *sdk.Env, ctx abi.Context, t *tx.RfqSubmit) abi.Code {
	q := &t.Quote
	if code := m.checkTerms(env, q); code != abi.CodeOK {
		return code
	}
	if code := m.checkBlacklist(env, q); code != abi.CodeOK {
		return code
	}
	if code := m.checkTimes(env, ctx, q); code != abi.CodeOK {
		return code
	}
	if code := m.checkParties(env, ctx, t); code != abi.CodeOK {
		return code
	}
	if code := m.checkFunds(env, q); code != abi.CodeOK {
		return code
	}
	sys := m.system(env)
	if code := m.checkMarket(env, ctx, q, &sys); code != abi.CodeOK {
		return code
	}
	m.openThesis(env, ctx, q, &sys)
	return abi.CodeOK
}

// checkTerms judges what the quote alone and its market's rules say, and points
// m.book at the market.
func (m *Module) checkTerms(env *sdk.Env, q *tx.Quote) abi.Code {
	switch {
	case q.ThesisType != tx.Box:
		return env.Fail(CodeInvalidThesisType, env.Text("thesis type is ").U64(uint64(q.ThesisType)).Str(", want 0 (Box)"))
	case !m.readBook(env, &q.Base, &q.Quote):
		return noMarket(env, &q.Base, &q.Quote)
	case m.book.paused:
		return env.Fail(CodeMarketPaused, env.Text("an admin has paused the market"))
	case q.Lower >= q.Upper:
		return env.Fail(CodeInvalidPriceRange, env.Text("lower is ").U64(q.Lower).Str(", want less than upper ").U64(q.Upper))
	case q.BetAmount == 0 || q.Payout <= q.BetAmount:
		return env.Fail(CodeInvalidPayout, env.Text("bet amount is ").U64(q.BetAmount).Str(" and payout ").U64(q.Payout).Str(", want 0 < bet amount < payout"))
	case q.BetAmount < m.book.limits.MinBet || q.BetAmount > m.book.limits.MaxBet:
		return env.Fail(CodeBetAmountOutOfRange, env.Text("bet amount is ").U64(q.BetAmount).Str(", the market takes ").U64(m.book.limits.MinBet).Str(" to ").U64(m.book.limits.MaxBet))
	}
	return abi.CodeOK
}

// checkBlacklist reads the user's account into m.other, and judges it and the
// solver's, which is m.from.
func (m *Module) checkBlacklist(env *sdk.Env, q *tx.Quote) abi.Code {
	m.other.read(env, &q.User)
	if m.other.blacklisted() {
		return blacklisted(env, &q.User)
	}
	if m.tx.From != q.Solver { // a fault that comes later: nobody needs the sender's record any more
		m.from.read(env, &q.Solver)
	}
	if m.from.blacklisted() {
		return blacklisted(env, &q.Solver)
	}
	return abi.CodeOK
}

// checkTimes judges the quote's times against the block's. Once it has passed,
// end + challenge window neither overflows nor lies beyond the price history.
func (m *Module) checkTimes(env *sdk.Env, ctx abi.Context, q *tx.Quote) abi.Code {
	now, challenge := ctx.Time, m.params(env).challengeWindowMs
	switch {
	case now > q.Deadline:
		return env.Fail(CodeQuoteDeadlineExpired, env.Text("deadline was ").U64(q.Deadline).Str(", the block's time is ").U64(now))
	case q.Start < now:
		return env.Fail(CodeInvalidStartTime, env.Text("start is ").U64(q.Start).Str(", want the block's time ").U64(now).Str(" or later"))
	case q.End <= q.Start:
		return env.Fail(CodeInvalidEndTime, env.Text("end is ").U64(q.End).Str(", want later than start ").U64(q.Start))
	case challenge > MaxDueMs || q.End-now > MaxDueMs-challenge || q.End > ^uint64(0)-challenge:
		return env.Fail(CodeInvalidEndTime, env.Text("end is ").U64(q.End).Str(", with the challenge window of ").U64(challenge).
			Str(" ms that is more than ").U64(MaxDueMs).Str(" ms from the block's time ").U64(now))
	}
	m.thesis.due = q.End + challenge
	return abi.CodeOK
}

// checkParties decides whether both sides are who the quote says, and have not
// used it before.
func (m *Module) checkParties(env *sdk.Env, ctx abi.Context, t *tx.RfqSubmit) abi.Code {
	q := &t.Quote
	switch {
	case m.tx.From != q.Solver:
		return env.Fail(CodeUnauthorized, env.Text("").Hex(m.tx.From[:]).Str(" is not the quote's solver ").Hex(q.Solver[:]))
	case q.User == q.Solver:
		return env.Fail(CodeSelfBet, env.Text("user and solver are both ").Hex(q.User[:]))
	}
	if !env.Signer712(&tx.DomainSeparator, m.hasher.QuoteWords(q), &t.UserSignature, &m.accepted) {
		return env.Fail(CodeInvalidUserSignature, env.Text("r, s, v do not form a valid low-s signature with v in 0, 1, 27, 28"))
	}
	if !m.userAccepts(ctx) {
		return env.Fail(CodeInvalidUserSignature, env.Text("the quote is signed by ").Hex(m.accepted.Signer[:]).
			Str(", which is neither its user ").Hex(q.User[:]).Str(" nor one of its usable API wallets"))
	}
	m.quote = m.hasher.QuoteHash(env, q)
	if b, used := env.Get(m.quoteKey(&m.quote)); used {
		return env.Fail(CodeQuoteAlreadyUsed, env.Text("quote ").Hex(m.quote[:]).Str(" became thesis ").U64(abi.U64(b)))
	}
	return abi.CodeOK
}

// userAccepts reports whether who signed the quote may sign for m.other now.
func (m *Module) userAccepts(ctx abi.Context) bool {
	signer := &m.accepted.Signer
	if *signer == m.other.address() {
		return true
	}
	i := m.other.findWallet(signer)
	if i < 0 {
		return false
	}
	w := m.other.walletAt(i)
	return w.usable(ctx.Time)
}

// checkFunds decides whether both can pay; the solver is the sender.
func (m *Module) checkFunds(env *sdk.Env, q *tx.Quote) abi.Code {
	if have := m.other.balance(); have < q.BetAmount {
		return env.Fail(CodeInsufficientBalance, env.Text("the user's balance is ").U64(have).Str(", the bet amount ").U64(q.BetAmount))
	}
	if have, stake := m.from.balance(), q.Payout-q.BetAmount; have < stake {
		return env.Fail(CodeInsufficientBalance, env.Text("the solver's balance is ").U64(have).Str(", payout less bet amount ").U64(stake))
	}
	return abi.CodeOK
}

// checkMarket decides whether the market has a fresh price and room. Open interest
// may be above its limit, if that was lowered.
func (m *Module) checkMarket(env *sdk.Env, ctx abi.Context, q *tx.Quote, sys *system) abi.Code {
	v, maxStale := &m.book, m.params(env).maxStaleMs
	head := m.ring.Open(env, v.index)
	switch most := v.limits.MaxOpenInterest; {
	case sys.stale:
		return env.Fail(CodeOracleStale, env.Text("the oracle snapshot in force is older than ").U64(maxStale).Str(" ms"))
	case head.Timestamp == 0 || ctx.Time-head.Timestamp > maxStale:
		return env.Fail(CodeOracleStale, env.Text("the market's newest price is of ").U64(head.Timestamp).Str(", more than ").U64(maxStale).Str(" ms before the block's time ").U64(ctx.Time))
	case v.openInterest > most || q.Payout > most-v.openInterest:
		return env.Fail(CodeMarketOiExceeded, env.Text("open interest is ").U64(v.openInterest).Str(" of at most ").U64(most).Str(", the payout is ").U64(q.Payout))
	}
	return abi.CodeOK
}

// openThesis does what all the checks have allowed.
func (m *Module) openThesis(env *sdk.Env, ctx abi.Context, q *tx.Quote, sys *system) {
	m.lock(env, &m.other, q.BetAmount)
	m.lock(env, &m.from, q.Payout-q.BetAmount)
	sums := m.totals(env)
	sums.balances -= q.Payout
	sums.escrow += q.Payout
	m.setTotals(env, &sums)
	sys.theses++
	m.setSystem(env, sys)
	v, t := &m.book, &m.thesis
	v.openInterest += q.Payout
	v.open++
	m.writeBook(env)
	t.id, t.outcome, t.created, t.settled = sys.theses, open, ctx.Time, 0
	t.breachTimestamp, t.breachPrice, t.settledBy = 0, 0, tx.Address{}
	t.hash, t.quote = m.quote, *q
	m.writeThesis(env)
	env.Set(m.quoteKey(&m.quote), abi.AppendU64(m.event[:0], t.id))
	m.schedule.Open(env, v.index)
	m.schedule.Add(t.key())
	m.party.add(env, asUser, &q.User, t.id)
	m.party.add(env, asSolver, &q.Solver, t.id)
	m.emitCreated(env)
}

// lock takes what an account has to put in.
func (m *Module) lock(env *sdk.Env, a *account, amount uint64) {
	a.setBalance(a.balance() - amount)
	a.setLocked(a.locked() + amount)
	a.write(env)
}

func (m *Module) emitCreated(env *sdk.Env) {
	t := &m.thesis
	q := &t.quote
	e := append(abi.AppendU64(m.newEvent(EventThesisCreated), t.id), t.hash[:]...)
	e = append(append(e, q.User[:]...), q.Solver[:]...)
	e = append(append(e, q.Base[:]...), q.Quote[:]...)
	for _, v := range [...]uint64{q.Lower, q.Upper, q.BetAmount, q.Payout, q.Start, q.End, t.due} {
		e = abi.AppendU64(e, v)
	}
	env.Emit(e)
}
