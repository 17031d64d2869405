package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestModulesAreReproducible compiles every module from a copy of its source in
// another directory and compares it with the committed bytes. Another toolchain
// makes other bytes, so there it cannot be checked.
func TestModulesAreReproducible(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	have, err := toolchain(root)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile(filepath.Join(root, toolchainFile))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(recorded)); have != want {
		t.Skipf("the committed modules were made with %s, this is %s: whether they match their source is not checked here", want, have)
	}
	dir := copySource(t, root)
	for _, name := range modules {
		got, err := build(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(root, path(name)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s (%d bytes) is not what its source compiles to (%d bytes): run go run ./tools/stfbuild and commit it", path(name), len(want), len(got))
		}
		if len(got) > maxModule {
			t.Errorf("%s is %d bytes, the ceiling is %d", path(name), len(got), maxModule)
		}
	}
}

// maxModule is a ceiling on the size of a compiled module, bytes: an empty Go
// guest has 1.8 MB, and what is far above it pulled in reflection or formatting.
const maxModule = 2_350_000

// copySource copies what modules are made of, and nothing that is compiled.
func copySource(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range []string{"go.mod", "go.sum"} {
		copyFile(t, filepath.Join(root, f), filepath.Join(dir, f))
	}
	from := filepath.Join(root, "stf-modules")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" && d.Name() != inlineFile || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		copyFile(t, path, filepath.Join(dir, rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDeliver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := deliver(file, []byte("a"), true); err == nil {
		t.Error("a missing file passes the check")
	}
	if err := deliver(file, []byte("a"), false); err != nil {
		t.Fatal(err)
	}
	if err := deliver(file, []byte("a"), true); err != nil {
		t.Error(err)
	}
	if err := deliver(file, []byte("b"), true); err == nil {
		t.Error("a different file passes the check")
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOEXPERIMENT", "rangefunc")
	t.Setenv("GOWASM", "satconv")
	t.Setenv("GOCACHE", "/kept")
	env := strings.Join(environment(), "\n") + "\n"
	for _, bad := range []string{"GOEXPERIMENT=", "GOWASM=", "-mod=mod"} {
		if strings.Contains(env, bad) {
			t.Errorf("%s reaches the compiler", bad)
		}
	}
	if !strings.Contains(env, "GOCACHE=/kept\n") || !strings.Contains(env, "GOARCH=wasm\n") {
		t.Error("GOCACHE or GOARCH is missing")
	}
}
