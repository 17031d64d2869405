package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

func TestAppendReadReopen(t *testing.T) {
	c := newTestChain(60, 5)
	for _, segment := range []int64{1, 4 << 10, DefaultSegmentBytes} {
		o := small(faultfs.New())
		o.SegmentBytes = segment
		s := mustInit(t, testDir, c, o)
		if _, ok := s.Head(); ok {
			t.Fatal("a new store has a head")
		}
		for i, r := range c.records[:40] {
			must(t, s.Append(r))
			if i%3 == 0 {
				must(t, s.Maintain(nil))
			}
		}
		must(t, s.AppendBatch(c.records[40:]))
		must(t, c.holds(s, 1, 60))
		must(t, s.Check(nil))
		for _, readOnly := range []bool{true, false} {
			must(t, s.Close())
			o.ReadOnly = readOnly
			s = mustOpen(t, testDir, o)
			must(t, c.holds(s, 1, 60))
			must(t, s.Check(nil))
		}
	}
}

func TestRealDirectory(t *testing.T) {
	c := newTestChain(20, 5)
	dir := filepath.Join(t.TempDir(), "node", "data")
	o := Options{SegmentBytes: 4 << 10, IndexEntries: 64}
	s := mustInit(t, dir, c, o)
	must(t, s.AppendBatch(c.records[:10]))
	j, blocks, err := s.OpenJournal()
	must(t, err)
	if len(blocks) != 0 || j.Height() != 0 {
		t.Fatalf("a new journal has %d blocks at height %d", len(blocks), j.Height())
	}
	must(t, j.Append([]JournalRecord{{Open: &JournalOpen{Height: 11, Time: 5, Oracle: []byte{1}}}, {Tx: []byte("tx")}}))

	_, err = Open(dir, o)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "pid ") {
		t.Fatalf("second writer: %v, want ErrLocked and the pid", err)
	}
	if err := Init(dir, c.genesis, o); !errors.Is(err, ErrLocked) {
		t.Fatalf("init of a directory in use: %v", err)
	}
	reader := o
	reader.ReadOnly = true
	r := mustOpen(t, dir, reader)
	must(t, s.AppendBatch(c.records[10:]))
	must(t, c.holds(r, 1, 10))
	must(t, r.Check(nil))
	if err := r.Append(c.at(11)); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("append to a reader: %v", err)
	}
	must(t, s.Close())
	if err := Init(dir, c.genesis, o); !errors.Is(err, ErrInitialized) {
		t.Fatalf("second init: %v", err)
	}
	must(t, c.holds(mustOpen(t, dir, o), 1, 20))
}

func TestOpenRefuses(t *testing.T) {
	c := newTestChain(3, 5)
	other := newTestChain(0, 0)
	other.genesis.ChainID = 2
	for _, tc := range []struct {
		name string
		do   func(disk *faultfs.FS)
		want error
	}{
		{"nothing there", func(disk *faultfs.FS) { must(t, disk.Remove(testDir+"/VERSION")) }, ErrNotInitialized},
		{"a later format", func(disk *faultfs.FS) {
			disk.WriteFile(testDir+"/VERSION", []byte("kaizen data directory, format 2\n"))
		}, ErrVersion},
		{"blocks of another chain", func(disk *faultfs.FS) {
			disk.WriteFile(testDir+"/genesis.bin", encodeGenesis(other.genesis))
		}, ErrGenesis},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := faultfs.New()
			s := mustInit(t, testDir, c, small(disk))
			must(t, s.AppendBatch(c.records))
			must(t, s.Close())
			tc.do(disk)
			if _, err := Open(testDir, small(disk)); !errors.Is(err, tc.want) {
				t.Fatalf("open: %v, want %v", err, tc.want)
			}
			if err := Init(testDir, c.genesis, small(disk)); !errors.Is(err, ErrInitialized) {
				t.Fatalf("init over the remains of a chain: %v", err)
			}
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	c := newTestChain(4, 3)
	fork := c.fork(1, 3, "other")
	talkative := c.at(3)
	talkative.Signers = make([]byte, MaxSignersBytes+1)
	s := mustInit(t, testDir, c, small(faultfs.New()))
	must(t, s.AppendBatch(c.records[:2]))
	huge := Record{Block: c.at(3).Block, Results: &chain.Results{Receipts: make([]chain.Receipt, MaxResultsBytes/42+1)}}
	for _, tc := range []struct {
		name string
		r    Record
		want error
	}{
		{"the head again", c.at(2), ErrOrder},
		{"a height left out", c.at(4), ErrOrder},
		{"another parent", fork.at(3), ErrOrder},
		{"results over the limit", huge, ErrTooLarge},
		{"signers over the limit", talkative, ErrTooLarge},
	} {
		if err := s.Append(tc.r); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	if err := s.AppendBatch([]Record{c.at(3), fork.at(4)}); !errors.Is(err, ErrOrder) {
		t.Errorf("a batch with a break inside: %v", err)
	}
	must(t, c.holds(s, 1, 2))
	must(t, s.Append(c.at(3)))
}

func TestReadOutside(t *testing.T) {
	c := newTestChain(30, 3)
	s := mustInit(t, testDir, c, small(faultfs.New()))
	if _, err := s.Block(1); !errors.Is(err, ErrNotFound) {
		t.Fatalf("block 1 of an empty store: %v", err)
	}
	must(t, s.AppendBatch(c.records))
	base, err := s.DropBefore(20)
	must(t, err)
	if base < 2 || base > 20 {
		t.Fatalf("base is %d after dropping before 20", base)
	}
	for height, want := range map[uint64]error{0: ErrPruned, base - 1: ErrPruned, 31: ErrNotFound} {
		if _, err := s.Header(height); !errors.Is(err, want) {
			t.Errorf("header %d: %v, want %v", height, err, want)
		}
	}
	if _, err := s.FindTx(chain.Hash{9}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown transaction: %v", err)
	}
	if _, err := s.HeightByHash(c.at(1).Block.Header.Hash()); !errors.Is(err, ErrNotFound) {
		t.Errorf("pruned block by hash: %v", err)
	}
	must(t, c.holds(s, base, 30))
	must(t, s.Check(nil))
	must(t, s.Close())
	must(t, c.holds(mustOpen(t, testDir, s.opts), base, 30))
}

// TestTruncate rolls back to every height and goes on with another fork.
func TestTruncate(t *testing.T) {
	c := newTestChain(16, 3)
	for to := uint64(0); to <= 16; to++ {
		f := c.fork(int(to), 6, "other")
		disk := faultfs.New()
		s := mustInit(t, testDir, c, small(disk))
		for _, r := range c.records {
			must(t, s.Append(r))
			must(t, s.Maintain(nil))
		}
		must(t, s.Truncate(to))
		must(t, s.Maintain(nil))
		must(t, c.holds(s, 1, to))
		if to < 16 {
			if _, err := s.HeightByHash(c.at(to + 1).Block.Header.Hash()); !errors.Is(err, ErrNotFound) {
				t.Fatalf("block %d by hash after rolling back to %d: %v", to+1, to, err)
			}
		}
		must(t, s.AppendBatch(f.records[to:]))
		must(t, f.holds(s, 1, to+6))
		must(t, s.Check(nil))
		must(t, s.Close())
		must(t, f.holds(mustOpen(t, testDir, small(disk)), 1, to+6))
	}
}

func TestTruncateRefuses(t *testing.T) {
	c := newTestChain(30, 3)
	s := mustInit(t, testDir, c, small(faultfs.New()))
	must(t, s.AppendBatch(c.records))
	base, err := s.DropBefore(20)
	must(t, err)
	for _, to := range []uint64{31, base - 2} {
		if err := s.Truncate(to); !errors.Is(err, ErrNotFound) {
			t.Errorf("roll back to %d of %d to 30: %v", to, base, err)
		}
	}
	must(t, s.Truncate(base-1))
	must(t, c.holds(s, base, base-1))
	if err := s.Append(c.fork(0, int(base), "x").at(base)); !errors.Is(err, ErrOrder) {
		t.Errorf("a block that does not follow what was pruned: %v", err)
	}
	must(t, s.AppendBatch(c.records[base-1:]))
	_, _, err = s.OpenJournal()
	must(t, err)
	if err := s.Truncate(29); !errors.Is(err, ErrHasJournal) {
		t.Errorf("roll back with a journal: %v", err)
	}
}

// TestReadWhileWriting has readers at work while blocks are appended, rolled back
// and pruned; the race detector looks on.
func TestReadWhileWriting(t *testing.T) {
	c := newTestChain(200, 4)
	s := mustInit(t, testDir, c, small(faultfs.New()))
	must(t, s.Append(c.at(1)))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				head, _ := s.Head()
				err := c.holdsBlock(s, head.Height)
				if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrPruned) && !errors.Is(err, ErrIndexIncomplete) {
					t.Errorf("block %d: %v", head.Height, err)
					return
				}
			}
		})
	}
	for i := uint64(2); i <= 200; i++ {
		must(t, s.Append(c.at(i)))
		must(t, s.Maintain(nil))
		if i == 100 {
			must(t, s.Truncate(60))
			must(t, s.AppendBatch(c.records[60:100]))
		}
		if i%50 == 0 {
			_, err := s.DropBefore(i - 40)
			must(t, err)
		}
	}
	close(done)
	wg.Wait()
	must(t, c.holds(s, s.Base(), 200))
}

func TestEvidence(t *testing.T) {
	c := newTestChain(1, 1)
	o := small(faultfs.New())
	s := mustInit(t, testDir, c, o)
	path, err := s.WriteEvidence("block-5-aabb.json", []byte("first"))
	must(t, err)
	again, err := s.WriteEvidence("block-5-aabb.json", []byte("second"))
	must(t, err)
	if path != again || string(o.FS.(*faultfs.FS).ReadFile(path)) != "first" {
		t.Fatalf("evidence was replaced, or is at %s and %s", path, again)
	}
	for _, name := range []string{"", "../x", "a/b", "A", "x.tmp", "x.sha256", strings.Repeat("a", 101)} {
		if _, err := s.WriteEvidence(name, nil); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
	if _, err := s.WriteEvidence("big", make([]byte, MaxEvidenceBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("evidence over the limit: %v", err)
	}
	for i := range MaxEvidenceFiles {
		_, err = s.WriteEvidence("block-6-"+numbered(uint64(i), ""), nil)
	}
	if !errors.Is(err, ErrEvidenceFull) {
		t.Errorf("file %d: %v", MaxEvidenceFiles+1, err)
	}
	must(t, s.Check(nil))
	o.FS.(*faultfs.FS).FlipBit(path, 2, 3)
	if c, ok := isCorrupt(s.Check(nil)); !ok || c.File != "evidence/block-5-aabb.json" {
		t.Errorf("check found %v", c)
	}
}

func TestOptionsRefuses(t *testing.T) {
	for _, o := range []Options{
		{SegmentBytes: -1}, {SegmentBytes: MaxSegmentBytes + 1}, {JournalBytes: MinJournalBytes - 512}, {JournalBytes: MinJournalBytes + 1},
		{JournalBytes: MaxJournalBytes + 512}, {IndexEntries: -1}, {IndexEntries: MaxIndexEntries + 1},
	} {
		if _, err := Open(t.TempDir(), o); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
