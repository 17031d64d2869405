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
func doublePairAVX512(p *[2]point, n int, t *[2]scratch)

//go:noescape
func addAVX512(p *point, q *affine, h *number, t *scratch)

//go:noescape
func addPairAVX512(p *[2]point, q *[2]affine, h *[2]number, t *[2]scratch)

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
func keccak(out *[4][Lanes]uint64, x, y *number) { keccakAVX512(out, x, y) }

// double doubles one or two vectors of points n times.
func double(p []point, n int, t *[2]scratch) {
	if len(p) == 2 {
		doublePairAVX512((*[2]point)(p), n, t)
		return
	}
	doubleAVX512(&p[0], n, &t[0])
}

// add adds one or two vectors of points.
func add(p []point, q *[2]affine, h *[2]number, t *[2]scratch) {
	if len(p) == 2 {
		addPairAVX512((*[2]point)(p), q, h, t)
		return
	}
	addAVX512(&p[0], &q[0], &h[0], &t[0])
}

func root(y, square *number, odd *[Lanes]uint64, t *scratch) uint64 {
	return rootAVX512(y, square, odd, t)
}

func choose(out *affine, xs, ys *[multiples]number, digits *[Lanes]uint8) {
	selectAVX512(out, xs, ys, digits)
}

func comb(out *affine, window *[combPoints]line, digits *[Lanes]uint8, t *scratch) {
	combAVX512(out, window, digits, t)
}
