package node

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
)

// BenchmarkSlice is how long the ledger's lock is held for a slice of a snapshot
// with a million keys, and 50 blocks since: what a block can be delayed by. It is
// processor time, which says the same on a busy machine.
func BenchmarkSlice(b *testing.B) {
	g := testGenesis(func(g *chain.Genesis) { g.MaxTxsPerBlock = 20_000 })
	l, add := testLedger(b, g, 1000)
	o := state.NewOverlay(l.versions.Tree())
	for i := range 1_000_000 {
		o.Set(fmt.Appendf(nil, "account%d", i), make([]byte, 80))
	}
	l.versions.Tree().Commit(o.Changes(), onAllCores)
	h := add(1)
	for range 50 {
		add(1000)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var took []time.Duration
	for b.Loop() {
		var at state.Position
		var keys arena
		for !at.End() {
			keys.reset()
			before := threadTime(b)
			var err error
			at, err = l.slice(&h, at, keys.add)
			must(b, err)
			took = append(took, threadTime(b)-before)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "µs-max")
}

// threadTime is the processor time of this thread.
func threadTime(t testing.TB) time.Duration {
	var ts unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts))
	return time.Duration(ts.Nano())
}
