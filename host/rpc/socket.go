package rpc

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// socket is what a WebSocket connection has, whatever is spoken on it.
type socket struct {
	server *Server
	conn   *websocket.Conn
	out    *gatherer // below conn
	from   caller
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	heard  atomic.Int64 // messages that were begun or read
}

func (c *socket) open(s *Server, conn *websocket.Conn, out *gatherer, from caller) {
	c.server, c.conn, c.out, c.from = s, conn, out, from
	c.ctx, c.cancel = context.WithCancel(s.base)
	conn.SetReadLimit(-1) // whoever reads has the limit
}

// end cuts the connection; everything on it stops.
func (c *socket) end() {
	c.cancel()
	c.conn.CloseNow() // it may be closed already
}

// wrote ends a connection whose client does not take what is written.
func (c *socket) wrote(err error) {
	if err == nil {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.metrics.limited.WithLabelValues("slow_client").Inc()
	}
	c.end()
}

// keep looks after a connection until it ends: ping finds clients that are gone
// without a word, drain says goodbye when the server stops.
func (c *socket) keep(ping, drain func()) {
	ticker := time.NewTicker(c.server.limits.PingInterval)
	defer ticker.Stop()
	defer c.end()
	for {
		select {
		case <-ticker.C:
			c.wg.Go(ping)
		case <-c.server.stop:
			drain()
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// checkPeer ends a connection whose client does not answer a ping in time, unless something
// else is heard of it. One that is not read is not asked: the answer would not be read
// either, and a client that cannot send it may hang up. Whether that client is there
// is seen when it is answered.
func (c *socket) checkPeer(unread func() bool) {
	if unread() {
		return
	}
	heard := c.heard.Load()
	if !c.ping() && c.heard.Load() == heard && !unread() {
		c.end()
	}
}

// ping reports whether the client answers in time.
func (c *socket) ping() bool {
	ctx, cancel := context.WithTimeout(c.ctx, c.server.limits.PingInterval)
	defer cancel()
	return c.conn.Ping(ctx) == nil
}

// errKind is the error of a message of the kind, text or binary, that is not spoken.
var errKind = errors.New("message of the other kind")

// refuseRead tells the client why its connection ends, where it can hear it. wants
// says which kind of messages is spoken.
func (c *socket) refuseRead(err error, wants string) {
	limited := c.server.metrics.limited
	switch {
	case errors.Is(err, errKind):
		c.conn.Close(websocket.StatusUnsupportedData, wants)
	case errors.Is(err, errNoMemory):
		limited.WithLabelValues("memory").Inc()
		c.conn.Close(websocket.StatusTryAgainLater, "Overloaded")
	case errors.Is(err, errBodyTooLarge):
		limited.WithLabelValues("body").Inc()
		c.conn.Close(websocket.StatusMessageTooBig, "BodyTooLarge")
	}
}
