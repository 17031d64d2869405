package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wire"
)

// sameChain compares every block of two nodes.
func sameChain(t *testing.T, w *Writer, r *Reader, to uint64) {
	t.Helper()
	for h := uint64(0); h <= to; h++ {
		a, err := w.Header(h)
		must(t, err)
		b, err := r.Header(h)
		must(t, err)
		if a.Hash() != b.Hash() {
			t.Fatalf("block %d is %s on the writer and %s on the reader", h, a.Hash(), b.Hash())
		}
	}
}

// K-15 to K-20: a read node that starts late catches up while the writer keeps
// sealing, switches to live without gap or duplicate, survives a restart in the
// middle, needs no oracle, and serves a third node that follows it.
func TestFollow(t *testing.T) {
	g := testGenesis()
	w, writer := startWriter(t, testConfig(initDir(t, g), g), deps())
	_, addr := w.Addrs()
	feed := func(from int) (h uint64) {
		for i := range 40 {
			h = send(t, w, fmt.Sprintf("set k%d %d", i%7, from+i), fmt.Sprintf("count c%d", from+i), fmt.Sprintf("trap %d", from+i))
		}
		return h
	}
	feed(0)
	cfg := readerConfig(t, g, "ws://"+addr)
	r, reader := startReader(t, cfg, deps())
	h := feed(100)
	must(t, r.WaitFor(within(t), h))
	sameChain(t, w, r, h)
	_, next := r.Addrs()
	r2, second := startReader(t, readerConfig(t, g, "tcp://"+next), deps())
	must(t, r2.WaitFor(within(t), h))
	reader.mustStop()
	h = feed(200)
	r, reader = startReader(t, cfg, deps())
	must(t, r.WaitFor(within(t), h))
	sameChain(t, w, r, h)
	waitTips(t, r, h)
	if s := r.Status(); s.Alarm != "" || s.Role != api.RoleRead || s.Tips.Finalized.Block.Height < h {
		t.Errorf("status %+v", s)
	}
	if res := r.Enqueue([][]byte{[]byte("set a b")}).Wait(within(t)); !errors.Is(res[0].Err, rpc.ErrReadOnly) {
		t.Fatalf("enqueue: %v", res[0].Err)
	}
	if res := r.Submit(within(t), [][]byte{[]byte("set a b")}); !errors.Is(res[0].Err, rpc.ErrReadOnly) {
		t.Errorf("a read node took a transaction: %+v", res)
	}
	if v, at, err := r.Query(within(t), api.At(h), []byte("k1")); err != nil || at.Number != h {
		t.Errorf("query at %d: %s %v %v", h, v, at, err)
	}
	second.mustStop()
	reader.mustStop()
	writer.mustStop()
	if _, err := VerifyRange(within(t), cfg.DataDir, deps(), VerifyOptions{From: 1}); err != nil {
		t.Errorf("the read node's directory: %v", err)
	}
}

// waitTips waits until the finalized cursor, which moves last, is at height.
func waitTips(t *testing.T, r *Reader, height uint64) {
	t.Helper()
	ctx := within(t)
	for {
		r.mu.Lock()
		changed, tips := r.changed, r.tips
		r.mu.Unlock()
		if tips.Finalized.Block.Number >= height {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("tips %+v, want finalized at %d", tips, height)
		}
	}
}

// The writer goes away and comes back: the reader reconnects by itself.
func TestWriterRestartsUnderAReader(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	w, writer := startWriter(t, cfg, deps())
	_, cfg.Sync.Listen = w.Addrs()
	r, _ := startReader(t, readerConfig(t, g, cfg.Sync.Listen), deps())
	must(t, r.WaitFor(within(t), send(t, w, "set a 1")))
	writer.mustStop()
	w, writer = startWriter(t, cfg, deps())
	h := send(t, w, "set a 2")
	must(t, r.WaitFor(within(t), h))
	sameChain(t, w, r, h)
	writer.mustStop()
}

// K-17, K-18 and item 16 of the issue: each kind of bad block is refused with its
// own error; the node stays at the parent, raises the alarm, keeps an evidence
// file, answers queries at its last good height, and goes on when the source
// has the right block again.
func TestBadBlocks(t *testing.T) {
	g := testGenesis()
	good := sealedChain(t, g, 6)
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	last := len(good) - 1
	for _, c := range []struct {
		name string
		bad  func(b *chain.Block)
		want error
	}{
		{"wrong root", func(b *chain.Block) { b.Header.StateRoot[3]++; b.Header.Sign(testKey) }, &stf.Mismatch{}},
		{"wrong receipts", func(b *chain.Block) { b.Header.ReceiptsRoot[3]++; b.Header.Sign(testKey) }, &stf.Mismatch{}},
		{"wrong signature", func(b *chain.Block) { b.Header.Signature[3]++ }, chain.ErrSignature},
		{"signed by another", func(b *chain.Block) { b.Header.Sign(other) }, chain.ErrSignature},
		{"wrong time", func(b *chain.Block) { b.Header.Time = good[last-1].Header.Time; b.Header.Sign(testKey) }, chain.ErrTime},
		{"other contents", func(b *chain.Block) { b.Txs = [][]byte{[]byte("set other contents")} }, chain.ErrContents},
		{"other contents that are refused", func(b *chain.Block) { b.Txs = [][]byte{[]byte("refuse")} }, chain.ErrContents},
		{"other contents that trap", func(b *chain.Block) { b.Txs = [][]byte{[]byte("end trap")} }, chain.ErrContents},
		{"refused transaction", func(b *chain.Block) { resealed(b, "refuse") }, stf.ErrRefusedInBlock},
		{"malformed transaction", func(b *chain.Block) { resealed(b, "bad") }, stf.ErrRefusedInBlock},
		{"hook trap", func(b *chain.Block) { resealed(b, "end trap") }, &stf.HookError{}},
		{"other module", func(b *chain.Block) { b.Header.ModuleHash[0]++; b.Header.Sign(testKey) }, stf.ErrModule},
		{"too many transactions", func(b *chain.Block) {
			lines := make([]string, g.MaxTxsPerBlock+1)
			for i := range lines {
				lines[i] = fmt.Sprintf("set k %d", i)
			}
			resealed(b, lines...)
		}, chain.ErrTooLarge},
		{"one transaction more", func(b *chain.Block) { resealed(b, "set extra 1") }, &stf.Mismatch{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := *good[last]
			c.bad(&b)
			src := newSource(t, g, append(append([]*chain.Block{}, good[:last]...), &b))
			cfg := readerConfig(t, g, src.addr)
			r, run := startReader(t, cfg, deps())
			alarm := alarmed(t, r)
			if r.Verified() != uint64(last-1) {
				t.Fatalf("verified up to %d, want %d (%s)", r.Verified(), last-1, alarm)
			}
			if err := r.WaitFor(within(t), uint64(last)); !errors.Is(err, ErrVerification) {
				t.Errorf("WaitFor: %v", err)
			}
			cause := r.refusedCause(b.Header.Hash())
			if !matches(cause, c.want) {
				t.Errorf("refused with %v, want %T %v", cause, c.want, c.want)
			}
			if files, err := filepath.Glob(filepath.Join(cfg.DataDir, "evidence", "*.json")); err != nil || len(files) != 1 {
				t.Errorf("evidence %v, %v", files, err)
			}
			if _, at, err := r.Query(within(t), api.Ref{}, []byte("k1")); err != nil || at.Number != uint64(last-1) {
				t.Errorf("query: at %v, %v", at, err)
			}
			for _, check := range r.Health() {
				if check.Name == "verified" && check.OK {
					t.Errorf("health says %+v", check)
				}
			}
			run.mustStop()
			// The same directory goes on with an honest source.
			honest := newSource(t, g, good)
			cfg.Sync.WriteNode = honest.addr
			r, run = startReader(t, cfg, deps())
			must(t, r.WaitFor(within(t), uint64(last)))
			run.mustStop()
		})
	}
}

// resealed puts other transactions into a block and signs what is then in it,
// with the roots of before.
func resealed(b *chain.Block, lines ...string) {
	b.Txs = nil
	for _, l := range lines {
		b.Txs = append(b.Txs, []byte(l))
	}
	b.Header.TxsRoot = chain.TxsRoot(b.Txs)
	b.Header.Sign(testKey)
}

func matches(err, want error) bool {
	var mismatch *stf.Mismatch
	var hook *stf.HookError
	switch want.(type) {
	case *stf.Mismatch:
		return errors.As(err, &mismatch)
	case *stf.HookError:
		return errors.As(err, &hook)
	}
	return errors.Is(err, want)
}

// refusedCause is read after the alarm, when the follow loop waits.
func (r *Reader) refusedCause(hash chain.Hash) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused[hash]
}

// A peer of another chain, or with another module, is refused in the handshake
// with its own error, in both directions.
func TestOtherChainIsRefused(t *testing.T) {
	g := testGenesis()
	src := newSource(t, g, sealedChain(t, g, 1))
	cfg := readerConfig(t, g, src.addr)
	d := deps()
	d.Program = otherModule{}
	if _, err := NewReader(context.Background(), cfg, d); !errors.Is(err, wire.ErrModule) || !errors.Is(err, ErrVerification) {
		t.Errorf("other module, empty directory: %v", err)
	}
	cfg.Sync.Genesis = chain.Hash{1}.String()
	if _, err := NewReader(context.Background(), cfg, deps()); !errors.Is(err, ErrVerification) {
		t.Errorf("other genesis than the pinned one: %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "genesis.bin")); err == nil {
		t.Error("the refused chain's genesis was stored")
	}
	cfg.Sync.Genesis = ""
	second := testGenesis(func(g *chain.Genesis) { g.Time++ })
	must(t, Init(cfg.DataDir, second))
	r, run := startReader(t, cfg, deps())
	if alarm := alarmed(t, r); !strings.Contains(alarm, "genesis is "+second.Hash().String()) {
		t.Errorf("alarm %q", alarm)
	}
	run.mustStop()
	cfg = readerConfig(t, g, "127.0.0.1:1")
	if _, err := NewReader(context.Background(), cfg, deps()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

// P-18, R-48: the source takes back blocks that were not final. The reader rolls
// its state back, from memory or by executing again, and follows; the state is
// that of a fresh replay of the new chain. What is final is never taken back.
func TestReorg(t *testing.T) {
	g := testGenesis()
	long := sealedChain(t, g, 12)
	fork := forked(t, g, long[:5], 20)
	for _, history := range []int{1024, 3} {
		src := newSource(t, g, long)
		src.set(long, 2)
		cfg := readerConfig(t, g, src.addr)
		cfg.History.Blocks = history
		r, run := startReader(t, cfg, deps())
		must(t, r.WaitFor(within(t), uint64(len(long)-1)))
		src.set(fork, 2)
		must(t, waitHash(t, r, fork[len(fork)-1].Header.ID()))
		run.mustStop()
		if _, err := VerifyRange(within(t), cfg.DataDir, deps(), VerifyOptions{From: 1}); err != nil {
			t.Errorf("history %d: %v", history, err)
		}
	}
	src := newSource(t, g, long) // everything final
	r, run := startReader(t, readerConfig(t, g, src.addr), deps())
	must(t, r.WaitFor(within(t), uint64(len(long)-1)))
	src.set(fork, len(fork)-1)
	if alarm := alarmed(t, r); r.Verified() != uint64(len(long)-1) {
		t.Errorf("a final block was taken back: at %d, %s", r.Verified(), alarm)
	}
	run.mustStop()
}

// forked seals other blocks on top of a prefix, as a writer would that lost the
// rest.
func forked(t *testing.T, g *chain.Genesis, prefix []*chain.Block, n int) []*chain.Block {
	t.Helper()
	dir := initDir(t, g)
	exec, err := stf.NewExecutor(hosttest.Script{})
	must(t, err)
	st, err := openWritable(dir)
	must(t, err)
	l, err := newLedger(st, exec, 8)
	must(t, err)
	inspect, err := newInspectors(hosttest.Script{}, 1, 64)
	must(t, err)
	defer inspect.close()
	for _, b := range prefix[1:] {
		closed, err := l.execute(exec, prepare(inspect, b, nil), l.tip())
		must(t, err)
		_, err = l.append(closed, adopt(&b.Header), nil)
		must(t, err)
	}
	must(t, st.Close())
	w, run := startWriter(t, testConfig(dir, g), deps())
	for i := len(prefix); i <= n; i++ {
		must(t, w.WaitFor(within(t), send(t, w, fmt.Sprintf("set fork %d", i))))
	}
	var blocks []*chain.Block
	for h := uint64(0); h <= w.Head().Height; h++ {
		b, _, err := w.Block(h)
		must(t, err)
		blocks = append(blocks, b)
	}
	run.mustStop()
	return blocks
}

// waitHash waits until the reader's head is id.
func waitHash(t *testing.T, r *Reader, id chain.BlockID) error {
	ctx := within(t)
	for {
		head, moved := r.views.next()
		if head.ID() == id {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("reader is at %d %s, want %d %s, alarm %q", head.Height, head.Hash(), id.Number, id.Hash, r.Status().Alarm)
		}
	}
}
