package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// Query implements [sdk.Module]. Package query has the questions, QUERIES.md the
// answers.
func (m *Module) Query(env *sdk.Env, ctx abi.Context, b []byte) abi.Code {
	j := &sdk.JSON{Buf: m.json[:0]}
	r := abi.NewReader(b)
	code, known := m.answer(env, ctx, query.Tag(r.U8()), &r, j)
	if !known || !r.Done() {
		return env.Fail(CodeInvalidQuery, env.Text("the ").U64(uint64(len(b))).Str(" bytes are no query of package rfq/query"))
	}
	if code == abi.CodeOK {
		env.Output(j.Buf)
	}
	return code
}

// answer reads a question's arguments before it does anything, so that the
// caller can judge the whole question by r.
func (m *Module) answer(env *sdk.Env, ctx abi.Context, tag query.Tag, r *abi.Reader, j *sdk.JSON) (code abi.Code, known bool) {
	switch tag {
	case query.TagAccount:
		m.queryAccount(env, ctx, r.Bytes20(), j)
	case query.TagAccountKey:
		a := r.Bytes20()
		j.Object()
		j.Key("key")
		j.Hex(AccountKey(a))
		j.EndObject()
	case query.TagPrices:
		m.queryPrices(env, ctx, j)
	case query.TagHistory:
		name, from, to := r.String(tx.MaxMarketName), r.U64(), r.U64()
		return m.queryHistory(env, name, from, to, j), true
	case query.TagMarkets:
		m.queryMarkets(env, j)
	case query.TagTotals:
		m.queryTotals(env, j)
	case query.TagWithdrawal:
		return m.queryWithdrawal(env, r.U64(), j), true
	case query.TagDeposit:
		return m.queryDeposit(env, r.Bytes32(), j), true
	case query.TagParams:
		m.queryParams(env, j)
	case query.TagThesis:
		return m.queryThesis(env, ctx, r.U64(), j), true
	case query.TagTheses:
		f := query.ReadFilter(r)
		if !r.Done() {
			return 0, false
		}
		return m.queryTheses(env, ctx, &f, j), true
	case query.TagDue:
		name, until, page := r.String(tx.MaxMarketName), r.U64(), query.ReadPage(r)
		if !r.Done() {
			return 0, false
		}
		return m.queryDue(env, ctx, name, until, page, j), true
	default:
		return 0, false
	}
	return abi.CodeOK, true
}

func (m *Module) queryAccount(env *sdk.Env, ctx abi.Context, address tx.Address, j *sdk.JSON) {
	a := &m.from
	a.read(env, &address)
	j.Object()
	j.Key("address")
	j.Hex(address[:])
	amountMember(j, "balance", a.balance())
	amountMember(j, "locked", a.locked())
	j.Key("api_wallets")
	j.Array()
	for i := range a.wallets() {
		if w := a.walletAt(i); !w.Revoked {
			j.Object()
			j.Key("address")
			j.Hex(w.Address[:])
			numberMember(j, "expiry", w.Expiry)
			boolMember(j, "expired", !w.usable(ctx.Time))
			j.EndObject()
		}
	}
	j.EndArray()
	permissionsMember(j, a.permissions())
	boolMember(j, "blacklisted", a.blacklisted())
	j.EndObject()
}

func permissionsMember(j *sdk.JSON, bits uint8) {
	j.Key("permissions")
	j.Array()
	for i, name := range tx.PermissionNames {
		if bits>>i&1 == 1 {
			j.Str(name)
		}
	}
	j.EndArray()
}

// eachMarket calls f for every market in the order of their indexes.
func (m *Module) eachMarket(env *sdk.Env, f func(v *market)) {
	for i := range m.system(env).markets {
		b, _ := env.Get(m.marketAtKey(i))
		r := abi.NewReader(b)
		base, quote := r.Bytes20(), r.Bytes20()
		v, _ := m.market(env, &base, &quote)
		f(&v)
	}
}

func pairMembers(j *sdk.JSON, v *market) {
	j.Key("base")
	j.Hex(v.base[:])
	j.Key("quote")
	j.Hex(v.quote[:])
}

// queryPrices answers for every market; a price is stale when it is older than
// max_stale_ms at the block's time, and the whole answer when one of them is.
func (m *Module) queryPrices(env *sdk.Env, ctx abi.Context, j *sdk.JSON) {
	maxStale := m.params(env).maxStaleMs
	anyStale := false
	j.Object()
	j.Key("prices")
	j.Object()
	m.eachMarket(env, func(v *market) {
		head := m.ring.Open(env, v.index)
		stale := ctx.Time-min(head.Timestamp, ctx.Time) > maxStale
		anyStale = anyStale || stale
		j.Key(v.name)
		j.Object()
		pairMembers(j, v)
		amountMember(j, "price", head.Price)
		numberMember(j, "timestamp", head.Timestamp)
		boolMember(j, "stale", stale)
		j.EndObject()
	})
	j.EndObject()
	boolMember(j, "stale", anyStale)
	j.EndObject()
}

// queryHistory answers at most query.MaxHistory prices, and with next from when
// on there are more.
func (m *Module) queryHistory(env *sdk.Env, name string, from, to uint64, j *sdk.JSON) abi.Code {
	pair, ok := m.pairOf(env, name)
	if !ok {
		return noSuchMarket(env)
	}
	base, quote := tx.Address(pair[:20]), tx.Address(pair[20:])
	index, _ := m.marketIndex(env, &base, &quote)
	m.ring.Open(env, index)
	j.Object()
	member(j, "pair", name)
	numberMember(j, "complete_from", m.ring.Reach())
	j.Key("prices")
	j.Array()
	var count, next uint64
	m.ring.Each(from, to, func(timestamp, price uint64) bool {
		if count++; count > query.MaxHistory {
			next = timestamp
			return false
		}
		j.Object()
		numberMember(j, "timestamp", timestamp)
		amountMember(j, "price", price)
		j.EndObject()
		return true
	})
	j.EndArray()
	j.Key("next")
	if next == 0 {
		j.Null()
	} else {
		j.Number(next)
	}
	j.EndObject()
	return abi.CodeOK
}

func (m *Module) queryMarkets(env *sdk.Env, j *sdk.JSON) {
	j.Object()
	j.Key("markets")
	j.Array()
	m.eachMarket(env, func(v *market) {
		j.Object()
		numberMember(j, "index", uint64(v.index))
		member(j, "name", v.name)
		pairMembers(j, v)
		boolMember(j, "paused", v.paused)
		amountMember(j, "min_bet", v.limits.MinBet)
		amountMember(j, "max_bet", v.limits.MaxBet)
		amountMember(j, "max_open_interest", v.limits.MaxOpenInterest)
		amountMember(j, "open_interest", v.openInterest)
		numberMember(j, "open_theses", v.open)
		j.EndObject()
	})
	j.EndArray()
	j.EndObject()
}

func (m *Module) queryTotals(env *sdk.Env, j *sdk.JSON) {
	t := m.totals(env)
	j.Object()
	amountMember(j, "genesis", t.genesis)
	amountMember(j, "deposits", t.deposits)
	amountMember(j, "processed_withdrawals", t.processed)
	amountMember(j, "pending_withdrawals", t.pending)
	amountMember(j, "escrow", t.escrow)
	amountMember(j, "balances", t.balances)
	boolMember(j, "conserved", t.balances+t.escrow+t.pending == t.deposits-t.processed+t.genesis)
	j.EndObject()
}

func (m *Module) queryWithdrawal(env *sdk.Env, id uint64, j *sdk.JSON) abi.Code {
	w, ok := m.withdrawal(env, id)
	if !ok {
		return env.Fail(CodeWithdrawalNotFound, env.Text("there is no withdrawal ").U64(id))
	}
	j.Object()
	numberMember(j, "withdrawal_id", id)
	j.Key("user")
	j.Hex(w.user[:])
	amountMember(j, "amount", w.amount)
	j.Key("destination")
	j.Hex(w.destination[:])
	numberMember(j, "requested", w.requested)
	boolMember(j, "processed", w.processed)
	j.Key("external_tx_hash")
	if w.processed {
		j.Hex(w.external[:])
	} else {
		j.Null()
	}
	j.EndObject()
	return abi.CodeOK
}

func (m *Module) queryDeposit(env *sdk.Env, hash tx.Hash, j *sdk.JSON) abi.Code {
	b, ok := env.Get(m.depositKey(&hash))
	if !ok {
		return env.Fail(CodeNotFound, env.Text("no deposit was credited for ").Hex(hash[:]))
	}
	r := abi.NewReader(b)
	user, amount, height := r.Bytes20(), r.U64(), r.U64()
	j.Object()
	j.Key("user")
	j.Hex(user[:])
	amountMember(j, "amount", amount)
	numberMember(j, "height", height)
	j.EndObject()
	return abi.CodeOK
}

func (m *Module) queryParams(env *sdk.Env, j *sdk.JSON) {
	f, s := m.params(env), m.system(env)
	j.Object()
	numberMember(j, "challenge_window_ms", f.challengeWindowMs)
	numberMember(j, "max_stale_ms", f.maxStaleMs)
	boolMember(j, "settler_enabled", f.settlerEnabled)
	j.Key("settler")
	j.Hex(f.settler[:])
	boolMember(j, "paused", s.paused)
	numberMember(j, "admins", uint64(s.admins))
	numberMember(j, "markets", uint64(s.markets))
	numberMember(j, "withdrawals", s.withdrawals)
	numberMember(j, "theses", s.theses)
	j.EndObject()
}

//go:noinline
func amountMember(j *sdk.JSON, key string, v uint64) {
	j.Key(key)
	j.Amount(v)
}

//go:noinline
func numberMember(j *sdk.JSON, key string, v uint64) {
	j.Key(key)
	j.Number(v)
}

//go:noinline
func boolMember(j *sdk.JSON, key string, v bool) {
	j.Key(key)
	j.Bool(v)
}

//go:noinline
func hexMember(j *sdk.JSON, key string, b []byte) {
	j.Key(key)
	j.Hex(b)
}

//go:noinline
func nullMember(j *sdk.JSON, key string) {
	j.Key(key)
	j.Null()
}
