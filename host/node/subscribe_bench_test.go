package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// BenchmarkSealLatency measures, on a write node under load, the time from the
// end of a block to its publication: without subscribers, and with 2,000 whose
// filter matches nothing and 200 that get everything, each on a connection of its
// own (issue 5 item 2: p99 may grow by a tenth). The clients run in this process
// and share its cores, so the figures are worse than those of a node alone.
//
//	go test -run - -bench SealLatency -benchtime 300x ./host/node
func BenchmarkSealLatency(b *testing.B) {
	for _, c := range []struct {
		name       string
		idle, busy int
	}{{"alone", 0, 0}, {"subscribers", 2000, 200}, {"alone again", 0, 0}, {"subscribers again", 2000, 200}} {
		b.Run(c.name, func(b *testing.B) { benchmarkSealLatency(b, c.idle, c.busy) })
	}
}

func benchmarkSealLatency(b *testing.B, idle, busy int) {
	g := testGenesis()
	g.IntervalMs = 100
	cfg := testConfig(initDir(b, g), g)
	cfg.RPC.MaxConns = 5000
	w, run := startWriter(b, cfg, deps())
	addr, _ := w.Addrs()
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	var received atomic.Int64
	for i := range idle + busy {
		params := `["events",{"type":"unknown"}]`
		if i >= idle {
			params = []string{`["blocks"]`, `["events"]`}[i%2]
		}
		conn := subscribeRaw(b, ctx, addr, params)
		clients.Go(func() {
			defer conn.CloseNow()
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					return
				}
				received.Add(1)
			}
		})
	}
	const load = 10 // transactions of each block
	clients.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = w.Submit(ctx, [][]byte{fmt.Appendf(nil, "set k%d %d", i%1000, i)})
			pause(ctx, 100*time.Millisecond/load)
		}
	})
	published := map[uint64]time.Time{}
	head, moved := w.views.next()
	first := head.Height + 10
	for uint64(len(published)) < uint64(b.N) {
		<-moved
		now := time.Now()
		if head, moved = w.views.next(); head.Height >= first {
			published[head.Height] = now
		}
	}
	must(b, w.WaitFor(ctx, head.Height+1))
	var took []time.Duration
	for height, at := range published {
		next, err := w.Header(height + 1) // it opened when this one closed
		must(b, err)
		took = append(took, at.Sub(time.UnixMilli(int64(next.Time))))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(received.Load())/float64(b.N), "messages/block")
	cancel()
	clients.Wait()
	run.mustStop()
}

func subscribeRaw(b *testing.B, ctx context.Context, addr, params string) *websocket.Conn {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/ws", nil)
	must(b, err)
	must(b, conn.Write(ctx, websocket.MessageText, []byte(`{"jsonrpc":"2.0","id":1,"method":"kaizen_subscribe","params":`+params+`}`)))
	_, _, err = conn.Read(ctx)
	must(b, err)
	return conn
}
