package node

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/snapshot"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// The flags make the test a measurement: a day is
//
//	go test ./host/node -run TestDayOnDisk -day-blocks 864000 -day-keep 10000 -day-dir /dev/shm/day -v -timeout 2h
var (
	dayBlocks = flag.Uint64("day-blocks", 900, "blocks of TestDayOnDisk; a day has 864,000")
	dayKeep   = flag.Uint64("day-keep", 100, "prune.keep_blocks of TestDayOnDisk, and twice its snapshot.interval_blocks")
	dayDir    = flag.String("day-dir", "", "where TestDayOnDisk works; default: a temporary directory")
)

// steady is a module whose state stays as large as it is: a transaction overwrites
// one of a thousand keys.
type steady struct{ hosttest.Script }

func (steady) NewMachine() (stf.Machine, error) { return &steadyMachine{}, nil }

type steadyMachine struct{ s stf.Session }

func (m *steadyMachine) Genesis(stf.State, []byte) (stf.Outcome, error) { return stf.Outcome{}, nil }
func (m *steadyMachine) BeginBlock(stf.State, abi.Context, []byte) (stf.Outcome, error) {
	return stf.Outcome{}, nil
}
func (m *steadyMachine) EndBlock(stf.State, abi.Context) (stf.Outcome, error) {
	return stf.Outcome{}, nil
}
func (m *steadyMachine) Admit(stf.View, abi.Context, *stf.Tx) (stf.Outcome, error) {
	return stf.Outcome{}, nil
}
func (m *steadyMachine) Refresh() error { return nil }
func (m *steadyMachine) Close() error   { return nil }

func (m *steadyMachine) Execute(st stf.State, _ abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	id := sha256.Sum256(tx.Raw)
	m.s.Start(abi.ExportExecute, abi.PhaseExecute, st, st, tx)
	m.s.Accept(&id)
	m.s.StateSet(fmt.Appendf(nil, "key%d", int(id[0])<<2|int(id[1])>>6), tx.Raw)
	m.s.Emit(tx.Raw)
	return m.s.Finish(0, ""), nil
}

// dayNode does with a directory what a write node and a read node do with theirs,
// without their clocks and sockets: journal, log, index, sync cursors, snapshots,
// pruning.
type dayNode struct {
	t       *testing.T
	cfg     Config
	views   *views
	exec    *stf.Executor
	journal *store.Journal
	cursors follow.TipsStore
	added   []*chain.Block // since the cursors moved
	snaps   *snapshots
	pruner  *pruner
	taken   chan error

	quiet, pruning []time.Duration // what a block took to be stored
	busy           func() bool
}

func newDayNode(t *testing.T, dir string, keep uint64) *dayNode {
	g := testGenesis(func(g *chain.Genesis) { g.IntervalMs = 100 })
	cfg := testConfig(dir, g)
	cfg.Prune = PruneConfig{Mode: PruneAggressive, KeepBlocks: keep}
	cfg.Snapshot.IntervalBlocks, cfg.Snapshot.Keep = keep/2, 2
	must(t, Init(dir, g))
	st, err := store.Open(dir, storeOptions(&cfg, quiet()))
	must(t, err)
	n := &dayNode{t: t, cfg: cfg, taken: make(chan error, 1)}
	n.exec, err = stf.NewExecutor(steady{})
	must(t, err)
	l, err := newLedger(st, n.exec, cfg.History.Blocks)
	must(t, err)
	n.views = &views{ledger: l, program: steady{}}
	n.journal, _, err = st.OpenJournal()
	must(t, err)
	n.cursors, err = st.Meta().Tips(l.genesisHeader.Hash())
	must(t, err)
	n.pruner = newPruner(&cfg, n.views, quiet())
	n.snaps = newSnapshots(&cfg, n.views, nil, quiet())
	n.snaps.needed = n.pruner.snapshotsNeeded
	n.snaps.done = func(_ *snapshot.Snapshot, err error) { n.taken <- err }
	return n
}

// block makes the next block and tells everybody who is told of one.
func (n *dayNode) block() {
	t, l := n.t, n.views.ledger
	h := l.head.Height + 1
	records := []store.JournalRecord{{Open: &store.JournalOpen{Height: h, Time: l.head.Time + 100, Oracle: (&chain.OracleSnapshot{}).Append(nil)}}}
	var txs []*stf.Tx
	for i := range h % 3 {
		tx := &stf.Tx{Raw: fmt.Appendf(nil, "transaction %d of block %020d, as long as others are", i, h)}
		tx.ID, tx.Leaf = sha256.Sum256(tx.Raw), chain.LeafHash(tx.Raw)
		txs = append(txs, tx)
		records = append(records, store.JournalRecord{Tx: tx.Raw})
	}
	open, err := n.exec.Begin(state.NewOverlay(l.versions.Tree()), h, l.head.Time+100, chain.OracleSnapshot{})
	must(t, err)
	for _, tx := range txs {
		must(t, open.Apply(tx))
	}
	closed, err := open.Close()
	must(t, err)
	start, busy := time.Now(), n.busy()
	must(t, n.journal.Append(records))
	b, err := l.append(closed, func(h *chain.Header) error { h.Sign(testKey); return nil }, nil)
	must(t, err)
	if took := time.Since(start); busy || n.busy() {
		n.pruning = append(n.pruning, took)
	} else {
		n.quiet = append(n.quiet, took)
	}
	must(t, n.journal.Release(h))
	must(t, l.store.Maintain(nil))
	if n.added = append(n.added, b); len(n.added) == 10 {
		n.follow()
	}
	n.snaps.sealed(h)
	if h%n.cfg.Snapshot.IntervalBlocks == 0 {
		must(t, <-n.taken)
	}
	n.pruner.sealed(h)
}

// follow moves the cursors as a pass does that found some new blocks.
func (n *dayNode) follow() {
	must(n.t, n.cursors.Apply(follow.BlocksAdded{Blocks: n.added}))
	tip := chain.BatchOf(n.added[len(n.added)-1].Header.ID())
	for _, e := range []follow.Event{follow.ChainCheckpointed{Tip: tip}, follow.ChainProven{Tip: tip}, follow.ChainFinalized{Tip: tip}} {
		must(n.t, n.cursors.Apply(e))
	}
	n.added = nil
}

// TestDayOnDisk: the directory of a node that prunes is as large in the evening as
// it was in the morning, in every part, and pruning delays no block.
func TestDayOnDisk(t *testing.T) {
	blocks, keep, dir := *dayBlocks, *dayKeep, *dayDir
	if dir == "" {
		dir = t.TempDir()
	}
	must(t, os.MkdirAll(dir, 0o755))
	n := newDayNode(t, dir, keep)
	defer n.views.store.Close()
	var pruning atomic.Int64
	n.busy = func() bool { return pruning.Load() > 0 }
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-n.pruner.due:
				pruning.Add(1)
				n.pruner.attempt()
				pruning.Add(-1)
			case <-ctx.Done():
				return
			}
		}
	}()
	go n.snaps.run(ctx)
	// Nothing is pruned before there are as many blocks as are kept, and a snapshot
	// and a file more; from then on nothing may grow.
	warm := 2 * keep
	var most [2]DiskUsage
	for h := uint64(1); h <= blocks; h++ {
		n.block()
		if h <= warm || h%(keep/10) != 0 {
			continue
		}
		u, err := Usage(n.views.store, &n.cfg)
		must(t, err)
		half := 0
		if h > warm+(blocks-warm)/2 {
			half = 1
		}
		if u.Bytes >= most[half].Bytes {
			most[half] = u
		}
	}
	stop()
	<-ended
	for i, name := range []string{"first half", "second half"} {
		t.Logf("%s: at most %d bytes, at block %d (from %d): %v", name, most[i].Bytes, most[i].Height, most[i].Base, most[i].Parts)
	}
	if g := most[1].Growth; g != nil {
		t.Logf("projected level of blocks and index: %d bytes", *g.Level)
	}
	report(t, "without pruning", n.quiet)
	report(t, "while pruning", n.pruning)
	if most[1].Bytes > most[0].Bytes+most[0].Bytes/20 {
		t.Errorf("the directory grows: %d bytes at block %d, %d at block %d", most[0].Bytes, most[0].Height, most[1].Bytes, most[1].Height)
	}
	if kept := most[1].Height + 1 - most[1].Base; kept > 2*keep {
		t.Errorf("%d blocks are kept, %d were asked for", kept, keep)
	}
	if err := n.views.store.Check(nil); err != nil {
		t.Error(err)
	}
}

func report(t *testing.T, when string, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	at := func(perMille int) time.Duration { return took[(len(took)-1)*perMille/1000] }
	t.Logf("storing a block %s: %d blocks, median %s, p99 %s, p99.9 %s, most %s", when, len(took), at(500), at(990), at(999), at(1000))
}
