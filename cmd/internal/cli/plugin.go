package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// PluginError is how a plugin ended; it has printed its own words.
type PluginError struct {
	Path string
	Code int
}

func (e *PluginError) Error() string { return fmt.Sprintf("%s: exit code %d", e.Path, e.Code) }

var errNoPlugin = errors.New("not a plugin")

// runPlugin runs <program>-<word> from PATH if args starts with a word that is no
// verb of root. A built-in verb always wins.
func runPlugin(ctx context.Context, root *cobra.Command, std IO, args []string) error {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") || strings.ContainsAny(args[0], `/\`) || isVerb(root, args[0]) {
		return errNoPlugin
	}
	path, err := exec.LookPath(root.Name() + "-" + args[0])
	if err != nil {
		return errNoPlugin
	}
	c := exec.CommandContext(ctx, path, args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = std.In, std.Out, std.Err
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	err = c.Run()
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		return &PluginError{Path: path, Code: exitCodeOf(ended)}
	}
	return err
}

// exitCodeOf is the shell's convention for a process that died by a signal.
func exitCodeOf(e *exec.ExitError) int {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}

func isVerb(root *cobra.Command, word string) bool {
	if strings.HasPrefix(word, cobra.ShellCompRequestCmd) {
		return true
	}
	for _, c := range root.Commands() {
		if c.Name() == word || c.HasAlias(word) {
			return true
		}
	}
	return false
}
