package quote

import (
	"math"
	"math/rand/v2"
	"testing"
)

func float(v int64) float64 { return float64(v) / one }

func fixed(v float64) int64 { return int64(v * one) }

func TestFixed(t *testing.T) {
	for x := 0.0; x < 45; x += 0.03 {
		if got, want := float(expNeg(fixed(x))), math.Exp(-x); math.Abs(got-want) > 1e-11 {
			t.Errorf("e^-%g is %g, want %g", x, got, want)
		}
	}
	for x := 0.0; x <= math.Pi; x += 0.01 {
		if got, want := float(sine(fixed(x))), math.Sin(x); math.Abs(got-want) > 1e-12 {
			t.Errorf("sin %g is %g, want %g", x, got, want)
		}
	}
	for _, c := range [][4]uint64{{3, 5, 2, 7}, {1 << 63, 4, 2, math.MaxUint64}, {1 << 63, 4, 1 << 33, 1 << 32}, {math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}} {
		if got := mulDiv(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%d × %d / %d is %d, want %d", c[0], c[1], c[2], got, c[3])
		}
	}
}

// images is the same probability by the other textbook formula, the method of
// images, in floats: another sum, which converges where ours does not.
func images(x, t float64) float64 {
	phi := func(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
	s, sum := math.Sqrt(t), 0.0
	for k := -60.0; k <= 60; k++ {
		sum += phi((1-x-2*k)/s) - phi((-x-2*k)/s)
		sum -= phi((1+x-2*k)/s) - phi((x-2*k)/s)
	}
	return sum
}

func TestSurviveMatchesImages(t *testing.T) {
	for _, variance := range []float64{1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.3, 1, 2, 3.9} {
		for x := 0.01; x < 1; x += 0.01 {
			got, want := float(survive(fixed(x), fixed(variance))), images(x, variance)
			if math.Abs(got-want) > 1e-7 {
				t.Errorf("from %.2f with variance %g: %.9f, want %.9f", x, variance, got, want)
			}
		}
	}
	for _, c := range []struct{ x, t int64 }{{0, 1}, {one, 1}, {-5, 1}, {2 * one, 1}, {one / 2, 4 * one}, {one / 2, widest}} {
		if got := survive(c.x, c.t); got != 0 {
			t.Errorf("from %d with %d: %d", c.x, c.t, got)
		}
	}
	if got := survive(one/2, 0); got != one {
		t.Errorf("without any move: %d of %d", got, int64(one))
	}
}

// steps is the oracle's random walk: one step of up to 50 millionths per 100 ms.
func steps(r *rand.Rand, price uint64) uint64 {
	largest := price * 50 / 1_000_000
	return price - largest + r.Uint64N(2*largest+1)
}

// What the model says of a range is how often a walk stays in it, with the
// volatility measured from a walk and not known.
func TestModelAgreesWithWalks(t *testing.T) {
	const start = 104_250_000_000
	r := rand.New(rand.NewPCG(1, 2))
	w := Window{SpanMs: 120_000}
	for at, price := uint64(100), uint64(start); at <= 120_100; at += 100 {
		w.Add(at, price)
		price = steps(r, price)
	}
	v := w.Volatility()
	if ppm := v.PPMPerRootMinute(); ppm < 650 || ppm > 760 { // 50/√3 · √600 = 707
		t.Fatalf("a minute moves the price by %d millionths", ppm)
	}
	for _, c := range []struct{ below, above, lead, duration uint64 }{ // millionths of the price, ms
		{500, 500, 0, 30_000}, {500, 500, 5000, 30_000}, {300, 900, 3000, 20_000}, {200, 200, 1000, 10_000}, {1500, 1500, 5000, 60_000}, {250, 250, 0, 10_000},
	} {
		s := situation{price: start, lower: start - start*c.below/1e6, upper: start + start*c.above/1e6, volatility: v, lead: c.lead, duration: c.duration}
		const walks = 4000
		kept := 0
		for range walks {
			if stays(r, &s) {
				kept++
			}
		}
		got, want := float(s.stays()), float64(kept)/walks
		if math.Abs(got-want) > 0.05 { // of which the measured volatility is most
			t.Errorf("%+v: the model says %.3f, walks stay with %.3f", c, got, want)
		}
	}
}

func stays(r *rand.Rand, s *situation) bool {
	price := s.price
	for range s.lead / 100 {
		price = steps(r, price)
	}
	for range s.duration/100 + 1 {
		if price < s.lower || price > s.upper {
			return false
		}
		price = steps(r, price)
	}
	return true
}

// Wider is likelier, longer is less likely, and nothing overflows at the edges.
func FuzzStays(f *testing.F) {
	f.Add(uint64(104_250_000_000), uint64(500_000), uint64(500_000), uint64(2_500_000_000), uint64(5000), uint64(30_000))
	f.Add(uint64(1), uint64(0), uint64(1), uint64(1), uint64(0), uint64(1))
	f.Add(uint64(math.MaxUint64-2), uint64(math.MaxUint64-3), uint64(1), uint64(maxMove*maxMove), uint64(MaxHorizonMs), uint64(MaxHorizonMs))
	f.Fuzz(func(t *testing.T, price, below, above, squares, lead, duration uint64) {
		if price == 0 || below >= price || above > math.MaxUint64-price || below == 0 || above == 0 {
			return
		}
		v := Volatility{Squares: max(1, squares%(maxMove*maxMove)), ElapsedMs: 1000, Moves: 10}
		s := situation{price: price, lower: price - below, upper: price + above, volatility: v, lead: lead % MaxHorizonMs, duration: 1 + duration%MaxHorizonMs}
		p := s.stays()
		if p < 0 || p > one {
			t.Fatalf("%+v: %d of %d", s, p, int64(one))
		}
		longer := s
		longer.duration *= 2
		if q := longer.stays(); q > p+one>>20 {
			t.Fatalf("%+v: %d, twice as long %d", s, p, q)
		}
	})
}
