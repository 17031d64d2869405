package abi

// Borsh, as far as the contract needs it: little-endian integers, u32 length
// before variable data, one tag byte for enums. No reflection and no allocation,
// so that a guest can afford it on every transaction.

// AppendU16 appends v.
func AppendU16(dst []byte, v uint16) []byte { return append(dst, byte(v), byte(v>>8)) }

// AppendU32 appends v.
func AppendU32(dst []byte, v uint32) []byte {
	return append(dst, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

// AppendU64 appends v.
func AppendU64(dst []byte, v uint64) []byte {
	return append(dst, byte(v), byte(v>>8), byte(v>>16), byte(v>>24),
		byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
}

// AppendBool appends one byte, 0 or 1.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendBytes appends a u32 length and the bytes.
func AppendBytes(dst, b []byte) []byte { return append(AppendU32(dst, uint32(len(b))), b...) }

// AppendString appends a u32 length and the bytes of s.
func AppendString(dst []byte, s string) []byte {
	return append(AppendU32(dst, uint32(len(s))), s...)
}

// Reader takes values off the front of a byte slice. After the first failure it
// returns zero values only, and [Reader.Done] reports false: a decoder reads
// everything and asks once.
type Reader struct {
	rest []byte
	bad  bool
}

// NewReader reads from b, which it does not copy.
func NewReader(b []byte) Reader { return Reader{rest: b} }

// Done reports whether every read succeeded and nothing is left over.
func (r *Reader) Done() bool { return !r.bad && len(r.rest) == 0 }

// OK reports whether every read so far succeeded.
func (r *Reader) OK() bool { return !r.bad }

// Fail marks the input as malformed.
func (r *Reader) Fail() { r.bad, r.rest = true, nil }

// Len is the number of bytes left.
func (r *Reader) Len() int { return len(r.rest) }

// Rest takes everything that is left.
func (r *Reader) Rest() []byte {
	b := r.rest
	r.rest = nil
	return b
}

// Take takes n bytes, a view into the input, or nil if there are fewer.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.Fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// U8 takes one byte.
func (r *Reader) U8() uint8 {
	if b := r.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// Bool takes one byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	v := r.U8()
	if v > 1 {
		r.Fail()
	}
	return v == 1
}

// U16 takes a u16.
func (r *Reader) U16() uint16 {
	if b := r.Take(2); b != nil {
		return uint16(b[0]) | uint16(b[1])<<8
	}
	return 0
}

// U32 takes a u32.
func (r *Reader) U32() uint32 {
	if b := r.Take(4); b != nil {
		return U32(b)
	}
	return 0
}

// U64 takes a u64.
func (r *Reader) U64() uint64 {
	if b := r.Take(8); b != nil {
		return U64(b)
	}
	return 0
}

// Bytes20 takes an address. It and the next two are one conversion, several times
// as fast in a guest as a copy, and not inlined, because a guest is as large as its
// code.
//
//go:noinline
func (r *Reader) Bytes20() (v [20]byte) {
	if b := r.Take(20); b != nil {
		return [20]byte(b)
	}
	return v
}

// Bytes32 takes a hash.
//
//go:noinline
func (r *Reader) Bytes32() (v [32]byte) {
	if b := r.Take(32); b != nil {
		return [32]byte(b)
	}
	return v
}

// Bytes65 takes a signature.
//
//go:noinline
func (r *Reader) Bytes65() (v [65]byte) {
	if b := r.Take(65); b != nil {
		return [65]byte(b)
	}
	return v
}

// Bytes takes a u32 length and that many bytes, at most max: a view into the
// input.
func (r *Reader) Bytes(max int) []byte {
	n := r.U32()
	if uint64(n) > uint64(max) {
		r.Fail()
		return nil
	}
	return r.Take(int(n))
}

// String takes a u32 length and that many bytes, at most max.
func (r *Reader) String(max int) string { return string(r.Bytes(max)) }

// Count takes a u32 that announces how many items of at least size bytes follow;
// a count that the rest of the input cannot hold fails before anybody allocates.
func (r *Reader) Count(size int) int {
	n := r.U32()
	if uint64(n)*uint64(size) > uint64(len(r.rest)) {
		r.Fail()
		return 0
	}
	return int(n)
}
