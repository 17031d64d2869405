package market

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStateKeys: every key of the module's golden state has a name, and every shape
// of a key is among them.
func TestStateKeys(t *testing.T) {
	files, err := filepath.Glob("../../../stf-modules/rfq/testdata/state.v*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[byte]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		digits, _, _ := strings.Cut(line, " ")
		key, err := hex.DecodeString(digits)
		if err != nil {
			continue // a comment
		}
		name, _ := StateKey(key)
		if name == "" {
			t.Errorf("key %x has no name", key)
		}
		seen[key[0]] = true
	}
	for _, s := range keyShapes {
		if !seen[s.first] {
			t.Errorf("no key of the golden state begins with %c", s.first)
		}
	}
	for _, key := range []string{"", "a", "z", "t1234567", "a12345678901234567890x"} {
		if name, query := StateKey([]byte(key)); name != "" || query != nil {
			t.Errorf("%q is %s", key, name)
		}
	}
}
