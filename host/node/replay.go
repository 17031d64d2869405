package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/witness"
	"github.com/kaizenchain/kaizen/snapshot"
)

// Progress is told how many of total blocks are done, and how many transactions
// they had.
type Progress func(done, total, txs uint64)

// replay executes the stored blocks above the head and compares every root.
func (l *ledger) replay(ctx context.Context, exec *stf.Executor, p *inspectors, progress Progress) error {
	return l.replayTo(ctx, exec, p, l.store.Height(), progress, nil)
}

// replayTo executes stored blocks up to a height. visit, if not nil, is told of
// every block and how long it took.
//
// If the ledger trusts, who signed what is taken from where the blocks are stored. A
// block that does not come out with that is executed again without, and so are those
// after it: what is wrong then is the block.
func (l *ledger) replayTo(ctx context.Context, exec *stf.Executor, p *inspectors, to uint64, progress Progress, visit func(*chain.Block, time.Duration)) error {
	from := l.head.Height + 1
	if from > to {
		return nil
	}
	if err := l.checkState(); err != nil {
		return err
	}
	txs := uint64(0)
	done := func(b *settling) {
		txs += uint64(len(b.block.Txs))
		if visit != nil {
			visit(b.block, b.executed+b.compared)
		}
		progress(b.block.Header.Height-from+1, to-from+1, txs)
	}
	if l.trust != nil {
		err := l.replayStored(ctx, exec, p, to, l.store.SignedBlock, done)
		if !errors.Is(err, ErrVerification) {
			return err
		}
		l.trust(err)
	}
	return l.replayStored(ctx, exec, p, to, l.unsigned, done)
}

// reexecute executes blocks that are in the store already, up to the first that is
// wrong or cannot be read.
func (l *ledger) reexecute(exec *stf.Executor, blocks <-chan *prepared, done func(*settling)) error {
	run := pipeline{ledger: l, exec: exec, settle: l.recommit, done: done}
	for v := range blocks {
		if v.err != nil {
			return cmp.Or(run.finish(), v.err)
		}
		if err := run.add(v); err != nil {
			return err
		}
	}
	return run.finish()
}

// trustSigners is how a node that starts on what it stored itself trusts.
func trustSigners(log *slog.Logger) func(error) {
	return func(failure error) {
		log.Warn("a block does not come out with the signers that are stored of it; recovering them", "error", failure)
	}
}

// replayStored executes the stored blocks after the head as read reads them.
func (l *ledger) replayStored(ctx context.Context, exec *stf.Executor, p *inspectors, to uint64, read reading, done func(*settling)) error {
	ctx, cancel := context.WithCancel(ctx)
	blocks := ahead(ctx, p, stored(ctx, read, l.head.Height+1, to))
	defer func() {
		cancel()
		for range blocks { // until the reader has left the inspectors alone
		}
	}()
	err := l.reexecute(exec, blocks, done)
	return damaged(cmp.Or(err, ctx.Err()))
}

// storedBlock is a block and what is believed of who signed its transactions.
type storedBlock struct {
	block   *chain.Block
	signers []byte
}

// reading is a way to read a stored block.
type reading func(height uint64) (block *chain.Block, signers []byte, err error)

// unsigned reads a block and nothing of its signers.
func (l *ledger) unsigned(height uint64) (*chain.Block, []byte, error) {
	b, err := l.store.Block(height)
	return b, nil, err
}

// stored reads blocks until ctx ends.
func stored(ctx context.Context, read reading, from, to uint64) iter.Seq2[storedBlock, error] {
	return func(yield func(storedBlock, error) bool) {
		for h := from; h <= to && ctx.Err() == nil; h++ {
			b, signers, err := read(h)
			if !yield(storedBlock{b, signers}, err) || err != nil {
				return
			}
		}
	}
}

// damaged marks what is wrong with data, as opposed to with the machine.
func damaged(err error) error {
	var corrupt *store.CorruptionError
	var mismatch *stf.Mismatch
	var hook *stf.HookError
	var bad *snapshot.DamageError
	for _, target := range []error{stf.ErrModule, stf.ErrRefusedInBlock, chain.ErrParent, chain.ErrTime, chain.ErrSequencer, chain.ErrSignature, chain.ErrContents, chain.ErrTooLarge, chain.ErrMalformed, witness.ErrMalformed, witness.ErrInvalid} {
		if errors.Is(err, target) {
			return fmt.Errorf("%w: %w", ErrVerification, err)
		}
	}
	if errors.As(err, &corrupt) || errors.As(err, &mismatch) || errors.As(err, &hook) || errors.As(err, &bad) {
		return fmt.Errorf("%w: %w", ErrVerification, err)
	}
	return err
}

// ReplayOptions say from where and how far to replay; To 0 means the newest stored
// block. FromSnapshot is "" for genesis, "latest", a height, or the path of a
// snapshot. TrustSignatures believes what is stored beside the blocks of who signed
// their transactions: the rest is checked as ever.
type ReplayOptions struct {
	FromSnapshot    string
	To              uint64
	TrustSignatures bool
	Progress        Progress
}

// ReplayReport is what a replay came to.
type ReplayReport struct {
	From, To uint64
	Blocks   uint64
	Txs      uint64
	Elapsed  time.Duration
	Root     chain.Hash // state root after To
}

// Replay executes the stored blocks of a data directory, from genesis or from a
// snapshot, and compares every root (K-21, K-30). It needs no network, changes nothing, and may
// run beside the node. ErrVerification is wrapped at the first block that does
// not come out as its header says.
func Replay(ctx context.Context, dir string, deps Deps, opts ReplayOptions) (ReplayReport, error) {
	v, err := openOffline(dir, deps)
	if err != nil {
		return ReplayReport{}, err
	}
	defer v.close()
	to, err := v.upTo(opts.To)
	if err != nil {
		return ReplayReport{}, err
	}
	start := time.Now()
	if err := v.startFrom(opts.FromSnapshot, to, deps.Log); err != nil {
		return ReplayReport{}, err
	}
	if opts.TrustSignatures {
		v.trust = trustSigners(deps.Log)
	}
	r := ReplayReport{From: v.head.Height + 1, To: to}
	err = v.replayTo(ctx, v.exec, v.inspect, to, opts.progress(), func(b *chain.Block, _ time.Duration) {
		r.Blocks++
		r.Txs += uint64(len(b.Txs))
	})
	r.Elapsed, r.Root = time.Since(start), v.head.StateRoot
	return r, err
}

func (o *ReplayOptions) progress() Progress {
	if o.Progress != nil {
		return o.Progress
	}
	return func(uint64, uint64, uint64) {}
}

// offline is a data directory opened to read.
type offline struct {
	*ledger
	exec    *stf.Executor
	inspect *inspectors
}

func openOffline(dir string, deps Deps) (o *offline, err error) {
	st, err := store.Open(dir, store.Options{ReadOnly: true, Log: logf(deps.Log)})
	if err != nil {
		return nil, damaged(err)
	}
	o = &offline{ledger: &ledger{store: st}}
	opened := o // a return with an error sets o to nil
	defer func() {
		if err != nil {
			opened.close()
		}
	}()
	if err := checkModule(deps.Program, st.Genesis()); err != nil {
		return nil, err
	}
	if o.exec, err = stf.NewExecutor(deps.Program); err != nil {
		return nil, err
	}
	if o.inspect, err = newInspectors(deps.Program, 0, 1024); err != nil {
		return nil, err
	}
	o.ledger, err = newLedger(st, o.exec, 1)
	if err != nil {
		o.ledger = &ledger{store: st}
	}
	return o, err
}

func (o *offline) upTo(to uint64) (uint64, error) {
	newest := o.store.Height()
	switch {
	case newest == 0:
		return 0, fmt.Errorf("%s has no blocks yet", o.store.Dir())
	case to == 0:
		return newest, nil
	case to > newest:
		return 0, fmt.Errorf("block %d is not stored: the newest is %d", to, newest)
	}
	return to, nil
}

func (o *offline) close() {
	if o.inspect != nil {
		o.inspect.close()
	}
	if o.exec != nil {
		o.exec.Machine.Close()
	}
	o.store.Close()
}

// storeOptions are those of a node's own directory.
func storeOptions(cfg *Config, log *slog.Logger) store.Options {
	return store.Options{Log: logf(log), SegmentBlocks: cfg.Prune.segmentBlocks()}
}

// logf adapts a structured logger to the store's.
func logf(log *slog.Logger) func(format string, args ...any) {
	log = logs.For(log, "store")
	return func(format string, args ...any) { log.Warn(fmt.Sprintf(format, args...)) }
}

// logProgress logs every 10 s.
func logProgress(log *slog.Logger, what, unit string) Progress {
	start := time.Now()
	next := start.Add(10 * time.Second)
	return func(done, total, txs uint64) {
		now := time.Now()
		if now.Before(next) {
			return
		}
		next = now.Add(10 * time.Second)
		rate := float64(done) / now.Sub(start).Seconds()
		log.Info(what, unit, done, "of", total, "transactions", txs, unit+"_per_second", int(rate),
			"eta", time.Duration(float64(total-done)/rate*float64(time.Second)).Round(time.Second).String())
	}
}
