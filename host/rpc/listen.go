package rpc

import (
	"net"
	"net/netip"
	"sync"
)

// limit wraps a listener so that connections above the limits are closed as
// soon as they are accepted.
func (s *Server) limit(l net.Listener) net.Listener {
	return &limitListener{Listener: l, server: s}
}

// limitListener counts in its server, so that several listeners share one limit.
type limitListener struct {
	net.Listener
	server *Server
}

// Accept waits for a connection that is within the limits.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := callerOf(c.RemoteAddr())
		limit := l.server.open.enter(from)
		if limit == "" {
			l.server.metrics.connections.WithLabelValues("tcp").Inc()
			return &countedConn{Conn: c, from: from, server: l.server}, nil
		}
		l.server.metrics.limited.WithLabelValues(limit).Inc()
		c.Close() // nothing was promised to it; a failing close changes nothing
	}
}

// connections counts what is open, in all and by client.
type connections struct {
	max, perClient int

	mu    sync.Mutex
	total int
	by    map[netip.Prefix]int
}

// enter counts a connection, or names the limit that it would break.
func (c *connections) enter(from caller) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.total >= c.max:
		return "connections"
	case !from.loopback && c.by[from.key] >= c.perClient:
		return "per_address"
	}
	c.total++
	c.by[from.key]++
	return ""
}

func (c *connections) leave(from caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.by[from.key]--; c.by[from.key] == 0 {
		delete(c.by, from.key)
	}
}

// countedConn leaves the count when it is closed.
type countedConn struct {
	net.Conn
	from   caller
	server *Server
	once   sync.Once
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.server.open.leave(c.from)
		c.server.metrics.connections.WithLabelValues("tcp").Dec()
	})
	return c.Conn.Close()
}

func newConnections(l *Limits) *connections {
	return &connections{max: l.MaxConnections, perClient: l.MaxPerAddress, by: map[netip.Prefix]int{}}
}
