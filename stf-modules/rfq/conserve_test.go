package rfq_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// ledger watches a world from outside: what events say of theses, and what the
// records of the state add up to.
type ledger struct {
	*world
	open     map[uint64]bool
	outcomes map[string]int
	names    map[string]int
}

// field is the value of an event's field, as text.
func field(event, name string) string {
	_, rest, _ := strings.Cut(event, " "+name+"=")
	value, _, _ := strings.Cut(rest, " ")
	return strings.Trim(value, `"`)
}

// note takes a transaction's events: ids are given out in order, and each thesis
// ends once.
func (l *ledger) note(events []string) {
	l.Helper()
	for _, e := range events {
		id := number(field(e, "thesis_id"))
		switch {
		case strings.HasPrefix(e, "thesis_created "):
			if id != uint64(len(l.open)+1) {
				l.Fatalf("thesis %d is the %d. of all", id, len(l.open)+1)
			}
			l.open[id] = true
		case strings.HasPrefix(e, "thesis_settled "):
			if !l.open[id] {
				l.Fatalf("thesis %d was settled again: %s", id, e)
			}
			l.open[id] = false
			l.outcomes[field(e, "outcome")]++
			if number(field(e, "user_received"))+number(field(e, "solver_received")) != number(field(e, "payout")) {
				l.Fatalf("not the payout was paid: %s", e)
			}
		}
	}
}

func number(s string) (n uint64) {
	fmt.Sscan(s, &n)
	return n
}

func u64(s string, at int) uint64 { return binary.LittleEndian.Uint64([]byte(s[at:])) }

// balanced reads every record and adds up.
func (l *ledger) balanced() {
	l.Helper()
	var balances, locked, pending, scheduled uint64
	held := map[string]uint64{}                                 // by account, of its open theses
	interest, count := map[string]uint64{}, map[string]uint64{} // by market
	for k, v := range l.state.m {
		switch k[0] {
		case 'a':
			balances += u64(v, 0)
			locked += u64(v, 8)
		case 'x':
			if v[56] == 0 {
				pending += u64(v, 20)
			}
		case 't':
			q, ok := tx.DecodeQuote([]byte(v[93:]))
			if !ok || l.open[binary.BigEndian.Uint64([]byte(k[1:]))] != (v[0] == 0) {
				l.Fatalf("thesis %x: %x", k, v)
			}
			if v[0] == 0 {
				held[string(q.User[:])] += q.BetAmount
				held[string(q.Solver[:])] += q.Payout - q.BetAmount
				interest[string(q.Base[:])+string(q.Quote[:])] += q.Payout
				count[string(q.Base[:])+string(q.Quote[:])]++
			}
		case 'v':
			if v[0] == 0 {
				scheduled += uint64(v[1])
			}
		}
	}
	for k, v := range l.state.m {
		if k[0] == 'a' && u64(v, 8) != held[k[1:]] {
			l.Fatalf("account %x has %d locked, its open theses %d", k[1:], u64(v, 8), held[k[1:]])
		}
		if k[0] == 'm' && (u64(v, 27) != interest[k[1:]] || u64(v, 35) != count[k[1:]]) {
			l.Fatalf("market %x has open interest %d of %d theses, want %d of %d", k[1:], u64(v, 27), u64(v, 35), interest[k[1:]], count[k[1:]])
		}
	}
	var open, inAll uint64
	for _, v := range l.open {
		if v {
			open++
		}
	}
	for _, n := range count {
		inAll += n
	}
	b := l.state.m["b"] // genesis, deposits, processed, pending, escrow, balances
	if u64(b, 24) != pending || u64(b, 32) != locked || u64(b, 40) != balances || open != inAll || open != scheduled {
		l.Fatalf("totals %x; accounts hold %d and %d locked, %d pending; %d theses are open, %d in state, %d in schedules", b, balances, locked, pending, open, inAll, scheduled)
	}
	if balances+locked+pending != u64(b, 8)-u64(b, 16)+u64(b, 0) {
		l.Fatalf("value was created or lost: %x", b)
	}
}

// TestConservation is issue item 3: random histories of everything, natively and
// compiled, with the books balanced after each transaction; in the end everybody
// settles what is open, and nothing is left locked.
func TestConservation(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(testing.TB, *traffic.Generator) *world
		txs   int
		seeds uint64
	}{
		{"native", func(t testing.TB, g *traffic.Generator) *world { return newWorld(t, g, nil) }, *modelTxs / 4, 3},
		{"wasm", func(t testing.TB, g *traffic.Generator) *world { return wasmWorld(t, g, nil) }, *modelTxs / 4, 1},
	} {
		for seed := range c.seeds {
			t.Run(fmt.Sprint(c.name, " ", seed), func(t *testing.T) {
				g := traffic.New(100+seed, traffic.Fake{})
				l := &ledger{world: c.begin(t, g), open: map[uint64]bool{}, outcomes: map[string]int{}, names: map[string]int{}}
				for i := range c.txs {
					if i%12 == 0 {
						step := uint64(100)
						if i%600 == 0 {
							step = [...]uint64{3_200, 20_000, 61_000, 7_000_000}[g.Rand.IntN(4)]
						}
						l.block(l.ctx.Time+step, g.Oracle(l.ctx.Time+step))
					}
					r := l.raw(g.Next(l.ctx.Time))
					l.names[r.name]++
					l.note(r.events)
					g.Opened = uint64(len(l.open))
					l.balanced()
				}
				l.finish()
			})
		}
	}
}

// finish settles everything that is open.
func (l *ledger) finish() {
	l.Helper()
	l.block(l.ctx.Time+100, l.gen.Oracle(l.ctx.Time+100))
	l.block(l.ctx.Time+rfq.MaxDueMs+rfq.GraceMs, chain.OracleSnapshot{})
	stranger := traffic.Stranger + 1
	open := 0
	for id := uint64(1); id <= uint64(len(l.open)); id++ {
		if l.open[id] {
			open++
			l.note(l.must("ok", stranger, settle(id)).events)
		}
		l.must("ThesisNotActive", stranger, settle(id))
	}
	l.balanced()
	for k := range l.state.m {
		if k[0] == 'v' {
			l.Errorf("the schedule has %x", k)
		}
	}
	if got := l.query(query.Totals()); got["escrow"] != "0" || got["conserved"] != true {
		l.Errorf("totals %v", got)
	}
	for _, m := range l.query(query.Markets())["markets"].([]any) {
		if m := m.(map[string]any); m["open_interest"] != "0" || m["open_theses"] != 0.0 {
			l.Errorf("market %v", m)
		}
	}
	var rare []string
	for _, name := range []string{"user_wins", "solver_wins", "void", "cancelled"} {
		if l.outcomes[name] == 0 {
			rare = append(rare, name)
		}
	}
	l.Logf("%d theses, %d open in the end: %v; %v", len(l.open), open, l.outcomes, l.names)
	if slices.Sort(rare); len(rare) > 0 || len(l.names) < 35 {
		l.Errorf("the traffic is too tame: few of %v, %d outcomes", rare, len(l.names))
	}
}
