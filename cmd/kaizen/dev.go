package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/cmd/internal/devnet"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// The traffic of a development chain, per second.
const (
	defaultTPS    = 200
	defaultTheses = 5
)

// How often the status line changes: on a terminal, in a log of a run that is
// short, in a log of one that is not.
const (
	liveTerminal = 250 * time.Millisecond
	liveShort    = time.Second
	liveLong     = 10 * time.Second
	shortRun     = time.Minute
	// stopNotice is how often a stop that takes long says how far it is.
	stopNotice = 2 * time.Second
)

type devOptions struct {
	duration  time.Duration
	dataDir   string
	freePorts bool
	tps       int
	theses    int
	source    sourceOptions
	stf       node.STFConfig
	log       node.LogConfig
	out       *cli.Output
}

func newDev(std cli.IO) *cobra.Command {
	o := &devOptions{}
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole chain in this process: price service, write node, read node, solver, settler, traffic",
		Long: "Run a whole development chain in this process, over real loopback sockets: price service, write node,\n" +
			"read node, a solver (account 4) with users who bet against it (5 to 7), the settler (9), and signed transfers\n" +
			"among accounts 4 to 7. It runs until Ctrl-C or for --duration, and exits 0 exactly if the read node verified\n" +
			"every sealed block and no value was created or lost, else 3.\n" +
			"Without --data-dir the chain is in a temporary directory that is removed at the end.\n" +
			"JSON: one object {accounts, services, …} at the start and one {height, verified, …} at the end.",
		Example: "  kaizen dev\n  kaizen dev --duration 20s --oracle-file trades.csv\n  kaizen dev --data-dir chain --tps 0",
		Args:    cli.Args(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.finalize(c); err != nil {
				return err
			}
			return runDev(c.Context(), o, std)
		},
	}
	f := c.Flags()
	f.DurationVar(&o.duration, "duration", 0, "stop after this time, such as 20s (default: run until Ctrl-C)")
	f.StringVar(&o.dataDir, "data-dir", "", "keep the chain in `directory`/write and /read, and go on with one that is there")
	f.BoolVar(&o.freePorts, "free-ports", false, "listen on any free ports instead of 8545, 9000, 8550, 8547 and 9001")
	f.IntVar(&o.tps, "tps", defaultTPS, "transfers per second that the chain sends itself; 0 for none")
	f.IntVar(&o.theses, "theses-per-second", defaultTheses, "bets per second that users make with the solver; 0 for none")
	f.StringVar(&o.source.file, "oracle-file", "", "replay the BTC/USDT trades in this `file`, lines unix_seconds,price,amount,side")
	f.Uint64Var(&o.source.speed, "oracle-speed", 1, "replay --oracle-file so many times faster than it happened")
	f.Uint64Var(&o.source.seed, "oracle-seed", 1, "seed of the random walk that gives the other prices")
	o.stf = node.Defaults().STF
	f.StringVar(&o.stf.File, "stf", "", "run the module in this `file` (.wasm) instead of the market, without traffic")
	f.StringVar(&o.stf.Engine, "engine", o.stf.Engine, "compiler or interpreter")
	addLog(c, &o.log)
	o.log.Level = "warn"
	c.Flags().Lookup("log-level").DefValue = o.log.Level
	o.out = cli.AddOutput(c)
	return c
}

func (o *devOptions) finalize(c *cobra.Command) error {
	o.source.pair = "BTC/USDT"
	switch {
	case o.duration < 0:
		return cli.Usagef("--duration is %s, want more than 0", o.duration)
	case o.tps < 0 || o.tps > devnet.MaxTPS:
		return cli.Usagef("--tps is %d, want 0 to %d", o.tps, devnet.MaxTPS)
	case o.theses < 0 || o.theses > devnet.MaxThesesPerSecond:
		return cli.Usagef("--theses-per-second is %d, want 0 to %d", o.theses, devnet.MaxThesesPerSecond)
	case o.stf.Engine != "compiler" && o.stf.Engine != "interpreter":
		return cli.Usagef("--engine is %q, want compiler or interpreter", o.stf.Engine)
	case o.source.file == "" && c.Flags().Changed("oracle-speed"):
		return cli.Usagef("--oracle-speed is about --oracle-file, and there is none")
	}
	return checkLog(o.log)
}

func runDev(ctx context.Context, o *devOptions, std cli.IO) (err error) {
	source, what, err := o.source.build()
	if err != nil {
		return err
	}
	dir := o.dataDir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "kaizen-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	cache, forget, err := moduleCache()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	o.stf.CacheDir = cache
	screen := newLive(std.Err, o.duration)
	log := cli.NewLogger(screen, o.log)
	n, err := devnet.Start(ctx, devnet.Options{Dir: dir, FreePorts: o.freePorts, Source: source, TPS: o.tps, ThesesPerSecond: o.theses, STF: o.stf, Log: log})
	if err != nil {
		return explainDev(err, dir)
	}
	if err := printDev(n, o, what, std); err != nil {
		_, stopped := n.Stop()
		return errors.Join(err, stopped)
	}
	watchDev(ctx, n, o, screen)
	report, err := stopDev(n, std)
	return errors.Join(explainDev(err, dir), o.out.Print(std.Out, &report, func(t *cli.Table) { printReport(t, &report, err) }))
}

func explainDev(err error, dir string) error {
	switch {
	case errors.Is(err, devnet.ErrPorts):
		return cli.Hint(err, "is another 'kaizen dev' running? --free-ports takes any free ports")
	case errors.Is(err, stf.ErrModule):
		return cli.Hint(err, "the chain in %s runs another module; choose another --data-dir", dir)
	case errors.Is(err, devnet.ErrOtherChain):
		return cli.Hint(err, "remove the read node's directory: it will be made again from the write node")
	}
	return explainDir(err, dir)
}

// devStart is what dev prints when everything is up.
type devStart struct {
	Accounts    []devAccount    `json:"accounts,omitempty"`
	Mnemonic    string          `json:"mnemonic,omitempty"`
	Page        string          `json:"page"`
	Services    devnet.Services `json:"services"`
	ChainID     uint64          `json:"chain_id"`
	GenesisHash chain.Hash      `json:"genesis_hash"`
	Module      string          `json:"module"`
	ModuleHash  chain.Hash      `json:"module_hash"`
	Height      uint64          `json:"height"`
	Prices      string          `json:"prices"`
	Traffic     int             `json:"traffic_tps"`
	Theses      int             `json:"theses_per_second"`
}

type devAccount struct {
	Index       int           `json:"index"`
	Address     chain.Address `json:"address"`
	PrivateKey  string        `json:"private_key"`
	Permissions []string      `json:"permissions,omitempty"`
}

func printDev(n *devnet.Net, o *devOptions, prices string, std cli.IO) error {
	v := devStart{Page: n.Page(), Services: n.Services, ChainID: n.Genesis.ChainID, GenesisHash: n.Genesis.Hash(), Module: n.Module,
		ModuleHash: n.Genesis.ModuleHash, Height: n.Continued, Prices: prices}
	if n.Traffic {
		v.Traffic = o.tps
	}
	if n.Market() {
		v.Theses = o.theses
		accounts, err := devnet.Accounts()
		if err != nil {
			return err
		}
		v.Mnemonic = keys.DevMnemonic
		for _, a := range accounts {
			v.Accounts = append(v.Accounts, devAccount{a.Index, a.Address, fmt.Sprintf("0x%x", a.Key.Bytes()), permissionNames(a.Permissions)})
		}
	}
	return o.out.Print(std.Out, &v, func(t *cli.Table) { printDevStart(t, &v, n, o) })
}

func permissionNames(bits uint8) (names []string) {
	for i, name := range tx.PermissionNames {
		if bits>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return names
}

func printDevStart(t *cli.Table, v *devStart, n *devnet.Net, o *devOptions) {
	if len(v.Accounts) > 0 {
		t.Line("Accounts, %s USDC each at genesis. Their keys are public: never use them elsewhere.", cli.FormatAmount(devnet.Balance))
		t.Row("", "ADDRESS", "PRIVATE KEY", "MAY")
		for _, a := range v.Accounts {
			t.Row(a.Index, a.Address, a.PrivateKey, strings.Join(a.Permissions, ", "))
		}
		t.Line("mnemonic: %s", v.Mnemonic)
		t.Line("")
	}
	t.Row("page", v.Page)
	t.Row("write node RPC", v.Services.RPC)
	t.Row("write node sync", v.Services.Sync)
	t.Row("price service", v.Services.Oracle+"/prices", v.Prices)
	t.Row("read node RPC", v.Services.ReadRPC)
	t.Row("read node sync", v.Services.ReadSync)
	if v.Services.Solver != "" {
		t.Row("solver", v.Services.Solver)
	}
	t.Line("")
	t.Row("chain id", v.ChainID)
	t.Row("genesis", v.GenesisHash)
	t.Row("module", fmt.Sprintf("%s %s", v.Module, v.ModuleHash))
	if v.Height > 0 {
		t.Row("goes on at", fmt.Sprintf("block %d", v.Height))
	}
	switch {
	case n.Traffic:
		t.Row("traffic", fmt.Sprintf("%d transfers a second among accounts 4 to 7", o.tps))
	case n.Market():
		t.Row("traffic", "none")
	default:
		t.Row("traffic", fmt.Sprintf("none: it knows the market, and this is %s", v.Module))
	}
	if v.Theses > 0 {
		t.Row("bets", fmt.Sprintf("%d a second, by accounts 5 to 7 with account 4; account 9 settles", v.Theses))
	}
	t.Line("")
}

// watchDev shows the status line until the run is to end.
func watchDev(ctx context.Context, n *devnet.Net, o *devOptions, live *live) {
	defer live.close()
	var over <-chan time.Time
	if o.duration > 0 {
		timer := time.NewTimer(o.duration)
		defer timer.Stop()
		over = timer.C
	}
	ticker := time.NewTicker(live.every)
	defer ticker.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-over:
			running = false
		case <-n.Failed():
			running = false
		case <-ticker.C:
		}
		live.show(n.Snapshot(), time.Now())
	}
}

// stopDev stops the chain, and says how far it is if that takes long.
func stopDev(n *devnet.Net, std cli.IO) (report devnet.Report, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		report, err = n.Stop()
	}()
	ticker := time.NewTicker(stopNotice)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return report, err
		case <-ticker.C:
			sealed, verified := n.Heights()
			fmt.Fprintf(std.Err, "stopping: the read node has verified %d of %d blocks\n", verified, sealed)
		}
	}
}

func printReport(t *cli.Table, r *devnet.Report, err error) {
	t.Row("sealed", fmt.Sprintf("%d blocks, the last is %d with root %s", r.Blocks, r.Height, r.Root))
	t.Row("transactions", r.Txs)
	if r.Traffic != nil {
		t.Row("traffic", trafficText(r.Traffic))
	}
	if r.Bets != nil {
		t.Row("bets", betsText(r.Bets))
	}
	if r.Theses != nil {
		t.Row("theses", fmt.Sprintf("%d opened, %d won by users, %d by the solver, %d void, %d cancelled; %d are open", r.Theses.Opened, r.Theses.UserWins,
			r.Theses.SolverWins, r.Theses.Void, r.Theses.Cancelled, r.Open))
	}
	if r.Value != nil {
		t.Row("value", valueText(r.Value))
	}
	t.Row("verified", fmt.Sprintf("up to block %d by the read node", r.Verified))
	verdict := "every sealed block was verified"
	switch {
	case errors.Is(err, devnet.ErrValue):
		verdict = "FAILED: value was created or lost"
	case errors.Is(err, node.ErrVerification) || r.Verified < r.Height:
		verdict = "FAILED: not every sealed block was verified"
	}
	t.Row("verdict", verdict)
}

func trafficText(t *devnet.Traffic) string {
	text := fmt.Sprintf("%d ok, %d failed, %d refused", t.OK, t.Failed, t.Refused)
	if t.Lost > 0 {
		text += fmt.Sprintf(", %d without an answer", t.Lost)
	}
	if t.Trouble != "" {
		text += "; last: " + t.Trouble
	}
	return text
}

func betsText(b *devnet.Bets) string {
	text := fmt.Sprintf("%d asked, %d accepted, %d declined", b.Asked, b.Accepted, b.Declined)
	if b.Lost > 0 {
		text += fmt.Sprintf(", %d without an answer", b.Lost)
	}
	if b.Trouble != "" {
		text += "; last: " + b.Trouble
	}
	return text
}

func valueText(v *devnet.Value) string {
	total, ok := v.Total()
	text := fmt.Sprintf("%s USDC: balances %s, escrow %s, withdrawals pending %s", cli.FormatAmount(total), money(v.Balances), money(v.Escrow), money(v.Pending))
	if !ok {
		text += "; THAT IS NOT WHAT CAME IN LESS WHAT WENT OUT"
	}
	return text
}
