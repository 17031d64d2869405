package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Version is the program's version, as `kaizen version` and kaizen_info say it.
const Version = "0.1.0"

// views answers everything that both kinds of node answer alike: reads of sealed
// blocks and of the state after them.
type views struct {
	*ledger
	past    *past
	program stf.Program
	role    string
	started time.Time
	tips    func() chain.Tips
}

// Info implements rpc.Backend.
func (v *views) Info() api.Info {
	g := v.genesis
	schema := v.program.Schema()
	return api.Info{
		Role: v.role, ChainID: g.ChainID, GenesisHash: v.store.GenesisHash(), GenesisTime: g.Time, ModuleHash: g.ModuleHash,
		Module: api.ModuleInfo{Name: schema.Name, Version: schema.Version}, Sequencer: g.Sequencer[:],
		IntervalMs: g.IntervalMs, MaxTxsPerBlock: uint64(g.MaxTxsPerBlock), MaxStaleMs: g.MaxStaleMs,
		Versions: api.Versions{Kaizen: Version, Go: runtime.Version(), API: api.Version, ABI: abi.Version, Block: uint64(chain.BlockVersion), Sync: uint64(wire.ProtocolVersion)},
	}
}

// status is what both kinds of node report of themselves.
func (v *views) status(now uint64, oracle *chain.OracleSnapshot) api.Status {
	h := v.Head()
	s := api.Status{
		Role: v.role, Height: h.Height, Base: v.store.Base(), BlockHash: h.Hash(), StateRoot: h.StateRoot, HeadTime: h.Time,
		LagMs: since(now, h.Time), Tips: api.TipsOf(v.tips()), UptimeMs: uint64(time.Since(v.started).Milliseconds()),
		Oracle: api.OracleStatus{Timestamp: oracle.Timestamp, AgeMs: since(now, oracle.Timestamp), Stale: oracle.Stale},
		Peers:  []api.Peer{},
	}
	return s
}

// since is now - then, and 0 if then is later or unknown.
func since(now, then uint64) uint64 {
	if then == 0 || then > now {
		return 0
	}
	return now - then
}

// Schema implements rpc.Backend.
func (v *views) Schema() *stf.Schema { return v.program.Schema() }

// Resolve implements rpc.Backend for everything but pending.
func (v *views) Resolve(at api.Ref) (chain.BlockID, error) {
	if hash, ok := at.Hash(); ok {
		return v.resolveHash(hash)
	}
	height, ok := at.Number()
	if !ok {
		var err error
		if height, err = v.resolveTag(at); err != nil {
			return chain.BlockID{}, err
		}
	}
	h, err := v.Header(height)
	if err != nil {
		return chain.BlockID{}, err
	}
	return h.ID(), nil
}

func (v *views) resolveHash(hash chain.Hash) (chain.BlockID, error) {
	if hash == v.genesisHeader.Hash() {
		return chain.BlockID{Hash: hash}, nil
	}
	height, err := v.store.HeightByHash(hash)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("%w: hash %s", rpc.ErrBlockNotFound, hash)
		}
		return chain.BlockID{}, err
	}
	return chain.BlockID{Number: height, Hash: hash}, nil
}

// resolveTag maps a tag to a height that is executed here (D-6).
func (v *views) resolveTag(at api.Ref) (uint64, error) {
	tag, _ := at.Tag()
	head := v.Head().Height
	tips := v.tips()
	switch tag {
	case api.TagLatest, api.TagExecuted:
		return head, nil
	case api.TagProposed:
		return tips.Proposed.Number, nil
	case api.TagCheckpointed:
		return tips.Checkpointed.Block.Number, nil
	case api.TagProven:
		return tips.Proven.Block.Number, nil
	case api.TagFinalized:
		return tips.Finalized.Block.Number, nil
	case api.TagSafe:
		return min(tips.Finalized.Block.Number, head), nil
	case api.TagEarliest:
		return 0, nil
	}
	return 0, fmt.Errorf("%w: %s", rpc.ErrTagUnavailable, tag)
}

// noBlock maps the store's refusals of a height to the RPC's.
func (v *views) noBlock(height uint64, err error) error {
	switch {
	case errors.Is(err, store.ErrPruned):
		return &rpc.PrunedError{Height: height, Base: v.store.Base()}
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%w: height %d: %w", rpc.ErrBlockNotFound, height, err)
	}
	return err
}

// Header implements rpc.Backend.
func (v *views) Header(height uint64) (chain.Header, error) {
	head := v.Head()
	switch {
	case height == 0:
		return v.genesisHeader, nil
	case height == head.Height:
		return head, nil
	case height > head.Height:
		return chain.Header{}, fmt.Errorf("%w: %d, the newest is %d", rpc.ErrBlockNotFound, height, head.Height)
	}
	h, err := v.store.Header(height)
	if err != nil {
		return chain.Header{}, v.noBlock(height, err)
	}
	return h, nil
}

// Block implements rpc.Backend.
func (v *views) Block(height uint64) (*chain.Block, *chain.Results, error) {
	if height == 0 {
		return &chain.Block{Header: v.genesisHeader}, v.genesisResults, nil
	}
	if head := v.Head().Height; height > head {
		return nil, nil, fmt.Errorf("%w: %d, the newest is %d", rpc.ErrBlockNotFound, height, head)
	}
	b, err := v.store.Block(height)
	if err != nil {
		return nil, nil, v.noBlock(height, err)
	}
	r, err := v.store.Results(height)
	if err != nil {
		return nil, nil, v.noBlock(height, err)
	}
	return b, r, nil
}

// Oracle implements rpc.Backend for everything but pending.
func (v *views) Oracle(at api.Ref) (chain.OracleSnapshot, chain.BlockID, error) {
	id, err := v.Resolve(at)
	if err != nil {
		return chain.OracleSnapshot{}, id, err
	}
	b, _, err := v.Block(id.Number)
	if err != nil {
		return chain.OracleSnapshot{}, id, err
	}
	return b.Oracle, id, nil
}

// Transaction implements rpc.Backend for sealed blocks.
func (v *views) Transaction(id chain.Hash) (rpc.Located, error) {
	at, err := v.store.FindTx(id)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return rpc.Located{}, fmt.Errorf("%w: %s", rpc.ErrTxNotFound, id)
		}
		return rpc.Located{}, err
	}
	b, r, err := v.Block(at.Height)
	if err != nil {
		return rpc.Located{}, err
	}
	return rpc.Located{Raw: b.Txs[at.Index], Receipt: r.Receipts[at.Index], Block: b.Header.ID(), Index: at.Index}, nil
}

// headerAt is the header of the block at ref.
func (v *views) headerAt(at api.Ref) (chain.Header, error) {
	id, err := v.Resolve(at)
	if err != nil {
		return chain.Header{}, err
	}
	h, err := v.Header(id.Number)
	if err == nil && h.Hash() != id.Hash {
		err = fmt.Errorf("%w: hash %s was taken back", rpc.ErrBlockNotFound, id.Hash)
	}
	return h, err
}

// retained is the state after one block, read key by key, so that a long query
// never keeps the next block from being committed. Values are copies.
type retained struct {
	l      *ledger
	height uint64
	root   chain.Hash
	gone   bool // the block left the history meanwhile: nothing that was read counts
}

func (r *retained) Get(key []byte) ([]byte, bool) {
	r.l.mu.RLock()
	defer r.l.mu.RUnlock()
	view, ok := r.l.viewAt(r.height, r.root)
	if !ok {
		r.gone = true
		return nil, false
	}
	value, ok := view.Get(key)
	return bytes.Clone(value), ok
}

// viewAt is the state after a block if it is in memory and, in case another has
// taken its place, has that root. The caller holds mu.
func (l *ledger) viewAt(height uint64, root chain.Hash) (state.View, bool) {
	if have, ok := l.versions.RootAt(height); !ok || have != root {
		return nil, false
	}
	return l.versions.At(height)
}

// stateAt calls read with the state after the block at ref, again if that went
// away meanwhile.
func (v *views) stateAt(ctx context.Context, at api.Ref, read func(view stf.View, ctx abi.Context) error) (chain.BlockID, error) {
	for range pastTries {
		h, err := v.headerAt(at)
		if err != nil {
			return chain.BlockID{}, err
		}
		l, err := v.past.at(ctx, &h, false)
		if err != nil {
			return h.ID(), err
		}
		view := &retained{l: l, height: h.Height, root: h.StateRoot}
		if err := read(view, abi.Context{Height: h.Height, Time: h.Time}); !view.gone {
			return h.ID(), err
		}
	}
	return chain.BlockID{}, fmt.Errorf("%w: %s: it went out of memory while it was read, %d times", rpc.ErrStateUnavailable, at, pastTries)
}

// Query implements rpc.Backend for everything but pending.
func (v *views) Query(ctx context.Context, at api.Ref, query []byte) (json []byte, id chain.BlockID, err error) {
	id, err = v.stateAt(ctx, at, func(view stf.View, block abi.Context) error {
		json, err = v.query(view, block, query)
		return err
	})
	return json, id, err
}

func (v *views) query(view stf.View, ctx abi.Context, query []byte) ([]byte, error) {
	out, err := v.program.Query(view, ctx, query)
	if err != nil {
		return nil, err
	}
	if out.Code != abi.CodeOK {
		return nil, v.Schema().Refusal(out)
	}
	return bytes.Clone(out.Output), nil
}

// Simulate implements rpc.Backend for everything but pending.
func (v *views) Simulate(ctx context.Context, raw []byte, at api.Ref) (receipt chain.Receipt, id chain.BlockID, err error) {
	id, err = v.stateAt(ctx, at, func(view stf.View, block abi.Context) error {
		block.Height, block.Time = block.Height+1, block.Time+v.genesis.IntervalMs
		receipt, err = v.simulate(view, block, raw)
		return err
	})
	return receipt, id, err
}

func (v *views) simulate(view stf.View, ctx abi.Context, raw []byte) (chain.Receipt, error) {
	out, err := v.program.Simulate(state.NewOverlay(view), ctx, &stf.Tx{Raw: raw})
	if err != nil {
		return chain.Receipt{}, err
	}
	if !out.Accepted {
		return chain.Receipt{}, v.Schema().Refusal(out)
	}
	return chain.Receipt{ID: out.ID, Code: out.Code, Detail: out.Detail, Events: out.Events}, nil
}

// Prove implements rpc.Backend.
func (v *views) Prove(ctx context.Context, at api.Ref, key []byte) (rpc.Proof, error) {
	for range pastTries {
		h, err := v.headerAt(at)
		if err != nil {
			return rpc.Proof{}, err
		}
		l, err := v.past.at(ctx, &h, true)
		if err != nil {
			return rpc.Proof{}, err
		}
		if p, ok, err := l.prove(&h, key); ok || err != nil {
			return p, err
		}
	}
	return rpc.Proof{}, fmt.Errorf("%w: %s: it went out of memory while it was read, %d times", rpc.ErrStateUnavailable, at, pastTries)
}

// prove is false if the state after a block is not in memory any more.
func (l *ledger) prove(h *chain.Header, key []byte) (rpc.Proof, bool, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	view, ok := l.viewAt(h.Height, h.StateRoot)
	if !ok {
		return rpc.Proof{}, false, nil
	}
	p, err := l.versions.Prove(h.Height, key)
	if err != nil {
		return rpc.Proof{}, false, err
	}
	value, present := view.Get(key)
	return rpc.Proof{Value: bytes.Clone(value), Present: present, Proof: p.Append(nil), Header: *h}, true, nil
}
