package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// fixed is what genesis decides for ever:
//
//	challenge window u64, max stale u64, settler enabled u8, settler [20]
type fixed struct {
	challengeWindowMs uint64
	maxStaleMs        uint64
	settlerEnabled    bool
	settler           tx.Address
}

func (m *Module) params(env *sdk.Env) (f fixed) {
	if b, ok := env.Get(m.plainKey(keyParams)); ok {
		f = fixed{challengeWindowMs: abi.U64(b), maxStaleMs: abi.U64(b[8:]), settlerEnabled: b[16] == 1, settler: tx.Address(b[17:])}
	}
	return f
}

// Genesis implements [sdk.Module].
func (m *Module) Genesis(env *sdk.Env, g *sdk.Genesis) abi.Code {
	p, ok := params.Decode(g.Params)
	if !ok {
		return env.Fail(CodeInvalidGenesis, env.Text("parameters are not the encoding of package params, version ").U64(uint64(params.Version)))
	}
	if problem := p.Check(); problem != "" {
		return env.Fail(CodeInvalidGenesis, env.Text(problem))
	}
	if p.ChallengeWindowMs < g.MaxStaleMs {
		// A price that is accepted late would come for a window that was settled.
		return env.Fail(CodeInvalidChallengeWindow, env.Text("challenge_window_ms is ").U64(p.ChallengeWindowMs).
			Str(", want at least oracle.max_stale_ms, ").U64(g.MaxStaleMs))
	}
	b := abi.AppendU64(abi.AppendU64(m.event[:0], p.ChallengeWindowMs), g.MaxStaleMs)
	env.Set(m.plainKey(keyParams), append(abi.AppendBool(b, g.SettlerEnabled), g.Settler[:]...))

	s := system{markets: uint16(len(p.Markets))}
	var sums totals
	for i := range p.Accounts {
		a := &p.Accounts[i]
		m.createAccount(env, a)
		sums.genesis += a.Balance
		if a.Permissions&tx.PermAdmin != 0 {
			s.admins++
		}
	}
	sums.balances = sums.genesis
	m.setTotals(env, &sums)
	for i := range p.Markets {
		v := &p.Markets[i]
		m.createMarket(env, &market{base: v.Base, quote: v.Quote, index: uint16(i), limits: v.Limits, name: v.Name})
	}
	m.setSystem(env, &s)
	if g.SettlerEnabled {
		m.from.read(env, &g.Settler)
		m.from.buf[atPermissions] |= tx.PermSettler
		m.from.write(env)
	}
	return abi.CodeOK
}

func (m *Module) createAccount(env *sdk.Env, a *params.Account) {
	m.from.is(&a.Address)
	m.from.clear()
	m.from.setBalance(a.Balance)
	m.from.buf[atPermissions] = a.Permissions
	m.from.write(env)
}
