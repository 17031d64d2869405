// Package market tells the RPC server about the rfq module: its queries as
// methods, its state keys, its tokens, and how a transaction reads.
//
// It is the one place where host/rpc and the module meet, so that both stay
// ignorant of each other; it must not import another adapter.
//
//	rpc.Options{Module: market.Module()}     if the chain runs rfq
//
// Functions are pure; any goroutine may call them.
package market

import (
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Name is the schema name of the module that this package knows.
const Name = "rfq"

// maxTime bounds a time argument, ms: year 10889, and exact in a double.
const maxTime = 1<<48 - 1

// maxID bounds an id argument: exact in a double.
const maxID = 1<<53 - 1

// Module is what a server of an rfq chain needs to know.
func Module() rpc.Module {
	return rpc.Module{
		DecodeTx: func(raw []byte) (any, error) { return Decode(raw) },
		Symbol:   Symbol,
		Keys: []rpc.NamedKey{{Name: "account", Key: func(p *rpc.Params) []byte {
			return rfq.AccountKey(p.Address("account"))
		}}, {Name: "thesis", Key: func(p *rpc.Params) []byte {
			return rfq.ThesisKey(p.Number("thesis", maxID))
		}}},
		Queries: []rpc.QueryMethod{
			{Name: "kaizen_getAccount", Params: []string{"address"}, Encode: func(p *rpc.Params) []byte { return query.Account(p.Address("address")) }},
			{Name: "kaizen_getMarkets", Encode: func(*rpc.Params) []byte { return query.Markets() }},
			{Name: "kaizen_getOracleHistory", Params: []string{"pair", "from", "to"}, Encode: history},
			{Name: "kaizen_getThesis", Params: []string{"thesis_id"}, Encode: func(p *rpc.Params) []byte { return query.Thesis(p.Number("thesis_id", maxID)) }},
			{Name: "kaizen_listTheses", Object: []string{"pair", "user", "solver", "state", "limit", "cursor"}, Encode: theses},
			{Name: "kaizen_listDueTheses", Params: []string{"pair", "until", "limit", "cursor"}, Encode: due},
			{Name: "kaizen_getTotals", Encode: func(*rpc.Params) []byte { return query.Totals() }},
			{Name: "kaizen_getWithdrawal", Params: []string{"withdrawal_id"}, Encode: func(p *rpc.Params) []byte { return query.Withdrawal(p.Number("withdrawal_id", maxID)) }},
			{Name: "kaizen_getDeposit", Params: []string{"external_tx_hash"}, Encode: func(p *rpc.Params) []byte { return query.Deposit(p.Hash("external_tx_hash")) }},
			{Name: "kaizen_getParams", Encode: func(*rpc.Params) []byte { return query.Params() }},
		},
	}
}

func history(p *rpc.Params) []byte {
	return query.History(p.Text("pair", tx.MaxMarketName), p.Number("from", maxTime), p.Number("to", maxTime))
}

// defaultLimit is how many theses a page has if the caller does not say.
const defaultLimit = 100

func theses(p *rpc.Params) []byte {
	f := query.Filter{Page: page(p)}
	if p.Has("pair") {
		f.Pair = p.Text("pair", tx.MaxMarketName)
	}
	f.User, f.Solver = party(p, "user"), party(p, "solver")
	f.State, _ = query.ParseState(p.Choice("state", states...))
	return query.Theses(&f)
}

func due(p *rpc.Params) []byte {
	pair, until := p.Text("pair", tx.MaxMarketName), p.Number("until", maxTime)
	return query.DueTheses(pair, until, page(p))
}

// states are what a caller may ask for, the default first.
var states = slices.Concat([]string{query.StateNames[query.Any]}, query.StateNames[:query.Any], query.StateNames[query.Any+1:])

func party(p *rpc.Params, name string) *tx.Address {
	if !p.Has(name) {
		return nil
	}
	a := tx.Address(p.Address(name))
	return &a
}

func page(p *rpc.Params) query.Page {
	v := query.Page{Limit: defaultLimit}
	if p.Has("limit") {
		v.Limit = uint32(p.Number("limit", query.MaxTheses))
	}
	if p.Has("cursor") {
		v.Cursor = p.Bytes("cursor", 1, query.MaxCursor)
	}
	return v
}

// symbols are the names of the known tokens (protocol section 6).
var symbols = func() map[chain.Address]string {
	names := map[chain.Address]string{}
	for _, name := range []string{"BTC", "ETH", "SOL", "USDT"} {
		if a, ok := params.Token(name); ok {
			names[a] = name
		}
	}
	return names
}()

// Symbol names a known token, "" another.
func Symbol(token chain.Address) string { return symbols[token] }
