package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// work is what one round of ours came to.
type work struct {
	n         int
	took      time.Duration
	node      time.Duration // processor time of the node; 0: it is in this process
	generator time.Duration // of this process
}

func (w *work) cpu() time.Duration { return w.node + w.generator }

// way is how load comes to a node in a process of its own.
type way struct {
	name            string
	over            string // what it comes over
	callers, atOnce int    // connections, and transactions that each sends before it waits
	node            *child
	load            func(n int) [][]byte
	send            func(ctx context.Context, raws [][]byte) (time.Duration, error)
	close           func()
	// next is how many transactions the next round has: what took a slice the
	// last time. No more than most.
	next, most int
}

// round sends for about a slice; load is made before the clock starts.
func (w *way) round(b *bench) (work, error) {
	n := max(4*workers, min(w.next, w.most))
	raws := w.load(n)
	if _, err := w.node.lap(); err != nil {
		return work{}, err
	}
	runtime.GC() // what was made between rounds is nobody's cost
	before, _ := usage()
	took, err := w.send(b.ctx, raws)
	if err != nil {
		return work{}, err
	}
	after, _ := usage()
	used, err := w.node.lap()
	w.next = int(float64(n) * b.seconds / took.Seconds())
	return work{n: n, took: took, node: used.CPU, generator: after - before}, err
}

// calls is load of many transactions in one call, as a [poster] sends it.
func (b *bench) calls(n *child, load func(n int) [][]byte, first, most int) *way {
	p := newPoster(n.RPC)
	return &way{name: fmt.Sprintf("calls of %d", batchSize), over: "HTTP", callers: workers, atOnce: batchSize, node: n, load: load, send: p.postAll, close: p.close, next: first, most: most}
}

// ones is load of one transaction a request, as [singles] send it.
func (b *bench) ones(n *child, load func(n int) [][]byte, first, most int) *way {
	s := &singles{address: n.RPC}
	return &way{name: "one a request", over: "HTTP", callers: singleConns, atOnce: 1, node: n, load: load, send: s.sendAll, close: s.close, next: first, most: most}
}

// messages is load of one transaction a WebSocket message, as [sockets] send it.
func (b *bench) messages(n *child, over string, s *sockets, load func(n int) [][]byte, first, most int) *way {
	return &way{name: fmt.Sprintf("one a message, %d under way", s.window*socketConns), over: over, callers: socketConns, atOnce: s.window, node: n, load: load, send: s.sendAll, close: func() {}, next: first, most: most}
}

// The first round of a way is short: its rate is not known.
const firstRound = 10_000

func (b *bench) counterCalls(c *counters) *way { return b.calls(c.node, c.load, firstRound, c.n) }

// counterInTurn is load to one counter, whose transactions have an order: a call
// follows the answer of the one before.
func (b *bench) counterInTurn(c *counters) *way {
	p := newPoster(c.node.RPC)
	return &way{name: fmt.Sprintf("calls of %d in turn to one counter", batchSize), over: "HTTP", callers: 1, atOnce: batchSize, node: c.node,
		load: c.loadOne, send: p.postInTurn, close: p.close, next: firstRound, most: c.n}
}

func (b *bench) counterOnes(c *counters) *way { return b.ones(c.node, c.load, firstRound, c.n) }
func (b *bench) counterJSON(c *counters) *way {
	return b.messages(c.node, "a WebSocket", jsonSockets(c.node.RPC), c.load, firstRound, c.n)
}
func (b *bench) counterStreams(c *counters, underWay int) *way {
	return b.messages(c.node, "the stream", streams(c.node.RPC, underWay), c.load, firstRound, c.n)
}

// singleConns is how many connections requests with one transaction come over: an
// answer waits for the disk, so that one connection cannot carry many a second.
const singleConns = 128

// singles sends requests that are ready before the clock starts, one transaction
// each, one under way on every connection, and reads answers without
// understanding them. It does without net/http, whose client takes as long for a
// request as its server.
type singles struct {
	address string
	conns   []*singleConn
}

type singleConn struct {
	net.Conn
	in   *bufio.Reader
	body []byte
}

func (s *singles) close() {
	for _, c := range s.conns {
		c.Close() // nothing is left to be lost
	}
	s.conns = nil
}

// dial makes the connections that are not there yet.
func (s *singles) dial(ctx context.Context) error {
	for len(s.conns) < singleConns {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
		if err != nil {
			return err
		}
		s.conns = append(s.conns, &singleConn{Conn: c, in: bufio.NewReader(c)})
	}
	return nil
}

// A request of kaizen_sendTransaction, before and after the hex.
const (
	singleStart = `{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransaction","params":["0x`
	singleEnd   = `"]}`
)

// requests are whole HTTP requests of kaizen_sendTransaction.
func (s *singles) requests(raws [][]byte) [][]byte {
	all := make([][]byte, len(raws))
	for i, raw := range raws {
		length := len(singleStart) + hex.EncodedLen(len(raw)) + len(singleEnd)
		b := make([]byte, 0, length+128)
		b = fmt.Appendf(b, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.address, length, singleStart)
		all[i] = append(hex.AppendEncode(b, raw), singleEnd...)
	}
	return all
}

// sendAll sends until all are answered.
func (s *singles) sendAll(ctx context.Context, raws [][]byte) (time.Duration, error) {
	if err := s.dial(ctx); err != nil {
		return 0, err
	}
	requests := s.requests(raws)
	until := time.Now().Add(singlePatience)
	var next atomic.Int64
	var all sync.WaitGroup
	failures := make([]error, len(s.conns))
	start := time.Now()
	for c, conn := range s.conns {
		all.Go(func() {
			if failures[c] = conn.SetDeadline(until); failures[c] != nil {
				return
			}
			for i := next.Add(1) - 1; int(i) < len(requests) && failures[c] == nil; i = next.Add(1) - 1 {
				failures[c] = conn.call(requests[i])
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	if i := slices.IndexFunc(failures, func(err error) bool { return err != nil }); i >= 0 {
		return took, failures[i] // the others mostly fail of the same
	}
	return took, ctx.Err()
}

// singlePatience bounds a round of [singles].
const singlePatience = 2 * time.Minute

// maxSingleAnswer bounds an answer to one transaction, bytes.
const maxSingleAnswer = 64 << 10

var (
	okLine      = []byte("HTTP/1.1 200 ")
	lengthField = []byte("content-length:")
)

// call sends a request and checks that its transaction went through.
func (c *singleConn) call(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	return c.answer()
}

// answer reads one answer. tools/peers reads headers with the same lines
// (skipAnswer) and says why it has them for itself.
func (c *singleConn) answer() error {
	status, err := c.in.ReadSlice('\n')
	switch {
	case err != nil:
		return fmt.Errorf("read an answer: %w", err)
	case !bytes.HasPrefix(status, okLine):
		return fmt.Errorf("transaction refused: %.60q", status)
	}
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read the header of an answer: %w", err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if name := len(lengthField); len(line) > name && bytes.EqualFold(line[:name], lengthField) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[name:]))); err != nil {
				return fmt.Errorf("length of an answer: %w", err)
			}
		}
	}
	if length < 0 || length > maxSingleAnswer {
		return fmt.Errorf("an answer has length %d, want 0 to %d", length, maxSingleAnswer)
	}
	c.body = append(c.body[:0], make([]byte, length)...)
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		return fmt.Errorf("read the body of an answer: %w", err)
	}
	return checkReceipts(c.body, 1)
}
