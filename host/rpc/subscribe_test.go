package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// TestResumeEverywhere subscribes at every position of a history, inside blocks
// too, on the same node, on one that was started again and on another one, and
// compares everything that comes with a list that was made without the server.
// Blocks keep coming all the while.
func TestResumeEverywhere(t *testing.T) {
	const history, more = 9, 4
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			n := newLive(t)
			n.grow(history, 0)
			var positions []api.Position
			for h := range uint64(history + 1) {
				positions = append(positions, api.Position{Height: h, Index: api.EndOfBlock})
				for i := range uint64(12) {
					positions = append(positions, api.Position{Height: h, Index: i})
				}
			}
			for i, at := range positions {
				if i%5 == 0 { // with the block's hash, as notifications carry it
					h, _ := n.Header(at.Height)
					hash := h.Hash()
					at.Hash = &hash
				}
				node := n.twin() // every position has the same chain before it
				w := startLive(t, node)
				s := w.subscribe(kind.params, fromText(t, at))
				upTo := after(node.expect(t, kind.topic, kind.match), at)
				half := len(upTo) / 2
				s.want(upTo[:half])
				node.grow(more/2, 0)
				w.restart(node, s, kind.params, at, upTo[:half])
				node.grow(more/2, 0)
				s.want(after(node.expect(t, kind.topic, kind.match), at)[half:])
				s.silent()
				s.ws.CloseNow()
				w.stop()
			}
		})
	}
}

// restart serves the chain with a new server; the subscriber goes on from the
// last position it was told.
func (w *world) restart(n *liveNode, s *subscriber, params string, from api.Position, got []expected) {
	w.t.Helper()
	s.ws.CloseNow()
	w.stop()
	again := startLive(w.t, n)
	*w = *again
	if len(got) > 0 {
		from = got[len(got)-1].at
	}
	*s = *w.subscribe(params, fromText(w.t, from))
}

func TestSubscribeFromTags(t *testing.T) {
	for _, kind := range kinds {
		n := newLive(t)
		n.grow(6, 0)
		w := startLive(t, n)
		s := w.subscribe(kind.params, `"earliest"`)
		all := n.expect(t, kind.topic, kind.match)
		s.want(all)
		live := w.subscribe(kind.params, `null`)
		n.grow(5, 0)
		later := after(n.expect(t, kind.topic, kind.match), api.Position{Height: 6, Index: api.EndOfBlock})
		s.want(later)
		live.want(later)
		s.silent()
		live.silent()
		s.ws.CloseNow()
		live.ws.CloseNow()
		w.stop()
	}
}

// TestSubscribeInTheFuture: a node that is behind the one that gave the position
// waits until it has been there.
func TestSubscribeInTheFuture(t *testing.T) {
	n := newLive(t)
	n.grow(2, 0)
	ahead := n.twin()
	ahead.grow(6, 0)
	w := startLive(t, n)
	defer w.stop()
	all := ahead.expect(t, api.TopicEvents, kinds[1].match)
	inside := api.Position{Height: 7, Index: 4, Hash: all[len(all)-1].at.Hash}
	s := w.subscribe(kinds[1].params, fromText(t, inside))
	hash := chain.Hash{1}
	wrong := w.subscribe(kinds[1].params, fromText(t, api.Position{Height: 5, Index: api.EndOfBlock, Hash: &hash}))
	n.grow(6, 0)
	s.want(after(all, inside))
	s.silent()
	wrong.wantClosed(api.ReasonNotOnChain)
	wrong.silent()
	s.ws.CloseNow()
	wrong.ws.CloseNow()
	// A rollback far below it is not its business.
	s = w.subscribe(kinds[1].params, `{"height":20}`)
	defer s.ws.CloseNow()
	s.silent()
	n.rollBack(5)
	for height := uint64(6); height <= 25; height++ {
		n.grow(1, 1)
		for at := uint64(0); at < min(height, 20); { // nothing may come before block 21
			w.server.hub.mu.Lock()
			at = w.server.hub.at
			w.server.hub.mu.Unlock()
		}
		if height <= 20 {
			s.silent()
		}
	}
	s.want(after(n.expect(t, api.TopicEvents, kinds[1].match), api.Position{Height: 20, Index: api.EndOfBlock}))
	s.silent()
}

func TestSubscribeForms(t *testing.T) {
	n := newLive(t)
	n.grow(5, 0)
	w := startLive(t, n)
	defer w.stop()
	all := n.expect(t, api.TopicEvents, kinds[2].match)
	at := api.Position{Height: 1, Index: 0}
	for _, params := range []string{
		`["events",{"type":"transfer"},{"height":1,"index":0}]`, `["events",{"type":["transfer"],"from":{"height":1,"index":0}}]`,
		`{"topic":"events","type":"transfer","from":{"index":0,"height":1,"hash":null}}`, `{"from":{"height":1,"index":0},"topic":"events","type":["transfer","transfer"]}`,
	} {
		s := &subscriber{t: t, ws: w.dialWS()}
		answer := s.call("kaizen_subscribe", params)
		wantAnswer(t, answer)
		s.name = strings.Split(answer, `"`)[9]
		s.want(after(all, at))
		s.ws.CloseNow()
	}
	s := &subscriber{t: t, ws: w.dialWS()}
	defer s.ws.CloseNow()
	for _, params := range []string{`["blocks",{"height":3}]`, `["blocks",null,{"height":3}]`, `["blocks",{},{"height":3}]`, `["blocks",{"from":{"height":3}}]`} {
		answer := s.call("kaizen_subscribe", params)
		s.name = strings.Split(answer, `"`)[9]
		s.want(after(n.expect(t, api.TopicBlocks, nil), api.Position{Height: 3, Index: api.EndOfBlock}))
		wantAnswer(t, s.call("kaizen_unsubscribe", `["`+s.name+`"]`))
	}
	wantCode(t, s.call("kaizen_unsubscribe", `["`+s.name+`"]`), api.CodeNoSubscription)
	for _, from := range []string{`{"height":1,"height":1}`, `{"height":1,"index":1,"index":1}`, `{"height":1,"index":4294967296}`, `{"height":9007199254740992}`, `{"height":1,"block":2}`, `{"index":1}`, `[1]`, `1`, `"pending"`} {
		wantCode(t, s.call("kaizen_subscribe", `{"topic":"blocks","from":`+from+`}`), api.CodeInvalidParams)
	}
	_, answer := w.post(`{"jsonrpc":"2.0","id":1,"method":"kaizen_subscribe","params":["blocks"]}`)
	wantCode(t, answer, api.CodeWebSocketOnly)
	_, answer = w.post(`{"jsonrpc":"2.0","id":1,"method":"kaizen_unsubscribe","params":["0x1"]}`)
	wantCode(t, answer, api.CodeWebSocketOnly)
}

// TestThesesWithoutMarkets: where neither the event nor the module says which
// market a thesis is of, nobody can ask by market; the rest works.
func TestThesesWithoutMarkets(t *testing.T) {
	n := newLive(t)
	n.grow(4, 0)
	w := startLive(t, n, func(o *Options) { o.Module.Thesis = nil })
	defer w.stop()
	s := &subscriber{t: t, ws: w.dialWS()}
	defer s.ws.CloseNow()
	wantCode(t, s.call("kaizen_subscribe", "["+kinds[6].params+"]"), api.CodeInvalidParams)
	s.subscribe(kinds[5].params, `"earliest"`)
	s.want(n.expect(t, kinds[5].topic, kinds[5].match))
}

// TestSubscribeInBatch: the answer comes before the first notification, whatever
// it travels in.
func TestSubscribeInBatch(t *testing.T) {
	n := newLive(t)
	n.grow(3, 0)
	w := startLive(t, n)
	defer w.stop()
	s := &subscriber{t: t, ws: w.dialWS()}
	defer s.ws.CloseNow()
	one := `{"jsonrpc":"2.0","id":1,"method":"kaizen_subscribe","params":["blocks",{"from":"earliest"}]}`
	wsSend(t, s.ws, "["+one+`,{"jsonrpc":"2.0","id":2,"method":"kaizen_status"},`+one+"]")
	if answer := wsRead(t, s.ws); !strings.HasPrefix(answer, `[{"jsonrpc":"2.0","id":1,"result":"0x1"},`) || !strings.HasSuffix(answer, `{"jsonrpc":"2.0","id":1,"result":"0x2"}]`) {
		t.Fatal(answer)
	}
	// Both take turns.
	for _, e := range n.expect(t, api.TopicBlocks, nil) {
		for _, s.name = range []string{"0x1", "0x2"} {
			s.want([]expected{e})
		}
	}
}

func TestPositionIsPruned(t *testing.T) {
	n := newLive(t)
	n.grow(9, 0)
	n.prune(5)
	w := startLive(t, n)
	defer w.stop()
	s := &subscriber{t: t, ws: w.dialWS()}
	defer func() { s.ws.CloseNow() }()
	for _, c := range []struct {
		params, from string
		oldest       string // "": it works
	}{
		{`"blocks",{}`, `{"height":0}`, `"position":{"height":4,"index":4294967295}`}, {`"blocks",{}`, `{"height":3}`, `"position":{"height":4,"index":4294967295}`},
		{`"blocks",{}`, `{"height":4,"index":0}`, `"position":{"height":4,"index":4294967295}`}, {`"blocks",{}`, `{"height":4}`, ""}, {`"events",{}`, `"earliest"`, ""},
		{kinds[8].params, `{"height":4}`, `"position":{"height":5,"index":4294967295}`}, {kinds[8].params, `{"height":5}`, ""}, {kinds[8].params, `"earliest"`, ""},
	} {
		answer := s.call("kaizen_subscribe", "["+c.params+","+c.from+"]")
		if c.oldest == "" {
			wantAnswer(t, answer)
			s.name = strings.Split(answer, `"`)[9]
			if m := s.read(); m.Method != api.NotifySubscription || m.Params.Position.Height < 5 {
				t.Errorf("%s from %s begins at %s", c.params, c.from, m.Params.Position)
			}
			s.ws.CloseNow()
			s.ws = w.dialWS()
			continue
		}
		if wantCode(t, answer, api.CodePositionPruned); !strings.Contains(answer, c.oldest) {
			t.Errorf("%s from %s: %s, want %s", c.params, c.from, answer, c.oldest)
		}
	}
	// The hash is compared where the block is gone but its child is kept.
	h := n.chain[4].Header.Hash()
	wantAnswer(t, s.call("kaizen_subscribe", `["prices",{"pair":"A/B"},{"height":9,"hash":"`+n.chain[9].Header.Hash().String()+`"}]`))
	wantAnswer(t, s.call("kaizen_subscribe", `["theses",{"user":"`+token(77).String()+`"},{"height":4,"hash":"`+h.String()+`"}]`))
	wantCode(t, s.call("kaizen_subscribe", `["blocks",{"from":{"height":4,"hash":"0x`+strings.Repeat("77", 32)+`"}}]`), api.CodePositionNotOnChain)
	wantCode(t, s.call("kaizen_subscribe", `["blocks",{"from":{"height":9,"hash":"0x`+strings.Repeat("77", 32)+`"}}]`), api.CodePositionNotOnChain)
}

// TestPrunedUnderASubscriber: the log loses blocks that a slow replay has not
// reached. The subscriber is told where it stands.
func TestPrunedUnderASubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(20, 0)
		w := startLive(t, n)
		s := w.subscribe(kinds[0].params, `{"height":2}`)
		synctest.Wait() // the next two are on the way
		s.want(n.expect(t, api.TopicBlocks, nil)[3:4])
		synctest.Wait()
		n.prune(15)
		w.server.hub.forget()
		rest := n.expect(t, api.TopicBlocks, nil)[4:]
		var at api.Position
		for _, e := range rest {
			m := s.read()
			if m.Method == api.NotifyClosed {
				if m.Params.Reason != api.ReasonPruned || at != m.Params.Position && at.Less(m.Params.Position) {
					t.Errorf("closed %s at %s after %s", m.Params.Reason, m.Params.Position, at)
				}
				break
			}
			if at = m.Params.Position; !samePosition(at, e.at) {
				t.Fatalf("got %s, want %s", at, e.at)
			}
		}
		if at.Height > 6 {
			t.Errorf("a pruned block was delivered: %s", at)
		}
		s.silent()
		s.ws.CloseNow()
		w.stop()
	})
}

// TestPrunedParentOfPrices: a price is compared with the one before, so its block
// alone is not enough.
func TestPrunedParentOfPrices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(20, 0)
		w := startLive(t, n)
		s := w.subscribe(kinds[8].params, `{"height":7}`)
		synctest.Wait() // the price of block 8 is on the way
		n.prune(9)
		w.server.hub.forget()
		s.want(after(n.expect(t, kinds[8].topic, kinds[8].match), api.Position{Height: 7, Index: api.EndOfBlock})[:1])
		if at := s.wantClosed(api.ReasonPruned); at.Height != 8 {
			t.Errorf("closed at %s", at)
		}
		s.ws.CloseNow()
		w.stop()
	})
}

// forget empties the cache, so that the log is read.
func (h *hub) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cache = feedCache{}
}

// TestUnreadableBlock: a subscriber that needs a block which cannot be read is
// told, and the others go on.
func TestUnreadableBlock(t *testing.T) {
	n := newLive(t)
	n.grow(3, 0)
	w := startLive(t, n)
	defer w.stop()
	n.mu.Lock()
	n.broken[2], n.broken[5] = true, true
	n.mu.Unlock()
	s := w.subscribe(kinds[0].params, `{"height":0}`)
	defer s.ws.CloseNow()
	s.want(n.expect(t, api.TopicBlocks, nil)[1:2])
	if at := s.wantClosed(api.ReasonInternal); at.Height != 1 || at.Index != api.EndOfBlock {
		t.Errorf("closed at %s", at)
	}
	live := w.subscribe(kinds[0].params, `null`)
	defer live.ws.CloseNow()
	n.grow(3, 0)
	live.want(n.expect(t, api.TopicBlocks, nil)[4:5])
	live.wantClosed(api.ReasonInternal)
	n.mu.Lock()
	clear(n.broken)
	n.mu.Unlock()
	live.subscribe(kinds[0].params, `{"height":4}`)
	live.want(n.expect(t, api.TopicBlocks, nil)[5:])
}

// TestSlowSubscriber: one that was up to date and stops reading is closed with a
// reason, holds nothing, and loses nothing when it comes back. One that is only
// far behind is not.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lag = 5
		n := newLive(t)
		n.grow(30, 0)
		w := startLive(t, n, func(o *Options) { o.Limits.MaxSubscriptionLag = lag })
		behind := w.subscribe(kinds[0].params, `{"height":0}`)
		s := w.subscribe(kinds[0].params, `null`)
		synctest.Wait()
		n.add(0)
		s.want(n.expect(t, api.TopicBlocks, nil)[31:])
		synctest.Wait()
		for range 2 * lag { // it does not read
			n.add(0)
			synctest.Wait()
		}
		all := n.expect(t, api.TopicBlocks, nil)
		s.want(all[32:33]) // was being written
		at := s.wantClosed(api.ReasonSlow)
		if !samePosition(at, all[32].at) {
			t.Errorf("closed at %s, want %s", at, all[32].at)
		}
		s.silent()
		s.subscribe(kinds[0].params, fromText(t, at))
		s.want(all[33:])
		behind.want(all[1:])
		if got := w.metric("kaizen_rpc_subscriptions_closed_total", api.ReasonSlow); got != 1 {
			t.Errorf("%v closed", got)
		}
		if got := w.metric("kaizen_rpc_subscriptions", "blocks"); got != 2 {
			t.Errorf("%v subscriptions", got)
		}
		s.ws.CloseNow()
		behind.ws.CloseNow()
		w.stop()
	})
}

func TestSubscriptionLimits(t *testing.T) {
	n := newLive(t)
	w := startLive(t, n, func(o *Options) { o.Limits.MaxSubscriptions, o.Limits.MaxTotalSubscriptions = 3, 5 })
	defer w.stop()
	a, b := &subscriber{t: t, ws: w.dialWS()}, &subscriber{t: t, ws: w.dialWS()}
	defer b.ws.CloseNow()
	for range 3 {
		a.subscribe(kinds[0].params, `null`)
	}
	answer := a.call("kaizen_subscribe", `["blocks"]`)
	if wantCode(t, answer, api.CodeTooManySubs); !strings.Contains(answer, "rpc.max_subscriptions is 3") {
		t.Error(answer)
	}
	b.subscribe(kinds[0].params, `null`)
	b.subscribe(kinds[1].params, `null`)
	answer = b.call("kaizen_subscribe", `["blocks"]`)
	if wantCode(t, answer, api.CodeTooManySubs); !strings.Contains(answer, "rpc.max_total_subscriptions is 5") {
		t.Error(answer)
	}
	// A name is the connection's own.
	wantCode(t, b.call("kaizen_unsubscribe", `["0x1"]`), api.CodeNoSubscription)
	wantAnswer(t, a.call("kaizen_unsubscribe", `["0x1"]`))
	a.subscribe(kinds[0].params, `null`)
	wantAnswer(t, a.call("kaizen_unsubscribe", `["`+a.name+`"]`))
	b.subscribe(kinds[0].params, `null`)
	a.ws.CloseNow()
	for w.metric("kaizen_rpc_subscriptions", "blocks") > 2 { // until the node has noticed
		b.silent()
	}
	b2 := &subscriber{t: t, ws: w.dialWS()}
	defer b2.ws.CloseNow()
	b2.subscribe(kinds[0].params, `null`)
	b2.subscribe(kinds[0].params, `null`)
	if n := w.metric("kaizen_rpc_limited_total", "subscriptions") + 10*w.metric("kaizen_rpc_limited_total", "total_subscriptions"); n != 11 {
		t.Errorf("limits counted as %v", n)
	}
}

// TestUnsubscribeDuringReplay: after its answer nothing comes.
func TestUnsubscribeDuringReplay(t *testing.T) {
	n := newLive(t)
	n.grow(300, 0)
	w := startLive(t, n)
	defer w.stop()
	s := w.subscribe(kinds[1].params, `"earliest"`)
	defer s.ws.CloseNow()
	all := n.expect(t, api.TopicEvents, kinds[1].match)
	s.want(all[:3])
	wsSend(t, s.ws, `{"jsonrpc":"2.0","id":7,"method":"kaizen_unsubscribe","params":["`+s.name+`"]}`)
	for i := 3; ; i++ {
		m := s.read()
		if m.ID != nil {
			break
		}
		if !samePosition(m.Params.Position, all[i].at) {
			t.Fatalf("notification %d at %s, want %s", i, m.Params.Position, all[i].at)
		}
	}
	n.grow(4, 0)
	s.silent()
	if got := w.metric("kaizen_rpc_subscriptions", "events"); got != 0 {
		t.Errorf("%v subscriptions", got)
	}
}

// TestRollback (D-8): each block that was taken back is told in reverse order,
// before what replaces it; whoever had not passed it hears nothing.
func TestRollback(t *testing.T) {
	for _, kind := range kinds {
		synctest.Test(t, func(t *testing.T) {
			n := newLive(t)
			n.grow(4, 0)
			w := startLive(t, n)
			s := w.subscribe(kind.params, `"earliest"`)
			synctest.Wait()
			n.grow(8, 0)
			s.want(n.expect(t, kind.topic, kind.match))
			synctest.Wait()
			old := n.twin().chain
			early := w.subscribe(kind.params, `{"height":3}`) // reads nothing before the rollback
			n.rollBack(7)
			s.wantRemoved(n, old, 12, 7)
			s.silent()
			n.grow(9, 1)
			kept := api.Position{Height: 7, Index: api.EndOfBlock}
			s.want(after(n.expect(t, kind.topic, kind.match), kept))
			synctest.Wait()
			// Back and forth before anybody looks.
			old = n.twin().chain
			n.rollBack(14)
			n.grow(1, 2)
			n.rollBack(13)
			n.grow(6, 3)
			s.wantRemoved(n, old, 16, 13)
			kept.Height = 13
			s.want(after(n.expect(t, kind.topic, kind.match), kept))
			s.silent()
			// Whatever the other was told, it holds the chain now.
			early.converge(n, kind.topic, kind.match, api.Position{Height: 3, Index: api.EndOfBlock})
			s.ws.CloseNow()
			early.ws.CloseNow()
			w.stop()
		})
	}
}

// converge reads everything that comes, takes back what is removed, and compares
// what is left with the chain.
func (s *subscriber) converge(n *liveNode, topic string, match func(string, string, string) bool, from api.Position) {
	s.t.Helper()
	want := after(n.expect(s.t, topic, match), from)
	wsSend(s.t, s.ws, barrier)
	var have []expected
	last := from
	for {
		m := s.read()
		if m.ID != nil {
			if len(have) == len(want) {
				break
			}
			wsSend(s.t, s.ws, barrier)
			continue
		}
		var r api.Removed
		if json.Unmarshal(m.Params.Result, &r) == nil && r.Removed {
			// It may be above the last notification: the block was passed in silence.
			for len(have) > 0 && m.Params.Position.Less(have[len(have)-1].at) {
				have = have[:len(have)-1]
			}
		} else if m.Method == api.NotifySubscription {
			if !last.Less(m.Params.Position) {
				s.t.Fatalf("%s after %s", m.Params.Position, last)
			}
			have = append(have, expected{m.Params.Position, string(m.Params.Result)})
		}
		last = m.Params.Position
	}
	for i := range want {
		if !samePosition(have[i].at, want[i].at) || have[i].result != want[i].result {
			s.t.Fatalf("notification %d is %s %s, want %s %s", i, have[i].at, have[i].result, want[i].at, want[i].result)
		}
	}
}

// TestDeepRollback: more than the hub can list. The subscription is closed with
// the position that is left.
func TestDeepRollback(t *testing.T) {
	n := newLive(t)
	n.grow(10, 0)
	w := startLive(t, n)
	defer w.stop()
	s := w.subscribe(kinds[0].params, `{"height":8}`) // 9 and 10 come from the log: the hub has not seen them sealed
	defer s.ws.CloseNow()
	s.want(n.expect(t, api.TopicBlocks, nil)[9:])
	n.rollBack(5)
	if at := s.wantClosed(api.ReasonRolledBack); at.Height != 5 || at.Index != api.EndOfBlock {
		t.Errorf("closed at %s", at)
	}
	s.subscribe(kinds[0].params, `{"height":5}`)
	n.grow(3, 1)
	s.want(n.expect(t, api.TopicBlocks, nil)[6:])
	n.grow(maxRecent+10, 1)
	s.want(n.expect(t, api.TopicBlocks, nil)[9:])
	n.rollBack(6)
	if at := s.wantClosed(api.ReasonRolledBack); at.Height != 6 {
		t.Errorf("closed at %s", at)
	}
}

// TestRollbackAnywhere: the chain changes right after each answer that the node
// gives, so also between the reads that belong together. Whatever the subscriber
// is told, it ends with the chain that is left.
func TestRollbackAnywhere(t *testing.T) {
	for at := range 90 {
		n := newLive(t)
		n.grow(11, 0)
		w := startLive(t, n)
		var mu sync.Mutex
		calls := 0
		n.hook(func() {
			mu.Lock()
			calls++
			now := calls == at+1
			mu.Unlock()
			if now {
				kept := uint64(at % 11)
				n.rollBack(kept)
				n.grow(14-int(kept), 1)
			}
		})
		s := &subscriber{t: t, ws: w.dialWS()}
		hash := n.chain[0].Header.Hash()
		from := api.Position{Height: 0, Index: api.EndOfBlock, Hash: &hash}
		s.subscribe(kinds[1].params, fromText(t, from))
		for {
			closed, last := s.readAll(n, from)
			if closed == "" {
				break
			}
			from = last
			s.subscribe(kinds[1].params, fromText(t, last))
		}
		s.ws.CloseNow()
		w.stop()
	}
}

// TestRollbackOfUnseenBlocks: blocks come and are taken back while the hub looks
// at them for the first time.
func TestRollbackOfUnseenBlocks(t *testing.T) {
	for at := range 24 {
		n := newLive(t)
		n.grow(11, 0)
		w := startLive(t, n)
		s := w.subscribe(kinds[0].params, `{"height":9}`)
		s.want(n.expect(t, api.TopicBlocks, nil)[10:])
		var calls atomic.Int64
		n.hook(func() {
			if calls.Add(1) == int64(at+1) {
				n.rollBack(11)
				n.grow(3, 1)
			}
		})
		n.grow(2, 2)
		have := map[uint64]chain.Hash{}
		for have[14] == (chain.Hash{}) {
			if calls.Load() <= int64(at) {
				w.server.hub.syncNow()
				continue
			}
			m := s.read()
			var r struct {
				Removed bool
				Height  uint64
				Hash    chain.Hash
			}
			if err := json.Unmarshal(m.Params.Result, &r); err != nil {
				t.Fatalf("call %d: %s %s: %v", at, m.Method, m.Params.Reason, err)
			}
			switch old, twice := have[r.Height]; {
			case r.Removed && old != r.Hash:
				t.Fatalf("call %d: block %d %s removed, was %s", at, r.Height, r.Hash, old)
			case r.Removed:
				delete(have, r.Height)
			case twice:
				t.Fatalf("call %d: block %d came twice", at, r.Height)
			default:
				have[r.Height] = r.Hash
			}
		}
		for h := uint64(12); h <= 14; h++ {
			if have[h] != n.chain[h].Header.Hash() {
				t.Errorf("call %d: block %d is %s, want %s", at, h, have[h], n.chain[h].Header.Hash())
			}
		}
		s.ws.CloseNow()
		w.stop()
	}
}

// syncNow asks the node as the tailer does.
func (h *hub) syncNow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sync()
}

// readAll reads until the subscription is closed or has told all of the chain
// that it was not told before.
func (s *subscriber) readAll(n *liveNode, from api.Position) (reason string, last api.Position) {
	s.t.Helper()
	last = from
	var have []expected
	for {
		want := after(n.expect(s.t, api.TopicEvents, kinds[1].match), from)
		if len(have) == len(want) && (len(have) == 0 || samePosition(have[len(have)-1].at, want[len(want)-1].at)) {
			return "", last
		}
		m := s.read()
		var r api.Removed
		switch {
		case m.Method == api.NotifyClosed:
			return m.Params.Reason, m.Params.Position
		case json.Unmarshal(m.Params.Result, &r) == nil && r.Removed:
			for len(have) > 0 && m.Params.Position.Less(have[len(have)-1].at) {
				have = have[:len(have)-1]
			}
		case !last.Less(m.Params.Position):
			s.t.Fatalf("%s after %s", m.Params.Position, last)
		default:
			have = append(have, expected{m.Params.Position, string(m.Params.Result)})
		}
		last = m.Params.Position
	}
}

// TestProgress: a subscription for which there is nothing is told how far it is,
// and may resume there; during a replay and live.
func TestProgress(t *testing.T) {
	for _, from := range []string{`null`, `{"height":1}`} {
		synctest.Test(t, func(t *testing.T) {
			n := newLive(t)
			n.grow(2, 0)
			w := startLive(t, n)
			s := w.subscribe(`"theses",{"user":"`+token(77).String()+`"}`, from)
			synctest.Wait() // it is live
			n.grow(5*progressBlocks, 0)
			last := api.Position{Height: 1}
			for range 3 {
				m := s.read()
				step := m.Params.Position.Height - last.Height
				if m.Method != api.NotifyProgress || step < progressBlocks || step > 2*progressBlocks || m.Params.Position.Index != api.EndOfBlock || *m.Params.Position.Hash != n.chain[m.Params.Position.Height].Header.Hash() {
					t.Fatalf("got %s at %s after %s", m.Method, m.Params.Position, last)
				}
				last = m.Params.Position
			}
			s.ws.CloseNow()
			w.stop()
		})
	}
}

// TestManySubscribers: all of them get everything, however they interleave.
func TestManySubscribers(t *testing.T) {
	n := newLive(t)
	n.grow(40, 0)
	w := startLive(t, n)
	defer w.stop()
	const blocks = 60
	errs := make(chan error)
	total := 0
	for i := range 24 {
		kind := kinds[i%len(kinds)]
		if len(n.expect(t, kind.topic, kind.match)) == 0 {
			continue
		}
		from := api.Position{Height: uint64(i), Index: api.EndOfBlock}
		s := w.subscribe(kind.params, fromText(t, from))
		total++
		go func() {
			defer s.ws.CloseNow()
			last, count := from, 0
			for {
				_, b, err := s.ws.Read(context.Background())
				var m incoming
				if err == nil {
					err = json.Unmarshal(b, &m)
				}
				if err == nil && !last.Less(m.Params.Position) {
					err = fmt.Errorf("%s: %s after %s", kind.name, m.Params.Position, last)
				}
				if err != nil {
					errs <- err
					return
				}
				if m.Method == api.NotifySubscription {
					count++
				}
				if last = m.Params.Position; last.Height >= 40+blocks-9 {
					want := after(n.expect(t, kind.topic, kind.match), from)
					if !samePosition(want[count-1].at, last) {
						errs <- fmt.Errorf("%s: notification %d is at %s, want %s", kind.name, count, last, want[count-1].at)
						return
					}
					errs <- nil
					return
				}
			}
		}()
	}
	n.grow(blocks, 0)
	for range total {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestShutdownEndsSubscriptions: no goroutine stays, the client is told.
func TestShutdownEndsSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLive(t)
		n.grow(50, 0)
		w := startLive(t, n)
		s := w.subscribe(kinds[0].params, `null`)
		go func() {
			for {
				if _, _, err := s.ws.Read(context.Background()); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		w.stop()
		n.add(0) // nobody listens
		s.ws.CloseNow()
		if got := w.metric("kaizen_rpc_subscriptions", "blocks"); got != 0 {
			t.Errorf("%v subscriptions", got)
		}
	})
}

// FuzzSubscribe: whatever the parameters are, they are refused with a field or
// mean one subscription, which can be written again and means the same.
func FuzzSubscribe(f *testing.F) {
	for _, kind := range kinds {
		f.Add("[" + kind.params + `,{"height":7,"index":3}]`)
	}
	for _, seed := range []string{`{}`, `[]`, `["blocks",{"from":"earliest"}]`, `["blocks",{"height":1,"height":2}]`, `{"topic":"events","type":["odd"],"from":{"height":1,"hash":"0x12"}}`, `["prices",{"pair":"/"}]`, `["theses",{"user":7}]`,
		`["blocks",{"height":9007199254740992}]`, `["events",{"type":{}}]`, `[null]`, `["blocks",7]`, `["blocks",[],[]]`} {
		f.Add(seed)
	}
	s, err := New(Options{Backend: newLive(f), Module: fakeModule(), Limits: DefaultLimits()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, params string) {
		v, e := s.parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"kaizen_subscribe","params":` + params + `}`))
		if e != nil || len(v.requests) != 1 || v.batch || v.requests[0].err != nil || v.requests[0].name != "kaizen_subscribe" {
			return
		}
		p := v.requests[0].params
		q, from := s.filter(&p), p.origin("from")
		if p.err != nil {
			if p.err.Code != api.CodeInvalidParams || p.err.Data.Field == "" || p.err.Data.Want == "" {
				t.Fatalf("%s: %v", params, p.err)
			}
			return
		}
		again := map[string]any{"topic": topicNames[q.topic]}
		if q.types != nil {
			again["type"] = q.types
		}
		if q.user != nil {
			again["user"] = q.user
		}
		if q.solver != nil {
			again["solver"] = q.solver
		}
		if q.pair != "" {
			again["pair"] = q.pair
		}
		switch {
		case from.earliest:
			again["from"] = "earliest"
		case from.after != nil:
			again["from"] = from.after
		}
		b, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		p2, e := subscribeSignature.bind(b)
		if e != nil {
			t.Fatalf("%s as %s: %v", params, b, e)
		}
		q2, from2 := s.filter(&p2), p2.origin("from")
		if p2.err != nil || fmt.Sprint(q2.types, q2.pair, q2.topic) != fmt.Sprint(q.types, q.pair, q.topic) || from2.earliest != from.earliest || (from2.after == nil) != (from.after == nil) || from.after != nil && from.after.String() != from2.after.String() {
			t.Fatalf("%s as %s: %+v %+v, want %+v %+v (%v)", params, b, q2, from2, q, from, p2.err)
		}
	})
}
