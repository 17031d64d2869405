package node

import "testing"

// TestRoomForGarbage: a small heap gets its room, a large one its share.
func TestRoomForGarbage(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 800}, {16 << 20, 800}, {32 << 20, 400}, {128 << 20, 100}, {512 << 20, 25}, {513 << 20, 25}, {10 << 30, 25}} {
		if got := gcPercentFor(c.live); got != c.want {
			t.Errorf("%d bytes live: %d %%, want %d", c.live, got, c.want)
		}
	}
}
