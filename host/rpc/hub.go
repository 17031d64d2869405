package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/procs"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// hub serves all subscriptions of a node.
//
//	node: the head moved ─▶ tailer: read the block once, render what is wanted
//	                          ├─ nothing in it for a live subscription: move its cursor
//	                          └─ something: hand it to its session, which pulls with next
//
// A subscription is a filter and a cursor in the chain. There is no queue: its
// session reads on from the cursor, out of a cache of blocks that all share or
// out of the log, whether the cursor is ten blocks back or a million. So the
// switch from replay to live cannot lose or repeat anything, and a subscriber
// that does not read costs no memory. Nothing here runs on the node's sealing
// path, which only closes a channel.
type hub struct {
	server *Server
	loads  chan struct{} // a place for each block being read

	mu        sync.Mutex
	nextID    uint64
	subs      map[*subscription]struct{}
	at        uint64    // the newest block that live subscriptions have passed
	head      uint64    // the newest block that was seen; at most what positions were checked against
	rollbacks uint64    // of the chain that all cursors speak of
	recent    []removal // the newest blocks, ascending, up to at
	cache     feedCache
	filters   map[string]*filter // of the subscriptions, by their key
	newest    matches
	running   bool
	done      chan struct{} // closed when the tailer has ended
}

// removal is what subscribers are told if a block is taken back.
type removal struct {
	id     chain.BlockID
	parent chain.Hash
	txs    []chain.Hash
}

// Limits of the hub.
const (
	// maxRecent is how many blocks the hub can list as removed; with full blocks
	// that is 8 MB.
	maxRecent = 256
	// maxFeedBytes bounds the cache of blocks, bytes by estimate.
	maxFeedBytes = 64 << 20
	// progressBlocks is after how many blocks without a notification a subscription
	// reports progress; up to twice as many, so that not all do it at once.
	progressBlocks = 100
)

// subscription is guarded by its hub's mutex, but for what never changes.
type subscription struct {
	id      uint64
	session *session
	filter  *filter // one for all that want the same
	prefix  []byte  // of a notification: up to the subscription's name

	state state
	live  bool // it was up to date once

	// The cursor: everything before (height, first) has been delivered or is not
	// wanted.
	height, first uint64
	last          api.Position // the same as a position to resume from
	reported      uint64       // height of the last notification
	feed          *feed        // of height, if it was read for the next step
	removed       []removal    // to be told first, newest first
	reason        string       // why it was closed
}

// state is where a subscription is.
type state uint8

const (
	stateStarting state = iota // its name is on the way to the client
	stateLive                  // up to date: the tailer looks after it
	stateReady                 // in its session's queue
	stateClosing               // in its session's queue, to be told why
	stateGone
)

func newHub(s *Server) *hub {
	return &hub{server: s, loads: make(chan struct{}, max(1, procs.Cores()/2)), subs: map[*subscription]struct{}{}, filters: map[string]*filter{}, done: make(chan struct{})}
}

func (sub *subscription) name() string { return "0x" + strconv.FormatUint(sub.id, 16) }

// subscribe makes a subscription that waits for [hub.activate].
func (h *hub) subscribe(c *session, q filter, from origin) (*subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.admit(c); err != nil {
		return nil, err
	}
	sub := &subscription{session: c, filter: &q}
	for {
		w := h.sync()
		err := h.place(sub, from, w)
		if h.server.backend.Watch(h.rollbacks).Rollbacks != h.rollbacks {
			continue // what was read may be of two chains
		}
		if err != nil {
			return nil, err
		}
		if len(h.subs) == 0 {
			h.at, h.recent = w.Head.Number, nil
		}
		break
	}
	h.nextID++
	sub.id, sub.reported = h.nextID, sub.height
	sub.prefix = fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q,"params":{"subscription":%q`, api.NotifySubscription, sub.name())
	sub.filter = h.share(&q)
	h.subs[sub] = struct{}{}
	c.subs = append(c.subs, sub)
	h.server.metrics.subscriptions.WithLabelValues(topicNames[q.topic]).Inc()
	if !h.running {
		h.running = true
		go h.run(h.server.base)
	}
	return sub, nil
}

func (h *hub) admit(c *session) error {
	l := &h.server.limits
	limit, most := "", 0
	switch {
	case c.ended:
		return ErrStopping
	case len(c.subs) >= l.MaxSubscriptions:
		limit, most = "subscriptions", l.MaxSubscriptions
	case len(h.subs) >= l.MaxTotalSubscriptions:
		limit, most = "total_subscriptions", l.MaxTotalSubscriptions
	default:
		return nil
	}
	h.server.metrics.limited.WithLabelValues(limit).Inc()
	return api.NewError(api.CodeTooManySubs, sprintf("rpc.max_%s is %d", limit, most))
}

// place sets the cursor of a new subscription.
func (h *hub) place(sub *subscription, from origin, w Watch) error {
	oldest := oldestBlock(sub.filter.topic, w.Base)
	switch {
	case from.earliest && oldest == 0:
		sub.height, sub.first, sub.last = 0, 0, api.Position{}
		return nil
	case from.earliest:
		sub.resume(api.Position{Height: oldest - 1, Index: api.EndOfBlock})
		return nil
	case from.after == nil:
		sub.resume(api.After(w.Head))
		return nil
	}
	sub.resume(*from.after)
	if sub.height < oldest {
		e := api.NewError(api.CodePositionPruned, sprintf("%s; blocks are kept from %d on", from.after, w.Base))
		e.Data.Position = &api.Position{Height: oldest - 1, Index: api.EndOfBlock}
		return e
	}
	return h.checkHash(from.after, w)
}

// oldestBlock is the first block from which a topic can be served; base is the
// first kept. Prices are compared with those of the parent, so theirs must be kept
// as well.
func oldestBlock(t topic, base uint64) uint64 {
	switch {
	case base <= 1:
		return 0
	case t == topicPrices:
		return base + 1
	}
	return base
}

// checkHash refuses a position in a block that is another one here. What is not
// here yet is compared when it comes.
func (h *hub) checkHash(at *api.Position, w Watch) error {
	if at.Hash == nil || at.Height > w.Head.Number {
		return nil
	}
	have := w.Head.Hash
	if at.Height < w.Head.Number {
		next, err := h.server.backend.Header(at.Height + 1) // its parent may be pruned
		if err != nil {
			return err
		}
		have = next.Parent
	}
	if have != *at.Hash {
		return api.NewError(api.CodePositionNotOnChain, sprintf("block %d is %s here, the position is in %s", at.Height, have, at.Hash))
	}
	return nil
}

// resume puts the cursor behind a position.
func (sub *subscription) resume(at api.Position) {
	sub.last, sub.feed = at, nil
	sub.height, sub.first = at.Height, at.Index+1
	if at.Index >= api.EndOfBlock {
		sub.height, sub.first = at.Height+1, 0
	}
}

// activate lets subscriptions run whose names have been sent.
func (h *hub) activate(subs []*subscription) {
	if len(subs) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, sub := range subs {
		if sub.state == stateStarting {
			h.ready(sub, stateReady)
		}
		if sub.state == stateClosing {
			h.ready(sub, stateClosing)
		}
	}
}

// ready puts a subscription into its session's queue.
func (h *hub) ready(sub *subscription, s state) {
	sub.state = s
	c := sub.session
	c.queue = append(c.queue, sub)
	if !c.ended {
		c.writes.add(&c.wg, c.write)
	}
}

// unsubscribe ends a subscription without a word.
func (h *hub) unsubscribe(c *session, name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(c.subs, func(sub *subscription) bool { return sub.name() == name })
	if i >= 0 {
		h.drop(c.subs[i])
	}
	return i >= 0
}

// end drops the subscriptions of a session that is over.
func (h *hub) end(c *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.ended, c.queue = true, nil
	for len(c.subs) > 0 {
		h.drop(c.subs[0])
	}
}

func (h *hub) drop(sub *subscription) {
	delete(h.subs, sub)
	c := sub.session
	c.subs = slices.DeleteFunc(c.subs, func(s *subscription) bool { return s == sub })
	h.release(sub.filter)
	sub.state, sub.feed = stateGone, nil
	h.server.metrics.subscriptions.WithLabelValues(topicNames[sub.filter.topic]).Dec()
}

// close ends a subscription and has its client told why.
func (h *hub) close(sub *subscription, reason string) {
	queued, starting := sub.state == stateReady, sub.state == stateStarting
	h.drop(sub)
	h.server.metrics.closed.WithLabelValues(reason).Inc()
	sub.reason, sub.state = reason, stateClosing
	if !queued && !starting {
		h.ready(sub, stateClosing)
	}
}

// stop waits until the tailer has ended; the server's context must be done.
func (h *hub) stop() {
	h.mu.Lock()
	running := h.running
	h.mu.Unlock()
	if running {
		<-h.done
	}
}

// run is the tailer.
func (h *hub) run(ctx context.Context) {
	defer close(h.done)
	for {
		moved := h.tail()
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// tail brings live subscriptions up to the head, and returns what is closed when
// there is more.
func (h *hub) tail() <-chan struct{} {
	for {
		h.mu.Lock()
		w := h.sync()
		if len(h.subs) == 0 {
			h.at, h.recent = w.Head.Number, nil
		}
		next, topics := h.at+1, h.liveTopics()
		h.mu.Unlock()
		if next > w.Head.Number {
			return w.Moved
		}
		f, err := h.load(next)
		for t := range topicCount {
			if err == nil && topics[t] {
				_, err = f.render(t)
			}
		}
		h.publish(next, f, err)
	}
}

func (h *hub) liveTopics() (topics [topicCount]bool) {
	for sub := range h.subs {
		topics[sub.filter.topic] = topics[sub.filter.topic] || sub.state == stateLive
	}
	return topics
}

// sync learns of rollbacks; the caller holds mu.
func (h *hub) sync() Watch {
	w := h.server.backend.Watch(h.rollbacks)
	if w.Rollbacks != h.rollbacks {
		h.rollBack(w)
	}
	h.head = w.Head.Number
	return w
}

// publish shows a block to every live subscription.
func (h *hub) publish(height uint64, f *feed, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.sync(); f != nil && f.rollbacks != h.rollbacks || height != h.at+1 || height > w.Head.Number {
		return // it was taken back meanwhile
	}
	h.at = height
	if err == nil {
		h.remember(f)
		h.newest.reset(f)
	}
	for sub := range h.subs {
		switch {
		case sub.state == stateReady && sub.live && h.at-min(h.at, sub.last.Height) > uint64(h.server.limits.MaxSubscriptionLag):
			h.close(sub, api.ReasonSlow)
		case sub.state != stateLive || sub.height > height:
		case err != nil || !h.pass(sub, f):
			h.ready(sub, stateReady) // its session finds out what there is
		}
	}
}

// pass moves the cursor over a block that has nothing for the subscription.
func (h *hub) pass(sub *subscription, f *feed) bool {
	n, err := h.find(f, sub)
	if n != nil || err != nil || !sub.continues(f) {
		return false
	}
	sub.resume(f.end())
	return !sub.due()
}

// continues reports whether a block is the one that the cursor belongs to.
func (sub *subscription) continues(f *feed) bool {
	switch hash := sub.last.Hash; {
	case hash == nil:
		return true
	case sub.last.Height == f.height:
		return *hash == *f.hash
	default:
		return *hash == f.block.Header.Parent
	}
}

// due reports whether it is time to report progress.
func (sub *subscription) due() bool {
	return sub.last.Index == api.EndOfBlock && sub.last.Height >= sub.reported+progressBlocks && (sub.last.Height+sub.id)%progressBlocks == 0
}

func (h *hub) remember(f *feed) {
	r := removal{id: f.block.Header.ID(), parent: f.block.Header.Parent, txs: make([]chain.Hash, len(f.results.Receipts))}
	for i := range f.results.Receipts {
		r.txs[i] = f.results.Receipts[i].ID
	}
	if len(h.recent) == maxRecent {
		h.recent = append(h.recent[:0], h.recent[1:]...)
	}
	h.recent = append(h.recent, r)
}

// rollBack follows the chain back: every subscription that had passed a block
// that was taken back is told so, and goes on from what was kept.
func (h *hub) rollBack(w Watch) {
	h.rollbacks = w.Rollbacks
	h.cache.rollBack(w.Kept, w.Rollbacks)
	for sub := range h.subs {
		sub.feed = nil
		if sub.last.Height <= w.Kept || sub.last.Height > h.head {
			continue // it has passed none of them; a position above the head is compared when its block comes
		}
		if !h.takeBack(sub, w.Kept) {
			sub.resume(api.Position{Height: w.Kept, Index: api.EndOfBlock})
			h.close(sub, api.ReasonRolledBack)
		}
	}
	for n := len(h.recent); n > 0 && h.recent[n-1].id.Number > w.Kept; n = len(h.recent) {
		h.recent = h.recent[:n-1]
	}
	h.at = min(h.at, w.Kept)
}

// takeBack notes the blocks above kept that a subscription had passed, unless
// some are not known any more.
func (h *hub) takeBack(sub *subscription, kept uint64) bool {
	if len(h.recent) == 0 || h.recent[0].id.Number > kept+1 || h.at < sub.last.Height {
		return false
	}
	first := kept + 1 - h.recent[0].id.Number
	gone := h.recent[first : sub.last.Height+1-h.recent[0].id.Number]
	for i := len(gone) - 1; i >= 0; i-- {
		sub.removed = append(sub.removed, gone[i])
	}
	parent := gone[0].parent
	sub.resume(api.Position{Height: kept, Index: api.EndOfBlock, Hash: &parent})
	if sub.state == stateLive {
		h.ready(sub, stateReady)
	}
	return true
}

// notification is one message to a client, in two pieces of which others may send
// the second as well.
type notification struct{ prefix, body []byte }

// next appends the next notifications of a session to dst: those that there are
// without reading a block, as many as go out in one piece, and none only if there
// are none. Subscriptions take turns.
func (h *hub) next(c *session, dst []notification) []notification {
	h.mu.Lock()
	defer h.mu.Unlock()
	for bytes := 0; len(c.queue) > 0 && bytes < maxGatheredBytes; {
		sub := c.queue[0]
		n, load := h.step(sub)
		switch {
		case n.body != nil:
			copy(c.queue, c.queue[1:])
			c.queue[len(c.queue)-1] = sub
			h.server.metrics.notified[sub.filter.topic].Inc()
			dst, bytes = append(dst, n), bytes+len(n.prefix)+len(n.body)
		case load && len(dst) > 0:
			return dst
		case load:
			height := sub.height
			h.mu.Unlock()
			f, err := h.load(height)
			if err == nil {
				_, err = f.render(sub.filter.topic)
			}
			h.mu.Lock()
			h.loaded(sub, height, f, err)
		default:
			c.queue = slices.Delete(c.queue, 0, 1)
		}
	}
	return dst
}

// step moves a subscription on: to its next notification, to where it needs its
// next block, or until it is up to date.
func (h *hub) step(sub *subscription) (n notification, load bool) {
	switch {
	case sub.state != stateReady && sub.state != stateClosing:
		return n, false
	case len(sub.removed) > 0:
		return sub.takenBack(), false
	case sub.state == stateClosing:
		sub.state = stateGone
		return sub.end(), false
	}
	for sub.height <= h.at && !sub.due() {
		f := h.feedFor(sub)
		if f == nil {
			return n, true
		}
		if !sub.continues(f) {
			h.close(sub, api.ReasonNotOnChain)
			return h.step(sub)
		}
		wanted, err := h.find(f, sub)
		if err != nil { // the caller finds out, and ends it
			return n, true
		}
		if wanted != nil {
			return sub.deliver(f, wanted), false
		}
		sub.resume(f.end())
	}
	if sub.due() {
		sub.reported = sub.last.Height
		return sub.progress(), false
	}
	sub.state, sub.live = stateLive, true
	return n, false
}

// feedFor is the block that a subscription needs next, rendered; nil if it has to
// be read. What was read for it counts once, so that a client that is slow keeps
// no block in memory, and one that meets a crowded cache gets on nevertheless.
func (h *hub) feedFor(sub *subscription) *feed {
	f := sub.feed
	sub.feed = nil
	if f == nil {
		f = h.cache.get(sub.height)
	}
	if f == nil || !f.topics[sub.filter.topic].ready.Load() {
		return nil
	}
	return f
}

// loaded gives a subscription the block it needed, unless it needs another one
// now.
func (h *hub) loaded(sub *subscription, height uint64, f *feed, err error) {
	w := h.sync()
	switch {
	case sub.state != stateReady || sub.height != height || height > h.at:
	case err == nil && f.rollbacks == h.rollbacks:
		sub.feed = f
	case err == nil:
	case height < oldestBlock(sub.filter.topic, w.Base):
		h.close(sub, api.ReasonPruned)
	default:
		h.server.log.Error("subscription closed", slog.Uint64("height", height), slog.Any("err", err))
		h.close(sub, api.ReasonInternal)
	}
}

func (sub *subscription) deliver(f *feed, n *notice) notification {
	at := api.Position{Height: f.height, Index: n.index, Hash: f.hash}
	sub.resume(at)
	sub.reported = f.height
	return notification{sub.prefix, n.body}
}

func (sub *subscription) takenBack() notification {
	r := sub.removed[0]
	sub.removed = sub.removed[1:]
	at := api.Position{Height: r.id.Number - 1, Index: api.EndOfBlock, Hash: &r.parent}
	return sub.encode(api.NotifySubscription, struct {
		Subscription string       `json:"subscription"`
		Position     api.Position `json:"position"`
		Result       api.Removed  `json:"result"`
	}{sub.name(), at, api.Removed{Removed: true, Height: r.id.Number, Hash: r.id.Hash, Transactions: r.txs}})
}

func (sub *subscription) progress() notification {
	return sub.encode(api.NotifyProgress, api.Progress{Subscription: sub.name(), Position: sub.last})
}

func (sub *subscription) end() notification {
	return sub.encode(api.NotifyClosed, api.Closed{Subscription: sub.name(), Reason: sub.reason, Position: sub.last})
}

func (sub *subscription) encode(method string, params any) notification {
	b, err := appendJSON(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q,"params":`, method), params)
	if err != nil { // strings and numbers always marshal
		panic(err)
	}
	return notification{body: append(b, '}')}
}

// errNoParent says that the block before one is pruned, so that its prices cannot
// be compared.
var errNoParent = errors.New("the block before it is not kept here")

// load reads a block, from the cache if it is there. The caller does not hold mu.
func (h *hub) load(height uint64) (*feed, error) {
	if f := h.cached(height); f != nil {
		return f, nil
	}
	h.loads <- struct{}{}
	defer func() { <-h.loads }()
	if f := h.cached(height); f != nil { // somebody else has read it
		return f, nil
	}
	node := h.server.backend
	for {
		rollbacks := node.Watch(0).Rollbacks
		f, err := h.server.readFeed(height)
		if node.Watch(0).Rollbacks != rollbacks {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.rollbacks = rollbacks
		h.keep(f)
		return f, nil
	}
}

// readFeed reads a block, and the prices of its parent.
func (s *Server) readFeed(height uint64) (*feed, error) {
	b, results, err := s.backend.Block(height)
	if err != nil {
		return nil, err
	}
	if len(b.Txs) != len(results.Receipts) {
		return nil, fmt.Errorf("block %d has %d transactions and %d receipts", height, len(b.Txs), len(results.Receipts))
	}
	hash := b.Header.Hash()
	f := &feed{server: s, height: height, hash: &hash, block: b, results: results, before: &chain.OracleSnapshot{}}
	if height > 0 {
		if f.before, err = s.pricesBefore(height); err != nil {
			return nil, err
		}
	}
	// What is rendered is in hex and in words: several times as large.
	f.cost = 4*b.Size() + 8*f.eventBytes()
	return f, nil
}

func (s *Server) pricesBefore(height uint64) (*chain.OracleSnapshot, error) {
	if f := s.hub.cached(height - 1); f != nil {
		return &f.block.Oracle, nil
	}
	o, _, err := s.backend.Oracle(api.At(height - 1))
	if errors.Is(err, ErrBlockNotFound) {
		return nil, nil
	}
	return &o, err
}

func (f *feed) eventBytes() (n int) {
	f.events(func(_ uint64, _ int, event []byte) { n += len(event) + 64 })
	return n
}

func (h *hub) cached(height uint64) *feed {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cache.get(height)
}

func (h *hub) keep(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.rollbacks == h.rollbacks {
		h.cache.put(f)
	}
}

// feedCache keeps the blocks that were read last, within maxFeedBytes.
type feedCache struct {
	byHeight map[uint64]*feed
	order    []uint64 // of reading, oldest first
	bytes    int
}

func (c *feedCache) get(height uint64) *feed { return c.byHeight[height] }

func (c *feedCache) put(f *feed) {
	if c.byHeight == nil {
		c.byHeight = map[uint64]*feed{}
	}
	if c.byHeight[f.height] != nil {
		return
	}
	c.byHeight[f.height] = f
	c.order = append(c.order, f.height)
	for c.bytes += f.cost; c.bytes > maxFeedBytes && len(c.order) > 1; {
		c.drop(c.order[0])
	}
}

func (c *feedCache) drop(height uint64) {
	f := c.byHeight[height]
	delete(c.byHeight, height)
	c.bytes -= f.cost
	for i, n := range c.order {
		if n == height {
			c.order = append(c.order[:i], c.order[i+1:]...)
			return
		}
	}
}

// rollBack drops what was taken back.
func (c *feedCache) rollBack(kept, rollbacks uint64) {
	for height, f := range c.byHeight {
		if height > kept {
			c.drop(height)
		} else {
			f.rollbacks = rollbacks
		}
	}
}
