package witness

import (
	"bytes"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state/proof"
	"github.com/kaizenchain/kaizen/host/stf"
)

// Result is what a witness proves, of a block that is signed by Sequencer.
type Result struct {
	Header  chain.Header // of the block; its roots are the recomputed ones
	Parent  chain.BlockID
	Before  chain.Hash // state root after the parent
	Txs     int
	Keys    int // read or written
	Written int // of which are written, deletions included
	Deleted int
}

// Verify executes the block on the proof alone and compares everything with its
// header. It wraps [ErrInvalid] if anything differs, if the block needs a key that
// the witness does not have, or if the witness has more than the block needs.
//
// It shows that the sequencer named in the header signed a block that is what it
// says, given the parent. Whether that is the right sequencer, or the block is on
// the chain, is for the caller to know: from the key, or from the block's hash.
func (w *Witness) Verify(program stf.Program) (*Result, error) {
	if err := w.State.Check(w.Parent.StateRoot); err != nil {
		return nil, invalid(err)
	}
	view := &partial{proof: w.State}
	seen := newRecorder(view)
	closed, err := w.execute(program, seen, func(where string) error {
		if view.missing == nil {
			return nil
		}
		return &MissingKeyError{w.Block.Header.Height, view.missing, where}
	})
	if err != nil {
		return nil, err
	}
	updates, err := w.settle(closed)
	if err != nil {
		return nil, err
	}
	keys := seen.touched(closed)
	if err := w.State.Exactly(keys); err != nil {
		return nil, invalid(err)
	}
	return w.result(keys, updates), nil
}

func (w *Witness) result(keys [][]byte, updates []proof.Update) *Result {
	r := &Result{Header: w.Block.Header, Parent: w.Parent.ID(), Before: w.Parent.StateRoot, Txs: len(w.Block.Txs), Written: len(updates)}
	distinct := map[string]bool{}
	for _, k := range keys {
		distinct[string(k)] = true
	}
	r.Keys = len(distinct)
	for i := range updates {
		if updates[i].Delete {
			r.Deleted++
		}
	}
	return r
}

// partial is a state of which only the proof is known. It cannot say so to the
// module that asks: it remembers the first key that it did not have, and whoever
// runs the module looks.
type partial struct {
	proof   *proof.Multi
	missing []byte
}

// Get implements [stf.View].
func (p *partial) Get(key []byte) ([]byte, bool) {
	value, present, err := p.proof.Get(key)
	if err != nil && p.missing == nil {
		p.missing = bytes.Clone(key)
	}
	return value, present
}
