package native_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// TestLargestInputsFit runs the market, compiled, at its own limits: the largest
// genesis, a block with a price for every market, the longest answers. None may
// meet the host's budget or memory limit.
func TestLargestInputsFit(t *testing.T) {
	p, err := wasm.Load(context.Background(), rfq.Wasm, wasm.Options{Engine: wasm.Compiler, Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	m, err := p.NewMachine()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ov := state.NewOverlay(nil)
	doc := largestGenesis()
	if out, err := m.Genesis(ov, doc.Append(nil)); err != nil || out.Code != 0 {
		t.Fatalf("genesis: code %x %s %v", out.Code, out.Detail, err)
	}
	now := doc.Time
	for range query.MaxHistory + 1 {
		now += 100
		snapshot := chain.OracleSnapshot{Timestamp: now, Prices: []chain.Price{price(0, now)}}
		if now == doc.Time+100 { // once for all markets
			for i := 1; i < params.MaxMarkets; i++ {
				snapshot.Prices = append(snapshot.Prices, price(i, now))
			}
		}
		if out, err := m.BeginBlock(ov, abi.Context{Height: 1, Time: now}, snapshot.Append(nil)); err != nil || out.Code != 0 {
			t.Fatalf("begin block: code %x %s %v", out.Code, out.Detail, err)
		}
	}
	for _, q := range [][]byte{query.History(name(0), 0, now), query.Prices(), query.Markets(), query.Totals()} {
		out, err := p.Query(ov, abi.Context{Height: 1, Time: now}, q)
		if err != nil || out.Code != 0 || len(out.Output) == 0 {
			t.Errorf("query %x: code %x %s %v", q, out.Code, out.Detail, err)
		}
	}
}

// TestLargestPagesFit asks the market, compiled, for as many theses as one answer
// has, and for as many as one looks at in vain; and settles one whose window is as
// long as can be, with a breach at its very end.
func TestLargestPagesFit(t *testing.T) {
	p, err := wasm.Load(context.Background(), rfq.Wasm, wasm.Options{Engine: wasm.Compiler, Crypto: traffic.Fake{}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	g := traffic.New(1, traffic.Fake{})
	w := newMarket(t, p, g)
	const n = 2 * query.MaxWork
	for _, x := range w.submits(n, rfq.MaxDueMs-traffic.ChallengeMs) {
		w.execute(x)
	}
	solver := g.Address(8)
	for _, f := range []query.Filter{{State: query.Any}, {State: query.Open}, {State: query.Settled}, {State: query.Any, Solver: &solver}, {State: query.Cancelled, Solver: &solver}} {
		f.Page.Limit = query.MaxTheses
		out, err := p.Query(w.state, w.ctx, query.Theses(&f))
		if err != nil || out.Code != 0 || len(out.Output) == 0 {
			t.Errorf("filter %+v: code %x %s %v", f, out.Code, out.Detail, err)
		}
	}
	end := w.ctx.Time + rfq.MaxDueMs - traffic.ChallengeMs
	for w.ctx.Time < end-3000 {
		w.block(2900)
	}
	w.price = 1
	w.block(end - w.ctx.Time)
	w.price = 100
	w.block(traffic.ChallengeMs + rfq.GraceMs)
	settle := tx.Transaction{From: g.Address(0), Timestamp: w.ctx.Time, Kind: tx.KindRfqSettle, RfqSettle: tx.RfqSettle{ThesisID: n}}
	w.execute(w.inspect(g.Sign(0, &settle)))
	if out, err := p.Query(w.state, w.ctx, query.Thesis(n)); err != nil || !bytes.Contains(out.Output, []byte(`"SettledSolverWin"`)) {
		t.Errorf("%s %v", out.Output, err)
	}
}

func name(i int) string { return string([]byte{'m', byte('a' + i/26), byte('a' + i%26)}) }

func token(i int) (a chain.Address) {
	binary.BigEndian.PutUint32(a[:], uint32(i))
	return a
}

func price(i int, at uint64) chain.Price {
	return chain.Price{Base: token(i + 1), Quote: token(0), Price: at, Timestamp: at}
}

func largestGenesis() *chain.Genesis {
	all := params.Params{ChallengeWindowMs: params.DefaultChallengeWindowMs}
	for i := range params.MaxAccounts {
		all.Accounts = append(all.Accounts, params.Account{Address: token(i), Balance: 1, Permissions: tx.PermAll})
	}
	for i := range params.MaxMarkets {
		all.Markets = append(all.Markets, params.Market{Base: token(i + 1), Quote: token(0), Name: name(i),
			Limits: tx.Limits{MinBet: 1, MaxBet: 1, MaxOpenInterest: 2}})
	}
	return &chain.Genesis{ChainID: 1, Time: 1_700_000_000_000, IntervalMs: 100, MaxTxsPerBlock: 1, MaxStaleMs: 3000, Params: all.Append(nil)}
}
