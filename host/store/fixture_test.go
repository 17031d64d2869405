package store

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// testChain makes blocks that are right in every way but execution: signed,
// linked, with roots that fit. Equal seeds and forks make equal chains.
type testChain struct {
	genesis *chain.Genesis
	key     ed25519.PrivateKey
	records []Record // records[0] is block 1
	maxTxs  int
}

func newTestChain(n, maxTxs int) *testChain {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	g := &chain.Genesis{ChainID: 1, Time: 1_600_000_000_000, IntervalMs: 100, MaxTxsPerBlock: 5000, MaxStaleMs: 3000, ModuleHash: chain.Hash{1}, Params: []byte("params")}
	copy(g.Sequencer[:], key.Public().(ed25519.PublicKey))
	c := &testChain{genesis: g, key: key, maxTxs: maxTxs}
	return c.extend(n, "main")
}

func (c *testChain) genesisHeader() chain.Header {
	return c.genesis.Header(chain.Hash{2}, &chain.Results{})
}

// fork shares the blocks up to height and goes on with n others.
func (c *testChain) fork(height, n int, name string) *testChain {
	f := &testChain{genesis: c.genesis, key: c.key, maxTxs: c.maxTxs, records: slices.Clone(c.records[:height])}
	return f.extend(n, name)
}

func (c *testChain) extend(n int, name string) *testChain {
	for range n {
		c.records = append(c.records, c.next(name))
	}
	return c
}

// withoutSigners is the chain as version 1 of the log has it.
func (c *testChain) withoutSigners() *testChain {
	v1 := *c
	v1.records = slices.Clone(c.records)
	for i := range v1.records {
		v1.records[i].Signers = nil
	}
	return &v1
}

func (c *testChain) next(name string) Record {
	parent := c.genesisHeader()
	if n := len(c.records); n > 0 {
		parent = c.records[n-1].Block.Header
	}
	height := parent.Height + 1
	rng := rand.New(rand.NewPCG(height, uint64(checksum([]byte(name)))))
	block := &chain.Block{Oracle: chain.OracleSnapshot{Timestamp: parent.Time, Prices: []chain.Price{{Base: chain.Address{1}, Quote: chain.Address{2}, Price: rng.Uint64(), Timestamp: parent.Time}}}}
	results := &chain.Results{Begin: [][]byte{{1, 2}}}
	for range rng.IntN(c.maxTxs + 1) {
		tx := randomBytes(rng, 20+rng.IntN(200))
		r := chain.Receipt{ID: chain.Hash(randomBytes(rng, 32))}
		if rng.IntN(4) == 0 {
			r.Code, r.Detail = abi.Code(7), "failed"
		} else {
			r.Events = [][]byte{randomBytes(rng, rng.IntN(40))}
		}
		block.Txs, results.Receipts = append(block.Txs, tx), append(results.Receipts, r)
	}
	block.Header = chain.Header{
		Version: chain.BlockVersion, ChainID: c.genesis.ChainID, Height: height, Parent: parent.Hash(), Time: parent.Time + 100,
		OracleHash: block.Oracle.Hash(), TxsRoot: chain.TxsRoot(block.Txs), ReceiptsRoot: results.Root(),
		StateRoot: chain.Hash(randomBytes(rng, 32)), ModuleHash: c.genesis.ModuleHash, Sequencer: c.genesis.Sequencer,
	}
	block.Header.Sign(c.key)
	return Record{block, results, randomBytes(rng, 22*len(block.Txs))}
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// at is the record of a height.
func (c *testChain) at(height uint64) Record { return c.records[height-1] }

const testDir = "/data"

// small are options that make every mechanism turn over within a few blocks.
func small(disk *faultfs.FS) Options {
	return Options{FS: disk, SegmentBytes: 4 << 10, JournalBytes: MinJournalBytes, IndexEntries: 8}
}

// mustOpen opens a store that is closed at the end of the test.
func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustInit(t testing.TB, dir string, c *testChain, o Options) *Store {
	t.Helper()
	if err := Init(dir, c.genesis, o); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, dir, o)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds compares a store with the blocks base to head of a chain, through every
// way of reading.
func (c *testChain) holds(s *Store, base, head uint64) error {
	if s.Base() != base || s.Height() != head {
		return fmt.Errorf("store has blocks %d to %d, want %d to %d", s.Base(), s.Height(), base, head)
	}
	for h := base; h <= head; h++ {
		if err := c.holdsBlock(s, h); err != nil {
			return fmt.Errorf("block %d: %w", h, err)
		}
	}
	got, ok := s.Head()
	if want := head >= base; ok != want || ok && got != c.at(head).Block.Header {
		return fmt.Errorf("head is %v %+v", ok, got)
	}
	return nil
}

func (c *testChain) holdsBlock(s *Store, h uint64) error {
	want := c.at(h)
	block, err := s.Block(h)
	if err != nil {
		return err
	}
	results, err := s.Results(h)
	if err != nil {
		return err
	}
	header, err := s.Header(h)
	if err != nil {
		return err
	}
	if header != want.Block.Header || !reflect.DeepEqual(block, want.Block) || !reflect.DeepEqual(results, want.Results) {
		return fmt.Errorf("stored %s, want %s", block.Describe(), want.Block.Describe())
	}
	block, signers, err := s.SignedBlock(h)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(block, want.Block) || !bytes.Equal(signers, want.Signers) {
		return fmt.Errorf("stored %s with signers %x, want %x", block.Describe(), signers, want.Signers)
	}
	if at, err := s.HeightByHash(header.Hash()); err != nil || at != h {
		return fmt.Errorf("by hash: %d, %w", at, err)
	}
	for i := range results.Receipts {
		if at, err := s.FindTx(results.Receipts[i].ID); err != nil || at != (TxPosition{h, i}) {
			return fmt.Errorf("transaction %d: %+v, %w", i, at, err)
		}
	}
	return nil
}
