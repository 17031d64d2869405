package state

import (
	"fmt"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
)

// TestExtend: a block that is committed in parts, while it is written, cannot be told
// from one that is committed whole.
func TestExtend(t *testing.T) {
	for _, keys := range []int{1, 3, 40, 300} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(keys, "/", seed), func(t *testing.T) {
				h, v := newHistory(seed, keys), NewVersions(5)
				states := chainOf(h, v, 0, 3, 2*keys)
				for height := uint64(3); height < 12; height++ {
					commitInParts(t, h, v, height, 2*keys)
					states = append(states, clone(h.now))
					same(t, v.Tree(), h.now)
				}
				checkVersions(t, v, h, states, 6)
				size := 0
				for _, u := range v.undos {
					size += u.size()
				}
				if size != v.bytes {
					t.Errorf("history of %d bytes is counted as %d", size, v.bytes)
				}
				if err := v.Rollback(7, nil); err != nil {
					t.Fatal(err)
				}
				same(t, v.Tree(), states[7])
			})
		}
	}
}

func commitInParts(t *testing.T, h *history, v *Versions, height uint64, writes int) {
	t.Helper()
	o := NewOverlay(v.Tree())
	mark, before := 0, v.Root()
	for part := range 1 + h.rng.IntN(4) {
		h.block(o, h.rng.IntN(writes+1))
		// Writes that are taken back are in no part.
		revert := o.Mark()
		for range h.rng.IntN(3) {
			o.Set([]byte(h.key()), []byte("taken back"))
		}
		o.Revert(revert)
		changes := o.ChangesSince(mark)
		mark = o.Mark()
		var root chain.Hash
		if part == 0 {
			root = v.Commit(height, changes, nil)
		} else {
			root = v.Extend(changes, nil)
		}
		if newest, _ := v.Height(); root != v.Root() || root != h.now.root() || newest != height {
			t.Fatalf("root %s of block %d, want %s of %d", root, newest, h.now.root(), height)
		}
		if was, ok := v.RootAt(height - 1); !ok || was != before {
			t.Fatalf("root before block %d is %s, was %s", height, was, before)
		}
	}
}

// TestChangesSince: they are the overlay's, in its order, of the keys written since.
func TestChangesSince(t *testing.T) {
	o := NewOverlay(nil)
	set := func(keys ...string) {
		for _, k := range keys {
			o.Set([]byte(k), []byte("value of "+k))
		}
	}
	set("a", "b", "c")
	mark := o.Mark()
	o.Delete([]byte("b"))
	set("d", "a", "d")
	got := o.ChangesSince(mark)
	o.Set([]byte("a"), []byte("later"))
	want := map[string]string{"a": "value of a", "b": "", "d": "value of d"}
	for i, c := range got {
		value, ok := want[string(c.Key)]
		if !ok || value != string(c.Value) || c.Delete != (string(c.Key) == "b") || i > 0 && comparePaths(&got[i-1].Path, &c.Path) >= 0 {
			t.Errorf("change %d is %q to %q, delete %t", i, c.Key, c.Value, c.Delete)
		}
	}
	if len(got) != len(want) || len(o.ChangesSince(0)) != len(o.Changes()) || o.ChangesSince(o.Mark()) == nil || len(o.ChangesSince(o.Mark())) != 0 {
		t.Errorf("%d changes", len(got))
	}
}

// TestExtendRefuses: a block that could not be taken back is not extended.
func TestExtendRefuses(t *testing.T) {
	v := NewVersions(0)
	mustPanic(t, "no block", func() { v.Extend(nil, nil) })
	v.Commit(0, nil, nil)
	v.Commit(1, nil, nil)
	mustPanic(t, "no history", func() { v.Extend(nil, nil) })
}

// TestUndosOfOnePrefix: entries whose paths begin alike are put in the order of the
// paths.
func TestUndosOfOnePrefix(t *testing.T) {
	one := func(key string) *Undo {
		return &Undo{entries: []replaced{{prefix: 7, value: absent, key: uint8(len(key))}}, data: []byte(key)}
	}
	for _, keys := range [][2]string{{"x", "y"}, {"y", "x"}} {
		all := one(keys[0]).then(one(keys[1]))
		var got []string
		all.Keys(func(key []byte) { got = append(got, string(key)) })
		a, b := PathOf([]byte(got[0])), PathOf([]byte(got[1]))
		if len(got) != 2 || comparePaths(&a, &b) >= 0 {
			t.Errorf("%q then %q are %q", keys[0], keys[1], got)
		}
	}
}
