package node

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// What the write node may allocate for a transfer from its arrival to its sealed
// block: inspection, execution in WASM, journal, answer, root, log and index. Most of
// it is memory for many transfers at once.
const (
	maxTransferAllocs = 2
	maxTransferBytes  = 5_000
)

// payers are accounts that send transfers to each other.
type payers struct {
	keys  []*secp.Key
	clock uint64 // timestamp of the newest transfer, ms
}

func newPayers(t testing.TB, n int) *payers {
	p := &payers{}
	for i := range n {
		scalar := sha256.Sum256(fmt.Appendf(nil, "payer %d", i))
		key, err := secp.NewKey(scalar[:])
		must(t, err)
		p.keys = append(p.keys, key)
	}
	return p
}

// params are the market's, with money for everybody.
func (p *payers) params() []byte {
	all := params.Default()
	for _, k := range p.keys {
		all.Accounts = append(all.Accounts, params.Account{Address: tx.Address(k.Address()), Balance: 1 << 40})
	}
	all.Sort()
	return all.Append(nil)
}

// transfers signs n of them, to be sent now.
func (p *payers) transfers(t testing.TB, n int) (raws [][]byte) {
	var h tx.Hasher
	p.clock = max(p.clock+1, nowMs())
	for i := range n {
		from, to := p.keys[i%len(p.keys)], p.keys[(i+1)%len(p.keys)]
		if i%len(p.keys) == 0 {
			p.clock++
		}
		x := tx.Transaction{From: tx.Address(from.Address()), Timestamp: p.clock, Kind: tx.KindTransfer, Transfer: tx.Transfer{To: tx.Address(to.Address()), Amount: 1}}
		digest := h.Digest(secp.Keccak{}, &x)
		var err error
		x.Signature, err = from.Sign(&digest)
		must(t, err)
		raws = append(raws, x.Append(nil))
	}
	return raws
}

// TestAllocationsForATransfer bounds what the write node's path allocates, with the
// module that ships.
func TestAllocationsForATransfer(t *testing.T) {
	const round = 4000
	cfg := Defaults()
	program, err := LoadProgram(within(t), &cfg, quiet())
	must(t, err)
	defer program.Close()
	p := newPayers(t, 1000)
	g := testGenesis(func(g *chain.Genesis) {
		g.ModuleHash, g.Params, g.MaxTxsPerBlock = program.Hash(), p.params(), 1000
		g.Time = nowMs() - 1000
	})
	w, run := startWriter(t, testConfig(initDir(t, g), g), Deps{Program: program, Log: quiet()})
	var allocs, bytes []float64
	for range 4 {
		raws := p.transfers(t, round)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		results := w.Submit(within(t), raws)
		must(t, w.WaitFor(within(t), results[round-1].Height))
		runtime.ReadMemStats(&after)
		for i := range results {
			if results[i].Err != nil || results[i].Receipt.Code != 0 {
				t.Fatalf("transfer %d: %v, code %d", i, results[i].Err, results[i].Receipt.Code)
			}
		}
		allocs = append(allocs, float64(after.Mallocs-before.Mallocs)/round)
		bytes = append(bytes, float64(after.TotalAlloc-before.TotalAlloc)/round)
	}
	run.mustStop()
	// The first rounds make what later ones use again.
	t.Logf("allocations %.2f, bytes %.0f for a transfer", allocs, bytes)
	if n := slices.Min(allocs); n > maxTransferAllocs {
		t.Errorf("%.2f allocations for a transfer, limit %d", n, maxTransferAllocs)
	}
	if n := slices.Min(bytes); n > maxTransferBytes {
		t.Errorf("%.0f bytes allocated for a transfer, limit %d", n, maxTransferBytes)
	}
}
