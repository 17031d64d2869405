package invariant

import "testing"

func TestHold(t *testing.T) {
	Hold(true, "%d blocks", 1)
	defer func() {
		v, ok := recover().(Violation)
		if !ok || v.Error() != "invariant broken: 3 blocks, limit 2" {
			t.Fatalf("recovered %v", v)
		}
	}()
	Hold(false, "%d blocks, limit %d", 3, 2)
}
