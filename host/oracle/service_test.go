package oracle

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
)

// fixed is a source that a test writes by hand.
type fixed struct {
	quotes    []Quote
	providers []Provider
	asked     []uint64
}

func (f *fixed) Quotes(now uint64) []Quote {
	f.asked = append(f.asked, now)
	return f.quotes
}
func (f *fixed) Providers(uint64) []Provider { return f.providers }

func ask(s *Service, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func clockAt(now *uint64) func() uint64 { return func() uint64 { return *now } }

// The body is the protocol's, byte for byte.
func TestServicePrices(t *testing.T) {
	now := uint64(t0)
	src := &fixed{quotes: []Quote{
		{Pair: mustPair(t, "ETH/USDT"), Price: 5, LastUpdate: t0 - 1},
		{Pair: mustPair(t, "BTC/USDT"), Price: 104_250_000_000, LastUpdate: t0 - 2, Sources: []string{"binance", "okx"}},
	}}
	w := ask(NewService(src, clockAt(&now)), "GET", "/prices")
	want := `{"prices":{` +
		`"BTC/USDT":{"base":"0x0000000000000000000000000000000000000001","quote":"0x0000000000000000000000000000000000000100","price":"104250000000","decimals":6,"lastUpdate":1699999999998,"sources":["binance","okx"]},` +
		`"ETH/USDT":{"base":"0x0000000000000000000000000000000000000002","quote":"0x0000000000000000000000000000000000000100","price":"5","decimals":6,"lastUpdate":1699999999999,"sources":[]}},` +
		`"timestamp":1700000000000}` + "\n"
	if got := w.Body.String(); got != want || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %v\n%s\nwant\n%s", w.Code, w.Header(), got, want)
	}
}

func TestServiceHealth(t *testing.T) {
	now := uint64(t0)
	src := &fixed{}
	s := NewService(src, clockAt(&now))
	now += 61_999
	quote := []Quote{{Pair: mustPair(t, "BTC/USDT"), Price: 1, LastUpdate: t0 + 5}}
	for _, c := range []struct {
		name      string
		quotes    []Quote
		providers []Provider
		code      int
		want      string
	}{
		{"nothing yet", nil, []Provider{{"a", false, 0}}, 503, `{"status":"unhealthy","uptime":61,"providers":[{"name":"a","ready":false,"prices":0}],"lastPriceUpdate":0}`},
		{"all", quote, []Provider{{"a", true, 1}}, 200, `{"status":"healthy","uptime":61,"providers":[{"name":"a","ready":true,"prices":1}],"lastPriceUpdate":1700000000005}`},
		{"one is down", quote, []Provider{{"a", true, 1}, {"b", false, 0}}, 200, `{"status":"degraded","uptime":61,"providers":[{"name":"a","ready":true,"prices":1},{"name":"b","ready":false,"prices":0}],"lastPriceUpdate":1700000000005}`},
		{"down again", nil, []Provider{{"a", false, 0}}, 503, `{"status":"unhealthy","uptime":61,"providers":[{"name":"a","ready":false,"prices":0}],"lastPriceUpdate":1700000000005}`},
	} {
		src.quotes, src.providers = c.quotes, c.providers
		if w := ask(s, "GET", "/health"); w.Code != c.code || w.Body.String() != c.want+"\n" {
			t.Errorf("%s: %d %s, want %d %s", c.name, w.Code, w.Body, c.code, c.want)
		}
	}
}

func TestServiceRefuses(t *testing.T) {
	now := uint64(t0)
	s := NewService(&fixed{}, clockAt(&now))
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/", 404}, {"GET", "/prices/", 404}, {"GET", "/price", 404}, {"POST", "/prices", 405}, {"DELETE", "/health", 405}, {"GET", "/prices", 503},
	} {
		w := ask(s, c.method, c.path)
		var body problem
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != c.code || body.Error == "" {
			t.Errorf("%s %s: %d %s, want %d and a reason", c.method, c.path, w.Code, w.Body, c.code)
		}
	}
}

func TestServiceTimeDoesNotGoBack(t *testing.T) {
	now := uint64(t0)
	src := &fixed{quotes: []Quote{{Pair: mustPair(t, "BTC/USDT"), Price: 1, LastUpdate: 1}}}
	s := NewService(src, clockAt(&now))
	s.Answer()
	now -= 10_000
	if at := s.Answer().Timestamp; at != t0 || src.asked[1] != t0 {
		t.Errorf("timestamp %d, source asked with %d, want %d again", at, src.asked[1], t0)
	}
}

// Every source, served and pulled over a real connection, is accepted by a feed.
func TestServiceFeedsNode(t *testing.T) {
	rec := readRecording(t, "1,5,1,ANY", "1,6,1,ANY", "2,7,1,ANY")
	now := uint64(t0)
	s := NewService(Merge(replay(t, rec, ReplayConfig{Speed: 1}), newWalk(t, 1, DefaultWalk()...)), clockAt(&now))
	server := httptest.NewServer(s)
	defer server.Close()
	client, feed := newTestClient(t, server.URL, patient), newFeed()
	seen := map[uint64]bool{}
	for range 30 {
		a, err := client.Pull(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		accept(t, feed, a, now)
		price, at := priceOf(feed.Snapshot(now, 3000), mustPair(t, "BTC/USDT"))
		if at != now {
			t.Fatalf("price is of %d, want %d", at, now)
		}
		seen[price/1_000_000] = true
		now += 100
	}
	if len(seen) != 3 {
		t.Errorf("saw prices %v, want the three recorded ones", seen)
	}
}

// startService runs s on a free port and returns its address and what ends it.
func startService(t *testing.T, s *Service) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

func TestServiceRun(t *testing.T) {
	walk := newWalk(t, 1, DefaultWalk()...)
	addr, stop := startService(t, NewService(walk, nil))
	client := newTestClient(t, "http://"+addr, patient)
	if a, err := client.Pull(context.Background()); err != nil || len(a.Entries) != 3 {
		t.Fatalf("pulled %+v, %v", a, err)
	}
	if err := stop(); err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if _, err := client.Pull(context.Background()); reasonOf(t, err) != Unreachable {
		t.Errorf("after the end: %v", err)
	}
}

// An answer that is being made when Run is told to end is still sent.
func TestServiceRunFinishesAnswers(t *testing.T) {
	slow := &slowSource{entered: make(chan struct{}), leave: make(chan struct{}), stopped: make(chan struct{})}
	slow.quotes = []Quote{{Pair: mustPair(t, "BTC/USDT"), Price: 1, LastUpdate: t0}}
	addr, stop := startService(t, NewService(slow, nil))
	pulled := make(chan error, 1)
	go func() {
		_, err := newTestClient(t, "http://"+addr, patient).Pull(context.Background())
		pulled <- err
	}()
	<-slow.entered
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	<-slow.stopped // the source was told to end, so the service was too
	close(slow.leave)
	if err := <-pulled; err != nil {
		t.Errorf("the answer under way was lost: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

type slowSource struct {
	fixed
	entered, leave, stopped chan struct{}
}

func (s *slowSource) Quotes(now uint64) []Quote {
	close(s.entered)
	<-s.leave
	return s.fixed.Quotes(now)
}

func (s *slowSource) Run(ctx context.Context) {
	<-ctx.Done()
	close(s.stopped)
}

// A merged source runs those of its sources that run.
func TestMergeRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowSource{stopped: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			Merge(slow, &fixed{}).(runner).Run(ctx)
			close(ended)
		}()
		synctest.Wait()
		cancel()
		<-slow.stopped
		<-ended
	})
}

func TestServiceRunReportsListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	err = NewService(&fixed{}, nil).Run(context.Background(), l)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want the listener's error", err)
	}
}

func TestServiceRunEndsBeforeItBegins(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := NewService(&fixed{}, nil).Run(ctx, l); err != nil {
		t.Errorf("got %v", err)
	}
}

// The connection over the limit waits until one is closed; closing the listener
// wakes whoever waits.
func TestLimitedListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := newLimitedListener(l, 1)
	greet := func() { // answers one connection after the other with its number
		for i := 1; ; i++ {
			c, err := limited.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, i)
			go func() { // until the client leaves
				_, _ = c.Read(make([]byte, 1))
				c.Close()
				c.Close() // twice frees one place only
			}()
		}
	}
	var all sync.WaitGroup
	all.Go(greet)
	for i := 1; i <= 3; i++ {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(limited.free); n > 1 {
			t.Errorf("%d connections open, limit 1", n)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || line != fmt.Sprintln(i) {
			t.Fatalf("connection %d: %q, %v", i, line, err)
		}
		if i < 3 {
			c.Close()
		} else {
			defer c.Close()
		}
	}
	limited.Close() // the greeter waits for a place, which connection 3 has
	all.Wait()
}

// BenchmarkPull is what a pull costs the write node, of the 10 ms it may take.
func BenchmarkPull(b *testing.B) {
	walk, err := NewWalk(1, t0, DefaultWalk())
	if err != nil {
		b.Fatal(err)
	}
	now := uint64(t0)
	server := httptest.NewServer(NewService(walk, func() uint64 { return now }))
	defer server.Close()
	client, err := NewClient(server.URL, patient)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	feed := newFeed()
	for b.Loop() {
		a, err := client.Pull(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		accept(b, feed, a, now)
		now += 100
	}
}
