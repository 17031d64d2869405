package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
)

// benchKeys is the size of the benchmarks' state, keys.
const benchKeys = 1_000_000

// benchKey is like an account's key: a prefix and 20 bytes.
func benchKey(i uint64) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], i)
	sum := sha256.Sum256(b[:])
	return append([]byte("a"), sum[:20]...)
}

func benchValue(rng *rand.Rand) []byte {
	v := make([]byte, 60+rng.IntN(41))
	for i := range v {
		v[i] = byte(rng.Uint32())
	}
	return v
}

var bench struct {
	once sync.Once
	tree *Tree
	keys [][]byte
	heap uint64 // bytes that the tree takes
}

// benchTree is shared by the benchmarks, which leave the set of keys as it is.
func benchTree(b *testing.B) (*Tree, [][]byte) {
	bench.once.Do(func() {
		bench.keys = make([][]byte, benchKeys)
		for i := range bench.keys {
			bench.keys[i] = benchKey(uint64(i))
		}
		before := heapInUse()
		rng := rand.New(rand.NewPCG(1, 1))
		bench.tree = NewTree()
		for part := range slices.Chunk(bench.keys, 50_000) {
			o := NewOverlay(nil)
			for _, k := range part {
				o.Set(k, benchValue(rng))
			}
			bench.tree.Commit(o.Changes(), twoWorkers)
		}
		bench.heap = heapInUse() - before
	})
	b.ResetTimer()
	return bench.tree, bench.keys
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// twoWorkers runs jobs on two goroutines.
func twoWorkers(jobs []func()) {
	var wg sync.WaitGroup
	next := make(chan func(), len(jobs))
	for _, j := range jobs {
		next <- j
	}
	close(next)
	for range 2 {
		wg.Go(func() {
			for j := range next {
				j()
			}
		})
	}
	wg.Wait()
}

func benchBatch(rng *rand.Rand, keys [][]byte, n int) []Change {
	o := NewOverlay(nil)
	for o.Len() < n {
		o.Set(keys[rng.IntN(len(keys))], benchValue(rng))
	}
	return o.Changes()
}

func BenchmarkCommit4000(b *testing.B) {
	for _, mode := range []struct {
		name string
		run  Runner
	}{{"serial", nil}, {"two", twoWorkers}} {
		b.Run(mode.name, func(b *testing.B) {
			tree, keys := benchTree(b)
			rng := rand.New(rand.NewPCG(2, 2))
			for b.Loop() {
				b.StopTimer()
				batch := benchBatch(rng, keys, 4000)
				b.StartTimer()
				tree.Commit(batch, mode.run)
			}
			b.ReportMetric(float64(b.N)*4000/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

// BenchmarkBlockRoot is a block of 1,000 transfers: 2,000 keys, with the time to
// list and order the changes.
func BenchmarkBlockRoot(b *testing.B) {
	tree, keys := benchTree(b)
	rng := rand.New(rand.NewPCG(3, 3))
	for b.Loop() {
		b.StopTimer()
		o := NewOverlay(tree)
		for o.Len() < 2000 {
			o.Set(keys[rng.IntN(len(keys))], benchValue(rng))
		}
		b.StartTimer()
		tree.Commit(o.Changes(), twoWorkers)
	}
}

// BenchmarkReplayKeys is what transfers do beside their accounts: new keys come
// and old ones go.
func BenchmarkReplayKeys(b *testing.B) {
	tree, _ := benchTree(b)
	for i := uint64(0); b.Loop(); i++ {
		b.StopTimer()
		o := NewOverlay(tree)
		for j := range uint64(1000) {
			o.Set(benchKey(1<<40+i*1000+j), []byte{1, 2, 3, 4, 5, 6, 7, 8})
			o.Delete(benchKey(1<<40 + (i-3)*1000 + j))
		}
		changes := o.Changes()
		b.StartTimer()
		tree.Commit(changes, twoWorkers)
	}
}

func BenchmarkTreeGet(b *testing.B) {
	tree, keys := benchTree(b)
	rng := rand.New(rand.NewPCG(4, 4))
	order := make([]uint32, 1<<16)
	for i := range order {
		order[i] = uint32(rng.IntN(len(keys)))
	}
	for i := 0; b.Loop(); i++ {
		if _, ok := tree.Get(keys[order[i&(1<<16-1)]]); !ok {
			b.Fatal("missing key")
		}
	}
	b.ReportMetric(float64(bench.heap)/benchKeys, "B/key")
}

func BenchmarkBuild(b *testing.B) {
	tree, _ := benchTree(b)
	for b.Loop() {
		built, err := Build(func(yield func(k, v []byte) bool) { tree.Ascend(chain.Hash{}, yield) })
		if err != nil || built.Root() != tree.Root() {
			b.Fatal(built.Root(), tree.Root(), err)
		}
	}
	b.ReportMetric(float64(b.N)*benchKeys/b.Elapsed().Seconds(), "keys/s")
}

func BenchmarkOverlay(b *testing.B) {
	keys := make([][]byte, 4000)
	for i := range keys {
		keys[i] = benchKey(uint64(i))
	}
	value := make([]byte, 80)
	o := NewOverlay(nil)
	for _, k := range keys {
		o.Set(k, value)
	}
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			o.Get(keys[i%len(keys)])
		}
	})
	b.Run("set", func(b *testing.B) {
		b.ReportAllocs()
		mark := o.Mark()
		for i := 0; b.Loop(); i++ {
			o.Set(keys[i%len(keys)], value)
			if i%100_000 == 0 {
				o.Revert(mark)
			}
		}
	})
	b.Run("changes", func(b *testing.B) {
		for b.Loop() {
			if n := len(o.Changes()); n != len(keys) {
				b.Fatal(n)
			}
		}
	})
}

func BenchmarkHash(b *testing.B) {
	for _, n := range []int{21, 65, 66, 80} {
		buf := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				sha256.Sum256(buf)
			}
		})
	}
}

// BenchmarkAscendAt copies a block of 1 M keys out in slices, 30 blocks of 3,000
// keys after it: how long each slice takes is how long a commit may have to wait.
func BenchmarkAscendAt(b *testing.B) {
	benchTree(b)
	v := RestoreVersions(bench.tree, 0, 100)
	rng := rand.New(rand.NewPCG(6, 6))
	for height := range uint64(30) {
		v.Commit(height+1, benchBatch(rng, bench.keys, 3000), twoWorkers)
	}
	var took []time.Duration
	buf := make([]byte, 0, 1<<20)
	for b.Loop() {
		for at, err := (Position{}), error(nil); !at.End() && err == nil; {
			buf = buf[:0]
			start := time.Now()
			at, err = v.AscendAt(0, at, Limit{Keys: 512, Bytes: 128 << 10}, func(_ *chain.Hash, key, value []byte) { buf = append(append(buf, key...), value...) })
			took = append(took, time.Since(start))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
}
