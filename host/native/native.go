// Package native runs a module as plain Go: a [stf.Program] over an sdk.Module,
// without WebAssembly. Tests use it to step through a module with a debugger and
// to check that the compiled module does the same; the benchmark uses it as the
// figure that WebAssembly is measured against. A node never uses it.
//
// It imports host/stf and stf-modules/sdk, and no engine. What a host call may do
// is decided by stf.Session, as in host/wasm; a panic in the module is a trap.
// Native code has no budget: a module that loops for ever hangs its caller.
//
//	p, err := native.New(hash, rfq.New, native.Options{Crypto: secp.Crypto{}})
//	m, err := p.NewMachine()        a guest for the block, one for the door
//	m.BeginBlock(…); m.Execute(…)   stf.Session ─▶ sdk.Guest ─▶ module
//
// A Program may be shared between goroutines; a machine or inspector belongs to
// one.
package native

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// Options are what a program needs besides the module.
type Options struct {
	Crypto stf.Crypto        // required
	Log    func(line []byte) // where module log lines go; nil: nowhere
}

// Program implements [stf.Program].
type Program struct {
	hash   chain.Hash
	make   func() sdk.Module
	opts   Options
	schema *stf.Schema
}

// New makes a program of the module that make returns: a new one each time, in
// the state it has before its first call. hash is what the program says it is;
// to share a chain with the compiled module, give that module's hash.
func New(hash chain.Hash, make func() sdk.Module, opts Options) (*Program, error) {
	p := &Program{hash: hash, make: make, opts: opts}
	c := p.newCaller()
	out := c.call(abi.ExportSchema, abi.PhaseNone, nil, nil, nil, func(g *sdk.Guest) abi.Code { return g.Schema() })
	if out.Code != abi.CodeOK {
		return nil, fmt.Errorf("schema of native module %s: code %d", hash, out.Code)
	}
	var err error
	p.schema, err = stf.ParseSchema(out.Output)
	return p, err
}

// Hash implements [stf.Program].
func (p *Program) Hash() chain.Hash { return p.hash }

// Schema implements [stf.Program].
func (p *Program) Schema() *stf.Schema { return p.schema }

// Close implements [stf.Program].
func (p *Program) Close() error { return nil }

// NewMachine implements [stf.Program].
func (p *Program) NewMachine() (stf.Machine, error) {
	return &machine{block: p.newCaller(), door: p.newCaller()}, nil
}

// NewInspector implements [stf.Program].
func (p *Program) NewInspector() (stf.Inspector, error) {
	return &inspector{caller: p.newCaller(), schema: p.schema}, nil
}

// Query implements [stf.Program].
func (p *Program) Query(view stf.View, ctx abi.Context, query []byte) (stf.Outcome, error) {
	c := p.newCaller()
	return c.run(abi.ExportQuery, abi.PhaseRead, view, nil, nil, ctx, query, (*sdk.Guest).Query), nil
}

// Simulate implements [stf.Program].
func (p *Program) Simulate(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	return p.newCaller().execute(st, ctx, tx), nil
}

func (p *Program) newCaller() *caller {
	c := &caller{program: p, session: stf.Session{Crypto: p.opts.Crypto, Log: p.opts.Log}}
	c.guest = sdk.NewGuest(p.make(), host{&c.session})
	return c
}

// caller is one guest, the session it speaks to, and the input buffer.
type caller struct {
	program *Program
	session stf.Session
	guest   *sdk.Guest
	input   []byte
}

// reset puts the module back to how it was before its first call.
func (c *caller) reset() { c.guest.Replace(c.program.make()) }

// call is one export call.
func (c *caller) call(export string, phase abi.Phase, view stf.View, st stf.State, tx *stf.Tx, f func(*sdk.Guest) abi.Code) stf.Outcome {
	c.session.Start(export, phase, view, st, tx)
	code, reason := c.guarded(f)
	if code == abi.CodeTrap {
		c.reset()
	}
	return c.session.Finish(code, reason)
}

// run is an export call whose input is a context and a body.
func (c *caller) run(export string, phase abi.Phase, view stf.View, st stf.State, tx *stf.Tx, ctx abi.Context, body []byte, f func(*sdk.Guest, []byte) abi.Code) stf.Outcome {
	c.input = append(abi.AppendContext(c.input[:0], ctx), body...)
	return c.call(export, phase, view, st, tx, func(g *sdk.Guest) abi.Code { return f(g, c.input) })
}

func (c *caller) execute(st stf.State, ctx abi.Context, tx *stf.Tx) stf.Outcome {
	return c.run(abi.ExportExecute, abi.PhaseExecute, st, st, tx, ctx, tx.Raw, (*sdk.Guest).Execute)
}

// guarded turns a panic in the module into CodeTrap, with the reason if a host
// call raised it. A broken invariant of the host is not the module's failure and
// goes on up.
func (c *caller) guarded(f func(*sdk.Guest) abi.Code) (code abi.Code, reason string) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		code = abi.CodeTrap
		var violation invariant.Violation
		var trap *stf.Trap
		switch err, _ := v.(error); {
		case errors.As(err, &violation):
			panic(v)
		case errors.As(err, &trap):
			reason = trap.Reason
		}
	}()
	code = f(c.guest)
	if code >= abi.HostCodeMin {
		return abi.CodeTrap, ""
	}
	return code, ""
}

// machine implements [stf.Machine].
type machine struct{ block, door *caller }

func (m *machine) Genesis(st stf.State, document []byte) (stf.Outcome, error) {
	m.block.reset()
	return m.block.call(abi.ExportGenesis, abi.PhaseHook, st, st, nil, func(g *sdk.Guest) abi.Code { return g.Genesis(document) }), nil
}

func (m *machine) BeginBlock(st stf.State, ctx abi.Context, oracle []byte) (stf.Outcome, error) {
	m.block.reset()
	return m.block.run(abi.ExportBeginBlock, abi.PhaseHook, st, st, nil, ctx, oracle, (*sdk.Guest).BeginBlock), nil
}

func (m *machine) Admit(view stf.View, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	return m.door.run(abi.ExportAdmit, abi.PhaseRead, view, nil, tx, ctx, tx.Raw, (*sdk.Guest).Admit), nil
}

func (m *machine) Execute(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	return m.block.execute(st, ctx, tx), nil
}

func (m *machine) EndBlock(st stf.State, ctx abi.Context) (stf.Outcome, error) {
	return m.block.run(abi.ExportEndBlock, abi.PhaseHook, st, st, nil, ctx, nil, (*sdk.Guest).EndBlock), nil
}

// Refresh implements [stf.Machine]: there is nothing to put back.
func (m *machine) Refresh() error { return nil }

func (m *machine) Close() error { return nil }

// inspector implements [stf.Inspector].
type inspector struct {
	*caller
	schema   *stf.Schema
	recovery stf.Recovery
}

func (i *inspector) Inspect(txs ...*stf.Tx) error {
	for _, tx := range txs {
		out := i.call(abi.ExportInspect, abi.PhaseNone, nil, nil, tx, func(g *sdk.Guest) abi.Code { return g.Inspect(tx.Raw) })
		i.session.Inspected(tx, out, i.schema)
	}
	i.recovery.Run(i.session.Crypto, txs)
	return nil
}

func (i *inspector) Close() error { return nil }

// host implements [sdk.Host]: it passes calls to the session and panics with the
// trap of one that is not allowed.
type host struct{ s *stf.Session }

func must(t *stf.Trap) {
	if t != nil {
		panic(t)
	}
}

func (h host) StateGet(key []byte) ([]byte, bool) {
	v, ok, t := h.s.StateGet(key)
	must(t)
	return v, ok
}

func (h host) Recover(digest *[32]byte, sig *[65]byte) ([20]byte, bool) {
	a, ok, t := h.s.Recover(digest, sig)
	must(t)
	return a, ok
}

func (h host) Signer712(domain *[32]byte, words []byte, sig *[65]byte) ([32]byte, [20]byte, bool) {
	v, t := h.s.Signer712(domain, words, sig)
	must(t)
	return v.Digest, v.Signer, v.OK
}

func (h host) StateSet(key, value []byte)  { must(h.s.StateSet(key, value)) }
func (h host) StateDelete(key []byte)      { must(h.s.StateDelete(key)) }
func (h host) Keccak256(b []byte) [32]byte { return h.s.Keccak256(b) }
func (h host) SHA256(b []byte) [32]byte    { return h.s.SHA256(b) }
func (h host) Accept(id *[32]byte)         { must(h.s.Accept(id)) }
func (h host) Emit(event []byte)           { must(h.s.Emit(event)) }
func (h host) Output(b []byte)             { must(h.s.Output(b)) }
func (h host) Log(line []byte)             { must(h.s.LogLine(line)) }
