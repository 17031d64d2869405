package secp

import (
	"bytes"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/kaizenchain/kaizen/host/secp/internal/lanes"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

var signatures = flag.Int("signatures", 2000, "signatures of TestRecoverAllAgrees, each way")

// bothWays runs a test with the lanes, if this processor has them, and without.
func bothWays(t *testing.T, test func(t *testing.T)) {
	had := wide
	t.Cleanup(func() { wide = had })
	for _, way := range []bool{had, false} {
		wide = way
		t.Run(fmt.Sprintf("wide=%t", way), test)
	}
}

// kinds is how many kinds of signature there are, most of them wrong.
const (
	kinds       = 14
	exceptional = 12 // the first of those that the lanes leave to the reference
)

// maker makes signatures of all kinds.
type maker struct {
	rng *rand.Rand
	key *Key
}

func newMaker(t testing.TB, seed uint64) *maker {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, seed))
	scalar := make([]byte, 32)
	for i := range scalar {
		scalar[i] = byte(rng.Uint32())
	}
	key, err := NewKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	return &maker{rng, key}
}

func (m *maker) signer(t testing.TB, kind int) *stf.Signer {
	t.Helper()
	s := new(stf.Signer)
	for i := range s.Digest {
		s.Digest[i] = byte(m.rng.Uint32())
	}
	sig, err := m.key.Sign(&s.Digest)
	if err != nil {
		t.Fatal(err)
	}
	s.Sig = sig
	s.Address[0], s.OK = 0xee, kind%2 == 0 // what was there before does not matter
	m.spoil(s, kind)
	return s
}

// spoil makes one of the kinds of a good signature.
func (m *maker) spoil(s *stf.Signer, kind int) {
	n := crypto.S256().Params().N
	switch kind {
	case 1:
		s.Sig[64] -= 27
	case 2:
		s.Sig[64] = byte(m.rng.Uint32())
	case 3: // high s, with the v that goes with it
		v := new(big.Int).SetBytes(s.Sig[32:64])
		v.Sub(n, v).FillBytes(s.Sig[32:64])
		s.Sig[64] = 55 - s.Sig[64]
	case 4:
		s.Sig[m.rng.IntN(32)] ^= 1 << m.rng.IntN(8) // half of these are no abscissa
	case 5:
		s.Sig[32+m.rng.IntN(32)] ^= 1 << m.rng.IntN(8)
	case 6:
		s.Digest[m.rng.IntN(32)] ^= 1 << m.rng.IntN(8)
	case 7:
		clear(s.Sig[:32])
	case 8:
		clear(s.Sig[32:64])
	case 9:
		n.FillBytes(s.Sig[:32])
	case 10:
		clear(s.Digest[:])
	case 11:
		n.FillBytes(s.Digest[:])
	case exceptional:
		m.exceptional(s, new(big.Int))
	case exceptional + 1:
		m.exceptional(s, new(big.Int).Lsh(big.NewInt(1), 249))
	}
}

// exceptional makes a signature by the key q, with z = -r. If q is 0, that is no key,
// and if q is 2·256^31, the lanes add 256^31·G to itself at the end: either way one of
// their formulas does not apply.
func (m *maker) exceptional(s *stf.Signer, q *big.Int) {
	n := crypto.S256().Params().N
	nonce, v := new(big.Int).SetUint64(m.rng.Uint64()), new(big.Int)
	for {
		nonce.Add(nonce, big.NewInt(1))
		r, y := crypto.S256().ScalarBaseMult(nonce.Bytes())
		v.Sub(q, big.NewInt(1)).Mul(v, r).Mul(v, new(big.Int).ModInverse(nonce, n)).Mod(v, n) // s: q = (s·nonce - z)/r
		if v.Cmp(new(big.Int).Rsh(n, 1)) > 0 || r.Cmp(n) >= 0 {
			continue
		}
		r.FillBytes(s.Sig[:32])
		v.FillBytes(s.Sig[32:64])
		s.Sig[64] = 27 + byte(y.Bit(0))
		v.Sub(n, r).FillBytes(s.Digest[:])
		return
	}
}

// TestExceptional: the exceptional signatures are what they are meant to be.
func TestExceptional(t *testing.T) {
	m, b := newMaker(t, 6), new(batch)
	for kind, valid := range map[int]bool{exceptional: false, exceptional + 1: true} {
		s := m.signer(t, kind)
		if _, ok := reference(s); ok != valid {
			t.Errorf("kind %d: valid is %t", kind, ok)
		}
		if !lanes.Available() {
			continue
		}
		b.jobs[0] = lanes.Job{Digest: &s.Digest, RS: (*[64]byte)(s.Sig[:64]), Odd: s.Sig[64] == 28}
		if b.lanes.Recover(b.jobs[:1]); b.jobs[0].Verdict != lanes.Unsure {
			t.Errorf("kind %d: the lanes are sure", kind)
		}
	}
}

// agree recovers all at once and compares with go-ethereum, under the rules of
// protocol section 4.
func agree(t *testing.T, all []*stf.Signer) {
	t.Helper()
	want := make([]abi.Signature, len(all))
	for i, s := range all {
		want[i] = s.Signature
	}
	RecoverAll(all)
	for i, s := range all {
		if s.Signature != want[i] {
			t.Fatalf("signature %d of %d was changed", i, len(all))
		}
		who, ok := reference(s)
		if s.OK != ok || !bytes.Equal(s.Address[:], who) {
			t.Fatalf("signature %d of %d: digest %x, signature %x: %s %t, want %x %t", i, len(all), s.Digest, s.Sig, s.Address, s.OK, who, ok)
		}
	}
}

// reference is written without a line of this package.
func reference(s *stf.Signer) (who []byte, ok bool) {
	who = make([]byte, 20)
	sig := bytes.Clone(s.Sig[:])
	switch sig[64] {
	case 27, 28:
		sig[64] -= 27
	case 0, 1:
	default:
		return who, false
	}
	half := new(big.Int).Rsh(crypto.S256().Params().N, 1)
	if new(big.Int).SetBytes(sig[32:64]).Cmp(half) > 0 {
		return who, false
	}
	key, err := crypto.Ecrecover(s.Digest[:], sig)
	if err != nil {
		return who, false
	}
	return crypto.Keccak256(key[1:])[12:], true
}

// TestRecoverAllAgrees: numbers of signatures from none to more than a batch, of all
// kinds.
func TestRecoverAllAgrees(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newMaker(t, 1)
		for done, n := 0, 0; done < *signatures; done, n = done+n, (n+1)%140 {
			all := make([]*stf.Signer, n)
			for i := range all {
				kind := 0
				if m.rng.IntN(3) == 0 {
					kind = m.rng.IntN(kinds)
				}
				all[i] = m.signer(t, kind)
			}
			agree(t, all)
		}
	})
}

// TestEveryPosition: each kind in every lane, beside good ones and beside others.
func TestEveryPosition(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		m := newMaker(t, 2)
		for kind := range kinds {
			for at := range 8 {
				all := make([]*stf.Signer, 8)
				for i := range all {
					all[i] = m.signer(t, []int{0, i}[at%2])
				}
				all[at] = m.signer(t, kind)
				agree(t, all)
			}
		}
	})
}

// FuzzRecoverAll puts a signature between good ones.
func FuzzRecoverAll(f *testing.F) {
	m := newMaker(f, 3)
	for kind := range kinds {
		s := m.signer(f, kind)
		f.Add(s.Digest[:], s.Sig[:], uint8(kind))
	}
	f.Fuzz(func(t *testing.T, digest, sig []byte, at uint8) {
		if len(digest) != 32 || len(sig) != 65 {
			return
		}
		m := newMaker(t, 4)
		all := []*stf.Signer{m.signer(t, 0), m.signer(t, 0), m.signer(t, 0)}
		all[at%3].Digest, all[at%3].Sig = [32]byte(digest), [65]byte(sig)
		agree(t, all)
	})
}

func goodSigners(b *testing.B, n int) []*stf.Signer {
	m, all := newMaker(b, 5), make([]*stf.Signer, n)
	for i := range all {
		all[i] = m.signer(b, 0)
	}
	return all
}

// BenchmarkRecoverAll compares one core's lanes with the reference, per signature.
func BenchmarkRecoverAll(b *testing.B) {
	all := goodSigners(b, 64)
	b.Run("reference", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			RecoverReference(&all[i%64].Digest, &all[i%64].Sig)
		}
	})
	for _, n := range []int{8, 16, 32, 64} {
		b.Run(fmt.Sprintf("lanes/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				RecoverAll(all[:n])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signature")
		})
	}
}

// BenchmarkFew is where minLanes comes from.
func BenchmarkFew(b *testing.B) {
	all, batch := goodSigners(b, 4), new(batch)
	for n := 1; n <= 4; n++ {
		b.Run(fmt.Sprint(n, "/lanes"), func(b *testing.B) {
			if !wide {
				b.Skip("this processor has no AVX-512 IFMA")
			}
			for b.Loop() {
				batch.recover(all[:n])
			}
		})
		b.Run(fmt.Sprint(n, "/reference"), func(b *testing.B) {
			for b.Loop() {
				for _, s := range all[:n] {
					RecoverReference(&s.Digest, &s.Sig)
				}
			}
		})
	}
}
