package node

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// BenchmarkSubmitBesideOldQueries answers transactions one by one, alone and while
// somebody asks without a break for states that have to be made again. Both are
// measured in turns, so that what else the machine does falls on both. The figures
// to compare are the ratios.
func BenchmarkSubmitBesideOldQueries(b *testing.B) {
	const blocks, turn = 4000, 400 * time.Millisecond
	g := testGenesis(func(g *chain.Genesis) { g.IntervalMs, g.MaxTxsPerBlock = 100, 1 })
	cfg := testConfig(initDir(b, g), g)
	cfg.Snapshot = SnapshotConfig{IntervalBlocks: 1000, Keep: 100, FullEvery: 1}
	cfg.History = HistoryConfig{Blocks: 16, States: 2, MaxReplayBlocks: 100_000}
	w, run := startWriter(b, cfg, deps())
	n := 0
	submit := func() time.Duration {
		n++
		raws := [][]byte{fmt.Appendf(nil, "set k%d %d", n%5000, n)}
		start := time.Now()
		if r := w.Submit(context.Background(), raws)[0]; r.Err != nil {
			b.Fatal(r.Err)
		}
		return time.Since(start)
	}
	for range blocks {
		submit()
	}
	must(b, w.WaitFor(within(b), blocks))
	var asking atomic.Bool
	var asked atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for at := uint64(1); ctx.Err() == nil; at = (at + 1777) % (blocks - 100) {
			if !asking.Load() {
				pause(ctx, time.Millisecond)
				continue
			}
			if _, _, err := w.Query(ctx, api.At(at), []byte("block")); err == nil {
				asked.Add(1)
			}
		}
	}()
	took := map[bool][]time.Duration{}
	for b.Loop() {
		for _, beside := range []bool{false, true} {
			asking.Store(beside)
			if !beside {
				w.views.past.turn <- struct{}{} // until nothing is made any more
				<-w.views.past.turn
			}
			for end := time.Now().Add(turn); time.Now().Before(end); {
				took[beside] = append(took[beside], submit())
			}
		}
	}
	stop()
	<-ended
	run.mustStop()
	at := func(beside bool, perCent int) float64 {
		slices.Sort(took[beside])
		return float64(took[beside][(len(took[beside])-1)*perCent/100].Nanoseconds())
	}
	b.ReportMetric(at(false, 50), "alone-p50-ns")
	b.ReportMetric(at(false, 99), "alone-p99-ns")
	b.ReportMetric(at(true, 50)/at(false, 50), "p50-ratio")
	b.ReportMetric(at(true, 99)/at(false, 99), "p99-ratio")
	b.ReportMetric(float64(asked.Load()), "old-states")
}
