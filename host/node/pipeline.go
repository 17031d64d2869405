package node

import (
	"fmt"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
)

// pipeline executes sealed blocks, each while the one before is settled: its roots
// computed and compared with its header and, on a node that follows, the block stored.
//
//	add(N)     execute N       │ settle N-1
//	add(N+1)   execute N+1     │ settle N
//	finish                     │ settle N+1
//
// Block N+1 is executed on what N came to before anybody knows that N is right. If it
// is not, nothing of N+1 is kept, the state goes back to the parent of N, and the
// error is N's. A block is only settled when the one before it is.
//
// One goroutine calls it, and calls finish before it does anything else to the
// ledger. The state may be read meanwhile as at any other time.
type pipeline struct {
	ledger *ledger
	exec   *stf.Executor
	// settle is called on a goroutine of its own, for one block after the other.
	// alone returns when nobody executes on the state any more.
	settle func(b *settling, alone func()) error
	done   func(*settling) // told of every block that is settled, in order, by the caller's goroutine

	behind *settling // nil: nothing is being settled
}

// settling is an executed block on its way.
type settling struct {
	block  *chain.Block
	closed *stf.Closed
	// How long that took; the second once it is settled.
	executed, compared time.Duration

	idle    chan struct{} // closed when nobody executes on top of it
	settled chan error    // capacity 1
}

// blockError says which block did not come out.
type blockError struct {
	block *chain.Block
	err   error
}

func (e *blockError) Error() string {
	return fmt.Sprintf("block %d: %v", e.block.Header.Height, e.err)
}

func (e *blockError) Unwrap() error { return e.err }

// add executes a block and begins to settle it. Its error is a *blockError, of this
// block or of the one before; after it there is nothing to finish.
func (p *pipeline) add(v *prepared) error {
	if p.behind == nil && !p.ledger.isEarly(v.begun) {
		p.ledger.takeBackEarly()
	}
	start := time.Now()
	closed, err := p.ledger.execute(p.exec, v, p.tip())
	took := time.Since(start)
	if err := p.finish(); err != nil {
		return err
	}
	if err != nil {
		return &blockError{v.block, err}
	}
	if v.begun == nil { // else it is over the tree, and may be read already
		closed.Overlay.SetParent(p.ledger.versions.Tree())
	}
	p.begin(&settling{block: v.block, closed: closed, executed: took, idle: make(chan struct{}), settled: make(chan error, 1)})
	return nil
}

// tip is what the next block is executed on.
func (p *pipeline) tip() tip {
	if b := p.behind; b != nil {
		return tip{&b.block.Header, b.closed.Overlay}
	}
	return p.ledger.tip()
}

func (p *pipeline) begin(b *settling) {
	p.behind = b
	go func() {
		start := time.Now()
		p.ledger.awaitEarly()
		err := b.block.CheckTxs(b.closed.TxsRoot())
		if err == nil {
			err = p.settle(b, func() { <-b.idle })
		}
		b.compared = time.Since(start)
		b.settled <- err
	}()
}

// finish waits until every block that was added is settled.
func (p *pipeline) finish() error {
	b := p.behind
	if b == nil {
		return nil
	}
	p.behind = nil
	close(b.idle)
	if err := <-b.settled; err != nil {
		return &blockError{b.block, err}
	}
	if p.done != nil {
		p.done(b)
	}
	return nil
}

// tip is a block and the state after it.
type tip struct {
	header *chain.Header
	state  state.View
}

// tip is the head; for whoever changes it.
func (l *ledger) tip() tip { return tip{&l.head, l.versions.Tree()} }

// recommit settles a block that is in the store already.
func (l *ledger) recommit(b *settling, alone func()) error {
	root := l.rooter(b.closed)
	l.mu.Lock()
	defer l.mu.Unlock()
	header, err := l.commit(b.closed, root, adopt(&b.block.Header), alone)
	if err != nil {
		return err
	}
	l.setHead(header)
	return nil
}
