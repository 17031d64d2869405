package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
)

// slow is a chain whose ticks do not happen within a test.
func slow(g *chain.Genesis) { g.IntervalMs = 60_000 }

// K-01: with no tick in sight, a transaction returns its result and its effects
// are readable in the pending view, and the receipt is found by its id.
func TestAnswersWithoutATick(t *testing.T) {
	g := testGenesis(slow)
	w, run := startWriter(t, testConfig(initDir(t, g), g), deps())
	res := w.Submit(within(t), [][]byte{[]byte("set colour red"), []byte("refuse"), []byte("fail x")})
	if r := res[0]; r.Err != nil || r.Receipt.Code != 0 || r.Height != 1 || r.Index != 0 {
		t.Fatalf("ok: %+v", r)
	}
	var refusal *stf.Refusal
	if !errors.As(res[1].Err, &refusal) || refusal.Name != "Refused" {
		t.Fatalf("refused: %+v", res[1])
	}
	if r := res[2]; r.Err != nil || r.Receipt.Code != 1 || r.Receipt.Detail != "asked to" || r.Index != 1 {
		t.Fatalf("failed: %+v", r)
	}
	v, at, err := w.Query(within(t), api.ByTag(api.TagPending), []byte("colour"))
	if err != nil || string(v) != `"red"` || at.Number != 1 || at.Hash != (chain.Hash{}) {
		t.Fatalf("pending: %s at %v, %v", v, at, err)
	}
	if _, _, err := w.Query(within(t), api.ByTag(api.TagLatest), []byte("colour")); !errors.As(err, &refusal) {
		t.Fatalf("latest has it too: %v", err)
	}
	found, err := w.Transaction(res[0].Receipt.ID)
	if err != nil || string(found.Raw) != "set colour red" || found.Block.Number != 1 || found.Block.Hash != (chain.Hash{}) {
		t.Fatalf("found %+v, %v", found, err)
	}
	if r, _, err := w.Simulate(within(t), []byte("count n"), api.ByTag(api.TagPending)); err != nil || r.Code != 0 {
		t.Fatalf("simulate: %+v, %v", r, err)
	}
	run.mustStop()
	if h := w.Head(); h.Height != 1 {
		t.Fatalf("a clean stop sealed up to block %d", h.Height)
	}
}

// K-02: many submitters at once; each one's transactions keep their order, no
// place is given twice, and the blocks hold what the answers say.
func TestOrderAcrossSubmitters(t *testing.T) {
	g := testGenesis()
	w, run := startWriter(t, testConfig(initDir(t, g), g), deps())
	type place struct {
		height uint64
		index  int
	}
	var mu sync.Mutex
	said := map[place]string{}
	var wg sync.WaitGroup
	for s := range 8 {
		wg.Go(func() {
			last := place{}
			for i := range 40 {
				raws := [][]byte{fmt.Appendf(nil, "set a%d %d", s, i), fmt.Appendf(nil, "set b%d %d", s, i)}
				for j, r := range w.Submit(context.Background(), raws) {
					at := place{r.Height, r.Index}
					mu.Lock()
					if other, taken := said[at]; taken || r.Err != nil || at.height < last.height || at.height == last.height && i+j > 0 && at.index <= last.index {
						t.Errorf("submitter %d: %s at %v after %v, taken by %q, %v", s, raws[j], at, last, other, r.Err)
					}
					said[at] = string(raws[j])
					mu.Unlock()
					last = at
				}
			}
		})
	}
	wg.Wait()
	must(t, w.WaitFor(within(t), maxHeight(said, func(p place) uint64 { return p.height })))
	for at, raw := range said {
		b, _, err := w.Block(at.height)
		must(t, err)
		if string(b.Txs[at.index]) != raw {
			t.Fatalf("block %d index %d is %q, the answer was for %q", at.height, at.index, b.Txs[at.index], raw)
		}
	}
	run.mustStop()
}

func maxHeight[K comparable, V any](m map[K]V, height func(K) uint64) (h uint64) {
	for k := range m {
		h = max(h, height(k))
	}
	return h
}

// A second process on one directory stops; it never forks (invariant 3).
func TestSecondWriterIsRefused(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	_, run := startWriter(t, cfg, deps())
	if _, err := NewWriter(context.Background(), cfg, deps()); !errors.Is(err, store.ErrLocked) {
		t.Fatalf("second writer: %v", err)
	}
	run.mustStop()
	w, run := startWriter(t, cfg, deps())
	must(t, w.WaitFor(within(t), w.Head().Height+1))
	run.mustStop()
}

// A writer refuses to start with another module, configuration or key.
func TestWriterRefusesToStart(t *testing.T) {
	g := testGenesis()
	for _, c := range []struct {
		name   string
		change func(cfg *Config, d *Deps)
		want   error
	}{
		{"other module", func(_ *Config, d *Deps) { d.Program = otherModule{} }, stf.ErrModule},
		{"other interval", func(cfg *Config, _ *Deps) { cfg.Block.IntervalMs = 11 }, ErrConfig},
		{"other block limit", func(cfg *Config, _ *Deps) { cfg.Block.MaxTxsPerBlock = 1 }, ErrConfig},
		{"other stale limit", func(cfg *Config, _ *Deps) { cfg.Oracle.MaxStaleMs = 1 }, ErrConfig},
		{"other settler", func(cfg *Config, _ *Deps) { cfg.Settler.Address[0] = 1 }, ErrConfig},
		{"settler off", func(cfg *Config, _ *Deps) { cfg.Settler.Enabled = false }, ErrConfig},
		{"no key", func(cfg *Config, _ *Deps) { _ = os.Remove(filepath.Join(cfg.DataDir, KeyFileName)) }, ErrKeyFile},
		{"key others can read", func(cfg *Config, _ *Deps) { _ = os.Chmod(filepath.Join(cfg.DataDir, KeyFileName), 0o644) }, ErrKeyFile},
		{"key of another chain", func(cfg *Config, _ *Deps) {
			_ = os.Remove(filepath.Join(cfg.DataDir, KeyFileName))
			_, err := CreateSequencerKey(cfg.DataDir)
			must(t, err)
		}, ErrKeyFile},
		{"port taken", func(cfg *Config, _ *Deps) { cfg.RPC.Listen = "127.0.0.1:1x" }, ErrPort},
		{"no chain", func(cfg *Config, _ *Deps) {
			empty := t.TempDir()
			must(t, WriteSequencerKey(empty, testKey))
			cfg.DataDir = empty
		}, store.ErrNotInitialized},
	} {
		cfg, d := testConfig(initDir(t, g), g), deps()
		c.change(&cfg, &d)
		if _, err := NewWriter(context.Background(), cfg, d); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A trap in a block hook stops the writer before the block is sealed, and again
// after a restart: the module has to be mended, not the node talked round.
func TestHookTrapStopsTheWriter(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	w, run := startWriter(t, cfg, deps())
	sent := w.Submit(within(t), [][]byte{[]byte("end trap")})[0] // or the end comes before the answer
	var hook *stf.HookError
	if err := run.wait(); !errors.As(err, &hook) || sent.Err == nil && hook.Height != sent.Height || sent.Err != nil && !errors.Is(sent.Err, rpc.ErrStopping) {
		t.Fatalf("Run returned %v; the transaction came to %+v", err, sent)
	}
	if got := w.Head().Height; got >= hook.Height {
		t.Fatalf("head is %d, the block of the trap is %d", got, hook.Height)
	}
	w, err := NewWriter(context.Background(), cfg, deps())
	must(t, err)
	if err := start(t, w.Run).wait(); !errors.As(err, &hook) {
		t.Fatalf("after a restart: %v", err)
	}
}

// TestEnqueueInOrder: what one goroutine enqueues is executed in the order of its
// calls, while nobody waits for any of it (rpc.Backend).
func TestEnqueueInOrder(t *testing.T) {
	g := testGenesis()
	w, run := startWriter(t, testConfig(initDir(t, g), g), deps())
	defer run.mustStop()
	var all []rpc.Pending
	for i := range 50 {
		all = append(all, w.Enqueue([][]byte{fmt.Appendf(nil, "set a%d b", i), fmt.Appendf(nil, "set c%d d", i)}))
	}
	var last rpc.Submitted
	for i, p := range all {
		for _, r := range p.Wait(within(t)) {
			if r.Err != nil || r.Height < last.Height || r.Height == last.Height && r.Index <= last.Index && last.Height > 0 {
				t.Fatalf("submission %d is at %d/%d, the one before at %d/%d: %v", i, r.Height, r.Index, last.Height, last.Index, r.Err)
			}
			last = r
		}
		if !p.Done() {
			t.Fatal("answered and not done")
		}
	}
}

// A full queue is an answer, not a wait; what is in it is still answered.
func TestBusy(t *testing.T) {
	in := newIntake(&inspectors{jobs: make(chan *chunk, 8)}, 3, nil)
	raws := [][]byte{{1}, {2}}
	first := make(chan []rpc.Submitted, 1)
	go func() { first <- in.enqueue(raws).Wait(context.Background()) }()
	c := <-in.ordered
	if res := in.enqueue(raws).Wait(context.Background()); !errors.Is(res[0].Err, rpc.ErrBusy) || !errors.Is(res[1].Err, rpc.ErrBusy) {
		t.Fatalf("beyond the limit: %+v", res)
	}
	for i := range c.tag.([]ticket) {
		in.answer(&c.tag.([]ticket)[i], rpc.Submitted{Height: 9})
	}
	if res := <-first; res[1].Height != 9 {
		t.Fatalf("within the limit: %+v", res)
	}
	if n := in.waiting.Load(); n != 0 {
		t.Fatalf("%d transactions still count", n)
	}
	in.stop()
	if res := in.enqueue(raws).Wait(context.Background()); !errors.Is(res[0].Err, rpc.ErrStopping) {
		t.Fatalf("after stop: %+v", res)
	}
}

// K-12 and C-19: without an oracle blocks go on, marked stale; with one they are
// fresh, and a block carries the snapshot that was in force at its start.
func TestOracleGoesIntoBlocks(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	var mu sync.Mutex
	status, price := 500, uint64(100_000_000)
	cfg.Oracle.TimeoutMs = 1000
	cfg.Oracle.ServiceURL = priceServer(t, func() (int, string) {
		mu.Lock()
		defer mu.Unlock()
		now := nowMs()
		return status, fmt.Sprintf(`{"timestamp":%d,"prices":{"BTC/USDT":{"base":"0x0000000000000000000000000000000000000001","quote":"0x0000000000000000000000000000000000000100","price":"%d","decimals":6,"lastUpdate":%d,"sources":["test"]}}}`, now, price, now)
	})
	w, run := startWriter(t, cfg, deps())
	must(t, w.WaitFor(within(t), 3))
	b, _, err := w.Block(3)
	must(t, err)
	if !b.Oracle.Stale || len(b.Oracle.Prices) != 0 {
		t.Fatalf("without an oracle: %+v", b.Oracle)
	}
	mu.Lock()
	status = 200
	mu.Unlock()
	fresh := uint64(0)
	for h := uint64(4); fresh == 0; h++ {
		must(t, w.WaitFor(within(t), h))
		if b, _, err = w.Block(h); err != nil {
			t.Fatal(err)
		}
		if !b.Oracle.Stale && len(b.Oracle.Prices) == 1 {
			fresh = h
		}
	}
	if b.Oracle.Prices[0].Price != price || b.Oracle.Timestamp > b.Header.Time {
		t.Fatalf("block %d at %d: %+v", fresh, b.Header.Time, b.Oracle)
	}
	snapshot, id, err := w.Oracle(api.At(fresh))
	if err != nil || id.Number != fresh || snapshot.Prices[0].Price != price {
		t.Fatalf("oracle of block %d: %+v, %v", fresh, snapshot, err)
	}
	run.mustStop()
}

// Tags, numbers and hashes resolve to the same block; what is not there has its
// own error.
func TestResolve(t *testing.T) {
	g := testGenesis()
	w, run := startWriter(t, testConfig(initDir(t, g), g), deps())
	h := send(t, w, "set a 1")
	must(t, w.WaitFor(within(t), h))
	byNumber, err := w.Resolve(api.At(h))
	must(t, err)
	if byHash, err := w.Resolve(api.ByHash(byNumber.Hash)); err != nil || byHash != byNumber {
		t.Fatalf("by hash %v, %v; by number %v", byHash, err, byNumber)
	}
	for _, tag := range api.Tags {
		id, err := w.Resolve(api.ByTag(tag))
		if err != nil || (tag == api.TagEarliest) != (id.Number == 0) {
			t.Errorf("%s: %v, %v", tag, id, err)
		}
	}
	if _, err := w.Resolve(api.At(1 << 40)); !errors.Is(err, rpc.ErrBlockNotFound) {
		t.Errorf("future height: %v", err)
	}
	if _, err := w.Resolve(api.ByHash(chain.Hash{1})); !errors.Is(err, rpc.ErrBlockNotFound) {
		t.Errorf("unknown hash: %v", err)
	}
	if _, err := w.Transaction(chain.Hash{1}); !errors.Is(err, rpc.ErrTxNotFound) {
		t.Errorf("unknown transaction: %v", err)
	}
	if genesis, err := w.Header(0); err != nil || genesis.Parent != g.Hash() {
		t.Errorf("genesis: %+v, %v", genesis, err)
	}
	p, err := w.Prove(within(t), api.At(h), []byte("a"))
	if err != nil || !p.Present || string(p.Value) != "1" || p.Header.Height != h {
		t.Errorf("proof: %+v, %v", p, err)
	}
	run.mustStop()
}

// Invariant 2 for reads: what the open block showed is durable when the reader
// has it, also what no transaction has been answered for, such as its prices.
func TestPendingIsDurable(t *testing.T) {
	w := &Writer{jobs: make(chan *read), dead: make(chan struct{})}
	seen := make(chan error, 1)
	go func() {
		seen <- w.openBlock(context.Background(), func(*stf.Open) error { return nil })
	}()
	r := <-w.jobs
	r.err = r.run(nil)
	close(r.ran)
	select {
	case <-seen:
		t.Fatal("answered before the journal had it")
	default:
	}
	close(r.done)
	if err := <-seen; err != nil {
		t.Fatal(err)
	}
}

// TestPendingGivesUp: a reader waits for the journal no longer than it wants to, and not
// at all for one that has failed; but always until its question is not looked at any more.
func TestPendingGivesUp(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(cancel func(), dead chan struct{})
		want error
	}{
		"its context ends": {func(cancel func(), _ chan struct{}) { cancel() }, context.Canceled},
		"the node ends":    {func(_ func(), dead chan struct{}) { close(dead) }, rpc.ErrStopping},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := &Writer{jobs: make(chan *read), dead: make(chan struct{})}
				seen := make(chan error, 1)
				go func() {
					seen <- w.openBlock(ctx, func(*stf.Open) error { return nil })
				}()
				r := <-w.jobs
				if test.want == context.Canceled {
					test.end(cancel, w.dead)
					synctest.Wait()
					if len(seen) > 0 {
						t.Fatal("gave up while its question was looked at")
					}
				}
				r.err = r.run(nil)
				close(r.ran)
				if test.want == rpc.ErrStopping {
					synctest.Wait()
					test.end(cancel, w.dead)
				}
				synctest.Wait()
				if len(seen) == 0 {
					t.Fatal("waits for a journal that may never have it")
				}
				if err := <-seen; !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		})
	}
}
