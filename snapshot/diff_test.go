package snapshot

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
)

// TestFirstDifference changes, adds and removes one key of a state, wherever it is
// in the order.
func TestFirstDifference(t *testing.T) {
	tree := randomTree(4, 60, 30)
	s := create(t, memDir(), metaOf(tree, 7), ascend(tree))
	if d, err := FirstDifference([]*Snapshot{s}, tree, Options{}); d != nil || err != nil {
		t.Fatalf("with itself: %+v, %v", d, err)
	}
	var keys [][]byte
	tree.Ascend(chain.Hash{}, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	v := state.RestoreVersions(tree, 0, 1)
	change := func(do func(o *state.Overlay)) *Difference {
		t.Helper()
		o := state.NewOverlay(nil)
		do(o)
		v.Commit(1, o.Changes(), nil)
		d, err := FirstDifference([]*Snapshot{s}, tree, Options{})
		if err != nil || d == nil {
			t.Fatalf("%+v, %v", d, err)
		}
		if err := v.Rollback(0, nil); err != nil {
			t.Fatal(err)
		}
		return d
	}
	for i, key := range keys {
		want, _ := tree.Get(key)
		want = bytes.Clone(want)
		d := change(func(o *state.Overlay) { o.Set(key, []byte("other")) })
		if !bytes.Equal(d.Key, key) || !bytes.Equal(d.Snapshot, want) || string(d.Other) != "other" || !d.InSnapshot || !d.InOther {
			t.Fatalf("key %d changed: %+v", i, d)
		}
		d = change(func(o *state.Overlay) { o.Delete(key) })
		if !bytes.Equal(d.Key, key) || !d.InSnapshot || d.InOther {
			t.Fatalf("key %d removed: %+v", i, d)
		}
		added := append([]byte("new"), key...)
		d = change(func(o *state.Overlay) { o.Set(added, key) })
		if !bytes.Equal(d.Key, added) || d.InSnapshot || !bytes.Equal(d.Other, key) {
			t.Fatalf("key beside %d added: %+v", i, d)
		}
	}
	f := forge(t)
	f.files[ChunkFile(0)][99] ^= 1
	bad, err := Open(f.store(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := FirstDifference([]*Snapshot{bad}, tree, Options{}); !errors.Is(err, ErrTransferHash) {
		t.Fatalf("a damaged snapshot: %v", err)
	}
}

// TestFirstDifferenceOfChain: an incremental one stands for the whole state.
func TestFirstDifferenceOfChain(t *testing.T) {
	e := newEvolving(t, 7, 300, 40)
	e.advance(t, 50)
	links := chainOf(t, e.last)
	if d, err := FirstDifference(links, e.tree(), Options{}); d != nil || err != nil {
		t.Fatalf("with itself: %+v, %v", d, err)
	}
	o := state.NewOverlay(e.tree())
	o.Set([]byte("one more"), []byte("x"))
	height, _ := e.versions.Height()
	e.versions.Commit(height+1, o.Changes(), nil)
	d, err := FirstDifference(links, e.tree(), Options{})
	if err != nil || d == nil || string(d.Key) != "one more" || d.InSnapshot || !d.InOther {
		t.Fatalf("with a key more: %+v, %v", d, err)
	}
	if _, err := FirstDifference(links[1:], e.tree(), Options{}); !errors.Is(err, ErrKind) {
		t.Errorf("without its base: %v, want %v", err, ErrKind)
	}
}
