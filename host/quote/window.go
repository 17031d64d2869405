package quote

import "math/bits"

// unit is one in relative moves: they are in billionths of the price.
const unit = 1_000_000_000

const (
	// maxMove bounds the move that one observation may count for (5%), so that a
	// window of MaxSamples cannot overflow and one outlier does not rule for as
	// long as it is in the window.
	maxMove = unit / 20
	// MaxSamples bounds a window, observations.
	MaxSamples = 4096
	// quiet is the least volatility that is believed, squared billionths per ms: a
	// millionth per root second. A price that stood still will not for ever.
	quiet = 1000
)

// Volatility is how much a price has moved: the sum of the squares of its
// relative moves, in squared billionths, over ElapsedMs.
type Volatility struct {
	Squares   uint64
	ElapsedMs uint64
	Moves     uint64 // observations that the sum is of
}

// interval is the mean time between observations, ms, at least 1.
func (v *Volatility) interval() uint64 { return max(1, v.ElapsedMs/max(1, v.Moves)) }

// PPMPerRootMinute is the deviation after one minute, millionths of the price.
func (v *Volatility) PPMPerRootMinute() uint64 {
	if v.ElapsedMs == 0 {
		return 0
	}
	return isqrt(mulDiv(v.Squares, 60_000, v.ElapsedMs)) / 1000
}

// ExpectedMove is the deviation of a price after so many ms, if ppm is that after
// a minute in millionths: it grows with the root of the time.
func ExpectedMove(price, ppm, ms uint64) uint64 {
	root := isqrt(mulDiv(ms, unit, 60_000)) // of minutes; √unit is its one
	return mulDiv(mulDiv(price, ppm, PPM), root, isqrt(unit))
}

// isqrt is the whole part of √v.
func isqrt(v uint64) (root uint64) {
	for bit := uint64(1) << 31; bit > 0; bit >>= 1 {
		if r := root | bit; r*r <= v {
			root = r
		}
	}
	return root
}

type sample struct{ timestamp, price uint64 }

// Window holds the prices of one market in the last SpanMs.
type Window struct {
	SpanMs  uint64
	samples []sample
}

// Add takes a recorded price; one that is not newer than the last changes
// nothing.
func (w *Window) Add(timestamp, price uint64) {
	if price == 0 || len(w.samples) > 0 && timestamp <= w.Last() {
		return
	}
	w.samples = append(w.samples, sample{timestamp, price})
	drop := max(0, len(w.samples)-MaxSamples)
	for timestamp-w.samples[drop].timestamp > w.SpanMs {
		drop++
	}
	if drop > 0 {
		w.samples = append(w.samples[:0], w.samples[drop:]...)
	}
}

// Last is when the newest price was observed, ms; 0 if there is none.
func (w *Window) Last() uint64 {
	if len(w.samples) == 0 {
		return 0
	}
	return w.samples[len(w.samples)-1].timestamp
}

// Price is the newest price; 0 if there is none.
func (w *Window) Price() uint64 {
	if len(w.samples) == 0 {
		return 0
	}
	return w.samples[len(w.samples)-1].price
}

// Volatility measures the window.
func (w *Window) Volatility() (v Volatility) {
	for i := 1; i < len(w.samples); i++ {
		m := move(w.samples[i-1].price, w.samples[i].price)
		v.Squares += m * m
		v.Moves++
	}
	if v.Moves > 0 {
		v.ElapsedMs = w.Last() - w.samples[0].timestamp
		v.Squares = max(v.Squares, quiet*v.ElapsedMs)
	}
	return v
}

// move is how far apart two prices are, billionths of the first.
func move(from, to uint64) uint64 {
	apart, borrow := bits.Sub64(to, from, 0)
	if borrow != 0 {
		apart = from - to
	}
	return min(mulDiv(apart, unit, from), maxMove)
}
