package devnet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/solver"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/event"
)

// Books that do not balance fail a run as an unverified block does.
func TestValue(t *testing.T) {
	for name, c := range map[string]struct {
		v     Value
		total uint64
		ok    bool
	}{
		"balanced":        {Value{Genesis: 100, Deposits: 20, Processed: 5, Pending: 3, Escrow: 12, Balances: 100, Said: true}, 115, true},
		"created":         {Value{Genesis: 100, Balances: 101, Said: true}, 101, false},
		"lost":            {Value{Genesis: 100, Balances: 90, Escrow: 9, Said: true}, 99, false},
		"module says no":  {Value{Genesis: 100, Balances: 100}, 100, false},
		"round the clock": {Value{Genesis: 1, Balances: 1, Escrow: math.MaxUint64, Pending: 1, Said: true}, 1, false},
	} {
		total, ok := c.v.Total()
		if total != c.total || ok != c.ok {
			t.Errorf("%s: %d, %v", name, total, ok)
		}
		err := c.v.check()
		if (err == nil) != c.ok || !c.ok && !(errors.Is(err, ErrValue) && errors.Is(err, node.ErrVerification)) {
			t.Errorf("%s: %v", name, err)
		}
		r := Report{Height: 7, Verified: 7}
		if err := r.judge(err); errors.Is(err, node.ErrVerification) == c.ok {
			t.Errorf("%s: the run ends with %v", name, err)
		}
	}
}

func TestThesesAreCounted(t *testing.T) {
	settled := func(outcome string) []byte { return (&event.ThesisSettled{Outcome: outcome}).Append(nil) }
	var got Theses
	got.add(&chain.Results{
		Begin: [][]byte{(&event.Price{}).Append(nil), settled(event.Void)},
		Receipts: []chain.Receipt{
			{Events: [][]byte{(&event.ThesisCreated{}).Append(nil), settled(event.UserWins)}},
			{Events: [][]byte{(&event.ThesisCreated{}).Append(nil), settled(event.SolverWins), settled(event.SolverWins)}},
		},
		End: [][]byte{settled(event.Cancelled), nil, {1, 2}},
	})
	if want := (Theses{Opened: 2, UserWins: 1, SolverWins: 2, Void: 1, Cancelled: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Ranges are around the price, wider for longer bets, and every kind of bet
// comes up.
func TestChoose(t *testing.T) {
	m := &solver.Market{Pair: "BTC/USDT", Price: 104_250_000_000, Volatility: 707}
	durations, widths := map[uint64]bool{}, map[api.Amount]bool{}
	for n := range uint64(300) {
		r := choose(n, m, 1000)
		durations[r.Duration] = true
		if r.Duration == 60_000 {
			widths[r.Upper-r.Lower] = true
		}
		if r.Lower >= m.Price || r.Upper <= m.Price || r.Lower == 0 || r.BetAmount < 1_000_000 || r.BetAmount > 10_000_000 {
			t.Fatalf("bet %d is %+v", n, r)
		}
		if half := uint64(r.Upper - m.Price); half < 20_000_000 || half > 200_000_000 { // a minute moves it by 74 USDT
			t.Fatalf("bet %d is %d wide to a side", n, half)
		}
	}
	if len(durations) != len(durationsMs) || len(widths) != len(halfWidths) {
		t.Errorf("%d durations and %d widths come up", len(durations), len(widths))
	}
	if r := choose(0, &solver.Market{Price: 2, Volatility: 1}, 0); r.Lower != 1 || r.Upper != 3 {
		t.Errorf("a price that hardly is one gives %+v", r)
	}
}

// Users bet on what has a price, and on nothing else.
func TestNextSkipsMarkets(t *testing.T) {
	good := solver.Market{Pair: "A", Price: 1000, Volatility: 10, Moves: 100}
	stale, paused, young := good, good, good
	stale.Stale, paused.Paused, young.Moves = true, true, 3
	b := &bets{}
	if _, _, ok := b.next(0); ok {
		t.Error("a bet before anything is known")
	}
	accounts, err := Accounts()
	if err != nil {
		t.Fatal(err)
	}
	n := &Net{Services: Services{Solver: "http://127.0.0.1:1"}, opts: Options{ThesesPerSecond: 1}, failed: make(chan struct{})}
	if err := n.startUsers(accounts); err != nil {
		t.Fatal(err)
	}
	if err := n.users.end(); err != nil {
		t.Fatal(err)
	}
	n.bets.info.Markets = []solver.Market{stale, paused, young}
	if _, _, ok := n.bets.next(0); ok {
		t.Error("a bet on a market without a price to go by")
	}
	n.bets.info.Markets = append(n.bets.info.Markets, good)
	seen := map[chain.Address]bool{}
	for i := range uint64(9) {
		r, w, ok := n.bets.next(i)
		if !ok || r.Pair != "A" || r.User != w.Address {
			t.Fatalf("bet %d is %+v, %v", i, r, ok)
		}
		seen[r.User] = true
	}
	if len(seen) != 3 || seen[accounts[4].Address] || !seen[accounts[5].Address] || !seen[accounts[7].Address] {
		t.Errorf("users are %v", seen)
	}
}

func TestBetsAreCounted(t *testing.T) {
	b := &bets{}
	b.note(nil)
	b.note(fmt.Errorf("in: %w", &solver.Error{Name: "PriceMoved"}))
	b.note(&solver.Error{Name: solver.Unresolved, Message: "where is it"})
	b.note(client.ErrUnreachable)
	got := b.report()
	if got.Accepted != 1 || got.Declined != 1 || got.Lost != 2 || got.Trouble != client.ErrUnreachable.Error() {
		t.Errorf("report is %+v", got)
	}
}

// Stamps of one account rise, whoever takes them.
func TestStamps(t *testing.T) {
	var s stamps
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint64]bool{}
	for range 8 {
		all.Go(func() {
			last := uint64(0)
			for range 1000 {
				v := s.next()
				if v <= last {
					t.Errorf("%d after %d", v, last)
				}
				last = v
				mu.Lock()
				seen[v] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(seen) != 8000 {
		t.Errorf("%d different stamps of 8000", len(seen))
	}
}

// A market that was stopped before it began leaves nothing running.
func TestUsersStopAtOnce(t *testing.T) {
	s, err := solver.NewClient("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { (&bets{solver: s, rate: 200}).run(ctx); close(done) }()
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("users do not stop")
	}
}
