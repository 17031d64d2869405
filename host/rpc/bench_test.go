package rpc

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// transferBytes is the size of a signed transfer, so that the figures are those
// of the usual traffic.
const transferBytes = 122

func sendMany(n int) []byte {
	raw := bytes.Repeat([]byte{0}, transferBytes)
	b := []byte(`{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransactions","params":[[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendHexText(b, raw)
	}
	return append(b, `]]}`...)
}

// BenchmarkSendTransactions is decoding and encoding 500 transactions: all that
// the server adds to what the node does.
func BenchmarkSendTransactions(b *testing.B) {
	const txs = 500
	node := newFake(b)
	s, err := New(Options{Backend: &fixedNode{fakeNode: node}, Limits: DefaultLimits()})
	if err != nil {
		b.Fatal(err)
	}
	text := sendMany(txs)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		v, e := s.parse(text)
		if e != nil {
			b.Fatal(e)
		}
		if len(s.answer(b.Context(), &v)) < txs*100 {
			b.Fatal("short answer")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/txs, "ns/tx")
}

// fixedNode answers sends from memory.
type fixedNode struct {
	*fakeNode
	done []Submitted
}

func (f *fixedNode) Submit(_ context.Context, raws [][]byte) []Submitted {
	if len(f.done) != len(raws) {
		f.done = make([]Submitted, len(raws))
		for i := range f.done {
			f.done[i] = Submitted{Receipt: f.execute(raws[i]), Height: 1 << 20, Index: i}
		}
	}
	return f.done
}

// onLoopback serves a backend until b ends, and returns where.
func onLoopback(b *testing.B, backend Backend) string {
	s, err := New(Options{Backend: backend, Limits: DefaultLimits()})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(l)
	b.Cleanup(func() { s.Shutdown(context.Background()) })
	return l.Addr().String()
}

// BenchmarkSendTransactionLoopback is one client with one keep-alive connection
// and one transaction at a time.
func BenchmarkSendTransactionLoopback(b *testing.B) {
	for _, scheme := range []string{"http", "ws"} {
		b.Run(scheme, func(b *testing.B) {
			addr := onLoopback(b, &fixedNode{fakeNode: newFake(b)})
			c, err := client.New(scheme + "://" + addr)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			raw := make([]byte, transferBytes)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.SendTransaction(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkClientReceipts is a client that sends 500 transactions and reads their
// receipts: server and client share the cores.
func BenchmarkClientReceipts(b *testing.B) {
	const txs = 500
	w := start(b, func(o *Options) { o.Backend = &fixedNode{fakeNode: o.Backend.(*fakeNode)} })
	defer w.stop()
	c := w.client("http://localhost")
	defer c.Close()
	raws := make([][]byte, txs)
	for i := range raws {
		raws[i] = make([]byte, transferBytes)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.SendTransactions(b.Context(), raws); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/txs, "ns/tx")
}

// BenchmarkObserve is what the latency histogram and the counter of a method cost
// each call, on as many cores as there are: a transaction that is sent alone pays it
// once, 500 in one call pay it together.
func BenchmarkObserve(b *testing.B) {
	s, err := New(Options{Backend: newFake(b), Limits: DefaultLimits()})
	if err != nil {
		b.Fatal(err)
	}
	m := s.methods["kaizen_sendTransaction"]
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for start := time.Now(); pb.Next(); {
			s.metrics.observe(m, 0, time.Since(start))
		}
	})
}
