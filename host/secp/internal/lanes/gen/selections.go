package gen

import "fmt"

// Shapes of the tables: a window's digit m stands for 2m - 15, or 2m - 255, so that
// its highest bit is the sign and the others choose an odd multiple.
const (
	multipleBits = 3
	combBits     = 7
	combBytes    = 64 // of a point: x and y as words, lowest first
)

// selections prints what picks a point for every lane.
func (p *printer) selections() {
	out := pointer{"out", "DI"}
	p.begin(`// selectAVX512: out is the multiple that each lane's digit, of 4 bits, stands for, from
// tables of the x and the y of R, 3R, to 15R.`, "selectAVX512", 0,
		out, pointer{"xs", "SI"}, pointer{"ys", "DX"}, pointer{"digits", "CX"})
	p.load()
	p.digit(multipleBits)
	for e := range 1 << multipleBits {
		p.multiple(e)
	}
	p.negateSecond()
	p.end()

	p.begin(`// combAVX512: out is the point that each lane's digit, of 8 bits, stands for, from
// a window of the table of the generator.`, "combAVX512", 0,
		out, pointer{"window", "SI"}, pointer{"digits", "CX"}, pointer{"t", "R8"})
	p.load()
	p.digit(combBits)
	p.lines()
	p.transpose()
	for coordinate := range 2 {
		p.limbs(4*coordinate, 5*coordinate)
	}
	p.negateSecond()
	p.end()
}

// digit puts the lanes' digits without their sign into Z28, and the lanes whose
// digit is negative into K1: there the magnitude counts down.
func (p *printer) digit(bits int) {
	p.note("Z28: which multiple; K1: the lanes where it is subtracted")
	p.op("VPMOVZXBQ", "(CX)", z(28))
	p.op("VPTESTNMQ.BCST", p.constant(1<<bits), z(28), "K1")
	p.op("VPXORQ.BCST", p.constant(1<<bits-1), z(28), "K1", z(28))
	p.op("VPANDQ.BCST", p.constant(1<<bits-1), z(28), z(28))
}

// multiple takes entry e of the tables in the lanes that want it: x goes to Z5 to
// Z9, y to Z0 to Z4.
func (p *printer) multiple(e int) {
	p.note("entry %d", e)
	p.op("VPCMPEQQ.BCST", p.constant(uint64(e)), z(28), "K2")
	for k := range 5 {
		at := numberBytes*e + 64*k
		for _, from := range []struct {
			base     string
			register int
		}{{"SI", 5 + k}, {"DX", k}} {
			memory := fmt.Sprintf("%d(%s)", at, from.base)
			if e == 0 {
				p.op("VMOVDQU64", memory, z(from.register))
			} else {
				p.op("VMOVDQU64", memory, "K2", z(from.register))
			}
		}
	}
}

// negateSecond writes x from Z5 to Z9 to out, and y from Z0 to Z4, negated in the
// lanes of K1.
func (p *printer) negateSecond() {
	p.note("out")
	for k := range 5 {
		p.op("VMOVDQU64", z(5+k), fmt.Sprintf("%d(DI)", 64*k))
	}
	p.negate()
	p.store(&value{base: "DI", offset: numberBytes}, reduced)
}

// lines loads each lane's point, one cache line, into Z10 to Z17. Gathering word by
// word takes three times as long as moving lines and transposing.
func (p *printer) lines() {
	p.op("VPSLLQ", "$6", z(28), z(28)) // 64 bytes each
	p.op("VMOVDQU64", z(28), "(R8)")
	for lane := range 8 {
		p.op("MOVQ", fmt.Sprintf("%d(R8)", 8*lane), "AX")
		p.op("VMOVDQU64", "(SI)(AX*1)", z(10+lane))
	}
}

// transpose turns the lanes' lines in Z10 to Z17 into words 0 to 7 in Z18 to Z25.
func (p *printer) transpose() {
	p.note("Z18 to Z25: words 0 to 7")
	for i := 0; i < 8; i += 2 { // pairs of lanes: even words, odd words
		p.op("VPUNPCKLQDQ", z(11+i), z(10+i), z(18+i))
		p.op("VPUNPCKHQDQ", z(11+i), z(10+i), z(19+i))
	}
	for odd := range 2 { // four lanes each: words odd, odd + 4 and odd + 2, odd + 6
		for half := range 2 {
			from, to := 18+4*half+odd, 10+4*odd+2*half
			p.op("VSHUFI64X2", "$0x88", z(from+2), z(from), z(to))
			p.op("VSHUFI64X2", "$0xdd", z(from+2), z(from), z(to+1))
		}
	}
	for odd := range 2 { // all lanes
		for pair := range 2 {
			a := 10 + 4*odd + pair
			p.op("VSHUFI64X2", "$0x88", z(a+2), z(a), z(18+odd+2*pair))
			p.op("VSHUFI64X2", "$0xdd", z(a+2), z(a), z(18+odd+2*pair+4))
		}
	}
}

// limbs splits four words from Z18+word on into five limbs. x goes to Z5 to Z9 and y
// to Z0 to Z4.
func (p *printer) limbs(word, second int) {
	to := 5 - second
	w := func(i int) string { return z(18 + word + i) }
	p.op("VPANDQ", z(mask), w(0), z(to))
	for i := 1; i < 4; i++ {
		// Word i-1 has 64i - 52i bits left for limb i.
		left := 64*i - limbBits*i
		p.op("VPSRLQ", fmt.Sprint("$", 64-left), w(i-1), z(26))
		p.op("VPSLLQ", fmt.Sprint("$", left), w(i), z(27))
		p.op("VPORQ", z(26), z(27), z(26))
		p.op("VPANDQ", z(mask), z(26), z(to+i))
	}
	p.op("VPSRLQ", "$16", w(3), z(to+4))
}
