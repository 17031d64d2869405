package node

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
)

// remote is a follow.Source that reads one range ahead: while a range is
// executed, the next one is on its way and its signatures are recovered. It
// changes when blocks arrive, never which: a pass checks what it gets.
type remote struct {
	follow.Source
	inspect *inspectors
	running sync.WaitGroup

	proposed uint64 // as the source said last
	next     *rangeRead
	ready    map[*chain.Block]*prepared // of the range that was delivered last
	expected atomic.Pointer[prepared]   // the block that came with a doorbell; whoever swaps it out has it
	left     atomic.Uint64              // the block that was executed ahead: its inspection is left to who takes it
}

// rangeRead is a read of blocks that may still be under way.
type rangeRead struct {
	from   uint64
	done   chan struct{}
	blocks []*chain.Block
	ready  map[*chain.Block]*prepared
	err    error
}

func newRemote(source interface {
	follow.Source
	Close() error
}, inspect *inspectors) *remote {
	return &remote{Source: source, inspect: inspect, ready: map[*chain.Block]*prepared{}}
}

// close ends the connection and waits for a read under way.
func (s *remote) close() {
	if c, ok := s.Source.(interface{ Close() error }); ok {
		_ = c.Close() // its only error is that it was closed before
	}
	s.running.Wait()
}

// Tips implements follow.Source.
func (s *remote) Tips() (chain.Tips, error) {
	tips, err := s.Source.Tips()
	s.proposed = tips.Proposed.Number
	return tips, err
}

// Blocks implements follow.Source.
func (s *remote) Blocks(from uint64, limit int) ([]*chain.Block, error) {
	f := s.next
	if f == nil || f.from != from {
		f = s.fetch(from, limit)
	}
	s.next = nil
	<-f.done
	if f.err != nil {
		return nil, f.err
	}
	s.ready = f.ready
	if next := from + uint64(len(f.blocks)); len(f.blocks) > 0 && next <= s.proposed {
		s.next = s.fetch(next, limit)
	}
	return f.blocks[:min(len(f.blocks), limit)], nil
}

func (s *remote) fetch(from uint64, limit int) *rangeRead {
	f := &rangeRead{from: from, done: make(chan struct{}), ready: map[*chain.Block]*prepared{}}
	s.running.Go(func() {
		defer close(f.done)
		if f.blocks, f.err = s.Source.Blocks(from, limit); f.err != nil {
			return
		}
		for _, b := range f.blocks {
			if p := s.prepare(b); p != nil {
				f.ready[b] = p
			}
		}
	})
	return f
}

// prepare starts the inspection of a block that was read, unless it is the one that
// came with a doorbell, since another may have followed it before the pass asked, or was
// executed ahead.
func (s *remote) prepare(b *chain.Block) *prepared {
	e := s.expected.Load()
	if e != nil && e.block.Header == b.Header && bytes.Equal(e.block.Append(nil), b.Append(nil)) && s.expected.CompareAndSwap(e, nil) {
		return e
	}
	if b.Header.Height == s.left.Load() {
		return nil
	}
	return prepare(s.inspect, b, nil)
}

// expect starts the inspection of a block that came with a doorbell, which a pass will
// most likely deliver: until it has asked for the tips half a millisecond is gone. begun
// is what is executed of it already, or nil.
func (s *remote) expect(b *chain.Block, begun *begun) {
	s.expected.Store(prepareRest(s.inspect, b, begun))
}

// take returns the inspection of a delivered block, nil if it was not begun.
func (s *remote) take(b *chain.Block) *prepared {
	if e := s.expected.Load(); e != nil && e.block == b && s.expected.CompareAndSwap(e, nil) {
		return e
	}
	p := s.ready[b]
	delete(s.ready, b)
	return p
}
