package wasm

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/counter"
)

var benchContext = abi.Context{Height: 1, Time: 1}

// counterTxs is transactions that add to 64 counters in turn.
func counterTxs(n int) []*stf.Tx {
	txs := make([]*stf.Tx, n)
	for i := range txs {
		t := counter.Tx{Counter: uint64(i % 64), Sequence: uint64(i / 64), Amount: 1}
		txs[i] = &stf.Tx{Raw: t.Append(nil)}
	}
	return txs
}

// executeCounters executes n transactions in blocks of 4096.
func executeCounters(b *testing.B, p stf.Program) {
	m, err := p.NewMachine()
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	txs := counterTxs(4096)
	oracle := (&chain.OracleSnapshot{}).Append(nil)
	var ov *state.Overlay
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(txs) == 0 {
			ov = state.NewOverlay(nil)
			if _, err := m.BeginBlock(ov, benchContext, oracle); err != nil {
				b.Fatal(err)
			}
		}
		out, err := m.Execute(ov, benchContext, txs[i%len(txs)])
		if err != nil || out.Code != 0 {
			b.Fatal(out, err)
		}
	}
}

func load(t testing.TB, file []byte, e Engine) *Program {
	t.Helper()
	return loadWith(t, file, Options{Engine: e, Crypto: secp.Crypto{}})
}

func loadWith(t testing.TB, file []byte, o Options) *Program {
	t.Helper()
	p, err := Load(context.Background(), file, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func BenchmarkExecuteCounter(b *testing.B) {
	b.Run("compiler", func(b *testing.B) { executeCounters(b, load(b, counter.Wasm, Compiler)) })
	b.Run("interpreter", func(b *testing.B) { executeCounters(b, load(b, counter.Wasm, Interpreter)) })
	b.Run("native", func(b *testing.B) {
		p, err := native.New(chain.Hash{1}, counter.New, native.Options{Crypto: secp.Crypto{}})
		if err != nil {
			b.Fatal(err)
		}
		executeCounters(b, p)
	})
}

// BenchmarkMetering compares the guest's work on a transaction as it runs here
// with the same module as it was compiled: no meter, no canonical NaN, data
// segments of its own.
func BenchmarkMetering(b *testing.B) {
	b.Run("metered", func(b *testing.B) {
		p := load(b, counter.Wasm, Compiler)
		in, err := p.instantiate(p.image)
		if err != nil {
			b.Fatal(err)
		}
		defer in.close()
		runGuest(b, in, func() { in.begin(abi.TxBudget) })
	})
	b.Run("plain", func(b *testing.B) {
		in, done := plainInstance(b, counter.Wasm)
		defer done()
		runGuest(b, in, func() {})
	})
}

// plainInstance is a copy of a module that was not instrumented.
func plainInstance(b *testing.B, file []byte) (*instance, func()) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features).WithCompilationCache(sharedCache()))
	if err := provide(ctx, r, false); err != nil {
		b.Fatal(err)
	}
	in := &instance{mem: newPortable(nil, 0)}
	in.live = in.mem.live()
	in.ctx.in = in
	in.session.Crypto = secp.Crypto{}
	compiled, err := r.CompileModule(ctx, file)
	if err != nil {
		b.Fatal(err)
	}
	alloc := experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory { return in.mem }))
	in.mod, err = r.InstantiateModule(alloc, compiled, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	if err := in.mod.ExportedFunction(exportInitialize).CallWithStack(&in.ctx, nil); err != nil {
		b.Fatal(err)
	}
	area, err := in.invoke(in.mod.ExportedFunction(abi.ExportInput), abi.InputAreaBytes)
	if err != nil {
		b.Fatal(err)
	}
	in.image = &image{area: uint32(area)}
	return in, func() { r.Close(ctx) }
}

// runGuest executes transactions, and makes their state calls on an overlay.
func runGuest(b *testing.B, in *instance, begin func()) {
	execute := in.mod.ExportedFunction(abi.ExportExecute)
	txs := counterTxs(4096)
	var ov *state.Overlay
	for i := 0; b.Loop(); i++ {
		if i%len(txs) == 0 {
			ov = state.NewOverlay(nil)
		}
		tx := txs[i%len(txs)]
		in.session.Start(abi.ExportExecute, abi.PhaseExecute, ov, ov, tx)
		begin()
		dst, err := in.input(abi.ContextBytes + len(tx.Raw))
		if err != nil {
			b.Fatal(err)
		}
		copy(dst[abi.ContextBytes:], tx.Raw)
		code, err := in.invoke(execute, uint64(abi.ContextBytes+len(tx.Raw)))
		if err != nil || code != 0 {
			b.Fatal(code, err)
		}
		in.session.Finish(0, "")
	}
}

// BenchmarkBlock is an empty block: putting the image back, the hooks and the
// pages they touch; BenchmarkQuery the same for a query. Both on either kind of
// memory.
func BenchmarkBlock(b *testing.B) {
	onBackings(b, func(b *testing.B, p *Program) {
		m, err := p.NewMachine()
		if err != nil {
			b.Fatal(err)
		}
		defer m.Close()
		ov := newOverlay()
		for b.Loop() {
			if out, err := m.BeginBlock(ov, benchContext, noPrices); err != nil || out.Code != 0 {
				b.Fatal(out, err)
			}
			if out, err := m.EndBlock(ov, benchContext); err != nil || out.Code != 0 {
				b.Fatal(out, err)
			}
		}
	})
}

func BenchmarkQuery(b *testing.B) {
	onBackings(b, func(b *testing.B, p *Program) {
		ov := newOverlay()
		query := make([]byte, 8)
		for b.Loop() {
			if out, err := p.Query(ov, benchContext, query); err != nil || out.Code != 0 {
				b.Fatal(out, err)
			}
		}
	})
}

func onBackings(b *testing.B, f func(b *testing.B, p *Program)) {
	b.Run("platform", func(b *testing.B) { f(b, load(b, counter.Wasm, Compiler)) })
	b.Run("portable", func(b *testing.B) { f(b, makePortable(b, load(b, counter.Wasm, Compiler))) })
}

// BenchmarkLoad is a start with the compiled module on disk, and BenchmarkDescribe
// the part of it that parses, checks and instruments.
func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		p, err := Load(context.Background(), counter.Wasm, Options{Crypto: secp.Crypto{}, CacheDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}

func BenchmarkDescribe(b *testing.B) {
	for b.Loop() {
		if _, err := Describe(counter.Wasm); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInstantiate(b *testing.B) {
	p := load(b, counter.Wasm, Compiler)
	for b.Loop() {
		in, err := p.instantiate(p.image)
		if err != nil {
			b.Fatal(err)
		}
		in.close()
	}
}

func BenchmarkEmptyCall(b *testing.B) {
	p := load(b, counter.Wasm, Compiler)
	in, err := p.instantiate(p.image)
	if err != nil {
		b.Fatal(err)
	}
	defer in.close()
	f := in.exports[callVersion]
	b.Run("invoke", func(b *testing.B) {
		for b.Loop() {
			in.begin(abi.TxBudget)
			if _, err := in.invoke(f, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("begin", func(b *testing.B) {
		for b.Loop() {
			in.begin(abi.TxBudget)
		}
	})
}
