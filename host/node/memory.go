package node

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// gcPercent is how much a node's heap may grow over what is live before it is
// collected. Most of what is live is state in slabs without pointers, which the
// collector does not look into: collecting often is cheap and keeps a node with
// a million accounts well below the 700 MB it may take (BENCHMARKS.md).
const gcPercent = 25

// gcRoom is by how much the heap may always grow, bytes. With little state a
// share of it is little: a node with 25 MB live would be collected every two
// thousand transactions, which was 2 µs of each. With a million accounts, 350 MB
// live, it is what half a second of full load allocates.
const gcRoom = 128 << 20

// leastLive bounds what the room is shared out over, bytes, so that the
// first collections of a process do not come late.
const leastLive = 16 << 20

// gcPercentFor is the percentage that gives a heap of live bytes its room.
func gcPercentFor(live uint64) int {
	return max(gcPercent, int(gcRoom*100/max(live, leastLive)))
}

// TuneMemory sets up the garbage collector for a process whose job is a node.
// The environment's GOGC wins.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		tuner := &gcTuner{live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
		tuner.tune()
	}
}

// gcTuner is garbage from the beginning: every collection finds it, and it sets
// the percentage for the next one.
type gcTuner struct {
	live    []metrics.Sample // one
	percent int
}

func (t *gcTuner) tune() {
	metrics.Read(t.live)
	if p := gcPercentFor(t.live[0].Value.Uint64()); p != t.percent {
		debug.SetGCPercent(p)
		t.percent = p
	}
	runtime.SetFinalizer(t, (*gcTuner).tune)
}
