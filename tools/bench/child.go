package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/procs"
)

// A node in a process of its own: this program again, told by its environment. The parent writes one command per line, the child answers each with
// one line of JSON; when its input ends it stops.
const (
	childEnv = "KAIZEN_BENCH_NODE" // its setup, as JSON

	commandStats   = "stats"
	commandProfile = "profile" // then the file's name; a second one ends it
	commandTrace   = "trace"   // the same
)

// setup is where a node runs and what it is.
type setup struct {
	Dir    string `json:"dir"`
	Cache  string `json:"cache"`            // of compiled modules
	Module string `json:"module,omitempty"` // file; empty: the market
	// Follow is the sync address of a write node: it is a read node of that one.
	Follow string `json:"follow,omitempty"`
	// Blocks is how many it keeps, and from one snapshot to the next; 0: all, and
	// as by default.
	Blocks uint64 `json:"blocks,omitempty"`
}

// config is the node's on any free ports.
func (s *setup) config() *node.Config {
	cfg := nodeConfig(s.Dir, s.Cache)
	cfg.STF.File = s.Module
	if s.Module != "" {
		cfg.Block.MaxTxsPerBlock = counterBlock
	}
	if s.Blocks > 0 {
		cfg.Prune.Mode, cfg.Prune.KeepBlocks, cfg.Snapshot.IntervalBlocks = node.PruneAggressive, s.Blocks, s.Blocks
	}
	return cfg
}

// here is a node of the market in a directory.
func (b *bench) here(dir string) setup { return setup{Dir: dir, Cache: b.cacheDir()} }

// hello is the child's first line.
type hello struct {
	RPC     string        `json:"rpc"`
	Sync    string        `json:"sync"`
	Started time.Duration `json:"started"` // to execute the stored blocks
	Blocks  uint64        `json:"blocks"`  // how many
}

// stats is what the child has come to.
type stats struct {
	CPU     time.Duration `json:"cpu"` // user and system
	RSS     int64         `json:"rss"` // bytes, now
	MaxRSS  int64         `json:"max_rss"`
	Heap    uint64        `json:"heap"` // bytes in use
	Mallocs uint64        `json:"mallocs"`
	Bytes   uint64        `json:"bytes"` // ever allocated
	GCs     uint32        `json:"gcs"`
	Seals   []seal        `json:"seals"` // since the last stats
	Error   string        `json:"error,omitempty"`
}

func childMain(encoded string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	var s setup
	err := json.Unmarshal([]byte(encoded), &s)
	if err == nil {
		err = childRun(s, os.Stdin, os.Stdout, log)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: node in its own process:", err)
		return 1
	}
	return 0
}

func childRun(s setup, in io.Reader, out io.Writer, log *slog.Logger) (err error) {
	procs.Oversubscribe() // as the commands do
	n, err := startNode(s, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(n.hello()); err != nil {
		return err
	}
	profile, tracer := newProfiler(), newTracer()
	defer func() { err = errors.Join(err, profile.end(), tracer.end()) }()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var s stats
		command, argument, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case commandStats:
			s = ownStats()
			s.Seals = n.sealed()
		case commandProfile:
			if err := profile.toggle(argument); err != nil {
				s.Error = err.Error()
			}
		case commandTrace:
			if err := tracer.toggle(argument); err != nil {
				s.Error = err.Error()
			}
		default:
			s.Error = fmt.Sprintf("unknown command %q", command)
		}
		if err := answers.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// running is a node of either kind.
type running interface {
	hello() hello
	sealed() []seal // since the last time
	stop() error
}

func startNode(s setup, log *slog.Logger) (running, error) {
	if s.Follow == "" {
		return startWriter(s, log)
	}
	return startReader(s, log)
}

// ownStats measures this process.
func ownStats() stats {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	cpu, maxRSS := usage()
	return stats{CPU: cpu, RSS: residentBytes(maxRSS), MaxRSS: maxRSS, Heap: m.HeapInuse, Mallocs: m.Mallocs, Bytes: m.TotalAlloc, GCs: m.NumGC}
}

// recorder writes what this process does into one file at a time.
type recorder struct {
	start func(io.Writer) error
	stop  func()
	file  *os.File
}

// newProfiler records where processor time goes, newTracer what every goroutine
// does.
func newProfiler() *recorder {
	return &recorder{start: pprof.StartCPUProfile, stop: pprof.StopCPUProfile}
}
func newTracer() *recorder { return &recorder{start: trace.Start, stop: trace.Stop} }

func (r *recorder) toggle(name string) error {
	if r.file != nil {
		return r.end()
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := r.start(f); err != nil {
		return errors.Join(err, f.Close())
	}
	r.file = f
	return nil
}

func (r *recorder) end() error {
	if r.file == nil {
		return nil
	}
	r.stop()
	err := r.file.Close()
	r.file = nil
	return err
}

// child is the parent's side.
type child struct {
	hello
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	before stats // at the last lap
}

// theChild is the write node in a process of its own, on a copy of the chain.
func (b *bench) theChild() (*child, error) {
	if b.child != nil {
		return b.child, nil
	}
	c, err := b.theChain()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.temp, "child")
	if err := c.copyTo(dir); err != nil {
		return nil, err
	}
	b.say("start a write node in its own process")
	if b.child, err = startChild(b.ctx, b.here(dir)); err != nil {
		return nil, err
	}
	b.say("it executed %d blocks in %s", b.child.Blocks, b.child.Started.Round(time.Millisecond))
	return b.child, nil
}

// startChild starts a node.
func startChild(ctx context.Context, s setup) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self)}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(encoded))
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	if err := c.out.Decode(&c.hello); err != nil {
		return nil, errors.Join(fmt.Errorf("start a node in its own process: %w", err), c.stop())
	}
	return c, nil
}

func (c *child) command(line string) (s stats, err error) {
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return s, fmt.Errorf("node in its own process: %w", err)
	}
	if err := c.out.Decode(&s); err != nil {
		return s, fmt.Errorf("node in its own process: %w", err)
	}
	if s.Error != "" {
		return s, fmt.Errorf("node in its own process: %s", s.Error)
	}
	return s, nil
}

// lap is what the child used since the last lap; memory and seals are as they are.
func (c *child) lap() (stats, error) {
	now, err := c.command(commandStats)
	used := now
	used.CPU -= c.before.CPU
	used.Mallocs -= c.before.Mallocs
	used.Bytes -= c.before.Bytes
	used.GCs -= c.before.GCs
	c.before = now
	return used, err
}

// kill ends the node as a crash does.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	var ended *exec.ExitError
	if err := c.cmd.Wait(); !errors.As(err, &ended) {
		return err
	}
	return nil
}

func (c *child) stop() error {
	return errors.Join(c.in.Close(), c.cmd.Wait())
}
