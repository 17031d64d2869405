package lanes

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/ethereum/go-ethereum/crypto"
)

var onHeap *Batch

// TestAligned: the vectors of a Batch on the heap do not lie across cache lines.
func TestAligned(t *testing.T) {
	onHeap = new(Batch)
	if at := uintptr(unsafe.Pointer(onHeap)) % 64; at != 0 {
		t.Errorf("a Batch begins %d bytes into a cache line", at)
	}
	b := onHeap
	for name, offset := range map[string]uintptr{"m": unsafe.Offsetof(b.m), "norm": unsafe.Offsetof(b.norm), "t": unsafe.Offsetof(b.t)} {
		if offset%64 != 0 {
			t.Errorf("%s begins %d bytes into a cache line", name, offset%64)
		}
	}
}

// recovered is a job beside what go-ethereum says.
type recovered struct {
	digest [32]byte
	rs     [64]byte
	odd    bool
	who    []byte // nil: not a signature
}

func newRecovered(z, r, s *big.Int, odd bool) recovered {
	var j recovered
	z.FillBytes(j.digest[:])
	r.FillBytes(j.rs[:32])
	s.FillBytes(j.rs[32:])
	j.odd = odd
	j.ask()
	return j
}

func (j *recovered) ask() {
	v := byte(0)
	if j.odd {
		v = 1
	}
	if key, err := crypto.Ecrecover(j.digest[:], append(bytes.Clone(j.rs[:]), v)); err == nil {
		j.who = crypto.Keccak256(key[1:])[12:]
	}
}

// check recovers and compares. It returns how many jobs the lanes were unsure of.
func check(t *testing.T, b *Batch, all []recovered) (unsure int) {
	t.Helper()
	jobs := make([]Job, len(all))
	for i := range all {
		jobs[i] = Job{Digest: &all[i].digest, RS: &all[i].rs, Odd: all[i].odd}
	}
	b.Recover(jobs)
	for i, j := range jobs {
		want := Invalid
		if all[i].who != nil {
			want = Valid
		}
		switch {
		case j.Verdict == Unsure:
			unsure++
		case j.Verdict != want || want == Valid && !bytes.Equal(j.Address[:], all[i].who):
			t.Fatalf("job %d of %d, digest %x, r ‖ s %x, odd %t: verdict %d, %x, want %x",
				i, len(jobs), all[i].digest, all[i].rs, all[i].odd, j.Verdict, j.Address, all[i].who)
		}
	}
	return unsure
}

// random is a job with values of all kinds; most are signatures of nobody known.
func random(rng *rand.Rand) recovered {
	v := func() *big.Int {
		w := words{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}
		return w.big()
	}
	return newRecovered(v(), v(), v(), rng.IntN(2) == 1)
}

// TestRecoverAgainstReference has batches of every size; half of all r are no
// abscissa of a point.
func TestRecoverAgainstReference(t *testing.T) {
	requireLanes(t)
	rng, b := rand.New(rand.NewPCG(1, 1)), new(Batch)
	valid := 0
	for n := range 2*MaxJobs + 2 {
		all := make([]recovered, n)
		for i := range all {
			all[i] = random(rng)
			if all[i].who != nil {
				valid++
			}
		}
		if unsure := check(t, b, all); unsure > 0 {
			t.Errorf("%d jobs of %d are unsure", unsure, n)
		}
	}
	if valid < 500 {
		t.Errorf("only %d signatures were valid", valid)
	}
}

// edges are values at the ends of ranges.
func edges() (all []*big.Int) {
	add := func(v *big.Int, d int64) { all = append(all, new(big.Int).Add(v, big.NewInt(d))) }
	for _, d := range []int64{0, 1, 2, 3, 4, 5} { // 1, 2, 3 and 4 are abscissas, 5 is none
		add(new(big.Int), d)
	}
	for d := int64(-2); d <= 2; d++ {
		add(group, d)
		add(new(big.Int).Rsh(group, 1), d)
	}
	add(prime, -1)
	add(prime, 0)
	add(new(big.Int).Lsh(big.NewInt(1), 256), -1)
	add(lambda, 0)
	return all
}

// TestEdges combines them in every position, among jobs that are valid.
func TestEdges(t *testing.T) {
	requireLanes(t)
	rng, b := rand.New(rand.NewPCG(2, 2)), new(Batch)
	var beside []recovered
	for len(beside) < Lanes {
		if j := random(rng); j.who != nil {
			beside = append(beside, j)
		}
	}
	at, values := 0, edges()
	for _, r := range values {
		for _, s := range values {
			z := values[at%len(values)]
			all := bytes8(beside)
			all[at%Lanes] = newRecovered(z, r, s, at%3 == 0)
			check(t, b, all)
			at++
		}
	}
	for _, z := range values {
		all := bytes8(beside)
		all[at%Lanes] = newRecovered(z, big.NewInt(1), big.NewInt(1), at%2 == 0)
		check(t, b, all)
		at++
	}
}

func bytes8(all []recovered) []recovered { return append([]recovered(nil), all...) }

// exceptional makes a signature for which the sum of what is added before digit w of
// G's factor u is that digit's point, or its negative.
func exceptional(rng *rand.Rand, w int, same bool) recovered {
	for {
		u := new(big.Int).Mod(words{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}.big(), group)
		nonce := new(big.Int).Mod(words{rng.Uint64(), rng.Uint64(), rng.Uint64(), 1}.big(), group)
		var d [combWindows][Lanes]uint8
		factor := wordsOf(u)
		writeComb(&factor, 0, &d)
		point := func(i int) *big.Int {
			return new(big.Int).Lsh(big.NewInt(2*int64(d[i][0])-255), uint(combBits*i))
		}
		sum := point(w) // what u2·R and the digits before w shall come to
		if !same {
			sum.Neg(sum)
		}
		for i := range w {
			sum.Sub(sum, point(i))
		}
		r, y := multipleOfG(nonce)
		r.Mod(r, group)
		s := new(big.Int).ModInverse(nonce, group) // u2 = sum / nonce, s = u2·r
		s.Mul(s, sum).Mul(s, r).Mod(s, group)
		z := new(big.Int).Mul(u, r) // u1 = -z / r
		z.Neg(z).Mod(z, group)
		if s.Sign() != 0 && s.Cmp(new(big.Int).Rsh(group, 1)) <= 0 {
			return newRecovered(z, r, s, y.Bit(0) == 1)
		}
	}
}

// TestExceptions: every addition of the comb as a doubling and as a sum of zero, in
// every lane, beside ones that are valid. The lanes must say that they are unsure of
// that one, and only of that one.
func TestExceptions(t *testing.T) {
	requireLanes(t)
	rng, b := rand.New(rand.NewPCG(3, 3)), new(Batch)
	for w := range combWindows {
		for _, same := range []bool{true, false} {
			all := make([]recovered, Lanes+3)
			for i := range all {
				all[i] = random(rng)
			}
			at := w % Lanes
			all[at] = exceptional(rng, w, same)
			if infinity := w == combWindows-1 && !same; infinity != (all[at].who == nil) {
				t.Fatalf("digit %d, same %t: the reference says %x", w, same, all[at].who)
			}
			if unsure := check(t, b, all); unsure != 1 {
				t.Errorf("digit %d, same %t: %d jobs are unsure, want 1", w, same, unsure)
			}
		}
	}
	// A factor of zero: what is added of G comes to -n·G.
	all := []recovered{newRecovered(new(big.Int), big.NewInt(1), big.NewInt(1), true), newRecovered(group, big.NewInt(2), big.NewInt(3), true)}
	check(t, b, all)
}

// TestAllExceptional: a batch of nothing else, and nothing at all.
func TestAllExceptional(t *testing.T) {
	requireLanes(t)
	rng, b := rand.New(rand.NewPCG(4, 4)), new(Batch)
	all := make([]recovered, MaxJobs)
	for i := range all {
		all[i] = exceptional(rng, i%combWindows, i%2 == 0)
	}
	if unsure := check(t, b, all); unsure != len(all) {
		t.Errorf("%d of %d jobs are unsure", unsure, len(all))
	}
	check(t, b, nil)
	zero := newRecovered(new(big.Int), new(big.Int), new(big.Int), false)
	check(t, b, []recovered{zero, zero, zero})
}

var exhaustive = flag.Int("signatures", 1000, "signatures of TestMany, made and recovered")

// TestMany signs with many keys.
func TestMany(t *testing.T) {
	requireLanes(t)
	rng, b := rand.New(rand.NewPCG(5, 5)), new(Batch)
	for done := 0; done < *exhaustive; done += MaxJobs {
		key, err := crypto.ToECDSA(crypto.Keccak256(binary.BigEndian.AppendUint64(nil, rng.Uint64())))
		if err != nil {
			t.Fatal(err)
		}
		all := make([]recovered, MaxJobs)
		for i := range all {
			j := &all[i]
			copy(j.digest[:], crypto.Keccak256(fmt.Append(nil, done, i)))
			sig, err := crypto.Sign(j.digest[:], key)
			if err != nil {
				t.Fatal(err)
			}
			copy(j.rs[:], sig)
			j.odd = sig[64] == 1
			j.who = crypto.PubkeyToAddress(key.PublicKey).Bytes()
		}
		check(t, b, all)
	}
}
