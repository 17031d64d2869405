package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/cmd/internal/devnet"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
)

// localOracle is where `kaizen oracle` serves on the same machine: what a new
// config file names.
const localOracle = "http://" + oracleListen

// maxParamsFile bounds a file of parameters, bytes. JSON takes more than what it
// comes to; that has a limit of its own.
const maxParamsFile = 4 * chain.MaxParamsBytes

// marketModule is the name of the market in its schema.
const marketModule = "rfq"

// defaultChainID is the chain id of a chain that was given none.
const defaultChainID = 1

type initOptions struct {
	config  *cli.ConfigFlags
	chainID uint64
	params  string
	dev     bool
	missing bool
}

func newInit(std cli.IO) *cobra.Command {
	o := &initOptions{}
	c := &cobra.Command{
		Use:   "init",
		Short: "Create a write node's data directory: key, genesis, config file",
		Long: "Create a write node's data directory: sequencer.key, the genesis document, config.toml.\n" +
			"Nothing that is there is overwritten. What decides results (block interval and size, staleness, settler)\n" +
			"is fixed in genesis from the flags, the environment and the config file in force.\n" +
			"JSON: {data_dir, config_file, chain_id, genesis_hash, module, module_hash, sequencer}.",
		Example: "  kaizen init --dev-accounts\n  kaizen init --data-dir /var/lib/kaizen --params market.json --settler-address 0x…",
		Args:    cli.Args(),
	}
	f := c.Flags()
	o.config = cli.AddConfig(f, cli.Write)
	f.Uint64Var(&o.chainID, "chain-id", defaultChainID, "chain id, 1 or more")
	f.StringVar(&o.params, "params", "", "`file` with the module's genesis parameters, or -: JSON for the market, bytes as they are for another module")
	f.BoolVar(&o.dev, "dev-accounts", false, "market parameters for development: 10 funded accounts whose keys are public")
	f.BoolVar(&o.missing, "if-missing", false, "succeed and change nothing if the directory holds a chain already")
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if (o.params == "") == !o.dev {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("choose one of --params FILE and --dev-accounts")}
		}
		cfg, err := o.config.Load(cli.Write)
		if err != nil {
			return err
		}
		return runInit(c.Context(), o, cfg, out, std)
	}
	return c
}

// created is what init prints.
type created struct {
	DataDir     string     `json:"data_dir"`
	ConfigFile  string     `json:"config_file"`
	ChainID     uint64     `json:"chain_id"`
	GenesisHash chain.Hash `json:"genesis_hash"`
	Module      string     `json:"module"`
	ModuleHash  chain.Hash `json:"module_hash"`
	Sequencer   string     `json:"sequencer"`
}

func runInit(ctx context.Context, o *initOptions, cfg *cli.Config, out *cli.Output, std cli.IO) error {
	if err := mustBeUnused(cfg.DataDir); o.missing && errors.Is(err, store.ErrInitialized) {
		fmt.Fprintf(std.Err, "%s holds a chain already, nothing was changed\n", cfg.DataDir)
		return nil
	} else if err != nil {
		return err
	}
	program, err := node.LoadProgram(ctx, &cfg.Config, cli.NewLogger(std.Err, cfg.Log))
	if err != nil {
		return err
	}
	defer program.Close()
	g, err := o.genesis(&cfg.Config, program, std)
	if err != nil {
		return err
	}
	if err := node.CheckGenesis(program, g); err != nil {
		return err
	}
	if err := createNode(cfg.DataDir, g); err != nil {
		return err
	}
	if _, set := cfg.Lookup("oracle.service_url"); !set {
		cfg.Oracle.ServiceURL = localOracle
	}
	file, err := writeNodeConfig(cfg, std)
	if err != nil {
		return err
	}
	v := created{DataDir: cfg.DataDir, ConfigFile: file, ChainID: g.ChainID, GenesisHash: g.Hash(), Module: program.Schema().Name,
		ModuleHash: g.ModuleHash, Sequencer: fmt.Sprintf("0x%x", g.Sequencer)}
	err = out.Print(std.Out, v, func(t *cli.Table) {
		t.Row("data directory", v.DataDir)
		t.Row("config file", v.ConfigFile)
		t.Row("chain id", v.ChainID)
		t.Row("genesis hash", v.GenesisHash)
		t.Row("module", v.Module, v.ModuleHash)
		t.Row("sequencer", v.Sequencer)
	})
	fmt.Fprintf(std.Err, "next: kaizen sequence --config %s\n", file)
	return err
}

// mustBeUnused refuses a directory that holds a chain.
func mustBeUnused(dir string) error {
	s, err := store.Open(dir, store.Options{ReadOnly: true})
	if err == nil {
		err = fmt.Errorf("%w: %s holds a chain already, genesis %s", store.ErrInitialized, dir, s.GenesisHash())
		return cli.Hint(errors.Join(err, s.Close()), "choose another --data-dir, or go on with it: kaizen sequence --data-dir %s", dir)
	}
	if errors.Is(err, store.ErrNotInitialized) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// genesis is the document of a new chain, its sequencer not filled in.
func (o *initOptions) genesis(cfg *node.Config, program stf.Program, std cli.IO) (*chain.Genesis, error) {
	if o.dev && cfg.Settler.Address == (chain.Address{}) {
		accounts, err := devnet.Accounts()
		if err != nil {
			return nil, err
		}
		cfg.Settler.Address = accounts[devnet.SettlerAccount].Address
	}
	g := &chain.Genesis{ChainID: o.chainID, Time: uint64(time.Now().UnixMilli()), IntervalMs: cfg.Block.IntervalMs,
		MaxTxsPerBlock: cfg.Block.MaxTxsPerBlock, MaxStaleMs: cfg.Oracle.MaxStaleMs, SettlerEnabled: cfg.Settler.Enabled,
		Settler: cfg.Settler.Address, ModuleHash: program.Hash()}
	var err error
	if o.dev {
		g.Params, err = devParams(program)
	} else {
		g.Params, err = readParams(program, o.params, std)
	}
	if err != nil {
		return nil, err
	}
	return g, g.Validate()
}

// devParams are for the market only: what another module wants, nobody here knows.
func devParams(program stf.Program) ([]byte, error) {
	if name := program.Schema().Name; name != marketModule {
		return nil, cli.Usagef("--dev-accounts are the market's, and this module is %s; --params FILE gives it its own parameters", name)
	}
	p, err := devnet.Params()
	if err != nil {
		return nil, err
	}
	return p.Append(nil), nil
}

// readParams reads the market's parameters from JSON; another module gets the
// file's bytes as they are.
func readParams(program stf.Program, name string, std cli.IO) ([]byte, error) {
	b, err := readInput(name, maxParamsFile, std)
	if err != nil || program.Schema().Name != marketModule {
		return b, err
	}
	p, err := params.ParseJSON(b)
	if err != nil {
		return nil, cli.Hint(fmt.Errorf("%s: %w", name, err), "'kaizen inspect genesis --params' prints those of a chain, to begin from")
	}
	return p.Append(nil), nil
}

// createNode makes the key and the chain. A key that is there is kept: either the
// operator brought it, or an earlier attempt ended between the two steps.
func createNode(dir string, g *chain.Genesis) error {
	key, err := node.LoadSequencerKey(dir)
	if err != nil {
		if _, missing := os.Stat(filepath.Join(dir, node.KeyFileName)); !errors.Is(missing, fs.ErrNotExist) {
			return err
		}
		if key, err = node.CreateSequencerKey(dir); err != nil {
			return err
		}
	}
	copy(g.Sequencer[:], key.Public().(ed25519.PublicKey))
	return node.Init(dir, g)
}

// writeNodeConfig writes the directory's config file, unless it has one.
func writeNodeConfig(cfg *cli.Config, std cli.IO) (string, error) {
	name := filepath.Join(cfg.DataDir, cli.ConfigName)
	written := cfg.Config
	written.DataDir = "."
	for _, path := range []*string{&written.STF.File, &written.STF.CacheDir} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path) // it was relative to here, not to the file
		if err != nil {
			return "", err
		}
		*path = absolute
	}
	err := writeNew(name, []byte(cli.WriteConfigFile(&written, cli.Write)))
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintf(std.Err, "kept the config file that is there: %s\n", name)
		return name, nil
	}
	return name, err
}
