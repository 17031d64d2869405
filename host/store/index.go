package store

import (
	"errors"
	"fmt"
	"iter"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Limits of the index in memory, ids.
const (
	// DefaultIndexEntries is after how many ids [Store.Maintain] writes them to
	// disk: what a node that was killed indexes again when it opens.
	DefaultIndexEntries = 64 << 10
	// MaxIndexEntries bounds Options.IndexEntries.
	MaxIndexEntries = 4 << 20
	// gapStep is how many ids one call of Maintain builds again.
	gapStep = 16 << 10
	// overdue times that many ids are in memory before an Append writes them itself.
	overdue = 16
	// piece is how many ids are worked on between two rests.
	piece = 256
	// tableBits of an id say which part of a table it is sorted in: of a full one
	// each has about as many ids as a page.
	tableBits = 8
	// mergeFanout neighbouring runs of about one size become one.
	mergeFanout = 8
)

// table is the part of the index that is in memory. It covers the blocks from
// first to the newest it was given.
type table struct {
	first, next uint64
	hash        chain.Hash // of block next-1
	ids         map[uint64]uint64
	more        []entry // further entries of a prefix that ids has already
}

func newTable(first uint64) *table {
	return &table{first: first, next: first, ids: map[uint64]uint64{}}
}

func (t *table) len() int { return len(t.ids) + len(t.more) }

func (t *table) put(e entry) {
	if place, taken := t.ids[e.prefix]; !taken {
		t.ids[e.prefix] = e.place
	} else if place != e.place {
		t.more = append(t.more, e)
	}
}

func (t *table) add(height uint64, hash chain.Hash, results *chain.Results) {
	t.put(newEntry(hash, height, blockIndex))
	for i := range results.Receipts {
		t.put(newEntry(results.Receipts[i].ID, height, i))
	}
	t.next, t.hash = height+1, hash
}

func (t *table) find(prefix uint64) (found []entry) {
	place, ok := t.ids[prefix]
	if !ok {
		return nil
	}
	for _, e := range t.more {
		if e.prefix == prefix {
			found = append(found, e)
		}
	}
	return append(found, entry{prefix, place})
}

// sorted are the entries in ascending order, in parts that are each put in order
// when their turn comes.
func (t *table) sorted(rest func()) iter.Seq[[]entry] {
	const shift, parts = 64 - tableBits, 1 << tableBits
	found := slices.Grow(slices.Clone(t.more), len(t.ids))
	for prefix, place := range t.ids {
		if found = append(found, entry{prefix, place}); len(found)%piece == 0 {
			rest()
		}
	}
	var ends [parts]int // of each part; while they are filled, where the next entry goes
	for _, e := range found {
		ends[e.prefix>>shift]++
	}
	from := 0
	for i, n := range ends {
		ends[i], from = from, from+n
	}
	all := make([]entry, len(found))
	for _, e := range found {
		all[ends[e.prefix>>shift]] = e
		ends[e.prefix>>shift]++
	}
	return func(yield func([]entry) bool) {
		from := 0
		for _, end := range ends {
			part := all[from:end]
			slices.SortFunc(part, entry.compare)
			if from = end; !yield(part) {
				return
			}
		}
	}
}

// index finds blocks by transaction id and by header hash. It is derived from the
// block log: what is missing or damaged is built again.
type index struct {
	s       *Store
	entries int

	working sync.Mutex // one goroutine changes the runs
	mu      sync.RWMutex
	mem     *table
	frozen  *table       // being written to disk; nil if none is
	runs    []*runHeader // ascending, disjoint
	damaged []string     // files of runs that were given up, to be removed

	merging *merging // under way; working guards it
}

func (x *index) path(name string) string { return filepath.Join(x.s.dir, filepath.FromSlash(name)) }

// openIndex loads the runs that agree with the log and indexes the newest blocks,
// at most twice what is kept in memory: older ones are a gap for Maintain.
func openIndex(s *Store) (*index, error) {
	x := &index{s: s, entries: s.opts.IndexEntries}
	if err := x.loadRuns(); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	covered := s.Base()
	if n := len(x.runs); n > 0 {
		covered = x.runs[n-1].last + 1
	}
	head := s.Height()
	from := head + 1
	for n := 0; from > covered && n < 2*x.entries; from-- {
		results, err := s.Results(from - 1)
		if err != nil {
			return nil, fmt.Errorf("index block %d: %w", from-1, err)
		}
		n += 1 + len(results.Receipts)
	}
	x.mem = newTable(from)
	for h := from; h <= head; h++ {
		if err := x.addStored(x.mem, h); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (x *index) addStored(t *table, height uint64) error {
	header, err := x.s.Header(height)
	if err != nil {
		return fmt.Errorf("index block %d: %w", height, err)
	}
	results, err := x.s.Results(height)
	if err != nil {
		return fmt.Errorf("index block %d: %w", height, err)
	}
	t.add(height, header.Hash(), results)
	return nil
}

// loadRuns finds the runs on disk. Those that do not agree with the log, are
// inside another (a merge that a crash interrupted) or cannot be read are removed.
func (x *index) loadRuns() error {
	names, err := x.s.opts.FS.ReadDir(x.path(indexDir))
	if err != nil {
		return err
	}
	var runs []*runHeader
	for _, name := range names {
		if h := x.loadRun(name); h != nil {
			runs = append(runs, h)
		} else if err := x.remove(path.Join(indexDir, name)); err != nil {
			return err
		}
	}
	slices.SortFunc(runs, func(a, b *runHeader) int {
		if c := cmp(a.first, b.first); c != 0 {
			return c
		}
		return cmp(b.last, a.last)
	})
	for _, h := range runs {
		if n := len(x.runs); n > 0 && h.first <= x.runs[n-1].last {
			if err := x.remove(h.name()); err != nil {
				return err
			}
			continue
		}
		x.runs = append(x.runs, h)
	}
	return nil
}

func (x *index) remove(name string) error {
	if x.s.opts.ReadOnly {
		return nil
	}
	return x.s.opts.FS.Remove(x.path(name))
}

// loadRun reads a run's header; nil if the run is of no use.
func (x *index) loadRun(name string) *runHeader {
	h, err := x.readRunHeader(name)
	if err != nil {
		x.s.opts.Log("index: %v; it is built again", err)
		return nil
	}
	if h == nil {
		return nil
	}
	if header, err := x.s.Header(h.last); err != nil || header.Hash() != h.hash {
		return nil
	}
	return h
}

// readRunHeader returns nil for a file that is no run.
func (x *index) readRunHeader(name string) (*runHeader, error) {
	first, last, ok := parseRunName(name)
	if !ok {
		return nil, nil
	}
	f, err := x.s.opts.FS.Open(x.path(path.Join(indexDir, name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, pageBytes))
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	h, ok := decodeRunHeader(b)
	if !ok || h.first != first || h.last != last || h.bytes() != size {
		return nil, corrupt(path.Join(indexDir, name), 0, NoHeight, "run header does not match its checksum, name or size")
	}
	return &h, nil
}

// add indexes a block that was just appended.
func (x *index) add(height uint64, hash chain.Hash, results *chain.Results) {
	x.mu.Lock()
	x.mem.add(height, hash, results)
	late := x.mem.len() >= overdue*x.entries
	x.mu.Unlock()
	if !late {
		return
	}
	x.working.Lock()
	defer x.working.Unlock()
	if err := x.flush(noRest); err != nil {
		x.s.opts.Log("index: %v", err)
	}
}

// candidates are the places that an id may be at, newest first.
func (x *index) candidates(id chain.Hash) (found []entry, complete bool, err error) {
	prefix := prefixOf(id)
	x.mu.RLock()
	defer x.mu.RUnlock()
	found = x.mem.find(prefix)
	if x.frozen != nil {
		found = append(found, x.frozen.find(prefix)...)
	}
	for _, h := range slices.Backward(x.runs) {
		in, err := x.searchRun(h, prefix)
		if err != nil {
			return nil, false, fmt.Errorf("look up %s: %w", id, err)
		}
		found = append(found, in...)
	}
	gap := x.firstGap()
	return found, gap == nil, nil
}

func (x *index) searchRun(h *runHeader, prefix uint64) ([]entry, error) {
	f, err := x.s.opts.FS.Open(x.path(h.name()))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if may, err := mayHold(f, h, prefix); err != nil || !may {
		return nil, err
	}
	return search(f, h, prefix)
}

// find returns the place of an id that the block there confirms.
func (x *index) find(id chain.Hash, block bool) (TxPosition, error) {
	found, complete, err := x.candidates(id)
	for c, damaged := isCorrupt(err); damaged && x.giveUp(c); c, damaged = isCorrupt(err) {
		found, complete, err = x.candidates(id)
	}
	if err != nil {
		return TxPosition{}, err
	}
	for _, e := range found {
		if (e.index() == blockIndex) != block {
			continue
		}
		ok, err := x.confirm(e, id)
		if err != nil {
			return TxPosition{}, err
		}
		if ok {
			return TxPosition{Height: e.height(), Index: e.index()}, nil
		}
	}
	if !complete {
		return TxPosition{}, fmt.Errorf("%s: %w", id, ErrIndexIncomplete)
	}
	return TxPosition{}, fmt.Errorf("%s: %w", id, ErrNotFound)
}

// confirm compares the whole id with what the log has at the place. A block that
// was rolled back or pruned confirms nothing.
func (x *index) confirm(e entry, id chain.Hash) (bool, error) {
	if e.index() == blockIndex {
		h, err := x.s.Header(e.height())
		return err == nil && h.Hash() == id, gone(err)
	}
	results, err := x.s.Results(e.height())
	if err != nil {
		return false, gone(err)
	}
	return e.index() < len(results.Receipts) && results.Receipts[e.index()].ID == id, nil
}

func gone(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrPruned) {
		return nil
	}
	return err
}

// firstGap is the first range of blocks that nothing covers; nil if there is none.
func (x *index) firstGap() *runHeader {
	next := x.s.Base()
	for _, h := range x.runs {
		if h.first > next {
			return &runHeader{first: next, last: h.first - 1}
		}
		next = max(next, h.last+1)
	}
	until := x.mem.first
	if x.frozen != nil {
		until = x.frozen.first
	}
	if next < until {
		return &runHeader{first: next, last: until - 1}
	}
	return nil
}

// Maintain does a bounded part of what the index needs: it writes ids in memory to
// disk when there are enough of them, builds what is missing, merges runs. A node
// calls it once for every block appended; appends and lookups may go on meanwhile.
// It calls rest between pieces of some tens of microseconds, so that whoever has
// something better to do with the processor gets it; nil does not rest. Its errors
// concern derived data: worth an alarm, and no reason to stop.
func (s *Store) Maintain(rest func()) error {
	if rest == nil {
		rest = noRest
	}
	if err := s.writable(); err != nil {
		return err
	}
	x := s.index
	x.working.Lock()
	defer x.working.Unlock()
	if err := x.removeDamaged(); err != nil {
		return err
	}
	x.mu.RLock()
	due := x.frozen != nil || x.mem.len() >= x.entries
	x.mu.RUnlock()
	if due {
		if err := x.flush(rest); err != nil {
			return err
		}
	}
	if err := x.fillGap(rest); err != nil {
		return x.heal(err)
	}
	return x.heal(x.mergeSome(rest))
}

// heal sees to it that a run which could not be read is built again.
func (x *index) heal(err error) error {
	c, damaged := isCorrupt(err)
	if damaged {
		x.giveUp(c)
	}
	return err
}

// giveUp takes the run that an error names out of use. Its blocks are a gap then.
func (x *index) giveUp(c *CorruptionError) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, h := range x.runs {
		if h.name() == c.File {
			x.s.opts.Log("index: %v; it is built again", c)
			x.runs = slices.Delete(slices.Clone(x.runs), i, i+1)
			x.damaged = append(x.damaged, c.File)
			return true
		}
	}
	return false
}

func (x *index) removeDamaged() error {
	x.mu.Lock()
	names := x.damaged
	x.damaged = nil
	x.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	if err := x.abandonMerge(); err != nil {
		return err
	}
	for _, name := range names {
		if err := x.remove(name); err != nil {
			return err
		}
	}
	return nil
}

// noRest is for whoever waits for the end of it.
func noRest() {}

// flush writes the ids in memory as a run.
func (x *index) flush(rest func()) error {
	x.mu.Lock()
	if x.frozen == nil {
		if x.mem.next == x.mem.first {
			x.mu.Unlock()
			return nil
		}
		x.frozen, x.mem = x.mem, newTable(x.mem.next)
	}
	t := x.frozen
	x.mu.Unlock()
	h, err := x.writeTable(t, rest)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.insert(h)
	x.frozen = nil
	return nil
}

func (x *index) insert(h *runHeader) {
	i, _ := slices.BinarySearchFunc(x.runs, h, func(a, b *runHeader) int { return cmp(a.first, b.first) })
	x.runs = slices.Insert(slices.Clone(x.runs), i, h)
}

func (x *index) writeTable(t *table, rest func()) (*runHeader, error) {
	h := runHeader{first: t.first, last: t.next - 1, hash: t.hash, entries: uint64(t.len())}
	return x.writeRun(h, func(add func(entry) error) error {
		for part := range t.sorted(rest) {
			for _, e := range part {
				if err := add(e); err != nil {
					return err
				}
			}
			rest()
		}
		return nil
	})
}

// writeRun writes a run by way of a temporary file.
func (x *index) writeRun(h runHeader, fill func(add func(entry) error) error) (*runHeader, error) {
	disk, name := x.s.opts.FS, x.path(h.name())
	f, err := disk.Create(name + tmpSuffix)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", h.name(), err)
	}
	w := newRunWriter(f, h)
	if err = fill(w.add); err == nil {
		err = w.finish()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = disk.Rename(name+tmpSuffix, name)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", h.name(), err)
	}
	return &h, nil
}

// fillGap indexes some of the blocks that nothing covers.
func (x *index) fillGap(rest func()) error {
	x.mu.RLock()
	gap := x.firstGap()
	x.mu.RUnlock()
	if gap == nil {
		return nil
	}
	x.s.opts.Log("index: building blocks %d to %d again", gap.first, gap.last)
	t := newTable(gap.first)
	for t.next <= gap.last && t.len() < gapStep {
		if err := x.addStored(t, t.next); err != nil {
			return err
		}
		rest()
	}
	h, err := x.writeTable(t, rest)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.insert(h)
	return nil
}

// truncate forgets the blocks above a height that is to become the head. Entries
// that stay in memory confirm nothing any more.
func (x *index) truncate(height uint64) error {
	x.working.Lock()
	defer x.working.Unlock()
	x.mu.Lock()
	if x.frozen != nil {
		x.frozen = nil // a gap until Maintain
		x.mem = newTable(height + 1)
	}
	if x.mem.first > height {
		x.mem = newTable(height + 1)
	}
	x.mem.next = height + 1
	x.mu.Unlock()
	if err := x.abandonMerge(); err != nil {
		return err
	}
	return x.removeRuns(func(h *runHeader) bool { return h.last > height })
}

// dropBefore forgets runs of blocks that were pruned. A merge of such runs is left.
func (x *index) dropBefore(base uint64) error {
	x.working.Lock()
	defer x.working.Unlock()
	if m := x.merging; m != nil && m.old[0].first < base {
		if err := x.abandonMerge(); err != nil {
			return err
		}
	}
	return x.removeRuns(func(h *runHeader) bool { return h.last < base })
}

// close writes what is in memory, and leaves a merge to be begun again. After a
// failure nothing is written.
func (x *index) close() error {
	if x.s.writable() == nil {
		return errors.Join(x.flush(noRest), x.abandonMerge())
	}
	if x.merging != nil {
		return x.merging.close()
	}
	return nil
}

// removeRuns takes runs out of use, and then deletes their files: lookups that had
// one open are over by then, and none waits for the disk.
func (x *index) removeRuns(unwanted func(*runHeader) bool) error {
	x.mu.Lock()
	var kept, gone []*runHeader
	for _, h := range x.runs {
		if unwanted(h) {
			gone = append(gone, h)
		} else {
			kept = append(kept, h)
		}
	}
	x.runs = kept
	x.mu.Unlock()
	for _, h := range gone {
		if err := x.remove(h.name()); err != nil {
			return err
		}
	}
	return nil
}
