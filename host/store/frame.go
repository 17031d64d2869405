package store

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Record is one block of the log.
type Record struct {
	Block   *chain.Block
	Results *chain.Results
	// Signers is what this node found out about who signed the transactions; host/stf
	// says what is in it. It is local: no header commits to it. May be nil.
	Signers []byte
}

// A segment of the block log is a header and then records without gaps; a record
// is a frame, the block and its results. LAYOUT.md draws them.
const (
	segmentMagic       = "KZBLOCKS"
	segmentHeaderBytes = 8 + 2 + 2 + 8 + 32 + 4
	frameMagic         = 0x52425A4B // "KZBR": the results follow the block
	signedMagic        = 0x53425A4B // "KZBS": the signers come before the results
	frameBytes         = 36
	// LogVersion is the version of the segments that are written. Of records in
	// older ones nobody knows the signers.
	LogVersion uint16 = 2
)

func encodeSegmentHeader(first uint64, genesis chain.Hash) []byte {
	b := make([]byte, segmentHeaderBytes)
	copy(b, segmentMagic)
	le.PutUint16(b[8:], LogVersion)
	le.PutUint64(b[12:], first)
	copy(b[20:], genesis[:])
	return sealCRC(b)
}

// checkSegmentHeader compares a segment's header with the one it has to have, and
// returns its version.
func checkSegmentHeader(b []byte, file string, first uint64, genesis chain.Hash) (version uint16, err error) {
	if len(b) >= segmentHeaderBytes {
		version = le.Uint16(b[8:])
	}
	switch {
	case len(b) < segmentHeaderBytes:
		return 0, corrupt(file, 0, first, "segment header is %d bytes, want %d", len(b), segmentHeaderBytes)
	case string(b[:8]) != segmentMagic || !crcOK(b[:segmentHeaderBytes]):
		return 0, corrupt(file, 0, first, "segment header does not match its checksum")
	case version < 1 || version > LogVersion || le.Uint16(b[10:]) != 0:
		return 0, fmt.Errorf("%w: %s has version %d, this program reads 1 to %d", ErrVersion, file, version, LogVersion)
	case le.Uint64(b[12:]) != first:
		return 0, corrupt(file, 12, first, "segment starts at block %d, its name says %d", le.Uint64(b[12:]), first)
	case chain.Hash(b[20:52]) != genesis:
		return 0, fmt.Errorf("%w: %s has genesis %s, want %s", ErrGenesis, file, chain.Hash(b[20:52]), genesis)
	}
	return version, nil
}

// frame says what follows it.
type frame struct {
	signed       bool // what follows the block begins with its signers
	height       uint64
	blockBytes   uint32
	resultsBytes uint32 // of what follows the block
	headerCRC    uint32 // of the block's first chain.HeaderBytes, so that a header can be read alone
	blockCRC     uint32
	resultsCRC   uint32
}

// bytes is the size of the whole record.
func (f *frame) bytes() int64 {
	return frameBytes + int64(f.blockBytes) + int64(f.resultsBytes)
}

func (f *frame) append(dst []byte) []byte {
	magic := uint32(frameMagic)
	if f.signed {
		magic = signedMagic
	}
	dst = le.AppendUint32(dst, magic)
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
	magic := le.Uint32(b)
	if magic != frameMagic && magic != signedMagic || checksum(b[:frameBytes-4]) != le.Uint32(b[frameBytes-4:]) {
		return f, "record frame does not match its checksum"
	}
	f = frame{signed: magic == signedMagic, height: le.Uint64(b[4:]), blockBytes: le.Uint32(b[12:]), resultsBytes: le.Uint32(b[16:]),
		headerCRC: le.Uint32(b[20:]), blockCRC: le.Uint32(b[24:]), resultsCRC: le.Uint32(b[28:])}
	if f.blockBytes < chain.HeaderBytes || f.blockBytes > chain.MaxBlockBytes || f.resultsBytes > maxAfterBlock {
		return f, fmt.Sprintf("record of %d + %d bytes, limits %d and %d", f.blockBytes, f.resultsBytes, chain.MaxBlockBytes, maxAfterBlock)
	}
	return f, ""
}

// appendRecord appends the whole record. r has passed checkRecord.
func appendRecord(dst []byte, r Record) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameBytes)...)
	dst = r.Block.Append(dst)
	results := len(dst)
	dst = append(le.AppendUint32(dst, uint32(len(r.Signers))), r.Signers...)
	dst = r.Results.Append(dst)
	block := dst[start+frameBytes : results]
	f := frame{
		signed: true, height: r.Block.Header.Height, blockBytes: uint32(len(block)), resultsBytes: uint32(len(dst) - results),
		headerCRC: checksum(block[:chain.HeaderBytes]), blockCRC: checksum(block), resultsCRC: checksum(dst[results:]),
	}
	f.append(dst[start:start])
	return dst
}

// split parts what follows a block: its signers, nil if none are stored, and its
// results.
func (f *frame) split(b []byte) (signers, results []byte, ok bool) {
	if !f.signed {
		return nil, b, true
	}
	if len(b) < 4 {
		return nil, nil, false
	}
	n, b := int64(le.Uint32(b)), b[4:]
	if n > MaxSignersBytes || n > int64(len(b)) {
		return nil, nil, false
	}
	if n > 0 {
		signers = b[:n:n]
	}
	return signers, b[n:], true
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
	if n := len(r.Signers); n > MaxSignersBytes {
		return fmt.Errorf("%w: signers of block %d are %d bytes, limit %d", ErrTooLarge, h, n, MaxSignersBytes)
	}
	if n := resultsSize(r.Results); n > MaxResultsBytes {
		return fmt.Errorf("%w: results of block %d are %d bytes, limit %d", ErrTooLarge, h, n, MaxResultsBytes)
	}
	return nil
}
