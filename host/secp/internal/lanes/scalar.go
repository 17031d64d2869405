package lanes

import (
	"encoding/binary"
	"math/bits"
)

// order is n, the number of points of the curve.
var order = words{0xbfd25e8cd0364141, 0xbaaedce6af48a03b, 0xfffffffffffffffe, 0xffffffffffffffff}

const orderInverse = 0x4b0dff665588b13f // -1/n modulo 2^64

// radix is 2^256 modulo n, which is also 2^256 - n. A scalar times it is the scalar's
// Montgomery form.
var radix = words{0x402da1732fc9bebf, 0x4551231950b75fc4, 1, 0}

// radixSquared is 2^512 modulo n.
var radixSquared = words{0x896cf21467d7d140, 0x741496c20e7cf878, 0xe697f5e45bcd07c6, 0x9d671cd581c69bc5}

// parse reads a big-endian number of 32 bytes.
func parse(b []byte) words {
	_ = b[31]
	return words{
		binary.BigEndian.Uint64(b[24:]), binary.BigEndian.Uint64(b[16:]),
		binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b),
	}
}

func (w *words) isZero() bool { return w[0]|w[1]|w[2]|w[3] == 0 }

// less says that w < v.
func (w *words) less(v *words) bool {
	_, borrow := w.minus(v)
	return borrow == 1
}

// minus is w - v modulo 2^256, and 1 if v is greater.
func (w *words) minus(v *words) (d words, borrow uint64) {
	for i := range d {
		d[i], borrow = bits.Sub64(w[i], v[i], borrow)
	}
	return d, borrow
}

// plus is w + v modulo 2^256.
func (w *words) plus(v *words) (s words) {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(w[i], v[i], carry)
	}
	return s
}

// half is w / 2, with top as bit 255.
func (w *words) half(top uint64) words {
	return words{w[0]>>1 | w[1]<<63, w[1]>>1 | w[2]<<63, w[2]>>1 | w[3]<<63, w[3]>>1 | top<<63}
}

// multiplyAdd is a·b + c + d, which is below 2^128.
func multiplyAdd(a, b, c, d uint64) (hi, lo uint64) {
	hi, lo = bits.Mul64(a, b)
	var carry uint64
	lo, carry = bits.Add64(lo, c, 0)
	hi += carry
	lo, carry = bits.Add64(lo, d, 0)
	return hi + carry, lo
}

// montgomery is a·b / 2^256 modulo n, for any a and for b below n.
//
// Before each round t is below 2n: a word of a times b and a word times n are added,
// together less than 2^64·2n, and the lowest word, by then zero, is taken off. So one
// subtraction at the end suffices.
func montgomery(a, b *words) words {
	var t0, t1, t2, t3, t4, t5, c uint64
	for _, w := range a {
		c, t0 = multiplyAdd(w, b[0], t0, 0)
		c, t1 = multiplyAdd(w, b[1], t1, c)
		c, t2 = multiplyAdd(w, b[2], t2, c)
		c, t3 = multiplyAdd(w, b[3], t3, c)
		t4, t5 = bits.Add64(t4, c, 0)
		m := t0 * orderInverse
		c, _ = multiplyAdd(m, order[0], t0, 0)
		c, t0 = multiplyAdd(m, order[1], t1, c)
		c, t1 = multiplyAdd(m, order[2], t2, c)
		c, t2 = multiplyAdd(m, order[3], t3, c)
		t3, c = bits.Add64(t4, c, 0)
		t4 = t5 + c
	}
	r := words{t0, t1, t2, t3}
	if d, borrow := r.minus(&order); t4 == 1 || borrow == 0 {
		return d
	}
	return r
}
