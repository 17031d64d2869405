package state

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFirstDifference compares random states with ones that differ in a few keys or
// in all.
func TestFirstDifference(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 9))
		size := []int{1, 2, 4, 20, 60}[seed%5]
		one, two := newHistory(seed, size), newHistory(seed+uint64(rng.IntN(2)), size)
		var trees [2]*Tree
		for i, h := range []*history{one, two} {
			o := NewOverlay(nil)
			h.block(o, 2*size)
			trees[i] = NewTree()
			trees[i].Commit(o.Changes(), nil)
		}
		o := NewOverlay(trees[1])
		two.block(o, rng.IntN(3))
		trees[1].Commit(o.Changes(), nil)
		checkDifference(t, trees, one.now, two.now)
	}
}

func checkDifference(t *testing.T, trees [2]*Tree, one, two naive) {
	t.Helper()
	both := maps.Clone(one)
	maps.Copy(both, two)
	byPath := map[string]string{}
	for k := range both {
		a, inA := one[k]
		b, inB := two[k]
		if a != b || inA != inB {
			byPath[naivePath(k)] = k
		}
	}
	d, found := FirstDifference(trees[0], trees[1])
	if found != (len(byPath) > 0) {
		t.Fatalf("found %t among %d differences", found, len(byPath))
	}
	if !found {
		return
	}
	want := byPath[slices.Min(slices.Collect(maps.Keys(byPath)))]
	a, inA := one[want]
	b, inB := two[want]
	if string(d.Key) != want || d.In != [2]bool{inA, inB} || string(d.Value[0]) != a || string(d.Value[1]) != b {
		t.Fatalf("first difference is %q, %q, %t; want %s, %q %t, %q %t", d.Key, d.Value, d.In, want, a, inA, b, inB)
	}
}
