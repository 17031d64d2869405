package node

import (
	"fmt"
	"slices"
	"testing"
)

// TestCatchUp: what is shown begins far behind, follows a source that goes on, and
// ends with the last block or the session.
func TestCatchUp(t *testing.T) {
	var seen []string
	c := catchUp{begin: func(what, unit string) (Progress, func()) {
		seen = append(seen, what+" "+unit)
		return func(done, total, txs uint64) { seen = append(seen, fmt.Sprint(done, total, txs)) }, func() { seen = append(seen, "end") }
	}}
	c.moved(5, 5+catchUpBlocks-1, 1) // near enough
	c.moved(10, 200, 3)
	c.moved(11, 202, 4)
	c.moved(202, 202, 0)
	c.moved(203, 202, 9) // the source said so before it went on
	c.moved(204, 400, 0)
	c.end()
	c.end()
	want := []string{"catch up blocks", "1 191 3", "2 193 7", "193 193 7", "end", "catch up blocks", "1 197 0", "end"}
	if !slices.Equal(seen, want) {
		t.Errorf("seen\n%q, want\n%q", seen, want)
	}
}
