package hosttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Network is an in-memory network of stream connections with bounded buffers.
// Everything that waits, waits on channels and timers, so that inside a
// testing/synctest bubble time is the test's own.
type Network struct {
	// Buffer is how many bytes wait in one direction of a connection before the
	// writer has to; 64 KiB if zero.
	Buffer int
	// Fault decides what becomes of a write, nil for nothing. It is called with
	// the number of the connection, counted from 0 in the order of dialling, and
	// the number of the write in its direction. The sync protocol writes each
	// frame at once, so what happens to a write happens to a frame.
	Fault func(conn, write int, toClient bool, frame []byte) []Delivery

	mu        sync.Mutex
	dialled   int
	listeners map[string]*listener
}

// Delivery is what arrives of a write. None means that the write is lost.
type Delivery struct {
	Bytes []byte
	After time.Duration // later than that; what follows waits too
	Cut   bool          // the connection ends after these bytes
}

// ErrRefused is what dialling an address gives at which nobody listens.
var ErrRefused = errors.New("connection refused")

// Listen makes an address reachable until the listener is closed.
func (n *Network) Listen(address string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = make(map[string]*listener)
	}
	l := &listener{network: n, address: address, conns: make(chan net.Conn), done: make(chan struct{})}
	n.listeners[address] = l
	return l
}

// Dial connects to an address; it has the shape of net.Dialer's DialContext.
func (n *Network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l, number := n.listeners[address], n.dialled
	n.dialled++
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: %w", address, ErrRefused)
	}
	client, server := n.pair(number, address)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, fmt.Errorf("dial %s: %w", address, ErrRefused)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *Network) pair(number int, address string) (client, server *Conn) {
	size := n.Buffer
	if size == 0 {
		size = 64 << 10
	}
	up, down := newStream(size), newStream(size)
	if n.Fault != nil {
		up.fault = func(w int, b []byte) []Delivery { return n.Fault(number, w, false, b) }
		down.fault = func(w int, b []byte) []Delivery { return n.Fault(number, w, true, b) }
	}
	here := addr(fmt.Sprintf("client:%d", number))
	client = &Conn{in: down, out: up, local: here, remote: addr(address)}
	server = &Conn{in: up, out: down, local: addr(address), remote: here}
	return client, server
}

type addr string

func (addr) Network() string  { return "memory" }
func (a addr) String() string { return string(a) }

type listener struct {
	network *Network
	address string
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		delete(l.network.listeners, l.address)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return addr(l.address) }

// Conn is one end of a connection.
type Conn struct {
	in, out       *stream
	local, remote addr
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements [net.Conn].
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close implements [net.Conn]: both ends see it.
func (c *Conn) Close() error {
	c.in.shut(net.ErrClosed, io.ErrClosedPipe)
	c.out.shut(nil, net.ErrClosed)
	return nil
}

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

// stream is one direction of a connection.
type stream struct {
	limit int
	fault func(write int, b []byte) []Delivery

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever something below changes
	chunks   []chunk
	size     int // bytes in chunks
	writes   int
	readEnd  error // for a reader, at once; nil means none
	writeEnd error // for a writer, at once; a reader gets io.EOF after the rest
	readBy   time.Time
	writeBy  time.Time
}

type chunk struct {
	bytes []byte
	due   time.Time
	cut   bool
}

func newStream(limit int) *stream { return &stream{limit: limit, changed: make(chan struct{})} }

// wake tells everybody who waits to look again. The lock is held.
func (s *stream) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) setDeadline(field *time.Time, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*field = t
	s.wake()
}

// shut ends the stream for its reader (nil: after what is left) and its writer.
func (s *stream) shut(read, write error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readEnd == nil {
		s.readEnd = read
	}
	if s.writeEnd == nil {
		s.writeEnd = write
	}
	s.wake()
}

// wait releases the lock until something changes or one of the times comes.
func (s *stream) wait(until ...time.Time) {
	changed := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	var first time.Time
	for _, t := range until {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if first.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(first))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readEnd != nil:
			return 0, s.readEnd
		case passed(s.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(s.chunks) > 0 && !s.chunks[0].due.After(time.Now()):
			if n := s.take(p); n > 0 {
				return n, nil
			}
		case len(s.chunks) > 0:
			s.wait(s.readBy, s.chunks[0].due)
		case s.writeEnd != nil:
			return 0, io.EOF
		default:
			s.wait(s.readBy)
		}
	}
}

// take moves bytes of the first chunk to p.
func (s *stream) take(p []byte) int {
	c := &s.chunks[0]
	n := copy(p, c.bytes)
	c.bytes = c.bytes[n:]
	s.size -= n
	if len(c.bytes) == 0 {
		if c.cut {
			s.chunks, s.writeEnd = nil, io.ErrClosedPipe
		} else {
			s.chunks = s.chunks[1:]
		}
	}
	s.wake()
	return n
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	deliveries := []Delivery{{Bytes: p}}
	if s.fault != nil {
		deliveries = s.fault(s.writes, p)
	}
	s.writes++
	for _, d := range deliveries {
		if err := s.put(d); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// put appends a delivery, piece by piece as there is room.
func (s *stream) put(d Delivery) error {
	due, rest := time.Now().Add(d.After), append([]byte(nil), d.Bytes...)
	for {
		switch room := s.limit - s.size; {
		case s.writeEnd != nil:
			return s.writeEnd
		case passed(s.writeBy):
			return os.ErrDeadlineExceeded
		case room >= len(rest):
			s.chunks = append(s.chunks, chunk{rest, due, d.Cut})
			s.size += len(rest)
			s.wake()
			return nil
		case room > 0:
			s.chunks = append(s.chunks, chunk{rest[:room], due, false})
			s.size += room
			rest = rest[room:]
			s.wake()
		default:
			s.wait(s.writeBy)
		}
	}
}
