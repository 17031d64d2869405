package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/procs"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/snapshot"
)

// ledger is the sealed chain: the blocks on disk and the state after the newest
// of them. One goroutine appends; any number may read in between.
//
// mu is held for writing from the moment the state starts to change until the
// block that changed it is durable, so that no reader ever sees a state whose
// block could still be lost (invariant 2). A block of which something is committed early, see early.go, is no exception: readers ask for the state after a block that they know, and
// nobody knows that one.
type ledger struct {
	store          *store.Store
	meters         *meters
	genesis        *chain.Genesis
	genesisHeader  chain.Header
	genesisResults *chain.Results
	history        int // blocks back that the state can go
	run            state.Runner
	rest           func()             // called now and then in long work; nil: it does not rest
	from           *snapshot.Manifest // the snapshot that the state began with; nil: genesis

	// trust, if not nil, says that what is stored of who signed transactions is
	// believed when they are executed again. It is told of a block that did not come
	// out with that.
	trust func(failure error)

	early *early // what is in the tree above head; of the goroutine that changes the ledger

	mu       sync.RWMutex
	versions *state.Versions
	head     chain.Header
	id       chain.BlockID // of head
	moved    chan struct{} // closed and replaced when head changes

	rollbacks uint64   // see watch.go
	keptBy    []uint64 // the height that each of the newest rollbacks kept
}

// newLedger runs the genesis block. The store may hold blocks: [ledger.replay]
// executes them.
func newLedger(st *store.Store, exec *stf.Executor, history int) (*ledger, error) {
	g := st.Genesis()
	l := &ledger{store: st, meters: newMeters(), genesis: g, history: history, run: onAllCores, versions: state.NewVersions(history), moved: make(chan struct{})}
	var err error
	if l.genesisHeader, l.genesisResults, err = runGenesis(g, exec, l.versions); err != nil {
		return nil, err
	}
	l.setHead(l.genesisHeader)
	return l, nil
}

// runGenesis makes block 0 and the state after it.
func runGenesis(g *chain.Genesis, exec *stf.Executor, versions *state.Versions) (chain.Header, *chain.Results, error) {
	ov := state.NewOverlay(nil)
	results, err := exec.Genesis(g, ov)
	if err != nil {
		return chain.Header{}, nil, fmt.Errorf("genesis: %w", err)
	}
	root := versions.Commit(0, ov.Changes(), onAllCores)
	return g.Header(root, results), results, nil
}

// setHead is called with mu held, or before anybody else knows the ledger.
func (l *ledger) setHead(h chain.Header) {
	l.head, l.id = h, h.ID()
	close(l.moved)
	l.moved = make(chan struct{})
}

// header reads the header of a stored block, or of block 0.
func (l *ledger) header(height uint64) (chain.Header, error) {
	if height == 0 {
		return l.genesisHeader, nil
	}
	return l.store.Header(height)
}

// next returns the head and a channel that is closed when it changes.
func (l *ledger) next() (chain.Header, <-chan struct{}) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head, l.moved
}

// Head is the newest durable block's header.
func (l *ledger) Head() chain.Header {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head
}

func (l *ledger) headID() chain.BlockID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.id
}

// append commits a closed block, lets finish complete or compare its header, and
// makes it durable. An error of finish takes the state back to the parent, as soon as
// alone returns (nil: at once), since nobody may execute on it then.
func (l *ledger) append(c *stf.Closed, finish func(*chain.Header) error, alone func()) (*chain.Block, error) {
	root := l.rooter(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	header, err := l.commit(c, root, finish, alone)
	if err != nil {
		return nil, err
	}
	block := &chain.Block{Header: header, Oracle: c.Oracle, Txs: c.Txs()}
	start := time.Now()
	if err := l.store.Append(store.Record{Block: block, Results: &c.Results, Signers: c.Signers()}); err != nil {
		return nil, fmt.Errorf("store block %d: %w", header.Height, err)
	}
	l.meters.write.Since(start)
	l.meters.block(block, &c.Results)
	l.setHead(header)
	return block, nil
}

// rooter prepares the commit of a closed block, unless that is done, and returns what
// does it under mu and returns the root.
func (l *ledger) rooter(c *stf.Closed) (root func() chain.Hash) {
	if l.early != nil {
		return l.finishEarly(c)
	}
	changes := c.Overlay.Changes()
	c.Hash()
	return func() chain.Hash {
		start := time.Now()
		defer l.meters.root.Since(start)
		return l.versions.Commit(c.Height, changes, l.run)
	}
}

func (l *ledger) commit(c *stf.Closed, root func() chain.Hash, finish func(*chain.Header) error, alone func()) (chain.Header, error) {
	header := c.Header(&l.head, root())
	if err := finish(&header); err != nil {
		if alone != nil {
			alone()
		}
		if back := l.versions.Rollback(c.Height-1, l.run); back != nil {
			return header, fmt.Errorf("take back block %d: %w", c.Height, errors.Join(back, err))
		}
		return header, err
	}
	return header, nil
}

// headerBefore is the header of the block that the log begins after, as long as the
// snapshot that the chain in this directory began with is there. Those who start
// from the same snapshot compare it with theirs.
func (l *ledger) headerBefore() (chain.Header, error) {
	before := l.store.Before()
	s, err := SnapshotDir(l.store.Dir()).At(before.Number)
	if err == nil {
		err = s.CheckBlock(before)
	}
	if err != nil {
		return chain.Header{}, fmt.Errorf("%w: %w", follow.ErrNotAvailable, err)
	}
	return s.Manifest.Header, nil
}

// execute runs a sealed block on its parent, and returns it closed. Every check that
// needs no hash of what it came to is done here or before.
func (l *ledger) execute(exec *stf.Executor, v *prepared, on tip) (*stf.Closed, error) {
	b, h := v.block, &v.block.Header
	if h.ModuleHash != exec.Hash {
		return nil, fmt.Errorf("%w: block %d names %s, loaded is %s", stf.ErrModule, h.Height, h.ModuleHash, exec.Hash)
	}
	if err := h.Extends(on.header); err != nil {
		return nil, err
	}
	if v.signature != nil {
		return nil, v.signature
	}
	if err := b.CheckBesideTxs(l.genesis.MaxTxsPerBlock); err != nil {
		return nil, err
	}
	closed, err := apply(exec, v, on.state)
	if err == nil {
		return closed, nil
	}
	// Contents that are not the header's are what is wrong with a block, whatever
	// else came of them.
	if other := b.CheckTxs(chain.TxsRoot(b.Txs)); other != nil {
		return nil, other
	}
	return nil, err
}

// apply executes a block's transactions as they have been inspected, or what is left
// of them: each was hashed there, which decides last whether they are those of the
// header.
func apply(exec *stf.Executor, v *prepared, on state.View) (*stf.Closed, error) {
	var open *stf.Open
	var err error
	switch {
	case v.begun != nil && v.begun.closed != nil:
		return v.begun.closed, nil
	case v.begun != nil:
		open = v.begun.open
	default:
		open, err = exec.Begin(state.NewOverlay(on), v.block.Header.Height, v.block.Header.Time, v.block.Oracle)
	}
	if err != nil {
		return nil, err
	}
	if err := applyAll(open, v.chunks, v.skip); err != nil {
		return nil, err
	}
	return open.Close()
}

// applyAll executes what is in chunks but the first skip transactions.
func applyAll(open *stf.Open, chunks []*chunk, skip int) error {
	for _, c := range chunks {
		if skip >= len(c.txs) {
			skip -= len(c.txs)
			continue
		}
		if err := <-c.done; err != nil {
			return err
		}
		from := skip
		skip = 0
		for i := from; i < len(c.txs); i++ {
			if err := open.Apply(&c.txs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt compares a recomputed header with the sealed one and takes the sealed
// one, which carries the signature.
func adopt(sealed *chain.Header) func(*chain.Header) error {
	return func(h *chain.Header) error {
		if err := stf.Compare(sealed, h); err != nil {
			return err
		}
		*h = *sealed
		return nil
	}
}

// prepared is a block whose transactions are being inspected; [prepare] makes it.
type prepared struct {
	block     *chain.Block
	begun     *begun   // nil: nothing of it is executed
	chunks    []*chunk // of the rest
	skip      int      // so many in chunks are not of the rest
	signature error    // what is wrong with the header's
	err       error    // why there is no block
}

// prepare starts the inspection of a block's transactions, and checks its signature
// meanwhile: that needs no state, and would be a seventh of executing a block of 20
// transfers. It waits while the inspectors' queue is full. signers is what is believed
// of who signed the transactions, which need no inspection then; nil: they are recovered.
func prepare(p *inspectors, b *chain.Block, signers []byte) *prepared {
	chunks := noted(b.Txs, signers)
	if chunks == nil {
		chunks = inspect(p, b.Txs)
	}
	return &prepared{block: b, chunks: chunks, signature: b.Header.VerifySignature()}
}

// prepareRest does the same for what is not executed yet.
func prepareRest(p *inspectors, b *chain.Block, begun *begun) *prepared {
	if begun == nil {
		return prepare(p, b, nil)
	}
	return &prepared{block: b, begun: begun, chunks: inspect(p, b.Txs[begun.open.Txs():]), signature: b.Header.VerifySignature()}
}

// inspect starts the inspection of transactions.
func inspect(p *inspectors, txs [][]byte) []*chunk {
	chunks := newChunks(txs, nil)
	p.give(chunks)
	return chunks
}

// aheadBlocks is how many blocks are read and inspected ahead of execution. With
// full blocks that is 16,000 transactions, some 10 MB.
const aheadBlocks = 16

// ahead reads blocks and has them inspected on all cores while earlier ones are
// executed. The consumer must take all of them or cancel ctx.
func ahead(ctx context.Context, p *inspectors, blocks iter.Seq2[storedBlock, error]) <-chan *prepared {
	out := make(chan *prepared, aheadBlocks)
	go func() {
		defer close(out)
		for b, err := range blocks {
			v := &prepared{err: err}
			if err == nil {
				v = prepare(p, b.block, b.signers)
			}
			select {
			case out <- v:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// onAllCores is the state.Runner of whatever nobody else waits beside.
func onAllCores(jobs []func()) { runOn(procs.Cores(), runtime.Gosched, jobs) }

// runOn calls yield between two jobs: Go would give the core away only after 10 ms.
func runOn(cores int, yield func(), jobs []func()) {
	n := min(cores, len(jobs))
	next := make(chan func(), len(jobs))
	for _, job := range jobs {
		next <- job
	}
	close(next)
	work := func() {
		for job := range next {
			job()
			yield()
		}
	}
	var wg sync.WaitGroup
	for range n - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
