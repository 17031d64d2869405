package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
)

// chainOf commits n random blocks and returns the state after each.
func chainOf(h *history, v *Versions, first, n, writes int) []naive {
	var states []naive
	for i := range n {
		o := NewOverlay(v.Tree())
		h.block(o, h.rng.IntN(writes+1))
		v.Commit(uint64(first+i), o.Changes(), nil)
		states = append(states, clone(h.now))
	}
	return states
}

func checkVersions(t *testing.T, v *Versions, h *history, states []naive, oldest int) {
	t.Helper()
	for height, want := range states {
		view, ok := v.At(uint64(height))
		root, ok2 := v.RootAt(uint64(height))
		if retained := height >= oldest; ok != retained || ok2 != retained {
			t.Fatalf("block %d of %d: retained %t, %t, want %t", height, len(states), ok, ok2, retained)
		}
		if !ok {
			continue
		}
		tree := want.tree()
		if string(root[:]) != tree.hash() {
			t.Fatalf("block %d has root %s, want %x", height, root, tree.hash())
		}
		sameGets(t, view, want, h.keys+2)
		for range 10 {
			key := h.key() + strings.Repeat("'", h.rng.IntN(2))
			p, err := v.Prove(uint64(height), []byte(key))
			if err != nil {
				t.Fatal(err)
			}
			checkProof(t, p, want, tree, key)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, keys := range []int{1, 2, 4, 50, 300} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(keys, "/", seed), func(t *testing.T) {
				h, v := newHistory(seed, keys), NewVersions(12)
				states := chainOf(h, v, 0, 20, 2*keys)
				checkVersions(t, v, h, states, 7)
				if oldest, ok := v.Oldest(); oldest != 7 || !ok {
					t.Fatalf("oldest block %d, %t", oldest, ok)
				}
			})
		}
	}
}

func TestRollback(t *testing.T) {
	for back := range 13 {
		h, v := newHistory(uint64(back), 60), NewVersions(12)
		states := chainOf(h, v, 0, 20, 100)
		target := 19 - back
		if err := v.Rollback(uint64(target), shuffled(h.rng)); err != nil {
			t.Fatal(err)
		}
		states = states[:target+1]
		h.now = clone(states[target])
		same(t, v.Tree(), h.now)
		checkArena(t, v.Tree())
		checkVersions(t, v, h, states, 7)
		// Another history from there.
		states = append(states, chainOf(h, v, target+1, 5, 100)...)
		checkVersions(t, v, h, states, max(7, len(states)-13))
	}
}

func TestRollbackRefuses(t *testing.T) {
	h, v := newHistory(0, 10), NewVersions(2)
	if err := v.Rollback(0, nil); !errors.Is(err, ErrNotRetained) {
		t.Fatalf("before the first block: %v", err)
	}
	chainOf(h, v, 0, 5, 10)
	for _, height := range []uint64{0, 1, 5, 1 << 63} {
		if err := v.Rollback(height, nil); !errors.Is(err, ErrNotRetained) {
			t.Errorf("rollback to %d: %v", height, err)
		}
		if _, err := v.Prove(height, nil); !errors.Is(err, ErrNotRetained) {
			t.Errorf("proof at %d: %v", height, err)
		}
	}
	mustPanic(t, "a gap", func() { v.Commit(7, nil, nil) })
}

func TestRestoreVersions(t *testing.T) {
	h, v := newHistory(2, 100), NewVersions(5)
	chainOf(h, v, 0, 10, 100)
	tree, err := Build(func(yield func(k, v []byte) bool) { v.Tree().Ascend(chain.Hash{}, yield) })
	if err != nil {
		t.Fatal(err)
	}
	r := RestoreVersions(tree, 9, 5)
	if height, ok := r.Height(); height != 9 || !ok || r.Root() != v.Root() {
		t.Fatalf("restored at %d, %t, root %s, want %s", height, ok, r.Root(), v.Root())
	}
	before := clone(h.now)
	chainOf(h, r, 10, 3, 100)
	if err := r.Rollback(9, nil); err != nil {
		t.Fatal(err)
	}
	same(t, r.Tree(), before)
	if err := r.Rollback(8, nil); !errors.Is(err, ErrNotRetained) {
		t.Fatalf("rollback below the snapshot: %v", err)
	}
}

// TestHistoryIsBounded writes blocks of many large values: memory, not the
// number of blocks, is what ends the history.
func TestHistoryIsBounded(t *testing.T) {
	v := NewVersions(1000)
	value := make([]byte, MaxValueBytes)
	const keys = 256 // 16 MiB a block
	for height := range uint64(14) {
		o := NewOverlay(v.Tree())
		for i := range keys {
			value[0] = byte(height)
			o.Set([]byte{byte(i)}, value)
		}
		v.Commit(height, o.Changes(), nil)
		if v.bytes > MaxHistoryBytes {
			t.Fatalf("history takes %d bytes", v.bytes)
		}
	}
	oldest, _ := v.Oldest()
	if oldest < 5 || oldest > 7 {
		t.Fatalf("oldest block %d of 14 with 128 MiB for blocks of 16 MiB", oldest)
	}
	if view, ok := v.At(oldest); !ok {
		t.Fatal("the oldest block is not there")
	} else if got, ok := view.Get([]byte{3}); !ok || got[0] != byte(oldest) {
		t.Fatalf("block %d has the value of block %d", oldest, got[0])
	}
}

// TestHold: a held block stays for longer than others, and not for ever.
func TestHold(t *testing.T) {
	v := NewVersions(3)
	height := uint64(0)
	grow := func(blocks, size int) {
		for range blocks {
			o := NewOverlay(v.Tree())
			for i := range 64 {
				o.Set([]byte{byte(i)}, append(make([]byte, size-1), byte(height)))
			}
			v.Commit(height, o.Changes(), nil)
			height++
		}
	}
	oldest := func(want uint64) {
		t.Helper()
		if got, _ := v.Oldest(); got != want {
			t.Errorf("at block %d the oldest is %d, want %d", height-1, got, want)
		}
	}
	grow(10, 1)
	if err := v.Hold(5); !errors.Is(err, ErrNotRetained) {
		t.Errorf("a block that is gone is held: %v", err)
	}
	if err := v.Hold(8); err != nil {
		t.Fatal(err)
	}
	grow(20, 1)
	oldest(8)
	if view, ok := v.At(8); !ok {
		t.Error("the held block is not there")
	} else if got, ok := view.Get([]byte{3}); !ok || got[0] != 8 {
		t.Errorf("block 8 has the value of block %d", got[0])
	}
	v.Release()
	oldest(26)
	if err := v.Hold(28); err != nil {
		t.Fatal(err)
	}
	v.most = MaxHistoryBytes + 16<<20 // as much less is at stake, and memory
	for range 3 * v.most / (64 * MaxValueBytes) / 2 {
		grow(1, MaxValueBytes)
		if got := v.HistoryBytes(); got > v.most {
			t.Fatalf("history takes %d bytes while a block is held", got)
		}
	}
	if _, ok := v.At(28); ok {
		t.Error("a block is held whatever that takes")
	}
	if got := v.HistoryBytes(); got <= MaxHistoryBytes {
		t.Errorf("history takes %d bytes while a block is held", got)
	}
	v.Release()
	if got, _ := v.Oldest(); v.bytes > MaxHistoryBytes || got+3 < height-1 {
		t.Errorf("after the release %d bytes, block %d of %d", v.bytes, got, height-1)
	}
}

// TestChangedSince: what a proof for an old block costs is counted block by block.
func TestChangedSince(t *testing.T) {
	v := NewVersions(3)
	for height := range uint64(6) {
		o := NewOverlay(v.Tree())
		for i := range height {
			o.Set([]byte{byte(i)}, []byte{byte(height)})
		}
		v.Commit(height, o.Changes(), nil)
	}
	for height, want := range map[uint64]int{5: 0, 4: 5, 3: 9, 2: 12} {
		if got, err := v.ChangedSince(height); err != nil || got != want {
			t.Errorf("since block %d: %d keys, %v, want %d", height, got, err, want)
		}
	}
	for _, height := range []uint64{1, 6} {
		if _, err := v.ChangedSince(height); !errors.Is(err, ErrNotRetained) {
			t.Errorf("since block %d: %v", height, err)
		}
	}
}
