// Package rpc is a node's front door: JSON-RPC 2.0 over HTTP POST and over
// WebSocket at /ws, a binary stream of transactions there, GET /livez, /readyz and /metrics, POST /admin/… for the
// operator, and the limits that keep clients from hurting the node or each other.
// RPC.md lists the methods, ERRORS.md the error codes, SUBMIT.md has the bytes of the
// stream; host/rpc/api holds the
// shapes, host/rpc/client the Go client.
//
// It asks the node everything through [Backend]. It must not import another
// adapter, host/node, or a module: what it knows of the chain's module comes in
// as a schema and a [Module]. Its outside libraries are the Prometheus client and
// coder/websocket.
//
//	bytes ─ parse ─▶ requests ─ rate, place ─▶ answer ─▶ bytes
//	                             send…: Backend.Submit, neighbours together
//	                             else:  method.run
//	blocks ─ hub ─▶ notifications ─▶ the sessions that subscribed
//	stream ─ whole transactions ─▶ Backend.Enqueue, in order ─▶ answers, in order
//
// HTTP and WebSocket differ only in how bytes arrive and leave. A listener is
// opened by the caller and given to [Server.Serve]; [Server.Shutdown] drains.
// Every exported method may be called from any goroutine.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	figures "github.com/kaizenchain/kaizen/host/rpc/metrics"
	"github.com/kaizenchain/kaizen/host/stf"
)

// Options is what a server is made of.
type Options struct {
	Backend Backend
	Module  Module
	Limits  Limits // DefaultLimits() unless configured
	// AllowedHosts are Host headers to answer to, beside IP addresses and
	// localhost; "*" is any. With an empty list the check is made on loopback
	// connections only, where DNS rebinding matters.
	AllowedHosts []string
	// AllowedOrigins are origins of web pages that may call this node, beside its
	// own; "*" is any.
	AllowedOrigins []string
	// Pages are answers to GET beside the server's own, by path. The one of / is
	// for browsers: it answers whoever accepts text/html.
	Pages map[string]http.Handler
	// Registry is what GET /metrics serves; the server adds its own metrics and
	// Metrics. nil: a new one, with the Go runtime's and the process's.
	Registry *prometheus.Registry
	Metrics  figures.Set // the node's own
	Admin    Admin
	Log      *slog.Logger // nil: dropped
	// Fatal is called with a broken invariant that surfaced in a call. It must
	// end the process; nil panics outside every recover.
	Fatal func(v any)
}

// Server answers clients of one node.
type Server struct {
	backend Backend
	module  Module
	limits  Limits
	hosts   []string
	origins []string
	admin   Admin
	log     *slog.Logger
	fatal   func(v any)

	schema  *stf.Schema
	events  *eventSpecs
	methods map[string]*method
	metrics *metrics
	http    *http.Server
	rates   *rates
	open    *connections
	running chan struct{} // a place for each request being executed
	held    *budget
	hub     *hub
	scans   chan struct{}                // a place for each scan of blocks
	asked   atomic.Int64                 // scans that run or wait
	taken   [256][len(placeMembers)]bool // by event tag: see takenMembers

	documentOnce sync.Once
	document     []byte // the OpenRPC document

	base     context.Context // of every WebSocket session; done when Shutdown runs out of time
	cancel   context.CancelFunc
	stop     chan struct{} // closed when Shutdown begins
	mu       sync.Mutex    // guards stopping and sessions.Add
	stopping bool
	sessions sync.WaitGroup
}

// New checks the options and makes a server.
func New(o Options) (*Server, error) {
	if err := o.Limits.Validate(); err != nil {
		return nil, err
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
		o.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	m, err := newMetrics(o.Registry)
	if err == nil {
		err = o.Metrics.Register(o.Registry)
	}
	if err != nil {
		return nil, fmt.Errorf("rpc metrics: %w", err)
	}
	s := &Server{
		backend: o.Backend, module: o.Module, limits: o.Limits, hosts: o.AllowedHosts, origins: o.AllowedOrigins, admin: o.Admin, log: o.Log, fatal: o.Fatal,
		schema: o.Backend.Schema(), metrics: m, rates: newRates(&o.Limits), running: make(chan struct{}, o.Limits.MaxConcurrent),
		held: newBudget(o.Limits.MaxHeldBytes), open: newConnections(&o.Limits), stop: make(chan struct{}),
		scans: make(chan struct{}, scanPlaces()),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.fatal == nil {
		s.fatal = crash
	}
	s.events = specsOf(s.schema)
	s.taken = takenMembers(s.schema)
	s.hub = newHub(s)
	s.base, s.cancel = context.WithCancel(context.Background())
	s.register()
	s.http = s.newHTTP(o.Registry, o.Pages)
	return s, nil
}

// crash ends the process: a panic in a goroutine of its own meets no recover.
func crash(v any) {
	go panic(v)
	select {}
}

func (s *Server) register() {
	s.methods = map[string]*method{}
	for _, m := range s.table() {
		m.seen = s.metrics.method(m.name)
		s.methods[m.name] = m
	}
}

// Serve answers connections of l until Shutdown; it may run for several
// listeners at once. It closes l. After Shutdown it returns nil.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(s.limit(l))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("rpc on %s: %w", l.Addr(), err)
}

// Shutdown stops listening, lets calls under way finish and be answered, and
// closes every connection. When ctx is done first, the rest is cut off and its
// error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopping {
		s.stopping = true
		close(s.stop)
	}
	s.mu.Unlock()
	err := s.http.Shutdown(ctx)
	drained := make(chan struct{})
	go func() {
		s.sessions.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel()
	s.hub.stop()
	if err != nil {
		return errors.Join(fmt.Errorf("rpc shutdown: %w", err), s.http.Close())
	}
	<-drained
	return nil
}

// enter counts a WebSocket session, unless the server is shutting down.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.sessions.Add(1)
	return true
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}
