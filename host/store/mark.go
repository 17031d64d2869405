package store

import (
	"bytes"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// mark is what the block log is held to. It is written and synced after the
// records it speaks of, so it never leads them, and before a call returns, so
// whatever was reported durable is under it: a log that ends before the mark has
// lost something, a log that goes on after it was cut off in the middle of a
// call that nobody was answered for.
type mark struct {
	seq     uint64     // counts the writes of this file
	base    uint64     // height of the first block kept
	parent  chain.Hash // its parent's hash, where there are no blocks before; zero while base is 1
	height  uint64     // of the head; base-1 when the log is empty
	hash    chain.Hash // of the head's header; zero when empty
	segment uint64     // first height of the segment that holds the head; 0 when empty
	end     uint64     // where the head's record ends in it, bytes
	cut     bool       // a rollback to this mark was begun: what is after it goes
}

const (
	markMagic     = "KZHEADv1"
	markBytes     = 512  // one sector, which a disk writes whole or not at all
	markSlot      = 4096 // slots are apart, so that writing one never touches the other's physical sector
	markFileBytes = 2 * markSlot
	markUsed      = 8 + 8 + 8 + 32 + 8 + 32 + 8 + 8 + 1
)

func (m *mark) empty() bool { return m.segment == 0 }

func (m *mark) encode() []byte {
	b := append(make([]byte, 0, markBytes), markMagic...)
	b = le.AppendUint64(b, m.seq)
	b = le.AppendUint64(b, m.base)
	b = append(b, m.parent[:]...)
	b = le.AppendUint64(b, m.height)
	b = append(b, m.hash[:]...)
	b = le.AppendUint64(b, m.segment)
	b = le.AppendUint64(b, m.end)
	b = append(b, 0)
	if m.cut {
		b[len(b)-1] = 1
	}
	return sealCRC(b[:markBytes])
}

// decodeMark reads one slot's sector; ok is false if it is not a mark.
func decodeMark(b []byte) (m mark, ok bool) {
	if len(b) != markBytes || !bytes.HasPrefix(b, []byte(markMagic)) || !crcOK(b) || b[markUsed-1] > 1 {
		return m, false
	}
	m = mark{seq: le.Uint64(b[8:]), base: le.Uint64(b[16:]), parent: chain.Hash(b[24:56]), height: le.Uint64(b[56:]),
		hash: chain.Hash(b[64:96]), segment: le.Uint64(b[96:]), end: le.Uint64(b[104:]), cut: b[markUsed-1] == 1}
	if m.base == 0 || m.base > MaxHeight || m.height < m.base-1 || m.height > MaxHeight || m.empty() != (m.height == m.base-1) || m.segment > m.height {
		return m, false
	}
	return m, true
}

// marks is the HEAD file.
type marks struct {
	last   mark
	lost   bool               // one of the two slots is damaged, and may have been the newer
	damage []*CorruptionError // what is wrong with the file
	file   vfs.File
}

// write makes m durable in the slot that does not hold the last mark.
func (s *marks) write(m mark) error {
	m.seq = s.last.seq + 1
	if _, err := s.file.WriteAt(m.encode(), int64(m.seq%2)*markSlot); err != nil {
		return fmt.Errorf("write head mark %d: %w", m.height, err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync head mark %d: %w", m.height, err)
	}
	s.last = m
	return nil
}

// encodeMarks is a new HEAD file: an empty log that starts after a block.
func encodeMarks(last chain.BlockID) []byte {
	b := make([]byte, markFileBytes)
	for slot := range uint64(2) {
		m := mark{seq: slot, base: last.Number + 1, parent: last.Hash, height: last.Number}
		copy(b[slot*markSlot:], m.encode())
	}
	return b
}

// decodeMarks reads the file. With one slot damaged the other counts, and the
// caller has to find out what the damaged one said; with both it is lost.
func decodeMarks(b []byte) (*marks, error) {
	if len(b) != markFileBytes {
		return nil, corrupt(markFile, 0, NoHeight, "file is %d bytes, want %d", len(b), markFileBytes)
	}
	s := &marks{}
	found := false
	for slot := range uint64(2) {
		at := slot * markSlot
		m, ok := decodeMark(b[at : at+markBytes])
		switch {
		case !ok || m.seq%2 != slot:
			s.lost = true
			s.damage = append(s.damage, corrupt(markFile, int64(at), NoHeight, "head mark does not match its checksum"))
		case !found || m.seq > s.last.seq:
			s.last, found = m, true
		}
		if i := firstNonZero(b[at+markBytes : at+markSlot]); i >= 0 {
			s.damage = append(s.damage, corrupt(markFile, int64(at+markBytes)+int64(i), NoHeight, "padding is not zero"))
		}
	}
	if !found {
		return nil, corrupt(markFile, 0, NoHeight, "neither of the two head marks matches its checksum")
	}
	return s, nil
}

func firstNonZero(b []byte) int {
	for i, v := range b {
		if v != 0 {
			return i
		}
	}
	return -1
}
