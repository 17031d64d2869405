package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

func (w *world) stream(url string) *client.Stream {
	w.t.Helper()
	s, err := w.client(url).Stream(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// TestClientStream: what transactions come to, over every kind of URL.
func TestClientStream(t *testing.T) {
	for _, url := range []string{"localhost:8545", "http://localhost:8545", "ws://localhost:8545", "ws://localhost:8545/ws"} {
		w := start(t, nil)
		s := w.stream(url)
		var all []*client.Sent
		for i, raw := range [][]byte{{0, 1}, {2}, {1}, {4}, {3}} {
			all = append(all, must[*client.Sent](t)(s.Send(t.Context(), raw)))
			if n := all[i].Number(); n != uint64(i) {
				t.Errorf("transaction %d has number %d", i, n)
			}
		}
		done := must[client.Executed](t)(all[0].Wait(t.Context()))
		if want := w.node.execute([]byte{0, 1}); done.Height != 3 || !reflect.DeepEqual(done.Receipt, want) {
			t.Errorf("executed %+v, want %+v", done, want)
		}
		done = must[client.Executed](t)(all[1].Wait(t.Context()))
		if done.Receipt.Code != 7 || done.Receipt.Detail != "has 1, needs <2>" {
			t.Errorf("failed %+v", done)
		}
		for i, want := range []*client.Error{{Code: 1001, Name: "InvalidSignature", Detail: "v is 9"}, {Code: 1001, Name: "InvalidSignature"}, {Code: api.CodeBusy, Name: "Busy"}} {
			<-all[2+i].Done()
			done, err := all[2+i].Result()
			var e *client.Error
			if !errors.As(err, &e) || e.Code != want.Code || e.Name != want.Name || want.Detail != "" && e.Detail != want.Detail || errors.Is(err, client.ErrUnreachable) {
				t.Errorf("refused %d: %#v", i, err)
			}
			if known := i == 1; known != (done.Receipt.ID == w.node.execute([]byte{4}).ID) {
				t.Errorf("refused %d: id %s", i, done.Receipt.ID)
			}
		}
		for _, raw := range [][]byte{nil, make([]byte, abi.MaxTxBytes+1)} {
			if _, err := s.Send(t.Context(), raw); err == nil || errors.Is(err, client.ErrUnreachable) {
				t.Errorf("%d bytes were sent: %v", len(raw), err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("a second time: %v", err)
		}
		if _, err := s.Send(t.Context(), []byte{0}); !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), "not sent") {
			t.Errorf("after Close: %v", err)
		}
		w.stop()
	}
}

// TestClientStreamWindow: beyond the window Send waits, for as long as it may, and an
// answer makes room.
func TestClientStreamWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.MaxTxs = client.StreamWindow })
		defer w.stop()
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		s := w.stream("ws://localhost")
		defer s.Close()
		raw := []byte{0, 0, 0}
		var all []*client.Sent
		for i := range client.StreamWindow {
			raw[1], raw[2] = byte(i>>8), byte(i) // it is copied
			all = append(all, must[*client.Sent](t)(s.Send(t.Context(), raw)))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Send(ctx, raw); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrUnreachable) {
			t.Errorf("beyond the window: %v", err)
		}
		if _, err := all[0].Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no answer yet: %v", err)
		}
		close(disk)
		must[*client.Sent](t)(s.Send(t.Context(), []byte{0}))
		for i, sent := range all {
			if done := must[client.Executed](t)(sent.Wait(t.Context())); done.Receipt.ID != w.node.execute([]byte{0, byte(i >> 8), byte(i)}).ID {
				t.Fatalf("transaction %d has the answer of another", i)
			}
		}
	})
}

// TestClientStreamConcurrent: senders share a stream, and each has its own answers.
func TestClientStreamConcurrent(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	s := w.stream("http://localhost")
	defer s.Close()
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			last := uint64(0)
			for i := range 200 {
				raw := []byte{0, byte(g), byte(i)}
				sent, err := s.Send(t.Context(), raw)
				if err != nil {
					t.Error(err)
					return
				}
				done, err := sent.Wait(t.Context())
				if err != nil || done.Receipt.ID != w.node.execute(raw).ID || i > 0 && sent.Number() <= last {
					t.Errorf("sender %d, transaction %d, number %d: %+v, %v", g, i, sent.Number(), done, err)
				}
				last = sent.Number()
			}
		})
	}
	all.Wait()
	if n := w.metric("kaizen_rpc_requests_total", "0", submitStream); n != 1600 {
		t.Errorf("%v transactions", n)
	}
}

// wantLost: the outcome of a transaction is unknown, and the error says whose.
func wantLost(t *testing.T, sent *client.Sent, number uint64) {
	t.Helper()
	_, err := sent.Wait(t.Context())
	var lost *client.OutcomeError
	if !errors.As(err, &lost) || lost.Number != number || !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("transaction %d: %v", number, err)
	}
}

// TestClientStreamBreaks: what is answered is answered, the outcome of the rest is
// unknown, and nothing more is sent.
func TestClientStreamBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		var conn net.Conn
		c := must[*client.Client](t)(client.New("ws://localhost", client.WithDialer(func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
			conn, err = w.net.dial(ctx, network, addr)
			return conn, err
		})))
		s := must[*client.Stream](t)(c.Stream(t.Context()))
		answered := must[*client.Sent](t)(s.Send(t.Context(), []byte{0}))
		must[client.Executed](t)(answered.Wait(t.Context()))
		lost := must[*client.Sent](t)(s.Send(t.Context(), []byte{7}))
		more := must[*client.Sent](t)(s.Send(t.Context(), []byte{7}))
		synctest.Wait()
		conn.Close()
		<-s.Broken()
		wantLost(t, lost, 1)
		wantLost(t, more, 2)
		must[client.Executed](t)(answered.Result())
		if _, err := s.Send(t.Context(), []byte{0}); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("sent on a broken stream: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestClientStreamClose: whoever does not wait does not know.
func TestClientStreamClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		s := w.stream("ws://localhost")
		lost := must[*client.Sent](t)(s.Send(t.Context(), []byte{7}))
		synctest.Wait()
		s.Close() // the node says goodbye once the call timeout is over: that is too late
		wantLost(t, lost, 0)
	})
}

// TestClientStreamNodeStops: a node that stops answers what it had taken; the reason
// is in the error of the rest.
func TestClientStreamNodeStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		s := w.stream("ws://localhost")
		sent := must[*client.Sent](t)(s.Send(t.Context(), []byte{0}))
		synctest.Wait()
		go w.stop()
		synctest.Wait()
		late := must[*client.Sent](t)(s.Send(t.Context(), []byte{0}))
		close(disk)
		must[client.Executed](t)(sent.Wait(t.Context()))
		var e *client.Error
		if _, err := late.Wait(t.Context()); !errors.As(err, &e) || e.Code != api.CodeStopping {
			t.Errorf("sent to a node that stops: %v", err)
		}
		<-s.Broken()
		if _, err := s.Send(t.Context(), []byte{0}); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
	})
}

// answering is a node that answers every message of a stream with the same bytes.
func answering(t *testing.T, protocol string, kind websocket.MessageType, answer []byte) (url client.Option) {
	return client.WithDialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		l := newMemory()
		server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
			if err != nil {
				return
			}
			defer conn.CloseNow()
			for {
				if _, _, err := conn.Read(context.Background()); err != nil {
					return
				}
				if answer != nil && conn.Write(context.Background(), kind, answer) != nil {
					return
				}
			}
		})}
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
		l.conns <- theirs
		return ours, nil
	})
}

// TestClientStreamMeetsSomethingElse: what answers wrongly is not believed.
func TestClientStreamMeetsSomethingElse(t *testing.T) {
	node := fakeNode{}
	good := (&api.SubmitAnswer{Receipt: node.execute([]byte{0})}).Append(nil)
	ahead := (&api.SubmitAnswer{Number: 1, Receipt: node.execute([]byte{0})}).Append(nil)
	for name, answer := range map[string][]byte{"another number": ahead, "one too many": append(good, ahead...), "half": good[:len(good)-1], "nonsense": []byte("nonsense")} {
		c := must[*client.Client](t)(client.New("ws://localhost", answering(t, api.SubmitProtocol, websocket.MessageBinary, answer)))
		s := must[*client.Stream](t)(c.Stream(t.Context()))
		sent := must[*client.Sent](t)(s.Send(t.Context(), []byte{0}))
		if name == "one too many" {
			must[client.Executed](t)(sent.Wait(t.Context()))
		} else {
			wantLost(t, sent, 0)
		}
		<-s.Broken()
		if _, err := s.Send(t.Context(), []byte{0}); !errors.Is(err, api.ErrMalformedSubmit) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
	c := must[*client.Client](t)(client.New("ws://localhost", answering(t, "", 0, nil)))
	if _, err := c.Stream(t.Context()); !errors.Is(err, client.ErrNoStreams) || !strings.Contains(fmt.Sprint(err), api.SubmitProtocol) {
		t.Errorf("a node without streams: %v", err)
	}
	c = must[*client.Client](t)(client.New("http://localhost", client.WithDialer(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") })))
	if _, err := c.Stream(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("no node: %v", err)
	}
}

// TestClientStreamAnswersAreLife: while transactions wait the node does not ping, and
// its answers are enough.
func TestClientStreamAnswersAreLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.CallTimeout = time.Hour })
		defer w.stop()
		w.node.hook = func([][]byte) { time.Sleep(40 * time.Second) }
		s := w.stream("ws://localhost")
		defer s.Close()
		var last *client.Sent
		for range 4 {
			last = must[*client.Sent](t)(s.Send(t.Context(), []byte{0}))
			synctest.Wait()
		}
		must[client.Executed](t)(last.Wait(t.Context()))
	})
}

// TestClientStreamSilence: a node of which nothing is heard is lost, one that pings is
// not.
func TestClientStreamSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		s := w.stream("ws://localhost")
		time.Sleep(time.Hour)
		must[client.Executed](t)(must[*client.Sent](t)(s.Send(t.Context(), []byte{0})).Wait(t.Context()))
		s.Close()
		w.stop()
		silent := must[*client.Client](t)(client.New("ws://localhost", answering(t, api.SubmitProtocol, 0, nil)))
		s = must[*client.Stream](t)(silent.Stream(t.Context()))
		began := time.Now()
		sent := must[*client.Sent](t)(s.Send(t.Context(), []byte{0}))
		wantLost(t, sent, 0)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("given up after %s", took)
		}
	})
}
