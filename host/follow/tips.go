package follow

import (
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/kaizenchain/kaizen/host/chain"
)

// TipsStore remembers how far a consumer of a pass got: the four cursors, and
// the hash of every block between the lowest of them and the highest. The rules
// are [Reduce]; an implementation only keeps what Reduce says, in one
// transaction per call, so that a crash leaves the state before or after it.
// followtest.TestTipsStore is the suite that all implementations pass (S-48).
type TipsStore interface {
	Local
	// Apply is what a [Handler] calls once it has dealt with an event itself
	// (S-54). A refused event leaves the store unchanged.
	Apply(Event) error
	// Witness records a hash that no event carries; it moves no cursor (S-43).
	Witness(chain.BlockID) error
	// Seed makes a fresh store start at a block that a snapshot holds: it becomes
	// the proposed tip, so that the next pass downloads what follows it.
	Seed(chain.BlockID) error
}

// TipsUpdate is what a store has to write for one event, all of it or nothing.
type TipsUpdate struct {
	Tips chain.Tips
	// Hashes are to be recorded. Those of tiers are not among them: what a tier says
	// must not overrule what was delivered (S-30), and as long as a cursor stands
	// there, [CursorHash] knows it.
	Hashes []chain.BlockID
	// Hashes below Low, except that of block 0, and above High are to be deleted,
	// after recording.
	Low, High uint64
}

var (
	// ErrNoBatch: a cursor stands on a block other than genesis but has no batch.
	// It must never be read as batch 0 (S-34).
	ErrNoBatch = errors.New("tip has no batch id")
	// ErrNotFresh: a store that already holds blocks cannot be seeded.
	ErrNotFresh = errors.New("tips store is not fresh")
)

// GenesisTips are the cursors of a store before any event (S-46).
func GenesisTips(genesis chain.Hash) chain.Tips {
	return chain.LocalTips(chain.BlockID{Hash: genesis})
}

// CheckTips reports the first cursor that stands on a block without a batch. A
// store calls it on what it loads.
func CheckTips(t chain.Tips) error {
	for _, c := range []struct {
		name string
		tip  chain.TipID
	}{{"checkpointed", t.Checkpointed}, {"proven", t.Proven}, {"finalized", t.Finalized}} {
		if c.tip.Block.Number > 0 && c.tip.Batch.Hash == (chain.Hash{}) {
			return fmt.Errorf("%s tip %s: %w", c.name, describeID(c.tip.Block), ErrNoBatch)
		}
	}
	return nil
}

// Reduce computes what an event does to a store with these tips (S-44, S-45).
func Reduce(tips chain.Tips, e Event) (TipsUpdate, error) {
	u := TipsUpdate{Tips: tips, High: math.MaxUint64}
	switch e := e.(type) {
	case BlocksAdded:
		for _, b := range e.Blocks {
			u.Hashes = append(u.Hashes, b.Header.ID())
		}
		u.Tips.Proposed = u.Hashes[len(u.Hashes)-1]
	case ChainPruned:
		u.prune(e)
	case ChainProposed:
		u.Tips.Proposed = e.Block
		u.Hashes = append(u.Hashes, e.Block)
	case ChainCheckpointed:
		u.Tips.Checkpointed = e.Tip
		pullDown(&u.Tips.Proven, e.Tip) // the order of tiers holds between events too (S-02)
	case ChainProven:
		u.Tips.Proven = e.Tip
	case ChainFinalized:
		u.Tips.Finalized = e.Tip
		u.Low = lowest(u.Tips)
	}
	return u, CheckTips(u.Tips)
}

// prune moves the proposed cursor to the target, whatever it was, and the two
// others back to their own source tip, never forward (S-33).
func (u *TipsUpdate) prune(e ChainPruned) {
	u.Tips.Proposed = e.Target
	pullDown(&u.Tips.Checkpointed, e.Checkpointed)
	pullDown(&u.Tips.Proven, e.Proven)
	u.High = e.Target.Number
	u.Hashes = append(u.Hashes, e.Target)
}

func pullDown(cursor *chain.TipID, to chain.TipID) {
	if cursor.Block.Number > to.Block.Number {
		*cursor = to
	}
}

// lowest is the lowest block any cursor stands on: hashes from there up are what
// the walk of a later pass may ask for.
func lowest(t chain.Tips) uint64 {
	return min(t.Proposed.Number, t.Checkpointed.Block.Number, t.Proven.Block.Number, t.Finalized.Block.Number)
}

// CursorHash answers [Local.BlockHash] for a height at which a cursor stands:
// cursors may lead what was delivered (S-47), and after a prune above what is
// recorded. Stores ask it when they have no hash of their own.
func CursorHash(t chain.Tips, number uint64) (chain.Hash, bool) {
	for _, id := range []chain.BlockID{t.Proposed, t.Checkpointed.Block, t.Proven.Block, t.Finalized.Block} {
		if id.Number == number && id.Hash != (chain.Hash{}) {
			return id.Hash, true
		}
	}
	return chain.Hash{}, false
}

// MemoryTips is a [TipsStore] that lives as long as the process.
type MemoryTips struct {
	tips   chain.Tips
	hashes map[uint64]chain.Hash
}

// NewMemoryTips returns a store at genesis.
func NewMemoryTips(genesis chain.Hash) *MemoryTips {
	return &MemoryTips{tips: GenesisTips(genesis), hashes: map[uint64]chain.Hash{0: genesis}}
}

// Tips implements [Local].
func (m *MemoryTips) Tips() (chain.Tips, error) { return m.tips, nil }

// BlockHash implements [Local].
func (m *MemoryTips) BlockHash(number uint64) (chain.Hash, bool, error) {
	if h, ok := m.hashes[number]; ok {
		return h, true, nil
	}
	h, ok := CursorHash(m.tips, number)
	return h, ok, nil
}

// Apply implements [TipsStore].
func (m *MemoryTips) Apply(e Event) error {
	u, err := Reduce(m.tips, e)
	if err != nil {
		return fmt.Errorf("tips store: %s: %w", e, err)
	}
	m.tips = u.Tips
	for _, id := range u.Hashes {
		m.hashes[id.Number] = id.Hash
	}
	if u.Low > 0 || u.High < math.MaxUint64 {
		maps.DeleteFunc(m.hashes, func(n uint64, _ chain.Hash) bool { return n != 0 && n < u.Low || n > u.High })
	}
	return nil
}

// Witness implements [TipsStore].
func (m *MemoryTips) Witness(id chain.BlockID) error {
	m.hashes[id.Number] = id.Hash
	return nil
}

// Seed implements [TipsStore].
func (m *MemoryTips) Seed(id chain.BlockID) error {
	if m.tips.Proposed.Number != 0 {
		return fmt.Errorf("tips store at block %d, seed %d: %w", m.tips.Proposed.Number, id.Number, ErrNotFresh)
	}
	m.tips.Proposed = id
	m.hashes[id.Number] = id.Hash
	return nil
}
