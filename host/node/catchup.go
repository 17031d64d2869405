package node

// catchUpBlocks is how far behind its source a node is that shows how it catches up,
// blocks: ten seconds at the usual interval.
const catchUpBlocks = 100

// catchUp shows how a read node that was far behind comes nearer. It belongs to the
// goroutine of the session.
type catchUp struct {
	begin func(what, unit string) (Progress, func())

	show Progress // nil: nothing is shown
	hide func()
	from uint64 // the last block before what is shown
	txs  uint64
}

// moved says that a block of so many transactions is verified, and what the source
// has.
func (c *catchUp) moved(height, tip uint64, txs int) {
	tip = max(tip, height)
	if c.show == nil {
		if tip-height < catchUpBlocks {
			return
		}
		c.show, c.hide = c.begin("catch up", "blocks")
		c.from, c.txs = height-1, 0
	}
	c.txs += uint64(txs)
	c.show(height-c.from, tip-c.from, c.txs)
	if height == tip {
		c.end()
	}
}

func (c *catchUp) end() {
	if c.show != nil {
		c.hide()
		c.show, c.hide = nil, nil
	}
}
