package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/settle"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/event"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// What the fake chain of these tests fixes.
const (
	intervalMs  = 100
	challengeMs = 1_000
	staleMs     = 3_000
	syncPort    = "node:9000"
)

// fakeChain is a write node as far as a settler can tell, written from the
// protocol page: prices, theses, what it makes of settlements, blocks with events.
// Real transactions, real signatures, the real sync protocol.
type fakeChain struct {
	*testing.T
	network *hosttest.Network
	server  *wire.Server
	served  chan error
	key     ed25519.PrivateKey
	settler chain.Address

	mu       sync.Mutex
	rng      *rand.Rand
	blocks   []*follow.EventBlock
	base     uint64
	open     *follow.EventBlock
	began    []event.Price // of the open block
	prices   map[settle.Pair][]event.Price
	quiet    bool // no new prices
	theses   map[uint64]*thesis
	unsealed map[uint64]bool // made in the open block
	executed map[chain.Hash]api.Receipt
	newest   []uint64 // timestamps of the last transactions: the replay window
	failed   []string // settlements that are in a block and settled nothing
	next     uint64   // thesis id
	market   uint64   // price to record next; 0: a random walk

	down   func(call string) error // what the node does to a call, before it
	after  func(call string) error // and after it
	paused bool
}

type thesis struct {
	event.ThesisCreated
	outcome  string
	settled  int
	settledN uint64 // block
}

var (
	btc     = settle.Pair{Base: chain.Address{19: 1}, Quote: chain.Address{18: 1}}
	eth     = settle.Pair{Base: chain.Address{19: 2}, Quote: chain.Address{18: 1}}
	markets = []Market{{"BTC/USDT", btc}, {"ETH/USDT", eth}}
)

func keyOf(n byte) *secp.Key {
	k, err := secp.NewKey(append(make([]byte, 31), n))
	if err != nil {
		panic(err)
	}
	return k
}

// inBubble runs a test in a bubble of its own time, on a chain that seals a block
// every 100 ms until the test is over.
func inBubble(t *testing.T, test func(c *fakeChain)) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeChain{T: t, network: &hosttest.Network{}, key: ed25519.NewKeyFromSeed(make([]byte, 32)), settler: keyOf(9).Address(), base: 1,
			rng: rand.New(rand.NewPCG(1, 1)), prices: map[settle.Pair][]event.Price{}, theses: map[uint64]*thesis{}, unsealed: map[uint64]bool{}, executed: map[chain.Hash]api.Receipt{}}
		genesis := &follow.EventBlock{Header: chain.Header{Version: chain.BlockVersion, ChainID: 7, Time: now(), TxsRoot: chain.TxsRoot(nil)}, Results: &chain.Results{}}
		genesis.Header.OracleHash = genesis.Oracle.Hash()
		copy(genesis.Header.Sequencer[:], c.key.Public().(ed25519.PublicKey))
		c.blocks = append(c.blocks, genesis)
		c.begin()
		c.serve()
		stop := make(chan struct{})
		var sealing sync.WaitGroup
		sealing.Go(func() { c.sealEvery(stop) })
		defer func() {
			close(stop)
			sealing.Wait()
			if err := errors.Join(c.server.Close(), <-c.served); err != nil {
				t.Error(err)
			}
		}()
		test(c)
	})
}

func now() uint64 { return uint64(time.Now().UnixMilli()) }

// serve starts the sync port.
func (c *fakeChain) serve() {
	c.server = wire.NewServer(c, wire.Identity{ChainID: 7, Genesis: chain.Hash{1}, Module: chain.Hash{2}, Role: wire.RoleWriter}, wire.Limits{}, slog.New(slog.DiscardHandler))
	c.served = make(chan error, 1)
	listener, served := c.network.Listen(syncPort), c.served
	go func() { served <- c.server.Serve(listener) }()
}

func (c *fakeChain) sealEvery(stop chan struct{}) {
	tick := time.NewTicker(intervalMs * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.seal()
		case <-stop:
			return
		}
	}
}

// begin opens the next block: prices first.
func (c *fakeChain) begin() {
	parent := &c.blocks[len(c.blocks)-1].Header
	c.open = &follow.EventBlock{Header: chain.Header{Version: chain.BlockVersion, ChainID: 7, Height: parent.Height + 1, Parent: parent.Hash(),
		Time: max(now(), parent.Time+1), TxsRoot: chain.TxsRoot(nil), Sequencer: parent.Sequencer}, Results: &chain.Results{}}
	c.began = nil
	clear(c.unsealed)
	if c.quiet {
		return
	}
	for _, m := range markets {
		p := event.Price{Base: m.Base, Quote: m.Quote, Timestamp: c.open.Header.Time, Price: c.market}
		if p.Price == 0 {
			p.Price = 90 + c.rng.Uint64N(21)
		}
		c.prices[m.Pair] = append(c.prices[m.Pair], p)
		c.began = append(c.began, p)
		c.open.Results.Begin = append(c.open.Results.Begin, p.Append(nil))
	}
}

func (c *fakeChain) seal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused {
		return
	}
	b := c.open
	b.Header.OracleHash, b.Header.ReceiptsRoot = b.Oracle.Hash(), b.Results.Root()
	b.Header.Sign(c.key)
	c.blocks = append(c.blocks, b)
	c.begin()
	c.server.Announce(b.Header.ID(), nil)
}

// Tips implements follow.EventArchive, as do the next four.
func (c *fakeChain) Tips() (chain.Tips, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return chain.LocalTips(c.blocks[len(c.blocks)-1].Header.ID()), nil
}

func (c *fakeChain) at(n uint64) (*follow.EventBlock, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n >= uint64(len(c.blocks)) || n < c.base {
		return nil, fmt.Errorf("block %d: %w", n, follow.ErrNotAvailable)
	}
	return c.blocks[n], nil
}

func (c *fakeChain) Block(n uint64) ([]byte, error) {
	b, err := c.at(n)
	if err != nil {
		return nil, err
	}
	return (&chain.Block{Header: b.Header, Oracle: b.Oracle}).Append(nil), nil
}

func (c *fakeChain) Header(n uint64) (chain.Header, error) {
	b, err := c.at(n)
	if err != nil {
		return chain.Header{}, err
	}
	return b.Header, nil
}

func (c *fakeChain) Results(n uint64) ([]byte, error) {
	b, err := c.at(n)
	if err != nil {
		return nil, err
	}
	return b.Results.Append(nil), nil
}

func (c *fakeChain) Base() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base
}

// prune forgets all blocks but the last n.
func (c *fakeChain) prune(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = uint64(max(len(c.blocks)-n, 1))
}

// rewrite replaces the last n blocks by others that say the same.
func (c *fakeChain) rewrite(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.blocks) - n; i < len(c.blocks); i++ {
		b := *c.blocks[i]
		b.Header.StateRoot[0]++
		b.Header.Parent = c.blocks[i-1].Header.Hash()
		b.Header.Sign(c.key)
		c.blocks[i] = &b
	}
	c.open.Header.Parent = c.blocks[len(c.blocks)-1].Header.Hash()
}

// emit puts a receipt with events into the open block.
func (c *fakeChain) emit(events ...[]byte) {
	c.open.Results.Receipts = append(c.open.Results.Receipts, chain.Receipt{Events: events})
}

// submit makes a thesis that begins in a moment and lasts for as long.
func (c *fakeChain) submit(pair settle.Pair, lower, upper, begins, lasts uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	start := c.open.Header.Time + begins
	v := &thesis{ThesisCreated: event.ThesisCreated{ThesisID: c.next, Base: pair.Base, Quote: pair.Quote, Lower: lower, Upper: upper,
		BetAmount: 1, Payout: 2, Start: start, End: start + lasts, Due: start + lasts + challengeMs}}
	c.theses[c.next] = v
	c.unsealed[c.next] = true
	c.emit(v.ThesisCreated.Append(nil))
	return c.next
}

// submitMany makes theses of every kind.
func (c *fakeChain) submitMany(n int) {
	for range n {
		c.submit(markets[c.roll(2)].Pair, 80+c.roll(15), 106+c.roll(15), c.roll(500), 1+c.roll(6000))
	}
}

// roll is a number below n.
func (c *fakeChain) roll(n uint64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Uint64N(n)
}

// truth is the outcome that the recorded prices bear out by now.
func (c *fakeChain) truth(v *thesis) string {
	last, hole := v.Start, uint64(0)
	for _, p := range c.prices[settle.Pair{Base: v.Base, Quote: v.Quote}] {
		if p.Timestamp < v.Start || p.Timestamp > v.End {
			continue
		}
		if p.Price < v.Lower || p.Price > v.Upper {
			return event.SolverWins
		}
		hole, last = max(hole, p.Timestamp-last), p.Timestamp
	}
	if max(hole, v.End-last) > staleMs {
		return event.Void
	}
	return event.UserWins
}

// judge is what the chain says to a settlement; "" is yes.
func (c *fakeChain) judge(t *tx.Transaction) (id uint64, no string) {
	at := c.open.Header.Time
	if t.Kind == tx.KindRfqSettle {
		v := c.theses[t.RfqSettle.ThesisID]
		switch {
		case v == nil || v.settled > 0:
			return 0, "ThesisNotActive"
		case at < v.Due+settle.GraceMs:
			return 0, "ChallengeWindowNotOver"
		}
		return v.ThesisID, ""
	}
	s := &t.SystemSettle
	v := c.theses[s.ThesisID]
	switch {
	case t.From != c.settler:
		return 0, "Unauthorized"
	case v == nil:
		return 0, "ThesisNotFound"
	case v.settled > 0:
		return 0, "ThesisNotActive"
	}
	truth := c.truth(v)
	if s.Settlement.Kind == tx.SolverWins {
		p := event.Price{Base: v.Base, Quote: v.Quote, Timestamp: s.Settlement.BreachTimestamp, Price: s.Settlement.BreachPrice}
		if !slices.Contains(c.prices[settle.Pair{Base: v.Base, Quote: v.Quote}], p) || truth != event.SolverWins {
			return 0, "InvalidBreachTimestamp"
		}
		return v.ThesisID, ""
	}
	switch {
	case at < v.Due:
		return 0, "ChallengeWindowNotOver"
	case truth != settle.Kind(s.Settlement.Kind).String():
		return 0, "BreachFound"
	}
	return v.ThesisID, ""
}

// execute runs one transaction, as the node's answer to a batch has it.
func (c *fakeChain) execute(raw []byte) (r api.Receipt) {
	var t tx.Transaction
	refuse := func(name string) api.Receipt { return api.Receipt{Status: api.StatusRefused, Error: &name} }
	if !tx.Decode(raw, &t) {
		return refuse("MalformedTransaction")
	}
	var hasher tx.Hasher
	id := chain.Hash(hasher.Digest(secp.Keccak{}, &t))
	if from, ok := secp.Recover((*[32]byte)(&id), &t.Signature); !ok || from != t.From {
		return refuse("InvalidSignature")
	}
	if _, known := c.executed[id]; known {
		return refuse(duplicate)
	}
	if len(c.newest) == 80 && t.Timestamp <= c.newest[0] {
		return refuse("InvalidTimestamp")
	}
	c.newest = append(c.newest, t.Timestamp)
	slices.Sort(c.newest)
	c.newest = c.newest[max(0, len(c.newest)-80):]
	r = api.Receipt{TxHash: id, Height: c.open.Header.Height, Status: api.StatusOK}
	if thesis, no := c.judge(&t); no != "" {
		c.failed = append(c.failed, no)
		r.Status, r.Error = api.StatusFailed, &no
		c.emit()
	} else {
		c.settle(thesis, &t)
	}
	c.executed[id] = r
	return r
}

func (c *fakeChain) settle(id uint64, t *tx.Transaction) {
	v := c.theses[id]
	v.outcome = c.truth(v)
	v.settled++
	v.settledN = c.open.Header.Height
	e := event.ThesisSettled{ThesisID: id, Outcome: v.outcome, SettledBy: t.From}
	if v.outcome == event.SolverWins {
		e.BreachTimestamp, e.BreachPrice = t.SystemSettle.Settlement.BreachTimestamp, t.SystemSettle.Settlement.BreachPrice
	}
	c.emit(e.Append(nil))
}

// fakeNode is the RPC port of a chain.
type fakeNode struct {
	*fakeChain
	dead *atomic.Bool // the settler has crashed: nothing of it arrives any more
}

// call is a call of the node: it may fail before it, or its answer get lost.
func (n fakeNode) call(name string, do func()) error {
	n.mu.Lock()
	down, after := n.down, n.after
	n.mu.Unlock()
	if down != nil {
		if err := down(name); err != nil {
			return err
		}
	}
	if n.dead.Load() {
		return errDown
	}
	n.mu.Lock()
	do()
	n.mu.Unlock()
	if after != nil {
		return after(name)
	}
	return nil
}

func (n fakeNode) Info(context.Context) (v api.Info, err error) {
	err = n.call("info", func() {
		v = api.Info{ChainID: 7, GenesisHash: chain.Hash{1}, ModuleHash: chain.Hash{2}, Module: api.ModuleInfo{Name: "rfq"}, Sequencer: n.blocks[0].Header.Sequencer[:]}
	})
	return v, err
}

func (n fakeNode) Rules(_ context.Context, a chain.Address) (v Rules, err error) {
	err = n.call("rules", func() {
		v = Rules{MaxStaleMs: staleMs, SettlerEnabled: true, MaySettle: a == n.settler, Markets: markets}
	})
	return v, err
}

func (n fakeNode) SendTransactions(_ context.Context, raws [][]byte) (v []api.Receipt, err error) {
	err = n.call("send", func() {
		for _, raw := range raws {
			v = append(v, n.execute(raw))
		}
	})
	if err != nil {
		v = nil
	}
	return v, err
}

func (n fakeNode) Receipt(_ context.Context, id chain.Hash) (v api.Receipt, err error) {
	known := false
	err = n.call("receipt", func() { v, known = n.executed[id] })
	if err == nil && !known {
		err = &client.Error{Code: api.CodeTransactionNotFound}
	}
	return v, err
}

func (n fakeNode) Snapshot(_ context.Context, of []Market) (v *settle.Snapshot, err error) {
	return v, n.call("snapshot", func() { v = n.snapshot(of) })
}

func (n fakeNode) Pending(context.Context) (height uint64, prices []settle.Price, err error) {
	err = n.call("pending", func() {
		height = n.open.Header.Height
		for _, p := range n.began {
			prices = append(prices, settle.Price{Pair: settle.Pair{Base: p.Base, Quote: p.Quote}, Timestamp: p.Timestamp, Price: p.Price})
		}
	})
	return height, prices, err
}

func (n fakeNode) Close() error { return nil }

// snapshot is the state after the newest sealed block.
func (c *fakeChain) snapshot(of []Market) *settle.Snapshot {
	h := &c.blocks[len(c.blocks)-1].Header
	s := &settle.Snapshot{Height: h.Height, Hash: h.Hash(), Time: h.Time}
	for _, m := range of {
		for _, id := range slices.Sorted(maps.Keys(c.theses)) {
			v := c.theses[id]
			if v.Base == m.Base && !c.unsealed[id] && (v.settled == 0 || v.settledN > h.Height) {
				s.Theses = append(s.Theses, settle.Thesis{ID: id, Pair: m.Pair, Lower: v.Lower, Upper: v.Upper, Start: v.Start, End: v.End, Due: v.Due})
			}
		}
		history := settle.History{Pair: m.Pair, From: 1}
		for _, p := range c.prices[m.Pair] {
			if !slices.Contains(c.began, p) {
				history.Prices = append(history.Prices, settle.Price{Pair: m.Pair, Timestamp: p.Timestamp, Price: p.Price})
			}
		}
		s.Histories = append(s.Histories, history)
	}
	return s
}

// running is a settler that runs until it is stopped.
type running struct {
	*Settler
	c      *fakeChain
	dir    string
	dead   *atomic.Bool
	cancel context.CancelFunc
	done   chan error
}

// settleWith starts a settler on a directory; change edits its options.
func (c *fakeChain) settleWith(dir string, change ...func(*Options)) *running {
	c.Helper()
	dead := &atomic.Bool{}
	opt := Options{WriteNode: syncPort, CheckInterval: DefaultCheckInterval, BatchSize: DefaultBatchSize, BufferMs: DefaultBufferMs, DataDir: dir,
		Key: keyOf(9), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Node: fakeNode{c, dead}, Dial: c.network.Dial}
	for _, f := range change {
		f(&opt)
	}
	s, err := New(opt)
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Settler: s, c: c, dir: dir, dead: dead, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- errors.Join(s.Run(ctx), s.Close()) }()
	return r
}

// stop ends a settler in good order.
func (r *running) stop() {
	r.c.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		r.c.Fatal(err)
	}
}

// wait lets time pass.
func wait(d time.Duration) {
	<-time.After(d) // of the bubble: no time at all
	synctest.Wait()
}

// settledAll checks that every thesis was settled once, as the prices decide.
func (c *fakeChain) settledAll() {
	c.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.theses)) {
		if v := c.theses[id]; v.settled != 1 || v.outcome != c.truth(v) {
			c.Errorf("thesis %d was settled %d times, as %q; the prices say %q", id, v.settled, v.outcome, c.truth(v))
		}
	}
}

// nothingFailed checks that the chain never had to refuse anything.
func (c *fakeChain) nothingFailed() {
	c.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) > 0 {
		c.Errorf("%d transactions failed: %.10q", len(c.failed), c.failed)
	}
}

// copyDir is what a crash at this moment leaves.
func (c *fakeChain) copyDir(from string) string {
	c.Helper()
	to := c.TempDir()
	for _, name := range []string{stateName, inFlightName} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			c.Fatal(err)
		}
	}
	return to
}

var errDown = &net.OpError{Op: "dial", Err: errors.New("connection refused")}
