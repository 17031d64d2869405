package node

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/metrics"
	"github.com/kaizenchain/kaizen/host/sequencer"
	"github.com/kaizenchain/kaizen/host/stf"
)

// maxReady is how many sets of decisions may wait for the journal. The executor
// stops there: memory is bounded when the disk falls behind.
const maxReady = 256

// decided is what travels from the executor to the journal: decisions of the
// core, or a read of the open block.
type decided struct {
	sequencer.Ready
	read *read
	at   time.Time // when
}

// read looks at the open block between two transactions. It is answered once
// everything it can have seen is durable: what was told must survive a crash
// (invariant 2).
type read struct {
	run  func(*stf.Open) error
	err  error
	ran  chan struct{} // closed when run has returned
	done chan struct{} // closed when err and what run found may be used
}

// executor is the goroutine that owns the sequencer's core. Everything that
// touches the open block runs here, one thing at a time.
type executor struct {
	core   *sequencer.Core
	clock  func() uint64                     // ms
	oracle func(uint64) chain.OracleSnapshot // the snapshot in force for a block that opens at a time

	ordered   <-chan *chunk
	ready     chan<- decided // to the journal
	committed <-chan uint64  // from the sealer
	jobs      <-chan *read   // reads of the open block

	held     *chunk // inspected, partly executed, waiting for room
	next     int    // in held
	interval time.Duration
	ticks    chan<- time.Time // when the next tick is due, to whoever prepares for it
	missed   *atomic.Uint64   // ticks that came late by an interval or more
	took     *metrics.Histogram
}

// run executes until ordered is closed and drained, then seals the open block,
// so that a clean stop leaves nothing in the journal. When ctx ends, the journal or
// the sealer has failed and takes nothing any more: then nobody is waited for.
func (e *executor) run(ctx context.Context) error {
	// A block that was open when the process ended is sealed as it was: its time
	// and its prices are old, and what arrives now must not run under them.
	if err := e.tick(ctx); err != nil {
		return err
	}
	tick := time.NewTimer(e.interval)
	defer tick.Stop()
	due := time.Now().Add(e.interval)
	e.announce(due)
	for {
		input := e.ordered
		if e.held != nil {
			input = nil
		}
		select {
		case c, open := <-input:
			if !open {
				return e.finish(ctx)
			}
			if err := e.take(ctx, c); err != nil {
				return err
			}
		case h := <-e.committed:
			e.core.Committed(h)
			if err := e.resume(ctx); err != nil {
				return err
			}
		case r := <-e.jobs:
			r.err = r.run(e.core.Open())
			close(r.ran)
			e.hand(ctx, decided{read: r})
			if err := e.resume(ctx); err != nil { // handing over may have made room
				return err
			}
		case <-tick.C:
			if err := e.tick(ctx); err != nil {
				return err
			}
			due = due.Add(e.interval)
			if late := time.Since(due); late > 0 {
				e.missed.Add(uint64(late/e.interval) + 1)
				due = time.Now().Add(e.interval)
			}
			tick.Reset(time.Until(due))
			e.announce(due)
		case <-ctx.Done():
			return nil
		}
	}
}

// announce says when the next tick is due; nobody is waited for.
func (e *executor) announce(due time.Time) {
	select {
	case e.ticks <- due:
	default:
	}
}

// tick seals and opens. Core.Tick postpones the seal itself when too many blocks
// wait for their root.
func (e *executor) tick(ctx context.Context) error {
	now := e.clock()
	if _, err := e.core.Tick(now, e.oracle(now)); err != nil {
		return err
	}
	e.deliver(ctx)
	return e.resume(ctx)
}

// take executes a chunk as soon as it has been inspected. The inspectors take
// chunks in the same order, so the wait is for work that is already under way.
func (e *executor) take(ctx context.Context, c *chunk) error {
	if err := <-c.done; err != nil {
		return fmt.Errorf("inspect transactions: %w", err)
	}
	e.held, e.next = c, 0
	return e.resume(ctx)
}

// resume seals a block that waited full for commits, and executes what is held as
// far as the core accepts it. Delivering may make room, so it goes on until nothing
// moves.
func (e *executor) resume(ctx context.Context) error {
	for {
		moved, err := e.core.SealFull(e.clock())
		if err != nil {
			return err
		}
		if e.held != nil {
			from, start := e.next, time.Now()
			if err := e.submitHeld(); err != nil {
				return err
			}
			if e.next > from {
				moved = true
				e.took.Since(start)
			}
		}
		e.deliver(ctx)
		if e.held != nil && e.next == len(e.held.txs) {
			e.held = nil
		}
		if !moved {
			return nil
		}
	}
}

func (e *executor) submitHeld() error {
	txs, tickets := e.held.txs, e.held.tag.([]ticket)
	now := e.clock()
	e.core.Expect(len(txs) - e.next)
	for ; e.next < len(txs) && e.core.Accepts(len(txs[e.next].Raw)); e.next++ {
		if err := e.core.Submit(now, &txs[e.next], &tickets[e.next]); err != nil {
			return err
		}
	}
	return nil
}

// deliver hands what the core decided to the journal.
func (e *executor) deliver(ctx context.Context) {
	rd := e.core.Ready()
	e.core.Advance()
	if !rd.Empty() {
		e.hand(ctx, decided{Ready: rd, at: time.Now()})
	}
}

// hand passes something to the journal. While the journal is behind it takes
// commits, which the journal may be waiting for. What a journal that has failed does
// not take is lost, as if the process had ended: nobody was told of it.
func (e *executor) hand(ctx context.Context, d decided) {
	for {
		select {
		case e.ready <- d:
			return
		case h := <-e.committed:
			e.core.Committed(h)
		case <-ctx.Done():
			return
		}
	}
}

// finish seals the open block if it has transactions, and waits until every
// sealed block is committed.
func (e *executor) finish(ctx context.Context) error {
	if open := e.core.Open(); open != nil && open.Txs() > 0 {
		for {
			now := e.clock()
			sealed, err := e.core.Tick(now, e.oracle(now))
			if err != nil {
				return err
			}
			if sealed {
				break
			}
			if !e.awaitCommit(ctx) {
				return nil
			}
		}
	}
	e.deliver(ctx)
	close(e.ready)
	for e.core.Uncommitted() > 0 && e.awaitCommit(ctx) {
	}
	return nil
}

// awaitCommit takes one commit; false if there will be none.
func (e *executor) awaitCommit(ctx context.Context) bool {
	select {
	case h := <-e.committed:
		e.core.Committed(h)
		return true
	case <-ctx.Done():
		return false
	}
}
