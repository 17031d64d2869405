package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// Reconnecting, and noticing that it is needed.
const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
	// silence is how long a node may send nothing at all, not even a ping, before
	// the connection counts as lost: three of its ping intervals.
	silence = time.Minute
)

// Notice is one notification of a subscription. Exactly one of Result and Removed
// is set; with [From.Progress] there are notices with neither.
type Notice[T any] struct {
	// Position is where to go on after this notice: see [From.After].
	Position api.Position
	Result   *T
	// Removed is a block that was taken back after it had been delivered. With a
	// zero hash it stands for every block above Position.
	Removed *api.Removed
}

// From is where a subscription begins. The zero From begins with the next block.
type From struct {
	After    *api.Position // behind a position that was kept
	Earliest bool          // with the oldest block that the node keeps
	// Progress asks for notices that only have a position: there was nothing up to
	// there. Without it a program that keeps its position on disk would, with a
	// filter that rarely matches, have to start far back.
	Progress bool
}

// Events narrows topic events.
type Events struct {
	Types []string // nil: all
}

// Theses narrows topic theses; what is not set is any.
type Theses struct {
	User, Solver *chain.Address
	Pair         string // BTC/USDT
}

// ClosedError says that the node ended a subscription, and that to go on from
// Position makes no sense there.
type ClosedError struct {
	Reason   string // one of api's
	Position api.Position
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("subscription closed by the node: %s at %s", e.Reason, e.Position)
}

// ErrOrder says that a node sent a notification that does not come after the one
// before.
var ErrOrder = errors.New("notification out of order")

// SubscribeBlocks is kaizen_subscribe with topic blocks.
//
// The sequence of this and of the other Subscribe methods goes on until its
// consumer breaks, ctx is done, or an error comes, which is its last element. A
// connection that breaks is dialled again, for as long as it takes, and the
// subscription goes on from where it was: without gap or repetition, also when
// the node was started again, or is another one behind the same address. Only if
// the first attempt fails is that an error.
//
// A subscription has a connection of its own, and no buffer but the network's: a
// consumer that takes too long is closed by the node and resumed from the log.
func (c *Client) SubscribeBlocks(ctx context.Context, from From) iter.Seq2[Notice[api.BlockNotice], error] {
	return subscribe[api.BlockNotice](ctx, c, api.TopicBlocks, nil, from)
}

// SubscribeEvents is kaizen_subscribe with topic events; see [Client.SubscribeBlocks].
func (c *Client) SubscribeEvents(ctx context.Context, only Events, from From) iter.Seq2[Notice[api.EventNotice], error] {
	filter := map[string]any{}
	if only.Types != nil {
		filter["type"] = only.Types
	}
	return subscribe[api.EventNotice](ctx, c, api.TopicEvents, filter, from)
}

// SubscribeTheses is kaizen_subscribe with topic theses; see [Client.SubscribeBlocks].
func (c *Client) SubscribeTheses(ctx context.Context, only Theses, from From) iter.Seq2[Notice[api.EventNotice], error] {
	filter := map[string]any{}
	if only.User != nil {
		filter["user"] = only.User
	}
	if only.Solver != nil {
		filter["solver"] = only.Solver
	}
	if only.Pair != "" {
		filter["pair"] = only.Pair
	}
	return subscribe[api.EventNotice](ctx, c, api.TopicTheses, filter, from)
}

// SubscribePrices is kaizen_subscribe with topic prices, of one market; see
// [Client.SubscribeBlocks].
func (c *Client) SubscribePrices(ctx context.Context, pair string, from From) iter.Seq2[Notice[api.PriceNotice], error] {
	return subscribe[api.PriceNotice](ctx, c, api.TopicPrices, map[string]any{"pair": pair}, from)
}

func subscribe[T any](ctx context.Context, c *Client, topic string, filter map[string]any, from From) iter.Seq2[Notice[T], error] {
	return func(yield func(Notice[T], error) bool) {
		s := &stream{client: c, topic: topic, filter: filter, from: from, last: from.After, backoff: backoffMin}
		defer s.hangUp()
		for {
			var v Notice[T]
			n, err := s.next(ctx)
			if err == nil {
				v, err = typed[T](n)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// news is a notification, or a report of progress: then its result is empty.
type news struct {
	position api.Position
	result   json.RawMessage
	removed  *api.Removed
}

func typed[T any](n *news) (v Notice[T], err error) {
	v.Position, v.Removed = n.position, n.removed
	if n.removed == nil && n.result != nil {
		v.Result = new(T)
		if err := json.Unmarshal(n.result, v.Result); err != nil {
			return v, fmt.Errorf("notification at %s: %w", n.position, err)
		}
	}
	return v, nil
}

// stream is one subscription over all its connections.
type stream struct {
	client *Client
	topic  string
	filter map[string]any
	from   From

	last    *api.Position // of the last notification; nil: none yet, and none given
	joined  bool          // it was subscribed once
	conn    *websocket.Conn
	name    string // of the subscription on conn
	pinged  atomic.Pointer[time.Timer]
	backoff time.Duration
}

// next waits for what the consumer wants to see.
func (s *stream) next(ctx context.Context) (*news, error) {
	for {
		if s.conn == nil {
			if err := s.join(ctx); err != nil {
				return nil, err
			}
		}
		b, err := s.read(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			s.hangUp()
			continue
		}
		n, err := s.take(b)
		if n != nil || err != nil {
			return n, err
		}
	}
}

// join connects and subscribes, as often as it takes once it has worked.
func (s *stream) join(ctx context.Context) error {
	for first := true; ; first = false {
		if s.joined && !first || s.backoff > backoffMin {
			if err := s.pause(ctx); err != nil {
				return err
			}
		}
		err := s.subscribe(ctx)
		if err == nil {
			// A node that takes the subscription and cuts it off again and again is
			// asked less and less often; the first notification ends that.
			s.joined, s.backoff = true, min(2*s.backoff, backoffMax)
			return nil
		}
		s.hangUp()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !s.joined || !passing(err):
			return err
		}
	}
}

// passing reports whether an error may be gone at the next attempt.
func passing(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return errors.Is(err, ErrUnreachable)
	}
	return slices.Contains([]api.Code{api.CodeStopping, api.CodeTimeout, api.CodeOverloaded, api.CodeRateLimited, api.CodeTooManySubs, api.CodeInternal}, e.Code)
}

// pause waits before the next attempt: longer each time, until something comes.
func (s *stream) pause(ctx context.Context) error {
	t := time.NewTimer(s.backoff/2 + rand.N(s.backoff/2))
	defer t.Stop()
	s.backoff = min(2*s.backoff, backoffMax)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) subscribe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	if s.last == nil && !s.from.Earliest {
		// Asked for by position, so that nothing is lost if the connection breaks
		// before the first notification.
		h, err := s.client.Header(ctx, api.Ref{})
		if err != nil {
			return err
		}
		at := api.After(chain.BlockID{Number: h.Height, Hash: h.Hash})
		s.last = &at
	}
	if err := s.dial(ctx); err != nil {
		return fmt.Errorf("kaizen_subscribe at %s: %w", s.client.url, unreachable(ctx, err))
	}
	params, err := json.Marshal([]any{s.topic, s.filter, s.origin()})
	if err != nil {
		return fmt.Errorf("kaizen_subscribe: parameters: %w", err)
	}
	const id = 1 // the only call on this connection
	if err := s.conn.Write(ctx, websocket.MessageText, encodeRequest(id, "kaizen_subscribe", params)); err != nil {
		return unreachable(ctx, err)
	}
	_, b, err := s.conn.Read(ctx)
	if err != nil {
		return unreachable(ctx, err)
	}
	return s.client.decode("kaizen_subscribe", id, b, &s.name)
}

func (s *stream) origin() any {
	if s.last == nil {
		return api.TagEarliest
	}
	return s.last
}

func (s *stream) dial(ctx context.Context) (err error) {
	s.conn, err = s.client.dialWS(ctx, func() {
		if t := s.pinged.Load(); t != nil {
			t.Reset(silence)
		}
	})
	return err
}

// dialWS opens a WebSocket of its own. pinged is called for each ping.
func (c *Client) dialWS(ctx context.Context, pinged func(), protocols ...string) (*websocket.Conn, error) {
	url := c.url
	if !strings.HasPrefix(url, "ws") {
		url = "ws" + strings.TrimPrefix(c.base, "http") + "/ws"
	}
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: c.http, CompressionMode: websocket.CompressionDisabled, Subprotocols: protocols,
		OnPingReceived: func(context.Context, []byte) bool {
			pinged()
			return true
		}})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(MaxAnswerBytes)
	return conn, nil
}

func (s *stream) hangUp() {
	if s.conn != nil {
		s.conn.CloseNow() // it may be broken already
		s.conn = nil
	}
}

// read waits for a message for as long as the node gives a sign of life.
func (s *stream) read(ctx context.Context) ([]byte, error) {
	conn := s.conn
	t := time.AfterFunc(silence, func() { conn.CloseNow() })
	s.pinged.Store(t)
	_, b, err := conn.Read(ctx)
	s.pinged.Store(nil)
	t.Stop()
	return b, err
}

// take reads a message; nil if it is nothing for the consumer.
func (s *stream) take(b []byte) (*news, error) {
	var m struct {
		Method string `json:"method"`
		Params struct {
			api.Notification
			Reason string `json:"reason"`
		} `json:"params"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("notification of %s: %w: %.120q", s.client.url, err, b)
	}
	p := &m.Params
	if p.Subscription != s.name {
		return nil, nil
	}
	switch m.Method {
	case api.NotifySubscription:
		return s.news(p.Position, p.Result)
	case api.NotifyProgress:
		n, err := s.news(p.Position, nil)
		if !s.from.Progress {
			n = nil
		}
		return n, err
	case api.NotifyClosed:
		return s.closed(&api.Closed{Reason: p.Reason, Position: p.Position})
	}
	return nil, nil
}

func (s *stream) news(at api.Position, result json.RawMessage) (*news, error) {
	n := &news{position: at, result: result}
	var r api.Removed
	if bytes.Contains(result, []byte(`"removed"`)) && json.Unmarshal(result, &r) == nil && r.Removed {
		n.removed = &r
	} else if s.last != nil && !s.last.Less(at) {
		return nil, fmt.Errorf("%w: %s after %s", ErrOrder, at, s.last)
	}
	s.last, s.backoff = &n.position, backoffMin
	return n, nil
}

// closed goes on in a new subscription where that helps.
func (s *stream) closed(c *api.Closed) (*news, error) {
	s.hangUp()
	switch c.Reason {
	case api.ReasonPruned, api.ReasonNotOnChain:
		return nil, &ClosedError{Reason: c.Reason, Position: c.Position}
	}
	s.last = &c.Position
	if c.Reason != api.ReasonRolledBack {
		s.backoff = max(s.backoff, 2*backoffMin) // not at once
		return nil, nil
	}
	return &news{position: c.Position, removed: &api.Removed{Removed: true, Height: c.Position.Height + 1}}, nil
}
