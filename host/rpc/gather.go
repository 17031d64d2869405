package rpc

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// gatherer is the connection below a session's WebSocket. While it is held, frames
// are gathered and go out in one write of the system: what a block has for a
// subscriber is a dozen messages, and each write costs more than all else about
// them. A ping that comes meanwhile goes out with them.
type gatherer struct {
	net.Conn
	timeout time.Duration // for one write of the system
	// drained, if set, is called before more is read from the network: everything that
	// was has been used.
	drained func()

	// mine is the right to touch what follows and to write. It is no mutex because it
	// is held while a slow client takes its time.
	mine chan struct{}
	held *[]byte // nil: writes go out at once
}

func newGatherer(conn net.Conn, timeout time.Duration) *gatherer {
	return &gatherer{Conn: conn, timeout: timeout, mine: make(chan struct{}, 1)}
}

func (g *gatherer) lock()   { g.mine <- struct{}{} }
func (g *gatherer) unlock() { <-g.mine }

const (
	// maxGatheredBytes is how much a connection gathers before it writes.
	maxGatheredBytes = 64 << 10
	// gatheredStart is what a buffer begins with: a block of modest size.
	gatheredStart = 8 << 10
)

// buffers are those that no connection uses now, so that one that is idle has none.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, gatheredStart)
	return &b
}}

// takeBuffer is an empty one.
func takeBuffer() *[]byte { return buffers.Get().(*[]byte) }

func giveBuffer(b *[]byte) {
	if cap(*b) <= maxGatheredBytes {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// hold gathers until release. Only the session's writer holds.
func (g *gatherer) hold() {
	b := takeBuffer()
	g.lock()
	defer g.unlock()
	g.held = b
}

// release writes what was gathered.
func (g *gatherer) release() error {
	g.lock()
	defer g.unlock()
	err := g.flush()
	giveBuffer(g.held)
	g.held = nil
	return err
}

// Read implements [io.Reader].
func (g *gatherer) Read(b []byte) (int, error) {
	if g.drained != nil {
		g.drained()
	}
	return g.Conn.Read(b)
}

// Write implements [io.Writer].
func (g *gatherer) Write(b []byte) (int, error) {
	g.lock()
	defer g.unlock()
	if g.held == nil {
		return g.out(b)
	}
	if len(*g.held)+len(b) > maxGatheredBytes {
		if err := g.flush(); err != nil {
			return 0, err
		}
		if len(b) > maxGatheredBytes {
			return g.out(b)
		}
	}
	*g.held = append(*g.held, b...)
	return len(b), nil
}

func (g *gatherer) flush() error {
	if len(*g.held) == 0 {
		return nil
	}
	_, err := g.out(*g.held)
	*g.held = (*g.held)[:0]
	return err
}

// out is one write of the system, for which the client has timeout.
func (g *gatherer) out(b []byte) (int, error) {
	if err := g.SetWriteDeadline(time.Now().Add(g.timeout)); err != nil {
		return 0, err
	}
	return g.Conn.Write(b)
}

// gathering is a response whose connection, once it is taken over, is a gatherer.
type gathering struct {
	http.ResponseWriter
	timeout time.Duration
	conn    *gatherer // after Hijack
}

// Hijack implements [http.Hijacker].
func (g *gathering) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(g.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	g.conn = newGatherer(conn, g.timeout)
	return g.conn, bufio.NewReadWriter(rw.Reader, bufio.NewWriter(g.conn)), nil
}
