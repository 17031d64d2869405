package wasm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/chaos"
	"github.com/kaizenchain/kaizen/stf-modules/counter"
)

// withBackings runs f on a program whose image is kept in either way.
func withBackings(t *testing.T, file []byte, f func(t *testing.T, p *Program)) {
	t.Run("platform", func(t *testing.T) { f(t, load(t, file, Compiler)) })
	t.Run("portable", func(t *testing.T) { f(t, makePortable(t, load(t, file, Compiler))) })
}

// makePortable keeps a program's image as platforms without an own way do.
func makePortable(t testing.TB, p *Program) *Program {
	in, err := p.instantiate(p.image)
	if err != nil {
		t.Fatal(err)
	}
	img := append([]byte(nil), in.memory()...)
	if err := errors.Join(in.close(), p.image.bytes.close()); err != nil {
		t.Fatal(err)
	}
	p.image.bytes = portableBacking{img: img}
	return p
}

// stateful is a module that counts its executes in a global and in memory, and
// emits both and the size of its memory. A transaction of one byte or more traps
// after counting; one of two or more grows memory by one page before.
func stateful() []byte {
	a := newASM()
	a.globals = [][]byte{code(0x7e, 1, constant64(100), opEnd)}
	size := code(opLocalGet, 0, constant(abi.ContextBytes), 0x6b)
	const cell = 256
	a.execute([]valType{typeI64},
		opGlobalGet, 0, constant64(1), 0x7c, opGlobalSet, 0,
		constant(cell), constant(cell), 0x29, 3, 0, constant64(1), 0x7c, 0x37, 3, 0,
		size, constant(1), 0x4b, opIf, 0x40, constant(1), opMemoryGrow, 0, 0x1a, opEnd,
		size, constant(1), opI32Eq, opIf, 0x40, opUnreachable, opEnd,
		opGlobalGet, 0, a.result(1), 0x1a,
		constant(cell), 0x29, 3, 0, a.result(1), 0x1a,
		opMemorySize, 0, opI64ExtendU, a.result(1))
	return a.bytes()
}

// TestBlockStartsFromTheFirstImage: what a module keeps never survives a block, a
// trap or a growth of memory; within a block it stays.
func TestBlockStartsFromTheFirstImage(t *testing.T) {
	withBackings(t, stateful(), func(t *testing.T, p *Program) {
		b := newBlock(t, p)
		first := b.result(nil)
		second := b.result(nil)
		if first == second {
			t.Fatal("memory does not persist within a block, so this test shows nothing")
		}
		for name, disturb := range map[string]func(){
			"nothing": func() {},
			"counted": func() { b.result(nil) },
			"trapped": func() { b.result([]byte{1}) },
			"grown":   func() { b.result([]byte{1, 1}) },
			"grown and trapped": func() {
				b.result([]byte{1, 1})
				b.result([]byte{1})
			},
		} {
			disturb()
			b.begin()
			if again := b.result(nil); again != first {
				t.Errorf("%s: a later block gives\n%s, the first\n%s", name, again, first)
			}
			if again := b.result(nil); again != second {
				t.Errorf("%s: the second transaction gives\n%s, in the first block\n%s", name, again, second)
			}
		}
		b.begin()
		b.result(nil)
		b.result([]byte{1})
		if after := b.result(nil); after != first {
			t.Errorf("after a trap:\n%s, want as in a fresh block\n%s", after, first)
		}
	})
}

// TestRefreshedBlockStartsFromTheFirstImage: however often a machine is refreshed, and
// beside whatever, a block gives what it gives on a machine that never was.
func TestRefreshedBlockStartsFromTheFirstImage(t *testing.T) {
	withBackings(t, stateful(), func(t *testing.T, p *Program) {
		never := newBlock(t, p)
		for name, refresh := range map[string][3]int{ // before a block, beside it, after it
			"beside":           {0, 1, 0},
			"beside, often":    {0, 5, 0},
			"before and after": {1, 0, 1},
			"always":           {2, 2, 2},
		} {
			b := newBlock(t, p)
			pairs := map[*pair]bool{}
			again := func(n int) {
				for range n {
					if err := b.m.Refresh(); err != nil {
						t.Error(err)
					}
				}
			}
			for i := range 6 {
				again(refresh[0])
				b.begin()
				never.begin()
				pairs[b.m.(*machine).pair] = true
				beside := make(chan struct{})
				go func() {
					defer close(beside)
					again(refresh[1])
				}()
				for _, tx := range [][]byte{nil, nil, {1}, nil, {1, 1}, nil, {1, 1, 1}}[:7-i] {
					if got, want := b.result(tx), never.result(tx); got != want {
						t.Errorf("%s: block %d transaction %x gives\n%s, want\n%s", name, i, tx, got, want)
					}
				}
				<-beside
				again(refresh[2])
			}
			if len(pairs) != 2 {
				t.Errorf("%s: %d pairs were used", name, len(pairs))
			}
		}
	})
}

// TestGrownMemoryStaysInItsBlock: within a block the guest keeps what it grew.
func TestGrownMemoryStaysInItsBlock(t *testing.T) {
	withBackings(t, stateful(), func(t *testing.T, p *Program) {
		b := newBlock(t, p)
		for pages := byte(2); pages < 5; pages++ {
			out := b.execute([]byte{1, 1})
			if got := out.Events[2][0]; got != pages {
				t.Fatalf("memory of %d pages, want %d", got, pages)
			}
		}
		b.begin()
		if got := b.execute(nil).Events[2][0]; got != 1 {
			t.Fatalf("memory of %d pages in the next block, want 1", got)
		}
	})
}

// TestGoModule: the misbehaving Go module, on both engines, over blocks whose
// every transaction leaves something behind.
func TestGoModule(t *testing.T) {
	var runs []string
	for _, e := range engines {
		runs = append(runs, chaosRun(t, load(t, chaos.Wasm, e)))
	}
	if runs[0] != runs[1] {
		t.Fatalf("the engines differ:\n%s\n%s", runs[0], runs[1])
	}
	for act, want := range map[chaos.Act]abi.Code{chaos.Count: 0, chaos.Grow: 0, chaos.Panic: abi.CodeTrap, chaos.Loop: abi.CodeBudget,
		chaos.Recurse: abi.CodeDepth, chaos.NilDeref: abi.CodeTrap, chaos.Exhaust: abi.CodeMemory, chaos.WildPointer: abi.CodeTrap,
		chaos.ReservedCode: abi.CodeTrap, chaos.Fail: chaos.CodeAsked} {
		if line := fmt.Sprintf("act %d code %#x ", act, want); !strings.Contains(runs[0], line) {
			t.Errorf("no line %q in\n%s", line, runs[0])
		}
	}
}

func chaosRun(t *testing.T, p *Program) string {
	b := newBlock(t, p)
	var first, out strings.Builder
	for act := chaos.Count; act <= chaos.ReservedCode; act++ {
		b.begin()
		// A fresh block counts from one, wherever an earlier block left off.
		fmt.Fprintln(&first, b.result((&chaos.Tx{Act: chaos.Count}).Append(nil)))
		arg := uint64(5 << 20)
		if act == chaos.ReservedCode {
			arg = uint64(abi.HostCodeMin)
		}
		tx := chaos.Tx{Act: act, Nonce: 1, Arg: arg}
		fmt.Fprintf(&out, "act %d %s\n", act, b.result(tx.Append(nil)))
		count := b.result((&chaos.Tx{Act: chaos.Count, Nonce: 2}).Append(nil))
		value, _ := b.ov.Get([]byte(chaos.KeyCount))
		fmt.Fprintf(&out, "then %s, count %x\n", count, value)
	}
	lines := strings.Split(strings.TrimSpace(first.String()), "\n")
	for i, l := range lines {
		if l != lines[0] {
			t.Fatalf("block %d begins with\n%s, the first with\n%s", i, l, lines[0])
		}
	}
	return out.String()
}

// TestDoorIsSeparate: admit never changes what execute sees.
func TestDoorIsSeparate(t *testing.T) {
	a := newASM()
	a.globals = [][]byte{code(0x7e, 1, constant64(0), opEnd)}
	a.body(abi.ExportAdmit).code = code(opGlobalGet, 0, constant64(1), 0x7c, opGlobalSet, 0, constant(0))
	a.execute([]valType{typeI64}, opGlobalGet, 0, a.result(1))
	b := newBlock(t, load(t, a.bytes(), Compiler))
	first := b.result(nil)
	for range 3 {
		if out, err := b.m.Admit(b.ov, testContext, &stf.Tx{}); err != nil || out.Code != 0 {
			t.Fatal(out, err)
		}
	}
	if again := b.result(nil); again != first {
		t.Fatalf("%s after admit, %s before", again, first)
	}
}

// counting makes an export return how often it has been called.
func counting(name string) *asm {
	a := newASM()
	a.globals = [][]byte{code(0x7f, 1, constant(0), opEnd)}
	a.body(name).code = code(opGlobalGet, 0, constant(1), 0x6a, opGlobalSet, 0, opGlobalGet, 0)
	return a
}

// TestDoorStartsFromTheFirstImage: before every block, and not in between.
func TestDoorStartsFromTheFirstImage(t *testing.T) {
	b := newBlock(t, load(t, counting(abi.ExportAdmit).bytes(), Compiler))
	for _, want := range []abi.Code{1, 2, 3, 1, 2} {
		if want == 1 {
			b.begin()
		}
		if out, err := b.m.Admit(b.ov, testContext, &stf.Tx{}); err != nil || out.Code != want {
			t.Fatalf("%+v, %v, want code %d", out, err, want)
		}
	}
}

// TestGenesisStartsFromTheFirstImage: on a machine that was used before, too.
func TestGenesisStartsFromTheFirstImage(t *testing.T) {
	b := newBlock(t, load(t, counting(abi.ExportGenesis).bytes(), Compiler))
	for range 2 {
		if out, err := b.m.Genesis(newOverlay(), []byte("genesis")); err != nil || out.Code != 1 {
			t.Fatalf("%+v, %v, want code 1", out, err)
		}
	}
}

// TestTrapIsForgotten: how a call ends has nothing to do with how one before it did.
func TestTrapIsForgotten(t *testing.T) {
	a := newASM()
	size := func(extra int32) []byte {
		return code(opLocalGet, 0, constant(abi.ContextBytes+extra), opI32Eq, opIf, 0x40)
	}
	a.body(abi.ExportAdmit).code = code(size(0), constant(pageBytes), constant(1), constant(0), a.call(abi.ImportSHA256), opEnd,
		size(1), opUnreachable, opEnd,
		size(2), opLoop, 0x40, opBr, 0, opEnd, opEnd, constant(0))
	for _, e := range engines {
		b := newBlock(t, load(t, a.bytes(), e))
		for _, c := range []struct {
			tx     int // bytes
			code   abi.Code
			detail string
		}{{0, abi.CodeTrap, "1 bytes at 65536 are outside memory"}, {1, abi.CodeTrap, ""}, {2, abi.CodeBudget, ""}, {1, abi.CodeTrap, ""}, {3, 0, ""}} {
			out, err := b.m.Admit(b.ov, testContext, &stf.Tx{Raw: make([]byte, c.tx)})
			if err != nil || out.Code != c.code || out.Detail != c.detail {
				t.Errorf("%v: %+v, %v, want code %#x %q", e, out, err, c.code, c.detail)
			}
		}
	}
}

// TestInspectorStartsFromTheFirstImage: now and then, when memory has grown, and
// after a trap.
func TestInspectorStartsFromTheFirstImage(t *testing.T) {
	a := counting(abi.ExportInspect)
	f := a.body(abi.ExportInspect)
	f.code = code(opLocalGet, 0, constant(2), opI32Eq, opIf, 0x40, constant(1), opMemoryGrow, 0, 0x1a, opEnd,
		opLocalGet, 0, constant(3), opI32Eq, opIf, 0x40, opUnreachable, opEnd, f.code)
	in, err := load(t, a.bytes(), Compiler).NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	inspect := func(raw string) abi.Code {
		tx := &stf.Tx{Raw: []byte(raw)}
		if err := in.Inspect(tx); err != nil {
			t.Fatal(err)
		}
		return tx.Refusal.Code
	}
	for i, c := range []struct {
		raw  string
		want abi.Code
	}{{"1", 1}, {"1", 2}, {"22", 3}, {"1", 1}, {"1", 2}, {"333", abi.CodeTrap}, {"1", 1}} {
		if got := inspect(c.raw); got != c.want {
			t.Fatalf("call %d: code %d, want %d", i, got, c.want)
		}
	}
	for range inspectionsPerImage {
		if got := inspect("1"); got > inspectionsPerImage {
			t.Fatalf("%d calls on one image", got)
		}
	}
}

// TestQueryStartsFromTheFirstImage: every time, on every copy.
func TestQueryStartsFromTheFirstImage(t *testing.T) {
	p := load(t, counting(abi.ExportQuery).bytes(), Compiler)
	for range 3 * maxReaders {
		if out, err := p.Query(newOverlay(), testContext, nil); err != nil || out.Code != 1 {
			t.Fatal(out, err)
		}
	}
}

// TestOutputIsTheCallersOwn: an answer stays what it was while the copy that gave
// it answers others.
func TestOutputIsTheCallersOwn(t *testing.T) {
	a := newASM()
	a.body(abi.ExportQuery).code = code(constant(asmInput+abi.ContextBytes), constant(1), a.call(abi.ImportOutput), constant(0))
	p := load(t, a.bytes(), Compiler)
	var outs []stf.Outcome
	for i := range byte(3 * maxReaders) {
		out, err := p.Query(newOverlay(), testContext, []byte{i})
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, out)
	}
	for i, out := range outs {
		if len(out.Output) != 1 || out.Output[0] != byte(i) {
			t.Fatalf("answer %d has become %x", i, out.Output)
		}
	}
}

// TestMemoryRefusalIsForgotten: a refused memory.grow explains a trap of its own
// call only.
func TestMemoryRefusalIsForgotten(t *testing.T) {
	a := newASM()
	grow := code(constant(-1), opMemoryGrow, 0, 0x1a)
	a.execute(nil, opLocalGet, 0, constant(abi.ContextBytes), opI32Eq, opIf, 0x40, grow, opElse, opUnreachable, opEnd, constant(0))
	for _, e := range engines {
		b := newBlock(t, load(t, a.bytes(), e))
		if out := b.execute(nil); out.Code != 0 {
			t.Fatalf("%v: %+v", e, out)
		}
		if out := b.execute([]byte{1}); out.Code != abi.CodeTrap {
			t.Fatalf("%v: %+v, want code %#x", e, out, abi.CodeTrap)
		}
	}
}

// TestInitialisationMustBeReproducible: an image that depends on anything but the
// module is refused. No module can bring that about, so the images are made up.
func TestInitialisationMustBeReproducible(t *testing.T) {
	one := &snapshot{memory: make([]byte, pageBytes), globals: []uint64{1}}
	for name, two := range map[string]*snapshot{
		"memory at 0x7": {memory: append(append(make([]byte, 7), 1), make([]byte, pageBytes-8)...), globals: []uint64{1}},
		"globals":       {memory: make([]byte, pageBytes), globals: []uint64{2}},
		"131072":        {memory: make([]byte, 2*pageBytes), globals: []uint64{1}},
		"kaizen_input":  {memory: make([]byte, pageBytes), globals: []uint64{1}, area: 8},
	} {
		err := one.compare(two)
		if !errors.Is(err, ErrNotReproducible) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %v that names %s", err, ErrNotReproducible, name)
		}
	}
	if err := one.compare(one); err != nil {
		t.Error(err)
	}
}

// TestQueriesAndSimulations: from any goroutine, each from the first image, with
// an outcome that is the caller's own.
func TestQueriesAndSimulations(t *testing.T) {
	p := load(t, counter.Wasm, Compiler)
	ov := state.NewOverlay(nil)
	key := counter.Key(3)
	ov.Set(key[:], (&counter.Record{Value: 41, Sequence: 2}).Append(nil))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				query := abi.AppendU64(nil, uint64(i))
				out, err := p.Query(ov, testContext, query)
				want := fmt.Sprintf(`{"counter":"%d","value":"0","sequence":0}`, i)
				if i == 3 {
					want = `{"counter":"3","value":"41","sequence":2}`
				}
				if err != nil || string(out.Output) != want {
					t.Errorf("%s, %v, want %s", out.Output, err, want)
				}
				scratch := state.NewOverlay(nil)
				tx := counter.Tx{Counter: 1, Amount: 5}
				sim, err := p.Simulate(scratch, testContext, &stf.Tx{Raw: tx.Append(nil)})
				if err != nil || sim.Code != 0 || !sim.Accepted || scratch.Len() == 0 {
					t.Errorf("%+v, %v", sim, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestInspector: ids and refusals, and an instance that survives more
// transactions than it is used for.
func TestInspector(t *testing.T) {
	p := load(t, chaos.Wasm, Compiler)
	in, err := p.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for n := range uint64(inspectionsPerImage + 10) {
		tx := &stf.Tx{Raw: (&chaos.Tx{Nonce: n}).Append(nil)}
		if err := in.Inspect(tx); err != nil || tx.Refusal != nil || tx.ID == (chain.Hash{}) || tx.Leaf != chain.LeafHash(tx.Raw) {
			t.Fatalf("transaction %d: %+v, %v", n, tx, err)
		}
	}
	bad := &stf.Tx{Raw: []byte("x")}
	if err := in.Inspect(bad); err != nil || bad.Refusal == nil || bad.Refusal.Name != "MalformedTransaction" {
		t.Fatalf("%+v, %v", bad, err)
	}
}

// TestInspectIsPure: the pure export may not read state, and a trap there is a
// refusal.
func TestInspectIsPure(t *testing.T) {
	for name, want := range map[string]string{
		abi.ImportStateGet:  "kaizen_inspect may not call state_get",
		abi.ImportRecover:   "kaizen_inspect may not call recover",
		abi.ImportSigner712: "kaizen_inspect may not call signer712",
	} {
		a := newASM()
		args := code(constant(0), constant(1), constant(128))
		for range len(capabilities[abi.ImportModule][name].typ.params) - 3 {
			args = code(args, constant(0))
		}
		a.body(abi.ExportInspect).code = code(args, a.call(name))
		in, err := load(t, a.bytes(), Interpreter).NewInspector()
		if err != nil {
			t.Fatal(err)
		}
		tx := &stf.Tx{Raw: []byte("x")}
		for range 2 {
			if err := in.Inspect(tx); err != nil || tx.Refusal == nil || tx.Refusal.Code != abi.CodeTrap || tx.Refusal.Detail != want {
				t.Fatalf("%+v, %v, want %q", tx.Refusal, err, want)
			}
		}
		in.Close()
	}
}

// TestClose: in any order, any number of times; later calls say so.
func TestClose(t *testing.T) {
	p, err := Load(context.Background(), newASM().bytes(), Options{Crypto: secp.Crypto{}, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.NewMachine()
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.NewMachine(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := p.Query(state.NewOverlay(nil), testContext, nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	// What was made before still works, and keeps what it needs.
	ov := state.NewOverlay(nil)
	if err := m.Refresh(); err != nil {
		t.Fatal(err)
	}
	if out, err := m.BeginBlock(ov, testContext, noPrices); err != nil || out.Code != 0 {
		t.Fatal(out, err)
	}
	for range 2 {
		if err := errors.Join(m.Close(), in.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.BeginBlock(ov, testContext, noPrices); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := in.Inspect(&stf.Tx{}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestCacheDirectory: a second load in the same directory gives the same module.
func TestCacheDirectory(t *testing.T) {
	dir := t.TempDir()
	var results []string
	for range 2 {
		p, err := Load(context.Background(), recursive(), Options{Crypto: secp.Crypto{}, CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		results = append(results, newBlock(t, p).result([]byte{9, 0, 0, 0}))
	}
	if results[0] != results[1] {
		t.Fatal(results)
	}
}

// broken is a state whose store fails.
type broken struct{ *state.Overlay }

func (broken) Get([]byte) ([]byte, bool) { panic("the disk is gone") }

// TestHostFailureIsNotTheGuests: a panic in a host call goes on up; it is never a
// trap that reaches a receipt.
func TestHostFailureIsNotTheGuests(t *testing.T) {
	for _, e := range engines {
		a := newASM()
		a.execute(nil, constant(0), constant(1), constant(0), constant(0), a.call(abi.ImportStateGet))
		b := newBlock(t, load(t, a.bytes(), e))
		func() {
			defer func() {
				if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "the disk is gone") {
					t.Errorf("%v: recovered %v", e, v)
				}
			}()
			out, err := b.m.Execute(broken{b.ov}, testContext, &stf.Tx{})
			t.Errorf("%v: %+v, %v", e, out, err)
		}()
	}
}

// TestInputLimit: the host refuses to pass more than the contract allows.
func TestInputLimit(t *testing.T) {
	p := load(t, newASM().bytes(), Compiler)
	if _, err := p.Query(state.NewOverlay(nil), testContext, make([]byte, abi.MaxInputBytes)); !errors.Is(err, ErrInputTooLarge) {
		t.Fatal(err)
	}
}
