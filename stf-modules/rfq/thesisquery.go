package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/schedule"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

func (m *Module) queryThesis(env *sdk.Env, ctx abi.Context, id uint64, j *sdk.JSON) abi.Code {
	if !m.readThesis(env, id) {
		return thesisNotFound(env, id)
	}
	m.renderThesis(env, ctx, j)
	return abi.CodeOK
}

// renderThesis writes m.thesis.
func (m *Module) renderThesis(env *sdk.Env, ctx abi.Context, j *sdk.JSON) {
	t := &m.thesis
	q := &t.quote
	j.Object()
	numberMember(j, "thesis_id", t.id)
	member(j, "state", query.StateNames[t.state(ctx.Time)])
	j.Key("outcome")
	if t.outcome == open {
		j.Null()
	} else {
		j.Str(outcomes[t.outcome])
	}
	hexMember(j, "quote_hash", t.hash[:])
	numberMember(j, "thesis_type", uint64(q.ThesisType))
	v := &m.shown
	if v.base != q.Base || v.quote != q.Quote {
		*v, _ = m.market(env, &q.Base, &q.Quote)
	}
	member(j, "pair", v.name)
	pairMembers(j, v)
	amountMember(j, "lower", q.Lower)
	amountMember(j, "upper", q.Upper)
	amountMember(j, "bet_amount", q.BetAmount)
	amountMember(j, "payout", q.Payout)
	numberMember(j, "start", q.Start)
	numberMember(j, "end", q.End)
	numberMember(j, "due", t.due)
	numberMember(j, "deadline", q.Deadline)
	hexMember(j, "user", q.User[:])
	hexMember(j, "solver", q.Solver[:])
	amountMember(j, "salt", q.Salt)
	numberMember(j, "created_at", t.created)
	m.renderEnd(j)
	j.EndObject()
}

// renderEnd writes what a thesis has once it is settled.
func (m *Module) renderEnd(j *sdk.JSON) {
	t := &m.thesis
	if t.outcome == open {
		nullMember(j, "settled_at")
		nullMember(j, "settled_by")
	} else {
		numberMember(j, "settled_at", t.settled)
		hexMember(j, "settled_by", t.settledBy[:])
	}
	if t.outcome == solverWins {
		numberMember(j, "breach_timestamp", t.breachTimestamp)
		amountMember(j, "breach_price", t.breachPrice)
	} else {
		nullMember(j, "breach_timestamp")
		nullMember(j, "breach_price")
	}
}

// listing is a page of theses that is being made.
type listing struct {
	state        query.State
	pair         *[40]byte   // base ‖ quote, nil for any
	user, solver *tx.Address // nil for any
	left         uint32      // how many theses the page has room for
	work         int         // what may still be done
	next         []byte      // where the next page begins, nil if this is the last
	cursor       [query.MaxCursor]byte
}

// full reports whether the page ends before the next candidate.
func (l *listing) full() bool { return l.left == 0 || l.work <= 0 }

// offer shows a candidate, which is in the page if it fits.
func (m *Module) offer(env *sdk.Env, ctx abi.Context, l *listing, id uint64, j *sdk.JSON) {
	l.work--
	t := &m.thesis
	if !m.loadThesis(env, id) {
		panic("a thesis is missing from state")
	}
	q := t.buf[atQuote:]
	switch {
	case !l.state.Has(t.state(ctx.Time)):
	case l.user != nil && *l.user != tx.Address(q[tx.QuoteUser:]):
	case l.solver != nil && *l.solver != tx.Address(q[tx.QuoteSolver:]):
	case l.pair != nil && *l.pair != [40]byte(q[tx.QuotePair:]):
	default:
		l.left--
		l.work -= query.ShownWork
		m.decodeThesis()
		m.renderThesis(env, ctx, j)
	}
}

// pairOf looks a market's name up.
func (m *Module) pairOf(env *sdk.Env, name string) (pair [40]byte, ok bool) {
	b, ok := env.Get(m.marketNameKey(name))
	if ok {
		pair = [40]byte(b)
	}
	return pair, ok
}

func noSuchMarket(env *sdk.Env) abi.Code {
	return env.Fail(CodeInvalidOraclePair, env.Text("there is no market of the name asked for"))
}

func (m *Module) queryTheses(env *sdk.Env, ctx abi.Context, f *query.Filter, j *sdk.JSON) abi.Code {
	l := &listing{state: f.State, user: f.User, solver: f.Solver, left: f.Page.Limit, work: query.MaxWork}
	if f.Pair != "" {
		pair, ok := m.pairOf(env, f.Pair)
		if !ok {
			return noSuchMarket(env)
		}
		l.pair = &pair
	}
	openTheses(j)
	ok := false
	switch {
	case f.User != nil || f.Solver != nil:
		ok = m.listParty(env, ctx, l, f.Page.Cursor, j)
	case f.State <= query.Due || f.State == query.Open:
		ok = m.listOpen(env, ctx, l, f.Page.Cursor, ^uint64(0), j)
	default:
		ok = m.listAll(env, ctx, l, f.Page.Cursor, j)
	}
	if !ok {
		return badCursor(env)
	}
	l.close(j)
	return abi.CodeOK
}

func (m *Module) queryDue(env *sdk.Env, ctx abi.Context, name string, until uint64, p query.Page, j *sdk.JSON) abi.Code {
	pair, ok := m.pairOf(env, name)
	if !ok {
		return noSuchMarket(env)
	}
	l := &listing{state: query.Open, pair: &pair, left: p.Limit, work: query.MaxWork}
	openTheses(j)
	if !m.listOpen(env, ctx, l, p.Cursor, until, j) {
		return badCursor(env)
	}
	l.close(j)
	return abi.CodeOK
}

func badCursor(env *sdk.Env) abi.Code {
	return env.Fail(CodeInvalidQuery, env.Text("the cursor is not one of an answer to the same filter"))
}

func openTheses(j *sdk.JSON) {
	j.Object()
	j.Key("theses")
	j.Array()
}

func (l *listing) close(j *sdk.JSON) {
	j.EndArray()
	j.Key("next")
	if l.next == nil {
		j.Null()
	} else {
		j.Hex(l.next)
	}
	j.EndObject()
}

// below reads a cursor that says below which number to go on; most without one.
func below(cursor []byte, most uint64) (n uint64, ok bool) {
	if len(cursor) == 0 {
		return most, true
	}
	r := abi.NewReader(cursor)
	n = r.U64()
	return min(n, most), r.Done()
}

// listAll goes through all theses, newest first: their ids are 1, 2, 3 and so on.
func (m *Module) listAll(env *sdk.Env, ctx abi.Context, l *listing, cursor []byte, j *sdk.JSON) bool {
	n, ok := below(cursor, m.system(env).theses)
	for ; n > 0 && !l.full(); n-- {
		m.offer(env, ctx, l, n, j)
	}
	l.endBelow(n)
	return ok
}

// listParty goes through one account's theses, newest first: the user's, if one is
// given, because solvers have more of them.
func (m *Module) listParty(env *sdk.Env, ctx abi.Context, l *listing, cursor []byte, j *sdk.JSON) bool {
	side, a := asUser, l.user
	if a == nil {
		side, a = asSolver, l.solver
	}
	m.party.open(env, side, a)
	n, ok := below(cursor, m.party.n)
	for ; n > 0 && !l.full(); n-- {
		m.offer(env, ctx, l, m.party.at(env, n-1), j)
	}
	l.endBelow(n)
	return ok
}

func (l *listing) endBelow(n uint64) {
	if n > 0 {
		l.next = abi.AppendU64(l.cursor[:0], n)
	}
}

// listOpen goes through the open theses of one market or of all, one after the
// other, in the order in which they are due.
func (m *Module) listOpen(env *sdk.Env, ctx abi.Context, l *listing, cursor []byte, until uint64, j *sdk.JSON) bool {
	first, last := uint16(0), m.system(env).markets
	if l.pair != nil {
		base, quote := tx.Address(l.pair[:20]), tx.Address(l.pair[20:])
		first, _ = m.marketIndex(env, &base, &quote)
		last = first + 1
	}
	var k schedule.Key
	if len(cursor) > 0 {
		r := abi.NewReader(cursor)
		from := r.U16()
		if k = (schedule.Key{Due: r.U64(), ID: r.U64()}); !r.Done() || from < first || from >= last {
			return false
		}
		first = from
	}
	for ; first < last && l.next == nil; first++ {
		m.schedule.Open(env, first)
		m.schedule.Each(k, func(k schedule.Key) bool {
			if k.Due > until {
				return false
			}
			if l.full() {
				b := abi.AppendU64(abi.AppendU16(l.cursor[:0], first), k.Due)
				l.next = abi.AppendU64(b, k.ID)
				return false
			}
			m.offer(env, ctx, l, k.ID, j)
			return true
		})
		k = schedule.Key{}
	}
	return true
}
