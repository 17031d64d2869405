package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

const (
	goodCall = `{"jsonrpc":"2.0","id":1,"method":"kaizen_getMarkets"}`
	waitCall = `{"jsonrpc":"2.0","id":1,"method":"kaizen_named","params":["wait"]}`
	waitSend = `{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransaction","params":["0x07"]}`
)

func wantCode(t *testing.T, answer string, code api.Code) {
	t.Helper()
	spec, _ := code.Spec()
	if !strings.Contains(answer, fmt.Sprintf(`"code":%d,`, code)) || !strings.Contains(answer, `"name":"`+spec.Name+`"`) {
		t.Errorf("want %s (%d), got %.300s", spec.Name, code, answer)
	}
}

func wantAnswer(t *testing.T, answer string) {
	t.Helper()
	if !strings.Contains(answer, `"result":`) || strings.Contains(answer, `"error":{`) {
		t.Errorf("want a result, got %.300s", answer)
	}
}

func TestLimitsAreChecked(t *testing.T) {
	if l := DefaultLimits(); l.Validate() != nil {
		t.Fatal(l.Validate())
	}
	for name, change := range map[string]func(*Limits){
		"rpc.max_batch is 0, want 1 or more": func(l *Limits) { l.MaxBatch = 0 },
		"rpc.max_held_bytes":                 func(l *Limits) { l.MaxHeldBytes = l.MaxBodyBytes },
		"rpc.rate_burst":                     func(l *Limits) { l.RateBurst = l.MaxTxs - 1 },
		"rpc.max_stream_txs":                 func(l *Limits) { l.MaxStreamTxs = 0 },
		"rpc.max_stream_bytes":               func(l *Limits) { l.MaxStreamBytes = 100 },
		"rpc.max_session_bytes":              func(l *Limits) { l.MaxSessionBytes = l.MaxResponseBytes - 1 },
		"rpc.read_timeout is 0s":             func(l *Limits) { l.ReadTimeout = 0 },
	} {
		l := DefaultLimits()
		change(&l)
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error with %q, got %v", name, err)
		}
		if _, err := New(Options{Backend: newFake(t), Limits: l}); err == nil {
			t.Errorf("a server was made with %s", name)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	w := start(t, func(o *Options) { o.Limits.MaxBodyBytes = 1 << 10 })
	defer w.stop()
	pad := func(n int) string { return goodCall + strings.Repeat(" ", n-len(goodCall)) }
	if status, answer := w.post(pad(1 << 10)); status != 200 {
		t.Errorf("a body at the limit: HTTP %d %s", status, answer)
	}
	status, answer := w.post(pad(1<<10 + 1))
	if wantCode(t, answer, api.CodeBodyTooLarge); status != http.StatusRequestEntityTooLarge {
		t.Errorf("HTTP %d", status)
	}
	// Without a length announced, the limit holds while reading.
	r, err := http.NewRequest(http.MethodPost, "http://localhost/", io.MultiReader(strings.NewReader(pad(1<<10)), strings.NewReader(" ")))
	if err != nil {
		t.Fatal(err)
	}
	chunked, err := w.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer chunked.Body.Close()
	if chunked.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a chunked body: HTTP %d", chunked.StatusCode)
	}
	ws := w.dialWS()
	defer ws.CloseNow()
	wsSend(t, ws, pad(1<<10))
	wantAnswer(t, wsRead(t, ws))
	wsSend(t, ws, pad(1<<10+1))
	if _, _, err := ws.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("a message above the limit: %v", err)
	}
	if n := w.metric("kaizen_rpc_limited_total", "body"); n != 3 {
		t.Errorf("%v bodies counted as too large, want 3", n)
	}
}

func TestCountLimits(t *testing.T) {
	w := start(t, func(o *Options) { o.Limits.MaxBatch, o.Limits.MaxTxs = 3, 2 })
	defer w.stop()
	batch := func(n int) string { return "[" + strings.Repeat(goodCall+",", n-1) + goodCall + "]" }
	_, answer := w.post(batch(3))
	wantAnswer(t, answer)
	_, answer = w.post(batch(4))
	wantCode(t, answer, api.CodeBatchTooLarge)
	_, answer = w.post(`{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransactions","params":[["0x00","0x00","0x00"]]}`)
	wantCode(t, answer, api.CodeInvalidParams)
	// Three sends in a batch are more than one submission may hold.
	one := `{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransaction","params":["0x00"]}`
	_, answer = w.post("[" + one + "," + one + "," + one + "]")
	wantAnswer(t, answer)
	if got := w.node.submitted(); len(got) != 2 || len(got[0]) != 2 || len(got[1]) != 1 {
		t.Errorf("submitted as %v", got)
	}
}

func TestResponseLimit(t *testing.T) {
	w := start(t, func(o *Options) { o.Limits.MaxResponseBytes = 1200 })
	defer w.stop()
	block := `{"jsonrpc":"2.0","id":1,"method":"kaizen_getBlock","params":[2]}`
	_, answer := w.post(block)
	wantCode(t, answer, api.CodeResponseTooLarge)
	_, answer = w.post("[" + goodCall + "," + block + "," + goodCall + `,{"jsonrpc":"2.0","id":9,"method":"kaizen_sendTransaction","params":["0x00"]}]`)
	if !strings.HasPrefix(answer, `[{"jsonrpc":"2.0","id":1,"result"`) || strings.Count(answer, "ResponseTooLarge:") != 3 || strings.Count(answer, "not executed") != 4 {
		t.Errorf("got %s", answer)
	}
	if got := w.node.submitted(); len(got) != 0 {
		t.Errorf("a send after an answer that was too large was executed: %v", got)
	}
}

func TestConcurrentLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.MaxConcurrent = 1 })
		defer w.stop()
		first := make(chan string)
		go func() {
			_, answer := w.post(waitCall)
			first <- answer
		}()
		synctest.Wait()
		status, answer := w.post(goodCall) // waits for its place until its time is up
		wantCode(t, <-first, api.CodeTimeout)
		// Both had CallTimeout; whichever of the two timers fired first, the second
		// either got the place or was told that there is none.
		if status == http.StatusServiceUnavailable {
			wantCode(t, answer, api.CodeOverloaded)
		} else {
			wantAnswer(t, answer)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.MaxConcurrent = 1 })
		defer w.stop()
		w.server.running <- struct{}{} // taken for good
		status, answer := w.post(goodCall)
		if wantCode(t, answer, api.CodeOverloaded); status != http.StatusServiceUnavailable {
			t.Errorf("HTTP %d", status)
		}
		ws := w.dialWS()
		defer ws.CloseNow()
		for _, call := range []string{goodCall, waitSend} {
			wsSend(t, ws, call)
			wantCode(t, wsRead(t, ws), api.CodeOverloaded)
		}
		<-w.server.running
	})
}

func TestHeldBytesLimit(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	free := int(w.server.held.free.Load())
	w.server.held.take(free)
	status, answer := w.post(goodCall)
	if wantCode(t, answer, api.CodeOverloaded); status != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d", status)
	}
	ws := w.dialWS()
	defer ws.CloseNow()
	wsSend(t, ws, goodCall)
	if _, _, err := ws.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("got %v", err)
	}
	w.server.held.give(free)
	_, answer = w.post(goodCall)
	wantAnswer(t, answer)
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) {
			o.Limits.RatePerSecond, o.Limits.RateBurst, o.Limits.MaxBatch, o.Limits.MaxTxs = 10, 20, 20, 20
		})
		defer w.stop()
		w.net.remote = tcp("203.0.113.7")
		twenty := `{"jsonrpc":"2.0","id":7,"method":"kaizen_sendTransactions","params":[["0x00"` + strings.Repeat(`,"0x00"`, 19) + `]]}`
		_, answer := w.post(twenty)
		wantAnswer(t, answer)
		status, answer := w.post(goodCall)
		if wantCode(t, answer, api.CodeRateLimited); status != http.StatusTooManyRequests || !strings.Contains(answer, `"id":1,`) {
			t.Errorf("HTTP %d %s", status, answer)
		}
		time.Sleep(100 * time.Millisecond) // the fake clock's: one call's worth
		_, answer = w.post(goodCall)
		wantAnswer(t, answer)
		ws := w.dialWS()
		defer ws.CloseNow()
		for _, call := range []string{goodCall, waitSend} {
			wsSend(t, ws, call)
			wantCode(t, wsRead(t, ws), api.CodeRateLimited)
		}
		// Another address, and loopback, have their own allowance.
		w.http.CloseIdleConnections()
		for _, from := range []string{"203.0.113.8", "127.0.0.1", "::1"} {
			w.net.remote = tcp(from)
			_, answer := w.post(goodCall)
			wantAnswer(t, answer)
			w.http.CloseIdleConnections()
		}
	})
}

func TestRatesMemory(t *testing.T) {
	l := DefaultLimits()
	l.RatePerSecond, l.RateBurst, l.MaxRatedAddresses = 1, 2, 3
	r := newRates(&l)
	now := time.Unix(1000, 0)
	at := func(i int) caller { return callerAt(fmt.Sprintf("10.0.0.%d:1", i)) }
	for i := range 3 {
		if !r.allow(at(i).key, 2, now) {
			t.Fatalf("address %d refused", i)
		}
	}
	// The fourth and fifth share what is left.
	if !r.allow(at(3).key, 2, now) || r.allow(at(4).key, 1, now) || len(r.buckets) != 3 {
		t.Errorf("%d addresses remembered", len(r.buckets))
	}
	// When buckets are full again their addresses are forgotten.
	if now = now.Add(2 * time.Second); !r.allow(at(5).key, 2, now) || len(r.buckets) != 1 {
		t.Errorf("%d addresses remembered", len(r.buckets))
	}
	// Hosts of one IPv6 network are one caller, IPv4 in IPv6 is IPv4.
	if callerAt("[2001:db8::1]:1") != callerAt("[2001:db8::ffff]:2") || callerAt("[2001:db8::1]:1") == callerAt("[2001:db8:0:1::1]:1") || callerAt("[::ffff:10.0.0.1]:1") != at(1) {
		t.Error("callers are told apart wrongly")
	}
	l.RatePerSecond = 0
	if !newRates(&l).allow(at(1).key, 1<<30, now) {
		t.Error("refused without a limit")
	}
}

func TestConnectionLimits(t *testing.T) {
	w := start(t, func(o *Options) { o.Limits.MaxConnections, o.Limits.MaxPerAddress = 4, 2 })
	defer w.stop()
	dial := func(ip string) net.Conn {
		c, err := w.net.dialFrom(context.Background(), tcp(ip))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	serves := func(c net.Conn) bool {
		if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return false
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		return err == nil && answer.StatusCode == 200
	}
	var kept []net.Conn
	for _, step := range []struct {
		ip   string
		want bool
	}{
		{"10.0.0.1", true}, {"10.0.0.1", true}, {"10.0.0.1", false}, {"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", false}, {"10.0.0.2", false},
	} {
		c := dial(step.ip)
		if got := serves(c); got != step.want {
			t.Errorf("connection from %s served: %v, want %v", step.ip, got, step.want)
		}
		kept = append(kept, c)
	}
	if n := w.metric("kaizen_rpc_connections", "tcp"); n != 4 {
		t.Errorf("%v connections counted, want 4", n)
	}
	for _, c := range kept {
		c.Close()
	}
}

func TestSlowHTTPClients(t *testing.T) {
	for _, c := range []struct {
		name, sends string
		after       func(*Limits) time.Duration
		answer      string
	}{
		{"never finishes its header", "POST / HTTP/1.1\r\nHost: loc", func(l *Limits) time.Duration { return l.HeaderTimeout }, ""},
		{"never finishes its body", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", func(l *Limits) time.Duration { return l.ReadTimeout }, "HTTP/1.1 408"},
		{"is idle", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", func(l *Limits) time.Duration { return l.IdleTimeout }, "HTTP/1.1 200"},
		{"sends an endless header", "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10), func(*Limits) time.Duration { return 0 }, "HTTP/1.1 431"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil)
				defer w.stop()
				conn, err := w.net.dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				go io.WriteString(conn, c.sends)
				got, err := io.ReadAll(conn) // until the server hangs up
				if err != nil {
					t.Fatal(err)
				}
				limit := c.after(&w.server.limits)
				if took := time.Since(began); took < limit || took > limit+time.Second {
					t.Errorf("cut off after %s, want %s", took, limit)
				}
				if !strings.HasPrefix(string(got), c.answer) {
					t.Errorf("answered %.200q", got)
				}
				conn.Close()
			})
		})
	}
}

func TestHTTPClientThatReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		conn, err := w.net.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(goodCall), goodCall)
		l := &w.server.limits
		time.Sleep(l.ReadTimeout + l.CallTimeout + l.WriteTimeout + time.Second)
		synctest.Wait()
		if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the connection is still open: %v", err)
		}
		conn.Close()
	})
}

// rawWS upgrades a connection by hand, so that a test can misbehave on it.
func rawWS(t *testing.T, w *world) net.Conn {
	t.Helper()
	return upgraded(t, w, "")
}

// upgraded is rawWS with more header fields, each with its line end.
func upgraded(t *testing.T, w *world, fields string) net.Conn {
	t.Helper()
	conn, err := w.net.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+fields+"\r\n")
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", answer, err)
	}
	return conn
}

// frame is a masked text frame with a zero mask.
func frame(text string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}

func TestSlowWebSocketClients(t *testing.T) {
	for _, c := range []struct {
		name  string
		sends []byte
		reads bool
		after func(*Limits) time.Duration
	}{
		{"never finishes a message", frame(goodCall)[:20], false, func(l *Limits) time.Duration { return l.ReadTimeout }},
		{"never reads its answer", frame(goodCall), false, func(l *Limits) time.Duration { return l.WriteTimeout }},
		{"never answers a ping", nil, true, func(l *Limits) time.Duration { return 2 * l.PingInterval }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil)
				defer w.stop()
				conn := rawWS(t, w)
				if c.reads {
					go io.Copy(io.Discard, conn)
				}
				conn.Write(c.sends)
				w.cutOffAfter("ws", c.after(&w.server.limits))
				conn.Close()
			})
		})
	}
}

// TestBusySessionsArePinged: a session that is not read, because all of its calls are
// under way, is not taken for dead, nor is one that sends its message slowly; one whose
// client is gone is, once it is read.
func TestBusySessionsArePinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.CallTimeout, o.Limits.MaxSessionCalls = time.Hour, 1 })
		defer w.stop()
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		const send = `{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransaction","params":["0x00"]}`
		conn := rawWS(t, w)
		defer conn.Close()
		said := make(chan string)
		go func() {
			defer close(said)
			b, _ := io.ReadAll(conn)
			said <- string(b)
		}()
		conn.Write(frame(send))
		go conn.Write(frame(send)) // the node waits for a slot and reads nothing behind it
		time.Sleep(10 * w.server.limits.PingInterval)
		if n := w.metric("kaizen_rpc_connections", "ws"); n != 1 {
			t.Errorf("%v connections while a call is under way, want 1", n)
		}
		close(disk)
		time.Sleep(3 * w.server.limits.PingInterval)
		if n := w.metric("kaizen_rpc_connections", "ws"); n != 0 {
			t.Errorf("%v connections of a client that answers no ping", n)
		}
		if answers := strings.Count(<-said, `"result"`); answers != 2 {
			t.Errorf("%d answers, want 2", answers)
		}
	})
}

// TestUnreadAnswersCloseTheClient floods answers at a client that reads none.
func TestUnreadAnswersCloseTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.MaxResponseBytes, o.Limits.MaxSessionBytes = 1<<10, 1<<10 })
		defer w.stop()
		conn := rawWS(t, w)
		for range 12 {
			if _, err := conn.Write(frame(goodCall)); err != nil {
				break
			}
		}
		time.Sleep(w.server.limits.WriteTimeout - time.Second)
		synctest.Wait()
		if n := w.metric("kaizen_rpc_limited_total", "slow_client"); n == 0 {
			t.Error("no slow client counted")
		}
		if n := w.metric("kaizen_rpc_connections", "ws"); n != 0 {
			t.Error("the client is still connected, before any timeout of a write")
		}
		conn.Close()
	})
}

// TestSessionCallsLimit checks that a client with MaxSessionCalls under way is
// not read any further.
func TestSessionCallsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.MaxSessionCalls = 2 })
		defer w.stop()
		conn := rawWS(t, w)
		go func() {
			for range 10 {
				if _, err := conn.Write(frame(waitCall)); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if running := len(w.server.running); running != 2 {
			t.Errorf("%d calls of one client run, want 2", running)
		}
		conn.Close()
		synctest.Wait()
	})
}

// cutOffAfter waits, in a bubble, and fails the test unless the only connection of a
// transport is cut off when so much time has passed, and not before.
func (w *world) cutOffAfter(transport string, limit time.Duration) {
	w.t.Helper()
	open := func() float64 { return w.metric("kaizen_rpc_connections", transport) }
	<-time.After(limit - time.Second)
	synctest.Wait()
	if n := open(); n != 1 {
		w.t.Errorf("cut off before %s", limit)
	}
	<-time.After(2 * time.Second)
	synctest.Wait()
	if n := open(); n != 0 {
		w.t.Errorf("still open after %s", limit)
	}
}
