package follow

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
)

const (
	// DefaultBatchSize is how many blocks one read asks for (S-18).
	DefaultBatchSize = 50
	// MaxBatchSize bounds Options.BatchSize, blocks.
	MaxBatchSize = 1000
)

// Options of a [Follower]. The zero value downloads everything.
type Options struct {
	// BatchSize is how many blocks one read asks for, 0 for the default.
	BatchSize int
	// StartingBlock is where a store that holds nothing starts; it never makes one
	// that holds something skip blocks (S-16, S-17). 0 means block 1.
	StartingBlock uint64
	// SkipFinalized starts downloads no lower than the source's finalized block
	// (S-16).
	SkipFinalized bool
	// IgnoreCheckpoints suppresses the checkpointed event, and only that (S-20).
	IgnoreCheckpoints bool
	// TipsOnly downloads no blocks (S-42). It goes with none of the three above
	// it.
	TipsOnly bool
	// Stopped, if not nil, is asked before every read and after every event; true
	// ends the pass there (S-22).
	Stopped func() bool
}

func (o *Options) validate() error {
	switch {
	case o.BatchSize < 0 || o.BatchSize > MaxBatchSize:
		return fmt.Errorf("%w: batch size %d, want 1 to %d, or 0 for %d", ErrOptions, o.BatchSize, MaxBatchSize, DefaultBatchSize)
	case o.TipsOnly && (o.StartingBlock != 0 || o.BatchSize != 0 || o.SkipFinalized):
		return fmt.Errorf("%w: tips only downloads nothing, so starting block, batch size and skip finalized must not be set", ErrOptions)
	}
	return nil
}

// Follower runs passes of one consumer against one source.
type Follower struct {
	source  Source
	local   Local
	handler Handler
	opt     Options
	// owed: blocks were added or pruned, and no proposed event has said so yet. A
	// pass that ended between the two leaves it to the next one.
	owed bool
}

// New returns a follower; the error is [ErrOptions].
func New(source Source, local Local, handler Handler, opt Options) (*Follower, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	if opt.BatchSize == 0 {
		opt.BatchSize = DefaultBatchSize
	}
	return &Follower{source: source, local: local, handler: handler, opt: opt}, nil
}

// Result is what a pass did, also one that ended with an error.
type Result struct {
	Source chain.Tips // the one reading that its events were made from (S-09)
	Pruned bool
	Blocks int // delivered
	Events int // handled without error
}

// Pass makes the local chain equal to the source's. nil means that it is, by the
// reading in the result. Errors are [AbortError] (harmless, try again),
// [ReadError], [HandlerError], [GenesisError], [FinalizedForkError] and
// [ErrNoCheckpointed].
//
// ride is a block that came with a doorbell, or nil. It is used only if it is the
// source's proposed tip, and then saves the reads that would have fetched it.
func (f *Follower) Pass(ride *chain.Block) (Result, error) {
	p := pass{Follower: f, ride: ride}
	err := p.run()
	return p.result, err
}

// pass is the state of one pass.
type pass struct {
	*Follower
	ride   *chain.Block // nil, or the source's proposed tip by the present reading
	src    chain.Tips
	loc    chain.Tips
	before chain.BlockID // local proposed tip when the pass began
	result Result
}

func (p *pass) run() error {
	if err := p.readLocal(); err != nil {
		return err
	}
	p.before = p.loc.Proposed
	if err := p.readSource(); err != nil {
		return err
	}
	agreed, err := p.walkBack()
	if err != nil {
		return err
	}
	if agreed < p.loc.Proposed.Number {
		if agreed, err = p.prune(agreed); err != nil {
			return err
		}
	}
	last, err := p.download(agreed)
	if err != nil {
		return err
	}
	return p.reconcile(agreed, last)
}

func (p *pass) readLocal() error {
	tips, err := p.local.Tips()
	if err != nil {
		return &ReadError{"local tips", err}
	}
	if tips.Checkpointed == (chain.TipID{}) && !p.opt.IgnoreCheckpoints {
		return fmt.Errorf("local tips: %w", ErrNoCheckpointed)
	}
	p.loc = tips
	return nil
}

func (p *pass) readSource() error {
	if p.stopped() {
		return &AbortError{Reason: ErrStopped}
	}
	tips, err := p.source.Tips()
	if err != nil {
		return &ReadError{"source tips", err}
	}
	if err := p.checkSource(tips); err != nil {
		return err
	}
	p.src, p.result.Source = tips, tips
	if p.ride != nil && p.ride.Header.ID() != tips.Proposed {
		p.ride = nil
	}
	return nil
}

// checkSource refuses a reading that no event may be built on.
func (p *pass) checkSource(t chain.Tips) error {
	c, v, f := t.Checkpointed.Block.Number, t.Proven.Block.Number, t.Finalized.Block.Number
	if p.opt.IgnoreCheckpoints {
		c = v
	} else if t.Checkpointed == (chain.TipID{}) {
		return fmt.Errorf("source tips: %w", ErrNoCheckpointed)
	}
	if f > v || v > c || c > t.Proposed.Number {
		return abort(ErrTipOrder, "finalized %d, proven %d, checkpointed %d, proposed %d", f, v, c, t.Proposed.Number)
	}
	if local := p.loc.Finalized.Block.Number; f < local {
		return abort(ErrSourceBehind, "finalized %d there, %d here", f, local)
	}
	return nil
}

// walkBack finds the highest block that both sides have (S-13), not looking below
// the local finalized one (S-39).
func (p *pass) walkBack() (agreed uint64, err error) {
	floor := p.loc.Finalized.Block.Number
	if floor > p.loc.Proposed.Number {
		floor = 0 // the tier leads (S-47): it says nothing about the blocks held here
	}
	for h := p.loc.Proposed.Number; ; h-- {
		local, source, err := p.hashesAt(h)
		if err != nil {
			return 0, err
		}
		switch {
		case local == source && local != (chain.Hash{}):
			return h, nil
		case h == 0:
			return 0, &GenesisError{Local: local, Source: source}
		case h > floor:
		case local == (chain.Hash{}):
			return h, nil
		default:
			return 0, p.finalizedFork(chain.BlockID{Number: h, Hash: local}, source)
		}
	}
}

// hashesAt returns both sides' hashes of a height, zero where there is none. An
// unknown local hash agrees with nothing (S-38), so the source is only asked at
// heights where a comparison can succeed or has to be reported.
func (p *pass) hashesAt(h uint64) (local, source chain.Hash, err error) {
	local, ok, err := p.local.BlockHash(h)
	if err != nil {
		return local, source, &ReadError{fmt.Sprintf("local hash of block %d", h), err}
	}
	if !ok {
		if p.opt.SkipFinalized {
			return local, source, abort(ErrNoLocalHash, "block %d", h)
		}
		if h > 0 {
			return chain.Hash{}, chain.Hash{}, nil
		}
	}
	if h > p.src.Proposed.Number {
		return local, chain.Hash{}, nil
	}
	source, err = p.sourceHash(h)
	return local, source, err
}

// sourceHash is the source's hash of a height of at most its proposed tip. Known
// without asking are the proposed tip's and, if the tip rode along, its parent's.
// The other tips are no evidence: they may stem from before a reorg (S-41).
func (p *pass) sourceHash(h uint64) (chain.Hash, error) {
	switch {
	case h == p.src.Proposed.Number:
		return p.src.Proposed.Hash, nil
	case p.ride != nil && h+1 == p.ride.Header.Height:
		return p.ride.Header.Parent, nil
	}
	header, err := p.blockData(h)
	if err != nil {
		return chain.Hash{}, err
	}
	return header.Hash(), nil
}

func (p *pass) blockData(h uint64) (header chain.Header, err error) {
	if p.stopped() {
		return header, &AbortError{Reason: ErrStopped}
	}
	header, err = p.source.BlockData(h)
	switch {
	case errors.Is(err, ErrNotAvailable):
		return header, abort(ErrMissingData, "block %d, its tip is %d", h, p.src.Proposed.Number)
	case err != nil:
		return header, &ReadError{fmt.Sprintf("source header %d", h), err}
	case header.Height != h:
		return header, abort(ErrBadRange, "asked for header %d, got %d", h, header.Height)
	}
	return header, nil
}

// finalizedFork takes back what is above the finalized block and reports the
// contradiction. The source's own tips belong to the other chain, so the cursors
// are offered our finalized tip instead.
func (p *pass) finalizedFork(at chain.BlockID, source chain.Hash) error {
	fork := &FinalizedForkError{Local: at, Source: source}
	if at.Number == p.loc.Proposed.Number {
		return fork
	}
	final := p.loc.Finalized
	final.Block = at
	p.result.Pruned = true
	if err := p.emit(ChainPruned{Target: at, Checkpointed: final, Proven: final}); err != nil {
		return err
	}
	return fork
}

// prune reads the source again, because the walk may have been long (S-37),
// announces the fork and returns the height at which the local chain now ends.
func (p *pass) prune(agreed uint64) (uint64, error) {
	walked := p.src.Proposed
	if err := p.readSource(); err != nil {
		return 0, err
	}
	if p.src.Proposed != walked {
		if err := p.agreesStill(agreed); err != nil {
			return 0, err
		}
	}
	target, err := p.pruneTarget(min(agreed, p.src.Proposed.Number))
	if err != nil {
		return 0, err
	}
	p.result.Pruned = true
	if err := p.emit(ChainPruned{Target: target, Checkpointed: p.src.Checkpointed, Proven: p.src.Proven}); err != nil {
		return 0, err
	}
	return target.Number, p.readLocal() // the handler has moved cursors (S-12)
}

// agreesStill asks a source that has moved for the agreed block once more: its
// other tips would be those of a chain that we did not compare with.
func (p *pass) agreesStill(agreed uint64) error {
	local, source, err := p.hashesAt(agreed)
	if err == nil && local != source && local != (chain.Hash{}) && source != (chain.Hash{}) {
		err = abort(ErrTipMoved, "block %d is now %s, ours is %s", agreed, source, local)
	}
	return err
}

// pruneTarget is the block that becomes the local tip. Its hash is ours where we
// know one: a target with the source's hash over our block would pass for
// agreement for ever.
func (p *pass) pruneTarget(h uint64) (chain.BlockID, error) {
	local, ok, err := p.local.BlockHash(h)
	if err != nil {
		return chain.BlockID{}, &ReadError{fmt.Sprintf("local hash of block %d", h), err}
	}
	if h == p.src.Proposed.Number && ok && local != p.src.Proposed.Hash {
		return chain.BlockID{}, abort(ErrTipMoved, "block %d is now %s, ours is %s", h, p.src.Proposed.Hash, local)
	}
	if !ok {
		local, err = p.sourceHash(h)
	}
	return chain.BlockID{Number: h, Hash: local}, err
}

// download delivers what follows the agreed block up to the source's proposed
// tip and returns the header of the last block, nil if there was none.
func (p *pass) download(agreed uint64) (last *chain.Header, err error) {
	next, err := p.firstBlock(agreed)
	if err != nil {
		return nil, err
	}
	for !p.opt.TipsOnly && next.Number <= p.src.Proposed.Number {
		blocks, err := p.fetch(next.Number)
		if err != nil {
			return nil, err
		}
		if next, err = connect(next, blocks); err != nil {
			return nil, err
		}
		if err := p.emit(BlocksAdded{Blocks: blocks}); err != nil {
			return nil, err
		}
		p.result.Blocks += len(blocks)
		last = &blocks[len(blocks)-1].Header
	}
	if last != nil && next.parent != p.src.Proposed.Hash {
		return nil, abort(ErrTipMoved, "block %d came as %s, the tip was %s", last.Height, next.parent, p.src.Proposed.Hash)
	}
	return last, nil
}

// position is a height to download, and the hash that its parent must have: zero
// if it is not known, because blocks before it are skipped.
type position struct {
	Number uint64
	parent chain.Hash
}

func (p *pass) firstBlock(agreed uint64) (position, error) {
	next := agreed + 1
	if agreed == 0 {
		next = max(p.opt.StartingBlock, 1)
	}
	if p.opt.SkipFinalized {
		next = max(next, p.src.Finalized.Block.Number)
	}
	if next != agreed+1 {
		return position{Number: next}, nil
	}
	parent, _, err := p.local.BlockHash(agreed)
	if err != nil {
		return position{}, &ReadError{fmt.Sprintf("local hash of block %d", agreed), err}
	}
	return position{next, parent}, nil
}

// fetch reads the next batch, at most up to the source's proposed tip.
func (p *pass) fetch(from uint64) ([]*chain.Block, error) {
	if p.stopped() {
		return nil, &AbortError{Reason: ErrStopped}
	}
	if p.ride != nil && from == p.ride.Header.Height {
		return []*chain.Block{p.ride}, nil
	}
	limit := int(min(uint64(p.opt.BatchSize), p.src.Proposed.Number-from+1))
	blocks, err := p.source.Blocks(from, limit)
	switch {
	case errors.Is(err, ErrNotAvailable) || err == nil && len(blocks) == 0:
		return nil, abort(ErrEmptyRange, "asked for %d from %d, tip %d", limit, from, p.src.Proposed.Number)
	case err != nil:
		return nil, &ReadError{fmt.Sprintf("source blocks from %d", from), err}
	case len(blocks) > limit:
		return nil, abort(ErrBadRange, "asked for %d blocks from %d, got %d", limit, from, len(blocks))
	}
	return blocks, nil
}

// connect checks that blocks follow each other and what came before, and returns
// the position after them.
func connect(at position, blocks []*chain.Block) (position, error) {
	for _, b := range blocks {
		h := &b.Header
		if h.Height != at.Number {
			return at, abort(ErrBadRange, "got block %d, want %d", h.Height, at.Number)
		}
		if at.parent != (chain.Hash{}) && h.Parent != at.parent {
			return at, abort(ErrBadRange, "block %d names parent %s, want %s", h.Height, h.Parent, at.parent)
		}
		at = position{h.Height + 1, h.Hash()}
	}
	return at, nil
}

// reconcile emits the tips, all from one reading (S-09), whatever happened before
// (S-10), in their order (S-08).
func (p *pass) reconcile(agreed uint64, last *chain.Header) error {
	if err := p.propose(agreed, last); err != nil {
		return err
	}
	if !p.opt.IgnoreCheckpoints && differs(p.loc.Checkpointed, p.src.Checkpointed) {
		if err := p.emit(ChainCheckpointed{p.src.Checkpointed}); err != nil {
			return err
		}
	}
	if differs(p.loc.Proven, p.src.Proven) {
		if err := p.emit(ChainProven{p.src.Proven}); err != nil {
			return err
		}
	}
	if differs(p.loc.Finalized, p.src.Finalized) {
		return p.emit(ChainFinalized{p.src.Finalized})
	}
	return nil
}

// propose emits the proposed tip if it is another one than before the pass, or if
// an earlier pass could not. A consumer that starts above the source's tip has nothing to be told yet.
func (p *pass) propose(agreed uint64, last *chain.Header) error {
	waits := last == nil && !p.opt.TipsOnly && agreed != p.src.Proposed.Number
	if waits || !p.owed && !differsID(p.before, p.src.Proposed) {
		return nil
	}
	if last == nil {
		header, err := p.blockData(p.src.Proposed.Number)
		if err != nil {
			return err
		}
		if got := header.Hash(); got != p.src.Proposed.Hash {
			return abort(ErrTipMoved, "block %d came as %s, the tip was %s", header.Height, got, p.src.Proposed.Hash)
		}
		last = &header
	}
	return p.emit(ChainProposed{Block: p.src.Proposed, Header: *last})
}

// differs is the gate of a tier: number and hashes, leaving out what the local
// side does not know (S-11).
func differs(local, source chain.TipID) bool {
	return differsID(local.Block, source.Block) ||
		local.Batch.Hash != (chain.Hash{}) && local.Batch != source.Batch
}

func differsID(local, source chain.BlockID) bool {
	return local.Number != source.Number || local.Hash != (chain.Hash{}) && local.Hash != source.Hash
}

func (p *pass) emit(e Event) error {
	if err := p.handler.Handle(e); err != nil {
		return &HandlerError{Event: e, Err: err}
	}
	p.result.Events++
	switch e.(type) {
	case BlocksAdded, ChainPruned:
		p.owed = true
	case ChainProposed:
		p.owed = false
	}
	if p.stopped() {
		return &AbortError{Reason: ErrStopped}
	}
	return nil
}

func (p *pass) stopped() bool { return p.opt.Stopped != nil && p.opt.Stopped() }
