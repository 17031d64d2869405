//go:build unix

package node

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// FreeBytes is how much may still be written into a directory.
func FreeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// MinFreeBytes is below which a node says that it is not ready: some minutes of
// full blocks.
const MinFreeBytes = 1 << 30

func diskCheck(dir string) api.Check {
	free, err := FreeBytes(dir)
	if err != nil {
		return api.Check{Name: "disk", Detail: err.Error()}
	}
	return api.Check{Name: "disk", OK: free >= MinFreeBytes, Detail: fmt.Sprintf("%d MiB free, want %d", free>>20, MinFreeBytes>>20)}
}
