package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/procs"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/sequencer"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
)

// Writer is the write node.
type Writer struct {
	cfg   Config
	log   *slog.Logger
	views *views
	key   ed25519.PrivateKey

	exec    *stf.Executor
	core    *sequencer.Core
	inspect *inspectors
	intake  *intake
	recent  *recent
	open    openBlock
	journal *store.Journal
	prices  *prices
	serve   *services
	snaps   *snapshots
	runs    *runs
	pruner  *pruner
	upkeep  *maintainer

	ready     chan decided
	sealed    chan closed
	committed chan uint64
	jobs      chan *read
	dead      chan struct{} // closed when the loops have ended
	lastBlock func(chain.Header)
	missed    atomic.Uint64
	took      time.Duration // for the block that is sealed to fill; of the sealer
}

// NewWriter opens the data directory and brings the chain to where it was: every
// block that was published, every transaction that was answered.
func NewWriter(ctx context.Context, cfg Config, deps Deps) (w *Writer, err error) {
	w = &Writer{cfg: cfg, log: deps.Log, lastBlock: deps.LastBlock, recent: newRecent(),
		ready: make(chan decided, maxReady), sealed: make(chan closed, sequencer.MaxUncommitted+1),
		committed: make(chan uint64), jobs: make(chan *read), dead: make(chan struct{})}
	begin := time.Now()
	opened := w // a return with an error sets w to nil
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.close())
		}
	}()
	if w.key, err = LoadSequencerKey(cfg.DataDir); err != nil {
		return nil, err
	}
	st, err := store.Open(cfg.DataDir, storeOptions(&cfg, deps.Log))
	if err != nil {
		return nil, damaged(err)
	}
	w.views = &views{ledger: &ledger{store: st}, program: deps.Program, role: api.RoleWrite, started: time.Now()}
	if err := w.check(st.Genesis(), deps.Program); err != nil {
		return nil, err
	}
	w.runs = openRuns(cfg.DataDir, deps.Log)
	if err := w.recover(ctx); err != nil {
		return nil, err
	}
	if w.serve, err = listen(&cfg, deps.Log, w.runs); err != nil {
		return nil, err
	}
	w.serve.snaps = w.snaps
	w.runs.begin(api.RoleWrite, addrOf(w.serve.rpcPort))
	w.snaps.ready(begin)
	return w, nil
}

func (w *Writer) check(g *chain.Genesis, program stf.Program) error {
	if err := checkModule(program, g); err != nil {
		return err
	}
	if err := errors.Join(CheckConfig(&w.cfg, g), checkTogether(&w.cfg)); err != nil {
		return err
	}
	if string(w.key.Public().(ed25519.PublicKey)) != string(g.Sequencer[:]) {
		return fmt.Errorf("%w: the key is not this chain's: genesis names %x", ErrKeyFile, g.Sequencer)
	}
	return nil
}

// recover executes the stored blocks, then builds from the journal what was
// sealed or open and not stored.
func (w *Writer) recover(ctx context.Context) (err error) {
	st, program := w.views.store, w.views.program
	if w.exec, err = stf.NewExecutor(program); err != nil {
		return err
	}
	if w.inspect, err = newInspectors(program, w.cfg.Intake.Workers, w.cfg.Intake.QueueTxs); err != nil {
		return err
	}
	if w.views.ledger, err = newLedger(st, w.exec, w.cfg.History.Blocks); err != nil {
		return err
	}
	w.views.trust = trustSigners(w.log)
	w.views.tips = func() chain.Tips { return chain.LocalTips(w.views.headID()) }
	if err := w.views.restore(SnapshotDir(w.cfg.DataDir), st.Height(), w.log); err != nil {
		return err
	}
	w.views.past = newPast(w.views.ledger, program, w.cfg.History, w.log)
	w.pruner = newPruner(&w.cfg, w.views, w.log)
	w.upkeep = newMaintainer(st, w.log)
	var signs ed25519.PrivateKey
	if w.cfg.Snapshot.Sign {
		signs = w.key
	}
	w.snaps = newSnapshots(&w.cfg, w.views, signs, w.log)
	w.snaps.needed = w.pruner.snapshotsNeeded
	if err := w.views.replay(ctx, w.exec, w.inspect, w.snaps.during(logProgress(w.log, "replay", "blocks"))); err != nil {
		return err
	}
	if err := w.recoverJournal(); err != nil {
		return err
	}
	w.views.run = w.besideTransactions
	w.intake = newIntake(w.inspect, w.cfg.Intake.QueueTxs, w.dead)
	w.prices, err = newPrices(&w.cfg.Oracle, w.lastOracle(), logs.For(w.log, "oracle"))
	return err
}

// recoverJournal feeds the journal to the core. Blocks that it seals are stored
// at once: they are the very blocks that were being stored when the process
// ended.
func (w *Writer) recoverJournal() error {
	head := w.views.Head()
	w.core = sequencer.New(sequencer.Config{MaxTxs: int(w.views.genesis.MaxTxsPerBlock)}, w.exec, &head, w.views.versions.Tree())
	var blocks []store.JournaledBlock
	var err error
	if w.journal, blocks, err = w.views.store.OpenJournal(); err != nil {
		return damaged(err)
	}
	for i := range blocks {
		if err := w.recoverBlock(&blocks[i]); err != nil {
			return damaged(fmt.Errorf("recover block %d from the journal: %w", blocks[i].Height, err))
		}
	}
	if open := w.core.Open(); open != nil {
		w.log.Info("recovered the open block", "height", open.Height(), "transactions", open.Txs())
	}
	return nil
}

func (w *Writer) recoverBlock(b *store.JournaledBlock) error {
	snapshot, err := chain.DecodeOracle(b.Oracle)
	if err != nil {
		return err
	}
	open := &sequencer.OpenRecord{Height: b.Height, Time: b.Time, Oracle: snapshot}
	if err := w.core.Recover(sequencer.Record{Open: open}, nil); err != nil {
		return err
	}
	if err := w.storeRecovered(); err != nil {
		return err
	}
	for _, c := range inspect(w.inspect, b.Txs) {
		if err := <-c.done; err != nil {
			return err
		}
		for i := range c.txs {
			if err := w.core.Recover(sequencer.Record{Tx: c.txs[i].Raw}, &c.txs[i]); err != nil {
				return err
			}
			o := w.core.Open()
			w.recent.put(rpc.Located{Raw: c.txs[i].Raw, Receipt: *o.Receipt(o.Txs() - 1), Block: chain.BlockID{Number: o.Height()}, Index: o.Txs() - 1})
		}
	}
	return nil
}

// storeRecovered stores the blocks that recovery sealed.
func (w *Writer) storeRecovered() error {
	rd := w.core.Ready()
	w.core.Advance()
	for _, c := range rd.Sealed {
		if _, err := w.views.append(c, w.sign, nil); err != nil {
			return err
		}
		w.core.Committed(c.Height)
		w.recent.stored(c.Height)
	}
	return nil
}

// lastOracle is the snapshot of the newest block, open or sealed: its prices
// stay in force over a restart.
func (w *Writer) lastOracle() chain.OracleSnapshot {
	if open := w.core.Open(); open != nil {
		return *open.Oracle()
	}
	if b, err := w.views.store.Block(w.views.Head().Height); err == nil {
		return b.Oracle
	}
	return chain.OracleSnapshot{}
}

func (w *Writer) sign(h *chain.Header) error {
	h.Sign(w.key)
	return nil
}

// Addrs are the bound addresses of the RPC and the sync port.
func (w *Writer) Addrs() (rpc, sync string) { return w.serve.addrs() }

// Head is the newest published block.
func (w *Writer) Head() chain.Header { return w.views.Head() }

// WaitFor blocks until block height is published or ctx is done.
func (w *Writer) WaitFor(ctx context.Context, height uint64) error {
	for {
		head, moved := w.views.next()
		if head.Height >= height {
			return nil
		}
		select {
		case <-moved:
		case <-w.dead:
			return rpc.ErrStopping
		case <-ctx.Done():
			return fmt.Errorf("write node is at block %d, waiting for %d: %w", head.Height, height, ctx.Err())
		}
	}
}

// stopTimeout bounds how long a stopping node waits for calls under way.
const stopTimeout = 5 * time.Second

// Run serves until ctx ends, then answers what has arrived, seals it and closes
// the directory; nil means that all went well. It is called once.
func (w *Writer) Run(ctx context.Context) error {
	g := newGroup()
	w.prices.pull(ctx)
	ticks := make(chan time.Time, 1)
	exec := &executor{core: w.core, clock: nowMs, oracle: w.prices.snapshot, ordered: w.intake.ordered, ready: w.ready,
		committed: w.committed, jobs: w.jobs, interval: w.interval(), ticks: ticks, missed: &w.missed, took: w.views.meters.execute}
	w.serve.start(g, w, w.views, w.metrics())
	g.loop("executor", exec.run)
	w.journalLoops(g)
	g.loop("sealer", w.runSealer)
	g.background(func(ctx context.Context) { w.prices.run(ctx, w.interval(), ticks) })
	g.background(w.snaps.run)
	g.background(w.pruner.run)
	g.background(w.upkeep.run)
	select {
	case <-ctx.Done():
		w.log.Info("stopping: answering what has arrived")
		w.serve.drain(stopTimeout)
	case <-g.failed():
	}
	w.intake.stop()
	err := g.wait(func() {
		if w.lastBlock != nil {
			w.lastBlock(w.Head())
		}
	})
	close(w.dead)
	if err == nil {
		w.snaps.finish()
		w.runs.end()
	}
	return errors.Join(err, w.close())
}

func (w *Writer) interval() time.Duration {
	return time.Duration(w.views.genesis.IntervalMs) * time.Millisecond
}

// journalLoops make durable what the executor decided, then answer, then pass sealed
// blocks on (the order that sequencer.Ready demands). While one waits for its group's
// write the next collects and writes what has arrived meanwhile. They take turns: the
// token is with the one that collects, and is the channel that is closed when the group
// before is answered.
func (w *Writer) journalLoops(g *group) {
	turns := make(chan chan struct{}, 1)
	answered := make(chan struct{})
	close(answered)
	turns <- answered
	var running atomic.Int32
	running.Store(store.MaxOverlap)
	for range store.MaxOverlap {
		g.loop("journal", func(ctx context.Context) error {
			defer func() {
				if running.Add(-1) == 0 {
					close(w.sealed)
				}
			}()
			return w.runJournal(ctx, turns)
		})
	}
}

// runJournal takes its turns. Everything that waits shares one write.
func (w *Writer) runJournal(ctx context.Context, turns chan chan struct{}) error {
	for before := range turns {
		decided, open := w.gather(ctx)
		start := time.Now()
		group, err := w.journal.Begin(recordsOf(decided))
		answered := make(chan struct{})
		if open {
			turns <- answered
		} else {
			close(turns)
		}
		if err == nil {
			err = group.Write()
		}
		if err != nil {
			return err
		}
		w.views.meters.journal.Since(start)
		select {
		case <-before:
		case <-ctx.Done():
			return nil
		}
		if !w.durable(ctx, decided) {
			return nil
		}
		close(answered)
	}
	return nil
}

// durable tells everybody of a group; false if the node has failed meanwhile.
func (w *Writer) durable(ctx context.Context, group []decided) bool {
	w.open.durable(group, w.serve.hasOpen(), w.serve.open)
	for i := range group {
		w.answer(group[i].Answers)
		if r := group[i].read; r != nil {
			close(r.done)
		}
		for _, c := range group[i].Sealed {
			select {
			case w.sealed <- closed{c, group[i].at}:
			case <-ctx.Done():
				return false
			}
		}
	}
	return true
}

// maxGroup is how many sets of decisions share one fsync at most.
const maxGroup = maxReady

// gather waits for something to do and takes what else is there; false when
// there will be no more.
func (w *Writer) gather(ctx context.Context) (group []decided, open bool) {
	select {
	case rd, open := <-w.ready:
		if !open {
			return nil, false
		}
		group = append(group, rd)
	case <-ctx.Done():
		return nil, false
	}
	for len(group) < maxGroup {
		select {
		case rd, open := <-w.ready:
			if !open {
				return group, false
			}
			group = append(group, rd)
		default:
			return group, true
		}
	}
	return group, true
}

func recordsOf(group []decided) []store.JournalRecord {
	n := 0
	for i := range group {
		n += len(group[i].Journal)
	}
	records := make([]store.JournalRecord, 0, n)
	for i := range group {
		for _, r := range group[i].Journal {
			record := store.JournalRecord{Tx: r.Tx}
			if r.Open != nil {
				record.Open = &store.JournalOpen{Height: r.Open.Height, Time: r.Open.Time, Oracle: r.Open.Oracle.Append(nil)}
			}
			records = append(records, record)
		}
	}
	return records
}

// answer tells submitters what is now durable.
func (w *Writer) answer(answers []sequencer.Answer) {
	w.recent.add(answers)
	for i := range answers {
		w.intake.answer(answers[i].Ticket.(*ticket), submitted(&answers[i]))
	}
}

// closed is a block on its way to its root.
type closed struct {
	*stf.Closed
	at time.Time // when it was closed
}

// runSealer commits, signs, stores and publishes sealed blocks in order.
func (w *Writer) runSealer(ctx context.Context) error {
	last := time.Now()
	for {
		select {
		case c, open := <-w.sealed:
			if !open {
				return nil
			}
			w.took, last = c.at.Sub(last), c.at
			if err := w.seal(ctx, c); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// besideTransactions is the state.Runner of commits. Transactions go on meanwhile, and
// those that come fast would wait for the whole commit if it took every core: it leaves
// one, and lets everybody else go first between two jobs, until the next block waits for
// it. If the block took long to fill it is the block that is waited for.
func (w *Writer) besideTransactions(jobs []func()) {
	cores, yield := procs.Cores(), runtime.Gosched
	if w.took < w.interval()/2 {
		cores = max(1, cores-1)
		if len(w.sealed) == 0 {
			yield = procs.Yield
		}
	}
	runOn(cores, yield, jobs)
}

func (w *Writer) seal(ctx context.Context, c closed) error {
	// First, since the next block may end before this one is stored.
	if err := w.exec.Machine.Refresh(); err != nil {
		return err
	}
	block, err := w.views.append(c.Closed, w.sign, nil)
	if err != nil {
		return err
	}
	// The executor takes this before the next block's state may change: see the
	// concurrency contract of host/state.
	select {
	case w.committed <- c.Height:
	case <-ctx.Done():
		return nil
	}
	w.recent.stored(c.Height)
	w.serve.announce(block)
	w.views.meters.seal.Since(c.at)
	w.snaps.sealed(c.Height)
	w.pruner.sealed(c.Height)
	w.upkeep.sealed()
	return w.journal.Release(c.Height)
}

// close releases everything; a Writer is of no use afterwards.
func (w *Writer) close() error {
	var errs []error
	if w.serve != nil {
		errs = append(errs, w.serve.close())
	}
	if w.inspect != nil {
		w.inspect.close()
	}
	if w.exec != nil {
		errs = append(errs, w.exec.Machine.Close())
	}
	if w.views != nil && w.views.past != nil {
		w.views.past.close()
	}
	if w.views != nil && w.views.store != nil {
		errs = append(errs, w.views.store.Close())
	}
	return errors.Join(errs...)
}

func nowMs() uint64 { return uint64(time.Now().UnixMilli()) }
