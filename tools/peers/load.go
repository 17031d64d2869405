package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Load is offered as tools/bench offers ours: some callers, each of which waits
// for its answers before it sends again.
const (
	firstLoad = 10_000 // transactions of the first round, when the rate is not known
	// stalled is how long nothing may be committed before a round is given up.
	stalled = 10 * time.Second
)

// keyValues makes transactions of key-value applications, no two alike: each sets
// a key of its own, or all set the same.
type keyValues struct {
	length int
	made   int
	oneKey bool
}

func (k *keyValues) next(n int) [][]byte {
	form := "k%015d="
	if k.oneKey {
		form = "k=%015d"
	}
	txs := make([][]byte, n)
	for i := range txs {
		txs[i] = fmt.Appendf(make([]byte, 0, k.length), form, k.made)
		for len(txs[i]) < k.length {
			txs[i] = append(txs[i], 'v')
		}
		k.made++
	}
	return txs
}

// offered is a key-value application under load: rounds are as long as the rate of
// the one before lets hope.
type offered struct {
	txs     keyValues
	callers int
	atOnce  int // transactions that one of them sends before it waits
	rate    float64
	// prepare makes the requests, send one of them; both are the peer's.
	prepare func(batch [][]byte) []byte
	send    func(ctx context.Context, caller int, request []byte, n int) error
	// done is how many transactions the application has committed or executed, ever.
	done func(ctx context.Context) (int, error)
}

// round sends and waits until the application is done with all of it.
func (f *offered) round(ctx context.Context, d time.Duration) (result, error) {
	n := firstLoad
	if f.rate > 0 {
		n = max(f.callers, int(f.rate*d.Seconds()))
	}
	batches := slices.Collect(slices.Chunk(f.txs.next(n), f.atOnce))
	requests := make([][]byte, len(batches))
	for i := range batches {
		requests[i] = f.prepare(batches[i])
	}
	before, err := f.done(ctx)
	if err != nil {
		return result{}, err
	}
	var m meter
	m.start()
	if err := f.sendAll(ctx, requests, batches); err != nil {
		return m.result, err
	}
	if err := f.waitFor(ctx, before+n); err != nil {
		return m.result, err
	}
	m.stop(n)
	f.rate = float64(n) / m.took.Seconds()
	return m.result, nil
}

func (f *offered) sendAll(ctx context.Context, requests [][]byte, batches [][][]byte) error {
	var next atomic.Int64
	var all sync.WaitGroup
	failures := make([]error, f.callers)
	for c := range f.callers {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(requests) && failures[c] == nil; i = next.Add(1) - 1 {
				failures[c] = f.send(ctx, c, requests[i], len(batches[i]))
			}
		})
	}
	all.Wait()
	if i := slices.IndexFunc(failures, func(err error) bool { return err != nil }); i >= 0 {
		return failures[i] // the others mostly fail of the same
	}
	return nil
}

// waitFor looks every few milliseconds: blocks come ten times a second.
func (f *offered) waitFor(ctx context.Context, want int) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	last, since := 0, time.Now()
	for {
		have, err := f.done(ctx)
		switch {
		case err != nil:
			return err
		case have >= want:
			return nil
		case have != last:
			last, since = have, time.Now()
		case time.Since(since) > stalled:
			return fmt.Errorf("%d of %d transactions are done, and none more in %s", have, want, stalled)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
