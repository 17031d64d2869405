package node

import (
	"context"
	"fmt"

	"github.com/kaizenchain/kaizen/host/witness"
)

// ExportWitness makes the witness of a stored block: it comes to the state before it
// from the nearest snapshot, executes it, and verifies what it has made as a stranger
// would. It needs no network, changes nothing, and may run beside the node.
func ExportWitness(ctx context.Context, dir string, deps Deps, height uint64, progress Progress) (*witness.Witness, error) {
	o, err := openOffline(dir, deps)
	if err != nil {
		return nil, err
	}
	defer o.close()
	switch base := o.store.Base(); {
	case height == 0:
		return nil, fmt.Errorf("block 0 is genesis: it is not executed on a state")
	case height < base:
		return nil, fmt.Errorf("block %d is not stored: the oldest is %d", height, base)
	}
	if height, err = o.upTo(height); err != nil {
		return nil, err
	}
	if err := o.restore(SnapshotDir(dir), height-1, deps.Log); err != nil {
		return nil, err
	}
	if before := o.store.Before().Number; o.head.Height < before {
		return nil, fmt.Errorf("%w: the log begins after block %d, and no snapshot of it can be used", ErrSnapshot, before)
	}
	replay := ReplayOptions{Progress: progress}
	if err := o.replayTo(ctx, o.exec, o.inspect, height-1, replay.progress(), nil); err != nil {
		return nil, err
	}
	block, err := o.store.Block(height)
	if err != nil {
		return nil, damaged(err)
	}
	w, err := witness.Build(deps.Program, witness.Source{Genesis: o.genesis, Parent: &o.head, Block: block, Tree: o.versions.Tree()})
	if err == nil {
		_, err = w.Verify(deps.Program)
	}
	return w, damaged(err)
}

// VerifyWitness executes a block again on its witness alone; the error wraps
// ErrVerification if the witness does not hold.
func VerifyWitness(b []byte, deps Deps) (*witness.Witness, *witness.Result, error) {
	w, err := witness.Decode(b)
	if err != nil {
		return nil, nil, damaged(err)
	}
	r, err := w.Verify(deps.Program)
	return w, r, damaged(err)
}
