package node

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much a node's heap may grow over what is live before it is
// collected. Most of what is live is state in slabs without pointers, which the
// collector does not look into: collecting often is cheap and keeps a node with
// a million accounts well below the 700 MB it may take (BENCHMARKS.md).
const gcPercent = 25

// TuneMemory sets up the garbage collector for a process whose job is a node.
// The environment's GOGC wins.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
