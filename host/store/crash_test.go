package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

// These tests run a scripted history, let something fail at every single
// operation in turn, and look what is left: everything acknowledged must be
// there, everything else wholly or not at all (after Sunlight's
// TestSequenceErrors). The store must then go on as if nothing had happened.

// outcome is a block log as it may be found: blocks base to head of a chain.
type outcome struct {
	chain      *testChain
	base, head uint64
}

// world is a store, what it acknowledged, and what a failure may leave instead.
type world struct {
	disk *faultfs.FS
	gate *gate // in front of disk, in the history
	s    *Store
	j    *Journal

	inited  bool
	now     outcome   // acknowledged
	pending []outcome // may be there instead if the call under way fails

	journal  []JournalRecord   // acknowledged
	inflight [][]JournalRecord // the groups under way
}

// step is one call of the history.
type step struct {
	name string
	do   func(w *world) error
}

func (w *world) run(steps []step) (failed *step, err error) {
	for i := range steps {
		w.pending, w.inflight = nil, nil
		if err := steps[i].do(w); err != nil {
			return &steps[i], err
		}
	}
	return nil, nil
}

// change makes a call that takes the log to the last of some outcomes.
func (w *world) change(call func() error, next ...outcome) error {
	w.pending = next
	err := call()
	if err == nil {
		w.now = next[len(next)-1]
	}
	return err
}

func initStep(c *testChain) step {
	return step{"init", func(w *world) error {
		w.now = outcome{c, 1, 0}
		err := Init(testDir, c.genesis, small(w.disk))
		w.inited = err == nil
		return err
	}}
}

var openStep = step{"open", func(w *world) (err error) {
	o := small(w.disk)
	w.gate = newGate(w.disk)
	o.FS = w.gate
	w.s, err = Open(testDir, o)
	return err
}}

var maintainStep = step{"maintain", func(w *world) error { return w.s.Maintain(nil) }}

func appendStep(c *testChain, from, to uint64) step {
	return step{fmt.Sprintf("append %d-%d", from, to), func(w *world) error {
		var next []outcome
		for h := from; h <= to; h++ {
			next = append(next, outcome{c, w.now.base, h})
		}
		return w.change(func() error { return w.s.AppendBatch(c.records[from-1 : to]) }, next...)
	}}
}

func truncateStep(to uint64) step {
	return step{fmt.Sprintf("truncate %d", to), func(w *world) error {
		return w.change(func() error { return w.s.Truncate(to) }, outcome{w.now.chain, w.now.base, to})
	}}
}

// dropStep expects that the base becomes the given height.
func dropStep(before, base uint64) step {
	return step{fmt.Sprintf("drop before %d", before), func(w *world) error {
		return w.change(func() error {
			got, err := w.s.DropBefore(before)
			if err == nil && got != base {
				return fmt.Errorf("base is %d, want %d", got, base)
			}
			return err
		}, outcome{w.now.chain, base, w.now.head})
	}}
}

var openJournalStep = step{"open journal", func(w *world) (err error) {
	w.j, _, err = w.s.OpenJournal()
	return err
}}

func journalStep(records ...JournalRecord) step {
	return step{fmt.Sprintf("journal %d records", len(records)), func(w *world) error {
		w.inflight = [][]JournalRecord{records}
		if err := w.j.Append(records); err != nil {
			return err
		}
		w.acknowledged()
		return nil
	}}
}

// acknowledged takes in the first group under way.
func (w *world) acknowledged() {
	w.journal = append(w.journal[:len(w.journal):len(w.journal)], w.inflight[0]...)
	w.inflight = w.inflight[1:]
}

func releaseStep(h uint64) step {
	return step{fmt.Sprintf("release %d", h), func(w *world) error { return w.j.Release(h) }}
}

// txOf is the i-th transaction of a block, large enough that a journal segment
// holds few.
func txOf(h uint64, i int) JournalRecord {
	return JournalRecord{Tx: bytes.Repeat([]byte(fmt.Sprintf("%d/%d ", h, i)), 1500*(i+1))}
}

func openOf(h uint64) JournalRecord {
	return JournalRecord{Open: &JournalOpen{Height: h, Time: 1000 + h, Oracle: []byte{byte(h)}}}
}

// blockSteps are the life of one block in a write node.
func blockSteps(c *testChain, h uint64) []step {
	return []step{
		journalStep(openOf(h)), journalStep(txOf(h, 0), txOf(h, 1)), journalStep(txOf(h, 0)),
		appendStep(c, h, h), releaseStep(h), maintainStep,
	}
}

func writerHistory(c *testChain) []step {
	steps := []step{initStep(c), openStep, openJournalStep}
	for h := uint64(1); h <= 5; h++ {
		steps = append(steps, blockSteps(c, h)...)
	}
	return append(steps, journalStep(openOf(6)), journalStep(txOf(6, 0)))
}

// prunerHistory is that of a write node which keeps few blocks, two to a file.
func prunerHistory(c *testChain) []step {
	open := step{"open", func(w *world) (err error) {
		o := small(w.disk)
		o.SegmentBlocks = 2
		w.s, err = Open(testDir, o)
		return err
	}}
	steps := []step{initStep(c), open, openJournalStep}
	for h := uint64(1); h <= 6; h++ {
		steps = append(steps, blockSteps(c, h)...)
		switch h {
		case 4:
			steps = append(steps, dropStep(4, 3))
		case 6:
			steps = append(steps, dropStep(6, 5))
		}
	}
	return append(steps, maintainStep, journalStep(openOf(7)), journalStep(txOf(7, 0)))
}

func readerHistory(c, f *testChain) []step {
	return []step{
		initStep(c), openStep, appendStep(c, 1, 1), appendStep(c, 2, 9), maintainStep, appendStep(c, 10, 10),
		truncateStep(5), appendStep(f, 6, 7), maintainStep, appendStep(f, 8, 14), dropStep(8, 7), maintainStep, appendStep(f, 15, 15),
	}
}

// check compares what is on the disk with what may be there, and returns the store
// open. Reading it must find no damage before anything was put in order.
func (w *world) check() error {
	o := small(w.disk)
	if s, err := Open(testDir, o); errors.Is(err, ErrNotInitialized) && !w.inited {
		if err := Init(testDir, w.now.chain.genesis, o); err != nil {
			return fmt.Errorf("init again: %w", err)
		}
	} else if err != nil {
		return err
	} else if err := s.Close(); err != nil {
		return err
	}
	s, err := Open(testDir, o)
	if err != nil {
		return err
	}
	w.s = s
	if err := w.checkLog(); err != nil {
		return err
	}
	if err := w.checkJournal(); err != nil {
		return err
	}
	return s.Check(nil)
}

// checkRaw is what `kaizen verify` does to a directory that crashed.
func (w *world) checkRaw() error {
	o := small(w.disk)
	o.ReadOnly = true
	s, err := Open(testDir, o)
	if errors.Is(err, ErrNotInitialized) && !w.inited {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Check(nil)
}

func (w *world) checkLog() error {
	for range 8 { // an interrupted rebuild of the index goes on
		if err := w.s.Maintain(nil); err != nil {
			return err
		}
	}
	var errs []error
	for _, o := range append([]outcome{w.now}, w.pending...) {
		err := o.chain.holds(w.s, o.base, o.head)
		if err == nil {
			w.now, w.pending = o, nil
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (w *world) checkJournal() error {
	if w.journal == nil && w.inflight == nil {
		return nil
	}
	j, blocks, err := w.s.OpenJournal()
	if err != nil {
		return err
	}
	w.j = j
	got := recordsIn(blocks)
	var errs []error
	for {
		want := w.expected(w.journal)
		if describe(got) == describe(want) {
			w.inflight = nil
			return nil
		}
		errs = append(errs, fmt.Errorf("journal has\n%s\nwant\n%s", describe(got), describe(want)))
		if len(w.inflight) == 0 {
			return errors.Join(errs...)
		}
		w.acknowledged() // it may be there although nobody was told
	}
}

// recordsIn are the records of recovered blocks.
func recordsIn(blocks []JournaledBlock) (records []JournalRecord) {
	for i := range blocks {
		records = append(records, JournalRecord{Open: &blocks[i].JournalOpen})
		for _, tx := range blocks[i].Txs {
			records = append(records, JournalRecord{Tx: tx})
		}
	}
	return records
}

// expected are the records of blocks above the head.
func (w *world) expected(all []JournalRecord) (kept []JournalRecord) {
	height := uint64(0)
	for _, r := range all {
		if r.Open != nil {
			height = r.Open.Height
		}
		if height > w.now.head {
			kept = append(kept, r)
		}
	}
	return kept
}

func describe(records []JournalRecord) string {
	var b strings.Builder
	for _, r := range records {
		if r.Open != nil {
			fmt.Fprintf(&b, "open %d %d %x\n", r.Open.Height, r.Open.Time, r.Open.Oracle)
		} else {
			fmt.Fprintf(&b, "tx %d %08x\n", len(r.Tx), checksum(r.Tx))
		}
	}
	return b.String()
}

// resume writes more, loses the power, and looks again.
func (w *world) resume() error {
	if w.s == nil {
		return nil
	}
	more := w.now.chain.fork(int(w.now.head), 3, "after")
	steps := []step{appendStep(more, w.now.head+1, w.now.head+1), maintainStep}
	if w.j != nil {
		next := max(w.j.Height()+1, w.now.head+2)
		steps = append(steps, journalStep(openOf(next)), journalStep(txOf(next, 1)))
		if w.j.Height() > w.now.head+1 {
			return nil // the history never journals two blocks ahead
		}
	}
	if failed, err := w.run(steps); err != nil {
		return fmt.Errorf("%s: %w", failed.name, err)
	}
	w.disk.PowerLoss(faultfs.LoseAll)
	w.j = nil
	return w.check()
}

// losses are what may follow a crash at an operation; nil is a process that dies
// alone.
func losses(n int) []*faultfs.Loss {
	none, torn := faultfs.LoseAll, faultfs.Torn(uint64(n))
	return []*faultfs.Loss{nil, &none, &torn}
}

func lose(disk *faultfs.FS, l *faultfs.Loss) {
	if l == nil {
		disk.Kill()
		return
	}
	disk.PowerLoss(*l)
}

// everyOperation runs a history once for every operation in it, fault and loss.
func everyOperation(t *testing.T, history []step, faults []faultfs.Fault) {
	dry := &world{disk: faultfs.New()}
	if failed, err := dry.run(history); err != nil {
		t.Fatalf("%s, without any fault: %v", failed.name, err)
	}
	t.Logf("%d operations", dry.disk.Ops())
	for n := 1; n <= dry.disk.Ops(); n++ {
		for _, fault := range faults {
			for i := range losses(n) {
				w := &world{disk: faultfs.New()}
				if err := w.survive(history, n, fault, losses(n)[i]); err != nil {
					trace := w.disk.Trace()
					t.Fatalf("operation %d meets %s, then %v: %v\n%s", n, fault, losses(n)[i], err, strings.Join(trace[max(0, len(trace)-40):], "\n"))
				}
			}
		}
	}
}

func (w *world) survive(history []step, n int, fault faultfs.Fault, loss *faultfs.Loss) error {
	w.disk.FailAt(n, fault)
	failed, err := w.run(history)
	if err := w.refuses(failed, err); err != nil {
		return err
	}
	if w.s != nil {
		w.s.Close()
	}
	w.s, w.j = nil, nil
	lose(w.disk, loss)
	if err := w.checkRaw(); err != nil {
		return fmt.Errorf("%s: read-only, before recovery: %w", name(failed), err)
	}
	if err := w.check(); err != nil {
		return fmt.Errorf("%s: %w", name(failed), err)
	}
	if err := w.resume(); err != nil {
		return fmt.Errorf("%s, and going on: %w", name(failed), err)
	}
	return nil
}

func name(failed *step) string {
	if failed == nil {
		return "the end"
	}
	return failed.name
}

// refuses checks that after a failed write nothing more is acknowledged.
func (w *world) refuses(failed *step, err error) error {
	if failed == nil || w.s == nil || failed.name == "maintain" || failed.name == "open" {
		return nil
	}
	next := w.now.chain.fork(int(w.now.head), 1, "refused").records[w.now.head]
	if got := w.s.Append(next); !errors.Is(got, ErrFailed) && !errors.Is(got, faultfs.ErrCrashed) {
		return fmt.Errorf("append after %s had failed with %v: %v, want ErrFailed", failed.name, err, got)
	}
	if w.j == nil {
		return nil
	}
	if got := w.j.Append([]JournalRecord{txOf(1, 0)}); !errors.Is(got, ErrFailed) && !errors.Is(got, faultfs.ErrCrashed) {
		return fmt.Errorf("journal after %s had failed with %v: %v, want ErrFailed", failed.name, err, got)
	}
	return nil
}

func TestWriterCrashes(t *testing.T) {
	t.Parallel()
	everyOperation(t, writerHistory(newTestChain(8, 4)), []faultfs.Fault{faultfs.Crash, faultfs.CrashShort})
}

func TestWriterErrors(t *testing.T) {
	t.Parallel()
	everyOperation(t, writerHistory(newTestChain(8, 4)), []faultfs.Fault{faultfs.Fail, faultfs.FailPersisted, faultfs.Short})
}

func TestReaderCrashes(t *testing.T) {
	t.Parallel()
	c := newTestChain(16, 4)
	everyOperation(t, readerHistory(c, c.fork(5, 12, "other")), []faultfs.Fault{faultfs.Crash, faultfs.CrashShort})
}

func TestReaderErrors(t *testing.T) {
	t.Parallel()
	c := newTestChain(16, 4)
	everyOperation(t, readerHistory(c, c.fork(5, 12, "other")), []faultfs.Fault{faultfs.Fail, faultfs.FailPersisted, faultfs.Short})
}

func TestPrunerCrashes(t *testing.T) {
	t.Parallel()
	everyOperation(t, prunerHistory(newTestChain(8, 4)), []faultfs.Fault{faultfs.Crash, faultfs.CrashShort})
}

func TestPrunerErrors(t *testing.T) {
	t.Parallel()
	everyOperation(t, prunerHistory(newTestChain(8, 4)), []faultfs.Fault{faultfs.Fail, faultfs.FailPersisted, faultfs.Short})
}
