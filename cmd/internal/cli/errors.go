package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// Exit codes (protocol section 1).
const (
	ExitOK           = 0
	ExitError        = 1
	ExitUsage        = 2 // the command line, the environment or the config file is wrong
	ExitVerification = 3 // a block, state or module is not what it says it is
	ExitNotReady     = 4
	ExitUnreachable  = 5
)

// ErrNotReady is wrapped when a node answers that it is not ready.
var ErrNotReady = errors.New("not ready")

// ExitCode is the one place where an error becomes an exit code.
func ExitCode(err error) int {
	var usage *UsageError
	var plugin *PluginError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &plugin):
		return plugin.Code
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, node.ErrVerification):
		return ExitVerification
	case errors.Is(err, ErrNotReady), notReady(err):
		return ExitNotReady
	case errors.Is(err, node.ErrUnreachable), errors.Is(err, client.ErrUnreachable):
		return ExitUnreachable
	}
	return ExitError
}

// notReady says whether a node answered that it cannot do it now.
func notReady(err error) bool {
	var answer *client.Error
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Code {
	case api.CodeBusy, api.CodeOverloaded, api.CodeRateLimited, api.CodeStopping:
		return true
	}
	return false
}

// UsageError is a mistake in what was typed: the command line, an environment
// variable, or the config file.
type UsageError struct {
	Command string // whose --help tells more; may be empty
	Err     error
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef makes a [UsageError].
func Usagef(format string, args ...any) error { return &UsageError{Err: fmt.Errorf(format, args...)} }

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint adds advice to err: what the person at the keyboard can do next.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// Hints returns all advice in err, outermost first.
func Hints(err error) (hints []string) {
	for err != nil {
		if h := (*hinted)(nil); errors.As(err, &h) {
			hints = append(hints, h.hint)
			err = h.error
			continue
		}
		break
	}
	if u := (*UsageError)(nil); errors.As(err, &u) && u.Command != "" {
		hints = append(hints, fmt.Sprintf("'%s --help' shows how it is used", u.Command))
	}
	return hints
}

// report prints err to w: for people, or as one JSON object when the verb was
// asked for JSON.
func report(w io.Writer, program string, asJSON bool, err error) {
	if p := (*PluginError)(nil); errors.As(err, &p) {
		return // it has spoken for itself
	}
	if asJSON {
		b, _ := json.Marshal(map[string]any{"error": err.Error(), "hints": Hints(err), "exit_code": ExitCode(err)})
		fmt.Fprintf(w, "%s\n", b)
		return
	}
	text := err.Error()
	if errors.Is(err, context.Canceled) {
		text = "interrupted"
	}
	fmt.Fprintf(w, "%s %s\n", Paint(w, Red, program+":"), strings.ReplaceAll(text, "\n", "\n  "))
	for _, h := range Hints(err) {
		fmt.Fprintf(w, "%s %s\n", Paint(w, Dim, "hint:"), h)
	}
}
