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

// TestKnownSignersAreWhatRecoveryFinds: what is noted of transactions with any number
// of signatures gives the same signers as recovering them, and nothing is recovered.
func TestKnownSignersAreWhatRecoveryFinds(t *testing.T) {
	all := [][]byte{{1}, {}, {2, 0, 3}, {0}, {8, 7, 6, 5, 4, 3, 2, 1}}
	var noted []byte
	var want [][]Signer
	for _, by := range all {
		tx := signedTx(by...)
		new(Recovery).Run(&counting{}, []*Tx{tx})
		noted, want = appendSigners(noted, tx), append(want, tx.Signers)
	}
	crypto := &counting{}
	for i, by := range all {
		tx, ok := signedTx(by...), false
		if tx.Known, noted, ok = CutSigners(noted); !ok {
			t.Fatalf("nothing is noted of transaction %d", i)
		}
		new(Recovery).Run(crypto, []*Tx{tx})
		if !reflect.DeepEqual(tx.Signers, want[i]) {
			t.Errorf("transaction %d has signers %v, want %v", i, tx.Signers, want[i])
		}
	}
	if crypto.recovered != 0 || len(noted) != 0 {
		t.Errorf("%d signers were recovered, %d bytes are left", crypto.recovered, len(noted))
	}
}

// TestWhatDoesNotFitIsRecovered: something was noted, but not of these signatures.
func TestWhatDoesNotFitIsRecovered(t *testing.T) {
	one, two := appendSigners(nil, signedTx(1)), appendSigners(nil, signedTx(1, 2))
	for name, known := range map[string][]byte{
		"nothing":         nil,
		"no signature":    {0},
		"another number":  two,
		"cut":             one[:len(one)-1],
		"too long":        append(bytes.Clone(one), 0),
		"a count alone":   {1},
		"neither yes, no": append([]byte{1, 2}, one[2:]...),
	} {
		tx, crypto := signedTx(9), &counting{}
		tx.Known = known
		new(Recovery).Run(crypto, []*Tx{tx})
		if crypto.recovered != 1 || !tx.Signers[0].OK || tx.Signers[0].Address != (chain.Address{9}) {
			t.Errorf("%s: %d recovered, signer %v", name, crypto.recovered, tx.Signers[0])
		}
	}
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
