package main

import (
	"bytes"
	"errors"
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
	accounts  int
	exec      *stf.Executor
	inspector stf.Inspector
	tree      *state.Tree
	rand      *rand.Rand
	height    uint64
	now       uint64 // time of the newest block, ms
	signature tx.Signature
	heap      uint64 // bytes that the tree takes
}

func newGrown(program stf.Program, accounts int) (*grown, error) {
	exec, err := stf.NewExecutor(program)
	if err != nil {
		return nil, err
	}
	inspector, err := program.NewInspector()
	if err != nil {
		return nil, errors.Join(err, exec.Machine.Close())
	}
	g := &grown{accounts: accounts, exec: exec, inspector: inspector, rand: rand.New(rand.NewPCG(5, uint64(accounts))), now: nowMs(),
		signature: mustSign(numberedKey("bench key", 0), &tx.Hash{})}
	if err := g.make(program); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *grown) close() error { return errors.Join(g.exec.Machine.Close(), g.inspector.Close()) }

func (g *grown) make(program stf.Program) error {
	before := heapInUse()
	g.tree = state.NewTree()
	if err := g.begin(program); err != nil {
		return err
	}
	value, ok := g.tree.Get(rfq.AccountKey(grownAddress(0)))
	if !ok {
		return errors.New("genesis and a transfer left no account")
	}
	g.fill(bytes.Clone(value))
	g.heap = max(heapInUse(), before) - before
	return nil
}

// begin makes genesis with one account, which sends a transfer.
func (g *grown) begin(program stf.Program) error {
	p := params.Default()
	p.Accounts = []params.Account{{Address: grownAddress(0), Balance: senderBalance}}
	genesis := genesisOf(nodeConfig("", ""), program.Hash(), p.Append(nil))
	genesis.Time = g.now - 1
	ov := state.NewOverlay(nil)
	if _, err := g.exec.Genesis(genesis, ov); err != nil {
		return err
	}
	g.tree.Commit(ov.Changes(), runner)
	first := g.transfers(func() (from, to int) { return 0, 1 })
	first.txs, first.from = first.txs[:1], first.from[:1]
	if err := g.inspect(first); err != nil {
		return err
	}
	return g.execute(first)
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

// grownBlock is a block to be executed.
type grownBlock struct {
	now  uint64
	txs  []*stf.Tx
	from []chain.Address
}

// transfers makes those of the next block. All have one signature, since there are
// not the keys for ten million accounts: see inspect.
func (g *grown) transfers(between func() (from, to int)) *grownBlock {
	g.now += betweenBlocks
	b := &grownBlock{now: g.now, txs: make([]*stf.Tx, growthTxs), from: make([]chain.Address, growthTxs)}
	for i := range b.txs {
		from, to := between()
		t := tx.Transaction{From: grownAddress(from), Timestamp: g.now - growthTxs + uint64(i), Kind: tx.KindTransfer,
			Transfer: tx.Transfer{To: grownAddress(to), Amount: 1 + g.rand.Uint64N(100)}, Signature: g.signature}
		b.txs[i], b.from[i] = &stf.Tx{Raw: t.Append(make([]byte, 0, 128))}, chain.Address(t.From)
	}
	return b
}

// anyTwo are two different accounts.
func (g *grown) anyTwo() (from, to int) {
	from, to = g.rand.IntN(g.accounts), g.rand.IntN(g.accounts-1)
	if to >= from {
		to++
	}
	return from, to
}

// inspect recovers the signers, who are nobody, and puts those of the block in their
// place: what recovery costs does not depend on whom it finds.
func (g *grown) inspect(b *grownBlock) error {
	for i := range b.txs {
		b.txs[i].Leaf = chain.LeafHash(b.txs[i].Raw)
	}
	if err := g.inspector.Inspect(b.txs...); err != nil {
		return err
	}
	for i, t := range b.txs {
		if t.Refusal != nil {
			return t.Refusal
		}
		t.Signers[0].Address, t.Signers[0].OK = b.from[i], true
	}
	return nil
}

// execute executes and commits a block that was inspected.
func (g *grown) execute(b *grownBlock) error {
	g.height++
	open, err := g.exec.Begin(state.NewOverlay(g.tree), g.height, b.now, chain.OracleSnapshot{})
	if err != nil {
		return err
	}
	for i, t := range b.txs {
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

// growthCost is the processor time of one transfer, µs.
type growthCost struct {
	whole   float64 // inspected, executed and committed
	execute float64 // without inspection, which does not look at the state
}

func (g *grown) cost(slice time.Duration) (c growthCost, err error) {
	n, inspected, executed := 0, time.Duration(0), time.Duration(0)
	for began := time.Now(); n == 0 || time.Since(began) < slice; n += growthBlocks * growthTxs {
		blocks := make([]*grownBlock, growthBlocks)
		for i := range blocks {
			blocks[i] = g.transfers(g.anyTwo)
		}
		for _, step := range []struct {
			took *time.Duration
			do   func(*grownBlock) error
		}{{&inspected, g.inspect}, {&executed, g.execute}} {
			before, _ := usage()
			for _, b := range blocks {
				if err := step.do(b); err != nil {
					return c, err
				}
			}
			after, _ := usage()
			*step.took += after - before
		}
	}
	return growthCost{microseconds(inspected+executed) / float64(n), microseconds(executed) / float64(n)}, nil
}

// growth compares what a transfer costs among few accounts and among many.
func (b *bench) growth() (err error) {
	few, err := b.grown(max(2, b.accounts/growthLeast))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, few.close()) }()
	for accounts := few.accounts * 10; accounts <= b.accounts*growthMost; accounts *= 10 {
		if err := b.growTo(few, accounts); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) grown(accounts int) (*grown, error) {
	program, err := b.module()
	if err != nil {
		return nil, err
	}
	b.say("make a state of %d accounts", accounts)
	g, err := newGrown(program, accounts)
	if err != nil {
		return nil, fmt.Errorf("state of %d accounts: %w", accounts, err)
	}
	return g, nil
}

// growTo measures among so many accounts, taking turns with few.
func (b *bench) growTo(few *grown, accounts int) (err error) {
	many, err := b.grown(accounts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, many.close()) }()
	var whole, execute []round
	for range b.rounds {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		runtime.GC() // what was made between rounds is nobody's cost
		w, e, err := growthRound(few, many, b.slice())
		if err != nil {
			return err
		}
		whole, execute = append(whole, w), append(execute, e)
	}
	name, limit := fmt.Sprintf("of a transfer among %d accounts", accounts), fmt.Sprintf("among %d accounts", few.accounts)
	b.add(rated("growth", "processor time "+name, "µs", limit, "µs", whole).
		want(nil, atMost(2)).noted("signers recovered, executed in WASM, closed and committed; without journal, log and network"),
		rated("growth", "processor time "+name+", signers known", "µs", limit, "µs", execute),
		plain("growth", fmt.Sprintf("memory for one of %d accounts", accounts), "B", float64(many.heap)/float64(accounts)).
			want(nil, atMost(300)).noted("heap of the tree, keys and values included"))
	return nil
}

// growthRound measures few, many, few.
func growthRound(few, many *grown, slice time.Duration) (whole, execute round, err error) {
	var costs [3]growthCost
	for i, g := range []*grown{few, many, few} {
		if costs[i], err = g.cost(slice); err != nil {
			return whole, execute, err
		}
	}
	return round{costs[1].whole, (costs[0].whole + costs[2].whole) / 2}, round{costs[1].execute, (costs[0].execute + costs[2].execute) / 2}, nil
}
