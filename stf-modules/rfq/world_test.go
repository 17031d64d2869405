package rfq_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// mapState is the simplest [stf.State].
type mapState struct {
	m   map[string]string
	log []func()
}

func (s *mapState) Get(key []byte) ([]byte, bool) {
	v, ok := s.m[string(key)]
	return []byte(v), ok
}

func (s *mapState) Set(key, value []byte) {
	s.undo(string(key))
	s.m[string(key)] = string(value)
}

func (s *mapState) Delete(key []byte) {
	s.undo(string(key))
	delete(s.m, string(key))
}

func (s *mapState) undo(key string) {
	old, ok := s.m[key]
	s.log = append(s.log, func() {
		if delete(s.m, key); ok {
			s.m[key] = old
		}
	})
}

func (s *mapState) Mark() int { return len(s.log) }

func (s *mapState) Revert(mark int) {
	for _, f := range slices.Backward(s.log[mark:]) {
		f()
	}
	s.log = s.log[:mark]
}

// genesisTime is when every test's chain begins, ms.
const genesisTime = 1_700_000_000_000

// world is a chain that runs the module.
type world struct {
	testing.TB
	gen       *traffic.Generator
	program   stf.Program
	machine   stf.Machine
	inspector stf.Inspector
	state     *mapState
	ctx       abi.Context
	stamp     uint64 // last timestamp given to a transaction
}

// newWorld begins a chain that runs the module natively; change may alter what it
// begins with.
func newWorld(t testing.TB, gen *traffic.Generator, change func(*chain.Genesis, *params.Params)) *world {
	t.Helper()
	program, err := native.New(chain.Hash{1}, rfq.New, native.Options{Crypto: gen.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return worldOf(t, program, gen, change)
}

// wasmWorld begins a chain that runs the compiled module.
func wasmWorld(t testing.TB, gen *traffic.Generator, change func(*chain.Genesis, *params.Params)) *world {
	t.Helper()
	program, err := wasm.Load(context.Background(), rfq.Wasm, wasm.Options{Engine: wasm.Compiler, Crypto: gen.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return worldOf(t, program, gen, change)
}

func worldOf(t testing.TB, program stf.Program, gen *traffic.Generator, change func(*chain.Genesis, *params.Params)) *world {
	t.Helper()
	var err error
	w := &world{TB: t, gen: gen, program: program, state: &mapState{m: map[string]string{}}}
	if w.machine, err = program.NewMachine(); err != nil {
		t.Fatal(err)
	}
	if w.inspector, err = program.NewInspector(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.machine.Close()
		w.inspector.Close()
		program.Close()
	})
	if out := w.genesis(change); out.Code != 0 {
		t.Fatalf("genesis: %s %s", w.name(out.Code), out.Detail)
	}
	w.block(genesisTime+100, chain.OracleSnapshot{})
	return w
}

func (w *world) genesis(change func(*chain.Genesis, *params.Params)) stf.Outcome {
	w.Helper()
	p := w.gen.Params()
	g := chain.Genesis{ChainID: 1, Time: genesisTime, IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3000,
		SettlerEnabled: true, Settler: w.gen.Address(traffic.Settler)}
	if change != nil {
		change(&g, p)
	}
	if g.Params == nil {
		g.Params = p.Append(nil)
	}
	out, err := w.machine.Genesis(w.state, g.Append(nil))
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// block begins the next block, at time.
func (w *world) block(time uint64, oracle chain.OracleSnapshot) [][]byte {
	w.Helper()
	w.ctx = abi.Context{Height: w.ctx.Height + 1, Time: time}
	out, err := w.machine.BeginBlock(w.state, w.ctx, oracle.Append(nil))
	if err != nil || out.Code != 0 {
		w.Fatalf("begin block %d: %d %s %v", w.ctx.Height, out.Code, out.Detail, err)
	}
	return out.Events
}

func (w *world) name(code abi.Code) string {
	if code == 0 {
		return "ok"
	}
	return w.program.Schema().ErrorName(code)
}

// result is what came of a transaction.
type result struct {
	refused bool
	name    string
	detail  string
	events  []string
	id      chain.Hash
}

// raw inspects, admits and executes a transaction. Door and execution must agree
// on whether it may be in a block.
func (w *world) raw(b []byte) result {
	w.Helper()
	x := &stf.Tx{Raw: b}
	if err := w.inspector.Inspect(x); err != nil {
		w.Fatal(err)
	}
	admit, err := w.machine.Admit(w.state, w.ctx, x)
	if err != nil {
		w.Fatal(err)
	}
	out, err := w.machine.Execute(w.state, w.ctx, x)
	if err != nil {
		w.Fatal(err)
	}
	if out.Accepted != (admit.Code == 0) {
		w.Fatalf("admit says %s, execute %s, accepted %v", w.name(admit.Code), w.name(out.Code), out.Accepted)
	}
	if !out.Accepted && (admit.Code != out.Code || admit.Detail != out.Detail) {
		w.Fatalf("admit refuses with %s %q, execute with %s %q", w.name(admit.Code), admit.Detail, w.name(out.Code), out.Detail)
	}
	if out.Code >= abi.HostCodeMin {
		w.Fatalf("a trap: %s", out.Detail)
	}
	if x.Refusal != nil && (out.Accepted || x.Refusal.Code != out.Code) {
		w.Fatalf("inspect refuses with %s, execute came to %s", x.Refusal.Name, w.name(out.Code))
	}
	if out.Accepted && out.ID != x.ID {
		w.Fatalf("accepted as %s, inspected as %s", out.ID, x.ID)
	}
	r := result{refused: !out.Accepted, name: w.name(out.Code), detail: out.Detail, id: out.ID}
	for _, e := range out.Events {
		typ, fields := w.program.Schema().Event(e)
		for _, f := range fields {
			typ += " " + f.Name + "=" + text(f.Value)
		}
		r.events = append(r.events, typ)
	}
	return r
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// send signs t with a key, stamps it if it has no timestamp, and executes it.
func (w *world) send(signer int, t tx.Transaction) result {
	w.Helper()
	if t.Timestamp == 0 {
		w.stamp = max(w.stamp+1, w.ctx.Time)
		t.Timestamp = w.stamp
	}
	if t.From == (tx.Address{}) {
		t.From = w.gen.Address(signer)
	}
	return w.raw(w.gen.Sign(signer, &t))
}

// must sends a transaction that has to come to the named outcome.
func (w *world) must(want string, signer int, t tx.Transaction) result {
	w.Helper()
	r := w.send(signer, t)
	if r.name != want {
		w.Fatalf("came to %s (%s), want %s", r.name, r.detail, want)
	}
	return r
}

// query asks and decodes the answer.
func (w *world) query(q []byte) map[string]any {
	w.Helper()
	out, err := w.program.Query(w.state, w.ctx, q)
	if err != nil || out.Code != 0 {
		w.Fatalf("query %x: %s %s %v", q, w.name(out.Code), out.Detail, err)
	}
	var v map[string]any
	if err := json.Unmarshal(out.Output, &v); err != nil {
		w.Fatalf("query %x: %v in %s", q, err, out.Output)
	}
	return v
}
