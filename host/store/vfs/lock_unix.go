//go:build unix

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// maxHolderBytes bounds what is read of a lock file, bytes.
const maxHolderBytes = 256

// Lock implements [FS] with flock, which belongs to the open file: two opens in
// one process exclude each other too, and the kernel releases it with the process.
func (OS) Lock(name, holder string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = &LockedError{File: name, Holder: readHolder(f)}
		}
		return nil, joinClose(err, f)
	}
	if err := writeHolder(f, holder); err != nil {
		return nil, joinClose(err, f)
	}
	return f, nil
}

func readHolder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxHolderBytes))
	if err != nil || len(b) == 0 {
		return "an unknown process"
	}
	return strings.TrimSpace(string(b))
}

func writeHolder(f *os.File, holder string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(holder+"\n"), 0)
	return err
}

// Holder says who holds the lock of a file, without taking it for longer than the
// question: empty if nobody does, or the file is not there.
func (OS) Holder(name string) (string, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return readHolder(f), f.Close()
	case err != nil:
		return "", joinClose(err, f)
	}
	return "", f.Close()
}
