package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// collect reads count notices and compares them with what must come; it reports
// the first difference.
func collect[T any](t *testing.T, name string, notices iter.Seq2[client.Notice[T], error], want []expected) {
	t.Helper()
	i := 0
	if len(want) == 0 {
		return
	}
	for n, err := range notices {
		if err != nil {
			t.Errorf("%s: notice %d: %v", name, i, err)
			return
		}
		b, err := json.Marshal(n.Result)
		if err != nil {
			t.Fatal(err)
		}
		if !samePosition(n.Position, want[i].at) || string(b) != want[i].result {
			t.Errorf("%s: notice %d is %s %s, want %s %s", name, i, n.Position, b, want[i].at, want[i].result)
			return
		}
		if i++; i == len(want) {
			return
		}
	}
	t.Errorf("%s ended after %d of %d", name, i, len(want))
}

// TestClientSubscribes: every topic, typed, over both kinds of URL.
func TestClientSubscribes(t *testing.T) {
	for _, url := range []string{"http://localhost:8545", "ws://localhost:8545", "localhost:8545"} {
		n := newLive(t)
		n.grow(12, 0)
		w := startLive(t, n)
		c := w.client(url)
		ctx := t.Context()
		earliest := client.From{Earliest: true}
		user, solver := token(1), token(9)
		collect(t, "blocks", c.SubscribeBlocks(ctx, earliest), n.expect(t, kinds[0].topic, nil))
		collect(t, "some events", c.SubscribeEvents(ctx, client.Events{Types: []string{"transfer"}}, earliest), n.expect(t, kinds[2].topic, kinds[2].match))
		collect(t, "theses", c.SubscribeTheses(ctx, client.Theses{}, earliest), n.expect(t, kinds[4].topic, kinds[4].match))
		collect(t, "theses of a user", c.SubscribeTheses(ctx, client.Theses{User: &user, Solver: &solver}, earliest), n.expect(t, kinds[5].topic, kinds[5].match))
		collect(t, "theses of a pair", c.SubscribeTheses(ctx, client.Theses{Pair: "ETH/USDT"}, earliest), n.expect(t, kinds[6].topic, kinds[6].match))
		collect(t, "prices", c.SubscribePrices(ctx, "BTC/USDT", earliest), n.expect(t, kinds[7].topic, kinds[7].match))
		for notice, err := range c.SubscribeEvents(ctx, client.Events{Types: []string{"odd"}}, earliest) {
			if err != nil || notice.Result.Height != 0 || notice.Result.Get("height") != uint64(77) || notice.Result.Get("index") != "x" {
				t.Errorf("%+v %v", notice.Result, err)
			}
			break
		}
		c.Close()
		w.stop()
	}
}

// cutter makes connections that a test can cut.
type cutter struct {
	mu    sync.Mutex
	net   *memory // of the node that is reached; nil: nobody there
	conns []net.Conn
	dials int
}

func (k *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	k.mu.Lock()
	m := k.net
	k.dials++
	k.mu.Unlock()
	if m == nil {
		return nil, errors.New("connection refused")
	}
	c, err := m.dial(ctx, network, addr)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = append(k.conns, c)
	return c, err
}

func (k *cutter) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		if c != nil {
			c.Close()
		}
	}
	k.conns = nil
}

func (k *cutter) reach(m *memory) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.net = m
}

func (k *cutter) client(t *testing.T) *client.Client {
	c, err := client.New("ws://localhost", client.WithDialer(k.dial))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClientResumes: connections are cut at every notification, the node is away,
// is started again, is another one. Everything comes once.
func TestClientResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(6, 0)
		w := startLive(t, n)
		k := &cutter{net: w.net}
		c := k.client(t)
		node, i := n, 0
		twins := []*liveNode{n}
		all := func() []expected {
			return after(node.expect(t, api.TopicEvents, kinds[1].match), api.Position{Height: 6, Index: api.EndOfBlock})
		}
		up := true        // w serves
		var mu sync.Mutex // guards up, w, node and twins
		grow := func() {  // all nodes seal the same blocks
			mu.Lock()
			defer mu.Unlock()
			for _, n := range twins {
				n.grow(2, 0)
			}
		}
		go func() {
			for range 10 {
				time.Sleep(time.Second) // of the fake clock: the subscriber is waiting
				grow()
			}
		}()
		for notice, err := range c.SubscribeEvents(t.Context(), client.Events{}, client.From{}) {
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			want := all()[i]
			if b, _ := json.Marshal(notice.Result); !samePosition(notice.Position, want.at) || notice.Result.Type != "odd" && string(b) != want.result {
				t.Fatalf("notice %d is %s %s, want %s %s", i, notice.Position, b, want.at, want.result)
			}
			switch i++; {
			case i == 50:
				mu.Unlock()
				goto done
			case !up: // what had arrived before the node went
			case i%9 == 0: // started again, after a while
				k.reach(nil)
				k.cut()
				w.stop()
				up = false
				go func() {
					time.Sleep(7 * time.Second)
					mu.Lock()
					defer mu.Unlock()
					w, up = startLive(t, node), true
					k.reach(w.net)
				}()
			case i%7 == 0:
				node = node.twin()
				twins = append(twins, node)
				k.cut()
				w.stop()
				w = startLive(t, node)
				k.reach(w.net)
			default:
				k.cut()
			}
			mu.Unlock()
		}
	done:
		synctest.Wait()
		c.Close()
		time.Sleep(time.Minute) // the growing is over, and w is up
		mu.Lock()
		defer mu.Unlock()
		w.stop()
	})
}

// TestClientSubscribeErrors: what ends a subscription, and how soon.
func TestClientSubscribeErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(20, 0)
		n.prune(10)
		w := startLive(t, n)
		k := &cutter{}
		c := k.client(t)
		first := func(ctx context.Context, from client.From) (err error) {
			for _, err = range c.SubscribeBlocks(ctx, from) {
				break
			}
			return err
		}
		if err := first(t.Context(), client.From{}); !errors.Is(err, client.ErrUnreachable) || k.dials != 1 {
			t.Errorf("nobody there: %v after %d dials", err, k.dials)
		}
		k.reach(w.net)
		var e *client.Error
		if err := first(t.Context(), client.From{After: &api.Position{Height: 3}}); !errors.As(err, &e) || e.Code != api.CodePositionPruned || e.Position == nil || e.Position.Height != 9 {
			t.Errorf("pruned: %v", err)
		}
		if err := first(t.Context(), client.From{After: e.Position}); err != nil {
			t.Errorf("from the oldest: %v", err)
		}
		hash := chain.Hash{9}
		if err := first(t.Context(), client.From{After: &api.Position{Height: 15, Hash: &hash}}); !errors.As(err, &e) || e.Code != api.CodePositionNotOnChain {
			t.Errorf("another chain: %v", err)
		}
		for _, err := range c.SubscribePrices(t.Context(), "BTC", client.From{}) {
			if !errors.As(err, &e) || e.Field != "pair" {
				t.Errorf("bad pair: %v", err)
			}
		}
		// In the future, and then on another chain.
		go func() {
			time.Sleep(time.Second)
			n.grow(3, 0)
		}()
		var closed *client.ClosedError
		if err := first(t.Context(), client.From{After: &api.Position{Height: 22, Index: 1, Hash: &hash}}); !errors.As(err, &closed) || closed.Reason != api.ReasonNotOnChain || closed.Position.Height != 22 {
			t.Errorf("future: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := first(ctx, client.From{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		c.Close()
		w.stop()
	})
}

// TestClientOverRollbacks: removed blocks, one by one or all at once, reach the
// consumer, and what comes then is the new chain.
func TestClientOverRollbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(4, 0)
		w := startLive(t, n)
		c := w.client("ws://localhost")
		steps := []func(){
			func() { n.grow(2, 0) },
			func() { n.rollBack(5); n.grow(1, 1) },
			func() { n.grow(maxRecent, 1) },
			func() { n.rollBack(3); n.grow(2, 2) },
		}
		var heights []uint64 // as the consumer has them
		next := func() {
			if len(steps) > 0 {
				steps[0]()
				steps = steps[1:]
			}
		}
		wait := uint64(6)
		next()
		for notice, err := range c.SubscribeBlocks(t.Context(), client.From{After: &api.Position{Height: 2, Index: api.EndOfBlock}}) {
			if err != nil {
				t.Fatal(err)
			}
			if r := notice.Removed; r != nil {
				if notice.Result != nil {
					t.Fatal("a removed block has a result")
				}
				for len(heights) > 0 && heights[len(heights)-1] > notice.Position.Height {
					heights = heights[:len(heights)-1]
				}
				continue
			}
			if len(heights) > 0 && notice.Result.Height != heights[len(heights)-1]+1 {
				t.Fatalf("%d after %v", notice.Result.Height, heights)
			}
			if heights = append(heights, notice.Result.Height); notice.Result.Height != wait || notice.Result.Hash != n.Watch(0).Head.Hash {
				continue
			}
			synctest.Wait()
			if len(steps) == 0 {
				break
			}
			next()
			wait = n.Watch(0).Head.Number
		}
		if len(heights) != 3 || heights[2] != 5 {
			t.Errorf("the consumer has %v", heights)
		}
		c.Close()
		w.stop()
	})
}

// TestClientSlow: a consumer that takes minutes for each notice is cut off by the
// node, and loses nothing.
func TestClientSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		w := startLive(t, n, func(o *Options) { o.Limits.MaxSubscriptionLag = 3 })
		c := w.client("ws://localhost")
		go func() {
			for range 12 {
				time.Sleep(time.Minute)
				n.grow(1, 0)
			}
		}()
		i := uint64(1)
		for notice, err := range c.SubscribeBlocks(t.Context(), client.From{}) {
			if err != nil || notice.Result.Height != i {
				t.Fatalf("notice %d: %+v, %v", i, notice.Result, err)
			}
			if i++; i > 12 {
				break
			}
			time.Sleep(100 * time.Second)
		}
		c.Close()
		w.stop()
	})
}

// TestClientProgress: notices without a result are for those who ask.
func TestClientProgress(t *testing.T) {
	n := newLive(t)
	n.grow(3*progressBlocks, 0)
	w := startLive(t, n)
	defer w.stop()
	c := w.client("ws://localhost")
	defer c.Close()
	nobody := token(77)
	for notice, err := range c.SubscribeTheses(t.Context(), client.Theses{User: &nobody}, client.From{Earliest: true, Progress: true}) {
		if err != nil || notice.Result != nil || notice.Removed != nil || notice.Position.Height < progressBlocks {
			t.Errorf("%+v %v", notice, err)
		}
		break
	}
}

// TestClientLosesAnswer: the connection breaks between the subscription and its
// first notification. It had a position from the start.
func TestClientLosesAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(3, 0)
		w := startLive(t, n)
		k := &cutter{net: w.net}
		c := k.client(t)
		go func() {
			time.Sleep(time.Second)
			k.reach(nil)
			k.cut()
			n.grow(2, 0)
			time.Sleep(time.Minute)
			k.reach(w.net)
		}()
		collect(t, "blocks", c.SubscribeBlocks(t.Context(), client.From{}), n.expect(t, api.TopicBlocks, nil)[4:])
		i := uint64(4)
		for notice, err := range c.SubscribeBlocks(t.Context(), client.From{}) {
			if err != nil || notice.Result.Height != i {
				t.Fatalf("%+v %v, want block %d", notice.Result, err, i)
			}
			if i++; i > 5 {
				break
			}
		}
		c.Close()
		w.stop()
	})
}

// TestClientIsPatient: a node that pings is there, even if it has nothing to say.
func TestClientIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		w := startLive(t, n)
		k := &cutter{net: w.net}
		c := k.client(t)
		go func() {
			time.Sleep(10 * time.Minute)
			n.grow(1, 0)
		}()
		for _, err := range c.SubscribeBlocks(t.Context(), client.From{After: &api.Position{Index: api.EndOfBlock}}) {
			if err != nil || k.dials != 1 {
				t.Errorf("%d dials, %v", k.dials, err)
			}
			break
		}
		c.Close()
		w.stop()
	})
}

// TestClientNoticesSilence: a node that is gone without a word, and one that
// cuts every connection at once, are asked again, but not in a hurry.
func TestClientNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		w := startLive(t, n, func(o *Options) { o.Limits.PingInterval = time.Hour })
		k := &cutter{net: w.net}
		c := k.client(t)
		go func() {
			time.Sleep(150 * time.Second)
			n.grow(1, 0)
		}()
		collect(t, "blocks", c.SubscribeBlocks(t.Context(), client.From{}), func() []expected {
			twin := n.twin()
			twin.grow(1, 0)
			return twin.expect(t, api.TopicBlocks, nil)[1:]
		}())
		if k.dials < 3 || k.dials > 8 { // one for the header, one a minute
			t.Errorf("%d dials", k.dials)
		}
		k.dials = 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stopped := make(chan bool)
		go func() {
			defer close(stopped)
			time.Sleep(time.Second)
			for ctx.Err() == nil {
				k.cut()
				time.Sleep(time.Millisecond)
			}
		}()
		for _, err := range c.SubscribeBlocks(ctx, client.From{}) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		<-stopped
		if k.dials < 10 || k.dials > 40 {
			t.Errorf("%d dials in a minute", k.dials)
		}
		c.Close()
		w.stop()
	})
}
