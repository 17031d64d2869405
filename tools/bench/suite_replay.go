package main

import (
	"fmt"
	"time"

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

// run executes the blocks again once, and returns the processor time too.
func (r *replaying) run(opts node.ReplayOptions) (report node.ReplayReport, cpu time.Duration, err error) {
	opts.To = r.to
	before, _ := usage()
	report, err = node.Replay(r.ctx, r.chain.dir, node.Deps{Program: r.program, Log: r.log}, opts)
	after, _ := usage()
	return report, after - before, err
}

// replay executes stored blocks again with every check, as `kaizen replay` does, and
// once more without recovering the signers that the node has noted, as it does when
// it starts.
func (b *bench) replay() error {
	r, err := b.theReplay()
	if err != nil {
		return err
	}
	for _, how := range []struct {
		name string
		opts node.ReplayOptions
		add  func(name, note string, rounds []round)
	}{
		{"stored transfers executed again, all checks", node.ReplayOptions{}, func(name, note string, rounds []round) {
			b.add(rated("replay", name, "1/s", recoveryLimit, "1/s", rounds).want(atLeast(0.85), atLeast(0.95)).noted(note))
		}},
		{"stored transfers executed again, signatures known", node.ReplayOptions{TrustSignatures: true}, func(name, note string, rounds []round) {
			b.add(plain("replay", name, "1/s", valuesOf(rounds)...).want(atLeast(300_000), atLeast(300_000)).noted(note))
		}},
	} {
		var last node.ReplayReport
		var cpu, recover []float64
		rounds, err := b.repeat(b.limit, func() (float64, error) {
			report, used, err := r.run(how.opts)
			last, cpu, recover = report, append(cpu, microseconds(used)/float64(report.Txs)), append(recover, b.recover1)
			return perSecond(int(report.Txs), report.Elapsed), err
		})
		if err != nil {
			return err
		}
		how.add(how.name, fmt.Sprintf("%d blocks, %d transfers a round", last.Blocks, last.Txs), rounds)
		b.add(byTime("replay", how.name, cpu, recover).noted("genesis included"))
	}
	return nil
}
