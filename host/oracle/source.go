package oracle

import (
	"context"
	"slices"
	"sync"
)

// Quote is a price as a [Source] gives it.
type Quote struct {
	Pair
	Price      uint64 // [Decimals] decimals, not zero
	LastUpdate uint64 // when it was observed, ms
	Sources    []string
}

// Provider is one line of GET /health: somebody prices come from.
type Provider struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Prices int    `json:"prices"` // pairs it gives a price for
}

// Source is what a [Service] serves from. now is the service's clock, ms; a
// service asks with values that do not decrease, from one goroutine at a time.
// A pair without a usable price is left out of Quotes.
type Source interface {
	Quotes(now uint64) []Quote
	Providers(now uint64) []Provider
}

// merged asks several sources for different pairs.
type merged []Source

// Merge is a source of everything that its sources have; of a pair that several
// of them give, the first one's price is taken.
func Merge(sources ...Source) Source { return merged(sources) }

// runner is a source with work of its own, such as [Median].
type runner interface{ Run(context.Context) }

// Run runs what runs among the sources, until ctx ends.
func (m merged) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range m {
		if r, ok := s.(runner); ok {
			all.Go(func() { r.Run(ctx) })
		}
	}
	all.Wait()
}

// Quotes implements [Source].
func (m merged) Quotes(now uint64) (all []Quote) {
	for _, s := range m {
		for _, q := range s.Quotes(now) {
			if !slices.ContainsFunc(all, func(have Quote) bool { return have.Pair == q.Pair }) {
				all = append(all, q)
			}
		}
	}
	return all
}

// Providers implements [Source].
func (m merged) Providers(now uint64) (all []Provider) {
	for _, s := range m {
		all = append(all, s.Providers(now)...)
	}
	return all
}
