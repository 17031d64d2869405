package refmarket_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/refmarket"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// story is one thesis: a box of [90, 110] until 10 s after the first block, with
// what is observed meanwhile.
type story struct {
	*attempt
	start uint64 // of the chain's first block
}

// tell opens the thesis, which starts start ms after the first block, and goes on, in blocks of 500 ms with a price each, to at
// ms after the first block; prices has those that are not 100, 0 for none.
func tell(t *testing.T, start, at uint64, prices map[uint64]uint64) *story {
	a := newAttempt(t)
	s := &story{attempt: a, start: a.now}
	a.q.Start = a.now + start
	if r := a.submit(); r.Error != "" {
		t.Fatal(r)
	}
	for ms := uint64(500); ms <= at; ms += 500 {
		price, ok := prices[ms]
		if !ok {
			price = 100
		}
		s.block(ms, price)
	}
	if (at % 500) != 0 {
		s.block(at, 0)
	}
	return s
}

// block is the next block, ms after the first, with a price unless it is 0.
func (s *story) block(ms, price uint64) {
	s.end(s.t)
	oracle := s.oracle
	oracle.Prices = nil
	if price != 0 {
		p := s.oracle.Prices[0]
		p.Price, p.Timestamp = price, s.start+ms
		oracle.Prices = []chain.Price{p}
	}
	s.begin(s.t, s.start+ms, oracle)
}

func (s *story) system(c tx.Settlement) refmarket.Result {
	return s.send(s.t, refmarket.SettlerKey, tx.Transaction{Kind: tx.KindSystemSettle, SystemSettle: tx.SystemSettle{ThesisID: 1, Settlement: c}})
}

func (s *story) anybody() refmarket.Result {
	return s.send(s.t, refmarket.FirstStranger, tx.Transaction{Kind: tx.KindRfqSettle, RfqSettle: tx.RfqSettle{ThesisID: 1}})
}

// Ms after the first block, in these stories.
const (
	endMs  = 10_000
	dueMs  = endMs + challengeMs
	freeMs = dueMs + graceMs // anybody may settle
)

// silence is no price at these times.
func silence(from, to uint64) map[uint64]uint64 {
	m := map[uint64]uint64{}
	for ; from <= to; from += 500 {
		m[from] = 0
	}
	return m
}

// TestSettlement tries every claim at every stage; after each, the thesis is as
// it was or as it should be, and a second settlement fails.
func TestSettlement(t *testing.T) {
	breach := func(ms, price uint64) func(*story) refmarket.Result {
		return func(s *story) refmarket.Result {
			return s.system(tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: s.start + ms, BreachPrice: price})
		}
	}
	userWins := func(s *story) refmarket.Result { return s.system(tx.Settlement{Kind: tx.UserWins}) }
	void := func(s *story) refmarket.Result { return s.system(tx.Settlement{Kind: tx.Void}) }
	anybody := (*story).anybody
	down := map[uint64]uint64{7_000: 89}
	for _, c := range []struct {
		name   string
		at     uint64
		prices map[uint64]uint64
		claim  func(*story) refmarket.Result
		want   string // error, or outcome with a "+"
	}{
		{"user wins when due", dueMs, nil, userWins, "+user_wins"},
		{"user wins a ms early", dueMs - 1, nil, userWins, "ChallengeWindowNotOver"},
		{"user wins before the start", 500, nil, userWins, "ChallengeWindowNotOver"},
		{"user wins on the bounds", dueMs, map[uint64]uint64{6_000: 90, 7_000: 110}, userWins, "+user_wins"},
		{"user wins in spite of a breach", dueMs, down, userWins, "BreachFound"},
		{"user wins in spite of a breach at the start", dueMs, map[uint64]uint64{5_000: 111}, userWins, "BreachFound"},
		{"user wins in spite of a breach at the end", dueMs, map[uint64]uint64{10_000: 111}, userWins, "BreachFound"},
		{"user wins with a breach before", dueMs, map[uint64]uint64{4_500: 111}, userWins, "+user_wins"},
		{"user wins with a breach after", dueMs, map[uint64]uint64{10_500: 111}, userWins, "+user_wins"},
		{"user wins with 3000 ms of silence", dueMs, silence(6_500, 8_500), userWins, "+user_wins"},
		{"user wins with 3500 ms of silence", dueMs, silence(6_500, 9_000), userWins, holeFound},

		{"solver wins at once", 7_000, down, breach(7_000, 89), "+solver_wins"},
		{"solver wins when due", dueMs, down, breach(7_000, 89), "+solver_wins"},
		{"solver wins late", 2 * freeMs, down, breach(7_000, 89), "+solver_wins"},
		{"solver wins at the start", 5_000, map[uint64]uint64{5_000: 111}, breach(5_000, 111), "+solver_wins"},
		{"solver wins at the end", endMs, map[uint64]uint64{10_000: 111}, breach(10_000, 111), "+solver_wins"},
		{"solver wins by the second breach", dueMs, map[uint64]uint64{6_000: 89, 7_000: 111}, breach(7_000, 111), "+solver_wins"},
		{"solver wins in spite of silence", dueMs, map[uint64]uint64{5_500: 89, 6_000: 0, 6_500: 0, 7_000: 0, 7_500: 0, 8_000: 0, 8_500: 0, 9_000: 0}, breach(5_500, 89), "+solver_wins"},
		{"breach before the start", 7_000, map[uint64]uint64{4_500: 89}, breach(4_500, 89), "InvalidBreachTimestamp"},
		{"breach a ms before the start", 7_000, down, breach(4_999, 89), "InvalidBreachTimestamp"},
		{"breach after the end", dueMs, map[uint64]uint64{10_500: 89}, breach(10_500, 89), "InvalidBreachTimestamp"},
		{"breach a ms after the end", dueMs, down, breach(10_001, 89), "InvalidBreachTimestamp"},
		{"breach within range", dueMs, nil, breach(7_000, 100), "PriceWithinRange"},
		{"breach on the lower bound", dueMs, map[uint64]uint64{7_000: 90}, breach(7_000, 90), "PriceWithinRange"},
		{"breach on the upper bound", dueMs, map[uint64]uint64{7_000: 110}, breach(7_000, 110), "PriceWithinRange"},
		{"breach of another price", dueMs, down, breach(7_000, 88), priceDiffers},
		{"breach that was no breach", dueMs, nil, breach(7_000, 89), priceDiffers},
		{"breach a ms beside", dueMs, down, breach(7_001, 89), "OracleDataNotFound"},
		{"breach at another price's time", dueMs, down, breach(7_500, 89), priceDiffers},
		{"breach in the future", 7_000, down, breach(9_000, 89), "OracleDataNotFound"},
		{"breach at the edge of numbers", dueMs, down, breach(^uint64(0)-1_700_000_000_100, 89), "InvalidBreachTimestamp"},

		{"void when nothing is missing", dueMs, nil, void, holeNotFound},
		{"void with 3000 ms of silence", dueMs, silence(6_500, 8_500), void, holeNotFound},
		{"void with 3500 ms of silence", dueMs, silence(6_500, 9_000), void, "+void"},
		{"void of silence to the end", dueMs, silence(7_000, 12_000), void, "+void"},
		{"void of silence from the start", dueMs, silence(3_000, 8_000), void, "+void"},
		{"void of silence outside", dueMs + 5_000, silence(10_500, 17_000), void, holeNotFound},
		{"void in spite of a breach", dueMs, map[uint64]uint64{5_500: 89, 6_000: 0, 6_500: 0, 7_000: 0, 7_500: 0, 8_000: 0, 8_500: 0, 9_000: 0}, void, "BreachFound"},
		{"void too early", dueMs - 1, silence(6_500, 12_000), void, "ChallengeWindowNotOver"},

		{"anybody, user wins", freeMs, nil, anybody, "+user_wins"},
		{"anybody, a ms early", freeMs - 1, nil, anybody, "ChallengeWindowNotOver"},
		{"anybody, breach", freeMs, down, anybody, "+solver_wins"},
		{"anybody, silence", freeMs, silence(6_500, 9_000), anybody, "+void"},
		{"anybody, breach and silence", freeMs, map[uint64]uint64{5_500: 89, 6_000: 0, 6_500: 0, 7_000: 0, 7_500: 0, 8_000: 0, 8_500: 0, 9_000: 0}, anybody, "+solver_wins"},
		{"anybody, a breach early", 7_000, down, anybody, "ChallengeWindowNotOver"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tell(t, 5_000, c.at, c.prices)
			r := c.claim(s)
			outcome, settled := strings.CutPrefix(c.want, "+")
			switch {
			case !settled && r.Error != c.want:
				t.Errorf("%+v, want %s", r, c.want)
			case settled && (r.Error != "" || len(r.Events) != 1 || !strings.Contains(r.Events[0], " outcome="+outcome+" ")):
				t.Errorf("%+v, want %s", r, outcome)
			}
			if settled {
				s.isFinal(outcome)
			}
			s.done()
		})
	}
}

// isFinal checks who got what, and that nothing more comes.
func (s *story) isFinal(outcome string) {
	s.t.Helper()
	want := map[string][2]uint64{"user_wins": {100_000_900, 199_999_100}, "solver_wins": {99_999_000, 200_001_000},
		"void": {100_000_000, 200_000_000}, "cancelled": {100_000_000, 200_000_000}}[outcome]
	user, solver := s.ref.Account(s.g.Address(aUser)), s.ref.Account(s.g.Address(aSolver))
	if user.Balance != want[0] || solver.Balance != want[1] || user.Locked != 0 || solver.Locked != 0 {
		s.t.Errorf("user %+v, solver %+v, want %v", user, solver, want)
	}
	for _, c := range []tx.Settlement{{Kind: tx.UserWins}, {Kind: tx.SolverWins, BreachTimestamp: s.start + 7_000, BreachPrice: 89}, {Kind: tx.Void}} {
		if r := s.system(c); r.Error != "ThesisNotActive" {
			s.t.Errorf("settled again: %+v", r)
		}
	}
	if r := s.anybody(); r.Error != "ThesisNotActive" {
		s.t.Errorf("settled again: %+v", r)
	}
}

// TestStates: what a thesis is in follows from the time, to the ms.
func TestStates(t *testing.T) {
	for at, want := range map[uint64]string{4_999: "Created", 5_000: "Active", endMs - 1: "Active", endMs: "InChallengeWindow", dueMs - 1: "InChallengeWindow", dueMs: "Due"} {
		s := tell(t, 5_000, at, nil)
		s.end(t)
		s.sameThesis(t, s.modules[0], 1)
		if got := s.ref.State(s.ref.Theses()[0]); got != want {
			t.Errorf("at %d it is %s, want %s", at, got, want)
		}
	}
}

// TestCancel: an admin may take a thesis back until it starts, and nobody else.
func TestCancel(t *testing.T) {
	cancel := tx.Transaction{Kind: tx.KindAdmin, Admin: tx.AdminAction{Kind: tx.CancelThesis, ThesisID: 1}}
	for _, c := range []struct {
		at   uint64
		key  int
		id   uint64
		want string
	}{
		{500, refmarket.AdminKey, 1, ""},
		{4_999, refmarket.AdminKey, 1, ""},
		{5_000, refmarket.AdminKey, 1, "ThesisStarted"},
		{dueMs, refmarket.AdminKey, 1, "ThesisStarted"},
		{500, refmarket.AdminKey, 2, "ThesisNotFound"},
		{500, refmarket.AdminKey, 0, "ThesisNotFound"},
		{500, refmarket.SettlerKey, 1, "Unauthorized"},
		{500, aSolver, 1, "Unauthorized"},
	} {
		s := tell(t, 5_000, c.at, nil)
		cancel.Admin.ThesisID = c.id
		if r := s.send(t, c.key, cancel); r.Error != c.want {
			t.Errorf("%+v: %+v", c, r)
		}
		if c.want == "" {
			s.isFinal("cancelled")
			if r := s.send(t, c.key, cancel); r.Error != "ThesisNotActive" {
				t.Errorf("cancelled again: %+v", r)
			}
		}
		s.done()
	}
}

// TestGoneFromTheRing: when nobody has settled for so long that the prices are
// gone, both get their money back; what is still there still counts.
func TestGoneFromTheRing(t *testing.T) {
	for _, c := range []struct {
		start  uint64 // ms after the first block
		later  uint64 // likewise
		prices map[uint64]uint64
		want   string
	}{
		{5_000, 6_500_000, nil, "user_wins"},
		{5_000, 6_500_000, map[uint64]uint64{7_000: 89}, "solver_wins"},
		{5_000, 6_553_400, nil, "user_wins"}, // a ring after page 0, in which the thesis starts
		{5_000, 6_553_500, nil, "void"},      // page 0 is gone, and no more than that
		{5_000, 6_553_500, map[uint64]uint64{7_000: 89}, "solver_wins"},
		{6_299, 6_553_500, nil, "void"},
		{6_300, 6_553_500, nil, "user_wins"}, // starts with page 1
		{5_000, 6_600_000, nil, "void"},
		{5_000, 6_600_000, map[uint64]uint64{7_000: 89}, "void"},
	} {
		t.Run(fmt.Sprint(c.start, " ", c.later, " ", c.want), func(t *testing.T) {
			s := tell(t, c.start, dueMs, c.prices)
			s.block(c.later, 100)
			if r := s.anybody(); r.Error != "" || !strings.Contains(r.Events[0], " outcome="+c.want+" ") {
				t.Errorf("%+v, want %s", r, c.want)
			}
			s.isFinal(c.want)
			s.done()
		})
	}
}

// Names of errors that the protocol page leaves to the module.
const (
	holeFound    = "OracleDataNotFound"
	holeNotFound = "OracleDataComplete"
	priceDiffers = "OracleDataNotFound"
)

// TestLap: around the moment when the ring has gone round, a breach is either
// still there or not, for a short window and for the longest; module and reference
// agree about which.
func TestLap(t *testing.T) {
	laters := []uint64{}
	for n := range uint64(6) {
		laters = append(laters, 6_541_500+n*pageMs, 6_701_500+n*3*pageMs)
	}
	for _, later := range laters {
		for _, end := range []uint64{endMs, 6_477_000} {
			for _, breach := range []uint64{7_000, 160_000} {
				t.Run(fmt.Sprint(later, end, breach), func(t *testing.T) {
					lap(t, later, end, breach, 0)
					lap(t, later, end, breach, 3_000_000)
				})
			}
		}
	}
}

const pageMs = 6_400 // of the ring

// lap is a thesis until end with one breach, which is settled later. There are
// prices until the breach, one at pause, and one at the end.
func lap(t *testing.T, later, end, breach, pause uint64) {
	a := newAttempt(t)
	a.q.End = a.now + end
	s := &story{attempt: a, start: a.now}
	if r := a.submit(); r.Error != "" {
		t.Fatal(r)
	}
	s.block(5_000, 100)
	s.block(breach, 89)
	s.block(breach+500, 100)
	if pause != 0 {
		s.block(pause, 100)
	}
	s.block(later, 100)
	s.system(tx.Settlement{Kind: tx.Void})
	s.system(tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: s.start + breach, BreachPrice: 89})
	if r := s.anybody(); r.Error != "" && r.Error != "ThesisNotActive" {
		t.Errorf("%+v", r)
	}
	s.done()
}
