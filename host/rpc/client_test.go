package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// TestClient runs every method of the client against the server, over both
// transports.
func TestClient(t *testing.T) {
	for _, url := range []string{"localhost:8545", "http://localhost:8545", "ws://localhost:8545", "ws://localhost:8545/ws"} {
		t.Run(url, func(t *testing.T) {
			w := start(t, nil)
			defer w.stop()
			c := w.client(url)
			defer c.Close()
			checkClient(t, w, c)
		})
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func checkClient(t *testing.T, w *world, c *client.Client) {
	ctx, node := t.Context(), w.node
	head := node.blocks[2].Header
	if v := must[api.Info](t)(c.Info(ctx)); v.Module.Name != "fake" || v.ModuleHash != head.ModuleHash {
		t.Errorf("info %+v", v)
	}
	if v := must[api.Status](t)(c.Status(ctx)); v.Height != 2 || v.BlockHash != head.Hash() || v.Peers == nil {
		t.Errorf("status %+v", v)
	}
	r := must[api.Receipt](t)(c.SendTransaction(ctx, []byte{0}))
	if r.Status != api.StatusOK || r.Error != nil || r.Height != 3 || len(r.Events) != 1 || r.Events[0].Get("amount") != "1152921504606846976" || r.Events[0].Get("at") != uint64(12345) || r.Events[0].Get("none") != nil {
		t.Errorf("receipt %+v", r)
	}
	list := must[[]api.Receipt](t)(c.SendTransactions(ctx, [][]byte{{0}, {1}, {2}}))
	if len(list) != 3 || list[0].Status != api.StatusOK || list[1].Status != api.StatusRefused || *list[1].Error != "InvalidSignature" || list[1].ErrorCode != 1001 || list[2].Status != api.StatusFailed || *list[2].Error != "InsufficientBalance" {
		t.Errorf("receipts %+v", list)
	}
	if v := must[api.Receipt](t)(c.Simulate(ctx, []byte{2}, api.ByTag(api.TagPending))); v.Status != api.StatusFailed || v.Block.Height != 3 || v.Block.Hash != nil {
		t.Errorf("simulated %+v", v)
	}
	b := must[api.Block](t)(c.Block(ctx, api.ByHash(head.Hash())))
	if b.Header.Height != 2 || len(b.Transactions) != 2 || string(b.Transactions[0].Raw) != "\x00\xAA" || b.Oracle.Prices["BTC/USDT"].Price != 104_250_000_000 || len(b.EndEvents) != 1 {
		t.Errorf("block %+v", b)
	}
	if v := must[api.Block](t)(c.BlockHashes(ctx, api.At(2))); len(v.Transactions) != 2 || v.Transactions[1].TxHash != b.Transactions[1].TxHash || v.Transactions[1].Raw != nil {
		t.Errorf("block %+v", v)
	}
	h := must[api.Header](t)(c.Header(ctx, api.Ref{}))
	if own := must[chain.Header](t)(h.Chain()); own != head || own.VerifySignature() != nil {
		t.Errorf("header %+v", h)
	}
	if v := must[api.Transaction](t)(c.Transaction(ctx, b.Transactions[0].TxHash)); string(v.Decoded) != `{"kind":"fake","len":2}` || v.Block.Height != 2 || *v.Block.Hash != head.Hash() {
		t.Errorf("transaction %+v", v)
	}
	if v := must[api.Receipt](t)(c.Receipt(ctx, r.TxHash)); v.Height != 3 || v.Block.Hash != nil {
		t.Errorf("receipt %+v", v)
	}
	if v := must[api.Account](t)(c.Account(ctx, token(1), api.At(1))); v.Balance != 1_000_000 || v.Locked != 1<<64-1 || v.APIWallets[0].Expiry != 7 || v.Block.Height != 1 {
		t.Errorf("account %+v", v)
	}
	if v := must[json.RawMessage](t)(c.Markets(ctx, api.Ref{})); !strings.Contains(string(v), `"block"`) {
		t.Errorf("markets %s", v)
	}
	if v := must[api.OraclePrices](t)(c.OraclePrices(ctx, api.Ref{})); v.Prices["BTC/USDT"].Timestamp != 1998 || v.Block.Height != 2 {
		t.Errorf("prices %+v", v)
	}
	if v := must[api.Proof](t)(c.ProveAccount(ctx, token(1), api.Ref{})); v.Value == nil || string(*v.Value) != "\x01\x02" || v.Header.Hash != head.Hash() {
		t.Errorf("proof %+v", v)
	}
	if v := must[api.Proof](t)(c.ProveKey(ctx, []byte("b"), api.Ref{})); v.Value != nil {
		t.Errorf("proof %+v", v)
	}
	if v := must[api.QueryAnswer](t)(c.Query(ctx, []byte("list"), api.Ref{})); string(v.Result) != "[1,2]" || v.Block.Height != 2 {
		t.Errorf("query %+v", v)
	}
	if v := must[api.Health](t)(c.Ready(ctx)); !v.Ready || len(v.Checks) != 1 {
		t.Errorf("health %+v", v)
	}
	node.checks = []api.Check{{Name: "disk", Detail: "full"}}
	if v := must[api.Health](t)(c.Ready(ctx)); v.Ready || v.Checks[0].Name != "disk" {
		t.Errorf("health %+v", v)
	}
	checkClientErrors(t, c)
}

func checkClientErrors(t *testing.T, c *client.Client) {
	ctx := t.Context()
	_, err := c.SendTransaction(ctx, []byte{1})
	var e *client.Error
	if !errors.As(err, &e) || e.Code != 1001 || e.Name != "InvalidSignature" || e.Detail != "v is 9" || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("got %#v", err)
	}
	if code, ok := e.Code.Module(); !ok || code != 1 {
		t.Errorf("module code %d %v", code, ok)
	}
	err = c.Call(ctx, "kaizen_getAccount", []any{"0x1"}, nil)
	if !errors.As(err, &e) || e.Code != api.CodeInvalidParams || e.Field != "address" || e.Want == "" || !strings.HasPrefix(err.Error(), "kaizen_getAccount: InvalidParams: address: want ") {
		t.Errorf("got %#v", err)
	}
	if err := c.Call(ctx, "kaizen_info", func() {}, nil); err == nil || errors.Is(err, client.ErrUnreachable) {
		t.Error("parameters that are no JSON were sent")
	}
	if err := c.Call(ctx, "kaizen_info", nil, &[]int{}); err == nil || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("a result of another shape: %v", err)
	}
}

func TestClientConcurrent(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	c := w.client("ws://localhost:8545")
	defer c.Close()
	errs := make(chan error)
	for i := range 32 {
		go func() {
			at := api.At(uint64(i % 3))
			h, err := c.Header(t.Context(), at)
			if err == nil && h.Height != uint64(i%3) {
				err = fmt.Errorf("asked for %s, got %d", at, h.Height)
			}
			errs <- err
		}()
	}
	for range 32 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := w.metric("kaizen_rpc_connections", "ws"); n != 1 {
		t.Errorf("%v connections for one client", n)
	}
}

// TestClientKeepsAnswers: a result belongs to its call, however long it is and
// whatever comes after it on the connection.
func TestClientKeepsAnswers(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	for _, url := range []string{"http://localhost", "ws://localhost"} {
		c := w.client(url)
		var got [4]json.RawMessage
		var then [len(got)]string
		for i := range got {
			txs := make([]api.Bytes, 1+400*(i/2)) // of 80 KB with 401
			for j := range txs {
				txs[j] = api.Bytes{0, byte(i), byte(j)}
			}
			if err := c.Call(t.Context(), "kaizen_sendTransactions", []any{txs}, &got[i]); err != nil {
				t.Fatal(err)
			}
			then[i] = string(got[i])
		}
		for i := range got {
			if string(got[i]) != then[i] || i > 0 && then[i] == then[i-1] {
				t.Errorf("%s: answer %d has become %.300s, was %.300s", url, i, got[i], then[i])
			}
		}
		c.Close()
	}
}

func TestClientUnreachable(t *testing.T) {
	refused := client.WithDialer(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") })
	for _, url := range []string{"http://localhost:1", "ws://localhost:1"} {
		c, err := client.New(url, refused)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), url) {
			t.Errorf("%s: %v", url, err)
		}
		if _, err := c.Ready(t.Context()); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%s: %v", url, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%s: a call that was given up: %v", url, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{"", "ftp://x", "http://", "http://a b"} {
		if _, err := client.New(url); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}

// TestClientTimesOut: a node that accepts and stays silent is unreachable.
func TestClientTimesOut(t *testing.T) {
	for _, url := range []string{"http://localhost", "ws://localhost"} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, func(o *Options) { o.Limits.CallTimeout = time.Hour })
			disk := make(chan struct{})
			w.node.hook = func([][]byte) { <-disk }
			c := w.client(url)
			began := time.Now()
			_, err := c.SendTransaction(t.Context(), []byte{0})
			if took := time.Since(began); !errors.Is(err, client.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || took != client.DefaultTimeout {
				t.Errorf("%s: %v after %s", url, err, took)
			}
			close(disk)
			c.Close()
			w.stop()
		})
	}
}

// TestClientReconnects: a connection that breaks costs the calls on it, and no
// later one.
func TestClientReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		var conns []net.Conn
		c, err := client.New("ws://localhost", client.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := w.net.dial(ctx, network, addr)
			conns = append(conns, conn)
			return conn, err
		}))
		if err != nil {
			t.Fatal(err)
		}
		must[api.Status](t)(c.Status(t.Context()))
		w.node.hook = func([][]byte) { conns[0].Close() }
		if _, err := c.SendTransaction(t.Context(), []byte{0}); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("the call on a broken connection: %v", err)
		}
		must[api.Status](t)(c.Status(t.Context()))
		if len(conns) != 2 {
			t.Errorf("%d connections", len(conns))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("after Close: %v", err)
		}
		w.stop()
	})
}

// TestClientWaitsForNobodysDial: a call whose time is over does not wait for
// another one that dials.
func TestClientWaitsForNobodysDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.New("ws://localhost", client.WithDialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		if err != nil {
			t.Fatal(err)
		}
		first := make(chan error)
		go func() { _, err := c.Status(t.Context()); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := c.Status(ctx); !errors.Is(err, client.ErrUnreachable) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if err := <-first; !errors.Is(err, client.ErrUnreachable) || time.Since(began) != client.DefaultTimeout {
			t.Errorf("the first: %v after %s", err, time.Since(began))
		}
		c.Close()
	})
}

// TestClientSaysAnyName: what is no method is for the node to say.
func TestClientSaysAnyName(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	c := w.client("http://localhost")
	defer c.Close()
	for _, name := range []string{"no_method", "\"\\", "\a\x7f", "\u00e9\U0001F600"} {
		var e *client.Error
		if err := c.Call(t.Context(), name, nil, nil); !errors.As(err, &e) || e.Code != api.CodeMethodNotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestClientMeetsSomethingElse: what answers is not a node.
func TestClientMeetsSomethingElse(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "nonsense\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n" + `{"jsonrpc":"2.0","id":777,"result":{}}`,
	} {
		c, err := client.New("http://localhost", client.WithDialer(func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				theirs.Read(make([]byte, 4096))
				theirs.Write([]byte(answer))
			}()
			return ours, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%q: %v", answer, err)
		}
		c.Close()
	}
}

// TestClientIgnoresStrangers: a WebSocket message that answers no call is
// dropped.
func TestClientIgnoresStrangers(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	ws := w.dialWS()
	defer ws.Close(websocket.StatusNormalClosure, "")
	c := w.client("ws://localhost")
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := c.Status(ctx); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	must[api.Status](t)(c.Status(t.Context()))
}
