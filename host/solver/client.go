package solver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/client"
)

const (
	// maxAnswerBytes bounds one answer of a solver.
	maxAnswerBytes = 1 << 20
	// clientTimeout is longer than a solver keeps anybody waiting.
	clientTimeout = answerTimeout + askTimeout + 5*time.Second
)

// Client asks a solver. Errors: *[Error], its no; [client.ErrUnreachable] wrapped,
// if nobody answered.
type Client struct {
	base *url.URL
	http *http.Client
}

// NewClient makes a client of the solver at rawURL, and connects to nothing yet.
func NewClient(rawURL string) (*Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("solver URL %.200q: want http://HOST:PORT or https://HOST:PORT", rawURL)
	}
	return &Client{base: u, http: &http.Client{Timeout: clientTimeout, Transport: http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Info is GET /info.
func (c *Client) Info(ctx context.Context) (v Info, err error) {
	return v, c.do(ctx, http.MethodGet, "info", nil, &v)
}

// Quote is POST /quote.
func (c *Client) Quote(ctx context.Context, r *QuoteRequest) (v Terms, err error) {
	return v, c.do(ctx, http.MethodPost, "quote", r, &v)
}

// Accept is POST /accept.
func (c *Client) Accept(ctx context.Context, r *AcceptRequest) (v Accepted, err error) {
	return v, c.do(ctx, http.MethodPost, "accept", r, &v)
}

func (c *Client) do(ctx context.Context, method, path string, body, to any) error {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer answer.Body.Close()
	b, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes+1))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	return c.read(answer.StatusCode, b, to)
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fmt.Errorf("solver %s: %w: %w", c.base, client.ErrUnreachable, err)
}

func (c *Client) read(status int, b []byte, to any) error {
	var no struct {
		Error *Error `json:"error"`
	}
	switch {
	case len(b) > maxAnswerBytes:
		return fmt.Errorf("solver %s: answer of more than %d bytes", c.base, maxAnswerBytes)
	case status == http.StatusOK:
		if err := json.Unmarshal(b, to); err != nil {
			return fmt.Errorf("solver %s: answer: %w", c.base, err)
		}
		return nil
	case json.Unmarshal(b, &no) != nil || no.Error == nil:
		return fmt.Errorf("solver %s: %w: HTTP %d with %.120q", c.base, client.ErrUnreachable, status, b)
	}
	no.Error.Status = status
	return no.Error
}
