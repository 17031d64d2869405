package follow

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// EventArchive is an [Archive] that also has what executing its blocks came to.
type EventArchive interface {
	Archive
	// Results returns the encoding of a block's results, or an error that is
	// ErrNotAvailable.
	Results(number uint64) ([]byte, error)
	// Base is the first block that is kept, 1 or more.
	Base() uint64
}

// EventBlock is what somebody needs of a block who watches the chain without
// executing it: when it was, the prices in force, and what came of it. Both are
// bound by the header.
type EventBlock struct {
	Header  chain.Header
	Oracle  chain.OracleSnapshot
	Results *chain.Results
}

// MaxEventBlockBytes bounds the encoding of one EventBlock, bytes: with its
// framing it fits one sync frame of 4 MiB. Results may be larger (a module may
// emit megabytes in one block); such a block is a gap in the stream.
const MaxEventBlockBytes = 4<<20 - 4<<10

// Append appends the encoding of b.
func (b *EventBlock) Append(dst []byte) []byte {
	return appendEventBlock(dst, &b.Header, &b.Oracle, b.Results.Append(nil))
}

func appendEventBlock(dst []byte, h *chain.Header, s *chain.OracleSnapshot, results []byte) []byte {
	return abi.AppendBytes(abi.AppendBytes(h.Append(dst), s.Append(nil)), results)
}

// DecodeEventBlock reads exactly one EventBlock; the events are views into p.
// What the header binds is not compared: see [EventBlock.Check].
func DecodeEventBlock(p []byte) (*EventBlock, error) {
	if len(p) > MaxEventBlockBytes {
		return nil, fmt.Errorf("%w: events of a block take %d bytes, limit %d", chain.ErrTooLarge, len(p), MaxEventBlockBytes)
	}
	r := abi.NewReader(p)
	head := r.Take(chain.HeaderBytes)
	oracle, results := r.Bytes(chain.OracleBytes(chain.MaxMarkets)), r.Bytes(MaxEventBlockBytes)
	if !r.Done() {
		return nil, fmt.Errorf("events of a block: %w", chain.ErrMalformed)
	}
	b := &EventBlock{}
	var errs [3]error
	b.Header, errs[0] = chain.DecodeHeader(head)
	b.Oracle, errs[1] = chain.DecodeOracle(oracle)
	b.Results, errs[2] = chain.DecodeResults(results)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("events of a block: %w", err)
	}
	return b, nil
}

// Check compares prices and results with the two roots that bind them.
func (b *EventBlock) Check() error {
	if got := b.Oracle.Hash(); got != b.Header.OracleHash {
		return fmt.Errorf("%w: block %d oracle hash is %s, header says %s", chain.ErrContents, b.Header.Height, got, b.Header.OracleHash)
	}
	if got := b.Results.Root(); got != b.Header.ReceiptsRoot {
		return fmt.Errorf("%w: block %d receipts root is %s, header says %s", chain.ErrContents, b.Header.Height, got, b.Header.ReceiptsRoot)
	}
	return nil
}

// GapError says that the events of a block are not to be had and will not be:
// pruned, or too large to send. Base is the next block from which asking makes
// sense; what happened before it is in the state after it.
type GapError struct{ From, Base uint64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("events of block %d are not kept, the next that may be are those of block %d", e.From, e.Base)
}

// ReadEvents returns the encodings of up to limit consecutive EventBlocks from
// number from, of maxBytes together; the first one is returned whatever its size.
// The error is a [*GapError] if the first will never be served, and
// [ErrNotAvailable] if it is above the tip.
func ReadEvents(a EventArchive, from uint64, limit, maxBytes int) ([][]byte, error) {
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
		b, err := readEventBlock(a, from+uint64(len(blocks)))
		if err != nil && len(blocks) > 0 {
			return blocks, nil // the reader asks again from here
		}
		if err != nil {
			return nil, err
		}
		if size += len(b); size > maxBytes && len(blocks) > 0 {
			return blocks, nil
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// readEventBlock reads one block that is not above the tip.
func readEventBlock(a EventArchive, number uint64) ([]byte, error) {
	if base := a.Base(); number < base {
		return nil, &GapError{number, base}
	}
	encoded, err := a.Block(number)
	if err != nil {
		return nil, gap(a, number, err)
	}
	results, err := a.Results(number)
	if err != nil {
		return nil, gap(a, number, err)
	}
	block, err := chain.DecodeBlock(encoded)
	if err != nil {
		return nil, err
	}
	b := appendEventBlock(nil, &block.Header, &block.Oracle, results)
	if len(b) > MaxEventBlockBytes {
		return nil, &GapError{number, number + 1}
	}
	return b, nil
}

// gap turns the lack of a block that is not above the tip, because it was pruned
// a moment ago or its results are not kept, into what a reader can act on.
func gap(a EventArchive, number uint64, err error) error {
	if errors.Is(err, ErrNotAvailable) {
		return &GapError{number, max(number+1, a.Base())}
	}
	return err
}
