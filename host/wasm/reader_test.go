package wasm

import (
	"encoding/binary"
	"math"
	"testing"
)

// TestLEB: what the encoder writes the reader reads, and padding up to the
// longest form is accepted, as the format says.
func TestLEB(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, 127, 128, math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, math.MaxInt64, math.MinInt64} {
		var e encoder
		e.signed(v)
		if got := (&reader{b: e.b}).signed(64); got != v {
			t.Errorf("%d read as %d from %x", v, got, e.b)
		}
		r := &reader{b: e.b}
		got := r.signed(32)
		if fits := v == int64(int32(v)); fits != (r.err == nil) || fits && got != v {
			t.Errorf("%d as 32 bits: %d, %v", v, got, r.err)
		}
	}
	for _, v := range []uint32{0, 127, 128, math.MaxUint32} {
		b := binary.AppendUvarint(nil, uint64(v))
		if got := (&reader{b: b}).u32(); got != v {
			t.Errorf("%d read as %d", v, got)
		}
	}
	for _, bad := range [][]byte{{}, {0x80}, {0xff, 0xff, 0xff, 0xff, 0x1f}, {0x80, 0x80, 0x80, 0x80, 0x80, 0x00}} {
		r := &reader{b: bad}
		if r.u32(); r.err == nil {
			t.Errorf("%x read as an unsigned integer", bad)
		}
	}
}
