package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/cosmos/iavl"
	iavldb "github.com/cosmos/iavl/db"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/trie/trienode"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/ethereum/go-ethereum/triedb/pathdb"
	"github.com/pokt-network/smt"
	"github.com/pokt-network/smt/kvstore/simplemap"
)

// tree is what is measured of each: a batch of updates and the root after it. None
// of them but gethState is told to write its nodes to a store: all stay in memory as
// they are.
type tree interface {
	update(keys, values [][]byte) error
	root() []byte
}

// grown is a tree with keys, and what to do to it.
type grown struct {
	tree
	*options
	keys [][]byte
	rand *rand.Rand
}

// grow fills a tree.
func grow(o *options, t tree) (peer, error) {
	g := &grown{tree: t, options: o, keys: make([][]byte, o.keys), rand: rand.New(rand.NewPCG(2, 2))}
	for i := range g.keys {
		g.keys[i] = g.bytes(o.keyBytes)
	}
	const part = 50_000
	for from := 0; from < len(g.keys); from += part {
		keys := g.keys[from:min(from+part, len(g.keys))]
		if err := t.update(keys, g.values(len(keys))); err != nil {
			return nil, err
		}
		t.root()
	}
	return g, nil
}

func (g *grown) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.rand.Uint32())
	}
	return b
}

func (g *grown) values(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = g.bytes(g.valueMin + g.rand.IntN(g.valueMax-g.valueMin+1))
	}
	return all
}

// pick is a batch of keys.
func (g *grown) pick() [][]byte {
	picked := make([][]byte, g.batch)
	for i := range picked {
		picked[i] = g.keys[g.rand.IntN(len(g.keys))]
	}
	return picked
}

// round updates batches until d has passed; making them is not counted.
func (g *grown) round(ctx context.Context, d time.Duration) (result, error) {
	var m meter
	for begin := time.Now(); m.n == 0 || time.Since(begin) < d; {
		keys, values := g.pick(), g.values(g.batch)
		m.start()
		if err := g.update(keys, values); err != nil {
			return m.result, err
		}
		g.root()
		m.stop(len(keys))
		if err := ctx.Err(); err != nil {
			return m.result, err
		}
	}
	return m.result, nil
}

func (g *grown) close() error {
	if c, ok := g.tree.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// smtTree is pokt-network/smt. It keeps digests of values, not values.
type smtTree struct{ *smt.SMT }

func startSMT(o *options) (peer, error) {
	return grow(o, smtTree{smt.NewSparseMerkleTrie(simplemap.NewSimpleMap(), sha256.New())})
}

func (t smtTree) update(keys, values [][]byte) error {
	for i, k := range keys {
		if err := t.Update(k, values[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t smtTree) root() []byte { return t.Root() }

// iavlTree is cosmos/iavl, with no index beside the tree.
type iavlTree struct{ *iavl.MutableTree }

func startIAVL(o *options) (peer, error) {
	const cache = 0 // of nodes that were saved: none are
	return grow(o, iavlTree{iavl.NewMutableTree(iavldb.NewMemDB(), cache, true, iavl.NewNopLogger())})
}

func (t iavlTree) update(keys, values [][]byte) error {
	for i, k := range keys {
		if _, err := t.Set(k, values[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t iavlTree) root() []byte { return t.WorkingHash() }

// gethTree is go-ethereum's trie alone, as no chain uses it. It does not hash its keys here, as a state would
// before it: the keys are random.
type gethTree struct{ *trie.Trie }

func startGethTrie(o *options) (peer, error) {
	return grow(o, gethTree{trie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))})
}

func (t gethTree) update(keys, values [][]byte) error { return t.UpdateBatch(keys, values) }

func (t gethTree) root() []byte {
	root := t.Hash()
	return root[:]
}

// gethState is go-ethereum's trie as its state uses it: keys are hashed, the nodes
// that a batch made are collected and go into its trie database, whose scheme is by
// path and which is in memory, and the next batch begins with the trie opened at
// that root, as state.StateDB does: after a commit its trie is of no more use. The
// flat state that go-ethereum keeps beside the trie is left out: it is no part of
// the root.
type gethState struct {
	db    *triedb.Database
	trie  *trie.StateTrie
	at    common.Hash // the root that trie was opened at
	block uint64
}

func startGethState(o *options) (peer, error) {
	// Room for every node of a million keys in the cache, and the largest buffer
	// that it takes, so that nothing is read or written twice.
	const cache, buffer = 1 << 30, 256 << 20
	config := *pathdb.Defaults
	config.TrieCleanSize, config.WriteBufferSize = cache, buffer
	s := &gethState{db: triedb.NewDatabase(rawdb.NewMemoryDatabase(), &triedb.Config{PathDB: &config})}
	if err := s.open(types.EmptyRootHash); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return grow(o, s)
}

func (s *gethState) open(root common.Hash) (err error) {
	s.at = root
	s.trie, err = trie.NewStateTrie(trie.StateTrieID(root), s.db)
	return err
}

func (s *gethState) update(keys, values [][]byte) error {
	if err := s.trie.UpdateStorageBatch(common.Address{}, keys, values); err != nil {
		return err
	}
	const leaves = true // as for the trie of accounts
	root, nodes := s.trie.Commit(leaves)
	if root == s.at {
		return nil // no block without a change has a layer in the database
	}
	s.block++
	if err := s.db.Update(root, s.at, s.block, trienode.NewWithNodeSet(nodes), triedb.NewStateSet()); err != nil {
		return err
	}
	return s.open(root)
}

func (s *gethState) root() []byte { return s.at[:] }

// Close implements [io.Closer].
func (s *gethState) Close() error { return s.db.Close() }
