package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/wire"
)

// The tests here run real nodes over real loopback sockets and real files, with
// a module made of text (hosttest.Script) so that every outcome can be asked for.
// Nothing sleeps: everything waits for a block, with patience as the bound.
const patience = 20 * time.Second

var testKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func deps() Deps { return Deps{Program: hosttest.Script{}, Log: quiet()} }

func testGenesis(change ...func(*chain.Genesis)) *chain.Genesis {
	g := &chain.Genesis{ChainID: 7, Time: 1_000, IntervalMs: 10, MaxTxsPerBlock: 100, MaxStaleMs: 3000, SettlerEnabled: true, ModuleHash: hosttest.ScriptHash}
	copy(g.Sequencer[:], testKey.Public().(ed25519.PublicKey))
	for _, c := range change {
		c(g)
	}
	return g
}

// testConfig is that of a node on g whose ports are chosen by the system.
func testConfig(dir string, g *chain.Genesis) Config {
	c := Defaults()
	c.DataDir = dir
	c.Block.IntervalMs, c.Block.MaxTxsPerBlock = g.IntervalMs, g.MaxTxsPerBlock
	c.RPC.Listen, c.Sync.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c.Sync.PollMs = 20
	c.Oracle.ServiceURL = "http://127.0.0.1:1" // nobody there
	return c
}

// initDir makes a write node's directory.
func initDir(t testing.TB, g *chain.Genesis) string {
	t.Helper()
	dir := t.TempDir()
	if err := Init(dir, g); err != nil {
		t.Fatal(err)
	}
	if err := WriteSequencerKey(dir, testKey); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runner is a node that runs until stop.
type runner struct {
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
	err    error
}

func start(t testing.TB, run func(context.Context) error) *runner {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- run(ctx) }()
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// stop asks the node to stop and returns what Run returned.
func (r *runner) stop() error {
	r.cancel()
	return r.wait()
}

// wait returns what Run returned.
func (r *runner) wait() error {
	r.once.Do(func() {
		select {
		case r.err = <-r.done:
		case <-time.After(patience):
			r.err = errors.New("the node does not stop")
		}
	})
	return r.err
}

func (r *runner) mustStop() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
}

func startWriter(t testing.TB, cfg Config, d Deps) (*Writer, *runner) {
	t.Helper()
	w, err := NewWriter(context.Background(), cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return w, start(t, w.Run)
}

func startReader(t testing.TB, cfg Config, d Deps) (*Reader, *runner) {
	t.Helper()
	r, err := NewReader(context.Background(), cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	return r, start(t, r.Run)
}

func readerConfig(t testing.TB, g *chain.Genesis, source string) Config {
	c := testConfig(t.TempDir(), g)
	c.Sync.WriteNode = source
	return c
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send submits lines and fails the test unless all are in a block.
func send(t testing.TB, w *Writer, lines ...string) (height uint64) {
	t.Helper()
	raws := make([][]byte, len(lines))
	for i, l := range lines {
		raws[i] = []byte(l)
	}
	for i, r := range w.Submit(within(t), raws) {
		if r.Err != nil {
			t.Fatalf("%s: %v", lines[i], r.Err)
		}
		height = max(height, r.Height)
	}
	return height
}

// priceServer answers GET /prices with what next returns.
func priceServer(t testing.TB, next func() (status int, body string)) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := next()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// sealedChain runs a writer until it has n blocks and returns them, block 0
// first.
func sealedChain(t testing.TB, g *chain.Genesis, n int) []*chain.Block {
	t.Helper()
	w, run := startWriter(t, testConfig(initDir(t, g), g), deps())
	for i := range n {
		h := send(t, w, fmt.Sprintf("set k%d %d", i%5, i), fmt.Sprintf("count c%d", i), fmt.Sprintf("fail f%d", i))
		must(t, w.WaitFor(within(t), h))
	}
	var blocks []*chain.Block
	for h := range uint64(n + 1) {
		b, _, err := w.Block(h)
		must(t, err)
		blocks = append(blocks, b)
	}
	run.mustStop()
	return blocks
}

// source is a sync server over an archive that a test can change: a write node
// that lies, loses blocks or says what it wants of finality.
type source struct {
	mu        sync.Mutex
	blocks    []*chain.Block
	finalized int // index of the finalized block; the others are as high as the last
	server    *wire.Server
	addr      string
}

func newSource(t testing.TB, g *chain.Genesis, blocks []*chain.Block) *source {
	t.Helper()
	s := &source{blocks: blocks, finalized: len(blocks) - 1}
	s.server = wire.NewServer(s, wire.Identity{ChainID: g.ChainID, Genesis: g.Hash(), Module: g.ModuleHash, Role: wire.RoleWriter, Document: g.Append(nil)}, wire.Limits{}, quiet())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.addr = l.Addr().String()
	go s.server.Serve(l)
	t.Cleanup(func() { _ = s.server.Close() })
	return s
}

// set replaces the chain and rings.
func (s *source) set(blocks []*chain.Block, finalized int) {
	s.mu.Lock()
	s.blocks, s.finalized = blocks, finalized
	tip := blocks[len(blocks)-1].Header.ID()
	s.mu.Unlock()
	s.server.Announce(tip, nil)
}

func (s *source) Tips() (chain.Tips, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	final := chain.BatchOf(s.blocks[s.finalized].Header.ID())
	return chain.Tips{Proposed: s.blocks[len(s.blocks)-1].Header.ID(), Checkpointed: final, Proven: final, Finalized: final}, nil
}

func (s *source) Block(n uint64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= uint64(len(s.blocks)) {
		return nil, follow.ErrNotAvailable
	}
	return s.blocks[n].Append(nil), nil
}

func (s *source) Header(n uint64) (chain.Header, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= uint64(len(s.blocks)) {
		return chain.Header{}, follow.ErrNotAvailable
	}
	return s.blocks[n].Header, nil
}

// alarmed waits until the reader raises its alarm.
func alarmed(t testing.TB, r *Reader) string {
	t.Helper()
	ctx := within(t)
	for {
		r.mu.Lock()
		changed, alarm := r.changed, r.alarm
		r.mu.Unlock()
		if alarm != "" {
			return alarm
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("no alarm")
		}
	}
}

// otherModule is the same program under another hash.
type otherModule struct{ hosttest.Script }

func (otherModule) Hash() chain.Hash { return chain.Hash{1} }

var _ stf.Program = otherModule{}

func openWritable(dir string) (*store.Store, error) { return store.Open(dir, store.Options{}) }
