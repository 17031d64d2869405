package node

import (
	"sync"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/sequencer"
)

// recent finds transactions that have been answered and whose block is not in
// the store yet: without it, a client that asks for the receipt it was just
// given would be told that there is none.
type recent struct {
	mu     sync.RWMutex
	byID   map[chain.Hash]spot
	blocks map[uint64][]rpc.Located // by height, in the order of their answers
}

// spot is where in blocks a transaction is.
type spot struct {
	height uint64
	index  int
}

func newRecent() *recent {
	return &recent{byID: map[chain.Hash]spot{}, blocks: map[uint64][]rpc.Located{}}
}

// add remembers what is about to be answered.
func (r *recent) add(answers []sequencer.Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range answers {
		a := &answers[i]
		if a.Receipt == nil {
			continue
		}
		r.put(rpc.Located{Raw: a.Ticket.(*ticket).raw, Receipt: *a.Receipt, Block: chain.BlockID{Number: a.Height}, Index: a.Index})
	}
}

// put remembers one transaction; the caller holds the lock, or is alone.
func (r *recent) put(v rpc.Located) {
	height := v.Block.Number
	r.byID[v.Receipt.ID] = spot{height, len(r.blocks[height])}
	r.blocks[height] = append(r.blocks[height], v)
}

// find returns a transaction of a block that is not stored yet.
func (r *recent) find(id chain.Hash) (rpc.Located, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	at, ok := r.byID[id]
	if !ok {
		return rpc.Located{}, false
	}
	return r.blocks[at.height][at.index], true
}

// stored forgets a block that the store has.
func (r *recent) stored(height uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.blocks[height] {
		delete(r.byID, r.blocks[height][i].Receipt.ID)
	}
	delete(r.blocks, height)
}
