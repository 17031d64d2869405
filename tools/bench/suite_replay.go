package main

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/stf"
)

// replaying is the chain, as far as it is executed again in a round.
type replaying struct {
	*bench
	chain   *testChain
	program stf.Program
	to      uint64 // height of the last block
}

// theReplay takes as many blocks as the recovery limit does in a slice.
func (b *bench) theReplay() (*replaying, error) {
	c, err := b.theChain()
	if err != nil {
		return nil, err
	}
	program, err := b.module()
	if err != nil {
		return nil, err
	}
	rate, err := b.limit()
	if err != nil {
		return nil, err
	}
	to := max(1, min(c.blocks, uint64(rate*b.seconds)/uint64(c.genesis.MaxTxsPerBlock)))
	return &replaying{b, c, program, to}, nil
}

func (r *replaying) run() (node.ReplayReport, error) {
	return node.Replay(r.ctx, r.chain.dir, node.Deps{Program: r.program, Log: r.log}, node.ReplayOptions{To: r.to})
}

// replay executes stored blocks again with every check, as `kaizen replay` does
// and as a node does when it starts.
func (b *bench) replay() error {
	r, err := b.theReplay()
	if err != nil {
		return err
	}
	var last node.ReplayReport
	rounds, err := b.repeat(b.limit, func() (float64, error) {
		last, err = r.run()
		return perSecond(int(last.Txs), last.Elapsed), err
	})
	if err != nil {
		return err
	}
	b.add(rated("replay", "stored transfers executed again, all checks", "1/s", recoveryLimit, "1/s", rounds).want(atLeast(0.85), atLeast(0.95)).
		noted(fmt.Sprintf("%d blocks, %d transfers a round", last.Blocks, last.Txs)))
	return nil
}
