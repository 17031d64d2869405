package secp

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

// The first key of the development mnemonic and its well-known address.
const (
	devKey     = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
	devAddress = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
)

func signed(t testing.TB) (*Key, [32]byte, [65]byte) {
	t.Helper()
	key, err := ParseKey(devKey)
	if err != nil {
		t.Fatal(err)
	}
	digest := [32]byte(Keccak256([]byte("hello")))
	sig, err := key.Sign(&digest)
	if err != nil {
		t.Fatal(err)
	}
	return key, digest, sig
}

func TestSignRecover(t *testing.T) {
	key, digest, sig := signed(t)
	if got := key.Address().String(); got != devAddress {
		t.Fatalf("address %s", got)
	}
	if again, _ := key.Sign(&digest); again != sig {
		t.Fatal("signing is not deterministic")
	}
	for _, v := range []byte{sig[64], sig[64] - 27} {
		plain := sig
		plain[64] = v
		if who, ok := Recover(&digest, &plain); !ok || who != key.Address() {
			t.Errorf("v %d: %s %v", v, who, ok)
		}
	}
}

// Protocol section 4: v in {0, 1, 27, 28}, low s only.
func TestRecoverRefuses(t *testing.T) {
	_, digest, sig := signed(t)
	for v := range 256 {
		bad := sig
		bad[64] = byte(v)
		if _, ok := Recover(&digest, &bad); ok && v != 0 && v != 1 && v != 27 && v != 28 {
			t.Errorf("v %d is accepted", v)
		}
	}
	n := crypto.S256().Params().N
	high := sig
	new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:64])).FillBytes(high[32:64])
	high[64] = 55 - sig[64] // the other v makes it valid arithmetic again
	if _, ok := Recover(&digest, &high); ok {
		t.Error("high s is accepted")
	}
	half := new(big.Int).Rsh(n, 1)
	for _, c := range []struct {
		name string
		s    *big.Int
	}{{"s = 0", big.NewInt(0)}, {"s = n/2 + 1", new(big.Int).Add(half, big.NewInt(1))}, {"s = n", n}} {
		bad := sig
		c.s.FillBytes(bad[32:64])
		if _, ok := Recover(&digest, &bad); ok {
			t.Errorf("%s is accepted", c.name)
		}
	}
	edge := sig
	half.FillBytes(edge[32:64])
	if _, ok := Recover(&digest, &edge); !ok {
		t.Error("s = n/2 is refused")
	}
	for _, r := range []*big.Int{big.NewInt(0), n} {
		bad := sig
		r.FillBytes(bad[:32])
		if _, ok := Recover(&digest, &bad); ok {
			t.Errorf("r = %s is accepted", r)
		}
	}
}

func TestParseKeyRefusesWithoutShowingIt(t *testing.T) {
	for _, bad := range []string{"", "0x", strings.Repeat("0", 64), strings.Repeat("f", 64), devKey + "00", "zz" + devKey[4:]} {
		_, err := ParseKey(bad)
		if !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		} else if len(bad) > 10 && strings.Contains(err.Error(), bad[10:]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func FuzzRecover(f *testing.F) {
	_, digest, sig := signed(f)
	f.Add(digest[:], sig[:])
	f.Fuzz(func(t *testing.T, d, s []byte) {
		if len(d) != 32 || len(s) != 65 {
			return
		}
		who, ok := Recover((*[32]byte)(d), (*[65]byte)(s))
		if !ok {
			return
		}
		// The second opinion is go-ethereum's own rule for transactions.
		v := s[64]
		if v >= 27 {
			v -= 27
		}
		if !crypto.ValidateSignatureValues(v, new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:64]), true) {
			t.Fatalf("%x signed by %s has values that are not valid", s, who)
		}
	})
}

func BenchmarkRecover(b *testing.B) {
	_, digest, sig := signed(b)
	for b.Loop() {
		Recover(&digest, &sig)
	}
}

func BenchmarkRecoverAllCores(b *testing.B) {
	_, digest, sig := signed(b)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			Recover(&digest, &sig)
		}
	})
}
