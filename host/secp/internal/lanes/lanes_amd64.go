package lanes

import "golang.org/x/sys/cpu"

// available says that this processor has what lanes_amd64.s needs.
var available = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512IFMA

//go:noescape
func mulAVX512(out, a, b *number)

//go:noescape
func cubeAVX512(out, a *number)

//go:noescape
func squareAVX512(a, b *number, n int)

//go:noescape
func normalAVX512(out, a *number) uint64

//go:noescape
func rootAVX512(y, square *number, odd *[Lanes]uint64, t *scratch) uint64

//go:noescape
func doubleAVX512(p *point, n int, t *scratch)

//go:noescape
func addAVX512(p *point, q *affine, h *number, t *scratch)

//go:noescape
func selectAVX512(out *affine, xs, ys *[multiples]number, digits *[Lanes]uint8)

//go:noescape
func combAVX512(out *affine, window *[combPoints]line, digits *[Lanes]uint8, t *scratch)

//go:noescape
func keccakAVX512(out *[4][Lanes]uint64, x, y *number)

func mul(out, a, b *number)                      { mulAVX512(out, a, b) }
func cube(out, a *number)                        { cubeAVX512(out, a) }
func square(a, b *number, n int)                 { squareAVX512(a, b, n) }
func normal(out, a *number) uint64               { return normalAVX512(out, a) }
func double(p *point, n int, t *scratch)         { doubleAVX512(p, n, t) }
func keccak(out *[4][Lanes]uint64, x, y *number) { keccakAVX512(out, x, y) }

func add(p *point, q *affine, h *number, t *scratch) { addAVX512(p, q, h, t) }

func root(y, square *number, odd *[Lanes]uint64, t *scratch) uint64 {
	return rootAVX512(y, square, odd, t)
}

func choose(out *affine, xs, ys *[multiples]number, digits *[Lanes]uint8) {
	selectAVX512(out, xs, ys, digits)
}

func comb(out *affine, window *[combPoints]line, digits *[Lanes]uint8, t *scratch) {
	combAVX512(out, window, digits, t)
}
