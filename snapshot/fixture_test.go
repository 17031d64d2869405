package snapshot

import (
	"crypto/ed25519"
	"crypto/sha256"
	"iter"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/state"
)

var (
	testKey     = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	testGenesis = &chain.Genesis{ChainID: 5, Time: 1, IntervalMs: 100, MaxTxsPerBlock: 10, MaxStaleMs: 3000,
		Sequencer: [32]byte(testKey.Public().(ed25519.PublicKey)), ModuleHash: chain.Hash{9}}
)

// metaOf is a block of the test chain whose state is tree.
func metaOf(tree *state.Tree, height uint64) Meta {
	h := chain.Header{Version: chain.BlockVersion, ChainID: testGenesis.ChainID, Height: height, Time: 100 * height,
		StateRoot: tree.Root(), ModuleHash: testGenesis.ModuleHash, Sequencer: testGenesis.Sequencer}
	h.Sign(testKey)
	return Meta{GenesisHash: testGenesis.Hash(), Header: h}
}

// zeros is two chunks that compress to almost nothing: little to write and read
// again and again.
func zeros() *state.Tree {
	o := state.NewOverlay(nil)
	for i := range 17 {
		o.Set([]byte{byte(i)}, make([]byte, state.MaxValueBytes))
	}
	v := state.NewVersions(0)
	v.Commit(0, o.Changes(), nil)
	return v.Tree()
}

func memDir() *Dir { return &Dir{Path: "/data/snapshots", FS: faultfs.New()} }

func create(t testing.TB, d *Dir, meta Meta, keys iter.Seq2[[]byte, []byte]) *Snapshot {
	t.Helper()
	w, err := d.Create(meta)
	if err != nil {
		t.Fatal(err)
	}
	if err := addAll(w, keys); err != nil {
		t.Fatal(err)
	}
	s, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// addAll adds every key of a sequence.
func addAll(w *Writer, keys iter.Seq2[[]byte, []byte]) error {
	for key, value := range keys {
		if err := add(w, key, value); err != nil {
			return err
		}
	}
	return nil
}

// add is [Writer.Add] with the path that the key has.
func add(w *Writer, key, value []byte) error {
	path := state.PathOf(key)
	return w.Add(&path, key, value)
}

// encode is a chunk as the writer makes it.
func encode(content []byte, first chain.Hash, entries uint32) (Chunk, []byte) {
	c := Chunk{First: first, Entries: entries}
	c.describe(content, sha256.Sum256(content))
	file := pack(nil, content)
	c.seal(file, sha256.Sum256(file))
	return c, file
}
