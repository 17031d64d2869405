package lanes

import "math/bits"

// The inverse of a scalar, by the division steps of Bernstein and Yang ("Fast
// constant-time gcd computation and modular inversion", 2019) as libsecp256k1 takes
// them (modinv64, in variable time): 62 steps at a time need the lowest 62 bits only
// and come to a matrix, which is then applied to the whole numbers.

// stepBits is how many division steps make one matrix, and the bits of a limb.
const stepBits = 62

const stepMask = 1<<stepBits - 1

// wide is a number of five signed limbs of 62 bits; all but the last are not
// negative, except in orderWide.
type wide [5]int64

// orderWide is n. Its third limb is negative so that two products are saved.
var orderWide = wide{0x3fd25e8cd0364141, 0x2abb739abd2280ee, -0x15, 0, 256}

const orderWideInverse = 0x34f20099aa774ec1 // 1/n modulo 2^62

// matrix is what division steps did: 2^62·(f', g') = (u·f + v·g, q·f + r·g).
type matrix struct{ u, v, q, r int64 }

// inverse is 1/a modulo n, for a between 1 and n - 1.
func inverse(a *words) words {
	d, e := wide{}, wide{1} // f = d·a and g = e·a modulo n
	f, g := orderWide, widen(a)
	for eta := int64(-1); g != (wide{}); {
		var m matrix
		eta, m = divide(eta, uint64(f[0]), uint64(g[0]))
		d, e = m.reduced(&d, &e)
		f, g = m.exact(&f, &g)
	}
	// f is the greatest common divisor, 1 or -1.
	return d.narrow(f[4] < 0)
}

func widen(w *words) wide {
	return wide{
		int64(w[0] & stepMask), int64((w[0]>>62 | w[1]<<2) & stepMask), int64((w[1]>>60 | w[2]<<4) & stepMask),
		int64((w[2]>>58 | w[3]<<6) & stepMask), int64(w[3] >> 56),
	}
}

// divide takes 62 division steps from the lowest words of f and g. A step halves
// g if that is even, and otherwise adds f, having exchanged the two if eta, which
// counts the halvings, is negative.
func divide(eta int64, f, g uint64) (int64, matrix) {
	u, v, q, r := uint64(1), uint64(0), uint64(0), uint64(1)
	for left := stepBits; ; {
		zeros := bits.TrailingZeros64(g | ^uint64(0)<<left)
		g >>= zeros
		u <<= zeros
		v <<= zeros
		eta -= int64(zeros)
		left -= zeros
		if left == 0 {
			return eta, matrix{int64(u), int64(v), int64(q), int64(r)}
		}
		var w uint64 // so many times f make several bits of g zero
		if eta < 0 {
			eta = -eta
			f, g = g, -f
			u, q = q, -u
			v, r = r, -v
			w = f * g * (f*f - 2) & lowest(min(int(eta)+1, left), 6)
		} else {
			w = f + (f+1)&4<<1
			w = -w * g & lowest(min(int(eta)+1, left), 4)
		}
		g += f * w
		q += u * w
		r += v * w
	}
}

// lowest is a mask of n bits, at most max.
func lowest(n, max int) uint64 { return 1<<min(n, max) - 1 }

// long is a signed number of 128 bits.
type long struct {
	hi int64
	lo uint64
}

// plus is l + a·b.
func (l long) plus(a, b int64) long {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	high := int64(hi) - a>>63&b - b>>63&a
	lo, carry := bits.Add64(l.lo, lo, 0)
	return long{l.hi + high + int64(carry), lo}
}

// limb takes the lowest limb off.
func (l long) limb() (rest long, low int64) {
	return long{l.hi >> stepBits, uint64(l.hi)<<(64-stepBits) | l.lo>>stepBits}, int64(l.lo & stepMask)
}

// exact applies the matrix to f and g, which it leaves divisible by 2^62.
func (m *matrix) exact(f, g *wide) (nf, ng wide) {
	cf, _ := (long{}).plus(m.u, f[0]).plus(m.v, g[0]).limb()
	cg, _ := (long{}).plus(m.q, f[0]).plus(m.r, g[0]).limb()
	for i := 1; i < len(f); i++ {
		cf, nf[i-1] = cf.plus(m.u, f[i]).plus(m.v, g[i]).limb()
		cg, ng[i-1] = cg.plus(m.q, f[i]).plus(m.r, g[i]).limb()
	}
	nf[4], ng[4] = int64(cf.lo), int64(cg.lo)
	return nf, ng
}

// reduced applies the matrix to d and e modulo n: it adds the multiples of n that
// make them divisible by 2^62, and keeps both between -2n and n.
func (m *matrix) reduced(d, e *wide) (nd, ne wide) {
	sd, se := d[4]>>63, e[4]>>63
	md, me := m.u&sd+m.v&se, m.q&sd+m.r&se // what makes a negative one positive
	cd := (long{}).plus(m.u, d[0]).plus(m.v, e[0])
	ce := (long{}).plus(m.q, d[0]).plus(m.r, e[0])
	md -= int64((orderWideInverse*cd.lo + uint64(md)) & stepMask)
	me -= int64((orderWideInverse*ce.lo + uint64(me)) & stepMask)
	cd, _ = cd.plus(orderWide[0], md).limb()
	ce, _ = ce.plus(orderWide[0], me).limb()
	for i := 1; i < len(d); i++ {
		cd, nd[i-1] = cd.plus(m.u, d[i]).plus(m.v, e[i]).plus(orderWide[i], md).limb()
		ce, ne[i-1] = ce.plus(m.q, d[i]).plus(m.r, e[i]).plus(orderWide[i], me).limb()
	}
	nd[4], ne[4] = int64(cd.lo), int64(ce.lo)
	return nd, ne
}

// narrow is d, or -d, between 0 and n; d is between -2n and n.
func (d wide) narrow(negate bool) words {
	if d[4] < 0 {
		d.add(&orderWide)
	}
	if negate {
		for i := range d {
			d[i] = -d[i]
		}
		d.add(&wide{})
	}
	if d[4] < 0 {
		d.add(&orderWide)
	}
	return words{
		uint64(d[0]) | uint64(d[1])<<62, uint64(d[1])>>2 | uint64(d[2])<<60,
		uint64(d[2])>>4 | uint64(d[3])<<58, uint64(d[3])>>6 | uint64(d[4])<<56,
	}
}

// add adds v and makes all limbs but the last 62 bits again.
func (d *wide) add(v *wide) {
	var carry int64
	for i := range d {
		d[i] += v[i] + carry
		if i < len(d)-1 {
			d[i], carry = d[i]&stepMask, d[i]>>stepBits
		}
	}
}
