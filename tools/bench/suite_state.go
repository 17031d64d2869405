package main

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
)

const (
	batchKeys = 4000 // of the update figure
	blockKeys = 2000 // of a block of 1,000 transfers: sender and receiver

	// An account record with none to seven transactions in its replay window, bytes.
	minValue, windowEntry = 36, 12
	maxValue              = minValue + 7*windowEntry
)

// bigState is a tree of accounts: their keys, and values as long as theirs.
type bigState struct {
	tree *state.Tree
	keys [][]byte
	rand *rand.Rand
	heap uint64 // bytes that the tree takes
}

func newBigState(accounts int) *bigState {
	s := &bigState{keys: make([][]byte, accounts), rand: rand.New(rand.NewPCG(2, 2))}
	for i := range s.keys {
		sum := numbered("bench account", i)
		s.keys[i] = rfq.AccountKey([20]byte(sum[:20]))
	}
	before := heapInUse()
	s.tree = state.NewTree()
	for part := range slices.Chunk(s.keys, 50_000) {
		o := state.NewOverlay(nil)
		for _, k := range part {
			o.Set(k, s.value())
		}
		s.tree.Commit(o.Changes(), runner)
	}
	s.heap = heapInUse() - before
	return s
}

// value is as long as the record of an account with none to seven transactions in
// its replay window.
func (s *bigState) value() []byte {
	v := make([]byte, minValue+windowEntry*s.rand.IntN((maxValue-minValue)/windowEntry+1))
	for i := range v {
		v[i] = byte(s.rand.Uint32())
	}
	return v
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one only took out of pools
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// update writes n random accounts over the tree.
func (s *bigState) update(n int) *state.Overlay {
	o := state.NewOverlay(s.tree)
	for o.Len() < min(n, len(s.keys)) {
		o.Set(s.keys[s.rand.IntN(len(s.keys))], s.value())
	}
	return o
}

func (b *bench) state() error {
	b.say("make a tree of %d accounts", b.accounts)
	s := newBigState(b.accounts)
	updates, err := b.repeat(b.sha256Limit, func() (float64, error) { return b.updateRate(s), nil })
	if err != nil {
		return err
	}
	var roots []float64
	for range b.rounds {
		runtime.GC()
		roots = append(roots, b.blockRoot(s))
	}
	updated := rated("state", "key updates in batches of 4,000", "1/s", "SHA-256 of 64 B, all cores", "1/s", updates)
	absolute := plain("state", "key updates in batches of 4,000, absolute", "1/s", valuesOf(updates)...).want(atLeast(500_000), atLeast(1_000_000))
	b.add(absolute, updated.noted("root after every batch"),
		plain("state", "root of a block of 1,000 transfers", "ms", roots...).want(atMost(5), atMost(2)).noted("list, order, hash and commit 2,000 keys"),
		plain("state", "memory for one account", "B", float64(s.heap)/float64(b.accounts)).want(nil, atMost(300)).noted("heap of the tree, keys and values included"))
	runtime.KeepAlive(s)
	return nil
}

func valuesOf(rounds []round) []float64 {
	v := make([]float64, len(rounds))
	for i, r := range rounds {
		v[i] = r.value
	}
	return v
}

// updateRate commits batches for a slice; making them is not counted.
func (b *bench) updateRate(s *bigState) float64 {
	n, took := 0, time.Duration(0)
	for begin := time.Now(); n == 0 || time.Since(begin) < b.slice(); {
		changes := s.update(batchKeys).Changes()
		start := time.Now()
		s.tree.Commit(changes, runner)
		took += time.Since(start)
		n += len(changes)
	}
	return perSecond(n, took)
}

// blockRoot is the median time from a closed block to its root, ms.
func (b *bench) blockRoot(s *bigState) float64 {
	var took []time.Duration
	for begin := time.Now(); len(took) == 0 || time.Since(begin) < b.slice()/2; {
		o := s.update(blockKeys)
		start := time.Now()
		s.tree.Commit(o.Changes(), runner)
		took = append(took, time.Since(start))
	}
	return quantile(ascendingMs(took), 0.5)
}
