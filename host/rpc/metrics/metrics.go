// Package metrics is the figures that a process shows to Prometheus, and, for one
// that is no node, the port on which it shows them: GET /metrics, /livez and
// /readyz. A node shows them on its RPC port.
//
// It owns the shape of a figure and that port; its outside library is the
// Prometheus client. It imports host/rpc/api for the shape of a health check and
// no other adapter.
//
//	server, err := metrics.New(set, health)
//	go server.Serve(listener)
//	…
//	server.Close()
//
// Figures are read when somebody asks, from any goroutine; Observe may be called
// from any goroutine.
package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// Limits of the port: whoever scrapes it is slow at most this much.
const (
	headerTimeout  = 5 * time.Second
	writeTimeout   = 15 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	closeTimeout   = time.Second
)

// Figure is one number of the process. Label and LabelValue tell figures of one
// name apart; both empty: there is only one.
type Figure struct {
	Name, Help        string
	Label, LabelValue string
	Counter           bool // it only grows
	Value             func() float64
}

// Set is everything that a process shows of its own.
type Set struct {
	Figures    []Figure
	Histograms []*Histogram
}

// Register adds a set to what a registry serves.
func (s *Set) Register(reg prometheus.Registerer) error {
	for i := range s.Figures {
		if err := reg.Register(s.Figures[i].collector()); err != nil {
			return fmt.Errorf("metrics: %s: %w", s.Figures[i].Name, err)
		}
	}
	for _, h := range s.Histograms {
		if err := reg.Register(h.h); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// Histogram counts observations by size.
type Histogram struct{ h prometheus.Histogram }

// NewHistogram makes a histogram whose buckets end at the given bounds, ascending.
func NewHistogram(name, help string, bounds ...float64) *Histogram {
	return &Histogram{prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds})}
}

// Observe counts one observation.
func (h *Histogram) Observe(v float64) { h.h.Observe(v) }

// Seconds are bounds for durations from 50 µs to 13 s.
func Seconds() []float64 { return prometheus.ExponentialBuckets(50e-6, 4, 10) }

// Since observes the seconds since start.
func (h *Histogram) Since(start time.Time) { h.h.Observe(time.Since(start).Seconds()) }

// Server answers on the port.
type Server struct{ http *http.Server }

// New makes a server. health says whether the process is ready, line by line; it
// may be called from any goroutine.
func New(set Set, health func() []api.Check) (*Server, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := set.Register(reg); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, api.Health{Ready: true, Checks: []api.Check{}})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, health()) })
	return &Server{&http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes}}, nil
}

func (f *Figure) collector() prometheus.Collector {
	var labels prometheus.Labels
	if f.Label != "" {
		labels = prometheus.Labels{f.Label: f.LabelValue}
	}
	if f.Counter {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: f.Name, Help: f.Help, ConstLabels: labels}, f.Value)
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: f.Name, Help: f.Help, ConstLabels: labels}, f.Value)
}

func writeHealth(w http.ResponseWriter, checks []api.Check) {
	h, status := api.Health{Ready: true, Checks: checks}, http.StatusOK
	for i := range checks {
		if !checks[i].OK {
			h.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	writeJSON(w, status, h)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone, or it is not
}

// Serve answers until the listener fails or the server is closed; nil in the
// second case.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics port: %w", err)
	}
	return nil
}

// Close ends the server; answers under way get a second.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		return s.http.Close()
	}
	return nil
}
