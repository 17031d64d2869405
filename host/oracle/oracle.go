// Package oracle owns prices outside the chain: the write node's pull [Client],
// the [Feed] that decides which of the prices it hears may be used, and the price
// [Service] behind `kaizen oracle` with its sources (protocol section 6).
//
// It uses net/http and nothing else from outside; it must not import another
// adapter or an execution package. feed.go, answer.go, walk.go and recorded.go
// hold no clock: time is an argument, u64 ms.
//
//	price service ──GET /prices──▶ Client.Pull ─▶ Answer ─▶ Feed.Accept
//	                                   └─ error ─▶ Feed.Fail
//	a block opens at time T:        Feed.Snapshot(T, max_stale_ms) ─▶ the block
//
// A Feed and a Source belong to one goroutine at a time. A Client and a Service
// may be used from any. Only the Run methods start goroutines, and end all of them
// before they return.
package oracle

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Decimals is the number of decimals of every price: 1 USD is 1,000,000.
const Decimals = 6

// Tokens says which address a token symbol stands for.
type Tokens map[string]chain.Address

// KnownTokens is the table of protocol section 6.
func KnownTokens() Tokens {
	return Tokens{"BTC": token(0, 1), "ETH": token(0, 2), "SOL": token(0, 3), "USDT": token(1, 0)}
}

func token(hi, lo byte) (a chain.Address) {
	a[len(a)-2], a[len(a)-1] = hi, lo
	return a
}

// Pair is a market by its name, such as "BTC/USDT", and by its addresses.
type Pair struct {
	Name        string
	Base, Quote chain.Address
}

// ErrPair is wrapped when a name is not BASE/QUOTE with two different tokens of
// the table.
var ErrPair = errors.New("not a known pair")

// Pair reads a name such as "BTC/USDT". Symbols are upper case.
func (t Tokens) Pair(name string) (Pair, error) {
	base, quote, found := strings.Cut(name, "/")
	b, okBase := t[base]
	q, okQuote := t[quote]
	if !found || !okBase || !okQuote || base == quote {
		return Pair{}, fmt.Errorf("%w: %.40q, want BASE/QUOTE with two of the tokens %s", ErrPair, name,
			strings.Join(slices.Sorted(maps.Keys(t)), ", "))
	}
	return Pair{Name: name, Base: b, Quote: q}, nil
}

// ParsePair reads a name over [KnownTokens].
func ParsePair(name string) (Pair, error) { return KnownTokens().Pair(name) }

// names is the table read backwards: the name of every pair by its addresses.
func (t Tokens) names() map[[2]chain.Address]string {
	names := make(map[[2]chain.Address]string)
	for _, base := range slices.Sorted(maps.Keys(t)) {
		for _, quote := range slices.Sorted(maps.Keys(t)) {
			names[[2]chain.Address{t[base], t[quote]}] = base + "/" + quote
		}
	}
	return names
}
