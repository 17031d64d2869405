package oracle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// DefaultTimeout is `oracle.timeout_ms` (K-11).
const DefaultTimeout = 10 * time.Millisecond

// patience is how long an exchange may go on after the pull that began it has
// timed out. A service that takes longer than the timeout every time, or a node
// whose processors are all busy, then lives on prices that are a tick older
// instead of none; one that hangs is asked anew six times before the default
// `oracle.max_stale_ms` is over.
const patience = 500 * time.Millisecond

// connectTimeout bounds a connection attempt, which net/http carries on with after
// the pull that wanted it has timed out, so that the next pull finds it open.
const connectTimeout = time.Second

// maxDrainBytes is how much of an error page is read to keep its connection.
const maxDrainBytes = 4 << 10

// Client pulls prices from one service over one connection that it keeps open.
// Any goroutine may call it.
type Client struct {
	prices   string
	timeout  time.Duration // of a pull
	patience time.Duration // of an exchange
	http     *http.Client
	open     context.Context // ends with Close
	close    context.CancelFunc

	mu      sync.Mutex
	running *exchange // nil: none
	late    *Answer   // came after its pull had timed out, and was not used yet
}

// exchange is one request and its answer.
type exchange struct {
	done   chan struct{} // closed when answer and err may be read
	answer *Answer
	err    error
}

// ErrServiceURL is wrapped when `oracle.service_url` cannot be used.
var ErrServiceURL = errors.New("not a price service address")

// NewClient checks serviceURL (`oracle.service_url`, K-14) and connects to
// nothing yet. timeout bounds a whole pull, from connecting to the last byte. Who
// has a Client closes it.
func NewClient(serviceURL string, timeout time.Duration) (*Client, error) {
	u, err := url.Parse(serviceURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrServiceURL, err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%w: %q, want http://HOST:PORT or https://HOST:PORT", ErrServiceURL, serviceURL)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: %q has a query or a fragment", ErrServiceURL, serviceURL)
	case timeout <= 0:
		return nil, fmt.Errorf("oracle timeout is %v, want more than 0", timeout)
	}
	c := &Client{prices: u.JoinPath("prices").String(), timeout: timeout, patience: max(timeout, patience), http: newHTTPClient()}
	c.open, c.close = context.WithCancel(context.Background())
	return c, nil
}

// newHTTPClient goes to the configured address and nowhere else: no proxy from
// the environment, no redirect. Compression is off so that the limit on the body
// is a limit on what is read.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, TLSHandshakeTimeout: connectTimeout,
			MaxConnsPerHost: 2, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
			DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Pull asks once, or waits for what was asked before and is still under way. An
// answer that came too late for its own pull is what the next one returns if it
// gets no newer one in time: an answer says itself how old its prices are.
//
// The error is a *[Refusal] for [Feed.Fail], except when ctx itself has ended:
// then it is ctx's error, which says nothing about the service.
func (c *Client) Pull(ctx context.Context) (*Answer, error) {
	timeout := time.NewTimer(c.timeout)
	defer timeout.Stop()
	x := c.join()
	select {
	case <-x.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.late = nil
		return x.answer, x.err
	case <-timeout.C:
		c.mu.Lock()
		defer c.mu.Unlock()
		if a := c.late; a != nil {
			c.late = nil
			return a, nil
		}
		return nil, refuse(Timeout, "", "%s gave no answer in %v", c.prices, c.timeout)
	case <-ctx.Done():
		return nil, fmt.Errorf("pull prices from %s: %w", c.prices, ctx.Err())
	}
}

// join returns the exchange under way, or begins one.
func (c *Client) join() *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running = &exchange{done: make(chan struct{})}
		go c.run(c.running)
	}
	return c.running
}

func (c *Client) run(x *exchange) {
	ctx, cancel := context.WithTimeout(c.open, c.patience)
	defer cancel()
	x.answer, x.err = c.ask(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running, c.late = nil, x.answer
	close(x.done)
}

func (c *Client) ask(ctx context.Context) (*Answer, error) {
	body, err := c.get(ctx)
	refused := (*Refusal)(nil)
	switch {
	case err == nil:
		return DecodeAnswer(body)
	case errors.As(err, &refused):
		return nil, err
	case ctx.Err() != nil:
		return nil, refuse(Timeout, "", "%s gave no answer in %v", c.prices, c.patience)
	}
	return nil, refuse(Unreachable, "", "%v", err)
}

func (c *Client) get(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.prices, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, res.Body, maxDrainBytes) // only to reuse the connection
		return nil, refuse(Status, "", "%s answered %s", c.prices, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxAnswerBytes+1))
	if err == nil && len(body) > MaxAnswerBytes {
		return nil, refuse(TooLarge, "", "%s sent more than %d bytes", c.prices, MaxAnswerBytes)
	}
	return body, err
}

// Close ends what is under way and lets go of the idle connection.
func (c *Client) Close() {
	c.close()
	c.http.CloseIdleConnections()
}
