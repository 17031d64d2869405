package state

import (
	"fmt"
	"testing"
)

// TestAllocations: a block's changes cost allocations for the block (tables, copies
// in large pieces, the history), none for each key.
func TestAllocations(t *testing.T) {
	const bound = 200
	tree, value, keys := NewTree(), make([]byte, 80), make([][]byte, 2000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "account %d", i)
	}
	block := func() {
		o := NewOverlay(tree)
		for _, key := range keys {
			mark := o.Mark()
			o.Set(key, value)
			o.Revert(mark)
			o.Set(key, value)
		}
		value[0]++
		tree.Commit(o.Changes(), nil)
	}
	block()
	n := testing.AllocsPerRun(5, block)
	t.Logf("%g allocations for %d keys", n, len(keys))
	if n > bound {
		t.Errorf("%g allocations for a block of %d keys, limit %d", n, len(keys), bound)
	}
}
