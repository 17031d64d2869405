package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

const (
	modestRate     = 500 // single transactions a second, without other load
	probeRate      = 200 // the same beside other load
	backgroundSize = 10  // transactions in one call of the other load
	phaseBuckets   = 10  // of the time between two seals
	maxPhases      = 2   // answer time of the slowest phase / of the fastest
)

// caller sends one transaction and waits for its receipt.
type caller struct {
	name string
	send func(ctx context.Context, raw []byte) error
	// ask calls what needs neither the executor nor the disk; nil: it has none.
	ask func(ctx context.Context) error
}

func callerOf(name string, c *client.Client) *caller {
	return &caller{name: name,
		send: func(ctx context.Context, raw []byte) error {
			r, err := c.SendTransaction(ctx, raw)
			if err != nil {
				return err
			}
			return checkReceipt(&r)
		},
		ask: func(ctx context.Context) error {
			_, err := c.Info(ctx)
			return err
		}}
}

// streamCaller sends all of its transactions over one stream.
func streamCaller(s *client.Stream) *caller {
	return &caller{name: "submit stream", send: func(ctx context.Context, raw []byte) error {
		sent, err := s.Send(ctx, raw)
		if err != nil {
			return err
		}
		done, err := sent.Wait(ctx)
		if err == nil && done.Receipt.Code != abi.CodeOK {
			err = fmt.Errorf("transfer failed: code %d %s", done.Receipt.Code, done.Receipt.Detail)
		}
		return err
	}}
}

// latency measures the time from sending a transaction to its durable receipt.
func (b *bench) latency() (err error) {
	n, err := b.theChild()
	if err != nil {
		return err
	}
	var callers []*caller
	var ws *client.Client
	for _, scheme := range []string{"http", "ws"} {
		c, err := client.New(scheme + "://" + n.RPC)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		callers, ws = append(callers, callerOf(map[string]string{"http": "HTTP keep-alive", "ws": "WebSocket"}[scheme], c)), c
	}
	stream, err := ws.Stream(b.ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	callers = append(callers, streamCaller(stream))
	for _, c := range callers {
		if err := b.calm(n, c); err != nil {
			return err
		}
	}
	return b.busy(n, callers)
}

// latencyTime is the length of one latency measurement: percentiles need many
// answers.
func (b *bench) latencyTime() time.Duration {
	return max(b.slice()*time.Duration(b.rounds)/2, minIntervals*b.interval())
}

// minIntervals is how many intervals a latency measurement sees at least.
const minIntervals = 3

func (b *bench) interval() time.Duration {
	return time.Duration(b.chain.genesis.IntervalMs) * time.Millisecond
}

// count is how many calls at a rate fill d.
func count(rate float64, d time.Duration) int { return max(phaseBuckets, int(rate*d.Seconds())) }

// calm is single transactions at a modest rate, and whether the phase of the tick
// matters to them.
func (b *bench) calm(n *child, c *caller) error {
	d := b.latencyTime()
	raws := b.chain.wallets.load(count(modestRate, d))
	if _, err := n.lap(); err != nil {
		return err
	}
	collect := uncollected()
	samples, err := paced(b.ctx, len(raws), time.Second/modestRate, func(i int) error { return c.send(b.ctx, raws[i]) })
	collect()
	if err != nil {
		return err
	}
	s, err := n.lap()
	if err != nil {
		return err
	}
	b.percentiles(fmt.Sprintf("%s, %d single transfers a second", c.name, modestRate), samples, false)
	medians := byPhase(samples, s.Seals, b.interval())
	slow, fast := slices.Max(medians), slices.Min(medians)
	f := plain("latency", c.name+": p50 in the slowest tenth of an interval / in the fastest", "1", slow/fast)
	b.add(f.want(atMost(maxPhases), nil).noted(fmt.Sprintf("%.3f ms and %.3f ms", slow, fast)))
	return nil
}

func (b *bench) percentiles(what string, samples []sample, wanted bool) {
	took := make([]time.Duration, len(samples))
	for i := range samples {
		took[i] = samples[i].took
	}
	ms := ascendingMs(took)
	p50 := plain("latency", what+", p50", "ms", quantile(ms, 0.5))
	p99 := plain("latency", what+", p99", "ms", quantile(ms, 0.99))
	if wanted {
		p50, p99 = p50.want(atMost(1), atMost(0.5)), p99.want(atMost(5), atMost(3))
	}
	b.add(p50, p99.noted(fmt.Sprintf("%d answers", len(samples))))
}

// byPhase is the median answer time, ms, by the time since the last seal; phases
// in which nothing was sent are left out.
func byPhase(samples []sample, seals []seal, interval time.Duration) []float64 {
	buckets := make([][]time.Duration, phaseBuckets)
	for _, s := range samples {
		at := s.sent.UnixNano()
		i, found := slices.BinarySearchFunc(seals, at, func(s seal, at int64) int { return int(min(1, max(-1, s.At-at))) })
		if !found {
			i--
		}
		if i < 0 {
			continue // before the first seal that was seen
		}
		bucket := int(time.Duration(at-seals[i].At) * phaseBuckets / interval)
		bucket = min(bucket, phaseBuckets-1)
		buckets[bucket] = append(buckets[bucket], s.took)
	}
	var medians []float64
	for _, took := range buckets {
		if len(took) > 0 {
			medians = append(medians, quantile(ascendingMs(took), 0.5))
		}
	}
	if medians == nil { // no seal was seen
		medians = []float64{quantile(ascendingMs([]time.Duration{samples[0].took}), 0.5)}
	}
	return medians
}

// busy is single transactions beside half of what the node and the load generator
// come to with calls of the same kind.
func (b *bench) busy(n *child, callers []*caller) (err error) {
	d := b.latencyTime()
	load, err := b.newBackground(n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	most, err := load.most()
	if err != nil {
		return err
	}
	rate := max(most/2-float64(len(callers)*probeRate), backgroundSize)
	load.prepare(rate, d)
	probes := b.probes(load, callers, d)
	if _, err := n.lap(); err != nil {
		return err
	}
	endTrace, err := b.traceBoth(n)
	if err != nil {
		return err
	}
	defer uncollected()()
	results := make([][]sample, len(probes))
	failures := make([]error, len(probes))
	var all sync.WaitGroup
	for i, p := range probes {
		all.Go(func() { results[i], failures[i] = paced(b.ctx, p.calls, p.every, p.call) })
	}
	all.Wait()
	if err := errors.Join(append(failures, endTrace())...); err != nil {
		return err
	}
	seals, err := b.sealsUnderLoad(n, callers[0])
	if err != nil {
		return err
	}
	b.add(plain("latency", "load beside the next figures", "1/s", rate+float64(len(callers)*probeRate)).noted(fmt.Sprintf("half of what it comes to if every call follows an answer: %.0f a second", most)))
	for i, p := range probes {
		b.percentiles(p.name+" at half load", results[i], p.wanted)
	}
	b.pauses(seals)
	return nil
}

// probe is one kind of paced call.
type probe struct {
	name   string
	wanted bool // its percentiles have a target
	calls  int
	every  time.Duration
	call   func(i int) error
}

// probes are what is under way at half load: single transfers, the load itself, and
// calls that want nothing of the chain, which take what this machine, the load
// generator in it and the RPC port take of every answer.
func (b *bench) probes(load *background, callers []*caller, d time.Duration) (all []probe) {
	var ask *caller
	for _, c := range callers {
		if c.ask != nil {
			ask = c
		}
		raws := b.chain.wallets.load(count(probeRate, d))
		all = append(all, probe{c.name + ", single transfers", true, len(raws), time.Second / probeRate, func(i int) error { return c.send(b.ctx, raws[i]) }})
	}
	return append(all,
		probe{ask.name + ", kaizen_info", false, count(probeRate, d), time.Second / probeRate, func(int) error { return ask.ask(b.ctx) }},
		probe{fmt.Sprintf("WebSocket, calls of %d transfers", backgroundSize), false, len(load.params), load.every, load.send})
}

// traceBoth records what node and load generator do until end is called, if that
// was asked for.
func (b *bench) traceBoth(n *child) (end func() error, err error) {
	if b.trace == "" {
		return func() error { return nil }, nil
	}
	own := newTracer()
	if err := own.toggle(b.trace + ".load"); err != nil {
		return nil, err
	}
	if _, err := n.command(commandTrace + " " + b.trace); err != nil {
		return nil, errors.Join(err, own.end())
	}
	return func() error {
		_, err := n.command(commandTrace)
		return errors.Join(err, own.end())
	}, nil
}

// mostUncollected bounds the memory of the load generator while it does not collect
// garbage, bytes.
const mostUncollected = 4 << 30

// uncollected keeps this process from collecting garbage until collect is called: the
// marking of the load generator's would be in the answers' times.
func uncollected() (collect func()) {
	runtime.GC()
	limit := debug.SetMemoryLimit(mostUncollected)
	percent := debug.SetGCPercent(-1)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// sealsUnderLoad is the seals since the last lap. On a machine that is so busy that
// there was none between two transfers it sends more.
func (b *bench) sealsUnderLoad(n *child, c *caller) (seals []seal, err error) {
	for {
		s, err := n.lap()
		if err != nil {
			return nil, err
		}
		seals = append(seals, s.Seals...)
		if slices.ContainsFunc(seals, func(s seal) bool { return s.Gap > 0 }) {
			return seals, nil
		}
		if err := c.send(b.ctx, b.chain.wallets.load(1)[0]); err != nil {
			return nil, err
		}
	}
}

// background is load of small calls over a few WebSockets, as market makers
// keep them: a connection and a handler for each call would be most of its cost.
type background struct {
	*bench
	clients []*client.Client
	params  []json.RawMessage
	every   time.Duration
}

// backgroundConns is how many connections the other load comes over.
const backgroundConns = 4

func (b *bench) newBackground(n *child) (*background, error) {
	l := &background{bench: b}
	for range backgroundConns {
		c, err := client.New("ws://" + n.RPC)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.clients = append(l.clients, c)
	}
	return l, nil
}

// prepare makes load for d at a rate of transactions a second.
func (l *background) prepare(rate float64, d time.Duration) {
	l.every, l.params = time.Duration(float64(time.Second)*backgroundSize/rate), nil
	for part := range slices.Chunk(l.chain.wallets.load(count(rate/backgroundSize, d)*backgroundSize), backgroundSize) {
		l.params = append(l.params, sendParams(part))
	}
}

// most is how many transactions a second get through in such calls when each
// pacer sends the next as soon as it has an answer.
func (l *background) most() (float64, error) {
	limit, err := l.limit()
	if err != nil {
		return 0, err
	}
	l.prepare(limit, l.slice())
	l.every = 0
	start := time.Now()
	_, err = l.run()
	return perSecond(len(l.params)*backgroundSize, time.Since(start)), err
}

func (l *background) close() (err error) {
	for _, c := range l.clients {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (l *background) run() ([]sample, error) {
	return paced(l.ctx, len(l.params), l.every, l.send)
}

func (l *background) send(i int) error {
	var receipts json.RawMessage
	if err := l.clients[i%len(l.clients)].Call(l.ctx, "kaizen_sendTransactions", l.params[i], &receipts); err != nil {
		return err
	}
	return checkReceipts(receipts, backgroundSize)
}

// pauses is how long seals, of which at least one was between transfers, kept the
// executor from transactions.
func (b *bench) pauses(seals []seal) {
	var pauses, gaps []time.Duration
	for _, s := range seals {
		pauses = append(pauses, time.Duration(s.Pause))
		if s.Gap > 0 {
			gaps = append(gaps, time.Duration(s.Gap))
		}
	}
	ms := ascendingMs(pauses)
	b.add(plain("latency", "intake pause at a seal, p50", "ms", quantile(ms, 0.5)).noted("closing a block and opening the next"),
		plain("latency", "intake pause at a seal, p99", "ms", quantile(ms, 0.99)).want(atMost(2), atMost(0.5)).noted(fmt.Sprintf("%d seals at half load", len(ms))))
	ms = ascendingMs(gaps)
	b.add(plain("latency", "time between the transfers before and after a seal, p50", "ms", quantile(ms, 0.5)).noted("with the wait for the next transfer to arrive"))
}
