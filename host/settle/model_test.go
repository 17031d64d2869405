package settle

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// model is a chain as far as a settler can tell, written from the protocol page:
// it records prices, holds theses, and settles on claims that its records bear
// out.
type model struct {
	rng     *rand.Rand
	height  uint64
	time    uint64
	prices  map[Pair][]Price
	theses  map[uint64]*modelThesis
	open    Block // what has happened in the open block
	blocks  []Block
	results map[Settlement]Answer // of what was executed
	failed  int                   // transactions that are in a block and settled nothing
	nextID  uint64
}

type modelThesis struct {
	Thesis
	outcome string
	settled int
}

func newModel(seed uint64) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 7)), prices: map[Pair][]Price{}, theses: map[uint64]*modelThesis{}, results: map[Settlement]Answer{}, time: 1_000_000}
	m.blocks = []Block{{Hash: hashOf(0), Time: m.time}}
	m.begin()
	return m
}

var modelPairs = []Pair{pairOf("A"), pairOf("B")}

// begin opens a block: prices first. Some come late, and now and then none for a
// while.
func (m *model) begin() {
	m.height++
	m.time += 100
	if m.rng.IntN(60) == 0 {
		m.time += m.rng.Uint64N(4000)
	}
	m.open = Block{Height: m.height, Parent: hashOf(m.height - 1), Hash: hashOf(m.height), Time: m.time}
	for _, p := range modelPairs {
		if m.rng.IntN(8) > 0 {
			m.record(Price{p, m.time - m.rng.Uint64N(2)*100, 90 + m.rng.Uint64N(21)})
		}
	}
}

func (m *model) record(p Price) {
	all := m.prices[p.Pair]
	if len(all) > 0 && all[len(all)-1].Timestamp >= p.Timestamp {
		return
	}
	m.prices[p.Pair] = append(all, p)
	m.open.Prices = append(m.open.Prices, p)
}

// submit makes a thesis.
func (m *model) submit() {
	m.nextID++
	t := Thesis{ID: m.nextID, Pair: modelPairs[m.rng.IntN(2)], Lower: 80 + m.rng.Uint64N(15), Upper: 106 + m.rng.Uint64N(15), Start: m.time + m.rng.Uint64N(3)*m.rng.Uint64N(500)}
	t.End = t.Start + 1 + m.rng.Uint64N(6000)
	t.Due = t.End + 1000
	m.theses[t.ID] = &modelThesis{Thesis: t}
	m.open.Events = append(m.open.Events, Event{Created: &t})
}

// seal closes the open block.
func (m *model) seal() {
	m.blocks = append(m.blocks, m.open)
	m.begin()
}

// truth is the outcome that the records bear out by now.
func (m *model) truth(t *Thesis) string {
	last, hole := t.Start, uint64(0)
	for _, p := range m.prices[t.Pair] {
		if p.Timestamp < t.Start || p.Timestamp > t.End {
			continue
		}
		if p.Price < t.Lower || p.Price > t.Upper {
			return "solver_wins"
		}
		hole = max(hole, p.Timestamp-last)
		last = p.Timestamp
	}
	if max(hole, t.End-last) > 3000 {
		return "void"
	}
	return "user_wins"
}

// execute runs a transaction: the same one only once.
func (m *model) execute(s Settlement) Answer {
	if a, known := m.results[s]; known {
		return a
	}
	a := Answer{Thesis: s.Thesis, Outcome: m.judge(s), Height: m.height}
	if a.Outcome == Done {
		m.settle(s.Thesis, m.truth(&m.theses[s.Thesis].Thesis))
	} else {
		m.failed++
	}
	m.results[s] = a
	return a
}

func (m *model) settle(id uint64, outcome string) {
	t := m.theses[id]
	t.settled++
	t.outcome = outcome
	m.open.Events = append(m.open.Events, Event{Settled: id})
}

func (m *model) judge(s Settlement) Outcome {
	t := m.theses[s.Thesis]
	if t == nil || t.settled > 0 {
		return Gone
	}
	truth := m.truth(&t.Thesis)
	switch s.Kind {
	case SolverWins:
		if !slices.Contains(m.prices[t.Pair], Price{t.Pair, s.BreachTimestamp, s.BreachPrice}) || truth != "solver_wins" {
			return Refuted
		}
	case Decide:
		if m.time < t.Due+GraceMs {
			return Early
		}
	default:
		if m.time < t.Due {
			return Early
		}
		if truth != s.Kind.String() {
			return Refuted
		}
	}
	return Done
}

// snapshot is what the state after the newest sealed block says. Settlements in
// the open block are not in it.
func (m *model) snapshot() *Snapshot {
	b := &m.blocks[len(m.blocks)-1]
	s := &Snapshot{Height: b.Height, Hash: b.Hash, Time: b.Time}
	unsealed := map[uint64]bool{} // settled or made in the open block
	for _, e := range m.open.Events {
		if e.Created != nil {
			unsealed[e.Created.ID] = true
		}
	}
	sealed := func(id uint64) bool { // settled in a sealed block
		return m.theses[id].settled > 0 && !slices.ContainsFunc(m.open.Events, func(e Event) bool { return e.Settled == id })
	}
	for id := uint64(1); id <= m.nextID; id++ {
		if !unsealed[id] && !sealed(id) {
			s.Theses = append(s.Theses, m.theses[id].Thesis)
		}
	}
	for _, p := range modelPairs {
		h := History{Pair: p, From: 1_000_000}
		for _, v := range m.prices[p] {
			if !slices.Contains(m.open.Prices, v) {
				h.Prices = append(h.Prices, v)
			}
		}
		s.Histories = append(s.Histories, h)
	}
	return s
}

// settler drives a core against the model, with whatever can go wrong in between.
type settler struct {
	*model
	t        *testing.T
	outcomes map[string]int
	cfg      Config
	core     *Core
	saved    []byte // on disk
	inFlight []byte // on disk
}

func (s *settler) check(err error) {
	if err != nil {
		s.t.Fatal(err)
	}
}

// deliver brings the core up to a block, with some that it has.
func (s *settler) deliver(upTo uint64) {
	from := s.core.Height() + 1
	if s.rng.IntN(3) == 0 {
		from = max(1, from-min(from, s.rng.Uint64N(5)))
	}
	for h := from; h <= upTo; h++ {
		s.check(s.core.Block(&s.blocks[h]))
	}
}

// live says that the core has seen all there is, which a restarted relay waits
// for.
func (s *settler) live() bool { return s.core.Height() == s.height-1 }

// send takes a batch as far as fate lets it: the disk, the node, the answer.
func (s *settler) send() {
	batch, ok := s.core.Next()
	if !ok {
		return
	}
	s.inFlight = s.core.AppendInFlight(nil)
	fate := s.rng.IntN(20)
	if fate == 0 {
		s.crash() // before the node has heard of it
		return
	}
	var answers []Answer
	executed := len(batch)
	if fate == 1 {
		executed = s.rng.IntN(len(batch) + 1) // the node dies half-way
	}
	for _, x := range batch[:executed] {
		a := s.execute(x)
		if s.rng.IntN(30) == 0 {
			a.Outcome = Unknown // the answer is lost
		}
		answers = append(answers, a)
	}
	switch fate {
	case 2:
		s.crash() // before the answer is heard
		return
	case 3:
		answers = nil
	}
	s.core.Answer(batch, answers)
}

// crash starts again from the disk.
func (s *settler) crash() {
	core, err := Restore(s.cfg, s.saved)
	s.check(err)
	s.core = core
	if s.inFlight != nil {
		inFlight, err := DecodeInFlight(s.inFlight)
		s.check(err)
		s.core.Resume(inFlight)
	}
}

func (s *settler) step(rebuild bool) {
	switch s.rng.IntN(13) {
	case 0, 1:
		s.submit()
	case 2, 3, 4:
		s.seal()
	case 5, 6:
		s.deliver(s.height - 1)
	case 7:
		s.core.Tick()
	case 8, 9:
		if s.live() {
			s.core.Tick()
			s.send()
		}
	case 10:
		if s.core.Height() < s.height-1 {
			s.deliver(s.core.Height() + 1 + s.rng.Uint64N(s.height-1-s.core.Height()))
		}
		if s.rng.IntN(3) == 0 {
			s.saved = s.core.Append(nil)
		}
	case 12:
		s.core.Preview(s.height, s.open.Prices)
		if s.live() {
			s.send()
		}
	case 11:
		switch s.rng.IntN(20) {
		case 0:
			s.crash()
		case 1:
			if rebuild {
				s.core.Rebuild(s.snapshot())
			}
		}
	}
}

// TestExactlyOnce: whatever is lost, repeated, forgotten or begun anew, each
// thesis is settled once, with the outcome that the prices decide, and the chain
// never has to refuse anything.
func TestExactlyOnce(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &settler{model: newModel(seed), t: t, outcomes: outcomes, cfg: Config{MaxStaleMs: 3000, BufferMs: 200, BatchSize: 1 + int(seed%7)*3}}
			s.core = New(s.cfg)
			s.core.Rebuild(s.snapshot())
			s.saved = s.core.Append(nil)
			for range 4000 {
				s.step(seed%3 != 0)
			}
			s.finish()
			if s.failed > 0 {
				t.Errorf("the chain refused %d transactions", s.failed)
			}
			if c := s.core.Counts(); c.Lost > 0 || c.Answers[Refuted] > 0 {
				t.Errorf("%+v", c)
			}
		})
	}
	if min(outcomes["solver_wins"], outcomes["user_wins"], outcomes["void"]) < 100 {
		t.Errorf("outcomes %v", outcomes)
	}
}

// finish lets everything become due, and everything be heard.
func (s *settler) finish() {
	for range 400 {
		s.seal()
		s.deliver(s.height - 1)
		s.core.Tick()
		for range 4 {
			s.send()
			s.deliver(s.height - 1)
		}
	}
	for id, v := range s.theses {
		s.outcomes[v.outcome]++
		if v.settled != 1 || v.outcome != s.truth(&v.Thesis) {
			s.t.Errorf("thesis %d was settled %d times, as %q; the prices say %q", id, v.settled, v.outcome, s.truth(&v.Thesis))
		}
	}
	if n := s.core.Counts().Open; n != 0 {
		s.t.Errorf("%d are still open", n)
	}
}

// TestTwoSettlers: a second one on the same pair makes some transactions fail,
// and nothing else.
func TestTwoSettlers(t *testing.T) {
	m := newModel(4711)
	cfg := Config{MaxStaleMs: 3000, BufferMs: 200, BatchSize: 10}
	one := &settler{model: m, t: t, outcomes: map[string]int{}, cfg: cfg, core: New(cfg)}
	two := &settler{model: m, t: t, outcomes: map[string]int{}, cfg: cfg, core: New(cfg)}
	for _, s := range []*settler{one, two} {
		s.core.Rebuild(m.snapshot())
		s.saved = s.core.Append(nil)
	}
	two.core.stamp = m.time + 1<<20 // so that the two never sign the same
	for range 6000 {
		one.step(false)
		two.step(false)
	}
	one.finish()
	two.deliver(m.height - 1)
	if n := two.core.Counts().Open; n != 0 {
		t.Errorf("the second one still has %d", n)
	}
}

// TestMemory: 100,000 theses take less than 200 MB, saved form included.
func TestMemory(t *testing.T) {
	const theses = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := manyTheses(theses)
	saved := c.Append(nil)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := (after.HeapAlloc - before.HeapAlloc) >> 20; used > 100 {
		t.Errorf("%d theses take %d MiB", theses, used)
	}
	if n := c.Counts().Watching; n != theses || len(saved) > 16<<20 {
		t.Errorf("%d are watched, %d bytes are saved", n, len(saved))
	}
	runtime.KeepAlive(c)
}

// manyTheses is a core that watches n theses on one pair.
func manyTheses(n int) *Core {
	c := New(Config{MaxStaleMs: 3000, BufferMs: 200, BatchSize: 100})
	s := &Snapshot{Height: 1, Hash: hashOf(1), Time: 1000, Histories: []History{{Pair: pairOf("A"), From: 1000, Prices: []Price{{pairOf("A"), 1000, 1_000_000}}}}}
	for i := range n {
		s.Theses = append(s.Theses, Thesis{ID: uint64(i + 1), Pair: pairOf("A"), Lower: 1_000_000 - uint64(i), Upper: 1_000_000 + uint64(n-i), Start: 1000, End: 1_000_000 + uint64(i), Due: 2_000_000})
	}
	c.Rebuild(s)
	return c
}

// BenchmarkPrice is one price on 10,000 watched theses, one of which it breaks.
func BenchmarkPrice(b *testing.B) {
	const theses = 10_000
	var c *Core
	height := uint64(0)
	for i := range b.N {
		if i%theses == 0 {
			b.StopTimer()
			c, height = manyTheses(theses), 1
			b.StartTimer()
		}
		height++
		err := c.Block(&Block{Height: height, Parent: hashOf(height - 1), Hash: hashOf(height), Time: 1000 + height, Prices: []Price{{pairOf("A"), 1000 + height, 1_000_000 - uint64(i%theses) - 1}}})
		if err != nil {
			b.Fatal(err)
		}
	}
}
