package oracle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// DefaultTimeout is `oracle.timeout_ms` (K-11).
const DefaultTimeout = 10 * time.Millisecond

// connectTimeout bounds a connection attempt, which net/http carries on with after
// the pull that wanted it has timed out, so that the next pull finds it open.
const connectTimeout = time.Second

// maxDrainBytes is how much of an error page is read to keep its connection.
const maxDrainBytes = 4 << 10

// Client pulls prices from one service over one connection that it keeps open.
// Any goroutine may call it.
type Client struct {
	prices  string
	timeout time.Duration
	http    *http.Client
}

// ErrServiceURL is wrapped when `oracle.service_url` cannot be used.
var ErrServiceURL = errors.New("not a price service address")

// NewClient checks serviceURL (`oracle.service_url`, K-14) and connects to
// nothing yet. timeout bounds a whole pull, from connecting to the last byte.
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
	return &Client{prices: u.JoinPath("prices").String(), timeout: timeout, http: newHTTPClient()}, nil
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

// Pull asks once. The error is a *[Refusal] for [Feed.Fail], except when ctx
// itself has ended: then it is ctx's error, which says nothing about the service.
func (c *Client) Pull(ctx context.Context) (*Answer, error) {
	bounded, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body, err := c.get(bounded)
	if refused := (*Refusal)(nil); err == nil || errors.As(err, &refused) {
		if err != nil {
			return nil, err
		}
		return DecodeAnswer(body)
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("pull prices from %s: %w", c.prices, ctx.Err())
	case bounded.Err() != nil:
		return nil, refuse(Timeout, "", "%s gave no answer in %v", c.prices, c.timeout)
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

// Close lets go of the idle connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }
