package settle

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/ring"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

var update = flag.Bool("update", false, "rewrite scenarios and golden files")

// Pairs of the tests by the letter that scenarios call them.
func pairOf(name string) Pair {
	return Pair{Base: chain.Address{name[0]}, Quote: chain.Address{'$'}}
}

// hashOf makes up the hash of a block.
func hashOf(height uint64) (h chain.Hash) {
	copy(h[:], fmt.Sprintf("block %d", height))
	return h
}

// world is a core that a scenario drives.
type world struct {
	cfg   Config
	core  *Core
	batch []Settlement
	disk  []byte // what was in flight
}

func newWorld() *world {
	w := &world{cfg: Config{MaxStaleMs: 3000, BufferMs: 200, BatchSize: 100}}
	w.begin()
	return w
}

// begin makes a core that stands at block 0 of a chain without theses.
func (w *world) begin() {
	w.core = New(w.cfg)
	w.core.Rebuild(&Snapshot{Hash: hashOf(0)})
}

func TestScenarios(t *testing.T) {
	hosttest.Scenarios(t, "testdata/*.txt", *update, func(*testing.T) func(*hosttest.Command) string { return newWorld().run })
}

func (w *world) run(c *hosttest.Command) string {
	switch c.Name {
	case "config":
		return w.configure(c)
	case "block":
		return w.block(c)
	case "preview":
		w.preview(c)
	case "tick":
		w.core.Tick()
	case "next":
		return w.next()
	case "answer":
		return w.answer(c)
	case "restart":
		return w.restart(c)
	case "rebuild":
		w.rebuild(c)
	case "state":
	default:
		return "no such command"
	}
	return w.state()
}

func (w *world) configure(c *hosttest.Command) string {
	w.cfg.BatchSize = int(c.Uint("batch", 100))
	w.cfg.BufferMs = c.Uint("buffer", 200)
	w.cfg.Pairs = nil
	for _, name := range c.Args {
		w.cfg.Pairs = append(w.cfg.Pairs, pairOf(name))
	}
	w.begin()
	return w.state()
}

// state is one line about where the core stands.
func (w *world) state() string {
	v := w.core.Counts()
	s := fmt.Sprintf("block %d at %d: open %d watching %d queued %d out %d answered %d", w.core.Height(), w.core.Time(), v.Open, v.Watching, v.Queued, v.Out, v.Answered)
	if v.Lost > 0 {
		s += fmt.Sprintf(" lost %d", v.Lost)
	}
	return s
}

// block makes the next one: "at=T", and words such as A@900=50 (a price),
// +1:A:40-60:1000-2000 (a thesis with bounds and times, due 1000 ms after its
// end), -1 (settled).
func (w *world) block(c *hosttest.Command) string {
	height := c.Uint("height", w.core.Height()+1)
	b := &Block{Height: height, Parent: hashOf(height - 1), Hash: hashOf(height), Time: c.Uint("at", 0)}
	if c.Has("fork") {
		b.Parent = chain.Hash{}
	}
	for _, word := range c.Args {
		switch word[0] {
		case '+':
			t := thesisOf(word[1:])
			b.Events = append(b.Events, Event{Created: &t})
		case '-':
			b.Events = append(b.Events, Event{Settled: number(word[1:])})
		}
	}
	for name, value := range c.Named {
		if pair, ts, price := strings.Cut(name, "@"); price {
			b.Prices = append(b.Prices, Price{pairOf(pair), number(ts), number(value)})
		}
	}
	slices.SortFunc(b.Prices, func(a, b Price) int { return int(a.Timestamp) - int(b.Timestamp) })
	if err := w.core.Block(b); err != nil {
		return err.Error()
	}
	return w.state()
}

// preview is the prices of the next block, in the form of block.
func (w *world) preview(c *hosttest.Command) {
	var prices []Price
	for name, value := range c.Named {
		if pair, ts, price := strings.Cut(name, "@"); price {
			prices = append(prices, Price{pairOf(pair), number(ts), number(value)})
		}
	}
	w.core.Preview(c.Uint("height", w.core.Height()+1), prices)
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func thesisOf(s string) Thesis {
	f := strings.Split(s, ":")
	bounds, times := strings.Split(f[2], "-"), strings.Split(f[3], "-")
	t := Thesis{ID: number(f[0]), Pair: pairOf(f[1]), Lower: number(bounds[0]), Upper: number(bounds[1]), Start: number(times[0]), End: number(times[1])}
	t.Due = t.End + 1000
	return t
}

func (w *world) next() string {
	batch, ok := w.core.Next()
	if !ok {
		return "nothing"
	}
	w.batch, w.disk = batch, w.core.AppendInFlight(nil)
	return describe(batch)
}

func describe(batch []Settlement) string {
	var b strings.Builder
	for _, s := range batch {
		fmt.Fprintf(&b, "%d %s", s.Thesis, s.Kind)
		if s.Kind == SolverWins {
			fmt.Fprintf(&b, " %d@%d", s.BreachPrice, s.BreachTimestamp)
		}
		fmt.Fprintf(&b, " stamp %d\n", s.Stamp)
	}
	return b.String()
}

func (w *world) answer(c *hosttest.Command) string {
	var answers []Answer
	for name, value := range c.Named {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		o := slices.Index(outcomeNames[:], value)
		if o < 0 {
			return "no such outcome: " + value
		}
		answers = append(answers, Answer{number(name), Outcome(o), c.Uint("height", w.core.Height()+1)})
	}
	w.core.Answer(w.batch, answers)
	return w.state()
}

// restart saves and restores; "crash" forgets the answers too: the batch that was
// out is told to the new core.
func (w *world) restart(c *hosttest.Command) string {
	saved := w.core.Append(nil)
	core, err := Restore(w.cfg, saved)
	if err != nil {
		return err.Error()
	}
	if again := core.Append(nil); !bytes.Equal(again, saved) {
		return fmt.Sprintf("saved %x, restored %x", saved, again)
	}
	w.core = core
	if c.Has("crash") {
		saved, err := DecodeInFlight(w.disk)
		if err != nil {
			return err.Error()
		}
		core.Resume(saved)
	}
	return w.state()
}

// rebuild takes theses and prices in the form of block, all of pair A; from= and
// reach= are the history's.
func (w *world) rebuild(c *hosttest.Command) {
	height := c.Uint("height", w.core.Height()+10)
	s := &Snapshot{Height: height, Hash: hashOf(height), Time: c.Uint("at", 0)}
	h := History{Pair: pairOf("A"), From: c.Uint("from", 0), Reach: c.Uint("reach", 0)}
	for _, word := range c.Args {
		s.Theses = append(s.Theses, thesisOf(word[1:]))
	}
	for name, value := range c.Named {
		if pair, ts, price := strings.Cut(name, "@"); price {
			h.Prices = append(h.Prices, Price{pairOf(pair), number(ts), number(value)})
		}
	}
	slices.SortFunc(h.Prices, func(a, b Price) int { return int(a.Timestamp) - int(b.Timestamp) })
	s.Histories = append(s.Histories, h)
	w.core.Rebuild(s)
}

// TestSharedNumbers: what this package must not import and yet has to agree with.
func TestSharedNumbers(t *testing.T) {
	if PageMs != ring.PageMs || SpanMs != ring.SpanMs || SlotMs != ring.SlotMs {
		t.Errorf("pages of %d ms over %d, the ring has %d over %d", PageMs, SpanMs, ring.PageMs, ring.SpanMs)
	}
	for kind, want := range map[Kind]tx.SettlementKind{UserWins: tx.UserWins, SolverWins: tx.SolverWins, Void: tx.Void} {
		if tx.SettlementKind(kind) != want {
			t.Errorf("%s is %d, the transaction's tag is %d", kind, kind, want)
		}
	}
}

// TestErrorNames: every name that means something here is one that the chain or
// the node can say.
func TestErrorNames(t *testing.T) {
	schema, err := stf.ParseSchema(rfq.New().Schema())
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, e := range schema.Errors {
		known[e.Name] = true
	}
	for _, c := range api.Codes {
		known[c.Name] = true
	}
	for name := range outcomeOf {
		if !known[name] {
			t.Errorf("nobody says %s", name)
		}
	}
}

func TestOutcomes(t *testing.T) {
	if OutcomeOf("SomethingNew") != Failed || OutcomeOf("BreachFound") != Refuted {
		t.Error("outcomes are mixed up")
	}
	if Kind(9).String() != "claim 9" || Outcome(99).String() != "outcome 99" || len(outcomeNames) != Outcomes || len(kindNames) != Kinds {
		t.Error("names are missing")
	}
}

func TestRestoreRefuses(t *testing.T) {
	w := newWorld()
	w.block(&hosttest.Command{Named: map[string]string{"at": "1000", "A@900": "50"}, Args: []string{"+1:A:40-60:1000-2000", "+2:A:40-60:1000-2000"}})
	saved := w.core.Append(nil)
	for n := range saved {
		if _, err := Restore(w.cfg, saved[:n]); !errors.Is(err, ErrState) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(saved), err)
		}
	}
	if _, err := Restore(w.cfg, append(slices.Clone(saved), 0)); !errors.Is(err, ErrState) {
		t.Errorf("with a tail: %v", err)
	}
	other := w.cfg
	other.Pairs = []Pair{pairOf("B")}
	if _, err := Restore(other, saved); !errors.Is(err, ErrPairs) {
		t.Errorf("of other pairs: %v", err)
	}
	future := slices.Clone(saved)
	future[0]++
	if _, err := Restore(w.cfg, future); !errors.Is(err, ErrState) {
		t.Errorf("of another version: %v", err)
	}
}

// sample is a core with one of everything that is saved.
func sample() *Core {
	w := newWorld()
	w.run(&hosttest.Command{Name: "config", Args: []string{"A", "B"}, Named: map[string]string{"batch": "2"}})
	theses := []string{"+1:A:40-60:1000-20000", "+2:A:45-60:1000-2000", "+3:B:40-60:1000-2000", "+4:A:10-90:9000-20000", "+5:A:49-60:1000-1500", "+6:B:1-2:50000-60000"}
	w.block(&hosttest.Command{Named: map[string]string{"at": "1000", "A@900": "50"}, Args: theses})
	w.block(&hosttest.Command{Named: map[string]string{"at": "1100", "A@1100": "44"}})
	w.next()
	w.answer(&hosttest.Command{Named: map[string]string{"2": "done", "5": "refuted", "height": "9"}})
	w.block(&hosttest.Command{Named: map[string]string{"at": "6000", "A@6000": "39"}})
	w.next()
	return w.core
}

// TestGolden: the bytes of state version 1 never change.
func TestGolden(t *testing.T) {
	core := sample()
	got := fmt.Sprintf("%x\n%x\n", core.Append(nil), core.AppendInFlight(nil))
	const file = "testdata/state_v1.hex"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the encoding has changed:\n%s\nwant\n%s", got, want)
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(sample().Append(nil))
	f.Add(New(newWorld().cfg).Append(nil))
	f.Add([]byte{1, 0, 255, 255, 255, 255})
	cfg := Config{Pairs: []Pair{pairOf("A"), pairOf("B")}, MaxStaleMs: 3000, BufferMs: 200, BatchSize: 2}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Restore(cfg, b)
		if err != nil {
			if !errors.Is(err, ErrState) && !errors.Is(err, ErrPairs) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		// What was read is a core that goes on.
		_ = c.Block(&Block{Height: c.Height() + 1, Parent: c.Hash(), Time: c.Time() + 1})
		c.Tick()
		c.Next()
	})
}

func FuzzInFlight(f *testing.F) {
	f.Add(sample().AppendInFlight(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		inFlight, err := DecodeInFlight(b)
		if err != nil && !errors.Is(err, ErrState) {
			t.Fatalf("an error of no kind: %v", err)
		}
		c := New(newWorld().cfg)
		c.Resume(inFlight)
		for i := range inFlight {
			_ = c.remove(inFlight[i].Thesis)
		}
	})
}

// TestHeap compares with sorting.
func TestHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	h := heap{slot: slotLower, less: func(a, b *item) bool { return a.ID < b.ID }}
	var in []*item
	for step := range 20_000 {
		if len(in) == 0 || rng.IntN(5) < 2+step/10_000*-2+1 {
			it := &item{Thesis: Thesis{ID: rng.Uint64N(1 << 40)}}
			h.push(it)
			in = append(in, it)
			continue
		}
		i := rng.IntN(len(in))
		if rng.IntN(2) == 0 {
			least := slices.MinFunc(in, func(a, b *item) int { return int(a.ID) - int(b.ID) })
			if h.top() != least {
				t.Fatalf("step %d: top is %d, want %d", step, h.top().ID, least.ID)
			}
			i = slices.Index(in, least)
		}
		h.remove(in[i])
		h.remove(in[i]) // not in it any more
		in = slices.Delete(in, i, i+1)
	}
}
