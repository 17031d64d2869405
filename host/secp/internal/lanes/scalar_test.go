package lanes

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// scalars are numbers below n at its ends, and between.
func scalars(rng *rand.Rand, each func(k words)) {
	for _, d := range []int64{0, 1, 2, 3, 16, 255, 256} {
		each(wordsOf(big.NewInt(d)))
		if d > 0 {
			each(wordsOf(new(big.Int).Sub(group, big.NewInt(d))))
		}
	}
	for bit := range uint(255) { // their neighbours decide carries and roundings
		v := new(big.Int).Lsh(big.NewInt(1), bit)
		each(wordsOf(v))
		each(wordsOf(v.Sub(v, big.NewInt(1))))
	}
	for _, v := range []words{a1.words(), a2.words(), b1.words()} {
		each(v)
		each(wordsOf(new(big.Int).Sub(group, v.big())))
	}
	each(wordsOf(lambda))
	for range 3000 {
		k := words{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}
		each(wordsOf(new(big.Int).Mod(k.big(), group)))
	}
}

func (s signed) words() words { return words{s[0], s[1], s[2], 0} }

func TestMontgomery(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	unit := new(big.Int).ModInverse(radix.big(), group)
	all := words{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	scalars(rng, func(b words) {
		for _, a := range []words{b, {}, all, {rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}} {
			want := new(big.Int).Mul(a.big(), b.big())
			want.Mul(want, unit).Mod(want, group)
			if got := montgomery(&a, &b); got.big().Cmp(want) != 0 {
				t.Fatalf("%x·%x: %x, want %x", a.big(), b.big(), got.big(), want)
			}
		}
	})
}

func TestInverse(t *testing.T) {
	scalars(rand.New(rand.NewPCG(2, 2)), func(a words) {
		if a.isZero() {
			return
		}
		if in := inverse(&a); in.big().Cmp(new(big.Int).ModInverse(a.big(), group)) != 0 {
			t.Fatalf("1/%x is not %x", a.big(), in.big())
		}
	})
}

// TestDigits puts the digits together again.
func TestDigits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	scalars(rng, func(k words) {
		lane := rng.IntN(Lanes)
		var d digits
		if !d.set(lane, &k, &k) {
			t.Fatalf("%x has too many digits", k.big())
		}
		ofR := new(big.Int)
		for w := multipleWindows - 1; w >= 0; w-- {
			ofR.Lsh(ofR, multipleBits)
			ofR.Add(ofR, new(big.Int).Mul(lambda, big.NewInt(2*int64(d.r2[w][lane])-15)))
			ofR.Add(ofR, big.NewInt(2*int64(d.r1[w][lane])-15))
		}
		ofG := new(big.Int)
		for w := combWindows - 1; w >= 0; w-- {
			ofG.Lsh(ofG, combBits).Add(ofG, big.NewInt(2*int64(d.g[w][lane])-255))
		}
		for what, v := range map[string]*big.Int{"R": ofR, "G": ofG} {
			if v.Sub(v, k.big()).Mod(v, group).Sign() != 0 {
				t.Fatalf("digits for %s of %x are off by %x", what, k.big(), v)
			}
		}
	})
}

// TestTooManyDigits: what does not fit is noticed.
func TestTooManyDigits(t *testing.T) {
	var d digits
	const top = multipleWindows*multipleBits - 128
	for _, c := range []struct {
		k    signed
		fits bool
	}{
		{signed{1}, true},
		{signed{^uint64(0), ^uint64(0), 1<<top - 1}, true},         // 2^132 - 1
		{signed{1, 0, 1 << top}, false},                            // 2^132 + 1
		{signed{1, 0, ^uint64(1<<top - 1)}, true},                  // 1 - 2^132
		{signed{^uint64(0), ^uint64(0), ^uint64(1 << top)}, false}, // below
	} {
		if fits := c.k.write(0, &d.r1); fits != c.fits {
			t.Errorf("%x: fits %t", c.k, fits)
		}
	}
}
