package schedule

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// memory is a Store whose values do not outlive the next Get.
type memory struct {
	m                   map[string][]byte
	last                []byte
	gets, sets, deletes int
}

func newMemory() *memory { return &memory{m: map[string][]byte{}} }

func (s *memory) Get(key []byte) ([]byte, bool) {
	s.gets++
	clear(s.last)
	v, ok := s.m[string(key)]
	s.last = append([]byte(nil), v...)
	return s.last, ok
}

func (s *memory) Set(key, value []byte) {
	s.sets++
	s.m[string(key)] = append([]byte(nil), value...)
}

func (s *memory) Delete(key []byte) {
	s.deletes++
	delete(s.m, string(key))
}

func (k Key) compare(o Key) int {
	switch {
	case k.less(o):
		return -1
	case o.less(k):
		return 1
	}
	return 0
}

// naive is the set as a sorted list.
type naive []Key

func (n *naive) add(k Key) {
	i, _ := slices.BinarySearchFunc(*n, k, Key.compare)
	*n = slices.Insert(*n, i, k)
}

func (n *naive) remove(i int) Key {
	k := (*n)[i]
	*n = slices.Delete(*n, i, i+1)
	return k
}

func (n naive) from(k Key, most int) []Key {
	i, _ := slices.BinarySearchFunc(n, k, Key.compare)
	return n[i:min(len(n), i+most)]
}

func collect(s *Schedule, k Key, most int) (got []Key) {
	s.Each(k, func(k Key) bool {
		got = append(got, k)
		return len(got) < most
	})
	return got
}

// shape is how a set grows and shrinks: when each new entry is due, and which one
// of n goes.
type shape struct {
	name string
	due  func(r *rand.Rand, step uint64) uint64
	out  func(r *rand.Rand, n int) int
}

var shapes = []shape{
	{"random", func(r *rand.Rand, _ uint64) uint64 { return r.Uint64N(1 << 40) }, func(r *rand.Rand, n int) int { return r.IntN(n) }},
	{"ascending, first goes", func(_ *rand.Rand, step uint64) uint64 { return step }, func(*rand.Rand, int) int { return 0 }},
	{"descending, last goes", func(_ *rand.Rand, step uint64) uint64 { return ^step }, func(_ *rand.Rand, n int) int { return n - 1 }},
	{"market", func(r *rand.Rand, step uint64) uint64 { return step + r.Uint64N(600) }, func(r *rand.Rand, n int) int { return r.IntN(min(n, 5)) }},
	{"all due at once", func(*rand.Rand, uint64) uint64 { return 7 }, func(r *rand.Rand, n int) int { return r.IntN(n) }},
	{"edges", func(r *rand.Rand, _ uint64) uint64 { return -r.Uint64N(3) }, func(_ *rand.Rand, n int) int { return n / 2 }},
}

// TestAgainstNaive lets sets grow to thousands and shrink to nothing, twice, and
// compares all along.
func TestAgainstNaive(t *testing.T) {
	for i, p := range shapes {
		t.Run(p.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(i), 2))
			m, n, s := newMemory(), naive{}, &Schedule{}
			var step uint64
			for _, most := range []int{300, 9000, 0, 5000, 0} {
				grow := most > len(n)
				for len(n) != most {
					s.Open(m, 9)
					if up := r.IntN(5) > 0; up == grow || len(n) == 0 {
						step++
						k := Key{p.due(r, step), step}
						n.add(k)
						s.Add(k)
					} else {
						s.Remove(n.remove(p.out(r, len(n))))
					}
					if r.IntN(50) == 0 {
						compare(t, r, s, n)
					}
				}
				compare(t, r, s, n)
				if !slices.Equal(collect(s, Key{}, len(n)+1), n) {
					t.Fatalf("%d entries differ", len(n))
				}
			}
			if len(m.m) != 0 {
				t.Fatalf("an empty set has %d records", len(m.m))
			}
		})
	}
}

func compare(t *testing.T, r *rand.Rand, s *Schedule, n naive) {
	t.Helper()
	k := Key{r.Uint64N(1 << 40), r.Uint64N(20_000)}
	if len(n) > 0 && r.IntN(4) > 0 {
		k = n[r.IntN(len(n))]
		k.ID += r.Uint64N(3) - 1
	}
	if got, want := collect(s, k, 70), n.from(k, 70); !slices.Equal(got, want) {
		t.Fatalf("from %v of %d: %v, want %v", k, len(n), got, want)
	}
}

// TestCost counts what one entry costs in a set of 100,000.
func TestCost(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	m, s := newMemory(), &Schedule{}
	s.Open(m, 0)
	for i := range uint64(100_000) {
		s.Add(Key{i*6 + r.Uint64N(60_000), i})
	}
	*m = memory{m: m.m}
	const n = 10_000
	for i := range uint64(n) {
		s.Add(Key{600_000 + i*6 + r.Uint64N(60_000), 100_000 + i})
	}
	t.Logf("%d entries cost %d reads, %d writes, %d records", n, m.gets, m.sets, len(m.m))
	if m.gets > 4*n || m.sets > n+n/5 {
		t.Errorf("%d entries cost %d reads and %d writes", n, m.gets, m.sets)
	}
	*m = memory{m: m.m}
	for _, k := range collect(s, Key{}, n) {
		s.Remove(k)
	}
	if m.gets > 5*n || m.sets+m.deletes > n+n/5 {
		t.Errorf("%d entries less cost %d reads, %d writes, %d deletions", n, m.gets, m.sets, m.deletes)
	}
	for _, k := range collect(s, Key{}, 100_000-10) { // a set that has shrunk costs what a small one does
		s.Remove(k)
	}
	*m = memory{m: m.m}
	if got := collect(s, Key{}, 100); len(got) != 10 || m.gets > 2 || len(m.m) > 2 {
		t.Errorf("%d entries are in %d records, read with %d", len(got), len(m.m), m.gets)
	}
}

// TestMarketsAreApart uses two sets that share a store.
func TestMarketsAreApart(t *testing.T) {
	m, s := newMemory(), &Schedule{}
	for market := range uint16(3) {
		s.Open(m, market*256)
		for id := range uint64(200) {
			s.Add(Key{uint64(market), id})
		}
	}
	for market := range uint16(3) {
		s.Open(m, market*256)
		got := collect(s, Key{}, 1000)
		if len(got) != 200 || got[0].Due != uint64(market) || got[199].Due != uint64(market) {
			t.Errorf("market %d has %v", market, got)
		}
	}
}

// TestMissing removes what is not there.
func TestMissing(t *testing.T) {
	s := &Schedule{}
	s.Open(newMemory(), 0)
	s.Add(Key{1, 1})
	for _, k := range []Key{{1, 2}, {0, 1}, {2, 1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v was removed", k)
				}
			}()
			s.Remove(k)
		}()
	}
}

func BenchmarkAddRemove(b *testing.B) {
	m, s := newMemory(), &Schedule{}
	s.Open(m, 0)
	for i := range uint64(10_000) {
		s.Add(Key{i, i})
	}
	b.ReportAllocs()
	for i := uint64(10_000); b.Loop(); i++ {
		s.Open(m, 0)
		s.Add(Key{i, i})
		s.Remove(Key{i - 10_000, i - 10_000})
	}
}
