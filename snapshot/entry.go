package snapshot

import (
	"encoding/binary"

	"github.com/kaizenchain/kaizen/host/state"
)

var le = binary.LittleEndian

// An entry of the canonical stream is
//
//	key length u8 | value length u32 | key | value
//
// and in an incremental snapshot a value length of deleted, without a value, says
// that the key is gone.
const (
	entryHeader = 1 + 4
	deleted     = 1<<32 - 1
	// maxEntryBytes is the largest entry.
	maxEntryBytes = entryHeader + state.MaxKeyBytes + state.MaxValueBytes
)

// Entry is one key of a snapshot, hashed on the way in. Its key and value are
// views into a buffer that is used again after the iteration's step.
type Entry struct {
	state.Leaf
	Deleted bool // incremental only: the key is gone
}

// entrySize is the length of an entry in the stream, bytes.
func entrySize(key, value []byte) int { return entryHeader + len(key) + len(value) }

// appendEntry appends an entry; length is that of the value, or deleted.
func appendEntry(dst, key, value []byte, length uint32) []byte {
	dst = le.AppendUint32(append(dst, byte(len(key))), length)
	return append(append(dst, key...), value...)
}

// readEntry takes one entry off the front of a chunk, not hashed yet; kind says
// whether keys may be deleted in it.
func readEntry(b []byte, kind Kind) (e Entry, rest []byte, err error) {
	if len(b) < entryHeader {
		return e, nil, refuse(ErrMalformed, "an entry of %d bytes, want at least %d", len(b), entryHeader)
	}
	key, value := int(b[0]), le.Uint32(b[1:])
	e.Deleted = value == deleted && kind == Incremental
	if e.Deleted {
		value = 0
	}
	if key > state.MaxKeyBytes || value > state.MaxValueBytes {
		return e, nil, refuse(ErrMalformed, "a key of %d bytes and a value of %d, limits %d and %d", key, value, state.MaxKeyBytes, state.MaxValueBytes)
	}
	body, end := b[entryHeader:], key+int(value)
	if len(body) < end {
		return e, nil, refuse(ErrMalformed, "an entry of %d bytes has %d left", end, len(body))
	}
	e.Leaf = state.Unprepared(body[:key:key], body[key:end:end])
	return e, body[end:], nil
}
