package wasm

import (
	"reflect"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
)

// TestInspectMany: many transactions in one call, over the point where the memory is
// put back, come to what each comes to alone; every signer is recovered.
func TestInspectMany(t *testing.T) {
	p := load(t, rfq.Wasm, Compiler)
	together, err := p.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	defer together.Close()
	alone, err := p.NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	together.(*inspector).runs = inspectionsPerImage - 20
	g := traffic.New(1, traffic.Secp())
	var many []*stf.Tx
	signers := 0
	for i := range 50 {
		raw := g.Next(1_700_000_000_000)
		if i%10 == 9 {
			raw = raw[:len(raw)/2]
		}
		many = append(many, &stf.Tx{Raw: raw})
	}
	if err := together.Inspect(many...); err != nil {
		t.Fatal(err)
	}
	for i, tx := range many {
		one := &stf.Tx{Raw: tx.Raw}
		if err := alone.Inspect(one); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(tx, one) {
			t.Errorf("transaction %d: %+v, alone %+v", i, tx, one)
		}
		for _, s := range tx.Signers {
			if s.OK {
				signers++
			}
		}
	}
	if signers < 25 {
		t.Errorf("%d signers recovered of 50 transactions", signers)
	}
}
