package snapshot

import (
	"bytes"
	"iter"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
)

// Difference is a key that a snapshot and another state do not have alike.
type Difference struct {
	Key        []byte
	Snapshot   []byte // value; nil if absent
	Other      []byte
	InSnapshot bool
	InOther    bool
}

// FirstDifference compares the state of a chain of snapshots with another, in path
// order; nil if they are equal. The tree is not written meanwhile. A chain of more
// than one is restored in memory for it.
func FirstDifference(links []*Snapshot, other *state.Tree, o Options) (*Difference, error) {
	if err := CheckLinks(links); err != nil {
		return nil, err
	}
	if len(links) == 1 {
		return firstDifference(links[0].Entries(), other)
	}
	tree, _, err := Restore(links, o)
	if err != nil {
		return nil, err
	}
	return firstDifference(entriesOf(tree), other)
}

// entriesOf gives the keys of a tree as if they were read.
func entriesOf(tree *state.Tree) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		tree.Ascend(chain.Hash{}, func(key, value []byte) bool {
			return yield(&Entry{Leaf: state.Prepare(key, value)}, nil)
		})
	}
}

func firstDifference(entries iter.Seq2[*Entry, error], other *state.Tree) (*Difference, error) {
	next, stop := iter.Pull2(entries)
	defer stop()
	var found *Difference
	var failure error
	other.Ascend(chain.Hash{}, func(key, value []byte) bool {
		e, err, ok := next()
		failure = err
		if err == nil {
			found = differ(e, ok, key, value)
		}
		return failure == nil && found == nil
	})
	if failure != nil || found != nil {
		return found, failure
	}
	if e, err, ok := next(); ok {
		failure = err
		if err == nil {
			found = &Difference{Key: bytes.Clone(e.Key()), Snapshot: bytes.Clone(e.Value()), InSnapshot: true}
		}
	}
	return found, failure
}

// differ compares the next key of both; ok is false at the end of the snapshot.
func differ(e *Entry, ok bool, key, value []byte) *Difference {
	side := 1
	if ok {
		mine, other := e.Path(), state.PathOf(key)
		side = bytes.Compare(mine[:], other[:])
	}
	if side == 0 && bytes.Equal(e.Value(), value) {
		return nil
	}
	d := &Difference{}
	if side <= 0 {
		d.Key, d.Snapshot, d.InSnapshot = bytes.Clone(e.Key()), bytes.Clone(e.Value()), true
	}
	if side >= 0 {
		d.Key, d.Other, d.InOther = bytes.Clone(key), bytes.Clone(value), true
	}
	return d
}
