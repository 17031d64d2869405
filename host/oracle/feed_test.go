package oracle

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
)

// t0 is the node's clock at the start of most tests, ms.
const t0 = 1_700_000_000_000

func mustPair(t testing.TB, name string) Pair {
	t.Helper()
	p, err := ParsePair(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func entry(t testing.TB, name string, price, at uint64) Entry {
	t.Helper()
	return Entry{Pair: mustPair(t, name), Price: price, LastUpdate: at}
}

func answer(at uint64, entries ...Entry) *Answer { return &Answer{Timestamp: at, Entries: entries} }

func newFeed() *Feed { return NewFeed(KnownTokens(), chain.OracleSnapshot{}) }

func accept(t testing.TB, f *Feed, a *Answer, now uint64) {
	t.Helper()
	if refused := f.Accept(a, now); refused != nil {
		t.Fatalf("refused %v", refused)
	}
}

// priceOf is a pair's price and time in a snapshot; zeros if it has none.
func priceOf(s chain.OracleSnapshot, p Pair) (price, at uint64) {
	for _, v := range s.Prices {
		if v.Base == p.Base && v.Quote == p.Quote {
			return v.Price, v.Timestamp
		}
	}
	return 0, 0
}

func TestPairs(t *testing.T) {
	p := mustPair(t, "BTC/USDT")
	if got, want := p.Base.String(), "0x0000000000000000000000000000000000000001"; got != want {
		t.Errorf("BTC is %s, want %s", got, want)
	}
	if got, want := p.Quote.String(), "0x0000000000000000000000000000000000000100"; got != want {
		t.Errorf("USDT is %s, want %s", got, want)
	}
	for _, bad := range []string{"", "BTC", "/", "BTC/", "/USDT", "btc/usdt", "BTC/BTC", "BTC/USDT/ETH", "DOGE/USDT", "BTC-USDT", " BTC/USDT"} {
		if p, err := ParsePair(bad); err == nil {
			t.Errorf("ParsePair(%q) = %v, want an error", bad, p)
		}
	}
}

// K-12: the last known prices are fresh up to and including max_stale_ms.
func TestSnapshotStaleness(t *testing.T) {
	f := newFeed()
	if s := f.Snapshot(t0, 3000); !s.Stale || s.Timestamp != 0 || s.Prices != nil {
		t.Errorf("before the first answer: %+v, want stale and empty", s)
	}
	accept(t, f, answer(t0, entry(t, "BTC/USDT", 5, t0)), t0)
	for _, c := range []struct {
		age   uint64
		stale bool
	}{{0, false}, {1, false}, {2999, false}, {3000, false}, {3001, true}, {math.MaxInt64, true}} {
		f.Fail(refuse(Timeout, "", "no answer"))
		s := f.Snapshot(t0+c.age, 3000)
		if s.Stale != c.stale {
			t.Errorf("age %d ms: stale is %v, want %v", c.age, s.Stale, c.stale)
		}
		if price, _ := priceOf(s, mustPair(t, "BTC/USDT")); price != 5 {
			t.Errorf("age %d ms: price is %d, want the last known 5", c.age, price)
		}
	}
	accept(t, f, answer(t0+9000, entry(t, "BTC/USDT", 6, t0+9000)), t0+9000)
	if s := f.Snapshot(t0+9000, 3000); s.Stale {
		t.Error("still stale after a new answer")
	}
}

func TestSnapshotIsSortedAndHashable(t *testing.T) {
	f := newFeed()
	accept(t, f, answer(t0, entry(t, "SOL/USDT", 3, t0), entry(t, "BTC/USDT", 1, t0)), t0)
	accept(t, f, answer(t0, entry(t, "ETH/USDT", 2, t0), entry(t, "ETH/BTC", 4, t0)), t0)
	s := f.Snapshot(t0, 3000)
	back, err := chain.DecodeOracle(s.Append(nil)) // the decoder refuses disorder
	if err != nil || !reflect.DeepEqual(back, s) {
		t.Fatalf("snapshot %+v decodes to %+v, %v", s, back, err)
	}
	if len(s.Prices) != 4 {
		t.Errorf("%d prices, want 4", len(s.Prices))
	}
}

// TestFeedRefuses has one line per rule: what comes after a good answer of BTC
// at price 100, what is refused and what is then in force.
func TestFeedRefuses(t *testing.T) {
	btc, eth := mustPair(t, "BTC/USDT"), mustPair(t, "ETH/USDT")
	later := uint64(t0 + 100)
	bad := Entry{Pair: Pair{Name: "BTC/USDT"}, Bad: refuse(Malformed, "BTC/USDT", "price is \"1e5\"")}
	swapped := Entry{Pair: Pair{Name: "BTC/USDT", Base: eth.Base, Quote: eth.Quote}, Price: 7, LastUpdate: later}
	unknown := Entry{Pair: Pair{Name: "DOGE/USDT", Base: chain.Address{9}, Quote: btc.Quote}, Price: 7, LastUpdate: later}
	good := entry(t, "ETH/USDT", 50, later)
	for _, c := range []struct {
		name    string
		answer  *Answer
		reason  Reason
		renewed bool // the answer counts: one of its pairs was used
	}{
		{"no pairs", answer(later), Malformed, false},
		{"answer future-dated", answer(later+FutureToleranceMs+1, good), Future, false},
		{"answer as far in the future as a number goes", answer(math.MaxUint64, good), Future, false},
		{"answer older than the last", answer(t0-1, good), Backwards, false},
		{"malformed pair", answer(later, bad, good), Malformed, true},
		{"only a malformed pair", answer(later, bad), Malformed, false},
		{"unknown token", answer(later, unknown, good), Unknown, true},
		{"addresses of another pair", answer(later, swapped, good), Unknown, true},
		{"zero price", answer(later, entry(t, "BTC/USDT", 0, later), good), Zero, true},
		{"zero time", answer(later, entry(t, "BTC/USDT", 7, 0), good), Malformed, true},
		{"pair future-dated", answer(later, entry(t, "BTC/USDT", 7, later+FutureToleranceMs+1), good), Future, true},
		{"pair backwards", answer(later, entry(t, "BTC/USDT", 7, t0-1), good), Backwards, true},
		{"pair backwards with the same price", answer(later, entry(t, "BTC/USDT", 100, t0-1), good), Backwards, true},
		{"second price for one instant", answer(later, entry(t, "BTC/USDT", 7, t0), good), Conflict, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFeed()
			accept(t, f, answer(t0, entry(t, "BTC/USDT", 100, t0)), t0)
			refused := f.Accept(c.answer, later)
			if len(refused) != 1 || refused[0].Reason != c.reason {
				t.Fatalf("refused %v, want one %v", refused, c.reason)
			}
			if n := f.Stats().Refused[c.reason]; n != 1 {
				t.Errorf("counted %d, want 1", n)
			}
			s := f.Snapshot(later, 3000)
			if price, at := priceOf(s, btc); price != 100 || at != t0 {
				t.Errorf("BTC is %d at %d, want the last known 100 at %d", price, at, t0)
			}
			if price, _ := priceOf(s, eth); c.renewed != (price == 50) {
				t.Errorf("ETH is %d, want it used: %v", price, c.renewed)
			}
			if renewed := s.Timestamp == later; renewed != c.renewed {
				t.Errorf("snapshot is of %d, want it renewed: %v", s.Timestamp, c.renewed)
			}
			if failed := f.Stats().Failures == 1; failed == c.renewed {
				t.Errorf("failures in a row: %d", f.Stats().Failures)
			}
		})
	}
}

func TestFeedAccepts(t *testing.T) {
	btc := mustPair(t, "BTC/USDT")
	for _, c := range []struct {
		name              string
		answered, updated uint64
		price             uint64
		wantPrice, wantAt uint64
	}{
		{"the same again", t0, t0, 100, 100, t0},
		{"newer answer, same observation", t0 + 100, t0, 100, 100, t0},
		{"confirmed later", t0 + 100, t0 + 90, 100, 100, t0 + 90},
		{"changed", t0 + 100, t0 + 90, 101, 101, t0 + 90},
		{"at the edge of the tolerance", t0 + 100 + FutureToleranceMs, t0 + 100 + FutureToleranceMs, 101, 101, t0 + 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFeed()
			accept(t, f, answer(t0, entry(t, "BTC/USDT", 100, t0)), t0)
			accept(t, f, answer(c.answered, entry(t, "BTC/USDT", c.price, c.updated)), t0+100)
			s := f.Snapshot(t0+100, 3000)
			if price, at := priceOf(s, btc); price != c.wantPrice || at != c.wantAt {
				t.Errorf("price %d at %d, want %d at %d", price, at, c.wantPrice, c.wantAt)
			}
			if s.Timestamp > t0+100 {
				t.Errorf("snapshot is of %d, after its block at %d", s.Timestamp, t0+100)
			}
		})
	}
}

func TestFeedBoundsMarkets(t *testing.T) {
	tokens := Tokens{}
	var names []string
	for i := range 17 { // 17*16 pairs
		names = append(names, fmt.Sprintf("T%02d", i))
		tokens[names[i]] = chain.Address{byte(i + 1)}
	}
	f := NewFeed(tokens, chain.OracleSnapshot{})
	full := 0
	for _, base := range names {
		a := answer(t0)
		for _, quote := range names {
			if p, err := tokens.Pair(base + "/" + quote); err == nil {
				a.Entries = append(a.Entries, Entry{Pair: p, Price: 1, LastUpdate: t0})
			}
		}
		for _, r := range f.Accept(a, t0) {
			if r.Reason != Full {
				t.Fatal(r)
			}
			full++
		}
	}
	s := f.Snapshot(t0, 3000)
	if len(s.Prices) != chain.MaxMarkets || full != 17*16-chain.MaxMarkets {
		t.Errorf("%d prices and %d refused, want %d and %d", len(s.Prices), full, chain.MaxMarkets, 17*16-chain.MaxMarkets)
	}
}

// A restarted node goes on from the snapshot of its last block: prices stay in
// force, and age goes on counting.
func TestFeedContinuesFromSnapshot(t *testing.T) {
	f := newFeed()
	accept(t, f, answer(t0, entry(t, "BTC/USDT", 100, t0-5), entry(t, "ETH/USDT", 50, t0)), t0)
	last := f.Snapshot(t0, 3000)
	g := NewFeed(KnownTokens(), last)
	if s := g.Snapshot(t0+3000, 3000); s.Stale || !reflect.DeepEqual(s, last) {
		t.Errorf("restored snapshot %+v, want %+v", s, last)
	}
	if s := g.Snapshot(t0+3001, 3000); !s.Stale {
		t.Error("restored snapshot does not age")
	}
	if refused := g.Accept(answer(t0+1, entry(t, "BTC/USDT", 99, t0-6)), t0+1); len(refused) != 1 || refused[0].Reason != Backwards {
		t.Errorf("after a restart refused %v, want backwards", refused)
	}
}

func TestFeedCountsFailures(t *testing.T) {
	f := newFeed()
	f.Fail(refuse(Timeout, "", "x"))
	f.Fail(fmt.Errorf("wrapped: %w", refuse(Status, "", "x")))
	f.Fail(context.DeadlineExceeded)
	want := Stats{Failures: 3}
	want.Refused[Timeout], want.Refused[Status], want.Refused[Unreachable] = 1, 1, 1
	if got := f.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	accept(t, f, answer(t0, entry(t, "BTC/USDT", 100, t0)), t0+3)
	want.Failures, want.Accepted, want.LastGood = 0, 1, t0+3
	if got := f.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range ReasonCount {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d is called %q", r, r)
		}
		seen[r.String()] = true
	}
}

// TestSnapshotsNeverContradict runs a service that lies in every way, a clock
// that is set back and restarts, and checks what the chain relies on: over
// successive blocks no time is later than the block, none goes back, a price
// that changed has a later time, and none is zero.
func TestSnapshotsNeverContradict(t *testing.T) {
	accepted := 0
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		f, now, block := newFeed(), uint64(t0), uint64(t0)
		var last chain.OracleSnapshot
		for range 500 {
			now += rnd.Uint64N(200)
			if rnd.IntN(50) == 0 {
				now -= rnd.Uint64N(5_000)
			}
			if rnd.IntN(60) == 0 {
				f = NewFeed(KnownTokens(), last)
			}
			around := func() uint64 { return now + rnd.Uint64N(2400) - 1200 }
			a := answer(around())
			for _, name := range []string{"BTC/USDT", "ETH/USDT", "SOL/USDT"} {
				a.Entries = append(a.Entries, entry(t, name, rnd.Uint64N(4), around()))
			}
			accepted -= int(f.Stats().Accepted)
			f.Accept(a, now)
			accepted += int(f.Stats().Accepted)
			if rnd.IntN(3) == 0 {
				continue // not every pull is followed by a block
			}
			block = max(now, block+1)
			s := f.Snapshot(block, 3000)
			checkSuccession(t, last, s, block)
			last = s
		}
	}
	if accepted < 1000 {
		t.Errorf("%d of %d answers accepted, the test shows nothing", accepted, 50*500)
	}
}

func checkSuccession(t *testing.T, last, s chain.OracleSnapshot, block uint64) {
	t.Helper()
	if s.Timestamp > block || s.Timestamp < last.Timestamp {
		t.Fatalf("snapshot of %d in block of %d after one of %d", s.Timestamp, block, last.Timestamp)
	}
	for _, p := range s.Prices {
		before, at := priceOf(last, Pair{Base: p.Base, Quote: p.Quote})
		switch {
		case p.Price == 0 || p.Timestamp == 0 || p.Timestamp > block:
			t.Fatalf("block of %d has %+v", block, p)
		case p.Timestamp < at:
			t.Fatalf("price went back from %d to %d", at, p.Timestamp)
		case p.Price != before && p.Timestamp == at:
			t.Fatalf("two prices at %d: %d and %d", at, before, p.Price)
		}
	}
}
