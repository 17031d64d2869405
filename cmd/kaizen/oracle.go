package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/oracle"
)

// oracleListen is the price service's address (protocol section 1).
const oracleListen = "127.0.0.1:8550"

type oracleOptions struct {
	listen     string
	source     sourceOptions
	upstreams  []string
	minSources int
	log        node.LogConfig
}

// sourceOptions are the sources that need no network; `dev` has them too.
type sourceOptions struct {
	file  string
	pair  string
	speed uint64
	once  bool
	seed  uint64
}

func newOracle(std cli.IO) *cobra.Command {
	o := &oracleOptions{}
	c := &cobra.Command{
		Use:   "oracle",
		Short: "Serve prices to a write node",
		Long: "Serve GET /prices and GET /health from recorded trades, a seeded random walk, or the median of other\n" +
			"price services. Lines of a recording are unix_seconds,price,amount,side; its prices are served with the\n" +
			"present as their time. Pairs that the recording does not have come from the random walk.",
		Example: "  kaizen oracle --seed 7\n  kaizen oracle --file trades.csv --speed 10\n  kaizen oracle --upstream http://a:8550 --upstream http://b:8550 --min-sources 2",
		Args:    cli.Args(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.finalize(c); err != nil {
				return err
			}
			return runOracle(c.Context(), o, std)
		},
	}
	f := c.Flags()
	f.StringVar(&o.listen, "listen", oracleListen, "`host:port` to serve on")
	f.StringVar(&o.source.file, "file", "", "replay the trades in this `file`")
	f.StringVar(&o.source.pair, "pair", "BTC/USDT", "market of the trades in --file")
	f.Uint64Var(&o.source.speed, "speed", 1, "replay --file so many times faster than it happened")
	f.BoolVar(&o.source.once, "once", false, "stay at the last price of --file instead of beginning again")
	f.Uint64Var(&o.source.seed, "seed", 1, "seed of the random walk")
	f.StringArrayVar(&o.upstreams, "upstream", nil, "serve the median of this price service (`URL`) and the others given")
	f.IntVar(&o.minSources, "min-sources", 1, "upstreams that must have a price before it is served")
	addLog(c, &o.log)
	return c
}

// addLog gives the two log settings to a verb that has no config file.
func addLog(c *cobra.Command, log *node.LogConfig) {
	*log = node.Defaults().Log
	c.Flags().StringVar(&log.Level, "log-level", log.Level, cli.LevelsAccepted)
	c.Flags().StringVar(&log.Format, "log-format", log.Format, "text, json or logfmt")
}

func checkLog(log node.LogConfig) error {
	if _, err := logs.ParseLevels(log.Level); err != nil {
		return cli.Usagef("--log-level: %w", err)
	}
	if !slices.Contains(logs.Forms, log.Format) {
		return cli.Usagef("--log-format is %q, want text, json or logfmt", log.Format)
	}
	return nil
}

func (o *oracleOptions) finalize(c *cobra.Command) error {
	changed := c.Flags().Changed
	if len(o.upstreams) > 0 {
		for _, f := range []string{"file", "pair", "speed", "once", "seed"} {
			if changed(f) {
				return cli.Usagef("--%s and --upstream: choose one kind of source", f)
			}
		}
	} else if changed("min-sources") {
		return cli.Usagef("--min-sources is about --upstream, and there is none")
	}
	for _, f := range []string{"pair", "speed", "once"} {
		if changed(f) && o.source.file == "" {
			return cli.Usagef("--%s is about --file, and there is none", f)
		}
	}
	return checkLog(o.log)
}

func runOracle(ctx context.Context, o *oracleOptions, std cli.IO) error {
	source, what, err := o.build()
	if err != nil {
		return err
	}
	l, err := listen(o.listen, "--listen")
	if err != nil {
		return err
	}
	cli.NewLogger(std.Err, o.log).Info("serving prices", "url", "http://"+l.Addr().String(), "source", what)
	return oracle.NewService(source, nil).Run(ctx, l)
}

func (o *oracleOptions) build() (source oracle.Source, what string, err error) {
	if len(o.upstreams) == 0 {
		return o.source.build()
	}
	upstreams, err := oracle.Upstreams(o.upstreams)
	if err != nil {
		return nil, "", &cli.UsageError{Err: fmt.Errorf("--upstream: %w", err)}
	}
	median, err := oracle.NewMedian(oracle.MedianConfig{Upstreams: upstreams, MinSources: o.minSources})
	if err != nil {
		return nil, "", &cli.UsageError{Err: err}
	}
	return median, fmt.Sprintf("median of %d services", len(upstreams)), nil
}

// build makes the source of recorded or random prices, and says what it is.
func (o *sourceOptions) build() (source oracle.Source, what string, err error) {
	now := uint64(time.Now().UnixMilli())
	walk, err := oracle.NewWalk(o.seed, now, oracle.DefaultWalk())
	if err != nil {
		return nil, "", err
	}
	if o.file == "" {
		return walk, fmt.Sprintf("random walk, seed %d", o.seed), nil
	}
	pair, err := oracle.ParsePair(o.pair)
	if err != nil {
		return nil, "", &cli.UsageError{Err: fmt.Errorf("--pair: %w", err)}
	}
	recording, err := readRecording(o.file)
	if err != nil {
		return nil, "", err
	}
	replay, err := oracle.NewReplay(recording, oracle.ReplayConfig{Pair: pair, Start: now, Speed: o.speed, Once: o.once})
	if err != nil {
		return nil, "", &cli.UsageError{Err: err}
	}
	return oracle.Merge(replay, walk), fmt.Sprintf("%s from %s at speed %d, other pairs a random walk", pair.Name, o.file, o.speed), nil
}

func readRecording(name string) (*oracle.Recording, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := oracle.ReadRecording(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// listen opens a port; flag is what to change if that fails.
func listen(address, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, cli.Hint(err, "choose another address with %s", flag)
	}
	return l, nil
}
