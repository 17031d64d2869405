package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/snapshot"
)

// snapshotsAt seals blocks up to a height with a snapshot every few of them, and
// returns the directory. Snapshots of before are kept.
func snapshotsAt(t *testing.T, g *chain.Genesis, height, interval uint64) string {
	t.Helper()
	cfg := testConfig(initDir(t, g), g)
	cfg.Snapshot = SnapshotConfig{IntervalBlocks: interval, Keep: 100, Sign: true}
	sealSnapshots(t, cfg, height)
	return cfg.DataDir
}

// sealSnapshots runs a write node until there is a snapshot of block height, and of
// every one before it that is due.
func sealSnapshots(t testing.TB, cfg Config, height uint64) {
	t.Helper()
	w, err := NewWriter(context.Background(), cfg, deps())
	must(t, err)
	taken := make(chan uint64, 100)
	w.snaps.done = func(s *snapshot.Snapshot, err error) {
		switch {
		case errors.Is(err, context.Canceled): // one that was begun when the node was stopped
		case err != nil:
			t.Error(err)
		default:
			taken <- s.Manifest.Header.Height
		}
	}
	run, interval := start(t, w.Run), cfg.Snapshot.IntervalBlocks
	for next := (w.Head().Height/interval + 1) * interval; next <= height; next += interval {
		for w.Head().Height < next {
			must(t, w.WaitFor(within(t), send(t, w, fmt.Sprintf("set k%d %d", w.Head().Height, next), fmt.Sprintf("set same %d", w.Head().Height))))
		}
		select {
		case got := <-taken:
			if got != next {
				t.Fatalf("snapshot of block %d, want %d", got, next)
			}
		case <-within(t).Done():
			t.Fatalf("no snapshot of block %d", next)
		}
	}
	run.mustStop()
}

// snapshotName is the directory of the snapshot of a block.
func snapshotPath(t *testing.T, dir string, height uint64) string {
	t.Helper()
	s, err := SnapshotDir(dir).At(height)
	must(t, err)
	return s.Path
}

// spoil flips a bit of a snapshot's first chunk.
func spoil(t *testing.T, dir string, height uint64) string {
	t.Helper()
	path := snapshotPath(t, dir, height)
	file := filepath.Join(path, snapshot.ChunkFile(0))
	b, err := os.ReadFile(file)
	must(t, err)
	b[len(b)/2] ^= 4
	must(t, os.WriteFile(file, b, 0o644))
	return path
}

// TestSnapshotRestart: a node that starts from a snapshot has the same state as
// one that executed everything, and goes on; where a snapshot is damaged the older
// one serves, and in the end genesis.
func TestSnapshotRestart(t *testing.T) {
	g := testGenesis()
	dir := snapshotsAt(t, g, 40, 20)
	want, err := Replay(within(t), dir, deps(), ReplayOptions{})
	must(t, err)
	for _, c := range []struct {
		from   uint64
		damage func() string
	}{
		{40, func() string { return "" }},
		{20, func() string { return spoil(t, dir, 40) }},
		{0, func() string { return spoil(t, dir, 20) }},
	} {
		damaged := c.damage()
		var log bytes.Buffer
		d := deps()
		d.Log = slog.New(slog.NewTextHandler(&log, nil))
		cfg := testConfig(dir, g)
		cfg.Snapshot.IntervalBlocks = 0
		w, err := NewWriter(context.Background(), cfg, d)
		must(t, err)
		if got := w.snaps.last.Load(); got != c.from {
			t.Fatalf("started from block %d, want %d", got, c.from)
		}
		if damaged != "" && !strings.Contains(log.String(), damaged) {
			t.Errorf("the log does not name %s:\n%s", damaged, log.String())
		}
		if h, err := w.Header(want.To); err != nil || h.StateRoot != want.Root {
			t.Errorf("from block %d: root %s, %v, want %s", c.from, h.StateRoot, err, want.Root)
		}
		run := start(t, w.Run)
		must(t, w.WaitFor(within(t), send(t, w, fmt.Sprintf("set after %d", c.from))))
		run.mustStop()
	}
	if _, err := Replay(within(t), dir, deps(), ReplayOptions{}); err != nil {
		t.Fatalf("from genesis after all: %v", err)
	}
}

// TestReplayFromSnapshot names every way to say where to start.
func TestReplayFromSnapshot(t *testing.T) {
	g := testGenesis()
	dir := snapshotsAt(t, g, 30, 10)
	full, err := Replay(within(t), dir, deps(), ReplayOptions{})
	must(t, err)
	for _, c := range []struct {
		from  string
		to    uint64
		first uint64
		want  error
	}{
		{"", 0, 1, nil},
		{"latest", 0, 31, nil},
		{"latest", 29, 21, nil},
		{"20", 0, 21, nil},
		{"20", 20, 21, nil},
		{snapshotPath(t, dir, 10), 0, 11, nil},
		{filepath.Join(snapshotPath(t, dir, 10), snapshot.ManifestFile), 0, 11, nil},
		{"latest", 9, 0, ErrSnapshot},
		{"25", 0, 0, ErrSnapshot},
		{"30", 29, 0, ErrSnapshot},
		{filepath.Join(dir, "nothing"), 0, 0, ErrSnapshot},
		{dir, 0, 0, ErrVerification},
	} {
		r, err := Replay(within(t), dir, deps(), ReplayOptions{FromSnapshot: c.from, To: c.to})
		if !errors.Is(err, c.want) {
			t.Errorf("from %q to %d: %v, want %v", c.from, c.to, err, c.want)
			continue
		}
		if c.want != nil {
			continue
		}
		if r.From != c.first || r.Blocks != r.To-c.first+1 || c.to == 0 && r.Root != full.Root {
			t.Errorf("from %q to %d: %+v", c.from, c.to, r)
		}
	}
	spoil(t, dir, 30)
	if _, err := Replay(within(t), dir, deps(), ReplayOptions{FromSnapshot: "30"}); !errors.Is(err, ErrVerification) || !errors.Is(err, snapshot.ErrTransferHash) {
		t.Errorf("from the damaged one: %v", err)
	}
	r, err := Replay(within(t), dir, deps(), ReplayOptions{FromSnapshot: "latest"})
	if err != nil || r.From != 21 || r.Root != full.Root {
		t.Errorf("latest beside a damaged one: %+v, %v", r, err)
	}
	v, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 25, To: 29})
	if !errors.Is(err, ErrVerification) || !strings.Contains(err.Error(), "30-") || len(v.Verdicts) != 5 || !v.Verdicts[4].OK {
		t.Errorf("verify beside a damaged snapshot: %+v, %v", v, err)
	}
}

// TestCreateSnapshot writes one of a sealed block, offline, and it is the same as
// the one that was taken while the node ran.
func TestCreateSnapshot(t *testing.T) {
	g := testGenesis()
	dir := snapshotsAt(t, g, 10, 10)
	live, err := SnapshotDir(dir).At(10)
	must(t, err)
	must(t, SnapshotDir(dir).Remove(live.Manifest.Name()))
	s, err := CreateSnapshot(within(t), dir, deps(), CreateOptions{Height: 10})
	must(t, err)
	if s.Path != live.Path || !s.Manifest.Signed() || !live.Manifest.Signed() {
		t.Errorf("offline %s, signed %t; live %s, %t", s.Path, s.Manifest.Signed(), live.Path, live.Manifest.Signed())
	}
	must(t, s.Verify())
}

// TestSnapshotKeep prunes, and takes one at the end if the last is long ago.
func TestSnapshotKeep(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	cfg.Snapshot = SnapshotConfig{IntervalBlocks: 1, Keep: 3}
	w, err := NewWriter(context.Background(), cfg, deps())
	must(t, err)
	w.snaps.atStop = 1
	run := start(t, w.Run)
	must(t, w.WaitFor(within(t), 30))
	run.mustStop()
	list, err := SnapshotDir(cfg.DataDir).List()
	must(t, err)
	if len(list) != 3 || list[0].Height != w.Head().Height {
		t.Errorf("%d snapshots, the newest of block %d; the head is %d", len(list), list[0].Height, w.Head().Height)
	}
	for _, i := range list {
		must(t, i.Err)
		must(t, i.Snapshot.Verify())
	}
}

// TestTakeSnapshot takes one on demand while the node runs, and none otherwise.
func TestTakeSnapshot(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	cfg.Snapshot.IntervalBlocks = 0
	w, run := startWriter(t, cfg, deps())
	must(t, w.WaitFor(within(t), 5))
	s, err := w.TakeSnapshot(within(t))
	must(t, err)
	must(t, s.Verify())
	if h := s.Manifest.Header.Height; h < 5 {
		t.Errorf("snapshot of block %d, the head was 5 at least", h)
	}
	var wg sync.WaitGroup
	for range 2 { // the second one waits for the first
		wg.Go(func() {
			var v SnapshotInfo
			if err := Ask(within(t), cfg.DataDir, "snapshot", struct{}{}, &v); err != nil || v.Kind != "full" || !v.Signed {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
	wg.Wait()
	var p SnapshotProgress
	must(t, Ask(within(t), cfg.DataDir, "snapshot-progress", struct{}{}, &p))
	if p.Total != 0 {
		t.Errorf("none is being taken, and yet %+v", p)
	}
	run.mustStop()
	list, err := SnapshotDir(cfg.DataDir).List()
	must(t, err)
	if len(list) < 1 || len(list) > 3 { // two of one block are one
		t.Errorf("%d snapshots", len(list))
	}
	for _, i := range list {
		must(t, i.Err)
		must(t, VerifySnapshot(i.Snapshot, nil))
	}
}

// testLedger is a ledger on a fresh directory, and a function that appends a block
// which writes n keys.
func testLedger(t testing.TB, g *chain.Genesis, history int) (*ledger, func(n int) chain.Header) {
	t.Helper()
	dir := initDir(t, g)
	st, err := store.Open(dir, store.Options{})
	must(t, err)
	t.Cleanup(func() { _ = st.Close() })
	exec, err := stf.NewExecutor(hosttest.Script{})
	must(t, err)
	l, err := newLedger(st, exec, history)
	must(t, err)
	return l, func(n int) chain.Header {
		head := l.Head()
		open, err := exec.Begin(state.NewOverlay(l.versions.Tree()), head.Height+1, head.Time+10, chain.OracleSnapshot{})
		must(t, err)
		for i := range n {
			raw := fmt.Appendf(nil, "set key%d %d", (int(head.Height)*131+i*7)%20_000, head.Height)
			must(t, open.Apply(&stf.Tx{Raw: raw, Leaf: chain.LeafHash(raw)}))
		}
		closed, err := open.Close()
		must(t, err)
		b, err := l.append(closed, func(h *chain.Header) error { h.Sign(testKey); return nil }, nil)
		must(t, err)
		return b.Header
	}
}

func testSnapshots(t testing.TB, l *ledger) *snapshots {
	cfg := Defaults()
	cfg.DataDir = l.store.Dir()
	return newSnapshots(&cfg, &views{ledger: l}, testKey, quiet())
}

// TestCaptureWhileCommitting: blocks that change, add and delete keys go on while
// a snapshot is copied, and what comes out is the state after its block, to the
// bit (Restore compares the root).
func TestCaptureWhileCommitting(t *testing.T) {
	g := testGenesis(func(g *chain.Genesis) { g.MaxTxsPerBlock = 5000 })
	l, add := testLedger(t, g, 10_000)
	for range 6 {
		add(3000)
	}
	s := testSnapshots(t, l)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				add(200)
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for range 5 {
		height := l.Head().Height
		taken, err := s.take(context.Background(), height, true)
		must(t, err)
		_, header, err := taken.Restore()
		must(t, err)
		if header.Height != height {
			t.Errorf("snapshot of block %d, want %d", header.Height, height)
		}
		if l.Head().Height == height {
			t.Error("no block went by meanwhile: the test shows nothing")
		}
	}
}

// TestCaptureLosesHistory: the block leaves the history while it is copied, or is
// taken back. Nothing is written; the next try takes a newer one.
func TestCaptureLosesHistory(t *testing.T) {
	l, add := testLedger(t, testGenesis(), 3)
	for range 30 {
		add(100)
	}
	h := l.Head()
	var at state.Position
	seen := 0
	at, err := l.slice(&h, at, func(*chain.Hash, []byte, []byte) { seen++ })
	must(t, err)
	if at.End() || seen != sliceLimit.Keys {
		t.Fatalf("%d keys in the first slice, end %t", seen, at.End())
	}
	for range 4 {
		add(1)
	}
	if _, err := l.slice(&h, at, func(*chain.Hash, []byte, []byte) { t.Error("a key") }); !errors.Is(err, state.ErrNotRetained) {
		t.Errorf("after 4 blocks with a history of 3: %v", err)
	}
	other := l.Head()
	other.StateRoot[0] ^= 1
	if _, err := l.slice(&other, state.Position{}, func(*chain.Hash, []byte, []byte) { t.Error("a key") }); !errors.Is(err, state.ErrNotRetained) {
		t.Errorf("block of another root: %v", err)
	}
	s := testSnapshots(t, l)
	if _, err := s.take(context.Background(), h.Height, true); !errors.Is(err, state.ErrNotRetained) {
		t.Errorf("block %d: %v", h.Height, err)
	}
	taken, err := s.takeNear(context.Background(), h.Height, true)
	must(t, err)
	if got := taken.Manifest.Header.Height; got != l.Head().Height || s.last.Load() != got {
		t.Errorf("the snapshot is of block %d, the newest is %d", got, l.Head().Height)
	}
	list, err := s.dir.List()
	if err != nil || len(list) != 1 {
		t.Errorf("%d snapshots, %v", len(list), err)
	}
}

// TestCaptureHoldsItsBlock: as many blocks as come while the state is copied, the copy
// is of the block it was begun with.
func TestCaptureHoldsItsBlock(t *testing.T) {
	l, add := testLedger(t, testGenesis(), 3)
	for range 30 {
		add(100)
	}
	h := l.Head()
	s := testSnapshots(t, l)
	release, err := l.hold(h.Height)
	must(t, err)
	for range 10 {
		add(100)
	}
	w, err := s.dir.Create(snapshot.Meta{GenesisHash: l.store.GenesisHash(), Header: h})
	must(t, err)
	must(t, s.copyState(context.Background(), &h, &pace{done: true}, w))
	taken, err := w.Commit()
	must(t, err)
	if _, _, err := snapshot.Restore([]*snapshot.Snapshot{taken}, snapshot.Options{Run: onAllCores}); err != nil {
		t.Error(err)
	}
	release()
	if _, err := s.take(context.Background(), h.Height, true); !errors.Is(err, state.ErrNotRetained) {
		t.Errorf("block %d is still held: %v", h.Height, err)
	}
}

// TestPace: a snapshot rests as long as there is room for the history of its block, and
// nobody stops.
func TestPace(t *testing.T) {
	const room = state.MaxHeldBytes - state.MaxHistoryBytes
	for _, c := range []struct {
		name        string
		history     int
		blocks      uint64
		copied, all uint64
		hurry       bool
	}{
		{"the history that is always kept", state.MaxHistoryBytes, 0, 0, 100, false},
		{"a little more at the start", state.MaxHistoryBytes + room/8, 0, 0, 100, false},
		{"more at the start", state.MaxHistoryBytes + room/8 + 1, 0, 0, 100, true},
		{"more, half of it copied", state.MaxHistoryBytes + room*3/8, 0, 50, 100, false},
		{"too much for half of it", state.MaxHistoryBytes + room*3/8 + 1, 0, 50, 100, true},
		{"at the end", state.MaxHeldBytes - room*3/8, 0, 100, 100, false},
		{"no room", state.MaxHeldBytes, 0, 100, 100, true},
		{"blocks at the start", 0, paceBlocks / 4, 0, 100, false},
		{"more blocks at the start", 0, paceBlocks/4 + 1, 0, 100, true},
		{"more blocks, half of it copied", 0, paceBlocks * 3 / 4, 50, 100, false},
		{"too many blocks for half of it", 0, paceBlocks*3/4 + 1, 50, 100, true},
		{"nothing to copy", 0, 0, 0, 0, false},
	} {
		p := &pace{ctx: context.Background()}
		p.look(c.history, c.blocks, c.copied, c.all)
		if got := p.hurry.Load(); got != c.hurry {
			t.Errorf("%s: hurries %t", c.name, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		rested := func(p *pace) time.Duration {
			start := time.Now()
			p.rest(time.Second)
			return time.Since(start)
		}
		p := &pace{ctx: ctx}
		if got := rested(p); got != restShare*time.Second {
			t.Errorf("rests %s after a second of work", got)
		}
		p.look(state.MaxHeldBytes, 0, 0, 1)
		if got := rested(p); got != 0 {
			t.Errorf("rests %s without room", got)
		}
		p.look(0, 0, 0, 1)
		if got := rested(p); got != restShare*time.Second {
			t.Errorf("rests %s once there is room", got)
		}
		if got := rested(&pace{ctx: ctx, done: true}); got != 0 {
			t.Errorf("rests %s while nothing else runs", got)
		}
		cancel()
		if got := rested(p); got != 0 {
			t.Errorf("rests %s while the node stops", got)
		}
	})
}

// TestSnapshotOnReader: a reader takes them too, forgets those of blocks that were
// taken back, and comes back from one; what is left over of another chain of
// blocks is not used.
func TestSnapshotOnReader(t *testing.T) {
	g := testGenesis()
	long := sealedChain(t, g, 12)
	fork := forked(t, g, long[:5], 20)
	src := newSource(t, g, long)
	src.set(long, 2)
	cfg := readerConfig(t, g, src.addr)
	cfg.Snapshot = SnapshotConfig{IntervalBlocks: 4, Keep: 100}
	r, err := NewReader(context.Background(), cfg, deps())
	must(t, err)
	taken := make(chan uint64, 100)
	r.snaps.done = func(s *snapshot.Snapshot, err error) {
		if err == nil {
			taken <- s.Manifest.Header.Height
		}
	}
	run := start(t, r.Run)
	must(t, r.WaitFor(within(t), uint64(len(long)-1)))
	select {
	case <-taken:
	case <-within(t).Done():
		t.Fatal("a reader takes no snapshots")
	}
	src.set(fork, 2)
	must(t, waitHash(t, r, fork[len(fork)-1].Header.ID()))
	run.mustStop()
	again, err := NewReader(context.Background(), cfg, deps())
	must(t, err)
	if head := again.Head(); head.ID() != fork[len(fork)-1].Header.ID() {
		t.Errorf("came back at block %d %s", head.Height, head.Hash())
	}
	must(t, again.close())
	// As if the process had ended before the old snapshots were removed.
	stale := filepath.Join(cfg.DataDir, "snapshots")
	l, add := testLedger(t, g, 10)
	for range 8 {
		add(1)
	}
	s := testSnapshots(t, l)
	s.dir.Path = stale
	foreign, err := s.take(context.Background(), 8, true)
	must(t, err)
	var log bytes.Buffer
	d := deps()
	d.Log = slog.New(slog.NewTextHandler(&log, nil))
	must(t, removeOthers(s.dir, foreign.Manifest.Name()))
	again, err = NewReader(context.Background(), cfg, d)
	must(t, err)
	if again.snaps.last.Load() != 0 || !strings.Contains(log.String(), foreign.Path) {
		t.Errorf("started from block %d:\n%s", again.snaps.last.Load(), log.String())
	}
	must(t, again.close())
}

// removeOthers removes all snapshots but one.
func removeOthers(d *snapshot.Dir, name string) error {
	list, err := d.List()
	for _, i := range list {
		if i.Name != name {
			err = errors.Join(err, d.Remove(i.Name))
		}
	}
	return err
}
