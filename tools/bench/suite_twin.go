package main

import (
	"fmt"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
)

// twin is one way to execute blocks, on its own state.
type twin struct {
	exec *stf.Executor
	tree *state.Tree
}

func newTwin(program stf.Program, g *chain.Genesis) (*twin, error) {
	exec, err := stf.NewExecutor(program)
	if err != nil {
		return nil, err
	}
	t := &twin{exec: exec, tree: state.NewTree()}
	ov := state.NewOverlay(nil)
	if _, err := exec.Genesis(g, ov); err != nil {
		return nil, err
	}
	t.tree.Commit(ov.Changes(), runner)
	return t, nil
}

// block executes transactions in one block, which is closed and then forgotten, and
// returns the time of the transactions alone. Closing it lets the next block have room for
// as many, as in a node.
func (t *twin) block(now uint64, txs []*stf.Tx, one func(*stf.Open, *stf.Tx) error) (time.Duration, error) {
	open, err := t.exec.Begin(state.NewOverlay(t.tree), 1, now, chain.OracleSnapshot{})
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for _, tx := range txs {
		if err := one(open, tx); err != nil {
			return 0, err
		}
	}
	elapsed := time.Since(start)
	for i := range txs {
		if code := open.Receipt(i).Code; code != abi.CodeOK {
			return 0, fmt.Errorf("transfer failed: %s", t.exec.Schema.ErrorName(code))
		}
	}
	_, err = open.Close()
	return elapsed, err
}

func apply(o *stf.Open, tx *stf.Tx) error { return o.Apply(tx) }

func submit(o *stf.Open, tx *stf.Tx) error {
	_, refusal, err := o.Submit(tx)
	if refusal != nil {
		return refusal
	}
	return err
}

// wasm compares the compiled module with the same Go code called directly, on
// blocks whose signatures are recovered already.
func (b *bench) wasm() error {
	c, err := b.theChain()
	if err != nil {
		return err
	}
	program, err := b.module()
	if err != nil {
		return err
	}
	plainGo, err := native.New(program.Hash(), rfq.New, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		return err
	}
	compiled, err := newTwin(program, c.genesis)
	if err != nil {
		return err
	}
	defer compiled.exec.Machine.Close()
	direct, err := newTwin(plainGo, c.genesis)
	if err != nil {
		return err
	}
	defer direct.exec.Machine.Close()
	now := uint64(time.Now().UnixMilli())
	txs, err := inspect(program, c.wallets.load(int(c.genesis.MaxTxsPerBlock)))
	if err != nil {
		return err
	}
	for i, mode := range [...]struct {
		name string
		one  func(*stf.Open, *stf.Tx) error
	}{{"execute a transfer (as a read node does)", apply}, {"admit and execute a transfer (as the write node does)", submit}} {
		var rounds []round
		for range b.rounds {
			r, err := b.takeTurns(compiled, direct, now, txs, mode.one)
			if err != nil {
				return err
			}
			rounds = append(rounds, r)
		}
		f := rated("wasm", mode.name, "ns", "native twin", "ns", rounds).want(atMost(4), atMost(2.5))
		b.add(f)
		b.executes[i] = f.Value
	}
	return nil
}

// share is the part of the write node's time that goes to executing a transfer, and
// to asking before whether it may be executed, if both were measured.
func (b *bench) share() {
	if b.executes[0].Rounds == 0 || b.perTx.Rounds == 0 {
		return
	}
	percent := func(s Spread) float64 { return s.Median / 1000 / b.perTx.Median * 100 }
	b.add(plain("node", "share of execute in the processor time of a transfer", "%", percent(b.executes[0])).want(atMost(10), atMost(5)),
		plain("node", "share of admit and execute in the processor time of a transfer", "%", percent(b.executes[1])),
		plain("node", "execute, of what one recovery of the limit takes", "%", b.executes[0].Median/1000/b.recover1*100).
			noted("the share above grows as everything else gets faster than the limit; this one does not"))
}

// takeTurns executes the block on one and on the other for a slice, and returns the
// medians, ns for a transaction.
func (b *bench) takeTurns(compiled, direct *twin, now uint64, txs []*stf.Tx, one func(*stf.Open, *stf.Tx) error) (round, error) {
	var blocks [2][]float64
	for begin := time.Now(); blocks[0] == nil || time.Since(begin) < b.slice()/2; {
		for i, t := range []*twin{compiled, direct} {
			d, err := t.block(now, txs, one)
			if err != nil {
				return round{}, err
			}
			blocks[i] = append(blocks[i], float64(d.Nanoseconds())/float64(len(txs)))
		}
	}
	return round{spread(blocks[0]).Median, spread(blocks[1]).Median}, nil
}

// inspect recovers signers as the write node does ahead of execution.
func inspect(program stf.Program, raws [][]byte) ([]*stf.Tx, error) {
	in, err := program.NewInspector()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	txs := make([]*stf.Tx, len(raws))
	for i, raw := range raws {
		txs[i] = &stf.Tx{Raw: raw}
		if err := in.Inspect(txs[i]); err != nil {
			return nil, err
		}
		if txs[i].Refusal != nil {
			return nil, txs[i].Refusal
		}
	}
	return txs, nil
}
