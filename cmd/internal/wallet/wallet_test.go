package wallet

import (
	"testing"

	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// What comes out decodes to what went in, and its signature recovers to the
// sender over the id.
func TestSign(t *testing.T) {
	key, err := keys.DevKey(4)
	if err != nil {
		t.Fatal(err)
	}
	w := New(key)
	raw, id, err := w.Sign(&tx.Transaction{From: w.Address, Timestamp: 5, Kind: tx.KindTransfer, Transfer: tx.Transfer{To: tx.Address{1}, Amount: 7}})
	if err != nil {
		t.Fatal(err)
	}
	var got tx.Transaction
	if !tx.Decode(raw, &got) || got.Transfer.Amount != 7 || got.Timestamp != 5 {
		t.Fatalf("decoded %+v", got)
	}
	var hasher tx.Hasher
	if want := hasher.Digest(secp.Keccak{}, &got); want != id {
		t.Errorf("id %s, want %x", id, want)
	}
	digest := [32]byte(id)
	if signer, ok := secp.Recover(&digest, &got.Signature); !ok || signer != w.Address {
		t.Errorf("recovered %s, %v", signer, ok)
	}
}

// A quote's signature recovers to its user over the digest that shows every term.
func TestSignQuote(t *testing.T) {
	key, err := keys.DevKey(4)
	if err != nil {
		t.Fatal(err)
	}
	w := New(key)
	q := tx.Quote{Lower: 1, Upper: 2, BetAmount: 3, Payout: 4, User: tx.Address(w.Address)}
	signature, err := w.SignQuote(&q)
	if err != nil {
		t.Fatal(err)
	}
	for payout, want := range map[uint64]bool{4: true, 5: false} {
		q.Payout = payout
		var hasher tx.Hasher
		digest := hasher.QuoteDigest(secp.Keccak{}, &q)
		if signer, ok := secp.Recover(&digest, &signature); (ok && signer == w.Address) != want {
			t.Errorf("payout %d: recovered %s", payout, signer)
		}
	}
}
