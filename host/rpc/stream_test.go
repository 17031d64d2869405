package rpc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

const liveSchema = `{"name":"live","version":"1","errors":[{"code":7,"name":"InsufficientBalance"}],
"events":[
 {"tag":1,"type":"transfer","fields":[{"name":"from","kind":"address"},{"name":"amount","kind":"amount"}]},
 {"tag":2,"type":"odd","fields":[{"name":"height","kind":"number"},{"name":"index","kind":"string"}]},
 {"tag":10,"type":"thesis_created","fields":[{"name":"thesis_id","kind":"number"},{"name":"note","kind":"string"},{"name":"user","kind":"address"},{"name":"solver","kind":"address"},{"name":"base","kind":"address"},{"name":"quote","kind":"address"}]},
 {"tag":11,"type":"thesis_settled","fields":[{"name":"thesis_id","kind":"number"},{"name":"user","kind":"address"},{"name":"solver","kind":"address"}]}]}`

// liveNode is a node whose chain grows, rolls back and is pruned when a test says
// so.
type liveNode struct {
	*fakeNode
	mu        sync.Mutex
	chain     []*chain.Block
	outcome   []*chain.Results
	base      uint64
	rollbacks uint64
	kept      []uint64
	moved     chan struct{}
	broken    map[uint64]bool // blocks that cannot be read
	onCall    func()          // called after each answer was made
}

func newLive(t testing.TB) *liveNode {
	n := &liveNode{fakeNode: newFake(t), base: 1, moved: make(chan struct{}), broken: map[uint64]bool{}}
	n.fakeNode.schema = mustSchema(t, liveSchema)
	n.add(0)
	return n
}

// grow adds blocks; seed makes them differ from those of another chain.
func (n *liveNode) grow(count int, seed byte) {
	for range count {
		n.add(seed)
	}
}

func (n *liveNode) add(seed byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	height := uint64(len(n.chain))
	b, r := makeBlock(height, seed)
	if height > 0 {
		b.Header.Parent = n.chain[height-1].Header.Hash()
	}
	n.chain, n.outcome = append(n.chain, b), append(n.outcome, r)
	n.ring()
}

func (n *liveNode) ring() {
	close(n.moved)
	n.moved = make(chan struct{})
}

// rollBack takes back everything above kept.
func (n *liveNode) rollBack(kept uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rollbacks++
	n.kept = append(n.kept, kept)
	n.chain, n.outcome = slices.Clone(n.chain[:kept+1]), slices.Clone(n.outcome[:kept+1])
	n.ring()
}

func (n *liveNode) prune(base uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.base = base
}

// twin is another node with the same chain so far.
func (n *liveNode) twin() *liveNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &liveNode{fakeNode: n.fakeNode, base: 1, chain: slices.Clone(n.chain), outcome: slices.Clone(n.outcome), moved: make(chan struct{})}
}

// thesisMarkets alternate.
var thesisMarkets = [2][2]chain.Address{{token(1), token(0x100)}, {token(2), token(0x100)}}

// makeBlock is a function of its arguments, so that tests can tell what must come.
// Block heights cycle through: empty, one event, hooks only, many transactions.
func makeBlock(height uint64, seed byte) (*chain.Block, *chain.Results) {
	b, r := &chain.Block{}, &chain.Results{}
	transfer := func(who byte, amount uint64) []byte {
		e := append([]byte{1}, make([]byte, 19)...)
		return abi.AppendU64(append(e, who), amount)
	}
	tx := func(code abi.Code, events ...[]byte) {
		raw := binary.BigEndian.AppendUint64([]byte{seed, byte(len(b.Txs))}, height)
		b.Txs = append(b.Txs, raw)
		r.Receipts = append(r.Receipts, chain.Receipt{ID: sha256.Sum256(raw), Code: code, Events: events})
	}
	switch height % 4 {
	case 1:
		tx(0, transfer(byte(height), height))
	case 2:
		r.Begin, r.End = [][]byte{transfer(1, height), {99, 7}}, [][]byte{abi.AppendString(abi.AppendU64([]byte{2}, 77), "x")}
	case 3:
		tx(7)
		for i := range uint64(3) {
			id := 10*height + i
			user, solver, market := token(uint16(i)), token(9), thesisMarkets[id%2]
			e := abi.AppendString(abi.AppendU64([]byte{10}, id), strings.Repeat("n", int(i)))
			e = append(append(append(append(e, user[:]...), solver[:]...), market[0][:]...), market[1][:]...)
			s := abi.AppendU64([]byte{11}, id)
			tx(0, transfer(2, i), e, append(append(s, user[:]...), solver[:]...))
		}
		r.End = [][]byte{{}}
	}
	// The price of BTC moves in every second block, that of ETH in every fifth; it
	// is stale in every seventh.
	b.Oracle = chain.OracleSnapshot{Timestamp: height, Stale: height%7 == 6}
	if height > 0 {
		b.Oracle.Prices = []chain.Price{{Base: token(1), Quote: token(0x100), Price: 100 + height/2, Timestamp: height / 2}, {Base: token(2), Quote: token(0x100), Price: 200 + height/5, Timestamp: 1}}
	}
	b.Header = chain.Header{Version: chain.BlockVersion, ChainID: 1, Height: height, Time: 1000*height + uint64(seed), OracleHash: b.Oracle.Hash(), ReceiptsRoot: r.Root()}
	return b, r
}

// hook has f called after each answer from now on.
func (n *liveNode) hook(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.onCall = f
}

func (n *liveNode) called() {
	n.mu.Lock()
	f := n.onCall
	n.mu.Unlock()
	if f != nil {
		f()
	}
}

func (n *liveNode) Watch(seen uint64) Watch {
	defer n.called()
	n.mu.Lock()
	defer n.mu.Unlock()
	head := n.chain[len(n.chain)-1].Header.ID()
	w := Watch{Head: head, Base: n.base, Rollbacks: n.rollbacks, Kept: head.Number, Moved: n.moved}
	for i := seen; i < n.rollbacks; i++ {
		w.Kept = min(w.Kept, n.kept[i])
	}
	return w
}

func (n *liveNode) Header(height uint64) (chain.Header, error) {
	b, _, err := n.Block(height)
	if err != nil {
		return chain.Header{}, err
	}
	return b.Header, nil
}

func (n *liveNode) Block(height uint64) (*chain.Block, *chain.Results, error) {
	defer n.called()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.broken[height]:
		return nil, nil, fmt.Errorf("disk of block %d", height)
	case height >= uint64(len(n.chain)) || height < n.base && (height > 0 || n.base > 1):
		return nil, nil, fmt.Errorf("height %d: %w", height, ErrBlockNotFound)
	}
	return n.chain[height], n.outcome[height], nil
}

func (n *liveNode) Resolve(at api.Ref) (chain.BlockID, error) {
	if height, ok := at.Number(); ok {
		h, err := n.Header(height)
		return h.ID(), err
	}
	return n.Watch(0).Head, nil
}

func (n *liveNode) Oracle(at api.Ref) (chain.OracleSnapshot, chain.BlockID, error) {
	height, _ := at.Number()
	b, _, err := n.Block(height)
	if err != nil {
		return chain.OracleSnapshot{}, chain.BlockID{}, err
	}
	return b.Oracle, b.Header.ID(), nil
}

// Query answers which market a thesis is of.
func (n *liveNode) Query(_ context.Context, _ api.Ref, query []byte) ([]byte, chain.BlockID, error) {
	id := binary.BigEndian.Uint64(query)
	m := thesisMarkets[id%2]
	return fmt.Appendf(nil, `{"thesis_id":%d,"base":%q,"quote":%q}`, id, m[0], m[1]), chain.BlockID{}, nil
}

var _ Backend = (*liveNode)(nil)

// startLive serves a live node.
func startLive(t testing.TB, n *liveNode, change ...func(*Options)) *world {
	return start(t, func(o *Options) {
		o.Backend, o.Module.Thesis = n, func(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }
		for _, c := range change {
			c(o)
		}
	})
}

// expected is what a subscription must send, made without the code under test.
type expected struct {
	at     api.Position
	result string // as encoding/json makes it of the api's types
}

// expect lists it for the blocks of a node from one height on.
func (n *liveNode) expect(t testing.TB, topic string, match func(typ string, user, pair string) bool) (all []expected) {
	n.mu.Lock()
	defer n.mu.Unlock()
	add := func(b *chain.Block, index uint64, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		hash := b.Header.Hash()
		all = append(all, expected{api.Position{Height: b.Header.Height, Index: index, Hash: &hash}, string(text)})
	}
	names := map[chain.Address]string{token(1): "BTC", token(0x100): "USDT", token(2): "ETH"}
	for h, b := range n.chain {
		r := n.outcome[h]
		var events []api.EventNotice
		collect := func(id *chain.Hash, index *uint64, list [][]byte) {
			for _, e := range list {
				typ, fields := n.schema.Event(e)
				v := api.EventNotice{Height: uint64(h), Time: b.Header.Time, TxHash: id, Index: index, Event: api.Event{Type: typ}}
				for _, f := range fields {
					v.Fields = append(v.Fields, api.Field{Name: f.Name, Value: f.Value})
				}
				events = append(events, v)
			}
		}
		failed := 0
		collect(nil, nil, r.Begin)
		for i := range r.Receipts {
			index := uint64(i)
			collect(&r.Receipts[i].ID, &index, r.Receipts[i].Events)
			if r.Receipts[i].Code != 0 {
				failed++
			}
		}
		collect(nil, nil, r.End)
		switch topic {
		case api.TopicBlocks:
			add(b, api.EndOfBlock, api.BlockNotice{Height: uint64(h), Hash: b.Header.Hash(), Header: api.HeaderOf(&b.Header), Transactions: uint64(len(b.Txs)), Failed: uint64(failed), Events: uint64(len(events)), Size: uint64(b.Size())})
		case api.TopicPrices:
			for i, p := range b.Oracle.Prices {
				pair := names[p.Base] + "/" + names[p.Quote]
				old := n.chain[h-1].Oracle
				changed := len(old.Prices) == 0 || old.Prices[i] != p || old.Stale != b.Oracle.Stale
				if changed && match("", "", pair) {
					add(b, 0, api.PriceNotice{Pair: pair, Price: api.Price{Base: p.Base, Quote: p.Quote, Price: api.Amount(p.Price), Decimals: 6, Timestamp: p.Timestamp}, Stale: b.Oracle.Stale, Height: uint64(h), Time: b.Header.Time})
				}
			}
		default:
			for i, e := range events {
				user, _ := e.Get("user").(string)
				pair := ""
				if id, ok := e.Get("thesis_id").(uint64); ok {
					pair = names[thesisMarkets[id%2][0]] + "/USDT"
				}
				if (topic == api.TopicEvents || strings.HasPrefix(e.Type, "thesis_")) && match(e.Type, user, pair) {
					if e.Type == "odd" { // has fields that are called like ours
						add(b, uint64(i+1), json.RawMessage(fmt.Sprintf(`{"time":%d,"tx_hash":null,"type":"odd","height":77,"index":"x"}`, b.Header.Time)))
						continue
					}
					add(b, uint64(i+1), e)
				}
			}
		}
	}
	return all
}

// kinds are the subscriptions that the tests below go through.
var kinds = []struct {
	name, params string // of kaizen_subscribe, without from
	topic        string
	match        func(typ, user, pair string) bool
}{
	{"blocks", `"blocks",null`, api.TopicBlocks, nil},
	{"events", `"events",{}`, api.TopicEvents, func(string, string, string) bool { return true }},
	{"events of a type", `"events",{"type":"transfer"}`, api.TopicEvents, func(typ, _, _ string) bool { return typ == "transfer" }},
	{"events of types", `"events",{"type":["odd","unknown","thesis_settled"]}`, api.TopicEvents, func(typ, _, _ string) bool { return typ == "odd" || typ == "unknown" || typ == "thesis_settled" }},
	{"theses", `"theses",{}`, api.TopicTheses, func(string, string, string) bool { return true }},
	{"theses of a user", `"theses",{"user":"` + token(1).String() + `","solver":"` + token(9).String() + `"}`, api.TopicTheses, func(_, user, _ string) bool { return user == token(1).String() }},
	{"theses of a pair", `"theses",{"pair":"ETH/USDT"}`, api.TopicTheses, func(_, _, pair string) bool { return pair == "ETH/USDT" }},
	{"theses of another solver", `"theses",{"solver":"` + token(8).String() + `"}`, api.TopicTheses, func(string, string, string) bool { return false }},
	{"prices", `"prices",{"pair":"BTC/USDT"}`, api.TopicPrices, func(_, _, pair string) bool { return pair == "BTC/USDT" }},
	{"other prices", `"prices",{"pair":"eth/usdt"}`, api.TopicPrices, func(_, _, pair string) bool { return pair == "ETH/USDT" }},
}

// subscriber is a raw WebSocket client with one subscription.
type subscriber struct {
	t    testing.TB
	ws   *websocket.Conn
	name string
}

func (w *world) subscribe(params, from string) *subscriber {
	w.t.Helper()
	s := &subscriber{t: w.t, ws: w.dialWS()}
	s.subscribe(params, from)
	return s
}

func (s *subscriber) subscribe(params, from string) {
	s.t.Helper()
	answer := s.call("kaizen_subscribe", "["+params+","+from+"]")
	var v struct{ Result string }
	if err := json.Unmarshal([]byte(answer), &v); err != nil || v.Result == "" {
		s.t.Fatalf("kaizen_subscribe [%s,%s]: %s", params, from, answer)
	}
	s.name = v.Result
}

// call sends a call and returns the next message, which must be its answer.
func (s *subscriber) call(method, params string) string {
	s.t.Helper()
	wsSend(s.t, s.ws, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params))
	return wsRead(s.t, s.ws)
}

type incoming struct {
	ID     json.RawMessage
	Method string
	Params struct {
		api.Notification
		Reason string
	}
}

func (s *subscriber) read() (m incoming) {
	s.t.Helper()
	text := wsRead(s.t, s.ws)
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	if m.ID == nil && m.Params.Subscription != s.name {
		s.t.Fatalf("for subscription %q, want %q: %s", m.Params.Subscription, s.name, text)
	}
	return m
}

// want reads notifications and compares them with what must come.
func (s *subscriber) want(all []expected) {
	s.t.Helper()
	for i, e := range all {
		m := s.read()
		if m.Method == api.NotifyProgress {
			m = s.read()
		}
		if m.Method != api.NotifySubscription || !samePosition(m.Params.Position, e.at) || string(m.Params.Result) != e.result {
			s.t.Fatalf("notification %d of %d is %s at %s with %s %s\nwant %s with %s", i, len(all), m.Method, m.Params.Position, m.Params.Result, m.Params.Reason, e.at, e.result)
		}
	}
}

func samePosition(a, b api.Position) bool {
	return a.Height == b.Height && a.Index == b.Index && a.Hash != nil && b.Hash != nil && *a.Hash == *b.Hash
}

func (s *subscriber) wantRemoved(n *liveNode, old []*chain.Block, from, kept uint64) {
	s.t.Helper()
	for h := from; h > kept; h-- {
		m := s.read()
		var r api.Removed
		if err := json.Unmarshal(m.Params.Result, &r); err != nil || !r.Removed || r.Height != h || r.Hash != old[h].Header.Hash() || len(r.Transactions) != len(old[h].Txs) {
			s.t.Fatalf("%s %s at %s, want block %d removed", m.Method, m.Params.Result, m.Params.Position, h)
		}
		parent := old[h].Header.Parent
		if want := (api.Position{Height: h - 1, Index: api.EndOfBlock, Hash: &parent}); !samePosition(m.Params.Position, want) {
			s.t.Fatalf("block %d removed with position %s, want %s", h, m.Params.Position, want)
		}
	}
}

func (s *subscriber) wantClosed(reason string) api.Position {
	s.t.Helper()
	m := s.read()
	if m.Method != api.NotifyClosed || m.Params.Reason != reason {
		s.t.Fatalf("got %s %s %s, want closed %s", m.Method, m.Params.Reason, m.Params.Result, reason)
	}
	return m.Params.Position
}

// silent checks that nothing comes before the answer to another call.
func (s *subscriber) silent() {
	s.t.Helper()
	if answer := s.call("kaizen_nothing", "[]"); !strings.Contains(answer, `"id":1`) {
		s.t.Fatalf("unexpected %s", answer)
	}
}

func after(all []expected, at api.Position) []expected {
	i, _ := slices.BinarySearchFunc(all, at, func(e expected, at api.Position) int {
		return cmp.Or(cmp.Compare(e.at.Height, at.Height), cmp.Compare(e.at.Index, at.Index))
	})
	for i < len(all) && !at.Less(all[i].at) {
		i++
	}
	return all[i:]
}

func fromText(t testing.TB, at api.Position) string {
	b, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
