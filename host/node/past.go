package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
)

const (
	// pastBlocks is how many blocks back an old state can be read once it is there:
	// who asks for one height often asks for its neighbours.
	pastBlocks = 256
	// maxPastJobs bounds the old states that are waited for, maxPastWaiting the
	// queries that wait; both are far below what the RPC port executes at once, so
	// that questions about the past never keep others out.
	maxPastJobs, maxPastWaiting = 8, 32
	// maxProofChanges bounds the changes that a proof of an old block is worked out
	// over, some milliseconds. Beyond that the state is brought back to the block.
	maxProofChanges = 4096
	// pastTries bounds how often a query begins again because its block left the
	// memory, or was replaced, while it was read.
	pastTries = 4
)

// past is the states after old blocks: what the sealed chain has in memory goes
// back some minutes, and from there on a state is made again, by executing the
// stored blocks after the nearest one there is (a state made before, a snapshot,
// genesis).
//
//	query ─▶ at ─▶ in memory: read it there
//	             └▶ job, one for each block asked for ─▶ one builder ─▶ states (the least used goes)
//
// There is one builder. It works on one core at most half of the time, and holds
// no lock of the sealed chain for longer than one read, so that queries do not
// delay blocks. A job goes on when those who wait for it have left, so that asking
// again finds it further on.
type past struct {
	sealed  *ledger
	program stf.Program
	cfg     HistoryConfig
	log     *slog.Logger

	ctx     context.Context // ends with the node
	stop    context.CancelFunc
	running sync.WaitGroup
	turn    chan struct{} // capacity 1: held by the builder

	mu      sync.Mutex
	closed  bool
	states  []*ledger // used last first, at most cfg.States
	jobs    map[pastKey]*pastJob
	waiting int // queries
}

// pastKey is what a job makes: the state after a block, brought back to it if it
// is to be proved from.
type pastKey struct {
	hash  chain.Hash
	exact bool
}

type pastJob struct {
	done  chan struct{} // closed when state or err is set
	state *ledger
	err   error
}

func newPast(l *ledger, program stf.Program, cfg HistoryConfig, log *slog.Logger) *past {
	p := &past{sealed: l, program: program, cfg: cfg, log: log, turn: make(chan struct{}, 1), jobs: map[pastKey]*pastJob{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// spread says which of the old snapshots, asked for from the newest to the oldest,
// a node keeps that answers for every block: so many that from any block it is no
// more than half of what may be executed back to one of them, and some blocks
// between two of the newest.
func (c *Config) spread() func(height uint64) bool {
	apart := max(1, c.History.MaxReplayBlocks/2)
	if c.Prune.Mode != PruneArchive || c.History.States == 0 {
		return func(uint64) bool { return false }
	}
	last := uint64(math.MaxUint64)
	return func(height uint64) bool {
		before := last
		last = height / apart
		return last != before
	}
}

// close ends what is being built. Nobody asks any more.
func (p *past) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.running.Wait()
}

// has reports whether l can read the state after a block, and if exact also prove
// from it at little cost.
func (l *ledger) has(h *chain.Header, exact bool) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	root, ok := l.versions.RootAt(h.Height)
	if !ok || root != h.StateRoot {
		return false
	}
	n, err := l.versions.ChangedSince(h.Height)
	return err == nil && (!exact || n <= maxProofChanges)
}

// at returns a ledger that has the state after a stored block. It may take until
// ctx is done.
func (p *past) at(ctx context.Context, h *chain.Header, exact bool) (*ledger, error) {
	if p.sealed.has(h, exact) {
		return p.sealed, nil
	}
	job, err := p.join(h, exact)
	if err != nil {
		return nil, err
	}
	defer p.leave()
	select {
	case <-job.done:
		return job.state, job.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the state after block %d is being made again, ask for it later: %w", h.Height, ctx.Err())
	}
}

// join finds or begins the job that makes a state. Who joins leaves.
func (p *past) join(h *chain.Header, exact bool) (*pastJob, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, rpc.ErrStopping
	}
	if p.waiting == maxPastWaiting {
		return nil, fmt.Errorf("%w: %d queries wait for old states", rpc.ErrOverloaded, p.waiting)
	}
	key := pastKey{h.Hash(), exact}
	job := p.jobs[key]
	if job == nil {
		job = &pastJob{done: make(chan struct{})}
		if job.state = p.find(h, exact); job.state != nil {
			close(job.done)
		} else if err := p.begin(key, job, *h); err != nil {
			return nil, err
		}
	}
	p.waiting++
	return job, nil
}

func (p *past) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
}

// find looks for a state that is there, and notes that it was used. The caller
// holds mu.
func (p *past) find(h *chain.Header, exact bool) *ledger {
	for i, s := range p.states {
		if s.has(h, exact) {
			p.states = slices.Insert(slices.Delete(p.states, i, i+1), 0, s)
			return s
		}
	}
	return nil
}

// begin starts a job. The caller holds mu.
func (p *past) begin(key pastKey, job *pastJob, h chain.Header) error {
	if p.cfg.States == 0 {
		return fmt.Errorf("%w: block %d: history.states is 0, so only states in memory are served", rpc.ErrStateUnavailable, h.Height)
	}
	if len(p.jobs) == maxPastJobs {
		return fmt.Errorf("%w: %d old states are waited for", rpc.ErrOverloaded, len(p.jobs))
	}
	p.jobs[key] = job
	p.running.Go(func() {
		job.state, job.err = p.build(&h, key.exact)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.jobs, key)
		close(job.done)
	})
	return nil
}

// build makes a state when its turn has come.
func (p *past) build(h *chain.Header, exact bool) (*ledger, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-p.ctx.Done():
		return nil, rpc.ErrStopping
	}
	p.mu.Lock()
	found := p.find(h, exact)
	near := p.nearest(h)
	p.mu.Unlock()
	if found != nil {
		return found, nil
	}
	start := time.Now()
	s, from, err := p.reach(h, near)
	if err != nil {
		if p.ctx.Err() != nil {
			err = rpc.ErrStopping
		}
		p.forget(near)
		p.log.Info("old state was not made again", "height", h.Height, "took", time.Since(start).Round(time.Millisecond).String(), "error", err)
		return nil, err
	}
	p.log.Info("old state", "height", h.Height, "from", from, "took", time.Since(start).Round(time.Millisecond).String())
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.states, s) {
		p.states = slices.Insert(p.states, 0, s)
	}
	return s, nil
}

// nearest is the highest of the states made before from which a block can be
// reached: forward by executing, or back within what it remembers. The caller
// holds mu.
func (p *past) nearest(h *chain.Header) (best *ledger) {
	for _, s := range p.states {
		at := s.Head()
		reaches := at.Height < h.Height && p.stores(&at) || at.Height >= h.Height && s.has(h, false)
		if reaches && (best == nil || at.Height > best.Head().Height) {
			best = s
		}
	}
	return best
}

// stores reports whether a block is still part of the stored chain.
func (p *past) stores(h *chain.Header) bool {
	now, err := p.sealed.header(h.Height)
	return err == nil && now.Hash() == h.Hash()
}

// reach makes the state after a block in the cheapest way there is, and says from
// which block it came there.
func (p *past) reach(h *chain.Header, near *ledger) (s *ledger, from uint64, err error) {
	if near != nil && near.Head().Height >= h.Height {
		return near, near.Head().Height, near.rewind(h)
	}
	if p.sealed.has(h, false) {
		p.makeRoom()
		s, err = p.copyOf(h)
		return s, h.Height, err
	}
	stored, err := p.snapshotBefore(h)
	if err != nil {
		return nil, 0, err
	}
	if near != nil && near.Head().Height >= stored {
		s = near
	} else {
		p.makeRoom()
		if s, err = p.load(h); err != nil {
			return nil, 0, err
		}
	}
	from = s.Head().Height
	return s, from, p.advance(s, h)
}

// makeRoom forgets the states used least, so that with one more there are no more
// than allowed.
func (p *past) makeRoom() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.states[min(len(p.states), p.cfg.States-1):])
	p.states = p.states[:min(len(p.states), p.cfg.States-1)]
}

// snapshotBefore is the highest block up to h that a snapshot is of; 0 is genesis.
func (p *past) snapshotBefore(h *chain.Header) (uint64, error) {
	list, err := SnapshotDir(p.sealed.store.Dir()).List()
	if err != nil {
		return 0, err
	}
	for _, i := range list {
		if i.Err == nil && i.Height <= h.Height {
			return i.Height, nil
		}
	}
	return 0, nil
}

// load starts from the newest snapshot up to a block, or genesis.
func (p *past) load(h *chain.Header) (*ledger, error) {
	exec, err := stf.NewExecutor(p.program)
	if err != nil {
		return nil, err
	}
	defer exec.Machine.Close()
	s, err := newLedger(p.sealed.store, exec, pastBlocks)
	if err != nil {
		return nil, err
	}
	s.run, s.rest, s.trust = oneByOne, newRests(p.ctx).take, p.sealed.trust
	return s, s.restore(SnapshotDir(p.sealed.store.Dir()), h.Height, p.log)
}

// advance executes the stored blocks up to h.
func (p *past) advance(s *ledger, h *chain.Header) error {
	head := s.Head()
	distance := h.Height - head.Height
	switch err := s.checkState(); {
	case distance == 0:
		return nil
	case err != nil:
		return fmt.Errorf("%w: block %d: %w", rpc.ErrStateUnavailable, h.Height, err)
	case distance > p.cfg.MaxReplayBlocks:
		return fmt.Errorf("%w: the nearest state before block %d is that after block %d, %d blocks to execute, limit %d (history.max_replay_blocks)", rpc.ErrStateUnavailable, h.Height, head.Height, distance, p.cfg.MaxReplayBlocks)
	}
	exec, err := stf.NewExecutor(p.program)
	if err != nil {
		return err
	}
	defer exec.Machine.Close()
	inspect, err := newInspectors(p.program, 1, aheadBlocks)
	if err != nil {
		return err
	}
	defer inspect.close()
	rest := newRests(p.ctx)
	return p.explain(h, s.replayTo(p.ctx, exec, inspect, h.Height, func(uint64, uint64, uint64) { rest.take() }, nil))
}

// explain tells blocks that went away while they were executed from damage.
func (p *past) explain(h *chain.Header, err error) error {
	if err == nil {
		return nil
	}
	if !p.stores(h) {
		return fmt.Errorf("%w: block %d was removed or taken back meanwhile", rpc.ErrStateUnavailable, h.Height)
	}
	return err
}

// copyOf copies the state after a block out of the memory of the sealed chain,
// slice by slice, between which blocks go on.
func (p *past) copyOf(h *chain.Header) (*ledger, error) {
	var failed error
	rest := newRests(p.ctx)
	tree, err := state.Build(func(yield func(k, v []byte) bool) {
		var at state.Position
		var keys arena
		for !at.End() && p.ctx.Err() == nil {
			keys.reset()
			if at, failed = p.sealed.slice(h, at, keys.add); failed != nil {
				return
			}
			more := true
			_ = keys.each(func(_ *chain.Hash, k, v []byte) error { // its only errors are the function's
				more = more && yield(k, v)
				return nil
			})
			if !more {
				return
			}
			rest.take()
		}
	})
	if err := errors.Join(failed, err, p.ctx.Err()); err != nil {
		return nil, fmt.Errorf("%w: block %d: %w", rpc.ErrStateUnavailable, h.Height, err)
	}
	if root := tree.Root(); root != h.StateRoot {
		return nil, fmt.Errorf("copy of the state after block %d has root %s, header says %s", h.Height, root, h.StateRoot)
	}
	s := &ledger{store: p.sealed.store, meters: newMeters(), genesis: p.sealed.genesis, genesisHeader: p.sealed.genesisHeader, history: pastBlocks, run: oneByOne, trust: p.sealed.trust,
		versions: state.RestoreVersions(tree, h.Height, pastBlocks), moved: make(chan struct{})}
	s.setHead(*h)
	return s, nil
}

// rewind makes an old state that of an earlier block which it remembers.
func (l *ledger) rewind(h *chain.Header) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.versions.Rollback(h.Height, l.run); err != nil {
		return err
	}
	l.setHead(*h)
	return nil
}

// forget drops a state that something was wrong with.
func (p *past) forget(s *ledger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states = slices.DeleteFunc(p.states, func(other *ledger) bool { return other == s })
}

// forgetAbove drops what was made of blocks that were taken back. One that is
// being made ends with an error or, if it came out before, is found to be of
// another block by who reads it.
func (p *past) forgetAbove(height uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states = slices.DeleteFunc(p.states, func(s *ledger) bool { return s.Head().Height > height })
}

// oneByOne is the state.Runner of work that has time.
func oneByOne(jobs []func()) {
	for _, job := range jobs {
		job()
	}
}

// rests makes work in the background take as long a rest as it worked.
type rests struct {
	ctx   context.Context
	since time.Time
}

// restAfter is the least work between two rests.
const restAfter = 500 * time.Microsecond

func newRests(ctx context.Context) *rests { return &rests{ctx, time.Now()} }

func (r *rests) take() {
	if worked := time.Since(r.since); worked >= restAfter {
		pause(r.ctx, worked)
		r.since = time.Now()
	}
}
