package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

func sendCall(id int, hex string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"kaizen_sendTransaction","params":["%s"]}`, id, hex)
}

// TestBatchSubmitsNeighboursTogether: single sends in a batch must not wait for
// the disk one by one, and must not be moved across other calls.
func TestBatchSubmitsNeighboursTogether(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	w.post("[" + strings.Join([]string{sendCall(1, "0x0001"), sendCall(2, "0x0002"), sendCall(3, "bad"), sendCall(4, "0x0004"), goodCall, sendCall(5, "0x0005"), sendCall(6, "0x0006")}, ",") + "]")
	if got := fmt.Sprint(w.node.submitted()); got != "[[[0 1] [0 2]] [[0 4]] [[0 5] [0 6]]]" {
		t.Errorf("submitted %s", got)
	}
}

// TestSessionSendsInOrder: sends of one connection reach the backend in the order
// in which they were written, and those that arrive while others wait for the
// disk go together.
func TestSessionSendsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		defer w.stop()
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		ws := w.dialWS()
		defer ws.CloseNow()
		for i := range 10 {
			wsSend(t, ws, sendCall(i, fmt.Sprintf("0x00%02x", i)))
			if i == 0 {
				synctest.Wait() // the first is at the disk before the others come
			}
		}
		synctest.Wait()
		// A call that sends nothing does not queue behind them.
		wsSend(t, ws, goodCall)
		wantAnswer(t, wsRead(t, ws))
		close(disk)
		for i := range 10 {
			if got := wsRead(t, ws); !strings.HasPrefix(got, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"tx_hash"`, i)) {
				t.Errorf("answer %d: %s", i, got)
			}
		}
		if got := fmt.Sprint(w.node.submitted()); got != "[[[0 0]] [[0 1] [0 2] [0 3] [0 4] [0 5] [0 6] [0 7] [0 8] [0 9]]]" {
			t.Errorf("submitted %s", got)
		}
	})
}

func TestSessionRefusesBinary(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	ws := w.dialWS()
	defer ws.CloseNow()
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte(goodCall)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Errorf("got %v", err)
	}
}

// TestShutdownDrains: what is under way is answered, what comes later is told.
func TestShutdownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		disk := make(chan struct{})
		w.node.hook = func([][]byte) { <-disk }
		ws := w.dialWS()
		defer ws.CloseNow()
		wsSend(t, ws, sendCall(1, "0x00"))
		posted := make(chan string)
		go func() {
			_, answer := w.post(sendCall(2, "0x00"))
			posted <- answer
		}()
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			w.stop()
			close(stopped)
		}()
		synctest.Wait()
		if _, err := w.http.Post("http://localhost/", "application/json", strings.NewReader(goodCall)); err == nil {
			t.Error("a new connection was served during shutdown")
		}
		wsSend(t, ws, sendCall(3, "0x00"))
		wantCode(t, wsRead(t, ws), api.CodeStopping)
		close(disk)
		wantAnswer(t, <-posted)
		wantAnswer(t, wsRead(t, ws))
		if _, _, err := ws.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("the session ended with %v", err)
		}
		<-stopped
	})
}

// TestShutdownRunsOutOfTime: a call that never ends is cut off.
func TestShutdownRunsOutOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(o *Options) { o.Limits.CallTimeout = time.Hour })
		conn := rawWS(t, w)
		conn.Write(frame(waitCall))
		go io.Copy(io.Discard, conn)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		synctest.Wait()
		if n := w.metric("kaizen_rpc_connections", "ws"); n != 0 {
			t.Errorf("%v sessions left", n)
		}
		if err := <-w.served; err != nil {
			t.Error(err)
		}
		conn.Close()
	})
}

// TestBrokenInvariantIsFatal: net/http must not swallow what must end the
// process (README, invariant 5).
func TestBrokenInvariantIsFatal(t *testing.T) {
	var mu sync.Mutex
	var got []any
	w := start(t, func(o *Options) {
		o.Fatal = func(v any) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, v)
		}
	})
	defer w.stop()
	_, answer := w.post(sendCall(1, "0x05"))
	wantCode(t, answer, api.CodeInternal)
	if len(got) != 0 {
		t.Fatalf("an ordinary panic was fatal: %v", got)
	}
	w.post(sendCall(1, "0x06"))
	if want := (invariant.Violation{Message: "six"}); len(got) != 1 || got[0] != any(want) {
		t.Errorf("fatal with %v, want %v", got, want)
	}
}
