package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Load is offered as tools/bench offers ours: some callers, each of which waits
// for its answers before it sends again.
const (
	firstLoad = 10_000 // transactions of the first round, when the rate is not known
	// stalled is the patience with an application whose blocks come ten times a
	// second, stalledKeys with one that goes through all its keys for each.
	stalled, stalledKeys = 10 * time.Second, 3 * time.Minute
)

// Which key the transactions of a key-value application set.
const (
	setOne    = "one"    // all the same
	setNew    = "new"    // each a key of its own
	setLoaded = "loaded" // random ones of those that were there before the rounds
)

// keyValues makes transactions of key-value applications, no two alike. Keys have
// numbers, from 0.
type keyValues struct {
	length int
	set    string
	made   int // transactions, ever: what makes values differ
	keys   int // those that were ever set, from 0
	rand   *rand.Rand
}

// Lengths in a transaction: a key with its =, and the number in a value.
const keyLength, numberLength = 17, 15

func (k *keyValues) next(n int) [][]byte {
	txs := make([][]byte, n)
	for i := range txs {
		txs[i] = k.append(make([]byte, 0, k.length))
	}
	return txs
}

func (k *keyValues) append(tx []byte) []byte {
	k.made++
	switch k.set {
	case setNew:
		k.keys++
		return k.pair(tx, k.keys-1)
	case setLoaded:
		return k.pair(tx, k.rand.IntN(k.keys))
	}
	tx = fmt.Appendf(tx, "k=%0*d", numberLength, k.made)
	return pad(tx, k.length)
}

// pair sets a numbered key. The number in the value has as many digits as there is
// room for.
func (k *keyValues) pair(tx []byte, key int) []byte {
	digits := min(numberLength, k.length-keyLength)
	number, most := k.made, 1
	for range digits {
		most *= 10
	}
	return pad(fmt.Appendf(tx, "k%0*d=%0*d", keyLength-2, key, digits, number%most), k.length)
}

func pad(tx []byte, length int) []byte {
	for len(tx) < length {
		tx = append(tx, 'v')
	}
	return tx
}

// offered is a key-value application under load: rounds are as long as the rate of
// the one before lets hope.
type offered struct {
	txs     keyValues
	callers int
	atOnce  int // transactions that one of them sends before it waits
	most    int // transactions of a round; 0: any number
	rate    float64
	// patience is how long nothing may be done before a round is given up.
	patience time.Duration
	// prepare makes the requests, send one of them; both are the peer's.
	prepare func(batch [][]byte) []byte
	send    func(ctx context.Context, caller int, request []byte, n int) error
	// done is how many transactions the application has committed or executed, ever.
	done func(ctx context.Context) (int, error)
}

// keys is how many numbered keys were ever set.
func (f *offered) keys() int { return f.txs.keys }

// size is how many transactions a round of about d has.
func (f *offered) size(d time.Duration) int {
	n := firstLoad
	if f.rate > 0 {
		n = max(f.callers, int(f.rate*d.Seconds()))
	}
	if f.most > 0 {
		n = min(n, f.most)
	}
	return n
}

// requests are those of transactions, and how many each has.
func (f *offered) requests(txs [][]byte) (requests [][]byte, batches [][][]byte) {
	batches = slices.Collect(slices.Chunk(txs, f.atOnce))
	requests = make([][]byte, len(batches))
	for i := range batches {
		requests[i] = f.prepare(batches[i])
	}
	return requests, batches
}

// round sends and waits until the application is done with all of it.
func (f *offered) round(ctx context.Context, d time.Duration) (result, error) {
	n := f.size(d)
	requests, batches := f.requests(f.txs.next(n))
	before, err := f.done(ctx)
	if err != nil {
		return result{}, err
	}
	var m meter
	m.start()
	if err := f.sendAll(ctx, requests, batches); err != nil {
		return m.result, err
	}
	sent := time.Since(m.began)
	if err := f.waitFor(ctx, before+n); err != nil {
		return m.result, err
	}
	m.stop(n)
	f.rate = float64(n) / m.took.Seconds()
	if f.txs.set != setOne {
		// A root of many keys costs a block the same, however few transactions it has:
		// a round that is as short as the last one was slow would make each slower than
		// the one before. So load comes for as long as it is taken.
		f.rate = float64(n) / sent.Seconds()
	}
	return m.result, nil
}

// Loading keys.
const (
	loadPart    = 20_000  // keys between two looks at the clock
	loadAhead   = 200_000 // transactions that may wait to be executed
	loadSayings = 10 * time.Second
)

// load sets keys up to the n-th, those that are there left out, and waits until they
// are executed. After limit it sends no more and goes on with as many as it has.
func (f *offered) load(ctx context.Context, n int, limit time.Duration, say func(format string, args ...any)) error {
	before, err := f.done(ctx)
	if err != nil {
		return err
	}
	first, begin := f.txs.keys, time.Now()
	said := begin
	for f.txs.keys < n && time.Since(begin) < limit {
		part := min(loadPart, n-f.txs.keys)
		txs := make([][]byte, part)
		for i := range txs {
			f.txs.made++
			txs[i] = f.txs.pair(make([]byte, 0, f.txs.length), f.txs.keys+i)
		}
		requests, batches := f.requests(txs)
		if err := f.sendAll(ctx, requests, batches); err != nil {
			return fmt.Errorf("load key %d: %w", f.txs.keys, err)
		}
		f.txs.keys += part
		if err := f.waitFor(ctx, before+f.txs.keys-first-loadAhead); err != nil {
			return fmt.Errorf("load key %d: %w", f.txs.keys, err)
		}
		if time.Since(said) > loadSayings {
			said = time.Now()
			say("%d of %d keys after %s", f.txs.keys, n, time.Since(begin).Round(time.Second))
		}
	}
	if err := f.waitFor(ctx, before+f.txs.keys-first); err != nil {
		return fmt.Errorf("load %d keys: %w", f.txs.keys, err)
	}
	say("%d of %d keys in %s", f.txs.keys, n, time.Since(begin).Round(time.Second))
	return nil
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
		case time.Since(since) > f.patience:
			return fmt.Errorf("%d of %d transactions are done, and none more in %s", have, want, f.patience)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
