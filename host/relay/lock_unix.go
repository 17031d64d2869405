//go:build unix

package relay

import (
	"os"
	"syscall"
)

// lockFile takes the lock on an open file, which the system drops when the process
// ends, however it ends.
func lockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
