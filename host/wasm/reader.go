package wasm

import "fmt"

// reader takes values off a module's bytes. After the first failure it yields
// zeros and keeps the first error, so that a parser checks once per item.
type reader struct {
	b    []byte
	at   int // offset in b
	base int // offset of b in the file, for error messages
	err  *ModuleError
}

func (r *reader) where() string { return fmt.Sprintf("offset %#x", r.base+r.at) }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = refuse(ErrMalformed, r.where(), format, args...)
	}
	r.at = len(r.b)
}

// refuse records a broken rule.
func (r *reader) refuse(e *ModuleError) {
	if r.err == nil {
		r.err = e
	}
	r.at = len(r.b)
}

func (r *reader) left() int { return len(r.b) - r.at }

func (r *reader) u8() byte {
	if r.at >= len(r.b) {
		r.fail("unexpected end")
		return 0
	}
	c := r.b[r.at]
	r.at++
	return c
}

func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(r.left()) {
		r.fail("%d bytes announced, %d left", n, r.left())
		return nil
	}
	b := r.b[r.at : r.at+int(n) : r.at+int(n)]
	r.at += int(n)
	return b
}

// u32 takes an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.u8()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if v > 1<<32-1 {
				r.fail("integer over 32 bits")
				return 0
			}
			return uint32(v)
		}
	}
	r.fail("integer of more than 5 bytes")
	return 0
}

// signed takes a signed LEB128 of at most bits bits, 32 or 64.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		c := r.u8()
		v |= int64(c&0x7f) << shift
		if c >= 0x80 {
			continue
		}
		if shift+7 < 64 {
			v = v << (64 - 7 - shift) >> (64 - 7 - shift)
		} else if c != 0 && c != 0x7f {
			r.fail("integer over %d bits", bits)
		}
		if bits == 32 && v != int64(int32(v)) {
			r.fail("integer over 32 bits")
		}
		return v
	}
	r.fail("integer over %d bits", bits)
	return 0
}

// name takes a length and that many bytes of text.
func (r *reader) name() string {
	n := r.u32()
	if n > MaxNameBytes {
		r.refuse(refuse(ErrLimit, r.where(), "name of %d bytes, limit %d", n, MaxNameBytes))
		return ""
	}
	return string(r.take(n))
}

// count takes the number of items that follow, each of at least one byte.
func (r *reader) count(what string, max int) int {
	n := r.u32()
	if uint64(n) > uint64(max) {
		r.refuse(refuse(ErrLimit, r.where(), "%d %s, limit %d", n, what, max))
		return 0
	}
	if int(n) > r.left() {
		r.fail("%d %s announced, %d bytes left", n, what, r.left())
		return 0
	}
	return int(n)
}
