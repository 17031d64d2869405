package follow

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Archive is a node's own store as the source of other people's passes. What is
// above Tips().Proposed is never served (invariants 2 and 12).
type Archive interface {
	Tips() (chain.Tips, error)
	// Block returns the encoding of a block, or an error that is ErrNotAvailable.
	Block(number uint64) ([]byte, error)
	// Header returns the header of a block, or an error that is ErrNotAvailable.
	Header(number uint64) (chain.Header, error)
}

// ReadRange returns the encodings of up to limit consecutive blocks from number
// from, of maxBytes together; the first one is returned whatever its size. The
// error is ErrNotAvailable if the first one cannot be served.
func ReadRange(a Archive, from uint64, limit, maxBytes int) ([][]byte, error) {
	tips, err := a.Tips()
	if err != nil {
		return nil, err
	}
	if from > tips.Proposed.Number || limit < 1 {
		return nil, unavailable(from, tips)
	}
	limit = int(min(uint64(limit), tips.Proposed.Number-from+1))
	var blocks [][]byte
	for size := 0; len(blocks) < limit; {
		b, err := a.Block(from + uint64(len(blocks)))
		if err != nil {
			if len(blocks) > 0 {
				return blocks, nil // a gap, or a prune since: the reader asks again from here
			}
			return nil, err
		}
		if size += len(b); size > maxBytes && len(blocks) > 0 {
			return blocks, nil
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// ReadHeader returns the header of a block that may be served.
func ReadHeader(a Archive, number uint64) (chain.Header, error) {
	tips, err := a.Tips()
	if err != nil {
		return chain.Header{}, err
	}
	if number > tips.Proposed.Number {
		return chain.Header{}, unavailable(number, tips)
	}
	return a.Header(number)
}

func unavailable(number uint64, tips chain.Tips) error {
	return fmt.Errorf("block %d, tip is %d: %w", number, tips.Proposed.Number, ErrNotAvailable)
}

// DecodeRange decodes what [ReadRange] returned.
func DecodeRange(encoded [][]byte) ([]*chain.Block, error) {
	blocks := make([]*chain.Block, len(encoded))
	for i, b := range encoded {
		block, err := chain.DecodeBlock(b)
		if err != nil {
			return nil, fmt.Errorf("block %d of a range of %d: %w", i, len(encoded), err)
		}
		blocks[i] = block
	}
	return blocks, nil
}
