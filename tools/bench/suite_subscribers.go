package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// segment is a stretch of time in which nobody subscribes or leaves.
type segment struct {
	seals         []time.Duration // from the end of a block to its publication
	took          time.Duration
	node, reading time.Duration // processor time of the read node, and of this process
	notices       int64
}

// pair is two segments of one round.
type pair struct{ with, without segment }

// subscribers measures the time from the end of a block to its publication on the
// write node, with and without subscribers on a read node beside it.
func (b *bench) subscribers() (err error) {
	n, err := b.theChild()
	if err != nil {
		return err
	}
	r, err := b.follower(n, "subscribed")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	var pairs []pair
	for range b.rounds {
		more, err := b.subscribersRound(n, r)
		if err != nil {
			return err
		}
		pairs = append(pairs, more...)
	}
	b.addSubscribers(pairs)
	return nil
}

// subscribersRound is a segment without subscribers, two with and one without: what
// drifts is on both sides alike.
func (b *bench) subscribersRound(n, r *child) ([]pair, error) {
	var pairs [2]pair
	var received atomic.Int64
	if err := b.segment(&pairs[0].without, n, r, &received); err != nil {
		return nil, err
	}
	leave, err := b.join(r, &received)
	if err != nil {
		return nil, err
	}
	for i := range pairs {
		if err == nil {
			err = b.segment(&pairs[i].with, n, r, &received)
		}
	}
	if err := errors.Join(err, leave()); err != nil {
		return nil, err
	}
	return pairs[:], b.segment(&pairs[1].without, n, r, &received)
}

func (b *bench) addSubscribers(pairs []pair) {
	quantiles := []struct {
		name string
		at   float64
		want *Bound
	}{{"p50", 0.5, nil}, {"p99", 0.99, atMost(1.1)}}
	for _, q := range quantiles {
		name := fmt.Sprintf("%s from the end of a block to its publication, %d idle and %d busy subscribers on a read node", q.name, idleSubscribers, busySubscribers)
		b.add(pooled("subscribers", name, "the same without subscribers", q.at, pairs).want(q.want, nil))
	}
	var rates []float64
	var with, without segment
	for i := range pairs {
		rates = append(rates, perSecond(int(pairs[i].with.notices), pairs[i].with.took))
		with.add(&pairs[i].with)
		without.add(&pairs[i].without)
	}
	idle := with.took.Seconds() / without.took.Seconds()
	each := func(taken, before time.Duration) float64 {
		return (microseconds(taken) - microseconds(before)*idle) / float64(with.notices)
	}
	b.add(plain("subscribers", "notices received", "1/s", rates...).noted(fmt.Sprintf("%d transfers a second", subscribedRate)),
		plain("subscribers", "processor time of the read node for one notice", "µs", each(with.node, without.node)).noted("what idle subscribers cost included"),
		plain("subscribers", "processor time of the subscribers for one notice", "µs", each(with.reading, without.reading)))
}

// add makes one segment of two.
func (s *segment) add(t *segment) {
	s.seals = append(s.seals, t.seals...)
	s.took, s.node, s.reading, s.notices = s.took+t.took, s.node+t.node, s.reading+t.reading, s.notices+t.notices
}

// follower is a read node in a process of its own, in a directory of that name, that
// has every block.
func (b *bench) follower(n *child, name string) (*child, error) {
	dir := filepath.Join(b.temp, name)
	if err := b.chain.copyTo(dir); err != nil {
		return nil, err
	}
	r, err := startChild(b.ctx, setup{Dir: dir, Cache: b.cacheDir(), Follow: n.Sync})
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

// join subscribes everybody, and returns what has them leave.
func (b *bench) join(r *child, received *atomic.Int64) (leave func() error, err error) {
	var conns []*websocket.Conn
	var all sync.WaitGroup
	leave = func() error {
		for _, c := range conns {
			c.CloseNow() // its reader sees it
		}
		all.Wait()
		return b.alone(r)
	}
	for i := range idleSubscribers + busySubscribers {
		conn, err := subscribe(b.ctx, r.RPC, i)
		if err != nil {
			return nil, errors.Join(err, leave())
		}
		conns = append(conns, conn)
		all.Go(func() { countMessages(conn, received) })
	}
	return leave, nil
}

// countMessages reads as cheaply as the library lets it: what subscribers do with what
// they read is not the node's cost.
func countMessages(conn *websocket.Conn, received *atomic.Int64) {
	defer conn.CloseNow()
	discard := make([]byte, 4<<10)
	for {
		_, m, err := conn.Reader(context.Background())
		if err != nil {
			return
		}
		for err == nil {
			_, err = m.Read(discard)
		}
		if err != io.EOF {
			return
		}
		received.Add(1)
	}
}

// alone waits until nobody is connected to r by WebSocket.
func (b *bench) alone(r *child) error {
	nobody := []byte(`kaizen_rpc_connections{transport="ws"} 0` + "\n")
	for {
		metrics, err := get(b.ctx, "http://"+r.RPC+"/metrics")
		if err != nil || bytes.Contains(metrics, nobody) {
			return err
		}
	}
}

func get(ctx context.Context, url string) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(io.LimitReader(answer.Body, client.MaxAnswerBytes))
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

// segment measures at a modest load.
func (b *bench) segment(to *segment, n, r *child, received *atomic.Int64) error {
	defer uncollected()()
	lean := newPoster(n.RPC)
	defer lean.close()
	raws := b.chain.wallets.load(count(subscribedRate, max(2*b.slice(), minIntervals*b.interval())))
	bodies := requests(slices.Collect(slices.Chunk(raws, 1)))
	if err := b.caughtUp(n, r); err != nil {
		return err
	}
	if _, err := n.lap(); err != nil {
		return err
	}
	if _, err := r.lap(); err != nil {
		return err
	}
	before, notices, start := ownCPU(), received.Load(), time.Now()
	if _, err := paced(b.ctx, len(bodies), time.Second/subscribedRate, func(i int) error { return lean.post(b.ctx, bodies[i], 1) }); err != nil {
		return err
	}
	to.took, to.reading, to.notices = time.Since(start), ownCPU()-before, received.Load()-notices
	node, err := r.lap()
	if err != nil {
		return err
	}
	to.node = node.CPU
	s, err := n.lap()
	if err != nil {
		return err
	}
	for _, seal := range s.Seals {
		if seal.Published > 0 {
			to.seals = append(to.seals, time.Duration(seal.Published-seal.At))
		}
	}
	if len(to.seals) == 0 {
		return errors.New("no block was published")
	}
	return nil
}

func ownCPU() time.Duration {
	cpu, _ := usage()
	return cpu
}
