package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/store/vfs"
	"github.com/kaizenchain/kaizen/snapshot"
)

// linksAt is the chain of links of the snapshot of a block.
func linksAt(t testing.TB, dir string, height uint64) []*snapshot.Snapshot {
	t.Helper()
	s, err := SnapshotDir(dir).At(height)
	must(t, err)
	links, err := s.Chain()
	must(t, err)
	return links
}

// TestRestoreDir: a read node that begins with a snapshot gets the blocks that
// follow, comes to the same states, starts again, and has none of before.
func TestRestoreDir(t *testing.T) {
	g := testGenesis()
	source := snapshotsAt(t, g, 20, 10)
	cfg := testConfig(source, g)
	cfg.Snapshot.IntervalBlocks = 0
	w, run := startWriter(t, cfg, deps())
	dir := filepath.Join(t.TempDir(), "restored")
	must(t, RestoreDir(dir, linksAt(t, source, 10), RestoreOptions{Genesis: g}))
	if _, err := os.Stat(filepath.Join(dir, restoringLock)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock is left behind: %v", err)
	}
	_, sync := w.Addrs()
	rcfg := testConfig(dir, g)
	rcfg.Sync.WriteNode = sync
	rcfg.Snapshot.IntervalBlocks = 0
	r, reading := startReader(t, rcfg, deps())
	height := send(t, w, "set after 1")
	must(t, r.WaitFor(within(t), height))
	have, err := r.Header(height)
	must(t, err)
	if want, err := w.Header(height); err != nil || have != want {
		t.Errorf("block %d is %s there, %s here, %v", height, want.Hash(), have.Hash(), err)
	}
	if h, err := r.Header(9); err == nil {
		t.Errorf("block 9 is here: %v", h)
	}
	reading.mustStop()
	again, err := NewReader(context.Background(), rcfg, deps())
	must(t, err)
	if again.Verified() < height || again.views.store.Base() != 11 {
		t.Errorf("came back at block %d of %d, base %d", again.Verified(), height, again.views.store.Base())
	}
	must(t, again.close())
	run.mustStop()

	// Without its snapshot nothing can be rebuilt, and that is what it says.
	must(t, removeOthers(SnapshotDir(dir), ""))
	if _, err := NewReader(context.Background(), rcfg, deps()); !errors.Is(err, ErrNoState) || !strings.Contains(err.Error(), "from 10 on") {
		t.Errorf("without a snapshot: %v, want %v", err, ErrNoState)
	}
}

// TestRestoreRefuses: what is in the way, what is of another chain, what is damaged.
func TestRestoreRefuses(t *testing.T) {
	g := testGenesis()
	source := snapshotsAt(t, g, 10, 10)
	links := linksAt(t, source, 10)
	full := t.TempDir()
	must(t, os.WriteFile(filepath.Join(full, "notes.txt"), nil, 0o600))
	if err := RestoreDir(full, links, RestoreOptions{Genesis: g}); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "notes.txt") {
		t.Errorf("into a directory with a file: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "d")
	other := testGenesis(func(g *chain.Genesis) { g.ChainID++ })
	if err := RestoreDir(dir, links, RestoreOptions{Genesis: other}); !errors.Is(err, snapshot.ErrChain) || !errors.Is(err, ErrVerification) {
		t.Errorf("of another chain: %v", err)
	}
	lock, err := lockRestoring(vfs.OS{}, dir+restoringSuffix)
	must(t, err)
	if err := RestoreDir(dir, links, RestoreOptions{Genesis: g}); !errors.Is(err, ErrRestoring) {
		t.Errorf("two at once: %v", err)
	}
	must(t, lock.Close())
	spoil(t, source, 10)
	if err := RestoreDir(dir, links, RestoreOptions{Genesis: g}); !errors.Is(err, snapshot.ErrTransferHash) || !errors.Is(err, ErrVerification) {
		t.Errorf("a damaged one: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was restored: %v", err)
	}
}

// TestRestoreInterrupted breaks every change to the disk in every way: the
// directory is there whole or not at all, and the next run succeeds unless it is.
func TestRestoreInterrupted(t *testing.T) {
	g := testGenesis()
	links := linksAt(t, snapshotsAt(t, g, 10, 10), 10)
	restore := func(disk *faultfs.FS) error {
		return RestoreDir("/data/node", links, RestoreOptions{Genesis: g, FS: disk})
	}
	disk := faultfs.New()
	must(t, restore(disk))
	for op := 1; op <= disk.Ops(); op++ {
		for _, fault := range []faultfs.Fault{faultfs.Fail, faultfs.FailPersisted, faultfs.Short, faultfs.Crash, faultfs.CrashShort} {
			for _, loss := range []faultfs.Loss{faultfs.LoseAll, faultfs.KeepAll, faultfs.Torn(uint64(op))} {
				disk := faultfs.New()
				disk.FailAt(op, fault)
				err := restore(disk)
				disk.PowerLoss(loss)
				there := restoredWhole(t, disk, links)
				if err == nil && !there {
					t.Fatalf("change %d, %s: said nothing, and nothing is there\n%s", op, fault, strings.Join(disk.Trace(), "\n"))
				}
				if again := restore(disk); there != errors.Is(again, ErrNotEmpty) || !there && again != nil {
					t.Fatalf("change %d, %s: whole %t, the next run: %v\n%s", op, fault, there, again, strings.Join(disk.Trace(), "\n"))
				}
				if !restoredWhole(t, disk, links) {
					t.Fatalf("change %d, %s: not there after the second run", op, fault)
				}
			}
		}
	}
}

// restoredWhole says whether the directory is there; if it is it must be all there.
func restoredWhole(t *testing.T, disk *faultfs.FS, links []*snapshot.Snapshot) bool {
	t.Helper()
	names, err := disk.ReadDir("/data/node")
	if errors.Is(err, os.ErrNotExist) || len(names) == 0 {
		return false
	}
	must(t, err)
	s, err := store.Open("/data/node", store.Options{FS: disk, ReadOnly: true})
	if err != nil {
		t.Fatalf("%v has %v", err, names)
	}
	last := links[len(links)-1]
	if s.Before() != last.Manifest.Header.ID() {
		t.Fatalf("the log begins after %v", s.Before())
	}
	must(t, s.Close())
	d := &snapshot.Dir{Path: "/data/node/snapshots", FS: disk}
	have, err := d.Find(last.Manifest.Identity())
	must(t, err)
	must(t, have.Verify())
	if !slices.Contains(names, "VERSION") {
		t.Fatalf("%v", names)
	}
	return true
}
