package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
)

// benchKeys is the size of the benchmarks' state, keys.
const benchKeys = 1_000_000

var benchTree = sync.OnceValue(func() *state.Tree {
	rng := rand.New(rand.NewPCG(1, 1))
	v := state.NewVersions(0)
	for height := range uint64(20) {
		o := state.NewOverlay(nil)
		for i := range uint64(benchKeys / 20) {
			o.Set(benchAccount(rng, height*benchKeys/20+i))
		}
		v.Commit(height, o.Changes(), nil)
	}
	return v.Tree()
})

// benchAccount is like an account of the market: the owner's address in the key;
// balances, counters and flags that are mostly small in the value.
func benchAccount(rng *rand.Rand, i uint64) (key, value []byte) {
	owner := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, i))
	value = make([]byte, 0, 72)
	for _, limit := range []uint64{1e12, 1e9, 1000, 2, 2} {
		value = binary.LittleEndian.AppendUint64(value, rng.Uint64N(limit))
	}
	return append([]byte("a/"), owner[:20]...), append(value, owner[:32]...)
}

func ascend(tree *state.Tree) func(yield func(k, v []byte) bool) {
	return func(yield func(k, v []byte) bool) { tree.Ascend(chain.Hash{}, yield) }
}

// writeTree writes a tree as a node does that has it to itself.
func writeTree(b *testing.B, d *Dir, meta Meta, tree *state.Tree) *Snapshot {
	w, err := d.Create(meta)
	if err != nil {
		b.Fatal(err)
	}
	tree.AscendPaths(chain.Hash{}, func(path *chain.Hash, key, value []byte) bool {
		err = w.Add(path, key, value)
		return err == nil
	})
	if err != nil {
		b.Fatal(err)
	}
	s, err := w.Commit()
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkWrite is compared with zstd alone, one chunk after the other, on the
// same bytes.
func BenchmarkWrite(b *testing.B) {
	tree := benchTree()
	d := &Dir{Path: b.TempDir()}
	s := writeTree(b, d, metaOf(tree, 1), tree)
	for _, jobs := range []int{1, 2} {
		meta := metaOf(tree, 1)
		meta.Jobs = jobs
		b.Run(fmt.Sprint("snapshot-jobs-", jobs), func(b *testing.B) {
			b.SetBytes(int64(s.Manifest.Bytes))
			for b.Loop() {
				writeTree(b, d, meta, tree)
			}
			b.ReportMetric(float64(s.Manifest.CompressedBytes())/float64(s.Manifest.Bytes), "compressed/raw")
		})
	}
	b.Run("zstd", func(b *testing.B) {
		var chunks [][]byte
		for i := range s.Manifest.Chunks {
			c := &s.Manifest.Chunks[i]
			file, err := s.ChunkBytes(i, nil)
			if err != nil {
				b.Fatal(err)
			}
			content, err := c.decode(make([]byte, 0, ChunkBytes), file)
			if err != nil {
				b.Fatal(err)
			}
			chunks = append(chunks, content)
		}
		b.SetBytes(int64(s.Manifest.Bytes))
		var buf []byte
		for b.Loop() {
			for _, c := range chunks {
				buf = encoder().EncodeAll(c, buf[:0])
			}
		}
	})
}

func BenchmarkRestore(b *testing.B) {
	tree := benchTree()
	s := create(b, &Dir{Path: b.TempDir()}, metaOf(tree, 1), ascend(tree))
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := s.Restore(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*benchKeys/b.Elapsed().Seconds(), "keys/s")
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if err := s.Verify(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*benchKeys/b.Elapsed().Seconds(), "keys/s")
	})
}
