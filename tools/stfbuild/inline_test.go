package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// planted is a repository with one module, whose list is what a test gives it.
func planted(t *testing.T, list string) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, text := range map[string]string{
		"go.mod":                            "module github.com/kaizenchain/kaizen\n\ngo 1.26\n",
		"stf-modules/m/m.go":                "package m\n\ntype T struct{}\n\nfunc Outer(t *T) int {\n\treturn 1 +\n\t\tt.inner()\n}\n\nfunc (t *T) inner() int { return leaf(2) }\n",
		"stf-modules/m/leaf.go":             "package m\n\nfunc leaf(n int) int { return n }\n",
		"stf-modules/m/guest/" + inlineFile: list,
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const plantedList = "# a comment\n\nm.Outer > m.(*T).inner\nm.Outer > m.(*T).inner > m.leaf\n"

// TestInlining: every call of a list has to be in the compiler's words, where it says
// that it was put.
func TestInlining(t *testing.T) {
	in, err := readInlining(planted(t, plantedList), "m", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := sourceRoot + "m/m.go:7:10: inlining call to "
	said := "other words\n" + at + "(*T).inner\n" + at + "leaf\n"
	if err := in.confirm(said); err != nil {
		t.Error(err)
	}
	for name, cut := range map[string]string{
		"nothing":      "",
		"the first":    strings.Replace(said, "inlining call to (*T).inner", "cannot inline", 1),
		"the second":   strings.Replace(said, at+"leaf", "", 1),
		"another line": strings.ReplaceAll(said, "m.go:7:", "m.go:6:"),
	} {
		if err := in.confirm(cut); err == nil || !strings.Contains(err.Error(), "the compiler does not put") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := os.ReadFile(in.profile); err != nil || len(b) == 0 {
		t.Errorf("profile of %d bytes, %v", len(b), err)
	}
}

// TestInliningRefused: a list that does not fit the source is refused, with its line.
func TestInliningRefused(t *testing.T) {
	for list, want := range map[string]string{
		"m.Outer > m.gone":              "line 1: there is no m.gone",
		"\nm.Outer > m.leaf":            "line 2: " + sourceRoot + "m.Outer does not call m.leaf",
		"m.Outer":                       "want functions between >",
		"Outer > m.leaf":                `"Outer" names no function of a package`,
		"x.Outer > m.leaf":              "list the files of x",
		"m.Outer > m.(*T).inner > leaf": `"leaf" names no function`,
	} {
		if _, err := readInlining(planted(t, list), "m", t.TempDir()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", list, err, want)
		}
	}
	if in, err := readInlining(planted(t, plantedList), "other", t.TempDir()); in != nil || err != nil {
		t.Errorf("a module without a list has %v, %v", in, err)
	}
}
