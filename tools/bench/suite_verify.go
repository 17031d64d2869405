package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/witness"
)

const (
	verifyParts = 4    // into which snapshots split what is verified
	witnessTxs  = 1000 // transfers of the block whose witness is made
)

// verify executes stored blocks again in parts, on one core and on all, and one
// block on its witness alone.
func (b *bench) verify() error {
	return b.onCopy("verify", func(c *testChain, dir string, deps node.Deps) error {
		if err := b.verifies(c, dir, deps); err != nil {
			return err
		}
		w, err := b.witnessOf(c, dir, deps)
		if err != nil {
			return err
		}
		return b.witnesses(w, deps.Program)
	})
}

// verifies compares all cores with one.
func (b *bench) verifies(c *testChain, dir string, deps node.Deps) error {
	rate, err := b.limit()
	if err != nil {
		return err
	}
	to := min(c.blocks, max(verifyParts, uint64(rate*b.seconds)/uint64(c.genesis.MaxTxsPerBlock)))
	for part := uint64(1); part < verifyParts && to >= verifyParts; part++ {
		if _, err := node.CreateSnapshot(b.ctx, dir, deps, node.CreateOptions{Height: part * to / verifyParts}); err != nil {
			return err
		}
	}
	v := &verifier{b: b, dir: dir, deps: deps, to: to, cpu: map[int][]float64{}}
	cores := runtime.GOMAXPROCS(0)
	rounds, err := b.repeat(func() (float64, error) {
		one, err := v.on(1)
		return one * float64(cores), err
	}, func() (float64, error) { return v.on(cores) })
	if err != nil {
		return err
	}
	var cpu []round
	for i, all := range v.cpu[cores] { // each between two on one core
		cpu = append(cpu, round{all, (v.cpu[1][2*i] + v.cpu[1][2*i+1]) / 2})
	}
	b.add(rated("verify", "blocks verified, a job on each core", "1/s", fmt.Sprintf("one job on one core × %d", cores), "1/s", rounds).
		noted(fmt.Sprintf("%d blocks with %d transfers in %d parts", v.last.Blocks, v.last.Txs, v.last.Parts)),
		rated("verify", "one block, a job on each core, by processor time", "ms", "one job on one core, by processor time", "ms", cpu).
			noted("what splitting costs, snapshots included"))
	return nil
}

// verifier verifies the first blocks of a directory.
type verifier struct {
	b    *bench
	dir  string
	deps node.Deps
	to   uint64
	last *node.VerifyReport
	cpu  map[int][]float64 // by cores: processor time of a block, ms
}

// on is blocks a second with a job on each of so many cores.
func (v *verifier) on(cores int) (float64, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	before, _ := usage()
	r, err := node.VerifyRange(v.b.ctx, v.dir, v.deps, node.VerifyOptions{From: 1, To: v.to, Jobs: cores, Needed: true, Last: true})
	if err != nil {
		return 0, err
	}
	after, _ := usage()
	v.last = r
	v.cpu[cores] = append(v.cpu[cores], milliseconds(after-before)/float64(r.Blocks))
	return perSecond(int(r.Blocks), r.Elapsed), nil
}

// witnessOf makes the witness of a block of transfers among all accounts.
func (b *bench) witnessOf(c *testChain, dir string, deps node.Deps) (*witness.Witness, error) {
	b.say("take a snapshot of %d accounts", b.accounts)
	s, err := node.CreateSnapshot(b.ctx, dir, deps, node.CreateOptions{})
	if err != nil {
		return nil, err
	}
	tree, header, err := s.Restore()
	if err != nil {
		return nil, err
	}
	if err := c.prolong(b, dir, tree, *header, 1, witnessTxs); err != nil {
		return nil, err
	}
	return node.ExportWitness(b.ctx, dir, deps, header.Height+1, nil)
}

// witnesses compares what a stranger does with recovery, which is most of it.
func (b *bench) witnesses(w *witness.Witness, program stf.Program) error {
	var last *witness.Result
	rounds, err := b.repeat(func() (float64, error) { return b.recoveries(1) }, func() (float64, error) {
		n, begin := 0, time.Now()
		for n == 0 || time.Since(begin) < b.slice()/2 {
			var err error
			if last, err = w.Verify(program); err != nil {
				return 0, err
			}
			n += last.Txs
		}
		return perSecond(n, time.Since(begin)), nil
	})
	if err != nil {
		return err
	}
	b.add(rated("verify", "transfers executed on their witness, one core", "1/s", "raw recoveries, one core", "1/s", rounds).
		noted(fmt.Sprintf("a block of %d; machine, inspection, proof and root included", last.Txs)),
		plain("verify", "witness of 1,000 transfers", "kB", float64(w.Size())/1000).
			noted(fmt.Sprintf("%d keys of %d accounts; block %.0f kB, proof %.0f kB, %d B for each key", last.Keys, b.accounts,
				float64(w.Block.Size())/1000, float64(w.State.Size())/1000, w.State.Size()/last.Keys)))
	return nil
}
