package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/state/proof"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// telling is a module whose simulation depends on the state: it tells the value of
// the key "same".
type telling struct{ hosttest.Script }

func (t telling) Simulate(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	out, err := t.Script.Simulate(st, ctx, tx)
	value, _ := st.Get([]byte("same"))
	out.Detail = fmt.Sprintf("%s in block %d", value, ctx.Height)
	return out, err
}

func tellingDeps() Deps { return Deps{Program: telling{}, Log: quiet()} }

// answers is everything that a node says about the state after a block.
func answers(ctx context.Context, b rpc.Backend, at api.Ref) (string, error) {
	var all strings.Builder
	for _, key := range []string{"same", "k1", "k3", "block", "nothing"} {
		out, id, err := b.Query(ctx, at, []byte(key))
		var refusal *stf.Refusal
		if err != nil && !errors.As(err, &refusal) {
			return "", err
		}
		p, err := b.Prove(ctx, at, []byte(key))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&all, "%s: %s %v, block %d %s, value %x %v proof %x of block %s\n", key, out, refusal, id.Number, id.Hash, p.Value, p.Present, p.Proof, p.Header.Hash())
		if err := proves(&p, key); err != nil {
			return "", err
		}
	}
	r, id, err := b.Simulate(ctx, []byte("set same x"), at)
	fmt.Fprintf(&all, "simulated after block %d %s: %+v\n", id.Number, id.Hash, r)
	return all.String(), err
}

func proves(p *rpc.Proof, key string) error {
	decoded, err := proof.Decode(p.Proof)
	if err != nil {
		return err
	}
	value, present, err := proof.Verify(p.Header.StateRoot, []byte(key), &decoded)
	if err == nil && (present != p.Present || string(value) != string(p.Value)) {
		err = fmt.Errorf("%s: proved %q %v, said %q %v", key, value, present, p.Value, p.Present)
	}
	return err
}

// slowGenesis is a chain whose blocks are sealed by their one transaction, so that
// it stands still in between.
func slowGenesis() *chain.Genesis {
	return testGenesis(func(g *chain.Genesis) { g.IntervalMs, g.MaxTxsPerBlock = 60_000, 1 })
}

// oldChain seals blocks up to a height and returns what the node answered about
// each while it was the newest.
func oldChain(t *testing.T, cfg Config, height uint64) []string {
	t.Helper()
	w, err := NewWriter(context.Background(), cfg, tellingDeps())
	must(t, err)
	seen := observe(t, w.snaps, w.pruner)
	run := start(t, w.Run)
	var want []string
	for h := uint64(0); ; h++ {
		said, err := answers(within(t), w, api.ByTag(api.TagLatest))
		must(t, err)
		want = append(want, said)
		if h == height {
			break
		}
		line := fmt.Sprintf("set k%d %d", h%5, h)
		if h%3 == 0 {
			line = fmt.Sprintf("set same %d", h)
		}
		must(t, w.WaitFor(within(t), send(t, w, line)))
		if every := cfg.Snapshot.IntervalBlocks; every > 0 && (h+1)%every == 0 {
			next(t, seen.taken, "snapshot")
		}
	}
	run.mustStop()
	return want
}

// TestPast: what a node says about the state after any block is what it said when
// that block was its newest, however it has to come by it.
func TestPast(t *testing.T) {
	const height = 90
	for _, c := range []struct {
		name                 string
		interval             uint64
		keep, blocks, states int
	}{
		{"from memory", 0, 1, 1000, 1},
		{"from snapshots", 20, 100, 4, 1},
		{"from snapshots, several states", 20, 100, 4, 3},
		{"from genesis", 0, 1, 4, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := slowGenesis()
			cfg := testConfig(initDir(t, g), g)
			cfg.Snapshot = SnapshotConfig{IntervalBlocks: c.interval, Keep: c.keep}
			cfg.History = HistoryConfig{Blocks: c.blocks, States: c.states, MaxReplayBlocks: 1000}
			want := oldChain(t, cfg, height)
			w, run := startWriter(t, cfg, tellingDeps())
			order := rand.New(rand.NewPCG(1, 2)).Perm(len(want))
			var askers sync.WaitGroup
			for i := range 3 {
				askers.Go(func() {
					for j := i; j < len(order); j += 3 {
						at := api.At(uint64(order[j]))
						if j%2 == 0 {
							h, err := w.Header(uint64(order[j]))
							if err != nil {
								t.Error(err)
								return
							}
							at = api.ByHash(h.Hash())
						}
						if got, err := answers(within(t), w, at); err != nil || got != want[order[j]] {
							t.Errorf("block %s: %v\n%s\nwant\n%s", at, err, got, want[order[j]])
							return
						}
					}
				})
			}
			askers.Wait()
			if n := len(w.views.past.states); n > c.states {
				t.Errorf("%d states in memory, limit %d", n, c.states)
			}
			run.mustStop()
		})
	}
}

// TestPastBringsBack: a proof that would cost much is made from a state that is
// brought back to its block, out of the memory of the sealed chain and then from
// what was made before.
func TestPastBringsBack(t *testing.T) {
	g := slowGenesis()
	cfg := testConfig(initDir(t, g), g)
	want := oldChain(t, cfg, 30)
	w, run := startWriter(t, cfg, tellingDeps())
	from := func(h uint64) *ledger {
		header, err := w.Header(h)
		must(t, err)
		l, err := w.views.past.copyOf(&header)
		must(t, err)
		if at := l.Head(); !l.has(&header, true) || at.Hash() != header.Hash() {
			t.Fatalf("copy of block %d is at %d", h, at.Height)
		}
		return l
	}
	l := from(25)
	w.views.past.states = []*ledger{l}
	for _, h := range []uint64{28, 27, 30} { // forward, and back within what it remembers
		header, err := w.Header(h)
		must(t, err)
		s, _, err := w.views.past.reach(&header, l)
		must(t, err)
		p, ok, err := s.prove(&header, []byte("same"))
		if err != nil || !ok || !strings.Contains(want[h], fmt.Sprintf("proof %x of block %s", p.Proof, header.Hash())) {
			t.Errorf("block %d: %v %v", h, ok, err)
		}
	}
	run.mustStop()
}

// TestPastRefuses: heights that make no sense or cost too much are errors of their
// own, and never wait.
func TestPastRefuses(t *testing.T) {
	g := slowGenesis()
	cfg := testConfig(initDir(t, g), g)
	cfg.Snapshot = SnapshotConfig{IntervalBlocks: 20, Keep: 100}
	cfg.History = HistoryConfig{Blocks: 4, States: 1, MaxReplayBlocks: 10}
	want := oldChain(t, cfg, 50)
	w, run := startWriter(t, cfg, tellingDeps())
	for _, c := range []struct {
		at   api.Ref
		want error
	}{
		{api.At(51), rpc.ErrBlockNotFound},
		{api.At(1 << 63), rpc.ErrBlockNotFound},
		{api.At(^uint64(0)), rpc.ErrBlockNotFound},
		{api.ByHash(chain.Hash{1}), rpc.ErrBlockNotFound},
		{api.At(19), rpc.ErrStateUnavailable}, // 19 blocks after genesis
		{api.At(35), rpc.ErrStateUnavailable}, // 15 after a snapshot
		{api.At(30), nil},
		{api.At(35), nil}, // 5 after a state that is there
		{api.At(0), nil},
		{api.At(11), rpc.ErrStateUnavailable},
	} {
		got, err := answers(within(t), w, c.at)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.at, err, c.want)
		}
		if h, _ := c.at.Number(); err == nil && got != want[h] {
			t.Errorf("%s:\n%s\nwant\n%s", c.at, got, want[h])
		}
	}
	w.views.past.mu.Lock()
	w.views.past.waiting = maxPastWaiting
	w.views.past.mu.Unlock()
	if _, err := answers(within(t), w, api.At(30)); !errors.Is(err, rpc.ErrOverloaded) {
		t.Errorf("with %d queries waiting: %v", maxPastWaiting, err)
	}
	w.views.past.mu.Lock()
	w.views.past.waiting, w.views.past.cfg.States = 0, 0
	w.views.past.mu.Unlock()
	w.views.past.forgetAbove(0)
	if _, err := answers(within(t), w, api.At(25)); !errors.Is(err, rpc.ErrStateUnavailable) {
		t.Errorf("with no states: %v", err)
	}
	run.mustStop()
}

// TestPastSingleFlight: queries that come while a state is made wait for it, those
// that leave do not end it, and only so many different ones are waited for.
func TestPastSingleFlight(t *testing.T) {
	g := slowGenesis()
	cfg := testConfig(initDir(t, g), g)
	cfg.History = HistoryConfig{Blocks: 4, States: 1, MaxReplayBlocks: 1000}
	oldChain(t, cfg, 40)
	w, run := startWriter(t, cfg, tellingDeps())
	past := w.views.past
	past.turn <- struct{}{} // the builder is busy
	gone, leave := context.WithCancel(context.Background())
	leave()
	for h := uint64(10); h < 10+maxPastJobs; h++ {
		for range 2 {
			if _, _, err := w.Query(gone, api.At(h), []byte("same")); !errors.Is(err, context.Canceled) {
				t.Fatalf("block %d: %v", h, err)
			}
		}
	}
	if len(past.jobs) != maxPastJobs {
		t.Errorf("%d jobs, want %d", len(past.jobs), maxPastJobs)
	}
	if _, _, err := w.Query(within(t), api.At(9), []byte("same")); !errors.Is(err, rpc.ErrOverloaded) {
		t.Errorf("one more: %v", err)
	}
	if _, _, err := w.Query(within(t), api.At(39), []byte("same")); err != nil {
		t.Errorf("a block in memory: %v", err)
	}
	<-past.turn
	var err error
	for h := uint64(10); h < 10+maxPastJobs; h++ {
		_, _, err = w.Query(within(t), api.At(h), []byte("same"))
		must(t, err)
	}
	past.turn <- struct{}{}
	_, _, err = w.Query(gone, api.At(35), []byte("same"))
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	old, err := w.Header(10)
	must(t, err)
	run.mustStop() // with a job that waits
	if _, err := past.at(within(t), &old, false); !errors.Is(err, rpc.ErrStopping) {
		t.Errorf("after the end: %v", err)
	}
}

// TestPastReorg: what was made of blocks that were taken back answers nothing.
func TestPastReorg(t *testing.T) {
	g := testGenesis()
	long := sealedChain(t, g, 12)
	fork := forked(t, g, long[:5], 20)
	src := newSource(t, g, long)
	src.set(long, 2)
	cfg := readerConfig(t, g, src.addr)
	cfg.History = HistoryConfig{Blocks: 2, States: 2, MaxReplayBlocks: 1000}
	r, run := startReader(t, cfg, deps())
	must(t, r.WaitFor(within(t), uint64(len(long)-1)))
	for _, h := range []uint64{3, 8, 9} {
		if _, err := r.Prove(within(t), api.At(h), []byte("block")); err != nil {
			t.Fatal(err)
		}
	}
	stale := r.views.past.states[0]
	src.set(fork, 2)
	must(t, waitHash(t, r, fork[len(fork)-1].Header.ID()))
	for _, back := range []bool{false, true} { // also if one was finished just after
		if back {
			r.views.past.mu.Lock()
			r.views.past.states = []*ledger{stale}
			r.views.past.mu.Unlock()
		}
		for _, h := range []uint64{8, 12, 3} {
			p, err := r.Prove(within(t), api.At(h), []byte("block"))
			must(t, err)
			if p.Header.Hash() != fork[h].Header.Hash() {
				t.Errorf("block %d is %s, want %s", h, p.Header.Hash(), fork[h].Header.Hash())
			}
			must(t, proves(&p, "block"))
		}
	}
	if _, err := r.Prove(within(t), api.ByHash(long[9].Header.Hash()), []byte("block")); !errors.Is(err, rpc.ErrBlockNotFound) {
		t.Errorf("a block that was taken back: %v", err)
	}
	run.mustStop()
}

// TestPastPruned: on a node that prunes, every block kept has its state, and every
// other says so.
func TestPastPruned(t *testing.T) {
	g := slowGenesis()
	cfg := pruning(testConfig(initDir(t, g), g))
	cfg.History = HistoryConfig{Blocks: 4, States: 1, MaxReplayBlocks: 1000}
	want := oldChain(t, cfg, 75)
	w, err := NewWriter(context.Background(), cfg, tellingDeps())
	must(t, err)
	seen := observe(t, w.snaps, w.pruner)
	run := start(t, w.Run)
	base := next(t, seen.base, "look at what can be pruned")
	for h := range uint64(76) {
		got, err := answers(within(t), w, api.At(h))
		var pruned *rpc.PrunedError
		switch {
		case h > 0 && h < base:
			if !errors.As(err, &pruned) || pruned.Base != base {
				t.Errorf("block %d of %d: %v", h, base, err)
			}
		case h >= 50 || h == 0: // the snapshot of block 50 leaves 20
			if err != nil || got != want[h] {
				t.Errorf("block %d: %v\n%s\nwant\n%s", h, err, got, want[h])
			}
		}
	}
	run.mustStop()
}

var _ state.Runner = oneByOne

// TestSpread: however many snapshots come and go, every block stays within reach
// of one, and they are not many.
func TestSpread(t *testing.T) {
	for _, c := range []struct{ every, replay uint64 }{{10, 100}, {7, 100}, {30, 100}, {49, 100}, {1, 10}} {
		cfg := Defaults()
		cfg.History.MaxReplayBlocks = c.replay
		var kept []uint64 // newest first
		for h := c.every; h <= 1000; h += c.every {
			kept = append([]uint64{h}, kept...)
			stays, newest := cfg.spread(), 2
			var still []uint64
			for _, at := range kept {
				if old := stays(at); old || newest > 0 {
					still = append(still, at)
				}
				newest--
			}
			kept = still
			above := h
			for _, at := range append(kept[:len(kept):len(kept)], 0) {
				if above-at > c.replay {
					t.Fatalf("every %d blocks, block %d: %d blocks from %d back to %d: %v", c.every, h, above-at, above, at, kept)
				}
				above = at
			}
			if most := int(2 + 1 + h/(c.replay/2)); len(kept) > most {
				t.Fatalf("every %d blocks, block %d: %d snapshots, want at most %d: %v", c.every, h, len(kept), most, kept)
			}
		}
	}
	cfg := Defaults()
	cfg.Prune.Mode = PruneAggressive
	if cfg.spread()(5) {
		t.Error("a node that prunes keeps an old snapshot")
	}
}
