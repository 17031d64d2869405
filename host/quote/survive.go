package quote

import "math/big"

// A price without drift, seen as a Brownian motion between two walls: the
// probability of never touching one is the textbook series
//
//	P = 4/π · Σ over odd n of sin(nπx)/n · e^(-n²π²t/2)
//
// for a walk that starts at x of the way between them and has variance t, in
// units of the squared width.

// thinnest is the least variance that is told apart from none, and bounds the
// terms of the series: the width is 2,048 times the move.
const thinnest = one >> 22

// survive is P.
func survive(x, t int64) int64 {
	if x <= 0 || x >= one {
		return 0
	}
	if t >= 4*one { // P < 4e-9
		return 0
	}
	const fourOverPi = 4 * one * one / pi
	t = max(t, thinnest)
	q := expNeg(mul(mul(pi, pi), t) / 2)
	q8 := q
	for range 3 {
		q8 = mul(q8, q8)
	}
	first := sine(mul(pi, x))
	sin, before, twice := first, -first, 2*one-4*mul(first, first) // twice is 2·cos(2πx)
	power, factor, sum := q, q8, int64(0)
	for n := int64(1); power > 0; n += 2 {
		sum += mul(sin, power) / n
		sin, before = mul(twice, sin)-before, sin
		power, factor = mul(power, factor), mul(factor, q8)
	}
	return min(max(mul(sum, fourOverPi), 0), one)
}

// situation is a range around a price, and how the price moves.
type situation struct {
	price, lower, upper uint64
	volatility          Volatility
	lead                uint64 // until the range counts, ms
	duration            uint64 // while it counts, ms
}

// binomial are the weights of the nine places at which eight coin tosses end, of
// 256: what stands for the bell curve of the price at the start.
var binomial = [9]int64{1, 8, 28, 56, 70, 56, 28, 8, 1}

// stays is the probability that the price is within the range from start to end,
// as it is observed: a few times a second, not at every instant.
func (s *situation) stays() int64 {
	if s.price <= s.lower || s.price >= s.upper {
		return 0
	}
	step := s.variance(s.volatility.interval())
	// Between two observations a price may leave and come back unseen: the walls
	// of a walk that is observed at intervals are farther by 0.5826 steps
	// (Broadie, Glasserman and Kou 1997).
	gap := mul(root(step), one*5826/10_000)
	width := one + 2*gap
	x := ratio(gap+share(s.price-s.lower, s.upper-s.lower), width)
	gapless := ratio(ratio(s.variance(s.duration), width), width)
	hop := ratio(mul(root(s.variance(s.lead)), one*7071/10_000), width) // √½ of the deviation at the start
	var sum int64
	for i, weight := range binomial {
		sum += weight * (survive(x+int64(i-4)*hop, gapless) / 256)
	}
	return sum
}

// widest bounds a variance: anything near it is a certain breach.
const widest = 64 * one

// variance is the squared move in so many ms, in squared widths of the range.
func (s *situation) variance(ms uint64) int64 {
	width := new(big.Int).SetUint64(s.upper - s.lower)
	v := new(big.Int).SetUint64(s.volatility.Squares)
	v.Mul(v, new(big.Int).SetUint64(ms))
	price := new(big.Int).SetUint64(s.price)
	v.Mul(v, price.Mul(price, price)).Lsh(v, fracBits)
	per := new(big.Int).SetUint64(unit * unit)
	per.Mul(per, width.Mul(width, width)).Mul(per, new(big.Int).SetUint64(s.volatility.ElapsedMs))
	if v.Quo(v, per); !v.IsInt64() {
		return widest
	}
	return min(v.Int64(), widest)
}

// root is √v.
func root(v int64) int64 {
	b := big.NewInt(v)
	return b.Sqrt(b.Lsh(b, fracBits)).Int64()
}

// ratio is a/b for a up to widest.
func ratio(a, b int64) int64 {
	q := big.NewInt(a)
	return q.Quo(q.Lsh(q, fracBits), big.NewInt(b)).Int64()
}

// share is part/whole, part <= whole.
func share(part, whole uint64) int64 { return int64(mulDiv(part, one, whole)) }
