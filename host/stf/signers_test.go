package stf

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// counting recovers the address that the digest begins with, if that is not zero.
type counting struct {
	Crypto
	recovered int
}

func (c *counting) Recover(digest *[32]byte, _ *[65]byte) (chain.Address, bool) {
	c.recovered++
	return chain.Address(digest[:20]), digest[0] != 0
}

func (c *counting) RecoverAll(signers []*Signer) {
	c.recovered += len(signers)
	for _, s := range signers {
		s.Address = chain.Address(s.Digest[:20])
		s.OK = s.Digest[0] != 0
	}
}

// signedTx is an inspected transaction whose signatures are by the addresses of which
// the first bytes are given; 0 is a signature that is not valid.
func signedTx(by ...byte) *Tx {
	tx := &Tx{}
	for _, b := range by {
		tx.Signers = append(tx.Signers, Signer{Signature: abi.Signature{Digest: chain.Hash{b}}})
	}
	return tx
}

// asked is what a session says of signatures 1 to n, which it is asked for in turn.
func asked(t *testing.T, crypto Crypto, tx *Tx, n byte) (signers []Signer) {
	t.Helper()
	s := Session{Crypto: crypto}
	s.Start("execute", abi.PhaseRead, nil, nil, tx)
	for i := range n {
		digest, sig := [32]byte{i + 1}, [65]byte{i + 1}
		a, ok, trap := s.Recover(&digest, &sig)
		if trap != nil {
			t.Fatal(trap)
		}
		signers = append(signers, Signer{Address: a, OK: ok})
	}
	return signers
}

// TestNotedSignersAreWhatRecoveryFinds: what is noted of transactions with any number
// of signatures is what a session then says of them, also when it is asked again, and
// nothing is recovered; what is noted of the transactions made from it is the same.
func TestNotedSignersAreWhatRecoveryFinds(t *testing.T) {
	all := [][]byte{{1}, {}, {2, 0, 3}, {0}, {8, 7, 6, 5, 4, 3, 2, 1}}
	var noted, again []byte
	var raws [][]byte
	var want [][]Signer
	for i, by := range all {
		tx := signedTx(by...)
		new(Recovery).Run(&counting{}, []*Tx{tx})
		noted, raws = appendSigners(noted, tx), append(raws, []byte{byte(i)})
		want = append(want, nil)
		for _, s := range tx.Signers {
			want[i] = append(want[i], Signer{Address: s.Address, OK: s.OK})
		}
	}
	txs, ok := Trust(raws, noted)
	if !ok || len(txs) != len(all) {
		t.Fatalf("%d transactions, %v", len(txs), ok)
	}
	crypto := &counting{}
	for i := range txs {
		for range 2 {
			if got := asked(t, crypto, &txs[i], byte(len(all[i]))); !reflect.DeepEqual(got, want[i]) {
				t.Errorf("transaction %d has signers %v, want %v", i, got, want[i])
			}
		}
		if txs[i].Raw[0] != byte(i) {
			t.Errorf("transaction %d is %x", i, txs[i].Raw)
		}
		again = appendSigners(again, &txs[i])
	}
	if crypto.recovered != 0 {
		t.Errorf("%d signers were recovered", crypto.recovered)
	}
	if !bytes.Equal(again, noted) {
		t.Errorf("noted is %x, then %x", noted, again)
	}
}

// TestNotedTooFew: a signature beyond those that are noted is recovered.
func TestNotedTooFew(t *testing.T) {
	txs, ok := Trust([][]byte{{1}}, appendSigners(nil, signedTx(0)))
	if !ok {
		t.Fatal("not well-formed")
	}
	crypto := &counting{}
	got := asked(t, crypto, &txs[0], 2)
	if want := []Signer{{}, {Address: chain.Address{2}, OK: true}}; crypto.recovered != 1 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d recovered, signers %v, want %v", crypto.recovered, got, want)
	}
}

// TestTrustRefuses: something was noted, but not of these transactions.
func TestTrustRefuses(t *testing.T) {
	one := appendSigners(nil, signedTx(1))
	for name, signers := range map[string][]byte{
		"nothing":          nil,
		"of fewer":         one,
		"of more":          bytes.Repeat(one, 3),
		"cut":              bytes.Repeat(one, 2)[:2*len(one)-1],
		"too long":         append(bytes.Repeat(one, 2), 0),
		"a count alone":    {0, 1},
		"neither yes, no":  append([]byte{0, 1, 2}, one[2:]...),
		"a count too high": append([]byte{0, 2}, one[1:]...),
	} {
		if txs, ok := Trust([][]byte{{1}, {2}}, signers); ok || txs != nil {
			t.Errorf("%s: %v", name, txs)
		}
	}
}

// FuzzTrust: whatever is noted, what is made of it notes the same.
func FuzzTrust(f *testing.F) {
	f.Add(2, appendSigners(appendSigners(nil, signedTx(1, 0)), signedTx()))
	f.Add(1, []byte{255, 1})
	f.Fuzz(func(t *testing.T, n int, b []byte) {
		txs, ok := Trust(make([][]byte, max(0, min(n, 100))), b)
		var again []byte
		for i := range txs {
			again = appendSigners(again, &txs[i])
		}
		if ok && !bytes.Equal(again, b) {
			t.Errorf("%x was noted, then %x", b, again)
		}
	})
}

// FuzzCutSigners: whatever is noted, cutting it ends and loses no byte.
func FuzzCutSigners(f *testing.F) {
	f.Add(appendSigners(appendSigners(nil, signedTx(1, 0)), signedTx()))
	f.Add([]byte{255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var joined []byte
		for rest := b; len(rest) > 0; {
			one, next, ok := CutSigners(rest)
			if !ok {
				return
			}
			joined, rest = append(joined, one...), next
		}
		if !bytes.Equal(joined, b) {
			t.Errorf("%x was cut to %x", b, joined)
		}
	})
}
