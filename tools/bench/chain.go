package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Genesis funds the senders; every other account is made by a transfer, since a
// genesis document has no room for more.
const (
	maxSenders     = params.MaxAccounts - workers // the rest are settlers
	senderBalance  = 1_000_000_000_000            // 1,000,000 USDC each
	accountsPerKey = 4                            // at least so many accounts for each sender
	batchBlocks    = 16                           // blocks stored with one sync while the chain is made
)

// signed is a transaction and what its signature is about.
type signed struct {
	raw    []byte
	digest tx.Hash
	sig    tx.Signature
	from   tx.Address
}

// wallets are the accounts of the chain that is measured. Addresses are functions
// of their number, so that every process has the same ones.
type wallets struct {
	keys     []*secp.Key
	senders  []tx.Address // of keys
	settlers [workers]settler
	accounts int      // of which the first are the senders
	clock    []uint64 // timestamp of each sender's newest transaction, ms
	turn     int      // whose turn it is to send
	rand     *rand.Rand
}

func newWallets(accounts int) *wallets {
	n := min(maxSenders, accounts/accountsPerKey)
	w := &wallets{keys: make([]*secp.Key, n), senders: make([]tx.Address, n), accounts: accounts, clock: make([]uint64, n),
		rand: rand.New(rand.NewPCG(1, uint64(accounts)))}
	onAllCores(n, func(from, to int) {
		for i := from; i < to; i++ {
			w.keys[i] = numberedKey("bench key", i)
			w.senders[i] = tx.Address(w.keys[i].Address())
		}
	})
	for i := range w.settlers {
		w.settlers[i].key = numberedKey("bench settler", i)
		w.settlers[i].address = tx.Address(w.settlers[i].key.Address())
	}
	return w
}

func numberedKey(what string, i int) *secp.Key {
	scalar := numbered(what, i)
	key, err := secp.NewKey(scalar[:])
	if err != nil {
		panic(fmt.Sprintf("%s %d: %v", what, i, err)) // one SHA-256 in 2^128 is no key
	}
	return key
}

func numbered(what string, i int) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte(what), uint64(i)))
}

// address is the i-th account.
func (w *wallets) address(i int) (a tx.Address) {
	if i < len(w.senders) {
		return w.senders[i]
	}
	sum := numbered("bench account", i)
	copy(a[:], sum[:])
	return a
}

// transfers signs n transfers on all cores: the senders take turns, so that the
// replay window of each stays short, and to chooses the receiver.
func (w *wallets) transfers(n int, now uint64, to func(i int) int) []signed {
	made, whose := make([]signed, n), make([]int, n)
	unsigned := make([]tx.Transaction, n)
	for i := range unsigned {
		s := w.turn
		w.turn = (w.turn + 1) % len(w.keys)
		w.clock[s] = max(w.clock[s]+1, now)
		unsigned[i] = tx.Transaction{From: w.senders[s], Timestamp: w.clock[s], Kind: tx.KindTransfer,
			Transfer: tx.Transfer{To: w.address(to(i)), Amount: 1 + w.rand.Uint64N(100)}}
		whose[i] = s
	}
	onAllCores(n, func(from, to int) {
		var hasher tx.Hasher
		for i := from; i < to; i++ {
			made[i] = sign(&hasher, w.keys[whose[i]], &unsigned[i])
		}
	})
	return made
}

func sign(h *tx.Hasher, key *secp.Key, t *tx.Transaction) signed {
	digest := h.Digest(secp.Keccak{}, t)
	t.Signature = mustSign(key, &digest)
	return signed{raw: t.Append(make([]byte, 0, 128)), digest: digest, sig: t.Signature, from: t.From}
}

func mustSign(key *secp.Key, digest *tx.Hash) tx.Signature {
	sig, err := key.Sign(digest)
	if err != nil {
		panic(fmt.Sprintf("sign: %v", err)) // it has no other input than a key that was checked
	}
	return sig
}

// load signs n transfers between existing accounts, to be sent now.
func (w *wallets) load(n int) [][]byte {
	return rawsOf(w.transfers(n, nowMs(), func(int) int { return w.rand.IntN(w.accounts) }))
}

func nowMs() uint64 { return uint64(time.Now().UnixMilli()) }

// onAllCores splits [0, n) among the cores in runs.
func onAllCores(n int, run func(from, to int)) {
	const chunk = 64
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				from := int(next.Add(chunk)) - chunk
				if from >= n {
					return
				}
				run(from, min(from+chunk, n))
			}
		})
	}
	all.Wait()
}

// runner is the state.Runner of every commit here.
func runner(jobs []func()) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(jobs); i = next.Add(1) - 1 {
				jobs[i]()
			}
		})
	}
	all.Wait()
}

// testChain is a data directory with accounts, and who they are.
type testChain struct {
	dir     string
	genesis *chain.Genesis
	wallets *wallets
	blocks  uint64
	txs     int
}

// theChain makes the chain that the suites measure on, once, or takes the one that
// an earlier run kept.
func (b *bench) theChain() (*testChain, error) {
	if b.chain != nil {
		return b.chain, nil
	}
	program, err := b.module()
	if err != nil {
		return nil, err
	}
	c := &testChain{dir: filepath.Join(b.temp, "chain"), wallets: newWallets(b.accounts)}
	if b.chainDir == "" {
		err = b.makeChain(c, program)
	} else {
		err = b.keptChain(c, program)
	}
	if err != nil {
		return nil, err
	}
	b.chain = c
	return c, nil
}

func (b *bench) makeChain(c *testChain, program stf.Program) error {
	b.say("make a chain of %d accounts", b.accounts)
	start := time.Now()
	if err := c.make(program); err != nil {
		return fmt.Errorf("make the chain: %w", err)
	}
	b.say("made %d blocks with %d transfers in %s", c.blocks, c.txs, time.Since(start).Round(time.Millisecond))
	return nil
}

// keptChain takes the chain in -chain, or makes it there: under another name until
// it is whole.
func (b *bench) keptChain(c *testChain, program stf.Program) error {
	_, err := os.Stat(b.chainDir)
	if err == nil {
		c.dir = b.chainDir
		if err := c.take(program); err != nil {
			return fmt.Errorf("-chain %s: %w", b.chainDir, err)
		}
		b.say("took %d blocks with %d transfers", c.blocks, c.txs)
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.dir = b.chainDir + ".part"
	if err := b.makeChain(c, program); err != nil {
		return errors.Join(err, os.RemoveAll(c.dir))
	}
	if err := os.Rename(c.dir, b.chainDir); err != nil {
		return err
	}
	c.dir = b.chainDir
	return nil
}

// take checks that a directory has the chain that would be made now, but for its
// time.
func (c *testChain) take(program stf.Program) (err error) {
	st, err := store.Open(c.dir, store.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	c.genesis = c.genesisFor(program)
	c.genesis.Time = st.Genesis().Time
	sequencerOf(c.genesis)
	c.txs = c.wallets.accounts - len(c.wallets.senders)
	perBlock := int(c.genesis.MaxTxsPerBlock)
	c.blocks = uint64((c.txs + perBlock - 1) / perBlock)
	if c.genesis.Hash() != st.GenesisHash() || st.Height() != c.blocks {
		return fmt.Errorf("%d blocks of another chain than one of %d accounts on this module, which has %d: remove it", st.Height(), c.wallets.accounts, c.blocks)
	}
	return nil
}

func (c *testChain) make(program stf.Program) error {
	key, err := c.init(program)
	if err != nil {
		return err
	}
	st, err := store.Open(c.dir, store.Options{})
	if err != nil {
		return err
	}
	m, err := newMaker(program, st, key)
	if err != nil {
		return errors.Join(err, st.Close())
	}
	if err = m.fill(c); err == nil {
		err = st.Maintain(nil)
	}
	return errors.Join(err, m.exec.Machine.Close(), st.Close())
}

// init writes genesis.
func (c *testChain) init(program stf.Program) (key ed25519.PrivateKey, err error) {
	c.genesis, key, err = initChain(c.dir, c.genesisFor(program))
	return key, err
}

// genesisFor is the chain's document.
func (c *testChain) genesisFor(program stf.Program) *chain.Genesis {
	p := params.Default()
	for _, a := range c.wallets.senders {
		p.Accounts = append(p.Accounts, params.Account{Address: a, Balance: senderBalance})
	}
	for i := range c.wallets.settlers {
		p.Accounts = append(p.Accounts, params.Account{Address: c.wallets.settlers[i].address, Permissions: tx.PermSettler})
	}
	p.Sort()
	return genesisOf(nodeConfig("", ""), program.Hash(), p.Append(nil))
}

// initChain makes the directory of a write node and gives the genesis its
// sequencer.
func initChain(dir string, g *chain.Genesis) (*chain.Genesis, ed25519.PrivateKey, error) {
	key := sequencerOf(g)
	if err := node.Init(dir, g); err != nil {
		return nil, nil, err
	}
	return g, key, node.WriteSequencerKey(dir, key)
}

// sequencerOf names the one key of every chain here in a genesis.
func sequencerOf(g *chain.Genesis) ed25519.PrivateKey {
	seed := numbered("bench sequencer", 0)
	key := ed25519.NewKeyFromSeed(seed[:])
	copy(g.Sequencer[:], key.Public().(ed25519.PublicKey))
	return key
}

// genesisOf begins far enough in the past for every block that follows.
func genesisOf(cfg *node.Config, module chain.Hash, params []byte) *chain.Genesis {
	return &chain.Genesis{ChainID: 1, Time: uint64(time.Now().Add(-time.Hour).UnixMilli()), IntervalMs: cfg.Block.IntervalMs,
		MaxTxsPerBlock: cfg.Block.MaxTxsPerBlock, MaxStaleMs: cfg.Oracle.MaxStaleMs,
		SettlerEnabled: cfg.Settler.Enabled, ModuleHash: module, Params: params}
}

// maker appends blocks to a store as a write node would, but is told who signed:
// it signed itself.
type maker struct {
	exec   *stf.Executor
	store  *store.Store
	key    ed25519.PrivateKey
	tree   *state.Tree
	head   chain.Header
	queued []store.Record
}

func newMaker(program stf.Program, st *store.Store, key ed25519.PrivateKey) (*maker, error) {
	exec, err := stf.NewExecutor(program)
	if err != nil {
		return nil, err
	}
	m := &maker{exec: exec, store: st, key: key, tree: state.NewTree()}
	ov := state.NewOverlay(nil)
	results, err := exec.Genesis(st.Genesis(), ov)
	if err != nil {
		return nil, err
	}
	root, _ := m.tree.Commit(ov.Changes(), runner)
	m.head = st.Genesis().Header(root, results)
	return m, nil
}

// fill makes the accounts beyond the senders', one transfer each.
func (m *maker) fill(c *testChain) error {
	w := c.wallets
	perBlock := int(c.genesis.MaxTxsPerBlock)
	for next := len(w.senders); next < w.accounts; {
		n := min(perBlock, w.accounts-next)
		first := next
		made := w.transfers(n, m.head.Time+1, func(i int) int { return first + i })
		if err := m.block(made); err != nil {
			return err
		}
		next += n
		c.blocks, c.txs = c.blocks+1, c.txs+n
	}
	return m.flush()
}

func (m *maker) block(txs []signed) error {
	open, err := m.exec.Begin(state.NewOverlay(m.tree), m.head.Height+1, m.head.Time+1, chain.OracleSnapshot{})
	if err != nil {
		return err
	}
	for i := range txs {
		if err := open.Apply(txs[i].inspected()); err != nil {
			return err
		}
		if code := open.Receipt(i).Code; code != abi.CodeOK {
			return fmt.Errorf("transfer failed: %s", m.exec.Schema.ErrorName(code))
		}
	}
	closed, err := open.Close()
	if err != nil {
		return err
	}
	root, _ := m.tree.Commit(closed.Overlay.Changes(), runner)
	m.head = closed.Header(&m.head, root)
	m.head.Sign(m.key)
	m.queued = append(m.queued, store.Record{Block: &chain.Block{Header: m.head, Oracle: closed.Oracle, Txs: closed.Txs()}, Results: &closed.Results, Signers: closed.Signers()})
	if len(m.queued) == batchBlocks {
		return m.flush()
	}
	return nil
}

func (m *maker) flush() error {
	err := m.store.AppendBatch(m.queued)
	m.queued = m.queued[:0]
	return err
}

// inspected is the transaction with its signer already known.
func (s *signed) inspected() *stf.Tx {
	return &stf.Tx{Raw: s.raw, ID: s.digest, Leaf: chain.LeafHash(s.raw),
		Signers: []stf.Signer{{Signature: abi.Signature{Digest: s.digest, Sig: s.sig}, Address: chain.Address(s.from), OK: true}}}
}

// copyTo copies the data directory, so that every node starts from the same.
func (c *testChain) copyTo(dir string) error {
	if err := os.CopyFS(dir, os.DirFS(c.dir)); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(dir, node.KeyFileName), 0o600)
}

// nodeConfig is a write node's on any free ports.
func nodeConfig(dir, cache string) *node.Config {
	cfg := node.Defaults()
	cfg.DataDir, cfg.STF.CacheDir = dir, cache
	cfg.RPC.Listen, cfg.Sync.Listen = "127.0.0.1:0", "127.0.0.1:0"
	return &cfg
}
