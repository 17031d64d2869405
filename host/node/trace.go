package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Recorder is a [wasm.Tracer] that keeps what a guest does while one transaction
// executes. It belongs to the goroutine that calls [TraceTx].
type Recorder struct {
	on    bool
	calls []wasm.HostCall
	trap  error
}

var _ wasm.Tracer = (*Recorder)(nil)

// Called implements [wasm.Tracer].
func (r *Recorder) Called(c *wasm.HostCall) {
	if r.on {
		r.calls = append(r.calls, *c)
	}
}

// Trapped implements [wasm.Tracer].
func (r *Recorder) Trapped(words error) {
	if r.on {
		r.trap = words
	}
}

// Traced is a module under which a transaction is executed again, loaded by
// [LoadTraced] with this recorder.
type Traced struct {
	Program  stf.Program
	Recorder *Recorder
}

// TxTrace is a stored transaction, executed again and watched.
type TxTrace struct {
	ID     chain.Hash
	Height uint64 // of its block
	Index  int    // in it
	Block  chain.Hash
	Time   uint64 // the block's, ms
	Raw    []byte
	Module chain.Hash // that executed it here

	// Receipt is what came of it here; nil if the module refused it, and Refusal
	// says why. Only another module than the chain's does that.
	Receipt *chain.Receipt
	Refusal *stf.Refusal
	// Skipped is how many transactions before it in its block the module refused,
	// and which therefore have not happened here.
	Skipped int

	Calls   []wasm.HostCall // in order
	Changes []KeyChange     // by key
	Trap    error           // the engine's words, if the guest trapped
}

// KeyChange is a key whose value differs before and after; nil is absent.
type KeyChange struct{ Key, Before, After []byte }

// TraceTx executes the block of a stored transaction up to the transaction once
// under each module, on the state before the block, and reports on the
// transaction. That state is made under the chain's own module, deps.Program, from
// the nearest snapshot. It needs no network, changes nothing, and may run beside
// the node. Under the chain's own module a receipt that is not the stored one
// gives an error that wraps ErrVerification.
func TraceTx(ctx context.Context, dir string, deps Deps, id chain.Hash, progress Progress, modules ...Traced) ([]*TxTrace, error) {
	v, err := openOffline(dir, deps)
	if err != nil {
		return nil, err
	}
	defer v.close()
	at, err := v.store.FindTx(id)
	if err != nil {
		return nil, fmt.Errorf("transaction %w", err)
	}
	if at.Height > 1 {
		if err := v.restore(SnapshotDir(dir), at.Height-1, deps.Log); err != nil {
			return nil, err
		}
		if err := v.replayTo(ctx, v.exec, v.inspect, at.Height-1, progress, nil); err != nil {
			return nil, err
		}
	}
	block, err := v.store.Block(at.Height)
	if err != nil {
		return nil, damaged(err)
	}
	traces := make([]*TxTrace, len(modules))
	for i, m := range modules {
		t := &TxTrace{ID: id, Height: at.Height, Index: at.Index, Block: block.Header.Hash(), Time: block.Header.Time, Raw: block.Txs[at.Index], Module: m.Program.Hash()}
		if err := t.run(state.NewOverlay(v.versions.Tree()), block, m); err != nil {
			return nil, fmt.Errorf("trace transaction %s: %w", id, err)
		}
		if err := v.checkReceipt(t); err != nil {
			return nil, err
		}
		traces[i] = t
	}
	return traces, nil
}

// run executes the block up to the transaction, and watches that one.
func (t *TxTrace) run(ov *state.Overlay, block *chain.Block, m Traced) error {
	exec, err := stf.NewExecutor(m.Program)
	if err != nil {
		return err
	}
	defer exec.Machine.Close()
	h := &block.Header
	open, err := exec.Begin(ov, h.Height, h.Time, block.Oracle)
	if err != nil {
		return err
	}
	for _, raw := range block.Txs[:t.Index] {
		switch err := open.Apply(&stf.Tx{Raw: raw}); {
		case errors.Is(err, stf.ErrRefusedInBlock):
			t.Skipped++
		case err != nil:
			return err
		}
	}
	mark, r := ov.Mark(), m.Recorder
	r.on, r.calls, r.trap = true, nil, nil
	err = open.Apply(&stf.Tx{Raw: t.Raw})
	r.on = false
	t.Calls, t.Trap = r.calls, r.trap
	switch {
	case errors.As(err, &t.Refusal):
	case err != nil:
		return err
	default:
		t.Receipt = open.Receipt(open.Txs() - 1)
	}
	t.compare(ov, mark)
	return nil
}

// compare finds what the transaction changed: writes that were taken back, or that
// wrote what was there, are none. The overlay is as before afterwards.
func (t *TxTrace) compare(ov *state.Overlay, before int) {
	for i := range t.Calls {
		c := &t.Calls[i]
		if (c.Name == abi.ImportStateSet || c.Name == abi.ImportStateDelete) && c.Refused == "" {
			t.Changes = append(t.Changes, KeyChange{Key: c.Input})
		}
	}
	slices.SortFunc(t.Changes, func(a, b KeyChange) int { return bytes.Compare(a.Key, b.Key) })
	t.Changes = slices.CompactFunc(t.Changes, func(a, b KeyChange) bool { return bytes.Equal(a.Key, b.Key) })
	for i := range t.Changes {
		t.Changes[i].After = valueIn(ov, t.Changes[i].Key)
	}
	ov.Revert(before)
	for i := range t.Changes {
		t.Changes[i].Before = valueIn(ov, t.Changes[i].Key)
	}
	t.Changes = slices.DeleteFunc(t.Changes, func(c KeyChange) bool {
		return bytes.Equal(c.Before, c.After) && (c.Before == nil) == (c.After == nil)
	})
}

// valueIn copies a value, nil if the key is absent.
func valueIn(view stf.View, key []byte) []byte {
	if v, ok := view.Get(key); ok {
		return append([]byte{}, v...)
	}
	return nil
}

// checkReceipt compares with what the chain has, if its own module ran.
func (o *offline) checkReceipt(t *TxTrace) error {
	if t.Module != o.genesis.ModuleHash {
		return nil
	}
	results, err := o.store.Results(t.Height)
	if err != nil {
		return damaged(err)
	}
	want := results.Receipts[t.Index]
	if t.Receipt == nil || !bytes.Equal(t.Receipt.Append(nil), want.Append(nil)) {
		return fmt.Errorf("%w: block %d transaction %d: executed again it gives another receipt than is stored", ErrVerification, t.Height, t.Index)
	}
	return nil
}
