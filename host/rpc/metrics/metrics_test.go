package metrics

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestServer(t *testing.T) {
	ready := false
	h := NewHistogram("x_latency_ms", "Latency, ms.", 10, 100)
	h.Observe(50)
	s, err := New(Set{[]Figure{
		{Name: "x_height", Help: "Height.", Value: func() float64 { return 7 }},
		{Name: "x_total", Help: "All.", Label: "kind", LabelValue: "a", Counter: true, Value: func() float64 { return 1 }},
		{Name: "x_total", Help: "All.", Label: "kind", LabelValue: "b", Counter: true, Value: func() float64 { return 2 }},
	}, []*Histogram{h}}, func() []api.Check {
		return []api.Check{{Name: "stream", OK: true}, {Name: "rpc", OK: ready, Detail: "down"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	url := "http://" + l.Addr().String()
	status, body := get(t, url+"/metrics")
	for _, want := range []string{"x_height 7", `x_total{kind="a"} 1`, `x_total{kind="b"} 2`, `x_latency_ms_bucket{le="100"} 1`, "# TYPE x_total counter", "go_goroutines"} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, lacks %q", status, want)
		}
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 503, "/": 404} {
		if status, body := get(t, url+path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	ready = true
	status, body = get(t, url+"/readyz")
	var v api.Health
	if err := json.Unmarshal([]byte(body), &v); err != nil || status != 200 || !v.Ready || len(v.Checks) != 2 {
		t.Errorf("%d %s %v", status, body, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestSameNameTwice(t *testing.T) {
	f := Figure{Name: "x", Help: "X.", Value: func() float64 { return 0 }}
	if _, err := New(Set{Figures: []Figure{f, f}}, nil); err == nil {
		t.Error("two figures of one name")
	}
}

// BenchmarkSince is one observation with both looks at the clock: what a histogram
// costs a batch, a block or a write to the disk.
func BenchmarkSince(b *testing.B) {
	h := NewHistogram("kaizen_bench_seconds", "of nothing", Seconds()...)
	b.ReportAllocs()
	for b.Loop() {
		h.Since(time.Now())
	}
}
