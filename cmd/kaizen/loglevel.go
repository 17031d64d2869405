package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

func newLogLevel(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "log-level [LEVELS]",
		Short: "Show or change what a running node writes to its log",
		Long: "Show or change what the node that runs on --data-dir writes to its log, until it is started again.\n" +
			"LEVELS is " + cli.LevelsAccepted + ".\nJSON: {level, was}.",
		Example: "  kaizen log-level --data-dir write\n  kaizen log-level info,sync=debug --data-dir write",
		Args:    cli.Args("[LEVELS]"),
		ValidArgsFunction: cobra.FixedCompletions([]string{"debug", "info", "warn", "error"},
			cobra.ShellCompDirectiveNoFileComp),
	}
	flags := cli.AddConfig(c.Flags(), cli.Write, "data_dir")
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := flags.Load(cli.Write)
		if err != nil {
			return err
		}
		ask := map[string]string{}
		if len(args) == 1 {
			if _, err := logs.ParseLevels(args[0]); err != nil {
				return &cli.UsageError{Command: c.CommandPath(), Err: err}
			}
			ask["level"] = args[0]
		}
		var v node.LogLevels
		if err := explainAsk(node.Ask(c.Context(), cfg.DataDir, "log", ask, &v), cfg.DataDir); err != nil {
			return err
		}
		return out.Print(std.Out, &v, func(t *cli.Table) {
			t.Row("level", v.Level)
			if v.Was != v.Level {
				t.Row("was", v.Was)
			}
		})
	}
	return c
}

// explainAsk adds advice to an error of asking the node of a data directory.
func explainAsk(err error, dir string) error {
	switch {
	case errors.Is(err, node.ErrNotRunning):
		return cli.Hint(err, "%s", "--data-dir names the directory of the node that is meant")
	case errors.Is(err, client.ErrUnreachable):
		return cli.Hint(err, "the node on %s is gone without a word, or busy starting", dir)
	}
	return explainDir(err, dir)
}
