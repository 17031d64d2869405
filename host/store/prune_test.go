package store

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// TestSegmentBlocks: with small files pruning comes close to what was asked for.
func TestSegmentBlocks(t *testing.T) {
	c := newTestChain(60, 3)
	o := small(faultfs.New())
	o.SegmentBytes, o.SegmentBlocks = 0, 10
	s := mustInit(t, testDir, c, o)
	must(t, s.AppendBatch(c.records[:25])) // within a batch, too
	for _, r := range c.records[25:] {
		must(t, s.Append(r))
	}
	for _, d := range []struct{ before, base uint64 }{{1, 1}, {10, 1}, {11, 11}, {40, 31}, {40, 31}, {41, 41}, {1000, 51}} {
		base, err := s.DropBefore(d.before)
		must(t, err)
		if base != d.base {
			t.Errorf("base is %d after dropping before %d, want %d", base, d.before, d.base)
		}
		must(t, c.holds(s, base, 60))
	}
	must(t, s.Check(nil))
	must(t, s.Close())
	must(t, c.holds(mustOpen(t, testDir, o), 51, 60))
}

// slowRemoval is a disk on which deleting a file waits for release.
type slowRemoval struct {
	*faultfs.FS
	asked, release chan struct{}
}

func (d *slowRemoval) Remove(name string) error {
	if strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".run") {
		d.asked <- struct{}{}
		<-d.release
	}
	return d.FS.Remove(name)
}

// TestPruningHoldsNobodyUp: while files are being deleted, blocks are appended,
// indexed, read and found.
func TestPruningHoldsNobodyUp(t *testing.T) {
	c := newTestChain(80, 4)
	disk := &slowRemoval{faultfs.New(), make(chan struct{}), make(chan struct{})}
	o := small(disk.FS)
	o.FS, o.SegmentBytes, o.SegmentBlocks = vfs.FS(disk), 0, 5
	must(t, Init(testDir, c.genesis, o))
	s := mustOpen(t, testDir, o)
	for _, r := range c.records[:40] {
		must(t, s.Append(r))
	}
	must(t, s.Maintain(nil))
	dropped := make(chan error, 1)
	go func() {
		_, err := s.DropBefore(31)
		dropped <- err
	}()
	for at := uint64(41); ; {
		select {
		case <-disk.asked:
			if at > 80 {
				t.Fatal("more files than expected")
			}
			must(t, s.Append(c.at(at)))
			must(t, c.holds(s, 31, at))
			at++
			disk.release <- struct{}{}
		case err := <-dropped:
			must(t, err)
			if at == 41 {
				t.Fatal("nothing was deleted")
			}
			must(t, s.Check(nil))
			return
		}
	}
}

// TestIndexOfPrunedStore: what is left of the index after a long time is in
// proportion to the blocks that are kept.
func TestIndexOfPrunedStore(t *testing.T) {
	const keep = 40
	c := newTestChain(1200, 4)
	disk := faultfs.New()
	o := small(disk)
	o.SegmentBlocks = 4
	s := mustInit(t, testDir, c, o)
	kept, most := 0, 0 // ids of the blocks that are kept, and in the index
	for i, r := range c.records {
		must(t, s.Append(r))
		must(t, s.Maintain(nil))
		kept += 1 + len(r.Results.Receipts)
		if i < keep {
			continue
		}
		kept -= 1 + len(c.records[i-keep].Results.Receipts)
		_, err := s.DropBefore(uint64(i+1) - keep)
		must(t, err)
		in := s.index.mem.len()
		for _, h := range s.index.runs {
			in += int(h.entries)
		}
		if most = max(most, in); in > 4*kept {
			t.Fatalf("block %d: %d ids in the index, of which %d count", i+1, in, kept)
		}
	}
	must(t, c.holds(s, s.Base(), 1200))
	names, err := disk.ReadDir(filepath.Join(testDir, indexDir))
	must(t, err)
	if len(names) != len(s.index.runs) {
		t.Errorf("%d files in the index, %d runs in use: %v", len(names), len(s.index.runs), names)
	}
	t.Logf("%d ids are kept, at most %d were in the index", kept, most)
}
