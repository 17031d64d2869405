package devnet

import (
	"sync"
	"sync/atomic"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// counter counts the transactions of verified blocks, each block once.
type counter struct {
	reader *node.Reader
	mu     sync.Mutex
	height uint64 // counted up to here
	txs    atomic.Uint64
}

func (c *counter) count() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for head := c.reader.Verified(); c.height < head; c.height++ {
		b, _, err := c.reader.Block(c.height + 1)
		if err != nil {
			break // the node is stopping: the count stays where it is
		}
		c.txs.Add(uint64(len(b.Txs)))
	}
	return c.txs.Load()
}

// Snapshot is where the chain stands at one moment.
type Snapshot struct {
	Height   uint64
	Root     chain.Hash
	Verified uint64 // by the read node
	Txs      uint64 // in verified blocks of this run
	Pair     string // the market whose price is shown; empty: no prices yet
	Price    uint64
	Stale    bool
	Traffic  Traffic
}

// Heights are the newest sealed block and the newest verified one; they may be
// asked for while [Net.Stop] is at work.
func (n *Net) Heights() (sealed, verified uint64) {
	return n.writer.Head().Height, n.reader.Verified()
}

// shownPair is the market in the status line.
const shownPair = "BTC/USDT"

// Snapshot looks at both nodes.
func (n *Net) Snapshot() Snapshot {
	head := n.writer.Head()
	s := Snapshot{Height: head.Height, Root: head.StateRoot, Verified: n.reader.Verified(), Txs: n.counter.count()}
	if n.traffic != nil {
		s.Traffic = n.traffic.report()
	}
	prices, _, err := n.writer.Oracle(api.ByTag(api.TagLatest))
	pair, known := oracle.ParsePair(shownPair)
	if err != nil || known != nil {
		return s
	}
	s.Stale = prices.Stale
	for _, p := range prices.Prices {
		if p.Base == pair.Base && p.Quote == pair.Quote {
			s.Pair, s.Price = pair.Name, p.Price
		}
	}
	return s
}
