package node

import (
	"bytes"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/sequencer"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wire"
)

// openCopy executes the block that is open at the source while it grows, and computes its
// root on the way: when it is published, there is only to compare and to store.
//
//	OpenTxs ─▶ add ─▶ run (inspect, execute) ─▶ … ─▶ take or goOn(sealed block) ─▶ prepared.begun
//	                  commitEarly, and with the last: close, closeEarly
//
// Nothing of it is believed or shown to anybody. The sealed block must have the same
// number, time, prices and transactions, or it is executed from its beginning; and what
// it came to is compared with its header like any other block's. A part that is missing
// or that does not execute ends it for that block.
//
// It belongs to the goroutine of the session, which also executes blocks: the two
// share the machine.
type openCopy struct {
	ledger  *ledger
	exec    *stf.Executor
	inspect *inspectors

	waiting []wire.OpenTxs // of blocks above the next, or not executed yet
	bytes   int            // of their transactions
	begun   *begun
	over    uint64 // the newest block that is not followed any more
}

// maxOpenWaiting bounds the transactions that wait because blocks before theirs are not
// verified yet, bytes.
const maxOpenWaiting = 4 << 20

// begun is a block of which some transactions are executed.
type begun struct {
	open   *stf.Open
	closed *stf.Closed // nil: there may be more transactions
	parent chain.Hash
	oracle chain.Hash
	txs    [][]byte
}

// goesOn reports whether the rest can be executed on a tip now.
func (b *begun) goesOn(exec *stf.Executor, on tip) bool {
	return exec.GoesOn(b.open) && b.parent == on.header.Hash()
}

// add takes a part and executes it if the block before is verified.
func (c *openCopy) add(m wire.OpenTxs) {
	size := 0
	for _, tx := range m.Txs {
		size += len(tx)
	}
	if m.Number <= c.over || c.bytes+size > maxOpenWaiting {
		c.over = max(c.over, m.Number)
		return
	}
	c.waiting, c.bytes = append(c.waiting, m), c.bytes+size
	c.run()
}

// run executes what waits, as far as it is of the block after the head.
func (c *openCopy) run() {
	next := c.ledger.head.Height + 1
	if c.begun != nil && c.begun.open.Height() != next {
		c.begun = nil
	}
	kept := c.waiting[:0]
	c.bytes = 0
	for i := range c.waiting {
		m := &c.waiting[i]
		switch {
		case m.Number > next:
			for _, tx := range m.Txs {
				c.bytes += len(tx)
			}
			kept = append(kept, *m)
		case m.Number == next && m.Number > c.over && !c.execute(m):
			c.over, c.begun = m.Number, nil
		}
	}
	clear(c.waiting[len(kept):])
	c.waiting = kept
}

// execute reports whether the block goes on.
func (c *openCopy) execute(m *wire.OpenTxs) bool {
	on := c.ledger.tip()
	if c.begun == nil {
		c.ledger.takeBackEarly()
		open, err := c.exec.Begin(state.NewOverlay(on.state), m.Number, m.Time, m.Oracle)
		if err != nil {
			return false
		}
		c.begun = &begun{open: open, parent: on.header.Hash(), oracle: m.Oracle.Hash()}
	}
	b := c.begun
	if b.closed != nil || !b.goesOn(c.exec, on) || int(m.First) != len(b.txs) || len(b.txs)+len(m.Txs) > int(c.ledger.genesis.MaxTxsPerBlock) {
		return false
	}
	b.txs = append(b.txs, m.Txs...)
	if applyAll(b.open, inspect(c.inspect, m.Txs), 0) != nil || b.open.Bytes() > chain.MaxBlockBytes {
		return false
	}
	c.ledger.meters.ahead.Add(uint64(len(m.Txs)))
	if m.Last {
		return c.close(b)
	}
	c.ledger.commitEarly(b)
	return true
}

// close reports whether a block that has all its transactions is one.
func (c *openCopy) close(b *begun) bool {
	var err error
	if b.closed, err = b.open.Close(); err != nil {
		return false
	}
	c.ledger.closeEarly(b.closed)
	return true
}

// take returns what is executed of a sealed block, nil if that is nothing or something
// else.
func (c *openCopy) take(b *chain.Block) *begun {
	v := c.begun
	c.over, c.begun = max(c.over, b.Header.Height), nil
	if v == nil || v.open.Height() != b.Header.Height || v.open.Time() != b.Header.Time || v.parent != b.Header.Parent || v.oracle != b.Oracle.Hash() || len(v.txs) > len(b.Txs) || v.closed != nil && len(v.txs) < len(b.Txs) {
		return nil
	}
	for i, tx := range v.txs {
		if !bytes.Equal(tx, b.Txs[i]) {
			return nil
		}
	}
	return v
}

// goOn is b, of which p is what has been done so far or nil, with what was executed of it
// ahead. That is there already if b came with its doorbell. If another doorbell took the
// place of that one, a pass has read b.
func (c *openCopy) goOn(p *prepared, b *chain.Block, on tip) *prepared {
	began := c.take(b)
	if p != nil && p.begun != nil {
		began = p.begun
	}
	switch goes := began != nil && began.goesOn(c.exec, on); {
	case goes && p == nil:
		p = prepareRest(c.inspect, b, began)
	case goes && p.begun == nil:
		p.begun, p.skip = began, len(began.txs)
	case !goes && (p == nil || p.begun != nil):
		p = prepare(c.inspect, b, nil)
	}
	if p.begun != nil {
		c.ledger.meters.aheadUsed.Add(uint64(len(p.begun.txs)))
	}
	return p
}

// height is the block of which something is executed, 0 if there is none.
func (c *openCopy) height() uint64 {
	if c.begun == nil {
		return 0
	}
	return c.begun.open.Height()
}

// skip leaves the next block alone: that before it was too large to come with its
// doorbell, and so is the next one most likely. Then what was executed ahead would be
// inspected twice.
func (c *openCopy) skip(before uint64) { c.over = max(c.over, before+1) }

// openBlock is what the write node tells its followers of the block that is open. It
// belongs to the goroutine of the journal.
type openBlock struct {
	header *sequencer.OpenRecord // nil until one was opened by this process
	txs    int                   // of it that are durable
}

// minLast is how many transactions a block has at least for its end to be told: the root
// of a smaller one takes no longer than to say that it is closed.
const minLast = 100

// durable tells what a group made durable in open blocks, if somebody wants to hear.
func (o *openBlock) durable(group []decided, heard bool, open func(wire.OpenTxs)) {
	var txs [][]byte
	tell := func(last bool) {
		if o.header != nil && heard && (len(txs) > 0 || last) {
			open(wire.OpenTxs{Number: o.header.Height, Time: o.header.Time, Oracle: o.header.Oracle, First: uint32(o.txs - len(txs)), Last: last, Txs: txs})
		}
		txs = nil
	}
	for i := range group {
		for _, r := range group[i].Journal {
			switch {
			case r.Open != nil:
				tell(o.txs >= minLast) // that another is opened closes it
				o.header, o.txs = r.Open, 0
			case heard:
				txs = append(txs, r.Tx)
				fallthrough
			default:
				o.txs++
			}
		}
	}
	tell(false)
}
