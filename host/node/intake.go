package node

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/sequencer"
)

// intake is where transactions arrive. It fixes their order: a chunk goes to the
// inspectors and to the executor under one lock, so the executor meets chunks in
// the order in which they came, whichever is inspected first (K-02).
type intake struct {
	mu      sync.Mutex
	stopped bool
	ordered chan *chunk // to the executor
	inspect *inspectors
	limit   int64
	waiting atomic.Int64 // transactions between arrival and answer
	dead    <-chan struct{}
}

// submission is what was enqueued together. results is filled by the goroutine that
// answers; whoever takes left to zero closes done.
type submission struct {
	results []rpc.Submitted
	left    atomic.Int64
	done    chan struct{}
	dead    <-chan struct{} // the intake's
}

// ticket names one transaction of a submission; it travels through the core.
type ticket struct {
	sub   *submission
	index int
	raw   []byte
}

// newIntake takes at most limit transactions at a time. dead is closed when
// nobody answers any more.
func newIntake(inspect *inspectors, limit int, dead <-chan struct{}) *intake {
	return &intake{ordered: make(chan *chunk, limit), inspect: inspect, limit: int64(limit), dead: dead}
}

// enqueue queues raws and says what they may be waited for with. Calls of one
// goroutine are executed in the order in which it makes them.
func (in *intake) enqueue(raws [][]byte) rpc.Pending {
	s := &submission{results: make([]rpc.Submitted, len(raws)), done: make(chan struct{}), dead: in.dead}
	s.left.Store(int64(len(raws)))
	if err := in.take(s, raws); err != nil {
		return rpc.Answered(failAll(len(raws), err))
	}
	return s
}

// Done implements rpc.Pending.
func (s *submission) Done() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Wait implements rpc.Pending. Transactions that have no answer when ctx is done may
// or may not be executed.
func (s *submission) Wait(ctx context.Context) []rpc.Submitted {
	select {
	case <-s.done:
		return s.results
	case <-ctx.Done():
		return failAll(len(s.results), ctx.Err())
	case <-s.dead:
		return failAll(len(s.results), rpc.ErrStopping)
	}
}

func failAll(n int, err error) []rpc.Submitted {
	results := make([]rpc.Submitted, n)
	for i := range results {
		results[i].Err = err
	}
	return results
}

func (in *intake) take(s *submission, raws [][]byte) error {
	n := int64(len(raws))
	if in.waiting.Add(n) > in.limit {
		in.waiting.Add(-n)
		return rpc.ErrBusy
	}
	chunks := newChunks(raws, func(from, to int) any {
		tickets := make([]ticket, to-from)
		for i := range tickets {
			tickets[i] = ticket{sub: s, index: from + i, raw: raws[from+i]}
		}
		return tickets
	})
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped {
		in.waiting.Add(-n)
		return rpc.ErrStopping
	}
	// Neither send can block for long: both channels hold as many chunks as there
	// can be transactions waiting.
	for _, c := range chunks {
		in.ordered <- c
		in.inspect.jobs <- c
	}
	return nil
}

// stop refuses what arrives from now on and ends the executor's queue.
func (in *intake) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.stopped {
		in.stopped = true
		close(in.ordered)
	}
}

// answer gives a submitter one result. It is called once for each ticket, by one
// goroutine at a time.
func (in *intake) answer(t *ticket, r rpc.Submitted) {
	s := t.sub
	s.results[t.index] = r
	in.waiting.Add(-1)
	if s.left.Add(-1) == 0 {
		close(s.done)
	}
}

// submitted renders an answer of the core.
func submitted(a *sequencer.Answer) rpc.Submitted {
	if a.Refusal != nil {
		return rpc.Submitted{Err: a.Refusal, Receipt: chain.Receipt{ID: a.ID}}
	}
	return rpc.Submitted{Receipt: *a.Receipt, Height: a.Height, Index: a.Index}
}
