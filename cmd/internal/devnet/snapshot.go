package devnet

import (
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

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
	Market   *MarketSnapshot // nil: the chain has no market, or the read node did not answer
}

// MarketSnapshot is what became of theses and where the money is.
type MarketSnapshot struct {
	Open      uint64 // theses
	Theses    Theses
	Total     uint64 // of value
	Conserved bool
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
	txs, theses := n.counter.count()
	s := Snapshot{Height: head.Height, Root: head.StateRoot, Verified: n.reader.Verified(), Txs: txs}
	if n.traffic != nil {
		s.Traffic = n.traffic.report()
	}
	s.Market = n.marketSnapshot(theses)
	n.addPrice(&s)
	return s
}

func (n *Net) marketSnapshot(theses Theses) *MarketSnapshot {
	if !n.Market() {
		return nil
	}
	open, err := n.openTheses()
	if err != nil {
		return nil
	}
	v, err := n.value()
	if err != nil {
		return nil
	}
	m := &MarketSnapshot{Open: open, Theses: theses}
	m.Total, m.Conserved = v.Total()
	return m
}

func (n *Net) addPrice(s *Snapshot) {
	prices, _, err := n.writer.Oracle(api.ByTag(api.TagLatest))
	pair, known := oracle.ParsePair(shownPair)
	if err != nil || known != nil {
		return
	}
	s.Stale = prices.Stale
	for _, p := range prices.Prices {
		if p.Base == pair.Base && p.Quote == pair.Quote {
			s.Pair, s.Price = pair.Name, p.Price
		}
	}
}
