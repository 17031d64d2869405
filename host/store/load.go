package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// openLog opens the block log and, to write, puts it in order: a rollback or
// pruning that was interrupted is finished, blocks that are complete beyond the
// mark are kept, the torn end of an interrupted append goes.
func openLog(l *blockLog) (err error) {
	if l.marks, err = openMarks(l.fs, l.path(markFile), l.readOnly); err != nil {
		return err
	}
	for _, d := range l.marks.damage {
		l.logf("%v", d)
	}
	if err := l.load(); err != nil {
		return err
	}
	if l.readOnly && !l.marks.lost {
		return nil // beyond the mark another process may be writing
	}
	more, err := l.beyond()
	if err != nil {
		return err
	}
	if l.readOnly {
		return more.view(l)
	}
	return l.settle(more)
}

func openMarks(disk vfs.FS, name string, readOnly bool) (*marks, error) {
	open := disk.OpenWrite
	if readOnly {
		open = disk.Open
	}
	f, err := open(name)
	if err != nil {
		return nil, fmt.Errorf("open head mark: %w", err)
	}
	s, err := readMarks(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.file = f
	return s, nil
}

// readMarks reads the HEAD file. A reader beside a running node may meet a slot
// while it is written; the second look shows it whole.
func readMarks(f vfs.File) (s *marks, err error) {
	for range 2 {
		n, err := f.Size()
		if err != nil {
			return nil, err
		}
		b := make([]byte, min(n, markFileBytes+1))
		if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %s: %w", markFile, err)
		}
		if s, err = decodeMarks(b); err != nil {
			return nil, err
		}
		if !s.lost {
			break
		}
	}
	return s, nil
}

// list returns the first heights of the segments, ascending.
func (l *blockLog) list() (firsts []uint64, err error) {
	names, err := l.fs.ReadDir(l.path(blocksDir))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", blocksDir, err)
	}
	for _, name := range names {
		if first, ok := parseNumbered(name, ".log"); ok {
			firsts = append(firsts, first)
		}
	}
	return firsts, nil
}

// load reads everything up to the mark into memory: where the segments are, and
// the whole last one with every checksum in it.
func (l *blockLog) load() error {
	m := l.marks.last
	firsts, err := l.list()
	if err != nil {
		return err
	}
	if !m.empty() && !slices.Contains(firsts, m.segment) {
		return corrupt(segName(m.segment), -1, m.height, "file is missing, and the durable head %d is in it", m.height)
	}
	var segs []*segment
	for i, first := range firsts {
		if first < m.base || m.empty() || first > m.segment {
			continue
		}
		next := m.height + 1
		if first < m.segment && i+1 < len(firsts) {
			next = firsts[i+1]
		}
		s, err := l.loadSegment(first, next)
		if err != nil {
			return err
		}
		if want := m.base; len(segs) > 0 || first != want {
			if len(segs) > 0 {
				want = segs[len(segs)-1].last() + 1
			}
			if first != want {
				return corrupt(segName(want), -1, want, "file is missing; the next segment starts at block %d", first)
			}
		}
		segs = append(segs, s)
	}
	return l.install(segs)
}

func segName(first uint64) string { return path.Join(blocksDir, numbered(first, ".log")) }

// install takes over what load found, and opens the last segment.
func (l *blockLog) install(segs []*segment) error {
	m := l.marks.last
	var head chain.Header
	var tail vfs.File
	if !m.empty() {
		var err error
		if head, tail, err = l.loadTail(segs[len(segs)-1]); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segs, l.head, l.tail = segs, head, tail
	return nil
}

// loadSegment opens a segment that is followed by block next. The last one is
// only named here.
func (l *blockLog) loadSegment(first, next uint64) (*segment, error) {
	s := &segment{first: first}
	if first == l.marks.last.segment {
		return s, nil
	}
	f, err := l.fs.Open(l.path(s.name()))
	if err != nil {
		return nil, fmt.Errorf("open block log: %w", err)
	}
	defer f.Close()
	if err := l.checkHeader(f, s); err != nil {
		return nil, err
	}
	if s.size, err = f.Size(); err != nil {
		return nil, err
	}
	if side, ok := l.openSidecar(s); ok && side.first+side.count == next {
		side.version = s.version
		return side, nil
	}
	if s.offsets, err = walk(f, s.name(), first, s.size); err != nil {
		return nil, err
	}
	s.count = uint64(len(s.offsets))
	if s.first+s.count != next {
		return nil, corrupt(s.name(), s.size, s.first+s.count, "segment ends before block %d, the next segment starts at %d", s.first+s.count, next)
	}
	return s, nil
}

func (l *blockLog) openSidecar(s *segment) (*segment, bool) {
	f, err := l.fs.Open(l.path(s.sidecar()))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	return readSidecar(f, s.first, s.size)
}

func (l *blockLog) checkHeader(f vfs.File, s *segment) error {
	var b [segmentHeaderBytes]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", s.name(), err)
	}
	s.version, err = checkSegmentHeader(b[:n], s.name(), s.first, l.genesis)
	return err
}

// loadTail reads the last segment up to the mark, which its last record must
// fit exactly.
func (l *blockLog) loadTail(s *segment) (head chain.Header, f vfs.File, err error) {
	m := l.marks.last
	open := l.fs.OpenWrite
	if l.readOnly {
		open = l.fs.Open
	}
	if f, err = open(l.path(s.name())); err != nil {
		return head, nil, fmt.Errorf("open block log: %w", err)
	}
	if head, err = l.scanTail(f, s, m); err != nil {
		f.Close()
		return head, nil, err
	}
	return head, f, nil
}

func (l *blockLog) scanTail(f vfs.File, s *segment, m mark) (head chain.Header, err error) {
	if err := l.checkHeader(f, s); err != nil {
		return head, err
	}
	size, err := f.Size()
	if err != nil {
		return head, err
	}
	if size < int64(m.end) {
		return head, corrupt(s.name(), size, m.height, "file ends at byte %d, before the durable head %d, which ends at %d", size, m.height, m.end)
	}
	s.size = int64(m.end)
	err = scan(f, s.name(), segmentHeaderBytes, s.size, s.first, func(r *scanned) error {
		s.offsets = append(s.offsets, uint32(r.offset))
		head = r.header
		return nil
	})
	if err != nil {
		return head, err
	}
	s.count = uint64(len(s.offsets))
	if s.count == 0 || head.Height != m.height || head.Hash() != m.hash {
		return head, corrupt(s.name(), s.size, m.height, "head is block %d %s, the durable head is block %d %s", head.Height, head.Hash(), m.height, m.hash)
	}
	return head, nil
}

// suffix is what lies beyond the mark: complete records that follow the head,
// left by a crash between the log's sync and the mark's, and then bytes of a
// record that was being written.
type suffix struct {
	records []appended
	head    chain.Header
	torn    error // why the next record is none; nil if nothing follows
}

// beyond reads what lies beyond the mark, and changes nothing.
func (l *blockLog) beyond() (*suffix, error) {
	more := &suffix{head: l.head}
	if l.marks.last.cut {
		return more, nil
	}
	if len(l.segs) > 0 {
		s := l.segs[len(l.segs)-1]
		if err := l.scanBeyond(l.tail, s, s.size, more); err != nil {
			return nil, err
		}
	}
	for more.torn == nil {
		s := &segment{first: l.nextHeight(more), size: segmentHeaderBytes}
		f, err := l.fs.Open(l.path(s.name()))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		err = l.scanNew(f, s, more)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	if l.marks.lost && more.torn != nil {
		return nil, fmt.Errorf("%w; and one of the two head marks is damaged, so this may have been durable", more.torn)
	}
	return more, nil
}

// nextHeight is the height of the block that would follow the suffix.
func (l *blockLog) nextHeight(more *suffix) uint64 {
	if more.head.Height == 0 {
		return l.marks.last.base
	}
	return more.head.Height + 1
}

func (l *blockLog) scanNew(f vfs.File, s *segment, more *suffix) error {
	if err := l.checkHeader(f, s); err != nil {
		if _, damaged := isCorrupt(err); damaged {
			more.torn = err
			return nil
		}
		return err
	}
	before := len(more.records)
	if err := l.scanBeyond(f, s, segmentHeaderBytes, more); err != nil {
		return err
	}
	if len(more.records) == before && more.torn == nil {
		more.torn = corrupt(s.name(), segmentHeaderBytes, s.first, "segment has no record")
	}
	return nil
}

func (l *blockLog) scanBeyond(f vfs.File, s *segment, from int64, more *suffix) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	err = scan(f, s.name(), from, size, l.nextHeight(more), func(r *scanned) error {
		want := l.marks.last.parent
		if more.head.Height != 0 {
			want = more.head.Hash()
		}
		if want != (chain.Hash{}) && r.header.Parent != want {
			return corrupt(s.name(), r.offset, r.header.Height, "parent is %s, want %s", r.header.Parent, want)
		}
		more.records = append(more.records, appended{s, r.offset, r.offset + r.frame.bytes()})
		more.head = r.header
		return nil
	})
	if _, damaged := isCorrupt(err); damaged {
		more.torn = err
		return nil
	}
	return err
}

// view adds the suffix to a log that is only read.
func (more *suffix) view(l *blockLog) error {
	if len(more.records) == 0 {
		return nil
	}
	last := more.records[len(more.records)-1]
	f, err := l.fs.Open(l.path(last.seg.name()))
	if err != nil {
		return err
	}
	l.marks.last = more.mark(l.marks.last)
	old := l.tail
	l.tail = f
	if old != nil {
		old.Close()
	}
	l.extend(more.records, more.head)
	return nil
}

// mark is the mark after the suffix.
func (more *suffix) mark(m mark) mark {
	if n := len(more.records); n > 0 {
		last := more.records[n-1]
		m.height, m.hash, m.segment, m.end = more.head.Height, more.head.Hash(), last.seg.first, uint64(last.end)
	}
	return m
}

// settle makes the files agree with what was found. The mark is written first:
// what a failed sync left in the file may be visible without being on the disk,
// and nothing may be taken away on the word of such a mark.
func (l *blockLog) settle(more *suffix) error {
	if err := l.setMark(l.marks.last); err != nil {
		return err
	}
	if l.marks.last.cut {
		return l.finishCut()
	}
	if err := l.finishDrop(); err != nil {
		return err
	}
	clean, err := l.endsHere(more)
	if err != nil {
		return err
	}
	if !clean {
		if err := l.take(more); err != nil {
			return err
		}
	}
	l.closeSegments()
	return nil
}

// endsHere reports whether the files end at the mark.
func (l *blockLog) endsHere(more *suffix) (bool, error) {
	firsts, err := l.list()
	if err != nil || len(more.records) > 0 || more.torn != nil {
		return false, err
	}
	return len(firsts) == 0 || firsts[len(firsts)-1] <= l.marks.last.segment, nil
}

// take makes the suffix part of the log and removes what is after it.
func (l *blockLog) take(more *suffix) error {
	if more.torn != nil {
		l.logf("removing the end of an append that a crash interrupted: %v", more.torn)
	}
	if err := more.rewrite(l); err != nil {
		return err
	}
	target := more.mark(l.marks.last)
	if err := l.setMark(target); err != nil {
		return err
	}
	if l.tail != nil {
		if err := l.tail.Close(); err != nil {
			return err
		}
		l.tail = nil
	}
	if err := l.removeAfter(target); err != nil {
		return err
	}
	return l.load()
}

// finishDrop removes the segments below the base.
func (l *blockLog) finishDrop() error {
	firsts, err := l.list()
	if err != nil {
		return err
	}
	for _, first := range firsts {
		if first >= l.marks.last.base {
			break
		}
		if err := l.removeSegment(first); err != nil {
			return err
		}
	}
	return nil
}

// rewrite makes the suffix durable. It may be in memory only: when a sync fails
// the kernel forgets that the pages are dirty, and a later sync writes nothing.
func (more *suffix) rewrite(l *blockLog) error {
	for i := 0; i < len(more.records); {
		j := i
		for j < len(more.records) && more.records[j].seg == more.records[i].seg {
			j++
		}
		from, to := more.records[i].offset, more.records[j-1].end
		if from == segmentHeaderBytes {
			from = 0
		}
		if err := rewriteRange(l.fs, l.path(more.records[i].seg.name()), from, to); err != nil {
			return err
		}
		i = j
	}
	return l.fs.SyncDir(l.path(blocksDir))
}

func rewriteRange(disk vfs.FS, name string, from, to int64) error {
	f, err := disk.OpenWrite(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, min(to-from, 1<<20))
	for from < to {
		b := buf[:min(to-from, int64(len(buf)))]
		if _, err := f.ReadAt(b, from); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return f.Sync()
}
