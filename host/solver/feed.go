package solver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/quote"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// Node is what the solver needs of a node; [client.Client] has it.
type Node interface {
	Info(ctx context.Context) (api.Info, error)
	Status(ctx context.Context) (api.Status, error)
	Account(ctx context.Context, a chain.Address, at api.Ref) (api.Account, error)
	Markets(ctx context.Context, at api.Ref) (json.RawMessage, error)
	Receipt(ctx context.Context, id chain.Hash) (api.Receipt, error)
	SendTransaction(ctx context.Context, raw []byte) (api.Receipt, error)
	Call(ctx context.Context, method string, params, result any) error
}

const (
	// refreshAfter is how old what the node said may be, as measured here: one block
	// of the usual interval.
	refreshAfter = 100 * time.Millisecond
	// askTimeout bounds one round of questions to the node.
	askTimeout = 3 * time.Second
	// maxPages bounds how often a market's history is asked for in one round.
	maxPages = 8
)

// feed asks the node when somebody wants to know, and not in between: an idle
// solver costs the node nothing.
type feed struct {
	node     Node
	solver   chain.Address
	pairs    []string // those that are quoted; empty: every one
	windowMs uint64
	clock    func() time.Time

	asked   time.Time
	offset  int64 // of the chain's clock to ours, ms
	stale   bool  // by the chain's own word
	account api.Account
	markets map[string]*watched
}

// watched is one market as the chain has it now.
type watched struct {
	marketAnswer
	window  quote.Window
	fetched time.Time
}

// marketAnswer is one of the answer's markets.
type marketAnswer struct {
	Name   string        `json:"name"`
	Base   chain.Address `json:"base"`
	Quote  chain.Address `json:"quote"`
	Paused bool          `json:"paused"`
	MinBet api.Amount    `json:"min_bet"`
	MaxBet api.Amount    `json:"max_bet"`
}

// now is the chain's time, ms.
func (f *feed) now() uint64 { return uint64(f.clock().UnixMilli() + f.offset) }

// refresh asks for what all markets share.
func (f *feed) refresh(ctx context.Context) error {
	if f.markets != nil && f.clock().Sub(f.asked) < refreshAfter {
		return nil
	}
	sent := f.clock()
	status, err := f.node.Status(ctx)
	if err != nil {
		return err
	}
	// The answer was made after it was asked for: taken as of then, a price looks
	// older than it is by the time that took, and never younger.
	f.offset = int64(status.HeadTime+status.LagMs) - sent.UnixMilli()
	f.stale = status.Oracle.Stale || status.Alarm != ""
	if f.account, err = f.node.Account(ctx, f.solver, api.ByTag(api.TagLatest)); err != nil {
		return err
	}
	if err := f.listMarkets(ctx); err != nil {
		return err
	}
	f.asked = sent
	return nil
}

func (f *feed) listMarkets(ctx context.Context) error {
	raw, err := f.node.Markets(ctx, api.ByTag(api.TagLatest))
	if err != nil {
		return err
	}
	var answer struct {
		Markets []marketAnswer `json:"markets"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("markets: %w", err)
	}
	before := f.markets
	f.markets = make(map[string]*watched, len(answer.Markets))
	for _, m := range answer.Markets {
		if len(f.pairs) > 0 && !slices.Contains(f.pairs, m.Name) {
			continue
		}
		v := before[m.Name]
		if v == nil {
			v = &watched{window: quote.Window{SpanMs: f.windowMs}}
		}
		v.marketAnswer = m
		f.markets[m.Name] = v
	}
	return nil
}

// view is what the chain knows of a market now.
func (f *feed) view(ctx context.Context, pair string) (*watched, quote.View, error) {
	if err := f.refresh(ctx); err != nil {
		return nil, quote.View{}, err
	}
	m := f.markets[pair]
	if m == nil {
		return nil, quote.View{}, refuse(http.StatusUnprocessableEntity, InvalidOraclePair, "pair", fmt.Sprintf("%.40q is not quoted here", pair))
	}
	if err := f.follow(ctx, m); err != nil {
		return nil, quote.View{}, err
	}
	return m, quote.View{Price: m.window.Price(), Timestamp: m.window.Last(), Stale: f.stale, Volatility: m.window.Volatility()}, nil
}

// follow asks for the prices that were recorded since the last time.
func (f *feed) follow(ctx context.Context, m *watched) error {
	if f.clock().Sub(m.fetched) < refreshAfter {
		return nil
	}
	sent, now := f.clock(), f.now()
	from := max(m.window.Last()+1, now-min(f.windowMs, now))
	for range maxPages {
		var page struct {
			Prices []struct {
				Timestamp uint64     `json:"timestamp"`
				Price     api.Amount `json:"price"`
			} `json:"prices"`
			Next *uint64 `json:"next"`
		}
		if err := f.node.Call(ctx, "kaizen_getOracleHistory", []any{m.Name, from, now + horizonMs}, &page); err != nil {
			return err
		}
		for _, p := range page.Prices {
			m.window.Add(p.Timestamp, uint64(p.Price))
		}
		if page.Next == nil {
			m.fetched = sent
			return nil
		}
		from = *page.Next
	}
	return fmt.Errorf("history of %s: more than %d pages", m.Name, maxPages)
}

// horizonMs is how far ahead of our idea of the chain's time its prices are still
// asked for.
const horizonMs = 60_000

// names are the markets that are quoted, in order.
func (f *feed) names() []string { return slices.Sorted(maps.Keys(f.markets)) }

// nameOf finds a market by its tokens.
func (f *feed) nameOf(ctx context.Context, base, quote chain.Address) (string, error) {
	if err := f.refresh(ctx); err != nil {
		return "", err
	}
	for _, name := range f.names() {
		if m := f.markets[name]; m.Base == base && m.Quote == quote {
			return name, nil
		}
	}
	return "", refuse(http.StatusUnprocessableEntity, InvalidOraclePair, "quote", fmt.Sprintf("%s/%s is not quoted here", base, quote))
}
