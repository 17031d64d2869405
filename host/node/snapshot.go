package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/procs"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/snapshot"
)

// SnapshotDir is the directory of a data directory's snapshots.
func SnapshotDir(dataDir string) *snapshot.Dir {
	return &snapshot.Dir{Path: filepath.Join(dataDir, "snapshots")}
}

// sliceLimit bounds how much of the state is copied at a time while a snapshot is
// taken: some 0.2 ms under the ledger's lock with a million keys.
var sliceLimit = state.Limit{Keys: 512, Bytes: 128 << 10}

const (
	// shutdownBlocks is after how many blocks without a snapshot a node that stops
	// takes one, so that it need not execute them again.
	shutdownBlocks = 1_000
	// snapshotTries bounds the attempts that end because the block left the history
	// in memory while it was copied.
	snapshotTries = 3
)

// slice copies out, through yield, the next keys of the state after a block. It
// is an error that wraps [state.ErrNotRetained] if that block is not in the
// history any more, or another has taken its place.
func (l *ledger) slice(h *chain.Header, at state.Position, yield func(path *chain.Hash, key, value []byte)) (state.Position, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if root, ok := l.versions.RootAt(h.Height); ok && root != h.StateRoot {
		return at, fmt.Errorf("%w: block %d was taken back", state.ErrNotRetained, h.Height)
	}
	return l.versions.AscendAt(h.Height, at, sliceLimit, yield)
}

// hold keeps the state after a block in the history until release is called.
func (l *ledger) hold(height uint64) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.versions.Hold(height); err != nil {
		return nil, err
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.versions.Release()
	}, nil
}

// restore starts from the newest snapshot of a block up to a height that is
// stored; the state after genesis stays where there is none. One that cannot be
// used is named in the log, and the next older one is tried.
func (l *ledger) restore(dir *snapshot.Dir, to uint64, log *slog.Logger) error {
	unusable := func(path string, err error) {
		log.Warn("snapshot cannot be used, going on with an older state", "snapshot", path, "error", err)
	}
	return dir.Newest(min(to, l.store.Height()), func(s *snapshot.Snapshot) bool {
		err := l.load(s)
		if err != nil {
			unusable(s.Path, err)
		}
		return err == nil
	}, func(i snapshot.Info) { unusable(i.Path, i.Err) })
}

// load replaces the state by that of a snapshot of a stored block.
func (l *ledger) load(s *snapshot.Snapshot) error {
	if err := s.CheckChain(l.genesis); err != nil {
		return err
	}
	height := s.Manifest.Header.Height
	id, err := l.storedID(height)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", s.Path, err)
	}
	if err := s.CheckBlock(id); err != nil {
		return err
	}
	links, err := s.Chain()
	if err != nil {
		return err
	}
	tree, _, err := snapshot.Restore(links, snapshot.Options{Run: l.run, Progress: l.resting()})
	if err != nil {
		return err
	}
	l.begin(tree, s.Manifest)
	return nil
}

// begin makes a restored state the present one.
func (l *ledger) begin(tree *state.Tree, m *snapshot.Manifest) {
	l.versions, l.from = state.RestoreVersions(tree, m.Header.Height, l.history), m
	l.setHead(m.Header)
}

// resting is the progress of work during which this ledger rests.
func (l *ledger) resting() func(done, total uint64) {
	if l.rest == nil {
		return nil
	}
	return func(uint64, uint64) { l.rest() }
}

// storedID is the block of a height that the directory vouches for: one that is
// stored, or the one that the log begins after.
func (l *ledger) storedID(height uint64) (chain.BlockID, error) {
	before := l.store.Before()
	switch {
	case height == 0:
		return l.genesisHeader.ID(), nil
	case height == before.Number:
		return before, nil
	}
	h, err := l.store.Header(height)
	return h.ID(), err
}

// snapshots takes them while the node runs.
type snapshots struct {
	cfg    SnapshotConfig
	views  *views
	dir    *snapshot.Dir
	key    ed25519.PrivateKey // nil on a read node
	log    *slog.Logger
	due    chan struct{} // there may be something to do; capacity 1
	last   atomic.Uint64 // height of the newest
	taking chan struct{} // held by whoever takes one or looks at changes; capacity 1

	copied, toCopy atomic.Uint64 // keys of the one that is being taken
	stopped        bool          // nothing else runs any more

	changes   changes
	forgotten atomic.Uint64 // the highest block that was not taken back since the last look

	atStop uint64                          // shutdownBlocks
	offers *offers                         // to others
	needed func() (int, error)             // how many have to stay for the sake of pruning
	spread func() func(height uint64) bool // which older ones have to, for the sake of queries
	done   func(*snapshot.Snapshot, error) // told of every attempt that was due
}

func newSnapshots(cfg *Config, v *views, key ed25519.PrivateKey, log *slog.Logger) *snapshots {
	s := &snapshots{cfg: cfg.Snapshot, views: v, dir: SnapshotDir(cfg.DataDir), key: key, log: logs.For(log, "snapshot"), due: make(chan struct{}, 1),
		taking: make(chan struct{}, 1), atStop: shutdownBlocks, needed: func() (int, error) { return 0, nil }, spread: cfg.spread, done: func(*snapshot.Snapshot, error) {}}
	s.offers = newOffers(v, s.log)
	s.last.Store(v.Head().Height)
	s.forgotten.Store(noneForgotten)
	if v.from != nil && s.cfg.IntervalBlocks > 0 && s.cfg.FullEvery > 1 {
		s.changes.since(v.from.AsBase())
	}
	return s
}

// ready says how long it took from the start of the process's node to where it
// serves, and what of.
func (s *snapshots) ready(since time.Time) {
	head, from := s.views.Head().Height, s.last.Load()
	s.log.Info("ready", "height", head, "from_snapshot", from, "blocks_executed", head-from, "took", time.Since(since).Round(time.Millisecond).String())
}

// sealed is told of every block when it is durable. It never waits: while one
// snapshot is being taken, those that become due are one.
func (s *snapshots) sealed(height uint64) {
	every := s.cfg.IntervalBlocks
	if every == 0 || height%every != 0 && height%s.step() != 0 {
		return
	}
	select {
	case s.due <- struct{}{}:
	default:
	}
}

// run takes those that are due until ctx ends.
func (s *snapshots) run(ctx context.Context) {
	for {
		select {
		case <-s.due:
			s.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// look takes the snapshot that is due, if one is, and sees what changed otherwise.
func (s *snapshots) look(ctx context.Context) {
	head := s.views.Head().Height
	if due := head - head%s.cfg.IntervalBlocks; due > s.last.Load() {
		s.attempt(ctx, due)
		return
	}
	if s.begin(ctx) == nil {
		s.collect(head)
		s.end()
	}
}

// finish takes one of the last block, if the one before is long ago. Nothing else
// runs any more.
func (s *snapshots) finish() {
	s.stopped = true
	if head := s.views.Head().Height; s.cfg.IntervalBlocks > 0 && head >= s.last.Load()+s.atStop {
		s.attempt(context.Background(), head)
	}
}

// attempt takes one and removes old ones. A failure is logged: the node can do
// without.
func (s *snapshots) attempt(ctx context.Context, height uint64) {
	taken, err := s.takeNear(ctx, height, false)
	switch {
	case err == nil:
		s.prune()
	case ctx.Err() == nil:
		s.views.meters.notTaken.Add(1)
		s.log.Error("snapshot was not taken", "height", height, "error", err)
	}
	s.done(taken, err)
}

// takeNear takes a snapshot of a block, or of a newer one if that leaves the
// history before it is copied, as may happen to a node that catches up. full says
// that it must not need another.
func (s *snapshots) takeNear(ctx context.Context, height uint64, full bool) (taken *snapshot.Snapshot, err error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	for range snapshotTries {
		if taken, err = s.take(ctx, height, full); !errors.Is(err, state.ErrNotRetained) {
			return taken, err
		}
		height = s.views.Head().Height
	}
	return nil, fmt.Errorf("blocks come faster than the state can be copied, and %d MiB of history are not enough: %w", state.MaxHeldBytes>>20, err)
}

// take writes the snapshot of one block.
func (s *snapshots) take(ctx context.Context, height uint64, full bool) (*snapshot.Snapshot, error) {
	start := time.Now()
	header, err := s.views.Header(height)
	if err != nil {
		return nil, err
	}
	p := &pace{ctx: ctx, done: s.stopped}
	meta := snapshot.Meta{GenesisHash: s.views.store.GenesisHash(), Header: header, Key: s.key, Rest: p.rest}
	if !full {
		meta.Base = s.continues(height)
	}
	w, err := s.dir.Create(meta)
	if err != nil {
		return nil, err
	}
	if err := s.copy(ctx, &meta, p, w); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	taken, err := w.Commit()
	if err != nil {
		return nil, err
	}
	s.took(taken, time.Since(start))
	return taken, nil
}

// took is the end of taking one: the next one may continue it.
func (s *snapshots) took(taken *snapshot.Snapshot, took time.Duration) {
	m := taken.Manifest
	s.last.Store(m.Header.Height)
	if s.cfg.IntervalBlocks > 0 && s.cfg.FullEvery > 1 {
		s.changes.since(m.AsBase())
	}
	s.views.meters.taken.Add(1)
	s.views.meters.snapshot.Observe(took.Seconds())
	s.views.meters.snapshotAt.Store(m.Header.Height)
	s.log.Info("snapshot", "height", m.Header.Height, "kind", m.Kind.String(), "name", m.Name(), "keys", m.Entries, "bytes", m.CompressedBytes(), "took", took.Round(time.Millisecond).String())
}

// copy gives a snapshot what it holds, while its block stays in the history.
func (s *snapshots) copy(ctx context.Context, meta *snapshot.Meta, p *pace, w *snapshot.Writer) error {
	release, err := s.views.hold(meta.Header.Height)
	if err != nil {
		return err
	}
	defer release()
	defer s.toCopy.Store(0)
	if meta.Base == (snapshot.Base{}) {
		return s.copyState(ctx, &meta.Header, p, w)
	}
	return s.copyChanges(ctx, &meta.Header, p, w)
}

// copyState writes the state after a block slice by slice, between which blocks
// go on.
func (s *snapshots) copyState(ctx context.Context, h *chain.Header, p *pace, w *snapshot.Writer) (err error) {
	var at state.Position
	var keys arena
	s.copied.Store(0)
	s.toCopy.Store(uint64(s.views.keys()))
	for !at.End() {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		keys.reset()
		if at, err = s.views.slice(h, at, keys.add); err != nil {
			return err
		}
		worked := time.Since(start)
		if err := keys.each(w.Add); err != nil {
			return err
		}
		history, blocks := s.views.since(h.Height)
		p.look(history, blocks, s.copied.Add(uint64(len(keys.paths))), s.toCopy.Load())
		p.rest(worked)
	}
	return nil
}

// since is the memory that the state keeps for going back, bytes, and how many blocks
// came after one.
func (l *ledger) since(height uint64) (history int, blocks uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.versions.HistoryBytes(), l.head.Height - min(height, l.head.Height)
}

// pace is how fast a snapshot is written beside transactions: at full speed copying,
// compressing and hashing take a core or more for a second for every million keys, and
// answers wait for it. A snapshot has time as long as there is room for the history that
// its block is held in.
type pace struct {
	ctx   context.Context
	done  bool        // nobody waits for a core any more
	hurry atomic.Bool // there is not much room
}

// restShare is how long a snapshot rests after a piece of work, in times the piece:
// copying, compressing and hashing are beside each other, and each takes a quarter of a core.
const restShare = 3

// rest is called by each of the goroutines that write a snapshot.
func (p *pace) rest(worked time.Duration) {
	if p.done || p.hurry.Load() {
		runtime.Gosched()
		return
	}
	pause(p.ctx, restShare*worked)
}

// paceBlocks is how many blocks may come while a snapshot is copied without haste: each
// makes every slice take longer.
const paceBlocks = 512

// look says how much history there is, bytes, how many blocks came since the snapshot's, and
// how much of it is copied. It hurries as soon as half of the room that the held block has beyond the
// history that is always kept would not be enough for all at this pace, or paceBlocks would
// not; a part of either is free at the start.
func (p *pace) look(history int, blocks, copied, all uint64) {
	const room = state.MaxHeldBytes - state.MaxHistoryBytes
	part := float64(copied) / float64(max(1, all))
	p.hurry.Store(float64(history-state.MaxHistoryBytes) > room*(1./8+part/2) || float64(blocks) > paceBlocks*(1./4+part))
}

// arena keeps copies of keys and values, and their paths.
type arena struct {
	data  []byte
	ends  []int // of each key and value
	paths []chain.Hash
}

func (a *arena) reset() { a.data, a.ends, a.paths = a.data[:0], a.ends[:0], a.paths[:0] }

func (a *arena) add(path *chain.Hash, key, value []byte) {
	a.paths = append(a.paths, *path)
	a.data = append(a.data, key...)
	a.ends = append(a.ends, len(a.data))
	a.data = append(a.data, value...)
	a.ends = append(a.ends, len(a.data))
}

func (a *arena) each(do func(path *chain.Hash, key, value []byte) error) error {
	from := 0
	for i := range a.paths {
		middle, end := a.ends[2*i], a.ends[2*i+1]
		if err := do(&a.paths[i], a.data[from:middle], a.data[middle:end]); err != nil {
			return err
		}
		from = end
	}
	return nil
}

func (s *snapshots) prune() {
	needed, err := s.needed()
	fetched, failed := s.offers.fetched()
	var removed []string
	if err = errors.Join(err, failed); err == nil {
		removed, err = s.dir.PruneExcept(max(1, s.cfg.Keep, needed, fetched), s.spread())
	}
	if err != nil {
		s.log.Warn("old snapshots were not removed", "error", err)
	}
	if len(removed) > 0 {
		s.log.Info("removed old snapshots", "names", removed)
	}
}

// forgetAbove removes the snapshots of blocks that were taken back. One that is
// left behind does no harm: its block is not the stored one.
func (s *snapshots) forgetAbove(height uint64) {
	if height < s.forgotten.Load() { // nobody else lowers it
		s.forgotten.Store(height)
	}
	removed, err := s.dir.RemoveAbove(height)
	if err != nil {
		s.log.Warn("snapshots of blocks that were taken back were not removed", "error", err)
	}
	if len(removed) > 0 {
		s.log.Info("removed snapshots of blocks that were taken back", "names", removed)
	}
	s.last.Store(min(s.last.Load(), height))
}

// TakeSnapshot writes a full snapshot of the newest block while the node runs,
// after one that is being taken already.
func (w *Writer) TakeSnapshot(ctx context.Context) (*snapshot.Snapshot, error) {
	return w.snaps.takeNear(ctx, w.Head().Height, true)
}

// TakeSnapshot writes a full snapshot of the newest verified block while the node
// runs, after one that is being taken already.
func (r *Reader) TakeSnapshot(ctx context.Context) (*snapshot.Snapshot, error) {
	return r.snaps.takeNear(ctx, r.Verified(), true)
}

// ErrSnapshot is wrapped when the snapshot to start from is not there or does not
// fit.
var ErrSnapshot = errors.New("cannot start from this snapshot")

// startFrom makes an offline ledger begin at a snapshot of a block up to a height:
// "latest", a height, or a path; "" is genesis.
func (o *offline) startFrom(from string, to uint64, log *slog.Logger) error {
	if from == "" {
		return nil
	}
	dir := SnapshotDir(o.store.Dir())
	if from == "latest" {
		if err := o.restore(dir, to, log); err != nil {
			return err
		}
		if o.head.Height == 0 {
			return fmt.Errorf("%w: %s has none of a block up to %d that can be used", ErrSnapshot, dir.Path, to)
		}
		return nil
	}
	s, err := FindSnapshot(o.store.Dir(), from)
	if err != nil {
		return err
	}
	if height := s.Manifest.Header.Height; height > to {
		return fmt.Errorf("%w: %s is of block %d, later than %d", ErrSnapshot, s.Path, height, to)
	}
	return damaged(o.load(s))
}

// checkSnapshots verifies every snapshot of the directory and returns the damage,
// joined.
func (o *offline) checkSnapshots(progress func(done, total uint64)) error {
	var found []error
	err := SnapshotDir(o.store.Dir()).VerifyAll(snapshot.Options{Run: onAllCores, Progress: progress}, func(i snapshot.Info, err error) {
		if err == nil {
			err = i.Snapshot.CheckChain(o.genesis)
		}
		if err != nil {
			found = append(found, damaged(err))
		}
	})
	return errors.Join(append(found, err)...)
}

// CreateOptions say which snapshot CreateSnapshot writes.
type CreateOptions struct {
	Height   uint64 // 0: of the newest stored block
	Unsigned bool   // even if the sequencer's key is there
	Replayed Progress
	Written  func(done, total uint64) // keys; may be nil
}

// CreateSnapshot executes the stored blocks of a data directory up to a height, from
// the nearest snapshot before it, and writes the full snapshot of that block
// beside the others. It needs no network, and may run beside the node.
func CreateSnapshot(ctx context.Context, dir string, deps Deps, opts CreateOptions) (*snapshot.Snapshot, error) {
	o, err := openOffline(dir, deps)
	if err != nil {
		return nil, err
	}
	defer o.close()
	height, err := o.upTo(opts.Height)
	if err != nil {
		return nil, err
	}
	if err := o.restore(SnapshotDir(dir), height, deps.Log); err != nil {
		return nil, err
	}
	replay := ReplayOptions{Progress: opts.Replayed}
	if err := o.replayTo(ctx, o.exec, o.inspect, height, replay.progress(), nil); err != nil {
		return nil, err
	}
	meta := snapshot.Meta{GenesisHash: o.store.GenesisHash(), Header: o.head, Jobs: procs.Cores()}
	if key, err := LoadSequencerKey(dir); err == nil && !opts.Unsigned {
		meta.Key = key // a read node has none, and its snapshots are not signed
	}
	return o.write(ctx, meta, opts.Written)
}

// write writes the snapshot of the head.
func (o *offline) write(ctx context.Context, meta snapshot.Meta, written func(done, total uint64)) (*snapshot.Snapshot, error) {
	w, err := SnapshotDir(o.store.Dir()).Create(meta)
	if err != nil {
		return nil, err
	}
	tree, done := o.versions.Tree(), uint64(0)
	tree.AscendPaths(chain.Hash{}, func(path *chain.Hash, k, v []byte) bool {
		if err = w.Add(path, k, v); err == nil && done%snapshotLook == 0 {
			err = ctx.Err()
			if written != nil {
				written(done, uint64(tree.Len()))
			}
		}
		done++
		return err == nil
	})
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w.Commit()
}

// snapshotLook is how many keys go by between two looks at the clock and at ctx.
const snapshotLook = 1 << 14
