package rpc

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kaizenchain/kaizen/host/rpc/client"
	figures "github.com/kaizenchain/kaizen/host/rpc/metrics"
)

// memory is a network of one listener in memory: nothing but channels, so that
// it also runs under testing/synctest.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	// What the server sees of new connections; nil: a pipe, which counts as
	// loopback.
	remote, local net.Addr
	wrap          func(net.Conn) net.Conn // the server's end; nil: as it is
}

func newMemory() *memory {
	return &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8545} }

// addressed is a pipe with chosen addresses.
type addressed struct {
	net.Conn
	remote, local net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return cmp.Or(a.remote, a.Conn.RemoteAddr()) }
func (a addressed) LocalAddr() net.Addr  { return cmp.Or(a.local, a.Conn.LocalAddr()) }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return m.dialFrom(ctx, m.remote)
}

func (m *memory) dialFrom(ctx context.Context, remote net.Addr) (net.Conn, error) {
	ours, theirs := net.Pipe()
	if m.wrap != nil {
		theirs = m.wrap(theirs)
	}
	select {
	case m.conns <- addressed{theirs, remote, m.local}:
		return ours, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4242} }

// world is a served fake node and the ways to reach it.
type world struct {
	t      testing.TB
	node   *fakeNode
	server *Server
	net    *memory
	http   *http.Client
	served chan error
	reg    *prometheus.Registry
}

// start serves a fake node; change may edit the options first.
func start(t testing.TB, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, node: newFake(t), net: newMemory(), served: make(chan error, 1)}
	w.reg = prometheus.NewRegistry()
	o := Options{Backend: w.node, Module: fakeModule(), Limits: DefaultLimits(), Registry: w.reg, Metrics: figures.Set{Figures: []figures.Figure{{Name: "kaizen_height", Help: "a node's own", Value: func() float64 { return 7 }}}}}
	if change != nil {
		change(&o)
	}
	var err error
	if w.server, err = New(o); err != nil {
		t.Fatal(err)
	}
	w.http = &http.Client{Transport: &http.Transport{DialContext: w.net.dial, MaxIdleConnsPerHost: 100}}
	go func() { w.served <- w.server.Serve(w.net) }()
	return w
}

// stop shuts down within a minute and checks that Serve returns nil.
func (w *world) stop() {
	w.t.Helper()
	w.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		w.t.Errorf("shutdown: %v", err)
	}
	if err := <-w.served; err != nil {
		w.t.Errorf("serve: %v", err)
	}
	if n := w.server.held.free.Load(); n != int64(w.server.limits.MaxHeldBytes) {
		w.t.Errorf("%d bytes of the budget were not given back", int64(w.server.limits.MaxHeldBytes)-n)
	}
}

// post sends a body and returns status and answer.
func (w *world) post(body string) (int, string) {
	w.t.Helper()
	return w.do(http.MethodPost, "/", body, nil)
}

func (w *world) do(method, path, body string, header map[string]string) (int, string) {
	w.t.Helper()
	status, _, b := w.fetch(method, path, body, header)
	return status, b
}

func (w *world) fetch(method, path, body string, header map[string]string) (int, http.Header, string) {
	w.t.Helper()
	r, err := http.NewRequest(method, "http://localhost:8545"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range header {
		if k == "Host" {
			r.Host = v
		}
		r.Header.Set(k, v)
	}
	answer, err := w.http.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(b)
}

func (w *world) dialWS() *websocket.Conn {
	w.t.Helper()
	c, _, err := websocket.Dial(context.Background(), "ws://localhost:8545/ws", &websocket.DialOptions{HTTPClient: w.http})
	if err != nil {
		w.t.Fatal(err)
	}
	c.SetReadLimit(-1)
	return c
}

func wsSend(t testing.TB, c *websocket.Conn, body string) {
	t.Helper()
	if err := c.Write(context.Background(), websocket.MessageText, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func wsRead(t testing.TB, c *websocket.Conn) string {
	t.Helper()
	_, b, err := c.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (w *world) client(url string) *client.Client {
	w.t.Helper()
	c, err := client.New(url, client.WithDialer(w.net.dial))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// metric is the value of a counter or gauge whose labels have the given values,
// in the order of the labels' names; 0 if it is not there.
func (w *world) metric(name string, labels ...string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(got, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}
