package hosttest

import (
	"fmt"
	"sync"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
)

// Archive is a follow.Archive in memory. Everything in it is final, as with one
// sequencer.
type Archive struct {
	mu     sync.Mutex
	blocks []*chain.Block
}

// Append adds blocks at the end.
func (a *Archive) Append(blocks ...*chain.Block) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blocks = append(a.blocks, blocks...)
}

// Tips implements follow.Archive; the archive must not be empty.
func (a *Archive) Tips() (chain.Tips, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return chain.LocalTips(a.blocks[len(a.blocks)-1].Header.ID()), nil
}

func (a *Archive) at(number uint64) (*chain.Block, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if number >= uint64(len(a.blocks)) {
		return nil, fmt.Errorf("block %d: %w", number, follow.ErrNotAvailable)
	}
	return a.blocks[number], nil
}

// Block implements follow.Archive.
func (a *Archive) Block(number uint64) ([]byte, error) {
	b, err := a.at(number)
	if err != nil {
		return nil, err
	}
	return b.Append(nil), nil
}

// Header implements follow.Archive.
func (a *Archive) Header(number uint64) (chain.Header, error) {
	b, err := a.at(number)
	if err != nil {
		return chain.Header{}, err
	}
	return b.Header, nil
}
