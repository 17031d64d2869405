package lanes

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

// times G is k·G by go-ethereum.
func multipleOfG(k *big.Int) (x, y *big.Int) {
	return crypto.S256().ScalarBaseMult(new(big.Int).Mod(k, group).FillBytes(make([]byte, 32)))
}

// is fails unless lane i of p is k·G.
func (p point) is(t *testing.T, what string, k func(i int) *big.Int) {
	t.Helper()
	var n normalizer
	points, products := []point{p}, make([]number, 1)
	n.run(points, products)
	for i := range Lanes {
		x, y := multipleOfG(k(i))
		points[0].x.same(t, what+": x", i, x)
		points[0].y.same(t, what+": y", i, y)
	}
}

func TestTableOfG(t *testing.T) {
	requireLanes(t)
	for w, window := range tableOfG().windows {
		for _, i := range []int{0, 1, 2, 64, 126, 127} {
			x, y := multipleOfG(new(big.Int).Lsh(big.NewInt(int64(2*i+1)), uint(combBits*w)))
			if l := window[i]; words(l[:4]) != wordsOf(x) || words(l[4:]) != wordsOf(y) {
				t.Fatalf("window %d, entry %d", w, i)
			}
		}
	}
}

// TestComb compares with the table, every digit in every lane.
func TestComb(t *testing.T) {
	requireLanes(t)
	g := tableOfG()
	var q affine
	var s scratch
	for m := range 256 {
		var d [Lanes]uint8
		for i := range d {
			d[i] = uint8(m + 37*i)
		}
		w := m % combWindows
		comb(&q, &g.windows[w], &d, &s)
		point{q.x, q.y, one}.is(t, "comb", func(i int) *big.Int {
			return new(big.Int).Lsh(big.NewInt(2*int64(d[i])-255), uint(combBits*w))
		})
	}
}

func TestTableOfR(t *testing.T) {
	requireLanes(t)
	m := new(multiplier)
	m.makeTables(m.acc[:], []number{base.x, base.x}, []number{base.y, base.y})
	if m.tables[0] != m.tables[1] {
		t.Error("two vectors with the same points get different tables")
	}
	r := &m.tables[0]
	for e := range multiples {
		odd := big.NewInt(2*int64(e) + 1)
		point{r.xs[e], r.ys[e], r.z}.is(t, "R", func(int) *big.Int { return odd })
		point{r.lambdaXs[e], r.ys[e], r.z}.is(t, "lambda·R", func(int) *big.Int { return new(big.Int).Mul(odd, lambda) })
	}
	var q affine
	for d := range uint8(16) {
		digits := [Lanes]uint8{d, 15 - d, d ^ 1, d ^ 2, d ^ 4, d ^ 8, 0, 15}
		choose(&q, &r.xs, &r.ys, &digits)
		point{q.x, q.y, r.z}.is(t, "choose", func(i int) *big.Int { return big.NewInt(2*int64(digits[i]) - 15) })
	}
}

// TestMultiplier: k1·R + k2·G for R = G, with one vector and with two.
func TestMultiplier(t *testing.T) {
	requireLanes(t)
	rng, m := rand.New(rand.NewPCG(1, 1)), new(multiplier)
	for round := range 20 {
		d := make([]digits, 1+round%2)
		sums := make([]*big.Int, len(d)*Lanes)
		for i := range sums {
			ofG := new(big.Int).Mod(words{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}.big(), group)
			ofR := new(big.Int).Mod(words{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}.big(), group)
			g, r := wordsOf(ofG), wordsOf(ofR)
			d[i/Lanes].set(i%Lanes, &g, &r)
			sums[i] = ofG.Add(ofG, ofR)
		}
		m.run([]number{base.x, base.x}, []number{base.y, base.y}, d, tableOfG())
		for v := range d {
			m.acc[v].is(t, "multiplier", func(i int) *big.Int { return sums[v*Lanes+i] })
		}
	}
}

// TestExceptionInLadder has lanes in which what the ladder is about to add is what it
// has, or its negative: k1 and k2 whose multiples before the last digits are a vector
// of the lattice, plus or minus that digit. They do not come from split; the Z of
// such a lane must be zero at the end, and only there.
func TestExceptionInLadder(t *testing.T) {
	requireLanes(t)
	all := make([]digits, 1)
	d, lane := &all[0], 0
	for i := int64(-20); i <= 20 && lane < 6; i++ {
		for j := int64(-20); j <= 20 && lane < 6; j++ {
			x := new(big.Int).Add(times64(a1, i), times64(a2, j))
			y := new(big.Int).Sub(times64(a1, j), times64(b1, i))
			lane += plant(d, lane, x, y)
		}
	}
	if lane < 6 {
		t.Fatalf("%d exceptions found, want 6", lane)
	}
	for i := lane; i < Lanes; i++ {
		k := words{uint64(i)}
		d.set(i, &k, &k)
	}
	m := new(multiplier)
	m.run([]number{base.x}, []number{base.y}, all, tableOfG())
	var n number
	if zero := normal(&n, &m.acc[0].z); zero != 0x3f {
		t.Errorf("Z is zero in lanes %08b, want 00111111", zero)
	}
}

func times64(s signed, f int64) *big.Int { return new(big.Int).Mul(s.words().big(), big.NewInt(f)) }

// plant makes the digits of a lane such that (x, y), of the lattice, is what they
// come to before the last two, but for the last of k1: (x ± d, y) + (d, d2).
func plant(d *digits, lane int, x, y *big.Int) int {
	if y.Bit(0) == 1 || new(big.Int).And(y, big.NewInt(15)).Sign() != 0 || x.Bit(0) == 0 {
		return 0
	}
	for digit := int64(-15); digit <= 15; digit += 2 {
		for _, sign := range []int64{1, -1} {
			// Before the last digits: x + sign·digit, y.
			k1 := new(big.Int).Add(x, big.NewInt(sign*digit+digit))
			k2 := new(big.Int).Add(y, big.NewInt(1))
			fits := twos(k1).write(lane, &d.r1) && twos(k2).write(lane, &d.r2)
			if fits && 2*int64(d.r1[0][lane])-15 == digit && d.r2[0][lane] == 8 {
				ofG := words{5}
				writeComb(&ofG, lane, &d.g)
				return 1
			}
		}
	}
	return 0
}

// twos is v in two's complement.
func twos(v *big.Int) signed {
	w := wordsOf(new(big.Int).Mod(v, new(big.Int).Lsh(big.NewInt(1), 192)))
	return signed(w[:3])
}
