package store

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

// TestInitAfter: a log that begins after a block takes the one that follows it and
// no other, and is as any log whose beginning was pruned.
func TestInitAfter(t *testing.T) {
	c := newTestChain(60, 5)
	last := c.at(20).Block.Header.ID()
	for name, o := range map[string]Options{"memory": small(faultfs.New()), "disk": {SegmentBytes: 4 << 10, IndexEntries: 64}} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			must(t, InitAfter(dir, c.genesis, last, o))
			s := mustOpen(t, dir, o)
			if s.Height() != 20 || s.Base() != 21 || s.Before() != last {
				t.Fatalf("height %d, base %d, before it %v", s.Height(), s.Base(), s.Before())
			}
			for _, wrong := range []Record{c.at(20), c.at(22)} {
				if err := s.Append(wrong); !errors.Is(err, ErrOrder) {
					t.Fatalf("block %d: %v, want %v", wrong.Block.Header.Height, err, ErrOrder)
				}
			}
			other := *c.at(21).Block
			other.Header.Parent[0] ^= 1
			if err := s.Append(Record{Block: &other, Results: c.at(21).Results}); !errors.Is(err, ErrOrder) {
				t.Fatalf("block 21 of another parent: %v, want %v", err, ErrOrder)
			}
			must(t, s.AppendBatch(c.records[20:]))
			must(t, s.Maintain(nil))
			must(t, s.Check(nil))
			must(t, s.Close())
			s = mustOpen(t, dir, o)
			must(t, c.holds(s, 21, 60))
			must(t, s.Check(nil))
			if _, err := s.Block(20); !errors.Is(err, ErrPruned) {
				t.Fatalf("block 20: %v, want %v", err, ErrPruned)
			}
			if at, err := s.HeightByHash(c.at(33).Block.Header.Hash()); err != nil || at != 33 {
				t.Fatalf("block 33 is at %d, %v", at, err)
			}
		})
	}
	for name, id := range map[string]chain.BlockID{"height without a hash": {Number: 5}, "hash without a height": {Hash: chain.Hash{1}}, "height over the limit": {Number: MaxHeight, Hash: chain.Hash{1}}} {
		if err := InitAfter(t.TempDir(), c.genesis, id, small(faultfs.New())); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
