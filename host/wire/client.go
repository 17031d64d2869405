package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// DialOptions of [Dial]. The zero value of a field means its default.
type DialOptions struct {
	Limits Limits
	// Head is the local proposed tip; the server shows it to its operator.
	Head chain.BlockID
	// Doorbells subscribes; Ride asks for blocks to come with them.
	Doorbells, Ride bool
	// Open subscribes to the transactions of the server's open block.
	Open bool
	// TLS is for tls:// and wss://; default: what the system trusts.
	TLS *tls.Config
	// Dial opens the connection; default: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Announcement is one doorbell: the peer's proposed tip has moved. Block is nil,
// or the block of that id.
type Announcement struct {
	Tip   chain.BlockID
	Block *chain.Block
}

// Client is a connection to one server. It is a follow.Source and a fetch.Source:
// their reads
// wait for the answer, at most RequestTimeout. A server that breaks the protocol
// loses the connection, and every later call returns why.
type Client struct {
	*framer
	theirs     Hello
	subscribed bool
	bells      chan Announcement // of capacity 1: the newest
	opens      chan OpenTxs      // nil: not subscribed
	slots      chan struct{}     // one token per request in flight

	mu      sync.Mutex
	nextID  uint32
	pending map[uint32]chan Message

	once sync.Once
	done chan struct{}
	err  error // why it ended, valid after done
}

var _ follow.Source = (*Client)(nil)

// Dial connects to an address as [ParseAddress] reads it, and greets. Refusals
// come as [Refusal].
func Dial(ctx context.Context, address string, identity Identity, opt DialOptions) (*Client, error) {
	a, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, opt.Limits.withDefaults().HandshakeTimeout)
	defer cancel()
	conn, err := a.connect(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", a, err)
	}
	c, err := NewClient(ctx, conn, identity, opt)
	if err != nil {
		return nil, fmt.Errorf("greeting %s: %w", a, err)
	}
	return c, nil
}

func (a Address) connect(ctx context.Context, opt DialOptions) (net.Conn, error) {
	dial := opt.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	if a.WebSocket {
		return a.connectWebSocket(ctx, dial, opt.TLS)
	}
	conn, err := dial(ctx, "tcp", a.Host)
	if err != nil || !a.TLS {
		return conn, err
	}
	secured := tls.Client(conn, a.config(opt.TLS))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// config names the host, which the certificate must name too.
func (a Address) config(c *tls.Config) *tls.Config {
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS13}
	}
	if c.ServerName == "" {
		c = c.Clone()
		c.ServerName, _, _ = net.SplitHostPort(a.Host) // ParseAddress made it
	}
	return c
}

func (a Address) connectWebSocket(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), config *tls.Config) (net.Conn, error) {
	transport := &http.Transport{DialContext: dial, TLSClientConfig: a.config(config), DisableKeepAlives: true}
	ws, _, err := websocket.Dial(ctx, a.String(), &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return nil, err
	}
	return newSocket(ws), nil
}

// NewClient greets over an open connection, which it owns from now on, also if
// it fails. ctx bounds the greeting only.
func NewClient(ctx context.Context, conn net.Conn, identity Identity, opt DialOptions) (*Client, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c := &Client{
		framer:     newFramer(conn, bufio.NewReaderSize(conn, 64<<10), opt.Limits.withDefaults(), MaxRequestFrameBytes),
		subscribed: opt.Doorbells, bells: make(chan Announcement, 1), slots: make(chan struct{}, MaxInFlight),
		pending: make(map[uint32]chan Message), done: make(chan struct{}),
	}
	if opt.Open {
		c.opens = make(chan OpenTxs, maxOpens)
	}
	err := c.greet(identity.hello(opt.Head))
	if err == nil && opt.Doorbells {
		err = c.send(Subscribe{Ride: opt.Ride})
	}
	if err == nil && opt.Open {
		err = c.send(SubscribeOpen{})
	}
	if !stop() {
		err = fmt.Errorf("%w: %w", ErrSlow, ctx.Err())
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	c.max = MaxFrameBytes
	go func() { c.end(c.readLoop()) }()
	return c, nil
}

func (c *Client) greet(ours Hello) error {
	c.until = time.Now().Add(c.limits.HandshakeTimeout)
	defer func() { c.until = time.Time{} }()
	sent := c.send(ours)
	theirs, err := c.receiveHello() // also if sending failed: a server without room refuses unasked, and closes
	if sent != nil && !errors.As(err, new(*Refusal)) {
		return sent
	}
	if err != nil {
		return err
	}
	if refusal := ours.check(&theirs, &ours); refusal != nil {
		return c.refuse(refusal)
	}
	c.theirs = theirs
	return nil
}

// Server is what the server said in its Hello.
func (c *Client) Server() Hello { return c.theirs }

// Doorbells delivers the newest doorbell; older ones that were not taken are
// gone. It is never closed; see [Client.Done].
func (c *Client) Doorbells() <-chan Announcement { return c.bells }

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the connection lives, [ErrClosed] after Close.
func (c *Client) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection and with it every call that waits.
func (c *Client) Close() error {
	c.end(ErrClosed)
	return nil
}

func (c *Client) end(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
		_ = c.conn.Close()
	})
}

// Tips implements follow.Source.
func (c *Client) Tips() (chain.Tips, error) {
	m, err := c.call(func(id uint32) Message { return GetTips{id} }, TypeTips)
	if err != nil {
		return chain.Tips{}, fmt.Errorf("tips: %w", err)
	}
	return m.(Tips).Tips, nil
}

// BlockData implements follow.Source.
func (c *Client) BlockData(number uint64) (chain.Header, error) {
	m, err := c.call(func(id uint32) Message { return GetHeader{id, number} }, TypeHeader)
	if err != nil {
		return chain.Header{}, fmt.Errorf("header %d: %w", number, err)
	}
	h := m.(Header).Header
	if h.Height != number {
		err = fmt.Errorf("%w: asked for header %d, got %d", ErrOutOfOrder, number, h.Height)
		c.end(err)
	}
	return h, err
}

// Genesis asks for the genesis document of the chain that the server is on. A
// client that named no chain in its identity (chain id 0) may only ask this. The
// document is whatever the server says; whether it is the right one is for the
// caller to decide, by its hash.
func (c *Client) Genesis() (*chain.Genesis, error) {
	m, err := c.call(func(id uint32) Message { return GetGenesis{id} }, TypeGenesis)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	g, err := chain.DecodeGenesis(m.(Genesis).Document)
	if err == nil {
		err = g.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("genesis from the peer: %w", err)
	}
	if hello := c.theirs; g.ChainID != hello.ChainID || g.Hash() != hello.Genesis || g.ModuleHash != hello.Module {
		return nil, fmt.Errorf("%w: document is %s, the peer greeted with %s", ErrWrongAnswer, g.Hash(), hello.Genesis)
	}
	return g, nil
}

// Blocks implements follow.Source. The blocks are decoded, consecutive and no
// more than asked for; what is in them is not checked.
func (c *Client) Blocks(from uint64, limit int) ([]*chain.Block, error) {
	limit = min(limit, MaxRangeBlocks)
	m, err := c.call(func(id uint32) Message {
		return GetBlocks{ID: id, From: from, Limit: uint32(limit), MaxBytes: MaxFrameBytes - blocksOverhead}
	}, TypeBlocks)
	if err != nil {
		return nil, fmt.Errorf("blocks from %d: %w", from, err)
	}
	blocks, err := follow.DecodeRange(m.(Blocks).Blocks)
	if err == nil {
		err = checkRange(blocks, from, limit)
	}
	if err != nil {
		err = fmt.Errorf("blocks from %d: %w", from, err)
		c.end(err)
		return nil, err
	}
	return blocks, nil
}

func checkRange(blocks []*chain.Block, from uint64, limit int) error {
	if len(blocks) > limit {
		return fmt.Errorf("%w: %d of them, asked for %d", ErrOutOfOrder, len(blocks), limit)
	}
	for i, b := range blocks {
		if want := from + uint64(i); b.Header.Height != want {
			return fmt.Errorf("%w: number %d is block %d, want %d", ErrOutOfOrder, i, b.Header.Height, want)
		}
	}
	return nil
}

// call sends a request and waits for its answer, of one of the wanted types.
func (c *Client) call(request func(id uint32) Message, want ...Type) (Message, error) {
	timeout := time.NewTimer(c.limits.RequestTimeout)
	defer timeout.Stop()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-timeout.C:
		return nil, fmt.Errorf("%w: %d requests in flight", ErrNoAnswer, MaxInFlight)
	case <-c.done:
		return nil, c.err
	}
	id, answer := c.register()
	if err := c.send(request(id)); err != nil {
		c.end(err)
		return nil, c.err
	}
	select {
	case m := <-answer:
		return c.accept(m, want)
	case <-timeout.C:
		// A late answer could not be told from one to nothing: start afresh.
		c.end(fmt.Errorf("%w: %s", ErrNoAnswer, c.limits.RequestTimeout))
	case <-c.done:
	}
	return nil, c.err
}

func (c *Client) register() (uint32, chan Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextID++
	answer := make(chan Message, 1)
	c.pending[c.nextID] = answer
	return c.nextID, answer
}

// accept turns an answer into a result.
func (c *Client) accept(m Message, want []Type) (Message, error) {
	if f, ok := m.(Failed); ok {
		switch f.Code {
		case FailNotAvailable:
			return nil, fmt.Errorf("%w: %s", follow.ErrNotAvailable, f.Text)
		case FailNoSnapshot:
			return nil, fmt.Errorf("%w: %s", fetch.ErrNotAvailable, f.Text)
		case FailBusy:
			return nil, fmt.Errorf("%w: %s", fetch.ErrBusy, f.Text)
		}
		return nil, fmt.Errorf("%w: code %d, %s", ErrRemote, f.Code, f.Text)
	}
	if !slices.Contains(want, m.kind()) {
		c.end(fmt.Errorf("%w: type %#x, want %#x", ErrWrongAnswer, m.kind(), want[0]))
		return nil, c.err
	}
	return m, nil
}

// readLoop returns why the connection ended.
func (c *Client) readLoop() error {
	for {
		m, err := c.read(c.limits.IdleTimeout)
		if err != nil {
			return err
		}
		if err := c.take(m); err != nil {
			return err
		}
	}
}

func (c *Client) take(m Message) error {
	switch m := m.(type) {
	case Ping:
		return c.send(Pong(m))
	case Pong:
		return nil
	case Tips:
		return c.deliver(m.ID, m)
	case Blocks:
		return c.deliver(m.ID, m)
	case Header:
		return c.deliver(m.ID, m)
	case Genesis:
		return c.deliver(m.ID, m)
	case Events:
		return c.deliver(m.ID, m)
	case Gap:
		return c.deliver(m.ID, m)
	case Snapshots:
		return c.deliver(m.ID, m)
	case Manifest:
		return c.deliver(m.ID, m)
	case Chunk:
		return c.deliver(m.ID, m)
	case Failed:
		return c.deliver(m.ID, m)
	case Doorbell:
		return c.ring(m)
	case OpenTxs:
		return c.opened(m)
	case Refusal:
		return m.received()
	}
	return fmt.Errorf("%w: type %#x from a server", ErrUnexpected, m.kind())
}

func (c *Client) deliver(id uint32, m Message) error {
	c.mu.Lock()
	answer, ok := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: type %#x, id %d", ErrUnsolicited, m.kind(), id)
	}
	answer <- m
	return nil
}

// ring replaces the doorbell that was not taken yet.
func (c *Client) ring(m Doorbell) error {
	if !c.subscribed {
		return fmt.Errorf("%w: doorbell without subscription", ErrUnexpected)
	}
	bell := Announcement{Tip: m.Tip}
	if len(m.Block) > 0 {
		b, err := chain.DecodeBlock(m.Block)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDoorbell, err)
		}
		if got := b.Header.ID(); got != m.Tip {
			return fmt.Errorf("%w: block %d %s, announced %d %s", ErrDoorbell, got.Number, got.Hash, m.Tip.Number, m.Tip.Hash)
		}
		bell.Block = b
	}
	select {
	case <-c.bells:
	default:
	}
	c.bells <- bell // this goroutine is the only sender, so there is room
	return nil
}
