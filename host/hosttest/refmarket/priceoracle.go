package refmarket

import (
	"sort"

	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// PriceOracle is a second reading of theses: who wins each of a list of quotes,
// from the quotes and the prices of their market, in order, and nothing else. It
// shares no code with [Market], on purpose.
type PriceOracle struct {
	MaxStaleMs uint64
	Prices     []Price
}

// Winner is 'u' for the user, 's' for the solver, 'v' if nobody can tell.
func (o *PriceOracle) Winner(q *tx.Quote) byte {
	quiet := int64(q.Start) // since when nothing has been seen
	blind := false
	first := sort.Search(len(o.Prices), func(i int) bool { return o.Prices[i].Timestamp >= q.Start })
	for _, p := range o.Prices[first:] {
		at := int64(p.Timestamp)
		if at > int64(q.End) {
			break
		}
		if !(q.Lower <= p.Price && p.Price <= q.Upper) {
			return 's'
		}
		blind = blind || at-quiet > int64(o.MaxStaleMs)
		quiet = at
	}
	if blind || int64(q.End)-quiet > int64(o.MaxStaleMs) {
		return 'v'
	}
	return 'u'
}

// Balances is what everybody has after all quotes have been decided, from what
// they had before.
func (o *PriceOracle) Balances(before map[tx.Address]uint64, quotes []tx.Quote) map[tx.Address]uint64 {
	after := map[tx.Address]uint64{}
	for a, n := range before {
		after[a] = n
	}
	for i := range quotes {
		q := &quotes[i]
		switch o.Winner(q) {
		case 'u':
			after[q.User] += q.Payout - q.BetAmount
			after[q.Solver] -= q.Payout - q.BetAmount
		case 's':
			after[q.User] -= q.BetAmount
			after[q.Solver] += q.BetAmount
		}
	}
	return after
}
