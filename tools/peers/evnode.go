package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// evNode is the load for ev-node's test application (apps/testapp), which runs in
// a process that somebody else started. It takes one transaction a request, so a
// caller writes a batch of requests on its connection and then reads the answers.
type evNode struct {
	*offered
	stats string
	host  string
	http  *http.Client
	conns [callers]net.Conn
	in    [callers]*bufio.Reader
}

// evTimeout bounds a batch of requests and its answers.
const evTimeout = 30 * time.Second

func startEvNode(o *options) (peer, error) {
	u, err := url.Parse(o.url)
	switch {
	case err != nil:
		return nil, fmt.Errorf("-url: %w", err)
	case u.Scheme != "http" || u.Host == "":
		return nil, fmt.Errorf("-url is %q, want http://host:port", o.url)
	}
	e := &evNode{stats: u.JoinPath("stats").String(), host: u.Host, http: &http.Client{Timeout: evTimeout}}
	e.offered = &offered{txs: unused(o.txBytes), prepare: e.posts, send: e.send, done: e.executed}
	for i := range e.conns {
		if e.conns[i], err = net.Dial("tcp", u.Host); err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.in[i] = bufio.NewReader(e.conns[i])
	}
	return e, nil
}

// unused begins where no earlier run did, since the application outlives a run.
func unused(length int) keyValues {
	const perMs, numbers = 1000, 1_000_000_000_000_000
	return keyValues{length: length, made: int(time.Now().UnixMilli()) * perMs % numbers}
}

func (e *evNode) posts(batch [][]byte) (b []byte) {
	for _, tx := range batch {
		b = fmt.Appendf(b, "POST /tx HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", e.host, len(tx), tx)
	}
	return b
}

func (e *evNode) send(_ context.Context, caller int, request []byte, n int) error {
	conn, in := e.conns[caller], e.in[caller]
	if err := conn.SetDeadline(time.Now().Add(evTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for range n {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusAccepted {
			return fmt.Errorf("transaction refused: HTTP %d", response.StatusCode)
		}
	}
	return nil
}

// executed asks for the counter of executed transactions.
func (e *evNode) executed(ctx context.Context) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, e.stats, nil)
	if err != nil {
		return 0, err
	}
	response, err := e.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var stats struct {
		Executed *int `json:"executed_txs"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&stats); err != nil {
		return 0, fmt.Errorf("%s: %w", e.stats, err)
	}
	if stats.Executed == nil {
		return 0, fmt.Errorf("%s has no executed_txs: is this ev-node's test application?", e.stats)
	}
	return *stats.Executed, nil
}

func (e *evNode) close() (err error) {
	for _, c := range e.conns {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}
