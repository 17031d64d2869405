package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// IO is what a program talks to.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// Execute runs one command line and returns the exit code. Unless root does
// something itself, a first word that is no verb of root and names an executable
// <program>-<word> on PATH is a plugin.
func Execute(ctx context.Context, root *cobra.Command, std IO, args []string) int {
	root.SetArgs(args)
	root.SetIn(std.In)
	root.SetOut(std.Out)
	root.SetErr(std.Err)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(flagError)
	verbs := root.RunE == nil // or a program that does one thing, and has no plugins
	if verbs {
		requireVerb(root)
	}
	// Built now, so that a plugin cannot take the name of a verb that cobra adds.
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	closeCompletion(root)

	err := errNoPlugin
	if verbs {
		err = runPlugin(ctx, root, std, args)
	}
	verb := root
	if err == errNoPlugin {
		verb, err = root.ExecuteContextC(ctx)
	}
	if err != nil {
		report(std.Err, root.Name(), wantsJSON(verb), err)
	}
	return ExitCode(err)
}

// flagError is a mistake in a flag, with the flag that was probably meant.
func flagError(c *cobra.Command, err error) error {
	usage := error(&UsageError{Command: c.CommandPath(), Err: err})
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return usage
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	name := unknown.GetSpecifiedName()
	if near := nearest(name, names); near != "" && distance(name, near) <= 2 { // names of flags are short
		return Hint(usage, "did you mean '--%s'?", near)
	}
	return usage
}

// Group makes a verb that only holds other verbs.
func Group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(verbs...)
	requireVerb(c)
	return c
}

// requireVerb makes c fail with advice unless one of its verbs follows. (cobra on
// its own prints the help of a group and succeeds, whatever follows it.)
func requireVerb(c *cobra.Command) {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			c.SetOut(c.ErrOrStderr())
			if err := c.Help(); err != nil {
				return err
			}
			return &UsageError{Err: fmt.Errorf("a verb is missing after '%s'", c.CommandPath())}
		}
		err := error(&UsageError{Command: c.CommandPath(), Err: fmt.Errorf("%s has no verb %q", c.CommandPath(), args[0])})
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			err = Hint(err, "did you mean '%s %s'?", c.CommandPath(), near[0])
		}
		return err
	}
	c.SuggestionsMinimumDistance = 2
	c.DisableFlagsInUseLine = true
}

// closeCompletion gives cobra's own group the same manners.
func closeCompletion(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			requireVerb(c)
		}
	}
}

// Args accepts exactly the named arguments; a last name that ends in "..." takes
// one or more, one in brackets is optional, and one in brackets before "..." takes
// any number.
func Args(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		least, most := len(names), len(names)
		if n := len(names); n > 0 && strings.HasSuffix(names[n-1], "...") {
			most = max(most, len(args))
		}
		if n := len(names); n > 0 && strings.HasPrefix(names[n-1], "[") {
			least--
		}
		switch {
		case len(args) < least:
			missing, are := names[len(args):least], "is"
			if len(missing) > 1 {
				are = "are"
			}
			return &UsageError{Command: c.CommandPath(), Err: fmt.Errorf("%s: %s %s missing", c.CommandPath(), strings.Join(missing, " and "), are)}
		case len(args) > most:
			return &UsageError{Command: c.CommandPath(), Err: fmt.Errorf("%s: nothing may follow %s, got %q", c.CommandPath(), orNothing(names), args[most])}
		}
		return nil
	}
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "it"
	}
	return names[len(names)-1]
}
