package snapshot

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"

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
	open    *raw   // the chunk that is filled
	handed  []*raw // to the workers

	work   chan *raw
	spare  chan []byte
	wg     sync.WaitGroup // of the workers
	synced sync.WaitGroup // of the goroutine that waits for the disk
	files  chan vfs.File  // written, to be synced
	fail   sync.Once
	dead   chan struct{} // closed when a worker has failed
	cause  error         // why, once dead is closed
	ended  bool
}

// raw is a chunk on its way to the disk.
type raw struct {
	index   int
	entries uint32
	content []byte     // until it is written
	row     Chunk      // once it is written
	last    chain.Hash // path of its last key, once it is written
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
		work: make(chan *raw, 1), spare: make(chan []byte, spareBuffers), files: make(chan vfs.File, maxUnsynced), dead: make(chan struct{})}
	err = d.clear("")
	if err == nil {
		err = d.fs().MkdirAll(w.tmp)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create snapshot of block %d: %w", meta.Header.Height, err), lock.Close())
	}
	for range max(1, meta.Jobs) {
		w.wg.Go(w.run)
	}
	w.synced.Go(w.sync)
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
	// spareBuffers is how many chunk buffers wait to be used again.
	spareBuffers = 4
	// maxUnsynced is how many chunk files wait for the disk while the next are
	// compressed.
	maxUnsynced = 8
)

// Add appends a key, in strictly ascending path order. Both slices are copied. An
// error, which may be that of an earlier key, is final. The order is checked beside
// compression: at the latest Commit says that it was not kept.
func (w *Writer) Add(key, value []byte) error {
	if len(key) > state.MaxKeyBytes || len(value) > state.MaxValueBytes {
		return refuse(ErrTooLarge, "a key of %d bytes and a value of %d, limits %d and %d", len(key), len(value), state.MaxKeyBytes, state.MaxValueBytes)
	}
	return w.add(key, value, uint32(len(value)))
}

// Delete is Add for a key that is gone since the base of an incremental snapshot.
func (w *Writer) Delete(key []byte) error {
	switch {
	case w.kind() == Full:
		return refuse(ErrKind, "a full one has no deleted keys")
	case len(key) > state.MaxKeyBytes:
		return refuse(ErrTooLarge, "a key of %d bytes, limit %d", len(key), state.MaxKeyBytes)
	}
	return w.add(key, nil, deleted)
}

// add appends an entry; length is what its header says of the value.
func (w *Writer) add(key, value []byte, length uint32) error {
	size := entrySize(key, value)
	if w.open != nil && len(w.open.content)+size > ChunkBytes {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.open == nil {
		if len(w.handed) == MaxChunks {
			return refuse(ErrTooLarge, "more than %d chunks", MaxChunks)
		}
		w.open = &raw{index: len(w.handed), content: w.buffer()}
	}
	w.open.content = appendEntry(w.open.content, key, value, length)
	w.open.entries++
	w.entries, w.size = w.entries+1, w.size+uint64(size)
	return nil
}

func (w *Writer) buffer() []byte {
	select {
	case b := <-w.spare:
		return b
	default:
		return make([]byte, 0, ChunkBytes)
	}
}

// AddAll is Add for every key of a sequence.
func (w *Writer) AddAll(keys iter.Seq2[[]byte, []byte]) error {
	for key, value := range keys {
		if err := w.Add(key, value); err != nil {
			return err
		}
	}
	return nil
}

// flush hands the open chunk to a worker.
func (w *Writer) flush() error {
	select {
	case w.work <- w.open:
		w.handed, w.open = append(w.handed, w.open), nil
		return nil
	case <-w.dead:
		return w.cause
	}
}

// run hashes, compresses and writes chunks until there are no more.
func (w *Writer) run() {
	var file []byte
	var order orderCheck
	for r := range w.work {
		err := order.check(r, w.kind())
		if err == nil {
			file, err = w.chunk(r, file)
		}
		if err != nil {
			w.failed(err)
			return
		}
	}
}

// orderCheck finds the paths of a chunk's keys, many side by side.
type orderCheck struct {
	hashes state.Preparer
	keys   [][]byte
	paths  []chain.Hash
}

// check says whether the keys of a chunk are in ascending path order, and notes the
// first and the last path.
func (o *orderCheck) check(r *raw, kind Kind) error {
	o.keys = o.keys[:0]
	for rest := r.content; len(rest) > 0; {
		e, after, err := readEntry(rest, kind)
		invariant.Hold(err == nil, "an entry that was just written: %v", err)
		o.keys, rest = append(o.keys, e.Key()), after
	}
	o.paths = slices.Grow(o.paths[:0], len(o.keys))[:len(o.keys)]
	o.hashes.Paths(o.keys, o.paths)
	for i := 1; i < len(o.paths); i++ {
		if bytes.Compare(o.paths[i-1][:], o.paths[i][:]) >= 0 {
			return refuse(ErrOrder, "path %s follows %s", o.paths[i], o.paths[i-1])
		}
	}
	r.row.First, r.last = o.paths[0], o.paths[len(o.paths)-1]
	return nil
}

// sync makes the chunks durable, one after the other.
func (w *Writer) sync() {
	for f := range w.files {
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			w.failed(fmt.Errorf("sync a chunk of the snapshot of block %d: %w", w.meta.Header.Height, err))
		}
	}
}

func (w *Writer) failed(err error) {
	w.fail.Do(func() {
		w.cause = err
		close(w.dead)
	})
}

// chunk writes one; file is a buffer that it uses and returns.
func (w *Writer) chunk(r *raw, file []byte) ([]byte, error) {
	r.row, file = encode(file, r.content, r.row.First, r.entries)
	f, err := w.write(ChunkFile(r.index), file)
	if err == nil {
		w.files <- f
	}
	select {
	case w.spare <- r.content[:0]:
	default:
	}
	r.content = nil
	return file, err
}

// write makes a file of the snapshot, which the caller syncs.
func (w *Writer) write(name string, b []byte) (vfs.File, error) {
	f, err := w.dir.fs().Create(filepath.Join(w.tmp, name))
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteAt(b, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s of the snapshot of block %d: %w", name, w.meta.Header.Height, err), f.Close())
	}
	return f, nil
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
	f, err := w.write(ManifestFile, m.Append(nil))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("sync the manifest of the snapshot of block %d: %w", m.Header.Height, err)
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

// join lets the workers finish, and returns what failed.
func (w *Writer) join() error {
	if !w.ended {
		w.ended = true
		close(w.work)
		w.wg.Wait()
		close(w.files)
		w.synced.Wait()
	}
	if w.cause != nil {
		return w.cause
	}
	for i, r := range w.handed {
		if i > 0 && bytes.Compare(w.handed[i-1].last[:], r.row.First[:]) >= 0 {
			return refuse(ErrOrder, "path %s follows %s", r.row.First, w.handed[i-1].last)
		}
	}
	return nil
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
