package node

import (
	"runtime"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
)

// early is a block above the head of which something is in the tree, or on its way
// there, before there is a header that says what its root must be.
//
//	commitEarly … closeEarly ─▶ append(the same block): its root is compared, and it is stored
//	                         └▶ takeBackEarly: anything else is to be done with the state
//
// The state after the head stays what [state.Versions.At] returns for its height. One
// goroutine has the ledger's early; those that compute roots only have what they are given.
type early struct {
	overlay *state.Overlay
	height  uint64
	mark    int           // of the overlay: what was written before is in the tree when done is closed
	done    chan struct{} // closed when the root is there
	root    chain.Hash    // after all that was given
}

// minEarly is how many writes of an open block are worth a commit: the upper levels of
// the tree are hashed in each.
const minEarly = 1024

// commitEarly begins to commit what a block that is executed on the head has written,
// if that is much and nothing is under way. A ledger without history does not: the state
// after the head would be gone.
func (l *ledger) commitEarly(b *begun) {
	if e := l.early; l.history < 1 || e != nil && !e.idle() || b.open.View().Mark()-l.earlyMark() < minEarly {
		return
	}
	l.commitRest(b.open.View(), b.open.Height(), nil)
}

// closeEarly does the same with all that is left of a closed block.
func (l *ledger) closeEarly(c *stf.Closed) {
	if l.history < 1 {
		return
	}
	l.awaitEarly()
	l.commitRest(c.Overlay, c.Height, c)
}

// commitRest begins to commit what was written since the last time. closed is the
// block if that is all.
func (l *ledger) commitRest(o *state.Overlay, height uint64, closed *stf.Closed) {
	e, first := l.early, l.early == nil
	if first {
		e = &early{overlay: o, height: height}
	}
	invariant.Hold(e.overlay == o, "block %d is committed early above another that was", height)
	changes, done := o.ChangesSince(e.mark), make(chan struct{})
	e.mark, e.done, l.early = o.Mark(), done, e
	go func() {
		defer close(done)
		if closed != nil {
			closed.Hash()
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		start := time.Now()
		if first {
			e.root = l.versions.Commit(height, changes, besideWriter)
		} else {
			e.root = l.versions.Extend(changes, besideWriter)
		}
		if closed != nil {
			l.meters.root.Since(start)
		}
	}()
}

// besideWriter is the state.Runner of early commits: on one core, since the writer, which
// may be on this very machine, computes the same root at the same time.
func besideWriter(jobs []func()) { runOn(1, runtime.Gosched, jobs) }

func (e *early) idle() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// earlyMark is how far the block's overlay is committed.
func (l *ledger) earlyMark() int {
	if l.early == nil {
		return 0
	}
	return l.early.mark
}

// isEarly reports whether something of what was executed of this block is committed.
func (l *ledger) isEarly(b *begun) bool {
	return l.early != nil && b != nil && b.open.View() == l.early.overlay
}

// awaitEarly waits for a commit under way.
func (l *ledger) awaitEarly() {
	if l.early != nil {
		<-l.early.done
	}
}

// finishEarly waits for what was committed of a closed block and returns what commits
// the rest, under mu.
func (l *ledger) finishEarly(c *stf.Closed) (root func() chain.Hash) {
	e := l.early
	invariant.Hold(e.overlay == c.Overlay, "commit of block %d above another that was committed early", c.Height)
	<-e.done
	l.early = nil
	if e.mark == c.Overlay.Mark() {
		return func() chain.Hash { return e.root }
	}
	changes := c.Overlay.ChangesSince(e.mark)
	c.Hash()
	return func() chain.Hash {
		start := time.Now()
		defer l.meters.root.Since(start)
		return l.versions.Extend(changes, l.run)
	}
}

// takeBackEarly makes the state that after the head again. Nobody may execute on it.
func (l *ledger) takeBackEarly() {
	e := l.early
	if e == nil {
		return
	}
	<-e.done
	l.early = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.versions.Rollback(e.height-1, l.run)
	invariant.Hold(err == nil, "take back block %d, committed early: %v", e.height, err)
}
