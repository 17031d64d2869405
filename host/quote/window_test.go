package quote

import "testing"

func TestWindow(t *testing.T) {
	w := Window{SpanMs: 1000}
	if v := w.Volatility(); w.Price() != 0 || w.Last() != 0 || v != (Volatility{}) || v.PPMPerRootMinute() != 0 {
		t.Fatal("an empty window knows something")
	}
	w.Add(100, 1_000_000)
	w.Add(100, 9)       // not newer
	w.Add(50, 9)        // older
	w.Add(200, 0)       // no price
	w.Add(300, 1010000) // +1%
	w.Add(500, 1010000)
	if w.Price() != 1_010_000 || w.Last() != 500 {
		t.Errorf("newest is %d at %d", w.Price(), w.Last())
	}
	if v := w.Volatility(); v != (Volatility{Squares: 10_000_000 * 10_000_000, ElapsedMs: 400, Moves: 2}) || v.interval() != 200 {
		t.Errorf("volatility is %+v", v)
	}
	w.Add(1101, 1_010_000) // the first is out now, and with it the only move
	if v := w.Volatility(); v != (Volatility{Squares: quiet * 801, ElapsedMs: 801, Moves: 2}) || v.PPMPerRootMinute() != 7 {
		t.Errorf("a price that stands still moves by %+v, %d ppm", v, v.PPMPerRootMinute())
	}
	w.Add(1_000_000, 5) // a gap: nothing to measure by
	if v := w.Volatility(); v.Moves != 0 {
		t.Errorf("one price moves by %+v", v)
	}
}

// The largest window of the wildest prices does not overflow.
func TestWildWindow(t *testing.T) {
	w := Window{SpanMs: 1 << 40}
	for i := range uint64(2 * MaxSamples) {
		w.Add(1+i, 1+i%2*(1<<63))
	}
	if v := w.Volatility(); v.Moves != MaxSamples-1 || v.Squares != (MaxSamples-1)*maxMove*maxMove {
		t.Errorf("volatility is %+v", v)
	}
}

func TestRoots(t *testing.T) {
	for v, want := range map[uint64]uint64{0: 0, 1: 1, 3: 1, 4: 2, 1<<64 - 1: 1<<32 - 1, 99: 9} {
		if got := isqrt(v); got != want {
			t.Errorf("√%d is %d, want %d", v, got, want)
		}
	}
}

func TestExpectedMove(t *testing.T) {
	for _, c := range [][4]uint64{{1_000_000_000, 700, 60_000, 700_000}, {1_000_000_000, 700, 15_000, 349_996}, {1_000_000_000, 700, 240_000, 1_400_015}, {0, 700, 1, 0}, {5, 0, 1, 0}} {
		if got := ExpectedMove(c[0], c[1], c[2]); got < c[3]-c[3]/10_000 || got > c[3]+c[3]/10_000 {
			t.Errorf("%d at %d ppm moves by %d in %d ms, want %d", c[0], c[1], got, c[2], c[3])
		}
	}
}
