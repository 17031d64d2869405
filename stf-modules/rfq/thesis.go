package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/ring"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/schedule"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// GraceMs is how long after its challenge window a thesis is left to settlers;
// then anybody may settle it (protocol section 5), ms.
const GraceMs = 60_000

// MaxDueMs is how far from now a thesis may be due: when anybody may settle it,
// the history still has its whole window, with a page to spare for prices that
// were pushed into the next one, ms.
const MaxDueMs = ring.SpanMs - ring.PageMs - GraceMs

// outcome is how a thesis ended.
type outcome uint8

const (
	open outcome = iota
	userWins
	solverWins
	voided
	cancelled
)

// outcomes are named as events and queries do.
var outcomes = [...]string{"", "user_wins", "solver_wins", "void", "cancelled"}

// thesis is one accepted quote: its record, and what of it is not fixed apart.
//
//	outcome u8, due u64, created u64, settled u64, breach timestamp u64,
//	breach price u64, settled by [20], quote hash [32], quote
type thesis struct {
	id              uint64
	outcome         outcome
	due             uint64 // the challenge window is over, ms
	created         uint64 // block time, ms
	settled         uint64 // block time, ms; 0 while it is open
	breachTimestamp uint64 // of solverWins
	breachPrice     uint64
	settledBy       tx.Address
	hash            tx.Hash // of the quote
	quote           tx.Quote
	buf             [thesisBytes]byte
}

// thesisBytes is the size of a record, atQuote where the quote is in it.
const (
	atQuote     = 1 + 5*8 + 20 + 32
	thesisBytes = atQuote + tx.QuoteBytes
)

// stake is what the solver has put in.
func (t *thesis) stake() uint64 { return t.quote.Payout - t.quote.BetAmount }

// breaks reports whether a price is out of the range.
func (t *thesis) breaks(price uint64) bool { return price < t.quote.Lower || price > t.quote.Upper }

func (t *thesis) key() schedule.Key { return schedule.Key{Due: t.due, ID: t.id} }

// state is what the thesis is in at a time, by its record.
func (t *thesis) state(now uint64) query.State {
	b := &t.buf
	switch o := outcome(b[0]); {
	case o != open:
		return query.SettledUserWin + query.State(o-userWins)
	case now < abi.U64(b[atQuote+tx.QuoteStart:]):
		return query.Created
	case now < abi.U64(b[atQuote+tx.QuoteEnd:]):
		return query.Active
	case now < abi.U64(b[1:]):
		return query.InChallengeWindow
	default:
		return query.Due
	}
}

// loadThesis reads a thesis's record into m.thesis; false if there is no such
// thesis.
func (m *Module) loadThesis(env *sdk.Env, id uint64) bool {
	m.thesis.id = id
	_, ok := env.GetInto(m.thesisKey(id), m.thesis.buf[:])
	return ok
}

// readThesis fills m.thesis; false if there is no such thesis.
func (m *Module) readThesis(env *sdk.Env, id uint64) bool {
	if !m.loadThesis(env, id) {
		return false
	}
	m.decodeThesis()
	return true
}

// decodeThesis takes the record of m.thesis apart.
func (m *Module) decodeThesis() {
	t := &m.thesis
	b := &t.buf
	t.outcome = outcome(b[0])
	for i, p := range [...]*uint64{&t.due, &t.created, &t.settled, &t.breachTimestamp, &t.breachPrice} {
		*p = abi.U64(b[1+8*i:])
	}
	t.settledBy, t.hash = tx.Address(b[41:]), tx.Hash(b[61:])
	t.quote.Decode((*[tx.QuoteBytes]byte)(b[atQuote:]))
}

// writeThesis writes m.thesis.
func (m *Module) writeThesis(env *sdk.Env) {
	t := &m.thesis
	b := &t.buf
	b[0] = byte(t.outcome)
	for i, v := range [...]uint64{t.due, t.created, t.settled, t.breachTimestamp, t.breachPrice} {
		abi.PutU64(b[1+8*i:], v)
	}
	*(*tx.Address)(b[41:]), *(*tx.Hash)(b[61:]) = t.settledBy, t.hash
	t.quote.Append(b[:atQuote])
	env.Set(m.thesisKey(t.id), b[:])
}

// unsettled reads a thesis that has to be open.
func (m *Module) unsettled(env *sdk.Env, id uint64) abi.Code {
	if !m.readThesis(env, id) {
		return thesisNotFound(env, id)
	}
	if m.thesis.outcome != open {
		return env.Fail(CodeThesisNotActive, env.Text("thesis ").U64(id).Str(" ended with ").Str(outcomes[m.thesis.outcome]).Str(" at ").U64(m.thesis.settled))
	}
	return abi.CodeOK
}

func thesisNotFound(env *sdk.Env, id uint64) abi.Code {
	return env.Fail(CodeThesisNotFound, env.Text("there is no thesis ").U64(id))
}

// cancel ends a thesis that has not begun: an admin's way out of a mistake that
// nobody can have won by yet.
func (m *Module) cancel(env *sdk.Env, ctx abi.Context, id uint64) abi.Code {
	if code := m.unsettled(env, id); code != abi.CodeOK {
		return code
	}
	if start := m.thesis.quote.Start; ctx.Time >= start {
		return env.Fail(CodeThesisStarted, env.Text("thesis ").U64(id).Str(" began at ").U64(start).Str(", the block's time is ").U64(ctx.Time))
	}
	return m.finish(env, ctx, cancelled)
}

// finish pays m.thesis out. Nobody's pause, limit or place on the blacklist keeps
// money from being paid that was locked before.
func (m *Module) finish(env *sdk.Env, ctx abi.Context, o outcome) abi.Code {
	t := &m.thesis
	q := &t.quote
	toUser, toSolver := q.BetAmount, t.stake()
	switch o {
	case userWins:
		toUser, toSolver = q.Payout, 0
	case solverWins:
		toUser, toSolver = 0, q.Payout
	}
	m.release(env, &q.User, q.BetAmount, toUser)
	m.release(env, &q.Solver, t.stake(), toSolver)
	sums := m.totals(env)
	sums.escrow -= q.Payout
	sums.balances += q.Payout
	m.setTotals(env, &sums)
	m.leave(env)
	t.outcome, t.settled, t.settledBy = o, ctx.Time, m.tx.From
	m.writeThesis(env)
	m.emitSettled(env, toUser, toSolver)
	return abi.CodeOK
}

// release takes what an account had locked in a thesis, and pays what it gets.
func (m *Module) release(env *sdk.Env, address *tx.Address, locked, paid uint64) {
	a := &m.other
	a.read(env, address)
	held := a.locked()
	if held < locked {
		panic("an account has less locked than its theses")
	}
	a.setLocked(held - locked)
	a.credit(paid)
	a.write(env)
}

// leave takes m.thesis off its market's open ones.
func (m *Module) leave(env *sdk.Env) {
	t, v := &m.thesis, &m.book
	if !m.readBook(env, &t.quote.Base, &t.quote.Quote) || v.openInterest < t.quote.Payout || v.open == 0 {
		panic("a thesis is not among its market's")
	}
	v.openInterest -= t.quote.Payout
	v.open--
	m.writeBook(env)
	m.schedule.Open(env, v.index)
	m.schedule.Remove(t.key())
}

func (m *Module) emitSettled(env *sdk.Env, toUser, toSolver uint64) {
	t := &m.thesis
	e := abi.AppendU64(m.newEvent(EventThesisSettled), t.id)
	e = append(append(abi.AppendString(e, outcomes[t.outcome]), t.quote.User[:]...), t.quote.Solver[:]...)
	for _, v := range [...]uint64{t.quote.Payout, toUser, toSolver, t.breachTimestamp, t.breachPrice} {
		e = abi.AppendU64(e, v)
	}
	env.Emit(append(e, t.settledBy[:]...))
}
