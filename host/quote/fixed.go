package quote

import "math/bits"

// Fixed point with 48 bits behind the point: the same on every machine, which a
// float is not.
const (
	fracBits = 48
	one      = 1 << fracBits
	pi       = 0x3243f6a8885a3 // of π = 3.243f6a8885a3… in hex
)

// mul is a·b.
func mul(a, b int64) int64 {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	v := int64(hi<<(64-fracBits) | lo>>fracBits)
	if (a < 0) != (b < 0) {
		return -v
	}
	return v
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return uint64(-a)
	}
	return uint64(a)
}

// taylorTerms are enough for arguments up to π/2: the next one is below 2^-48.
const taylorTerms = 12

// expNeg is e^-x for x >= 0.
func expNeg(x int64) int64 {
	if x > 40*one { // e^-40 is below the last bit
		return 0
	}
	halvings := 0
	for ; x > one/8; x >>= 1 {
		halvings++
	}
	sum, term := int64(one), int64(one)
	for i := int64(1); i <= taylorTerms; i++ {
		term = -mul(term, x) / i
		sum += term
	}
	for range halvings {
		sum = mul(sum, sum)
	}
	return sum
}

// sine is sin x for x in [0, π].
func sine(x int64) int64 {
	x = min(x, pi-x)
	square := mul(x, x)
	sum, term := x, x
	for i := int64(1); i <= taylorTerms; i++ {
		term = -mul(term, square) / (2 * i * (2*i + 1))
		sum += term
	}
	return sum
}

// mulDiv is a·b/c, rounded down, at most the largest u64; c > 0.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return 1<<64 - 1
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}
