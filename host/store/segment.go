package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// segment is one file of the block log.
type segment struct {
	first   uint64 // height of its first record
	count   uint64 // records, 0 only between two calls inside an append
	size    int64  // bytes, end of the last record
	version uint16
	// offsets of the records, if they are in memory: always in the last segment.
	// Another has its sidecar file, or them here when that is damaged.
	offsets []uint32
}

func (s *segment) last() uint64    { return s.first + s.count - 1 }
func (s *segment) name() string    { return path.Join(blocksDir, numbered(s.first, ".log")) }
func (s *segment) sidecar() string { return path.Join(blocksDir, numbered(s.first, ".idx")) }

// scanBuffer is how much of a segment is read at once, bytes.
const scanBuffer = 256 << 10

// scanned is one record as a scan sees it.
type scanned struct {
	frame  frame
	offset int64
	header chain.Header
	body   []byte // block and results; only until the next record
}

// scan reads the records of a segment from offset on, whose first has the given
// height, until the file or limit ends, and checks every checksum. It stops at
// the first damage, a *[CorruptionError] that says where, or at an error of fn.
func scan(f io.ReaderAt, name string, offset, limit int64, height uint64, fn func(*scanned) error) error {
	in := bufio.NewReaderSize(io.NewSectionReader(f, offset, limit-offset), int(min(limit-offset, scanBuffer)))
	var head [frameBytes]byte
	var body []byte
	for ; offset < limit; height++ {
		n, err := io.ReadFull(in, head[:])
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("read %s at %d: %w", name, offset, err)
		}
		rec, err := scanFrame(head[:n], name, offset, limit, height)
		if err != nil {
			return err
		}
		size := int(rec.frame.bytes()) - frameBytes
		if cap(body) < size {
			body = make([]byte, size+size/4)
		}
		if _, err := io.ReadFull(in, body[:size]); err != nil {
			return fmt.Errorf("read %s at %d: %w", name, offset, err)
		}
		rec.body = body[:size]
		if err := rec.check(name); err != nil {
			return err
		}
		if err := fn(rec); err != nil {
			return err
		}
		offset += rec.frame.bytes()
	}
	return nil
}

func scanFrame(b []byte, name string, offset, limit int64, height uint64) (*scanned, error) {
	f, what := decodeFrame(b)
	switch {
	case what != "":
		return nil, corrupt(name, offset, height, "%s", what)
	case f.height != height:
		return nil, corrupt(name, offset, height, "record is of block %d", f.height)
	case f.bytes() > limit-offset:
		return nil, corrupt(name, offset, height, "record of %d bytes ends after the file, which has %d left", f.bytes(), limit-offset)
	}
	return &scanned{frame: f, offset: offset}, nil
}

// check compares a record with its checksums and decodes the header.
func (r *scanned) check(name string) error {
	block, results := r.body[:r.frame.blockBytes], r.body[r.frame.blockBytes:]
	var err error
	switch {
	case checksum(block) != r.frame.blockCRC:
		return corrupt(name, r.offset+frameBytes, r.frame.height, "block does not match its checksum")
	case checksum(results) != r.frame.resultsCRC:
		return corrupt(name, r.offset+frameBytes+int64(len(block)), r.frame.height, "signers and results do not match their checksum")
	case checksum(block[:chain.HeaderBytes]) != r.frame.headerCRC:
		return corrupt(name, r.offset+frameBytes, r.frame.height, "header does not match its checksum")
	}
	if r.header, err = chain.DecodeHeader(block[:chain.HeaderBytes]); err != nil {
		return corrupt(name, r.offset+frameBytes, r.frame.height, "%v", err)
	}
	if r.header.Height != r.frame.height {
		return corrupt(name, r.offset+frameBytes, r.frame.height, "header is of block %d", r.header.Height)
	}
	return nil
}

// The sidecar of a closed segment: a header, then the offset of every record. It
// is derived; an offset that does not lead to the frame it should lead to is
// looked up in the segment.
const (
	sidecarMagic       = 0x49425A4B // "KZBI"
	sidecarHeaderBytes = 4 + 2 + 2 + 8 + 8 + 4 + 4
)

func encodeSidecar(s *segment) []byte {
	b := encodeSidecarHeader(s)
	for _, o := range s.offsets {
		b = le.AppendUint32(b, o)
	}
	return sealCRC(append(b, 0, 0, 0, 0))
}

// readSidecar opens a segment by its sidecar; ok is false if that is missing,
// damaged or of another state of the file, whose size is given.
func readSidecar(f vfs.File, first uint64, size int64) (s *segment, ok bool) {
	b := make([]byte, sidecarHeaderBytes)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, false
	}
	s = &segment{first: first, count: uint64(le.Uint32(b[24:])), size: size}
	want := encodeSidecarHeader(s)
	n, err := f.Size()
	ok = err == nil && s.count > 0 && string(b) == string(want) && n == sidecarHeaderBytes+4*int64(s.count)+4
	return s, ok
}

func encodeSidecarHeader(s *segment) []byte {
	b := make([]byte, sidecarHeaderBytes)
	le.PutUint32(b, sidecarMagic)
	le.PutUint16(b[4:], FormatVersion)
	le.PutUint64(b[8:], s.first)
	le.PutUint64(b[16:], uint64(s.size))
	le.PutUint32(b[24:], uint32(s.count))
	return sealCRC(b)
}
