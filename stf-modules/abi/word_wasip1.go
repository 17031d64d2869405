package abi

import "unsafe"

// Whole words of a record, in place, for the compiler of guests. It inlines only what
// is small by its count, in which eight bytes put together are large, and a call is
// what costs most inside a guest: 15 to 30 ns, as much as the rest of most functions
// here. Memory of WebAssembly is little-endian, and any address will do.

// U64 is the u64 at the start of b, which must have one.
func U64(b []byte) uint64 { return *(*uint64)(unsafe.Pointer((*[8]byte)(b))) }

// U32 is the u32 at the start of b, which must have one.
func U32(b []byte) uint32 { return *(*uint32)(unsafe.Pointer((*[4]byte)(b))) }

// PutU64 writes v at the start of b, which must have room.
func PutU64(b []byte, v uint64) { *(*uint64)(unsafe.Pointer((*[8]byte)(b))) = v }

// PutU32 writes v at the start of b, which must have room.
func PutU32(b []byte, v uint32) { *(*uint32)(unsafe.Pointer((*[4]byte)(b))) = v }

// words20 is an address by words.
type words20 struct {
	a, b uint64
	c    uint32
}

// Copy20 copies an address. An assignment of the arrays is a call, since for all the
// compiler knows they overlap.
func Copy20(dst, src *[20]byte) {
	d, s := (*words20)(unsafe.Pointer(dst)), (*words20)(unsafe.Pointer(src))
	a, b, c := s.a, s.b, s.c
	d.a, d.b, d.c = a, b, c
}

// Same20 reports whether two addresses are the same. A comparison of the arrays is two
// calls and a loop.
func Same20(a, b *[20]byte) bool {
	x, y := (*words20)(unsafe.Pointer(a)), (*words20)(unsafe.Pointer(b))
	return x.a == y.a && x.b == y.b && x.c == y.c
}
