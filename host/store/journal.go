package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"sync"

	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// MaxGroupBytes bounds the records of one group, bytes; [Journal.Append] makes
// several groups of more.
const MaxGroupBytes = 4 << 20

// spareName is a segment that is not in use: zeros, or on the way there, or what it
// held before.
const spareName = "spare" + tmpSuffix

// zeroChunk is how much of a file is filled with zeros between two syncs, bytes:
// little enough not to hold up the sync of an answer for long.
const zeroChunk = 1 << 20

// Journal holds the transactions that were answered and are not in the block log
// yet. One goroutine at a time begins a group or appends; each group is written by one,
// and another may release, at the same time.
//
//	Begin ─▶ Group.Write ─▶ answer
//	Begin ─────▶ Group.Write ─▶ answer      at most MaxOverlap at once
type Journal struct {
	store *Store
	fs    vfs.FS
	dir   string
	size  int64 // of a new segment, bytes
	group int   // limit of a group's payload, bytes

	file    vfs.File // of the last segment
	fileEnd int64    // its size
	at      int64    // where the next group goes
	prev    uint32
	next    uint64             // number of the next group
	height  uint64             // of the block opened last, in what was collected for the next group
	begun   uint64             // the same in the groups that were begun
	payload []byte             // what was collected
	last    *Group             // begun last
	pending []*Group           // begun and not known to be durable, ascending
	buffers [MaxOverlap][]byte // the sectors of group n are in n mod MaxOverlap

	files sync.Mutex // held while a segment or the spare file changes its name or use
	mu    sync.Mutex
	segs  []journalSegment // ascending; the last one is written
	spare bool             // the spare file may become the next segment
}

type journalSegment struct {
	seq    uint64
	size   int64  // bytes
	height uint64 // highest block that has a record in it or before it; not kept for the last
}

func (g *journalSegment) name() string { return journalName(g.seq) }

func journalName(seq uint64) string { return path.Join(journalDir, numbered(seq, ".wal")) }

// OpenJournal makes or opens the journal of a write node, and returns the blocks
// that were open when the node stopped, in order from the height after the head:
// executing their transactions again gives back every answered transaction at its
// place. It is called once.
func (s *Store) OpenJournal() (*Journal, []JournaledBlock, error) {
	if err := s.writable(); err != nil {
		return nil, nil, err
	}
	invariant.Hold(s.journal == nil, "journal of %s opened twice", s.dir)
	j := &Journal{store: s, fs: s.opts.FS, dir: s.dir, size: s.opts.JournalBytes, last: &Group{done: make(chan struct{})}}
	j.group = min(MaxGroupBytes, int(j.size/sectorBytes-1)*sectorPayload)
	close(j.last.done)
	blocks, err := j.open()
	if err != nil {
		err = s.fail(fmt.Errorf("open journal: %w", err))
		return nil, nil, errors.Join(err, j.close())
	}
	s.journal = j
	return j, blocks, nil
}

func (j *Journal) path(name string) string { return filepath.Join(j.dir, filepath.FromSlash(name)) }

func (j *Journal) sync() error { return j.fs.SyncDir(j.path(journalDir)) }

func (j *Journal) open() ([]JournaledBlock, error) {
	if err := j.fs.MkdirAll(j.path(journalDir)); err != nil {
		return nil, err
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		return nil, err
	}
	scan := &journalScan{genesis: j.store.hash, head: j.store.Height()}
	segs, err := scanJournal(j.fs, j.dir, scan, j.resume)
	if err != nil {
		return nil, err
	}
	j.segs, j.prev, j.next, j.height, j.begun = segs, scan.prev, scan.group, scan.height, scan.height
	j.next = max(j.next, 1)
	if len(segs) == 0 || scan.version < JournalVersion {
		if err := j.rotate(); err != nil {
			return nil, err
		}
	}
	if err := j.makeSpare(); err != nil {
		return nil, err
	}
	// The end of a clean shutdown leaves nothing but released segments.
	return scan.blocks, j.release(j.store.Height())
}

// scanJournal reads every segment of a directory's journal. resume, if not nil,
// is called with the last one.
func scanJournal(disk vfs.FS, dir string, scan *journalScan, resume func(seq uint64, b []byte, at segmentEnd) error) (segs []journalSegment, err error) {
	seqs, err := listJournal(disk, dir)
	if err != nil {
		return nil, err
	}
	for i, seq := range seqs {
		name := journalName(seq)
		if want := seqs[0] + uint64(i); seq != want {
			return nil, corrupt(journalName(want), -1, NoHeight, "file is missing; the next segment has number %d", seq)
		}
		b, err := readAll(disk, filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		at, err := scan.segment(b, name, seq)
		if err != nil {
			return nil, err
		}
		segs = append(segs, journalSegment{seq: seq, size: int64(len(b)), height: scan.height})
		last := i == len(seqs)-1
		if !last && at.dirty != at.end {
			return nil, corrupt(name, int64(at.end), scan.height, "group %d is cut off, and segment %d was begun after it", scan.group, seq+1)
		}
		if last && resume != nil {
			if err := resume(seq, b, at); err != nil {
				return nil, err
			}
		}
	}
	return segs, nil
}

func listJournal(disk vfs.FS, dir string) (seqs []uint64, err error) {
	names, err := disk.ReadDir(filepath.Join(dir, journalDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, name := range names {
		if seq, ok := parseNumbered(name, ".wal"); ok {
			seqs = append(seqs, seq)
		}
	}
	return seqs, nil
}

// readAll reads a journal segment whole.
func readAll(disk vfs.FS, name string) ([]byte, error) {
	f, err := disk.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := vfs.Buffer(int(min(n, MaxJournalBytes+sectorBytes)))
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// resume opens the last segment to write. Its last group is written again: if the
// sync that was to make it durable failed, the kernel shows it and does not have
// it on the disk. What an interrupted group left becomes zero again.
func (j *Journal) resume(seq uint64, b []byte, at segmentEnd) (err error) {
	if at.dirty != at.end {
		j.store.opts.Log("%s: removing groups of transactions that were interrupted before they were answered, bytes %d to %d", journalName(seq), at.end, at.dirty)
	}
	if j.file, err = j.fs.OpenSync(j.path(journalName(seq))); err != nil {
		return err
	}
	j.fileEnd, j.at = int64(len(b)), int64(at.end)
	clear(b[at.end:at.dirty])
	_, err = j.file.WriteAt(b[at.last:at.dirty], int64(at.last))
	return err
}

// makeSpare fills the spare file with zeros, and creates it if it is not there.
func (j *Journal) makeSpare() error {
	name := j.path(path.Join(journalDir, spareName))
	f, err := j.fs.OpenWrite(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = j.fs.Create(name)
	}
	if err != nil {
		return err
	}
	if err := fillZero(f, j.size); err != nil {
		f.Close()
		return fmt.Errorf("fill %s: %w", spareName, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	j.setSpare()
	return nil
}

// fillZero writes zeros rather than reserving space: a sync of reserved space
// that is written for the first time has to write metadata too.
func fillZero(f vfs.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	zeros := make([]byte, min(size, zeroChunk))
	for at := int64(0); at < size; at += zeroChunk {
		if _, err := f.WriteAt(zeros[:min(size-at, zeroChunk)], at); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// rotate goes on in a new segment, which is whole and durable before it has its
// name: a segment that exists has a header, and sectors that are empty.
func (j *Journal) rotate() error {
	j.files.Lock()
	defer j.files.Unlock()
	h := journalHeader{seq: 1, size: uint64(j.size), genesis: j.store.hash, group: j.next, height: j.begun, prev: j.prev}
	j.mu.Lock()
	ready := j.spare
	if n := len(j.segs); n > 0 {
		h.seq = j.segs[n-1].seq + 1
	}
	j.mu.Unlock()
	if !ready {
		if err := j.makeSpare(); err != nil {
			return err
		}
	}
	header := h.encode()
	f, err := j.startSegment(header, journalName(h.seq))
	if err != nil {
		return fmt.Errorf("begin journal segment %d: %w", h.seq, err)
	}
	old := j.file
	j.file, j.fileEnd, j.at, j.prev = f, j.size, sectorBytes, le.Uint32(header[sectorBytes-4:])
	j.mu.Lock()
	if n := len(j.segs); n > 0 {
		j.segs[n-1].height = j.begun
	}
	j.segs = append(j.segs, journalSegment{seq: h.seq, size: j.size})
	j.spare = false
	j.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.Close()
}

func (j *Journal) startSegment(header []byte, name string) (vfs.File, error) {
	spare := j.path(path.Join(journalDir, spareName))
	f, err := j.fs.OpenSync(spare)
	if err != nil {
		return nil, err
	}
	err = func() error {
		if _, err := f.WriteAt(header, 0); err != nil {
			return err
		}
		if err := j.fs.Rename(spare, j.path(name)); err != nil {
			return err
		}
		return j.sync()
	}()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Release gives up what belongs to blocks up to height, which are durable in the
// block log: segments with nothing newer are reused or removed.
func (j *Journal) Release(height uint64) error {
	if err := j.store.writable(); err != nil {
		return err
	}
	invariant.Hold(height <= j.store.Height(), "journal released up to block %d, durable is %d", height, j.store.Height())
	return j.store.fail(j.release(height))
}

func (j *Journal) release(height uint64) error {
	j.files.Lock()
	defer j.files.Unlock()
	for {
		j.mu.Lock()
		done := len(j.segs) > 1 && j.segs[0].height <= height
		var seg journalSegment
		if done {
			seg, j.segs = j.segs[0], j.segs[1:]
		}
		haveSpare := j.spare
		j.mu.Unlock()
		if !done {
			return nil
		}
		if err := j.retire(seg, haveSpare); err != nil {
			return fmt.Errorf("release %s: %w", seg.name(), err)
		}
	}
}

// retire takes the oldest segment out of use. Its name goes, durably, before its
// content does.
func (j *Journal) retire(seg journalSegment, haveSpare bool) error {
	if haveSpare {
		if err := j.fs.Remove(j.path(seg.name())); err != nil {
			return err
		}
		return j.sync()
	}
	if err := j.fs.Rename(j.path(seg.name()), j.path(path.Join(journalDir, spareName))); err != nil {
		return err
	}
	if err := j.sync(); err != nil {
		return err
	}
	if seg.size != j.size {
		return j.makeSpare()
	}
	j.setSpare()
	return nil
}

func (j *Journal) setSpare() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spare = true
}

// Height is the block that was opened last, 0 if none ever was.
func (j *Journal) Height() uint64 { return j.begun }

func (j *Journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

func (s *Store) hasJournal() (bool, error) {
	seqs, err := listJournal(s.opts.FS, s.dir)
	return len(seqs) > 0, err
}
