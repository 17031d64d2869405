package store

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// truncate rolls the log back so that to is its head. The mark says what is
// going before anything goes, so a crash in the middle is finished at the next
// opening.
func (l *blockLog) truncate(to uint64) error {
	m := l.marks.last
	if to+1 < m.base || to > m.height {
		return fmt.Errorf("roll back to block %d: %w, the log has %d to %d", to, ErrNotFound, m.base, m.height)
	}
	if to == m.height {
		return nil
	}
	target, err := l.cutMark(to)
	if err != nil {
		return err
	}
	l.files.Lock()
	defer l.files.Unlock()
	target.cut = true
	if err := l.setMark(target); err != nil {
		return err
	}
	return l.finishCut()
}

// cutMark is the mark of a log that ends at block to.
func (l *blockLog) cutMark(to uint64) (mark, error) {
	m := l.marks.last
	m.height, m.hash, m.segment, m.end = to, [32]byte{}, 0, 0
	if to < m.base {
		return m, nil
	}
	h, err := l.header(to)
	if err != nil {
		return m, err
	}
	p, err := l.find(to)
	if err != nil {
		return m, err
	}
	f, err := l.fs.Open(l.path(p.seg.name()))
	if err != nil {
		return m, err
	}
	defer f.Close()
	offset, fr, err := l.frameOf(f, p, to)
	m.hash, m.segment, m.end = h.Hash(), p.seg.first, uint64(offset+fr.bytes())
	return m, err
}

// finishCut makes the files agree with a mark that has cut set, and clears it.
// The caller holds files, or is opening the log.
func (l *blockLog) finishCut() error {
	m := l.marks.last
	if l.tail != nil {
		if err := l.tail.Close(); err != nil {
			return err
		}
		l.tail = nil
	}
	if err := l.removeAfter(m); err != nil {
		return err
	}
	m.cut = false
	if err := l.setMark(m); err != nil {
		return err
	}
	return l.load()
}

// removeAfter takes away everything after the mark: segments from the last to
// the first, so that at any moment what is left has no gap, then the end of the
// segment that stays.
func (l *blockLog) removeAfter(m mark) error {
	firsts, err := l.list()
	if err != nil {
		return err
	}
	for _, first := range slices.Backward(firsts) {
		if first <= m.segment && !m.empty() {
			break
		}
		if err := l.removeSegment(first); err != nil {
			return err
		}
	}
	if m.empty() {
		return nil
	}
	s := segment{first: m.segment}
	if err := l.removeIfThere(s.sidecar()); err != nil {
		return err
	}
	f, err := l.fs.OpenWrite(l.path(s.name()))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(int64(m.end)); err != nil {
		return fmt.Errorf("truncate %s to %d: %w", s.name(), m.end, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.name(), err)
	}
	return nil
}

func (l *blockLog) removeSegment(first uint64) error {
	s := segment{first: first}
	if err := l.removeIfThere(s.sidecar()); err != nil {
		return err
	}
	if err := l.removeIfThere(s.name()); err != nil {
		return err
	}
	return l.fs.SyncDir(l.path(blocksDir))
}

func (l *blockLog) removeIfThere(name string) error {
	if err := l.fs.Remove(l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// moveBase makes the mark say that the segments which hold only blocks below
// height are gone, and returns them; the segment of the head always stays.
func (l *blockLog) moveBase(height uint64) (dropped []*segment, err error) {
	l.mu.RLock()
	keep := 0
	for keep+1 < len(l.segs) && l.segs[keep+1].first <= height {
		keep++
	}
	kept := slices.Clone(l.segs[keep:])
	dropped = slices.Clone(l.segs[:keep])
	l.mu.RUnlock()
	if keep == 0 {
		return nil, nil
	}
	m := l.marks.last
	first, err := l.header(kept[0].first)
	if err != nil {
		return nil, err
	}
	m.base, m.parent = first.Height, first.Parent
	if err := l.setMark(m); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segs = kept
	return dropped, nil
}

// removeDropped deletes segments that are in use no more, oldest first. Nobody
// waits while it does: a reader that found one of them before is let finish, and
// from then on none is found.
func (l *blockLog) removeDropped(dropped []*segment) error {
	l.files.Lock()
	l.files.Unlock()
	for _, s := range dropped {
		if err := l.removeSegment(s.first); err != nil {
			return err
		}
	}
	return nil
}
