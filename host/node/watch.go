package node

import "github.com/kaizenchain/kaizen/host/rpc"

// What subscriptions need of a node: how far its chain is, and to be woken when
// that changes. The sealing path only closes the channel that setHead closes
// anyway; blocks are read from the log by whoever asks.

// maxTakenBack is how many rollbacks are remembered one by one.
const maxTakenBack = 1024

// tookBack notes that the blocks above kept are about to be taken back. It is
// called with mu held for writing, before the first of them goes, so that a block
// that was read between two equal counts is of one chain.
func (l *ledger) tookBack(kept uint64) {
	l.rollbacks++
	l.keptBy = append(l.keptBy, kept)
	if len(l.keptBy) > maxTakenBack {
		l.keptBy = append(l.keptBy[:0], l.keptBy[1:]...)
	}
}

// Watch implements rpc.Backend.
func (l *ledger) Watch(seen uint64) rpc.Watch {
	l.mu.RLock()
	defer l.mu.RUnlock()
	w := rpc.Watch{Head: l.id, Base: l.store.Base(), Rollbacks: l.rollbacks, Kept: l.id.Number, Moved: l.moved}
	if seen >= l.rollbacks {
		return w
	}
	unseen := l.rollbacks - seen
	if unseen > uint64(len(l.keptBy)) {
		w.Kept = 0 // too many to tell
		return w
	}
	for _, kept := range l.keptBy[uint64(len(l.keptBy))-unseen:] {
		w.Kept = min(w.Kept, kept)
	}
	return w
}

// Watch implements rpc.Backend.
func (w *Writer) Watch(seen uint64) rpc.Watch { return w.views.Watch(seen) }

// Watch implements rpc.Backend.
func (r *Reader) Watch(seen uint64) rpc.Watch { return r.views.Watch(seen) }
