package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// Subscribers of one read node, each on a connection of its own.
const (
	idleSubscribers = 2000 // whose filter matches nothing
	busySubscribers = 200  // who get every block, or every event
	subscribedRate  = 100  // transfers a second meanwhile
)

// subscribers measures the time from the end of a block to its publication on the
// write node, with and without subscribers on a read node beside it.
func (b *bench) subscribers() (err error) {
	n, err := b.theChild()
	if err != nil {
		return err
	}
	r, err := b.follower(n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	var rounds []round
	var notices []float64
	for i := range b.rounds {
		var v round
		if i%2 == 1 { // the order changes, against drift
			v.limit, err = b.sealLatency(n)
		}
		if err != nil {
			return err
		}
		got, latency, err := b.subscribed(n, r)
		if err != nil {
			return err
		}
		v.value, notices = latency, append(notices, got)
		if i%2 == 0 {
			if v.limit, err = b.sealLatency(n); err != nil {
				return err
			}
		}
		rounds = append(rounds, v)
	}
	name := fmt.Sprintf("p99 from the end of a block to its publication, %d idle and %d busy subscribers on a read node", idleSubscribers, busySubscribers)
	b.add(rated("subscribers", name, "ms", "the same without subscribers", "ms", rounds).want(atMost(1.1), nil),
		plain("subscribers", "notices received", "1/s", notices...).noted(fmt.Sprintf("%d transfers a second", subscribedRate)))
	return nil
}

// follower is a read node in a process of its own that has every block.
func (b *bench) follower(n *child) (*child, error) {
	dir := filepath.Join(b.temp, "follower")
	if err := b.chain.copyTo(dir); err != nil {
		return nil, err
	}
	r, err := startChild(b.ctx, dir, b.cacheDir(), n.Sync)
	if err != nil {
		return nil, err
	}
	b.say("a read node follows")
	return r, b.caughtUp(n, r)
}

// caughtUp waits until r has what n had.
func (b *bench) caughtUp(n, r *child) (err error) {
	var heights [2]uint64
	for i, node := range []*child{n, r} {
		c, err := client.New("http://" + node.RPC)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		for heights[i] == 0 || heights[i] < heights[0] {
			s, err := c.Status(b.ctx)
			if err != nil {
				return err
			}
			heights[i] = s.Height
		}
	}
	return nil
}

// subscribed is sealLatency with everybody subscribed, and how many notices came a
// second.
func (b *bench) subscribed(n, r *child) (notices, latency float64, err error) {
	var received atomic.Int64
	ctx, cancel := context.WithCancel(b.ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range idleSubscribers + busySubscribers {
		conn, err := subscribe(ctx, r.RPC, i)
		if err != nil {
			return 0, 0, err
		}
		all.Go(func() {
			defer conn.CloseNow()
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					return
				}
				received.Add(1)
			}
		})
	}
	received.Store(0)
	start := time.Now()
	latency, err = b.sealLatency(n)
	return float64(received.Load()) / time.Since(start).Seconds(), latency, err
}

// subscribe is one subscriber, who has been told that he is one.
func subscribe(ctx context.Context, address string, i int) (*websocket.Conn, error) {
	params := `["events",{"type":"unknown"}]`
	if i >= idleSubscribers {
		params = [...]string{`["blocks"]`, `["events"]`}[i%2]
	}
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/ws", nil)
	if err != nil {
		return nil, fmt.Errorf("subscriber %d: %w", i, err)
	}
	conn.SetReadLimit(client.MaxAnswerBytes)
	err = conn.Write(ctx, websocket.MessageText, []byte(`{"jsonrpc":"2.0","id":1,"method":"kaizen_subscribe","params":`+params+`}`))
	var answer []byte
	if err == nil {
		_, answer, err = conn.Read(ctx)
	}
	if err == nil && !bytes.Contains(answer, []byte(`"result"`)) {
		err = fmt.Errorf("answered %.300s", answer)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscriber %d: %w", i, err), conn.CloseNow())
	}
	return conn, nil
}

// sealLatency is the p99, ms, at a modest load.
func (b *bench) sealLatency(n *child) (p99 float64, err error) {
	lean := newPoster(n.RPC)
	defer lean.close()
	raws := b.chain.wallets.load(count(subscribedRate, b.latencyTime()))
	bodies := requests(slices.Collect(slices.Chunk(raws, 1)))
	if _, err := n.lap(); err != nil {
		return 0, err
	}
	if _, err := paced(b.ctx, len(bodies), time.Second/subscribedRate, func(i int) error { return lean.post(b.ctx, bodies[i], 1) }); err != nil {
		return 0, err
	}
	s, err := n.lap()
	if err != nil {
		return 0, err
	}
	var took []time.Duration
	for _, seal := range s.Seals {
		if seal.Published > 0 {
			took = append(took, time.Duration(seal.Published-seal.At))
		}
	}
	if len(took) == 0 {
		return 0, errors.New("no block was published")
	}
	return quantile(ascendingMs(took), 0.99), nil
}
