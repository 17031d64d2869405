package relay

import (
	"context"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/settle"
)

// Node is what a settler asks of a node beside its event stream. Its errors are
// those of host/rpc/client: anything that is no *client.Error means that nobody
// answered.
type Node interface {
	Info(ctx context.Context) (api.Info, error)
	// Rules are what genesis fixed, what an account may, and the markets there are.
	Rules(ctx context.Context, settler chain.Address) (Rules, error)
	// SendTransactions returns a receipt for each, refused ones among them.
	SendTransactions(ctx context.Context, raws [][]byte) ([]api.Receipt, error)
	Receipt(ctx context.Context, id chain.Hash) (api.Receipt, error)
	// Snapshot is what the state after the newest block says of the markets.
	Snapshot(ctx context.Context, markets []Market) (*settle.Snapshot, error)
	// Pending is the height of the open block, and the prices it began with.
	Pending(ctx context.Context) (height uint64, prices []settle.Price, err error)
	Close() error
}

// Rules are the chain's, as far as they concern a settler.
type Rules struct {
	MaxStaleMs     uint64
	SettlerEnabled bool // SystemSettle is taken at all
	MaySettle      bool // the account has the settler permission
	Markets        []Market
}

// Market is a pair and what people call it.
type Market struct {
	Name string
	settle.Pair
}
