package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// evNode is the load for ev-node's test application (apps/testapp), which runs in
// a process that somebody else started. It takes one transaction a request, so a
// caller who is to send many at once writes their requests on its connection and
// then reads the answers.
//
// The application answers when a transaction is in its queue. It keeps a pair for
// every block that set a key, and its root is all pairs ever written, put together
// for every block: load that sets one key again and again is what it is fastest
// with. A transaction that is equal to one in the queue is dropped by its sequencer,
// so that values differ.
type evNode struct {
	*offered
	stats string
	host  string
	http  *http.Client
	conns []net.Conn
	in    []*bufio.Reader
}

// evTimeout bounds a batch of requests and its answers.
const evTimeout = 2 * time.Minute

func startEvNode(o *options) (peer, error) {
	u, err := url.Parse(o.url)
	switch {
	case err != nil:
		return nil, fmt.Errorf("-url: %w", err)
	case u.Scheme != "http" || u.Host == "":
		return nil, fmt.Errorf("-url is %q, want http://host:port", o.url)
	}
	e := &evNode{stats: u.JoinPath("stats").String(), host: u.Host, http: &http.Client{Timeout: evTimeout}}
	e.offered = &offered{txs: unused(o), callers: o.callers, atOnce: o.atOnce, most: o.roundMost, patience: stalled,
		prepare: e.posts, send: e.send, done: e.executed}
	for range o.callers {
		c, err := net.Dial("tcp", u.Host)
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		e.conns, e.in = append(e.conns, c), append(e.in, bufio.NewReader(c))
	}
	if o.set != setOne {
		e.patience = stalledKeys
	}
	if o.set == setLoaded {
		err := e.load(o.ctx, o.load, o.loadTime, o.say)
		if err == nil && e.keys() == 0 {
			err = fmt.Errorf("no key is loaded in -load-time %s", o.loadTime)
		}
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
	}
	return e, nil
}

// unused begins with values that no earlier run had, since the application outlives
// a run, and with the keys that the flags say it has.
func unused(o *options) keyValues {
	const perMs, numbers = 1000, 1_000_000_000_000_000
	return keyValues{length: o.txBytes, set: o.set, keys: o.keysMade, made: int(time.Now().UnixMilli()) * perMs % numbers,
		rand: rand.New(rand.NewPCG(3, 3))}
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
		if err := skipAnswer(in); err != nil {
			return err
		}
	}
	return nil
}

var (
	acceptedLine = []byte("HTTP/1.1 202 ")
	lengthField  = []byte("content-length:")
)

// skipAnswer reads one answer and understands no more of it than that the
// transaction was taken: the application is to be measured, and net/http's client
// needs as much of a processor as its server. tools/bench reads the headers of ours
// with the same lines (way.go). They are not shared: this module would have to
// require the product's, whose versions of libraries would then be chosen for the
// peers too.
func skipAnswer(in *bufio.Reader) error {
	status, err := in.ReadSlice('\n')
	switch {
	case err != nil:
		return fmt.Errorf("read an answer: %w", err)
	case !bytes.HasPrefix(status, acceptedLine):
		return fmt.Errorf("transaction refused: %.60q", status)
	}
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read the header of an answer: %w", err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if name := len(lengthField); len(line) > name && bytes.EqualFold(line[:name], lengthField) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[name:]))); err != nil {
				return fmt.Errorf("length of an answer: %w", err)
			}
		}
	}
	if length < 0 || length > maxAnswer {
		return fmt.Errorf("an answer has length %d, want 0 to %d", length, maxAnswer)
	}
	_, err = in.Discard(length)
	return err
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
		err = errors.Join(err, c.Close())
	}
	return err
}
