package client

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

// wsTransport keeps one WebSocket connection, dialled by the first call and
// again by the first call after it broke. Calls share it; answers find their
// call by id.
type wsTransport struct {
	url  string
	http *http.Client

	// dialing holds a token while a call dials, so that calls share one connection;
	// a channel so that waiting can be given up.
	dialing chan struct{}
	mu      sync.Mutex // guards the rest
	link    *link
	closed  bool
}

// link is one connection and the calls that wait for answers on it.
type link struct {
	conn *websocket.Conn

	mu      sync.Mutex
	waiting map[uint64]chan<- []byte
	err     error         // why the link broke
	broken  chan struct{} // closed once err is set
}

var errClosed = errors.New("client is closed")

func newWS(url string, http *http.Client) *wsTransport {
	return &wsTransport{url: url, http: http, dialing: make(chan struct{}, 1)}
}

func (t *wsTransport) roundTrip(ctx context.Context, id uint64, request []byte) ([]byte, error) {
	l, err := t.connected(ctx)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	answered := make(chan []byte, 1)
	l.expect(id, answered)
	defer l.forget(id)
	// A context that ends in the middle of a frame costs the connection, and with
	// it the other calls: the node had stopped reading anyway.
	if err := l.conn.Write(ctx, websocket.MessageText, request); err != nil {
		return nil, unreachable(ctx, err)
	}
	return l.await(ctx, answered)
}

// await waits for the answer to a call. A node that stops answers what is under
// way, and then hangs up: when both are there, the answer was first.
func (l *link) await(ctx context.Context, answered <-chan []byte) ([]byte, error) {
	select {
	case b := <-answered:
		return b, nil
	case <-l.broken:
	case <-ctx.Done():
		return nil, unreachable(ctx, ctx.Err())
	}
	select {
	case b := <-answered:
		return b, nil
	default:
		return nil, unreachable(ctx, l.err)
	}
}

func (t *wsTransport) current() (*link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	if t.link != nil && t.link.isBroken() {
		t.link = nil
	}
	return t.link, nil
}

// connected is the link in use, dialled if there is none.
func (t *wsTransport) connected(ctx context.Context) (*link, error) {
	if l, err := t.current(); l != nil || err != nil {
		return l, err
	}
	select {
	case t.dialing <- struct{}{}:
		defer func() { <-t.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l, err := t.current(); l != nil || err != nil {
		return l, err
	}
	conn, _, err := websocket.Dial(ctx, t.url, &websocket.DialOptions{HTTPClient: t.http, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(MaxAnswerBytes)
	l := &link{conn: conn, waiting: map[uint64]chan<- []byte{}, broken: make(chan struct{})}
	go l.read()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		conn.CloseNow()
		return nil, errClosed
	}
	t.link = l
	return l, nil
}

func (t *wsTransport) close() error {
	t.mu.Lock()
	l := t.link
	t.closed, t.link = true, nil
	t.mu.Unlock()
	if l == nil || l.isBroken() {
		return nil
	}
	err := l.conn.Close(websocket.StatusNormalClosure, "")
	<-l.broken
	return err
}

func (l *link) isBroken() bool {
	select {
	case <-l.broken:
		return true
	default:
		return false
	}
}

func (l *link) expect(id uint64, answered chan<- []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[id] = answered
}

func (l *link) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
}

// read hands answers to their calls until the connection ends.
func (l *link) read() {
	var in bytes.Buffer
	for {
		b, err := l.message(&in)
		if err != nil {
			l.err = err
			close(l.broken)
			l.conn.CloseNow() // it is of no use any more
			return
		}
		l.deliver(b)
	}
}

// message waits for an answer. What comes is collected in the one buffer, so that
// an answer costs no more memory than it is long; a buffer that has become large is
// given away with the answer in it.
func (l *link) message(in *bytes.Buffer) ([]byte, error) {
	_, r, err := l.conn.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	in.Reset()
	if _, err := in.ReadFrom(r); err != nil {
		return nil, err
	}
	b := in.Bytes()
	if in.Cap() <= keptBytes {
		return bytes.Clone(b), nil
	}
	*in = bytes.Buffer{}
	return b, nil
}

// deliver drops what nobody waits for: the answer to a call that was given up.
func (l *link) deliver(b []byte) {
	id, ok := answerID(b)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if answered := l.waiting[id]; answered != nil {
		delete(l.waiting, id)
		answered <- b // there is room for one
	}
}

// answerID is the id of an answer. It looks no further than that: whether the rest
// is an answer is for the call to find, while the next one comes in.
func answerID(b []byte) (id uint64, ok bool) {
	sc := jsonscan.New(b)
	sc.Members(func(name []byte) bool {
		value, valid := sc.Value()
		if !valid || string(jsonscan.Text(name)) != "id" {
			return valid
		}
		var err error
		id, err = strconv.ParseUint(string(value), 10, 64)
		ok = err == nil
		return false
	})
	return id, ok
}
