package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// ManifestFile is the name of the manifest in a snapshot's directory; chunks are
// 00000.zst and so on.
const ManifestFile = "manifest.bin"

// ChunkFile is the name of a chunk's file.
func ChunkFile(i int) string { return fmt.Sprintf("%05d.zst", i) }

// Snapshot is one that is on disk. Its manifest is checked; its chunks are, each
// time they are read.
type Snapshot struct {
	Manifest *Manifest
	Path     string // of the directory

	fs vfs.FS
}

// Open reads the manifest of the snapshot in a directory; path may also name the
// manifest itself. What is wrong with it is a *[DamageError]. A nil disk is the
// operating system's.
func Open(disk vfs.FS, path string) (*Snapshot, error) {
	if disk == nil {
		disk = vfs.OS{}
	}
	if filepath.Base(path) == ManifestFile {
		path = filepath.Dir(path)
	}
	b, err := readFile(disk, filepath.Join(path, ManifestFile), MaxManifestBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !exists(disk, path):
		return nil, fmt.Errorf("%w: there is no %s", ErrNotFound, path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, &DamageError{path, -1, refuse(ErrNotSnapshot, "there is no %s", ManifestFile)}
	case errors.Is(err, ErrTooLarge):
		return nil, &DamageError{path, -1, err}
	case err != nil:
		return nil, err
	}
	m, err := DecodeManifest(b)
	if err != nil {
		return nil, &DamageError{path, -1, err}
	}
	return &Snapshot{Manifest: m, Path: path, fs: disk}, nil
}

func exists(disk vfs.FS, dir string) bool {
	_, err := disk.ReadDir(dir)
	return !errors.Is(err, fs.ErrNotExist)
}

// readFile reads a whole file of at most limit bytes.
func readFile(disk vfs.FS, path string, limit int) ([]byte, error) {
	f, err := disk.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > int64(limit) {
		return nil, refuse(ErrTooLarge, "%s has %d bytes, limit %d", path, size, limit)
	}
	b := make([]byte, size)
	return b, readFull(f, b, path)
}

func readFull(f vfs.File, b []byte, path string) error {
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// damage marks what is wrong with a chunk.
func (s *Snapshot) damage(i int, err error) error { return &DamageError{s.Path, i, err} }

// CheckChain is [Manifest.CheckChain] with the snapshot's name in the error.
func (s *Snapshot) CheckChain(g *chain.Genesis) error {
	if err := s.Manifest.CheckChain(g); err != nil {
		return s.damage(-1, err)
	}
	return nil
}

// CheckBlock compares the snapshot's block with one that is trusted.
func (s *Snapshot) CheckBlock(want chain.BlockID) error {
	if got := s.Manifest.Header.ID(); got != want {
		return s.damage(-1, refuse(ErrBlock, "block %d %s, want %d %s", got.Number, got.Hash, want.Number, want.Hash))
	}
	return nil
}

// CheckSigned demands that the manifest is signed by the header's sequencer: which
// key that is, [Snapshot.CheckChain] compares with genesis.
func (s *Snapshot) CheckSigned() error {
	if !s.Manifest.Signed() {
		return s.damage(-1, refuse(ErrUnsigned, "block %d", s.Manifest.Header.Height))
	}
	return s.CheckSignatures()
}

// CheckSignatures checks the block's signature, and the manifest's if there is one,
// with the key in the header. Whose that is, it does not say: see
// [Manifest.CheckChain].
func (s *Snapshot) CheckSignatures() error {
	if err := s.Manifest.checkSignatures(); err != nil {
		return s.damage(-1, err)
	}
	return nil
}

// ChunkBytes reads a chunk's file and checks it against the manifest: what a node
// sends to one that fetches. buf is used if it is large enough.
func (s *Snapshot) ChunkBytes(i int, buf []byte) ([]byte, error) {
	c := &s.Manifest.Chunks[i]
	path := filepath.Join(s.Path, ChunkFile(i))
	f, err := s.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.damage(i, refuse(ErrMissing, "%s", ChunkFile(i)))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size != int64(c.Compressed) {
		return nil, s.damage(i, refuse(ErrFileSize, "%d bytes, want %d", size, c.Compressed))
	}
	b := slices.Grow(buf[:0], int(size))[:size]
	if err := readFull(f, b, path); err != nil {
		return nil, err
	}
	if err := c.CheckTransfer(b); err != nil {
		return nil, s.damage(i, err)
	}
	return b, nil
}

// batchEntries bounds the entries that travel together from the goroutine that
// reads and hashes to the one that uses them.
const batchEntries = 512

// batch is a run of entries of one chunk.
type batch struct {
	entries []Entry
	buffer  []byte // if not nil, the content that is not used after this batch
	err     error
}

// stream is a snapshot being read by a goroutine of its own, ahead of use. Three
// chunks are in memory at most: some 6 MiB with everything.
type stream struct {
	s       *Snapshot
	out     chan batch
	free    chan []Entry
	buffers chan []byte
	stop    chan struct{}

	hashes state.Preparer
	file   []byte // of the chunk at hand
	path   chain.Hash
	begun  bool
	size   uint32 // of the chunk before
}

const (
	streamBuffers = 3
	streamBatches = 16
)

func (s *Snapshot) stream() *stream {
	r := &stream{s: s, out: make(chan batch, streamBatches), free: make(chan []Entry, streamBatches+2), buffers: make(chan []byte, streamBuffers), stop: make(chan struct{})}
	for range streamBuffers {
		r.buffers <- nil
	}
	for range streamBatches + 2 {
		r.free <- nil
	}
	go r.run()
	return r
}

// Entries gives every entry in path order, checked in full, and ends with an
// error if anything is wrong; it says nothing about the state root. An entry is
// valid until the next step.
func (s *Snapshot) Entries() iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		r := s.stream()
		defer r.close()
		for b := range r.out {
			for i := range b.entries {
				if !yield(&b.entries[i], nil) {
					return
				}
			}
			if b.err != nil {
				yield(nil, b.err)
				return
			}
			r.recycle(&b)
		}
	}
}

func (r *stream) recycle(b *batch) {
	r.free <- b.entries
	if b.buffer != nil {
		r.buffers <- b.buffer
	}
}

// close ends the goroutine and waits for it.
func (r *stream) close() {
	close(r.stop)
	for range r.out {
	}
}

func (r *stream) run() {
	defer close(r.out)
	for i := range r.s.Manifest.Chunks {
		if !r.chunk(i) {
			return
		}
	}
}

// send hands a batch over; false when nobody wants more.
func (r *stream) send(b batch) bool {
	select {
	case r.out <- b:
		return b.err == nil
	case <-r.stop:
		return false
	}
}

// take waits for something to be free; false when nobody wants more.
func take[T any](r *stream, from chan T) (v T, ok bool) {
	select {
	case v = <-from:
		return v, true
	case <-r.stop:
		return v, false
	}
}

func (r *stream) chunk(i int) bool {
	buffer, ok := take(r, r.buffers)
	if !ok {
		return false
	}
	if buffer == nil {
		buffer = make([]byte, 0, ChunkBytes)
	}
	c := &r.s.Manifest.Chunks[i]
	file, err := r.s.ChunkBytes(i, r.file)
	if err != nil {
		return r.send(batch{err: err})
	}
	r.file = file
	content, err := c.decode(buffer, file)
	if err != nil {
		return r.send(batch{err: r.s.damage(i, err)})
	}
	return r.parse(i, c, content, buffer)
}

// parse hands over a chunk's entries and checks their number, their order, and
// that the chunk before could not have held the first. The content is in buffer.
func (r *stream) parse(i int, c *Chunk, content, buffer []byte) bool {
	left := c.Entries
	for rest := content; ; {
		entries, ok := take(r, r.free)
		if !ok {
			return false
		}
		b := batch{entries: entries[:0]}
		first := left == c.Entries
		rest, b.err = r.fill(&b, c, rest, &left)
		if b.err == nil && first && i > 0 {
			b.err = r.checkCut(&b.entries[0])
		}
		if b.err != nil {
			b.entries, b.err = nil, r.s.damage(i, b.err)
		}
		if len(rest) == 0 && b.err == nil {
			b.buffer = buffer
		}
		if !r.send(b) {
			return false
		}
		if len(rest) == 0 {
			r.size = c.Bytes
			return true
		}
	}
}

// fill reads entries of a chunk into a batch, then hashes them side by side.
func (r *stream) fill(b *batch, c *Chunk, rest []byte, left *uint32) ([]byte, error) {
	begin := *left == c.Entries
	for len(rest) > 0 && len(b.entries) < batchEntries {
		if *left == 0 {
			return nil, refuse(ErrTrailing, "%d bytes after %d keys", len(rest), c.Entries)
		}
		e, after, err := readEntry(rest, r.s.Manifest.Kind)
		if err != nil {
			return nil, err
		}
		b.entries, rest = append(b.entries, e), after
		*left--
	}
	if len(rest) == 0 && *left > 0 {
		return nil, refuse(ErrEntries, "%d, want %d", c.Entries-*left, c.Entries)
	}
	r.hashes.Prepare(len(b.entries), func(i int) *state.Leaf { return &b.entries[i].Leaf })
	if first := b.entries[0].Path(); begin && first != c.First {
		return nil, refuse(ErrFirstPath, "%s, want %s", first, c.First)
	}
	return rest, r.inOrder(b.entries)
}

// inOrder checks that every path is above the one before.
func (r *stream) inOrder(entries []Entry) error {
	for i := range entries {
		path := entries[i].Path()
		if r.begun && bytes.Compare(r.path[:], path[:]) >= 0 {
			return refuse(ErrOrder, "path %s follows %s", path, r.path)
		}
		r.path, r.begun = path, true
	}
	return nil
}

func (r *stream) checkCut(first *Entry) error {
	if size := entrySize(first.Key(), first.Value()); int(r.size)+size <= ChunkBytes {
		return refuse(ErrCut, "the chunk before has %d bytes, the next entry %d: both fit %d", r.size, size, ChunkBytes)
	}
	return nil
}

// leaves gives the keys of a full snapshot; err is set if it ends early.
func (s *Snapshot) leaves(p *progress, err *error) iter.Seq[state.Leaf] {
	return func(yield func(state.Leaf) bool) {
		for e, failure := range s.Entries() {
			if failure != nil {
				*err = failure
				return
			}
			p.step()
			if !yield(e.Leaf) {
				return
			}
		}
	}
}

func (s *Snapshot) checkFull() error {
	if s.Manifest.Kind != Full {
		return s.damage(-1, refuse(ErrKind, "it continues block %d", s.Manifest.Base.Height))
	}
	return nil
}

// Restore builds the state of a full snapshot and checks every byte of it and the
// state root. The header is the snapshot's own claim: see [Manifest.CheckChain]
// and [Snapshot.CheckBlock].
func (s *Snapshot) Restore() (*state.Tree, *chain.Header, error) {
	return s.restore(&progress{})
}

func (s *Snapshot) restore(p *progress) (*state.Tree, *chain.Header, error) {
	if err := s.checkFull(); err != nil {
		return nil, nil, err
	}
	var failure error
	tree, err := state.BuildLeaves(s.leaves(p, &failure))
	if failure != nil {
		return nil, nil, failure
	}
	if err != nil {
		return nil, nil, s.damage(-1, refuse(ErrOrder, "%v", err))
	}
	if err := s.checkRoot(tree.Root()); err != nil {
		return nil, nil, err
	}
	return tree, &s.Manifest.Header, nil
}

func (s *Snapshot) checkRoot(root chain.Hash) error {
	if want := s.Manifest.Header.StateRoot; root != want {
		return s.damage(-1, refuse(ErrRoot, "the keys have %s, the header of block %d %s", root, s.Manifest.Header.Height, want))
	}
	return nil
}

// Verify checks every byte of a snapshot, the state root of a full one, the
// directory's name and that nothing else is in it. It takes a few MiB of memory.
// The state root of an incremental one is [VerifyChain]'s.
func (s *Snapshot) Verify() error { return s.verify(&progress{}) }

func (s *Snapshot) verify(p *progress) error {
	if err := s.checkFiles(); err != nil {
		return err
	}
	if s.Manifest.Kind != Full {
		for _, err := range s.Entries() {
			if err != nil {
				return err
			}
		}
		return nil
	}
	var failure error
	root, _, err := state.RootOf(s.leaves(p, &failure))
	if err = errors.Join(failure, err); err != nil {
		return err
	}
	return s.checkRoot(root)
}

// checkFiles compares the directory's name and files with the manifest.
func (s *Snapshot) checkFiles() error {
	name := filepath.Base(s.Path)
	if _, _, ok := parseName(name); ok && name != s.Manifest.Name() {
		return s.damage(-1, refuse(ErrName, "%s, want %s", name, s.Manifest.Name()))
	}
	names, err := s.fs.ReadDir(s.Path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := parseChunkFile(name, len(s.Manifest.Chunks)); !ok && name != ManifestFile {
			return s.damage(-1, refuse(ErrUnexpectedFile, "%s", name))
		}
	}
	return nil
}

// parseChunkFile reads what [ChunkFile] wrote, of one of so many chunks.
func parseChunkFile(name string, chunks int) (i int, ok bool) {
	i, err := strconv.Atoi(strings.TrimSuffix(name, ".zst"))
	return i, err == nil && i >= 0 && i < chunks && ChunkFile(i) == name
}
