package relay

import (
	"context"
	"time"

	"github.com/kaizenchain/kaizen/host/settle"
)

// The stream tells of a price when the block that began with it is sealed. Asking
// for the open block's prices right after its predecessor was sealed is one block
// faster. It is an extra: what fails is not tried again at once, and nothing
// depends on it.
const (
	peekTimeout = time.Second
	peekPause   = 10 * time.Second // after one that failed: a read node has no open block
)

// peeked is what the open block began with.
type peeked struct {
	height uint64
	prices []settle.Price
	err    error
}

// peek asks for the open block's prices, unless it is being asked.
func (s *Settler) peek(ctx context.Context) {
	if s.peeking || time.Now().Before(s.peekAfter) {
		return
	}
	s.peeking = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, peekTimeout)
		defer cancel()
		var p peeked
		p.height, p.prices, p.err = s.node.Pending(ctx)
		s.peeks <- p // there is room: one is asked at a time
	}()
}

// look tells the core.
func (s *Settler) look(p *peeked) {
	s.peeking = false
	if p.err != nil {
		s.peekAfter = time.Now().Add(peekPause)
		s.opt.Log.Debug("the open block's prices are not to be had", "error", p.err)
		return
	}
	s.core.Preview(p.height, p.prices)
}
