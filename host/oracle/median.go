package oracle

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Limits and defaults of an aggregation.
const (
	// MaxUpstreams bounds the services that one service aggregates.
	MaxUpstreams = 32
	// DefaultPollInterval is the time between two pulls from one upstream.
	DefaultPollInterval = 100 * time.Millisecond
	// DefaultUpstreamTimeout bounds one pull from an upstream. It is not the node's
	// 10 ms: nobody waits for it.
	DefaultUpstreamTimeout = 500 * time.Millisecond
	// DefaultUpstreamStaleMs is the age beyond which a price of an upstream does
	// not count, ms.
	DefaultUpstreamStaleMs = 3_000
)

// Puller is what an upstream is asked through; [Client] is one.
type Puller interface {
	Pull(ctx context.Context) (*Answer, error)
}

// Upstream is a service whose prices are aggregated.
type Upstream struct {
	Name   string // appears in the sources of a price and in GET /health
	Puller Puller
}

// Upstreams makes one [Upstream] per service address, named by it.
func Upstreams(serviceURLs []string) ([]Upstream, error) {
	all := make([]Upstream, len(serviceURLs))
	for i, u := range serviceURLs {
		c, err := NewClient(u, DefaultUpstreamTimeout)
		if err != nil {
			return nil, fmt.Errorf("upstream %d: %w", i+1, err)
		}
		all[i] = Upstream{Name: u, Puller: c}
	}
	return all, nil
}

// MedianConfig says what to aggregate. Zero fields get the defaults.
type MedianConfig struct {
	Upstreams    []Upstream
	MinSources   int           // how many upstreams must agree to have a price; default 1
	PollInterval time.Duration // between two pulls from one upstream
	MaxStaleMs   uint64        // an upstream's price older than this does not count
	Tokens       Tokens        // default KnownTokens
	Now          func() uint64 // the clock, ms; default the system's
}

// Median is a source that takes, pair by pair, the median of its upstreams: a
// wrong price moves it only if half of them are wrong. The rules of [Feed] apply
// to each upstream on its own; a price counts while it is no older than
// MaxStaleMs. Of an even number of prices the median is the mean of the two in
// the middle, rounded down.
//
// [Median.Run] pulls, in the background, so that an answer to GET /prices never
// waits for an upstream.
type Median struct {
	c     MedianConfig
	feeds []*upstreamFeed
	names map[[2]chain.Address]string
	last  map[string]Quote // what was served last, by pair
}

type upstreamFeed struct {
	mu   sync.Mutex
	feed *Feed
}

// NewMedian checks the configuration.
func NewMedian(c MedianConfig) (*Median, error) {
	if c.MinSources == 0 {
		c.MinSources = 1
	}
	if c.PollInterval == 0 {
		c.PollInterval = DefaultPollInterval
	}
	if c.MaxStaleMs == 0 {
		c.MaxStaleMs = DefaultUpstreamStaleMs
	}
	if c.Tokens == nil {
		c.Tokens = KnownTokens()
	}
	if c.Now == nil {
		c.Now = systemClock
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	m := &Median{c: c, names: c.Tokens.names(), last: make(map[string]Quote)}
	for range c.Upstreams {
		m.feeds = append(m.feeds, &upstreamFeed{feed: NewFeed(c.Tokens, chain.OracleSnapshot{})})
	}
	return m, nil
}

func (c *MedianConfig) check() error {
	switch {
	case len(c.Upstreams) < 1 || len(c.Upstreams) > MaxUpstreams:
		return fmt.Errorf("median of %d upstreams, want 1 to %d", len(c.Upstreams), MaxUpstreams)
	case c.MinSources < 1 || c.MinSources > len(c.Upstreams):
		return fmt.Errorf("median with %d sources at least, want 1 to %d, the number of upstreams", c.MinSources, len(c.Upstreams))
	case c.PollInterval < 0:
		return fmt.Errorf("median poll interval is %v, want more than 0", c.PollInterval)
	}
	for i, u := range c.Upstreams {
		if slices.ContainsFunc(c.Upstreams[:i], func(v Upstream) bool { return v.Name == u.Name }) {
			return fmt.Errorf("median: upstream %q is given twice, its vote would count twice", u.Name)
		}
	}
	return nil
}

// Run pulls from every upstream until ctx ends, one goroutine each.
func (m *Median) Run(ctx context.Context) {
	var all sync.WaitGroup
	for i := range m.feeds {
		all.Go(func() { m.poll(ctx, i) })
	}
	all.Wait()
}

func (m *Median) poll(ctx context.Context, i int) {
	tick := time.NewTicker(m.c.PollInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		answer, err := m.c.Upstreams[i].Puller.Pull(ctx)
		if ctx.Err() != nil {
			return
		}
		m.feeds[i].take(answer, err, m.c.Now())
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (u *upstreamFeed) take(answer *Answer, err error, now uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		u.feed.Fail(err)
		return
	}
	u.feed.Accept(answer, now)
}

// fresh is what an upstream contributes: nothing if it has gone quiet, and else
// its prices that are not older than maxStale.
func (u *upstreamFeed) fresh(now, maxStale uint64) []chain.Price {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.feed.Snapshot(now, maxStale)
	if s.Stale {
		return nil
	}
	return slices.DeleteFunc(s.Prices, func(p chain.Price) bool { return now-p.Timestamp > maxStale })
}

// vote is one upstream's price of a pair.
type vote struct {
	price, at uint64
	source    string
}

// Quotes implements [Source].
func (m *Median) Quotes(now uint64) []Quote {
	votes, order := m.collect(now)
	var quotes []Quote
	for _, pair := range order {
		if v := votes[pair]; len(v) >= m.c.MinSources {
			q := m.date(aggregate(pair, v), now)
			m.last[pair.Name] = q
			quotes = append(quotes, q)
		}
	}
	return quotes
}

func (m *Median) collect(now uint64) (map[Pair][]vote, []Pair) {
	votes, order := make(map[Pair][]vote), []Pair(nil)
	for i, u := range m.feeds {
		for _, p := range u.fresh(now, m.c.MaxStaleMs) {
			pair := Pair{Name: m.names[[2]chain.Address{p.Base, p.Quote}], Base: p.Base, Quote: p.Quote}
			if votes[pair] == nil {
				order = append(order, pair)
			}
			votes[pair] = append(votes[pair], vote{p.Price, p.Timestamp, m.c.Upstreams[i].Name})
		}
	}
	return votes, order
}

func aggregate(pair Pair, votes []vote) Quote {
	q := Quote{Pair: pair}
	prices := make([]uint64, len(votes))
	for i, v := range votes {
		prices[i] = v.price
		q.LastUpdate = max(q.LastUpdate, v.at)
		q.Sources = append(q.Sources, v.source)
	}
	slices.Sort(prices)
	low, high := prices[(len(prices)-1)/2], prices[len(prices)/2]
	q.Price = low/2 + high/2 + low&high&1
	return q
}

// date keeps the rule that a price which changes gets a later time. The median
// also moves when an upstream falls silent, which no observation dates: then its
// time is the moment it was noticed.
func (m *Median) date(q Quote, now uint64) Quote {
	before := m.last[q.Name] // all zero the first time
	if q.Price != before.Price && q.LastUpdate <= before.LastUpdate {
		q.LastUpdate = max(now, before.LastUpdate+1)
	}
	q.LastUpdate = max(q.LastUpdate, before.LastUpdate)
	return q
}

// Providers implements [Source]: an upstream is ready while it contributes.
func (m *Median) Providers(now uint64) []Provider {
	all := make([]Provider, len(m.feeds))
	for i, u := range m.feeds {
		n := len(u.fresh(now, m.c.MaxStaleMs))
		all[i] = Provider{Name: m.c.Upstreams[i].Name, Ready: n > 0, Prices: n}
	}
	return all
}
