package node

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/snapshot"
)

// bootConfig is that of a read node on an empty directory that starts from a
// snapshot.
func bootConfig(t testing.TB, sources ...string) Config {
	cfg := readerConfig(t, testGenesis(), sources[0])
	must(t, os.Remove(cfg.DataDir))
	cfg.Sync.Bootstrap, cfg.Sync.Sources = true, sources[1:]
	return cfg
}

// TestBootstrap: a read node that starts in an empty directory gets the newest
// snapshot from a write node that goes on, executes only what came later, and is
// then like any other: it follows live, restarts, and others bootstrap from it.
func TestBootstrap(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(snapshotsAt(t, g, 40, 20), g)
	cfg.Snapshot.IntervalBlocks = 0
	w, writer := startWriter(t, cfg, deps())
	_, addr := w.Addrs()
	h := send(t, w, "set after snapshots")

	first := bootConfig(t, "ws://"+addr)
	first.Snapshot.IntervalBlocks = 0
	r, reader := startReader(t, first, deps())
	must(t, r.WaitFor(within(t), h))
	if got := r.views.store.Before().Number; got != 40 {
		t.Errorf("the log begins after block %d, want 40", got)
	}
	for _, below := range []uint64{1, 40} { // blocks that it never had
		var pruned *rpc.PrunedError
		if _, _, err := r.Block(below); !errors.As(err, &pruned) || pruned.Base != 41 {
			t.Errorf("block %d: %v", below, err)
		}
		if _, _, err := r.Query(within(t), api.At(below), []byte("after")); !errors.Is(err, rpc.ErrBlockNotFound) {
			t.Errorf("query at %d: %v", below, err)
		}
	}
	if _, err := VerifyRange(within(t), first.DataDir, deps(), VerifyOptions{From: 7, To: 7, Needed: true}); err == nil || !strings.Contains(err.Error(), "the oldest is 41") {
		t.Errorf("verify block 7: %v", err)
	}
	if v, at, err := r.Query(within(t), api.At(h), []byte("after")); err != nil || string(v) != `"snapshots"` || at.Number != h {
		t.Errorf("query at %d: %q %v %v", h, v, at, err)
	}
	h = send(t, w, "set live yes")
	must(t, r.WaitFor(within(t), h))
	reader.mustStop()

	r, reader = startReader(t, first, deps()) // from the snapshot on the disk
	h = send(t, w, "set restarted yes")
	must(t, r.WaitFor(within(t), h))
	_, next := r.Addrs()
	second := bootConfig(t, next)
	r2, reader2 := startReader(t, second, deps())
	h = send(t, w, "set chained yes")
	must(t, r2.WaitFor(within(t), h))
	for n := uint64(41); n <= h; n++ {
		a, err := w.Header(n)
		must(t, err)
		b, err := r2.Header(n)
		must(t, err)
		if a.Hash() != b.Hash() {
			t.Fatalf("block %d is %s on the writer and %s on the reader", n, a.Hash(), b.Hash())
		}
	}
	reader2.mustStop()
	reader.mustStop()
	writer.mustStop()
	report, err := Replay(within(t), second.DataDir, deps(), ReplayOptions{FromSnapshot: "latest"})
	if err != nil || report.From != 41 || report.To < h {
		t.Errorf("replay of the bootstrapped directory: %+v, %v", report, err)
	}
}

// TestBootstrapWithoutSnapshots: where nobody has one yet, the chain is executed from
// its first block.
func TestBootstrapWithoutSnapshots(t *testing.T) {
	g := testGenesis()
	w, writer := startWriter(t, testConfig(initDir(t, g), g), deps())
	_, addr := w.Addrs()
	h := send(t, w, "set a 1")
	r, reader := startReader(t, bootConfig(t, addr), deps())
	must(t, r.WaitFor(within(t), h))
	sameChain(t, w, r, h)
	reader.mustStop()
	writer.mustStop()
}

// TestBootstrapOfIncrementals: a chain of snapshots is fetched, restored link by
// link, offered on, and is what the node starts from again.
func TestBootstrapOfIncrementals(t *testing.T) {
	g := testGenesis(func(g *chain.Genesis) { g.MaxTxsPerBlock = 1000 })
	dir := initDir(t, g)
	many(t, dir, g)
	takes(t, dir, g, 30)
	cfg := testConfig(dir, g)
	cfg.Snapshot.IntervalBlocks = 0
	w, writer := startWriter(t, cfg, deps())
	_, addr := w.Addrs()
	boot := bootConfig(t, addr)
	boot.Block.MaxTxsPerBlock, boot.Snapshot.IntervalBlocks = g.MaxTxsPerBlock, 0
	for i := range 2 {
		r, reader := startReader(t, boot, deps())
		must(t, r.WaitFor(within(t), send(t, w, fmt.Sprintf("set start %d", i))))
		if got := r.views.store.Before().Number; got != 30 {
			t.Errorf("the log begins after block %d, want 30", got)
		}
		list, err := newOffers(r.views, quiet()).Snapshots()
		if err != nil || len(list) != 3 || list[0].Base != list[1].Identity || list[1].Base != list[2].Identity {
			t.Errorf("it offers %+v, %v", list, err)
		}
		reader.mustStop()
	}
	if got := kinds(t, boot.DataDir); len(got) != 3 || got[10] != snapshot.Full || got[30] != snapshot.Incremental {
		t.Errorf("fetched %v", got)
	}
	writer.mustStop()
}

// TestBootstrapIsForEmptyDirectories: where there is a chain, it goes on.
func TestBootstrapIsForEmptyDirectories(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(snapshotsAt(t, g, 10, 10), g)
	w, writer := startWriter(t, cfg, deps())
	_, addr := w.Addrs()
	c := readerConfig(t, g, addr)
	r, reader := startReader(t, c, deps())
	must(t, r.WaitFor(within(t), 10))
	reader.mustStop()
	c.Sync.Bootstrap = true
	r, reader = startReader(t, c, deps())
	must(t, r.WaitFor(within(t), send(t, w, "set a 1")))
	if got := r.views.store.Before().Number; got != 0 {
		t.Errorf("the log begins after block %d", got)
	}
	reader.mustStop()
	writer.mustStop()
}

// TestFetchSnapshot fetches without starting a node, at most as new as is wanted,
// and a node then starts from what is there.
func TestFetchSnapshot(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(snapshotsAt(t, g, 40, 20), g)
	cfg.Snapshot.IntervalBlocks = 0
	w, writer := startWriter(t, cfg, deps())
	_, addr := w.Addrs()
	into := bootConfig(t, addr)
	for _, c := range []struct{ atMost, want uint64 }{{39, 20}, {0, 40}} {
		links, err := FetchSnapshot(within(t), into, deps(), c.atMost)
		if err != nil || len(links) != 1 || links[0].Manifest.Header.Height != c.want || !links[0].Manifest.Signed() {
			t.Fatalf("at most %d: %d, %v", c.atMost, len(links), err)
		}
	}
	if _, err := FetchSnapshot(within(t), into, deps(), 5); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("at most 5: %v", err)
	}
	into.Sync.Genesis = "0x" + strings.Repeat("11", 32)
	if _, err := FetchSnapshot(within(t), into, deps(), 0); !errors.Is(err, ErrVerification) {
		t.Errorf("another chain: %v", err)
	}
	into.Sync.Genesis = g.Hash().String()
	r, reader := startReader(t, into, deps())
	must(t, r.WaitFor(within(t), send(t, w, "set a 1")))
	if got := r.views.store.Before().Number; got != 40 {
		t.Errorf("the log begins after block %d", got)
	}
	reader.mustStop()
	writer.mustStop()
}

// TestFetchedSnapshotStays: a snapshot that somebody fetches outlives its turn, but
// not for ever, and only while it is asked for.
func TestFetchedSnapshotStays(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(snapshotsAt(t, g, 40, 10), g)
	cfg.Snapshot.IntervalBlocks = 0
	w, err := NewWriter(t.Context(), cfg, deps())
	must(t, err)
	now := time.Unix(1000, 0)
	o := w.snaps.offers
	o.now = func() time.Time { return now }
	list, err := o.Snapshots()
	must(t, err)
	ask := func(i int) {
		t.Helper()
		_, err := o.Chunk(list[i].Hash, 0)
		must(t, err)
	}
	left := func(want ...uint64) {
		t.Helper()
		w.snaps.prune()
		got := kinds(t, cfg.DataDir)
		if len(got) != len(want) {
			t.Errorf("left %v, want %v", got, want)
		}
		for _, height := range want {
			if _, ok := got[height]; !ok {
				t.Errorf("left %v, want %v", got, want)
			}
		}
	}
	w.snaps.cfg.Keep = 1
	ask(2)
	left(40, 30, 20)
	now = now.Add(leaseIdle - 1)
	ask(1)
	left(40, 30, 20)
	now = now.Add(1)
	left(40, 30)
	for range leaseMost / time.Minute {
		left(40, 30)
		ask(1)
		now = now.Add(time.Minute)
	}
	left(40)
	run := start(t, w.Run)
	run.mustStop()
}

// TestRollbackBelowTheSnapshot: what the directory does not have cannot be gone back
// to, and the error says what to do.
func TestRollbackBelowTheSnapshot(t *testing.T) {
	g := testGenesis()
	w, writer := startWriter(t, testConfig(snapshotsAt(t, g, 10, 10), g), deps())
	_, addr := w.Addrs()
	r, reader := startReader(t, bootConfig(t, addr), deps())
	must(t, r.WaitFor(within(t), send(t, w, "set a 1")))
	reader.mustStop()
	writer.mustStop()
	if err := r.rollback(chain.BlockID{Number: 9}); !errors.Is(err, ErrFork) || !strings.Contains(err.Error(), "empty directory") {
		t.Error(err)
	}
}
