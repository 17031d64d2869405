// Package client is the Go client of host/rpc, over HTTP or WebSocket by the
// scheme of the URL. The command line and the load generator are built on it.
//
// It owns the wire: requests, answers, reconnecting, and the errors that tell an
// answer from silence. Shapes are those of host/rpc/api. It must not import the
// server.
//
//	c, err := client.New("http://127.0.0.1:8545")
//	status, err := c.Status(ctx)
//	receipt, err := c.SendTransaction(ctx, raw)
//	var e *client.Error; errors.As(err, &e)          the node answered: no
//	errors.Is(err, client.ErrUnreachable)            nobody answered
//	for n, err := range c.SubscribeBlocks(ctx, client.From{}) { … }
//	s, err := c.Stream(ctx)                          many transactions under way
//
// A Client may be used by any number of goroutines at once.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

// Limits of the client's side.
const (
	// MaxAnswerBytes bounds one answer, bytes: twice what a node sends unless
	// configured otherwise.
	MaxAnswerBytes = 32 << 20
	// DefaultTimeout is how long a call may take whose context has no deadline.
	DefaultTimeout = 30 * time.Second
	// maxIdleConns is how many idle HTTP connections are kept.
	maxIdleConns = 64
)

// ErrUnreachable is wrapped by an error that means that no answer came: refused,
// timed out, cut off, or not a JSON-RPC server. A transaction may have been
// executed nevertheless.
var ErrUnreachable = errors.New("node unreachable")

// Error is an answer of the node that says no. Code and Name are those of
// ERRORS.md, or of the module.
type Error struct {
	Method  string
	Code    api.Code
	Name    string
	Field   string // the offending field, if one is
	Want    string // what is accepted there
	Detail  string
	Message string // all of it on one line
	// Position is the oldest to go on from, if Code is api.CodePositionPruned.
	Position *api.Position
	// Base is the first block that the node keeps, if Code is api.CodeBlockPruned.
	Base uint64
}

func (e *Error) Error() string { return e.Method + ": " + e.Message }

// transport carries one request and brings its answer's bytes, which nobody else has.
type transport interface {
	roundTrip(ctx context.Context, id uint64, request []byte) ([]byte, error)
	close() error
}

// Client talks to one node.
type Client struct {
	url       string
	http      *http.Client
	base      string // http URL without path, for the health endpoints
	transport transport
	nextID    atomic.Uint64
}

// Option changes how a client connects.
type Option func(*http.Transport)

// WithDialer makes connections with dial; tests use it to stay in memory.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(t *http.Transport) { t.DialContext = dial }
}

// New makes a client of the node at rawURL: http://, https://, ws:// or wss://; a
// bare host:port is http. Nothing is dialled before the first call.
func New(rawURL string, options ...Option) (*Client, error) {
	if !strings.Contains(rawURL, "://") {
		rawURL = "http://" + rawURL
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("node URL %q: want http://host:port or ws://host:port/ws", rawURL)
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: maxIdleConns, MaxIdleConnsPerHost: maxIdleConns, DisableCompression: true}
	for _, o := range options {
		o(t)
	}
	c := &Client{url: u.String(), http: &http.Client{Transport: t}}
	switch u.Scheme {
	case "http", "https":
		c.base = u.Scheme + "://" + u.Host
		c.transport = &httpTransport{url: c.url, http: c.http}
	case "ws", "wss":
		c.base = "http" + strings.TrimPrefix(u.Scheme, "ws") + "://" + u.Host
		if u.Path == "" || u.Path == "/" {
			u.Path = "/ws"
		}
		c.url = u.String()
		c.transport = newWS(c.url, c.http)
	default:
		return nil, fmt.Errorf("node URL %q: scheme %q, want http, https, ws or wss", rawURL, u.Scheme)
	}
	return c, nil
}

// URL is where the client calls.
func (c *Client) URL() string { return c.url }

// Close closes every connection of calls; those under way fail. Subscriptions and
// streams have connections of their own.
func (c *Client) Close() error {
	err := c.transport.close()
	c.http.CloseIdleConnections()
	return err
}

// Call runs any method. params is what encoding/json makes an array or an object
// of, or nil; the result is decoded into result unless that is nil. A
// [json.RawMessage] is sent as it stands once it is found to be JSON, and one for
// the result is the answer's own bytes.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	var p []byte
	if params != nil {
		var err error
		if p, err = encodeParams(params); err != nil {
			return fmt.Errorf("%s: parameters: %w", method, err)
		}
	}
	return c.call(ctx, method, p, result)
}

// encodeParams leaves what the scanner does not take to encoding/json, which says
// what is wrong.
func encodeParams(params any) ([]byte, error) {
	if raw, ok := params.(json.RawMessage); ok {
		sc := jsonscan.New(raw)
		if _, ok := sc.Value(); ok && sc.End() {
			return raw, nil
		}
	}
	return json.Marshal(params)
}

// answer is the members of a JSON-RPC response, each still JSON.
type answer struct{ version, id, result, err []byte }

func readAnswer(b []byte) (a answer, ok bool) {
	sc := jsonscan.New(b)
	ok = sc.Members(func(name []byte) bool {
		value, valid := sc.Value()
		switch string(jsonscan.Text(name)) {
		case "jsonrpc":
			a.version = value
		case "id":
			a.id = value
		case "result":
			a.result = value
		case "error":
			a.err = value
		}
		return valid
	})
	return a, ok && sc.End() && string(a.version) == `"2.0"`
}

func (c *Client) call(ctx context.Context, method string, params []byte, result any) error {
	id := c.nextID.Add(1)
	b, err := c.exchange(ctx, method, id, encodeRequest(id, method, params))
	if err != nil {
		return err
	}
	return c.decode(method, id, b, result)
}

// exchange brings the answer to a request, whose bytes are the caller's then.
func (c *Client) exchange(ctx context.Context, method string, id uint64, request []byte) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	b, err := c.transport.roundTrip(ctx, id, request)
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", method, c.url, err)
	}
	return b, nil
}

func encodeRequest(id uint64, method string, params []byte) []byte {
	if params == nil {
		return append(appendCall(nil, id, method), '}')
	}
	return append(append(openParams(id, method, len(params)), params...), '}')
}

// openParams is a request up to its parameters, with room for n bytes of them and
// the closing brace.
func openParams(id uint64, method string, n int) []byte {
	b := make([]byte, 0, len(method)+n+64)
	return append(appendCall(b, id, method), `,"params":`...)
}

func appendCall(b []byte, id uint64, method string) []byte {
	b = strconv.AppendUint(append(b, `{"jsonrpc":"2.0","id":`...), id, 10)
	return appendName(append(b, `,"method":`...), method)
}

// appendName appends a name as JSON.
func appendName(b []byte, name string) []byte {
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			quoted, err := json.Marshal(name)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), name...), '"')
}

func (c *Client) decode(method string, id uint64, b []byte, result any) error {
	a, ok := readAnswer(b)
	if !ok {
		return fmt.Errorf("%s at %s: %w: not a JSON-RPC answer: %.120q", method, c.url, ErrUnreachable, b)
	}
	if a.err != nil {
		return c.refused(method, a.err)
	}
	if string(a.id) != strconv.FormatUint(id, 10) {
		return fmt.Errorf("%s at %s: %w: answer to another call: %.120q", method, c.url, ErrUnreachable, b)
	}
	if err := decodeResult(a.result, result); err != nil {
		return fmt.Errorf("%s at %s: result: %w", method, c.url, err)
	}
	return nil
}

// decodeResult reads b, a span of an answer, or nil if there was none.
func decodeResult(b []byte, result any) error {
	if result == nil {
		return nil
	}
	if raw, ok := result.(*json.RawMessage); ok && raw != nil && b != nil {
		*raw = b
		return nil
	}
	return json.Unmarshal(b, result)
}

// refused is the error object of an answer as an [*Error].
func (c *Client) refused(method string, b []byte) error {
	var e api.Error
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("%s at %s: %w: not a JSON-RPC error: %.120q", method, c.url, ErrUnreachable, b)
	}
	d := e.Data
	return &Error{Method: method, Code: e.Code, Name: d.Name, Field: d.Field, Want: d.Want, Detail: d.Detail, Message: e.Message, Position: d.Position, Base: d.Base}
}

// unreachable wraps an error of the network. A call that its own caller gave up
// says so and not that the node is down.
func unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// trimmed is for error messages: a body without its white space.
func trimmed(b []byte) []byte { return bytes.TrimSpace(b) }
