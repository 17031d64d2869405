package state

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
)

// collectAt walks over a block in slices and calls between after each of them.
func collectAt(t *testing.T, v *Versions, height uint64, limit Limit, between func()) naive {
	t.Helper()
	got := naive{}
	var at Position
	var last chain.Hash
	for !at.End() {
		var err error
		if at, err = v.AscendAt(height, at, limit, func(path *chain.Hash, key, value []byte) {
			if *path != PathOf(key) {
				t.Fatalf("key %q has path %s, not %s", key, PathOf(key), path)
			}
			if len(got) > 0 && comparePaths(&last, path) >= 0 {
				t.Fatalf("path %s follows %s", path, last)
			}
			last = *path
			got[string(key)] = string(value)
		}); err != nil {
			t.Fatal(err)
		}
		between()
	}
	return got
}

func sameKeys(t *testing.T, got, want naive) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			t.Fatalf("key %q is %q, %t, want %q", k, g, ok, v)
		}
	}
}

// TestAscendAt walks over a block while later ones are committed between the
// slices.
func TestAscendAt(t *testing.T) {
	for _, keys := range []int{1, 3, 50, 400} {
		for _, limit := range []Limit{{1, 1 << 20}, {7, 1 << 20}, {1000, 1 << 20}, {1000, 40}, {64, 600}} {
			for seed := range uint64(3) {
				t.Run(fmt.Sprint(keys, limit, seed), func(t *testing.T) {
					h, v := newHistory(seed, keys), NewVersions(1000)
					chainOf(h, v, 0, 5, 2*keys)
					want, next := clone(h.now), 5
					got := collectAt(t, v, 4, limit, func() {
						if next < 60 {
							chainOf(h, v, next, 1, keys)
							next++
						}
					})
					sameKeys(t, got, want)
					sameKeys(t, collectAt(t, v, uint64(next-1), limit, func() {}), h.now)
				})
			}
		}
	}
}

// TestAscendAtDeleted: what is gone by now comes back, in slices that stay small.
func TestAscendAtDeleted(t *testing.T) {
	v := NewVersions(5)
	write := func(height uint64, change func(o *Overlay, key []byte)) {
		o := NewOverlay(v.Tree())
		for i := range 1000 {
			change(o, fmt.Append(nil, "k", i))
		}
		v.Commit(height, o.Changes(), nil)
	}
	write(0, func(o *Overlay, key []byte) { o.Set(key, key) })
	write(1, func(o *Overlay, key []byte) { o.Delete(key) })
	seen := 0
	var at Position
	for !at.End() {
		slice := 0
		var err error
		if at, err = v.AscendAt(0, at, Limit{100, 1 << 20}, func(_ *chain.Hash, key, value []byte) {
			if string(key) != string(value) {
				t.Fatalf("key %s has value %s", key, value)
			}
			slice++
		}); err != nil {
			t.Fatal(err)
		}
		if seen += slice; slice > 100 {
			t.Fatalf("a slice of %d keys, limit 100", slice)
		}
	}
	if seen != 1000 {
		t.Fatalf("%d keys, want 1000", seen)
	}
}

// TestAscendAtAfterManyBlocks: slices are as large after many blocks as after none,
// whatever of the keys changed how often.
func TestAscendAtAfterManyBlocks(t *testing.T) {
	const keys, blocks, slice = 2000, 300, 100
	key := func(i int) []byte { return fmt.Append(nil, "k", i) }
	for name, change := range map[string]func(block, i int) int{
		"all over":           func(block, i int) int { return (block*7919 + i*271) % keys },
		"the same few":       func(_, i int) int { return i },
		"everything at last": func(block, i int) int { return block / 290 * (block*10 + i) % keys },
	} {
		v := NewVersions(blocks)
		o := NewOverlay(v.Tree())
		for i := range keys {
			o.Set(key(i), []byte("old"))
		}
		v.Commit(0, o.Changes(), nil)
		for block := 1; block <= blocks; block++ {
			o := NewOverlay(v.Tree())
			for i := range 10 {
				if k := key(change(block, i)); (block+i)%3 > 0 {
					o.Set(k, fmt.Append(nil, block))
				} else {
					o.Delete(k)
				}
			}
			v.Commit(uint64(block), o.Changes(), nil)
		}
		slices, seen := 0, 0
		var at Position
		for !at.End() {
			var err error
			before := seen
			at, err = v.AscendAt(0, at, Limit{slice, 1 << 20}, func(_ *chain.Hash, key, value []byte) {
				if seen++; string(value) != "old" {
					t.Fatalf("%s: key %s has value %s", name, key, value)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if slices++; seen-before > 2*slice {
				t.Errorf("%s: a slice of %d keys, limit %d", name, seen-before, slice)
			}
		}
		if most := 2*keys/slice + 1; seen != keys || slices > most {
			t.Errorf("%s: %d keys in %d slices, want %d in at most %d", name, seen, slices, keys, most)
		}
	}
}

func TestAscendAtRefuses(t *testing.T) {
	h, v := newHistory(1, 20), NewVersions(3)
	chainOf(h, v, 0, 10, 20)
	at, err := v.AscendAt(8, Position{}, Limit{1, 1}, func(*chain.Hash, []byte, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	chainOf(h, v, 10, 3, 20)
	for _, height := range []uint64{8, 13} {
		if _, err := v.AscendAt(height, at, Limit{1, 1}, func(*chain.Hash, []byte, []byte) { t.Error("a key") }); !errors.Is(err, ErrNotRetained) {
			t.Errorf("block %d: %v", height, err)
		}
	}
}

// TestRootOf agrees with the tree that the same leaves build.
func TestRootOf(t *testing.T) {
	for _, keys := range []int{0, 1, 2, 300} {
		h, v := newHistory(uint64(keys), max(keys, 1)), NewVersions(0)
		if keys > 0 {
			chainOf(h, v, 0, 3, 2*keys)
		}
		leaves := func(yield func(Leaf) bool) {
			v.Tree().Ascend(chain.Hash{}, func(key, value []byte) bool { return yield(Prepare(key, value)) })
		}
		root, n, err := RootOf(leaves)
		if err != nil || root != v.Root() || n != v.Tree().Len() {
			t.Errorf("root %s of %d keys, %v; want %s of %d", root, n, err, v.Root(), v.Tree().Len())
		}
	}
	twice := func(yield func(Leaf) bool) { _ = yield(Prepare([]byte("a"), nil)) && yield(Prepare([]byte("a"), nil)) }
	if _, _, err := RootOf(twice); !errors.Is(err, ErrStream) {
		t.Errorf("a key twice: %v", err)
	}
}
