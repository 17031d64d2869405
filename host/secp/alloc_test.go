//go:build cgo && !race

package secp

import (
	"testing"

	"github.com/kaizenchain/kaizen/host/stf"
)

// TestAllocations bounds what a signature costs on the heap: the point that
// libsecp256k1 writes, and nothing for a hash. Under the race detector a pool
// forgets at random, and without C the points are computed on the heap.
func TestAllocations(t *testing.T) {
	_, digest, sig := signed(t)
	if n := testing.AllocsPerRun(100, func() { Keccak256(digest[:]) }); n != 0 {
		t.Errorf("%v allocations for a hash", n)
	}
	if n := testing.AllocsPerRun(100, func() { Recover(&digest, &sig) }); n > 1 {
		t.Errorf("%v allocations for a recovery", n)
	}
	m, all := newMaker(t, 1), make([]*stf.Signer, 20)
	for i := range all {
		all[i] = m.signer(t, i%exceptional) // what the reference decides allocates
	}
	if n := testing.AllocsPerRun(100, func() { RecoverAll(all) }); n > 0 && wide {
		t.Errorf("%v allocations for %d recoveries at once", n, len(all))
	}
}
