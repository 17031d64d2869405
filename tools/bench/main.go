// Command bench measures the speed of the node against its limits, in one run:
// raw signature recovery on all cores, the native twin of the module, a bare
// write and fsync, SHA-256. A figure without its limit says more about the
// machine than about the program.
//
//	go run ./tools/bench                     what needs nothing else, 1,000,000 accounts, some twenty minutes
//	go run ./tools/bench -quick              100,000 accounts, some two minutes
//	go run ./tools/bench -run 'wasm|state'   some of it
//	go run ./tools/bench -run all            growth and peers as well; all but soak
//	go run ./tools/bench -run growth         10,000 to 10,000,000 accounts; takes 4 GB of memory
//	go run ./tools/bench -run peers          other projects' software beside ours; fetches and builds it
//	go run ./tools/bench -run soak -soak 1h  two nodes under load for an hour
//	go run ./tools/bench -o json             for programs
//	go run ./tools/bench -md BENCHMARKS.md   write the document that is committed
//	go run ./tools/bench -join soak.json …   with what earlier runs on this machine have written with -o json
//
// The committed document has all suites, from as many runs as their length asks for:
//
//	go run ./tools/bench -o json > default.json
//	go run ./tools/bench -run soak -soak 1h -o json > soak.json
//	go run ./tools/bench -join default.json -join soak.json -run '^$' -md BENCHMARKS.md
//
// It imports the node's packages as any embedder would and needs no hook in them;
// nothing imports it. It owns the method (method.md, which -md copies into the
// document), the chain that is measured (chain.go), the load (load.go, trades.go) and how
// rounds become figures (figure.go):
//
//	build a chain of N accounts ─▶ for each suite: rounds of (limit, measured, limit) ─▶ median, range, ratio
//
// The write node behind the HTTP, latency and memory figures is this program once
// more, in a process of its own (child.go). Nothing here is to be called by more
// than one goroutine, unless it says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
)

// Sizes of a run.
const (
	fullAccounts, fullSeconds, fullRounds    = 1_000_000, 4, 5
	quickAccounts, quickSeconds, quickRounds = 100_000, 1, 3
	// MinAccounts is what every suite needs at least.
	minAccounts = 400
)

// options are what the flags say.
type options struct {
	run        *regexp.Regexp
	format     string
	quick      bool
	accounts   int
	seconds    float64 // of one measurement
	rounds     int
	dir        string // for data directories; empty: the system's
	chainDir   string // of the chain that is kept; empty: it is not
	cpuProfile string
	memProfile string
	trace      string
	peerNames  *regexp.Regexp // of suite peers
	evNode     string         // where ev-node's test application runs; empty: nowhere
	soakTime   time.Duration  // of suite soak
	markdown   string
	join       []string // reports of earlier runs
}

func main() {
	node.TuneMemory() // as the commands do
	if setup := os.Getenv(childEnv); setup != "" {
		os.Exit(childMain(setup))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	here := thisMachine()
	joined, err := readReports(o.join, &here)
	if err != nil {
		return err
	}
	report, err := measure(ctx, o, progress)
	if err != nil {
		return err
	}
	report.join(joined)
	if o.markdown != "" {
		if err := os.WriteFile(o.markdown, report.markdown(), 0o644); err != nil {
			return err
		}
	}
	if o.format == "json" {
		return report.json(out)
	}
	return report.table(out)
}

func parse(args []string, errOut io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errOut)
	pattern := f.String("run", "", "measure only the suites that match this `regexp`, or "+allSuites+": all but soak; there are "+suiteNames())
	f.Func("join", "put the suites that this run has not measured in from this `file`, which a run on this machine has written with -o json; may be repeated", func(name string) error {
		o.join = append(o.join, name)
		return nil
	})
	f.StringVar(&o.format, "o", "table", "table or json")
	f.BoolVar(&o.quick, "quick", false, fmt.Sprintf("%d accounts, %d s, %d rounds unless given", quickAccounts, quickSeconds, quickRounds))
	f.IntVar(&o.accounts, "accounts", 0, fmt.Sprintf("accounts in state (default %d)", fullAccounts))
	f.Float64Var(&o.seconds, "seconds", 0, fmt.Sprintf("length of one measurement (default %d)", fullSeconds))
	f.IntVar(&o.rounds, "rounds", 0, fmt.Sprintf("measurements of each figure (default %d)", fullRounds))
	f.StringVar(&o.dir, "dir", "", "`directory` for the chains that are made and removed; it must be on a real disk (default the system's for temporary files)")
	f.StringVar(&o.chainDir, "chain", "", "keep the chain in this `directory`, or take it from there if an earlier run with as many accounts has kept it")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write profiles of the write node to `file` (fed in process) and file.http (over HTTP)")
	f.StringVar(&o.memProfile, "memprofile", "", "write what was allocated up to the end of suite node to `file`")
	f.StringVar(&o.trace, "trace", "", "write execution traces of suite latency at half load to `file` (the write node) and file.load (the load generator), for go tool trace")
	peers := f.String("peers", "", "suite peers: only those that match this `regexp`")
	f.StringVar(&o.evNode, "evnode", "", "suite peers: `address` of ev-node's test application, http://host:port")
	f.DurationVar(&o.soakTime, "soak", defaultSoak, "suite soak: how long")
	f.StringVar(&o.markdown, "md", "", "also write the document to `file`")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if o.run, err = regexp.Compile(*pattern); err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	if o.peerNames, err = regexp.Compile(*peers); err != nil {
		return nil, fmt.Errorf("-peers: %w", err)
	}
	o.fillIn()
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.format != "table" && o.format != "json":
		return nil, fmt.Errorf("-o is %q, want table or json", o.format)
	case o.accounts < minAccounts:
		return nil, fmt.Errorf("-accounts is %d, want %d or more", o.accounts, minAccounts)
	case o.soakTime <= 0:
		return nil, fmt.Errorf("-soak is %s, want more than 0", o.soakTime)
	case len(o.join) > maxJoined:
		return nil, fmt.Errorf("-join is given %d times, want %d or less", len(o.join), maxJoined)
	case o.seconds <= 0 || o.rounds < 1:
		return nil, fmt.Errorf("-seconds is %g and -rounds %d, want more than 0", o.seconds, o.rounds)
	}
	return o, nil
}

// fillIn sets what was not given.
func (o *options) fillIn() {
	accounts, seconds, rounds := fullAccounts, fullSeconds, fullRounds
	if o.quick {
		accounts, seconds, rounds = quickAccounts, quickSeconds, quickRounds
	}
	if o.accounts == 0 {
		o.accounts = accounts
	}
	if o.seconds == 0 {
		o.seconds = float64(seconds)
	}
	if o.rounds == 0 {
		o.rounds = rounds
	}
}
