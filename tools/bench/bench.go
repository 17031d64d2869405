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
	name  string
	run   func(*bench) error
	asked bool // only runs when -run is given
}

// suites in the order in which they run.
var suites = []suite{
	{"recovery", (*bench).recovery, false},
	{"wasm", (*bench).wasm, false},
	{"state", (*bench).state, false},
	{"store", (*bench).store, false},
	{"replay", (*bench).replay, false},
	{"verify", (*bench).verify, false},
	{"node", (*bench).node, false},
	{"market", (*bench).market, false},
	{"http", (*bench).http, false},
	{"counter", (*bench).counter, false},
	{"latency", (*bench).latency, false},
	{"verified", (*bench).verified, false},
	{"stalled", (*bench).stalled, false},
	{"snapshot", (*bench).snapshots, false},
	{"bootstrap", (*bench).bootstraps, false},
	{"subscribers", (*bench).subscribers, false},
	{"growth", (*bench).growth, true}, // takes gigabytes of memory
	{"soak", (*bench).soak, true},     // takes as long as it is told to
	{"peers", (*bench).peers, true},   // needs a network
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
		if !o.run.MatchString(s.name) || s.asked && o.run.String() == "" {
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
	if !found {
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
	var rounds []round
	for range b.rounds {
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
