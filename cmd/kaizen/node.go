package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/cmd/internal/devnet"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/procs"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
)

func newSequence(std cli.IO) *cobra.Command {
	var mode string
	c := &cobra.Command{
		Use:     "sequence",
		Short:   "Run a write node (or, with --mode read, a read node)",
		Long:    "Run the write node of the chain in --data-dir: take transactions, seal blocks, serve RPC and sync.\nWith --mode read it is 'kaizen follow'.",
		Example: "  kaizen sequence --config config.toml\n  kaizen sequence --mode read --write-node ws://localhost:9000 --data-dir read",
		Args:    cli.Args(),
	}
	c.Flags().StringVar(&mode, "mode", "write", "write or read")
	flags := cli.AddConfig(c.Flags(), cli.Write)
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch mode {
		case "read":
			return runRead(c.Context(), flags, std)
		case "write":
			return runWrite(c.Context(), flags, std)
		}
		return &cli.UsageError{Command: c.CommandPath(), Err: fmt.Errorf("--mode is %q, want write or read", mode)}
	}
	return c
}

func newFollow(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "follow",
		Short: "Run a read node: execute and check every block of another node",
		Long: "Run a read node: get every block from --write-node (a write node or another read node), execute it, and\n" +
			"serve it only if the state root matches. An empty --data-dir takes the chain's genesis on first contact;\n" +
			"--genesis-hash says which chain that must be. With --bootstrap it begins with the newest snapshot that\n" +
			"--write-node or a --source has, checked up to the state root, and executes only what came later; whatever\n" +
			"interrupts that, the next start goes on where it ended.",
		Example: "  kaizen follow --write-node ws://localhost:9000 --data-dir read\n" +
			"  kaizen follow --bootstrap --write-node ws://localhost:9000 --source localhost:9001 --data-dir read",
		Args: cli.Args(),
	}
	flags := cli.AddConfig(c.Flags(), cli.Read)
	c.RunE = func(c *cobra.Command, _ []string) error { return runRead(c.Context(), flags, std) }
	return c
}

func runWrite(ctx context.Context, flags *cli.ConfigFlags, std cli.IO) error {
	cfg, log, err := loadNode(flags, cli.Write, std)
	if err != nil {
		return err
	}
	if cfg.Sync.WriteNode != "" {
		return cli.Hint(cli.Usagef("sync.write_node is %s, and a write node follows nobody", cfg.Sync.WriteNode), "a read node is 'kaizen follow' or 'kaizen sequence --mode read'")
	}
	g, err := mustBeWriteDir(cfg.DataDir)
	if err != nil {
		return err
	}
	if err := adoptGenesis(cfg, g); err != nil {
		return err
	}
	program, err := node.LoadProgram(ctx, &cfg.Config, log)
	if err != nil {
		return err
	}
	defer program.Close()
	w, err := node.NewWriter(ctx, cfg.Config, node.Deps{Program: program, Log: log})
	if err != nil {
		return explain(err, cfg)
	}
	rpc, sync := w.Addrs()
	log.Info("write node is up", "rpc", rpc, "sync", sync, "data_dir", cfg.DataDir, "height", w.Head().Height)
	cli.NotifyUp(ctx, log)
	procs.Oversubscribe()
	return explain(w.Run(ctx), cfg)
}

func runRead(ctx context.Context, flags *cli.ConfigFlags, std cli.IO) error {
	cfg, log, err := loadNode(flags, cli.Read, std)
	if err != nil {
		return err
	}
	if cfg.Sync.WriteNode == "" {
		return cli.Hint(cli.Usagef("--write-node is missing: the node to get blocks from"), "a write node on this machine is at ws://localhost:9000")
	}
	if err := mustBeReadDir(cfg.DataDir); err != nil {
		return err
	}
	program, err := node.LoadProgram(ctx, &cfg.Config, log)
	if err != nil {
		return err
	}
	defer program.Close()
	r, err := node.NewReader(ctx, cfg.Config, node.Deps{Program: program, Log: log, Progress: showProgress(std, log)})
	if err != nil {
		return explainFetch(explain(err, cfg))
	}
	if g, err := readGenesis(cfg.DataDir); err != nil {
		return err
	} else if err := adoptGenesis(cfg, g); err != nil {
		return err
	}
	rpc, sync := r.Addrs()
	log.Info("read node is up", "rpc", rpc, "sync", sync, "data_dir", cfg.DataDir, "height", r.Head().Height, "follows", cfg.Sync.WriteNode)
	cli.NotifyUp(ctx, log)
	procs.Oversubscribe()
	return explain(r.Run(ctx), cfg)
}

// adoptGenesis gives settings that genesis fixed and nobody set the chain's
// values; one that somebody set to another value is a mistake.
func adoptGenesis(cfg *cli.Config, g *chain.Genesis) error {
	c := &cfg.Config
	for _, s := range []struct {
		key   string
		same  bool
		adopt func()
	}{
		{"block.interval_ms", c.Block.IntervalMs == g.IntervalMs, func() { c.Block.IntervalMs = g.IntervalMs }},
		{"block.max_txs_per_block", c.Block.MaxTxsPerBlock == g.MaxTxsPerBlock, func() { c.Block.MaxTxsPerBlock = g.MaxTxsPerBlock }},
		{"oracle.max_stale_ms", c.Oracle.MaxStaleMs == g.MaxStaleMs, func() { c.Oracle.MaxStaleMs = g.MaxStaleMs }},
		{"settler.enabled", c.Settler.Enabled == g.SettlerEnabled, func() { c.Settler.Enabled = g.SettlerEnabled }},
		{"settler.address", c.Settler.Address == g.Settler, func() { c.Settler.Address = g.Settler }},
	} {
		if v, set := cfg.Lookup(s.key); set && !s.same {
			return cli.Hint(cli.Usagef("%s is %v (%s), and this chain's genesis fixed another value", s.key, v.Value, v.Origin),
				"'kaizen inspect genesis --data-dir %s' shows it; only a new chain can have another", c.DataDir)
		}
		s.adopt()
	}
	return nil
}

// loadNode reads the configuration of a node and makes its logger.
func loadNode(flags *cli.ConfigFlags, role cli.Role, std cli.IO) (*cli.Config, *slog.Logger, error) {
	cfg, err := flags.Load(role)
	if err != nil {
		return nil, nil, err
	}
	log := cli.NewLogger(std.Err, cfg.Log)
	for _, name := range cfg.Unknown {
		log.Warn("environment variable is no setting", "name", name)
	}
	if cfg.File != "" {
		log.Info("configuration", "file", cfg.File)
	}
	return cfg, log, nil
}

func hasSequencerKey(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, node.KeyFileName))
	return !errors.Is(err, fs.ErrNotExist)
}

// mustBeWriteDir and mustBeReadDir keep the two kinds of directory apart: a read
// node may roll blocks back, a write node never may.
func mustBeWriteDir(dir string) (*chain.Genesis, error) {
	g, err := readGenesis(dir)
	if err != nil {
		return nil, err
	}
	if !hasSequencerKey(dir) {
		return nil, cli.Hint(fmt.Errorf("%s is a read node's directory: it has no %s (chain %s)", dir, node.KeyFileName, g.Hash()),
			"run it with 'kaizen follow', or choose the write node's directory with --data-dir")
	}
	return g, nil
}

func mustBeReadDir(dir string) error {
	if !hasSequencerKey(dir) {
		return nil
	}
	return cli.Hint(fmt.Errorf("%s is a write node's directory: it has a %s", dir, node.KeyFileName),
		"give the read node a directory of its own: --data-dir %s-read", dir)
}

// readGenesis reads the chain of a directory without locking it.
func readGenesis(dir string) (*chain.Genesis, error) {
	s, err := openStore(dir)
	if err != nil {
		return nil, err
	}
	return s.Genesis(), s.Close()
}

// openStore opens a directory to look at it, while its node may be running.
func openStore(dir string) (*store.Store, error) {
	s, err := store.Open(dir, store.Options{ReadOnly: true})
	return s, explainDir(err, dir)
}

// explainDir adds advice to an error about a data directory.
func explainDir(err error, dir string) error {
	var damage *store.CorruptionError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &damage) && !errors.Is(err, node.ErrVerification):
		err = fmt.Errorf("%w: %w", node.ErrVerification, err)
	case errors.Is(err, store.ErrNotInitialized), errors.Is(err, fs.ErrNotExist):
		return cli.Hint(err, "%s", whereIsTheChain(dir))
	case errors.Is(err, store.ErrLocked):
		return cli.Hint(err, "another kaizen runs on %s; stop it, or choose another --data-dir", dir)
	case errors.Is(err, syscall.ENOSPC):
		return cli.Hint(err, "make room on the disk of %s and start again: what was answered is there; 'kaizen inspect disk' shows what takes the space", dir)
	case errors.Is(err, fs.ErrPermission):
		return cli.Hint(err, "run as the user that owns %s, or choose another --data-dir", dir)
	}
	return err
}

// whereIsTheChain guesses what was meant by a directory without a chain.
func whereIsTheChain(dir string) string {
	for _, sub := range []string{devnet.WriteDir, devnet.ReadDir} {
		if _, err := os.Stat(filepath.Join(dir, sub, "VERSION")); err == nil {
			return fmt.Sprintf("%s was made by 'kaizen dev'; name one of its nodes: --data-dir %s or %s", dir, filepath.Join(dir, devnet.WriteDir), filepath.Join(dir, devnet.ReadDir))
		}
	}
	return fmt.Sprintf("'kaizen init --data-dir %s' creates a chain there; --data-dir names another place", dir)
}

// explain adds advice to an error of a node.
func explain(err error, cfg *cli.Config) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return cli.Hint(err, "another program has that port; --rpc-listen and --sync-listen choose others")
	case errors.Is(err, node.ErrPort):
		return cli.Hint(err, "--rpc-listen and --sync-listen want an address of this machine and a port that this user may listen on")
	case errors.Is(err, stf.ErrModule):
		return cli.Hint(err, "--stf names the module's file")
	}
	return explainDir(err, cfg.DataDir)
}
