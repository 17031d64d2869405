package lanes

import "math/bits"

// Shapes of the digits of a scalar. All digits are odd, so that every lane adds a
// point in every step and none of them is zero.
const (
	multipleBits    = 4
	multiples       = 1 << (multipleBits - 1) // R, 3R, … 15R
	multipleWindows = 33                      // of half a scalar: 132 bits
	combBits        = 8
	combPoints      = 1 << (combBits - 1)
	combWindows     = 256 / combBits
)

// digits are a group's factors: of R, of lambda·R, and of G.
type digits struct {
	r1, r2 [multipleWindows][Lanes]uint8
	g      [combWindows][Lanes]uint8
}

// set writes lane i. It says false if ofR turns out to have too many digits.
func (d *digits) set(i int, ofG, ofR *words) bool {
	writeComb(ofG, i, &d.g)
	k1, k2 := split(ofR)
	fits1, fits2 := k1.write(i, &d.r1), k2.write(i, &d.r2)
	return fits1 && fits2
}

// signed is a number between -2^191 and 2^191, as two's complement.
type signed [3]uint64

// The lattice of pairs (a, b) with a + b·lambda = 0 modulo n has the basis
// (a1, -b1), (a2, a1), where a1 and b1 have 126 and 128 bits and a2 = a1 + b1.
var (
	a1 = signed{0xe86c90e49284eb15, 0x3086d221a7d46bcd, 0}
	b1 = signed{0x6f547fa90abfe4c3, 0xe4437ed6010e8828, 0}
	a2 = signed{0x57c1108d9d44cfd8, 0x14ca50f7a8e2f3f6, 1}
	// Quotients by n, times 2^384: of a1, and of b1.
	quotientA1 = words{0xe893209a45dbb030, 0x3daa8a1471e8ca7f, 0xe86c90e49284eb15, 0x3086d221a7d46bcd}
	quotientB1 = words{0x1571b4ae8ac47f71, 0x221208ac9df506c6, 0x6f547fa90abfe4c4, 0xe4437ed6010e8828}
)

// plus is s + v.
func (s signed) plus(v signed) signed {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], v[i], carry)
	}
	return s
}

// minus is s - v.
func (s signed) minus(v signed) signed {
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], v[i], borrow)
	}
	return s
}

// times is s·(c1·2^64 + c0) modulo 2^192.
func (s signed) times(c [2]uint64) signed {
	h0, l0 := bits.Mul64(s[0], c[0])
	h1, l1 := bits.Mul64(s[1], c[0])
	h2, l2 := bits.Mul64(s[0], c[1])
	low := signed{l0, h0, h1 + s[2]*c[0]}
	return low.plus(signed{0, l1, 0}).plus(signed{0, l2, h2 + s[1]*c[1]})
}

// split writes k as k1 + k2·lambda modulo n, both odd and of some 130 bits.
//
// Any multiples of the basis may be subtracted from (k, 0): what is left has the right
// value. Those by the quotients of k leave little, and adding a basis vector once
// more, where parities are wrong, not much more. So the value is always right, and
// that the size is as well is checked by [signed.write].
func split(k *words) (k1, k2 signed) {
	c1, c2 := quotient(k, &quotientA1), quotient(k, &quotientB1)
	k1 = signed(k[:3]).minus(a1.times(c1)).minus(a2.times(c2))
	k2 = b1.times(c1).minus(a1.times(c2))
	if k1[0]&1 == 0 { // (a1, -b1) is odd, odd
		k1, k2 = k1.plus(a1), k2.minus(b1)
	}
	if k2[0]&1 == 0 { // (a2, a1) is even, odd
		k1, k2 = k1.minus(a2), k2.minus(a1)
	}
	return k1, k2
}

// quotient is k·q / 2^384, rounded down.
func quotient(k, q *words) [2]uint64 {
	var t [8]uint64
	for i, w := range k {
		var carry uint64
		for j, v := range q {
			carry, t[i+j] = multiplyAdd(w, v, t[i+j], carry)
		}
		t[i+4] = carry
	}
	return [2]uint64{t[6], t[7]}
}

// write writes an odd number as digits 2m - 15, m below 16, the lowest first: with
// w windows that is twice the number made of the m, minus 16^w - 1. It says false
// if the number has more digits.
func (s signed) write(lane int, to *[multipleWindows][Lanes]uint8) bool {
	const topBits = multipleWindows*multipleBits - 128
	s = s.plus(signed{1<<64 - 1, 1<<64 - 1, 1<<topBits - 1})
	s = signed{s[0]>>1 | s[1]<<63, s[1]>>1 | s[2]<<63, s[2] >> 1}
	for i := range to {
		bit := multipleBits * i
		to[i][lane] = uint8(s[bit/64] >> (bit % 64) & (1<<multipleBits - 1))
	}
	return s[2]>>topBits == 0
}

// writeComb writes k as digits 2m - 255, m below 256, the lowest first; k is at most n,
// and if it is even, k - n is written, which is odd.
func writeComb(k *words, lane int, to *[combWindows][Lanes]uint8) {
	m := k.half(1) // (k + 2^256 - 1) / 2
	if k[0]&1 == 0 {
		m = k.plus(&radix) // (k - n + 2^256 - 1) / 2
		m = m.half(0)
	}
	for i := range to {
		to[i][lane] = uint8(m[i/8] >> (i % 8 * 8))
	}
}
