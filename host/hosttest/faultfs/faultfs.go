// Package faultfs is a file system in memory that fails on purpose: the n-th
// operation can fail, fail although it took effect, or be the last one of the
// process; and then the power can go, which loses or tears whatever was not
// synced.
//
// It is for tests, and imports host/store/vfs, whose interface it implements,
// and nothing else of the project.
//
//	fs := faultfs.New()
//	fs.FailAt(7, faultfs.Crash)      the 7th change does not happen, nor any later one
//	… run the program …
//	fs.PowerLoss(faultfs.Torn(seed)) what was not synced is there sector by sector, or not
//	… open again, and look whether everything acknowledged is there …
//
// The model: a write changes what reads see at once, and the disk at the latest
// with the file's Sync. Until then a power loss keeps any of the sectors of 512
// bytes it touched; a sector is never half written. Names (Create, Rename, Remove)
// reach the disk in their order, at the latest with SyncDir; directories are
// durable when they are made. A Sync that fails leaves what it should have written
// visible but never written, as Linux does: a later Sync of the file reports
// success and does not write it either.
//
// Any goroutine may use it.
package faultfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// SectorBytes is what a disk writes whole or not at all.
const SectorBytes = vfs.SectorBytes

var (
	// ErrInjected is the error of an operation that was made to fail.
	ErrInjected = errors.New("injected fault")
	// ErrCrashed is the error of every operation after a crash.
	ErrCrashed = errors.New("process has crashed")
)

// Fault is what happens to an operation.
type Fault int

// The faults.
const (
	None          Fault = iota
	Fail                // no effect, an error; a Sync loses what it should have written
	FailPersisted       // full effect, on the disk too, and an error
	Short               // of a write the first half of the sectors is done, with an error: the disk is full; others fail
	Crash               // no effect, and the process has ended
	CrashShort          // of a write the first half of the sectors is done, and the process has ended
)

func (f Fault) String() string {
	return [...]string{"none", "fail", "fail-persisted", "short", "crash", "crash-short"}[f]
}

// FS is the file system.
type FS struct {
	mu      sync.Mutex
	dirs    map[string]bool
	names   map[string]*inode // as reads see it
	durable map[string]*inode // as on the disk
	pending []nameChange
	locks   map[string]string
	faults  map[int]Fault
	reads   func(name string) error
	ops     int
	trace   []string
	boot    int // counts crashes that were recovered from: older handles are dead
	crashed bool
}

var _ vfs.FS = (*FS)(nil)

// inode is a file. data is what reads see; disk and the pending changes are what a
// power loss chooses from.
type inode struct {
	data, disk []byte
	pending    []change
}

// change is a write, or a truncation when data is nil.
type change struct {
	at   int64
	data []byte
}

// nameChange gives a name to a file, or takes it away (nil); from, if set, loses
// its name at the same moment. With dir it is a directory that goes from one name
// to the other with all that is in it, or, without from, an empty one that goes.
type nameChange struct {
	name, from string
	to         *inode
	dir        bool
}

// New returns an empty file system.
func New() *FS {
	return &FS{dirs: map[string]bool{}, names: map[string]*inode{}, durable: map[string]*inode{}, locks: map[string]string{}, faults: map[int]Fault{}}
}

// FailAt makes the n-th change from now (the first is 1) meet a fault. Changes are
// Create, WriteAt, Truncate, Sync, Rename, Remove, SyncDir and MkdirAll of a new
// directory.
func (f *FS) FailAt(n int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[f.ops+n] = fault
}

// FailReads makes fn decide whether a read of a file fails; nil stops it.
func (f *FS) FailReads(fn func(name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = fn
}

// Ops is how many changes were asked for so far.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Trace lists the changes so far, a line each, for a failing test to print.
func (f *FS) Trace() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.trace)
}

// Crashed reports whether the process has ended.
func (f *FS) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// step counts a change and says what happens to it.
func (f *FS) step(boot int, format string, args ...any) (Fault, error) {
	if f.crashed || boot != f.boot {
		return Crash, ErrCrashed
	}
	f.ops++
	fault := f.faults[f.ops]
	line := fmt.Sprintf(format, args...)
	if fault != None {
		line += " [" + fault.String() + "]"
	}
	f.trace = append(f.trace, fmt.Sprintf("%d %s", f.ops, line))
	switch fault {
	case Crash, CrashShort:
		f.crashed = true
		return fault, ErrCrashed
	case None:
		return None, nil
	}
	return fault, fmt.Errorf("%w: %s", ErrInjected, line)
}

func notExist(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

func (f *FS) open(name string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return nil, ErrCrashed
	}
	n := f.names[filepath.Clean(name)]
	if n == nil {
		return nil, notExist("open", name)
	}
	return &file{fs: f, node: n, name: name, boot: f.boot}, nil
}

// Open implements [vfs.FS].
func (f *FS) Open(name string) (vfs.File, error) {
	h, err := f.open(name)
	if err != nil {
		return nil, err
	}
	h.(*file).readOnly = true
	return h, nil
}

// OpenWrite implements [vfs.FS].
func (f *FS) OpenWrite(name string) (vfs.File, error) { return f.open(name) }

// OpenSync implements [vfs.FS]: each write is followed by a sync of what it wrote.
func (f *FS) OpenSync(name string) (vfs.File, error) {
	h, err := f.open(name)
	if err != nil {
		return nil, err
	}
	return syncFile{h.(*file)}, nil
}

// Create implements [vfs.FS].
func (f *FS) Create(name string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	fault, err := f.step(f.boot, "create %s", name)
	if err == nil || fault == FailPersisted {
		if !f.dirs[filepath.Dir(name)] {
			return nil, notExist("create", name)
		}
		f.create(name)
	}
	if err != nil {
		return nil, err
	}
	return &file{fs: f, node: f.names[name], name: name, boot: f.boot}, nil
}

func (f *FS) create(name string) {
	if n := f.names[name]; n != nil {
		n.apply(change{at: 0}, false)
		return
	}
	f.rename(nameChange{name: name, to: &inode{}}, false)
}

// rename does a change of names; with persist the disk has it at once, and all
// that came before it.
func (f *FS) rename(c nameChange, persist bool) {
	c.do(f.names)
	if c.dir {
		c.moveDir(f.dirs)
	}
	f.pending = append(f.pending, c)
	if persist {
		f.syncNames(len(f.pending))
	}
}

func (c nameChange) do(names map[string]*inode) {
	if c.dir {
		moveBelow(names, c.from, c.name)
		return
	}
	delete(names, c.from)
	if c.to == nil {
		delete(names, c.name)
		return
	}
	names[c.name] = c.to
}

// moveDir does the change to the directories that there are.
func (c nameChange) moveDir(dirs map[string]bool) {
	delete(dirs, c.name)
	if c.from != "" {
		moveDirs(dirs, c.from, c.name)
	}
}

// undoDir takes moveDir back.
func (c nameChange) undoDir(dirs map[string]bool) {
	if c.from != "" {
		moveDirs(dirs, c.name, c.from)
	} else {
		dirs[c.name] = true
	}
}

// moveDirs gives a directory, and those below it, another name.
func moveDirs(dirs map[string]bool, from, to string) {
	for _, dir := range slices.Collect(maps.Keys(dirs)) {
		if rest, below := strings.CutPrefix(dir, from+string(filepath.Separator)); below || dir == from {
			delete(dirs, dir)
			if !below {
				rest = ""
			}
			dirs[filepath.Join(to, rest)] = true
		}
	}
}

func moveBelow(names map[string]*inode, from, to string) {
	for _, name := range slices.Collect(maps.Keys(names)) {
		if rest, below := strings.CutPrefix(name, from+string(filepath.Separator)); below && from != "" {
			names[filepath.Join(to, rest)] = names[name]
			delete(names, name)
		}
	}
}

func (f *FS) syncNames(n int) {
	for _, c := range f.pending[:n] {
		c.do(f.durable)
	}
	f.pending = f.pending[n:]
}

// Rename implements [vfs.FS].
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	fault, err := f.step(f.boot, "rename %s %s", from, to)
	if err != nil && fault != FailPersisted {
		return err
	}
	n := f.names[from]
	switch {
	case n != nil:
		f.rename(nameChange{name: to, from: from, to: n}, fault == FailPersisted)
	case !f.dirs[from]:
		return notExist("rename", from)
	case len(f.under(to)) > 0:
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	default:
		f.rename(nameChange{name: to, from: from, dir: true}, fault == FailPersisted)
	}
	return err
}

// under lists the files and directories directly in a directory.
func (f *FS) under(dir string) (names []string) {
	for _, all := range [][]string{slices.Collect(maps.Keys(f.names)), slices.Collect(maps.Keys(f.dirs))} {
		for _, n := range all {
			if filepath.Dir(n) == dir && n != dir {
				names = append(names, filepath.Base(n))
			}
		}
	}
	slices.Sort(names)
	return names
}

// Remove implements [vfs.FS].
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if !f.crashed && f.names[name] == nil && !f.dirs[name] {
		return notExist("remove", name)
	}
	fault, err := f.step(f.boot, "remove %s", name)
	if err == nil && len(f.under(name)) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrExist}
	}
	if err == nil || fault == FailPersisted {
		f.rename(nameChange{name: name, dir: f.dirs[name]}, fault == FailPersisted)
	}
	return err
}

// MkdirAll implements [vfs.FS].
func (f *FS) MkdirAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if f.dirs[name] && !f.crashed {
		return nil
	}
	fault, err := f.step(f.boot, "mkdir %s", name)
	if err == nil || fault == FailPersisted {
		for ; !f.dirs[name]; name = filepath.Dir(name) {
			f.dirs[name] = true
		}
	}
	return err
}

// ReadDir implements [vfs.FS].
func (f *FS) ReadDir(name string) (names []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	switch {
	case f.crashed:
		return nil, ErrCrashed
	case !f.dirs[name]:
		return nil, notExist("readdir", name)
	}
	return f.under(name), nil
}

// SyncDir implements [vfs.FS]. It makes all names durable, not only those of one
// directory: their order is kept.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.step(f.boot, "syncdir %s", filepath.Clean(name))
	if err == nil || fault == FailPersisted {
		f.syncNames(len(f.pending))
	}
	return err
}

type lock struct {
	fs   *FS
	name string
	boot int
}

// Lock implements [vfs.FS].
func (f *FS) Lock(name, holder string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if f.crashed {
		return nil, ErrCrashed
	}
	if h, held := f.locks[name]; held {
		return nil, &vfs.LockedError{File: name, Holder: h}
	}
	f.locks[name] = holder
	return &lock{f, name, f.boot}, nil
}

// Close implements [io.Closer].
func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.boot == l.fs.boot {
		delete(l.fs.locks, l.name)
	}
	return nil
}

// file is a handle.
type file struct {
	fs       *FS
	node     *inode
	name     string
	boot     int
	readOnly bool
	closed   bool
}

var _ vfs.File = (*file)(nil)

func (h *file) alive(op string) error {
	switch {
	case h.closed:
		return &fs.PathError{Op: op, Path: h.name, Err: fs.ErrClosed}
	case h.fs.crashed || h.boot != h.fs.boot:
		return ErrCrashed
	}
	return nil
}

// ReadAt implements [vfs.File].
func (h *file) ReadAt(p []byte, at int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("read"); err != nil {
		return 0, err
	}
	if h.fs.reads != nil {
		if err := h.fs.reads(h.name); err != nil {
			return 0, err
		}
	}
	if at >= int64(len(h.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.node.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// change does a write or truncation, as the plan has it.
func (h *file) change(c change, format string, args ...any) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("write"); err != nil {
		return err
	}
	if h.readOnly {
		return &fs.PathError{Op: "write", Path: h.name, Err: fs.ErrPermission}
	}
	fault, err := h.fs.step(h.boot, format, args...)
	switch fault {
	case None, FailPersisted:
		h.node.apply(c, fault == FailPersisted)
	case Short, CrashShort:
		parts := c.sectors()
		for _, part := range parts[:len(parts)/2] {
			h.node.apply(part, false)
		}
	}
	return err
}

// WriteAt implements [vfs.File].
func (h *file) WriteAt(p []byte, at int64) (int, error) {
	if err := h.change(change{at, append([]byte{}, p...)}, "write %s %d+%d", h.name, at, len(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// syncFile is a handle of [FS.OpenSync].
type syncFile struct{ *file }

// WriteAt implements [vfs.File]. It refuses what a disk would.
func (h syncFile) WriteAt(p []byte, at int64) (int, error) {
	if at%SectorBytes != 0 || len(p)%SectorBytes != 0 || reflect.ValueOf(p).Pointer()%SectorBytes != 0 {
		return 0, &fs.PathError{Op: "write", Path: h.name, Err: fs.ErrInvalid}
	}
	n, err := h.file.WriteAt(p, at)
	if err == nil {
		err = h.Sync()
	}
	return n, err
}

// Truncate implements [vfs.File].
func (h *file) Truncate(size int64) error {
	return h.change(change{at: size}, "truncate %s %d", h.name, size)
}

// Sync implements [vfs.File].
func (h *file) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.alive("sync"); err != nil {
		return err
	}
	fault, err := h.fs.step(h.boot, "sync %s", h.name)
	switch fault {
	case None, FailPersisted:
		h.node.sync()
	case Fail, Short:
		h.node.pending = nil // visible, clean, and not on the disk
	}
	return err
}

// Size implements [vfs.File].
func (h *file) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return int64(len(h.node.data)), h.alive("stat")
}

// Close implements [vfs.File].
func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return &fs.PathError{Op: "close", Path: h.name, Err: fs.ErrClosed}
	}
	h.closed = true
	return nil
}

func (n *inode) apply(c change, persist bool) {
	n.data = c.do(n.data)
	n.pending = append(n.pending, c)
	if persist {
		n.sync()
	}
}

func (n *inode) sync() {
	for _, c := range n.pending {
		n.disk = c.do(n.disk)
	}
	n.pending = nil
}

// do returns b with the change made.
func (c change) do(b []byte) []byte {
	if c.data == nil {
		return resize(b, int(c.at))
	}
	b = resize(b, max(len(b), int(c.at)+len(c.data)))
	copy(b[c.at:], c.data)
	return b
}

func resize(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

// Loss decides what of the unsynced changes a power loss keeps.
type Loss struct {
	name string
	rng  *rand.Rand // nil: keep all or nothing
	keep bool
}

// LoseAll keeps nothing that was not synced, KeepAll everything, and Torn some of
// it: a prefix of the names, and any of the sectors.
var (
	LoseAll = Loss{name: "lose all"}
	KeepAll = Loss{name: "keep all", keep: true}
)

// Torn is explained at [LoseAll]; equal seeds lose the same.
func Torn(seed uint64) Loss {
	return Loss{name: fmt.Sprintf("torn %d", seed), rng: rand.New(rand.NewPCG(seed, 0x7a))}
}

func (l Loss) String() string { return l.name }

func (l Loss) coin() bool {
	if l.rng == nil {
		return l.keep
	}
	return l.rng.IntN(2) == 0
}

// PowerLoss ends the process and the machine, and starts the machine again: reads
// see the disk, locks and faults are gone, old handles are dead.
func (f *FS) PowerLoss(loss Loss) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := len(f.pending)
	if !loss.keep {
		kept = 0
		if loss.rng != nil {
			kept = loss.rng.IntN(len(f.pending) + 1)
		}
	}
	nodes := f.inodes() // in an order that does not depend on a map's
	for i := len(f.pending) - 1; i >= kept; i-- {
		if f.pending[i].dir {
			f.pending[i].undoDir(f.dirs)
		}
	}
	f.syncNames(kept)
	for _, n := range nodes {
		n.lose(loss)
	}
	f.pending, f.names = nil, maps.Clone(f.durable)
	f.restart()
}

// Kill ends the process and not the machine: everything written is still seen,
// and not durable.
func (f *FS) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restart()
}

func (f *FS) restart() {
	f.locks, f.faults, f.reads, f.crashed = map[string]string{}, map[int]Fault{}, nil, false
	f.boot++
}

func (f *FS) inodes() (nodes []*inode) {
	seen := map[*inode]bool{}
	add := func(n *inode) {
		if n != nil && !seen[n] {
			seen[n] = true
			nodes = append(nodes, n)
		}
	}
	for _, names := range []map[string]*inode{f.durable, f.names} {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			add(names[name])
		}
	}
	for _, c := range f.pending {
		add(c.to)
	}
	return nodes
}

// lose makes what a power loss leaves of a file.
func (n *inode) lose(loss Loss) {
	for _, c := range n.pending {
		if c.data == nil {
			if loss.coin() {
				n.disk = c.do(n.disk)
			}
			continue
		}
		if loss.rng != nil && loss.coin() && int(c.at)+len(c.data) > len(n.disk) {
			n.disk = resize(n.disk, int(c.at)+len(c.data)) // the size without the data
		}
		for _, part := range c.sectors() {
			if loss.coin() {
				n.disk = part.do(n.disk)
			}
		}
	}
	n.pending, n.data = nil, bytes.Clone(n.disk)
}

// sectors splits a write where sectors begin.
func (c change) sectors() (parts []change) {
	for at, rest := c.at, c.data; len(rest) > 0; {
		size := min(SectorBytes-int(at%SectorBytes), len(rest))
		parts = append(parts, change{at, rest[:size]})
		at, rest = at+int64(size), rest[size:]
	}
	return parts
}

// Files lists the files under a directory that reads see, ascending.
func (f *FS) Files(dir string) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.names {
		if strings.HasPrefix(name, filepath.Clean(dir)+string(filepath.Separator)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ReadFile returns a copy of a file's content, nil if there is none.
func (f *FS) ReadFile(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.names[filepath.Clean(name)]; n != nil {
		return bytes.Clone(n.data)
	}
	return nil
}

// WriteFile puts a file on the disk; it is no change that can fail.
func (f *FS) WriteFile(name string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	n := &inode{data: bytes.Clone(b), disk: bytes.Clone(b)}
	f.names[name], f.durable[name] = n, n
	for dir := filepath.Dir(name); !f.dirs[dir]; dir = filepath.Dir(dir) {
		f.dirs[dir] = true
	}
}

// FlipBit damages one bit of a file, in what reads see and on the disk.
func (f *FS) FlipBit(name string, at int64, bit int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[filepath.Clean(name)]
	for _, b := range [][]byte{n.data, n.disk} {
		if at < int64(len(b)) {
			b[at] ^= 1 << bit
		}
	}
}

// Clone returns a machine with the same disk, started afresh.
func (f *FS) Clone() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := New()
	maps.Copy(c.dirs, f.dirs)
	for name, n := range f.names {
		m := &inode{data: bytes.Clone(n.data), disk: bytes.Clone(n.data)}
		c.names[name], c.durable[name] = m, m
	}
	return c
}
