package stf

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// TestArenaRunsAreTheirOwners: no run changes after it was handed out, whatever is
// added, dropped or appended to a neighbour afterwards.
func TestArenaRunsAreTheirOwners(t *testing.T) {
	var a arena[string]
	var runs, want [][]string
	for n := range 3 * maxPiece / 2 {
		a.begin()
		var one []string
		for i := range n % 7 {
			one = append(one, fmt.Sprint(n, i))
			a.add(one[i])
		}
		if got := a.run(); !slices.Equal(got, one) || a.count() != len(one) || (got == nil) != (one == nil) {
			t.Fatalf("run %d is %q, want %q", n, got, one)
		}
		if n%5 == 0 {
			a.drop()
			continue
		}
		runs, want = append(runs, a.run()), append(want, one)
	}
	for i := range runs {
		_ = append(runs[i], "a neighbour's")
	}
	for i := range runs {
		if !slices.Equal(runs[i], want[i]) {
			t.Errorf("run %d became %q, was %q", i, runs[i], want[i])
		}
	}
}

// A run that is longer than a piece is one run all the same.
func TestArenaRunLongerThanAPiece(t *testing.T) {
	var a arena[int]
	a.begin()
	for i := range 5 * maxPiece {
		a.add(i)
	}
	for i, v := range a.run() {
		if v != i {
			t.Fatalf("element %d is %d", i, v)
		}
	}
}

func TestBytesArenaKeepsCopies(t *testing.T) {
	var a bytesArena
	var kept, want [][]byte
	for n := range 600 {
		b := bytes.Repeat([]byte{byte(n)}, n*n%(maxBytesPiece/4))
		kept, want = append(kept, a.keep(b)), append(want, bytes.Clone(b))
		clear(b)
	}
	for i := range kept {
		_ = append(kept[i], 0xff)
	}
	for i := range kept {
		if !bytes.Equal(kept[i], want[i]) {
			t.Fatalf("copy %d of %d bytes changed", i, len(want[i]))
		}
	}
}
