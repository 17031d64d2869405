package node

import (
	"context"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
)

// The read node's half of rpc.Backend. There is no open block here: `pending` is
// the write node's to answer.

// Info implements rpc.Backend.
func (r *Reader) Info() api.Info { return r.views.Info() }

// Schema implements rpc.Backend.
func (r *Reader) Schema() *stf.Schema { return r.views.Schema() }

// Submit implements rpc.Backend: a read node takes no transactions.
func (r *Reader) Submit(_ context.Context, raws [][]byte) []rpc.Submitted {
	return failAll(len(raws), rpc.ErrReadOnly)
}

// Enqueue implements rpc.Backend: as Submit.
func (r *Reader) Enqueue(raws [][]byte) rpc.Pending {
	return rpc.Answered(failAll(len(raws), rpc.ErrReadOnly))
}

// Simulate implements rpc.Backend.
func (r *Reader) Simulate(ctx context.Context, raw []byte, at api.Ref) (chain.Receipt, chain.BlockID, error) {
	return r.views.Simulate(ctx, raw, at)
}

// Query implements rpc.Backend.
func (r *Reader) Query(ctx context.Context, at api.Ref, query []byte) ([]byte, chain.BlockID, error) {
	return r.views.Query(ctx, at, query)
}

// Oracle implements rpc.Backend.
func (r *Reader) Oracle(at api.Ref) (chain.OracleSnapshot, chain.BlockID, error) {
	return r.views.Oracle(at)
}

// Resolve implements rpc.Backend.
func (r *Reader) Resolve(at api.Ref) (chain.BlockID, error) { return r.views.Resolve(at) }

// Header implements rpc.Backend.
func (r *Reader) Header(height uint64) (chain.Header, error) { return r.views.Header(height) }

// Block implements rpc.Backend.
func (r *Reader) Block(height uint64) (*chain.Block, *chain.Results, error) {
	return r.views.Block(height)
}

// Transaction implements rpc.Backend.
func (r *Reader) Transaction(id chain.Hash) (rpc.Located, error) { return r.views.Transaction(id) }

// Prove implements rpc.Backend.
func (r *Reader) Prove(ctx context.Context, at api.Ref, key []byte) (rpc.Proof, error) {
	return r.views.Prove(ctx, at, key)
}

// Status implements rpc.Backend.
func (r *Reader) Status() api.Status {
	s := r.views.status(nowMs(), r.oracle.Load())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.source.Number > s.Height {
		s.Lag = r.source.Number - s.Height
	}
	s.Alarm = r.alarm
	s.Peers = append(s.Peers, api.Peer{Address: r.cfg.Sync.WriteNode, Direction: "source", Height: r.source.Number, Connected: r.connected})
	s.Peers = append(s.Peers, r.serve.followers()...)
	return s
}

// maxLagBlocks is how far behind its source a node that is caught up may be.
const maxLagBlocks = 10

// Health implements rpc.Backend: ready means that what is served is the newest
// verified state.
func (r *Reader) Health() []api.Check {
	s := r.Status()
	connected := s.Peers[0].Connected
	return []api.Check{
		{Name: "connected", OK: connected, Detail: s.Peers[0].Address},
		{Name: "caught_up", OK: connected && s.Lag <= maxLagBlocks, Detail: fmt.Sprintf("%d blocks behind, limit %d", s.Lag, maxLagBlocks)},
		{Name: "verified", OK: s.Alarm == "", Detail: orElse(s.Alarm, fmt.Sprintf("every root up to block %d matches", s.Height))},
		{Name: "oracle_fresh", OK: !s.Oracle.Stale, Detail: fmt.Sprintf("prices of block %d are %d ms old", s.Height, s.Oracle.AgeMs)},
		diskCheck(r.cfg.DataDir),
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

var _ rpc.Backend = (*Reader)(nil)
