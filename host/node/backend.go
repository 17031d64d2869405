package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
)

// The write node's half of rpc.Backend: what reads or fills the open block.

// Info implements rpc.Backend.
func (w *Writer) Info() api.Info { return w.views.Info() }

// Schema implements rpc.Backend.
func (w *Writer) Schema() *stf.Schema { return w.views.Schema() }

// Submit implements rpc.Backend.
func (w *Writer) Submit(ctx context.Context, raws [][]byte) []rpc.Submitted {
	return w.intake.enqueue(raws).Wait(ctx)
}

// Enqueue implements rpc.Backend.
func (w *Writer) Enqueue(raws [][]byte) rpc.Pending { return w.intake.enqueue(raws) }

// openBlock reads the open block on the executor's goroutine, between two
// transactions, and returns when what it saw is durable, or when ctx ends. Whatever it
// returns, run is not running any more: it uses what is its caller's, and takes no longer
// than a transaction may.
func (w *Writer) openBlock(ctx context.Context, run func(*stf.Open) error) error {
	r := &read{run: run, ran: make(chan struct{}), done: make(chan struct{})}
	select {
	case w.jobs <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.dead:
		return rpc.ErrStopping
	}
	select {
	case <-r.ran:
	case <-w.dead:
		return rpc.ErrStopping
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case <-w.dead:
		return rpc.ErrStopping
	}
}

func isPending(at api.Ref) bool {
	tag, ok := at.Tag()
	return ok && tag == api.TagPending
}

// Simulate implements rpc.Backend.
func (w *Writer) Simulate(ctx context.Context, raw []byte, at api.Ref) (receipt chain.Receipt, id chain.BlockID, err error) {
	if !isPending(at) {
		return w.views.Simulate(ctx, raw, at)
	}
	err = w.openBlock(ctx, func(o *stf.Open) error {
		id.Number = o.Height()
		receipt, err = w.views.simulate(o.View(), o.Context(), raw)
		return err
	})
	return receipt, id, err
}

// Query implements rpc.Backend.
func (w *Writer) Query(ctx context.Context, at api.Ref, query []byte) (json []byte, id chain.BlockID, err error) {
	if !isPending(at) {
		return w.views.Query(ctx, at, query)
	}
	err = w.openBlock(ctx, func(o *stf.Open) error {
		id.Number = o.Height()
		json, err = w.views.query(o.View(), o.Context(), query)
		return err
	})
	return json, id, err
}

// Oracle implements rpc.Backend.
func (w *Writer) Oracle(at api.Ref) (snapshot chain.OracleSnapshot, id chain.BlockID, err error) {
	if !isPending(at) {
		return w.views.Oracle(at)
	}
	err = w.openBlock(context.Background(), func(o *stf.Open) error {
		snapshot, id.Number = *o.Oracle(), o.Height()
		return nil
	})
	return snapshot, id, err
}

// Resolve implements rpc.Backend.
func (w *Writer) Resolve(at api.Ref) (id chain.BlockID, err error) {
	if !isPending(at) {
		return w.views.Resolve(at)
	}
	err = w.openBlock(context.Background(), func(o *stf.Open) error {
		id.Number = o.Height()
		return nil
	})
	return id, err
}

// Header and Block implement rpc.Backend.
func (w *Writer) Header(height uint64) (chain.Header, error) { return w.views.Header(height) }

// Block implements rpc.Backend.
func (w *Writer) Block(height uint64) (*chain.Block, *chain.Results, error) {
	return w.views.Block(height)
}

// Transaction implements rpc.Backend. What was answered is found from the moment
// of the answer on: until its block is stored, in memory.
func (w *Writer) Transaction(id chain.Hash) (rpc.Located, error) {
	if v, ok := w.recent.find(id); ok {
		return v, nil
	}
	return w.views.Transaction(id)
}

// Prove implements rpc.Backend.
func (w *Writer) Prove(ctx context.Context, at api.Ref, key []byte) (rpc.Proof, error) {
	if isPending(at) {
		return rpc.Proof{}, fmt.Errorf("%w: an open block has no state root yet", rpc.ErrTagUnavailable)
	}
	return w.views.Prove(ctx, at, key)
}

// Status implements rpc.Backend.
func (w *Writer) Status() api.Status {
	now := nowMs()
	snapshot := w.prices.snapshot(now)
	s := w.views.status(now, &snapshot)
	err := w.openBlock(context.Background(), func(o *stf.Open) error {
		s.Pending = &api.Pending{Height: o.Height(), Transactions: uint64(o.Txs())}
		return nil
	})
	if err != nil && !errors.Is(err, rpc.ErrStopping) {
		s.Alarm = err.Error()
	}
	s.Peers = append(s.Peers, w.serve.followers()...)
	return s
}

// lateMs is how old the newest block of a healthy writer may be, ms; three
// intervals cover one postponed tick.
func lateMs(intervalMs uint64) uint64 { return max(3*intervalMs, 1000) }

// Health implements rpc.Backend: ready means that a transaction sent now would
// be sealed in time under prices that count.
func (w *Writer) Health() []api.Check {
	now := nowMs()
	head := w.views.Head()
	snapshot := w.prices.snapshot(now)
	age, limit := since(now, head.Time), lateMs(w.views.genesis.IntervalMs)
	queued := w.intake.waiting.Load()
	return []api.Check{
		{Name: "sealing", OK: age <= limit, Detail: fmt.Sprintf("block %d is %d ms old, limit %d", head.Height, age, limit)},
		{Name: "oracle_fresh", OK: !snapshot.Stale, Detail: fmt.Sprintf("prices are %d ms old, limit %d", since(now, snapshot.Timestamp), w.prices.maxStale)},
		{Name: "intake", OK: queued < w.intake.limit, Detail: fmt.Sprintf("%d of %d transactions wait", queued, w.intake.limit)},
		diskCheck(w.cfg.DataDir),
	}
}

// followers lists who follows this node.
func (s *services) followers() []api.Peer {
	if s.sync == nil {
		return nil
	}
	var peers []api.Peer
	for _, p := range s.sync.Peers() {
		peers = append(peers, api.Peer{Address: p.Addr, Direction: "follower", Height: p.Head.Number, Connected: true})
	}
	return peers
}

var _ rpc.Backend = (*Writer)(nil)
