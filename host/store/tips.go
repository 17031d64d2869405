package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
)

// Tips is the durable [follow.TipsStore]: cursors and block hashes in meta.db,
// every call one transaction (S-48). Its methods may be called by any goroutine.
type Tips struct {
	meta *Meta
}

var _ follow.TipsStore = (*Tips)(nil)

// ErrNoMeta: see [Store.Meta].
var ErrNoMeta = errors.New("meta.db is not open")

// Tips opens the tips store. The first time it starts at block 0, which has the
// given hash; afterwards that hash must be the same (S-46).
func (m *Meta) Tips(genesisBlock chain.Hash) (*Tips, error) {
	if m == nil {
		return nil, ErrNoMeta
	}
	t := &Tips{m}
	known, ok, err := t.BlockHash(0)
	switch {
	case err != nil:
		return nil, err
	case ok && known != genesisBlock:
		return nil, fmt.Errorf("%w: tips start at block 0 %s, want %s", ErrGenesis, known, genesisBlock)
	case ok:
		_, err := t.Tips()
		return t, err
	}
	return t, t.update(func(tx *metaTx) error {
		if err := putHash(tx, chain.BlockID{Hash: genesisBlock}); err != nil {
			return err
		}
		return putTips(tx, follow.GenesisTips(genesisBlock))
	})
}

func (t *Tips) update(fn func(*metaTx) error) error {
	if err := t.meta.store.writable(); err != nil {
		return err
	}
	var refused error
	err := t.meta.update(func(tx *metaTx) error {
		err := fn(tx)
		var r *refusal
		if errors.As(err, &r) {
			refused = r.err
		}
		return err
	})
	if refused != nil {
		return refused
	}
	return t.meta.store.fail(err)
}

// refusal ends a transaction without being a failure of the store.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }

// Tips implements [follow.Local].
func (t *Tips) Tips() (tips chain.Tips, err error) {
	err = t.meta.view(func(tx *metaTx) error {
		tips, err = getTips(tx)
		return err
	})
	return tips, err
}

// BlockHash implements [follow.Local].
func (t *Tips) BlockHash(number uint64) (hash chain.Hash, ok bool, err error) {
	err = t.meta.view(func(tx *metaTx) error {
		v, err := tx.get(hashesBucket, hashKey(number))
		if err != nil || v != nil {
			ok = copy(hash[:], v) == len(hash)
			return err
		}
		if number == 0 {
			return nil // not begun yet
		}
		tips, err := getTips(tx)
		hash, ok = follow.CursorHash(tips, number)
		return err
	})
	return hash, ok, err
}

// Apply implements [follow.TipsStore].
func (t *Tips) Apply(e follow.Event) error {
	return t.update(func(tx *metaTx) error {
		tips, err := getTips(tx)
		if err != nil {
			return err
		}
		u, err := follow.Reduce(tips, e)
		if err != nil {
			return &refusal{fmt.Errorf("tips store: %s: %w", e, err)}
		}
		for _, id := range u.Hashes {
			if err := putHash(tx, id); err != nil {
				return err
			}
		}
		if err := forget(tx, u.Low, u.High); err != nil {
			return err
		}
		return putTips(tx, u.Tips)
	})
}

// forget deletes the hashes outside low to high, except that of block 0.
func forget(tx *metaTx, low, high uint64) error {
	if low == 0 && high == math.MaxUint64 {
		return nil
	}
	unwanted, err := tx.keys(hashesBucket, func(key []byte) bool {
		n := binary.BigEndian.Uint64(key)
		return n != 0 && (n < low || n > high)
	})
	for _, key := range unwanted {
		if err == nil {
			err = tx.delete(hashesBucket, key)
		}
	}
	return err
}

// Witness implements [follow.TipsStore].
func (t *Tips) Witness(id chain.BlockID) error {
	return t.update(func(tx *metaTx) error { return putHash(tx, id) })
}

// Seed implements [follow.TipsStore].
func (t *Tips) Seed(id chain.BlockID) error {
	return t.update(func(tx *metaTx) error {
		tips, err := getTips(tx)
		if err != nil {
			return err
		}
		if tips.Proposed.Number != 0 {
			return &refusal{fmt.Errorf("tips store at block %d, seed %d: %w", tips.Proposed.Number, id.Number, follow.ErrNotFresh)}
		}
		tips.Proposed = id
		if err := putHash(tx, id); err != nil {
			return err
		}
		return putTips(tx, tips)
	})
}

// hashKey is big-endian, so that keys are in the order of heights.
func hashKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func putHash(tx *metaTx, id chain.BlockID) error {
	return tx.put(hashesBucket, hashKey(id.Number), id.Hash[:])
}

const (
	idBytes   = 8 + 32
	tipsBytes = idBytes + 3*2*idBytes
)

func putTips(tx *metaTx, t chain.Tips) error {
	v := appendID(nil, t.Proposed)
	for _, tip := range []chain.TipID{t.Checkpointed, t.Proven, t.Finalized} {
		v = appendID(appendID(v, tip.Block), chain.BlockID(tip.Batch))
	}
	return tx.put(tipsBucket, cursorsKey, v)
}

func appendID(dst []byte, id chain.BlockID) []byte {
	return append(le.AppendUint64(dst, id.Number), id.Hash[:]...)
}

func readID(b []byte, i int) chain.BlockID {
	b = b[i*idBytes:]
	return chain.BlockID{Number: le.Uint64(b), Hash: chain.Hash(b[8:40])}
}

func getTips(tx *metaTx) (t chain.Tips, err error) {
	v, err := tx.get(tipsBucket, cursorsKey)
	if err != nil {
		return t, err
	}
	if len(v) != tipsBytes {
		return t, corrupt(metaFile, -1, NoHeight, "tips are %d bytes, want %d", len(v), tipsBytes)
	}
	t.Proposed = readID(v, 0)
	for i, tip := range []*chain.TipID{&t.Checkpointed, &t.Proven, &t.Finalized} {
		tip.Block, tip.Batch = readID(v, 1+2*i), chain.BatchID(readID(v, 2+2*i))
	}
	return t, follow.CheckTips(t)
}
