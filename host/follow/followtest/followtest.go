// Package followtest holds what every implementation of an interface of
// host/follow is tested with: the conformance suite of tips stores, and blocks
// of made-up forks to feed it.
//
// It is for tests only and must not import an adapter.
//
//	func TestTips(t *testing.T) {
//		followtest.TestTipsStore(t, func(t *testing.T, genesis chain.Hash) followtest.Opener {
//			dir := t.TempDir()
//			return func() follow.TipsStore { … }
//		})
//	}
//
// Its functions may be called from any goroutine.
package followtest

import (
	"errors"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
)

// Fork makes the blocks of one made-up chain. Two forks agree below the height at
// which they branch, and nowhere above.
type Fork struct {
	blocks []*chain.Block
}

// NewFork returns a chain of heights 0 to tip; name decides every hash.
func NewFork(name string, tip uint64) *Fork {
	f := &Fork{blocks: []*chain.Block{block(name, nil)}}
	return f.Extend(name, tip)
}

// Branch returns a chain that shares the blocks below height from, and has its
// own from there to tip.
func (f *Fork) Branch(name string, from, tip uint64) *Fork {
	g := &Fork{blocks: append([]*chain.Block(nil), f.blocks[:from]...)}
	return g.Extend(name, tip)
}

// Extend appends blocks up to tip and returns f.
func (f *Fork) Extend(name string, tip uint64) *Fork {
	for f.Tip() < tip {
		f.blocks = append(f.blocks, block(name, &f.blocks[len(f.blocks)-1].Header))
	}
	return f
}

func block(name string, parent *chain.Header) *chain.Block {
	b := &chain.Block{Header: chain.Header{Version: chain.BlockVersion, ChainID: 1}}
	if parent != nil {
		b.Header.Height, b.Header.Time, b.Header.Parent = parent.Height+1, parent.Time+100, parent.Hash()
	}
	copy(b.Header.StateRoot[:], name)
	b.Header.OracleHash, b.Header.TxsRoot = b.Oracle.Hash(), chain.TxsRoot(nil)
	return b
}

// Tip is the highest number.
func (f *Fork) Tip() uint64 { return uint64(len(f.blocks) - 1) }

// Block returns the block at a height, nil above the tip.
func (f *Fork) Block(n uint64) *chain.Block {
	if n > f.Tip() {
		return nil
	}
	return f.blocks[n]
}

// ID is the id of the block at a height of at most the tip.
func (f *Fork) ID(n uint64) chain.BlockID { return f.blocks[n].Header.ID() }

// TipID is the block at a height as a tip, with a batch of its own: half the
// block's number, and a hash that is not the block's, so that a store which
// mixes the two up is found out.
func (f *Fork) TipID(n uint64) chain.TipID {
	t := chain.TipID{Block: f.ID(n)}
	t.Batch = chain.BatchID{Number: (n + 1) / 2, Hash: t.Block.Hash}
	if n > 0 {
		t.Batch.Hash[0] ^= 0xba
	}
	return t
}

// Tips are four tiers at the given heights.
func (f *Fork) Tips(proposed, checkpointed, proven, finalized uint64) chain.Tips {
	return chain.Tips{Proposed: f.ID(proposed), Checkpointed: f.TipID(checkpointed), Proven: f.TipID(proven), Finalized: f.TipID(finalized)}
}

// Blocks are the blocks from first to last.
func (f *Fork) Blocks(first, last uint64) []*chain.Block { return f.blocks[first : last+1] }

// Opener opens the store under test again, on the same data: after a crash for a
// durable one, the same value for one in memory.
type Opener func() follow.TipsStore

// TestTipsStore runs the suite (S-44 to S-48, R-40 to R-43) against a store that
// fresh creates at the given genesis. Each case looks at the store twice: as it
// is, and opened again.
func TestTipsStore(t *testing.T, fresh func(t *testing.T, genesis chain.Hash) Opener) {
	for _, c := range tipsCases {
		t.Run(c.name, func(t *testing.T) {
			chainA := NewFork("a", 60)
			s := &storeTest{T: t, a: chainA, b: chainA.Branch("b", 37, 60)}
			s.open = fresh(t, s.a.ID(0).Hash)
			s.TipsStore = s.open()
			c.run(s)
		})
	}
}

type storeTest struct {
	*testing.T
	follow.TipsStore
	open Opener
	a, b *Fork // b leaves a at 37
}

var tipsCases = []struct {
	name string
	run  func(*storeTest)
}{
	{"S-46 all cursors start at genesis", (*storeTest).genesis},
	{"S-44 added records every hash", (*storeTest).added},
	{"S-44 tier events move one cursor", (*storeTest).tiers},
	{"S-47 tiers may lead what was delivered", (*storeTest).lead},
	{"R-40 prune between checkpointed and proposed", (*storeTest).pruneAbove},
	{"R-41 prune pulls each cursor to its own source tip", (*storeTest).pruneBelow},
	{"S-33 prune moves no cursor forward", (*storeTest).pruneForward},
	{"S-27 a tip is replaced at equal height", (*storeTest).replace},
	{"S-30 a tier does not overrule a delivered block", (*storeTest).overrule},
	{"S-02 tiers stay ordered when checkpointed falls", (*storeTest).ordered},
	{"R-42 a cursor without batch is refused", (*storeTest).noBatch},
	{"R-43 finalized passes sparse hashes", (*storeTest).sparse},
	{"S-45 finalized forgets what nobody needs", (*storeTest).forget},
	{"S-43 a witness moves no cursor", (*storeTest).witness},
	{"a snapshot seeds a fresh store only", (*storeTest).seed},
}

func (s *storeTest) apply(events ...follow.Event) {
	s.Helper()
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			s.Fatalf("apply %s: %v", e, err)
		}
	}
}

// want compares the cursors with a full set of tips, before and after reopening.
func (s *storeTest) want(tips chain.Tips) {
	s.Helper()
	for _, when := range []string{"", " after reopening"} {
		got, err := s.Tips()
		if err != nil {
			s.Fatalf("tips%s: %v", when, err)
		}
		if got != tips {
			s.Fatalf("tips%s are\n%+v\nwant\n%+v", when, got, tips)
		}
		s.TipsStore = s.open()
	}
}

func (s *storeTest) wantHash(id chain.BlockID) {
	s.Helper()
	for _, when := range []string{"", " after reopening"} {
		h, ok, err := s.BlockHash(id.Number)
		if err != nil || !ok || h != id.Hash {
			s.Fatalf("hash of %d%s is %s, %v, %v, want %s", id.Number, when, h, ok, err, id.Hash)
		}
		s.TipsStore = s.open()
	}
}

func (s *storeTest) wantNoHash(n uint64) {
	s.Helper()
	for _, when := range []string{"", " after reopening"} {
		if h, ok, err := s.BlockHash(n); err != nil || ok {
			s.Fatalf("hash of %d%s is %s, %v, want none", n, when, h, err)
		}
		s.TipsStore = s.open()
	}
}

// synced delivers a's blocks 1 to 45 and moves the tiers to 40, 30 and 20.
func (s *storeTest) synced() {
	s.Helper()
	s.apply(follow.BlocksAdded{Blocks: s.a.Blocks(1, 45)},
		follow.ChainCheckpointed{Tip: s.a.TipID(40)}, follow.ChainProven{Tip: s.a.TipID(30)}, follow.ChainFinalized{Tip: s.a.TipID(20)})
}

func (s *storeTest) genesis() {
	s.want(follow.GenesisTips(s.a.ID(0).Hash))
	s.wantHash(s.a.ID(0))
	s.wantNoHash(1)
}

func (s *storeTest) added() {
	s.apply(follow.BlocksAdded{Blocks: s.a.Blocks(1, 3)}, follow.BlocksAdded{Blocks: s.a.Blocks(4, 4)})
	tips := follow.GenesisTips(s.a.ID(0).Hash)
	tips.Proposed = s.a.ID(4)
	s.want(tips)
	for n := range uint64(5) {
		s.wantHash(s.a.ID(n))
	}
	s.wantNoHash(5)
}

func (s *storeTest) tiers() {
	s.synced()
	s.want(s.a.Tips(45, 40, 30, 20))
	s.apply(follow.ChainProposed{Block: s.a.ID(45), Header: s.a.Block(45).Header})
	s.want(s.a.Tips(45, 40, 30, 20))
	s.apply(follow.ChainProven{Tip: s.a.TipID(33)})
	s.want(s.a.Tips(45, 40, 33, 20))
}

func (s *storeTest) lead() {
	s.apply(follow.ChainCheckpointed{Tip: s.a.TipID(40)}, follow.ChainProven{Tip: s.a.TipID(30)}, follow.ChainFinalized{Tip: s.a.TipID(20)})
	s.want(s.a.Tips(0, 40, 30, 20))
	for _, n := range []uint64{0, 20, 30, 40} {
		s.wantHash(s.a.ID(n))
	}
	s.wantNoHash(25)
}

func (s *storeTest) pruneAbove() {
	s.synced()
	s.apply(follow.ChainPruned{Target: s.a.ID(42), Checkpointed: s.b.TipID(44), Proven: s.b.TipID(41)})
	s.want(s.a.Tips(42, 40, 30, 20))
	s.wantHash(s.a.ID(42))
	s.wantNoHash(43)
}

func (s *storeTest) pruneBelow() {
	s.synced()
	s.apply(follow.ChainPruned{Target: s.a.ID(36), Checkpointed: s.a.TipID(35), Proven: s.a.TipID(25)})
	s.want(s.a.Tips(36, 35, 25, 20))
	s.wantHash(s.a.ID(25))
	s.apply(follow.BlocksAdded{Blocks: s.b.Blocks(37, 38)})
	s.wantHash(s.b.ID(38))
	s.wantNoHash(39)
}

func (s *storeTest) pruneForward() {
	s.synced()
	s.apply(follow.ChainPruned{Target: s.a.ID(44), Checkpointed: s.a.TipID(43), Proven: s.a.TipID(42)})
	s.want(s.a.Tips(44, 40, 30, 20))
}

func (s *storeTest) replace() {
	s.synced()
	s.apply(follow.ChainPruned{Target: s.a.ID(36), Checkpointed: s.b.TipID(40), Proven: s.a.TipID(30)},
		follow.BlocksAdded{Blocks: s.b.Blocks(37, 46)}, follow.ChainCheckpointed{Tip: s.b.TipID(40)})
	want := s.a.Tips(36, 36, 30, 20)
	want.Proposed, want.Checkpointed = s.b.ID(46), s.b.TipID(40)
	s.want(want)
	s.wantHash(s.b.ID(40))
}

func (s *storeTest) overrule() {
	s.synced()
	s.apply(follow.ChainCheckpointed{Tip: s.b.TipID(42)})
	s.wantHash(s.a.ID(42))
	s.apply(follow.ChainPruned{Target: s.a.ID(44), Checkpointed: s.b.TipID(41), Proven: s.a.TipID(30)})
	s.wantHash(s.a.ID(41))
	want := s.a.Tips(44, 40, 30, 20)
	want.Checkpointed = s.b.TipID(41)
	s.want(want)
}

func (s *storeTest) ordered() {
	s.synced()
	s.apply(follow.ChainCheckpointed{Tip: s.a.TipID(28)})
	s.want(s.a.Tips(45, 28, 28, 20))
	s.apply(follow.ChainProven{Tip: s.a.TipID(26)})
	s.want(s.a.Tips(45, 28, 26, 20))
}

func (s *storeTest) noBatch() {
	s.synced()
	bare := chain.TipID{Block: s.a.ID(43)}
	low := chain.TipID{Block: s.a.ID(22)}
	for _, e := range []follow.Event{
		follow.ChainCheckpointed{Tip: bare}, follow.ChainProven{Tip: bare}, follow.ChainFinalized{Tip: bare},
		follow.ChainPruned{Target: s.a.ID(36), Checkpointed: low, Proven: low},
	} {
		if err := s.Apply(e); !errors.Is(err, follow.ErrNoBatch) {
			s.Fatalf("apply %s: %v, want %v", e, err, follow.ErrNoBatch)
		}
	}
	s.want(s.a.Tips(45, 40, 30, 20))
	s.wantHash(s.a.ID(45))
}

func (s *storeTest) sparse() {
	s.apply(follow.ChainProposed{Block: s.a.ID(50), Header: s.a.Block(50).Header},
		follow.ChainCheckpointed{Tip: s.a.TipID(47)}, follow.ChainProven{Tip: s.a.TipID(41)}, follow.ChainFinalized{Tip: s.a.TipID(33)})
	s.apply(follow.ChainFinalized{Tip: s.a.TipID(41)})
	s.want(s.a.Tips(50, 47, 41, 41))
	for _, n := range []uint64{0, 41, 47, 50} {
		s.wantHash(s.a.ID(n))
	}
	s.wantNoHash(33)
}

func (s *storeTest) forget() {
	s.synced()
	for n := uint64(20); n <= 45; n++ {
		s.wantHash(s.a.ID(n))
	}
	s.wantNoHash(1)
	s.wantNoHash(19)
	s.wantHash(s.a.ID(0))
}

func (s *storeTest) witness() {
	s.synced()
	if err := s.Witness(s.b.ID(52)); err != nil {
		s.Fatal(err)
	}
	s.want(s.a.Tips(45, 40, 30, 20))
	s.wantHash(s.b.ID(52))
}

func (s *storeTest) seed() {
	if err := s.Seed(s.a.ID(32)); err != nil {
		s.Fatal(err)
	}
	tips := follow.GenesisTips(s.a.ID(0).Hash)
	tips.Proposed = s.a.ID(32)
	s.want(tips)
	s.wantHash(s.a.ID(32))
	if err := s.Seed(s.a.ID(33)); !errors.Is(err, follow.ErrNotFresh) {
		s.Fatalf("second seed: %v, want %v", err, follow.ErrNotFresh)
	}
	s.want(tips)
}
