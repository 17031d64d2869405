package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// market is a pair that prices are kept for:
//
//	index u16, paused u8, limits 3 × u64, open interest u64, open u64, name string
type market struct {
	base, quote  tx.Address // in the key
	index        uint16     // of its price ring
	paused       bool
	limits       tx.Limits
	openInterest uint64 // payouts of its open theses
	open         uint64 // how many those are
	name         string
}

// Where a market's record has what theses change, and its greatest size.
const (
	atOpenInterest = 2 + 1 + tx.LimitsBytes
	atOpen         = atOpenInterest + 8
	maxMarket      = atOpen + 8 + 4 + tx.MaxMarketName
)

func (v *market) append(dst []byte) []byte {
	dst = abi.AppendBool(abi.AppendU16(dst, v.index), v.paused)
	dst = abi.AppendU64(abi.AppendU64(v.limits.Append(dst), v.openInterest), v.open)
	return abi.AppendString(dst, v.name)
}

// readMarket reads all of a market but its name, which costs an allocation and is in
// rest.
func readMarket(b []byte, base, quote *tx.Address) (v market, rest abi.Reader) {
	v = market{base: *base, quote: *quote, index: indexOf(b), paused: b[2] == 1,
		limits:       tx.Limits{MinBet: abi.U64(b[3:]), MaxBet: abi.U64(b[11:]), MaxOpenInterest: abi.U64(b[19:])},
		openInterest: abi.U64(b[atOpenInterest:]), open: abi.U64(b[atOpen:])}
	return v, abi.NewReader(b[atOpen+8:])
}

func indexOf(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }

// market looks a pair up.
func (m *Module) market(env *sdk.Env, base, quote *tx.Address) (v market, ok bool) {
	b, ok := env.Get(m.marketKey(base, quote))
	if !ok {
		return v, false
	}
	v, r := readMarket(b, base, quote)
	v.name = r.String(tx.MaxMarketName)
	return v, true
}

// marketIndex is the number of a pair's price ring.
func (m *Module) marketIndex(env *sdk.Env, base, quote *tx.Address) (uint16, bool) {
	b, ok := env.Get(m.marketKey(base, quote))
	if !ok {
		return 0, false
	}
	return indexOf(b), true
}

// book is a market that a thesis is opened or settled on: the record as it is in
// state, because its name is not of interest and would cost an allocation.
type book struct {
	market
	buf [maxMarket]byte
	n   int
}

// readBook points m.book at a pair's market.
func (m *Module) readBook(env *sdk.Env, base, quote *tx.Address) (ok bool) {
	v := &m.book
	if v.n, ok = env.GetInto(m.marketKey(base, quote), v.buf[:]); ok {
		v.market, _ = readMarket(v.buf[:v.n], base, quote)
	}
	return ok
}

// writeBook writes what theses change.
func (m *Module) writeBook(env *sdk.Env) {
	v := &m.book
	abi.PutU64(v.buf[atOpenInterest:], v.openInterest)
	abi.PutU64(v.buf[atOpen:], v.open)
	env.Set(m.marketKey(&v.base, &v.quote), v.buf[:v.n])
}

func (m *Module) setMarket(env *sdk.Env, v *market) {
	env.Set(m.marketKey(&v.base, &v.quote), v.append(m.event[:0]))
}

// createMarket writes a market and its two indexes.
func (m *Module) createMarket(env *sdk.Env, v *market) {
	m.setMarket(env, v)
	pair := append(append(m.event[:0], v.base[:]...), v.quote[:]...)
	env.Set(m.marketAtKey(v.index), pair)
	env.Set(m.marketNameKey(v.name), pair)
}

func (m *Module) addMarket(env *sdk.Env, a *tx.AdminAction) abi.Code {
	if problem := params.CheckMarket(a.Base, a.Quote, a.Name, &a.Limits); problem != "" {
		return env.Fail(CodeInvalidMarket, env.Text(problem))
	}
	_, pairTaken := env.Get(m.marketKey(&a.Base, &a.Quote))
	_, nameTaken := env.Get(m.marketNameKey(a.Name))
	if pairTaken || nameTaken {
		return env.Fail(CodeMarketExists, env.Text("there is a market of that pair or name"))
	}
	s := m.system(env)
	if s.markets >= params.MaxMarkets {
		return env.Fail(CodeMarketLimit, env.Text("the chain has ").U64(params.MaxMarkets).Str(" markets, the most it can have"))
	}
	m.createMarket(env, &market{base: a.Base, quote: a.Quote, index: s.markets, limits: a.Limits, name: a.Name})
	s.markets++
	m.setSystem(env, &s)
	e := append(append(m.newEvent(EventMarketAdded), a.Base[:]...), a.Quote[:]...)
	env.Emit(abi.AppendString(e, a.Name))
	return abi.CodeOK
}

// changeMarket pauses, unpauses or sets limits.
func (m *Module) changeMarket(env *sdk.Env, a *tx.AdminAction) abi.Code {
	v, ok := m.market(env, &a.Base, &a.Quote)
	if !ok {
		return noMarket(env, &a.Base, &a.Quote)
	}
	switch {
	case a.Kind != tx.SetMarketLimits:
		v.paused = a.Kind == tx.PauseMarket
	case !a.Limits.Valid():
		return env.Fail(CodeInvalidMarket, env.Text("limits are not 0 < min bet <= max bet < max open interest"))
	default:
		v.limits = a.Limits
	}
	m.setMarket(env, &v)
	e := append(append(m.newEvent(EventMarketChanged), a.Base[:]...), a.Quote[:]...)
	env.Emit(v.limits.Append(abi.AppendBool(e, v.paused)))
	return abi.CodeOK
}

func noMarket(env *sdk.Env, base, quote *tx.Address) abi.Code {
	return env.Fail(CodeInvalidOraclePair, env.Text("there is no market ").Hex(base[:]).Str(" / ").Hex(quote[:]))
}

// BeginBlock implements [sdk.Module]: it records the block's prices. Its cost
// depends on the number of markets and on nothing else (K-09).
func (m *Module) BeginBlock(env *sdk.Env, ctx abi.Context, oracle *sdk.Oracle) abi.Code {
	if s := m.system(env); s.stale != oracle.Stale {
		s.stale = oracle.Stale
		m.setSystem(env, &s)
	}
	if oracle.Stale {
		return abi.CodeOK
	}
	maxStale := m.params(env).maxStaleMs
	for i := range oracle.Prices() {
		p := &oracle.Prices()[i]
		if p.Price == 0 || p.Timestamp > ctx.Time || ctx.Time-p.Timestamp > maxStale {
			continue
		}
		if index, ok := m.marketIndex(env, &p.Base, &p.Quote); ok {
			m.observe(env, index, p)
		}
	}
	return abi.CodeOK
}

// observe keeps a price, if it is newer than the market's last.
func (m *Module) observe(env *sdk.Env, index uint16, p *sdk.Price) {
	m.ring.Open(env, index)
	if !m.ring.Record(p.Timestamp, p.Price) {
		return
	}
	e := append(append(m.newEvent(EventPrice), p.Base[:]...), p.Quote[:]...)
	env.Emit(abi.AppendU64(abi.AppendU64(e, p.Timestamp), p.Price))
}
