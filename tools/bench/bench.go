package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/stf"
)

// suite is a group of figures that are measured together.
type suite struct {
	name string
	run  func(*bench) error
	when when
}

// when a suite is run, beside being named by -run.
type when int

const (
	always when = iota
	inAll       // by -run all
	named       // only then
)

// allSuites is the value of -run that adds the suites that take memory or a network,
// and not the one that takes as long as it is told to. No expression is needed for
// it that names a suite: "stall" finds stalled.
const allSuites = "all"

// suites in the order in which they run.
var suites = []suite{
	{"recovery", (*bench).recovery, always},
	{"wasm", (*bench).wasm, always},
	{"state", (*bench).state, always},
	{"store", (*bench).store, always},
	{"replay", (*bench).replay, always},
	{"verify", (*bench).verify, always},
	{"node", (*bench).node, always},
	{"market", (*bench).market, always},
	{"http", (*bench).http, always},
	{"counter", (*bench).counter, always},
	{"latency", (*bench).latency, always},
	{"verified", (*bench).verified, always},
	{"stalled", (*bench).stalled, always},
	{"snapshot", (*bench).snapshots, always},
	{"bootstrap", (*bench).bootstraps, always},
	{"subscribers", (*bench).subscribers, always},
	{"growth", (*bench).growth, inAll}, // takes gigabytes of memory
	{"soak", (*bench).soak, named},     // takes as long as it is told to
	{"peers", (*bench).peers, inAll},   // needs a network
}

// wants says whether -run, or its absence, means s.
func (o *options) wants(s *suite) bool {
	switch o.run.String() {
	case "":
		return s.when == always
	case allSuites:
		return s.when != named
	}
	return o.run.MatchString(s.name)
}

func suiteNames() string {
	names := make([]string, len(suites))
	for i, s := range suites {
		names[i] = s.name
	}
	return strings.Join(names, ", ")
}

// bench is one run. What several suites need is made by the first that asks.
type bench struct {
	*options
	ctx      context.Context
	progress io.Writer
	log      *slog.Logger
	temp     string
	report   *Report

	program  stf.Program
	chain    *testChain
	samples  []signed // for raw recovery
	recover1 float64  // processor time of one recovery, µs, when it was measured last
	child    *child
	counters *counters
	evKeys   int       // numbered keys that ev-node's test application has from this run
	executes [2]Spread // of one transfer, ns: execute; admit and execute
	perTx    Spread    // processor time of the whole write node for one transfer, µs
}

// measure runs the suites that o names.
func measure(ctx context.Context, o *options, progress io.Writer) (r *Report, err error) {
	temp, err := os.MkdirTemp(o.dir, "kaizen-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, ctx: ctx, progress: progress, temp: temp, report: newReport(o),
		log: slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelError}))}
	defer func() { err = errors.Join(err, b.close()) }()
	start := time.Now()
	found := false
	for _, s := range suites {
		if !o.wants(&s) {
			continue
		}
		found = true
		b.say("%s", s.name)
		if err := s.run(b); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if !found && len(o.join) == 0 {
		return nil, fmt.Errorf("-run %q names no suite, there are %s", o.run, suiteNames())
	}
	b.report.Seconds = time.Since(start).Seconds()
	return b.report, nil
}

func (b *bench) close() error {
	var errs []error
	if b.child != nil {
		errs = append(errs, b.child.stop())
	}
	if b.counters != nil {
		errs = append(errs, b.counters.node.stop())
	}
	if b.program != nil {
		errs = append(errs, b.program.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(b.temp))...)
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

func (b *bench) add(figures ...Figure) { b.report.Figures = append(b.report.Figures, figures...) }

// slice is the length of one measurement.
func (b *bench) slice() time.Duration { return time.Duration(b.seconds * float64(time.Second)) }

// module is the market, compiled.
func (b *bench) module() (stf.Program, error) {
	if b.program != nil {
		return b.program, nil
	}
	var err error
	b.program, err = node.LoadProgram(b.ctx, b.config(""), b.log)
	return b.program, err
}

// config is a write node's, on any free ports.
func (b *bench) config(dir string) *node.Config { return nodeConfig(dir, b.cacheDir()) }

func (b *bench) cacheDir() string { return filepath.Join(b.temp, "cache") }

// around measures a limit before and after, since a shared machine drifts, and
// returns the mean of both as the round's limit.
func around(limit func() (float64, error), measured func() (float64, error)) (round, error) {
	before, err := limit()
	if err != nil {
		return round{}, err
	}
	value, err := measured()
	if err != nil {
		return round{}, err
	}
	after, err := limit()
	return round{value, (before + after) / 2}, err
}

// repeat is rounds of [around].
func (b *bench) repeat(limit, measured func() (float64, error)) ([]round, error) {
	return b.repeatTimes(b.rounds, limit, measured)
}

func (b *bench) repeatTimes(n int, limit, measured func() (float64, error)) ([]round, error) {
	var rounds []round
	for range n {
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		runtime.GC() // what was made between rounds is nobody's cost
		r, err := around(limit, measured)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, r)
	}
	return rounds, nil
}
