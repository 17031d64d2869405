package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/settle"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
)

// rpcNode is a node behind JSON-RPC.
type rpcNode struct{ *client.Client }

func newRPCNode(url string) (*rpcNode, error) {
	c, err := client.New(url)
	return &rpcNode{c}, err
}

// ask runs a query of the module.
func (n *rpcNode) ask(ctx context.Context, q []byte, at api.Ref, result any) (api.BlockRef, error) {
	a, err := n.Query(ctx, q, at)
	if err != nil {
		return api.BlockRef{}, err
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return api.BlockRef{}, fmt.Errorf("answer to query %#x: %w", q[0], err)
	}
	return a.Block, nil
}

// Rules implements [Node].
func (n *rpcNode) Rules(ctx context.Context, settler chain.Address) (r Rules, err error) {
	var p struct {
		MaxStaleMs     uint64 `json:"max_stale_ms"`
		SettlerEnabled bool   `json:"settler_enabled"`
	}
	if _, err := n.ask(ctx, query.Params(), api.Ref{}, &p); err != nil {
		return r, err
	}
	var m struct {
		Markets []struct {
			Name        string
			Base, Quote chain.Address
		}
	}
	if _, err := n.ask(ctx, query.Markets(), api.Ref{}, &m); err != nil {
		return r, err
	}
	var a struct{ Permissions []string }
	if _, err := n.ask(ctx, query.Account(settler), api.Ref{}, &a); err != nil {
		return r, err
	}
	r = Rules{MaxStaleMs: p.MaxStaleMs, SettlerEnabled: p.SettlerEnabled, MaySettle: slices.Contains(a.Permissions, permission)}
	for _, v := range m.Markets {
		r.Markets = append(r.Markets, Market{v.Name, settle.Pair{Base: v.Base, Quote: v.Quote}})
	}
	return r, nil
}

// Pending implements [Node].
func (n *rpcNode) Pending(ctx context.Context) (uint64, []settle.Price, error) {
	v, err := n.OraclePrices(ctx, api.ByTag(api.TagPending))
	if err != nil || v.Stale {
		return v.Block.Height, nil, err
	}
	var prices []settle.Price
	for _, name := range slices.Sorted(maps.Keys(v.Prices)) {
		p := v.Prices[name]
		if n.recorded(ctx, name, p.Timestamp, v.Block.Height) {
			prices = append(prices, settle.Price{Pair: settle.Pair{Base: p.Base, Quote: p.Quote}, Timestamp: p.Timestamp, Price: uint64(p.Price)})
		}
	}
	return v.Block.Height, prices, nil
}

// recorded reports whether the chain keeps a price of the open block, which must
// still be the one at height. Not every price that a block carries is kept, and
// only one that is can be claimed.
func (n *rpcNode) recorded(ctx context.Context, market string, timestamp, height uint64) bool {
	var page struct {
		Prices []struct{ Timestamp uint64 }
	}
	at, err := n.ask(ctx, query.History(market, timestamp, timestamp), api.ByTag(api.TagPending), &page)
	return err == nil && at.Height == height && len(page.Prices) > 0
}

// permission is the name of what an account needs to send SystemSettle.
const permission = "settler"

// Snapshot implements [Node]. Everything is asked at one height, page by page.
func (n *rpcNode) Snapshot(ctx context.Context, markets []Market) (*settle.Snapshot, error) {
	h, err := n.Header(ctx, api.Ref{})
	if err != nil {
		return nil, err
	}
	s := &settle.Snapshot{Height: h.Height, Hash: h.Hash, Time: h.Time}
	for _, m := range markets {
		first := len(s.Theses)
		if err := n.openTheses(ctx, api.At(h.Height), m, s); err != nil {
			return nil, err
		}
		if len(s.Theses) == first {
			continue // what is opened later begins later than every price so far
		}
		history, err := n.history(ctx, api.At(h.Height), m, min(earliest(s.Theses[first:]), h.Time), h.Time)
		if err != nil {
			return nil, err
		}
		s.Histories = append(s.Histories, history)
	}
	return s, nil
}

func earliest(theses []settle.Thesis) uint64 {
	start := ^uint64(0)
	for i := range theses {
		start = min(start, theses[i].Start)
	}
	return start
}

// history reads the prices that were recorded from a time on.
func (n *rpcNode) history(ctx context.Context, at api.Ref, m Market, from, to uint64) (settle.History, error) {
	h := settle.History{Pair: m.Pair, From: from}
	for next := &from; next != nil; {
		var page struct {
			CompleteFrom uint64 `json:"complete_from"`
			Prices       []struct {
				Timestamp uint64
				Price     api.Amount
			}
			Next *uint64
		}
		if _, err := n.ask(ctx, query.History(m.Name, *next, to), at, &page); err != nil {
			return h, err
		}
		h.Reach = page.CompleteFrom
		for _, p := range page.Prices {
			h.Prices = append(h.Prices, settle.Price{Pair: m.Pair, Timestamp: p.Timestamp, Price: uint64(p.Price)})
		}
		if page.Next != nil && *page.Next <= *next {
			return h, fmt.Errorf("history of %s: asked from %d, the next page begins at %d", m.Name, *next, *page.Next)
		}
		next = page.Next
	}
	h.From = max(h.From, h.Reach)
	return h, nil
}

// openTheses reads all open theses of a market into the snapshot.
func (n *rpcNode) openTheses(ctx context.Context, at api.Ref, m Market, s *settle.Snapshot) error {
	page := query.Page{Limit: query.MaxTheses}
	for {
		var answer struct {
			Theses []struct {
				ThesisID        uint64 `json:"thesis_id"`
				Lower, Upper    api.Amount
				Start, End, Due uint64
			}
			Next api.Bytes
		}
		if _, err := n.ask(ctx, query.DueTheses(m.Name, ^uint64(0), page), at, &answer); err != nil {
			return err
		}
		for _, t := range answer.Theses {
			s.Theses = append(s.Theses, settle.Thesis{ID: t.ThesisID, Pair: m.Pair, Lower: uint64(t.Lower), Upper: uint64(t.Upper), Start: t.Start, End: t.End, Due: t.Due})
		}
		if answer.Next == nil {
			return nil
		}
		if bytes.Equal(answer.Next, page.Cursor) {
			return fmt.Errorf("theses of %s: the next page is this one", m.Name)
		}
		page.Cursor = answer.Next
	}
}
