package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
)

func newInspect(std cli.IO) *cobra.Command {
	return cli.Group("inspect", "Look into a data directory, without a network and while its node runs",
		newInspectDir(std), newInspectDisk(std), newInspectJournal(std), newInspectGenesis(std), newInspectBlock(std))
}

// look is a verb that reads one data directory.
type look struct {
	cmd   *cobra.Command
	flags *cli.ConfigFlags
	out   *cli.Output
}

func newLook(use, short, answer string, args ...string) *look {
	l := &look{cmd: &cobra.Command{Use: use, Short: short, Long: short + ".\nJSON: " + answer + ".", Args: cli.Args(args...)}}
	l.flags = cli.AddConfig(l.cmd.Flags(), cli.Write, "data_dir")
	l.out = cli.AddOutput(l.cmd)
	return l
}

// into opens the directory for f.
func (l *look) into(f func(*store.Store) error) error {
	return l.with(func(s *store.Store, _ *cli.Config) error { return f(s) })
}

// with opens the directory for an f that asks how its node is configured.
func (l *look) with(f func(*store.Store, *cli.Config) error) error {
	cfg, err := l.flags.Load(cli.Write)
	if err != nil {
		return err
	}
	s, err := openStore(cfg.DataDir)
	if err != nil {
		return err
	}
	return errors.Join(explainDir(f(s, cfg), cfg.DataDir), s.Close())
}

// directory is what `inspect dir` prints.
type directory struct {
	Dir         string      `json:"dir"`
	Role        string      `json:"role"`
	GenesisHash chain.Hash  `json:"genesis_hash"`
	Base        uint64      `json:"base"`   // first block kept
	Height      uint64      `json:"height"` // newest block
	Head        *api.Header `json:"head"`   // null while there is none
	Evidence    []string    `json:"evidence"`
}

func newInspectDir(std cli.IO) *cobra.Command {
	l := newLook("dir", "Show what a data directory holds", "{dir, role, genesis_hash, base, height, head, evidence}")
	l.cmd.RunE = func(*cobra.Command, []string) error {
		return l.into(func(s *store.Store) error {
			v, err := describeDir(s)
			if err != nil {
				return err
			}
			return l.out.Print(std.Out, &v, func(t *cli.Table) { printDir(t, &v) })
		})
	}
	return l.cmd
}

func describeDir(s *store.Store) (directory, error) {
	v := directory{Dir: s.Dir(), Role: api.RoleRead, GenesisHash: s.GenesisHash(), Base: s.Base(), Height: s.Height(), Evidence: []string{}}
	if hasSequencerKey(s.Dir()) {
		v.Role = api.RoleWrite
	}
	if head, ok := s.Head(); ok {
		rendered := api.HeaderOf(&head)
		v.Head = &rendered
	}
	names, err := s.Evidence()
	v.Evidence = append(v.Evidence, names...)
	return v, err
}

func printDir(t *cli.Table, v *directory) {
	t.Row("directory", v.Dir)
	t.Row("of a", v.Role+" node")
	t.Row("genesis", v.GenesisHash)
	switch {
	case v.Head == nil && v.Base > 1:
		t.Row("blocks", fmt.Sprintf("none yet; it begins with the snapshot of block %d", v.Base-1))
	case v.Head == nil:
		t.Row("blocks", "none yet")
	default:
		t.Row("blocks", fmt.Sprintf("%d to %d", v.Base, v.Height))
		t.Row("newest block", v.Head.Hash)
		t.Row("sealed", moment(v.Head.Time))
		t.Row("state root", v.Head.StateRoot)
	}
	for _, name := range v.Evidence {
		t.Row("evidence", name)
	}
}

// genesisDocument is what `inspect genesis` prints.
type genesisDocument struct {
	Hash           chain.Hash    `json:"hash"`
	ChainID        uint64        `json:"chain_id"`
	Time           uint64        `json:"time"`
	IntervalMs     uint64        `json:"interval_ms"`
	MaxTxsPerBlock uint32        `json:"max_txs_per_block"`
	MaxStaleMs     uint64        `json:"max_stale_ms"`
	SettlerEnabled bool          `json:"settler_enabled"`
	Settler        chain.Address `json:"settler"`
	Sequencer      api.Bytes     `json:"sequencer"`
	ModuleHash     chain.Hash    `json:"module_hash"`
	Params         api.Bytes     `json:"params"`
}

func newInspectGenesis(std cli.IO) *cobra.Command {
	l := newLook("genesis", "Show what a chain fixed at its beginning",
		"{hash, chain_id, time, interval_ms, max_txs_per_block, max_stale_ms, settler_enabled, settler, sequencer, module_hash, params}")
	onlyParams := l.cmd.Flags().Bool("params", false, "print the market's parameters as the JSON that 'kaizen init --params' reads")
	l.cmd.RunE = func(*cobra.Command, []string) error {
		return l.into(func(s *store.Store) error {
			g := s.Genesis()
			if *onlyParams {
				return printParams(g, std)
			}
			v := genesisDocument{Hash: s.GenesisHash(), ChainID: g.ChainID, Time: g.Time, IntervalMs: g.IntervalMs, MaxTxsPerBlock: g.MaxTxsPerBlock,
				MaxStaleMs: g.MaxStaleMs, SettlerEnabled: g.SettlerEnabled, Settler: g.Settler, Sequencer: g.Sequencer[:], ModuleHash: g.ModuleHash, Params: g.Params}
			return l.out.Print(std.Out, &v, func(t *cli.Table) { printGenesis(t, &v) })
		})
	}
	return l.cmd
}

func printParams(g *chain.Genesis, std cli.IO) error {
	p, ok := params.Decode(g.Params)
	if !ok {
		return fmt.Errorf("the parameters of module %s are not the market's", g.ModuleHash)
	}
	_, err := std.Out.Write(p.JSON())
	return err
}

func printGenesis(t *cli.Table, v *genesisDocument) {
	t.Row("hash", v.Hash)
	t.Row("chain id", v.ChainID)
	t.Row("time", moment(v.Time))
	t.Row("block interval", ms(v.IntervalMs))
	t.Row("transactions per block", fmt.Sprintf("at most %d", v.MaxTxsPerBlock))
	t.Row("prices are stale after", ms(v.MaxStaleMs))
	if v.SettlerEnabled {
		t.Row("settler", v.Settler)
	} else {
		t.Row("settler", "nobody may settle")
	}
	t.Row("sequencer", hexOf(v.Sequencer))
	t.Row("module", v.ModuleHash)
	t.Row("module parameters", fmt.Sprintf("%d bytes", len(v.Params)))
}

// storedBlock is what `inspect block` prints.
type storedBlock struct {
	Header       api.Header `json:"header"`
	Size         int        `json:"size"`
	OraclePrices int        `json:"oracle_prices"`
	OracleStale  bool       `json:"oracle_stale"`
	Transactions []storedTx `json:"transactions"`
	Problem      string     `json:"problem,omitempty"` // with signature or contents
}

type storedTx struct {
	ID     chain.Hash `json:"id"`
	Code   uint16     `json:"code"` // 0: ok
	Detail string     `json:"detail,omitempty"`
	Events int        `json:"events"`
	Raw    api.Bytes  `json:"raw"`
}

func newInspectBlock(std cli.IO) *cobra.Command {
	l := newLook("block N", "Show a stored block as it lies on disk: signature and contents are checked, nothing is executed",
		"{header, size, oracle_prices, oracle_stale, transactions: [{id, code, detail, events, raw}], problem}", "N")
	l.cmd.RunE = func(_ *cobra.Command, args []string) error {
		height, err := parseHeight(args[0])
		if err != nil {
			return err
		}
		return l.into(func(s *store.Store) error { return runInspectBlock(s, height, l.out, std) })
	}
	return l.cmd
}

func runInspectBlock(s *store.Store, height uint64, out *cli.Output, std cli.IO) error {
	b, err := s.Block(height)
	if err != nil && height == 0 {
		return cli.Hint(err, "block 0 is the genesis document: kaizen inspect genesis")
	}
	if err != nil {
		return cli.Hint(err, "blocks %d to %d are stored", s.Base(), s.Height())
	}
	results, err := s.Results(height)
	if err != nil {
		return err
	}
	if len(results.Receipts) != len(b.Txs) {
		return fmt.Errorf("%w: block %d has %d transactions and %d receipts", node.ErrVerification, height, len(b.Txs), len(results.Receipts))
	}
	v := storedBlock{Header: api.HeaderOf(&b.Header), Size: b.Size(), OraclePrices: len(b.Oracle.Prices), OracleStale: b.Oracle.Stale, Transactions: []storedTx{}}
	for i, r := range results.Receipts {
		v.Transactions = append(v.Transactions, storedTx{ID: r.ID, Code: uint16(r.Code), Detail: r.Detail, Events: len(r.Events), Raw: b.Txs[i]})
	}
	problem := errors.Join(b.Header.VerifySignature(), b.Check(s.Genesis().MaxTxsPerBlock))
	if problem != nil {
		v.Problem = problem.Error()
		problem = fmt.Errorf("%w: %w", node.ErrVerification, problem)
	}
	return errors.Join(out.Print(std.Out, &v, func(t *cli.Table) { printStored(t, &v) }), problem)
}

func printStored(t *cli.Table, v *storedBlock) {
	printHeader(t, &v.Header)
	t.Row("size", fmt.Sprintf("%d bytes", v.Size))
	freshness := "fresh"
	if v.OracleStale {
		freshness = "stale"
	}
	t.Row("oracle", fmt.Sprintf("%d prices, %s", v.OraclePrices, freshness))
	t.Row("problem", orDash(v.Problem))
	t.Row("transactions", len(v.Transactions))
	if len(v.Transactions) == 0 {
		return
	}
	t.Line("")
	t.Row("INDEX", "ID", "CODE", "EVENTS", "DETAIL")
	for i := range v.Transactions {
		x := &v.Transactions[i]
		t.Row(i, x.ID, x.Code, x.Events, orDash(x.Detail))
	}
}
