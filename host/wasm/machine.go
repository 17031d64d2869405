package wasm

import (
	"errors"
	"sync/atomic"

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

// pair is the copies that a block is executed on, one of them for admit alone.
type pair struct{ block, door copyOf }

func (p *Program) newPair() *pair {
	return &pair{block: copyOf{p: p, tracer: p.opts.Tracer}, door: copyOf{p: p}}
}

func (c *pair) restore() error {
	if err := c.block.restore(); err != nil {
		return err
	}
	return c.door.restore()
}

func (c *pair) close() error { return errors.Join(c.block.close(), c.door.close()) }

// machine executes blocks. It implements [stf.Machine]. Once it is refreshed it has a
// second pair, and a block begins on the one that is ready; putting the image back takes
// longer than all else between two blocks.
//
//	BeginBlock: spare ─▶ pair ─▶ used      Refresh: used ─▶ restore ─▶ spare
type machine struct {
	p *Program
	*pair
	spare  atomic.Pointer[pair] // its images are back; nil: there is none
	used   atomic.Pointer[pair] // to be refreshed; nil: there is none
	double bool                 // there is a second pair; Refresh's own
	closed bool
	call   call // reused, so that a call allocates nothing
	ctx    abi.Context
}

// NewMachine makes a machine. It must be closed.
func (p *Program) NewMachine() (stf.Machine, error) {
	if err := p.use(); err != nil {
		return nil, err
	}
	m := &machine{p: p, pair: p.newPair()}
	if err := m.restore(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
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
	if ready := m.spare.Swap(nil); ready != nil {
		m.used.Store(m.pair)
		m.pair = ready
	} else if err := m.restore(); err != nil {
		return stf.Outcome{}, err
	}
	return m.hook(callBeginBlock, st, ctx, oracle)
}

// Refresh implements [stf.Machine].
func (m *machine) Refresh() error {
	c := m.used.Swap(nil)
	if c == nil && !m.double {
		c, m.double = m.p.newPair(), true
	}
	if c == nil {
		return nil
	}
	if err := c.restore(); err != nil {
		m.double = false
		return errors.Join(err, c.close())
	}
	m.spare.Store(c)
	return nil
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
	err := m.pair.close()
	for _, c := range []*pair{m.spare.Load(), m.used.Load()} {
		if c != nil {
			err = errors.Join(err, c.close())
		}
	}
	return errors.Join(err, m.p.release())
}
