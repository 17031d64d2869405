package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// How load is offered: workers that each wait for their answers before they send
// again, so that some thousand transactions are under way.
const (
	workers   = 8
	batchSize = 250 // transactions in one call
)

// batches splits load among calls: smaller ones if there is little.
func batches(raws [][]byte) [][][]byte {
	size := max(1, min(batchSize, len(raws)/(2*workers)))
	var all [][][]byte
	for len(raws) > 0 {
		n := min(size, len(raws))
		all = append(all, raws[:n:n])
		raws = raws[n:]
	}
	return all
}

// spreadOut runs n pieces of work on workers goroutines, in order, until one
// fails, and returns how long that took.
func spreadOut(n int, work func(i int) error) (time.Duration, error) {
	var next atomic.Int64
	var all sync.WaitGroup
	failures := make([]error, workers)
	start := time.Now()
	for w := range workers {
		all.Go(func() {
			for failures[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				failures[w] = work(i)
			}
		})
	}
	all.Wait()
	return time.Since(start), errors.Join(failures...)
}

// feed submits load in process and returns the time to the last answer, and the
// highest block that was answered with.
func feed(ctx context.Context, w *writer, raws [][]byte) (time.Duration, uint64, error) {
	calls := batches(raws)
	var highest atomic.Uint64
	elapsed, err := spreadOut(len(calls), func(i int) error {
		height, err := submitCall(ctx, w, calls[i])
		for old := highest.Load(); height > old && !highest.CompareAndSwap(old, height); old = highest.Load() {
		}
		return err
	})
	return elapsed, highest.Load(), err
}

// submitCall submits one call, of which everything must succeed, and returns the
// highest block that was answered with.
func submitCall(ctx context.Context, w *writer, raws [][]byte) (height uint64, err error) {
	for _, r := range w.Submit(ctx, raws) {
		if r.Err != nil {
			return 0, fmt.Errorf("transaction refused: %w", r.Err)
		}
		if r.Receipt.Code != abi.CodeOK {
			return 0, fmt.Errorf("transaction failed: %s %s", w.Schema().ErrorName(r.Receipt.Code), r.Receipt.Detail)
		}
		height = max(height, r.Height)
	}
	return height, nil
}

// streamOf is how many of n transactions make one stream: there are as many
// streams as workers, or fewer.
func streamOf(n int) int { return max(1, (n+workers-1)/workers) }

// feedStreams is [feed] for load whose order counts: each stream is sent by one
// caller, a call after the answers of the one before.
func feedStreams(ctx context.Context, w *writer, raws [][]byte) (time.Duration, uint64, error) {
	streams := slices.Collect(slices.Chunk(raws, streamOf(len(raws))))
	heights := make([]uint64, len(streams))
	elapsed, err := spreadOut(len(streams), func(i int) (err error) {
		for call := range slices.Chunk(streams[i], batchSize) {
			if heights[i], err = submitCall(ctx, w, call); err != nil {
				return err
			}
		}
		return nil
	})
	return elapsed, slices.Max(heights), err
}

// sendAll offers load through the Go client.
func sendAll(ctx context.Context, c *client.Client, raws [][]byte) (time.Duration, error) {
	calls := batches(raws)
	return spreadOut(len(calls), func(i int) error {
		receipts, err := c.SendTransactions(ctx, calls[i])
		if err != nil {
			return err
		}
		for j := range receipts {
			if err := checkReceipt(&receipts[j]); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkReceipt(r *api.Receipt) error {
	if r.Status == api.StatusOK {
		return nil
	}
	name := "unknown"
	if r.Error != nil {
		name = *r.Error
	}
	return fmt.Errorf("transfer %s: %s %s", r.Status, name, r.ErrorDetail)
}

// poster sends requests that are ready before the clock starts and reads answers
// without understanding them: what is measured is the node.
type poster struct {
	url  string
	http *http.Client
}

func newPoster(address string) *poster {
	return &poster{url: "http://" + address, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4 * workers, DisableCompression: true}}}
}

func (p *poster) close() { p.http.CloseIdleConnections() }

// requests are the bodies of kaizen_sendTransactions for batches.
func requests(calls [][][]byte) [][]byte {
	bodies := make([][]byte, len(calls))
	for i, raws := range calls {
		b := append([]byte(`{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransactions","params":`), sendParams(raws)...)
		bodies[i] = append(b, '}')
	}
	return bodies
}

// sendParams are the parameters of kaizen_sendTransactions.
func sendParams(raws [][]byte) []byte {
	b := []byte("[[")
	for i, raw := range raws {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(hex.AppendEncode(append(b, `"0x`...), raw), '"')
	}
	return append(b, "]]"...)
}

var statusOK = []byte(`"status":"` + api.StatusOK + `"`)

// post sends one request with n transactions.
func (p *poster) post(ctx context.Context, body []byte, n int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := p.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var b bytes.Buffer
	if answer.ContentLength > 0 {
		b.Grow(int(answer.ContentLength) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(answer.Body, client.MaxAnswerBytes)); err != nil {
		return err
	}
	if err := checkReceipts(b.Bytes(), n); err != nil {
		return fmt.Errorf("HTTP %d: %w", answer.StatusCode, err)
	}
	return nil
}

// checkReceipts counts what went through.
func checkReceipts(answer []byte, n int) error {
	if got := bytes.Count(answer, statusOK); got != n {
		return fmt.Errorf("%d of %d transfers went through: %.300s", got, n, answer)
	}
	return nil
}

// postAll offers load by HTTP.
func (p *poster) postAll(ctx context.Context, raws [][]byte) (time.Duration, error) {
	calls := batches(raws)
	bodies := requests(calls)
	return spreadOut(len(calls), func(i int) error { return p.post(ctx, bodies[i], len(calls[i])) })
}

// postInTurn is [poster.postAll] for load whose order counts.
func (p *poster) postInTurn(ctx context.Context, raws [][]byte) (time.Duration, error) {
	calls := slices.Collect(slices.Chunk(raws, batchSize))
	bodies := requests(calls)
	start := time.Now()
	for i, body := range bodies {
		if err := p.post(ctx, body, len(calls[i])); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// sample is one answer of paced load.
type sample struct {
	sent time.Time
	took time.Duration
}

// pacers bounds the calls of one paced load that are under way.
const pacers = 32

// paced calls n times at a steady rate, however slow the answers are. A call that
// is late because all pacers wait for answers counts from when it was due; one
// that is late because the timer was, from when it was sent.
func paced(ctx context.Context, n int, every time.Duration, call func(i int) error) ([]sample, error) {
	samples := make([]sample, n)
	failures := make([]error, pacers)
	var next atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for p := range pacers {
		all.Go(func() {
			timer := time.NewTimer(0)
			defer timer.Stop()
			for failures[p] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				due := start.Add(time.Duration(i) * every)
				if wait := time.Until(due); wait > 0 {
					timer.Reset(wait)
					select {
					case <-timer.C:
					case <-ctx.Done():
						failures[p] = ctx.Err()
						return
					}
					due = time.Now()
				}
				failures[p] = call(i)
				samples[i] = sample{due, time.Since(due)}
			}
		})
	}
	all.Wait()
	return samples, errors.Join(failures...)
}
