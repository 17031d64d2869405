package wire

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
)

// Server answers peers from an archive and rings their doorbells.
type Server struct {
	archive  follow.Archive
	identity Identity
	limits   Limits
	log      *slog.Logger

	latest  atomic.Pointer[announcement]
	rung    chan struct{} // of capacity 1: latest has changed
	open    openFeed
	reading chan struct{} // one token per archive read
	gate    *gate         // of snapshots
	upgrade *handoff      // connections on their way to a WebSocket
	http    *http.Server
	done    chan struct{}
	running sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	listeners []net.Listener
	conns     map[*tracked]struct{}
	perIP     map[string]int
	peers     []*peer // in the order of arrival
	stats     Stats
}

type announcement struct {
	tip   chain.BlockID
	block []byte
}

// Stats counts what happened since the server was made.
type Stats struct {
	Accepted  uint64 // connections
	TooMany   uint64 // connections refused by a limit
	Refused   uint64 // handshakes refused or failed
	Ended     uint64 // sessions that ended, for any reason
	Violation uint64 // of those, sessions ended because the peer broke the protocol
	Slow      uint64 // of those, sessions ended because the peer was silent or slow
	Announced uint64
	Requests  uint64
}

// NewServer returns a server that listens nowhere yet. [Server.Close] releases
// it.
func NewServer(archive follow.Archive, identity Identity, limits Limits, log *slog.Logger) *Server {
	limits = limits.withDefaults()
	s := &Server{
		archive: archive, identity: identity, limits: limits, log: log,
		rung: make(chan struct{}, 1), open: openFeed{some: make(chan struct{}, 1), ended: make(chan struct{}, 1)}, reading: make(chan struct{}, limits.MaxReads), gate: newGate(&limits),
		upgrade: newHandoff(), done: make(chan struct{}),
		conns: make(map[*tracked]struct{}), perIP: make(map[string]int),
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: limits.HandshakeTimeout, IdleTimeout: limits.HandshakeTimeout, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.running.Go(s.distribute)
	s.running.Go(s.distributeOpen)
	s.running.Go(func() { _ = s.http.Serve(s.upgrade) }) // it only ends with ErrServerClosed
	return s
}

// Serve accepts connections until the listener fails or the server is closed; it
// returns nil in the second case, also if that was before. It may be called for
// several listeners.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners = append(s.listeners, l)
	s.upgrade.use(l.Addr())
	s.mu.Unlock()
	pause := Backoff{Min: acceptPause, Max: maxAcceptPause}
	for {
		conn, err := l.Accept()
		if err == nil {
			pause.Reset()
			s.accept(conn)
			continue
		}
		if err = s.acceptError(err, &pause); err != nil || s.isDone() {
			return err
		}
	}
}

// After an accept that failed for a reason that passes: the first pause, and the
// longest.
const acceptPause, maxAcceptPause = 5 * time.Millisecond, time.Second

// acceptError waits out what passes, above all that the process has no file
// descriptor left: a node must not stop because many connect to it. What does not
// pass is returned.
func (s *Server) acceptError(err error, pause *Backoff) error {
	if s.isDone() {
		return nil
	}
	var passing interface{ Temporary() bool }
	if !errors.As(err, &passing) || !passing.Temporary() {
		return fmt.Errorf("sync port: %w", err)
	}
	s.log.Warn("a connection was not accepted", "err", err)
	t := time.NewTimer(pause.Next())
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.done:
	}
	return nil
}

func (s *Server) isDone() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// accept starts a session unless a limit forbids it.
func (s *Server) accept(conn net.Conn) {
	t := &tracked{Conn: conn, server: s, ip: hostOf(conn.RemoteAddr())}
	if refusal := s.admit(t); refusal != nil {
		s.log.Debug("connection refused", "peer", conn.RemoteAddr(), "reason", refusal)
		f := newFramer(conn, nil, Limits{FrameTimeout: refuseTimeout}, 0)
		_ = f.send(*refusal) // a courtesy: nothing depends on its arrival
		_ = conn.Close()
		return
	}
	go func() {
		defer s.running.Done()
		s.route(t)
	}()
}

// refuseTimeout bounds telling a peer that there is no room for it: the message
// fits the buffer of a new connection.
const refuseTimeout = 10 * time.Millisecond

func (s *Server) admit(t *tracked) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return &Refusal{Code: CodeBusy, Ours: "closing"}
	case s.limits.MaxConns >= 0 && len(s.conns) >= s.limits.MaxConns:
		s.stats.TooMany++
		return &Refusal{Code: CodeBusy, Ours: fmt.Sprintf("limited to %d", s.limits.MaxConns), Theirs: "one more"}
	case s.limits.MaxConnsPerIP >= 0 && s.perIP[t.ip] >= s.limits.MaxConnsPerIP:
		s.stats.TooMany++
		return &Refusal{Code: CodeBusy, Ours: fmt.Sprintf("limited to %d per address", s.limits.MaxConnsPerIP), Theirs: "one more"}
	}
	s.stats.Accepted++
	s.conns[t] = struct{}{}
	s.perIP[t.ip]++
	s.running.Add(1) // under the lock: Close has not begun to wait
	return nil
}

func (s *Server) release(t *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, t)
	if s.perIP[t.ip]--; s.perIP[t.ip] == 0 {
		delete(s.perIP, t.ip)
	}
}

// tracked is a connection that counts against the limits until it is closed.
type tracked struct {
	net.Conn
	server *Server
	ip     string
	once   sync.Once
}

func (t *tracked) Close() error {
	t.once.Do(func() { t.server.release(t) })
	return t.Conn.Close()
}

func hostOf(a net.Addr) string {
	if host, _, err := net.SplitHostPort(a.String()); err == nil {
		return host
	}
	return a.String()
}

// route looks at the first bytes: an HTTP request becomes a WebSocket, anything
// else must be a Hello.
func (s *Server) route(t *tracked) {
	until := time.Now().Add(s.limits.HandshakeTimeout)
	if err := t.SetDeadline(until); err != nil {
		s.refused(t, "tcp", err)
		_ = t.Close()
		return
	}
	r := bufio.NewReaderSize(t, 4<<10)
	first, err := r.Peek(4)
	switch {
	case err != nil:
		s.refused(t, "tcp", fmt.Errorf("%w: nothing came: %w", ErrMagic, err))
	case string(first) == "GET ":
		if s.upgrade.give(&buffered{Conn: t, r: r}) {
			return // net/http owns it now
		}
	case first[0] == 0x16 && first[1] == 0x03: // the record of a TLS ClientHello
		s.refused(t, "tcp", ErrPeerTLS)
	default:
		s.session(t, r, until, "tcp", t.RemoteAddr().String())
	}
	_ = t.Close()
}

func (s *Server) refused(c net.Conn, transport string, err error) {
	s.mu.Lock()
	s.stats.Refused++
	s.mu.Unlock()
	s.log.Debug("handshake failed", "peer", c.RemoteAddr(), "transport", transport, "err", err)
}

// serveHTTP upgrades a request and runs the session in place.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close") // if it is no upgrade, it is of no use here
	if !s.enter() {
		return
	}
	defer s.running.Done()
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		s.log.Debug("no WebSocket upgrade", "peer", r.RemoteAddr, "err", err)
		return
	}
	conn := newSocket(c)
	until := time.Now().Add(s.limits.HandshakeTimeout)
	s.session(conn, bufio.NewReaderSize(conn, 4<<10), until, "websocket", r.RemoteAddr)
	_ = conn.Close()
}

// enter counts a goroutine that the server did not start itself.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// session is one peer from its Hello, which must be there until the given time,
// to its end.
func (s *Server) session(conn net.Conn, r *bufio.Reader, until time.Time, transport, addr string) {
	f := newFramer(conn, r, s.limits, MaxRequestFrameBytes)
	f.until = until
	hello, err := s.greet(f)
	if err != nil {
		s.refused(conn, transport, err)
		return
	}
	p := &peer{framer: f, server: s, hello: hello, transport: transport, addr: addr, since: time.Now(),
		sub: newSubscriber(), out: make(chan answer), done: make(chan struct{})}
	if !s.join(p) {
		return
	}
	s.log.Debug("peer joined", "peer", addr, "transport", transport, "role", hello.Role, "head", hello.Head.Number, "agent", hello.Agent)
	err = p.run()
	s.leave(p, err)
}

// greet answers a Hello, or refuses it.
func (s *Server) greet(f *framer) (Hello, error) {
	tips, err := s.archive.Tips()
	if err != nil {
		return Hello{}, err
	}
	theirs, err := f.receiveHello()
	if err != nil {
		if isViolation(err) {
			return theirs, f.refuse(&Refusal{Code: CodeProtocol, Ours: fmt.Sprint(ProtocolVersion), Theirs: err.Error()})
		}
		return theirs, err
	}
	ours := s.identity.hello(tips.Proposed)
	if refusal := ours.check(&theirs, &theirs); refusal != nil {
		return theirs, f.refuse(refusal)
	}
	f.until = time.Time{}
	return theirs, f.send(ours)
}

func (s *Server) join(p *peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.peers = append(s.peers, p)
	return true
}

func (s *Server) leave(p *peer, err error) {
	s.mu.Lock()
	s.peers = slices.DeleteFunc(s.peers, func(q *peer) bool { return q == p })
	s.stats.Ended++
	if isViolation(err) {
		s.stats.Violation++
	}
	if errors.Is(err, ErrIdle) || errors.Is(err, ErrSlow) {
		s.stats.Slow++
	}
	s.mu.Unlock()
	if p.sub.open { // nobody subscribes it any more
		s.open.want(-1)
	}
	s.log.Debug("peer left", "peer", p.addr, "transport", p.transport, "err", err)
}

// isViolation reports whether a peer broke the protocol.
func isViolation(err error) bool {
	for _, v := range []error{ErrMagic, ErrFrameSize, ErrUnknownType, ErrMalformed, ErrUnexpected} {
		if errors.Is(err, v) {
			return true
		}
	}
	return false
}

// Announce rings the doorbell of every subscriber: the proposed tip is now tip.
// block is its encoding, or nil; it must not change any more. It takes the same
// short time however many subscribers there are and whatever they do, and it
// never blocks. Announcements that follow each other faster than they can be
// handed out come as one.
func (s *Server) Announce(tip chain.BlockID, block []byte) {
	s.latest.Store(&announcement{tip, block})
	select {
	case s.rung <- struct{}{}:
	default:
	}
}

// distribute hands announcements to the subscribers.
func (s *Server) distribute() {
	for {
		select {
		case <-s.done:
			return
		case <-s.rung:
		}
		a := s.latest.Load()
		p := push{bell: encode(Doorbell{Tip: a.tip}, 64)}
		if n := len(a.block); n > 0 && n <= MaxRideBytes {
			p.ride = encode(Doorbell{Tip: a.tip, Block: a.block}, 64+n)
		}
		s.mu.Lock()
		s.stats.Announced++
		for _, peer := range s.peers {
			peer.sub.offer(p)
		}
		s.mu.Unlock()
	}
}

// Peer is what a server knows about one connection.
type Peer struct {
	Addr       string
	Transport  string // "tcp" or "websocket"
	Role       Role
	Agent      string
	Head       chain.BlockID // when it greeted
	Since      time.Time
	Sent       uint64 // bytes
	Received   uint64 // bytes
	Subscribed bool
	Lagging    bool   // doorbells are held back until it has read what it was sent
	Dropped    uint64 // doorbells that it did not get
}

// Peers lists the sessions in the order in which they began.
func (s *Server) Peers() []Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	peers := make([]Peer, len(s.peers))
	for i, p := range s.peers {
		peers[i] = Peer{Addr: p.addr, Transport: p.transport, Role: p.hello.Role, Agent: p.hello.Agent, Head: p.hello.Head,
			Since: p.since, Sent: p.sent.Load(), Received: p.received.Load()}
		peers[i].Subscribed, peers[i].Lagging, peers[i].Dropped = p.sub.state()
	}
	return peers
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Server) count(add func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.stats)
}

// Close ends all sessions and listeners and waits for them. It may be called
// more than once.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	var errs []error
	for _, l := range s.listeners {
		errs = append(errs, l.Close())
	}
	open := make([]*tracked, 0, len(s.conns))
	for t := range s.conns {
		open = append(open, t)
	}
	s.mu.Unlock()
	for _, t := range open {
		_ = t.Close() // its session reports how it ended
	}
	errs = append(errs, s.http.Close())
	s.running.Wait()
	return errors.Join(errs...)
}
