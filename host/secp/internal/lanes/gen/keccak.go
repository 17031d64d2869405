package gen

import (
	"fmt"
	"math/bits"
)

// keccak prints Keccak-256 of 64 bytes in every lane: x and y of a point. The state
// is A[x, y] in Z(x + 5y), the names are those of FIPS 202.
func (p *printer) keccak() {
	constants := "rounds<>"
	for i, c := range roundConstants() {
		fmt.Fprintf(&p.text, "DATA %s+%d(SB)/8, $%#x\n", constants, 8*i, c)
	}
	fmt.Fprintf(&p.text, "GLOBL %s(SB), RODATA|NOPTR, $%d\n", constants, 8*rounds)
	p.text.WriteString(`
// Reverses the bytes of a word, since the bytes of a point are big-endian.
DATA reverse<>+0(SB)/8, $0x0001020304050607
DATA reverse<>+8(SB)/8, $0x08090a0b0c0d0e0f
GLOBL reverse<>(SB), RODATA|NOPTR, $16
`)
	p.begin(`// keccakAVX512: out is Keccak-256 of x and y, numbers below p, as words of 8 bytes.`, "keccakAVX512", 0,
		pointer{"out", "DI"}, pointer{"x", "SI"}, pointer{"y", "DX"})
	p.absorb()
	p.op("LEAQ", constants+"(SB)", "AX")
	p.op("MOVQ", fmt.Sprint("$", rounds), "CX")
	p.label("rounds")
	p.theta()
	p.rhoPi()
	p.chi()
	p.op("VPXORQ.BCST", "(AX)", z(0), z(0))
	p.op("ADDQ", "$8", "AX")
	p.op("DECQ", "CX")
	p.op("JNZ", "rounds")
	p.note("the first 32 bytes")
	for i := range 4 {
		p.op("VMOVDQU64", z(i), fmt.Sprintf("%d(DI)", 64*i))
	}
	p.end()
}

const (
	rounds    = 24
	rateWords = 17 // of Keccak-256: 136 bytes
)

// absorb sets the state to the padded message.
func (p *printer) absorb() {
	p.op("VBROADCASTI64X2", "reverse<>(SB)", z(31))
	for i, base := range []string{"SI", "DX"} {
		p.note("words %d to %d: five limbs to four words, the highest first", 4*i, 4*i+3)
		for word := range 4 {
			// Word w begins 12w bits into limb w.
			limb := func(k int) string { return fmt.Sprintf("%d(%s)", 64*k, base) }
			to := z(4*i + 3 - word)
			p.op("VPSRLQ", fmt.Sprint("$", 12*word), limb(word), z(30))
			p.op("VPSLLQ", fmt.Sprint("$", 52-12*word), limb(word+1), to)
			p.op("VPORQ", z(30), to, to)
			p.op("VPSHUFB", z(31), to, to)
		}
	}
	for i := 8; i < 25; i++ {
		p.zero(i)
	}
	p.op("VPBROADCASTQ", p.constant(1), z(8)) // Keccak's padding, not SHA-3's
	p.op("VPBROADCASTQ", p.constant(1<<63), z(rateWords-1))
}

// theta: A[x, y] ^= C[x-1] ^ (C[x+1] <<< 1), where C[x] is the parity of a column.
func (p *printer) theta() {
	const xor3 = "$0x96"
	c := func(x int) string { return z(25 + (x+5)%5) }
	p.note("θ")
	for x := range 5 {
		p.op("VPXORQ", z(x), z(x+5), c(x))
		p.op("VPTERNLOGQ", xor3, z(x+10), z(x+15), c(x))
		p.op("VPXORQ", z(x+20), c(x), c(x))
	}
	// D[x] takes the place of a C that no other D needs any more.
	p.op("VPROLQ", "$1", c(2), z(30))
	p.op("VPXORQ", c(0), z(30), z(30)) // D[1]
	p.op("VPROLQ", "$1", c(0), z(31))
	p.op("VPXORQ", c(3), z(31), z(31)) // D[4]
	p.op("VPROLQ", "$1", c(1), c(0))
	p.op("VPXORQ", c(4), c(0), c(0)) // D[0]
	p.op("VPROLQ", "$1", c(3), c(3))
	p.op("VPXORQ", c(1), c(3), c(3)) // D[2]
	p.op("VPROLQ", "$1", c(4), c(4))
	p.op("VPXORQ", c(2), c(4), c(4)) // D[3]
	for x, d := range []string{c(0), z(30), c(3), c(4), z(31)} {
		for y := range 5 {
			p.op("VPXORQ", d, z(x+5*y), z(x+5*y))
		}
	}
}

// rhoPi: B[y, 2x+3y] = A[x, y] <<< r[x, y], along the one cycle that moves all words
// but the first.
func (p *printer) rhoPi() {
	p.note("ρ and π")
	p.op("VMOVDQA64", z(1), z(25))
	x, y, offset := 1, 0, 0
	held, spare := 25, 26
	for t := range 24 {
		offset = (offset + t + 1) % 64
		x, y = y, (2*x+3*y)%5
		to := x + 5*y
		if t < 23 {
			p.op("VMOVDQA64", z(to), z(spare))
		}
		p.op("VPROLQ", fmt.Sprint("$", offset), z(held), z(to))
		held, spare = spare, held
	}
}

// chi: A[x, y] = B[x, y] ^ (^B[x+1, y] & B[x+2, y]).
func (p *printer) chi() {
	const andNot = "$0xd2" // of a, b, c: a ^ (^b & c)
	p.note("χ and ι")
	for y := 0; y < 25; y += 5 {
		p.op("VMOVDQA64", z(y), z(25))
		p.op("VMOVDQA64", z(y+1), z(26))
		row := []int{y, y + 1, y + 2, y + 3, y + 4, 25, 26}
		for x := range 5 {
			p.op("VPTERNLOGQ", andNot, z(row[x+2]), z(row[x+1]), z(row[x]))
		}
	}
}

// roundConstants are those of ι, made by their feedback shift register (FIPS 202,
// section 3.2.5).
func roundConstants() (all [rounds]uint64) {
	r := uint8(1)
	for i := range all {
		for j := range 7 {
			if r&1 == 1 {
				all[i] |= 1 << (1<<j - 1)
			}
			r = bits.RotateLeft8(r, 1)
			if r&1 == 1 { // x^8 = x^6 + x^5 + x^4 + 1
				r ^= 0x70
			}
		}
	}
	return all
}
