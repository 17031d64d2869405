package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/stf-modules/counter"
)

// counterBlock is how many transactions a block of the counter module takes: ten
// ordinary ones, since its transactions are that much smaller and cheaper.
const counterBlock = 10_000

// counters is a write node of the counter module in a process of its own, and its
// load: transactions without signatures, each to a counter of its own.
type counters struct {
	node     *child
	n        int    // how many there are
	turn     int    // whose turn it is
	sequence uint64 // that it expects
	ones     uint64 // sequence of the counter that is the only one of its load
}

// load adds to the next n counters, of which there are so many: none comes twice,
// so that calls may overtake each other.
func (c *counters) load(n int) [][]byte {
	raws := make([][]byte, n)
	for i := range raws {
		t := counter.Tx{Counter: uint64(c.turn), Sequence: c.sequence, Amount: 1}
		raws[i] = t.Append(make([]byte, 0, counter.TxBytes))
		if c.turn++; c.turn == c.n {
			c.turn, c.sequence = 0, c.sequence+1
		}
	}
	return raws
}

// loadOne adds to one more counter only, n times. Its sequence numbers say in which
// order.
func (c *counters) loadOne(n int) [][]byte {
	raws := make([][]byte, n)
	for i := range raws {
		t := counter.Tx{Counter: uint64(c.n), Sequence: c.ones, Amount: 1}
		raws[i] = t.Append(make([]byte, 0, counter.TxBytes))
		c.ones++
	}
	return raws
}

// theCounters starts the node and makes as many counters as the market has
// accounts.
func (b *bench) theCounters() (*counters, error) {
	if b.counters != nil {
		return b.counters, nil
	}
	s := setup{Dir: filepath.Join(b.temp, "counters"), Cache: b.cacheDir(), Module: filepath.Join(b.temp, "counter.wasm")}
	if err := os.WriteFile(s.Module, counter.Wasm, 0o600); err != nil {
		return nil, err
	}
	program, err := node.LoadProgram(b.ctx, s.config(), b.log)
	if err != nil {
		return nil, err
	}
	hash := program.Hash()
	if err := program.Close(); err != nil {
		return nil, err
	}
	if _, _, err := initChain(s.Dir, genesisOf(s.config(), hash, nil)); err != nil {
		return nil, err
	}
	b.say("start a write node of the counter module in its own process")
	n, err := startChild(b.ctx, s)
	if err != nil {
		return nil, err
	}
	b.counters = &counters{node: n, n: b.accounts}
	lean := newPoster(n.RPC)
	defer lean.close()
	took, err := lean.postAll(b.ctx, b.counters.load(b.accounts))
	b.say("made %d counters in %s", b.accounts, took.Round(1e6))
	return b.counters, err
}

// counter measures the node without signatures: what is left is HTTP, WebSocket, JSON,
// execution, journal, blocks and roots.
func (b *bench) counter() error {
	c, err := b.theCounters()
	if err != nil {
		return err
	}
	for _, w := range []*way{b.counterCalls(c), b.counterOnes(c), b.counterJSON(c), b.counterStreams(c, fewUnderWay), b.counterStreams(c, manyUnderWay)} {
		defer w.close()
		if err := b.unsigned(w); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) unsigned(w *way) error {
	var rates, node, own []float64
	for range b.rounds {
		got, err := w.round(b)
		if err != nil {
			return err
		}
		rates = append(rates, perSecond(got.n, got.took))
		node, own = append(node, microseconds(got.node)/float64(got.n)), append(own, microseconds(got.generator)/float64(got.n))
	}
	name := "unsigned transactions over " + w.over + ", " + w.name
	b.add(plain("counter", name, "1/s", rates...).noted(fmt.Sprintf("durable; %d counters; load generator in another process", b.accounts)),
		plain("counter", name+": processor time of the node for one", "µs", node...),
		plain("counter", name+": processor time of the load generator for one", "µs", own...))
	return nil
}
