package snapshot

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// Meta is what a snapshot says about its block.
type Meta struct {
	GenesisHash chain.Hash // of the genesis document
	Header      chain.Header
	Base        Base               // what an incremental one continues; zero: a full one
	Key         ed25519.PrivateKey // the sequencer's; nil: the manifest is not signed
	Jobs        int                // chunks that are compressed at once; 0: one, for a node that has other things to do
	// Rest is told how long a piece of compressing or hashing took, of milliseconds at
	// most where there are lanes, by the goroutine that did it, and returns when that may
	// go on; nil: at once.
	Rest func(worked time.Duration)
}

// rest is between two pieces of work, of which one began at since; the next one begins
// when it returns.
func (m *Meta) rest(since time.Time) time.Time {
	if m.Rest == nil {
		runtime.Gosched()
		return since
	}
	m.Rest(time.Since(since))
	return time.Now()
}

// Writer makes one snapshot. Nothing of it can be seen in the directory before
// Commit returns, and all of it after that, over a power loss too. Every Writer is
// ended by Commit or Abort.
type Writer struct {
	dir     *Dir
	lock    io.Closer
	tmp     string // where it is written
	meta    Meta
	entries uint64
	size    uint64
	last    chain.Hash // path of the key before, once there are entries
	open    *raw       // the chunk that is filled
	handed  []*raw     // to the first stage

	filled stage       // to be compressed
	packed stage       // to be stored
	stored stage       // to be hashed
	spare  chan []byte // for contents
	files  chan []byte // for files
	fail   sync.Once
	dead   chan struct{} // closed when a stage has failed
	cause  error         // why, once dead is closed
	ended  bool
}

// stage is the goroutines that chunks come to next. A chunk goes through one after
// the other, so that everything else is done beside compression, which takes longest.
type stage struct {
	in chan *raw
	wg sync.WaitGroup
}

// start runs n goroutines, for which so many chunks may wait.
func (s *stage) start(n, waiting int, run func(in <-chan *raw)) {
	s.in = make(chan *raw, waiting)
	for range n {
		s.wg.Go(func() { run(s.in) })
	}
}

// end waits until everything that came is done.
func (s *stage) end() {
	close(s.in)
	s.wg.Wait()
}

// raw is a chunk on its way to the disk.
type raw struct {
	index   int
	content []byte // until it is hashed
	file    []byte // once it is compressed, until it is hashed
	row     Chunk  // whole once it is hashed
}

// Names in a directory of snapshots.
const (
	lockFile  = "LOCK"
	tmpSuffix = ".writing"
)

// Create begins a snapshot. [ErrLocked] is wrapped while another is being written,
// received or removed. What was begun before and not finished is cleared away.
func (d *Dir) Create(meta Meta) (*Writer, error) {
	lock, err := d.lockDir()
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: d, lock: lock, meta: meta, tmp: filepath.Join(d.Path, fmt.Sprintf("%d%s", meta.Header.Height, tmpSuffix)),
		spare: make(chan []byte, hashedTogether), files: make(chan []byte, hashedTogether), dead: make(chan struct{})}
	err = d.clear("")
	if err == nil {
		err = d.fs().MkdirAll(w.tmp)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create snapshot of block %d: %w", meta.Header.Height, err), lock.Close())
	}
	w.filled.start(max(1, meta.Jobs), maxWaiting, w.compress)
	w.packed.start(1, maxWaiting, w.store)
	w.stored.start(1, maxWaiting, w.hash)
	return w, nil
}

// clear removes what was not committed, but for one path.
func (d *Dir) clear(but string) error {
	names, err := d.fs().ReadDir(d.Path)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(d.Path, name)
		if path == but || !strings.HasSuffix(name, tmpSuffix) && !strings.HasSuffix(name, fetchSuffix) {
			continue
		}
		if err := removeAll(d.fs(), path); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes a directory of files.
func removeAll(disk vfs.FS, dir string) error {
	names, err := disk.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := disk.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.Remove(dir)
}

const (
	// hashedTogether is how many chunks and their files are hashed side by side: so
	// many messages as there are lanes, where there are lanes. Of their 13 MiB is most
	// of what a Writer takes.
	hashedTogether = 8
	// maxWaiting is how many chunks wait for each stage.
	maxWaiting = 1
)

// Add appends a key with its path, [state.PathOf] of it, which is not computed again
// for every key. Paths ascend strictly, or the error is [ErrOrder]. Everything is
// copied. An error, which may be that of an earlier key, is final.
func (w *Writer) Add(path *chain.Hash, key, value []byte) error {
	if len(key) > state.MaxKeyBytes || len(value) > state.MaxValueBytes {
		return refuse(ErrTooLarge, "a key of %d bytes and a value of %d, limits %d and %d", len(key), len(value), state.MaxKeyBytes, state.MaxValueBytes)
	}
	return w.add(path, key, value, uint32(len(value)))
}

// Delete is Add for a key that is gone since the base of an incremental snapshot.
func (w *Writer) Delete(path *chain.Hash, key []byte) error {
	switch {
	case w.kind() == Full:
		return refuse(ErrKind, "a full one has no deleted keys")
	case len(key) > state.MaxKeyBytes:
		return refuse(ErrTooLarge, "a key of %d bytes, limit %d", len(key), state.MaxKeyBytes)
	}
	return w.add(path, key, nil, deleted)
}

// add appends an entry; length is what its header says of the value.
func (w *Writer) add(path *chain.Hash, key, value []byte, length uint32) error {
	if w.entries > 0 && bytes.Compare(w.last[:], path[:]) >= 0 {
		return refuse(ErrOrder, "path %s follows %s", path, w.last)
	}
	size := entrySize(key, value)
	if w.open != nil && len(w.open.content)+size > ChunkBytes {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.open == nil {
		if err := w.begin(path, key); err != nil {
			return err
		}
	}
	w.open.content = appendEntry(w.open.content, key, value, length)
	w.open.row.Entries++
	w.entries, w.size, w.last = w.entries+1, w.size+uint64(size), *path
	return nil
}

// begin opens a chunk for a key.
func (w *Writer) begin(path *chain.Hash, key []byte) error {
	if len(w.handed) == MaxChunks {
		return refuse(ErrTooLarge, "more than %d chunks", MaxChunks)
	}
	invariant.Hold(state.PathOf(key) == *path, "key %x is said to have path %s", key, path)
	w.open = &raw{index: len(w.handed), content: buffer(w.spare, ChunkBytes), row: Chunk{First: *path}}
	return nil
}

// buffer takes one that is to be used again, or makes one.
func buffer(from chan []byte, size int) []byte {
	select {
	case b := <-from:
		return b
	default:
		return make([]byte, 0, size)
	}
}

// reuse keeps a buffer for [buffer], unless enough are kept.
func reuse(to chan []byte, b []byte) {
	select {
	case to <- b[:0]:
	default:
	}
}

// flush hands the open chunk to the first stage.
func (w *Writer) flush() error {
	select {
	case w.filled.in <- w.open:
		w.handed, w.open = append(w.handed, w.open), nil
		return nil
	case <-w.dead:
		return w.cause
	}
}

// compress compresses chunks, as many at once as there are goroutines for it.
func (w *Writer) compress(filled <-chan *raw) {
	for r := range filled {
		start := time.Now()
		r.file = pack(buffer(w.files, packedBytes), r.content)
		w.meta.rest(start)
		w.packed.in <- r
	}
}

// store makes the chunks durable, one after the other. After a failure it only takes
// what comes, so that nobody waits for ever.
func (w *Writer) store(packed <-chan *raw) {
	for r := range packed {
		if !w.hasFailed() {
			if err := w.write(ChunkFile(r.index), r.file); err != nil {
				w.failed(err)
			}
		}
		w.stored.in <- r
	}
}

// hash hashes the chunks and their files, several side by side.
func (w *Writer) hash(stored <-chan *raw) {
	var h hasher
	for r := range stored {
		h.chunks = append(h.chunks, r)
		if len(h.chunks) == hashedTogether {
			w.hashSome(&h)
		}
	}
	w.hashSome(&h)
}

// hasher is chunks that wait to be hashed.
type hasher struct {
	chunks   []*raw
	messages [][]byte
	sums     [2 * hashedTogether][32]byte
}

// hashSome hashes the chunks that wait.
func (w *Writer) hashSome(h *hasher) {
	h.messages = h.messages[:0]
	for _, r := range h.chunks {
		h.messages = append(h.messages, r.content)
	}
	for _, r := range h.chunks {
		h.messages = append(h.messages, r.file)
	}
	start := time.Now()
	state.Sums(h.messages, h.sums[:len(h.messages)], func() { start = w.meta.rest(start) })
	for i, r := range h.chunks {
		r.row.describe(r.content, h.sums[i])
		r.row.seal(r.file, h.sums[len(h.chunks)+i])
		reuse(w.spare, r.content)
		reuse(w.files, r.file)
		r.content, r.file = nil, nil
	}
	h.chunks = h.chunks[:0]
}

func (w *Writer) failed(err error) {
	w.fail.Do(func() {
		w.cause = err
		close(w.dead)
	})
}

func (w *Writer) hasFailed() bool {
	select {
	case <-w.dead:
		return true
	default:
		return false
	}
}

// write makes a durable file of the snapshot.
func (w *Writer) write(name string, b []byte) error {
	f, err := w.dir.fs().Create(filepath.Join(w.tmp, name))
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s of the snapshot of block %d: %w", name, w.meta.Header.Height, err)
	}
	return nil
}

// Commit finishes the snapshot and makes it appear under its name, in the place of
// one that had the same content; but one that is signed is not replaced by one that
// is not.
func (w *Writer) Commit() (*Snapshot, error) {
	s, err := w.commit()
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	err = w.lock.Close()
	w.lock = nil
	return s, err
}

func (w *Writer) commit() (*Snapshot, error) {
	if w.open != nil {
		if err := w.flush(); err != nil {
			return nil, err
		}
	}
	if err := w.join(); err != nil {
		return nil, err
	}
	m := w.manifest()
	path := filepath.Join(w.dir.Path, m.Name())
	if old := w.signedBefore(path, m); old != nil {
		return old, removeAll(w.dir.fs(), w.tmp)
	}
	if err := w.write(ManifestFile, m.Append(nil)); err != nil {
		return nil, err
	}
	if err := w.dir.publish(w.tmp, path); err != nil {
		return nil, fmt.Errorf("publish snapshot %s: %w", path, err)
	}
	return &Snapshot{Manifest: m, Path: path, fs: w.dir.fs()}, nil
}

// signedBefore returns the snapshot that is there with the same content, if it is
// whole and has the signature that the new one would not have.
func (w *Writer) signedBefore(path string, m *Manifest) *Snapshot {
	if m.Signed() {
		return nil
	}
	old, err := Open(w.dir.fs(), path)
	if err != nil || !old.Manifest.Signed() || old.Manifest.Identity() != m.Identity() || old.Verify() != nil {
		return nil
	}
	return old
}

// join lets the stages finish, and returns what failed.
func (w *Writer) join() error {
	if !w.ended {
		w.ended = true
		w.filled.end()
		w.packed.end()
		w.stored.end()
	}
	return w.cause
}

func (w *Writer) kind() Kind {
	if w.meta.Base == (Base{}) {
		return Full
	}
	return Incremental
}

func (w *Writer) manifest() *Manifest {
	m := &Manifest{Kind: w.kind(), GenesisHash: w.meta.GenesisHash, Header: w.meta.Header, Base: w.meta.Base, Entries: w.entries, Bytes: w.size}
	for _, r := range w.handed {
		m.Chunks = append(m.Chunks, r.row)
	}
	if w.meta.Key != nil {
		m.Sign(w.meta.Key)
	}
	err := m.check()
	invariant.Hold(err == nil, "a snapshot that was just written: %v", err)
	return m
}

// publish gives a directory that is complete its name, in the place of one that
// had the same content. The files' names are durable before, so that nothing under
// the new name can be missing.
func (d *Dir) publish(tmp, path string) error {
	disk := d.fs()
	if err := disk.SyncDir(tmp); err != nil {
		return err
	}
	if err := removeSnapshot(disk, path); err != nil {
		return err
	}
	if err := disk.Rename(tmp, path); err != nil {
		return err
	}
	if err := disk.SyncDir(d.Path); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(d.Path)) // the first snapshot made the directory
}

// Abort gives up and removes what was written. It may be called after Commit, and
// then does nothing.
func (w *Writer) Abort() error {
	if w.lock == nil {
		return nil
	}
	w.join() // its error, if any, was returned by Add or Commit
	err := errors.Join(removeAll(w.dir.fs(), w.tmp), w.lock.Close())
	w.lock = nil
	return err
}
