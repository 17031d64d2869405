package native_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// TestWalletTransactionsAreAccepted sends every transaction that an independent
// wallet library signed through a block at its time: each is attributed to its
// signer and gets a receipt under the digest that the wallet computed, whatever
// it then comes to.
func TestWalletTransactionsAreAccepted(t *testing.T) {
	var file struct {
		Vectors []struct {
			Type        string
			Digest      string
			Transaction string `json:"transaction_borsh"`
		}
	}
	b, err := os.ReadFile("../../stf-modules/rfq/tx/testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(b, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	type signed struct {
		digest string
		tx     tx.Transaction
		raw    []byte
	}
	var all []signed
	for _, v := range file.Vectors {
		raw, err := hex.DecodeString(strings.TrimPrefix(v.Transaction, "0x"))
		if err != nil || len(raw) == 0 {
			continue // a quote is signed, but is no transaction of its own
		}
		s := signed{digest: v.Digest, raw: raw}
		if !tx.Decode(raw, &s.tx) {
			t.Fatalf("%s: does not decode", v.Digest)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b signed) int { return int(a.tx.Timestamp) - int(b.tx.Timestamp) })
	if len(all) < 50 {
		t.Fatalf("%d transactions", len(all))
	}
	p := params.Default()
	program, err := native.New(chain.Hash{1}, rfq.New, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	exec, err := stf.NewExecutor(program)
	if err != nil {
		t.Fatal(err)
	}
	ov := state.NewOverlay(nil)
	g := &chain.Genesis{ChainID: 1, IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3000, ModuleHash: chain.Hash{1}, Params: p.Append(nil)}
	if _, err := exec.Genesis(g, ov); err != nil {
		t.Fatal(err)
	}
	in, err := program.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		open, err := exec.Begin(ov, uint64(i+1), s.tx.Timestamp+uint64(i), chain.OracleSnapshot{})
		if err != nil {
			t.Fatal(err)
		}
		x := &stf.Tx{Raw: s.raw}
		if err := in.Inspect(x); err != nil {
			t.Fatal(err)
		}
		receipt, refusal, err := open.Submit(x)
		if err != nil || refusal != nil {
			t.Fatalf("%s, kind %d: refused: %v %v", s.digest, s.tx.Kind, refusal, err)
		}
		if receipt.ID.String() != s.digest {
			t.Fatalf("id %s, the wallet's digest is %s", receipt.ID, s.digest)
		}
		if _, err := open.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
