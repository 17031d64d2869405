package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// Paths.
const (
	pathRPC     = "/"
	pathWS      = "/ws"
	pathLive    = "/livez"
	pathReady   = "/readyz"
	pathMetrics = "/metrics"
)

// corsMaxAge is how long a browser may remember a preflight answer, seconds.
const corsMaxAge = "600"

func (s *Server) newHTTP(reg *prometheus.Registry, pages map[string]http.Handler) *http.Server {
	l := &s.limits
	return &http.Server{
		Handler:           s.handler(s.gets(reg, pages)),
		ReadHeaderTimeout: l.HeaderTimeout, ReadTimeout: l.ReadTimeout, IdleTimeout: l.IdleTimeout, MaxHeaderBytes: maxHeaderBytes,
		WriteTimeout: l.ReadTimeout + l.CallTimeout + l.WriteTimeout, // net/http counts it from the header on
		ErrorLog:     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// gets is what answers GET, by path: ours, and pages where we have nothing.
func (s *Server) gets(reg *prometheus.Registry, pages map[string]http.Handler) map[string]http.Handler {
	gets := maps.Clone(pages)
	if gets == nil {
		gets = map[string]http.Handler{}
	}
	maps.Copy(gets, map[string]http.Handler{
		pathRPC:     s.front(pages[pathRPC]),
		pathWS:      http.HandlerFunc(s.serveWS),
		pathLive:    http.HandlerFunc(s.serveLive),
		pathReady:   http.HandlerFunc(s.serveReady),
		pathMetrics: promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}),
	})
	return gets
}

// front answers GET /: with the page if there is one and a browser asks, which
// says so in its Accept header, else with a text.
func (s *Server) front(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		if page != nil && strings.Contains(r.Header.Get("Accept"), "text/html") {
			page.ServeHTTP(w, r)
			return
		}
		s.serveHelp(w, r)
	})
}

// handler checks who asks, then routes.
func (s *Server) handler(gets map[string]http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.survive(w, r)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if e := s.checkCaller(w.Header(), r); e != nil {
			writeError(w, e)
			return
		}
		get := gets[r.URL.Path]
		switch {
		case strings.HasPrefix(r.URL.Path, pathAdmin):
			s.serveAdmin(w, r)
		case get == nil:
			writeError(w, api.NewError(api.CodePathNotFound, sprintf("%.80q; GET / says what is served here", r.URL.Path)))
		case r.Method == http.MethodPost && r.URL.Path == pathRPC:
			s.servePost(w, r)
		case r.Method == http.MethodOptions:
			s.servePreflight(w, r)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			get.ServeHTTP(w, r)
		default:
			w.Header().Set("Allow", allowed(r.URL.Path))
			writeError(w, api.NewError(api.CodeHTTPMethod, sprintf("%.16q; %s takes %s", r.Method, r.URL.Path, allowed(r.URL.Path))))
		}
	})
}

// survive is what a panic of any path comes to: [Server.guard] has those of methods,
// net/http would swallow the others, a broken invariant among them.
func (s *Server) survive(w http.ResponseWriter, r *http.Request) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler: // how a handler asks net/http to hang up
		panic(v)
	default:
		_ = s.panicked(r.URL.Path, v) // it has been logged; its text is nobody's business
		writeStatus(w, http.StatusInternalServerError, api.NewError(api.CodeInternal, ""))
	}
}

func allowed(path string) string {
	if path == pathRPC {
		return "GET, HEAD, OPTIONS, POST"
	}
	return "GET, HEAD, OPTIONS"
}

// checkCaller refuses a Host that is not ours and a web page that may not call,
// and grants the pages that may.
func (s *Server) checkCaller(h http.Header, r *http.Request) *api.Error {
	if !s.hostAllowed(r) {
		return api.NewError(api.CodeHostNotAllowed, sprintf("%.80q", r.Host))
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if slices.Contains(s.origins, "*") || slices.Contains(s.origins, origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
		return nil
	}
	if u, err := url.Parse(origin); err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
		return api.NewError(api.CodeOriginNotAllowed, sprintf("%.80q", origin))
	}
	return nil
}

func (s *Server) hostAllowed(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if len(s.hosts) == 0 && ok && !callerOf(local).loopback {
		return true
	}
	host := strings.ToLower(hostName(r.Host))
	if host == "" || host == "localhost" || slices.Contains(s.hosts, "*") {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true // nobody can point a name of theirs at us and have it sent as an address
	}
	return slices.ContainsFunc(s.hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// hostName is a Host header without its port and brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

func (s *Server) servePreflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Allow", allowed(r.URL.Path))
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", allowed(r.URL.Path))
		h.Set("Access-Control-Allow-Headers", "Content-Type")
		h.Set("Access-Control-Max-Age", corsMaxAge)
	}
	w.WriteHeader(http.StatusNoContent)
}

// servePost is JSON-RPC over HTTP.
func (s *Server) servePost(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > int64(s.limits.MaxBodyBytes) {
		writeError(w, s.bodyTooLarge())
		return
	}
	b, release, err := s.read(r.Body, firstOf(int(r.ContentLength)))
	defer release()
	if err != nil {
		s.writeReadError(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.CallTimeout)
	defer cancel()
	answer, status := s.respond(ctx, callerAt(r.RemoteAddr), b)
	if !s.held.take(len(answer)) {
		writeError(w, s.overloaded("memory", "answers are held for slow clients"))
		return
	}
	defer s.held.give(len(answer))
	writeAnswer(w, status, answer)
}

// respond is one body in, one body out, with the HTTP status for it.
func (s *Server) respond(ctx context.Context, from caller, b []byte) ([]byte, int) {
	v, e := s.parse(b)
	if e != nil {
		s.metrics.observe(nil, e.Code, 0)
		return refuse(nil, e), httpStatus(e)
	}
	if !s.withinRate(from, &v) {
		e := s.rateLimited()
		return refuse(&v, e), httpStatus(e)
	}
	leave, e := s.place(ctx)
	if e != nil {
		return refuse(&v, e), httpStatus(e)
	}
	defer leave()
	return s.answer(ctx, &v), http.StatusOK
}

// Errors of [Server.read].
var (
	errBodyTooLarge = errors.New("body too large")
	errNoMemory     = errors.New("all clients together hold too much")
)

// firstRead is the buffer that a body starts with if it says how long it is, and
// blindRead if it does not, bytes. It grows only as bytes arrive, so that a client
// has to send what it makes the node hold.
const (
	firstRead = 64 << 10
	blindRead = 1 << 10
)

// firstOf is the first buffer of a body; size is how long it says it is, or
// negative.
func firstOf(size int) int {
	if size < 0 {
		return blindRead
	}
	return min(firstRead, size+1) // one more, so that the end is seen without growing
}

// read takes a body of at most MaxBodyBytes into a buffer of first bytes, at first.
// release must be called whatever happens.
func (s *Server) read(src io.Reader, first int) (b []byte, release func(), err error) {
	held := 0
	release = func() { s.held.give(held) }
	grow := func(n int) error {
		if !s.held.take(n - held) {
			return errNoMemory
		}
		held = n
		b = append(make([]byte, 0, n), b...)
		return nil
	}
	if err := grow(first); err != nil {
		return nil, release, err
	}
	for {
		n, err := src.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > s.limits.MaxBodyBytes:
			return nil, release, errBodyTooLarge
		case err == io.EOF:
			return b, release, nil
		case err != nil:
			return nil, release, err
		case len(b) == cap(b):
			if err := grow(min(2*cap(b), s.limits.MaxBodyBytes+1)); err != nil {
				return nil, release, err
			}
		}
	}
}

func (s *Server) bodyTooLarge() *api.Error {
	s.metrics.limited.WithLabelValues("body").Inc()
	return api.NewError(api.CodeBodyTooLarge, limitDetail("bytes", s.limits.MaxBodyBytes))
}

func (s *Server) overloaded(limit, detail string) *api.Error {
	s.metrics.limited.WithLabelValues(limit).Inc()
	return api.NewError(api.CodeOverloaded, detail)
}

func (s *Server) writeReadError(w http.ResponseWriter, err error) {
	w.Header().Set("Connection", "close") // the rest of the body is not read
	switch {
	case errors.Is(err, errBodyTooLarge):
		writeError(w, s.bodyTooLarge())
	case errors.Is(err, errNoMemory):
		writeError(w, s.overloaded("memory", err.Error()))
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.metrics.limited.WithLabelValues("read_timeout").Inc()
		writeStatus(w, http.StatusRequestTimeout, api.NewError(api.CodeTimeout, sprintf("the body did not arrive within %s", s.limits.ReadTimeout)))
	default: // the client is gone or sent a broken chunk
		writeStatus(w, http.StatusBadRequest, api.NewError(api.CodeParse, "the body did not arrive whole"))
	}
}

func httpStatus(e *api.Error) int {
	spec, _ := e.Code.Spec()
	return spec.HTTP
}

func writeError(w http.ResponseWriter, e *api.Error) { writeStatus(w, httpStatus(e), e) }

func writeStatus(w http.ResponseWriter, status int, e *api.Error) {
	writeAnswer(w, status, refuse(nil, e))
}

// writeAnswer sends a JSON body, or 204 if there is none. An error of Write
// means that the client is gone.
func writeAnswer(w http.ResponseWriter, status int, b []byte) {
	if len(b) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

// serveLive says that the process runs and its server answers.
func (s *Server) serveLive(w http.ResponseWriter, _ *http.Request) {
	writeAnswer(w, http.StatusOK, []byte(`{"live":true}`))
}

// serveReady says whether the node is fit to be asked, and lists why.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	v := api.Health{Ready: true, Checks: s.backend.Health()}
	status := http.StatusOK
	for _, c := range v.Checks {
		if !c.OK {
			v.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	if v.Checks == nil {
		v.Checks = []api.Check{}
	}
	b, err := json.Marshal(v)
	if err != nil { // strings and booleans always marshal
		panic(err)
	}
	writeAnswer(w, status, b)
}

// serveHelp answers a person who opens the RPC port.
func (s *Server) serveHelp(w http.ResponseWriter, r *http.Request) {
	info := s.backend.Info()
	names := make([]string, 0, len(s.methods))
	for name := range s.methods {
		names = append(names, name)
	}
	slices.Sort(names)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, sprintf(`Kaizen %s, %s node of chain %d, module %s %s.

  JSON-RPC 2.0   POST /   and WebSocket /ws
  transactions   WebSocket /ws with subprotocol %s
  health         GET /livez, GET /readyz
  metrics        GET /metrics

  curl -s http://%s/ -H 'Content-Type: application/json' \
    -d '{"jsonrpc":"2.0","id":1,"method":"kaizen_status"}'

Methods:
  %s
`, info.Versions.Kaizen, info.Role, info.ChainID, info.Module.Name, info.Module.Version, api.SubmitProtocol, cleanHost(r.Host), strings.Join(names, "\n  ")))
}

// cleanHost is a Host header that is safe to repeat.
func cleanHost(host string) string {
	return strings.Map(func(c rune) rune {
		if c > ' ' && c < 0x7F && !strings.ContainsRune(`'"<>\`, c) {
			return c
		}
		return -1
	}, host)
}
