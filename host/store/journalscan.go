package store

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
)

// journalScan reads the journal from its first segment to its last. It touches no
// file, so that recovery, Check and the fuzzer share it.
type journalScan struct {
	genesis chain.Hash
	head    uint64 // durable head: what belongs to blocks up to it is skipped
	prev    uint32 // checksum of the last sector
	group   uint64 // number that the next group has; 0 before the first segment
	pending int    // what the last group says of those before it
	version int    // of the last segment
	first   uint64 // its first group
	height  uint64 // of the block that was opened last
	blocks  []JournaledBlock
	visit   func(JournalEntry) // told of every record; may be nil
}

// JournaledBlock is a block that was opened and is not in the block log yet, with
// its transactions in order.
type JournaledBlock struct {
	JournalOpen
	Txs [][]byte
}

// segmentEnd is where the groups of a segment end.
type segmentEnd struct {
	last  int // offset of the first complete group that no later one proves, 0 if there is none
	end   int // where the next group goes
	dirty int // end of the sectors of an interrupted group; end if there are none
}

// segment reads one segment, which must follow what was read before.
func (s *journalScan) segment(b []byte, name string, seq uint64) (segmentEnd, error) {
	at := segmentEnd{end: sectorBytes}
	h, ok := decodeJournalHeader(b)
	switch {
	case !ok:
		return at, corrupt(name, 0, NoHeight, "segment header does not match its checksum")
	case h.genesis != s.genesis:
		return at, fmt.Errorf("%w: %s has genesis %s, want %s", ErrGenesis, name, h.genesis, s.genesis)
	case h.group == 0:
		return at, corrupt(name, 56, NoHeight, "first group has number 0")
	case h.seq != seq:
		return at, corrupt(name, 8, NoHeight, "segment has number %d, its name says %d", h.seq, seq)
	case h.size != uint64(len(b)) || len(b)%sectorBytes != 0:
		return at, corrupt(name, 16, NoHeight, "file is %d bytes, its header says %d", len(b), h.size)
	case s.group != 0 && (h.prev != s.prev || h.group != s.group || h.height != s.height):
		return at, corrupt(name, 56, NoHeight, "segment does not follow the one before it: group %d at block %d, want group %d at block %d", h.group, h.height, s.group, s.height)
	}
	s.version, s.first = h.version, h.group
	s.prev, s.group, s.height = le.Uint32(b[sectorBytes-4:]), h.group, h.height
	var unproven []int // offsets of groups
	for at.end < len(b) {
		next, payload, err := s.readGroup(b, name, at.end)
		if err != nil || payload == nil {
			at.dirty = next
			return at, err
		}
		err = decodeRecords(payload, func(r JournalRecord) error {
			err := s.record(r)
			if err == nil && s.visit != nil {
				s.visit(JournalEntry{JournalRecord: r, Segment: seq, Offset: int64(at.end), Group: s.group - 1, Height: s.height})
			}
			return err
		})
		if err != nil {
			return at, corrupt(name, int64(at.end), s.height, "group %d: %v", s.group-1, err)
		}
		if s.pending > len(unproven) {
			return at, corrupt(name, int64(at.end), s.height, "group %d says that %d groups before it in the segment were not durable, there are %d", s.group-1, s.pending, len(unproven))
		}
		unproven = append(unproven[len(unproven)-s.pending:], at.end)
		at.last, at.end = unproven[0], next
	}
	at.dirty = at.end
	return at, nil
}

// sector reads one sector; empty says that nothing was written there since the
// segment was begun, and ok that it is not damaged.
func (s *journalScan) sector(b []byte) (sec sector, empty, ok bool) {
	if firstNonZero(b) < 0 {
		return sec, true, true
	}
	sec, ok = decodeSector(b)
	if s.version == 1 { // each group waited for the one before it, and every segment was zero
		return sec, false, ok && sec.pending == 0
	}
	return sec, ok && sec.group < s.first, ok
}

// readGroup reads the group at an offset. Where the groups end payload is nil, and
// next is the end of what an interrupted group left.
func (s *journalScan) readGroup(b []byte, name string, start int) (next int, payload []byte, err error) {
	prev := s.prev
	for i := start; i < len(b); i += sectorBytes {
		raw := b[i : i+sectorBytes]
		sec, empty, ok := s.sector(raw)
		switch {
		case empty:
			next, err = s.tail(b, name, start, i)
			return next, nil, err
		case !ok:
			return 0, nil, corrupt(name, int64(i), s.height, "sector does not match its checksum")
		case sec.group != s.group || sec.prev != prev || (sec.flags&sectorFirst != 0) != (i == start) || i > start && sec.pending != s.pending:
			return 0, nil, corrupt(name, int64(i), s.height, "sector is of group %d and does not follow the one before it, which is of group %d", sec.group, s.group)
		}
		s.pending = sec.pending
		payload, prev = append(payload, sec.payload...), le.Uint32(raw[sectorBytes-4:])
		if sec.flags&sectorLast != 0 {
			s.prev, s.group = prev, s.group+1
			return i + sectorBytes, payload, nil
		}
	}
	return 0, nil, corrupt(name, int64(start), s.height, "group %d runs over the end of the segment", s.group)
}

// tail checks what follows the first empty sector: empty ones, and here and there a
// sector of a group that was being written. Among them may be later groups than the
// one that is cut off, whole ones too; but none that proves it.
func (s *journalScan) tail(b []byte, name string, start, from int) (dirty int, err error) {
	dirty = from
	for i := from; i < len(b); i += sectorBytes {
		sec, empty, ok := s.sector(b[i : i+sectorBytes])
		switch {
		case empty:
			continue
		case !ok:
			return 0, corrupt(name, int64(i), s.height, "sector after the last group is neither empty nor a sector")
		case sec.group < s.group || sec.proves(s.group):
			return 0, corrupt(name, int64(start), s.height, "group %d is missing sectors, and group %d was written after it", s.group, sec.group)
		}
		dirty = i + sectorBytes
	}
	return dirty, nil
}

// record takes one record in.
func (s *journalScan) record(r JournalRecord) error {
	if r.Open != nil {
		return s.open(r.Open)
	}
	if s.height <= s.head {
		return nil
	}
	if len(s.blocks) == 0 {
		return fmt.Errorf("transaction of block %d, which was never opened", s.height)
	}
	last := &s.blocks[len(s.blocks)-1]
	last.Txs = append(last.Txs, r.Tx)
	return nil
}

func (s *journalScan) open(o *JournalOpen) error {
	if o.Height <= s.height {
		return fmt.Errorf("block %d opened after block %d", o.Height, s.height)
	}
	s.height = o.Height
	if o.Height <= s.head {
		return nil
	}
	if want := s.head + 1 + uint64(len(s.blocks)); o.Height != want {
		return fmt.Errorf("block %d opened, want block %d", o.Height, want)
	}
	s.blocks = append(s.blocks, JournaledBlock{JournalOpen: *o})
	return nil
}
