package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/stf"
)

// offlineKeys are the settings that matter to verbs which only read a data
// directory.
var offlineKeys = []string{"data_dir", "stf.file", "stf.engine", "stf.cache_dir", "log.level", "log.format"}

func newVerify(std cli.IO) *cobra.Command {
	return cli.Group("verify", "Execute stored blocks again and compare every root; check witnesses and proofs; without a network",
		newVerifyOne(std), newVerifyRange(std), newVerifyAll(std), newVerifyWitness(std), newVerifyProof(std))
}

const verifyLong = "\nBegins at the nearest state before, and reads nothing else of the directory.\n" +
	"Prints height, block hash, parent root, header root, recomputed root, transactions, time and verdict; of\n" +
	"a block that does not come out also the first receipt that differs from the stored one and, where a\n" +
	"snapshot follows, the first differing state key with both values and what wrote it last. Exit code 3 if\n" +
	"anything is not what it should be. It may be run while the node runs.\n" +
	"JSON: a list of {height, hash, parent_root, header_root, recomputed, txs, elapsed_ms, ok, error, receipt, key}."

func newVerifyOne(std cli.IO) *cobra.Command {
	return verifyVerb(std, "block N", "Verify one block", func(args []string) (from, to uint64, err error) {
		from, err = parseHeight(args[0])
		return from, from, err
	}, "N")
}

func newVerifyRange(std cli.IO) *cobra.Command {
	return verifyVerb(std, "range A B", "Verify the blocks from A to B", func(args []string) (from, to uint64, err error) {
		if from, err = parseHeight(args[0]); err != nil {
			return 0, 0, err
		}
		if to, err = parseHeight(args[1]); err == nil && to < from {
			err = cli.Usagef("range from %d to %d: the second must not be lower", from, to)
		}
		return from, to, err
	}, "A", "B")
}

func newVerifyAll(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "all",
		Short: "Verify every stored byte, every snapshot and every block",
		Long: "Verify every stored byte, every snapshot, and every block from genesis on, or from the oldest that is kept.\n" +
			"The blocks are split at snapshots and the parts executed beside each other. Exit code 3 if anything is\n" +
			"not what it should be.\n" +
			"JSON: {from, to, blocks, txs, parts, jobs, elapsed_ms, blocks_per_second, ok, error, last}; last is the newest\n" +
			"block, or the first that failed, as in 'verify block'.",
		Args: cli.Args(),
	}
	flags := cli.AddConfig(c.Flags(), cli.Write, offlineKeys...)
	out, jobs := cli.AddOutput(c), addJobs(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return offline(c.Context(), flags, std, func(ctx context.Context, cfg *cli.Config, deps node.Deps) error {
			return runVerifyAll(ctx, cfg.DataDir, jobs, deps, out, std)
		})
	}
	return c
}

// jobs is the value of --jobs.
type jobs int

func addJobs(c *cobra.Command) *jobs {
	j := jobs(runtime.GOMAXPROCS(0))
	c.Flags().Var(&j, "jobs", "execute so `many` parts at once; each holds a state in memory")
	return &j
}

// String, Set and Type implement pflag.Value.
func (j *jobs) String() string { return strconv.Itoa(int(*j)) }
func (j *jobs) Type() string   { return "number" }
func (j *jobs) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > node.MaxVerifyJobs {
		return fmt.Errorf("want 1 to %d", node.MaxVerifyJobs)
	}
	*j = jobs(n)
	return nil
}

// checked is what `verify all` prints.
type checked struct {
	From            uint64   `json:"from"`
	To              uint64   `json:"to"`
	Blocks          uint64   `json:"blocks"`
	Txs             uint64   `json:"txs"`
	Parts           int      `json:"parts"`
	Jobs            int      `json:"jobs"`
	ElapsedMs       int64    `json:"elapsed_ms"`
	BlocksPerSecond float64  `json:"blocks_per_second"`
	OK              bool     `json:"ok"`
	Error           string   `json:"error,omitempty"`
	Last            *verdict `json:"last"`
}

func runVerifyAll(ctx context.Context, dir string, jobs *jobs, deps node.Deps, out *cli.Output, std cli.IO) error {
	var p phases
	r, err := node.VerifyRange(ctx, dir, deps, node.VerifyOptions{From: 1, Jobs: int(*jobs), Last: true,
		ReadBlocks:    func(done, total uint64) { p.at("read blocks", "blocks", deps.Log, std).Update(done, total, 0) },
		ReadSnapshots: func(done, total uint64) { p.at("read snapshots", "keys", deps.Log, std).Update(done, total, 0) },
		Searched:      func(done, total uint64) { p.at("search", "blocks", deps.Log, std).Update(done, total, 0) },
		Progress:      func(done, total, txs uint64) { p.at("verify", "blocks", deps.Log, std).Update(done, total, txs) }})
	p.done()
	if r == nil || err != nil && !errors.Is(err, node.ErrVerification) {
		return err
	}
	v := checked{From: r.From, To: r.To, Blocks: r.Blocks, Txs: r.Txs, Parts: r.Parts, Jobs: r.Jobs, ElapsedMs: r.Elapsed.Milliseconds(),
		BlocksPerSecond: float64(r.Blocks) / max(r.Elapsed.Seconds(), 1e-9), OK: err == nil}
	if err != nil {
		v.Error = err.Error()
	}
	if n := len(r.Verdicts); n > 0 {
		last := verdictOf(&r.Verdicts[n-1], deps.Program)
		v.Last = &last
	}
	return errors.Join(out.Print(std.Out, &v, func(t *cli.Table) { printChecked(t, &v) }), err)
}

// phases is the progress of one thing after the other.
type phases struct {
	what string
	bar  *cli.Progress
}

func (p *phases) at(what, unit string, log *slog.Logger, std cli.IO) *cli.Progress {
	if what != p.what {
		p.done()
		p.what, p.bar = what, cli.NewProgress(std.Err, log, what, unit)
	}
	return p.bar
}

func (p *phases) done() {
	if p.bar != nil {
		p.bar.Done()
	}
}

func printChecked(t *cli.Table, v *checked) {
	t.Row("verified", fmt.Sprintf("%d blocks with %d transactions in %s (%.0f blocks/s)", v.Blocks, v.Txs, ms(uint64(v.ElapsedMs)), v.BlocksPerSecond))
	t.Row("parts", fmt.Sprintf("%d, %d at once", v.Parts, v.Jobs))
	if v.Last != nil {
		t.Line("")
		printVerdict(t, v.Last)
		t.Line("")
	}
	t.Row("every block", word(v.OK))
}

func verifyVerb(std cli.IO, use, short string, span func([]string) (from, to uint64, err error), args ...string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: short + "." + verifyLong, Args: cli.Args(args...)}
	flags := cli.AddConfig(c.Flags(), cli.Write, offlineKeys...)
	out, jobs := cli.AddOutput(c), addJobs(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		from, to, err := span(args)
		if err != nil {
			return err
		}
		return offline(c.Context(), flags, std, func(ctx context.Context, cfg *cli.Config, deps node.Deps) error {
			return runVerify(ctx, cfg.DataDir, from, to, jobs, deps, out, std)
		})
	}
	return c
}

func parseHeight(s string) (uint64, error) {
	h, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, cli.Usagef("height %.40q: want a whole number", s)
	}
	return h, nil
}

// offline loads configuration and module for a verb that needs no network.
func offline(ctx context.Context, flags *cli.ConfigFlags, std cli.IO, run func(context.Context, *cli.Config, node.Deps) error) error {
	cfg, err := flags.Load(cli.Write)
	if err != nil {
		return err
	}
	if _, err := readGenesis(cfg.DataDir); err != nil {
		return err
	}
	return withModule(ctx, cfg, std, run)
}

// withModule loads the module for run.
func withModule(ctx context.Context, cfg *cli.Config, std cli.IO, run func(context.Context, *cli.Config, node.Deps) error) (err error) {
	log := cli.NewLogger(std.Err, cfg.Log)
	forget := func() error { return nil }
	if cfg.STF.CacheDir == "" { // the data directory may be one that cannot be written
		if cfg.STF.CacheDir, forget, err = moduleCache(); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, forget()) }()
	program, err := node.LoadProgram(ctx, &cfg.Config, log)
	if err != nil {
		return err
	}
	defer program.Close()
	return explain(run(ctx, cfg, node.Deps{Program: program, Log: log}), cfg)
}

// moduleCache is where compiled modules are kept for the verbs that leave a data
// directory alone: in the user's cache, or for once if that cannot be written.
func moduleCache() (dir string, forget func() error, err error) {
	if dir, err = os.UserCacheDir(); err == nil {
		dir = filepath.Join(dir, "kaizen", "modules")
		if err = os.MkdirAll(dir, 0o700); err == nil {
			return dir, func() error { return nil }, nil
		}
	}
	dir, err = os.MkdirTemp("", "kaizen-modules-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

func progressOf(p *cli.Progress) node.Progress {
	return func(done, total, txs uint64) { p.Update(done, total, txs) }
}

// verdict is one line of verify.
type verdict struct {
	Height     uint64       `json:"height"`
	Hash       string       `json:"hash"`
	ParentRoot string       `json:"parent_root"`
	HeaderRoot string       `json:"header_root"`
	Recomputed string       `json:"recomputed"`
	Txs        int          `json:"txs"`
	ElapsedMs  float64      `json:"elapsed_ms"`
	OK         bool         `json:"ok"`
	Error      string       `json:"error,omitempty"`
	Receipt    *receiptDiff `json:"receipt,omitempty"`
	Key        *keyDiff     `json:"key,omitempty"`
}

func verdictOf(v *node.BlockVerdict, program stf.Program) verdict {
	d := verdict{Height: v.Height, Hash: v.Hash.String(), ParentRoot: v.ParentRoot.String(), HeaderRoot: v.HeaderRoot.String(),
		Recomputed: v.Recomputed.String(), Txs: v.Txs, ElapsedMs: float64(v.Elapsed.Microseconds()) / 1000, OK: v.OK, Error: v.Error}
	if v.Why != nil {
		d.Receipt, d.Key = receiptDiffOf(v.Why.Receipt, program), keyDiffOf(v.Why.Key, program)
	}
	return d
}

func runVerify(ctx context.Context, dir string, from, to uint64, jobs *jobs, deps node.Deps, out *cli.Output, std cli.IO) error {
	var p phases
	// To 0 means the newest block there, and block 0 here.
	r, err := node.VerifyRange(ctx, dir, deps, node.VerifyOptions{From: from, To: max(to, 1), Jobs: int(*jobs), Needed: true,
		Searched: func(done, total uint64) { p.at("search", "blocks", deps.Log, std).Update(done, total, 0) },
		Progress: func(done, total, txs uint64) { p.at("verify", "blocks", deps.Log, std).Update(done, total, txs) }})
	p.done()
	if r == nil {
		return err
	}
	verdicts := slices.DeleteFunc(r.Verdicts, func(v node.BlockVerdict) bool { return v.Height > to && v.OK })
	if len(verdicts) == 0 {
		return err
	}
	list := make([]verdict, len(verdicts))
	for i := range verdicts {
		list[i] = verdictOf(&verdicts[i], deps.Program)
	}
	return errors.Join(err, out.Print(std.Out, list, func(t *cli.Table) { printVerdicts(t, list) }))
}

func printVerdicts(t *cli.Table, list []verdict) {
	if len(list) == 1 {
		printVerdict(t, &list[0])
		return
	}
	t.Row("HEIGHT", "HASH", "PARENT ROOT", "HEADER ROOT", "RECOMPUTED", "TXS", "MS", "VERDICT")
	for i := range list {
		v := &list[i]
		t.Row(v.Height, short(v.Hash), short(v.ParentRoot), short(v.HeaderRoot), short(v.Recomputed), v.Txs, v.ElapsedMs, word(v.OK))
	}
	for i := range list {
		if v := &list[i]; !v.OK {
			t.Line("block %d: %s", v.Height, v.Error)
			printDiffs(t, v)
		}
	}
}

// short is the first four bytes of a hash.
func short(hash string) string { return hash[:10] }

func word(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}

func printVerdict(t *cli.Table, v *verdict) {
	t.Row("height", v.Height)
	t.Row("block hash", v.Hash)
	t.Row("parent root", v.ParentRoot)
	t.Row("header root", v.HeaderRoot)
	t.Row("recomputed root", v.Recomputed)
	t.Row("transactions", v.Txs)
	t.Row("time", fmt.Sprintf("%.3f ms", v.ElapsedMs))
	t.Row("verdict", word(v.OK))
	if v.Error != "" {
		t.Row("error", v.Error)
	}
	printDiffs(t, v)
}

// latest is the newest snapshot, on the command line.
const latest = "latest"

func newReplay(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "replay",
		Short: "Execute the chain again, from genesis or a snapshot, and report how fast",
		Long: "Execute every stored block again, from genesis or with --from-snapshot from a snapshot, with full\n" +
			"verification, and print blocks/s, tx/s and the final root. Exit code 3 at the first block whose recomputed root differs. It needs no network.\n" +
			"With --trust-signatures it believes what the node noted beside each block of who signed its transactions, and does not\n" +
			"recover signers; everything else is checked, the state root of every block among it. That is faster, and what a node does when it starts.\n" +
			"JSON: {from, to, blocks, txs, signers, elapsed_ms, blocks_per_second, txs_per_second, root}.",
		Example: "  kaizen replay --data-dir write\n  kaizen replay --from-snapshot latest --to 5000 --data-dir write",
		Args:    cli.Args("[SNAPSHOT]"),
	}
	to := c.Flags().Uint64("to", 0, "stop after this `height` (default: the last one)")
	from := c.Flags().String("from-snapshot", "", "start from this `snapshot`: 'latest' (which may be left out), a height, a name, the beginning of an identity, or a path")
	c.Flags().Lookup("from-snapshot").NoOptDefVal = latest
	trust := c.Flags().Bool("trust-signatures", false, "believe what is stored of who signed the transactions, instead of recovering the signers")
	flags := cli.AddConfig(c.Flags(), cli.Write, offlineKeys...)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 { // --from-snapshot NAME without the equals sign
			if !c.Flags().Changed("from-snapshot") || *from != latest {
				return &cli.UsageError{Command: c.CommandPath(), Err: fmt.Errorf("%s: nothing may follow it, got %q", c.CommandPath(), args[0])}
			}
			*from = args[0]
		}
		if c.Flags().Changed("to") && *to == 0 {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("--to is 0, want 1 or more")}
		}
		return offline(c.Context(), flags, std, func(ctx context.Context, cfg *cli.Config, deps node.Deps) error {
			return runReplay(ctx, cfg.DataDir, node.ReplayOptions{FromSnapshot: *from, To: *to, TrustSignatures: *trust}, deps, out, std)
		})
	}
	return c
}

type replayed struct {
	From            uint64  `json:"from"`
	To              uint64  `json:"to"`
	Blocks          uint64  `json:"blocks"`
	Txs             uint64  `json:"txs"`
	Signers         string  `json:"signers"` // recovered | believed
	ElapsedMs       int64   `json:"elapsed_ms"`
	BlocksPerSecond float64 `json:"blocks_per_second"`
	TxsPerSecond    float64 `json:"txs_per_second"`
	Root            string  `json:"root"`
}

func runReplay(ctx context.Context, dir string, opts node.ReplayOptions, deps node.Deps, out *cli.Output, std cli.IO) error {
	progress := cli.NewProgress(std.Err, deps.Log, "replay", "blocks")
	opts.Progress = progressOf(progress)
	r, err := node.Replay(ctx, dir, deps, opts)
	progress.Done()
	if err != nil {
		return err
	}
	seconds := max(r.Elapsed.Seconds(), 1e-9)
	v := replayed{From: r.From, To: r.To, Blocks: r.Blocks, Txs: r.Txs, Signers: "recovered", ElapsedMs: r.Elapsed.Milliseconds(),
		BlocksPerSecond: float64(r.Blocks) / seconds, TxsPerSecond: float64(r.Txs) / seconds, Root: r.Root.String()}
	if opts.TrustSignatures {
		v.Signers = "believed"
	}
	return out.Print(std.Out, v, func(t *cli.Table) {
		t.Row("blocks", fmt.Sprintf("%d (%d to %d)", v.Blocks, v.From, v.To))
		t.Row("transactions", v.Txs)
		t.Row("signers", v.Signers)
		t.Row("time", r.Elapsed.Round(time.Millisecond))
		t.Row("blocks/s", fmt.Sprintf("%.0f", v.BlocksPerSecond))
		t.Row("tx/s", fmt.Sprintf("%.0f", v.TxsPerSecond))
		t.Row("final root", v.Root)
	})
}
