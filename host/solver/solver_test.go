package solver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/quote"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

const (
	t0    = 1_700_000_000_000 // the chain's time at the start, ms
	price = 104_250_000_000
)

var (
	btc, usdt = chain.Address{19: 1}, chain.Address{18: 1}
	solverKey = key(1)
	userKey   = key(2)
	walletKey = key(3) // an API wallet of the user
	stranger  = key(4)
)

func key(b byte) *secp.Key {
	k, err := secp.NewKey(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		panic(err)
	}
	return k
}

// fakeNode is a chain whose clock the test holds; its time is the machine's plus
// a skew, so that nothing works that takes one for the other.
type fakeNode struct {
	mu       sync.Mutex
	now      uint64
	stale    bool
	paused   bool
	module   string
	down     error
	prices   []recorded
	accounts map[chain.Address]api.Account
	height   uint64
	sent     []*tx.Transaction
	answer   func(n int, t *tx.Transaction) (api.Receipt, error) // of the n-th sending
	executed map[chain.Hash]api.Receipt
	asked    int // calls of kaizen_getOracleHistory
}

type recorded struct {
	Timestamp uint64     `json:"timestamp"`
	Price     api.Amount `json:"price"`
}

// newNode has two minutes of a price that swings by 30 millionths.
func newNode() *fakeNode {
	n := &fakeNode{now: t0, module: "rfq", height: 100, executed: map[chain.Hash]api.Receipt{}, accounts: map[chain.Address]api.Account{
		solverKey.Address(): {Balance: 1_000_000 * quote.PPM},
		userKey.Address():   {Balance: 1000 * quote.PPM, APIWallets: []api.APIWallet{{Address: walletKey.Address()}, {Address: stranger.Address(), Expired: true}}},
	}}
	for i := range uint64(1200) {
		n.record(t0-120_000+100*i, price+i%2*3_000_000)
	}
	n.answer = func(_ int, t *tx.Transaction) (api.Receipt, error) { return n.opened(t), nil }
	return n
}

func (n *fakeNode) record(at, price uint64) {
	n.prices = append(n.prices, recorded{at, api.Amount(price)})
}

// advance lets ms pass, with the price standing still.
func (n *fakeNode) advance(ms uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range ms / 100 {
		n.now += 100
		n.record(n.now, price)
	}
	n.now += ms % 100
}

func (n *fakeNode) opened(t *tx.Transaction) api.Receipt {
	n.height++
	hash, _ := Digests(&t.RfqSubmit.Quote)
	return api.Receipt{TxHash: idOf(t), Height: n.height, Status: api.StatusOK, Events: []api.Event{{Type: "thesis_created",
		Fields: []api.Field{{Name: "thesis_id", Value: uint64(len(n.sent))}, {Name: "quote_hash", Value: hash.String()}}}}}
}

func idOf(t *tx.Transaction) chain.Hash {
	var h tx.Hasher
	return h.Digest(secp.Keccak{}, t)
}

func (n *fakeNode) lock() (func(), error) {
	n.mu.Lock()
	return n.mu.Unlock, n.down
}

func (n *fakeNode) Info(context.Context) (api.Info, error) {
	unlock, err := n.lock()
	defer unlock()
	return api.Info{ChainID: 1, Module: api.ModuleInfo{Name: n.module}}, err
}

func (n *fakeNode) Status(context.Context) (api.Status, error) {
	unlock, err := n.lock()
	defer unlock()
	return api.Status{HeadTime: n.now - 50, LagMs: 50, Oracle: api.OracleStatus{Stale: n.stale}}, err
}

func (n *fakeNode) Account(_ context.Context, a chain.Address, _ api.Ref) (api.Account, error) {
	unlock, err := n.lock()
	defer unlock()
	v := n.accounts[a]
	v.Block.Height = n.height
	return v, err
}

func (n *fakeNode) Markets(context.Context, api.Ref) (json.RawMessage, error) {
	unlock, err := n.lock()
	defer unlock()
	return fmt.Appendf(nil, `{"markets":[{"name":"BTC/USDT","base":"%s","quote":"%s","paused":%v,"min_bet":"30000","max_bet":"100000000000"},
		{"name":"ETH/USDT","base":"0x0000000000000000000000000000000000000002","quote":"%[2]s","paused":false,"min_bet":"10000","max_bet":"100000000000"}]}`, btc, usdt, n.paused), err
}

func (n *fakeNode) Receipt(_ context.Context, id chain.Hash) (api.Receipt, error) {
	unlock, err := n.lock()
	defer unlock()
	r, ok := n.executed[id]
	if err == nil && !ok {
		err = &client.Error{Code: api.CodeTransactionNotFound, Name: "TransactionNotFound"}
	}
	return r, err
}

func (n *fakeNode) SendTransaction(_ context.Context, raw []byte) (api.Receipt, error) {
	unlock, err := n.lock()
	defer unlock()
	if err != nil {
		return api.Receipt{}, err
	}
	t := new(tx.Transaction)
	if !tx.Decode(raw, t) {
		return api.Receipt{}, &client.Error{Code: 1001, Name: "MalformedTransaction"}
	}
	n.sent = append(n.sent, t)
	return n.answer(len(n.sent), t)
}

// Call is kaizen_getOracleHistory, 500 prices to a page.
func (n *fakeNode) Call(_ context.Context, method string, params, result any) error {
	unlock, err := n.lock()
	defer unlock()
	list := params.([]any)
	if err != nil || method != "kaizen_getOracleHistory" || list[0] == "ETH/USDT" {
		return err
	}
	n.asked++
	page := map[string]any{"next": nil}
	var prices []recorded
	for _, p := range n.prices {
		if p.Timestamp < list[1].(uint64) || p.Timestamp > list[2].(uint64) {
			continue
		}
		if len(prices) == 500 {
			page["next"] = p.Timestamp
			break
		}
		prices = append(prices, p)
	}
	page["prices"] = prices
	b, _ := json.Marshal(page)
	return json.Unmarshal(b, result)
}

// skew is the machine's clock less the chain's.
const skew = -77 * time.Second

// start makes a solver of a node, with a clock that follows the chain's.
func start(t *testing.T, n *fakeNode, change func(*Options)) *Server {
	t.Helper()
	o := Options{Key: solverKey, Quote: quote.Default(), WindowMs: 120_000, Rate: 1000, Log: slog.New(slog.DiscardHandler),
		Clock: func() time.Time {
			n.mu.Lock()
			defer n.mu.Unlock()
			return time.UnixMilli(int64(n.now)).Add(skew)
		}}
	if change != nil {
		change(&o)
	}
	s, err := New(t.Context(), n, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

func ask() *QuoteRequest {
	return &QuoteRequest{User: userKey.Address(), Pair: "BTC/USDT", Lower: price - price/2000, Upper: price + price/2000, BetAmount: 10_000_000, Duration: 20_000}
}

// post sends a body and reads the answer.
func post(t *testing.T, s *Server, path string, body any, to any) *Error {
	t.Helper()
	b, ok := body.(string)
	if !ok {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		b = string(raw)
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(b))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	var c Client
	err := c.read(w.Code, w.Body.Bytes(), to)
	var no *Error
	if err != nil && !errors.As(err, &no) {
		t.Fatalf("answer %d %s: %v", w.Code, w.Body, err)
	}
	return no
}

func quoted(t *testing.T, s *Server, r *QuoteRequest) *Terms {
	t.Helper()
	var v Terms
	if no := post(t, s, "/quote", r, &v); no != nil {
		t.Fatal(no)
	}
	return &v
}

func signed(t *testing.T, v *Terms, by *secp.Key) *AcceptRequest {
	t.Helper()
	digest := [32]byte(v.Digest)
	sig, err := by.Sign(&digest)
	if err != nil {
		t.Fatal(err)
	}
	return &AcceptRequest{Quote: v.Quote, UserSignature: sig[:]}
}

func expect(t *testing.T, no *Error, name string, status int) {
	t.Helper()
	if no == nil || no.Name != name || no.Status != status {
		t.Errorf("answer is %+v, want %s with %d", no, name, status)
	}
}

func TestTrade(t *testing.T) {
	n := newNode()
	s := start(t, n, nil)
	v := quoted(t, s, ask())
	q := v.Quote.Chain()
	if hash, digest := Digests(&q); hash != v.QuoteHash || digest != v.Digest {
		t.Error("the terms name another quote")
	}
	if v.Quote.Deadline != v.Time+5000 || v.Quote.Start != v.Quote.Deadline || v.Time < t0 || v.Time > t0+1000 {
		t.Errorf("times are of another clock: %+v", v)
	}
	if v.RatioPPM != uint64(v.Quote.Payout)/10 || v.Price != price+3_000_000 || v.ProbabilityPPM == 0 {
		t.Errorf("terms are %+v", v)
	}
	var a Accepted
	if no := post(t, s, "/accept", signed(t, v, userKey), &a); no != nil {
		t.Fatal(no)
	}
	sent := n.sent[0]
	if a.ThesisID != 1 || a.Receipt.TxHash != idOf(sent) || sent.RfqSubmit.Quote != q || sent.From != tx.Address(solverKey.Address()) {
		t.Errorf("accepted %+v, sent %+v", a, sent)
	}
	id := [32]byte(idOf(sent))
	if by, ok := secp.Recover(&id, &sent.Signature); !ok || by != solverKey.Address() {
		t.Errorf("signed by %s", by)
	}
	// Once.
	expect(t, post(t, s, "/accept", signed(t, v, userKey), &a), quote.QuoteAlreadyUsed, 409)
	if len(n.sent) != 1 {
		t.Errorf("%d transactions were sent", len(n.sent))
	}
	// The next one differs, and an API wallet of the user's may accept it.
	second := quoted(t, s, ask())
	if second.Quote.Salt == v.Quote.Salt {
		t.Error("two quotes have one salt")
	}
	if no := post(t, s, "/accept", signed(t, second, walletKey), &a); no != nil {
		t.Error(no)
	}
}

func TestSaltsOfTwoSolversDiffer(t *testing.T) {
	a, b := start(t, newNode(), nil), start(t, newNode(), nil)
	if quoted(t, a, ask()).Quote.Salt == quoted(t, b, ask()).Quote.Salt {
		t.Error("two solvers begin with the same salt")
	}
}

func TestQuoteRefused(t *testing.T) {
	for name, c := range map[string]struct {
		name   string
		status int
		change func(*fakeNode, *QuoteRequest)
	}{
		"pair":         {InvalidOraclePair, 422, func(_ *fakeNode, r *QuoteRequest) { r.Pair = "DOGE/USDT" }},
		"paused":       {MarketPaused, 422, func(n *fakeNode, _ *QuoteRequest) { n.paused = true }},
		"market's bet": {quote.BetAmountOutOfRange, 422, func(_ *fakeNode, r *QuoteRequest) { r.BetAmount = 29_999 }},
		"solver's bet": {quote.BetAmountOutOfRange, 422, func(_ *fakeNode, r *QuoteRequest) { r.BetAmount = 10_000_000_001 }},
		"self":         {quote.SelfBet, 422, func(_ *fakeNode, r *QuoteRequest) { r.User = solverKey.Address() }},
		"stale":        {quote.OracleStale, 503, func(n *fakeNode, _ *QuoteRequest) { n.stale = true }},
		"old price":    {quote.OracleStale, 503, func(n *fakeNode, _ *QuoteRequest) { n.now += 1501 }},
		"no price":     {quote.OracleStale, 503, func(_ *fakeNode, r *QuoteRequest) { r.Pair = "ETH/USDT" }},
		"young chain":  {quote.NotEnoughHistory, 503, func(n *fakeNode, _ *QuoteRequest) { n.prices = n.prices[len(n.prices)-20:] }},
		"node is down": {NodeUnavailable, 502, func(n *fakeNode, _ *QuoteRequest) { n.down = fmt.Errorf("dial: %w", client.ErrUnreachable) }},
		"poor solver":  {quote.RiskTooHigh, 422, func(n *fakeNode, _ *QuoteRequest) { n.accounts[solverKey.Address()] = api.Account{Balance: 5} }},
		"solver's risk": {quote.RiskTooHigh, 422, func(n *fakeNode, _ *QuoteRequest) {
			n.accounts[solverKey.Address()] = api.Account{Balance: 1 << 60, Locked: 100_000 * quote.PPM}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, r := newNode(), ask()
			s := start(t, n, func(o *Options) { o.Quote.MinBet = 20_000 })
			n.advance(200) // so that the node is asked again
			c.change(n, r)
			expect(t, post(t, s, "/quote", r, new(Terms)), c.name, c.status)
		})
	}
}

func TestAcceptRefused(t *testing.T) {
	for name, c := range map[string]struct {
		name   string
		status int
		change func(*fakeNode, *AcceptRequest, *Terms)
	}{
		"stranger":        {InvalidUserSignature, 422, func(_ *fakeNode, r *AcceptRequest, v *Terms) { *r = *signed(t, v, key(9)) }},
		"expired wallet":  {InvalidUserSignature, 422, func(_ *fakeNode, r *AcceptRequest, v *Terms) { *r = *signed(t, v, stranger) }},
		"the solver":      {InvalidUserSignature, 422, func(_ *fakeNode, r *AcceptRequest, v *Terms) { *r = *signed(t, v, solverKey) }},
		"short signature": {InvalidUserSignature, 422, func(_ *fakeNode, r *AcceptRequest, _ *Terms) { r.UserSignature = r.UserSignature[:64] }},
		"no signature":    {InvalidUserSignature, 422, func(_ *fakeNode, r *AcceptRequest, _ *Terms) { r.UserSignature = make([]byte, 65) }},
		"more payout":     {InvalidUserSignature, 422, func(_ *fakeNode, r *AcceptRequest, _ *Terms) { r.Quote.Payout++ }},
		"late":            {quote.QuoteDeadlineExpired, 410, func(n *fakeNode, _ *AcceptRequest, _ *Terms) { n.advance(5100) }},
		"forgotten":       {quote.QuoteNotFound, 404, func(n *fakeNode, _ *AcceptRequest, _ *Terms) { n.advance(16_000) }},
		"stale":           {quote.OracleStale, 503, func(n *fakeNode, _ *AcceptRequest, _ *Terms) { n.now += 2000 }},
		"paused":          {MarketPaused, 422, func(n *fakeNode, _ *AcceptRequest, _ *Terms) { n.advance(200); n.paused = true }},
		"price moved": {quote.PriceMoved, 409, func(n *fakeNode, r *AcceptRequest, v *Terms) {
			// From the edge of the range to its middle: it has become much safer.
			*r = *signed(t, v, userKey)
			n.advance(300)
		}},
		"node is down": {NodeUnavailable, 502, func(n *fakeNode, _ *AcceptRequest, _ *Terms) {
			n.advance(200)
			n.down = fmt.Errorf("dial: %w", client.ErrUnreachable)
		}},
		"another pair": {InvalidOraclePair, 422, func(_ *fakeNode, r *AcceptRequest, v *Terms) {
			v.Quote.Base[0]++
			q := v.Quote.Chain()
			_, v.Digest = Digests(&q)
			*r = *signed(t, v, userKey)
		}},
		"made up": {quote.QuoteNotFound, 404, func(_ *fakeNode, r *AcceptRequest, v *Terms) {
			v.Quote.Payout *= 2
			q := v.Quote.Chain()
			_, v.Digest = Digests(&q)
			*r = *signed(t, v, userKey)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, r := newNode(), ask()
			s := start(t, n, nil)
			if name == "price moved" {
				n.now += 100
				n.record(n.now, uint64(r.Upper)-1)
			}
			v := quoted(t, s, r)
			a := signed(t, v, userKey)
			c.change(n, a, v)
			expect(t, post(t, s, "/accept", a, new(Accepted)), c.name, c.status)
			if len(n.sent) > 0 || s.book.Risk() > 0 {
				t.Errorf("%d transactions were sent, %d is at risk", len(n.sent), s.book.Risk())
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	n := newNode()
	s := start(t, n, func(o *Options) { o.DryRun = true })
	v := quoted(t, s, ask())
	expect(t, post(t, s, "/accept", signed(t, v, userKey), new(Accepted)), DryRun, 403)
	if len(n.sent) > 0 {
		t.Error("a dry run sent something")
	}
}

// Whatever the chain says is passed on, and frees what was reserved.
func TestChainRefuses(t *testing.T) {
	failed := "InsufficientBalance"
	for name, c := range map[string]struct {
		name   string
		answer func(int, *tx.Transaction) (api.Receipt, error)
	}{
		"failed": {failed, func(_ int, t *tx.Transaction) (api.Receipt, error) {
			return api.Receipt{TxHash: idOf(t), Height: 101, Status: api.StatusFailed, Error: &failed}, nil
		}},
		"refused": {"SystemPaused", func(int, *tx.Transaction) (api.Receipt, error) {
			return api.Receipt{}, &client.Error{Code: 1022, Name: "SystemPaused"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			n.answer = c.answer
			s := start(t, n, nil)
			v := quoted(t, s, ask())
			no := post(t, s, "/accept", signed(t, v, userKey), new(Accepted))
			expect(t, no, c.name, 422)
			if no != nil && no.TxHash != idOf(n.sent[0]).String() {
				t.Errorf("the transaction is not named: %+v", no)
			}
			if s.book.Risk() > 0 {
				t.Errorf("%d is at risk", s.book.Risk())
			}
			expect(t, post(t, s, "/accept", signed(t, v, userKey), new(Accepted)), quote.QuoteAlreadyUsed, 409)
		})
	}
}

// A node that does not answer is asked again with the same bytes, and what it did
// the first time counts.
func TestUnknownFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.answer = func(i int, t *tx.Transaction) (api.Receipt, error) {
			switch i {
			case 1:
				n.executed[idOf(t)] = n.opened(t) // executed, and the answer is lost
				return api.Receipt{}, fmt.Errorf("read: %w", client.ErrUnreachable)
			case 2:
				return api.Receipt{}, &client.Error{Code: api.CodeBusy, Name: "Busy"}
			}
			return api.Receipt{}, &client.Error{Code: 1004, Name: "DuplicateTransaction"}
		}
		s := start(t, n, nil)
		v := quoted(t, s, ask())
		var a Accepted
		if no := post(t, s, "/accept", signed(t, v, userKey), &a); no != nil {
			t.Fatal(no)
		}
		if len(n.sent) != 3 || idOf(n.sent[0]) != idOf(n.sent[2]) || a.Receipt.TxHash != idOf(n.sent[0]) {
			t.Errorf("sent %d times, accepted %+v", len(n.sent), a)
		}
	})
}

// A timestamp that the chain does not take any more is replaced, a few times; the
// quote stays the same.
func TestSignsAgain(t *testing.T) {
	for _, refusals := range []int{1, 3, 99} {
		n := newNode()
		n.answer = func(i int, t *tx.Transaction) (api.Receipt, error) {
			if i <= refusals {
				return api.Receipt{}, &client.Error{Code: 1003, Name: "InvalidTimestamp"}
			}
			return n.opened(t), nil
		}
		stamp := uint64(0)
		s := start(t, n, func(o *Options) { o.Stamp = func() uint64 { stamp++; return stamp } })
		v := quoted(t, s, ask())
		var a Accepted
		no := post(t, s, "/accept", signed(t, v, userKey), &a)
		last := n.sent[len(n.sent)-1]
		if refusals < maxSignings {
			if no != nil || len(n.sent) != refusals+1 || a.Receipt.TxHash != idOf(last) || last.Timestamp != uint64(refusals+1) || last.RfqSubmit != n.sent[0].RfqSubmit {
				t.Errorf("after %d refusals: %v, %+v", refusals, no, a)
			}
			continue
		}
		expect(t, no, "InvalidTimestamp", 422)
		if len(n.sent) != maxSignings || no.TxHash != idOf(last).String() || atRisk(s) != 0 {
			t.Errorf("sent %d times: %v", len(n.sent), no)
		}
	}
}

// A user is not kept waiting for ever, and what happens afterwards is noted; a
// solver that stops says what it does not know.
func TestUserStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.answer = func(int, *tx.Transaction) (api.Receipt, error) {
			return api.Receipt{}, fmt.Errorf("read: %w", client.ErrUnreachable)
		}
		var log bytes.Buffer
		s := start(t, n, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		v := quoted(t, s, ask())
		no := post(t, s, "/accept", signed(t, v, userKey), new(Accepted))
		expect(t, no, Unresolved, 504)
		n.mu.Lock()
		id := idOf(n.sent[0]).String()
		n.mu.Unlock()
		if no == nil || no.TxHash != id {
			t.Errorf("the transaction is not named: %+v", no)
		}
		if atRisk(s) == 0 {
			t.Error("what may have happened is not at risk")
		}
		n.mu.Lock()
		n.answer = func(_ int, t *tx.Transaction) (api.Receipt, error) { return n.opened(t), nil }
		n.mu.Unlock()
		s.sent.Wait()
		expect(t, post(t, s, "/accept", signed(t, v, userKey), new(Accepted)), quote.QuoteAlreadyUsed, 409)
		n.mu.Lock()
		n.answer = func(int, *tx.Transaction) (api.Receipt, error) {
			return api.Receipt{}, fmt.Errorf("read: %w", client.ErrUnreachable)
		}
		n.mu.Unlock()
		second := quoted(t, s, ask())
		risk := atRisk(s)
		expect(t, post(t, s, "/accept", signed(t, second, userKey), new(Accepted)), Unresolved, 504)
		s.stop()
		s.sent.Wait()
		if atRisk(s) <= risk {
			t.Errorf("risk is %d, was %d before something unknown", atRisk(s), risk)
		}
		if told := strings.Count(log.String(), "did not take"); told < 2 || told > 4 {
			t.Errorf("two outages of ten seconds each, and the log says so %d times", told)
		}
	})
}

func atRisk(s *Server) uint64 {
	<-s.lock
	defer func() { s.lock <- struct{}{} }()
	return s.book.Risk()
}

// One of many who accept the same quote at once gets it.
func TestAcceptedOnceByMany(t *testing.T) {
	n := newNode()
	s := start(t, n, nil)
	v := quoted(t, s, ask())
	body := signed(t, v, userKey)
	var all sync.WaitGroup
	results := make([]*Error, 16)
	for i := range results {
		all.Go(func() { results[i] = post(t, s, "/accept", body, new(Accepted)) })
	}
	all.Wait()
	accepted := 0
	for _, no := range results {
		if no == nil {
			accepted++
		} else {
			expect(t, no, quote.QuoteAlreadyUsed, 409)
		}
	}
	if accepted != 1 || len(n.sent) != 1 {
		t.Errorf("accepted %d times, sent %d", accepted, len(n.sent))
	}
}

func TestBadBodies(t *testing.T) {
	s := start(t, newNode(), nil)
	good, _ := json.Marshal(ask())
	for _, body := range []string{
		"", "null", "[]", "5", "{", string(good) + "{}", `{"user":null}`,
		strings.Replace(string(good), `"pair"`, `"pairs"`, 1),
		strings.Replace(string(good), `"10000000"`, `10000000`, 1),
		strings.Replace(string(good), `"10000000"`, `"10.5"`, 1),
		strings.Replace(string(good), `"10000000"`, `"-1"`, 1),
		strings.Replace(string(good), `"10000000"`, `"1e7"`, 1),
		strings.Replace(string(good), `"10000000"`, `"18446744073709551616"`, 1),
		strings.Replace(string(good), `20000`, `20000.5`, 1),
		strings.Replace(string(good), `20000`, `-1`, 1),
		strings.Replace(string(good), `0x`, ``, 1),
		strings.Replace(string(good), `"duration"`, `"extra":1,"duration"`, 1),
	} {
		if body == string(good) {
			t.Fatal("a body did not change")
		}
		expect(t, post(t, s, "/quote", body, new(Terms)), InvalidRequest, 400)
		expect(t, post(t, s, "/accept", body, new(Accepted)), InvalidRequest, 400)
	}
	expect(t, post(t, s, "/quote", strings.Repeat(" ", maxBodyBytes+1), new(Terms)), InvalidRequest, 413)
}

func TestPathsAndMethods(t *testing.T) {
	s := start(t, newNode(), nil)
	for _, c := range []struct {
		method, path, kind string
		status             int
	}{
		{"GET", "/quote", "", 405}, {"POST", "/info", "application/json", 405}, {"DELETE", "/health", "", 405}, {"GET", "/nope", "", 404}, {"GET", "/", "", 404},
		{"POST", "/quote", "text/plain", 415}, {"POST", "/accept", "", 415}, {"GET", "/info", "", 200}, {"GET", "/health", "", 200},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader("{}"))
		r.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != c.status || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, w.Code, w.Body, c.status)
		}
	}
}

func TestInfoAndHealth(t *testing.T) {
	n := newNode()
	s := start(t, n, func(o *Options) { o.Pairs = []string{"BTC/USDT"} })
	quoted(t, s, ask())
	var v Info
	get(t, s, "/info", &v)
	if v.Solver != solverKey.Address() || v.Offers != 1 || len(v.Markets) != 1 || v.Markets[0].Price != price+3_000_000 || v.Markets[0].Stale || v.Markets[0].Volatility == 0 || v.Balance == 0 {
		t.Errorf("info is %+v", v)
	}
	var h Health
	if status := get(t, s, "/health", &h); status != 200 || h.Status != "ok" {
		t.Errorf("health is %d %+v", status, h)
	}
	n.mu.Lock()
	n.now += 1600
	n.mu.Unlock()
	if status := get(t, s, "/health", &h); status != 503 || !h.Checks[0].OK || h.Checks[1].OK {
		t.Errorf("health on old prices is %d %+v", status, h)
	}
	n.mu.Lock()
	n.now, n.down = n.now+200, client.ErrUnreachable
	n.mu.Unlock()
	if status := get(t, s, "/health", &h); status != 503 || h.Checks[0].OK {
		t.Errorf("health without a node is %d %+v", status, h)
	}
}

func get(t *testing.T, s *Server, path string, to any) int {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if err := json.Unmarshal(w.Body.Bytes(), to); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return w.Code
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		want   error
		change func(*fakeNode, *Options)
	}{
		"module":  {ErrChain, func(n *fakeNode, _ *Options) { n.module = "counter" }},
		"pair":    {ErrChain, func(_ *fakeNode, o *Options) { o.Pairs = []string{"BTC/USDT", "DOGE/USDT"} }},
		"key":     {ErrKey, func(_ *fakeNode, o *Options) { o.Account = userKey.Address() }},
		"expired": {ErrKey, func(_ *fakeNode, o *Options) { o.Account, o.Key = userKey.Address(), stranger }},
		"node":    {client.ErrUnreachable, func(n *fakeNode, _ *Options) { n.down = client.ErrUnreachable }},
	} {
		n := newNode()
		o := Options{Key: solverKey, Quote: quote.Default(), WindowMs: 120_000, Rate: 1, Log: slog.New(slog.DiscardHandler)}
		c.change(n, &o)
		if _, err := New(t.Context(), n, o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, change := range []func(*Options){func(o *Options) { o.WindowMs = MinWindowMs - 1 }, func(o *Options) { o.WindowMs = MaxWindowMs + 1 },
		func(o *Options) { o.Rate = 0 }, func(o *Options) { o.Rate = MaxRate + 1 }, func(o *Options) { o.Quote.MinBet = 0 }} {
		o := Options{Key: solverKey, Quote: quote.Default(), WindowMs: 120_000, Rate: 1, Log: slog.New(slog.DiscardHandler)}
		change(&o)
		if _, err := New(t.Context(), newNode(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	n := newNode()
	s := start(t, n, func(o *Options) { o.Account, o.Key = userKey.Address(), walletKey })
	if s.Account() != userKey.Address() {
		t.Error("an API wallet does not quote for its account")
	}
}

func TestRate(t *testing.T) {
	now := time.Unix(0, 0)
	l := &limiter{perSecond: 10, callers: newCallers()}
	count := func(from string, at time.Duration) (n int) {
		for l.allow(from, now.Add(at)) {
			n++
		}
		return n
	}
	if n := count("1.2.3.4:5", 0); n != 20 {
		t.Errorf("%d calls at once", n)
	}
	if n := count("1.2.3.4:6", 99*time.Millisecond); n != 0 {
		t.Errorf("%d calls from another port", n)
	}
	if n := count("1.2.3.4:6", 600*time.Millisecond); n != 6 {
		t.Errorf("%d calls after 600 ms", n)
	}
	if n := count("[2001:db8::1]:1", 0); n != 20 {
		t.Errorf("%d calls of another address", n)
	}
	if n := count("[2001:db8::2]:1", 0); n != 0 {
		t.Errorf("%d calls of its neighbour", n)
	}
	for i := range maxCallers {
		l.allow(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256), now.Add(time.Second))
	}
	if l.allow("11.0.0.1:1", now.Add(time.Second)) || len(l.callers) > maxCallers {
		t.Errorf("%d addresses are remembered", len(l.callers))
	}
	if !l.allow("11.0.0.1:1", now.Add(4*time.Second)) {
		t.Error("quiet addresses are not forgotten")
	}
	s := start(t, newNode(), func(o *Options) { o.Rate = 1 })
	var no *Error
	for range 3 {
		no = post(t, s, "/quote", ask(), new(Terms))
	}
	expect(t, no, RateLimited, 429)
}

// Only so many requests are under way; and an idle solver does not bother its
// node, a busy one not more than ten times a second.
func TestLoad(t *testing.T) {
	n := newNode()
	s := start(t, n, nil)
	for range 20 {
		quoted(t, s, ask())
	}
	if n.asked != 3 { // three pages
		t.Errorf("the node was asked for history %d times", n.asked)
	}
	n.advance(100)
	quoted(t, s, ask())
	if n.asked != 4 {
		t.Errorf("the node was asked for history %d times", n.asked)
	}
	for range maxConcurrent {
		s.busy <- struct{}{}
	}
	expect(t, post(t, s, "/quote", ask(), new(Terms)), Busy, 503)
}

// Only so many connections are open; when one is given up there is room again.
func TestConnections(t *testing.T) {
	s := start(t, newNode(), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	answers := func() (net.Conn, bool) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n") // a closed one says so when it is read
		n, _ := c.Read(make([]byte, 1024))
		return c, n > 0
	}
	var open []net.Conn
	for i := range maxConnections {
		c, ok := answers()
		if !ok {
			t.Fatalf("connection %d of %d was closed", i+1, maxConnections)
		}
		open = append(open, c)
	}
	if c, ok := answers(); ok {
		t.Error("one more was taken")
	} else {
		c.Close()
	}
	for _, c := range open[:2] {
		c.Close()
	}
	for end := time.Now().Add(10 * time.Second); ; { // until the server has seen it
		c, ok := answers()
		c.Close()
		if ok {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no room though two were given up")
		}
	}
	for _, c := range open[2:] {
		c.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The whole of it over a socket: client, server, a request in flight at the end.
func TestRun(t *testing.T) {
	n := newNode()
	release, arrived := make(chan struct{}), make(chan struct{})
	n.answer = func(_ int, t *tx.Transaction) (api.Receipt, error) {
		close(arrived)
		<-release
		return n.opened(t), nil
	}
	s := start(t, n, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	c, err := NewClient("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := c.Quote(t.Context(), ask())
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := c.Accept(t.Context(), signed(t, &v, userKey))
		accepted <- err
	}()
	<-arrived
	cancel()
	close(release)
	if err := <-accepted; err != nil {
		t.Errorf("what was accepted before the stop: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.Info(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestClient(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8560", "ftp://x", "http://", "http://x?y", "http://x#y", "http://x y"} {
		if _, err := NewClient(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a/info":
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "no JSON")
		default:
			_, _ = io.WriteString(w, `{"quote": 5}`)
		}
	})
	server := httptest.NewServer(h)
	defer server.Close()
	c, err := NewClient(server.URL + "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Info(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("not a solver: %v", err)
	}
	if _, err := c.Quote(t.Context(), ask()); err == nil || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("a broken answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Info(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("given up: %v", err)
	}
}

func FuzzBodies(f *testing.F) {
	good, _ := json.Marshal(ask())
	f.Add(string(good))
	f.Add(`{"quote":{},"user_signature":"0x"}`)
	n := newNode()
	s, err := New(context.Background(), n, Options{Key: solverKey, Quote: quote.Default(), WindowMs: 120_000, Rate: MaxRate, Log: slog.New(slog.DiscardHandler),
		Clock: func() time.Time { return time.UnixMilli(t0) }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/quote", "/accept"} {
			if no := post(t, s, path, body, new(json.RawMessage)); no != nil && no.Status >= 500 && no.Status != 503 {
				t.Errorf("%s %q: %v", path, body, no)
			}
		}
	})
}
