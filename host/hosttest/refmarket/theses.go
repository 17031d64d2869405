package refmarket

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Outcome is how a thesis ended, as events and queries name it.
type Outcome string

// The outcomes; a thesis that is open has none.
const (
	Open       Outcome = ""
	UserWins   Outcome = "user_wins"
	SolverWins Outcome = "solver_wins"
	Voided     Outcome = "void"
	Cancelled  Outcome = "cancelled"
)

// Thesis is one accepted quote.
type Thesis struct {
	ID        uint64
	Quote     tx.Quote
	Hash      tx.Hash
	Outcome   Outcome
	CreatedAt uint64
	SettledAt uint64
	SettledBy tx.Address
	Breach    Price // of SolverWins

	market *market
}

// Same reports whether two readings of a thesis agree.
func (t *Thesis) Same(o *Thesis) bool {
	a, b := *t, *o
	a.market, b.market = nil, nil
	return a == b
}

// EventThesis is the id of the thesis that the events are about, 0 for none.
func EventThesis(events []string) (id uint64) {
	for _, e := range events {
		if _, err := fmt.Sscanf(e, "thesis_created thesis_id=%d", &id); err == nil {
			return id
		}
		if _, err := fmt.Sscanf(e, "thesis_settled thesis_id=%d", &id); err == nil {
			return id
		}
	}
	return 0
}

// Times of a thesis, ms.
const (
	graceMs       = 60_000                                       // after the challenge window: anybody may settle
	farthestDueMs = 65_536*slotMs - 2*pageSlots*slotMs - graceMs // from now, for a new thesis
)

// State names what a thesis is in at the open block's time.
func (m *Market) State(t *Thesis) string {
	switch {
	case t.Outcome == UserWins:
		return "SettledUserWin"
	case t.Outcome == SolverWins:
		return "SettledSolverWin"
	case t.Outcome == Voided:
		return "Voided"
	case t.Outcome == Cancelled:
		return "Cancelled"
	case m.now < t.Quote.Start:
		return "Created"
	case m.now < t.Quote.End:
		return "Active"
	case m.now < m.Due(t):
		return "InChallengeWindow"
	default:
		return "Due"
	}
}

// Due is when the challenge window is over.
func (m *Market) Due(t *Thesis) uint64 { return t.Quote.End + m.challengeMs }

// submit opens a thesis. The order of the checks is part of the contract.
func (m *Market) submit(in *Input) []string {
	q := &in.Tx.RfqSubmit.Quote
	failIf(q.ThesisType != 0, "InvalidThesisType")
	x := m.pair(q.Base, q.Quote)
	failIf(x == nil, "InvalidOraclePair")
	failIf(x.paused, "MarketPaused")
	failIf(q.Lower >= q.Upper, "InvalidPriceRange")
	failIf(q.BetAmount == 0 || q.Payout <= q.BetAmount, "InvalidPayout")
	failIf(q.BetAmount < x.limits.MinBet || q.BetAmount > x.limits.MaxBet, "BetAmountOutOfRange")
	user, solver := m.account(q.User), m.account(q.Solver)
	failIf(user.blacklisted || solver.blacklisted, "UserBlacklisted")
	failIf(m.now > q.Deadline, "QuoteDeadlineExpired")
	failIf(q.Start < m.now, "InvalidStartTime")
	due, overflow := bits.Add64(q.End, m.challengeMs, 0)
	failIf(q.End <= q.Start || overflow != 0 || due-m.now > farthestDueMs, "InvalidEndTime")
	failIf(in.Tx.From != q.Solver, "Unauthorized")
	failIf(q.User == q.Solver, "SelfBet")
	failIf(!m.userAccepts(in, user), "InvalidUserSignature")
	failIf(m.quotes[in.QuoteHash], "QuoteAlreadyUsed")
	stake := q.Payout - q.BetAmount
	failIf(user.balance < q.BetAmount || solver.balance < stake, "InsufficientBalance")
	failIf(m.snapshotStale || x.newest.Timestamp == 0 || m.now-x.newest.Timestamp > m.maxStaleMs, "OracleStale")
	interest, overflow := bits.Add64(x.openPayouts, q.Payout, 0)
	failIf(overflow != 0 || interest > x.limits.MaxOpenInterest, "MarketOiExceeded")

	user.balance, user.locked = user.balance-q.BetAmount, user.locked+q.BetAmount
	solver.balance, solver.locked = solver.balance-stake, solver.locked+stake
	x.openPayouts = interest
	m.quotes[in.QuoteHash] = true
	t := &Thesis{ID: uint64(len(m.theses) + 1), Quote: *q, Hash: in.QuoteHash, CreatedAt: m.now, market: x}
	m.theses, m.open = append(m.theses, t), append(m.open, t)
	return []string{event("thesis_created", "thesis_id", t.ID, "quote_hash", t.Hash, "user", q.User, "solver", q.Solver, "base", q.Base, "quote", q.Quote,
		"lower", q.Lower, "upper", q.Upper, "bet_amount", q.BetAmount, "payout", q.Payout, "start", q.Start, "end", q.End, "due", due)}
}

// userAccepts reports whether the quote is signed by its user or by a wallet that
// may sign for the user now.
func (m *Market) userAccepts(in *Input, user *account) bool {
	if !in.UserOK {
		return false
	}
	if in.User == in.Tx.RfqSubmit.Quote.User {
		return true
	}
	w := user.wallet(in.User)
	return w != nil && m.maySign(w)
}

// unsettled finds a thesis that has no outcome yet.
func (m *Market) unsettled(id uint64) *Thesis {
	failIf(id == 0 || id > uint64(len(m.theses)), "ThesisNotFound")
	t := m.theses[id-1]
	failIf(t.Outcome != Open, "ThesisNotActive")
	return t
}

// Verdict is what the recorded prices say about a thesis: a breach is a fact, and
// the first one counts; without one, a hole leaves it undecided.
func (m *Market) Verdict(t *Thesis) (Outcome, Price) {
	prices, complete := t.market.within(t.Quote.Start, t.Quote.End)
	for _, p := range prices {
		if breaks(&t.Quote, p.Price) {
			return SolverWins, p
		}
	}
	if !complete || hole(prices, t.Quote.Start, t.Quote.End, m.maxStaleMs) {
		return Voided, Price{}
	}
	return UserWins, Price{}
}

func breaks(q *tx.Quote, price uint64) bool { return price < q.Lower || price > q.Upper }

// systemSettle takes a settler's claim, if it is true.
func (m *Market) systemSettle(from tx.Address, p tx.SystemSettle) []string {
	failIf(!m.settlerEnabled, "SettlerDisabled")
	t := m.unsettled(p.ThesisID)
	if p.Settlement.Kind == tx.SolverWins {
		claim := Price{p.Settlement.BreachTimestamp, p.Settlement.BreachPrice}
		m.checkBreach(t, claim)
		return m.finish(t, SolverWins, claim, from)
	}
	failIf(m.now < m.Due(t), "ChallengeWindowNotOver")
	verdict, _ := m.Verdict(t)
	failIf(verdict == SolverWins, "BreachFound")
	if p.Settlement.Kind == tx.Void {
		failIf(verdict != Voided, "OracleDataComplete")
	} else {
		failIf(verdict != UserWins, "OracleDataNotFound")
	}
	return m.finish(t, verdict, Price{}, from)
}

func (m *Market) checkBreach(t *Thesis, claim Price) {
	failIf(claim.Timestamp < t.Quote.Start || claim.Timestamp > t.Quote.End, "InvalidBreachTimestamp")
	failIf(!breaks(&t.Quote, claim.Price), "PriceWithinRange")
	prices, _ := t.market.within(t.Quote.Start, t.Quote.End)
	failIf(!slices.Contains(prices, claim), "OracleDataNotFound")
}

// rfqSettle is anybody's way to an outcome, once settlers had their time.
func (m *Market) rfqSettle(from tx.Address, id uint64) []string {
	t := m.unsettled(id)
	failIf(m.now < m.Due(t)+graceMs, "ChallengeWindowNotOver")
	verdict, breach := m.Verdict(t)
	return m.finish(t, verdict, breach, from)
}

// cancel takes a thesis back before it has begun.
func (m *Market) cancel(from tx.Address, id uint64) []string {
	t := m.unsettled(id)
	failIf(m.now >= t.Quote.Start, "ThesisStarted")
	return m.finish(t, Cancelled, Price{}, from)
}

// finish pays out, once.
func (m *Market) finish(t *Thesis, o Outcome, breach Price, by tx.Address) []string {
	q := &t.Quote
	stake := q.Payout - q.BetAmount
	toUser, toSolver := q.BetAmount, stake
	switch o {
	case UserWins:
		toUser, toSolver = q.Payout, 0
	case SolverWins:
		toUser, toSolver = 0, q.Payout
	}
	user, solver := m.account(q.User), m.account(q.Solver)
	user.locked, user.balance = user.locked-q.BetAmount, user.balance+toUser
	solver.locked, solver.balance = solver.locked-stake, solver.balance+toSolver
	t.market.openPayouts -= q.Payout
	t.Outcome, t.Breach, t.SettledAt, t.SettledBy = o, breach, m.now, by
	m.open = slices.DeleteFunc(m.open, func(x *Thesis) bool { return x == t })
	return []string{event("thesis_settled", "thesis_id", t.ID, "outcome", o, "user", q.User, "solver", q.Solver, "payout", q.Payout,
		"user_received", toUser, "solver_received", toSolver, "breach_timestamp", breach.Timestamp, "breach_price", breach.Price, "settled_by", by)}
}
