//go:build unix

package node

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// minFreeBytes is below which a node says that it is not ready: some minutes of
// full blocks.
const minFreeBytes = 1 << 30

func diskCheck(dir string) api.Check {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return api.Check{Name: "disk", Detail: fmt.Sprintf("%s: %v", dir, err)}
	}
	free := s.Bavail * uint64(s.Bsize)
	return api.Check{Name: "disk", OK: free >= minFreeBytes, Detail: fmt.Sprintf("%d MiB free, want %d", free>>20, minFreeBytes>>20)}
}
