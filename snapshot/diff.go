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

// FirstDifference compares a full snapshot with a state, in path order; nil if
// they are equal. The tree is not written meanwhile.
func (s *Snapshot) FirstDifference(other *state.Tree) (*Difference, error) {
	if err := s.checkFull(); err != nil {
		return nil, err
	}
	next, stop := iter.Pull2(s.Entries())
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
