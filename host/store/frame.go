package store

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Record is one block of the log.
type Record struct {
	Block   *chain.Block
	Results *chain.Results
}

// A segment of the block log is a header and then records without gaps; a record
// is a frame, the block and its results. LAYOUT.md draws them.
const (
	segmentMagic       = "KZBLOCKS"
	segmentHeaderBytes = 8 + 2 + 2 + 8 + 32 + 4
	frameMagic         = 0x52425A4B // "KZBR"
	frameBytes         = 36
)

func encodeSegmentHeader(first uint64, genesis chain.Hash) []byte {
	b := make([]byte, segmentHeaderBytes)
	copy(b, segmentMagic)
	le.PutUint16(b[8:], FormatVersion)
	le.PutUint64(b[12:], first)
	copy(b[20:], genesis[:])
	return sealCRC(b)
}

// checkSegmentHeader compares a segment's header with the only one it may have.
func checkSegmentHeader(b []byte, file string, first uint64, genesis chain.Hash) error {
	switch {
	case len(b) < segmentHeaderBytes:
		return corrupt(file, 0, first, "segment header is %d bytes, want %d", len(b), segmentHeaderBytes)
	case string(b[:8]) != segmentMagic || !crcOK(b[:segmentHeaderBytes]):
		return corrupt(file, 0, first, "segment header does not match its checksum")
	case le.Uint16(b[8:]) != FormatVersion || le.Uint16(b[10:]) != 0:
		return fmt.Errorf("%w: %s has version %d, this program reads %d", ErrVersion, file, le.Uint16(b[8:]), FormatVersion)
	case le.Uint64(b[12:]) != first:
		return corrupt(file, 12, first, "segment starts at block %d, its name says %d", le.Uint64(b[12:]), first)
	case chain.Hash(b[20:52]) != genesis:
		return fmt.Errorf("%w: %s has genesis %s, want %s", ErrGenesis, file, chain.Hash(b[20:52]), genesis)
	}
	return nil
}

// frame says what follows it.
type frame struct {
	height       uint64
	blockBytes   uint32
	resultsBytes uint32
	headerCRC    uint32 // of the block's first chain.HeaderBytes, so that a header can be read alone
	blockCRC     uint32
	resultsCRC   uint32
}

// bytes is the size of the whole record.
func (f *frame) bytes() int64 {
	return frameBytes + int64(f.blockBytes) + int64(f.resultsBytes)
}

func (f *frame) append(dst []byte) []byte {
	dst = le.AppendUint32(dst, frameMagic)
	dst = le.AppendUint64(dst, f.height)
	dst = le.AppendUint32(dst, f.blockBytes)
	dst = le.AppendUint32(dst, f.resultsBytes)
	dst = le.AppendUint32(dst, f.headerCRC)
	dst = le.AppendUint32(dst, f.blockCRC)
	dst = le.AppendUint32(dst, f.resultsCRC)
	return le.AppendUint32(dst, checksum(dst[len(dst)-frameBytes+4:]))
}

// decodeFrame reads a frame and checks every length, so that nothing is
// allocated for a damaged one.
func decodeFrame(b []byte) (f frame, what string) {
	if len(b) < frameBytes {
		return f, "record ends inside its frame"
	}
	if le.Uint32(b) != frameMagic || checksum(b[:frameBytes-4]) != le.Uint32(b[frameBytes-4:]) {
		return f, "record frame does not match its checksum"
	}
	f = frame{height: le.Uint64(b[4:]), blockBytes: le.Uint32(b[12:]), resultsBytes: le.Uint32(b[16:]),
		headerCRC: le.Uint32(b[20:]), blockCRC: le.Uint32(b[24:]), resultsCRC: le.Uint32(b[28:])}
	if f.blockBytes < chain.HeaderBytes || f.blockBytes > chain.MaxBlockBytes || f.resultsBytes > MaxResultsBytes {
		return f, fmt.Sprintf("record of %d + %d bytes, limits %d and %d", f.blockBytes, f.resultsBytes, chain.MaxBlockBytes, MaxResultsBytes)
	}
	return f, ""
}

// appendRecord appends the whole record. r has passed checkRecord.
func appendRecord(dst []byte, r Record) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameBytes)...)
	dst = r.Block.Append(dst)
	results := len(dst)
	dst = r.Results.Append(dst)
	block := dst[start+frameBytes : results]
	f := frame{
		height: r.Block.Header.Height, blockBytes: uint32(len(block)), resultsBytes: uint32(len(dst) - results),
		headerCRC: checksum(block[:chain.HeaderBytes]), blockCRC: checksum(block), resultsCRC: checksum(dst[results:]),
	}
	f.append(dst[start:start])
	return dst
}

// resultsSize is the length of the encoding of v, bytes: counted before anything
// is encoded.
func resultsSize(v *chain.Results) int {
	n := eventsSize(v.Begin) + 4 + eventsSize(v.End)
	for i := range v.Receipts {
		r := &v.Receipts[i]
		n += 32 + 2 + 4 + len(r.Detail) + eventsSize(r.Events)
	}
	return n
}

func eventsSize(events [][]byte) int {
	n := 4
	for _, e := range events {
		n += 4 + len(e)
	}
	return n
}

// checkRecord refuses what the log could not give back.
func checkRecord(r Record) error {
	h := r.Block.Header.Height
	switch n := r.Block.Size(); {
	case h > MaxHeight:
		return fmt.Errorf("%w: height %d, limit %d", ErrTooLarge, h, uint64(MaxHeight))
	case n > chain.MaxBlockBytes:
		return fmt.Errorf("%w: block %d is %d bytes, limit %d", ErrTooLarge, h, n, chain.MaxBlockBytes)
	}
	if n := resultsSize(r.Results); n > MaxResultsBytes {
		return fmt.Errorf("%w: results of block %d are %d bytes, limit %d", ErrTooLarge, h, n, MaxResultsBytes)
	}
	return nil
}
