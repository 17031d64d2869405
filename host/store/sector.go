package store

import (
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// The journal is written in sectors, the unit that a disk writes whole or not at
// all, into files that were filled with zeros, or used for an older segment, before:
// groups count on over segments, so that a sector tells which. So after a power loss
// a sector is what was written or it is empty, zero or of an older segment, and every
// sector that is neither was damaged later: a torn group and a damaged one are never
// mistaken for each other.
const (
	sectorBytes   = vfs.SectorBytes
	sectorMagic   = 0x5A4B // "KZ": not zero, and no single flipped bit makes it so
	sectorPayload = sectorBytes - 2 - 2 - 4 - 8 - 4

	sectorUsed    = 1<<9 - 1 // bits of the payload length
	sectorPending = 9        // lowest of the bits of pending
	maxPending    = 1<<5 - 1 // the highest that they hold
	sectorFirst   = 1 << 14  // first sector of its group
	sectorLast    = 1 << 15  // last sector of its group
)

// sector is one sector of a group: the records of one [Journal.Append].
type sector struct {
	flags   uint16
	pending int    // groups directly before this one that were not durable when it was written
	prev    uint32 // checksum of the sector before it
	group   uint64
	payload []byte
}

// proves reports whether a group must be durable because this one was written: its
// transactions may have been answered.
func (s *sector) proves(group uint64) bool { return group+uint64(s.pending) < s.group }

// appendGroup appends the sectors of a group and returns the last checksum.
func appendGroup(dst []byte, payload []byte, prev uint32, group uint64, pending int) ([]byte, uint32) {
	flags := uint16(sectorFirst)
	for more := true; more; flags = 0 {
		n := min(len(payload), sectorPayload)
		if more = n < len(payload); !more {
			flags |= sectorLast
		}
		start := len(dst)
		dst = le.AppendUint16(dst, sectorMagic)
		dst = le.AppendUint16(dst, flags|uint16(pending<<sectorPending)|uint16(n))
		dst = le.AppendUint32(dst, prev)
		dst = le.AppendUint64(dst, group)
		dst = append(dst, payload[:n]...)
		dst = append(dst, make([]byte, start+sectorBytes-len(dst))...)
		sealCRC(dst[start:])
		prev, payload = le.Uint32(dst[len(dst)-4:]), payload[n:]
	}
	return dst, prev
}

// groupBytes is what the sectors of a payload take.
func groupBytes(payload int) int { return (payload + sectorPayload - 1) / sectorPayload * sectorBytes }

// decodeSector reads one sector; ok is false if it is not one.
func decodeSector(b []byte) (s sector, ok bool) {
	if le.Uint16(b) != sectorMagic || !crcOK(b[:sectorBytes]) {
		return s, false
	}
	flags := le.Uint16(b[2:])
	n := int(flags & sectorUsed)
	s = sector{flags: flags & (sectorFirst | sectorLast), pending: int(flags>>sectorPending) & maxPending, prev: le.Uint32(b[4:]), group: le.Uint64(b[8:])}
	if n == 0 || n > sectorPayload || s.flags&sectorLast == 0 && n != sectorPayload {
		return s, false
	}
	s.payload = b[16 : 16+n]
	return s, firstNonZero(b[16+n:sectorBytes-4]) < 0
}

// journalHeader is the first sector of a segment.
type journalHeader struct {
	version int
	seq     uint64
	size    uint64     // of the file, bytes
	genesis chain.Hash // of the chain
	group   uint64     // number of the first group
	height  uint64     // block that was open when the segment began, 0 if none
	prev    uint32     // checksum of the last sector before it, in the segment before
}

// JournalVersion is the version of a journal segment as it is written; LAYOUT.md
// lists them.
const JournalVersion = 2

// journalMagics begin a segment of each version, from 1.
var journalMagics = [JournalVersion]string{"KZJRNLv1", "KZJRNLv2"}

// encode writes the header of a segment of this version into memory that may be
// written to it.
func (h *journalHeader) encode() []byte {
	b := append(vfs.Buffer(sectorBytes)[:0], journalMagics[JournalVersion-1]...)
	b = le.AppendUint64(b, h.seq)
	b = le.AppendUint64(b, h.size)
	b = append(b, h.genesis[:]...)
	b = le.AppendUint64(b, h.group)
	b = le.AppendUint64(b, h.height)
	b = le.AppendUint32(b, h.prev)
	return sealCRC(b[:sectorBytes])
}

func decodeJournalHeader(b []byte) (h journalHeader, ok bool) {
	if len(b) < sectorBytes || !crcOK(b[:sectorBytes]) {
		return h, false
	}
	version := 1 + slices.Index(journalMagics[:], string(b[:8]))
	return journalHeader{version: version, seq: le.Uint64(b[8:]), size: le.Uint64(b[16:]), genesis: chain.Hash(b[24:56]), group: le.Uint64(b[56:]),
		height: le.Uint64(b[64:]), prev: le.Uint32(b[72:])}, version > 0
}

// JournalOpen says that a block was opened, and everything that its execution
// takes from outside.
type JournalOpen struct {
	Height uint64
	Time   uint64 // the block's time, ms
	Oracle []byte // encoding of the block's oracle snapshot
}

// JournalRecord is one entry of the journal: Open, or else a transaction of the
// block that was opened last.
type JournalRecord struct {
	Open *JournalOpen
	Tx   []byte
}

// Tags of a record.
const (
	recordOpen = 1
	recordTx   = 2
)

// maxJournalRecord bounds an encoded record, bytes.
const maxJournalRecord = 1 + 4 + abi.MaxTxBytes

// maxOracleBytes bounds an encoded oracle snapshot, bytes.
var maxOracleBytes = chain.OracleBytes(chain.MaxMarkets)

func (r *JournalRecord) append(dst []byte) []byte {
	if r.Open == nil {
		return abi.AppendBytes(append(dst, recordTx), r.Tx)
	}
	dst = abi.AppendU64(append(dst, recordOpen), r.Open.Height)
	dst = abi.AppendU64(dst, r.Open.Time)
	return abi.AppendBytes(dst, r.Open.Oracle)
}

// decodeRecords reads the records of a group. Transactions are views into b.
func decodeRecords(b []byte, fn func(JournalRecord) error) error {
	r := abi.NewReader(b)
	for r.Len() > 0 {
		rec, err := decodeJournalRecord(&r)
		if err != nil {
			return err
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
	return nil
}

func decodeJournalRecord(r *abi.Reader) (rec JournalRecord, err error) {
	switch tag := r.U8(); tag {
	case recordOpen:
		rec.Open = &JournalOpen{Height: r.U64(), Time: r.U64(), Oracle: r.Bytes(maxOracleBytes)}
	case recordTx:
		rec.Tx = r.Bytes(abi.MaxTxBytes)
	default:
		return rec, fmt.Errorf("record has tag %d: %w", tag, chain.ErrMalformed)
	}
	if !r.OK() {
		return rec, fmt.Errorf("record is cut off: %w", chain.ErrMalformed)
	}
	return rec, nil
}
