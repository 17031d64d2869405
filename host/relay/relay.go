package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/metrics"
	"github.com/kaizenchain/kaizen/host/settle"
	"github.com/kaizenchain/kaizen/host/wire"
)

// Settler settles theses until it is told to stop.
type Settler struct {
	opt      Options
	disk     *disk
	node     Node
	signer   signer
	identity identity
	markets  []Market // to settle; asked anew before each snapshot if that is all of them
	config   settle.Config
	core     *settle.Core
	latency  *metrics.Histogram

	// Of the loop.
	live      bool         // the core has seen all there is: it may send
	out       bool         // a batch is being sent
	paused    time.Time    // the node did not take the last batch: not before this
	backoff   wire.Backoff // of batches
	answers   chan answer  // of capacity 1
	peeks     chan peeked  // of capacity 1
	peeking   bool
	peekAfter time.Time
	busy      bool       // the core is being saved
	saved     chan error // of capacity 1

	mu    sync.Mutex
	stats Stats
}

// New opens the data directory. [Settler.Close] releases it.
func New(opt Options) (*Settler, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	s := &Settler{opt: opt, node: opt.Node, signer: signer{address: opt.Key.Address(), key: opt.Key}, backoff: wire.Backoff{Min: backoffMin, Max: backoffMax},
		answers: make(chan answer, 1), saved: make(chan error, 1), peeks: make(chan peeked, 1), latency: newLatency()}
	var err error
	if s.node == nil {
		if s.node, err = newRPCNode(opt.RPCURL); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	if s.disk, err = openDisk(opt.DataDir); err != nil {
		return nil, errors.Join(err, s.node.Close())
	}
	return s, nil
}

// Close releases what New took; the settler does not run any more.
func (s *Settler) Close() error {
	var err error
	if s.opt.Metrics != nil {
		if err = s.opt.Metrics.Close(); errors.Is(err, net.ErrClosed) {
			err = nil // its server has closed it
		}
	}
	return errors.Join(err, s.node.Close(), s.disk.close())
}

// Run settles until ctx ends, which is no error. Nodes that are away are waited
// for; an error means that waiting does not help.
func (s *Settler) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	err := s.serveMetrics(ctx, fail, &running)
	if err == nil {
		err = s.run(ctx)
	}
	fail(nil)
	running.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

func (s *Settler) run(ctx context.Context) error {
	if err := s.meet(ctx); err != nil {
		return err
	}
	// What is being sent when the settler stops gets a moment more.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	known := s.load()
	gaps := wire.Backoff{Min: backoffMin, Max: backoffMax}
	var err error
	for ctx.Err() == nil && err == nil {
		if !known {
			err = s.rebuild(ctx)
		}
		from := s.core.Height()
		if err == nil {
			err = s.follow(ctx, sending)
		}
		if s.core.Height() > from {
			gaps.Reset()
		} else if ctx.Err() == nil && err == nil {
			pause(ctx, gaps.Next()) // two nodes that are far apart: do not ask one, then the other, as fast as they answer
		}
		known = false
	}
	return errors.Join(err, s.stop(cancel))
}

// meet learns which chain the node is of, what its rules are, and what the names
// of the pairs stand for.
func (s *Settler) meet(ctx context.Context) error {
	return s.insist(ctx, "node", func(ctx context.Context) error {
		info, err := s.node.Info(ctx)
		if err != nil {
			return err
		}
		if info.Module.Name != moduleName {
			return fmt.Errorf("%w: it runs %q", ErrModule, info.Module.Name)
		}
		rules, err := s.node.Rules(ctx, s.signer.address)
		if err != nil {
			return err
		}
		s.identity = identity{chainID: info.ChainID, genesis: info.GenesisHash, module: info.ModuleHash}
		copy(s.identity.sequencer[:], info.Sequencer)
		if s.markets, err = choose(rules.Markets, s.opt.Pairs); err != nil {
			return err
		}
		s.core = settle.New(s.coreConfig(rules.MaxStaleMs))
		s.greet(&rules)
		return nil
	})
}

// moduleName is the schema name of the module that has theses.
const moduleName = "rfq"

func (s *Settler) coreConfig(maxStaleMs uint64) settle.Config {
	cfg := settle.Config{MaxStaleMs: maxStaleMs, BufferMs: s.opt.BufferMs, BatchSize: s.opt.BatchSize}
	if len(s.opt.Pairs) > 0 {
		for _, m := range s.markets {
			cfg.Pairs = append(cfg.Pairs, m.Pair)
		}
	}
	s.config = cfg
	return cfg
}

// choose finds the named markets; no names mean all of them.
func choose(markets []Market, names []string) ([]Market, error) {
	if len(names) == 0 {
		return markets, nil
	}
	var chosen []Market
	for _, name := range names {
		i := slices.IndexFunc(markets, func(m Market) bool { return m.Name == name })
		if i < 0 {
			var known []string
			for _, m := range markets {
				known = append(known, m.Name)
			}
			return nil, fmt.Errorf("%w: %q, the chain has %s", ErrPair, name, strings.Join(known, ", "))
		}
		chosen = append(chosen, markets[i])
	}
	return chosen, nil
}

// greet says what is settled as whom, and warns if the chain will not take it.
func (s *Settler) greet(rules *Rules) {
	pairs := "all"
	if len(s.opt.Pairs) > 0 {
		pairs = strings.Join(s.opt.Pairs, ",")
	}
	s.opt.Log.Info("settler is up", "address", s.signer.address, "pairs", pairs, "chain_id", s.identity.chainID, "genesis", s.identity.genesis,
		"write_node", s.opt.WriteNode, "rpc_url", s.opt.RPCURL, "data_dir", s.opt.DataDir)
	if !rules.SettlerEnabled || !rules.MaySettle {
		s.opt.Log.Warn("the chain does not take this account's word: theses will be settled a minute after their challenge windows, the chain deciding",
			"address", s.signer.address, "permission", rules.MaySettle, "settler_enabled", rules.SettlerEnabled)
	}
}

// insist repeats what fails because a node is away, until it does not or ctx ends.
func (s *Settler) insist(ctx context.Context, what string, do func(context.Context) error) error {
	backoff := wire.Backoff{Min: backoffMin, Max: backoffMax}
	for {
		err := do(ctx)
		for _, fatal := range []error{ErrModule, ErrPair} {
			if errors.Is(err, fatal) {
				return err
			}
		}
		s.note(func(v *Stats) { v.NodeUp = err == nil })
		if err == nil || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		s.opt.Log.Warn("waiting for the node", "for", what, "rpc_url", s.opt.RPCURL, "error", err)
		pause(ctx, backoff.Next())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// load takes over from the settler that ran on the directory before; false if it
// left nothing of use. Files that cannot be used are no reason to stop: the state
// of the chain says it all.
func (s *Settler) load() (known bool) {
	saved := s.loadFile(stateName)
	if saved != nil {
		core, err := settle.Restore(s.config, saved)
		if err != nil {
			s.opt.Log.Warn("saved state is of no use: asking the chain", "error", err)
		} else {
			s.core, known = core, true
			s.opt.Log.Info("going on", "height", core.Height(), "open", core.Counts().Open)
		}
	}
	if b := s.loadFile(inFlightName); b != nil {
		inFlight, err := settle.DecodeInFlight(b)
		if err != nil {
			s.opt.Log.Warn("record of transactions in flight is of no use", "error", err)
		}
		s.core.Resume(inFlight)
	}
	return known
}

// loadFile reads one file of this chain, nil if there is none of use.
func (s *Settler) loadFile(name string) []byte {
	b, err := s.disk.read(name)
	if err != nil || b == nil {
		if err != nil {
			s.opt.Log.Warn("file is of no use", "file", name, "error", err)
		}
		return nil
	}
	body, ours, err := unframe(&s.identity, b)
	if err != nil || !ours {
		s.opt.Log.Warn("file is of no use: asking the chain", "file", name, "of_this_chain", ours, "error", err)
		return nil
	}
	return body
}

// rebuild asks the state what is open, and starts from there.
func (s *Settler) rebuild(ctx context.Context) error {
	s.live = false
	s.note(func(v *Stats) { v.Live = false })
	err := s.insist(ctx, "state", func(ctx context.Context) error {
		markets := s.markets
		if len(s.opt.Pairs) == 0 { // there may be more by now
			rules, err := s.node.Rules(ctx, s.signer.address)
			if err != nil {
				return err
			}
			markets = rules.Markets
		}
		snapshot, err := s.node.Snapshot(ctx, markets)
		if err != nil {
			return err
		}
		s.core.Rebuild(snapshot)
		s.opt.Log.Info("asked the state", "height", snapshot.Height, "open", len(snapshot.Theses))
		return nil
	})
	s.publish()
	if err != nil {
		return err
	}
	return s.save()
}

// follow is the loop; it returns nil when the stream has a gap, or ctx ends.
func (s *Settler) follow(ctx, sending context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	updates := make(chan update)
	var streaming sync.WaitGroup
	streaming.Go(func() { (&stream{s: s, next: s.core.Height() + 1, out: updates}).run(ctx) })
	defer streaming.Wait()
	defer cancel()
	tick, save := time.NewTicker(s.opt.CheckInterval), time.NewTicker(saveInterval)
	defer tick.Stop()
	defer save.Stop()
	for {
		gap, err := false, error(nil)
		select {
		case u := <-updates:
			gap, err = s.take(&u)
			if u.live {
				s.peek(sending)
			}
		case <-tick.C:
			s.core.Tick()
		case a := <-s.answers:
			err = s.hear(&a)
		case p := <-s.peeks:
			s.look(&p)
		case <-save.C:
			s.saveSoon()
		case err = <-s.saved:
			s.busy = false
		case <-ctx.Done():
			return nil
		}
		if gap || err != nil {
			return err
		}
		s.submit(sending)
		s.publish()
	}
}

// take tells the core what the stream says; gap means that the state has to be
// asked.
func (s *Settler) take(u *update) (gap bool, err error) {
	switch {
	case u.fatal != nil:
		return false, u.fatal
	case u.gap != nil:
		s.gap(u.gap)
		return true, nil
	case u.up:
		s.note(func(v *Stats) { v.StreamUp = true })
		s.opt.Log.Info("following", "node", s.opt.WriteNode, "from", s.core.Height()+1)
	case u.down != nil:
		s.disconnected(u.down)
	case u.live && !s.live:
		s.live = true
		s.opt.Log.Info("caught up", "height", s.core.Height(), "open", s.core.Counts().Open)
		s.core.Tick()
	}
	for _, b := range u.blocks {
		block, told, err := decode(b)
		if err != nil {
			return false, err
		}
		if err := s.core.Block(block); err != nil {
			s.gap(err)
			return true, nil
		}
		s.count(told)
	}
	return false, nil
}

func (s *Settler) gap(err error) {
	s.note(func(v *Stats) { v.Gaps++ })
	s.opt.Log.Warn("the stream does not go on from here: asking the state", "height", s.core.Height(), "error", err)
}

func (s *Settler) disconnected(err error) {
	s.note(func(v *Stats) {
		if v.StreamUp {
			s.opt.Log.Warn("not connected to the event stream", "node", s.opt.WriteNode, "error", err)
			v.Disconnects++
		}
		v.StreamUp = false
	})
}

// submit sends the next batch if there is one and none is out.
func (s *Settler) submit(sending context.Context) {
	if !s.live || s.out || time.Now().Before(s.paused) {
		return
	}
	batch, ok := s.core.Next()
	if !ok {
		return
	}
	s.out = true
	record := s.core.AppendInFlight(nil)
	go s.send(sending, batch, record)
}

// hear tells the core what became of the batch that was out.
func (s *Settler) hear(a *answer) error {
	s.out = false
	if a.fatal != nil {
		return a.fatal
	}
	s.core.Answer(a.batch, a.answers)
	s.note(func(v *Stats) {
		v.Batches++
		v.NodeUp = a.down == nil
		if a.down != nil {
			v.NodeErrors++
		}
	})
	if a.down == nil {
		s.backoff.Reset()
	} else {
		s.paused = time.Now().Add(s.backoff.Next())
		s.opt.Log.Warn("the node did not take a batch: sending it again", "transactions", len(a.batch), "rpc_url", s.opt.RPCURL, "error", a.down)
	}
	if a.refusal != "" {
		s.opt.Log.Warn("settlements were not executed", "transactions", len(a.batch), "one_of_them", a.refusal)
	}
	return nil
}

// saveSoon saves the core without waiting for the disk.
func (s *Settler) saveSoon() {
	if s.busy {
		return
	}
	s.busy = true
	b := frame(&s.identity, s.core.Append(nil))
	go func() { s.saved <- s.disk.write(stateName, b) }()
}

// save saves the core.
func (s *Settler) save() error {
	var err error
	if s.busy {
		err, s.busy = <-s.saved, false
	}
	return errors.Join(err, s.disk.write(stateName, frame(&s.identity, s.core.Append(nil))))
}

// stop waits a moment for the answer to the batch that is out, and saves.
func (s *Settler) stop(cancel context.CancelFunc) error {
	if s.out {
		patience := time.AfterFunc(stopTimeout, cancel) // the call under way then ends
		a := <-s.answers
		patience.Stop()
		if err := s.hear(&a); err != nil {
			return err
		}
	}
	if s.core == nil {
		return nil
	}
	s.publish()
	return s.save()
}
