package store

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"testing"
	"testing/synctest"

	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// gate is a file system that can keep the writes to journal segments back, to let
// them go in an order of the test's.
type gate struct {
	vfs.FS
	shut bool
	kept chan *keptWrite
}

func newGate(disk vfs.FS) *gate { return &gate{FS: disk, kept: make(chan *keptWrite, MaxOverlap)} }

func (g *gate) OpenSync(name string) (vfs.File, error) {
	f, err := g.FS.OpenSync(name)
	return gatedFile{f, g}, err
}

type gatedFile struct {
	vfs.File
	g *gate
}

type keptWrite struct{ start, end chan struct{} }

// do lets the write go, and returns when it is done.
func (k *keptWrite) do() {
	close(k.start)
	<-k.end
}

func (f gatedFile) WriteAt(p []byte, at int64) (int, error) {
	if f.g.shut {
		k := &keptWrite{make(chan struct{}), make(chan struct{})}
		f.g.kept <- k
		<-k.start
		defer close(k.end)
	}
	return f.File.WriteAt(p, at)
}

// begin begins a group and its write, which is kept back.
func (g *gate) begin(j *Journal, records []JournalRecord) (*Group, *keptWrite, error) {
	group, err := j.Begin(records)
	if err != nil {
		return nil, nil, err
	}
	g.shut = true
	defer func() { g.shut = false }()
	go group.Write()
	return group, <-g.kept, nil
}

// overlap begins two groups before either is written, and writes them in order or
// the second one first. There must be room for both in the segment.
func (g *gate) overlap(j *Journal, first, second []JournalRecord, swapped bool) (groups [2]*Group, err error) {
	var writes [2]*keptWrite
	for i, records := range [][]JournalRecord{first, second} {
		if groups[i], writes[i], err = g.begin(j, records); err != nil {
			return groups, err // the first one: nothing is kept back
		}
	}
	if swapped {
		writes[0], writes[1] = writes[1], writes[0]
	}
	writes[0].do()
	writes[1].do()
	return groups, nil
}

// overlapStep journals two groups at once.
func overlapStep(swapped bool, first, second []JournalRecord) step {
	return step{fmt.Sprintf("overlap, swapped: %v", swapped), func(w *world) error {
		w.inflight = [][]JournalRecord{first, second}
		groups, err := w.gate.overlap(w.j, first, second, swapped)
		if err != nil {
			return err
		}
		for _, c := range groups {
			if err := c.wait(); err != nil {
				return err
			}
			w.acknowledged()
		}
		return nil
	}}
}

// overlapHistory journals two groups at once, in segments that are used again.
func overlapHistory(c *testChain) []step {
	steps := []step{initStep(c), openStep, openJournalStep}
	for h := uint64(1); h <= 6; h++ {
		steps = append(steps, journalStep(openOf(h), txOf(h, 1)),
			overlapStep(h%2 == 0, []JournalRecord{{Tx: []byte("a")}, {Tx: make([]byte, 700)}}, []JournalRecord{{Tx: make([]byte, 600)}}),
			appendStep(c, h, h), releaseStep(h))
	}
	return append(steps, journalStep(openOf(7)),
		overlapStep(true, []JournalRecord{{Tx: []byte("b")}}, []JournalRecord{openOf(8), {Tx: []byte("c")}}))
}

func TestOverlapCrashes(t *testing.T) {
	t.Parallel()
	everyOperation(t, overlapHistory(newTestChain(8, 4)), []faultfs.Fault{faultfs.Crash, faultfs.CrashShort})
}

func TestOverlapErrors(t *testing.T) {
	t.Parallel()
	everyOperation(t, overlapHistory(newTestChain(8, 4)), []faultfs.Fault{faultfs.Fail, faultfs.FailPersisted, faultfs.Short})
}

// underWay is a directory with answered groups, and after them two that were under
// way at once.
type underWay struct {
	disk     *faultfs.FS // without those two
	file     string      // the last segment
	at       int64       // where the first of them is
	sectors  []byte      // both
	first    int         // sectors of the first
	answered []JournalRecord
	two      [2][]JournalRecord
}

// newUnderWay journals and releases blocks first: after more than one the last segment
// is a file that was used before.
func newUnderWay(t *testing.T, blocks uint64) *underWay {
	c := newTestChain(int(blocks), 1)
	u := &underWay{disk: faultfs.New()}
	g := newGate(u.disk)
	o := small(u.disk)
	o.FS = g
	s := mustInit(t, testDir, c, o)
	j, _, err := s.OpenJournal()
	must(t, err)
	for h := uint64(1); h <= blocks; h++ {
		must(t, j.Append([]JournalRecord{openOf(h), txOf(h, 0), txOf(h, 1)}))
		must(t, s.Append(c.at(h)))
		must(t, j.Release(h))
	}
	u.answered = []JournalRecord{openOf(blocks + 1), {Tx: []byte("answered")}}
	must(t, j.Append(u.answered))
	u.file, u.at = path.Join(testDir, j.segs[len(j.segs)-1].name()), j.at
	before := u.disk.ReadFile(u.file)
	if used := firstNonZero(before[u.at:]) >= 0; used != (blocks > 1) {
		t.Fatalf("the last segment was used before: %v", used)
	}
	u.two = [2][]JournalRecord{{{Tx: make([]byte, 1200)}}, {{Tx: make([]byte, 100)}, openOf(blocks + 2), {Tx: make([]byte, 600)}}}
	groups, err := g.overlap(j, u.two[0], u.two[1], false)
	must(t, err)
	for _, c := range groups {
		must(t, c.wait())
	}
	u.sectors, u.first = bytes.Clone(u.disk.ReadFile(u.file)[u.at:j.at]), int(groups[1].at-groups[0].at)/sectorBytes
	must(t, s.Close())
	u.disk.WriteFile(u.file, before)
	return u
}

// with is the directory after a power loss that kept some of the sectors.
func (u *underWay) with(kept int) *world {
	w := &world{disk: u.disk.Clone(), inited: true, journal: u.answered}
	b := w.disk.ReadFile(u.file)
	for i := range len(u.sectors) / sectorBytes {
		if kept&(1<<i) != 0 {
			copy(b[u.at+int64(i*sectorBytes):], u.sectors[i*sectorBytes:(i+1)*sectorBytes])
		}
	}
	w.disk.WriteFile(u.file, b)
	return w
}

// expect is what must be there then.
func (u *underWay) expect(kept int) []JournalRecord {
	whole := 1<<u.first - 1
	all := 1<<(len(u.sectors)/sectorBytes) - 1
	want := u.answered
	if kept&whole == whole {
		want = append(want[:len(want):len(want)], u.two[0]...)
	}
	if kept == all {
		want = append(want, u.two[1]...)
	}
	return want
}

// recovered are the records that opening the journal gives back.
func recovered(disk vfs.FS) (*Store, []JournalRecord, error) {
	s, err := Open(testDir, Options{FS: disk, SegmentBytes: 4 << 10, JournalBytes: MinJournalBytes, IndexEntries: 8})
	if err != nil {
		return nil, nil, err
	}
	_, blocks, err := s.OpenJournal()
	if err != nil {
		return s, nil, err
	}
	return s, recordsIn(blocks), nil
}

// TestOverlapEverySubset: of two groups that were under way when the power went the
// disk has any of the sectors. What is answered is there, a group is there whole or
// not at all and never without the one before it, and the power may go again during
// the recovery from that, at any operation.
func TestOverlapEverySubset(t *testing.T) {
	for _, blocks := range []uint64{1, 12} {
		t.Run(fmt.Sprintf("%d blocks before", blocks), func(t *testing.T) {
			t.Parallel()
			u := newUnderWay(t, blocks)
			for kept := range 1 << (len(u.sectors) / sectorBytes) {
				disk := u.with(kept).disk
				must(t, inspect(disk))
				for n := 0; ; n++ {
					again := disk.Clone()
					if n > 0 {
						again.FailAt(n, faultfs.CrashShort)
						s, _, err := recovered(again)
						if s != nil {
							s.Close()
						}
						if !errors.Is(err, faultfs.ErrCrashed) {
							break // after the last operation
						}
						again.PowerLoss(faultfs.Torn(uint64(n)))
					}
					if err := u.goesOn(again, kept); err != nil {
						t.Fatalf("sectors %06b kept, recovery crashed at operation %d: %v", kept, n, err)
					}
				}
			}
		})
	}
}

// goesOn recovers, appends, and recovers again.
func (u *underWay) goesOn(disk *faultfs.FS, kept int) error {
	want := u.expect(kept)
	s, got, err := recovered(disk)
	if err != nil {
		return err
	}
	if describe(got) != describe(want) {
		return fmt.Errorf("journal has\n%s\nwant\n%s", describe(got), describe(want))
	}
	more := JournalRecord{Tx: []byte("more")}
	if err := s.journal.Append([]JournalRecord{more}); err != nil {
		return err
	}
	disk.PowerLoss(faultfs.LoseAll)
	s, got, err = recovered(disk)
	if err != nil {
		return err
	}
	defer s.Close()
	if want = append(want[:len(want):len(want)], more); describe(got) != describe(want) {
		return fmt.Errorf("after one more, journal has\n%s\nwant\n%s", describe(got), describe(want))
	}
	return s.Check(nil)
}

// TestGroupWaitsForThoseBefore: the second group is on the disk, and nobody may hear
// of it before the first one is too, or at all if that fails.
func TestGroupWaitsForThoseBefore(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk := faultfs.New()
			g := newGate(disk)
			o := small(disk)
			o.FS = g
			s := mustInit(t, testDir, newTestChain(0, 0), o)
			j, _, err := s.OpenJournal()
			must(t, err)
			first, a, err := g.begin(j, []JournalRecord{openOf(1)})
			must(t, err)
			second, b, err := g.begin(j, []JournalRecord{txOf(1, 0)})
			must(t, err)
			nothing, err := j.Begin(nil)
			must(t, err)
			go nothing.Write()
			b.do()
			synctest.Wait()
			if first.ended() || second.ended() || nothing.ended() {
				t.Fatal("a group was durable before the one before it")
			}
			if fails {
				disk.FailAt(1, faultfs.Fail)
			}
			a.do()
			for _, c := range []*Group{first, second, nothing} {
				if err := c.wait(); errors.Is(err, faultfs.ErrInjected) != fails || (err != nil) != fails {
					t.Errorf("group %d: %v, first write failed: %v", c.number, err, fails)
				}
			}
			if err := j.Append([]JournalRecord{txOf(1, 1)}); errors.Is(err, ErrFailed) != fails {
				t.Errorf("one more group: %v, first write failed: %v", err, fails)
			}
		})
	}
}

// TestBeginBoundsOverlap: a group beyond the limit is not begun before one is durable.
func TestBeginBoundsOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustInit(t, testDir, newTestChain(0, 0), small(faultfs.New()))
		j, _, err := s.OpenJournal()
		must(t, err)
		begun := make(chan *Group, MaxOverlap+1)
		go func() {
			for h := range uint64(MaxOverlap + 1) {
				group, err := j.Begin([]JournalRecord{openOf(h + 1)})
				if err != nil {
					t.Error(err)
				}
				begun <- group
			}
		}()
		synctest.Wait()
		if len(begun) != MaxOverlap {
			t.Fatalf("%d groups are under way, limit is %d", len(begun), MaxOverlap)
		}
		for range MaxOverlap + 1 {
			must(t, (<-begun).Write())
		}
	})
}
