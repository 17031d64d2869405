package native_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// bench is a market under load: a program, its state, and the open block.
type bench struct {
	testing.TB
	gen       *traffic.Generator
	machine   stf.Machine
	inspector stf.Inspector
	state     *state.Overlay
	ctx       abi.Context
	price     uint64
}

// eachProgram runs f natively and compiled.
func eachProgram(b *testing.B, f func(*testing.B, *bench)) {
	b.Run("native", func(b *testing.B) {
		p, err := native.New(chain.Hash{1}, rfq.New, native.Options{Crypto: secp.Crypto{}})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		f(b, newMarket(b, p, traffic.New(1, traffic.Secp())))
	})
	b.Run("compiler", func(b *testing.B) {
		p, err := wasm.Load(context.Background(), rfq.Wasm, wasm.Options{Engine: wasm.Compiler, Crypto: secp.Crypto{}})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		f(b, newMarket(b, p, traffic.New(1, traffic.Secp())))
	})
}

// newMarket begins a chain with a price of 100.
func newMarket(b testing.TB, p stf.Program, g *traffic.Generator) *bench {
	w := &bench{TB: b, gen: g, state: state.NewOverlay(nil), price: 100}
	var err error
	if w.machine, err = p.NewMachine(); err != nil {
		b.Fatal(err)
	}
	if w.inspector, err = p.NewInspector(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		w.machine.Close()
		w.inspector.Close()
	})
	all := w.gen.Params()
	for i := range all.Accounts {
		all.Accounts[i].Balance = 1 << 50
	}
	genesis := chain.Genesis{ChainID: 1, Time: 1_700_000_000_000, IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3000,
		SettlerEnabled: true, Settler: w.gen.Address(traffic.Settler), Params: all.Append(nil)}
	if out, err := w.machine.Genesis(w.state, genesis.Append(nil)); err != nil || out.Code != 0 {
		b.Fatal(out, err)
	}
	w.ctx.Time = genesis.Time
	w.block(100)
	return w
}

// block opens the next one, with the price.
func (w *bench) block(ms uint64) {
	w.ctx = abi.Context{Height: w.ctx.Height + 1, Time: w.ctx.Time + ms}
	base, _ := params.Token("BTC")
	quote, _ := params.Token("USDT")
	s := chain.OracleSnapshot{Timestamp: w.ctx.Time, Prices: []chain.Price{{Base: base, Quote: quote, Price: w.price, Timestamp: w.ctx.Time}}}
	if out, err := w.machine.BeginBlock(w.state, w.ctx, s.Append(nil)); err != nil || out.Code != 0 {
		w.Fatal(out, err)
	}
}

func (w *bench) inspect(raw []byte) *stf.Tx {
	x := &stf.Tx{Raw: raw}
	if err := w.inspector.Inspect(x); err != nil {
		w.Fatal(err)
	}
	return x
}

func (w *bench) execute(x *stf.Tx) {
	if out, err := w.machine.Execute(w.state, w.ctx, x); err != nil || out.Code != 0 {
		w.Fatalf("code %d %s %v", out.Code, out.Detail, err)
	}
}

// submits are quotes for windows of that length, accepted and inspected: 8 users
// and 4 solvers.
func (w *bench) submits(n int, window uint64) (txs []*stf.Tx) {
	base, _ := params.Token("BTC")
	quote, _ := params.Token("USDT")
	var h tx.Hasher
	k := traffic.Keccak{Crypto: w.gen.Scheme}
	for i := range n {
		user, solver := i%8, 8+i%4
		q := tx.Quote{Base: base, Quote: quote, Lower: 90, Upper: 110, BetAmount: 10_000, Payout: 15_000, Start: w.ctx.Time, End: w.ctx.Time + window, Deadline: w.ctx.Time,
			User: w.gen.Address(user), Solver: w.gen.Address(solver), Salt: uint64(i)}
		digest := h.QuoteDigest(k, &q)
		t := tx.Transaction{From: q.Solver, Timestamp: w.ctx.Time + uint64(i), Kind: tx.KindRfqSubmit, RfqSubmit: tx.RfqSubmit{Quote: q, UserSignature: w.gen.Scheme.Sign(user, &digest)}}
		txs = append(txs, w.inspect(w.gen.Sign(solver, &t)))
	}
	return txs
}

// settles are claims that the user wins theses 1 to n.
func (w *bench) settles(n int) (txs []*stf.Tx) {
	for i := range n {
		t := tx.Transaction{From: w.gen.Address(traffic.Settler), Timestamp: w.ctx.Time + uint64(i), Kind: tx.KindSystemSettle,
			SystemSettle: tx.SystemSettle{ThesisID: uint64(i + 1), Settlement: tx.Settlement{Kind: tx.UserWins}}}
		txs = append(txs, w.inspect(w.gen.Sign(traffic.Settler, &t)))
	}
	return txs
}

// repeat executes txs over and over, from the same state.
func (w *bench) repeat(b *testing.B, txs []*stf.Tx) {
	clean := w.state.Mark()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(txs) == 0 {
			b.StopTimer()
			w.state.Revert(clean)
			b.StartTimer()
		}
		w.execute(txs[i%len(txs)])
	}
}

// BenchmarkRfqSubmit opens theses, signers recovered before.
func BenchmarkRfqSubmit(b *testing.B) {
	eachProgram(b, func(b *testing.B, w *bench) { w.repeat(b, w.submits(1000, 10_000)) })
}

// BenchmarkSystemSettle settles theses for the user, whose window the module has to
// look through: the figure of issue 3, 1.8 hours under 50 µs.
func BenchmarkSystemSettle(b *testing.B) {
	for _, window := range []uint64{1_000, rfq.MaxDueMs - traffic.ChallengeMs} {
		b.Run(fmt.Sprintf("%.1fs", float64(window)/1000), func(b *testing.B) {
			eachProgram(b, func(b *testing.B, w *bench) {
				for _, x := range w.submits(500, window) {
					w.execute(x)
				}
				for until := w.ctx.Time + rfq.MaxDueMs + 10_000; w.ctx.Time < until; {
					w.block(100)
				}
				w.repeat(b, w.settles(500))
			})
		})
	}
}
