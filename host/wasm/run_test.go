package wasm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

var engines = []Engine{Compiler, Interpreter}

var (
	testContext = abi.Context{Height: 7, Time: 1_700_000_000_000}
	noPrices    = (&chain.OracleSnapshot{}).Append(nil)
)

// block is a machine in a block.
type block struct {
	t  testing.TB
	m  stf.Machine
	ov *state.Overlay
}

func newBlock(t testing.TB, p *Program) *block {
	t.Helper()
	m, err := p.NewMachine()
	if err != nil {
		t.Fatal(err)
	}
	b := &block{t: t, m: m}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	b.begin()
	return b
}

// begin starts a block on an empty state.
func (b *block) begin() {
	b.t.Helper()
	b.ov = state.NewOverlay(nil)
	out, err := b.m.BeginBlock(b.ov, testContext, noPrices)
	if err != nil || out.Code != 0 {
		b.t.Fatalf("begin_block: %+v, %v", out, err)
	}
}

func (b *block) execute(tx []byte) stf.Outcome {
	b.t.Helper()
	out, err := b.m.Execute(b.ov, testContext, &stf.Tx{Raw: tx})
	if err != nil {
		b.t.Fatal(err)
	}
	out.Output = bytes.Clone(out.Output)
	return out
}

// left is the meter of the block's copy after a call.
func (b *block) left() uint64 { return b.m.(*machine).block.in.meter.Get() }

// result is what a test compares: the outcome, in words, and what is left of the
// meter.
func (b *block) result(tx []byte) string {
	out := b.execute(tx)
	return fmt.Sprintf("code %#x %q accepted %v events %x left %#x", out.Code, out.Detail, out.Accepted, out.Events, b.left())
}

// onBoth runs one execute of a module on both engines and requires the same
// result, which it returns.
func onBoth(t *testing.T, file []byte, tx []byte) (out stf.Outcome, left uint64) {
	t.Helper()
	var results []string
	for _, e := range engines {
		b := newBlock(t, load(t, file, e))
		out = b.execute(tx)
		left = b.left()
		results = append(results, fmt.Sprintf("%+v %#x", out, left))
	}
	if results[0] != results[1] {
		t.Fatalf("engines differ:\n%s\n%s", results[0], results[1])
	}
	return out, left
}

// TestTraps: how an execute may end badly, with the same code and text on both
// engines.
func TestTraps(t *testing.T) {
	a := newASM()
	locals := []valType{typeI32, typeI64}
	for _, c := range []struct {
		name   string
		body   []byte
		code   abi.Code
		detail string
	}{
		{"unreachable", code(opUnreachable), abi.CodeTrap, ""},
		{"load out of bounds", code(constant(65536), 0x28, 2, 0), abi.CodeTrap, ""},
		{"store out of bounds", code(constant(65533), constant(1), 0x36, 2, 0, constant(0)), abi.CodeTrap, ""},
		{"copy out of bounds", code(constant(0), constant(65530), constant(8), 0xfc, 10, 0, 0, constant(0)), abi.CodeTrap, ""},
		{"division by zero", code(constant(1), constant(0), 0x6d), abi.CodeTrap, ""},
		{"division overflow", code(constant(-1<<31), constant(-1), 0x6d), abi.CodeTrap, ""},
		{"float out of range", code(opF64Const, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 0xaa), abi.CodeTrap, ""},
		{"indirect call of nothing", code(constant(0), constant(0), opCallIndirect, leb(a.typ(funcType{i32, i32})), 0), abi.CodeTrap, ""},
		{"exit", code(constant(2), a.call("proc_exit"), constant(0)), abi.CodeTrap, "exited with status 2"},
		{"loop", code(opLoop, 0x40, opBr, 0, opEnd, constant(0)), abi.CodeBudget, ""},
		{"fill of everything, again", code(opLoop, 0x40, constant(0), constant(0), constant(65536), 0xfc, 11, 0, opBr, 0, opEnd, constant(0)), abi.CodeBudget, ""},
		{"recover, again", code(opLoop, 0x40, constant(0), constant(0), constant(0), a.call("recover"), 0x1a, opBr, 0, opEnd, constant(0)), abi.CodeBudget, ""},
		{"length that the budget cannot pay", code(constant(0), constant(0), constant(-1), 0xfc, 11, 0, constant(0)), abi.CodeBudget, ""},
		{"refused memory, then unreachable", code(constant(abi.MaxMemoryPages), opMemoryGrow, 0, 0x1a, opUnreachable), abi.CodeMemory, ""},
		{"memory of 2^32 pages, then unreachable", code(constant(-1), opMemoryGrow, 0, 0x1a, opUnreachable), abi.CodeMemory, ""},
		{"reserved code", constant(int32(abi.CodeBudget)), abi.CodeTrap, ""},
		{"code over 16 bits", constant(1 << 16), abi.CodeTrap, ""},
		{"negative code", constant(-1), abi.CodeTrap, ""},
		{"pointer outside memory", code(constant(65535), constant(2), a.call("emit"), constant(0)), abi.CodeTrap, "2 bytes at 65535 are outside memory"},
		{"length that wraps", code(constant(8), constant(-8), a.call("state_delete"), constant(0)), abi.CodeTrap, "4294967288 bytes at 8 are outside memory"},
		{"result outside memory", code(constant(0), constant(0), constant(65505), a.call("sha256"), constant(0)), abi.CodeTrap, "32 bytes at 65505 are outside memory"},
		{"empty key", code(constant(0), constant(0), constant(0), constant(0), a.call("state_set"), constant(0)), abi.CodeTrap, "state key of 0 bytes, want 1 to 128"},
		{"accept twice", code(a.accept(), constant(0)), abi.CodeTrap, "accept called twice"},
		{"fd_write of too many pieces", code(constant(1), constant(0), constant(1025), constant(0), a.call("fd_write")), abi.CodeTrap, "fd_write of 1025 pieces, limit 1024"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newASM()
			a.execute(locals, c.body)
			out, _ := onBoth(t, a.bytes(), []byte("tx"))
			if out.Code != c.code || out.Detail != c.detail || !out.Accepted || len(out.Events) != 0 {
				t.Fatalf("%+v, want code %#x %q", out, c.code, c.detail)
			}
		})
	}
}

// largeTx makes an input that is one byte too long for the input area.
var largeTx = make([]byte, abi.InputAreaBytes-abi.ContextBytes+1)

// TestInputRefused: a module that gives no room for a large input, or room outside its
// memory, traps before the export runs.
func TestInputRefused(t *testing.T) {
	for name, ptr := range map[string]int32{"zero": 0, "outside": pageBytes - abi.InputAreaBytes, "negative": -1} {
		t.Run(name, func(t *testing.T) {
			a := newASM()
			f := a.body(abi.ExportInput)
			f.code = code(constant(asmInput), constant(ptr), opLocalGet, 0, constant(abi.InputAreaBytes), opI32Eq, opSelect)
			out, _ := onBoth(t, a.bytes(), largeTx)
			if out.Code != abi.CodeTrap || out.Accepted {
				t.Fatalf("%+v", out)
			}
		})
	}
}

// TestInputArea: the module is asked for room when it is loaded, and again for an
// input that is longer only, every time and on the budget of that call. Either way
// the export finds the whole input there.
func TestInputArea(t *testing.T) {
	const elsewhere = asmInput + abi.InputAreaBytes
	a := newASM()
	a.globals = [][]byte{code(0x7e, 1, constant64(0), opEnd), code(0x7f, 1, constant(0), opEnd)}
	f := a.body(abi.ExportInput)
	f.code = code(opGlobalGet, 0, constant64(1), 0x7c, opGlobalSet, 0,
		constant(asmInput), constant(elsewhere), opLocalGet, 0, constant(abi.InputAreaBytes), opI32Eq, opSelect, opGlobalSet, 1, opGlobalGet, 1)
	// How often it was asked, then the input's last byte.
	last := code(constant(asmInput), constant(elsewhere), opLocalGet, 0, constant(abi.InputAreaBytes+1), 0x49, opSelect,
		opLocalGet, 0, 0x6a, constant(1), 0x6b, 0x2d, 0, 0, opI64ExtendU)
	a.execute([]valType{typeI64}, opGlobalGet, 0, a.result(1), 0x1a, last, a.result(1))
	for _, e := range engines {
		b := newBlock(t, load(t, a.bytes(), e))
		var left []uint64
		for i, c := range []struct {
			bytes int // of the input
			asked byte
		}{{abi.ContextBytes + 1, 1}, {abi.InputAreaBytes, 1}, {abi.InputAreaBytes + 1, 2}, {abi.InputAreaBytes + 1, 3}, {abi.InputAreaBytes, 3}} {
			tx := make([]byte, c.bytes-abi.ContextBytes)
			tx[len(tx)-1] = byte(40 + i)
			out := b.execute(tx)
			if out.Code != 0 || out.Events[0][0] != c.asked || out.Events[1][0] != tx[len(tx)-1] {
				t.Fatalf("%v: input of %d bytes: %+v, want asked %d times, last byte %d", e, c.bytes, out, c.asked, tx[len(tx)-1])
			}
			left = append(left, b.left())
		}
		if left[0] != left[1] || left[2] >= left[0] || left[3] != left[2] || left[4] != left[0] {
			t.Errorf("%v: %v is left of the meter, want less after the two inputs that were asked for, the same after the others", e, left)
		}
		b.begin()
		if out := b.execute(largeTx); out.Events[0][0] != 2 {
			t.Fatalf("%v: in the next block asked %d times, want 2: the area is part of the first image", e, out.Events[0][0])
		}
	}
}

// TestSigner712: the digest and the signer that the host finds are those that the two
// hashes and the recovery make, on both engines; a bad signature has a digest only.
func TestSigner712(t *testing.T) {
	key, err := secp.ParseKey("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
	if err != nil {
		t.Fatal(err)
	}
	domain, words := chain.Hash{1}, bytes.Repeat([]byte{2}, 96)
	inner := secp.Keccak256(words)
	digest := secp.Keccak256(slices.Concat([]byte{0x19, 0x01}, domain[:], inner[:]))
	sig, err := key.Sign((*[32]byte)(&digest))
	if err != nil {
		t.Fatal(err)
	}
	const at, dst = asmInput + abi.ContextBytes, 64
	a := newASM()
	a.execute([]valType{typeI64}, constant(at), constant(at+32), constant(96), constant(at+128), constant(dst), a.call(abi.ImportSigner712),
		opI64ExtendU, a.result(1), 0x1a, constant(dst), constant(52), a.call(abi.ImportEmit), constant(0))
	signer := key.Address()
	out, _ := onBoth(t, a.bytes(), slices.Concat(domain[:], words, sig[:]))
	if out.Code != 0 || out.Events[0][0] != 1 || !bytes.Equal(out.Events[1], slices.Concat(digest[:], signer[:])) {
		t.Errorf("%+v, want digest %s and signer %s", out, digest, signer)
	}
	sig[64] = 99
	out, _ = onBoth(t, a.bytes(), slices.Concat(domain[:], words, sig[:]))
	if out.Code != 0 || out.Events[0][0] != 0 || !bytes.Equal(out.Events[1], slices.Concat(digest[:], make([]byte, 20))) {
		t.Errorf("%+v, want digest %s and no signer", out, digest)
	}
}

// recursive is a module whose execute calls itself as often as the transaction's
// first four bytes say.
func recursive() []byte {
	a := newASM()
	t := funcType{i32, i32}
	self := uint32(len(a.imports) + len(a.funcs))
	a.fn(t, nil, code(opLocalGet, 0, opIf, 0x7f, opLocalGet, 0, constant(1), 0x6b, callTo(self), opElse, constant(0), opEnd))
	a.execute(nil, constant(asmInput+abi.ContextBytes), 0x28, 2, 0, callTo(self))
	return a.bytes()
}

// TestCallDepth: exactly abi.MaxCallDepth calls may nest, on both engines.
func TestCallDepth(t *testing.T) {
	for _, c := range []struct {
		calls int // open at once: execute, and the function's
		code  abi.Code
	}{{2, 0}, {abi.MaxCallDepth, 0}, {abi.MaxCallDepth + 1, abi.CodeDepth}, {1 << 30, abi.CodeDepth}} {
		tx := binary.LittleEndian.AppendUint32(nil, uint32(c.calls-2))
		if out, _ := onBoth(t, recursive(), tx); out.Code != c.code {
			t.Errorf("%d calls: %+v, want code %#x", c.calls, out, c.code)
		}
	}
}

// TestCallDepthPastALoop: a loop that a function may go around does not stand for the
// check at its entry, one behind the opening of a block does.
func TestCallDepthPastALoop(t *testing.T) {
	for name, around := range map[string][]byte{
		"if":    code(constant(0), opIf, 0x40, opLoop, 0x40, opEnd, opEnd),
		"block": code(opBlock, 0x40, opLoop, 0x40, opEnd, opEnd),
		"left":  code(opBlock, 0x40, constant(1), opBrIf, 0, opLoop, 0x40, opEnd, opEnd),
	} {
		a := newASM()
		self := uint32(len(a.imports) + len(a.funcs))
		a.fn(funcType{i32, i32}, nil, code(around, constant(0), callTo(self)))
		a.execute(nil, constant(0), callTo(self))
		if out, _ := onBoth(t, a.bytes(), nil); out.Code != abi.CodeDepth {
			t.Errorf("%s: %+v, want code %#x", name, out, abi.CodeDepth)
		}
	}
}

// TestDeepFrames: large frames reach the limit on nested calls before an engine
// runs out of stack.
func TestDeepFrames(t *testing.T) {
	for _, values := range []int{1300, 8000, 40_000} {
		a := newASM()
		self := uint32(len(a.imports) + len(a.funcs))
		// As many values as fit the code stay on the stack across the call.
		push := bytes.Repeat(code(opLocalGet, 0, 0x28, 2, 0), values)
		a.fn(funcType{i32, i32}, nil, code(push, constant(0), callTo(self), bytes.Repeat([]byte{0x6a}, values)))
		a.execute(nil, constant(0), callTo(self))
		if out, _ := onBoth(t, a.bytes(), nil); out.Code != abi.CodeDepth {
			t.Errorf("%d values: %+v, want code %#x", values, out, abi.CodeDepth)
		}
	}
}

// TestDepthIsGivenBack: every way out of a function gives its call back, or
// repeated calls would run out of depth.
func TestDepthIsGivenBack(t *testing.T) {
	leaf := code(constant(0), 0x1a)
	for name, body := range map[string][]byte{
		"end":             nil,
		"return":          code(opReturn),
		"return in loop":  code(opLoop, 0x40, opBlock, 0x40, opReturn, opEnd, opEnd),
		"branch":          code(opBlock, 0x40, opBr, 1, opEnd),
		"br_table":        code(constant(9), opBrTable, 1, 0, 0),
		"conditional":     code(constant(1), opBrIf, 0),
		"return from if":  code(constant(1), opIf, 0x40, opReturn, opElse, opUnreachable, opEnd),
		"after dead code": code(opReturn, opLoop, 0x40, opBr, 0, opEnd),
	} {
		t.Run(name, func(t *testing.T) {
			a := newASM()
			none := a.fn(nop, nil, leaf)
			f := a.fn(nop, nil, code(callTo(none), body))
			a.execute([]valType{typeI32}, opLoop, 0x40, callTo(f),
				opLocalGet, 1, constant(1), 0x6a, opLocalTee, 1, constant(3*abi.MaxCallDepth), 0x49, opBrIf, 0, opEnd, constant(0))
			if out, left := onBoth(t, a.bytes(), nil); out.Code != 0 || left&uint64(oneUnit-1) != abi.MaxCallDepth {
				t.Fatalf("%+v, calls left %d", out, left&uint64(oneUnit-1))
			}
		})
	}
}

// TestCanonicalNaN: arithmetic gives one NaN on both engines, whatever the
// operands' bits.
func TestCanonicalNaN(t *testing.T) {
	nan := func(bits ...byte) []byte { return code(opF64Const, bits) }
	odd := nan(1, 2, 3, 4, 5, 6, 0xf0, 0xff)
	zero := code(opF64Const, make([]byte, 8))
	for name, body := range map[string][]byte{
		"0/0":     code(zero, zero, 0xa3),
		"sqrt -1": code(opF64Const, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf, 0x9f),
		"min":     code(odd, zero, 0xa4),
		"add":     code(odd, odd, 0xa0),
		"ceil":    code(odd, 0x9b),
		"promote": code(opF32Const, 1, 2, 0xa0, 0xff, 0xbb),
		"demote":  code(odd, 0xb6, 0xbb),
	} {
		t.Run(name, func(t *testing.T) {
			a := newASM()
			a.execute([]valType{typeI64}, body, 0xbd, a.result(1))
			out, _ := onBoth(t, a.bytes(), nil)
			if want := []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}; len(out.Events) != 1 || !bytes.Equal(out.Events[0], want) {
				t.Fatalf("%x, want %x", out.Events, want)
			}
		})
	}
	t.Run("32 bits", func(t *testing.T) {
		a := newASM()
		a.execute([]valType{typeI64}, opF32Const, make([]byte, 4), opF32Const, make([]byte, 4), 0x95, 0xbc, opI64ExtendU, a.result(1))
		out, _ := onBoth(t, a.bytes(), nil)
		if want := []byte{0, 0, 0xc0, 0x7f, 0, 0, 0, 0}; !bytes.Equal(out.Events[0], want) {
			t.Fatalf("%x, want %x", out.Events, want)
		}
	})
	t.Run("numbers stay", func(t *testing.T) {
		a := newASM()
		half := code(opF64Const, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f)
		a.execute([]valType{typeI64}, half, half, 0xa0, 0xbd, a.result(1))
		out, _ := onBoth(t, a.bytes(), nil)
		if want := []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}; !bytes.Equal(out.Events[0], want) {
			t.Fatalf("%x, want %x", out.Events, want)
		}
	})
}

// TestIndirectCallOfImport: an import reached through the table is charged like
// one that is called directly.
func TestIndirectCallOfImport(t *testing.T) {
	a := newASM()
	accept := slices.IndexFunc(a.imports, func(f importFunc) bool { return f.name == abi.ImportAccept })
	a.elements = [][]byte{code(0, constant(1), opEnd, 1, leb(uint32(accept)))}
	a.body(abi.ExportExecute).code = code(constant(asmID), constant(1), opCallIndirect, leb(a.typ(funcType{i32, nil})), 0, constant(0))
	out, left := onBoth(t, a.bytes(), nil)
	if spent := abi.TxBudget - int64(left)>>callBits; !out.Accepted || spent < 200 {
		t.Fatalf("%+v for %d units", out, spent)
	}
}

// TestCharges: what simple code costs, as stf-modules/ABI.md says.
func TestCharges(t *testing.T) {
	base := spentBy(t, code(constant(0)))
	for _, c := range []struct {
		name string
		body []byte
		cost int64
	}{
		{"nothing", constant(0), 0},
		{"two instructions", code(constant(0), 0x1a, constant(0)), 2},
		{"block", code(opBlock, 0x40, opEnd, constant(0)), 0},
		{"division", code(constant(1), constant(1), 0x6d, 0x1a, constant(0)), 1 + 1 + 4 + 1},
		{"fill of 800 known bytes", code(constant(0), constant(0), constant(800), 0xfc, 11, 0, constant(0)), 3 + 1 + 100},
		{"fill of 800 bytes", code(constant(0), constant(0), constant(800), 0x01, 0xfc, 11, 0, constant(0)), 3 + 1 + 1 + 100},
		{"grow by two pages", code(constant(2), opMemoryGrow, 0, 0x1a, constant(0)), 3 + 2*8192},
		{"grow refused", code(constant(1<<20), opMemoryGrow, 0, 0x1a, constant(0)), 3},
		{"sha256 of 64 bytes", code(constant(0), constant(64), constant(128), newASM().call("sha256"), constant(0)), 3 + 4 + 200 + 64*2},
		{"state_get of nothing", code(constant(0), constant(1), constant(0), constant(0), newASM().call("state_get"), 0x1a, constant(0)), 4 + 4 + 400 + 1},
		{"branch past code", code(opBlock, 0x40, opBr, 0, constant(0), 0x1a, opEnd, constant(0)), 1},
		{"both arms", code(constant(0), opIf, 0x40, constant(0), 0x1a, opElse, constant(0), 0x1a, opEnd, constant(0)), 2 + 4},
		{"loop once", code(opLoop, 0x40, constant(0), opBrIf, 0, opEnd, constant(0)), 2},
		// Header: get, br_table. Case 0: five and a branch back. Case 1: nothing.
		{"loop that dispatches, twice", code(opLoop, 0x40, opBlock, 0x40, opBlock, 0x40, opLocalGet, 1, opBrTable, 1, 0, 1, opEnd,
			opLocalGet, 1, constant(1), 0x6a, 0x21, 1, opBr, 1, opEnd, opEnd, constant(0)), 2*3 + 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := spentBy(t, c.body) - base; got != c.cost {
				t.Errorf("costs %d units, want %d", got, c.cost)
			}
		})
	}
}

// TestLongStretchesAreStopped: code without loops, through large functions that
// call nothing, is stopped before it does much more than the budget.
func TestLongStretchesAreStopped(t *testing.T) {
	const pairs = 50_000
	a := newASM()
	leaf := a.fn(nop, nil, bytes.Repeat(code(constant(0), 0x1a), pairs))
	a.execute(nil, bytes.Repeat(callTo(leaf), 1000), constant(0))
	out, left := onBoth(t, a.bytes(), nil)
	if over := -(int64(left) >> callBits); out.Code != abi.CodeBudget || over <= 0 || over > 3*pairs {
		t.Fatalf("%+v, %d units over", out, over)
	}
}

// TestReadersCannotWrite: admit and query are of the phase that only reads.
func TestReadersCannotWrite(t *testing.T) {
	a := newASM()
	set := code(constant(0), constant(1), constant(0), constant(1), a.call(abi.ImportStateSet), constant(0))
	a.body(abi.ExportAdmit).code, a.body(abi.ExportQuery).code = set, set
	p := load(t, a.bytes(), Compiler)
	b := newBlock(t, p)
	admitted, err := b.m.Admit(b.ov, testContext, &stf.Tx{})
	if err != nil || admitted.Code != abi.CodeTrap || admitted.Detail != "kaizen_admit may not call state_set" {
		t.Errorf("%+v, %v", admitted, err)
	}
	answer, err := p.Query(b.ov, testContext, nil)
	if err != nil || answer.Code != abi.CodeTrap || answer.Detail != "kaizen_query may not call state_set" {
		t.Errorf("%+v, %v", answer, err)
	}
}

// TestBudgets: every export has the budget that stf-modules/ABI.md gives it.
func TestBudgets(t *testing.T) {
	p := load(t, newASM().bytes(), Compiler)
	b := newBlock(t, p)
	m := b.m.(*machine)
	in, err := p.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	tx := &stf.Tx{Raw: []byte("tx")}
	door := func() *instance { return m.door.in }
	block := func() *instance { return m.block.in }
	for _, c := range []struct {
		export exportID
		call   func() (stf.Outcome, error)
		in     func() *instance
		budget int64
	}{
		{callGenesis, func() (stf.Outcome, error) { return m.Genesis(b.ov, nil) }, block, abi.HookBudget},
		{callBeginBlock, func() (stf.Outcome, error) { return m.BeginBlock(b.ov, testContext, noPrices) }, block, abi.HookBudget},
		{callAdmit, func() (stf.Outcome, error) { return m.Admit(b.ov, testContext, tx) }, door, abi.TxBudget},
		{callExecute, func() (stf.Outcome, error) { return m.Execute(b.ov, testContext, tx) }, block, abi.TxBudget},
		{callEndBlock, func() (stf.Outcome, error) { return m.EndBlock(b.ov, testContext) }, block, abi.HookBudget},
		{callInspect, func() (stf.Outcome, error) { return stf.Outcome{}, in.Inspect(tx) }, func() *instance { return in.(*inspector).copy.in }, abi.TxBudget},
		{callQuery, func() (stf.Outcome, error) { return p.Query(b.ov, testContext, nil) }, p.pool.lastUsed, abi.TxBudget},
		{callExecute, func() (stf.Outcome, error) { return p.Simulate(b.ov, testContext, tx) }, p.pool.lastUsed, abi.TxBudget},
	} {
		if out, err := c.call(); err != nil || out.Code != 0 {
			t.Fatalf("%s: %+v, %v", exportNames[c.export], out, err)
		}
		if spent := c.budget - int64(c.in().meter.Get())>>callBits; spent <= 0 || spent > 1000 {
			t.Errorf("%s: spent %d units of %d, want a few", exportNames[c.export], spent, c.budget)
		}
	}
}

// lastUsed is the copy that answered last, while none is in use.
func (q *pool) lastUsed() (in *instance) {
	for range cap(q.slots) {
		slot := <-q.slots
		if slot.in != nil {
			in = slot.in
		}
		q.slots <- slot
	}
	return in
}

func spentBy(t *testing.T, body []byte) int64 {
	t.Helper()
	a := newASM()
	a.execute([]valType{typeI32}, body)
	out, left := onBoth(t, a.bytes(), nil)
	if out.Code != 0 {
		t.Fatalf("%+v", out)
	}
	return abi.TxBudget - int64(left)>>callBits
}

func newOverlay() *state.Overlay { return state.NewOverlay(nil) }
