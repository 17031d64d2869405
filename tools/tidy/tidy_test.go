package tidy

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "lower the list of long functions to what they are")

const listName = "longfuncs.txt"

func readList(t *testing.T) ([]LongFunction, []byte) {
	t.Helper()
	b, err := os.ReadFile(listName)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseLong(b)
	if err != nil {
		t.Fatalf("%s: %v", listName, err)
	}
	return list, b
}

// TestRepository is every rule over this repository.
func TestRepository(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	top, module, err := Top(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := Read(os.DirFS(top))
	if err != nil {
		t.Fatal(err)
	}
	list, text := readList(t)
	if *update {
		list = Shrink(module, files, list)
		writeList(t, text, list)
	}
	for _, v := range Check(module, files, list) {
		t.Error(v)
	}
	if len(files) < 50 {
		t.Errorf("only %d files found below %s: the rules looked at the wrong place", len(files), filepath.Base(top))
	}
}

// writeList keeps the comment at the top of the list.
func writeList(t *testing.T, text []byte, list []LongFunction) {
	t.Helper()
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if line[0] != '#' {
			break
		}
		out.Write(line)
	}
	for _, f := range list {
		fmt.Fprintf(&out, "%s %s %d\n", f.Path, f.Name, f.Lines)
	}
	if err := os.WriteFile(listName, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
