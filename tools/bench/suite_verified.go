package main

import (
	"errors"
	"fmt"
	"time"
)

// verifiedRate is how many transfers a second a read node follows.
const verifiedRate = 10_000

// verified measures the time from the end of a block on the write node until a read
// node has verified it, all of it included: root, signature, the disks of both, the
// sync protocol, execution.
func (b *bench) verified() (err error) {
	n, err := b.theChild()
	if err != nil {
		return err
	}
	r, err := b.follower(n, "verified")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	load, err := b.newBackground(n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	load.prepare(verifiedRate, b.latencyTime())
	for _, c := range []*child{n, r} {
		if _, err := c.lap(); err != nil {
			return err
		}
	}
	if _, err := load.run(); err != nil {
		return err
	}
	if err := b.caughtUp(n, r); err != nil {
		return err
	}
	return b.addVerified(n, r)
}

// addVerified compares what both nodes saw of the same blocks.
func (b *bench) addVerified(n, r *child) error {
	sealed, err := n.lap()
	if err != nil {
		return err
	}
	seen, err := r.lap()
	if err != nil {
		return err
	}
	at := map[uint64]int64{}
	for _, s := range seen.Seals {
		at[s.Height] = s.Published
	}
	var whole, follow []time.Duration
	for _, s := range sealed.Seals {
		if done := at[s.Height]; done > 0 && s.Published > 0 {
			whole, follow = append(whole, time.Duration(done-s.At)), append(follow, time.Duration(max(0, done-s.Published)))
		}
	}
	if len(whole) == 0 {
		return errors.New("no block was verified")
	}
	ms, after := ascendingMs(whole), ascendingMs(follow)
	what := fmt.Sprintf("from the end of a block to verified by a read node, %d transfers a second", verifiedRate)
	b.add(plain("verified", what+", p50", "ms", quantile(ms, 0.5)),
		plain("verified", what+", p99", "ms", quantile(ms, 0.99)).want(atMost(20), nil).noted(fmt.Sprintf("%d blocks", len(ms))),
		plain("verified", "from the publication of a block to verified by a read node, p99", "ms", quantile(after, 0.99)).noted(fmt.Sprintf("p50 %.2f ms", quantile(after, 0.5))))
	return nil
}
