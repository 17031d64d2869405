//go:build !amd64

package lanes

// available says that there is an implementation of what follows: not here, and
// nobody calls it.
const available = false

func missing() { panic("lanes: called on a processor without lanes") }

func mul(out, a, b *number)                      { missing() }
func cube(out, a *number)                        { missing() }
func square(a, b *number, n int)                 { missing() }
func keccak(out *[4][Lanes]uint64, x, y *number) { missing() }
func double(p []point, n int, t *[2]scratch)     { missing() }

func add(p []point, q *[2]affine, h *[2]number, t *[2]scratch) { missing() }

func normal(out, a *number) uint64 {
	missing()
	return 0
}

func root(y, square *number, odd *[Lanes]uint64, t *scratch) uint64 {
	missing()
	return 0
}

func choose(out *affine, xs, ys *[multiples]number, digits *[Lanes]uint8) { missing() }

func comb(out *affine, window *[combPoints]line, digits *[Lanes]uint8, t *scratch) { missing() }
