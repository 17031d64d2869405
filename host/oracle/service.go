package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/invariant"
)

// Limits of the price service. It answers two small questions, so nobody has a
// reason to send much or to be slow.
const (
	// MaxConnections bounds open connections; more wait to be accepted.
	MaxConnections = 256
	// MaxRequestHeaderBytes bounds the head of a request, bytes.
	MaxRequestHeaderBytes = 8 << 10

	requestTimeout  = 2 * time.Second // to read a request, and to write an answer
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 2 * time.Second // for answers under way when Run is told to end
)

// Service answers GET /prices and GET /health from a [Source].
type Service struct {
	now    func() uint64
	start  uint64
	mu     sync.Mutex // around source and the two below
	source Source
	clock  uint64 // the latest time the source was asked with
	update uint64 // the latest lastUpdate that was served
}

// NewService makes a service; now is the clock, ms, the system's if nil.
func NewService(source Source, now func() uint64) *Service {
	if now == nil {
		now = systemClock
	}
	return &Service{now: now, start: now(), source: source}
}

func systemClock() uint64 { return uint64(time.Now().UnixMilli()) }

// Health is the body of GET /health.
type Health struct {
	// Status is "healthy" when every provider is ready, "degraded" when some
	// price is served nevertheless, and "unhealthy" (HTTP 503) when none is.
	Status          string     `json:"status"`
	Uptime          uint64     `json:"uptime"` // whole seconds
	Providers       []Provider `json:"providers"`
	LastPriceUpdate uint64     `json:"lastPriceUpdate"` // ms; 0 before the first
}

// ServeHTTP implements [http.Handler].
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var serve func() (status int, body any)
	switch r.URL.Path {
	case "/prices":
		serve = s.prices
	case "/health":
		serve = s.health
	default:
		reply(w, http.StatusNotFound, problem{"not found, want /prices or /health"})
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		reply(w, http.StatusMethodNotAllowed, problem{"want GET"})
		return
	}
	status, body := serve()
	reply(w, status, body)
}

type problem struct {
	Error string `json:"error"`
}

func reply(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	invariant.Hold(err == nil, "price service: encode %T: %v", body, err)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a client that left is its own affair
}

func (s *Service) prices() (int, any) {
	answer := s.Answer()
	if len(answer.Entries) == 0 {
		return http.StatusServiceUnavailable, problem{"no source has a price; GET /health says which are not ready"}
	}
	return http.StatusOK, answer
}

// Answer is what GET /prices says now.
func (s *Service) Answer() *Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, _ := s.ask()
	return answer
}

// ask needs the lock. Time does not go back for the source, nor in the answers,
// when the clock is set back a little: it stands still.
func (s *Service) ask() (*Answer, uint64) {
	s.clock = max(s.clock, s.now())
	a := &Answer{Timestamp: s.clock}
	for _, q := range s.source.Quotes(s.clock) {
		a.Entries = append(a.Entries, Entry{Pair: q.Pair, Price: q.Price, LastUpdate: q.LastUpdate, Sources: q.Sources})
		s.update = max(s.update, q.LastUpdate)
	}
	a.sort()
	return a, s.clock
}

func (s *Service) health() (int, any) {
	h := s.Health()
	if h.Status == "unhealthy" {
		return http.StatusServiceUnavailable, h
	}
	return http.StatusOK, h
}

// Health is what GET /health says now.
func (s *Service) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, now := s.ask()
	h := Health{Status: "healthy", Uptime: (max(now, s.start) - s.start) / 1000, Providers: s.source.Providers(now), LastPriceUpdate: s.update}
	for _, p := range h.Providers {
		if !p.Ready {
			h.Status = "degraded"
		}
	}
	if len(answer.Entries) == 0 {
		h.Status = "unhealthy"
	}
	return h
}

// Run serves on l until ctx ends, then lets the answers under way finish and
// closes l. It returns nil if ctx was what ended it.
func (s *Service) Run(ctx context.Context, l net.Listener) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{Handler: s, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: MaxRequestHeaderBytes}
	var all sync.WaitGroup
	defer all.Wait()
	if r, ok := s.source.(runner); ok {
		all.Go(func() { r.Run(running) })
	}
	all.Go(func() {
		<-running.Done()
		shutdown(server)
	})
	err := server.Serve(newLimitedListener(l, MaxConnections))
	stop() // also when the listener failed: the sources end with it
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("price service on %s: %w", l.Addr(), err)
}

func shutdown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close() // what is still open after the grace period is cut
	}
}

// limitedListener accepts a connection only while fewer than its capacity are
// open.
type limitedListener struct {
	net.Listener
	free   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newLimitedListener(l net.Listener, capacity int) *limitedListener {
	return &limitedListener{Listener: l, free: make(chan struct{}, capacity), closed: make(chan struct{})}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: c, release: func() { <-l.free }}, nil
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	once    sync.Once
	release func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}
