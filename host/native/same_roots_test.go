package native_test

import (
	"context"
	"flag"
	"fmt"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
)

var rootBlocks = flag.Int("blocks", 60, "blocks of the same-roots test, 60 transactions each")

// node is one way to execute: a program, its chain's head and its state.
type node struct {
	name   string
	exec   *stf.Executor
	inspec stf.Inspector
	tree   *state.Tree
	head   chain.Header
}

func newNode(t *testing.T, name string, p stf.Program, g *chain.Genesis) *node {
	t.Helper()
	exec, err := stf.NewExecutor(p)
	if err != nil {
		t.Fatal(err)
	}
	inspector, err := p.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{name: name, exec: exec, inspec: inspector, tree: state.NewTree()}
	ov := state.NewOverlay(n.tree)
	results, err := exec.Genesis(g, ov)
	if err != nil {
		t.Fatal(err)
	}
	root, _ := n.tree.Commit(ov.Changes(), nil)
	n.head = g.Header(root, results)
	t.Cleanup(func() {
		inspector.Close()
		exec.Machine.Close()
		p.Close()
	})
	return n
}

// write executes candidates as a write node does: inspection, door, execution.
func (n *node) write(t *testing.T, time uint64, oracle chain.OracleSnapshot, candidates [][]byte) (*chain.Block, *stf.Closed) {
	o, err := n.exec.Begin(state.NewOverlay(n.tree), n.head.Height+1, time, oracle)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range candidates {
		tx := &stf.Tx{Raw: raw}
		if err := n.inspec.Inspect(tx); err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.Submit(tx); err != nil {
			t.Fatal(err)
		}
	}
	c := n.seal(t, o)
	return &chain.Block{Header: n.head, Oracle: oracle, Txs: c.Txs()}, c
}

// apply executes a block as a read node does, without having inspected it.
func (n *node) apply(t *testing.T, b *chain.Block) *stf.Closed {
	o, err := n.exec.Begin(state.NewOverlay(n.tree), b.Header.Height, b.Header.Time, b.Oracle)
	if err != nil {
		t.Fatal(err)
	}
	for i, raw := range b.Txs {
		if err := o.Apply(&stf.Tx{Raw: raw}); err != nil {
			t.Fatalf("%s: transaction %d: %v", n.name, i, err)
		}
	}
	return n.seal(t, o)
}

func (n *node) seal(t *testing.T, o *stf.Open) *stf.Closed {
	c, err := o.Close()
	if err != nil {
		t.Fatal(err)
	}
	root, _ := n.tree.Commit(c.Overlay.Changes(), nil)
	n.head = c.Header(&n.head, root)
	return c
}

// TestSameRoots is invariant 1: the same chain on wazero's compiler, on its
// interpreter and natively has the same headers, whichever of them wrote it, over
// thousands of random transactions of all kinds, failed ones included.
func TestSameRoots(t *testing.T) {
	g := traffic.New(7, traffic.Secp())
	nodes := []*node{}
	var genesis chain.Genesis
	for _, engine := range []wasm.Engine{wasm.Compiler, wasm.Interpreter} {
		p, err := wasm.Load(context.Background(), rfq.Wasm, wasm.Options{Engine: engine, Crypto: secp.Crypto{}})
		if err != nil {
			t.Fatal(err)
		}
		genesis = chain.Genesis{ChainID: 1, Time: 1_700_000_000_000, IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3000,
			SettlerEnabled: true, Settler: g.Address(traffic.Settler), ModuleHash: p.Hash(), Params: g.Params().Append(nil)}
		nodes = append(nodes, newNode(t, engine.String(), p, &genesis))
	}
	p, err := native.New(genesis.ModuleHash, rfq.New, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	nodes = append(nodes, newNode(t, "native", p, &genesis))

	codes, events := map[string]int{}, map[byte]int{}
	now := genesis.Time
	for block := range *rootBlocks {
		now += 100
		switch {
		case block%20 == 19:
			now += 3600 * 1000
		case block%10 == 9:
			now += 3_500
		}
		var candidates [][]byte
		for range 60 {
			candidates = append(candidates, g.Next(now))
		}
		writer := nodes[block%len(nodes)]
		b, want := writer.write(t, now, g.Oracle(now), candidates)
		for i := range want.Results.Receipts {
			codes[writer.exec.Schema.ErrorName(want.Results.Receipts[i].Code)]++
			for _, e := range want.Results.Receipts[i].Events {
				events[e[0]]++
			}
		}
		g.Opened = uint64(events[rfq.EventThesisCreated])
		for _, n := range nodes {
			if n == writer {
				continue
			}
			got := n.apply(t, b)
			if n.head != b.Header {
				t.Fatalf("block %d: %s has %+v, %s wrote %+v\n%s", b.Header.Height, n.name, n.head, writer.name, b.Header, differ(want, got))
			}
		}
	}
	t.Logf("outcomes: %v", codes)
	if opened, settled := events[rfq.EventThesisCreated], events[rfq.EventThesisSettled]; opened < *rootBlocks || settled < *rootBlocks/2 {
		t.Errorf("%d theses were opened and %d settled in %d blocks", opened, settled, *rootBlocks)
	}
	if len(codes) < 15 || codes["Error0"] < *rootBlocks {
		t.Errorf("the traffic is too tame to prove anything: %v", codes)
	}
}

// differ names the first receipt or write in which two executions differ.
func differ(want, got *stf.Closed) string {
	for i := range want.Results.Receipts {
		if w, g := want.Results.Receipts[i], got.Results.Receipts[i]; fmt.Sprint(w) != fmt.Sprint(g) {
			return fmt.Sprintf("receipt %d: %+v, want %+v", i, g, w)
		}
	}
	w, g := want.Overlay.Changes(), got.Overlay.Changes()
	for i := range min(len(w), len(g)) {
		if fmt.Sprint(w[i]) != fmt.Sprint(g[i]) {
			return fmt.Sprintf("change %d: %x, want %x", i, fmt.Sprint(g[i]), fmt.Sprint(w[i]))
		}
	}
	return fmt.Sprintf("%d changes, want %d", len(g), len(w))
}
