package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// systemSettle takes a settler's claim if the recorded prices bear it out.
func (m *Module) systemSettle(env *sdk.Env, ctx abi.Context, t *tx.SystemSettle) abi.Code {
	if !m.params(env).settlerEnabled {
		return env.Fail(CodeSettlerDisabled, env.Text("settler.enabled is false in this chain's genesis"))
	}
	if code := m.unsettled(env, t.ThesisID); code != abi.CodeOK {
		return code
	}
	switch t.Settlement.Kind {
	case tx.SolverWins:
		return m.settleBreach(env, ctx, &t.Settlement)
	case tx.UserWins:
		return m.settleAs(env, ctx, userWins)
	default:
		return m.settleAs(env, ctx, voided)
	}
}

// settleBreach takes a claim that the solver has won, at any time: a breach is a
// fact that nothing later changes.
func (m *Module) settleBreach(env *sdk.Env, ctx abi.Context, s *tx.Settlement) abi.Code {
	t, at := &m.thesis, s.BreachTimestamp
	switch {
	case at < t.quote.Start || at > t.quote.End:
		return env.Fail(CodeInvalidBreachTimestamp, env.Text("a breach at ").U64(at).Str(" is not within ").U64(t.quote.Start).Str(" to ").U64(t.quote.End))
	case !t.breaks(s.BreachPrice):
		return env.Fail(CodePriceWithinRange, env.Text("price ").U64(s.BreachPrice).Str(" is within ").U64(t.quote.Lower).Str(" to ").U64(t.quote.Upper))
	}
	m.openRing(env)
	switch price, ok := m.ring.At(at); {
	case !ok:
		return env.Fail(CodeOracleDataNotFound, env.Text("no price is recorded at ").U64(at))
	case price != s.BreachPrice:
		return env.Fail(CodeOracleDataNotFound, env.Text("the price recorded at ").U64(at).Str(" is ").U64(price).Str(", not ").U64(s.BreachPrice))
	}
	t.breachTimestamp, t.breachPrice = at, s.BreachPrice
	return m.finish(env, ctx, solverWins)
}

// settleAs takes a claim about the whole window, which has to be over and to have
// come to just that.
func (m *Module) settleAs(env *sdk.Env, ctx abi.Context, claim outcome) abi.Code {
	if code := over(env, ctx, m.thesis.due); code != abi.CodeOK {
		return code
	}
	switch verdict := m.verdict(env); {
	case verdict == claim:
		return m.finish(env, ctx, claim)
	case verdict == solverWins:
		return env.Fail(CodeBreachFound, env.Text("price ").U64(m.thesis.breachPrice).Str(" at ").U64(m.thesis.breachTimestamp).Str(" is a breach"))
	case verdict == voided:
		return env.Fail(CodeOracleDataNotFound, env.Text("the recorded prices of the window have a hole: only Void settles it"))
	default:
		return env.Fail(CodeOracleDataComplete, env.Text("the recorded prices of the window have no hole and no breach: only UserWins settles it"))
	}
}

// rfqSettle settles a thesis that settlers had their time for: the recorded prices
// decide, whoever asks.
func (m *Module) rfqSettle(env *sdk.Env, ctx abi.Context, id uint64) abi.Code {
	if code := m.unsettled(env, id); code != abi.CodeOK {
		return code
	}
	from := m.thesis.due + GraceMs
	if from < GraceMs { // the end of time
		from = ^uint64(0)
	}
	if code := over(env, ctx, from); code != abi.CodeOK {
		return code
	}
	return m.finish(env, ctx, m.verdict(env))
}

// openRing points m.ring at the history of m.thesis's market, which is there: no
// market ever goes.
func (m *Module) openRing(env *sdk.Env) {
	index, _ := m.marketIndex(env, &m.thesis.quote.Base, &m.thesis.quote.Quote)
	m.ring.Open(env, index)
}

// over decides whether the block's time has come to from.
func over(env *sdk.Env, ctx abi.Context, from uint64) abi.Code {
	if ctx.Time < from {
		return env.Fail(CodeChallengeWindowNotOver, env.Text("the block's time is ").U64(ctx.Time).Str(", want ").U64(from).Str(" or later"))
	}
	return abi.CodeOK
}

// verdict is what the recorded prices say about m.thesis, and sets its breach. A
// breach is a fact: it decides whatever else is missing. Without one, a hole
// leaves open what happened, and so does a window that the history does not reach
// back to any more.
func (m *Module) verdict(env *sdk.Env) outcome {
	t := &m.thesis
	m.openRing(env)
	start, end := t.quote.Start, t.quote.End
	w := m.ring.Window(start, end)
	switch {
	case !w.Empty && (t.breaks(w.Min) || t.breaks(w.Max)):
		found := false
		if t.breachTimestamp, t.breachPrice, found = m.ring.Beyond(start, end, t.quote.Lower, t.quote.Upper); !found {
			panic("a window's least or greatest price is none of its prices")
		}
		return solverWins
	case start < m.ring.Reach() || w.Hole(start, end) > m.params(env).maxStaleMs:
		return voided
	default:
		return userWins
	}
}
