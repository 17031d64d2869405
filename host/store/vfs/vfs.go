// Package vfs is the file system as host/store sees it: an interface of the few
// operations whose order and durability the store reasons about, and the real
// one, [OS].
//
// It imports nothing of the project; host/store and host/hosttest/faultfs (which
// fails, tears and loses things on purpose) both stand on it.
//
//	Create or Open ─▶ WriteAt … ─▶ Sync          the bytes and the size are durable
//	OpenSync ─▶ WriteAt                          the bytes are durable
//	Create, Rename, Remove      ─▶ SyncDir       the names are durable
//	nothing else is, whatever a later read shows
//
// A file may be used from several goroutines, as *os.File may.
package vfs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// FS is a file system. Names are paths as the operating system writes them.
// Errors wrap fs.ErrNotExist and its neighbours where they apply.
type FS interface {
	// Open opens an existing file to read it.
	Open(name string) (File, error)
	// OpenWrite opens an existing file to read and write it.
	OpenWrite(name string) (File, error)
	// OpenSync opens an existing file to write it in sectors, each write durable,
	// as after Sync, when WriteAt returns. Several writes may be under way at once
	// and do not wait for each other where the file system allows it. Offsets and
	// lengths are multiples of [SectorBytes], and the bytes lie in a [Buffer] at
	// such a multiple.
	OpenSync(name string) (File, error)
	// Create makes an empty file, or empties the one that is there, to read and
	// write it.
	Create(name string) (File, error)
	// Rename moves a file over whatever has the new name, or a directory to a name
	// that nothing or an empty directory has.
	Rename(from, to string) error
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// MkdirAll makes a directory and its parents.
	MkdirAll(name string) error
	// ReadDir returns the names of the files and directories in a directory, in
	// ascending order.
	ReadDir(name string) ([]string, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes the exclusive advisory lock of a file, which it creates, and
	// writes holder into it. If another holds the lock it fails at once with a
	// *[LockedError]. Closing releases it; so does the end of the process.
	Lock(name, holder string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is the length of the file, bytes.
	Size() (int64, error)
	// Truncate sets the length; what it adds reads as zeros.
	Truncate(size int64) error
	// Sync makes the content and the size durable. After an error nobody knows
	// what is on the disk, and another Sync may report success without having
	// written anything: the caller must not go on.
	Sync() error
}

// LockedError says who holds a lock.
type LockedError struct {
	File   string
	Holder string // what the holder wrote
}

func (e *LockedError) Error() string { return fmt.Sprintf("%s is locked by %s", e.File, e.Holder) }

// OS is the operating system's file system.
type OS struct{}

var _ FS = OS{}

const (
	fileMode = 0o644
	dirMode  = 0o755
)

type osFile struct{ *os.File }

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// SectorBytes is the unit of writes to a file of [FS.OpenSync].
const SectorBytes = 512

// bufferAlign is where the memory of a [Buffer] begins: no disk asks for more.
const bufferAlign = 4096

// Buffer returns n zero bytes that can be written to a file of [FS.OpenSync]: disks
// read memory themselves, and only from certain addresses.
func Buffer(n int) []byte {
	b := make([]byte, n+bufferAlign)
	skip := -int(reflect.ValueOf(b).Pointer()) & (bufferAlign - 1)
	return b[skip : skip+n : skip+n]
}

// Open implements [FS].
func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

// OpenWrite implements [FS].
func (OS) OpenWrite(name string) (File, error) { return open(name, os.O_RDWR) }

// Create implements [FS].
func (OS) Create(name string) (File, error) { return open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC) }

// Rename implements [FS].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements [FS].
func (OS) Remove(name string) error { return os.Remove(name) }

// MkdirAll implements [FS].
func (OS) MkdirAll(name string) error { return os.MkdirAll(name, dirMode) }

// ReadDir implements [FS].
func (OS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements [FS].
func (OS) SyncDir(name string) error {
	d, err := os.Open(filepath.Clean(name))
	if err != nil {
		return err
	}
	return joinClose(d.Sync(), d)
}

// Size implements [File].
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func joinClose(err error, c io.Closer) error {
	if closeErr := c.Close(); err == nil {
		err = closeErr
	}
	return err
}
