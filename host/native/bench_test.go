package native_test

import (
	"context"
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
)

// BenchmarkTransfer executes inspected transfers in blocks of 1000, natively and
// as WebAssembly: the figures whose ratio is what WebAssembly costs.
func BenchmarkTransfer(b *testing.B) {
	b.Run("native", func(b *testing.B) {
		p, err := native.New(chain.Hash{1}, rfq.New, native.Options{Crypto: secp.Crypto{}})
		if err != nil {
			b.Fatal(err)
		}
		benchTransfers(b, p)
	})
	b.Run("compiler", func(b *testing.B) {
		p, err := wasm.Load(context.Background(), rfq.Wasm, wasm.Options{Engine: wasm.Compiler, Crypto: secp.Crypto{}})
		if err != nil {
			b.Fatal(err)
		}
		benchTransfers(b, p)
	})
}

func benchTransfers(b *testing.B, p stf.Program) {
	defer p.Close()
	g := traffic.New(1, traffic.Secp())
	m, err := p.NewMachine()
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	inspector, err := p.NewInspector()
	if err != nil {
		b.Fatal(err)
	}
	defer inspector.Close()
	base := state.NewOverlay(nil)
	genesis := chain.Genesis{ChainID: 1, Time: 1_700_000_000_000, MaxStaleMs: 3000, Params: g.Params().Append(nil)}
	if out, err := m.Genesis(base, genesis.Append(nil)); err != nil || out.Code != 0 {
		b.Fatal(out, err)
	}
	tree := state.NewTree()
	tree.Commit(base.Changes(), nil)
	ctx := abi.Context{Height: 1, Time: genesis.Time + 100}
	txs := make([]*stf.Tx, 1000)
	for i := range txs {
		txs[i] = &stf.Tx{Raw: g.Transfer(ctx.Time)}
		if err := inspector.Inspect(txs[i]); err != nil {
			b.Fatal(err)
		}
	}
	var ov *state.Overlay
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(txs) == 0 {
			ov = state.NewOverlay(tree)
			if out, err := m.BeginBlock(ov, ctx, (&chain.OracleSnapshot{}).Append(nil)); err != nil || out.Code != 0 {
				b.Fatal(out, err)
			}
		}
		if out, err := m.Execute(ov, ctx, txs[i%len(txs)]); err != nil || out.Code != 0 {
			b.Fatal(out, err)
		}
	}
}
