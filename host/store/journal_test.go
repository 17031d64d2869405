package store

import (
	"bytes"
	"errors"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/invariant"
)

// journalFiles are the names in the journal directory.
func journalFiles(disk *faultfs.FS) (names []string) {
	for _, f := range disk.Files(path.Join(testDir, journalDir)) {
		names = append(names, path.Base(f))
	}
	return names
}

// TestJournalReuse: segments whose blocks are stored come back as the spare file,
// and a node that goes on for long keeps few.
func TestJournalReuse(t *testing.T) {
	c := newTestChain(60, 1)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	j, _, err := s.OpenJournal()
	must(t, err)
	for h := uint64(1); h <= 60; h++ {
		must(t, j.Append([]JournalRecord{openOf(h)}))
		must(t, j.Append([]JournalRecord{txOf(h, 0), txOf(h, 1)}))
		must(t, s.Append(c.at(h)))
		must(t, j.Release(h))
		if n := len(journalFiles(disk)); n > 3 {
			t.Fatalf("%d journal files after block %d: %v", n, h, journalFiles(disk))
		}
	}
	if last := journalFiles(disk)[0]; last < numbered(8, ".wal") {
		t.Fatalf("the oldest segment is %s: the journal did not turn over", last)
	}
}

// TestJournalLargeAppend splits what does not fit one group.
func TestJournalLargeAppend(t *testing.T) {
	disk := faultfs.New()
	c := newTestChain(2, 1)
	s := mustInit(t, testDir, c, small(disk))
	j, _, err := s.OpenJournal()
	must(t, err)
	records := []JournalRecord{openOf(1)}
	for i := range 40 {
		records = append(records, JournalRecord{Tx: bytes.Repeat([]byte{byte(i)}, 16<<10)})
	}
	records = append(records, openOf(2), txOf(2, 0))
	must(t, j.Append(records))
	must(t, s.Close())
	s = mustOpen(t, testDir, small(disk))
	_, blocks, err := s.OpenJournal()
	must(t, err)
	if len(blocks) != 2 || len(blocks[0].Txs) != 40 || blocks[0].Txs[39][0] != 39 || len(blocks[1].Txs) != 1 {
		t.Fatalf("recovered %d blocks", len(blocks))
	}
	must(t, s.Check(nil))
}

// TestJournalSkipsStored: what is in the block log already does not come back.
func TestJournalSkipsStored(t *testing.T) {
	c := newTestChain(3, 1)
	for stored := range 4 {
		disk := faultfs.New()
		s := mustInit(t, testDir, c, small(disk))
		j, _, err := s.OpenJournal()
		must(t, err)
		must(t, j.Append([]JournalRecord{openOf(1), txOf(1, 0), openOf(2), openOf(3), txOf(3, 0), txOf(3, 1)}))
		must(t, s.AppendBatch(c.records[:stored]))
		must(t, s.Close())
		s = mustOpen(t, testDir, small(disk))
		j, blocks, err := s.OpenJournal()
		must(t, err)
		if len(blocks) != 3-stored || j.Height() != 3 {
			t.Fatalf("%d blocks are stored, and the journal has %d more up to %d", stored, len(blocks), j.Height())
		}
		for i, b := range blocks {
			if b.Height != uint64(stored+1+i) || b.Time != 1000+b.Height || !bytes.Equal(b.Oracle, []byte{byte(b.Height)}) || len(b.Txs) != []int{1, 0, 2}[b.Height-1] {
				t.Fatalf("block %d of %d stored: %+v", i, stored, b.JournalOpen)
			}
		}
	}
}

// TestJournalRefuses goes through journals that recovery must not accept.
func TestJournalRefuses(t *testing.T) {
	segment := func(records ...JournalRecord) []byte {
		h := journalHeader{seq: 1, size: 8 << 10, group: 1}
		var payload []byte
		for i := range records {
			payload = records[i].append(payload)
		}
		b := h.encode()
		b, _ = appendGroup(b, payload, le.Uint32(b[sectorBytes-4:]), 1, 0)
		return append(b, make([]byte, 8<<10-len(b))...)
	}
	raw := func(payload []byte) []byte {
		h := journalHeader{seq: 1, size: 8 << 10, group: 1}
		b := h.encode()
		b, _ = appendGroup(b, payload, le.Uint32(b[sectorBytes-4:]), 1, 0)
		return append(b, make([]byte, 8<<10-len(b))...)
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want string
	}{
		{"a block left out", segment(openOf(12)), "want block 11"},
		{"a block opened twice", segment(openOf(11), openOf(11)), "opened after block 11"},
		{"a transaction of no block", segmentAt(20, JournalRecord{Tx: []byte("x")}), "never opened"},
		{"an unknown record", raw([]byte{9}), "tag 9"},
		{"a record cut off", raw([]byte{recordTx, 5, 0, 0, 0, 1}), "cut off"},
		{"a short file", segment(openOf(11))[:4<<10], "its header says 8192"},
	} {
		scan := &journalScan{head: 10}
		_, err := scan.segment(tc.b, "j", 1)
		if _, ok := isCorrupt(err); !ok || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// segmentAt is a segment that begins while a block is open.
func segmentAt(height uint64, r JournalRecord) []byte {
	h := journalHeader{seq: 1, size: 8 << 10, group: 1, height: height}
	b := h.encode()
	b, _ = appendGroup(b, r.append(nil), le.Uint32(b[sectorBytes-4:]), 1, 0)
	return append(b, make([]byte, 8<<10-len(b))...)
}

// TestJournalMissingSegment: a segment that is gone is damage.
func TestJournalMissingSegment(t *testing.T) {
	c := newTestChain(1, 1)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	j, _, err := s.OpenJournal()
	must(t, err)
	for h := uint64(1); h <= 16; h++ {
		must(t, j.Append([]JournalRecord{openOf(h), txOf(h, 0), txOf(h, 1)}))
	}
	must(t, s.Close())
	segments := journalFiles(disk)
	segments = segments[:len(segments)-1] // the spare
	if len(segments) < 3 {
		t.Fatalf("only %v", segments)
	}
	for _, gone := range segments[:len(segments)-1] {
		d := disk.Clone()
		must(t, d.Remove(path.Join(testDir, journalDir, gone)))
		s := mustOpen(t, testDir, small(d))
		if _, _, err := s.OpenJournal(); errText(err) == "" {
			t.Errorf("%s is gone: %v", gone, err)
		}
		if err := s.Append(c.at(1)); !errors.Is(err, ErrFailed) {
			t.Errorf("append beside a journal that cannot be read: %v", err)
		}
	}
}

func TestJournalAsserts(t *testing.T) {
	s := mustInit(t, testDir, newTestChain(0, 0), small(faultfs.New()))
	j, _, err := s.OpenJournal()
	must(t, err)
	for _, tc := range []struct {
		name string
		call func()
	}{
		{"a transaction before any block", func() { j.Append([]JournalRecord{{Tx: []byte("x")}}) }},
		{"a transaction over the limit", func() { j.Append([]JournalRecord{openOf(1), {Tx: make([]byte, 16<<10+1)}}) }},
		{"an oracle over the limit", func() {
			j.Append([]JournalRecord{{Open: &JournalOpen{Height: 9, Oracle: make([]byte, maxOracleBytes+1)}}})
		}},
		{"a block opened again", func() { j.Append([]JournalRecord{openOf(3), openOf(3)}) }},
		{"a release ahead of the log", func() { j.Release(5) }},
		{"the journal opened twice", func() { s.OpenJournal() }},
	} {
		func() {
			defer func() {
				if _, ok := recover().(invariant.Violation); !ok {
					t.Errorf("%s was accepted", tc.name)
				}
			}()
			tc.call()
		}()
	}
}

// TestJournalReleaseWhileAppending: the sealer releases while answers are
// journaled; the race detector looks on.
func TestJournalReleaseWhileAppending(t *testing.T) {
	c := newTestChain(40, 1)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	j, _, err := s.OpenJournal()
	must(t, err)
	sealed := make(chan uint64, 40)
	var wg sync.WaitGroup
	wg.Go(func() {
		for h := range sealed {
			if err := s.Append(c.at(h)); err != nil {
				t.Error(err)
			}
			if err := j.Release(h); err != nil {
				t.Error(err)
			}
		}
	})
	for h := uint64(1); h <= 40; h++ {
		must(t, j.Append([]JournalRecord{openOf(h), txOf(h, 0), txOf(h, 1)}))
		sealed <- h
	}
	close(sealed)
	wg.Wait()
	must(t, j.Append([]JournalRecord{openOf(41), txOf(41, 0)}))
	must(t, s.Close())
	s = mustOpen(t, testDir, small(disk))
	_, blocks, err := s.OpenJournal()
	must(t, err)
	if len(blocks) != 1 || blocks[0].Height != 41 {
		t.Fatalf("recovered %d blocks", len(blocks))
	}
}
