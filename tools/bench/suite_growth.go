package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Sizes of suite growth: a hundredth, a tenth, one and ten times the accounts of the run.
const (
	growthLeast, growthMost = 100, 10
	growthTxs               = 1000 // in a block
	growthBlocks            = 8    // made before the clock starts
	// betweenBlocks is the chain's time from one block to the next, ms: more than a
	// replay window keeps, so that the records of accounts stay as long as they are.
	betweenBlocks = 3 * 24 * 3600 * 1000
)

// grown is a state with so many accounts, each of which has sent one transfer, and
// the blocks over it. It was not made by transfers, but no module can see that.
type grown struct {
	accounts int
	exec     *stf.Executor
	tree     *state.Tree
	rand     *rand.Rand
	height   uint64
	now      uint64 // time of the newest block, ms
	heap     uint64 // bytes that the tree takes
}

func newGrown(program stf.Program, accounts int) (*grown, error) {
	exec, err := stf.NewExecutor(program)
	if err != nil {
		return nil, err
	}
	g := &grown{accounts: accounts, exec: exec, rand: rand.New(rand.NewPCG(5, uint64(accounts))), now: uint64(time.Now().UnixMilli())}
	before := heapInUse()
	g.tree = state.NewTree()
	if err := g.begin(program); err != nil {
		return nil, err
	}
	value, ok := g.tree.Get(rfq.AccountKey(grownAddress(0)))
	if !ok {
		return nil, fmt.Errorf("genesis and a transfer left no account")
	}
	g.fill(bytes.Clone(value))
	if after := heapInUse(); after > before {
		g.heap = after - before
	}
	return g, nil
}

// begin makes genesis with one account, which sends a transfer.
func (g *grown) begin(program stf.Program) error {
	p := params.Default()
	p.Accounts = []params.Account{{Address: grownAddress(0), Balance: senderBalance}}
	genesis := genesisOf(nodeConfig("", ""), program.Hash(), p.Append(nil))
	genesis.Time = g.now
	ov := state.NewOverlay(nil)
	if _, err := g.exec.Genesis(genesis, ov); err != nil {
		return err
	}
	g.tree.Commit(ov.Changes(), runner)
	return g.block(g.transfers(func() (from, to int) { return 0, 1 })[:1])
}

// fill gives every account the same record.
func (g *grown) fill(value []byte) {
	const part = 50_000
	for next := 0; next < g.accounts; {
		o := state.NewOverlay(nil)
		for ; next < g.accounts && o.Len() < part; next++ {
			o.Set(rfq.AccountKey(grownAddress(next)), value)
		}
		g.tree.Commit(o.Changes(), runner)
	}
}

func grownAddress(i int) (a tx.Address) {
	sum := numbered("bench account", i)
	copy(a[:], sum[:])
	return a
}

// transfers makes those of the next block. They are not signed: who signed is told,
// as to a node that has recovered it.
func (g *grown) transfers(between func() (from, to int)) []*stf.Tx {
	g.now += betweenBlocks
	var hasher tx.Hasher
	txs := make([]*stf.Tx, growthTxs)
	for i := range txs {
		from, to := between()
		t := tx.Transaction{From: grownAddress(from), Timestamp: g.now - growthTxs + uint64(i), Kind: tx.KindTransfer,
			Transfer: tx.Transfer{To: grownAddress(to), Amount: 1 + g.rand.Uint64N(100)}}
		s := signed{digest: hasher.Digest(keccak{}, &t), from: t.From}
		s.raw = t.Append(make([]byte, 0, 128))
		txs[i] = s.inspected()
	}
	return txs
}

// anyTwo are two different accounts.
func (g *grown) anyTwo() (from, to int) {
	from, to = g.rand.IntN(g.accounts), g.rand.IntN(g.accounts-1)
	if to >= from {
		to++
	}
	return from, to
}

// block executes and commits the transactions of a block, whose time is in them.
func (g *grown) block(txs []*stf.Tx) error {
	g.height++
	open, err := g.exec.Begin(state.NewOverlay(g.tree), g.height, g.now, chain.OracleSnapshot{})
	if err != nil {
		return err
	}
	for i, t := range txs {
		if err := open.Apply(t); err != nil {
			return err
		}
		if code := open.Receipt(i).Code; code != abi.CodeOK {
			return fmt.Errorf("transfer failed: %s", g.exec.Schema.ErrorName(code))
		}
	}
	closed, err := open.Close()
	if err != nil {
		return err
	}
	g.tree.Commit(closed.Overlay.Changes(), runner)
	return nil
}

// cost is the processor time of one transfer, µs: executed, with its share of closing
// the block, of listing and ordering the changes, and of the root.
func (g *grown) cost(slice time.Duration) (float64, error) {
	n, took := 0, time.Duration(0)
	for began := time.Now(); n == 0 || time.Since(began) < slice; {
		times, blocks := make([]uint64, growthBlocks), make([][]*stf.Tx, growthBlocks)
		for i := range blocks {
			blocks[i] = g.transfers(g.anyTwo)
			times[i] = g.now
		}
		before, _ := usage()
		for i := range blocks {
			g.now = times[i]
			if err := g.block(blocks[i]); err != nil {
				return 0, err
			}
			n += len(blocks[i])
		}
		after, _ := usage()
		took += after - before
	}
	return microseconds(took) / float64(n), nil
}

// growth compares what a transfer costs among few accounts and among many.
func (b *bench) growth() error {
	program, err := b.module()
	if err != nil {
		return err
	}
	few, err := b.grown(program, max(2, b.accounts/growthLeast))
	if err != nil {
		return err
	}
	defer few.exec.Machine.Close()
	for accounts := few.accounts * 10; accounts <= b.accounts*growthMost; accounts *= 10 {
		if err := b.growTo(program, few, accounts); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) grown(program stf.Program, accounts int) (*grown, error) {
	b.say("make a state of %d accounts", accounts)
	g, err := newGrown(program, accounts)
	if err != nil {
		return nil, fmt.Errorf("state of %d accounts: %w", accounts, err)
	}
	return g, nil
}

// growTo measures among so many accounts, taking turns with few.
func (b *bench) growTo(program stf.Program, few *grown, accounts int) error {
	many, err := b.grown(program, accounts)
	if err != nil {
		return err
	}
	defer many.exec.Machine.Close()
	rounds, err := b.repeat(
		func() (float64, error) { return few.cost(b.slice()) },
		func() (float64, error) { return many.cost(b.slice()) })
	if err != nil {
		return err
	}
	b.add(rated("growth", fmt.Sprintf("processor time of a transfer among %d accounts", accounts), "µs", fmt.Sprintf("among %d accounts", few.accounts), "µs", rounds).
		want(nil, atMost(2)).noted("executed in WASM, closed and committed; senders and receivers at random"),
		plain("growth", fmt.Sprintf("memory for one of %d accounts", accounts), "B", float64(many.heap)/float64(accounts)).
			want(nil, atMost(300)).noted("heap of the tree, keys and values included"))
	runtime.KeepAlive(many)
	return nil
}
