package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/procs"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
)

// MaxVerifyJobs bounds how many parts of a chain are verified at once; each holds a
// state in memory.
const MaxVerifyJobs = 256

// VerifyOptions say which blocks to verify; To 0 means the newest stored one.
type VerifyOptions struct {
	From, To uint64
	Jobs     int // parts executed at once, each with a state in memory; 0: one per core
	// Needed leaves alone the stored bytes that executing the blocks does not read:
	// other blocks, indexes, other snapshots.
	Needed bool
	// Last keeps no verdict but that of the last block, or of the one that fails.
	Last     bool
	Progress Progress
	// What is read beforehand, unless Needed; both may be nil.
	ReadBlocks    func(done, total uint64) // blocks of the log
	ReadSnapshots func(done, total uint64) // keys of one snapshot after the other
	// Searched is told of the blocks that are executed to explain a block that failed,
	// of those that it takes at most; it may be nil.
	Searched func(done, total uint64)
}

func (o *VerifyOptions) jobs() int {
	if o.Jobs <= 0 {
		return procs.Cores()
	}
	return min(o.Jobs, MaxVerifyJobs)
}

// checking is how the store tells of its progress.
func (o *VerifyOptions) checking() func(store.CheckProgress) {
	if o.ReadBlocks == nil {
		return nil
	}
	return func(p store.CheckProgress) { o.ReadBlocks(p.Height, p.Head) }
}

// BlockVerdict is the result of executing one block again.
type BlockVerdict struct {
	Height     uint64
	Hash       chain.Hash
	ParentRoot chain.Hash
	HeaderRoot chain.Hash
	Recomputed chain.Hash // zero if it did not come that far
	Txs        int
	Elapsed    time.Duration
	OK         bool
	Error      string
	Why        *Explanation // of a block that is not OK, as far as it can be said
}

// VerifyReport is what a verification came to.
type VerifyReport struct {
	From, To uint64 // the blocks executed, those included that lead to the first asked for
	Parts    int    // that were executed beside each other
	Jobs     int
	Blocks   uint64 // executed
	Txs      uint64
	Elapsed  time.Duration
	Verdicts []BlockVerdict // in ascending order
}

// VerifyRange executes stored blocks again, from the nearest state before opts.From,
// and reports on those from opts.From on. It splits the blocks at snapshots and
// executes the parts beside each other: a part ends at the root that the next one
// begins with, both checked against the header there. Unless told otherwise it checks
// every stored byte and every snapshot as well.
//
// The error wraps ErrVerification if anything differs; if that is a block, the first
// that does has the last verdict. It needs no network, changes nothing, and may run
// beside the node.
func VerifyRange(ctx context.Context, dir string, deps Deps, opts VerifyOptions) (*VerifyReport, error) {
	o, err := openOffline(dir, deps)
	if err != nil {
		return nil, err
	}
	defer o.close()
	v := &verification{offline: o, deps: deps, opts: opts, log: deps.Log}
	if v.to, err = o.upTo(opts.To); err != nil {
		return nil, err
	}
	if opts.From > v.to {
		return nil, fmt.Errorf("block %d is stored, %d is not: the newest is %d", v.to, opts.From, o.store.Height())
	}
	if first, base := max(opts.From, 1), o.store.Base(); first < base && !opts.Last {
		return nil, fmt.Errorf("block %d is not stored: the oldest is %d", first, base)
	}
	return v.run(ctx)
}

// verification is one VerifyRange.
type verification struct {
	*offline
	deps Deps
	opts VerifyOptions
	log  *slog.Logger
	to   uint64

	lanes int // how many execute beside each other

	mu    sync.Mutex // of what parts report
	done  uint64
	txs   uint64
	total uint64
}

func (v *verification) run(ctx context.Context) (*VerifyReport, error) {
	start := time.Now()
	var damage error
	if !v.opts.Needed {
		if err := v.store.Check(v.opts.checking()); err != nil {
			return nil, damaged(err)
		}
		damage = v.checkSnapshots(v.opts.ReadSnapshots)
	}
	parts, err := v.parts()
	if err != nil {
		return nil, err
	}
	r := &VerifyReport{From: parts[0].after + 1, To: v.to, Parts: len(parts), Jobs: min(v.opts.jobs(), len(parts))}
	v.total, v.lanes = v.to-parts[0].after, r.Jobs
	err = v.all(ctx, parts, r.Jobs)
	v.explainFirst(ctx, parts)
	r.Blocks, r.Txs, r.Elapsed = v.done, v.txs, time.Since(start)
	if v.opts.From == 0 && !v.opts.Last {
		g := &v.genesisHeader
		r.Verdicts = append(r.Verdicts, BlockVerdict{Height: 0, Hash: g.Hash(), ParentRoot: g.StateRoot, HeaderRoot: g.StateRoot, Recomputed: g.StateRoot, OK: true})
	}
	for _, p := range parts {
		r.Verdicts = append(r.Verdicts, p.verdicts...)
		if p.err != nil {
			break
		}
	}
	if n := len(r.Verdicts); v.opts.Last && n > 1 {
		r.Verdicts = r.Verdicts[n-1:]
	}
	return r, errors.Join(err, damage)
}

// part is a run of blocks that one goroutine executes: those above after, up to to.
type part struct {
	after, to uint64
	verdicts  []BlockVerdict
	err       error
	failed    *failedBlock // of the last verdict
}

// failedBlock is a block that does not come out, and the state before it.
type failedBlock struct {
	before *offline
	block  *chain.Block
}

// partsPerJob is into how many parts the blocks of one job are split, if there are
// snapshots enough: a part that is slow then does not keep the others waiting.
const partsPerJob = 4

// parts splits the blocks at snapshots.
func (v *verification) parts() ([]*part, error) {
	starts, err := v.starts()
	if err != nil {
		return nil, err
	}
	parts := []*part{{after: starts[0], to: v.to}}
	if v.opts.jobs() == 1 {
		return parts, nil
	}
	least := max(1, (v.to-starts[0])/uint64(partsPerJob*v.opts.jobs()))
	for _, h := range starts[1:] {
		last := parts[len(parts)-1]
		if h-last.after >= least && v.to-h >= least {
			last.to = h
			parts = append(parts, &part{after: h, to: v.to})
		}
	}
	return parts, nil
}

// starts are the heights at which execution can begin: the nearest before the first
// block that is asked for, and all above it.
func (v *verification) starts() ([]uint64, error) {
	list, err := SnapshotDir(v.store.Dir()).List()
	if err != nil {
		return nil, err
	}
	before := v.store.Before().Number
	first := max(v.opts.From, before+1) - 1
	var heights []uint64
	if before == 0 {
		heights = append(heights, 0)
	}
	for _, i := range slices.Backward(list) {
		if i.Err == nil && i.Height >= before && i.Height < v.to {
			heights = append(heights, i.Height)
		}
	}
	heights = slices.Compact(heights)
	for len(heights) > 1 && heights[1] <= first {
		heights = heights[1:]
	}
	if len(heights) == 0 {
		return nil, fmt.Errorf("%w: blocks are stored from %d on, and there is no snapshot to begin with", ErrSnapshot, before+1)
	}
	return heights, nil
}

// all executes the parts, the lowest first, some at once. Where one fails, those
// above it are given up: what they begin with is in doubt.
func (v *verification) all(ctx context.Context, parts []*part, jobs int) error {
	next := make(chan int, len(parts))
	stops := make([]context.CancelFunc, len(parts))
	contexts := make([]context.Context, len(parts))
	for i := range parts {
		contexts[i], stops[i] = context.WithCancel(ctx)
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range jobs {
		wg.Go(func() {
			for i := range next {
				parts[i].err = v.part(contexts[i], parts[i])
				if parts[i].err != nil {
					for _, stop := range stops[i+1:] {
						stop()
					}
				}
			}
		})
	}
	wg.Wait()
	for _, stop := range stops {
		stop()
	}
	for _, p := range parts {
		if p.err != nil {
			return p.err
		}
	}
	return ctx.Err()
}

// part executes one of them.
func (v *verification) part(ctx context.Context, p *part) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := v.lane(p.after)
	if err != nil {
		return err
	}
	defer func() {
		if p.failed == nil {
			l.exec.Machine.Close()
		}
	}()
	parentRoot := l.head.StateRoot
	err = l.replayTo(ctx, l.exec, l.inspect, p.to, func(_, _, _ uint64) {}, func(b *chain.Block, elapsed time.Duration) {
		if b.Header.Height > p.after { // not on the way from an older state
			v.count(b)
			p.keep(&v.opts, verdictOn(b, parentRoot, elapsed))
		}
		parentRoot = b.Header.StateRoot
	})
	if err == nil || !errors.Is(err, ErrVerification) {
		return err
	}
	b, readErr := v.store.Block(l.head.Height + 1)
	if readErr != nil {
		return err
	}
	verdict := verdictOn(b, parentRoot, 0)
	verdict.OK, verdict.Error, verdict.Recomputed = false, err.Error(), recomputed(err)
	p.verdicts, p.failed = append(p.verdicts, verdict), &failedBlock{l, b}
	return err
}

// explainFirst says of the first block that failed where it goes wrong, when nothing
// else is executed any more.
func (v *verification) explainFirst(ctx context.Context, parts []*part) {
	reported := false
	for _, p := range parts {
		if f := p.failed; f != nil {
			if !reported {
				p.verdicts[len(p.verdicts)-1].Why = v.explain(ctx, f.before, f.block, p.err)
			}
			f.before.exec.Machine.Close()
		}
		reported = reported || p.err != nil
	}
}

// lane is what one goroutine executes with: the state after a height, or an older
// one if the snapshot there cannot be used.
func (v *verification) lane(after uint64) (l *offline, err error) {
	exec, err := stf.NewExecutor(v.deps.Program)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			exec.Machine.Close()
		}
	}()
	l = &offline{exec: exec, inspect: v.inspect}
	// Genesis may be large: it runs again only for what begins there.
	l.ledger = &ledger{store: v.store, meters: v.meters, genesis: v.genesis, genesisHeader: v.genesisHeader, genesisResults: v.genesisResults,
		history: 1, run: v.runner(), moved: make(chan struct{})}
	if err := l.restore(SnapshotDir(v.store.Dir()), after, v.log); err != nil {
		return nil, err
	}
	if l.versions == nil {
		if l.ledger, err = newLedger(v.store, exec, 1); err != nil {
			return nil, damaged(err)
		}
		l.run = v.runner()
	}
	if before := v.store.Before().Number; l.head.Height < before {
		return nil, fmt.Errorf("%w: the log begins after block %d, and no snapshot of it can be used", ErrSnapshot, before)
	}
	return l, nil
}

// runner is how a lane hashes: where others are beside it, the cores have enough to
// do.
func (v *verification) runner() state.Runner {
	if v.lanes > 1 {
		return nil
	}
	return onAllCores
}

// count adds one block to what is done.
func (v *verification) count(b *chain.Block) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done++
	v.txs += uint64(len(b.Txs))
	if v.opts.Progress != nil {
		v.opts.Progress(v.done, v.total, v.txs)
	}
}

func (p *part) keep(o *VerifyOptions, d BlockVerdict) {
	if o.Last {
		p.verdicts = p.verdicts[:0]
	}
	if o.Last || d.Height >= o.From {
		p.verdicts = append(p.verdicts, d)
	}
}

func verdictOn(b *chain.Block, parentRoot chain.Hash, elapsed time.Duration) BlockVerdict {
	h := &b.Header
	return BlockVerdict{Height: h.Height, Hash: h.Hash(), ParentRoot: parentRoot, HeaderRoot: h.StateRoot, Recomputed: h.StateRoot, Txs: len(b.Txs), Elapsed: elapsed, OK: true}
}

// recomputed is the state root that a failed comparison came to, if it came that
// far.
func recomputed(err error) chain.Hash {
	var m *stf.Mismatch
	if errors.As(err, &m) && m.Field == "state_root" {
		return m.Got
	}
	return chain.Hash{}
}
