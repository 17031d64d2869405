// Command stfbuild compiles the modules under stf-modules, the same bytes on
// every machine and in every directory, and writes each beside its source.
//
//	go run ./tools/stfbuild            rebuild and write what changed
//	go run ./tools/stfbuild -check     rebuild and compare; exit 1 on a difference
//
// It imports nothing of the project: it must work when a compiled module is
// missing. It is a program of its own, run by one person at a time.
//
// A compiled Go program is a function of the source and of the toolchain; which
// toolchain made the committed modules is in stf-modules/TOOLCHAIN.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// modules are the directories below stf-modules that have a guest.
var modules = []string{"rfq", "counter", "chaos"}

// toolchainFile names the Go version that made the committed modules.
const toolchainFile = "stf-modules/TOOLCHAIN"

func main() {
	check := flag.Bool("check", false, "compare with the committed modules instead of writing them")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "stfbuild:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	for _, name := range modules {
		wasm, err := build(root, name)
		if err != nil {
			return err
		}
		if err := deliver(filepath.Join(root, path(name)), wasm, check); err != nil {
			return err
		}
	}
	version, err := toolchain(root)
	if err != nil {
		return err
	}
	return deliver(filepath.Join(root, toolchainFile), []byte(version+"\n"), check)
}

// toolchain is the version of the Go command that builds.
func toolchain(root string) (string, error) {
	cmd := exec.Command("go", "env", "GOVERSION")
	cmd.Dir, cmd.Env = root, environment()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask the Go command for its version: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// path is where a compiled module lives, relative to the repository.
func path(name string) string {
	return filepath.Join("stf-modules", name, name+".wasm")
}

// deliver writes want to file if it differs, or says that it does.
func deliver(file string, want []byte, check bool) error {
	got, err := os.ReadFile(file)
	if err == nil && bytes.Equal(got, want) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not what its source compiles to: run go run ./tools/stfbuild and commit it", file)
	}
	fmt.Fprintf(os.Stderr, "stfbuild: wrote %s (%d bytes)\n", file, len(want))
	return os.WriteFile(file, want, 0o644)
}

// build compiles one module. Everything that could make two builds differ is
// fixed: paths, version control stamps, build ids, and every Go setting of the
// environment.
func build(root, name string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "stfbuild")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, name+".wasm")
	in, err := readInlining(root, name, dir)
	if err != nil {
		return nil, err
	}
	args := append([]string{"build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}, in.flags()...)
	cmd := exec.Command("go", append(args, "-o", out, "./stf-modules/"+name+"/guest")...)
	cmd.Dir = root
	cmd.Env = environment()
	msg, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w\n%s", name, err, msg)
	}
	if err := in.confirm(string(msg)); err != nil {
		return nil, fmt.Errorf("compile %s: %w", name, err)
	}
	return os.ReadFile(out)
}

// environment is the caller's, less whatever Go reads from it, but for where its
// caches are.
func environment() []string {
	keep := []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOROOT", "GOPROXY", "GOSUMDB"}
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "GO") && !strings.HasPrefix(name, "CGO_") || slices.Contains(keep, name) {
			env = append(env, kv)
		}
	}
	return append(env, "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOENV=off", "GOTOOLCHAIN=local")
}

// moduleRoot is the directory of go.mod, from the working directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the working directory: run stfbuild inside the repository")
		}
		dir = parent
	}
}
