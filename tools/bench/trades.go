package main

import (
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// What every quote here is about, and for how much.
const (
	tradedPair  = "BTC/USDT"
	tradedBet   = 10_000
	tradedStake = 10_000
)

// settler is an account that may settle.
type settler struct {
	key     *secp.Key
	address tx.Address
	clock   uint64 // timestamp of its newest transaction, ms
}

// traded is the pair of every quote.
func traded() (base, quote tx.Address) {
	base, _ = params.Token("BTC")
	quote, _ = params.Token("USDT")
	return base, quote
}

// quotes signs n RfqSubmits on all cores, each with the signatures of its user and
// of its solver: the senders take turns as solvers, and the one half way round is
// the user.
func (w *wallets) quotes(n int, now uint64, terms tx.Quote) []signed {
	made, solvers := make([]signed, n), make([]int, n)
	unsigned := make([]tx.Transaction, n)
	terms.Base, terms.Quote = traded()
	terms.BetAmount, terms.Payout, terms.Deadline = tradedBet, tradedBet+tradedStake, terms.Start
	for i := range unsigned {
		s := w.turn
		w.turn = (w.turn + 1) % len(w.keys)
		w.clock[s] = max(w.clock[s]+1, now)
		q := terms
		q.Solver, q.User, q.Salt = w.senders[s], w.senders[w.opposite(s)], w.rand.Uint64()
		unsigned[i] = tx.Transaction{From: q.Solver, Timestamp: w.clock[s], Kind: tx.KindRfqSubmit, RfqSubmit: tx.RfqSubmit{Quote: q}}
		solvers[i] = s
	}
	onAllCores(n, func(from, to int) {
		var hasher tx.Hasher
		for i := from; i < to; i++ {
			r := &unsigned[i].RfqSubmit
			digest := hasher.QuoteDigest(secp.Keccak{}, &r.Quote)
			r.UserSignature = mustSign(w.keys[w.opposite(solvers[i])], &digest)
			made[i] = sign(&hasher, w.keys[solvers[i]], &unsigned[i])
		}
	})
	return made
}

func (w *wallets) opposite(s int) int { return (s + len(w.keys)/2) % len(w.keys) }

// settlements signs n SystemSettles of the theses from first on, in streams for
// [feedStreams]: each has a settler of its own, whose timestamps ascend.
func (w *wallets) settlements(first uint64, n int, now uint64, claim tx.Settlement) []signed {
	made := make([]signed, n)
	unsigned := make([]tx.Transaction, n)
	for i := range unsigned {
		s := &w.settlers[i/streamOf(n)]
		s.clock = max(s.clock+1, now)
		unsigned[i] = tx.Transaction{From: s.address, Timestamp: s.clock, Kind: tx.KindSystemSettle,
			SystemSettle: tx.SystemSettle{ThesisID: first + uint64(i), Settlement: claim}}
	}
	onAllCores(n, func(from, to int) {
		var hasher tx.Hasher
		for i := from; i < to; i++ {
			made[i] = sign(&hasher, w.settlers[i/streamOf(n)].key, &unsigned[i])
		}
	})
	return made
}

// rawsOf is what is sent.
func rawsOf(made []signed) [][]byte {
	raws := make([][]byte, len(made))
	for i := range made {
		raws[i] = made[i].raw
	}
	return raws
}
