package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/chaos"
)

func loadChaos(t *testing.T, engine wasm.Engine) Deps {
	t.Helper()
	p, err := wasm.Load(context.Background(), chaos.Wasm, wasm.Options{Engine: engine, Crypto: secp.Crypto{}})
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	return Deps{Program: p, Log: quiet()}
}

// TestMemoryLeavesNoTrace is invariant 8 with whole nodes and a module that
// counts in a global, grows its memory, traps, loops and is refused after it was
// admitted: a writer that runs since genesis, the same writer after a restart in
// the middle, a read node restarted in the middle, and a check on the other
// engine all come to the same roots.
func TestMemoryLeavesNoTrace(t *testing.T) {
	d := loadChaos(t, wasm.Compiler)
	g := testGenesis(func(g *chain.Genesis) { g.ModuleHash = d.Program.Hash() })
	dir := initDir(t, g)
	rng := rand.New(rand.NewPCG(5, 5))
	acts := []chaos.Act{chaos.Count, chaos.Count, chaos.Where, chaos.Grow, chaos.Panic, chaos.NilDeref, chaos.OutOfRange, chaos.Recurse, chaos.Exhaust,
		chaos.WriteThenPanic, chaos.WriteThenFail, chaos.NoAccept, chaos.LongKey, chaos.AcceptTwice, chaos.WildPointer, chaos.Fail, chaos.Loop}
	nonce := uint64(0)
	feed := func(w *Writer, n int) (height uint64) {
		for range n {
			var raws [][]byte
			var want []chaos.Act
			for range 1 + rng.IntN(8) {
				act := acts[rng.IntN(len(acts))]
				if act == chaos.Loop && rng.IntN(8) > 0 {
					act = chaos.Count
				}
				nonce++
				tx := chaos.Tx{Act: act, Early: rng.IntN(4) == 0, Nonce: nonce, Arg: uint64(rng.IntN(200_000))}
				raws, want = append(raws, tx.Append(nil)), append(want, act)
			}
			for i, r := range w.Submit(within(t), raws) {
				height = max(height, outcome(t, want[i], r))
			}
		}
		return height
	}
	cfg := testConfig(dir, g)
	w, writer := startWriter(t, cfg, d)
	_, cfg.Sync.Listen = w.Addrs()
	readCfg := readerConfig(t, g, cfg.Sync.Listen)
	r, reader := startReader(t, readCfg, d)
	h := feed(w, 12)
	must(t, r.WaitFor(within(t), h))
	reader.mustStop()
	feed(w, 6)
	writer.mustStop()
	w, writer = startWriter(t, cfg, d)
	h = feed(w, 12)
	r, reader = startReader(t, readCfg, d)
	must(t, r.WaitFor(within(t), h))
	sameChain(t, w, r, h)
	writer.mustStop()
	reader.mustStop()
	if _, err := VerifyRange(within(t), dir, loadChaos(t, wasm.Interpreter), VerifyOptions{From: 1}); err != nil {
		t.Fatal(err)
	}
}

// outcome checks that a misbehaviour is the transaction's own failure.
func outcome(t *testing.T, act chaos.Act, r rpc.Submitted) uint64 {
	t.Helper()
	var refusal *stf.Refusal
	if r.Err != nil {
		if !errors.As(r.Err, &refusal) {
			t.Fatalf("act %d: %v", act, r.Err)
		}
		return 0 // it trapped before accept, or never accepted
	}
	want := map[chaos.Act]abi.Code{chaos.Count: 0, chaos.Where: 0, chaos.Loop: abi.CodeBudget, chaos.Panic: abi.CodeTrap, chaos.NilDeref: abi.CodeTrap,
		chaos.OutOfRange: abi.CodeTrap, chaos.WriteThenPanic: abi.CodeTrap, chaos.WriteThenFail: chaos.CodeAsked, chaos.LongKey: abi.CodeTrap,
		chaos.AcceptTwice: abi.CodeTrap, chaos.WildPointer: abi.CodeTrap, chaos.Fail: chaos.CodeAsked, chaos.Exhaust: abi.CodeMemory}
	if code, known := want[act]; known && code != r.Receipt.Code {
		t.Fatalf("act %d: code %#x, want %#x (%s)", act, r.Receipt.Code, code, r.Receipt.Detail)
	}
	return r.Height
}

// A trap of a compiled module in a block hook stops the writer before sealing.
func TestCompiledHookTrap(t *testing.T) {
	d := loadChaos(t, wasm.Compiler)
	for _, arm := range []chaos.Act{chaos.ArmBegin, chaos.ArmEnd} {
		g := testGenesis(func(g *chain.Genesis) { g.ModuleHash = d.Program.Hash() })
		w, run := startWriter(t, testConfig(initDir(t, g), g), d)
		id, err := w.Resolve(api.ByTag(api.TagPending))
		must(t, err)
		tx := chaos.Tx{Act: arm, Arg: id.Number + 20}
		if res := w.Submit(within(t), [][]byte{tx.Append(nil)}); res[0].Err != nil {
			t.Fatal(res[0].Err)
		}
		var hook *stf.HookError
		if err := run.wait(); !errors.As(err, &hook) || hook.Height != id.Number+20 || hook.Code != abi.CodeTrap {
			t.Fatalf("act %d: Run returned %v", arm, err)
		}
		if head := w.Head().Height; head >= id.Number+20 {
			t.Fatalf("act %d: head is %d, the trap was in %d", arm, head, id.Number+20)
		}
	}
}
