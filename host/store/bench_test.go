package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
)

// benchChain makes blocks of about 100 KB: 500 transactions of 120 bytes.
func benchChain(n, txs int) *testChain {
	c := newTestChain(0, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	parent := c.genesisHeader()
	for range n {
		block := &chain.Block{Header: parent}
		results := &chain.Results{}
		for range txs {
			block.Txs = append(block.Txs, randomBytes(rng, 120))
			results.Receipts = append(results.Receipts, chain.Receipt{ID: chain.Hash(randomBytes(rng, 32)), Events: [][]byte{make([]byte, 50)}})
		}
		block.Header.Height, block.Header.Parent = parent.Height+1, parent.Hash()
		c.records = append(c.records, Record{Block: block, Results: results})
		parent = block.Header
	}
	return c
}

func BenchmarkAppend(b *testing.B) {
	for _, txs := range []int{0, 500, 4000} {
		b.Run(fmt.Sprintf("txs=%d", txs), func(b *testing.B) {
			c := benchChain(1, txs)
			s := mustInit(b, b.TempDir(), c, Options{})
			r := c.records[0]
			b.SetBytes(int64(r.Block.Size()))
			for b.Loop() {
				must(b, s.Append(r))
				next := *r.Block
				next.Header.Parent = next.Header.Hash()
				next.Header.Height++
				r.Block = &next
			}
		})
	}
}

func BenchmarkAppendBatch(b *testing.B) {
	c := benchChain(50, 500)
	s := mustInit(b, b.TempDir(), c, Options{})
	for b.Loop() {
		must(b, s.AppendBatch(c.records))
		b.StopTimer()
		must(b, s.Truncate(0))
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*50)/b.Elapsed().Seconds(), "blocks/s")
}

func BenchmarkJournal(b *testing.B) {
	for _, records := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("group=%d", records), func(b *testing.B) {
			s := mustInit(b, b.TempDir(), newTestChain(0, 0), Options{})
			j, _, err := s.OpenJournal()
			must(b, err)
			must(b, j.Append([]JournalRecord{openOf(1)}))
			group := make([]JournalRecord, records)
			for i := range group {
				group[i].Tx = make([]byte, 150)
			}
			for b.Loop() {
				must(b, j.Append(group))
			}
			b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// filled is a store of n blocks.
func filled(b *testing.B, n, txs int) (*Store, *testChain) {
	c := benchChain(n, txs)
	s := mustInit(b, b.TempDir(), c, Options{})
	for from := 0; from < n; from += 1000 {
		must(b, s.AppendBatch(c.records[from:min(from+1000, n)]))
		must(b, s.Maintain(nil))
	}
	for range 100 {
		must(b, s.Maintain(nil))
	}
	return s, c
}

func BenchmarkOpen100kBlocks(b *testing.B) {
	s, _ := filled(b, 100_000, 0)
	must(b, s.Close())
	b.ResetTimer()
	for b.Loop() {
		s, err := Open(s.Dir(), Options{})
		must(b, err)
		must(b, s.Close())
	}
}

func BenchmarkRead(b *testing.B) {
	s, c := filled(b, 1000, 500)
	rng := rand.New(rand.NewPCG(3, 4))
	for name, read := range map[string]func(h uint64) error{
		"header":     func(h uint64) error { return second(s.Header(h)) },
		"blockbytes": func(h uint64) error { return second(s.BlockBytes(h)) },
		"results":    func(h uint64) error { return second(s.Results(h)) },
		"findtx": func(h uint64) error {
			return second(s.FindTx(c.at(h).Results.Receipts[rng.IntN(500)].ID))
		},
		"unknowntx": func(h uint64) error {
			s.FindTx(chain.Hash(randomBytes(rng, 32)))
			return nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				must(b, read(1+rng.Uint64N(1000)))
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	c := newTestChain(1000, 200)
	s := mustInit(b, b.TempDir(), c, Options{})
	must(b, s.AppendBatch(c.records))
	for b.Loop() {
		must(b, s.Check(nil))
	}
	b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "blocks/s")
}

func BenchmarkIndexAdd(b *testing.B) {
	c := benchChain(1, 4000)
	t := newTable(1)
	h := uint64(0)
	for b.Loop() {
		h++
		if t.len() > DefaultIndexEntries {
			t = newTable(h)
		}
		t.add(h, chain.Hash{}, c.records[0].Results)
	}
}
