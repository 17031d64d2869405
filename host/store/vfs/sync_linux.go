package vfs

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Sync implements [File] with fdatasync: it writes the size when that changed and
// leaves out the times, which would cost a journal commit on every call.
func (f osFile) Sync() error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	if err := conn.Control(func(fd uintptr) { syncErr = fdatasync(int(fd)) }); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", syncErr)
}

// fdatasync repeats the call only when a signal came before it had begun.
func fdatasync(fd int) error {
	for {
		if err := syscall.Fdatasync(fd); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// OpenSync implements [FS]. With O_DSYNC one call writes and syncs. O_DIRECT keeps
// away from the page cache, in which two syncs of neighbouring bytes wait for each
// other. Not every file system takes it, nor every disk in units of a sector, and
// what they refuse to write they refuse to read: then the page cache it is.
func (OS) OpenSync(name string) (File, error) {
	f, err := open(name, os.O_RDWR|syscall.O_DSYNC|syscall.O_DIRECT)
	if err == nil {
		if _, err = f.ReadAt(Buffer(SectorBytes), 0); err == nil {
			return f, nil
		}
		err = errors.Join(err, f.Close())
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, io.EOF) {
		return open(name, os.O_RDWR|syscall.O_DSYNC)
	}
	return nil, err
}
