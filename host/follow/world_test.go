package follow_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
	"github.com/kaizenchain/kaizen/host/hosttest"
)

var update = flag.Bool("update", false, "rewrite the scenario files")

// TestScenarios runs testdata: one file for each case R-…, named after it.
//
// Words of the little language (chain a exists from the start):
//
//	chain NAME of=a at=37 tip=45   a fork: its own blocks from 37 on
//	source NAME 45/40/30/20        the source's tips, - for none;
//	                               lacks=7..9: blocks it cannot serve at all
//	                               empty=7..9: ranges it promises and does not serve
//	                               proven=a: that tip is still of another chain
//	before blocks#2 NAME 45/…      the source becomes this before that read
//	local NAME 40/30/20/10         what is here; hide=7..9: heights without hash
//	                               blind: cursors without hashes; unbatched: without
//	                               batches; none: no checkpointed cursor
//	tip proven NAME 6              the store is given one event: tip TIER, added
//	                               FIRST..LAST, pruned N with checkpointed=, proven=
//	pass                           a pass: every read of the source, every event
//	state                          the local cursors, and hashes=7..9
//
// "5a" is block 5 of chain a; "5a/3" is that block as a tip, in batch 3.
func TestScenarios(t *testing.T) {
	hosttest.Scenarios(t, "testdata/*.txt", *update, func(t *testing.T) func(*hosttest.Command) string {
		return newWorld(t).run
	})
}

// world is one consumer, one source and everything that may go wrong between.
type world struct {
	*testing.T
	forks  map[string]*followtest.Fork
	order  []string // of forks, by age
	log    strings.Builder
	source source
	local  local
	follow *follow.Follower
	refuse int // the event of the next pass that the handler fails on; 0 is none
	stop   int // handled events after which the pass is asked to stop; 0 is never
	seen   int // events of this pass
	ride   *chain.Block
	bell   follow.Bell
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, forks: map[string]*followtest.Fork{}}
	w.source.w = w
	w.addFork("a", followtest.NewFork("a", 60))
	w.local.MemoryTips = follow.NewMemoryTips(w.forks["a"].ID(0).Hash)
	w.apply(w.options(follow.Options{}))
	return w
}

// options makes the follower that all passes from here on use.
func (w *world) options(opt follow.Options) (err error) {
	opt.Stopped = func() bool { return w.stop > 0 && w.seen >= w.stop }
	w.follow, err = follow.New(&w.source, &w.local, w, opt)
	return err
}

func (w *world) addFork(name string, f *followtest.Fork) {
	w.forks[name] = f
	w.order = append(w.order, name)
}

func (w *world) fork(name string) *followtest.Fork {
	f := w.forks[name]
	if f == nil {
		w.Fatalf("no chain %q", name)
	}
	return f
}

// named replaces hashes by the name of the oldest chain that has the block.
func (w *world) named(s string) string {
	var pairs []string
	for _, name := range w.order {
		f := w.forks[name]
		for n := range f.Tip() + 1 {
			t := f.TipID(n)
			block, batch := ":"+t.Block.Hash.Short(), fmt.Sprintf("/%d:%s", t.Batch.Number, t.Batch.Hash.Short())
			pairs = append(pairs, block+batch, fmt.Sprintf("%s/%d", name, t.Batch.Number), block, name,
				" "+t.Block.Hash.String(), fmt.Sprintf(" %d%s", n, name))
		}
	}
	return strings.NewReplacer(append(pairs, ":00000000", "?", " "+chain.Hash{}.String(), " none")...).Replace(s)
}

func (w *world) printf(format string, args ...any) {
	w.log.WriteString(w.named(fmt.Sprintf(format, args...)) + "\n")
}

func (w *world) run(c *hosttest.Command) string {
	w.log.Reset()
	do, ok := commands[c.Name]
	if !ok {
		w.Fatalf("line %d: no command %q", c.Line, c.Name)
	}
	do(w, c)
	return w.log.String()
}

var commands = map[string]func(*world, *hosttest.Command){
	"chain": func(w *world, c *hosttest.Command) {
		if of := c.Named["of"]; of != "" {
			w.addFork(c.Arg(0), w.fork(of).Branch(c.Arg(0), c.Uint("at", 1), c.Uint("tip", 60)))
			return
		}
		w.addFork(c.Arg(0), followtest.NewFork(c.Arg(0), c.Uint("tip", 60)))
	},
	"source": func(w *world, c *hosttest.Command) {
		w.source.set(c)
		w.source.lacks, w.source.empty = span(c.Named["lacks"]), span(c.Named["empty"])
	},
	"before": func(w *world, c *hosttest.Command) {
		w.source.changes = append(w.source.changes, change{c.Arg(0), &hosttest.Command{Args: c.Args[1:]}})
	},
	"local": (*world).setLocal,
	"seed": func(w *world, c *hosttest.Command) {
		w.apply(w.local.Seed(w.fork(c.Arg(0)).ID(number(c.Arg(1)))))
	},
	"witness": func(w *world, c *hosttest.Command) {
		w.apply(w.local.Witness(w.fork(c.Arg(0)).ID(number(c.Arg(1)))))
	},
	"tip":    (*world).applyTip,
	"added":  (*world).applyAdded,
	"pruned": (*world).applyPruned,
	"options": func(w *world, c *hosttest.Command) {
		w.apply(w.options(follow.Options{StartingBlock: c.Uint("start", 0), BatchSize: int(c.Uint("batch", 0)),
			SkipFinalized: c.Has("skip-finalized"), IgnoreCheckpoints: c.Has("ignore-checkpoints"), TipsOnly: c.Has("tips-only")}))
	},
	"refuse": func(w *world, c *hosttest.Command) { w.refuse = int(number(c.Arg(0))) },
	"stop":   func(w *world, c *hosttest.Command) { w.stop = int(number(c.Arg(0))) },
	"ride":   func(w *world, c *hosttest.Command) { w.ride = w.fork(c.Arg(0)).Block(number(c.Arg(1))) },
	"pass":   (*world).pass,
	"state":  (*world).state,
	"ring":   func(w *world, c *hosttest.Command) { w.bell.Ring(nil) },
	"begin": func(w *world, c *hosttest.Command) {
		_, ok := w.bell.Begin(c.Uint("at", 0))
		w.printf("%v", ok)
	},
	"end":  func(w *world, c *hosttest.Command) { w.bell.End(c.Uint("at", 0)) },
	"wait": func(w *world, c *hosttest.Command) { w.printf("%d", w.bell.Wait(c.Uint("at", 0))) },
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// span is FIRST..LAST; the zero span holds nothing.
func span(s string) [2]uint64 {
	if s == "" {
		return [2]uint64{1, 0}
	}
	first, last, _ := strings.Cut(s, "..")
	return [2]uint64{number(first), number(last)}
}

func within(s [2]uint64, n uint64) bool { return s[0] <= n && n <= s[1] && s[1] > 0 }

// tips reads p/c/v/f.
func (w *world) tips(f *followtest.Fork, s string) (t chain.Tips) {
	words := strings.Split(s, "/")
	t.Proposed = f.ID(number(words[0]))
	for i, tip := range []*chain.TipID{&t.Checkpointed, &t.Proven, &t.Finalized} {
		if words[i+1] != "-" {
			*tip = f.TipID(number(words[i+1]))
		}
	}
	return t
}

func (w *world) apply(err error) {
	if err != nil {
		w.printf("%v", err)
	}
}

func (w *world) setLocal(c *hosttest.Command) {
	f := w.fork(c.Arg(0))
	t := w.tips(f, c.Arg(1))
	w.local = local{MemoryTips: follow.NewMemoryTips(f.ID(0).Hash), hidden: span(c.Named["hide"]), blind: c.Has("blind"), unbatched: c.Has("unbatched"), none: c.Has("none")}
	if n := t.Proposed.Number; n > 0 {
		w.apply(w.local.Apply(follow.BlocksAdded{Blocks: f.Blocks(1, n)}))
	}
	if !w.local.none {
		w.apply(w.local.Apply(follow.ChainCheckpointed{Tip: t.Checkpointed}))
	}
	w.apply(w.local.Apply(follow.ChainProven{Tip: t.Proven}))
	w.apply(w.local.Apply(follow.ChainFinalized{Tip: t.Finalized}))
}

func (w *world) applyTip(c *hosttest.Command) {
	tip := w.fork(c.Arg(1)).TipID(number(c.Arg(2)))
	if c.Has("no-batch") {
		tip.Batch = chain.BatchID{}
	}
	var e follow.Event
	switch c.Arg(0) {
	case "checkpointed":
		e = follow.ChainCheckpointed{Tip: tip}
	case "proven":
		e = follow.ChainProven{Tip: tip}
	case "finalized":
		e = follow.ChainFinalized{Tip: tip}
	}
	w.apply(w.local.Apply(e))
}

func (w *world) applyAdded(c *hosttest.Command) {
	s := span(c.Arg(1))
	w.apply(w.local.Apply(follow.BlocksAdded{Blocks: w.fork(c.Arg(0)).Blocks(s[0], s[1])}))
}

func (w *world) applyPruned(c *hosttest.Command) {
	f := w.fork(c.Arg(0))
	w.apply(w.local.Apply(follow.ChainPruned{Target: f.ID(number(c.Arg(1))),
		Checkpointed: f.TipID(c.Uint("checkpointed", 0)), Proven: f.TipID(c.Uint("proven", 0))}))
}

func (w *world) state(c *hosttest.Command) {
	t, err := w.local.MemoryTips.Tips()
	w.apply(err)
	w.printf("proposed %s", id(t.Proposed))
	for _, e := range []follow.Event{follow.ChainCheckpointed{Tip: t.Checkpointed}, follow.ChainProven{Tip: t.Proven}, follow.ChainFinalized{Tip: t.Finalized}} {
		w.printf("%s", e)
	}
	if s := span(c.Named["hashes"]); s[1] > 0 {
		for n := s[0]; n <= s[1]; n++ {
			h, _, err := w.local.BlockHash(n)
			w.apply(err)
			w.printf("hash %s", id(chain.BlockID{Number: n, Hash: h}))
		}
	}
}

func id(b chain.BlockID) string { return fmt.Sprintf("%d:%s", b.Number, b.Hash.Short()) }

func (w *world) pass(c *hosttest.Command) {
	w.seen, w.source.counts = 0, map[string]int{}
	_, err := w.follow.Pass(w.ride)
	w.ride, w.stop = nil, 0
	var aborted *follow.AbortError
	switch {
	case err == nil:
		w.printf("ok")
	case errors.As(err, &aborted):
		w.printf("%v", err)
	default:
		w.printf("error: %v", err)
	}
}

// Handle is the consumer: it prints the event and gives it to the store.
func (w *world) Handle(e follow.Event) error {
	w.printf("! %s", e)
	if w.seen++; w.seen == w.refuse {
		w.refuse = 0
		return errors.New("the handler does not want it")
	}
	return w.local.Apply(e)
}

// local is a store that can be made to know less.
type local struct {
	*follow.MemoryTips
	hidden                 [2]uint64
	blind, unbatched, none bool
}

func (l *local) Tips() (chain.Tips, error) {
	t, err := l.MemoryTips.Tips()
	if l.blind {
		t.Checkpointed = chain.TipID{Block: chain.BlockID{Number: t.Checkpointed.Block.Number}}
		t.Proven = chain.TipID{Block: chain.BlockID{Number: t.Proven.Block.Number}}
		t.Finalized = chain.TipID{Block: chain.BlockID{Number: t.Finalized.Block.Number}}
	}
	if l.unbatched {
		t.Checkpointed.Batch, t.Proven.Batch, t.Finalized.Batch = chain.BatchID{}, chain.BatchID{}, chain.BatchID{}
	}
	if l.none {
		t.Checkpointed = chain.TipID{}
	}
	return t, err
}

func (l *local) BlockHash(n uint64) (chain.Hash, bool, error) {
	if within(l.hidden, n) {
		return chain.Hash{}, false, nil
	}
	return l.MemoryTips.BlockHash(n)
}

// source has exactly the three reads of S-23.
type source struct {
	w            *world
	fork         *followtest.Fork
	reading      chain.Tips
	lacks, empty [2]uint64
	changes      []change
	counts       map[string]int
}

type change struct {
	before string
	to     *hosttest.Command
}

func (s *source) set(c *hosttest.Command) {
	s.fork = s.w.fork(c.Arg(0))
	s.reading = s.w.tips(s.fork, c.Arg(1))
	for name, tip := range map[string]*chain.TipID{"checkpointed": &s.reading.Checkpointed, "proven": &s.reading.Proven} {
		if fork, ok := c.Named[name]; ok { // a stale tier: the same height, of another chain
			*tip = s.w.fork(fork).TipID(tip.Block.Number)
		}
	}
}

// read counts a read and lets happen what was to happen before it.
func (s *source) read(name string) {
	s.counts[name]++
	at := fmt.Sprintf("%s#%d", name, s.counts[name])
	s.changes = slices.DeleteFunc(s.changes, func(c change) bool {
		if c.before == at {
			s.set(c.to)
		}
		return c.before == at
	})
}

func (s *source) Tips() (chain.Tips, error) {
	s.read("tips")
	s.w.printf("read tips %s", id(s.reading.Proposed))
	return s.reading, nil
}

func (s *source) Blocks(from uint64, limit int) ([]*chain.Block, error) {
	s.read("blocks")
	s.w.printf("read blocks from %d limit %d", from, limit)
	if within(s.lacks, from) {
		return nil, fmt.Errorf("block %d: %w", from, follow.ErrNotAvailable)
	}
	if within(s.empty, from) || from > s.reading.Proposed.Number {
		return nil, nil
	}
	return s.fork.Blocks(from, min(from+uint64(limit)-1, s.reading.Proposed.Number)), nil
}

func (s *source) BlockData(n uint64) (chain.Header, error) {
	s.read("header")
	s.w.printf("read header %d", n)
	if within(s.lacks, n) || n > s.fork.Tip() {
		return chain.Header{}, fmt.Errorf("block %d: %w", n, follow.ErrNotAvailable)
	}
	return s.fork.Block(n).Header, nil
}
