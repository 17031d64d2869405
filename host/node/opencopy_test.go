package node

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/sequencer"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wire"
)

// copier is an openCopy without a node around it.
type copier struct {
	*openCopy
	t    *testing.T
	came how // of blocks
}

// how a sealed block came to a read node.
type how int

const (
	withDoorbell how = iota
	byPass           // which left what was executed ahead to whoever takes it
	inspected        // by a pass that did not know of that, and inspected all of it
	hows
)

func newCopier(t *testing.T, g *chain.Genesis, history int) *copier {
	t.Helper()
	l, _ := testLedger(t, g, history)
	exec, err := stf.NewExecutor(hosttest.Script{})
	must(t, err)
	inspect, err := newInspectors(hosttest.Script{}, 1, 64)
	must(t, err)
	t.Cleanup(inspect.close)
	return &copier{openCopy: &openCopy{ledger: l, exec: exec, inspect: inspect}, t: t}
}

// settle adds a block as a read node does that has this copy.
func (o *copier) settle(b *chain.Block) (ahead int, err error) {
	run := pipeline{ledger: o.ledger, exec: o.exec, settle: o.ledger.recommit}
	var p *prepared
	switch o.came {
	case withDoorbell:
		p = prepareRest(o.inspect, b, o.take(b))
	case inspected:
		p = prepare(o.inspect, b, nil)
	}
	p = o.goOn(p, b, run.tip())
	if p.begun != nil {
		ahead = len(p.begun.txs)
	}
	err = run.add(p)
	return ahead, errors.Join(err, run.finish())
}

// said is what the source says of transactions from to to of a block.
func said(b *chain.Block, from, to int) wire.OpenTxs {
	txs := make([][]byte, 0, to-from)
	for _, tx := range b.Txs[from:to] {
		txs = append(txs, slices.Clone(tx))
	}
	return wire.OpenTxs{Number: b.Header.Height, Time: b.Header.Time, Oracle: b.Oracle, First: uint32(from), Txs: txs}
}

// ended is m as the last of its block.
func ended(m wire.OpenTxs) wire.OpenTxs {
	m.Last = true
	return m
}

// fullChain is a chain whose blocks have so many transactions.
func fullChain(t *testing.T, g *chain.Genesis, txs ...int) []*chain.Block {
	t.Helper()
	l, seal := testLedger(t, g, 4)
	blocks := []*chain.Block{{Header: l.genesisHeader}}
	for _, n := range txs {
		b, err := l.store.Block(seal(n).Height)
		must(t, err)
		blocks = append(blocks, b)
	}
	return blocks
}

// TestOpenCopy: however much of a block was executed before it was sealed, and
// whatever the source said of it that is not so, it comes out as its header says.
func TestOpenCopy(t *testing.T) {
	g := testGenesis(func(g *chain.Genesis) { g.MaxTxsPerBlock = 40 })
	blocks := fullChain(t, g, 40, 39, 38)
	b, next := blocks[1], blocks[2]
	changed := func(m wire.OpenTxs, change func(*wire.OpenTxs)) wire.OpenTxs {
		change(&m)
		return m
	}
	txs := func(lines ...string) (txs [][]byte) {
		for _, l := range lines {
			txs = append(txs, []byte(l))
		}
		return txs
	}
	for _, c := range []struct {
		name  string
		said  []wire.OpenTxs
		ahead [2]int // of blocks 1 and 2
	}{
		{"nothing", nil, [2]int{}},
		{"all at once", []wire.OpenTxs{said(b, 0, 40)}, [2]int{40}},
		{"all in parts", []wire.OpenTxs{said(b, 0, 1), said(b, 1, 17), said(b, 17, 40)}, [2]int{40}},
		{"some", []wire.OpenTxs{said(b, 0, 3), said(b, 3, 9)}, [2]int{9}},
		{"not from the beginning", []wire.OpenTxs{said(b, 1, 9)}, [2]int{}},
		{"from the beginning, too late", []wire.OpenTxs{said(b, 1, 9), said(b, 0, 9)}, [2]int{}},
		{"a part is missing", []wire.OpenTxs{said(b, 0, 3), said(b, 4, 9), said(b, 3, 4)}, [2]int{}},
		{"a part twice", []wire.OpenTxs{said(b, 0, 3), said(b, 0, 3)}, [2]int{}},
		{"another time", []wire.OpenTxs{changed(said(b, 0, 3), func(m *wire.OpenTxs) { m.Time++ })}, [2]int{}},
		{"other prices", []wire.OpenTxs{changed(said(b, 0, 3), func(m *wire.OpenTxs) { m.Oracle.Stale = true })}, [2]int{}},
		{"another transaction", []wire.OpenTxs{changed(said(b, 0, 3), func(m *wire.OpenTxs) { m.Txs[1][5]++ })}, [2]int{}},
		{"more transactions", []wire.OpenTxs{said(next, 0, 39), {Number: 2, First: 39, Time: next.Header.Time, Txs: txs("set more 1")}}, [2]int{}},
		{"more than a block may have", []wire.OpenTxs{said(b, 0, 40), {Number: 1, First: 40, Time: b.Header.Time, Txs: txs("set more 1")}}, [2]int{}},
		{"a transaction that is refused", []wire.OpenTxs{{Number: 1, Time: b.Header.Time, Txs: txs("set a 1", "refuse")}, said(b, 2, 9)}, [2]int{}},
		{"the next block before this one", []wire.OpenTxs{said(next, 0, 5), said(next, 5, 30), said(b, 0, 2)}, [2]int{2, 30}},
		{"both", []wire.OpenTxs{said(b, 0, 40), said(next, 0, 39)}, [2]int{40, 39}},
		{"a block of before", []wire.OpenTxs{{Number: 0, Txs: txs("set a 1")}, said(b, 0, 40)}, [2]int{40}},
		{"the whole block", []wire.OpenTxs{said(b, 0, 9), ended(said(b, 9, 40))}, [2]int{40}},
		{"the whole block, and then that it is closed", []wire.OpenTxs{said(b, 0, 40), ended(said(b, 40, 40))}, [2]int{40}},
		{"both whole blocks", []wire.OpenTxs{ended(said(b, 0, 40)), ended(said(next, 0, 39))}, [2]int{40, 39}},
		{"closed too early", []wire.OpenTxs{ended(said(b, 0, 39))}, [2]int{}},
		{"closed without a transaction", []wire.OpenTxs{ended(said(b, 0, 0)), said(b, 0, 40)}, [2]int{}},
		{"more transactions when it was closed", []wire.OpenTxs{ended(said(b, 0, 39)), said(b, 39, 40)}, [2]int{}},
		{"closed twice", []wire.OpenTxs{ended(said(b, 0, 40)), ended(said(b, 40, 40))}, [2]int{}},
		{"closed with another transaction", []wire.OpenTxs{ended(changed(said(b, 0, 40), func(m *wire.OpenTxs) { m.Txs[1] = []byte("set other 1") })), ended(said(next, 0, 39))}, [2]int{0, 39}},
		{"closed, of another chain", []wire.OpenTxs{ended(changed(said(b, 0, 40), func(m *wire.OpenTxs) { m.Time++ })), said(next, 0, 5)}, [2]int{0, 5}},
		{"too much of a later block", []wire.OpenTxs{said(b, 0, 4), {Number: 3, Txs: [][]byte{make([]byte, maxOpenWaiting+1)}}}, [2]int{4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for came := range hows {
				o := newCopier(t, g, 4)
				o.came = came
				for _, m := range c.said {
					o.add(m)
				}
				for i, b := range blocks[1:] {
					o.run()
					ahead, err := o.settle(b)
					must(t, err)
					if i < 2 && ahead != c.ahead[i] {
						t.Errorf("%d transactions of block %d were executed ahead, want %d", ahead, i+1, c.ahead[i])
					}
				}
				if head := o.ledger.Head(); head != blocks[3].Header || o.ledger.versions.Root() != head.StateRoot {
					t.Errorf("at block %d with root %s", head.Height, o.ledger.versions.Root())
				}
				if len(o.waiting) > 0 || o.bytes > 0 {
					t.Errorf("%d parts wait", len(o.waiting))
				}
			}
		})
	}
}

// TestOpenCopyOfAWrongBlock: transactions executed ahead do not make a wrong block
// right.
func TestOpenCopyOfAWrongBlock(t *testing.T) {
	g := testGenesis()
	right := fullChain(t, g, 3, 2)
	wrong := relinked(right, 1, func(h *chain.Header) { h.StateRoot[0]++ })
	o := newCopier(t, g, 4)
	o.add(said(right[1], 0, len(right[1].Txs)))
	ahead, err := o.settle(wrong[1])
	var m *stf.Mismatch
	if ahead != len(right[1].Txs) || !errors.As(err, &m) || m.Field != "state_root" {
		t.Errorf("%d executed ahead, %v", ahead, err)
	}
	if ahead, err = o.settle(right[1]); err != nil || ahead != 0 {
		t.Errorf("%d executed ahead, %v", ahead, err)
	}
}

// TestEarly: what is committed of a block before anybody has its header changes nothing
// that can be asked for, and what becomes of the block does not depend on it.
func TestEarly(t *testing.T) {
	const txs = 2*minEarly + 100
	g := testGenesis(func(g *chain.Genesis) { g.MaxTxsPerBlock = txs })
	right := fullChain(t, g, 3, txs)
	wrong := relinked(right, 2, func(h *chain.Header) { h.StateRoot[0]++ })
	b := right[2]
	for _, c := range []struct {
		name    string
		history int
		said    []wire.OpenTxs
		newest  uint64 // of the tree after that
	}{
		{"at its end", 4, []wire.OpenTxs{ended(said(b, 0, txs))}, 2},
		{"too little", 4, []wire.OpenTxs{said(b, 0, minEarly/4)}, 1},
		{"on the way", 4, []wire.OpenTxs{said(b, 0, minEarly), said(b, minEarly, minEarly+7)}, 2},
		{"in parts", 1, []wire.OpenTxs{said(b, 0, minEarly), said(b, minEarly, 2*minEarly), ended(said(b, 2*minEarly, txs))}, 2},
		{"in parts, and nothing is left", 4, []wire.OpenTxs{said(b, 0, minEarly), said(b, minEarly, txs), ended(said(b, txs, txs))}, 2},
		{"without history", 0, []wire.OpenTxs{said(b, 0, minEarly), ended(said(b, minEarly, txs))}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newCopier(t, g, c.history)
			_, err := o.settle(right[1])
			must(t, err)
			before, keys := o.ledger.Head(), o.stateAtHead()
			published := []*chain.Block{wrong[2], b}
			if c.history == 0 { // a block that is wrong could not be taken back
				published = published[1:]
			}
			for _, sealed := range published {
				o.over = 0
				executed := 0
				for _, m := range c.said {
					o.add(m)
					o.ledger.awaitEarly()
					executed += len(m.Txs)
					if head := o.ledger.Head(); head != before || !reflect.DeepEqual(o.stateAtHead(), keys) {
						t.Errorf("at block %d, or its state is another", head.Height)
					}
				}
				if newest, _ := o.ledger.versions.Height(); newest != c.newest {
					t.Errorf("the tree is at block %d, want %d", newest, c.newest)
				}
				ahead, err := o.settle(sealed)
				if ahead != executed || (err == nil) != (sealed == b) {
					t.Errorf("%d executed ahead, %v", ahead, err)
				}
			}
			if head := o.ledger.Head(); head != b.Header || o.ledger.versions.Root() != head.StateRoot || o.ledger.early != nil {
				t.Errorf("at block %d with root %s", head.Height, o.ledger.versions.Root())
			}
		})
	}
}

// stateAtHead is what anybody can read, and prove, of some keys.
func (o *copier) stateAtHead() map[string]string {
	l, all := o.ledger, map[string]string{}
	h := l.Head()
	l.mu.RLock()
	defer l.mu.RUnlock()
	view, ok := l.viewAt(h.Height, h.StateRoot)
	if !ok {
		o.t.Fatalf("no state after block %d", h.Height)
	}
	for i := range 300 {
		key := fmt.Appendf(nil, "key%d", i)
		value, _ := view.Get(key)
		all[string(key)] = string(value)
		if i%100 == 0 {
			proved, err := l.versions.Prove(h.Height, key)
			must(o.t, err)
			all["proof of "+string(key)] = fmt.Sprintf("%x", proved)
		}
	}
	return all
}

// TestOpenCopyWhenTheMachineDoesSomethingElse: what was begun before another block
// was executed is worth nothing.
func TestOpenCopyWhenTheMachineDoesSomethingElse(t *testing.T) {
	g := testGenesis()
	right := fullChain(t, g, 3, 2)
	o := newCopier(t, g, 4)
	o.add(said(right[1], 0, 1))
	v := o.begun
	if !v.goesOn(o.exec, o.ledger.tip()) {
		t.Error("it does not go on")
	}
	_, err := o.ledger.execute(o.exec, prepare(o.inspect, right[1], nil), o.ledger.tip())
	must(t, err)
	if v.goesOn(o.exec, o.ledger.tip()) {
		t.Error("it goes on")
	}
	if p := o.goOn(&prepared{block: right[1], begun: v}, right[1], o.ledger.tip()); p.begun != nil || len(p.chunks) == 0 {
		t.Error("the block goes on from it")
	}
	o.add(said(right[1], 1, 2))
	if o.take(right[1]) != nil {
		t.Error("it went on")
	}
}

// TestOpenBlockIsTold: what is durable of an open block is told in parts that follow each
// other, and the end of a large one.
func TestOpenBlockIsTold(t *testing.T) {
	opened := func(height uint64) sequencer.Record {
		return sequencer.Record{Open: &sequencer.OpenRecord{Height: height, Time: 10 * height}}
	}
	txs := func(n int) (all []sequencer.Record) {
		for i := range n {
			all = append(all, sequencer.Record{Tx: fmt.Appendf(nil, "tx %d", i)})
		}
		return all
	}
	var told []string
	tell := func(m wire.OpenTxs) {
		told = append(told, fmt.Sprintf("block %d at %d: %d from %d, last %t", m.Number, m.Time, len(m.Txs), m.First, m.Last))
	}
	var o openBlock
	group := func(heard bool, records ...[]sequencer.Record) {
		o.durable([]decided{{Ready: sequencer.Ready{Journal: slices.Concat(records...)}}}, heard, tell)
	}
	group(true, txs(2)) // of a block that another process opened
	group(true, []sequencer.Record{opened(1)}, txs(minLast-1))
	group(true, []sequencer.Record{opened(2)}, txs(3))
	group(true, txs(minLast-3), []sequencer.Record{opened(3)}, txs(minLast))
	group(true, []sequencer.Record{opened(4)})
	group(false, txs(4))
	group(true, txs(5), []sequencer.Record{opened(5)})
	want := []string{
		"block 1 at 10: 99 from 0, last false",
		"block 2 at 20: 3 from 0, last false",
		"block 2 at 20: 97 from 3, last true",
		"block 3 at 30: 100 from 0, last false",
		"block 3 at 30: 0 from 100, last true",
		"block 4 at 40: 5 from 4, last false",
	}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// TestFollowAhead: a read node executes what its source says of the open block, and a
// block is right or wrong whatever that was.
func TestFollowAhead(t *testing.T) {
	g := testGenesis()
	blocks := fullChain(t, g, 3, 3, 3, 3, 3, 3)
	src := newSource(t, g, blocks[:2])
	r, run := startReader(t, readerConfig(t, g, src.addr), deps())
	must(t, r.WaitFor(within(t), 1))
	ctx := within(t)
	until := func(what string, ok func() bool) {
		for !ok() {
			if ctx.Err() != nil {
				t.Fatalf("not yet: %s", what)
			}
			runtime.Gosched()
		}
	}
	until("the reader asks for the open block", src.server.HasOpen)
	until("the reader has heard of block 1", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.source.Number == 1 })
	ahead := uint64(0)
	for _, c := range []struct {
		said wire.OpenTxs
		tip  uint64 // that it is told of next
		used int
	}{
		{said(blocks[2], 0, 3), 2, 3},
		{wire.OpenTxs{Number: 3, Time: blocks[3].Header.Time, Oracle: blocks[3].Oracle, Txs: [][]byte{[]byte("set other 1")}}, 3, 0},
		{said(blocks[4], 0, 2), 5, 2}, // the doorbell of the block after it took the place of its own
	} {
		src.server.Open(c.said)
		ahead += uint64(len(c.said.Txs))
		until(fmt.Sprintf("%d transactions executed ahead", ahead), func() bool { return r.views.meters.ahead.Load() == ahead })
		before := r.views.meters.aheadUsed.Load()
		src.ring(blocks[:c.tip+1])
		must(t, r.WaitFor(ctx, c.tip))
		if used := r.views.meters.aheadUsed.Load() - before; used != uint64(c.used) {
			t.Errorf("up to block %d %d transactions executed ahead were used, want %d", c.tip, used, c.used)
		}
	}
	wrong := relinked(blocks, 6, func(h *chain.Header) { h.StateRoot[0]++ })
	src.server.Open(said(wrong[6], 0, 2))
	until("block 6 begun", func() bool { return r.views.meters.ahead.Load() == ahead+2 })
	src.ring(wrong)
	if alarm := alarmed(t, r); r.Verified() != 5 {
		t.Errorf("verified up to %d: %s", r.Verified(), alarm)
	}
	run.mustStop()
}

// ring replaces the chain and rings, with the newest block.
func (s *source) ring(blocks []*chain.Block) {
	tip := blocks[len(blocks)-1]
	s.mu.Lock()
	s.blocks, s.finalized = blocks, len(blocks)-1
	s.mu.Unlock()
	s.server.Announce(tip.Header.ID(), tip.Append(nil))
}
