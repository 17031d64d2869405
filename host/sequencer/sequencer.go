// Package sequencer is the write node's core: it executes transactions in the
// order they are given, seals blocks, and says what must be made durable before
// what may be told to anybody. It does no I/O, has no goroutine and no clock:
// time is an argument, and the caller drains [Core.Ready].
//
// It imports host/stf, host/state and host/chain, and must not import an
// adapter.
//
//	core.Tick(now, oracle)          every interval: seals, opens the next block
//	core.Submit(now, tx, ticket)    executes at once
//	rd := core.Ready()
//	  1. append rd.Journal, fsync
//	  2. give rd.Answers
//	  3. commit, sign, store and publish rd.Sealed, in order; then core.Committed
//	core.Advance()
//	core.SealFull(now)              after commits: a full block may have waited for them
//
// A Core belongs to one goroutine.
package sequencer

import (
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
)

// MaxUncommitted is how many sealed blocks may wait for their root. It bounds
// the memory of a writer whose disk or hashing falls behind: when it is reached
// the core takes no more transactions (requirements 2.5, the writer's brake).
const MaxUncommitted = 4

// Config is what genesis fixes.
type Config struct {
	MaxTxs int // transactions per block, 1 to chain.MaxBlockTxs
}

// OpenRecord is the journal's note that a block was opened. It holds all of a
// block's input that is not transactions, so that the block can be built again
// byte for byte.
type OpenRecord struct {
	Height uint64
	Time   uint64
	Oracle chain.OracleSnapshot
}

// Record is one entry of the journal: exactly one field is set.
type Record struct {
	Open *OpenRecord
	Tx   []byte
}

// Answer is what a submitter is told. Exactly one of Receipt and Refusal is set.
type Answer struct {
	Ticket  any
	ID      chain.Hash // as inspected; zero for a malformed transaction
	Height  uint64
	Index   int
	Receipt *chain.Receipt
	Refusal *stf.Refusal
}

// Ready is what the core has decided since the last Advance. The caller must
// make Journal durable BEFORE it gives any of Answers and BEFORE it stores or
// publishes any of Sealed (invariant 2): a sealed block that is stored is then
// always one that the journal would build again.
type Ready struct {
	Journal []Record
	Answers []Answer
	Sealed  []*stf.Closed // in height order; report each back with Committed
}

// Empty reports whether there is nothing to do.
func (r *Ready) Empty() bool {
	return len(r.Journal) == 0 && len(r.Answers) == 0 && len(r.Sealed) == 0
}

// Core is the write node's core.
type Core struct {
	cfg    Config
	exec   *stf.Executor
	base   stf.View         // the committed state
	frozen []*state.Overlay // of sealed blocks whose root is not known yet, oldest first
	oldest uint64           // height of frozen[0]
	open   *stf.Open        // nil until the first Open
	height uint64           // of the newest sealed block
	time   uint64           // of the newest sealed block, ms
	ready  Ready
	expect int // answers in the last Ready: room for as many is made at once
}

// New continues the chain after head, whose state is base.
func New(cfg Config, exec *stf.Executor, head *chain.Header, base stf.View) *Core {
	invariant.Hold(cfg.MaxTxs >= 1 && cfg.MaxTxs <= chain.MaxBlockTxs, "max_txs_per_block is %d", cfg.MaxTxs)
	return &Core{cfg: cfg, exec: exec, base: base, height: head.Height, time: head.Time, oldest: head.Height + 1}
}

// Ready is what there is to do now; it stays the caller's until Advance.
func (c *Core) Ready() Ready { return c.ready }

// Advance says that the caller has taken everything from Ready.
func (c *Core) Advance() {
	if n := len(c.ready.Answers); n > 0 {
		c.expect = n
	}
	c.ready = Ready{}
}

// answer adds to what is to be told, and to what must be durable before if tx is in
// the block.
func (c *Core) answer(a Answer, tx *stf.Tx) {
	rd := &c.ready
	if rd.Answers == nil {
		rd.Answers = make([]Answer, 0, c.expect)
		rd.Journal = slices.Grow(rd.Journal, c.expect)
	}
	rd.Answers = append(rd.Answers, a)
	if a.Receipt != nil {
		rd.Journal = append(rd.Journal, Record{Tx: tx.Raw})
	}
}

// Open is the block that takes transactions, or nil before the first Tick.
func (c *Core) Open() *stf.Open { return c.open }

// Tick seals the open block and opens the next one at time now under oracle
// (K-04, K-06). It reports false, and does nothing, while too many sealed blocks
// wait for their root: the seal is postponed. An error is fatal.
func (c *Core) Tick(now uint64, oracle chain.OracleSnapshot) (sealed bool, err error) {
	if c.open != nil {
		if c.blocked() {
			return false, nil
		}
		if err := c.seal(); err != nil {
			return false, err
		}
	}
	return true, c.begin(max(now, c.time+1), oracle, true)
}

func (c *Core) blocked() bool { return len(c.frozen) >= MaxUncommitted }

// Uncommitted is how many sealed blocks wait for Committed.
func (c *Core) Uncommitted() int { return len(c.frozen) }

// Accepts reports whether Submit may be called with a transaction of size bytes.
// It is false while the open block is full and cannot be sealed because too many
// sealed blocks wait for their root; Committed changes that.
func (c *Core) Accepts(size int) bool {
	return c.open != nil && (!c.full(size) || !c.blocked())
}

// full reports whether the open block has no room for size more bytes, or for
// more results.
func (c *Core) full(size int) bool {
	return c.open.Txs() >= c.cfg.MaxTxs || c.open.Bytes()+4+size > chain.MaxBlockBytes || c.open.ResultBytes() >= chain.MaxBlockResultBytes
}

// Expect makes room in Ready for the decisions of so many transactions.
func (c *Core) Expect(txs int) {
	c.ready.Journal, c.ready.Answers = slices.Grow(c.ready.Journal, txs), slices.Grow(c.ready.Answers, txs)
}

// Submit executes tx in the open block (K-01), sealing it first if it is full:
// intake never waits for the tick (requirements section 6, item 2). The answer is in
// Ready. An error is fatal.
func (c *Core) Submit(now uint64, tx *stf.Tx, ticket any) error {
	invariant.Hold(c.Accepts(len(tx.Raw)), "Submit to a core that does not accept")
	if c.full(len(tx.Raw)) {
		if err := c.sealFull(now); err != nil {
			return err
		}
	}
	receipt, refusal, err := c.open.Submit(tx)
	if err != nil {
		return err
	}
	answer := Answer{Ticket: ticket, ID: tx.ID, Height: c.open.Height(), Refusal: refusal}
	if refusal == nil {
		answer.Index = c.open.Txs() - 1
		answer.Receipt = receipt
	}
	c.answer(answer, tx)
	_, err = c.SealFull(now)
	return err
}

// SealFull seals the open block if it has no room and may be sealed (C-19), and
// opens the next one. Submit does it itself; a block that could not be sealed then,
// because too many waited for their root, is sealed by the call after the
// [Core.Committed] that makes room.
func (c *Core) SealFull(now uint64) (sealed bool, err error) {
	if c.open == nil || !c.full(0) || c.blocked() {
		return false, nil
	}
	return true, c.sealFull(now)
}

// sealFull seals a block that has no room and opens the next one under the same
// oracle snapshot.
func (c *Core) sealFull(now uint64) error {
	oracle := *c.open.Oracle()
	if err := c.seal(); err != nil {
		return err
	}
	return c.begin(max(now, c.time+1), oracle, true)
}

func (c *Core) seal() error {
	closed, err := c.open.Close()
	if err != nil {
		return err
	}
	c.frozen = append(c.frozen, closed.Overlay)
	c.height, c.time = closed.Height, closed.Time
	c.ready.Sealed = append(c.ready.Sealed, closed)
	c.open = nil
	return nil
}

func (c *Core) begin(time uint64, oracle chain.OracleSnapshot, journal bool) error {
	invariant.Hold(time > c.time, "block %d would open at %d, its parent is at %d", c.height+1, time, c.time)
	var parent stf.View = c.base
	if n := len(c.frozen); n > 0 {
		parent = c.frozen[n-1]
	}
	open, err := c.exec.Begin(state.NewOverlay(parent), c.height+1, time, oracle)
	if err != nil {
		return err
	}
	c.open = open
	if journal {
		c.ready.Journal = append(c.ready.Journal, Record{Open: &OpenRecord{Height: c.height + 1, Time: time, Oracle: oracle}})
	}
	return nil
}

// Committed says that the changes of the sealed block at height are in the base
// state. Blocks are reported in height order.
func (c *Core) Committed(height uint64) {
	invariant.Hold(len(c.frozen) > 0 && c.oldest == height, "commit of block %d, %d sealed blocks from %d wait for theirs", height, len(c.frozen), c.oldest)
	c.frozen[0] = nil
	c.frozen = c.frozen[1:]
	c.oldest++
	switch {
	case len(c.frozen) > 0:
		c.frozen[0].SetParent(c.base)
	case c.open != nil:
		c.open.View().SetParent(c.base)
	}
}

// Recover feeds one journaled record back after a crash: the same code, without
// journaling it again. tx is the inspected form of record.Tx. A record that does
// not continue the chain is an error: the journal is not this chain's.
func (c *Core) Recover(record Record, tx *stf.Tx) error {
	if r := record.Open; r != nil {
		if r.Height != c.nextHeight() {
			return fmt.Errorf("journal opens block %d, the chain continues with %d", r.Height, c.nextHeight())
		}
		if c.open != nil {
			if err := c.seal(); err != nil {
				return err
			}
		}
		if r.Time <= c.time {
			return fmt.Errorf("journal opens block %d at %d, its parent is at %d", r.Height, r.Time, c.time)
		}
		return c.begin(r.Time, r.Oracle, false)
	}
	if c.open == nil {
		return fmt.Errorf("journal has a transaction before any block is open")
	}
	_, refusal, err := c.open.Submit(tx)
	if err != nil {
		return err
	}
	if refusal != nil {
		return fmt.Errorf("journaled transaction %d of block %d is refused: %w", c.open.Txs(), c.open.Height(), refusal)
	}
	return nil
}

func (c *Core) nextHeight() uint64 {
	if c.open != nil {
		return c.open.Height() + 1
	}
	return c.height + 1
}
