package wasm

import (
	"bytes"
	"errors"
	"runtime"

	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// maxReaders bounds the copies that answer queries; a query waits for a free
// one.
const maxReaders = 16

// pool is the copies that queries and simulations run on. Each is put back to
// the first image before it is used.
type pool struct {
	slots chan *copyOf
}

func (q *pool) init(p *Program) {
	n := min(runtime.GOMAXPROCS(0), maxReaders)
	q.slots = make(chan *copyOf, n)
	for range n {
		q.slots <- &copyOf{p: p}
	}
}

// close waits for running queries and frees every copy.
func (q *pool) close() error {
	var errs []error
	for range cap(q.slots) {
		errs = append(errs, (<-q.slots).close())
	}
	close(q.slots)
	return errors.Join(errs...)
}

// run calls an export on a free copy. The outcome is the caller's own.
func (q *pool) run(c *call) (stf.Outcome, error) {
	slot, open := <-q.slots
	if !open {
		return stf.Outcome{}, ErrClosed
	}
	defer func() { q.slots <- slot }()
	if err := slot.restore(); err != nil {
		return stf.Outcome{}, err
	}
	out, err := slot.in.run(c)
	out.Output = bytes.Clone(out.Output)
	return out, err
}

// Query implements [stf.Program].
func (p *Program) Query(view stf.View, ctx abi.Context, query []byte) (stf.Outcome, error) {
	return p.pool.run(&call{export: callQuery, phase: abi.PhaseRead, budget: abi.TxBudget, view: view, ctx: &ctx, body: query})
}

// Simulate implements [stf.Program].
func (p *Program) Simulate(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	return p.pool.run(&call{export: callExecute, phase: abi.PhaseExecute, budget: abi.TxBudget, view: st, state: st, tx: tx, ctx: &ctx, body: tx.Raw})
}
