package gen

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write lanes_amd64.s")

// TestAssembly: the committed assembly is what this package prints. The test is here
// and not in lanes, which does not link while a function is missing.
func TestAssembly(t *testing.T) {
	const file = "../lanes_amd64.s"
	want := Assembly()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what this package prints: go test ./host/secp/internal/lanes/gen -update", file)
	}
}
