package wire

import (
	"bufio"
	"context"
	"net"
	"sync"

	"github.com/coder/websocket"
)

// socket is a WebSocket as a byte stream: one binary message per write. Unlike
// the library's own, closing it waits for nobody.
type socket struct {
	net.Conn
	ws     *websocket.Conn
	cancel context.CancelFunc
}

func newSocket(ws *websocket.Conn) *socket {
	ctx, cancel := context.WithCancel(context.Background())
	return &socket{Conn: websocket.NetConn(ctx, ws, websocket.MessageBinary), ws: ws, cancel: cancel}
}

func (s *socket) Close() error {
	s.cancel()
	return s.ws.CloseNow()
}

// buffered is a connection of which some bytes have been looked at.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// handoff is the listener through which net/http gets the connections that turned
// out to be HTTP.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	mu   sync.Mutex
	addr net.Addr
}

func newHandoff() *handoff {
	return &handoff{conns: make(chan net.Conn), done: make(chan struct{}), addr: &net.TCPAddr{}}
}

// use sets the address that Addr reports.
func (h *handoff) use(a net.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addr = a
}

// give passes a connection on; false once the listener is closed.
func (h *handoff) give(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

// Accept implements [net.Listener].
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements [net.Listener].
func (h *handoff) Addr() net.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr
}
