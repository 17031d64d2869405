// Package metrics is the port on which a process that is no node tells what it is
// doing: GET /metrics for Prometheus, /livez and /readyz for whoever watches over
// it.
//
// It owns that port; its outside library is the Prometheus client. It imports
// host/rpc/api for the shape of a health check and no other adapter.
//
//	server, err := metrics.New(figures, histograms, health)
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

// Histogram counts observations by size.
type Histogram struct{ h prometheus.Histogram }

// NewHistogram makes a histogram whose buckets end at the given bounds, ascending.
func NewHistogram(name, help string, bounds ...float64) *Histogram {
	return &Histogram{prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds})}
}

// Observe counts one observation.
func (h *Histogram) Observe(v float64) { h.h.Observe(v) }

// Server answers on the port.
type Server struct{ http *http.Server }

// New makes a server. health says whether the process is ready, line by line; it
// may be called from any goroutine.
func New(figures []Figure, histograms []*Histogram, health func() []api.Check) (*Server, error) {
	reg := prometheus.NewRegistry()
	all := []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
	for i := range figures {
		all = append(all, figures[i].collector())
	}
	for _, h := range histograms {
		all = append(all, h.h)
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
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
