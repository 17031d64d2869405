package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/modules"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// patience bounds whatever the tests wait for.
const patience = 30 * time.Second

// playing makes this test binary one of the processes of TestKill.
const (
	playing      = "SETTLER_TEST_AS"
	nodeDir      = "SETTLER_TEST_NODE_DIR"
	nodeRPC      = "SETTLER_TEST_NODE_RPC"
	nodeSync     = "SETTLER_TEST_NODE_SYNC"
	nodeFeed     = "SETTLER_TEST_NODE_ORACLE"
	nodeInterval = "SETTLER_TEST_NODE_INTERVAL"
	nodeSandbox  = "SETTLER_TEST_NODE_SANDBOX"
)

func TestMain(m *testing.M) {
	switch os.Getenv(playing) {
	case "settler":
		main()
	case "node":
		if err := runNode(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// runNode is a write node of the market until it is killed.
func runNode() error {
	program, err := market()
	if err != nil {
		return err
	}
	cfg := nodeConfig(os.Getenv(nodeDir))
	cfg.RPC.Listen, cfg.Sync.Listen, cfg.Oracle.ServiceURL, cfg.Oracle.TimeoutMs = os.Getenv(nodeRPC), os.Getenv(nodeSync), os.Getenv(nodeFeed), 100
	w, err := node.NewWriter(context.Background(), cfg, node.Deps{Program: program, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	fmt.Println("up")
	return w.Run(context.Background())
}

// market is the module as plain Go, because what is tested here is not the
// sandbox, or in it, as users run it, where times are measured.
func market() (stf.Program, error) {
	if os.Getenv(nodeSandbox) == "" {
		return native.New(chain.Hash{7}, rfq.New, native.Options{Crypto: secp.Crypto{}})
	}
	file, _ := modules.Lookup("rfq")
	return wasm.Load(context.Background(), file, wasm.Options{Crypto: secp.Crypto{}})
}

var (
	admin, user, solver, settler = devKey(0), devKey(1), devKey(2), devKey(9)
	pair                         = [2]tx.Address{{19: 1}, {18: 1}}
)

func devKey(i int) *secp.Key {
	k, err := keys.DevKey(i)
	if err != nil {
		panic(err)
	}
	return k
}

// genesis is a market with as short a challenge window as it may have.
func genesis() *chain.Genesis {
	p := params.Params{ChallengeWindowMs: 3000, Markets: []params.Market{{Base: pair[0], Quote: pair[1], Name: "BTC/USDT",
		Limits: tx.Limits{MinBet: 1, MaxBet: 1_000_000, MaxOpenInterest: 1 << 50}}}}
	for key, permissions := range map[*secp.Key]uint8{admin: tx.PermAdmin, user: 0, solver: 0, settler: tx.PermSettler} {
		p.Accounts = append(p.Accounts, params.Account{Address: key.Address(), Balance: 1_000_000_000, Permissions: permissions})
	}
	slices.SortFunc(p.Accounts, func(a, b params.Account) int { return slices.Compare(a.Address[:], b.Address[:]) })
	return &chain.Genesis{ChainID: 3, Time: 1_000, IntervalMs: 20, MaxTxsPerBlock: 1000, MaxStaleMs: 3000, SettlerEnabled: true,
		Settler: settler.Address(), ModuleHash: chain.Hash{7}, Params: p.Append(nil)}
}

func nodeConfig(dir string) node.Config {
	g, cfg := genesis(), node.Defaults()
	cfg.DataDir = dir
	if v, err := strconv.ParseUint(os.Getenv(nodeInterval), 10, 64); err == nil {
		g.IntervalMs = v
	}
	cfg.Block.IntervalMs, cfg.Block.MaxTxsPerBlock, cfg.Settler.Address = g.IntervalMs, g.MaxTxsPerBlock, g.Settler
	cfg.History.Blocks = 1000
	return cfg
}

// world is an oracle here, and a node and a settler in processes of their own.
type world struct {
	testing.TB
	dir, rpc, sync, feed string
	client               *client.Client
	genesis              *chain.Genesis

	mu    sync.Mutex
	price uint64
	node  *exec.Cmd
	relay *exec.Cmd
	ids   []uint64
	salt  uint64
	stamp uint64
}

func newWorld(t testing.TB, change ...func(*chain.Genesis)) *world {
	w := &world{TB: t, dir: t.TempDir(), rpc: freePort(t), sync: freePort(t), price: 100_000_000}
	feed := httptest.NewServer(http.HandlerFunc(w.servePrice))
	t.Cleanup(feed.Close)
	w.feed = feed.URL
	g := genesis()
	for _, f := range change {
		f(g)
	}
	w.genesis = g
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	copy(g.Sequencer[:], key.Public().(ed25519.PublicKey))
	w.must(node.Init(filepath.Join(w.dir, "node"), g))
	w.must(node.WriteSequencerKey(filepath.Join(w.dir, "node"), key))
	var err error
	w.client, err = client.New("http://" + w.rpc)
	w.must(err)
	t.Cleanup(func() {
		w.client.Close()
		for _, p := range []*exec.Cmd{w.node, w.relay} {
			if p != nil {
				_ = p.Process.Kill() // it may have ended already
				_ = p.Wait()
			}
		}
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// freePort is an address that nobody listens on: processes that are killed come
// back on it.
func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) servePrice(out http.ResponseWriter, _ *http.Request) {
	w.mu.Lock()
	price := w.price
	w.mu.Unlock()
	now := time.Now().UnixMilli()
	fmt.Fprintf(out, `{"timestamp":%d,"prices":{"BTC/USDT":{"base":"0x%x","quote":"0x%x","price":"%d","decimals":6,"lastUpdate":%d,"sources":["test"]}}}`,
		now, pair[0][:], pair[1][:], price, now)
}

func (w *world) setPrice(v uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.price = v
}

// play starts this binary as another program, and waits for its line.
func (w *world) play(as, ready string, env []string, args ...string) *exec.Cmd {
	w.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), playing+"="+as), env...)
	out, err := cmd.StdoutPipe()
	w.must(err)
	if as == "settler" {
		out, err = cmd.StderrPipe()
		w.must(err)
	}
	w.must(cmd.Start())
	line := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		var all strings.Builder
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), ready) {
				line <- nil
				_, _ = io.Copy(io.Discard, out)
				return
			}
		}
		line <- fmt.Errorf("%s ended before %q:\n%s", as, ready, all.String())
	}()
	select {
	case err := <-line:
		w.must(err)
	case <-time.After(patience):
		w.Fatalf("%s does not say %q", as, ready)
	}
	return cmd
}

func (w *world) startNode() {
	w.Helper()
	w.node = w.play("node", "up", []string{nodeDir + "=" + filepath.Join(w.dir, "node"), nodeRPC + "=" + w.rpc, nodeSync + "=" + w.sync, nodeFeed + "=" + w.feed, fmt.Sprint(nodeInterval, "=", w.genesis.IntervalMs)})
}

func (w *world) startSettler(ready string) {
	w.Helper()
	w.relay = w.play("settler", ready, []string{keyVariable + "=" + hex.EncodeToString(settler.Bytes())},
		"--write-node", "ws://"+w.sync, "--rpc-url", "http://"+w.rpc, "--pairs", "BTC/USDT", "--metrics-port", "0",
		"--data-dir", filepath.Join(w.dir, "settler"), "--check-interval", "20", "--deadline-buffer", "50", "--json-logs", "--batch-size", "5")
}

// kill is kill -9.
func (w *world) kill(p **exec.Cmd) {
	w.Helper()
	w.must((*p).Process.Kill())
	_ = (*p).Wait() // it was killed
	*p = nil
}

// submit opens theses of both kinds around the price of now. A node that is being
// killed takes what it can.
func (w *world) submit(n int, rng *rand.Rand) {
	w.submitEach(n, func(q *tx.Quote) {
		q.Lower, q.Upper = 99_000_000-rng.Uint64N(4)*1_000_000, 101_000_000+rng.Uint64N(4)*1_000_000
		q.Start += rng.Uint64N(200)
		q.End = q.Start + 100 + rng.Uint64N(600)
	})
}

func (w *world) submitEach(n int, terms func(*tx.Quote)) {
	var hasher tx.Hasher
	now := uint64(time.Now().UnixMilli())
	var raws [][]byte
	for range n {
		w.salt++
		w.stamp = max(w.stamp+1, now)
		q := tx.Quote{Base: pair[0], Quote: pair[1], BetAmount: 1000, Payout: 1500, Start: now + 200, Deadline: now + 60_000,
			User: user.Address(), Solver: solver.Address(), Salt: w.salt}
		terms(&q)
		digest := hasher.QuoteDigest(secp.Keccak{}, &q)
		accepted, err := user.Sign(&digest)
		w.must(err)
		t := tx.Transaction{From: solver.Address(), Timestamp: w.stamp, Kind: tx.KindRfqSubmit, RfqSubmit: tx.RfqSubmit{Quote: q, UserSignature: accepted}}
		w.must(hasher.Sign(secp.Keccak{}, &t, func(digest *tx.Hash) (tx.Signature, error) { return solver.Sign(digest) }))
		raws = append(raws, t.Append(nil))
	}
	receipts, err := w.client.SendTransactions(context.Background(), raws)
	if err != nil {
		return
	}
	for _, r := range receipts {
		if r.Error == nil {
			w.ids = append(w.ids, r.Events[0].Get("thesis_id").(uint64))
		} else if *r.Error != "OracleStale" && *r.Error != "InvalidStartTime" {
			w.Errorf("%s: %s", *r.Error, r.ErrorDetail)
		}
	}
}

// ask runs a query of the module.
func (w *world) ask(q []byte, result any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := w.client.Query(ctx, q, api.Ref{})
	if err == nil {
		err = json.Unmarshal(a.Result, result)
	}
	return err
}

// waitHeight waits until the chain has so many blocks more: a clock that stands
// still with the node.
func (w *world) waitBlocks(n uint64) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	from, err := w.client.Status(ctx)
	w.must(err)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := w.client.Status(ctx)
		w.must(err)
		if now.Height >= from.Height+n {
			return
		}
		<-tick.C
	}
}

type openPage struct{ Theses []json.RawMessage }

// waitSettled waits until no thesis is open.
func (w *world) waitSettled() {
	w.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var open openPage
		w.must(w.ask(query.DueTheses("BTC/USDT", ^uint64(0), query.Page{Limit: 500}), &open))
		if len(open.Theses) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("%d theses are still open: %s …", len(open.Theses), open.Theses[0])
		}
		<-tick.C
	}
}

// TestKill is the settler with real processes: whatever moment kill -9 hits it, or
// the node, every thesis is settled once, as the recorded prices decide, and the
// chain never has to refuse a settlement.
func TestKill(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(5, uint64(time.Now().UnixNano())))
	w.startNode()
	w.startSettler("caught up")
	for round := range 6 {
		w.submit(30, rng)
		w.setPrice(100_000_000)
		w.waitBlocks(15)
		w.setPrice(97_500_000 + rng.Uint64N(2)*5_000_000) // out of the range of some
		timer := time.NewTimer(time.Duration(rng.IntN(120)) * time.Millisecond)
		<-timer.C
		switch round % 3 {
		case 0:
			w.kill(&w.relay)
		case 1:
			w.kill(&w.node)
			w.startNode()
			continue
		case 2: // both, and the settler comes back first
			w.kill(&w.node)
			w.kill(&w.relay)
			w.startSettler("waiting for the node")
			w.startNode()
			continue
		}
		w.startSettler("caught up")
	}
	w.setPrice(100_000_000)
	w.waitSettled()
	if failed := w.check(); len(failed) > 0 {
		t.Errorf("failed: %q", failed)
	}
}

// TestLostDisk: what the settler needs is in the chain's state. Without its files
// it may send what it has sent before, and nothing worse.
func TestLostDisk(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(6, 1))
	w.startNode()
	w.startSettler("caught up")
	for range 2 {
		w.submit(300, rng)
		w.submit(300, rng) // more than a page
		w.waitBlocks(20)
		w.kill(&w.relay)
		w.setPrice(97_500_000)
		w.waitBlocks(10)
		w.setPrice(100_000_000)
		w.waitBlocks(5)
		w.must(os.RemoveAll(filepath.Join(w.dir, "settler")))
		w.startSettler("caught up")
	}
	w.waitSettled()
	w.check()
}

// check reads the whole chain, and returns the settlements that failed.
func (w *world) check() (failed []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, err := w.client.Status(ctx)
	w.must(err)
	settled := map[uint64]int{}
	for h := uint64(1); h <= status.Height; h++ {
		b, err := w.client.Block(ctx, api.At(h))
		w.must(err)
		for _, t := range b.Transactions {
			if t.Error != nil && strings.Contains(string(t.Decoded), "Settle") {
				failed = append(failed, fmt.Sprintf("block %d: %s: %s", h, *t.Error, t.Decoded))
			}
			for _, e := range t.Events {
				if e.Type == "thesis_settled" {
					settled[e.Get("thesis_id").(uint64)]++
				}
			}
		}
	}
	outcomes := map[string]int{}
	for _, id := range w.ids {
		if settled[id] != 1 {
			w.Errorf("thesis %d was settled %d times", id, settled[id])
		}
		var v struct {
			Outcome      string
			Lower, Upper api.Amount
			Start, End   uint64
		}
		w.must(w.ask(query.Thesis(id), &v))
		outcomes[v.Outcome]++
		if want := w.truth(uint64(v.Lower), uint64(v.Upper), v.Start, v.End); v.Outcome != want {
			w.Errorf("thesis %d came to %s, the recorded prices say %s", id, v.Outcome, want)
		}
	}
	if outcomes["user_wins"] == 0 || outcomes["solver_wins"] == 0 {
		w.Errorf("outcomes %v", outcomes)
	}
	var totals struct {
		Escrow    api.Amount
		Conserved bool
	}
	w.must(w.ask(query.Totals(), &totals))
	if totals.Escrow != 0 || !totals.Conserved {
		w.Errorf("totals %+v", totals)
	}
	w.Logf("%d blocks, outcomes %v, %d failed", status.Height, outcomes, len(failed))
	return failed
}

// truth is what the recorded prices decide.
func (w *world) truth(lower, upper, start, end uint64) string {
	var h struct {
		Prices []struct {
			Timestamp uint64
			Price     api.Amount
		}
	}
	w.must(w.ask(query.History("BTC/USDT", start, end), &h))
	last, hole := start, uint64(0)
	for _, p := range h.Prices {
		if uint64(p.Price) < lower || uint64(p.Price) > upper {
			return "solver_wins"
		}
		hole, last = max(hole, p.Timestamp-last), p.Timestamp
	}
	if max(hole, end-last) > 3000 {
		return "void"
	}
	return "user_wins"
}

// TestStops: told to stop, the settler says goodbye with 0 and goes on from its
// files the next time.
func TestStops(t *testing.T) {
	w := newWorld(t)
	w.startNode()
	w.startSettler("caught up")
	w.must(w.relay.Process.Signal(os.Interrupt))
	w.must(w.relay.Wait())
	w.startSettler("going on")
	w.kill(&w.relay)
	var errs strings.Builder
	code := Main([]string{"--pairs", "DOGE/USDT", "-w", w.sync, "-r", w.rpc, "--dev-account", "9", "--metrics-port", "0", "--data-dir", t.TempDir()},
		cli.IO{In: strings.NewReader(""), Out: io.Discard, Err: &errs})
	if code != cli.ExitUsage || !strings.Contains(errs.String(), `no such market: "DOGE/USDT", the chain has BTC/USDT`) {
		t.Errorf("%d: %s", code, errs.String())
	}
}

// BenchmarkLatency is the time from a breach, as the oracle dates it, to the
// sealed block that settles it, with 10,000 theses watched and about ten broken by
// each price; blocks of 100 ms, everything on this machine.
func BenchmarkLatency(b *testing.B) {
	const theses, step = 10_000, 10
	b.Setenv(nodeSandbox, "yes")
	program, err := market()
	if err != nil {
		b.Fatal(err)
	}
	w := newWorld(b, func(g *chain.Genesis) { g.IntervalMs, g.ModuleHash = 100, program.Hash() })
	w.startNode()
	w.startSettler("caught up")
	w.waitBlocks(3)
	for range theses / 250 {
		w.submitEach(250, func(q *tx.Quote) {
			q.Lower, q.Upper = 100_000_000-1000*w.salt, 1_000_000_000_000
			q.Start += 1000
			q.End = q.Start + 600_000
		})
	}
	if len(w.ids) != theses {
		b.Fatalf("%d theses", len(w.ids))
	}
	w.waitBlocks(20)
	from, err := w.client.Status(context.Background())
	w.must(err)
	b.ResetTimer()
	for i := range b.N {
		w.setPrice(100_000_000 - uint64(i+1)*step*1000)
		w.waitBlocks(1)
	}
	w.waitBlocks(5)
	b.StopTimer()
	latencies := w.latencies(from.Height)
	slices.Sort(latencies)
	if len(latencies) == 0 {
		b.Fatal("nothing was settled")
	}
	b.ReportMetric(float64(latencies[len(latencies)/2]), "p50-ms")
	b.ReportMetric(float64(latencies[len(latencies)*95/100]), "p95-ms")
	b.ReportMetric(float64(latencies[len(latencies)*99/100]), "p99-ms")
	b.ReportMetric(float64(len(latencies)), "settled")
}

// latencies are the times from each breach to the opening of the block after the
// one that settles it, ms: that is when that one was sealed.
func (w *world) latencies(from uint64) (all []uint64) {
	status, err := w.client.Status(context.Background())
	w.must(err)
	var breaches []uint64 // of the block before
	for h := from; h <= status.Height; h++ {
		b, err := w.client.Block(context.Background(), api.At(h))
		w.must(err)
		for _, at := range breaches {
			all = append(all, b.Header.Time-at)
		}
		breaches = nil
		for _, t := range b.Transactions {
			for _, e := range t.Events {
				if e.Type == "thesis_settled" {
					breaches = append(breaches, e.Get("breach_timestamp").(uint64))
				}
			}
		}
	}
	return all
}
