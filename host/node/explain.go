package node

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/snapshot"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Explanation is where a block that does not come out begins to differ from what is
// stored.
type Explanation struct {
	Receipt *ReceiptDifference // nil: none differs, or none is stored
	Key     *KeyDifference     // nil: the state root is right, or nothing is stored to compare with
}

// ReceiptDifference is the first transaction whose receipt is another one than the
// stored.
type ReceiptDifference struct {
	Index              int
	Stored, Recomputed chain.Receipt
}

// KeyDifference is the first key, in path order, in which the recomputed state
// differs from a snapshot.
type KeyDifference struct {
	Height     uint64 // of the snapshot: the first from the failed block on
	Key        []byte
	Stored     *[]byte // nil: absent
	Recomputed *[]byte
	LastWrite  *Write // by this execution; nil: no block above Searched wrote it
	Searched   uint64 // what was executed to find the last write begins after this block: 0 is genesis
}

// Write is a change of a key's value.
type Write struct {
	Height uint64
	Hook   string     // abi.ExportBeginBlock or abi.ExportEndBlock; empty: a transaction
	Index  int        // of the transaction
	ID     chain.Hash // of the transaction
}

// explain looks for where a block goes wrong, the one after the head of l. It
// spoils l.
func (v *verification) explain(ctx context.Context, l *offline, b *chain.Block, failure error) *Explanation {
	var m *stf.Mismatch
	if !errors.As(failure, &m) {
		return nil
	}
	e := &Explanation{}
	if stored, err := v.store.Results(b.Header.Height); err == nil {
		e.Receipt = firstReceipt(l, b, stored)
	}
	if m.Field == "state_root" {
		e.Key = v.firstKey(ctx, l, b.Header.Height)
	}
	return e
}

// firstReceipt executes a block once more and compares its receipts.
func firstReceipt(l *offline, b *chain.Block, stored *chain.Results) *ReceiptDifference {
	closed, err := l.execute(l.exec, prepare(l.inspect, b, nil), l.tip())
	if err != nil {
		return nil
	}
	for i, want := range stored.Receipts {
		if i >= len(closed.Results.Receipts) {
			break
		}
		if got := closed.Results.Receipts[i]; !bytes.Equal(got.Append(nil), want.Append(nil)) {
			return &ReceiptDifference{Index: i, Stored: want, Recomputed: got}
		}
	}
	return nil
}

// firstKey executes blocks from the failed one on, whatever comes of them, up to the
// first snapshot, and compares the states.
func (v *verification) firstKey(ctx context.Context, l *offline, failed uint64) *KeyDifference {
	height, stored := v.stateFrom(failed)
	if stored == nil {
		return nil
	}
	p := search{tell: v.opts.Searched, total: height - l.head.Height + height - v.store.Before().Number}
	if l.advanceTo(ctx, height, nil, &p) != nil {
		return nil
	}
	d, found := state.FirstDifference(stored, l.versions.Tree())
	if !found {
		return nil
	}
	k := &KeyDifference{Height: height, Key: bytes.Clone(d.Key)}
	for side, value := range []**[]byte{&k.Stored, &k.Recomputed} {
		if d.In[side] {
			b := bytes.Clone(d.Value[side])
			*value = &b
		}
	}
	k.LastWrite, k.Searched = v.lastWrite(ctx, height, k.Key, &p)
	return k
}

// search is how far looking for a difference has come, of the blocks that it takes
// at most.
type search struct {
	tell        func(done, total uint64)
	done, total uint64
}

func (p *search) step() {
	if p.done++; p.tell != nil {
		p.tell(p.done, max(p.done, p.total))
	}
}

// stateFrom is the state of the first snapshot of a stored block from a height on.
func (v *verification) stateFrom(from uint64) (uint64, *state.Tree) {
	list, err := SnapshotDir(v.store.Dir()).List()
	if err != nil {
		return 0, nil
	}
	for _, i := range slices.Backward(list) {
		if i.Err != nil || i.Height < from || i.Height > v.store.Height() {
			continue
		}
		if tree := v.stateOf(i.Snapshot); tree != nil {
			return i.Height, tree
		}
	}
	return 0, nil
}

func (v *verification) stateOf(s *snapshot.Snapshot) *state.Tree {
	id, err := v.storedID(s.Manifest.Header.Height)
	if err != nil || s.CheckBlock(id) != nil {
		return nil
	}
	links, err := s.Chain()
	if err != nil {
		return nil
	}
	tree, _, err := snapshot.Restore(links, snapshot.Options{Run: onAllCores})
	if err != nil {
		return nil
	}
	return tree
}

// lastWrite looks for the last change of a key up to a height: in what is executed
// from the nearest state on, then from the one before that, and so on, to genesis or
// to where the kept blocks begin. It also returns after which block it began the last
// time.
func (v *verification) lastWrite(ctx context.Context, to uint64, key []byte, p *search) (last *Write, from uint64) {
	for from = to; from > v.store.Before().Number; {
		l, err := v.lane(from - 1)
		if err != nil {
			return nil, from
		}
		to, begin := from, l.head.Height
		w := newWatcher(key, l.versions.Tree())
		err = l.advanceTo(ctx, to, w, p)
		l.exec.Machine.Close()
		if err != nil {
			return nil, from
		}
		if from = begin; w.last != nil {
			return w.last, from
		}
	}
	return nil, from
}

// watcher notices who changes a key. A nil one looks at nothing.
type watcher struct {
	key, value []byte
	present    bool
	last       *Write
}

func newWatcher(key []byte, view stf.View) *watcher {
	value, present := view.Get(key)
	return &watcher{key: key, value: bytes.Clone(value), present: present}
}

func (w *watcher) look(view stf.View, at Write) {
	if w == nil {
		return
	}
	if value, present := view.Get(w.key); present != w.present || !bytes.Equal(value, w.value) {
		w.value, w.present, w.last = bytes.Clone(value), present, &at
	}
}

// advanceTo executes stored blocks up to a height whatever comes of them.
func (o *offline) advanceTo(ctx context.Context, to uint64, w *watcher, p *search) error {
	for o.head.Height < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := o.store.Block(o.head.Height + 1)
		if err != nil {
			return err
		}
		if err := o.advance(b, w); err != nil {
			return err
		}
		p.step()
	}
	return nil
}

func (o *offline) advance(b *chain.Block, w *watcher) error {
	chunks := inspect(o.inspect, b.Txs)
	open, err := o.exec.Begin(state.NewOverlay(o.versions.Tree()), b.Header.Height, b.Header.Time, b.Oracle)
	if err != nil {
		return err
	}
	w.look(open.View(), Write{Height: b.Header.Height, Hook: abi.ExportBeginBlock})
	for _, c := range chunks {
		if err := <-c.done; err != nil {
			return err
		}
		for i := range c.txs {
			if err := open.Apply(&c.txs[i]); err != nil {
				return err
			}
			n := open.Txs() - 1
			w.look(open.View(), Write{Height: b.Header.Height, Index: n, ID: open.Receipt(n).ID})
		}
	}
	closed, err := open.Close()
	if err != nil {
		return err
	}
	w.look(open.View(), Write{Height: b.Header.Height, Hook: abi.ExportEndBlock})
	o.versions.Commit(b.Header.Height, closed.Overlay.Changes(), onAllCores)
	o.setHead(b.Header)
	return nil
}
