package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state/proof"
)

// MaxHistoryBytes bounds the memory that a Versions keeps for going back, beside
// the limit in blocks. The newest block can always be taken back.
const MaxHistoryBytes = 128 << 20

// MaxHeldBytes bounds the same while a block is held.
const MaxHeldBytes = 4 * MaxHistoryBytes

// Versions is a tree at the newest block, and what leads back from there to the
// blocks before.
type Versions struct {
	tree    *Tree
	limit   int
	started bool // there is a newest block
	newest  uint64
	roots   []chain.Hash // of the retained blocks, the newest last
	undos   []*Undo      // undos[i] leads from the block of roots[i+1] to that of roots[i]
	bytes   int          // of undos
	most    int          // bytes, while a block is held
	held    uint64       // see Hold
	holding bool
}

// NewVersions returns an empty state before any block. limit is how many blocks
// it can go back; 0 keeps only the newest.
func NewVersions(limit int) *Versions {
	return &Versions{tree: NewTree(), limit: limit, most: MaxHeldBytes}
}

// RestoreVersions continues from a tree that holds the state after block height,
// as built from a snapshot.
func RestoreVersions(tree *Tree, height uint64, limit int) *Versions {
	return &Versions{tree: tree, limit: limit, most: MaxHeldBytes, started: true, newest: height, roots: []chain.Hash{tree.Root()}}
}

// Tree is the state after the newest block: what overlays go over.
func (v *Versions) Tree() *Tree { return v.tree }

// Root is the root after the newest block.
func (v *Versions) Root() chain.Hash { return v.tree.Root() }

// Height is the newest block; false before the first.
func (v *Versions) Height() (uint64, bool) { return v.newest, v.started }

// Oldest is the oldest retained block; false before the first.
func (v *Versions) Oldest() (uint64, bool) {
	return v.newest - uint64(len(v.undos)), v.started
}

// Commit applies the changes of block height, which follows the newest, and
// returns the root after it.
func (v *Versions) Commit(height uint64, changes []Change, run Runner) chain.Hash {
	invariant.Hold(!v.started || height == v.newest+1, "commit of block %d over %d", height, v.newest)
	root, undo := v.tree.Commit(changes, run)
	if v.started {
		v.undos = append(v.undos, undo)
		v.bytes += undo.size()
	}
	v.roots = append(v.roots, root)
	v.started, v.newest = true, height
	v.trim()
	return root
}

// Extend applies more changes of the newest block, which was committed before it had all
// of them, and returns the root after it now. Nothing else tells such a block from one
// that was committed whole. There must be a block before it to go back to.
func (v *Versions) Extend(changes []Change, run Runner) chain.Hash {
	last := len(v.undos) - 1
	invariant.Hold(last >= 0, "more changes of block %d, which cannot be taken back", v.newest)
	root, undo := v.tree.Commit(changes, run)
	v.bytes -= v.undos[last].size()
	v.undos[last] = v.undos[last].then(undo)
	v.bytes += v.undos[last].size()
	v.roots[len(v.roots)-1] = root
	v.trim()
	return root
}

// Hold keeps a retained block beyond the limit in blocks, and up to MaxHeldBytes, until
// [Versions.Release]: somebody copies the state after it, slice by slice, and would have
// to begin again. One block is held at a time.
func (v *Versions) Hold(height uint64) error {
	_, err := v.back(height)
	if err == nil {
		v.held, v.holding = height, true
	}
	return err
}

// HistoryBytes is the memory that is kept for going back, at most MaxHistoryBytes, or
// MaxHeldBytes while a block is held, and what the newest block adds.
func (v *Versions) HistoryBytes() int { return v.bytes }

// Release lets go of the held block, if there is one.
func (v *Versions) Release() {
	v.holding = false
	v.trim()
}

// trim forgets the oldest blocks beyond the limits.
func (v *Versions) trim() {
	for len(v.undos) > v.limit || (v.bytes > MaxHistoryBytes && len(v.undos) > 1) {
		if v.holding && v.newest-uint64(len(v.undos)) >= v.held && v.bytes <= v.most {
			return
		}
		v.bytes -= v.undos[0].size()
		v.undos[0] = nil
		v.undos, v.roots = v.undos[1:], v.roots[1:]
	}
}

// ErrNotRetained is wrapped when a block is asked for that is newer than the
// newest or older than the oldest retained.
var ErrNotRetained = errors.New("state is not retained")

// back is the number of blocks from the newest to height.
func (v *Versions) back(height uint64) (int, error) {
	if !v.started || height > v.newest || v.newest-height > uint64(len(v.undos)) {
		return 0, fmt.Errorf("%w: block %d, newest is %d, %d before it", ErrNotRetained, height, v.newest, len(v.undos))
	}
	return int(v.newest - height), nil
}

// RootAt is the root after a retained block.
func (v *Versions) RootAt(height uint64) (chain.Hash, bool) {
	n, err := v.back(height)
	if err != nil {
		return chain.Hash{}, false
	}
	return v.roots[len(v.roots)-1-n], true
}

// Rollback makes a retained block the newest again and re-establishes its root.
// Nobody may read meanwhile; overlays over the tree are void.
func (v *Versions) Rollback(height uint64, run Runner) error {
	n, err := v.back(height)
	if err != nil || n == 0 {
		return err
	}
	keep := len(v.undos) - n
	root, _ := v.tree.Commit(v.since(height).Changes(), run)
	for _, u := range v.undos[keep:] {
		v.bytes -= u.size()
	}
	clear(v.undos[keep:])
	v.undos, v.roots, v.newest = v.undos[:keep], v.roots[:keep+1], height
	invariant.Hold(root == v.roots[keep], "rollback to block %d gives root %s, it had %s", height, root, v.roots[keep])
	return nil
}

// since collects the values at height of all keys that changed after it.
func (v *Versions) since(height uint64) *Overlay {
	o := NewOverlay(nil)
	for i, first := len(v.undos)-1, len(v.undos)-int(v.newest-height); i >= first; i-- {
		v.undos[i].Into(o)
	}
	return o
}

// ChangedSince is how many keys the blocks after a retained one changed, each
// counted once for every block that did: what proving that block costs.
func (v *Versions) ChangedSince(height uint64) (keys int, err error) {
	n, err := v.back(height)
	if err != nil {
		return 0, err
	}
	for _, u := range v.undos[len(v.undos)-n:] {
		keys += len(u.entries)
	}
	return keys, nil
}

// Undos returns what each block after one, up to another, replaced, the oldest
// first. Both blocks must be retained.
func (v *Versions) Undos(after, to uint64) ([]*Undo, error) {
	n, err := v.back(after)
	if err == nil {
		_, err = v.back(to)
	}
	if err != nil || to < after {
		return nil, err
	}
	first := len(v.undos) - n
	return slices.Clone(v.undos[first : first+int(to-after)]), nil
}

// At is the state after a retained block. It may be read until the next Commit
// or Rollback.
func (v *Versions) At(height uint64) (View, bool) {
	n, err := v.back(height)
	if err != nil {
		return nil, false
	}
	if n == 0 {
		return v.tree, true
	}
	return &past{tree: v.tree, undos: v.undos[len(v.undos)-n:]}, true
}

// past is a tree seen through the undos of the blocks since, oldest first: the
// first that knows a key has its value.
type past struct {
	tree  *Tree
	undos []*Undo
}

func (p *past) Get(key []byte) ([]byte, bool) {
	path := PathOf(key)
	prefix := binary.BigEndian.Uint64(path[:8])
	for _, u := range p.undos {
		if value, present, changed := u.get(key, prefix); changed {
			return value, present
		}
	}
	return p.tree.Get(key)
}

// Prove proves what key was after a retained block, against [Versions.RootAt].
// For any but the newest block the cost grows with what has changed since.
func (v *Versions) Prove(height uint64, key []byte) (proof.Proof, error) {
	n, err := v.back(height)
	if err != nil {
		return proof.Proof{}, err
	}
	if n == 0 {
		return v.tree.Prove(key), nil
	}
	return v.tree.proveAfter(v.since(height).Changes(), key), nil
}
