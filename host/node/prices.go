package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/metrics"
)

// prices keeps the snapshot that the next block will carry. Pulling runs beside
// execution: a service that hangs delays nothing (K-11), and what it says while
// block N is open is in force from block N+1 on (K-06).
type prices struct {
	client   *oracle.Client
	log      *slog.Logger
	maxStale uint64
	timeout  time.Duration
	took     *metrics.Histogram

	mu   sync.Mutex
	feed *oracle.Feed
	down bool      // as logged
	said time.Time // when a change was logged last
}

func newPrices(cfg *OracleConfig, last chain.OracleSnapshot, log *slog.Logger) (*prices, error) {
	client, err := oracle.NewClient(cfg.ServiceURL, cfg.Timeout())
	if err != nil {
		return nil, err
	}
	return &prices{client: client, log: log, maxStale: cfg.MaxStaleMs, timeout: cfg.Timeout(),
		took: metrics.NewHistogram("kaizen_oracle_pull_seconds", "Asking the price service.", metrics.Seconds()...), feed: oracle.NewFeed(oracle.KnownTokens(), last)}, nil
}

// lead is how long before a tick the service is asked: an answer that takes the
// whole timeout is there when the block closes, and as fresh as it can be.
func (p *prices) lead(interval time.Duration) time.Duration {
	return min(p.timeout+2*time.Millisecond, interval/2)
}

// run pulls once before every tick until ctx ends. ticks says when the next one
// is due; without news it goes on at the interval.
func (p *prices) run(ctx context.Context, interval time.Duration, ticks <-chan time.Time) {
	defer p.client.Close()
	next := time.NewTimer(interval)
	defer next.Stop()
	for {
		select {
		case due := <-ticks:
			next.Reset(time.Until(due.Add(-p.lead(interval))))
		case <-next.C:
			p.pull(ctx)
			next.Reset(interval)
		case <-ctx.Done():
			return
		}
	}
}

// pull asks once and takes what may be used of the answer.
func (p *prices) pull(ctx context.Context) {
	start := time.Now()
	answer, err := p.client.Pull(ctx)
	if err != nil && ctx.Err() != nil {
		return
	}
	p.took.Since(start)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.feed.Fail(err)
		p.note(err)
		return
	}
	for _, r := range p.feed.Accept(answer, nowMs()) {
		p.log.Warn("price refused", "pair", r.Pair, "reason", r.Reason.String(), "detail", r.Detail)
	}
	p.note(nil)
}

// noteEvery is how often a service that comes and goes may be in the log.
const noteEvery = 5 * time.Second

// note logs when the service goes away and when it is back.
func (p *prices) note(err error) {
	down := err != nil
	if down == p.down || time.Since(p.said) < noteEvery {
		return
	}
	p.down, p.said = down, time.Now()
	if down {
		p.log.Warn("price service does not answer: the last known prices stay in force", "max_stale_ms", p.maxStale, "error", err)
	} else {
		p.log.Info("price service answers")
	}
}

// snapshot is what a block that opens at blockTime carries.
func (p *prices) snapshot(blockTime uint64) chain.OracleSnapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.feed.Snapshot(blockTime, p.maxStale)
}

// stats are the feed's counters.
func (p *prices) stats() oracle.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.feed.Stats()
}
