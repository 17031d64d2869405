package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/triedb"
)

// gethChain is go-ethereum's chain in memory, and blocks of transfers that it has
// not seen: made over another database, kept as bytes, so that no sender is known.
type gethChain struct {
	*options
	chain *core.BlockChain
	maker ethdb.Database // where blocks are made
	head  *types.Block   // of maker
	keys  []*ecdsa.PrivateKey
	to    []common.Address // every account
	rand  *rand.Rand
	made  int // transfers so far: whose turn it is, and its nonce
}

func startGethChain(o *options) (peer, error) {
	c := &gethChain{options: o, maker: rawdb.NewMemoryDatabase(), rand: rand.New(rand.NewPCG(1, uint64(o.accounts)))}
	genesis, err := c.genesis()
	if err != nil {
		return nil, err
	}
	tries := triedb.NewDatabase(c.maker, triedb.HashDefaults)
	if c.head, err = genesis.Commit(c.maker, tries, nil); err != nil {
		return nil, err
	}
	if err := tries.Close(); err != nil {
		return nil, err
	}
	config := core.DefaultConfig().WithStateScheme(rawdb.PathScheme) // as its nodes
	c.chain, err = core.NewBlockChain(rawdb.NewMemoryDatabase(), genesis, ethash.NewFaker(), config)
	return c, err
}

// genesis funds every account; the first of them have keys.
func (c *gethChain) genesis() (*core.Genesis, error) {
	const ether = 1e18
	alloc := make(types.GenesisAlloc, c.accounts)
	rich := new(big.Int).Mul(big.NewInt(1_000_000), big.NewInt(ether))
	for i := range c.accounts {
		seed := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("peers account"), uint64(i)))
		address := common.BytesToAddress(seed[:20])
		if i < c.senders {
			key, err := crypto.ToECDSA(seed[:])
			if err != nil {
				return nil, fmt.Errorf("key %d: %w", i, err)
			}
			c.keys = append(c.keys, key)
			address = crypto.PubkeyToAddress(key.PublicKey)
		}
		c.to = append(c.to, address)
		alloc[address] = types.Account{Balance: rich}
	}
	// Twice what a block uses, so that the base fee stays where it is.
	return &core.Genesis{Config: params.TestChainConfig, Alloc: alloc, GasLimit: 2 * params.TxGas * uint64(c.blockTxs), BaseFee: big.NewInt(params.InitialBaseFee)}, nil
}

// transfers signs n transfers on all cores. Senders take turns, as ours do.
func (c *gethChain) transfers(n int) (types.Transactions, error) {
	signer := types.LatestSigner(params.TestChainConfig)
	price := big.NewInt(2 * params.InitialBaseFee)
	txs, failures := make(types.Transactions, n), make([]error, n)
	for i := range txs {
		txs[i] = types.NewTx(&types.LegacyTx{Nonce: uint64(c.made / len(c.keys)), To: &c.to[c.rand.IntN(len(c.to))],
			Value: big.NewInt(1 + c.rand.Int64N(100)), Gas: params.TxGas, GasPrice: price})
		c.made++
	}
	first, cores := c.made-n, runtime.GOMAXPROCS(0)
	var all sync.WaitGroup
	for core := range cores {
		all.Go(func() {
			for i := core; i < n; i += cores {
				txs[i], failures[i] = types.SignTx(txs[i], signer, c.keys[(first+i)%len(c.keys)])
			}
		})
	}
	all.Wait()
	return txs, errors.Join(failures...)
}

// generate is the next blocks, as bytes.
func (c *gethChain) generate() ([][]byte, error) {
	txs, err := c.transfers(c.blocks * c.blockTxs)
	if err != nil {
		return nil, err
	}
	blocks, _ := core.GenerateChain(params.TestChainConfig, c.head, ethash.NewFaker(), c.maker, c.blocks, func(i int, g *core.BlockGen) {
		for _, tx := range txs[i*c.blockTxs : (i+1)*c.blockTxs] {
			g.AddTx(tx)
		}
	})
	c.head = blocks[len(blocks)-1]
	raws := make([][]byte, len(blocks))
	for i, b := range blocks {
		if raws[i], err = rlp.EncodeToBytes(b); err != nil {
			return nil, err
		}
	}
	return raws, nil
}

// round imports the next blocks, however long that takes.
func (c *gethChain) round(ctx context.Context, _ time.Duration) (result, error) {
	raws, err := c.generate()
	if err != nil {
		return result{}, err
	}
	runtime.GC() // making blocks is not counted
	var m meter
	m.start()
	if err := c.insert(raws); err != nil {
		return m.result, err
	}
	m.stop(c.blocks * c.blockTxs)
	if at := c.chain.CurrentBlock().Hash(); at != c.head.Hash() {
		return m.result, fmt.Errorf("imported to block %s, want %s", at, c.head.Hash())
	}
	return m.result, ctx.Err()
}

func (c *gethChain) insert(raws [][]byte) error {
	blocks := make(types.Blocks, len(raws))
	for i, raw := range raws {
		blocks[i] = new(types.Block)
		if err := rlp.DecodeBytes(raw, blocks[i]); err != nil {
			return err
		}
	}
	_, err := c.chain.InsertChain(blocks)
	return err
}

func (c *gethChain) close() error {
	c.chain.Stop()
	return nil
}
