package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wire"
)

// Reader is the read node: it re-executes every block of the node it follows and
// serves what came out as the header says (invariant 12).
type Reader struct {
	cfg     Config
	log     *slog.Logger
	views   *views
	exec    *stf.Executor
	inspect *inspectors
	cursors follow.TipsStore
	serve   *services
	snaps   *snapshots
	runs    *runs
	pruner  *pruner
	upkeep  *maintainer

	mu        sync.Mutex
	tips      chain.Tips
	source    chain.BlockID // the proposed tip that the source named last
	connected bool
	alarm     string
	changed   chan struct{} // closed and replaced whenever something above changes

	oracle  atomic.Pointer[chain.OracleSnapshot] // of the newest block
	dialing func(context.Context) (*wire.Client, error)
	refused map[chain.Hash]error // blocks that did not verify, and why
	missing int                  // passes in a row that ended because the source lacked a block
	behind  catchUp
	open    *openCopy
}

// maxRefused bounds the blocks remembered as refused.
const maxRefused = 64

// NewReader opens the data directory, executes the stored blocks again and is
// then where it was. A directory without a chain gets the one of the write node,
// if that is the one cfg.Sync.Genesis names.
func NewReader(ctx context.Context, cfg Config, deps Deps) (r *Reader, err error) {
	r = &Reader{cfg: cfg, log: deps.Log, changed: make(chan struct{}), refused: map[chain.Hash]error{}, behind: catchUp{begin: deps.progress}}
	begin := time.Now()
	opened := r // a return with an error sets r to nil
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.close())
		}
	}()
	st, from, err := openOrFetch(ctx, &cfg, deps)
	if err != nil {
		return nil, damaged(err)
	}
	r.views = &views{ledger: &ledger{store: st}, program: deps.Program, role: api.RoleRead, started: time.Now(), tips: r.Tips}
	if err := r.check(st.Genesis(), deps.Program); err != nil {
		return nil, err
	}
	r.runs = openRuns(cfg.DataDir, deps.Log)
	if err := r.recover(ctx, from); err != nil {
		return nil, err
	}
	r.dialing = r.dial
	if r.serve, err = listen(&cfg, deps.Log, r.runs); err != nil {
		return nil, err
	}
	r.serve.snaps = r.snaps
	r.runs.begin(api.RoleRead, addrOf(r.serve.rpcPort))
	r.snaps.ready(begin)
	return r, nil
}

func (r *Reader) check(g *chain.Genesis, program stf.Program) error {
	if err := checkModule(program, g); err != nil {
		return err
	}
	return errors.Join(CheckPinned(&r.cfg, g), checkTogether(&r.cfg))
}

// CheckPinned compares a genesis document with the hash that the operator expects,
// if sync.genesis_hash is set.
func CheckPinned(cfg *Config, g *chain.Genesis) error {
	if cfg.Sync.Genesis == "" {
		return nil
	}
	want, err := chain.ParseHash(cfg.Sync.Genesis)
	if err != nil {
		return fmt.Errorf("%w: sync.genesis_hash: %w", ErrConfig, err)
	}
	if got := g.Hash(); got != want {
		return fmt.Errorf("%w: genesis document is %s, sync.genesis_hash is %s: this is another chain", ErrVerification, got, want)
	}
	return nil
}

// recover executes what is stored, from the newest snapshot or the state that a
// bootstrap has just restored.
func (r *Reader) recover(ctx context.Context, from *restored) (err error) {
	st, program := r.views.store, r.views.program
	if r.exec, err = stf.NewExecutor(program); err != nil {
		return err
	}
	if r.inspect, err = newInspectors(program, r.cfg.Intake.Workers, 1024); err != nil {
		return err
	}
	if r.views.ledger, err = newLedger(st, r.exec, r.cfg.History.Blocks); err != nil {
		return err
	}
	r.views.trust = trustSigners(r.log)
	if from != nil {
		r.views.begin(from.tree, from.manifest)
	} else if err := r.views.restore(SnapshotDir(r.cfg.DataDir), st.Height(), r.log); err != nil {
		return err
	}
	r.views.past = newPast(r.views.ledger, program, r.cfg.History, r.log)
	r.pruner = newPruner(&r.cfg, r.views, r.log)
	r.upkeep = newMaintainer(st, r.log)
	r.snaps = newSnapshots(&r.cfg, r.views, nil, r.log)
	r.snaps.needed = r.pruner.snapshotsNeeded
	r.open = &openCopy{ledger: r.views.ledger, exec: r.exec, inspect: r.inspect}
	if err := r.views.replay(ctx, r.exec, r.inspect, r.snaps.during(logProgress(r.log, "replay", "blocks"))); err != nil {
		return err
	}
	r.oracle.Store(&chain.OracleSnapshot{})
	if b, _, err := r.views.Block(r.views.Head().Height); err == nil {
		r.oracle.Store(&b.Oracle)
	}
	if r.cursors, err = st.Meta().Tips(r.views.genesisHeader.Hash()); err != nil {
		return err
	}
	if r.tips, err = r.cursors.Tips(); err != nil {
		return err
	}
	return r.seed()
}

// seed makes the cursors of a directory that was made from a snapshot begin at its
// block: what came before is not there to be asked for.
func (r *Reader) seed() (err error) {
	before := r.views.store.Before()
	if r.tips.Proposed.Number >= before.Number {
		return nil
	}
	if err := r.cursors.Seed(before); err != nil {
		return fmt.Errorf("start the sync cursors at block %d: %w", before.Number, err)
	}
	r.tips, err = r.cursors.Tips()
	return err
}

// Tips are the four cursors.
func (r *Reader) Tips() chain.Tips {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tips
}

// Addrs are the bound addresses of the RPC and the sync port.
func (r *Reader) Addrs() (rpc, sync string) { return r.serve.addrs() }

// Head is the newest verified block.
func (r *Reader) Head() chain.Header { return r.views.Head() }

// Verified is the height of the newest block whose root was matched.
func (r *Reader) Verified() uint64 { return r.Head().Height }

// WaitFor blocks until block height is verified, the node holds because of an
// alarm, or ctx is done.
func (r *Reader) WaitFor(ctx context.Context, height uint64) error {
	for {
		r.mu.Lock()
		changed, alarm := r.changed, r.alarm
		r.mu.Unlock()
		head, moved := r.views.next()
		if head.Height >= height {
			return nil
		}
		if alarm != "" {
			return fmt.Errorf("%w: read node holds at block %d: %s", ErrVerification, head.Height, alarm)
		}
		select {
		case <-moved:
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("read node is at block %d of %d: %w", head.Height, height, ctx.Err())
		}
	}
}

func (r *Reader) isConnected() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connected
}

// note changes what Status and WaitFor see.
func (r *Reader) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// Run follows and serves until ctx ends; nil means that all went well. It is
// called once.
func (r *Reader) Run(ctx context.Context) error {
	g := newGroup()
	following, stop := context.WithCancel(g.ctx)
	r.serve.start(g, r, r.views, r.metrics())
	g.loop("follow", func(context.Context) error { return r.follow(following) })
	g.background(r.snaps.run)
	g.background(r.pruner.run)
	g.background(r.upkeep.run)
	select {
	case <-ctx.Done():
		r.log.Info("stopping")
		r.serve.drain(stopTimeout)
	case <-g.failed():
	}
	stop()
	err := g.wait(nil)
	if err == nil {
		r.snaps.finish()
		r.runs.end()
	}
	return errors.Join(err, r.close())
}

func (r *Reader) close() error {
	var errs []error
	if r.serve != nil {
		errs = append(errs, r.serve.close())
	}
	if r.inspect != nil {
		r.inspect.close()
	}
	if r.exec != nil {
		errs = append(errs, r.exec.Machine.Close())
	}
	if r.views != nil && r.views.past != nil {
		r.views.past.close()
	}
	if r.views != nil {
		errs = append(errs, r.views.store.Close())
	}
	return errors.Join(errs...)
}

// Reconnecting to a node that went away.
const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
	// holdRetry is how long a node that refused a block waits before it asks again:
	// only the source can change the answer.
	holdRetry = 10 * time.Second
)

// follow keeps a connection to the source and runs passes over it.
func (r *Reader) follow(ctx context.Context) error {
	backoff := wire.Backoff{Min: backoffMin, Max: backoffMax}
	for ctx.Err() == nil {
		client, err := r.dialing(ctx)
		if err == nil {
			r.log.Info("following", "node", r.cfg.Sync.WriteNode, "head", client.Server().Head.Number)
			backoff.Reset()
			err = r.session(ctx, client)
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fatal.err
		}
		if ctx.Err() != nil {
			return nil
		}
		r.disconnected(err)
		pause(ctx, backoff.Next())
	}
	return nil
}

func (r *Reader) dial(ctx context.Context) (*wire.Client, error) {
	return r.cfg.Sync.Dial(ctx, r.cfg.Sync.WriteNode, identityOf(r.views), wire.DialOptions{Head: r.views.headID(), Doorbells: true, Ride: true, Open: true})
}

// disconnected logs a change, and raises the alarm if the source is of another
// chain or runs another module: waiting will not mend that.
func (r *Reader) disconnected(err error) {
	alarm := ""
	if otherChain(err) {
		alarm = err.Error()
	}
	r.note(func() {
		if r.connected {
			r.views.meters.connectionsBroken.Add(1)
		}
		if r.connected || alarm != r.alarm {
			r.log.Warn("not connected to the node that is followed", "node", r.cfg.Sync.WriteNode, "error", err)
		}
		r.connected = false
		if alarm != "" {
			r.alarm = alarm
		}
	})
}

// otherChain reports whether a peer refused, or was refused, because it is on
// another chain or runs another module.
func otherChain(err error) bool {
	for _, reason := range []error{wire.ErrVersion, wire.ErrChain, wire.ErrGenesis, wire.ErrModule} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// session runs passes until the connection or ctx ends. A doorbell says when; a
// timer is the safety net for one that was lost (S-21, C-28).
func (r *Reader) session(ctx context.Context, client *wire.Client) error {
	source := newRemote(client, r.inspect)
	defer source.close()
	defer r.behind.end()
	f, err := follow.New(source, r.cursors, &applier{r, source}, follow.Options{Stopped: func() bool { return ctx.Err() != nil }})
	if err != nil {
		return &fatalError{err}
	}
	r.note(func() { r.connected = true })
	bell, began := follow.Bell{PollMs: r.cfg.Sync.PollMs}, time.Now()
	now := func() uint64 { return uint64(time.Since(began).Milliseconds()) }
	var heldUntil uint64
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case a := <-client.Doorbells():
			r.note(func() { r.source = a.Tip })
			bell.Ring(a.Block)
			if b := a.Block; b != nil && now() >= heldUntil && b.Header.Height == r.Verified()+1 {
				source.expect(b, r.open.take(b))
			} else if b == nil && a.Tip.Number > r.Verified() {
				r.open.skip(a.Tip.Number)
			}
		case m := <-client.Open():
			if now() >= heldUntil {
				r.open.add(m)
			}
			continue
		case <-wake.C:
		case <-client.Done():
			return client.Err()
		case <-ctx.Done():
			return nil
		}
		if now() >= heldUntil {
			source.left.Store(r.open.height())
			if err := r.answer(&bell, now, f); isFatal(err) {
				return err
			} else if err != nil {
				heldUntil = now() + uint64(holdRetry.Milliseconds())
			}
			r.open.run()
		}
		at := now()
		wake.Reset(time.Duration(max(bell.Wait(at), heldUntil-min(at, heldUntil))) * time.Millisecond)
	}
}

// answer runs a pass if it is time for one.
func (r *Reader) answer(bell *follow.Bell, now func() uint64, f *follow.Follower) error {
	ride, ok := bell.Begin(now())
	if !ok {
		return nil
	}
	err := r.pass(f, ride)
	bell.End(now())
	return err
}

func isFatal(err error) bool {
	var fatal *fatalError
	return errors.As(err, &fatal)
}

// pass runs one pass and says what came of it. An error means: do not ask again
// at once.
func (r *Reader) pass(f *follow.Follower, ride *chain.Block) error {
	result, err := f.Pass(ride)
	if result.Source.Proposed.Hash != (chain.Hash{}) {
		r.note(func() { r.source = result.Source.Proposed })
	}
	var abort *follow.AbortError
	var read *follow.ReadError
	var fatal *fatalError
	switch {
	case err == nil:
		r.missing = 0
		r.clear()
		return nil
	case errors.As(err, &fatal), errors.Is(err, follow.ErrStopped):
		return err
	case errors.As(err, &abort), errors.As(err, &read):
		r.log.Debug("pass ended early", "error", err)
		r.lacks(err)
		return nil
	}
	r.hold(err)
	return err
}

// missingPasses is how many passes in a row may end because the source lacks a
// block, before that is said: a source that reorganizes lacks one for a moment, one
// that has pruned it for ever.
const missingPasses = 20

// lacks says it when the source goes on without what this node needs next.
func (r *Reader) lacks(err error) {
	if !errors.Is(err, follow.ErrNotAvailable) {
		return
	}
	if r.missing++; r.missing == missingPasses {
		r.log.Warn("the source does not have the block that this node needs next; if it has pruned it, follow a node that keeps it, or begin again on an empty directory with 'kaizen follow --bootstrap'",
			"next", r.Verified()+1, "error", err)
	}
}

func (r *Reader) clear() {
	r.mu.Lock()
	had := r.alarm
	r.mu.Unlock()
	if had != "" {
		r.log.Info("alarm is over", "was", had)
		r.note(func() { r.alarm = "" })
	}
}

// hold raises the alarm: the node stays at its last good block and keeps
// answering queries there (K-18).
func (r *Reader) hold(err error) {
	head := r.Head()
	r.note(func() {
		if r.alarm != err.Error() {
			r.log.Error("holding at the last good block", "height", head.Height, "root", head.StateRoot, "error", err)
		}
		r.alarm = err.Error()
	})
}

// fatalError is a failure of this node's own, as opposed to something wrong with
// what it was sent.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }
