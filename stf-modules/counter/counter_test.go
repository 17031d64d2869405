package counter_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/counter"
)

// TestCounter is the story of TUTORIAL.md: what each transaction comes to, and
// what the counter is afterwards.
func TestCounter(t *testing.T) {
	p, err := native.New(chain.Hash{}, counter.New, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	exec, err := stf.NewExecutor(p)
	if err != nil {
		t.Fatal(err)
	}
	genesis := &chain.Genesis{}
	ov := state.NewOverlay(nil)
	if _, err := exec.Genesis(genesis, ov); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.Genesis(&chain.Genesis{Params: []byte{1}}, ov); err == nil {
		t.Error("parameters were taken")
	}
	open, err := exec.Begin(ov, 1, 1, chain.OracleSnapshot{})
	if err != nil {
		t.Fatal(err)
	}
	inspector, err := p.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		tx   counter.Tx
		want string
	}{
		{counter.Tx{Counter: 7, Sequence: 0, Amount: 5}, `{"counter":"7","value":"5","sequence":1}`},
		{counter.Tx{Counter: 7, Sequence: 0, Amount: 5}, "InvalidSequence: sequence is 0, counter expects 1"},
		{counter.Tx{Counter: 7, Sequence: 2, Amount: 5}, "InvalidSequence: sequence is 2, counter expects 1"},
		{counter.Tx{Counter: 7, Sequence: 1, Amount: ^uint64(0) - 5}, `{"counter":"7","value":"18446744073709551615","sequence":2}`},
		{counter.Tx{Counter: 7, Sequence: 2, Amount: 1}, "Overflow counter is 18446744073709551615, adding 1 does not fit 64 bits"},
		{counter.Tx{Counter: 7, Sequence: 2, Amount: 0}, "InvalidSequence: sequence is 2, counter expects 3"},
		{counter.Tx{Counter: 7, Sequence: 3, Amount: 0}, `{"counter":"7","value":"18446744073709551615","sequence":4}`},
		{counter.Tx{Counter: 8, Sequence: 0, Amount: 1}, `{"counter":"8","value":"1","sequence":1}`},
	} {
		tx := &stf.Tx{Raw: c.tx.Append(nil)}
		if err := inspector.Inspect(tx); err != nil {
			t.Fatal(err)
		}
		if got := submit(t, p, open, tx, c.tx.Counter); got != c.want {
			t.Errorf("transaction %d: %s, want %s", i, got, c.want)
		}
	}
	if open.Txs() != 5 {
		t.Errorf("%d transactions in the block, want 5", open.Txs())
	}
}

// submit says what came of a transaction: the refusal, the failure, or the
// counter.
func submit(t *testing.T, p stf.Program, open *stf.Open, tx *stf.Tx, number uint64) string {
	receipt, refusal, err := open.Submit(tx)
	if err != nil {
		t.Fatal(err)
	}
	if refusal != nil {
		return refusal.Error()
	}
	if receipt.ID != sha256.Sum256(tx.Raw) {
		t.Errorf("id %s is not the hash of the bytes", receipt.ID)
	}
	if receipt.Code != 0 {
		return p.Schema().ErrorName(receipt.Code) + " " + receipt.Detail
	}
	typ, fields := p.Schema().Event(receipt.Events[0])
	if typ != "added" || fmt.Sprint(fields[0].Value) != fmt.Sprint(number) {
		t.Errorf("event %s %v", typ, fields)
	}
	out, err := p.Query(open.View(), open.Context(), abi.AppendU64(nil, number))
	if err != nil || out.Code != 0 {
		t.Fatal(out, err)
	}
	return string(out.Output)
}

func TestMalformed(t *testing.T) {
	p, err := native.New(chain.Hash{}, counter.New, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	i, err := p.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 23, 25} {
		tx := &stf.Tx{Raw: make([]byte, n)}
		if err := i.Inspect(tx); err != nil || tx.Refusal == nil || tx.Refusal.Name != "MalformedTransaction" {
			t.Errorf("%d bytes: %v %v", n, tx.Refusal, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add((&counter.Tx{Counter: 1, Sequence: 2, Amount: 3}).Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, ok := counter.Decode(b); ok && string(v.Append(nil)) != string(b) {
			t.Fatalf("%x decodes to %+v", b, v)
		}
	})
}
