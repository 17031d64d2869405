package main

import (
	"context"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// seal is one change of block as the executor's machine saw it.
type seal struct {
	Height    uint64 `json:"height"`    // of the block that was closed
	Published int64  `json:"published"` // by a read node: verified; Unix ns; 0: not yet

	At    int64 `json:"at"`    // when the next block was open, Unix ns
	Pause int64 `json:"pause"` // from the call of end_block to the return of begin_block, ns
	Gap   int64 `json:"gap"`   // from the last execute before to the first admit after, ns; 0 if a block was empty
}

// sealWatch collects seals. The machine's goroutine writes, any other may take.
type sealWatch struct {
	mu    sync.Mutex
	seals []seal
}

// maxSeals bounds what is kept between two takes: five minutes of full blocks.
const maxSeals = 10_000

func (w *sealWatch) add(s seal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seals) < maxSeals {
		w.seals = append(w.seals, s)
	}
}

// waiter is a node whose blocks can be waited for.
type waiter interface {
	Head() chain.Header
	WaitFor(ctx context.Context, height uint64) error
}

// watch calls see with each block as soon as the node has it, until ctx ends.
func watch(ctx context.Context, n waiter, see func(height uint64, at time.Time)) {
	for height := n.Head().Height + 1; n.WaitFor(ctx, height) == nil; height++ {
		see(height, time.Now())
	}
}

// verified adds a block of a read node.
func (w *sealWatch) verified(height uint64, at time.Time) {
	w.add(seal{Height: height, Published: at.UnixNano()})
}

// published completes the seal of block height.
func (w *sealWatch) published(height uint64, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.seals {
		if w.seals[i].Height == height {
			w.seals[i].Published = at.UnixNano()
		}
	}
}

// gap completes the newest seal.
func (w *sealWatch) gap(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.seals); n > 0 {
		w.seals[n-1].Gap = int64(d)
	}
}

// take returns the seals since the last take.
func (w *sealWatch) take() []seal {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seals
	w.seals = nil
	return s
}

// watched is a program whose machines say when they change blocks. It costs one
// reading of the clock per transaction.
type watched struct {
	stf.Program
	seals *sealWatch
}

// NewMachine implements [stf.Program].
func (w watched) NewMachine() (stf.Machine, error) {
	m, err := w.Program.NewMachine()
	return &watchedMachine{Machine: m, seals: w.seals}, err
}

type watchedMachine struct {
	stf.Machine
	seals    *sealWatch
	executed time.Time // end of the last execute in the open block
	last     time.Time // the same of the block before, until the first admit
	ending   time.Time // call of end_block
}

func (m *watchedMachine) Execute(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	out, err := m.Machine.Execute(st, ctx, tx)
	m.executed = time.Now()
	return out, err
}

func (m *watchedMachine) EndBlock(st stf.State, ctx abi.Context) (stf.Outcome, error) {
	m.ending = time.Now()
	m.last, m.executed = m.executed, time.Time{}
	return m.Machine.EndBlock(st, ctx)
}

func (m *watchedMachine) BeginBlock(st stf.State, ctx abi.Context, oracle []byte) (stf.Outcome, error) {
	out, err := m.Machine.BeginBlock(st, ctx, oracle)
	if !m.ending.IsZero() {
		now := time.Now()
		m.seals.add(seal{Height: ctx.Height - 1, At: now.UnixNano(), Pause: int64(now.Sub(m.ending))})
	}
	return out, err
}

func (m *watchedMachine) Admit(view stf.View, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	if !m.last.IsZero() {
		m.seals.gap(time.Since(m.last))
		m.last = time.Time{}
	}
	return m.Machine.Admit(view, ctx, tx)
}
