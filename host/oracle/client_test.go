package oracle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patient is a timeout that a test never reaches.
const patient = time.Minute

func newTestClient(t *testing.T, url string, timeout time.Duration) *Client {
	t.Helper()
	c, err := NewClient(url, timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

func reasonOf(t *testing.T, err error) Reason {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal", err)
	}
	return r.Reason
}

func TestPull(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/base/prices" || r.Method != http.MethodGet {
			t.Errorf("asked %s %s", r.Method, r.URL.Path)
		}
		fmt.Fprint(w, example)
	})
	for _, url := range []string{s.URL + "/base", s.URL + "/base/"} {
		a, err := newTestClient(t, url, patient).Pull(context.Background())
		if err != nil || a.Timestamp != t0 || len(a.Entries) != 1 {
			t.Errorf("%s: pulled %+v, %v", url, a, err)
		}
	}
}

// An answer, a bad answer and an error page all leave the connection open.
func TestPullReusesConnection(t *testing.T) {
	var connections, requests atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) % 3 {
		case 0:
			http.Error(w, "later", http.StatusServiceUnavailable)
		case 1:
			fmt.Fprint(w, example)
		case 2:
			fmt.Fprint(w, "nonsense")
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := newTestClient(t, s.URL, patient)
	for range 30 {
		_, _ = c.Pull(context.Background())
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for %d pulls, want 1", n, requests.Load())
	}
}

func TestPullRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		reason  Reason
	}{
		{"an error", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }, Status},
		{"no content", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }, Status},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/prices", http.StatusFound) }, Status},
		{"nonsense", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }, Malformed},
		{"too much", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, zeros{}) }, TooLarge},
		{"a body that breaks off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, example[:10])
		}, Unreachable},
		{"a broken connection", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, Unreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newTestClient(t, serve(t, c.handler).URL, patient).Pull(context.Background())
			if got := reasonOf(t, err); got != c.reason {
				t.Errorf("refused for %v (%v), want %v", got, err, c.reason)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// K-11: a service that hangs, before its answer or in the middle of it, costs
// the timeout and no more. Both handlers wait until the client has gone.
func TestPullTimesOut(t *testing.T) {
	for name, begin := range map[string]string{"silent": "", "stops halfway": example[:40]} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, begin)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			_, err := newTestClient(t, s.URL, DefaultTimeout).Pull(context.Background())
			if got := reasonOf(t, err); got != Timeout {
				t.Errorf("refused for %v (%v), want timeout", got, err)
			}
		})
	}
}

// What comes after the timeout is not thrown away: the next pull has it, whether
// the service answers that one or not.
func TestPullTakesLateAnswer(t *testing.T) {
	answer, requests := make(chan struct{}), atomic.Int32{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > 1 {
			<-r.Context().Done()
			return
		}
		<-answer
		fmt.Fprint(w, example)
	})
	c := newTestClient(t, s.URL, DefaultTimeout)
	c.patience = patient
	_, err := c.Pull(context.Background())
	if got := reasonOf(t, err); got != Timeout {
		t.Fatalf("refused for %v (%v), want timeout", got, err)
	}
	x := c.join()
	close(answer)
	<-x.done
	if a, err := c.Pull(context.Background()); err != nil || a.Timestamp != t0 {
		t.Errorf("pulled %+v, %v, want the late answer", a, err)
	}
	_, err = c.Pull(context.Background())
	if got := reasonOf(t, err); got != Timeout {
		t.Errorf("refused for %v (%v), want timeout: an answer is good for one pull", got, err)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2: none beside one that is under way", n)
	}
}

// A service that hangs is asked again when patience is over.
func TestPullLosesPatience(t *testing.T) {
	var requests atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, example)
	})
	c := newTestClient(t, s.URL, patient)
	c.patience = DefaultTimeout
	_, err := c.Pull(context.Background())
	if got := reasonOf(t, err); got != Timeout {
		t.Fatalf("refused for %v (%v), want timeout", got, err)
	}
	if a, err := c.Pull(context.Background()); err != nil || a.Timestamp != t0 {
		t.Errorf("pulled %+v, %v", a, err)
	}
}

// The node that stops is not the service's failure.
func TestPullCancelled(t *testing.T) {
	asked := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-asked
		cancel()
	}()
	_, err := newTestClient(t, s.URL, patient).Pull(ctx)
	var r *Refusal
	if !errors.Is(err, context.Canceled) || errors.As(err, &r) {
		t.Errorf("got %v, want only that it was cancelled", err)
	}
}

func TestPullUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there any more
	_, err = newTestClient(t, "http://"+l.Addr().String(), patient).Pull(context.Background())
	if got := reasonOf(t, err); got != Unreachable {
		t.Errorf("refused for %v (%v), want unreachable", got, err)
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, url := range []string{"", "oracle:8550", "localhost", "ftp://oracle:8550", "http://", "http://o:8550/?a=b", "http://o:8550/#x", "http://[::1", "http://o:x"} {
		if _, err := NewClient(url, patient); !errors.Is(err, ErrServiceURL) {
			t.Errorf("NewClient(%q): %v, want a refused address", url, err)
		}
	}
	if _, err := NewClient("http://oracle:8550", 0); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("timeout 0: %v", err)
	}
}
