package node

import (
	"context"
	"fmt"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/snapshot"
)

// kinds are the kinds of a directory's snapshots by height, each restored.
func kinds(t testing.TB, dir string) map[uint64]snapshot.Kind {
	t.Helper()
	list, err := SnapshotDir(dir).List()
	must(t, err)
	found := map[uint64]snapshot.Kind{}
	for _, i := range list {
		must(t, i.Err)
		links, err := i.Snapshot.Chain()
		must(t, err)
		_, _, err = snapshot.Restore(links, snapshot.Options{Run: onAllCores})
		must(t, err)
		found[i.Height] = i.Snapshot.Manifest.Kind
	}
	return found
}

func wantKinds(t testing.TB, dir string, want map[uint64]snapshot.Kind) {
	t.Helper()
	got := kinds(t, dir)
	for height, kind := range want {
		if got[height] != kind {
			t.Errorf("the snapshot of block %d is %s, want %s (all: %v)", height, got[height], kind, got)
		}
	}
}

// takes runs a node with a snapshot every ten blocks, one of three whole, until
// there is one of a block.
func takes(t testing.TB, dir string, g *chain.Genesis, height uint64) {
	t.Helper()
	cfg := testConfig(dir, g)
	cfg.Snapshot = SnapshotConfig{IntervalBlocks: 10, Keep: 100, FullEvery: 3}
	sealSnapshots(t, cfg, height)
}

// many is a state in which few keys change.
func many(t testing.TB, dir string, g *chain.Genesis) {
	t.Helper()
	w, run := startWriter(t, func() Config {
		cfg := testConfig(dir, g)
		cfg.Snapshot.IntervalBlocks = 0
		return cfg
	}(), deps())
	lines := make([]string, 200)
	for i := range lines {
		lines[i] = fmt.Sprintf("set old%d %d", i, i)
	}
	must(t, w.WaitFor(within(t), send(t, w, lines...)))
	run.mustStop()
}

// TestIncrementalSnapshots: of three snapshots one is whole, a restart in between
// makes no difference, and each restores the state of its block (Restore compares
// the roots). Where the base is gone the next one is whole.
func TestIncrementalSnapshots(t *testing.T) {
	// Blocks are full and do not wait for a tick, so that none comes between a
	// snapshot and the stop.
	g := testGenesis(func(g *chain.Genesis) { g.MaxTxsPerBlock, g.IntervalMs = 2, 5000 })
	dir := initDir(t, g)
	many(t, dir, g)
	takes(t, dir, g, 140)
	full, more := snapshot.Full, snapshot.Incremental
	wantKinds(t, dir, map[uint64]snapshot.Kind{110: full, 120: more, 130: more, 140: full})
	takes(t, dir, g, 160)
	wantKinds(t, dir, map[uint64]snapshot.Kind{150: more, 160: more})
	if n := linksAt(t, dir, 160)[2].Manifest.Entries; n > 100 {
		t.Errorf("ten blocks with two changes each took %d entries", n)
	}
	must(t, SnapshotDir(dir).Remove(linksAt(t, dir, 160)[0].Manifest.Name()))
	takes(t, dir, g, 180)
	list, err := SnapshotDir(dir).At(180)
	must(t, err)
	if links, err := list.Chain(); err != nil || len(links) > 2 {
		t.Errorf("after the base was removed: %d links, %v", len(links), err)
	}
}

// TestIncrementalIsCanonical: a read node's incremental snapshot of a block is the
// write node's, to the identity.
func TestIncrementalIsCanonical(t *testing.T) {
	g := testGenesis()
	l, add := testLedger(t, g, 1000)
	other, again := testLedger(t, g, 1000)
	var a, b *snapshots
	for _, x := range []struct {
		l   *ledger
		add func(int) chain.Header
		s   **snapshots
	}{{l, add, &a}, {other, again, &b}} {
		*x.s = testSnapshots(t, x.l)
		(*x.s).cfg = SnapshotConfig{IntervalBlocks: 10, Keep: 100, FullEvery: 5}
		for range 30 {
			x.add(60)
		}
		_, err := (*x.s).take(context.Background(), x.l.Head().Height, false)
		must(t, err)
		for range 8 {
			x.add(7)
			if x.l == other { // one looks all the time, the other in the end
				(*x.s).collect(x.l.Head().Height)
			}
		}
	}
	one, err := a.take(context.Background(), l.Head().Height, false)
	must(t, err)
	two, err := b.take(context.Background(), other.Head().Height, false)
	must(t, err)
	if one.Manifest.Kind != snapshot.Incremental || one.Manifest.Identity() != two.Manifest.Identity() {
		t.Errorf("%s %s and %s %s", one.Manifest.Kind, one.Manifest.Identity(), two.Manifest.Kind, two.Manifest.Identity())
	}
}

// TestChangesNotKnown: what makes the next snapshot a whole one.
func TestChangesNotKnown(t *testing.T) {
	for name, c := range map[string]struct {
		history int
		do      func(l *ledger, s *snapshots, add func(int) chain.Header)
		want    snapshot.Kind
	}{
		"few changes": {100, func(_ *ledger, _ *snapshots, add func(int) chain.Header) { add(5) }, snapshot.Incremental},
		"nothing":     {100, func(_ *ledger, _ *snapshots, add func(int) chain.Header) { add(0) }, snapshot.Incremental},
		"most keys changed": {100, func(_ *ledger, _ *snapshots, add func(int) chain.Header) {
			for range 20 {
				add(100)
			}
		}, snapshot.Full},
		"history too short": {2, func(_ *ledger, _ *snapshots, add func(int) chain.Header) {
			for range 4 {
				add(1)
			}
		}, snapshot.Full},
		"blocks taken back that were looked at": {100, func(l *ledger, s *snapshots, add func(int) chain.Header) {
			kept := l.Head()
			add(1)
			s.collect(add(1).Height)
			s.forgetAbove(kept.Height + 1)
			add(1)
		}, snapshot.Full},
		"blocks taken back that were not looked at": {100, func(l *ledger, s *snapshots, add func(int) chain.Header) {
			s.collect(add(1).Height)
			s.forgetAbove(add(1).Height)
		}, snapshot.Incremental},
	} {
		t.Run(name, func(t *testing.T) {
			l, add := testLedger(t, testGenesis(), c.history)
			for range 10 {
				add(50)
			}
			s := testSnapshots(t, l)
			s.cfg = SnapshotConfig{IntervalBlocks: 10, Keep: 100, FullEvery: 5}
			_, err := s.take(context.Background(), l.Head().Height, false)
			must(t, err)
			c.do(l, s, add)
			taken, err := s.take(context.Background(), l.Head().Height, false)
			must(t, err)
			if taken.Manifest.Kind != c.want {
				t.Errorf("the next one is %s, want %s", taken.Manifest.Kind, c.want)
			}
			kinds(t, l.store.Dir())
		})
	}
}

// BenchmarkTake compares a whole snapshot with incremental ones of fewer and more
// changes.
func BenchmarkTake(b *testing.B) {
	g := testGenesis(func(g *chain.Genesis) { g.MaxTxsPerBlock = 20_000 })
	l, add := testLedger(b, g, 1000)
	o := state.NewOverlay(l.versions.Tree())
	for i := range 300_000 {
		o.Set(fmt.Appendf(nil, "account%d", i), make([]byte, 80))
	}
	l.versions.Tree().Commit(o.Changes(), onAllCores)
	add(1)
	s := testSnapshots(b, l)
	s.cfg = SnapshotConfig{IntervalBlocks: 10, Keep: 100, FullEvery: 200}
	for _, changes := range []int{-1, 100, 1000, 10_000} {
		b.Run(map[bool]string{true: "full", false: fmt.Sprint("changed-", changes)}[changes < 0], func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				add(max(0, changes))
				b.StartTimer()
				taken, err := s.take(context.Background(), l.Head().Height, changes < 0)
				must(b, err)
				b.ReportMetric(float64(taken.Manifest.Entries), "keys")
			}
		})
	}
}
