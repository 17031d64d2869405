// Package store owns a node's data directory: the block log, the journal of the
// open block, the index from transaction ids to blocks, and the small things in
// bbolt (sync tips). LAYOUT.md beside this file shows every byte of it, and says
// which files are truth and which are derived.
//
// It is an adapter: only here is bbolt imported. It must not import another
// adapter, nor execute anything; a block's meaning is host/stf's.
//
//	Init ─▶ Open ─▶ OpenJournal ─▶ the blocks that were open, replayed by the node
//	                   │
//	 transactions ─▶ Journal.Begin ─▶ Group.Write ─▶ answer   (durable when it returns)
//	 sealed block ─▶ Append ─▶ publish                       (durable when it returns)
//	                   └─▶ Journal.Release, Maintain
//
// A write that fails leaves the disk in a state nobody knows: every later write
// returns [ErrFailed], and the node stops and comes back through Open, which puts
// an interrupted write in order (README, invariants 2 and 5).
//
// One goroutine calls Append, AppendBatch, Truncate and Maintain, or they take
// turns by themselves; one owns the Journal; another may call DropBefore, which
// holds up an append for one sync of the head mark and no longer. Every reading
// method may be called by any goroutine at any time until Close.
package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// Options are how a data directory is opened. The zero value is a node's.
type Options struct {
	// FS is the file system; nil means the operating system's. bbolt works on real
	// files only, so a store on another file system has no [Store.Meta].
	FS vfs.FS
	// ReadOnly opens without a lock and changes nothing. It may be done while a
	// node runs, and then shows the blocks that were durable at that moment.
	ReadOnly bool
	// Log receives what an operator should know: an interrupted write put in
	// order, a derived file rebuilt. nil drops it.
	Log func(format string, args ...any)
	// SegmentBytes is where the block log goes on in a new file, JournalBytes the
	// size of a journal segment, IndexEntries how many ids the index keeps in
	// memory before they go to disk; 0 means the default.
	SegmentBytes int64
	JournalBytes int64
	IndexEntries int
	// SegmentBlocks is after how many blocks the log goes on in a new file even if
	// the file is small; 0 means never. Pruning removes whole files, so a node that
	// prunes wants them to hold a fraction of the blocks it keeps.
	SegmentBlocks uint64
}

func (o Options) withDefaults() (Options, error) {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	o.SegmentBytes = orDefault(o.SegmentBytes, DefaultSegmentBytes)
	o.JournalBytes = orDefault(o.JournalBytes, DefaultJournalBytes)
	o.IndexEntries = orDefault(o.IndexEntries, DefaultIndexEntries)
	switch {
	case o.SegmentBytes < 1 || o.SegmentBytes > MaxSegmentBytes:
		return o, fmt.Errorf("segment size is %d bytes, want 1 to %d", o.SegmentBytes, MaxSegmentBytes)
	case o.JournalBytes < MinJournalBytes || o.JournalBytes > MaxJournalBytes || o.JournalBytes%sectorBytes != 0:
		return o, fmt.Errorf("journal segment size is %d bytes, want %d to %d in multiples of %d", o.JournalBytes, MinJournalBytes, MaxJournalBytes, sectorBytes)
	case o.IndexEntries < 1 || o.IndexEntries > MaxIndexEntries:
		return o, fmt.Errorf("index memory is %d entries, want 1 to %d", o.IndexEntries, MaxIndexEntries)
	}
	return o, nil
}

func orDefault[T int | int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// Store is an open data directory.
type Store struct {
	opts    Options
	dir     string
	lock    io.Closer // nil when read-only
	genesis *chain.Genesis
	hash    chain.Hash // of genesis

	// One write of the log at a time. dropping is held, before writing, by whatever
	// removes blocks: all the while, as opposed to writing.
	dropping sync.Mutex
	writing  sync.Mutex
	log      *blockLog
	index    *index
	meta     *Meta
	journal  *Journal

	failure atomic.Pointer[error]
	closed  bool
}

// Init makes dir, which must not hold a chain yet, the data directory of a chain.
// VERSION is written last, so a directory that has it is complete; one that a
// crash left without it may be initialized again.
func Init(dir string, g *chain.Genesis, opts Options) error {
	return InitAfter(dir, g, chain.BlockID{}, opts)
}

// InitAfter is [Init] of a directory whose log begins after a block: the one
// whose state a snapshot in that directory holds. The first block that is appended
// must have it as its parent. The zero block is the genesis block.
func InitAfter(dir string, g *chain.Genesis, last chain.BlockID, opts Options) error {
	if last.Number >= MaxHeight || (last.Number == 0) != (last.Hash == chain.Hash{}) {
		return fmt.Errorf("initialize %s after block %d %s: want the zero block, or a height of 1 to %d and a hash", dir, last.Number, last.Hash, MaxHeight-1)
	}
	o, err := opts.withDefaults()
	if err != nil {
		return err
	}
	if err := g.Validate(); err != nil {
		return err
	}
	disk := o.FS
	if err := disk.MkdirAll(dir); err != nil {
		return fmt.Errorf("initialize %s: %w", dir, err)
	}
	lock, err := lockDir(disk, dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := checkUnused(disk, dir); err != nil {
		return err
	}
	if disk == (vfs.OS{}) {
		if err := createMeta(dir, g); err != nil {
			return fmt.Errorf("initialize %s: %w", dir, err)
		}
	}
	if err := writeNew(disk, dir, g, last); err != nil {
		return fmt.Errorf("initialize %s: %w", dir, err)
	}
	return nil
}

// Holder says which process has a directory open to write, as it calls itself;
// empty if none has. A node that starts in that very moment may be refused.
func Holder(dir string) (string, error) { return vfs.OS{}.Holder(filepath.Join(dir, lockFile)) }

func lockDir(disk vfs.FS, dir string) (io.Closer, error) {
	lock, err := disk.Lock(filepath.Join(dir, lockFile), fmt.Sprintf("pid %d", os.Getpid()))
	var held *vfs.LockedError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("%w: %s is locked by %s", ErrLocked, dir, held.Holder)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return lock, nil
}

// checkUnused refuses a directory with a chain, or with the remains of one.
func checkUnused(disk vfs.FS, dir string) error {
	names, err := disk.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == versionFile {
			return fmt.Errorf("%w: %s", ErrInitialized, dir)
		}
	}
	for _, sub := range []string{blocksDir, journalDir} {
		left, err := disk.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("%w: %s has no %s, but %s has files", ErrInitialized, dir, versionFile, sub)
		}
	}
	return nil
}

func writeNew(disk vfs.FS, dir string, g *chain.Genesis, last chain.BlockID) error {
	for _, sub := range []string{blocksDir, indexDir} {
		if err := disk.MkdirAll(filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{
		{genesisFile, encodeGenesis(g)}, {markFile, encodeMarks(last)}, {versionFile, []byte(versionText())},
	} {
		if err := writeFile(disk, filepath.Join(dir, f.name), f.b); err != nil {
			return err
		}
		if err := disk.SyncDir(dir); err != nil {
			return err
		}
	}
	return disk.SyncDir(filepath.Dir(dir))
}

// Open opens a data directory and, unless ReadOnly, puts in order what a crash
// interrupted. Damage to anything that cannot be derived is a *[CorruptionError].
func Open(dir string, opts Options) (*Store, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, dir: dir}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, err), s.Close())
	}
	return s, nil
}

func (s *Store) open() (err error) {
	// The version comes first, so that a wrong directory is not written to.
	if err := s.readVersion(); err != nil {
		return err
	}
	if !s.opts.ReadOnly {
		if s.lock, err = lockDir(s.opts.FS, s.dir); err != nil {
			return err
		}
	}
	if err := s.readGenesis(); err != nil {
		return err
	}
	log := &blockLog{fs: s.opts.FS, dir: s.dir, genesis: s.hash, readOnly: s.opts.ReadOnly, rotateAt: s.opts.SegmentBytes, rotateAfter: s.opts.SegmentBlocks, logf: s.opts.Log}
	if err := openLog(log); err != nil {
		return errors.Join(err, log.close())
	}
	s.log = log
	if s.index, err = openIndex(s); err != nil {
		return err
	}
	return s.openMeta()
}

func (s *Store) readFile(name string, limit int) ([]byte, error) {
	f, err := s.opts.FS.Open(filepath.Join(s.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	if n > int64(limit) {
		return nil, corrupt(name, int64(limit), NoHeight, "file is %d bytes, limit %d", n, limit)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// maxVersionBytes bounds the VERSION file, bytes.
const maxVersionBytes = 256

func (s *Store) readVersion() error {
	b, err := s.readFile(versionFile, maxVersionBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: no %s file", ErrNotInitialized, versionFile)
	}
	if err != nil {
		return err
	}
	if string(b) == versionText() {
		return nil
	}
	var found uint16
	if n, _ := fmt.Sscanf(string(b), "kaizen data directory, format %d\n", &found); n != 1 {
		return corrupt(versionFile, 0, NoHeight, "content is %.60q", b)
	}
	return fmt.Errorf("%w: format %d, this program reads %d", ErrVersion, found, FormatVersion)
}

// ReadGenesis reads a genesis.bin by itself, wherever it lies.
func ReadGenesis(name string) (*chain.Genesis, error) {
	s := &Store{opts: Options{FS: vfs.OS{}}, dir: filepath.Dir(name)}
	b, err := s.readFile(filepath.Base(name), maxGenesisFile)
	if err != nil {
		return nil, err
	}
	return decodeGenesis(b)
}

func (s *Store) readGenesis() error {
	b, err := s.readFile(genesisFile, maxGenesisFile)
	if errors.Is(err, fs.ErrNotExist) {
		return corrupt(genesisFile, -1, NoHeight, "file is missing")
	}
	if err != nil {
		return err
	}
	if s.genesis, err = decodeGenesis(b); err != nil {
		return err
	}
	s.hash = s.genesis.Hash()
	return nil
}

// Close writes what the index has in memory and releases everything. No other
// call may be under way.
func (s *Store) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	if s.index != nil {
		errs = append(errs, s.index.close())
	}
	if s.journal != nil {
		errs = append(errs, s.journal.close())
	}
	if s.meta != nil {
		errs = append(errs, s.meta.close())
	}
	if s.log != nil {
		errs = append(errs, s.log.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

func (l *blockLog) close() error {
	l.files.Lock()
	defer l.files.Unlock()
	var errs []error
	if l.tail != nil {
		errs = append(errs, l.tail.Close())
	}
	if l.marks != nil {
		errs = append(errs, l.marks.file.Close())
	}
	return errors.Join(errs...)
}

// Meta is meta.db; nil in a store on another file system than the operating
// system's, and in one that is read beside a running node.
func (s *Store) Meta() *Meta { return s.meta }

// Dir is the directory's path, Genesis the chain's document, GenesisHash its hash.
func (s *Store) Dir() string             { return s.dir }
func (s *Store) Genesis() *chain.Genesis { return s.genesis }
func (s *Store) GenesisHash() chain.Hash { return s.hash }

// writable refuses a write to a store that is read-only or has failed.
func (s *Store) writable() error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	if err := s.failure.Load(); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, *err)
	}
	return nil
}

// fail remembers the first error of a write, after which none is tried again.
func (s *Store) fail(err error) error {
	if err != nil {
		s.failure.CompareAndSwap(nil, &err)
	}
	return err
}

// Head is the header of the newest durable block; false while there is none.
// Block 0 is the genesis document, which is not in the log.
func (s *Store) Head() (chain.Header, bool) {
	s.log.mu.RLock()
	defer s.log.mu.RUnlock()
	return s.log.head, !s.log.marks.last.empty()
}

// Height is the height of [Store.Head], and 0 (or the pruned height below
// [Store.Base]) while there is none.
func (s *Store) Height() uint64 { return s.log.mark().height }

// Base is the height of the first block kept: 1 until blocks are pruned.
func (s *Store) Base() uint64 { return s.log.mark().base }

// Before is the block before [Store.Base], whose state the chain in this directory
// begins with; its hash is zero while that is the genesis block.
func (s *Store) Before() chain.BlockID {
	m := s.log.mark()
	return chain.BlockID{Number: m.base - 1, Hash: m.parent}
}

// Append adds one block. When it returns nil all of the record survives a power
// loss. [ErrOrder] and [ErrTooLarge] refuse it and change nothing; any other error
// is fatal.
func (s *Store) Append(r Record) error { return s.AppendBatch([]Record{r}) }

// AppendBatch adds consecutive blocks with one sync of the log, for a node that
// catches up. After a crash inside it, any prefix of them may be there.
func (s *Store) AppendBatch(records []Record) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.writable(); err != nil || len(records) == 0 {
		return err
	}
	var parent *chain.Header
	if head, ok := s.Head(); ok {
		parent = &head
	}
	for _, r := range records {
		if err := s.log.admit(parent, r); err != nil {
			return err
		}
		parent = &r.Block.Header
	}
	if err := s.log.append(records); err != nil {
		return s.fail(err)
	}
	for _, r := range records {
		s.index.add(r.Block.Header.Height, r.Block.Header.Hash(), r.Results)
	}
	return nil
}

// Truncate rolls the log back to a height, which becomes the head: Base()-1
// empties it. A crash inside leaves it as before or rolled back. It is refused
// with [ErrHasJournal] in a directory with a journal: what was answered stays.
func (s *Store) Truncate(height uint64) error {
	s.dropping.Lock()
	defer s.dropping.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	if journaled, err := s.hasJournal(); err != nil || journaled {
		return errors.Join(err, ErrHasJournal)
	}
	if height > s.Height() || height+1 < s.Base() {
		return fmt.Errorf("roll back to block %d: %w, the log has %d to %d", height, ErrNotFound, s.Base(), s.Height())
	}
	if err := s.index.truncate(height); err != nil {
		return s.fail(err)
	}
	return s.fail(s.log.truncate(height))
}

// DropBefore removes blocks below height, as far as whole files hold nothing
// else, and returns the new base. The head is never removed. The base moves,
// durably, before the first file goes: a crash in between is finished by the next
// opening.
func (s *Store) DropBefore(height uint64) (base uint64, err error) {
	s.dropping.Lock()
	defer s.dropping.Unlock()
	dropped, err := s.moveBase(height)
	if err != nil || len(dropped) == 0 {
		return s.Base(), err
	}
	if err := s.log.removeDropped(dropped); err != nil {
		return s.Base(), s.fail(err)
	}
	return s.Base(), s.fail(s.index.dropBefore(s.Base()))
}

// moveBase takes the files below height out of use. It is all of the pruning that
// an append has to wait for.
func (s *Store) moveBase(height uint64) (dropped []*segment, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.writable(); err != nil {
		return nil, err
	}
	dropped, err = s.log.moveBase(height)
	return dropped, s.fail(err)
}

// Header reads the header of a block. As of all reads by height, the error wraps
// [ErrNotFound] above the head and [ErrPruned] below the base, and is a
// *[CorruptionError] when the stored bytes do not match their checksum.
func (s *Store) Header(height uint64) (chain.Header, error) { return s.log.header(height) }

// Block reads a block.
func (s *Store) Block(height uint64) (*chain.Block, error) {
	b, err := s.log.blockBytes(height)
	if err != nil {
		return nil, err
	}
	return decodeBlock(b, height)
}

func decodeBlock(b []byte, height uint64) (*chain.Block, error) {
	block, err := chain.DecodeBlock(b)
	if err != nil {
		return nil, corrupt(blocksDir, -1, height, "%v", err)
	}
	return block, nil
}

// SignedBlock reads a block and the Signers of its [Record]: nil if none are stored,
// or not as they were written.
func (s *Store) SignedBlock(height uint64) (block *chain.Block, signers []byte, err error) {
	b, signers, err := s.log.signed(height)
	if err != nil {
		return nil, nil, err
	}
	block, err = decodeBlock(b, height)
	return block, signers, err
}

// BlockBytes reads the encoding of a block, which is what the sync protocol sends.
func (s *Store) BlockBytes(height uint64) ([]byte, error) { return s.log.blockBytes(height) }

// Results reads what executing a block came to.
func (s *Store) Results(height uint64) (*chain.Results, error) {
	b, err := s.log.resultsBytes(height)
	if err != nil {
		return nil, err
	}
	results, err := chain.DecodeResults(b)
	if err != nil {
		return nil, corrupt(blocksDir, -1, height, "%v", err)
	}
	return results, nil
}

// HeightByHash finds a block by its header hash; [ErrNotFound] if the log has
// none, [ErrIndexIncomplete] if that cannot be told yet.
func (s *Store) HeightByHash(hash chain.Hash) (uint64, error) {
	at, err := s.index.find(hash, true)
	return at.Height, err
}

// TxPosition is where a transaction is.
type TxPosition struct {
	Height uint64
	Index  int
}

// FindTx finds a transaction by its id. Errors are those of [Store.HeightByHash].
func (s *Store) FindTx(id chain.Hash) (TxPosition, error) { return s.index.find(id, false) }
