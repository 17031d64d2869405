package store

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// mergeStep is how many entries one call of Maintain moves.
const mergeStep = 64 << 10

// mergeSync is how many of them it moves between two syncs: a long one would hold up
// those of answers. mergeStep is a multiple of it.
const mergeSync = 16 << 10

// tier is the size class of a run: each holds mergeFanout times the one below. A
// flush is in the lowest, whether it is the usual one or that of a shutdown.
func (x *index) tier(h *runHeader) (tier int) {
	for limit := uint64(x.entries) * mergeFanout / 2; h.entries > limit; limit *= mergeFanout {
		tier++
	}
	return tier
}

// mergeable finds the smallest mergeFanout neighbours of which at least half are of
// the highest tier among them: a large run is not written again for a small one,
// and small ones between large ones do not stay.
func (x *index) mergeable() (best []*runHeader) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	least := uint64(MaxRunEntries) + 1
	for i := range max(0, len(x.runs)-mergeFanout+1) {
		window := x.runs[i : i+mergeFanout]
		if sum := x.weigh(window); sum < least {
			best, least = window, sum
		}
	}
	return best
}

// weigh is the size of the run that a merge would make; too much for one that
// should not be. One of blocks that are pruned already stays by itself, to go with
// the last of them: merged into others it would stay as long as they do, and the
// index of a node that prunes would grow for ever.
func (x *index) weigh(window []*runHeader) (sum uint64) {
	if window[0].first < x.s.Base() {
		return MaxRunEntries + 1
	}
	top, inTop := 0, 0
	for i, h := range window {
		if i > 0 && window[i-1].last+1 != h.first {
			return MaxRunEntries + 1
		}
		sum += h.entries
		switch tier := x.tier(h); {
		case tier > top:
			top, inTop = tier, 1
		case tier == top:
			inTop++
		}
	}
	if inTop < mergeFanout/2 {
		return MaxRunEntries + 1
	}
	return sum
}

// merging is a merge under way. It goes on a little with every call of Maintain,
// so that none takes long.
type merging struct {
	old  []*runHeader
	in   []*runReader
	out  *runWriter
	temp string
}

func (x *index) beginMerge(old []*runHeader) (*merging, error) {
	last := old[len(old)-1]
	h := runHeader{first: old[0].first, last: last.last, hash: last.hash}
	m := &merging{old: old}
	for _, o := range old {
		f, err := x.s.opts.FS.Open(x.path(o.name()))
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		m.in = append(m.in, &runReader{file: f, header: o})
		h.entries += o.entries
	}
	m.temp = x.path(h.name()) + tmpSuffix
	f, err := x.s.opts.FS.Create(m.temp)
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	m.out = newRunWriter(f, h)
	return m, nil
}

func (m *merging) close() error {
	var errs []error
	for _, r := range m.in {
		errs = append(errs, r.file.Close())
	}
	if m.out != nil {
		errs = append(errs, m.out.file.Close())
	}
	return errors.Join(errs...)
}

// abandonMerge forgets the merge under way: a run that it reads is no more.
func (x *index) abandonMerge() error {
	m := x.merging
	if m == nil {
		return nil
	}
	x.merging = nil
	return errors.Join(m.close(), x.s.opts.FS.Remove(m.temp))
}

// mergeSome begins a merge if there is one to do, or goes on with it.
func (x *index) mergeSome(rest func()) error {
	if x.merging == nil {
		old := x.mergeable()
		if old == nil {
			return nil
		}
		m, err := x.beginMerge(old)
		if err != nil {
			return fmt.Errorf("merge index runs: %w", err)
		}
		x.merging = m
	}
	done, err := x.merging.step(mergeStep, rest)
	if err == nil && done {
		err = x.finishMerge()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("merge index runs: %w", err), x.abandonMerge())
	}
	return nil
}

// finishMerge swaps the merged runs for the one that holds them all; their files
// go once that has its name for good.
func (x *index) finishMerge() error {
	m, disk := x.merging, x.s.opts.FS
	if err := m.out.finish(); err != nil {
		return err
	}
	if err := disk.Rename(m.temp, x.path(m.out.header.name())); err != nil {
		return err
	}
	x.merging = nil
	if err := errors.Join(m.close(), disk.SyncDir(x.path(indexDir))); err != nil {
		return err
	}
	merged := m.out.header
	x.mu.Lock()
	kept := []*runHeader{}
	for _, h := range x.runs {
		if h.last < merged.first || h.first > merged.last {
			kept = append(kept, h)
		}
	}
	x.runs = kept
	x.insert(&merged)
	x.mu.Unlock()
	for _, h := range m.old {
		if err := x.remove(h.name()); err != nil {
			return err
		}
	}
	return nil
}

// step moves up to n entries, in ascending order, and makes them durable.
func (m *merging) step(n int, rest func()) (done bool, err error) {
	for i := range n {
		least, err := m.least()
		if err != nil {
			return false, err
		}
		if least == nil {
			return true, nil
		}
		if err := m.out.add(least.rest[0]); err != nil {
			return false, err
		}
		least.rest = least.rest[1:]
		if i%piece == piece-1 {
			rest()
		}
		if i%mergeSync == mergeSync-1 {
			if err := m.out.file.Sync(); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// least is the reader with the smallest next entry; nil after the last.
func (m *merging) least() (least *runReader, err error) {
	for _, r := range m.in {
		if more, err := r.fill(); err != nil {
			return nil, err
		} else if more && (least == nil || r.rest[0].compare(least.rest[0]) < 0) {
			least = r
		}
	}
	return least, nil
}

// runReader reads a run from its first entry to its last.
type runReader struct {
	file   vfs.File
	header *runHeader
	page   int64
	rest   []entry
	buf    [pageBytes]byte
}

// fill makes sure that rest has the next entry; false after the last.
func (r *runReader) fill() (more bool, err error) {
	if len(r.rest) > 0 {
		return true, nil
	}
	if r.page == r.header.pages() {
		return false, nil
	}
	r.rest, err = readPage(r.file, r.header, r.page, r.buf[:])
	r.page++
	return err == nil, err
}
