package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

func TestTips(t *testing.T) {
	c := newTestChain(0, 0)
	followtest.TestTipsStore(t, func(t *testing.T, genesis chain.Hash) followtest.Opener {
		dir := t.TempDir()
		must(t, Init(dir, c.genesis, Options{}))
		var open *Store
		t.Cleanup(func() { open.Close() })
		return func() follow.TipsStore {
			if open != nil {
				must(t, open.Close())
			}
			var err error
			open, err = Open(dir, Options{})
			must(t, err)
			tips, err := open.Meta().Tips(genesis)
			must(t, err)
			return tips
		}
	})
}

func TestTipsRefuses(t *testing.T) {
	c := newTestChain(0, 0)
	dir := t.TempDir()
	s := mustInit(t, dir, c, Options{})
	tips, err := s.Meta().Tips(chain.Hash{1})
	must(t, err)
	if _, err := s.Meta().Tips(chain.Hash{2}); !errors.Is(err, ErrGenesis) {
		t.Errorf("tips of another genesis: %v", err)
	}
	if err := tips.Apply(follow.ChainCheckpointed{Tip: chain.TipID{Block: chain.BlockID{Number: 3}}}); !errors.Is(err, follow.ErrNoBatch) || errors.Is(err, ErrFailed) {
		t.Errorf("a tip without batch: %v", err)
	}
	must(t, tips.Witness(chain.BlockID{Number: 1, Hash: chain.Hash{7}})) // a refusal is no failure
	r := mustOpen(t, dir, Options{ReadOnly: true})
	if _, err := r.Meta().Tips(chain.Hash{1}); !errors.Is(err, ErrNoMeta) {
		t.Errorf("tips beside a running node: %v", err)
	}
	must(t, s.Close())
	r = mustOpen(t, dir, Options{ReadOnly: true})
	tips, err = r.Meta().Tips(chain.Hash{1})
	must(t, err)
	if err := tips.Witness(chain.BlockID{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write to a reader: %v", err)
	}
	if s := mustInit(t, testDir, c, small(faultfs.New())); s.Meta() != nil {
		t.Error("a store in memory has a meta.db")
	}
}

func TestMetaOfAnotherChain(t *testing.T) {
	a, b := newTestChain(0, 0), newTestChain(0, 0)
	b.genesis.ChainID = 2
	dirA, dirB := t.TempDir(), t.TempDir()
	must(t, Init(dirA, a.genesis, Options{}))
	must(t, Init(dirB, b.genesis, Options{}))
	must(t, os.Rename(filepath.Join(dirA, metaFile), filepath.Join(dirB, metaFile)))
	if _, err := Open(dirB, Options{}); !errors.Is(err, ErrGenesis) {
		t.Errorf("meta.db of another chain: %v", err)
	}
	if c, ok := isCorrupt(second(Open(dirA, Options{}))); !ok || c.File != metaFile {
		t.Errorf("meta.db is gone: %v", c)
	}
}

func second[T any](_ T, err error) error { return err }

// TestDamagedMeta flips bits of meta.db all over: each is found, or every value
// still reads as it was written.
func TestDamagedMeta(t *testing.T) {
	c := newTestChain(0, 0)
	dir := t.TempDir()
	s := mustInit(t, dir, c, Options{})
	fork := followtest.NewFork("a", 40)
	tips, err := s.Meta().Tips(fork.ID(0).Hash)
	must(t, err)
	must(t, tips.Apply(follow.BlocksAdded{Blocks: fork.Blocks(1, 40)}))
	must(t, tips.Apply(follow.ChainCheckpointed{Tip: fork.TipID(30)}))
	want, err := tips.Tips()
	must(t, err)
	must(t, s.Check(nil))
	must(t, s.Close())
	file := filepath.Join(dir, metaFile)
	healthy, err := os.ReadFile(file)
	must(t, err)
	found := 0
	for at := 0; at < len(healthy); at += 37 {
		b := bytes.Clone(healthy)
		b[at] ^= 1 << (at % 8)
		must(t, os.WriteFile(file, b, 0o600))
		if err := readMeta(dir, fork, want); err != nil {
			if c, ok := isCorrupt(err); !ok || c.File != metaFile {
				t.Fatalf("byte %d: %v", at, err)
			}
			found++
		}
	}
	if found < 20 {
		t.Errorf("only %d flipped bits were found", found)
	}
}

// readMeta checks a directory and, if nothing is found, that everything reads as
// it was written.
func readMeta(dir string, fork *followtest.Fork, want chain.Tips) error {
	s, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Check(nil); err != nil {
		return err
	}
	tips, err := s.Meta().Tips(fork.ID(0).Hash)
	if err != nil {
		return err
	}
	got, err := tips.Tips()
	if err != nil || got != want {
		return errors.Join(errors.New("wrong tips"), err)
	}
	for n := range uint64(41) {
		if h, ok, err := tips.BlockHash(n); err != nil || !ok || h != fork.ID(n).Hash {
			return errors.Join(errors.New("wrong hash"), err)
		}
	}
	return nil
}
