package native_test

import (
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/counter"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// probe is a module whose Execute does what a test wants; it counts its calls.
type probe struct {
	counter.Module
	do    func(*sdk.Env)
	calls uint64
}

func (p *probe) Execute(env *sdk.Env, _ abi.Context, tx []byte) abi.Code {
	p.calls++
	env.Set([]byte("calls"), abi.AppendU64(nil, p.calls))
	var id [32]byte
	env.Accept(&id)
	env.Set([]byte("after"), tx)
	p.do(env)
	return abi.CodeOK
}

func (p *probe) Admit(env *sdk.Env, _ abi.Context, _ []byte) abi.Code {
	p.do(env)
	return abi.CodeOK
}

func (p *probe) Inspect(env *sdk.Env, _ []byte, _ *abi.Inspection) abi.Code {
	p.do(env)
	return abi.CodeOK
}

func (p *probe) Query(env *sdk.Env, _ abi.Context, _ []byte) abi.Code {
	p.do(env)
	return abi.CodeOK
}

func (p *probe) BeginBlock(env *sdk.Env, _ abi.Context, _ *sdk.Oracle) abi.Code {
	p.do(env)
	return abi.CodeOK
}

func load(t *testing.T, do func(*sdk.Env)) (*native.Program, stf.Machine, *state.Overlay) {
	t.Helper()
	p, err := native.New(chain.Hash{1}, func() sdk.Module { return &probe{do: do} }, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.NewMachine()
	if err != nil {
		t.Fatal(err)
	}
	return p, m, state.NewOverlay(nil)
}

var ctx = abi.Context{Height: 1, Time: 2}

func calls(ov *state.Overlay) byte {
	b, _ := ov.Get([]byte("calls"))
	return append(b, 0)[0]
}

// TestTraps checks what a module can do wrong: each is a trap, takes back what
// was written after accept, and puts the module back to its beginning.
func TestTraps(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(*sdk.Env)
		detail string
	}{
		"panic":        {func(*sdk.Env) { panic("asked to") }, ""},
		"nil":          {func(*sdk.Env) { var p *probe; p.calls++ }, ""},
		"index":        {func(e *sdk.Env) { _ = []byte{}[len(e.Text(""))] }, ""},
		"accept twice": {func(e *sdk.Env) { e.Accept(&[32]byte{}) }, "accept called twice"},
		"no key":       {func(e *sdk.Env) { e.Get(nil) }, "state key of 0 bytes"},
		"long key":     {func(e *sdk.Env) { e.Set(make([]byte, abi.MaxKeyBytes+1), nil) }, "state key of 129 bytes"},
		"long value":   {func(e *sdk.Env) { e.Set([]byte("k"), make([]byte, abi.MaxValueBytes+1)) }, "state value of 65537 bytes"},
		"long event":   {func(e *sdk.Env) { e.Emit(make([]byte, abi.MaxEventBytes+1)) }, "event 1 of 4097 bytes"},
		"long delete":  {func(e *sdk.Env) { e.Delete(make([]byte, abi.MaxKeyBytes+1)) }, "state key of 129 bytes"},
		"long log":     {func(e *sdk.Env) { e.Log(make([]byte, abi.MaxLogBytes+1)) }, "log line of 1025 bytes"},
		"long output":  {func(e *sdk.Env) { e.Output(make([]byte, abi.MaxOutputBytes+1)) }, "output of 4194305 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, m, ov := load(t, c.do)
			for range 2 { // the count starts again after a trap
				out, err := m.Execute(ov, ctx, &stf.Tx{Raw: []byte("x")})
				if err != nil || out.Code != abi.CodeTrap || !out.Accepted || !strings.HasPrefix(out.Detail, c.detail) || (c.detail == "") != (out.Detail == "") {
					t.Fatalf("code %x, accepted %v, detail %q, %v", out.Code, out.Accepted, out.Detail, err)
				}
				if _, ok := ov.Get([]byte("after")); ok || calls(ov) != 1 {
					t.Fatalf("a write after accept is there %v, calls %d", ok, calls(ov))
				}
			}
		})
	}
}

// TestPhases checks that what an export may not call is a trap there.
func TestPhases(t *testing.T) {
	set := func(e *sdk.Env) { e.Set([]byte("k"), nil) }
	for name, c := range map[string]struct {
		do   func(*sdk.Env)
		call func(*native.Program, stf.Machine, *state.Overlay) stf.Outcome
		want string
	}{
		"set in admit": {set, func(_ *native.Program, m stf.Machine, ov *state.Overlay) stf.Outcome {
			out, _ := m.Admit(ov, ctx, &stf.Tx{})
			return out
		}, "kaizen_admit may not call state_set"},
		"set in query": {set, func(p *native.Program, _ stf.Machine, ov *state.Overlay) stf.Outcome {
			out, _ := p.Query(ov, ctx, nil)
			return out
		}, "kaizen_query may not call state_set"},
		"accept in a hook": {func(e *sdk.Env) { e.Accept(&[32]byte{}) }, func(_ *native.Program, m stf.Machine, ov *state.Overlay) stf.Outcome {
			out, _ := m.BeginBlock(ov, ctx, (&chain.OracleSnapshot{}).Append(nil))
			return out
		}, "kaizen_begin_block may not call accept"},
		"get in inspect": {func(e *sdk.Env) { e.Get([]byte("k")) }, func(p *native.Program, _ stf.Machine, _ *state.Overlay) stf.Outcome {
			i, _ := p.NewInspector()
			tx := &stf.Tx{}
			i.Inspect(tx)
			return stf.Outcome{Code: tx.Refusal.Code, Detail: tx.Refusal.Detail}
		}, "kaizen_inspect may not call state_get"},
	} {
		p, m, ov := load(t, c.do)
		if out := c.call(p, m, ov); out.Code != abi.CodeTrap || out.Detail != c.want {
			t.Errorf("%s: code %x, detail %q, want %q", name, out.Code, out.Detail, c.want)
		}
		if ov.Len() != 0 {
			t.Errorf("%s: %d keys were written", name, ov.Len())
		}
	}
}

// TestMemoryIsPutBack checks that nothing a module keeps survives a block, and
// that simulations and the door leave the block's module alone.
func TestMemoryIsPutBack(t *testing.T) {
	p, m, ov := load(t, func(*sdk.Env) {})
	begin := func() {
		if out, err := m.BeginBlock(ov, ctx, (&chain.OracleSnapshot{}).Append(nil)); err != nil || out.Code != 0 {
			t.Fatal(out, err)
		}
	}
	for range 2 {
		begin()
		for want := byte(1); want <= 3; want++ {
			if _, err := m.Execute(ov, ctx, &stf.Tx{}); err != nil || calls(ov) != want {
				t.Fatalf("%d calls, want %d, %v", calls(ov), want, err)
			}
			scratch := state.NewOverlay(ov)
			if _, err := p.Simulate(scratch, ctx, &stf.Tx{}); err != nil || calls(scratch) != 1 {
				t.Fatalf("a simulation sees %d calls, %v", calls(scratch), err)
			}
			m.Admit(ov, ctx, &stf.Tx{})
		}
	}
}

// TestHostFaultIsNotATrap lets a broken invariant of the host through.
func TestHostFaultIsNotATrap(t *testing.T) {
	_, m, ov := load(t, func(*sdk.Env) { invariant.Hold(false, "broken") })
	defer func() {
		if _, ok := recover().(invariant.Violation); !ok {
			t.Fatal("the violation was swallowed")
		}
	}()
	m.Execute(ov, ctx, &stf.Tx{})
}

// TestReservedCode checks that a module cannot return one of the host's codes.
func TestReservedCode(t *testing.T) {
	p, err := native.New(chain.Hash{}, func() sdk.Module { return reserved{} }, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := p.NewMachine()
	out, err := m.EndBlock(state.NewOverlay(nil), ctx)
	if err != nil || out.Code != abi.CodeTrap {
		t.Fatalf("code %x, %v", out.Code, err)
	}
}

type reserved struct{ counter.Module }

func (reserved) EndBlock(*sdk.Env, abi.Context) abi.Code { return abi.CodeBudget }

func TestBadSchema(t *testing.T) {
	for _, m := range []sdk.Module{noSchema{}, panicSchema{}} {
		if _, err := native.New(chain.Hash{}, func() sdk.Module { return m }, native.Options{}); err == nil {
			t.Errorf("%T was loaded", m)
		}
	}
}

type (
	noSchema    struct{ counter.Module }
	panicSchema struct{ counter.Module }
)

func (noSchema) Schema() []byte    { return []byte("{") }
func (panicSchema) Schema() []byte { panic("no schema") }
