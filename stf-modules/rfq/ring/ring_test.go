package ring

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// memory is a Store whose values do not outlive the next Get.
type memory struct {
	m    map[string][]byte
	last []byte
	gets int
}

func newMemory() *memory { return &memory{m: map[string][]byte{}} }

func (s *memory) Get(key []byte) ([]byte, bool) {
	s.gets++
	clear(s.last)
	v, ok := s.m[string(key)]
	s.last = append([]byte(nil), v...)
	return s.last, ok
}

func (s *memory) Set(key, value []byte) { s.m[string(key)] = append([]byte(nil), value...) }

// observation is one recorded price.
type observation struct{ ts, price, page uint64 }

// naive is the same rule as a list: nothing is forgotten, but what is in pages that
// the ring has written over does not count.
type naive struct {
	all    []observation
	newest uint64
	next   uint64
}

func (n *naive) record(ts, price uint64) bool {
	if ts <= n.newest {
		return false
	}
	n.newest = ts
	slot := ts / 100
	if slot < n.next { // its slot is taken
		slot++
	}
	if slot < n.next { // and so is the one after it
		return false
	}
	n.next = slot + 1
	n.all = append(n.all, observation{ts, price, slot / 64})
	return true
}

// kept is the first page of the last 1024.
func (n *naive) kept() uint64 { return max((n.next-1)/64, 1023) - 1023 }

func (n *naive) window(start, end uint64) Window {
	w := Window{Empty: true}
	for _, o := range n.all {
		if o.ts < start || o.ts > end || o.page < n.kept() {
			continue
		}
		if w.Empty {
			w = Window{Min: o.price, Max: o.price, First: o.ts, Last: o.ts}
			continue
		}
		w.Min, w.Max, w.Gap, w.Last = min(w.Min, o.price), max(w.Max, o.price), max(w.Gap, o.ts-w.Last), o.ts
	}
	return w
}

// pace is how the times of a history advance.
type pace struct {
	name string
	step func(*rand.Rand) uint64
	n    int
}

var paces = []pace{
	{"every slot", func(*rand.Rand) uint64 { return 100 }, 70_000},
	{"jitter", func(r *rand.Rand) uint64 { return 60 + r.Uint64N(80) }, 70_000},
	{"bursts", func(r *rand.Rand) uint64 { return 1 + r.Uint64N(120) }, 20_000},
	{"repeats", func(r *rand.Rand) uint64 { return r.Uint64N(3) * 100 }, 20_000},
	{"holes", func(r *rand.Rand) uint64 {
		if r.IntN(40) == 0 {
			return r.Uint64N(60_000)
		}
		return 100
	}, 30_000},
	{"sparse", func(r *rand.Rand) uint64 { return r.Uint64N(20_000) }, 5_000},
	{"leaps", func(r *rand.Rand) uint64 {
		if r.IntN(500) == 0 {
			return r.Uint64N(3 * Slots * SlotMs)
		}
		return r.Uint64N(2_000)
	}, 20_000},
}

// TestAgainstNaive records random histories and compares random questions.
func TestAgainstNaive(t *testing.T) {
	for i, p := range paces {
		t.Run(p.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			s, n, r := newMemory(), &naive{}, &Ring{}
			ts := uint64(1_700_000_000_000)
			for step := range p.n {
				ts += p.step(rng)
				price := 1000 + rng.Uint64N(1000)
				r.Open(s, 3)
				if got, want := r.Record(ts, price), n.record(ts, price); got != want {
					t.Fatalf("step %d at %d: recorded %v, want %v", step, ts, got, want)
				}
				if step%997 == 0 || step == p.n-1 {
					compare(t, rng, s, n)
				}
			}
		})
	}
}

func compare(t *testing.T, rng *rand.Rand, s *memory, n *naive) {
	t.Helper()
	r := &Ring{}
	head := r.Open(s, 3)
	if head.Timestamp != n.newest {
		t.Fatalf("newest is %d, want %d", head.Timestamp, n.newest)
	}
	if n.next > Slots && r.Reach() > n.next*SlotMs-SpanMs {
		t.Fatalf("reach is %d, newest %d: less than the promised span", r.Reach(), n.newest)
	}
	oldest := max(r.Reach(), n.all[0].ts-5_000)
	for i := range 12 {
		start := n.newest - rng.Uint64N(n.newest-min(oldest, n.newest)+1)
		switch i % 4 {
		case 0: // at the far end, in the page that is written over next
			start = oldest + rng.Uint64N(2*PageMs)
		case 1: // and where it has been
			start = oldest - min(oldest, rng.Uint64N(2*SuperPages*PageMs))
		}
		end := start + rng.Uint64N(max(n.newest, start)-start+5_000)
		if got, want := r.Window(start, end), n.window(start, end); got != want {
			t.Fatalf("window %d to %d: %+v, want %+v", start, end, got, want)
		}
	}
	for i := range 8 {
		beyond(t, rng, r, n, oldest, i)
	}
	var each, all []observation
	r.Each(0, ^uint64(0), func(ts, price uint64) bool {
		each = append(each, observation{ts: ts, price: price})
		return true
	})
	for _, o := range n.all {
		if o.ts >= r.Reach() {
			all = append(all, observation{ts: o.ts, price: o.price})
		}
	}
	if len(each) > len(all) { // one that was pushed into the oldest page
		each = each[len(each)-len(all):]
	}
	if !slices.Equal(each, all) {
		t.Fatalf("each gives %d prices, want %d", len(each), len(all))
	}
	o := n.all[len(n.all)-1-rng.IntN(min(len(n.all), 600))]
	if o.ts < r.Reach() {
		return
	}
	if price, ok := r.At(o.ts); !ok || price != o.price {
		t.Fatalf("price at %d is %d, %v, want %d", o.ts, price, ok, o.price)
	}
	if w := n.window(o.ts+1, o.ts+1); w.Empty {
		if _, ok := r.At(o.ts + 1); ok {
			t.Fatalf("a price at %d, where none was observed", o.ts+1)
		}
	}
}

// beyond asks for the first price out of a range that few, many, all or no prices
// are in.
func beyond(t *testing.T, rng *rand.Rand, r *Ring, n *naive, oldest uint64, i int) {
	t.Helper()
	start := oldest + rng.Uint64N(n.newest-min(oldest, n.newest)+1)
	if i > 4 {
		start = oldest - min(oldest, rng.Uint64N(2*SuperPages*PageMs))
	}
	end := start + rng.Uint64N(n.newest-min(start, n.newest)+5_000)
	lower := 1000 + rng.Uint64N([...]uint64{1, 3, 40, 1000}[i%4])
	upper := 1999 - rng.Uint64N([...]uint64{1, 3, 40, 1000}[i%4])
	var want observation
	for _, o := range n.all {
		if o.ts >= start && o.ts <= end && o.page >= n.kept() && (o.price < lower || o.price > upper) {
			want = o
			break
		}
	}
	ts, price, found := r.Beyond(start, end, lower, upper)
	if got := (observation{ts, price, want.page}); got != want || found != (want.ts != 0) {
		t.Fatalf("first price of %d to %d out of %d to %d: %v, %v, want %v", start, end, lower, upper, got, found, want)
	}
}

// TestCostDoesNotGrow counts reads of the widest question.
func TestCostDoesNotGrow(t *testing.T) {
	s, r := newMemory(), &Ring{}
	ts := uint64(1_700_000_000_000)
	for range 70_000 {
		ts += 100
		r.Open(s, 0)
		r.Record(ts, 5)
	}
	for _, span := range []uint64{0, 10_000, 600_000, SpanMs - 100} {
		s.gets = 0
		if w := r.Window(ts-span, ts); w.Empty || w.First != ts-span {
			t.Fatalf("window of %d ms: %+v", span, w)
		}
		if s.gets > 7 {
			t.Errorf("window of %d ms reads %d records, want 7 at most", span, s.gets)
		}
		s.gets = 0
		if _, _, found := r.Beyond(ts-span, ts, 5, 5); found || s.gets > 7 {
			t.Errorf("the first price out of range in %d ms: %v, %d records, want none and 7 at most", span, found, s.gets)
		}
	}
}

func TestEachAndBounds(t *testing.T) {
	s, r := newMemory(), &Ring{}
	r.Open(s, 9)
	if w := r.Window(0, ^uint64(0)); !w.Empty || w.Hole(100, 400) != 300 {
		t.Fatalf("an empty ring has %+v", w)
	}
	if _, _, found := r.Beyond(0, ^uint64(0), 9, 1); found {
		t.Fatal("an empty ring has a price out of range")
	}
	for i := uint64(1); i <= 300; i++ {
		r.Record(i*1000, i)
	}
	var got []uint64
	r.Each(5_000, 9_000, func(ts, price uint64) bool {
		got = append(got, price)
		return len(got) < 4
	})
	if fmt.Sprint(got) != "[5 6 7 8]" {
		t.Fatalf("each gave %v", got)
	}
	w := r.Window(5_000, 9_000)
	if w.Min != 5 || w.Max != 9 || w.Gap != 1000 || w.Hole(4_000, 9_500) != 1000 || w.Hole(3_000, 9_000) != 2000 || w.Hole(5_000, 99_000) != 90_000 {
		t.Fatalf("window %+v", w)
	}
	if w := r.Window(9_000, 5_000); !w.Empty {
		t.Fatal("a window that ends before it starts has prices")
	}
	if w := r.Window(0, ^uint64(0)); w.First != 1000 || w.Last != 300_000 {
		t.Fatalf("everything is %+v", w)
	}
}

// TestMarketsAreApart records in two markets that share a store.
func TestMarketsAreApart(t *testing.T) {
	s, r := newMemory(), &Ring{}
	for market := range uint16(3) {
		r.Open(s, market*256)
		r.Record(1000, uint64(market)+1)
	}
	for market := range uint16(3) {
		r.Open(s, market*256)
		if p, ok := r.At(1000); !ok || p != uint64(market)+1 {
			t.Fatalf("market %d has %d, %v", market, p, ok)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	s, r := newMemory(), &Ring{}
	ts := uint64(1_700_000_000_000)
	for b.Loop() {
		ts += 100
		r.Open(s, 0)
		r.Record(ts, 5)
	}
}

// BenchmarkWindow asks for 1.8 hours, the longest thesis.
func BenchmarkWindow(b *testing.B) {
	s, r := newMemory(), &Ring{}
	ts := uint64(1_700_000_000_000)
	for range 70_000 {
		ts += 100
		r.Open(s, 0)
		r.Record(ts, 5)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Open(s, 0)
		r.Window(ts-6_480_000, ts-50)
	}
}
