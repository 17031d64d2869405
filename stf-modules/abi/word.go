//go:build !wasip1

package abi

// Whole words of a record, in place. The compiler inlines them natively; inside a
// guest they are written otherwise, see word_wasip1.go.

// U64 is the u64 at the start of b, which must have one.
func U64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// U32 is the u32 at the start of b, which must have one.
func U32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// PutU64 writes v at the start of b, which must have room.
func PutU64(b []byte, v uint64) {
	_ = b[7]
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	b[4], b[5], b[6], b[7] = byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56)
}

// PutU32 writes v at the start of b, which must have room.
func PutU32(b []byte, v uint32) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

// Copy20 copies an address.
func Copy20(dst, src *[20]byte) { *dst = *src }

// Same20 reports whether two addresses are the same.
func Same20(a, b *[20]byte) bool { return *a == *b }
