package store

import (
	"path/filepath"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

// TestJournalEntries: everything that was appended is shown, with its block, also
// over files and after a release.
func TestJournalEntries(t *testing.T) {
	c := newTestChain(3, 2)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	j, _, err := s.OpenJournal()
	must(t, err)
	var want []JournalRecord
	heights := []uint64{}
	for h := uint64(1); h <= 3; h++ {
		for _, group := range [][]JournalRecord{{openOf(h)}, {txOf(h, 0), txOf(h, 1)}, {txOf(h, 0)}} {
			must(t, j.Append(group))
			want = append(want, group...)
			for range group {
				heights = append(heights, h)
			}
		}
	}
	for _, look := range []*Store{s, mustOpen(t, testDir, Options{FS: disk, ReadOnly: true})} {
		entries, err := look.JournalEntries()
		must(t, err)
		var got []JournalRecord
		group := uint64(0)
		for i, e := range entries {
			got = append(got, e.JournalRecord)
			if i >= len(heights) || e.Height != heights[i] || e.Group < group || e.Segment == 0 || e.Offset < sectorBytes {
				t.Errorf("record %d: %+v", i, e)
			}
			group = e.Group
		}
		if describe(got) != describe(want) {
			t.Errorf("journal has\n%s\nwant\n%s", describe(got), describe(want))
		}
	}
	must(t, s.AppendBatch(c.records[:2]))
	entries, err := s.JournalEntries()
	must(t, err)
	if len(entries) != len(want) || entries[len(entries)-1].Height != 3 {
		t.Errorf("%d records after two blocks were stored, want %d", len(entries), len(want))
	}
}

// TestSizes: what blocks and ids are said to take is what the files take.
func TestSizes(t *testing.T) {
	c := newTestChain(200, 5)
	disk := faultfs.New()
	o := small(disk)
	o.SegmentBytes, o.IndexEntries = 0, 1<<16
	s := mustInit(t, testDir, c, o)
	must(t, s.AppendBatch(c.records))
	total, ids := int64(segmentHeaderBytes), uint64(0)
	for h := uint64(1); h <= 200; h++ {
		n, err := s.RecordBytes(h)
		must(t, err)
		total += n
		ids += 1 + uint64(len(c.at(h).Results.Receipts))
	}
	if got := len(disk.ReadFile(filepath.Join(testDir, filepath.FromSlash(segName(1))))); int64(got) != total {
		t.Errorf("log is %d bytes, blocks take %d", got, total)
	}
	must(t, s.index.flush(noRest))
	run := s.index.runs[0]
	if got := len(disk.ReadFile(filepath.Join(testDir, filepath.FromSlash(run.name())))); int64(got) != IndexBytes(ids) || run.entries != ids {
		t.Errorf("run of %d ids is %d bytes, %d ids take %d", run.entries, got, ids, IndexBytes(ids))
	}
	if more := IndexBytes(2*MaxRunEntries + ids); more <= 2*IndexBytes(MaxRunEntries-1) {
		t.Errorf("%d ids take %d bytes", 2*MaxRunEntries+ids, more)
	}
}
