package node

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/snapshot"
)

// pruning is the configuration of a node that keeps few blocks.
func pruning(c Config) Config {
	c.Prune = PruneConfig{Mode: PruneAggressive, KeepBlocks: 20}
	c.Snapshot = SnapshotConfig{IntervalBlocks: 10, Keep: 1}
	return c
}

// observed is what the background loops of a node did.
type observed struct {
	taken chan uint64 // heights of snapshots
	base  chan uint64 // after every look at what can be pruned
}

func observe(t *testing.T, s *snapshots, p *pruner) observed {
	o := observed{make(chan uint64, 1000), make(chan uint64, 1000)}
	s.done = func(s *snapshot.Snapshot, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		o.taken <- s.Manifest.Header.Height
	}
	p.done = func(base uint64, err error) {
		if err != nil {
			t.Error(err)
		}
		o.base <- base
	}
	return o
}

// next waits for the next of something that happens in the background.
func next(t *testing.T, ch chan uint64, what string) uint64 {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-within(t).Done():
		t.Fatalf("no %s", what)
	}
	return 0
}

// TestPrune: an aggressive node keeps what it promises and little more, starts
// again from what is left, and says of the rest that it is gone.
func TestPrune(t *testing.T) {
	g := testGenesis(func(g *chain.Genesis) { g.IntervalMs = 60_000 }) // blocks are sealed when they are full
	g.MaxTxsPerBlock = 1
	cfg := pruning(testConfig(initDir(t, g), g))
	w, err := NewWriter(context.Background(), cfg, deps())
	must(t, err)
	seen := observe(t, w.snaps, w.pruner)
	run := start(t, w.Run)
	if base := next(t, seen.base, "look at the start"); base != 1 {
		t.Fatalf("base is %d at the start", base)
	}
	var base uint64
	for head := uint64(1); head <= 100; head++ {
		must(t, w.WaitFor(within(t), send(t, w, fmt.Sprintf("set k%d %d", head%7, head))))
		if head%cfg.Snapshot.IntervalBlocks == 0 {
			next(t, seen.taken, "snapshot")
		}
		if head%(cfg.Prune.KeepBlocks/pruneSteps) == 0 {
			base = next(t, seen.base, "look at what can be pruned")
		}
		if kept := head + 1 - base; head > 20 && kept < 20 || kept > 20+10+2*2+1 {
			t.Fatalf("block %d: blocks from %d on are kept", head, base)
		}
	}
	if base < 70 {
		t.Fatalf("base is %d", base)
	}
	var pruned *rpc.PrunedError
	for _, ask := range []func() error{
		func() error { _, err := w.Header(base - 1); return err },
		func() error { _, _, err := w.Block(1); return err },
		func() error { _, err := w.Resolve(api.At(1)); return err },
		func() error { _, _, err := w.Query(within(t), api.At(2), nil); return err },
		func() error { _, err := w.Prove(within(t), api.At(2), []byte("k")); return err },
	} {
		if err := ask(); !errors.As(err, &pruned) || pruned.Base != base || !errors.Is(err, rpc.ErrBlockNotFound) {
			t.Errorf("%v, want a *rpc.PrunedError with base %d", err, base)
		}
	}
	root := w.Head().StateRoot
	run.mustStop()

	again, err := NewWriter(context.Background(), cfg, deps())
	must(t, err)
	if h, err := again.Header(100); err != nil || h.StateRoot != root {
		t.Errorf("after a restart block 100 has root %s, %v, want %s", h.StateRoot, err, root)
	}
	rerun := start(t, again.Run)
	must(t, again.WaitFor(within(t), send(t, again, "set after 1")))
	rerun.mustStop()

	r, err := Replay(within(t), cfg.DataDir, deps(), ReplayOptions{FromSnapshot: fmt.Sprint(lowestSnapshot(t, cfg.DataDir))})
	if err != nil || r.Blocks < 20 {
		t.Errorf("replay of what is left: %d blocks, %v", r.Blocks, err)
	}
	if _, err := Replay(within(t), cfg.DataDir, deps(), ReplayOptions{}); !errors.Is(err, ErrNoState) {
		t.Errorf("replay from genesis: %v, want %v", err, ErrNoState)
	}
}

func lowestSnapshot(t *testing.T, dir string) uint64 {
	t.Helper()
	list, err := SnapshotDir(dir).List()
	must(t, err)
	return list[len(list)-1].Height
}

// TestPruneNeedsSnapshot: blocks stay as long as no snapshot that can be read
// takes their place.
func TestPruneNeedsSnapshot(t *testing.T) {
	g := testGenesis()
	dir := snapshotsAt(t, g, 60, 20)
	spoil(t, dir, 40)
	cfg := pruning(testConfig(dir, g))
	w, err := NewWriter(context.Background(), cfg, deps())
	must(t, err)
	defer w.close()
	for _, c := range []struct {
		keep, first uint64
		damage      uint64
	}{
		{1000, 0, 0}, // not so many blocks yet
		{55, 0, 0},   // no snapshot so old
		{20, 20, 0},  // that of block 40 is damaged
		{20, 0, 20},
	} {
		w.pruner.keep, w.pruner.verified = c.keep, ""
		if c.damage > 0 {
			spoil(t, dir, c.damage)
		}
		if got, err := w.pruner.first(); err != nil || got != c.first {
			t.Errorf("keep %d blocks of %d: first needed is %d, %v, want %d", c.keep, w.Head().Height, got, err, c.first)
		}
	}
}

func TestPruneWithoutSnapshots(t *testing.T) {
	g := testGenesis()
	for _, every := range []uint64{0, 21} {
		cfg := pruning(testConfig(initDir(t, g), g))
		cfg.Snapshot.IntervalBlocks = every
		if _, err := NewWriter(context.Background(), cfg, deps()); !errors.Is(err, ErrConfig) {
			t.Errorf("a snapshot every %d blocks and 20 blocks kept: %v, want %v", every, err, ErrConfig)
		}
	}
}
