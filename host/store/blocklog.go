package store

import (
	"fmt"
	"io"
	"path/filepath"
	"sort"
	"sync"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// blockLog is the append-only log of blocks and the mark it is held to.
//
// One goroutine appends; any number read. mu guards the fields and is never held
// over a file operation; files is held to read while a record is read, and to
// write by whatever takes bytes away, so that a reader never sees a record go.
// (Pruning holds it for an instant only: see removeDropped.)
type blockLog struct {
	fs          vfs.FS
	dir         string
	genesis     chain.Hash
	readOnly    bool
	rotateAt    int64  // segment size, bytes
	rotateAfter uint64 // blocks in a segment; 0: any number
	logf        func(format string, args ...any)

	files sync.RWMutex
	mu    sync.RWMutex
	marks *marks
	segs  []*segment   // ascending, without gaps
	head  chain.Header // zero while the log is empty
	tail  vfs.File     // of the last segment, nil while the log is empty

	buf []byte // encoding of a record; the appender's
}

func (l *blockLog) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

func (l *blockLog) mark() mark {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.marks.last
}

// appended is a record that is written and not yet part of the log.
type appended struct {
	seg    *segment
	offset int64
	end    int64
}

// append adds blocks and returns when they are durable. After an error other
// than a refusal by [blockLog.admit] the log must not be written again.
func (l *blockLog) append(records []Record) error {
	at := l.writer()
	var done []appended
	for _, r := range records {
		l.buf = appendRecord(l.buf[:0], r)
		if err := at.reserve(l, r.Block.Header.Height); err != nil {
			return err
		}
		if _, err := at.file.WriteAt(l.buf, at.end); err != nil {
			return fmt.Errorf("append block %d to %s: %w", r.Block.Header.Height, at.seg.name(), err)
		}
		done = append(done, appended{at.seg, at.end, at.end + int64(len(l.buf))})
		at.end += int64(len(l.buf))
	}
	if err := at.sync(l); err != nil {
		return err
	}
	m, head := l.marks.last, records[len(records)-1].Block.Header
	m.height, m.hash, m.segment, m.end = head.Height, head.Hash(), at.seg.first, uint64(at.end)
	if err := l.setMark(m); err != nil {
		return err
	}
	l.publish(done, head, at.file)
	return nil
}

func (l *blockLog) setMark(m mark) error {
	s := *l.marks
	if err := s.write(m); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = &s
	return nil
}

// appendPoint is where the next record goes.
type appendPoint struct {
	seg     *segment
	file    vfs.File
	end     int64
	newName bool // the directory has an entry that is not durable yet
}

func (l *blockLog) writer() *appendPoint {
	at := &appendPoint{file: l.tail}
	if n := len(l.segs); n > 0 {
		at.seg, at.end = l.segs[n-1], l.segs[n-1].size
	}
	return at
}

// reserve moves on to a new segment when there is none or the last is full.
func (at *appendPoint) reserve(l *blockLog, height uint64) error {
	if at.seg != nil && !l.full(at, height) {
		return nil
	}
	if at.seg != nil {
		if err := at.sync(l); err != nil {
			return err
		}
		if at.file != l.tail {
			if err := at.file.Close(); err != nil {
				return fmt.Errorf("close %s: %w", at.seg.name(), err)
			}
		}
	}
	at.seg = &segment{first: height, version: LogVersion}
	f, err := l.fs.Create(l.path(at.seg.name()))
	if err != nil {
		return fmt.Errorf("create %s: %w", at.seg.name(), err)
	}
	if _, err := f.WriteAt(encodeSegmentHeader(height, l.genesis), 0); err != nil {
		return fmt.Errorf("write header of %s: %w", at.seg.name(), err)
	}
	at.file, at.end, at.newName = f, segmentHeaderBytes, true
	return nil
}

// full reports that the block of a height begins a new segment.
func (l *blockLog) full(at *appendPoint, height uint64) bool {
	return at.end >= l.rotateAt || at.seg.version < LogVersion || l.rotateAfter > 0 && height-at.seg.first >= l.rotateAfter
}

func (at *appendPoint) sync(l *blockLog) error {
	if err := at.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", at.seg.name(), err)
	}
	if !at.newName {
		return nil
	}
	at.newName = false
	if err := l.fs.SyncDir(l.path(blocksDir)); err != nil {
		return fmt.Errorf("sync %s: %w", blocksDir, err)
	}
	return nil
}

// publish lets readers see what is durable.
func (l *blockLog) publish(done []appended, head chain.Header, tail vfs.File) {
	if tail == l.tail {
		l.extend(done, head)
		return
	}
	// Readers take the last segment from the last file: both change together.
	l.files.Lock()
	old := l.tail
	l.tail = tail
	l.extend(done, head)
	l.files.Unlock()
	if old != nil {
		if err := old.Close(); err != nil {
			l.logf("close a full block log segment: %v", err)
		}
	}
	l.closeSegments()
}

func (l *blockLog) extend(done []appended, head chain.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range done {
		if a.seg.count == 0 {
			l.segs = append(l.segs, a.seg)
		}
		a.seg.offsets = append(a.seg.offsets, uint32(a.offset))
		a.seg.count++
		a.seg.size = a.end
	}
	l.head = head
}

// closeSegments gives every segment but the last a sidecar in place of its
// offsets in memory. A sidecar is derived: without one the segment is scanned at
// the next opening.
func (l *blockLog) closeSegments() {
	for _, s := range l.openSegments() {
		if err := l.writeSidecar(s); err != nil {
			l.logf("write %s: %v", s.sidecar(), err)
			continue
		}
		l.mu.Lock()
		s.offsets = nil
		l.mu.Unlock()
	}
}

// openSegments are those but the last that have their offsets in memory.
func (l *blockLog) openSegments() (open []*segment) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segs[:max(len(l.segs)-1, 0)] {
		if s.offsets != nil {
			open = append(open, s)
		}
	}
	return open
}

func (l *blockLog) writeSidecar(s *segment) error {
	return writeFile(l.fs, l.path(s.sidecar()), encodeSidecar(s))
}

// writeFile replaces a file by way of a temporary one, all of it or nothing.
// The caller syncs the directory if it needs the name to last.
func writeFile(fs vfs.FS, name string, b []byte) error {
	f, err := fs.Create(name + tmpSuffix)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return fs.Rename(name+tmpSuffix, name)
}

// admit refuses a record that does not follow parent, the header before it; nil
// stands for an empty log.
func (l *blockLog) admit(parent *chain.Header, r Record) error {
	h := &r.Block.Header
	want, hash := l.marks.last.height+1, l.marks.last.parent
	if parent != nil {
		want, hash = parent.Height+1, parent.Hash()
	}
	switch {
	case h.Height != want:
		return fmt.Errorf("%w: height %d, want %d", ErrOrder, h.Height, want)
	case hash != chain.Hash{} && h.Parent != hash:
		return fmt.Errorf("%w: block %d names parent %s, want %s", ErrOrder, h.Height, h.Parent, hash)
	}
	return checkRecord(r)
}

// place is where a record is.
type place struct {
	seg    *segment
	index  uint64
	size   int64 // of the segment
	offset int64 // -1: ask the sidecar
	tail   bool
}

func (l *blockLog) find(height uint64) (p place, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	m := &l.marks.last
	switch {
	case height < m.base:
		return p, fmt.Errorf("block %d: %w, the first is %d", height, ErrPruned, m.base)
	case m.empty() || height > l.head.Height:
		return p, fmt.Errorf("block %d: %w, the head is %d", height, ErrNotFound, m.height)
	}
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].first > height }) - 1
	s := l.segs[i]
	p = place{seg: s, index: height - s.first, size: s.size, offset: -1, tail: i == len(l.segs)-1}
	if s.offsets != nil {
		p.offset = int64(s.offsets[p.index])
	}
	return p, nil
}

// read finds the record of a height and hands its file to fn. The frame is
// checked.
func (l *blockLog) read(height uint64, fn func(f io.ReaderAt, name string, offset int64, fr frame) error) error {
	l.files.RLock()
	defer l.files.RUnlock()
	p, err := l.find(height)
	if err != nil {
		return err
	}
	f := l.tail
	if !p.tail || f == nil {
		if f, err = l.fs.Open(l.path(p.seg.name())); err != nil {
			return fmt.Errorf("block %d: %w", height, err)
		}
		defer f.Close()
	}
	offset, fr, err := l.frameOf(f, p, height)
	if err != nil {
		return err
	}
	return fn(f, p.seg.name(), offset, fr)
}

// frameOf reads the frame of a record. An offset from a sidecar that leads
// nowhere is not believed: the segment itself is asked, and its answer kept.
func (l *blockLog) frameOf(f io.ReaderAt, p place, height uint64) (int64, frame, error) {
	name := p.seg.name()
	if p.offset < 0 {
		if offset, ok := l.sidecarOffset(p); ok {
			if fr, err := readFrame(f, name, offset, p.size, height); err == nil {
				return offset, fr, nil
			}
		}
		offsets, err := walk(f, name, p.seg.first, p.size)
		if uint64(len(offsets)) <= p.index {
			return 0, frame{}, err
		}
		p.offset = int64(offsets[p.index])
		if err == nil {
			l.keepOffsets(p.seg, offsets)
		}
	}
	fr, err := readFrame(f, name, p.offset, p.size, height)
	return p.offset, fr, err
}

func (l *blockLog) keepOffsets(s *segment, offsets []uint32) {
	l.logf("%s is missing or damaged; using the segment itself", s.sidecar())
	l.mu.Lock()
	defer l.mu.Unlock()
	if uint64(len(offsets)) == s.count {
		s.offsets = offsets
	}
}

func (l *blockLog) sidecarOffset(p place) (int64, bool) {
	f, err := l.fs.Open(l.path(p.seg.sidecar()))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var b [4]byte
	if _, err := f.ReadAt(b[:], sidecarHeaderBytes+4*int64(p.index)); err != nil {
		return 0, false
	}
	return int64(le.Uint32(b[:])), true
}

func readFrame(f io.ReaderAt, name string, offset, limit int64, height uint64) (frame, error) {
	var b [frameBytes]byte
	if offset < segmentHeaderBytes || offset+frameBytes > limit {
		return frame{}, corrupt(name, offset, height, "record is outside the segment of %d bytes", limit)
	}
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return frame{}, fmt.Errorf("read %s at %d: %w", name, offset, err)
	}
	rec, err := scanFrame(b[:], name, offset, limit, height)
	if err != nil {
		return frame{}, err
	}
	return rec.frame, nil
}

// walk goes from frame to frame and returns the offsets of the records up to the
// first damage.
func walk(f io.ReaderAt, name string, first uint64, size int64) (offsets []uint32, err error) {
	for offset := int64(segmentHeaderBytes); offset < size; first++ {
		fr, err := readFrame(f, name, offset, size, first)
		if err != nil {
			return offsets, err
		}
		offsets = append(offsets, uint32(offset))
		offset += fr.bytes()
	}
	return offsets, nil
}

// header reads only the header of a block.
func (l *blockLog) header(height uint64) (h chain.Header, err error) {
	err = l.read(height, func(f io.ReaderAt, name string, offset int64, fr frame) error {
		var b [chain.HeaderBytes]byte
		if err := readPart(f, name, offset+frameBytes, b[:], fr.headerCRC, height, "header"); err != nil {
			return err
		}
		h, err = chain.DecodeHeader(b[:])
		return decodeError(err, name, offset+frameBytes, height)
	})
	return h, err
}

// blockBytes reads the encoding of a block, resultsBytes that of its results.
func (l *blockLog) blockBytes(height uint64) (b []byte, err error) {
	err = l.read(height, func(f io.ReaderAt, name string, offset int64, fr frame) error {
		b = make([]byte, fr.blockBytes)
		return readPart(f, name, offset+frameBytes, b, fr.blockCRC, height, "block")
	})
	return b, err
}

func (l *blockLog) resultsBytes(height uint64) (results []byte, err error) {
	err = l.read(height, func(f io.ReaderAt, name string, offset int64, fr frame) error {
		b := make([]byte, fr.resultsBytes)
		offset += frameBytes + int64(fr.blockBytes)
		if err := readPart(f, name, offset, b, fr.resultsCRC, height, "signers and results"); err != nil {
			return err
		}
		var ok bool
		if _, results, ok = fr.split(b); !ok {
			return corrupt(name, offset, height, "signers are longer than what is there")
		}
		return nil
	})
	return results, err
}

// signed reads the encoding of a block and, in one go, what is stored of its
// signers: nil, with a log line, if that is damaged.
func (l *blockLog) signed(height uint64) (block, signers []byte, err error) {
	err = l.read(height, func(f io.ReaderAt, name string, offset int64, fr frame) error {
		b := make([]byte, fr.bytes()-frameBytes)
		if _, err := f.ReadAt(b, offset+frameBytes); err != nil {
			return fmt.Errorf("read %s at %d: %w", name, offset+frameBytes, err)
		}
		block = b[:fr.blockBytes:fr.blockBytes]
		if checksum(block) != fr.blockCRC {
			return corrupt(name, offset+frameBytes, height, "block does not match its checksum")
		}
		after, ok := b[fr.blockBytes:], false
		if checksum(after) == fr.resultsCRC {
			signers, _, ok = fr.split(after)
		}
		if !ok {
			l.logf("%s: what is stored of the signers of block %d is damaged; recovering them", name, height)
		}
		return nil
	})
	return block, signers, err
}

func readPart(f io.ReaderAt, name string, offset int64, b []byte, crc uint32, height uint64, what string) error {
	if _, err := f.ReadAt(b, offset); err != nil {
		return fmt.Errorf("read %s at %d: %w", name, offset, err)
	}
	if checksum(b) != crc {
		return corrupt(name, offset, height, "%s does not match its checksum", what)
	}
	return nil
}

func decodeError(err error, name string, offset int64, height uint64) error {
	if err == nil {
		return nil
	}
	return corrupt(name, offset, height, "%v", err)
}
