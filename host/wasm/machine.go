package wasm

import (
	"errors"

	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// copyOf is a copy of the module that is put back to its first image, or
// replaced when it cannot be.
type copyOf struct {
	p      *Program
	in     *instance
	tracer Tracer // of the copy; nil: none
}

// restore puts the first image back (invariant 8).
func (c *copyOf) restore() error {
	if c.in != nil && !c.in.dirty {
		return nil
	}
	if c.in != nil && !c.in.grown() {
		return c.in.reset()
	}
	if err := c.close(); err != nil {
		return err
	}
	in, err := c.p.instantiate(c.p.image)
	if err == nil {
		c.in, in.tracer = in, c.tracer
	}
	return err
}

// run calls an export, and puts the image back if that trapped.
func (c *copyOf) run(call *call) (stf.Outcome, error) {
	if c.in == nil {
		return stf.Outcome{}, ErrClosed // an earlier restore failed
	}
	out, err := c.in.run(call)
	if err == nil && out.Code >= abi.HostCodeMin {
		err = c.restore()
	}
	return out, err
}

func (c *copyOf) close() error {
	if c.in == nil {
		return nil
	}
	in := c.in
	c.in = nil
	return in.close()
}

// machine executes blocks on two copies of the module, one of them for admit
// alone. It implements [stf.Machine].
type machine struct {
	p      *Program
	block  copyOf
	door   copyOf
	closed bool
	call   call // reused, so that a call allocates nothing
	ctx    abi.Context
}

// NewMachine makes a machine. It must be closed.
func (p *Program) NewMachine() (stf.Machine, error) {
	if err := p.use(); err != nil {
		return nil, err
	}
	m := &machine{p: p, block: copyOf{p: p, tracer: p.opts.Tracer}, door: copyOf{p: p}}
	if err := m.restore(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *machine) restore() error {
	if err := m.block.restore(); err != nil {
		return err
	}
	return m.door.restore()
}

// Genesis implements [stf.Machine].
func (m *machine) Genesis(st stf.State, document []byte) (stf.Outcome, error) {
	if m.closed {
		return stf.Outcome{}, ErrClosed
	}
	if err := m.restore(); err != nil {
		return stf.Outcome{}, err
	}
	m.call = call{export: callGenesis, phase: abi.PhaseHook, budget: abi.HookBudget, view: st, state: st, body: document}
	return m.block.run(&m.call)
}

// BeginBlock implements [stf.Machine].
func (m *machine) BeginBlock(st stf.State, ctx abi.Context, oracle []byte) (stf.Outcome, error) {
	if m.closed {
		return stf.Outcome{}, ErrClosed
	}
	if err := m.restore(); err != nil {
		return stf.Outcome{}, err
	}
	return m.hook(callBeginBlock, st, ctx, oracle)
}

// EndBlock implements [stf.Machine].
func (m *machine) EndBlock(st stf.State, ctx abi.Context) (stf.Outcome, error) {
	if m.closed {
		return stf.Outcome{}, ErrClosed
	}
	return m.hook(callEndBlock, st, ctx, nil)
}

func (m *machine) hook(export exportID, st stf.State, ctx abi.Context, body []byte) (stf.Outcome, error) {
	m.ctx = ctx
	m.call = call{export: export, phase: abi.PhaseHook, budget: abi.HookBudget, view: st, state: st, ctx: &m.ctx, body: body}
	return m.block.run(&m.call)
}

// Admit implements [stf.Machine].
func (m *machine) Admit(view stf.View, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	if m.closed {
		return stf.Outcome{}, ErrClosed
	}
	m.ctx = ctx
	m.call = call{export: callAdmit, phase: abi.PhaseRead, budget: abi.TxBudget, view: view, tx: tx, ctx: &m.ctx, body: tx.Raw}
	return m.door.run(&m.call)
}

// Execute implements [stf.Machine].
func (m *machine) Execute(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	if m.closed {
		return stf.Outcome{}, ErrClosed
	}
	m.ctx = ctx
	m.call = call{export: callExecute, phase: abi.PhaseExecute, budget: abi.TxBudget, view: st, state: st, tx: tx, ctx: &m.ctx, body: tx.Raw}
	return m.block.run(&m.call)
}

// Close frees the machine's memory. Calling it again does nothing.
func (m *machine) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	return errors.Join(m.block.close(), m.door.close(), m.p.release())
}
