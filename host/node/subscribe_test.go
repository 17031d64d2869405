package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

func rpcClient(t testing.TB, addr string) *client.Client {
	t.Helper()
	c, err := client.New("ws://" + addr)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// logged is every event of a node's log above a position, as a subscriber must
// get them.
func logged(t testing.TB, node rpc.Backend, after api.Position) (lines []string) {
	t.Helper()
	for h := uint64(0); h <= node.Watch(0).Head.Number; h++ {
		b, r, err := node.Block(h)
		must(t, err)
		index := uint64(0)
		add := func(tx int, events [][]byte) {
			for _, e := range events {
				index++
				if at := (api.Position{Height: h, Index: index}); after.Less(at) {
					_, fields := node.Schema().Event(e)
					lines = append(lines, fmt.Sprintf("%s %s %d %v", at, b.Header.Hash(), tx, fields[0].Value))
				}
			}
		}
		add(-1, r.Begin)
		for i := range r.Receipts {
			add(i, r.Receipts[i].Events)
		}
		add(-1, r.End)
	}
	return lines
}

func line(n client.Notice[api.EventNotice]) string {
	tx := -1
	if n.Result.Index != nil {
		tx = int(*n.Result.Index)
	}
	return fmt.Sprintf("%s %s %d %v", n.Position, n.Position.Hash, tx, n.Result.Fields[0].Value)
}

// Issue 5 item 2, K-19: a subscriber follows a write node that is killed in
// between, then a read node that is stopped and started again, then the write
// node again, while blocks keep coming. It gets what the log has, each once.
func TestSubscriptionOverRestarts(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	w, writer := startWriter(t, cfg, deps())
	cfg.RPC.Listen, cfg.Sync.Listen = w.Addrs()
	rcfg := readerConfig(t, g, cfg.Sync.Listen)
	r, reader := startReader(t, rcfg, deps())
	rcfg.RPC.Listen, _ = r.Addrs()

	last := api.Position{}
	var got []string
	take := func(addr string, count int) {
		t.Helper()
		for n, err := range rpcClient(t, addr).SubscribeEvents(within(t), client.Events{}, client.From{After: &last}) {
			must(t, err)
			got, last = append(got, line(n)), n.Position
			if count--; count == 0 {
				return
			}
		}
	}
	sends := 0
	feed := func(w *Writer) {
		for range 12 {
			sends++
			send(t, w, fmt.Sprintf("set k%d %d", sends%7, sends), fmt.Sprintf("set x %d", sends), fmt.Sprintf("fail f%d", sends))
		}
	}
	feed(w)
	take(cfg.RPC.Listen, 7)
	// One subscription over a restart of the node that it speaks to.
	done := make(chan error, 1)
	c := rpcClient(t, cfg.RPC.Listen)
	reached, restarted := make(chan bool), make(chan bool)
	go func() {
		count := 0
		for n, err := range c.SubscribeEvents(within(t), client.Events{}, client.From{After: &last}) {
			if err != nil {
				done <- err
				return
			}
			got, last = append(got, line(n)), n.Position
			if count++; count == 9 {
				reached <- true
				<-restarted
			}
			if n.Result.Fields[0].Value == "last" {
				done <- nil
				return
			}
		}
	}()
	<-reached
	writer.mustStop()
	w, writer = startWriter(t, cfg, deps())
	restarted <- true
	feed(w)
	h := send(t, w, "set last 1")
	must(t, <-done)
	must(t, r.WaitFor(within(t), h))
	feed(w)
	take(rcfg.RPC.Listen, 11)
	reader.mustStop()
	r, reader = startReader(t, rcfg, deps())
	take(rcfg.RPC.Listen, 11)
	feed(w)
	take(cfg.RPC.Listen, 13)
	h = send(t, w, "set end 1")
	must(t, r.WaitFor(within(t), h))
	want := logged(t, r, api.Position{})
	if len(got) < 50 || len(want) < len(got) {
		t.Fatalf("%d events, the log has %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("event %d is %s, the log has %s", i, got[i], want[i])
		}
	}
	reader.mustStop()
	writer.mustStop()
}

// D-8: the source takes back blocks. Subscribers of the read node are told which,
// newest first, before they get the new ones; those of a history too short to roll
// back in memory as well.
func TestSubscriptionOverReorg(t *testing.T) {
	g := testGenesis()
	long := sealedChain(t, g, 12)
	fork := forked(t, g, long[:5], 20)
	for _, history := range []int{1024, 3} {
		src := newSource(t, g, long[:4])
		src.set(long[:4], 2)
		cfg := readerConfig(t, g, src.addr)
		cfg.History.Blocks = history
		r, run := startReader(t, cfg, deps())
		must(t, r.WaitFor(within(t), 3))
		addr, _ := r.Addrs()
		var have []chain.Hash // by height
		removed := 0
		for n, err := range rpcClient(t, addr).SubscribeBlocks(within(t), client.From{Earliest: true}) {
			must(t, err)
			if n.Removed != nil {
				removed++
				if top := have[len(have)-1]; n.Removed.Hash != top || n.Removed.Height != uint64(len(have)-1) || len(n.Removed.Transactions) != len(long[n.Removed.Height].Txs) {
					t.Fatalf("removed %d %s, the newest is %d %s", n.Removed.Height, n.Removed.Hash, len(have)-1, top)
				}
				have = have[:len(have)-1]
				continue
			}
			if n.Result.Height != uint64(len(have)) {
				t.Fatalf("block %d after %d", n.Result.Height, len(have)-1)
			}
			have = append(have, n.Result.Hash)
			switch n.Result.Hash {
			case long[3].Header.Hash():
				src.set(long, 2) // these come while it listens
			case long[len(long)-1].Header.Hash():
				src.set(fork, 2)
			}
			if n.Result.Hash == fork[len(fork)-1].Header.Hash() {
				break
			}
		}
		if removed != len(long)-5 {
			t.Errorf("history %d: %d blocks removed, want %d", history, removed, len(long)-5)
		}
		for h, hash := range have {
			if hash != fork[h].Header.Hash() {
				t.Errorf("history %d: block %d is %s, want %s", history, h, hash, fork[h].Header.Hash())
			}
		}
		run.mustStop()
	}
}

// K-18, K-19: of a block whose root does not match nothing is published.
func TestSubscriptionHoldsAtABadBlock(t *testing.T) {
	g := testGenesis()
	good := sealedChain(t, g, 6)
	last := len(good) - 1
	bad := *good[last]
	bad.Header.StateRoot[3]++
	bad.Header.Sign(testKey)
	src := newSource(t, g, append(append([]*chain.Block{}, good[:last]...), &bad))
	r, run := startReader(t, readerConfig(t, g, src.addr), deps())
	addr, _ := r.Addrs()
	alarmed(t, r)
	ctx, cancel := context.WithCancel(within(t))
	height := uint64(0)
	for n, err := range rpcClient(t, addr).SubscribeBlocks(ctx, client.From{Earliest: true}) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			break
		}
		if n.Result.Height != height || n.Result.Hash != good[height].Header.Hash() || n.Result.Height == uint64(last) {
			t.Fatalf("block %d %s, want %d %s", n.Result.Height, n.Result.Hash, height, good[height].Header.Hash())
		}
		if height++; height == uint64(last) {
			// What could still come would come before the answer to another call.
			_, err := rpcClient(t, addr).Status(ctx)
			must(t, err)
			cancel()
		}
	}
	cancel()
	if height != uint64(last) {
		t.Errorf("%d blocks, want %d", height, last)
	}
	run.mustStop()
}

// The positions of `from` that a node cannot serve.
func TestSubscriptionRefusals(t *testing.T) {
	g := testGenesis()
	w, run := startWriter(t, testConfig(initDir(t, g), g), deps())
	must(t, w.WaitFor(within(t), send(t, w, "set a 1")))
	addr, _ := w.Addrs()
	c := rpcClient(t, addr)
	hash := chain.Hash{1}
	for _, c := range []struct {
		from client.From
		code api.Code
	}{{client.From{After: &api.Position{Height: 1, Hash: &hash}}, api.CodePositionNotOnChain}} {
		for _, err := range rpcClient(t, addr).SubscribeBlocks(within(t), c.from) {
			var e *client.Error
			if !errors.As(err, &e) || e.Code != c.code {
				t.Errorf("%+v: %v", c.from, err)
			}
		}
	}
	var doc struct{ Methods []json.RawMessage }
	must(t, c.Call(context.Background(), "rpc.discover", nil, &doc))
	if len(doc.Methods) < 15 {
		t.Errorf("%d methods", len(doc.Methods))
	}
	run.mustStop()
}
