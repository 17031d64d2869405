package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// Info is kaizen_info.
func (c *Client) Info(ctx context.Context) (v api.Info, err error) {
	return v, c.call(ctx, "kaizen_info", nil, &v)
}

// Status is kaizen_status.
func (c *Client) Status(ctx context.Context) (v api.Status, err error) {
	return v, c.call(ctx, "kaizen_status", nil, &v)
}

// Simulate is kaizen_simulateTransaction: what the receipt would be.
func (c *Client) Simulate(ctx context.Context, raw []byte, at api.Ref) (v api.Receipt, err error) {
	return v, c.Call(ctx, "kaizen_simulateTransaction", []any{api.Bytes(raw), at}, &v)
}

// Block is kaizen_getBlock with everything in it.
func (c *Client) Block(ctx context.Context, at api.Ref) (v api.Block, err error) {
	return v, c.Call(ctx, "kaizen_getBlock", []any{at}, &v)
}

// BlockHashes is kaizen_getBlock with hash, index, status and error of each
// transaction only.
func (c *Client) BlockHashes(ctx context.Context, at api.Ref) (v api.Block, err error) {
	return v, c.Call(ctx, "kaizen_getBlock", []any{at, "hashes"}, &v)
}

// Header is kaizen_getHeader.
func (c *Client) Header(ctx context.Context, at api.Ref) (v api.Header, err error) {
	return v, c.Call(ctx, "kaizen_getHeader", []any{at}, &v)
}

// Transaction is kaizen_getTransaction.
func (c *Client) Transaction(ctx context.Context, id chain.Hash) (v api.Transaction, err error) {
	return v, c.Call(ctx, "kaizen_getTransaction", []any{id}, &v)
}

// Receipt is kaizen_getReceipt.
func (c *Client) Receipt(ctx context.Context, id chain.Hash) (v api.Receipt, err error) {
	return v, c.Call(ctx, "kaizen_getReceipt", []any{id}, &v)
}

// Account is kaizen_getAccount.
func (c *Client) Account(ctx context.Context, a chain.Address, at api.Ref) (v api.Account, err error) {
	return v, c.Call(ctx, "kaizen_getAccount", []any{a, at}, &v)
}

// AccountTransactions is kaizen_getAccountTransactions: up to limit of them, and
// where to go on; a nil cursor begins with the newest block. A page may be empty
// and have a cursor: a call looks at so many blocks and no more.
func (c *Client) AccountTransactions(ctx context.Context, a chain.Address, limit uint64, cursor api.Bytes) (v api.AccountTransactions, err error) {
	var from *api.Bytes
	if cursor != nil {
		from = &cursor
	}
	return v, c.Call(ctx, "kaizen_getAccountTransactions", []any{a, limit, from}, &v)
}

// Markets is kaizen_getMarkets, as the module renders it.
func (c *Client) Markets(ctx context.Context, at api.Ref) (v json.RawMessage, err error) {
	return v, c.Call(ctx, "kaizen_getMarkets", []any{at}, &v)
}

// OraclePrices is kaizen_getOraclePrices.
func (c *Client) OraclePrices(ctx context.Context, at api.Ref) (v api.OraclePrices, err error) {
	return v, c.Call(ctx, "kaizen_getOraclePrices", []any{at}, &v)
}

// ProveAccount is kaizen_getProof of an account.
func (c *Client) ProveAccount(ctx context.Context, a chain.Address, at api.Ref) (v api.Proof, err error) {
	return v, c.Call(ctx, "kaizen_getProof", []any{map[string]any{"account": a}, at}, &v)
}

// ProveThesis is kaizen_getProof of a thesis.
func (c *Client) ProveThesis(ctx context.Context, id uint64, at api.Ref) (v api.Proof, err error) {
	return v, c.Call(ctx, "kaizen_getProof", []any{map[string]any{"thesis": id}, at}, &v)
}

// ProveKey is kaizen_getProof of a state key.
func (c *Client) ProveKey(ctx context.Context, key []byte, at api.Ref) (v api.Proof, err error) {
	return v, c.Call(ctx, "kaizen_getProof", []any{map[string]any{"key": api.Bytes(key)}, at}, &v)
}

// Query is kaizen_query: any query of the module, in the module's encoding.
func (c *Client) Query(ctx context.Context, query []byte, at api.Ref) (v api.QueryAnswer, err error) {
	return v, c.Call(ctx, "kaizen_query", []any{api.Bytes(query), at}, &v)
}

// Ready is GET /readyz: a node that is not ready answers too, and says why.
func (c *Client) Ready(ctx context.Context) (v api.Health, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/readyz", nil)
	if err != nil {
		return v, err
	}
	b, status, err := do(c.http, r)
	if err != nil {
		return v, fmt.Errorf("readiness of %s: %w", c.base, err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("readiness of %s: %w: HTTP %d with %.120q", c.base, ErrUnreachable, status, trimmed(b))
	}
	return v, nil
}
