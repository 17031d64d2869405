package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/snapshot"
)

// What `[prune] mode` accepts.
const (
	PruneArchive    = "archive"    // every block is kept
	PruneAggressive = "aggressive" // old blocks go
)

const (
	// DefaultKeepBlocks is how many blocks an aggressive node keeps at least. It
	// keeps up to a snapshot interval and a file of the log more: see [pruner].
	DefaultKeepBlocks = 10_000
	// pruneSteps is in how many files, about, the kept blocks lie, and how often
	// the oldest are looked at while that many blocks are sealed.
	pruneSteps = 10
)

// blocks is how many blocks are kept at least; 0: all.
func (c *PruneConfig) blocks() uint64 {
	if c.Mode == PruneAggressive {
		return c.KeepBlocks
	}
	return 0
}

// segmentBlocks is how many blocks a file of the log may hold, for a node that
// removes whole files; 0: any number.
func (c *PruneConfig) segmentBlocks() uint64 { return c.blocks() / pruneSteps }

// checkPrune refuses to prune without the snapshots that make up for it.
func (c *Config) checkPrune() error {
	every, keep := c.Snapshot.IntervalBlocks, c.Prune.blocks()
	if keep == 0 || every > 0 && every <= keep {
		return nil
	}
	return fmt.Errorf("prune.mode is %s and snapshot.interval_blocks is %d: a node that prunes starts from snapshots, so want 1 to %d", c.Prune.Mode, every, keep)
}

// pruner removes the blocks that are not to be kept, in the background, and never
// one that is needed: what is left begins at the newest snapshot that leaves at
// least keep blocks, and that snapshot has been read back. So the node can start,
// and the state after every block above that snapshot can be executed again.
//
// Only one sync of the head mark is between it and the next block.
type pruner struct {
	keep  uint64 // blocks; 0: all
	views *views
	log   *slog.Logger
	due   chan struct{} // capacity 1

	verified string              // path of the snapshot that was read back last
	done     func(uint64, error) // told of the base after every attempt
}

func newPruner(cfg *Config, v *views, log *slog.Logger) *pruner {
	p := &pruner{keep: cfg.Prune.blocks(), views: v, log: logs.For(log, "prune"), due: make(chan struct{}, 1), done: func(uint64, error) {}}
	p.due <- struct{}{} // what the process before left
	return p
}

// sealed is told of every block when it is durable. It never waits.
func (p *pruner) sealed(height uint64) {
	if p.keep == 0 || height%max(1, p.keep/pruneSteps) != 0 {
		return
	}
	select {
	case p.due <- struct{}{}:
	default:
	}
}

// run prunes when something may be due, until ctx ends.
func (p *pruner) run(ctx context.Context) {
	if p.keep == 0 {
		return
	}
	for {
		select {
		case <-p.due:
			p.attempt()
		case <-ctx.Done():
			return
		}
	}
}

// attempt logs what it did, and a failure: one to write has failed the store, and
// the next block says so.
func (p *pruner) attempt() {
	before := p.views.store.Base()
	base, err := p.prune()
	switch {
	case err != nil:
		p.log.Error("old blocks were not removed", "base", base, "error", err)
	case base > before:
		p.log.Info("removed old blocks", "from", before, "to", base-1)
	}
	p.done(base, err)
}

func (p *pruner) prune() (base uint64, err error) {
	first, err := p.first()
	base = p.views.store.Base()
	if err != nil || first <= base {
		return base, err
	}
	return p.views.store.DropBefore(first)
}

// first is the oldest block that is needed: that of the newest snapshot which
// leaves enough and can be read. 0 means that there is none.
func (p *pruner) first() (uint64, error) {
	head := p.views.Head().Height
	if head < p.keep {
		return 0, nil
	}
	list, err := SnapshotDir(p.views.store.Dir()).List()
	if err != nil {
		return 0, err
	}
	for _, i := range list {
		if i.Err != nil || i.Height > head-p.keep {
			continue
		}
		if i.Path != p.verified {
			if err := p.readBack(i.Snapshot); err != nil {
				p.log.Warn("snapshot cannot be used, so the blocks after an older one are kept", "snapshot", i.Path, "error", err)
				continue
			}
			p.verified = i.Path
		}
		return i.Height, nil
	}
	return 0, nil
}

// readBack checks every byte of a snapshot and of what it stands on.
func (p *pruner) readBack(s *snapshot.Snapshot) error {
	links, err := s.Chain()
	for _, link := range links {
		err = errors.Join(err, link.CheckChain(p.views.genesis))
		if err == nil {
			err = link.Verify()
		}
	}
	return err
}

// snapshotsNeeded is how many of the newest snapshots have to stay so that one of
// them leaves keep blocks above it.
func (p *pruner) snapshotsNeeded() (n int, err error) {
	head := p.views.Head().Height
	if p.keep == 0 || head < p.keep {
		return 0, nil
	}
	list, err := SnapshotDir(p.views.store.Dir()).List()
	for _, i := range list {
		if i.Err != nil {
			continue
		}
		if n++; i.Height <= head-p.keep {
			break
		}
	}
	return n, err
}

// ErrNoState is wrapped when stored blocks cannot be executed because those before
// them were pruned and no snapshot takes their place.
var ErrNoState = errors.New("there is no state to start from")

// checkState refuses to execute blocks whose parents are not stored.
func (l *ledger) checkState() error {
	base := l.store.Base()
	if l.head.Height+1 >= base {
		return nil
	}
	return fmt.Errorf("%w: blocks below %d were pruned, and no snapshot of a block from %d on can be used: name one, or start again in an empty directory from another node's", ErrNoState, base, base-1)
}
