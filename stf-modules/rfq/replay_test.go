package rfq

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func idOf(n uint64) (id [32]byte) {
	binary.BigEndian.PutUint64(id[:], n*0x9e3779b97f4a7c15)
	return id
}

// signer is a replay window and, beside it, everything that was ever taken.
type signer struct {
	r     replay
	taken map[uint64]uint64 // id number to timestamp
}

func newSigner() *signer {
	s := &signer{taken: map[uint64]uint64{}}
	s.r.load(nil, false)
	return s
}

// offer is what attribute and remember do with a transaction.
func (s *signer) offer(t *testing.T, now, ts, n uint64) bool {
	t.Helper()
	if ts+MaxSkewMs < now || ts > now+MaxSkewMs {
		return false
	}
	id := idOf(n)
	w := s.r.window()
	if _, ok := s.taken[n]; ok != w.has(ts, &id) && ts >= w.from() {
		t.Fatalf("transaction %d at %d was taken %v, the window says the opposite", n, ts, ok)
	}
	if w.has(ts, &id) || ts < w.open(now) {
		return false
	}
	if _, ok := s.taken[n]; ok {
		t.Fatalf("transaction %d at %d is taken a second time", n, ts)
	}
	s.taken[n] = ts
	s.r.n = len(w.insert(now, ts, &id))
	s.check(t, now)
	return true
}

func (s *signer) check(t *testing.T, now uint64) {
	t.Helper()
	w := s.r.window()
	if len(w) > 1<<10 || len(w) != windowHeader+w.count()*entryBytes {
		t.Fatalf("window of %d bytes with %d entries", len(w), w.count())
	}
	for i := range w.count() {
		if ts := w.stamp(i); ts > w.newest() || ts < w.from() || ts+MaxSkewMs < now || i > 0 && ts < w.stamp(i-1) {
			t.Fatalf("entry %d of %d is at %d, from %d, newest %d, now %d", i, w.count(), ts, w.from(), w.newest(), now)
		}
	}
}

// TestReplayWindowRandom offers random transactions, old ones again and again,
// while time passes.
func TestReplayWindowRandom(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := newSigner()
		now := uint64(1_700_000_000_000)
		spread := []uint64{5, 1_000, MaxSkewMs, 2 * MaxSkewMs}[seed%4]
		var offered []uint64
		stamps := map[uint64]uint64{}
		for n := range uint64(3_000) {
			now += rng.Uint64N(100)
			if rng.IntN(200) == 0 {
				now += rng.Uint64N(3 * MaxSkewMs)
			}
			if rng.IntN(2_000) == 0 {
				now += 1 << 33 // more than the 32 bits that are stored
			}
			stamps[n] = now - rng.Uint64N(spread+1) + rng.Uint64N(spread+1)
			offered = append(offered, n)
			s.offer(t, now, stamps[n], n)
			again := offered[len(offered)-1-rng.IntN(min(len(offered), 300))]
			if _, taken := s.taken[again]; taken && s.offer(t, now, stamps[again], again) {
				t.Fatalf("seed %d: %d was taken twice", seed, again)
			}
		}
	}
}

// TestReplayWindowAnyOrder is the promise of protocol section 4: 64 transactions
// in any order, whatever the signer sent before.
func TestReplayWindowAnyOrder(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := newSigner()
		now, n := uint64(1_700_000_000_000), uint64(0)
		for range 6 {
			for range rng.IntN(200) {
				n++
				if !s.offer(t, now, now+n, n) {
					t.Fatalf("seed %d: ascending transaction %d was refused", seed, n)
				}
			}
			batch := rng.Perm(64)
			for _, i := range batch {
				if !s.offer(t, now, now+n+1+uint64(i), n+1+uint64(i)) {
					t.Fatalf("seed %d: transaction %d of 64 in order %v was refused", seed, i, batch)
				}
			}
			n += 64
		}
	}
}

// TestReplayWindowSameTimestamp fills a window with one millisecond.
func TestReplayWindowSameTimestamp(t *testing.T) {
	s := newSigner()
	now := uint64(1_700_000_000_000)
	for n := range uint64(windowEntries) {
		if !s.offer(t, now, now, n) {
			t.Fatalf("transaction %d of one millisecond was refused", n)
		}
	}
	if s.offer(t, now, now, 1000) {
		t.Fatal("a full window took one more of its oldest millisecond")
	}
	if !s.offer(t, now, now+1, 1001) {
		t.Fatal("a full window refused a later timestamp")
	}
	if w := s.r.window(); w.count() != 1 || w.from() != now+1 {
		t.Fatalf("%d entries from %d, want 1 from %d", w.count(), w.from(), now+1)
	}
}

// TestReplayWindowForgetsForFree moves time on: what left the time window makes
// room without closing anything.
func TestReplayWindowForgetsForFree(t *testing.T) {
	s := newSigner()
	now := uint64(1_700_000_000_000)
	for n := range uint64(windowEntries) {
		s.offer(t, now, now+n, n)
	}
	later := now + MaxSkewMs + windowEntries
	if !s.offer(t, later, later-MaxSkewMs, 1000) {
		t.Fatal("refused at the far edge of the time window")
	}
	if w := s.r.window(); w.from() != 0 || w.count() != 1 {
		t.Fatalf("from %d, %d entries, want 0 and 1", w.from(), w.count())
	}
}

// TestReplayWindowFarEdge keeps an entry for as long as its timestamp is allowed.
func TestReplayWindowFarEdge(t *testing.T) {
	s := newSigner()
	now := uint64(1_700_000_000_000)
	s.offer(t, now, now, 1)
	now += MaxSkewMs
	s.offer(t, now, now, 2) // drops what has left the time window
	if s.offer(t, now, now-MaxSkewMs, 1) {
		t.Fatal("a transaction at the far edge was taken twice")
	}
}

func BenchmarkReplayWindow(b *testing.B) {
	var r replay
	r.load(nil, false)
	now := uint64(1_700_000_000_000)
	for b.Loop() {
		now++
		id := idOf(now)
		w := r.window()
		if w.has(now, &id) || now < w.open(now) {
			b.Fatal("refused")
		}
		r.n = len(w.insert(now, now, &id))
	}
}
