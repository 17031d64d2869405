package main

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/store"
)

// TestAdviceOnDirectories: what goes wrong with a directory says what to do about
// it, and damage is the verification that failed.
func TestAdviceOnDirectories(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{syscall.ENOSPC, cli.ExitError, "make room on the disk of d"},
		{fs.ErrPermission, cli.ExitError, "run as the user that owns d"},
		{store.ErrLocked, cli.ExitError, "another kaizen runs on d"},
		{store.ErrNotInitialized, cli.ExitError, "'kaizen init --data-dir d'"},
		{&store.CorruptionError{}, cli.ExitVerification, ""},
	} {
		err := explainDir(fmt.Errorf("open d: %w", c.err), "d")
		if got := cli.ExitCode(err); got != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.code)
		}
		if hints := strings.Join(cli.Hints(err), "\n"); !strings.Contains(hints, c.hint) || hints != "" && c.hint == "" {
			t.Errorf("%v: advice %q, want %q", c.err, hints, c.hint)
		}
	}
	if explainDir(nil, "d") != nil {
		t.Error("advice without an error")
	}
}
