package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/hosttest/browser"
	"github.com/kaizenchain/kaizen/host/web"
)

// evil is text that would do something if it were markup.
const evil = `<img src=x onerror=document.title=1>`

// badNode serves the page and plays a node that seals three blocks and no more,
// and says everything in evil words.
type badNode struct {
	t     *testing.T
	alarm atomic.Bool
	drop  chan struct{} // each one ends a connection
	froms chan string   // where subscriptions of blocks begin
	pages map[string]http.Handler
}

func (n *badNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch h := n.pages[r.URL.Path]; {
	case h != nil:
		h.ServeHTTP(w, r)
	case r.URL.Path == "/ws":
		n.serve(w, r)
	case r.URL.Path == "/readyz":
		fmt.Fprintf(w, `{"ready": false, "checks": [{"name": %[1]q, "ok": false, "detail": %[1]q}]}`, evil)
	case r.URL.Path == "/metrics":
		fmt.Fprintln(w, evil)
	default:
		http.NotFound(w, r)
	}
}

func (n *badNode) serve(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		n.t.Errorf("accept: %v", err)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-n.drop:
			c.CloseNow()
		case <-ctx.Done():
		}
	}()
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			return // the page is gone, or the connection was dropped
		}
		for _, m := range n.answer(b) {
			if err := c.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
				return
			}
		}
	}
}

const zeros = `"0x0000000000000000000000000000000000000000000000000000000000000000"`

// answer is what a call is answered with, and what follows it.
func (n *badNode) answer(b []byte) []string {
	var call struct {
		ID     int
		Method string
		Params []json.RawMessage
	}
	if err := json.Unmarshal(b, &call); err != nil {
		n.t.Errorf("the page sent %s", b)
		return nil
	}
	header := func(height int) string {
		return fmt.Sprintf(`{"height": %d, "hash": %s, "state_root": %s, "time": %d}`, height, zeros, zeros, 1_700_000_000_000+100*height)
	}
	result := func(text string) []string {
		return []string{fmt.Sprintf(`{"jsonrpc": "2.0", "id": %d, "result": %s}`, call.ID, text)}
	}
	switch call.Method {
	case "kaizen_info":
		return result(fmt.Sprintf(`{"role": %[1]q, "chain_id": 1, "genesis_hash": %[1]q, "module_hash": %[1]q, "module": {"name": %[1]q, "version": %[1]q}, "sequencer": %[1]q,
			"interval_ms": 100, "max_txs_per_block": 1, "max_stale_ms": 1, "versions": {"kaizen": %[1]q, "go": %[1]q, "api": 1, "abi": 1, "block": 1, "sync": 1}}`, evil))
	case "kaizen_status":
		alarm := ""
		if n.alarm.Load() {
			alarm = evil
		}
		tip := `{"height": 3}`
		return result(fmt.Sprintf(`{"role": %[1]q, "height": 3, "state_root": %[1]q, "lag": 0, "lag_ms": 1, "tips": {"proposed": %[2]s, "finalized": {"block": %[2]s}}, "oracle": {"timestamp": 1, "age_ms": 1, "stale": false},
			"peers": [{"address": %[1]q, "direction": %[1]q, "height": 1, "connected": true}], "uptime_ms": 1, "alarm": %[3]q}`, evil, tip, alarm))
	case "kaizen_getHeader":
		return result(header(3))
	case "kaizen_getBlock":
		return result(fmt.Sprintf(`{"header": %s, "size": 1, "oracle": {"prices": {%[2]q: {"price": "1", "timestamp": 1}}}, "begin_events": [{"type": %[2]q, "amount": %[2]q, %[2]q: 1}], "end_events": [],
			"transactions": [{"tx_hash": %[2]q, "index": 0, "status": "failed", "error": %[2]q, "error_detail": %[2]q, "events": [], "decoded": {"kind": %[2]q, "from": %[2]q}}]}`, header(2), evil))
	case "kaizen_subscribe":
		out := result(`"0x1"`)
		var from struct{ Height int }
		if err := json.Unmarshal(call.Params[2], &from); err != nil {
			n.t.Errorf("the page subscribes from %s", call.Params[2])
		}
		for height := from.Height + 1; height <= 3; height++ {
			out = append(out, fmt.Sprintf(`{"jsonrpc": "2.0", "method": "kaizen_subscription", "params": {"subscription": "0x1", "position": {"height": %d, "index": 4294967295, "hash": %s},
				"result": {"height": %[1]d, "hash": %[2]s, "header": %[3]s, "transactions": 1, "failed": 0, "events": 0, "size": 1}}}`, height, zeros, header(height)))
		}
		n.froms <- string(call.Params[2])
		return out
	}
	return []string{fmt.Sprintf(`{"jsonrpc": "2.0", "id": %d, "error": {"code": -32601, "message": "MethodNotFound", "data": {"name": "MethodNotFound"}}}`, call.ID)}
}

// badNodes: the page says when blocks stop coming and when a node holds, resumes
// where it was, and shows evil words as words.
func badNodes(t *testing.T, b *browser.Browser) {
	n := &badNode{t: t, drop: make(chan struct{}), froms: make(chan string, 10), pages: web.Handlers()}
	s := httptest.NewServer(n)
	defer s.Close()
	p := b.Open(t, 1200, 800)
	p.Goto(s.URL)
	p.Until(`document.querySelectorAll(".blocks li").length === 3`)
	if from := <-n.froms; from != `{"height":0}` {
		t.Errorf("the first subscription begins at %s", from)
	}
	p.Until(`document.querySelector("#state b").textContent === "Stale" && document.querySelector("#banner").textContent.startsWith("No new block for")`)
	n.alarm.Store(true)
	p.Until(`document.querySelector("#state b").textContent === "Holding" && document.querySelector("#banner").textContent.includes("<img")`)
	for _, route := range []string{"#/nodes", "#/block/2", "#/blocks", "#/"} {
		p.Eval(fmt.Sprintf(`location.hash = %q`, route), nil)
		p.Until(fmt.Sprintf(`document.querySelector("main").dataset.route === %q && !document.querySelector("main.loading") && !document.querySelector(".trouble")`, route))
		p.Until(`document.body.textContent.includes("<img src=x")`)
		var made int
		p.Eval(`document.querySelectorAll("main img").length`, &made)
		if made > 0 {
			t.Errorf("%s makes markup of what the node says", route)
		}
	}
	n.drop <- struct{}{}
	if from := <-n.froms; from != `{"height":3,"index":4294967295,"hash":`+zeros+`}` {
		t.Errorf("after a lost connection it resumes at %s", from)
	}
	for _, c := range p.Complaints() {
		t.Errorf("the browser complains: %s", c)
	}
}
