package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/snapshot"
)

const (
	// maxChangedKeys bounds the keys that are remembered for the next incremental
	// snapshot: some 25 MB. Beyond it a full one is taken.
	maxChangedKeys = 1 << 18
	// collectBlocks is how many blocks at most go by between two looks at what they
	// changed. The history in memory must reach back that far.
	collectBlocks = 64
)

// changes are the keys that changed since a snapshot, so that the next one holds
// those and no others. They are collected from what the history keeps for going
// back, beside execution: a block costs nothing more for it.
type changes struct {
	base    snapshot.Base // zero: it is not known what changed, and the next one is full
	through uint64        // the newest block whose changes are in keys
	keys    map[string]struct{}
}

// since begins anew after a snapshot.
func (c *changes) since(base snapshot.Base) {
	*c = changes{base: base, through: base.Height, keys: map[string]struct{}{}}
}

func (c *changes) known() bool { return c.base != snapshot.Base{} }

// forget makes the next snapshot a full one.
func (c *changes) forget() { *c = changes{} }

// add takes over what one block changed.
func (c *changes) add(u *state.Undo) {
	u.Keys(func(key []byte) {
		if _, there := c.keys[string(key)]; !there {
			c.keys[string(key)] = struct{}{}
		}
	})
}

// placed is a key and where it is in the tree.
type placed struct {
	path chain.Hash
	key  []byte
}

// ordered are the keys in path order.
func (c *changes) ordered() []placed {
	all := make([]placed, 0, len(c.keys))
	for key := range c.keys {
		all = append(all, placed{state.PathOf([]byte(key)), []byte(key)})
	}
	slices.SortFunc(all, func(a, b placed) int { return bytes.Compare(a.path[:], b.path[:]) })
	return all
}

// undos returns what the blocks after one, up to another, replaced. They never
// change, so they are read without the lock.
func (l *ledger) undos(after, to uint64) ([]*state.Undo, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.versions.Undos(after, to)
}

// noneForgotten is what [snapshots.forgotten] holds while no block was taken back.
const noneForgotten = math.MaxUint64

// collect looks at what changed up to a block. Where the history does not reach
// back, or blocks were taken back, it is not known any more.
func (s *snapshots) collect(to uint64) {
	c := &s.changes
	if kept := s.forgotten.Swap(noneForgotten); kept < c.through {
		c.forget()
	}
	if !c.known() || to <= c.through {
		return
	}
	undos, err := s.views.undos(c.through, to)
	if err != nil {
		s.log.Info("the next snapshot is a full one", "reason", err)
		c.forget()
		return
	}
	for _, u := range undos {
		c.add(u)
	}
	c.through = to
	if len(c.keys) > maxChangedKeys {
		s.log.Info("the next snapshot is a full one", "changed_keys", len(c.keys), "limit", maxChangedKeys)
		c.forget()
	}
}

// continues says which snapshot one of a block continues; the zero Base if it has
// to be a full one. It is not worth it where most keys changed.
func (s *snapshots) continues(height uint64) snapshot.Base {
	s.collect(height)
	c := &s.changes
	if !c.known() || c.through != height || 2*len(c.keys) > s.views.keys() {
		return snapshot.Base{}
	}
	base, err := s.dir.Find(c.base.Identity)
	var links []*snapshot.Snapshot
	if err == nil {
		links, err = base.Chain()
	}
	if err != nil {
		s.log.Info("the next snapshot is a full one", "reason", err)
		return snapshot.Base{}
	}
	if len(links) >= s.cfg.FullEvery {
		return snapshot.Base{}
	}
	return c.base
}

// keys is how many keys the state has.
func (l *ledger) keys() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.versions.Tree().Len()
}

// values copies out what some keys were after a block, in their order, and returns
// how many it did: as many as [sliceLimit] allows. Its errors are those of slice.
func (l *ledger) values(h *chain.Header, keys []placed, yield func(k *placed, value []byte, present bool)) (n int, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	view, ok := l.versions.At(h.Height)
	if !ok {
		return 0, fmt.Errorf("%w: block %d", state.ErrNotRetained, h.Height)
	}
	if root, _ := l.versions.RootAt(h.Height); root != h.StateRoot {
		return 0, fmt.Errorf("%w: block %d was taken back", state.ErrNotRetained, h.Height)
	}
	for size := 0; n < len(keys) && n < sliceLimit.Keys && size < sliceLimit.Bytes; n++ {
		value, present := view.Get(keys[n].key)
		yield(&keys[n], value, present)
		size += len(keys[n].key) + len(value)
	}
	return n, nil
}

// copyChanges writes what the changed keys are after a block, slice by slice as
// copyState does.
func (s *snapshots) copyChanges(ctx context.Context, h *chain.Header, p *pace, w *snapshot.Writer) error {
	var values arena
	var gone []bool
	all := s.changes.ordered()
	for keys := all; len(keys) > 0; {
		start := time.Now()
		values.reset()
		gone = gone[:0]
		n, err := s.views.values(h, keys, func(k *placed, value []byte, present bool) {
			values.add(&k.path, k.key, value)
			gone = append(gone, !present)
		})
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		worked := time.Since(start)
		i := 0
		err = values.each(func(path *chain.Hash, key, value []byte) error {
			i++
			if gone[i-1] {
				return w.Delete(path, key)
			}
			return w.Add(path, key, value)
		})
		if err != nil {
			return err
		}
		keys = keys[n:]
		history, blocks := s.views.since(h.Height)
		p.look(history, blocks, uint64(len(all)-len(keys)), uint64(len(all)))
		p.rest(worked)
	}
	return nil
}

// step is how many blocks go by between two looks at what changed.
func (s *snapshots) step() uint64 {
	if s.cfg.FullEvery <= 1 {
		return s.cfg.IntervalBlocks
	}
	return min(s.cfg.IntervalBlocks, max(1, min(collectBlocks, uint64(s.views.history)/4)))
}

// during collects while stored blocks are executed, and passes progress on.
func (s *snapshots) during(progress Progress) Progress {
	return func(done, total, txs uint64) {
		if every := s.step(); every > 0 && done%every == 0 {
			s.collect(s.views.Head().Height)
		}
		progress(done, total, txs)
	}
}

// errBusy is why a snapshot is not begun while ctx ends.
var errBusy = errors.New("another snapshot is being taken")

// begin waits until no other snapshot is being taken.
func (s *snapshots) begin(ctx context.Context) error {
	select {
	case s.taking <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errBusy, ctx.Err())
	}
}

func (s *snapshots) end() { <-s.taking }
