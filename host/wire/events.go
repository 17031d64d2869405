package wire

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// The event stream: what happened in each block, for those who watch the chain
// without executing it. It is pulled like blocks are, and doorbells say when.
type (
	// GetEvents asks for the events of up to Limit consecutive blocks, of MaxBytes
	// together.
	GetEvents struct {
		ID       uint32
		From     uint64
		Limit    uint32
		MaxBytes uint32
	}
	// Events are one or more encodings of follow.EventBlock.
	Events struct {
		ID     uint32
		Blocks [][]byte
	}
	// Gap answers a GetEvents whose first block will never be served: pruned, or
	// too large for a frame. Base is where asking makes sense again.
	Gap struct {
		ID   uint32
		Base uint64
	}
)

func (GetEvents) kind() Type { return TypeGetEvents }
func (Events) kind() Type    { return TypeEvents }
func (Gap) kind() Type       { return TypeGap }

func (m GetEvents) append(dst []byte) []byte { return GetBlocks(m).append(dst) }
func (m Events) append(dst []byte) []byte    { return Blocks(m).append(dst) }
func (m Gap) append(dst []byte) []byte       { return abi.AppendU64(abi.AppendU32(dst, m.ID), m.Base) }

func readEvents(r *abi.Reader) (m Events) {
	m.ID = r.U32()
	n := r.Count(4)
	if n < 1 || n > MaxRangeBlocks {
		r.Fail()
		return m
	}
	m.Blocks = make([][]byte, n)
	for i := range m.Blocks {
		m.Blocks[i] = r.Bytes(follow.MaxEventBlockBytes)
	}
	return m
}

// events answers a GetEvents.
func (p *peer) events(m GetEvents) []byte {
	archive, ok := p.server.archive.(follow.EventArchive)
	if !ok {
		return encode(Failed{m.ID, FailNotAvailable, "no events are kept here"}, 64)
	}
	if m.Limit == 0 {
		return encode(Failed{m.ID, FailBadRequest, "limit is 0"}, 64)
	}
	maxBytes := int(min(m.MaxBytes, uint32(p.limits.MaxResponseBytes)))
	blocks, err := follow.ReadEvents(archive, m.From, int(min(m.Limit, MaxRangeBlocks)), maxBytes)
	if gap := (*follow.GapError)(nil); errors.As(err, &gap) {
		return encode(Gap{m.ID, gap.Base}, 16)
	}
	size := 0
	for _, b := range blocks {
		size += 4 + len(b)
	}
	return p.reply(m.ID, Events{m.ID, blocks}, 16+size, err)
}

// Events asks for what happened in up to limit blocks from number from. They are
// consecutive and no more than asked for, and what the header binds was compared;
// whether a header belongs to the chain is for the caller to decide. The error is
// a [*follow.GapError] if those events will never be served, and
// follow.ErrNotAvailable if the block is not there yet.
func (c *Client) Events(from uint64, limit int) ([]*follow.EventBlock, error) {
	limit = min(limit, MaxRangeBlocks)
	m, err := c.call(func(id uint32) Message {
		return GetEvents{ID: id, From: from, Limit: uint32(limit), MaxBytes: MaxFrameBytes - blocksOverhead}
	}, TypeEvents, TypeGap)
	if err != nil {
		return nil, fmt.Errorf("events from %d: %w", from, err)
	}
	if gap, ok := m.(Gap); ok {
		return nil, c.gap(from, gap.Base)
	}
	blocks, err := decodeEvents(m.(Events).Blocks, from, limit)
	if err != nil {
		err = fmt.Errorf("events from %d: %w", from, err)
		c.end(err)
		return nil, err
	}
	return blocks, nil
}

// gap ends the connection if the gap that the peer names has no end ahead: a
// reader that believed it would ask the same again for ever.
func (c *Client) gap(from, base uint64) error {
	if base > from {
		return &follow.GapError{From: from, Base: base}
	}
	err := fmt.Errorf("%w: asked for events from %d, peer keeps those from %d and has none", ErrOutOfOrder, from, base)
	c.end(err)
	return err
}

func decodeEvents(encoded [][]byte, from uint64, limit int) ([]*follow.EventBlock, error) {
	if len(encoded) > limit {
		return nil, fmt.Errorf("%w: %d of them, asked for %d", ErrOutOfOrder, len(encoded), limit)
	}
	blocks := make([]*follow.EventBlock, len(encoded))
	for i, b := range encoded {
		block, err := follow.DecodeEventBlock(b)
		if err != nil {
			return nil, err
		}
		if want := from + uint64(i); block.Header.Height != want {
			return nil, fmt.Errorf("%w: number %d is block %d, want %d", ErrOutOfOrder, i, block.Header.Height, want)
		}
		if err := block.Check(); err != nil {
			return nil, err
		}
		blocks[i] = block
	}
	return blocks, nil
}
