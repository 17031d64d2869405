package refmarket

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// TestVerdict reads windows by hand: a box of [90, 110] over [1000, 5000], with
// at most 1000 ms between prices.
func TestVerdict(t *testing.T) {
	full := []Price{{1000, 100}, {2000, 100}, {3000, 100}, {4000, 100}, {5000, 100}}
	with := func(add ...Price) (all []Price) {
		all = append(all, full...)
		for _, p := range add {
			at := 0
			for at < len(all) && all[at].Timestamp < p.Timestamp {
				at++
			}
			all = append(all[:at:at], append([]Price{p}, all[at:]...)...)
		}
		return all
	}
	for _, c := range []struct {
		name   string
		prices []Price
		want   Outcome
	}{
		{"calm", full, UserWins},
		{"touches the bounds", with(Price{1500, 90}, Price{2500, 110}), UserWins},
		{"below", with(Price{1500, 89}), SolverWins},
		{"above", with(Price{2500, 111}), SolverWins},
		{"at the start", append([]Price{{1000, 89}}, full[1:]...), SolverWins},
		{"at the end", append(full[:4:4], Price{5000, 111}), SolverWins},
		{"before the start", with(Price{999, 1}), UserWins},
		{"after the end", with(Price{5001, 1}), UserWins},
		{"nothing", nil, Voided},
		{"only before and after", []Price{{999, 100}, {5001, 100}}, Voided},
		{"late first", append([]Price{{2000, 100}}, full[2:]...), UserWins},
		{"too late first", append([]Price{{2001, 100}}, full[2:]...), Voided},
		{"early last", full[:4], UserWins},
		{"too early last", append(full[:3:3], Price{3999, 100}), Voided},
		{"hole", []Price{{1000, 100}, {2000, 100}, {3001, 100}, {4000, 100}, {5000, 100}}, Voided},
		{"hole and breach", []Price{{1000, 100}, {4500, 111}}, SolverWins},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := tx.Quote{Lower: 90, Upper: 110, Start: 1000, End: 5000}
			x := &market{}
			for _, p := range c.prices {
				x.observe(p)
			}
			m := &Market{maxStaleMs: 1000}
			if got, _ := m.Verdict(&Thesis{Quote: q, market: x}); got != c.want {
				t.Errorf("the reference says %s, want %s", got, c.want)
			}
			o := PriceOracle{MaxStaleMs: 1000, Prices: c.prices}
			if got := o.Winner(&q); got != c.want[0] {
				t.Errorf("the prices say %c, want %s", got, c.want)
			}
		})
	}
}

// TestRing: prices fall into slots of 100 ms, at most one into the next, and are
// gone after a round.
func TestRing(t *testing.T) {
	x := &market{}
	for i, c := range []struct {
		at       uint64
		recorded bool
	}{{1000, true}, {1010, true}, {1020, false}, {1199, true}, {1200, true}, {1250, false}, {1350, true}} {
		if got := x.observe(Price{c.at, 1}); got != c.recorded {
			t.Errorf("price %d at %d: recorded %v", i, c.at, got)
		}
	}
	lap := uint64(ringPages * pageSlots * slotMs)
	x.observe(Price{lap - 100, 1})
	if prices, complete := x.within(0, 2000); len(prices) != 5 || !complete {
		t.Errorf("before the lap: %v, %v", prices, complete)
	}
	x.observe(Price{lap, 1})
	if prices, complete := x.within(0, 2000); len(prices) != 0 || complete {
		t.Errorf("after the lap: %v, %v", prices, complete)
	}
}

// TestReplayAnyOrder: 64 transactions of one signer are taken in any order, each
// once, whatever went before.
func TestReplayAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var w window
	now := uint64(1_700_000_000_000)
	for i := range 500 {
		w.remember(now+uint64(i), tx.Hash{1, byte(i), byte(i >> 8)}, now)
	}
	for _, i := range r.Perm(64) {
		if !w.remember(now+500+uint64(i), tx.Hash{2, byte(i)}, now) {
			t.Fatalf("%d of 64 is refused", i)
		}
	}
	if len(w.seen) > maxRemembered {
		t.Errorf("%d are remembered, at most %d should be", len(w.seen), maxRemembered)
	}
}

// TestConservedCanFail: the checker sees value that comes from nowhere, in each
// place where there is some.
func TestConservedCanFail(t *testing.T) {
	start := func() *Market {
		p := params.Default()
		p.Accounts = []params.Account{{Address: tx.Address{1}, Balance: 100}, {Address: tx.Address{2}, Balance: 100}}
		m := New(&chain.Genesis{MaxStaleMs: 1000}, &p)
		x := &Thesis{ID: 1, Quote: tx.Quote{User: tx.Address{1}, Solver: tx.Address{2}, BetAmount: 10, Payout: 30}, market: m.markets[0]}
		m.theses, m.open = append(m.theses, x), append(m.open, x)
		m.account(tx.Address{1}).balance, m.account(tx.Address{1}).locked = 90, 10
		m.account(tx.Address{2}).balance, m.account(tx.Address{2}).locked = 80, 20
		m.markets[0].openPayouts = 30
		return m
	}
	if err := start().Conserved(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Market)
		want   string
	}{
		"balance":       {func(m *Market) { m.account(tx.Address{1}).balance++ }, "deposits"},
		"deposit":       {func(m *Market) { m.deposited++ }, "deposits"},
		"processed":     {func(m *Market) { m.processed++ }, "deposits"},
		"withdrawal":    {func(m *Market) { m.withdrawals = append(m.withdrawals, &withdrawal{amount: 1}) }, "deposits"},
		"locked":        {func(m *Market) { m.account(tx.Address{2}).locked++ }, "locked"},
		"open interest": {func(m *Market) { m.markets[0].openPayouts-- }, "open interest"},
	} {
		m := start()
		c.change(m)
		if err := m.Conserved(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTrades reads lines that are trades and some that are not.
func TestTrades(t *testing.T) {
	trades, err := Trades(strings.NewReader("10,1.5,1,ANY\n10,15993.123456,1,ANY\n11,3,1,ANY\n"))
	want := []Price{{10_000, 1_500_000}, {10_500, 15_993_123_456}, {11_000, 3_000_000}}
	if err != nil || len(trades) != 3 || trades[0] != want[0] || trades[1] != want[1] || trades[2] != want[2] {
		t.Errorf("%v, %v, want %v", trades, err, want)
	}
	for _, bad := range []string{"10,1.5,1", "x,1,1,ANY", "10,1.1234567,1,ANY", "10,-1,1,ANY", "10,1e3,1,ANY", "10,1.-5,1,ANY"} {
		if _, err := Trades(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
