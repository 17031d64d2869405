package store

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

// TestIndexMerges: however many blocks come, there are few runs, and no file that
// is not one of them.
func TestIndexMerges(t *testing.T) {
	c := newTestChain(400, 6)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	for i, r := range c.records {
		must(t, s.Append(r))
		must(t, s.Maintain(nil))
		var want []string
		for _, h := range s.index.runs {
			want = append(want, path.Join(testDir, h.name()))
		}
		if m := s.index.merging; m != nil {
			want = append(want, m.temp)
		}
		if files := disk.Files(path.Join(testDir, indexDir)); len(files) != len(want) || len(files) > 4*mergeFanout {
			t.Fatalf("after block %d: files\n%s\nruns\n%s", i+1, strings.Join(files, "\n"), strings.Join(want, "\n"))
		}
	}
	must(t, c.holds(s, 1, 400))
	must(t, s.Check(nil))
	must(t, s.Close())
	must(t, c.holds(mustOpen(t, testDir, small(disk)), 1, 400))
}

// TestIndexAlikeIDs: somebody grinds ids that share their first eight bytes, with
// each other, in memory and in runs.
func TestIndexAlikeIDs(t *testing.T) {
	c := newTestChain(0, 0)
	c.maxTxs = 0
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	n := byte(0)
	for range 12 {
		c.extend(1, "main")
		r := &c.records[len(c.records)-1]
		for i := range 12 {
			id := chain.Hash{1, 2, 3, 4, 5, 6, 7, 8, n, byte(i)}
			if i%3 == 0 {
				id = chain.Hash{byte(i), n}
			}
			r.Results.Receipts = append(r.Results.Receipts, chain.Receipt{ID: id})
		}
		n++
		must(t, s.Append(*r))
	}
	must(t, c.holds(s, 1, 12)) // in memory
	for range 20 {
		must(t, s.Maintain(nil))
	}
	must(t, c.holds(s, 1, 12)) // on disk
	if _, err := s.FindTx(chain.Hash{1, 2, 3, 4, 5, 6, 7, 8, 99}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an id that only begins alike: %v", err)
	}
}

// TestIndexStaleRun: a run of blocks that were rolled back, brought back by a
// crash, does not count for the blocks that took their place.
func TestIndexStaleRun(t *testing.T) {
	c := newTestChain(12, 3)
	f := c.fork(4, 8, "other")
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	must(t, s.AppendBatch(c.records))
	must(t, s.Close())
	stale := map[string][]byte{}
	for _, file := range disk.Files(path.Join(testDir, indexDir)) {
		stale[file] = disk.ReadFile(file)
	}
	s = mustOpen(t, testDir, small(disk))
	must(t, s.Truncate(4))
	must(t, s.AppendBatch(f.records[4:]))
	must(t, s.Close())
	for _, file := range disk.Files(path.Join(testDir, indexDir)) {
		must(t, disk.Remove(file))
	}
	for file, b := range stale {
		disk.WriteFile(file, b)
	}
	s = mustOpen(t, testDir, small(disk))
	for range 10 {
		must(t, s.Maintain(nil))
	}
	must(t, f.holds(s, 1, 12))
}

// TestIndexWithoutMaintain: a node that never calls Maintain keeps a bounded table.
func TestIndexWithoutMaintain(t *testing.T) {
	c := newTestChain(300, 4)
	s := mustInit(t, testDir, c, small(faultfs.New()))
	for _, r := range c.records {
		must(t, s.Append(r))
		if n := s.index.mem.len(); n > overdue*s.index.entries {
			t.Fatalf("%d ids in memory, limit %d", n, overdue*s.index.entries)
		}
	}
	must(t, c.holds(s, 1, 300))
}

func TestIndexDropBefore(t *testing.T) {
	c := newTestChain(100, 4)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	for _, r := range c.records {
		must(t, s.Append(r))
		must(t, s.Maintain(nil))
	}
	base, err := s.DropBefore(90)
	must(t, err)
	for _, h := range s.index.runs {
		if h.last < base {
			t.Errorf("run %s is still there, base is %d", h.name(), base)
		}
	}
	for range 10 {
		must(t, s.Maintain(nil))
	}
	must(t, c.holds(s, base, 100))
	must(t, s.Close())
	must(t, c.holds(mustOpen(t, testDir, small(disk)), base, 100))
}

func TestSearchRun(t *testing.T) {
	disk := faultfs.New()
	must(t, disk.MkdirAll("/"))
	for _, tc := range []struct {
		name string
		n    uint64
		of   func(i uint64) uint64
	}{
		{"one", 1, func(uint64) uint64 { return 1 << 63 }},
		{"spread evenly", 3000, func(i uint64) uint64 { return i * (1 << 52) }},
		{"all at the low end", 3000, func(i uint64) uint64 { return i }},
		{"all at the high end", 3000, func(i uint64) uint64 { return i - 3000 }},
		{"all the same", 3000, func(uint64) uint64 { return 77 }},
		{"pages of the same", 3000, func(i uint64) uint64 { return i / 500 << 40 }},
	} {
		f, err := disk.Create("/run")
		must(t, err)
		h := runHeader{first: 1, last: 1, entries: tc.n}
		w := newRunWriter(f, h)
		want := map[uint64]int{}
		for i := range tc.n {
			must(t, w.add(entry{tc.of(i), 1<<24 | i}))
			want[tc.of(i)]++
		}
		must(t, w.finish())
		must(t, verifyRun(f, &h))
		for prefix, n := range want {
			for _, p := range []uint64{prefix - 1, prefix, prefix + 1} {
				found, err := search(f, &h, p)
				must(t, err)
				if len(found) != want[p] {
					t.Errorf("%s: %d entries of %x, want %d (%d)", tc.name, len(found), p, want[p], n)
				}
			}
		}
	}
}

// TestBloom: the filter lets everything pass that is there, and not much else.
func TestBloom(t *testing.T) {
	disk := faultfs.New()
	must(t, disk.MkdirAll("/"))
	f, err := disk.Create("/run")
	must(t, err)
	h := runHeader{first: 1, last: 1, entries: 20_000}
	w := newRunWriter(f, h)
	for i := range h.entries {
		must(t, w.add(entry{i << 48, 1<<24 | i}))
	}
	must(t, w.finish())
	wrong := 0
	for i := range h.entries {
		if may, err := mayHold(f, &h, i<<48); err != nil || !may {
			t.Fatalf("id %d does not pass: %v", i, err)
		}
		if may, _ := mayHold(f, &h, i<<48+1); may {
			wrong++
		}
	}
	if wrong > int(h.entries)*3/100 {
		t.Errorf("%d of %d ids that are not there pass", wrong, h.entries)
	}
}

// TestTableSorted: the parts of a table are all of it, in order, and it rests.
func TestTableSorted(t *testing.T) {
	table := newTable(1)
	var want []entry
	for i := range uint64(3000) {
		e := entry{mix(i), i}
		if i%100 == 0 {
			e.prefix = 1 << 63 // alike, and what begins a part
		}
		table.put(e)
		want = append(want, e)
	}
	slices.SortFunc(want, entry.compare)
	rests := 0
	var got []entry
	for part := range table.sorted(func() { rests++ }) {
		got = append(got, part...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d entries, not the %d that were put, in order", len(got), len(want))
	}
	if rests < len(want)/piece-1 {
		t.Errorf("%d rests in %d entries", rests, len(want))
	}
}
