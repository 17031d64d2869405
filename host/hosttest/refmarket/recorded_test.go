package refmarket_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/refmarket"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// TestRecordedSample runs the market over 22 s of real trades, once with real
// signatures.
func TestRecordedSample(t *testing.T) {
	const file = "testdata/btcusdt-sample.csv"
	t.Run("trade time", func(t *testing.T) { recorded(t, file, traffic.Fake{}, false, nativeModule) })
	t.Run("present", func(t *testing.T) { recorded(t, file, traffic.Secp(), true, nativeModule, wasmModule) })
}

// TestRecordedTrades is the same over all that was recorded.
func TestRecordedTrades(t *testing.T) {
	const file = "../../../../shared/data/btcusdt-trades-2020-11-16.csv"
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not there: the recorded trades are not part of the repository; TestRecordedSample has some of them", file)
	}
	t.Run("trade time", func(t *testing.T) { recorded(t, file, traffic.Fake{}, false, nativeModule) })
	t.Run("present", func(t *testing.T) { recorded(t, file, traffic.Fake{}, true, nativeModule) })
}

// desk is a market over recorded trades: solvers quote, users accept, settlers
// settle, or lie, and PriceOracle says who should have won.
type desk struct {
	*pairing
	t      *testing.T
	r      *rand.Rand
	oracle refmarket.PriceOracle
	before map[tx.Address]uint64
	quotes []tx.Quote // of thesis 1, 2 …
	open   []uint64
}

// recorded replays trades, as prices of the trades' own time or of the present as
// `kaizen oracle` does, until every thesis is settled.
func recorded(t *testing.T, file string, scheme traffic.Scheme, present bool, make ...maker) {
	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	trades, err := refmarket.Trades(f)
	check(t, err)
	d := newDesk(t, scheme, trades[0].Timestamp, make)
	end := trades[len(trades)-1].Timestamp + 5_000
	next := 0
	for at := trades[0].Timestamp + 100; at < end || len(d.open) > 0; at += 100 {
		for next < len(trades) && trades[next].Timestamp <= at {
			next++
		}
		price := trades[next-1]
		if present && next < len(trades) {
			price.Timestamp = at
		}
		d.block(at, price, next < len(trades))
	}
	d.compare()
}

func newDesk(t *testing.T, scheme traffic.Scheme, start uint64, make []maker) *desk {
	g := refmarket.NewGenerator(*seed, scheme)
	genesis, p := g.Genesis()
	genesis.Time = start
	d := &desk{pairing: newPairing(t, g, genesis, p, make), t: t, r: rand.New(rand.NewPCG(*seed, 2)),
		oracle: refmarket.PriceOracle{MaxStaleMs: genesis.MaxStaleMs}, before: map[tx.Address]uint64{}}
	d.every = 50
	for _, a := range p.Accounts {
		d.before[a.Address] = a.Balance
	}
	return d
}

// block is 100 ms of the market.
func (d *desk) block(now uint64, price refmarket.Price, quoting bool) {
	base, _ := params.Token("BTC")
	quote, _ := params.Token("USDT")
	d.begin(d.t, now, chain.OracleSnapshot{Timestamp: now, Prices: []chain.Price{{Base: base, Quote: quote, Price: price.Price, Timestamp: price.Timestamp}}})
	log := &d.oracle.Prices
	if n := len(*log); now-price.Timestamp <= d.oracle.MaxStaleMs && (n == 0 || (*log)[n-1].Timestamp < price.Timestamp) {
		*log = append(*log, price)
	}
	if quoting && now-price.Timestamp <= d.oracle.MaxStaleMs {
		for range d.r.IntN(3) {
			d.trade(now, base, quote)
		}
	}
	d.settle(now)
	d.end(d.t)
}

// trade is a quote about as wide as the price has moved lately, accepted.
func (d *desk) trade(now uint64, base, quote tx.Address) {
	log := d.oracle.Prices
	last := log[len(log)-1].Price
	low, high := last, last
	for _, p := range log[max(0, len(log)-50):] {
		low, high = min(low, p.Price), max(high, p.Price)
	}
	width := 200_000 + (high-low)*d.r.Uint64N(150)/100
	user, solver := refmarket.FirstUser+d.r.IntN(8), refmarket.FirstSolver+d.r.IntN(4)
	bet := 1_000 + d.r.Uint64N(1_000_000)
	start := now + d.r.Uint64N(1_500)
	q := tx.Quote{Base: base, Quote: quote, Lower: last - width, Upper: last + width, BetAmount: bet, Payout: bet + 1 + d.r.Uint64N(bet),
		Start: start, End: start + 1_000 + d.r.Uint64N(14_000), Deadline: now + 100, User: d.g.Address(user), Solver: d.g.Address(solver), Salt: d.r.Uint64()}
	result := d.send(d.t, solver, tx.Transaction{Kind: tx.KindRfqSubmit, RfqSubmit: tx.RfqSubmit{Quote: q, UserSignature: d.g.Accept(user, &q)}})
	if result.Error == "" {
		d.quotes = append(d.quotes, q)
		d.open = append(d.open, uint64(len(d.quotes)))
	}
}

// settle is a settler at work on every second thesis; the others wait until
// anybody may. One that lies now and then tries for all.
func (d *desk) settle(now uint64) {
	open := d.open[:0]
	for _, id := range d.open {
		q := &d.quotes[id-1]
		if d.r.IntN(40) == 0 {
			d.lie(now, id, q)
		}
		if !d.settleOne(now, id, q) {
			open = append(open, id)
		}
	}
	d.open = open
}

const challengeMs, graceMs = 3_000, 60_000 // of the generator's genesis, and the protocol's

func (d *desk) settleOne(now, id uint64, q *tx.Quote) bool {
	if id%2 == 0 {
		return now >= q.End+challengeMs+graceMs && d.must(d.send(d.t, refmarket.FirstStranger, tx.Transaction{Kind: tx.KindRfqSettle, RfqSettle: tx.RfqSettle{ThesisID: id}}))
	}
	claim := tx.Settlement{}
	price := d.oracle.Prices[len(d.oracle.Prices)-1]
	switch {
	case price.Timestamp >= q.Start && price.Timestamp <= q.End && (price.Price < q.Lower || price.Price > q.Upper):
		claim = tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: price.Timestamp, BreachPrice: price.Price}
	case now < q.End+challengeMs:
		return false
	case d.oracle.Winner(q) == 'v':
		claim.Kind = tx.Void
	}
	return d.must(d.claim(id, claim))
}

func (d *desk) claim(id uint64, s tx.Settlement) refmarket.Result {
	return d.send(d.t, refmarket.SettlerKey, tx.Transaction{Kind: tx.KindSystemSettle, SystemSettle: tx.SystemSettle{ThesisID: id, Settlement: s}})
}

func (d *desk) must(r refmarket.Result) bool {
	if r.Error != "" {
		d.t.Fatalf("block %d: an honest settlement failed: %+v", d.height, r)
	}
	return true
}

// lie claims what is not so.
func (d *desk) lie(now, id uint64, q *tx.Quote) {
	price := d.oracle.Prices[d.r.IntN(len(d.oracle.Prices))]
	lies := []tx.Settlement{
		{Kind: tx.SolverWins, BreachTimestamp: price.Timestamp, BreachPrice: q.Lower - 1},
		{Kind: tx.SolverWins, BreachTimestamp: price.Timestamp, BreachPrice: q.Upper + 1},
		{Kind: tx.SolverWins, BreachTimestamp: price.Timestamp + 1, BreachPrice: price.Price},
		{Kind: tx.SolverWins, BreachTimestamp: q.Start, BreachPrice: q.Lower},
		{Kind: tx.SolverWins, BreachTimestamp: q.End, BreachPrice: q.Upper},
	}
	due := now >= q.End+challengeMs
	if !due || d.oracle.Winner(q) != 'u' {
		lies = append(lies, tx.Settlement{Kind: tx.UserWins})
	}
	if !due || d.oracle.Winner(q) != 'v' {
		lies = append(lies, tx.Settlement{Kind: tx.Void})
	}
	lie := lies[d.r.IntN(len(lies))]
	for _, p := range d.oracle.Prices {
		if lie.Kind == tx.SolverWins && p.Timestamp == lie.BreachTimestamp && p.Price == lie.BreachPrice && d.oracle.Winner(q) == 's' {
			return // true by chance
		}
	}
	if r := d.claim(id, lie); r.Error == "" {
		d.t.Fatalf("block %d: the lie %+v about thesis %d, %+v, was believed: %+v", d.height, lie, id, *q, r)
	}
}

// compare holds winners and balances against what prices alone say.
func (d *desk) compare() {
	d.drain(d.t)
	count := map[refmarket.Outcome]int{}
	for i, x := range d.ref.Theses() {
		want := winners[d.oracle.Winner(&d.quotes[i])]
		count[want]++
		if x.Outcome != want {
			d.t.Errorf("thesis %d is %s, the prices say %s: %+v", x.ID, x.Outcome, want, d.quotes[i])
		}
	}
	after := d.oracle.Balances(d.before, d.quotes)
	for a, want := range after {
		for _, m := range d.modules {
			if got := m.account(d.t, a); got.Balance != want || got.Locked != 0 {
				d.t.Errorf("%s: account %x has %d and %d locked, the prices say %d", m.name, a, got.Balance, got.Locked, want)
			}
		}
		if got := d.ref.Account(a).Balance; got != want {
			d.t.Errorf("the reference: account %x has %d, the prices say %d", a, got, want)
		}
	}
	d.t.Logf("%d blocks, %d prices, %d theses: %v; outcomes %v", d.height, len(d.oracle.Prices), len(d.quotes), count, d.codes)
	if count[refmarket.UserWins] == 0 || count[refmarket.SolverWins] == 0 {
		d.t.Error("one side always wins: this proves nothing")
	}
}
