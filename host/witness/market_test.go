package witness_test

import (
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
)

// TestMarket: blocks of the market with everything that happens there, each executed
// again on its witness alone.
func TestMarket(t *testing.T) {
	g := traffic.New(5, traffic.Fake{})
	p, err := native.New(chain.Hash{1}, rfq.New, native.Options{Crypto: traffic.Fake{}})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, p, g.Params().Append(nil))
	opened, failed := 0, 0
	for block := range 60 {
		now := w.head.Time + 100
		var raws [][]byte
		for range 30 {
			raws = append(raws, g.Next(now))
		}
		g.Opened = uint64(opened)
		s, commit := w.seal(g.Oracle(now), raws...)
		wit := again(t, w.build(s))
		if _, err := wit.Verify(p); err != nil {
			t.Fatalf("block %d: %v", block+1, err)
		}
		for _, r := range w.receipts {
			if r.Code != 0 {
				failed++
			}
			for _, e := range r.Events {
				if e[0] == rfq.EventThesisCreated {
					opened++
				}
			}
		}
		commit()
	}
	if opened < 20 || failed < 100 {
		t.Errorf("%d theses were opened and %d transactions failed: too tame to prove anything", opened, failed)
	}
}
