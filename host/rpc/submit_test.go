package rpc

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

func (w *world) dialStream() *websocket.Conn {
	w.t.Helper()
	c, _, err := websocket.Dial(context.Background(), "ws://localhost:8545/ws", &websocket.DialOptions{HTTPClient: w.http, Subprotocols: []string{api.SubmitProtocol}})
	if err != nil {
		w.t.Fatal(err)
	}
	if got := c.Subprotocol(); got != api.SubmitProtocol {
		w.t.Fatalf("the node speaks %q", got)
	}
	c.SetReadLimit(-1)
	return c
}

// submission is a client's message.
func submission(raws ...[]byte) (b []byte) {
	for _, raw := range raws {
		b = api.AppendSubmission(b, raw)
	}
	return b
}

func streamSend(t testing.TB, c *websocket.Conn, raws ...[]byte) {
	t.Helper()
	if err := c.Write(context.Background(), websocket.MessageBinary, submission(raws...)); err != nil {
		t.Fatal(err)
	}
}

// streamRead takes n answers, which must be those from number first on.
func streamRead(t testing.TB, c *websocket.Conn, first, n int) (all []api.SubmitAnswer) {
	t.Helper()
	for len(all) < n {
		kind, b, err := c.Read(context.Background())
		if err != nil || kind != websocket.MessageBinary {
			t.Fatalf("after %d of %d answers: %v, %v", len(all), n, kind, err)
		}
		for len(b) > 0 {
			var a api.SubmitAnswer
			if a, b, err = api.CutSubmitAnswer(b); err != nil {
				t.Fatal(err)
			}
			if a.Number != uint64(first+len(all)) {
				t.Fatalf("answer %d has number %d", first+len(all), a.Number)
			}
			all = append(all, a)
		}
	}
	if len(all) != n {
		t.Fatalf("%d answers, want %d", len(all), n)
	}
	return all
}

func streamClosed(t testing.TB, c *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	_, b, err := c.Read(context.Background())
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || closed.Reason != reason {
		t.Errorf("got %x, %v, want it closed with %d %q", b, err, code, reason)
	}
}

// TestSubmitGolden holds the bytes of version 1, and what SUBMIT.md shows of them.
func TestSubmitGolden(t *testing.T) {
	node := fakeNode{}
	refused := api.SubmitAnswer{Number: 2, ID: chain.Hash{1, 2, 3}, Refused: api.ModuleError(7, "InsufficientBalance", "has 1, needs 2")}
	messages := []struct {
		name string
		b    []byte
	}{
		{"client: two transactions", submission([]byte{0, 0xaa}, []byte{2})},
		{"node: executed", (&api.SubmitAnswer{Number: 0, Height: 3, Index: 5, Receipt: node.execute([]byte{0, 0xaa})}).Append(nil)},
		{"node: executed and failed", (&api.SubmitAnswer{Number: 1, Height: 3, Index: 6, Receipt: node.execute([]byte{2})}).Append(nil)},
		{"node: refused", refused.Append(nil)},
		{"node: two answers", (&api.SubmitAnswer{Number: 1 << 32, Refused: api.NewError(api.CodeBusy, "")}).Append(refused.Append(nil))},
	}
	var text strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&text, "%s\n%x\n\n", m.name, m.b)
	}
	const file = "testdata/submit_v1.txt"
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("%s differs (-update rewrites it):\n%s", file, text.String())
	}
	document, err := os.ReadFile("SUBMIT.md")
	if err != nil {
		t.Fatal(err)
	}
	spaceless := strings.NewReplacer(" ", "", "\n", "").Replace(comments(string(document)))
	for _, m := range messages[:4] {
		if !strings.Contains(spaceless, hex.EncodeToString(m.b)) {
			t.Errorf("SUBMIT.md does not show %q: %x", m.name, m.b)
		}
	}
}

// comments is an example's text without what explains it: two spaces or more, and
// the rest of the line.
func comments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  ")
		b.WriteString(line + "\n")
	}
	return b.String()
}

// TestStreamAnswersAsJSON: the same transaction comes to the same, whichever way it
// came.
func TestStreamAnswersAsJSON(t *testing.T) {
	w := start(t, func(o *Options) {
		o.Limits.MaxResponseBytes = 2 << 10
	})
	defer w.stop()
	ws := w.dialStream()
	defer ws.CloseNow()
	for i, raw := range [][]byte{{0}, {0, 0xaa, 0xbb}, {1}, {2}, {3}, {4}, {5}, append([]byte{0}, make([]byte, abi.MaxTxBytes-1)...)} {
		_, want := w.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransaction","params":["0x%x"]}`, raw))
		streamSend(t, ws, raw)
		a := streamRead(t, ws, i, 1)[0]
		got := append(w.server.appendReceipt([]byte(`{"jsonrpc":"2.0","id":1,"result":`), &a.Receipt, a.Height, int(a.Index)), "}}"...)
		if a.Refused != nil {
			got = appendError(nil, []byte("1"), a.Refused)
		}
		if string(got) != want {
			t.Errorf("transaction %.8x\nover a stream: %s\nover HTTP:     %s", raw, got, want)
		}
	}
	streamSend(t, ws, []byte{4})
	if a := streamRead(t, ws, 8, 1)[0]; a.ID != (&fakeNode{}).execute([]byte{4}).ID {
		t.Errorf("the id of a refused transaction is %s", a.ID)
	}
	if ok, refused := w.metric("kaizen_rpc_requests_total", "0", submitStream), w.metric("kaizen_rpc_requests_total", "1001", submitStream); ok != 4 || refused != 3 {
		t.Errorf("%v executed and %v refused ones counted, want 4 and 3", ok, refused)
	}
	if n := w.metric("kaizen_rpc_connections", "stream"); n != 1 {
		t.Errorf("%v streams counted", n)
	}
}

// bigNode answers with receipts of 4 KiB.
type bigNode struct{ *fakeNode }

func (n bigNode) Enqueue(raws [][]byte) Pending {
	all := make(Answered, len(raws))
	for i := range all {
		all[i] = Submitted{Height: 1, Index: i, Receipt: chain.Receipt{Events: [][]byte{make([]byte, abi.MaxEventBytes)}}}
	}
	return all
}

// TestStreamAnswerTooLarge: one that is larger than allowed is an error, many that
// are large are several messages.
func TestStreamAnswerTooLarge(t *testing.T) {
	w := start(t, func(o *Options) { o.Backend = bigNode{o.Backend.(*fakeNode)} })
	defer w.stop()
	ws := w.dialStream()
	defer ws.CloseNow()
	go ws.Write(context.Background(), websocket.MessageBinary, submission(bytes.Split(bytes.Repeat([]byte{0}, 99), nil)...)) // what goes wrong is seen below
	for i, a := range streamRead(t, ws, 0, 99) {
		if a.Refused != nil || len(a.Receipt.Events) != 1 {
			t.Fatalf("answer %d: %+v", i, a)
		}
	}
	small := start(t, func(o *Options) { o.Backend, o.Limits.MaxResponseBytes = bigNode{o.Backend.(*fakeNode)}, 1<<10 })
	defer small.stop()
	ws = small.dialStream()
	defer ws.CloseNow()
	streamSend(t, ws, []byte{0})
	if a := streamRead(t, ws, 0, 1)[0]; a.Refused == nil || a.Refused.Code != api.CodeResponseTooLarge {
		t.Errorf("got %+v", a)
	}
}

// TestStreamPipelines: the next transactions are given to the backend while the last
// wait for the disk, in order, and those that come while the backend has enough go
// together.
func TestStreamPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		ws := w.dialStream()
		defer ws.CloseNow()
		const n = maxFlights + 12
		for i := range n {
			streamSend(t, ws, []byte{0, byte(i)})
			synctest.Wait()
		}
		// One of them has left the channel for the answerer.
		if got := w.node.submitted(); len(got) != maxFlights+1 {
			t.Fatalf("%d submissions at the disk, want %d", len(got), maxFlights+1)
		}
		close(disk)
		streamRead(t, ws, 0, n)
		got := w.node.submitted()
		if len(got) != maxFlights+2 {
			t.Errorf("%d submissions, want those that waited together: %v", len(got), got)
		}
		next := byte(0)
		for _, raws := range got {
			for _, raw := range raws {
				if raw[1] != next {
					t.Fatalf("transaction %d was submitted as number %d", raw[1], next)
				}
				next++
			}
		}
	})
}

// TestStreamAnswersAtOnce: who is answered does not wait for who is not.
func TestStreamAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		first, second := make(chan struct{}), make(chan struct{})
		w.node.hook = func(raws [][]byte) {
			<-map[byte]chan struct{}{1: first, 2: second}[raws[0][1]]
		}
		ws := w.dialStream()
		defer ws.CloseNow()
		streamSend(t, ws, []byte{0, 1})
		synctest.Wait()
		streamSend(t, ws, []byte{0, 2})
		synctest.Wait()
		close(first)
		streamRead(t, ws, 0, 1)
		close(second)
		streamRead(t, ws, 1, 1)
	})
}

// TestStreamRefusesInOrder: a refusal of the node's own does not overtake what came in
// the same packet before it.
func TestStreamRefusesInOrder(t *testing.T) {
	w := start(t, func(o *Options) {
		o.Limits.RatePerSecond, o.Limits.RateBurst, o.Limits.MaxBatch, o.Limits.MaxTxs = 1, 2, 2, 2
	})
	defer w.stop()
	w.net.remote = tcp("203.0.113.7")
	conn := upgraded(t, w, "Sec-WebSocket-Protocol: "+api.SubmitProtocol+"\r\n")
	defer conn.Close()
	var packet []byte
	for _, raws := range [][][]byte{{{0, 1}}, {{0, 2}, {0, 3}}, {{0, 4}}} { // one, two too many, one
		message := submission(raws...)
		packet = append(append(packet, 0x82, 0x80|byte(len(message)), 0, 0, 0, 0), message...)
	}
	go conn.Write(packet)
	var got []bool
	for len(got) < 4 {
		head := make([]byte, 2)
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		length := int(head[1])
		if length == 126 {
			if _, err := io.ReadFull(conn, head); err != nil {
				t.Fatal(err)
			}
			length = int(head[0])<<8 | int(head[1])
		}
		message := make([]byte, length)
		if _, err := io.ReadFull(conn, message); err != nil {
			t.Fatal(err)
		}
		for len(message) > 0 {
			a, rest, err := api.CutSubmitAnswer(message)
			if err != nil || a.Number != uint64(len(got)) {
				t.Fatalf("answer %d: %+v, %v", len(got), a, err)
			}
			got, message = append(got, a.Refused == nil), rest
		}
	}
	if want := []bool{true, false, false, true}; !slices.Equal(got, want) {
		t.Errorf("executed %v, want %v", got, want)
	}
}

// TestStreamWindow: a client with as much under way as allowed is not read.
func TestStreamWindow(t *testing.T) {
	for _, limit := range []struct {
		name   string
		change func(*Limits)
		least  int
		most   int
	}{
		{"transactions", func(l *Limits) { l.MaxStreamTxs = 4 }, 4, 4},
		{"bytes", func(l *Limits) { l.MaxStreamBytes = 3 * abi.MaxTxBytes }, 3, 3},
		// The answerer has taken a submission out of the queue before it was full, or after.
		{"transactions of a submission", func(l *Limits) { l.MaxTxs = 2 }, 2 * maxFlights, 2*maxFlights + 2},
	} {
		t.Run(limit.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, func(o *Options) { limit.change(&o.Limits) })
				defer w.stop()
				disk := make(chan struct{})
				w.node.hook = func([][]byte) { <-disk }
				ws := w.dialStream()
				defer ws.CloseNow()
				raw := make([]byte, abi.MaxTxBytes)
				const n = 60
				message := bytes.Split(bytes.Repeat([]byte{0}, n), nil)
				for i := range message {
					message[i] = raw
				}
				go func() {
					if err := ws.Write(context.Background(), websocket.MessageBinary, submission(message...)); err != nil {
						t.Error(err)
					}
				}()
				synctest.Wait()
				got := 0
				for _, raws := range w.node.submitted() {
					got += len(raws)
				}
				if got < limit.least || got > limit.most {
					t.Errorf("%d transactions under way, want %d to %d", got, limit.least, limit.most)
				}
				close(disk)
				streamRead(t, ws, 0, n)
			})
		})
	}
}

// TestStreamMalformed: a message that is none ends the connection. Nothing of it is
// executed, and all before it is answered.
func TestStreamMalformed(t *testing.T) {
	large := append([]byte{1, 0x40, 0, 0}, make([]byte, abi.MaxTxBytes+1)...)
	for _, c := range []struct {
		name   string
		kind   websocket.MessageType
		b      []byte
		code   websocket.StatusCode
		reason string
	}{
		{"empty", websocket.MessageBinary, nil, 1007, "Malformed"},
		{"no length", websocket.MessageBinary, []byte{1, 0, 0}, 1007, "Malformed"},
		{"length 0", websocket.MessageBinary, []byte{0, 0, 0, 0}, 1007, "Malformed"},
		{"too long", websocket.MessageBinary, large, 1007, "Malformed"},
		{"truncated", websocket.MessageBinary, []byte{2, 0, 0, 0, 0}, 1007, "Malformed"},
		{"second truncated", websocket.MessageBinary, append(submission([]byte{0, 9}), 9), 1007, "Malformed"},
		{"text", websocket.MessageText, submission([]byte{0}), 1003, "kaizen.submit.v1 wants binary messages"},
		{"too large a message", websocket.MessageBinary, make([]byte, 1<<20+1), 1009, "BodyTooLarge"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := start(t, func(o *Options) { o.Limits.MaxBodyBytes = 1 << 20 })
			defer w.stop()
			ws := w.dialStream()
			defer ws.CloseNow()
			streamSend(t, ws, []byte{0, 7}, []byte{0, 8})
			go ws.Write(context.Background(), c.kind, c.b) // a large one is not read to its end
			streamRead(t, ws, 0, 2)
			streamClosed(t, ws, c.code, c.reason)
			if got := fmt.Sprint(w.node.submitted()); got != "[[[0 7] [0 8]]]" {
				t.Errorf("submitted %s", got)
			}
		})
	}
}

// TestStreamDrains: on shutdown what was taken is answered, what comes then is told,
// and the connection ends with a reason.
func TestStreamDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		ws := w.dialStream()
		defer ws.CloseNow()
		streamSend(t, ws, []byte{0, 1}, []byte{0, 2})
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			w.stop()
			close(stopped)
		}()
		synctest.Wait()
		streamSend(t, ws, []byte{0, 3})
		synctest.Wait()
		close(disk)
		all := streamRead(t, ws, 0, 3)
		if all[0].Refused != nil || all[1].Refused != nil || all[2].Refused == nil || all[2].Refused.Code != api.CodeStopping {
			t.Errorf("answers %+v", all)
		}
		streamClosed(t, ws, websocket.StatusGoingAway, "Stopping")
		<-stopped
		if got := fmt.Sprint(w.node.submitted()); got != "[[[0 1] [0 2]]]" {
			t.Errorf("submitted %s", got)
		}
	})
}

// TestStreamShutdownRunsOutOfTime: what is never answered is cut off.
func TestStreamShutdownRunsOutOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.CallTimeout = time.Hour })
		ws := w.dialStream()
		defer ws.CloseNow()
		streamSend(t, ws, []byte{7})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		synctest.Wait()
		if n := w.metric("kaizen_rpc_connections", "stream"); n != 0 {
			t.Errorf("%v streams left", n)
		}
		if err := <-w.served; err != nil {
			t.Error(err)
		}
	})
}

// TestStreamTimeout: who has no answer in time is told, and those behind it wait for
// theirs.
func TestStreamTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		ws := w.dialStream()
		defer ws.CloseNow()
		began := time.Now()
		streamSend(t, ws, []byte{7})
		a := streamRead(t, ws, 0, 1)[0]
		if took := time.Since(began); a.Refused == nil || a.Refused.Code != api.CodeTimeout || took != w.server.limits.CallTimeout {
			t.Errorf("%+v after %s", a, took)
		}
	})
}

// TestStreamRate: transactions count, and each that is too many is told so.
func TestStreamRate(t *testing.T) {
	w := start(t, func(o *Options) {
		o.Limits.RatePerSecond, o.Limits.RateBurst, o.Limits.MaxBatch, o.Limits.MaxTxs = 1, 3, 3, 3
	})
	defer w.stop()
	w.net.remote = tcp("203.0.113.7")
	ws := w.dialStream()
	defer ws.CloseNow()
	streamSend(t, ws, []byte{0}, []byte{0}, []byte{0})
	streamSend(t, ws, []byte{0}, []byte{0}, []byte{0})
	for i, a := range streamRead(t, ws, 0, 6) {
		if told := a.Refused != nil && a.Refused.Code == api.CodeRateLimited; told != (i >= 3) {
			t.Errorf("answer %d: %+v", i, a)
		}
	}
	if n := w.metric("kaizen_rpc_limited_total", "rate"); n != 1 {
		t.Errorf("%v messages counted", n)
	}
}

// TestStreamHeldBytes: a node that holds all it may for its clients takes no more.
func TestStreamHeldBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		ws := w.dialStream()
		defer ws.CloseNow()
		streamSend(t, ws, []byte{0})
		streamRead(t, ws, 0, 1)
		synctest.Wait()
		free := int(w.server.held.free.Load())
		w.server.held.take(free)
		streamSend(t, ws, []byte{0})
		streamClosed(t, ws, websocket.StatusTryAgainLater, "Overloaded")
		w.server.held.give(free)
	})
}

// TestStreamSlowClients: a client that does not do its part is cut off in time.
func TestStreamSlowClients(t *testing.T) {
	header := []byte{0x82, 0x80 | 5, 0, 0, 0, 0} // a masked binary frame, zero mask
	for _, c := range []struct {
		name  string
		sends []byte
		reads bool
		after func(*Limits) time.Duration
		limit string
	}{
		{"never finishes a message", append(header[:6:6], 1, 0), false, func(l *Limits) time.Duration { return l.ReadTimeout }, "read_timeout"},
		{"never reads its answer", append(header[:6:6], 1, 0, 0, 0, 0), false, func(l *Limits) time.Duration { return l.WriteTimeout }, "slow_client"},
		{"never answers a ping", nil, true, func(l *Limits) time.Duration { return 2 * l.PingInterval }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil)
				defer w.stop()
				conn := upgraded(t, w, "Sec-WebSocket-Protocol: "+api.SubmitProtocol+"\r\n")
				if c.reads {
					go io.Copy(io.Discard, conn)
				}
				conn.Write(c.sends)
				w.cutOffAfter("stream", c.after(&w.server.limits))
				if c.limit != "" && w.metric("kaizen_rpc_limited_total", c.limit) != 1 {
					t.Errorf("%s was not counted", c.limit)
				}
				conn.Close()
			})
		})
	}
}

// TestStreamPingsTheSilent: a client whose transactions are under way is not taken for
// dead because its answer to a ping is behind them.
func TestStreamPingsTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.CallTimeout, o.Limits.MaxStreamTxs = time.Hour, 1 })
		defer w.stop()
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		ws := w.dialStream()
		defer ws.CloseNow()
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(10 * w.server.limits.PingInterval)
			close(disk)
		}()
		streamSend(t, ws, []byte{0})
		streamSend(t, ws, []byte{0}) // beyond the window: the node reads nothing behind it
		streamRead(t, ws, 0, 2)
		<-done
	})
}

// TestStreamBrokenConnection: what had arrived is executed, nothing is left behind.
func TestStreamBrokenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		ws := w.dialStream()
		for i := range 2 * maxFlights {
			streamSend(t, ws, []byte{0, byte(i)})
			synctest.Wait()
		}
		ws.CloseNow()
		synctest.Wait()
		close(disk)
		synctest.Wait()
		if n := w.metric("kaizen_rpc_connections", "ws"); n != 0 {
			t.Errorf("%v connections left", n)
		}
	})
}

// TestStreamBrokenInvariantIsFatal: a panic of the backend is an answer, a broken
// invariant is not only that.
func TestStreamBrokenInvariantIsFatal(t *testing.T) {
	got := make(chan any, 2)
	w := start(t, func(o *Options) { o.Fatal = func(v any) { got <- v } })
	defer w.stop()
	ws := w.dialStream()
	defer ws.CloseNow()
	streamSend(t, ws, []byte{5})
	streamRead(t, ws, 0, 1)
	if len(got) != 0 {
		t.Fatal("an ordinary panic was fatal")
	}
	streamSend(t, ws, []byte{6}, []byte{0})
	for _, a := range streamRead(t, ws, 1, 2) {
		if a.Refused == nil || a.Refused.Code != api.CodeInternal || a.Refused.Data.Detail != "" {
			t.Errorf("got %+v", a)
		}
	}
	if want := (invariant.Violation{Message: "six"}); <-got != any(want) {
		t.Error("fatal with something else")
	}
}

// TestSubprotocol: who does not ask for a stream gets JSON-RPC, and origins are checked
// for both.
func TestSubprotocol(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	c, _, err := websocket.Dial(t.Context(), "ws://localhost:8545/ws", &websocket.DialOptions{HTTPClient: w.http, Subprotocols: []string{"kaizen.submit.v9"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	wsSend(t, c, goodCall)
	if wantAnswer(t, wsRead(t, c)); c.Subprotocol() != "" {
		t.Errorf("the node speaks %q", c.Subprotocol())
	}
	status, answer := w.do("GET", "/ws", "", map[string]string{"Origin": "http://elsewhere", "Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": api.SubmitProtocol})
	if wantCode(t, answer, api.CodeOriginNotAllowed); status != 403 {
		t.Errorf("HTTP %d", status)
	}
}

// FuzzSubmission: what is counted can be cut, and is nothing but its transactions.
func FuzzSubmission(f *testing.F) {
	f.Add(submission([]byte{1}, []byte{2, 3}))
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := api.CountSubmissions(b)
		if err != nil {
			if !errors.Is(err, api.ErrMalformedSubmit) || n != 0 {
				t.Fatalf("%d, %v", n, err)
			}
			return
		}
		var again []byte
		for rest, raw := b, []byte(nil); n > 0; n-- {
			raw, rest = api.CutSubmission(rest)
			if len(raw) == 0 || len(raw) > abi.MaxTxBytes {
				t.Fatalf("a transaction of %d bytes", len(raw))
			}
			again = api.AppendSubmission(again, raw)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// FuzzSubmitAnswer: what is read is written again as it was.
func FuzzSubmitAnswer(f *testing.F) {
	node := fakeNode{}
	f.Add((&api.SubmitAnswer{Number: 7, Height: 3, Index: 5, Receipt: node.execute([]byte{0, 0xaa})}).Append(nil))
	f.Add((&api.SubmitAnswer{Number: 8, Height: 3, Receipt: node.execute([]byte{2})}).Append(nil))
	f.Add((&api.SubmitAnswer{Refused: api.NewError(api.CodeBusy, "x")}).Append(nil))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, rest, err := api.CutSubmitAnswer(b)
		if err != nil {
			if !errors.Is(err, api.ErrMalformedSubmit) {
				t.Fatal(err)
			}
			return
		}
		if again := a.Append(nil); !bytes.Equal(again, b[:len(b)-len(rest)]) {
			t.Fatalf("%x became %x", b[:len(b)-len(rest)], again)
		}
		if a.Refused != nil {
			if _, err := json.Marshal(a.Refused); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkStream is one client with so many transactions of a message each under way
// over loopback: client and server share the cores.
func BenchmarkStream(b *testing.B) {
	for _, window := range []int{1, 128} {
		b.Run(fmt.Sprint(window), func(b *testing.B) {
			addr := onLoopback(b, instantNode{newFake(b)})
			c, _, err := websocket.Dial(b.Context(), "ws://"+addr+"/ws", &websocket.DialOptions{Subprotocols: []string{api.SubmitProtocol}})
			if err != nil {
				b.Fatal(err)
			}
			defer c.CloseNow()
			message := submission(make([]byte, transferBytes))
			send := func(n int) {
				for range n {
					if err := c.Write(context.Background(), websocket.MessageBinary, message); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			sent, answered := min(window, b.N), 0
			for send(sent); answered < b.N; {
				_, m, err := c.Read(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				got := 0
				for ; len(m) > 0; got++ {
					if _, m, err = api.CutSubmitAnswer(m); err != nil {
						b.Fatal(err)
					}
				}
				answered += got
				more := min(got, b.N-sent)
				send(more)
				sent += more
			}
		})
	}
}

// BenchmarkClientStream is the Go client with as much under way as its window allows.
func BenchmarkClientStream(b *testing.B) {
	addr := onLoopback(b, instantNode{newFake(b)})
	c, err := client.New("ws://" + addr)
	if err != nil {
		b.Fatal(err)
	}
	stream, err := c.Stream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer stream.Close()
	raw := make([]byte, transferBytes)
	b.ReportAllocs()
	var last *client.Sent
	for b.Loop() {
		if last, err = stream.Send(b.Context(), raw); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := last.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// instantNode executes when it is asked.
type instantNode struct{ *fakeNode }

func (n instantNode) Enqueue(raws [][]byte) Pending {
	all := make(Answered, len(raws))
	for i := range all {
		all[i] = Submitted{Receipt: n.execute(raws[i]), Height: 1 << 20, Index: i}
	}
	return all
}
