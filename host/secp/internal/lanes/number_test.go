package lanes

import (
	"encoding/hex"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

// requireLanes skips where there is nothing to test.
func requireLanes(t testing.TB) {
	t.Helper()
	if !Available() {
		t.Skip("this processor has no AVX-512 IFMA: the lanes are never used on it")
	}
}

func fromHex(s string) *big.Int {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return new(big.Int).SetBytes(b)
}

var (
	prime  = crypto.S256().Params().P
	group  = crypto.S256().Params().N
	lambda = fromHex("5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72")
)

// big is lane i of n as it stands, perhaps above p.
func (n *number) big(i int) *big.Int {
	v := new(big.Int)
	for k := len(n) - 1; k >= 0; k-- {
		v.Lsh(v, limbBits).Add(v, new(big.Int).SetUint64(n[k][i]))
	}
	return v
}

func (w words) big() *big.Int {
	v := new(big.Int)
	for k := len(w) - 1; k >= 0; k-- {
		v.Lsh(v, 64).Add(v, new(big.Int).SetUint64(w[k]))
	}
	return v
}

// wordsOf is v, which must be below 2^256.
func wordsOf(v *big.Int) words { return parse(v.FillBytes(make([]byte, 32))) }

// topLimb is the largest that the bounds of package gen allow an argument.
const topLimb = 1<<51 - 1

// extreme fills n with limbs at the ends of what they may be, and between.
func (n *number) extreme(rng *rand.Rand) {
	for k := range n {
		largest := uint64(1<<limbBits - 1)
		if k == 4 {
			largest = topLimb
		}
		for i := range n[k] {
			n[k][i] = []uint64{0, 1, largest - 1, largest, rng.Uint64() & largest}[rng.IntN(5)]
		}
	}
}

// numbers are arguments with all limbs at their ends, then mixed ones.
func numbers(rng *rand.Rand, each func(a, b *number)) {
	var zero, full, a, b number
	for k := range full {
		for i := range full[k] {
			full[k][i] = 1<<limbBits - 1
		}
	}
	for i := range full[4] {
		full[4][i] = topLimb
	}
	for _, pair := range [][2]number{{zero, zero}, {zero, full}, {full, zero}, {full, full}, {one, full}} {
		each(&pair[0], &pair[1])
	}
	for range 2000 {
		a.extreme(rng)
		b.extreme(rng)
		each(&a, &b)
	}
}

// same fails unless lane i of n is want modulo p, with limbs that may be arguments.
func (n *number) same(t *testing.T, what string, i int, want *big.Int) {
	t.Helper()
	for k := range n {
		if n[k][i]>>limbBits != 0 || n[4][i] > topLimb {
			t.Fatalf("%s, lane %d: limb %d is %#x", what, i, k, n[k][i])
		}
	}
	if d := new(big.Int).Sub(n.big(i), want); d.Mod(d, prime).Sign() != 0 {
		t.Fatalf("%s, lane %d: %x, want %x modulo p", what, i, n.big(i), want)
	}
}

func times(factors ...*big.Int) *big.Int {
	v := big.NewInt(1)
	for _, f := range factors {
		v.Mul(v, f).Mod(v, prime)
	}
	return v
}

func TestFieldAgainstBig(t *testing.T) {
	requireLanes(t)
	numbers(rand.New(rand.NewPCG(1, 1)), func(a, b *number) {
		var product, cubed number
		mul(&product, a, b)
		cube(&cubed, a)
		sa, sb := *a, *b
		square(&sa, &sb, 3)
		aliased := *a
		mul(&aliased, &aliased, &aliased)
		for i := range Lanes {
			x, y := a.big(i), b.big(i)
			product.same(t, "a·b", i, times(x, y))
			aliased.same(t, "a·a", i, times(x, x))
			sa.same(t, "a^8", i, new(big.Int).Exp(x, big.NewInt(8), prime))
			sb.same(t, "b^8", i, new(big.Int).Exp(y, big.NewInt(8), prime))
			cubed.same(t, "a³ + 7", i, new(big.Int).Add(times(x, x, x), big.NewInt(7)))
		}
	})
}

// TestNormal has what is next to the multiples of p, too.
func TestNormal(t *testing.T) {
	requireLanes(t)
	check := func(a *number) {
		var n number
		zero := normal(&n, a)
		for i := range Lanes {
			want := new(big.Int).Mod(a.big(i), prime)
			if n.big(i).Cmp(want) != 0 || (want.Sign() == 0) != (zero>>i&1 == 1) {
				t.Fatalf("%x becomes %x, zero %t", a.big(i), n.big(i), zero>>i&1 == 1)
			}
		}
	}
	var a number
	for multiple := range int64(8) {
		for d := int64(-4); d <= 4; d++ {
			v := new(big.Int).Mul(prime, big.NewInt(multiple))
			if v.Add(v, big.NewInt(d)).Sign() < 0 {
				continue
			}
			i := int(multiple) % Lanes
			for k := range a {
				a[k][i] = new(big.Int).Rsh(v, uint(limbBits*k)).Uint64() & (1<<limbBits - 1)
			}
			check(&a)
		}
	}
	numbers(rand.New(rand.NewPCG(2, 2)), func(a, _ *number) { check(a) })
}

func TestChains(t *testing.T) {
	requireLanes(t)
	rng, c := rand.New(rand.NewPCG(3, 3)), new(chains)
	for range 20 {
		var x pair
		x[0].extreme(rng)
		x[1].extreme(rng)
		inverse, root := x, x
		c.invert(&inverse)
		c.root(&root)
		for half := range x {
			for i := range Lanes {
				v := x[half].big(i)
				inverse[half].same(t, "1/x", i, new(big.Int).Exp(v, new(big.Int).Sub(prime, big.NewInt(2)), prime))
				quarter := new(big.Int).Add(prime, big.NewInt(1))
				root[half].same(t, "√x", i, new(big.Int).Exp(v, quarter.Rsh(quarter, 2), prime))
			}
		}
	}
}

// TestRoot: squares and others, and both parities, in the same vector.
func TestRoot(t *testing.T) {
	requireLanes(t)
	rng := rand.New(rand.NewPCG(4, 4))
	for range 200 {
		var y, square number
		var odd [Lanes]uint64
		y.extreme(rng)
		mul(&square, &y, &y)
		wrong := uint64(rng.Uint32() & 0xff)
		before := y
		for i := range Lanes {
			odd[i] = rng.Uint64() & 1
			if wrong>>i&1 == 1 {
				square[0][i] ^= 1
			}
		}
		var s scratch
		if found := root(&y, &square, &odd, &s); found != ^wrong&0xff {
			t.Fatalf("found %08b, want all but %08b", found, wrong)
		}
		for i := range Lanes {
			v := new(big.Int).Mod(before.big(i), prime)
			if v.Sign() != 0 && v.Bit(0) != uint(odd[i]) {
				v.Sub(prime, v)
			}
			y.same(t, "y", i, v)
		}
	}
}

func TestWords(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	var n number
	for range 1000 {
		w := words{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}
		i := rng.IntN(Lanes)
		n.set(i, &w)
		if n.get(i) != w || n.big(i).Cmp(w.big()) != 0 {
			t.Fatalf("%x is read back as %x", w, n.get(i))
		}
	}
}

func TestKeccak(t *testing.T) {
	requireLanes(t)
	rng := rand.New(rand.NewPCG(6, 6))
	for range 200 {
		var x, y number
		var messages [Lanes][]byte
		for i := range Lanes {
			v, w := words{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}, words{0, rng.Uint64(), 0, ^uint64(0)}
			x.set(i, &v)
			y.set(i, &w)
			messages[i] = append(v.big().FillBytes(make([]byte, 32)), w.big().FillBytes(make([]byte, 32))...)
		}
		var sum [4][Lanes]uint64
		keccak(&sum, &x, &y)
		for i, m := range messages {
			for k, b := range crypto.Keccak256(m) {
				if byte(sum[k/8][i]>>(k%8*8)) != b {
					t.Fatalf("lane %d, byte %d: want %x", i, k, b)
				}
			}
		}
	}
}
