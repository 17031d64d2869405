package state

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/state/proof"
)

// prove is the encoded proof of many keys, straight from TREE.md: what the walks
// enter, and hashes of the rest.
func (n *naiveNode) proveMany(keys []string) string { return "\x02" + n.cutBack(keys) }

func (n *naiveNode) cutBack(keys []string) string {
	switch {
	case n == nil:
		return "\x00"
	case len(keys) == 0:
		return "\x04" + n.hash()
	case n.bit >= 0:
		var zeros, ones []string
		for _, k := range keys {
			if naivePath(k)[n.bit] == '0' {
				zeros = append(zeros, k)
			} else {
				ones = append(ones, k)
			}
		}
		return "\x01" + string([]byte{byte(n.bit)}) + n.left.cutBack(zeros) + n.right.cutBack(ones)
	}
	for _, k := range keys {
		if k == n.key {
			size := len(n.value)
			return "\x02" + string([]byte{byte(len(k))}) + k + string([]byte{byte(size), byte(size >> 8), byte(size >> 16), 0}) + n.value
		}
	}
	return "\x03" + hashed(n.key) + hashed(n.value)
}

func TestProveMany(t *testing.T) {
	for seed := range uint64(60) {
		size := []int{0, 1, 2, 5, 50, 300}[seed%6]
		h, tree, o := newHistory(seed, size+1), NewTree(), NewOverlay(nil)
		if size > 0 {
			h.block(o, 2*size)
		}
		tree.Commit(o.Changes(), nil)
		var names []string
		var keys [][]byte
		for range h.rng.IntN(size + 3) {
			k := fmt.Sprint("key", h.rng.IntN(2*size+4)) // some of them twice
			names, keys = append(names, k), append(keys, []byte(k))
		}
		got, err := tree.ProveMany(keys)
		if want := h.now.tree().proveMany(names); err != nil || string(got) != want {
			t.Fatalf("seed %d: proof of %d keys among %d is %x, %v, want %x", seed, len(keys), len(h.now), got, err, want)
		}
		m, err := proof.DecodeMulti(got)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := errors.Join(m.Check(tree.Root()), m.Exactly(keys)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestProveManyRefuses: what no reader would take is not made.
func TestProveManyRefuses(t *testing.T) {
	tree, o := NewTree(), NewOverlay(nil)
	var keys [][]byte
	for i := range proof.MaxMultiBytes/MaxValueBytes + 1 {
		keys = append(keys, fmt.Append(nil, "key", i))
		o.Set(keys[i], bytes.Repeat([]byte{1}, MaxValueBytes))
	}
	tree.Commit(o.Changes(), nil)
	if b, err := tree.ProveMany(keys); !errors.Is(err, ErrProofSize) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if _, err := tree.ProveMany(keys[:10]); err != nil {
		t.Fatal(err)
	}
}

// TestMultiGolden fixes the encoding of version 2.
func TestMultiGolden(t *testing.T) {
	var b strings.Builder
	for _, n := range []int{0, 1, 3, 100} {
		tree, o := NewTree(), NewOverlay(nil)
		for i := range n {
			o.Set(goldenKey(i), goldenValue(i))
		}
		root, _ := tree.Commit(o.Changes(), nil)
		for _, of := range [][]int{{}, {0}, {0, 1, 2}, {1, 50, 101}, {103, 104}} {
			var keys [][]byte
			for _, i := range of {
				keys = append(keys, goldenKey(i))
			}
			p, err := tree.ProveMany(keys)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "keys %d root %x proof of %q %s\n", n, root[:], keys, hex.EncodeToString(p))
		}
	}
	checkGolden(t, "multi.v2.golden", b.String())
}
