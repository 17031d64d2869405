package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/quote"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/solver"
)

// solverListen is where a solver answers.
const solverListen = "127.0.0.1:8560"

type solverOptions struct {
	listen  string
	remote  *remote
	signer  *cli.SignerFlags
	from    string
	pairs   []string
	dryRun  bool
	rate    int
	window  time.Duration
	log     node.LogConfig
	quote   quote.Config
	amounts []amountFlag
	shares  []shareFlag
	times   []timeFlag
}

// Flags that are read exactly, and where their value goes.
type (
	amountFlag struct {
		name, text string
		to         *uint64
	}
	shareFlag amountFlag
	timeFlag  struct {
		name string
		d    time.Duration
		to   *uint64
	}
)

func newSolver(std cli.IO) *cobra.Command {
	o := &solverOptions{quote: quote.Default()}
	c := &cobra.Command{
		Use:   "solver",
		Short: "Quote bets over HTTP and submit those that are accepted",
		Long: "Run a solver: POST /quote answers what it pays on a range, POST /accept submits a quote that its user has signed,\n" +
			"GET /info has its limits and markets, GET /health whether it can quote. What it pays follows from how much the\n" +
			"price has moved lately: bet × (1 − margin) / probability that the range holds. It never quotes on stale prices,\n" +
			"honours a quote once, for its user, until its deadline, and not when the price has moved against it since.\n" +
			"Amounts are USDC with at most six decimals.",
		Example: "  kaizen solver --dev-account 1\n  kaizen solver --keystore solver.json --pairs BTC/USDT --max-bet 100 --max-total-risk 5000\n  kaizen solver --dev-account 1 --dry-run",
		Args:    cli.Args(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.finalize(); err != nil {
				return err
			}
			return runSolver(c.Context(), o, std)
		},
	}
	f := c.Flags()
	f.StringVar(&o.listen, "listen", solverListen, "`host:port` to serve on")
	o.remote, o.signer = addRemote(f), cli.AddSigner(f)
	f.StringVar(&o.from, "from", "", "`address` of the account that bets, if an API wallet of it signs (default: the signer's own)")
	f.StringSliceVar(&o.pairs, "pairs", nil, "`markets` to quote, comma-separated (default: all)")
	f.BoolVarP(&o.dryRun, "dry-run", "d", false, "quote, and accept nothing")
	f.IntVar(&o.rate, "rate", 50, "calls per second and address")
	f.DurationVar(&o.window, "window", 2*time.Minute, "how far back the model looks")
	f.Uint64Var(&o.quote.MinMoves, "min-moves", o.quote.MinMoves, "recorded prices without which nothing is quoted")
	f.IntVar(&o.quote.MaxOffers, "max-offers", o.quote.MaxOffers, "quotes out at once")
	o.addLimits(c)
	addLog(c, &o.log)
	return c
}

func (o *solverOptions) addLimits(c *cobra.Command) {
	q, f := &o.quote, c.Flags()
	o.amounts = []amountFlag{{name: "min-bet", to: &q.MinBet}, {name: "max-bet", to: &q.MaxBet}, {name: "max-risk", to: &q.MaxRisk},
		{name: "max-total-risk", to: &q.MaxTotalRisk}, {name: "max-payout-ratio", to: &q.MaxRatioPPM}}
	usage := []string{"smallest bet, `USDC`", "largest bet, `USDC`", "most that one bet may cost, payout less bet, `USDC`",
		"most that all open bets together may cost, `USDC`", "highest `factor` of payout to bet, such as 10 or 2.5"}
	for i := range o.amounts {
		f.StringVar(&o.amounts[i].text, o.amounts[i].name, strings.TrimSuffix(cli.FormatAmount(*o.amounts[i].to), ".000000"), usage[i])
	}
	o.shares = []shareFlag{{name: "margin", to: &q.MarginPPM}, {name: "max-confidence", to: &q.MaxConfidencePPM}}
	usage = []string{"what the solver keeps of a fair payout, `percent`", "highest probability that is believed of a range that holds, `percent`: prices jump"}
	for i := range o.shares {
		f.StringVar(&o.shares[i].text, o.shares[i].name, shareText(*o.shares[i].to), usage[i])
	}
	o.times = []timeFlag{{name: "min-duration", to: &q.MinDurationMs}, {name: "max-duration", to: &q.MaxDurationMs}, {name: "max-lead", to: &q.MaxLeadMs},
		{name: "lifetime", to: &q.LifetimeMs}, {name: "max-price-age", to: &q.MaxPriceAgeMs}}
	usage = []string{"shortest bet", "longest bet", "latest start from now", "how long a quote can be accepted", "age at which a price is too old to quote by"}
	for i := range o.times {
		f.DurationVar(&o.times[i].d, o.times[i].name, ms(*o.times[i].to), usage[i])
	}
}

func shareText(ppm uint64) string {
	return strings.TrimSuffix(strings.TrimRight(percentText(ppm), "0"), ".") + "%"
}

// finalize reads what is typed exactly into the configuration.
func (o *solverOptions) finalize() (err error) {
	for _, a := range o.amounts {
		if *a.to, err = cli.ParseAmount(a.text); err != nil {
			return fmt.Errorf("--%s: %w", a.name, err)
		}
	}
	for _, a := range o.shares {
		if *a.to, err = cli.ParsePercent(a.text); err != nil {
			return fmt.Errorf("--%s: %w", a.name, err)
		}
	}
	for _, t := range append(o.times, timeFlag{name: "window", d: o.window, to: new(uint64)}) {
		if t.d < time.Millisecond || t.d%time.Millisecond != 0 {
			return cli.Usagef("--%s is %s, want whole milliseconds, at least one", t.name, t.d)
		}
		*t.to = uint64(t.d.Milliseconds())
	}
	for _, pair := range o.pairs {
		if pair == "" {
			return cli.Usagef("--pairs has an empty name")
		}
	}
	if err := o.quote.Validate(); err != nil {
		return &cli.UsageError{Err: err}
	}
	if w := uint64(o.window.Milliseconds()); w < solver.MinWindowMs || w > solver.MaxWindowMs {
		return cli.Usagef("--window is %s, want %s to %s", o.window, ms(solver.MinWindowMs), ms(solver.MaxWindowMs))
	}
	if o.rate < 1 || o.rate > solver.MaxRate {
		return cli.Usagef("--rate is %d, want 1 to %d", o.rate, solver.MaxRate)
	}
	return checkLog(o.log)
}

func runSolver(ctx context.Context, o *solverOptions, std cli.IO) error {
	key, err := o.signer.Load(std)
	if err != nil {
		return err
	}
	account := key.Address()
	if o.from != "" {
		if account, err = parseAddress(o.from); err != nil {
			return err
		}
	}
	log := cli.NewLogger(std.Err, o.log)
	return o.remote.use(ctx, func(ctx context.Context, c *client.Client) error {
		s, err := solver.New(ctx, c, solver.Options{Key: key, Account: account, Pairs: o.pairs, Quote: o.quote, WindowMs: uint64(o.window.Milliseconds()),
			DryRun: o.dryRun, Rate: o.rate, Log: log})
		if err != nil {
			return explainSolver(err)
		}
		l, err := listen(o.listen, "--listen")
		if err != nil {
			return err
		}
		log.Info("solver is up", "url", "http://"+l.Addr().String(), "account", account, "dry_run", o.dryRun)
		return s.Run(ctx, l)
	})
}

func explainSolver(err error) error {
	switch {
	case errors.Is(err, solver.ErrChain):
		return cli.Hint(err, "'kaizen query markets' shows the chain's markets")
	case errors.Is(err, solver.ErrKey):
		return cli.Hint(err, "'kaizen tx nominate' makes it one; without --from the key's own account is used")
	}
	return err
}
