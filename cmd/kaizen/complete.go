package main

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// Completion of values for shells: what stands in a help text as PAIR or ID is
// looked up where it is known, on the node or in the directory that the line names
// so far. It never prints an error: whoever presses Tab has asked nothing.

// completePatience bounds a question that a Tab waits for.
const completePatience = time.Second

// maxCompleted bounds a list of suggestions.
const maxCompleted = 50

// completer suggests values; the verb's flags are parsed as far as they are typed.
type completer func(c *cobra.Command) []string

// argumentValues are the completers of arguments, by their names in help texts. An
// argument that is not here has no suggestions, and is no file.
var argumentValues = map[string]completer{
	"PAIR": marketNames, "ID": thesisIDs, "HEIGHT": blockRefs, "N": storedHeights, "A": storedHeights, "B": storedHeights, "ADDRESS": keyAddresses,
	"METHOD": methodNames, "SNAPSHOT": snapshotHeights, "PERMISSION": permissionWords, "LEVELS": logLevels,
}

// otherValues are arguments whose name means something else there.
var otherValues = map[string]completer{"process-withdrawal ID": nothing}

// flagValues are the completers of flags, by name.
var flagValues = map[string]completer{
	"account": keyAddresses, "pair": marketNames, "pairs": marketNames, "height": blockRefs, "from-snapshot": snapshotStarts, "log-level": logLevels,
	"rpc-url": func(*cobra.Command) []string { return []string{defaultRPC, "http://127.0.0.1:8547"} },
}

// addCompletions gives every verb below c its suggestions.
func addCompletions(c *cobra.Command) {
	for _, verb := range c.Commands() {
		addCompletions(verb)
	}
	if c.HasSubCommands() {
		return
	}
	if c.ValidArgsFunction == nil {
		c.ValidArgsFunction = completeArguments
	}
	for name, values := range flagValues {
		suggest(c, name, values)
	}
	for _, s := range cli.Settings() {
		if len(s.Values) > 0 {
			suggest(c, s.FlagName(), func(*cobra.Command) []string { return s.Values })
		}
	}
}

// suggest gives a flag its completer, if the verb has the flag and it has none.
func suggest(c *cobra.Command, flag string, values completer) {
	if c.Flags().Lookup(flag) == nil {
		return
	}
	if _, has := c.GetFlagCompletionFunc(flag); has {
		return
	}
	err := c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return begin(values(c), typed), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag is there and has no completer: looked up above
	}
}

func completeArguments(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	name, ok := argumentName(c.Use, len(args))
	switch {
	case !ok:
		return nil, cobra.ShellCompDirectiveNoFileComp
	case name == "FILE" || name == "PATH":
		return nil, cobra.ShellCompDirectiveDefault
	}
	values := argumentValues[name]
	if other := otherValues[c.Name()+" "+name]; other != nil {
		values = other
	}
	if values == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return begin(values(c), typed), cobra.ShellCompDirectiveNoFileComp
}

// argumentName is what the help text calls the n-th argument; a last one with
// "..." stands for all that follow.
func argumentName(use string, n int) (string, bool) {
	names := strings.Fields(use)[1:]
	if len(names) == 0 {
		return "", false
	}
	last := names[len(names)-1]
	switch {
	case n < len(names):
		last = names[n]
	case !strings.Contains(last, "..."):
		return "", false
	}
	return strings.Trim(last, "[]."), true
}

// begin keeps what begins as typed, whatever the case of hex digits.
func begin(values []string, typed string) []string {
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool {
		return !strings.HasPrefix(strings.ToLower(v), strings.ToLower(typed))
	})
	return values[:min(len(values), maxCompleted)]
}

func nothing(*cobra.Command) []string { return nil }

func logLevels(*cobra.Command) []string { return []string{"debug", "info", "warn", "error"} }

func permissionWords(*cobra.Command) []string { return permissionNames(^uint8(0)) }

// flagOr is a flag's value, or the environment's, or a default.
func flagOr(c *cobra.Command, flag, variable, otherwise string) string {
	f := c.Flags().Lookup(flag)
	switch {
	case f != nil && f.Changed:
		return f.Value.String()
	case os.Getenv(variable) != "":
		return os.Getenv(variable)
	}
	return otherwise
}

// askNode calls f with the node that the line names.
func askNode(c *cobra.Command, f func(context.Context, *client.Client) error) {
	node, err := client.New(flagOr(c, "rpc-url", rpcVariable, defaultRPC))
	if err != nil {
		return
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completePatience)
	defer cancel()
	if err := f(ctx, node); err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
}

func marketNames(c *cobra.Command) (names []string) {
	askNode(c, func(ctx context.Context, n *client.Client) error {
		markets, err := fetchMarkets(ctx, n)
		for _, m := range markets {
			names = append(names, m.Name)
		}
		return err
	})
	return names
}

func thesisIDs(c *cobra.Command) (ids []string) {
	askNode(c, func(ctx context.Context, n *client.Client) error {
		var page struct {
			Theses []thesis `json:"theses"`
		}
		err := n.Call(ctx, "kaizen_listTheses", []any{thesesFilter{State: "open", Limit: maxCompleted}}, &page)
		for i := range page.Theses {
			t := &page.Theses[i]
			ids = append(ids, strconv.FormatUint(t.ID, 10)+"\t"+pairText(t.Base, t.Quote.Quote))
		}
		return err
	})
	return ids
}

// blockRefs are the tags, and the newest heights.
func blockRefs(c *cobra.Command) []string {
	refs := strings.Split(tagNames(), ", ")
	askNode(c, func(ctx context.Context, n *client.Client) error {
		s, err := n.Status(ctx)
		refs = append(refs, newest(1, s.Height)...)
		return err
	})
	return refs
}

// newest are heights from the top down.
func newest(from, to uint64) (heights []string) {
	for h := to; h >= max(from, 1) && len(heights) < maxCompleted/2; h-- {
		heights = append(heights, strconv.FormatUint(h, 10))
	}
	return heights
}

func methodNames(c *cobra.Command) (names []string) {
	askNode(c, func(ctx context.Context, n *client.Client) error {
		var document struct {
			Methods []struct {
				Name string `json:"name"`
			} `json:"methods"`
		}
		err := n.Call(ctx, "rpc.discover", nil, &document)
		for _, m := range document.Methods {
			names = append(names, m.Name)
		}
		return err
	})
	return names
}

func dataDir(c *cobra.Command) string {
	return flagOr(c, "data-dir", "KAIZEN_DATA_DIR", cli.DefaultDataDir())
}

func storedHeights(c *cobra.Command) []string {
	s, err := openStore(dataDir(c))
	if err != nil {
		return nil
	}
	defer s.Close()
	heights := newest(s.Base(), s.Height())
	if first := strconv.FormatUint(max(1, s.Base()), 10); s.Height() > 0 && !slices.Contains(heights, first) {
		heights = append(heights, first)
	}
	return heights
}

func snapshotHeights(c *cobra.Command) (heights []string) {
	list, err := node.SnapshotDir(dataDir(c)).List()
	if err != nil {
		return nil
	}
	for _, i := range list {
		heights = append(heights, strconv.FormatUint(i.Height, 10)+"\t"+i.Name)
	}
	return heights
}

func snapshotStarts(c *cobra.Command) []string {
	return append([]string{"latest"}, snapshotHeights(c)...)
}

func keyAddresses(c *cobra.Command) (addresses []string) {
	dir := string(cli.KeysDir(cli.DefaultDataDir()))
	if f := c.Flags().Lookup("keys"); f != nil {
		dir = f.Value.String()
	}
	entries, err := keys.Dir(dir).List()
	if err != nil {
		return nil
	}
	for _, e := range entries {
		addresses = append(addresses, e.Address.String())
	}
	return addresses
}
