package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/snapshot"
)

// fetched is what `snapshot fetch` prints.
type fetched struct {
	node.SnapshotInfo
	Links []string `json:"links"` // names of what restores it, the full one first
}

func newSnapshotFetch(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "fetch",
		Short: "Get the newest snapshot from other nodes and check all of it",
		Long: "Get the newest snapshot that --write-node or a --source has, chunk by chunk and from all of them at once, into\n" +
			"the snapshots of --data-dir, and check it up to the state root. Whatever interrupts it, the next call goes on\n" +
			"where it ended. None of the nodes is believed; one that lies is named. The chain is that of the directory, or\n" +
			"the first node's, which --genesis-hash pins. 'kaizen follow --bootstrap' starts from what was fetched.\n" +
			"JSON: {" + infoFields + ", links}.",
		Example: "  kaizen snapshot fetch --write-node ws://localhost:9000 --source localhost:9001 --data-dir read",
		Args:    cli.Args(),
	}
	atMost := c.Flags().Uint64("at-most", 0, "of a block up to this `height` (default: the newest)")
	flags := cli.AddConfig(c.Flags(), cli.Read, append([]string{"sync.write_node", "sync.sources", "sync.genesis_hash"}, offlineKeys...)...)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if c.Flags().Changed("at-most") && *atMost == 0 {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("--at-most is 0, want 1 or more")}
		}
		v, err := fetchSnapshot(c.Context(), flags, *atMost, std)
		if err != nil {
			return err
		}
		return out.Print(std.Out, v, func(t *cli.Table) {
			printSnapshot(t, &v.SnapshotInfo)
			for _, name := range v.Links[:len(v.Links)-1] {
				t.Row("stands on", name)
			}
		})
	}
	return c
}

func fetchSnapshot(ctx context.Context, flags *cli.ConfigFlags, atMost uint64, std cli.IO) (*fetched, error) {
	cfg, err := flags.Load(cli.Read)
	if err != nil {
		return nil, err
	}
	if cfg.Sync.WriteNode == "" && len(cfg.Sync.Sources) == 0 {
		return nil, cli.Hint(cli.Usagef("--write-node and --source are missing: a node to get the snapshot from"), "a write node on this machine is at ws://localhost:9000")
	}
	log := cli.NewLogger(std.Err, cfg.Log)
	program, err := node.LoadProgram(ctx, &cfg.Config, log)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	links, err := node.FetchSnapshot(ctx, cfg.Config, node.Deps{Program: program, Log: log, Progress: showProgress(std, log)}, atMost)
	if err != nil {
		return nil, explainFetch(explain(explainSnapshot(err), cfg))
	}
	return fetchedOf(links), nil
}

func fetchedOf(links []*snapshot.Snapshot) *fetched {
	v := &fetched{SnapshotInfo: node.InfoOf(links[len(links)-1])}
	for _, s := range links {
		v.Links = append(v.Links, s.Manifest.Name())
	}
	return v
}

// showProgress is how a node shows what takes long while it starts.
func showProgress(std cli.IO, log *slog.Logger) func(what, unit string) (node.Progress, func()) {
	return func(what, unit string) (node.Progress, func()) {
		p := cli.NewProgress(std.Err, log, what, unit)
		return progressOf(p), p.Done
	}
}

// explainFetch adds advice to an error of a fetch or a bootstrap.
func explainFetch(err error) error {
	switch {
	case errors.Is(err, node.ErrFetching):
		return cli.Hint(err, "wait for the other process, or choose another --data-dir")
	case errors.Is(err, node.ErrNoSpace):
		return cli.Hint(err, "make room, or choose a --data-dir on another disk; what has arrived is kept")
	case errors.Is(err, node.ErrNoSnapshot):
		return cli.Hint(err, "name other nodes with --source; 'kaizen snapshot create' takes one on a node")
	}
	return err
}
