package main

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/node"
)

// replay executes stored blocks again with every check, as `kaizen replay` does
// and as a node does when it starts.
func (b *bench) replay() error {
	c, err := b.theChain()
	if err != nil {
		return err
	}
	program, err := b.module()
	if err != nil {
		return err
	}
	rate, err := b.limit()
	if err != nil {
		return err
	}
	to := max(1, min(c.blocks, uint64(rate*b.seconds)/uint64(c.genesis.MaxTxsPerBlock)))
	var last node.ReplayReport
	rounds, err := b.repeat(b.limit, func() (float64, error) {
		last, err = node.Replay(b.ctx, c.dir, node.Deps{Program: program, Log: b.log}, node.ReplayOptions{To: to})
		return perSecond(int(last.Txs), last.Elapsed), err
	})
	if err != nil {
		return err
	}
	b.add(rated("replay", "stored transfers executed again, all checks", "1/s", recoveryLimit, "1/s", rounds).want(atLeast(0.85), atLeast(0.95)).
		noted(fmt.Sprintf("%d blocks, %d transfers a round", last.Blocks, last.Txs)))
	return nil
}
