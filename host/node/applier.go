package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// applier is the follow.Handler of a session: it executes and stores what a pass
// delivers, and moves the cursors only after that (S-54).
type applier struct {
	r      *Reader
	source *remote
}

// Handle implements follow.Handler. It may meet an event again, after an error
// or a crash: what was done already is skipped.
func (a *applier) Handle(e follow.Event) error {
	switch e := e.(type) {
	case follow.BlocksAdded:
		if err := a.add(e.Blocks); err != nil {
			return err
		}
	case follow.ChainPruned:
		if err := a.r.rollback(e.Target); err != nil {
			return &fatalError{err}
		}
	}
	if err := a.r.cursors.Apply(e); err != nil {
		return &fatalError{fmt.Errorf("store sync cursors: %w", err)}
	}
	tips, err := a.r.cursors.Tips()
	if err != nil {
		return &fatalError{fmt.Errorf("read sync cursors: %w", err)}
	}
	a.r.note(func() { a.r.tips = tips })
	return nil
}

// add verifies and stores blocks: each is executed while the one before is compared
// and stored. Those before one that does not come out are stored.
func (a *applier) add(blocks []*chain.Block) error {
	run := pipeline{ledger: a.r.views.ledger, exec: a.r.exec, settle: a.r.settle, done: a.settled}
	for _, b := range blocks {
		if err := a.addOne(&run, b); err != nil {
			return cmp.Or(a.judge(run.finish()), err)
		}
	}
	return a.judge(run.finish())
}

func (a *applier) addOne(run *pipeline, b *chain.Block) error {
	r := a.r
	p := a.source.take(b)
	hash := b.Header.Hash()
	if err := r.refused[hash]; err != nil {
		return err
	}
	if b.Header.Height <= run.tip().header.Height {
		return r.known(b, hash)
	}
	return a.judge(run.add(r.open.goOn(p, b, run.tip())))
}

// judge tells a block that is wrong from a failure of this node's own, and remembers
// it.
func (a *applier) judge(err error) error {
	var of *blockError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &of) && errors.Is(damaged(of.err), ErrVerification):
		err = damaged(of.err)
		a.r.refuse(of.block, of.block.Header.Hash(), err)
		return err
	}
	return &fatalError{err}
}

// settled notes a block that is verified and stored.
func (a *applier) settled(b *settling) {
	meters := a.r.views.meters
	meters.execute.Observe(b.executed.Seconds())
	meters.verify.Observe((b.executed + b.compared).Seconds())
	a.r.behind.moved(b.block.Header.Height, a.source.proposed, len(b.block.Txs))
}

// known accepts a block that is stored already: the cursors are behind the log
// after a crash between the two.
func (r *Reader) known(b *chain.Block, hash chain.Hash) error {
	have, err := r.views.Header(b.Header.Height)
	if err != nil {
		return &fatalError{err}
	}
	if have.Hash() != hash {
		return &fatalError{fmt.Errorf("block %d is %s here, %s was delivered without a prune", b.Header.Height, have.Hash(), hash)}
	}
	return nil
}

// settle makes an executed block durable if every root matches, and tells everybody.
func (r *Reader) settle(b *settling, alone func()) error {
	block, err := r.views.append(b.closed, adopt(&b.block.Header), alone)
	if err != nil {
		return err
	}
	r.oracle.Store(&block.Oracle)
	r.serve.announce(block)
	r.snaps.sealed(block.Header.Height)
	r.pruner.sealed(block.Header.Height)
	r.upkeep.sealed()
	return nil
}

// refuse remembers a block that is not what it claims to be, and keeps it as
// evidence.
func (r *Reader) refuse(b *chain.Block, hash chain.Hash, cause error) {
	if len(r.refused) >= maxRefused {
		clear(r.refused)
	}
	r.refused[hash] = cause
	r.views.meters.refusedBlocks.Add(1)
	name := fmt.Sprintf("block-%d-%s.json", b.Header.Height, hash.Short())
	path, err := r.views.store.WriteEvidence(name, evidence(b, r.views, cause))
	switch {
	case err == nil:
		r.log.Error("block refused", "height", b.Header.Height, "hash", hash, "evidence", path, "error", cause)
	default:
		r.log.Error("block refused, and the evidence was not kept", "height", b.Header.Height, "hash", hash, "error", cause, "evidence_error", err)
	}
}

// evidence is what somebody needs who was not there: the block, the chain, and
// what came out here.
func evidence(b *chain.Block, v *views, cause error) []byte {
	text, err := json.MarshalIndent(struct {
		Error      string     `json:"error"`
		Height     uint64     `json:"height"`
		Hash       chain.Hash `json:"hash"`
		Genesis    chain.Hash `json:"genesis_hash"`
		Module     chain.Hash `json:"module_hash"`
		ParentRoot chain.Hash `json:"parent_state_root"`
		Time       uint64     `json:"observed_at"`
		Block      api.Bytes  `json:"block"`
	}{cause.Error(), b.Header.Height, b.Header.Hash(), v.genesisHeader.Hash(), v.genesis.ModuleHash, v.Head().StateRoot, nowMs(), b.Append(nil)}, "", "  ")
	if err != nil {
		return []byte(err.Error())
	}
	return append(text, '\n')
}

// rollback takes back the blocks above target, on disk first: a crash in between
// comes back through replay, which ends at target.
func (r *Reader) rollback(target chain.BlockID) error {
	l := r.views.ledger
	if target.Number >= l.Head().Height {
		return nil
	}
	if before := l.store.Before(); target.Number < before.Number {
		return fmt.Errorf("%w: this directory begins after block %d %s, and it goes back to block %d: start again in an empty directory", ErrFork, before.Number, before.Hash, target.Number)
	}
	r.log.Warn("the source took back blocks", "from", target.Number+1, "to", l.Head().Height)
	l.takeBackEarly()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tookBack(target.Number)
	if err := l.store.Truncate(target.Number); err != nil {
		return fmt.Errorf("roll back to block %d: %w", target.Number, err)
	}
	r.snaps.forgetAbove(target.Number)
	r.views.past.forgetAbove(target.Number)
	if oldest, ok := l.versions.Oldest(); !ok || target.Number < oldest {
		return r.rebuild(context.Background(), target.Number)
	}
	header := l.genesisHeader
	if target.Number > 0 {
		var err error
		if header, err = l.store.Header(target.Number); err != nil {
			return fmt.Errorf("roll back to block %d: %w", target.Number, err)
		}
	}
	if err := l.versions.Rollback(target.Number, onAllCores); err != nil {
		return fmt.Errorf("roll back to block %d: %w", target.Number, err)
	}
	if root := l.versions.Root(); root != header.StateRoot {
		return fmt.Errorf("roll back to block %d: state root is %s, header says %s", target.Number, root, header.StateRoot)
	}
	l.setHead(header)
	return nil
}

// rebuild executes the stored blocks up to a height again: the history in memory
// does not reach back that far. The caller holds the ledger's lock.
func (r *Reader) rebuild(ctx context.Context, to uint64) error {
	l := r.views.ledger
	again, err := newLedger(l.store, r.exec, r.cfg.History.Blocks)
	if err != nil {
		return err
	}
	again.trust = l.trust
	if err := again.restore(r.snaps.dir, to, r.log); err != nil {
		return err
	}
	if err := again.replayTo(ctx, r.exec, r.inspect, to, logProgress(r.log, "roll back", "blocks"), nil); err != nil {
		return err
	}
	l.versions = again.versions
	l.setHead(again.head)
	return nil
}

var _ follow.Handler = (*applier)(nil)
