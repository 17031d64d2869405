package vfs

import (
	"errors"
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
