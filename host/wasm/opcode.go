package wasm

import "fmt"

// Instructions that the scanner treats one by one.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opI32Load8U    = 0x2d
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32Eq        = 0x46
	opI32GtS       = 0x4a
	opI32LeU       = 0x4d
	opI64Ne        = 0x52
	opI64LtS       = 0x53
	opF32Eq        = 0x5b
	opF64Eq        = 0x61
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Mul       = 0x7e
	opI64And       = 0x83
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI32WrapI64   = 0xa7
	opI64ExtendU   = 0xad // i64.extend_i32_u
	opMisc         = 0xfc
	miscMemoryCopy = 10
	miscMemoryFill = 11
	blockEmpty     = 0x40
)

// shape is what follows an opcode, and how the scanner treats it.
type shape byte

const (
	refused  shape = iota
	plain          // nothing follows
	blockt         // a block type
	labelIdx       // a label
	table          // br_table
	funcIdx        // a function
	indirect       // a type and a table
	localIdx       // a local
	globalG        // global.get
	globalS        // global.set
	memarg         // alignment and offset
	memZero        // one zero byte
	const32        // signed 32
	const64        // signed 64
	float4         // 4 bytes
	float8         // 8 bytes
	misc           // a second opcode
	nan32          // plain, may yield an f32 NaN of any bits
	nan64          // the same for f64
)

// shapes maps an opcode to its shape. What is not set is refused: sign extension
// (0xc0 to 0xc4) is the last of the plain ones, and SIMD, threads, tail calls,
// exceptions and reference types are absent.
var shapes = func() (s [256]shape) {
	for op := 0x45; op <= 0xc4; op++ {
		s[op] = plain
	}
	for op := 0x28; op <= 0x3e; op++ {
		s[op] = memarg
	}
	for _, op := range []byte{0x00, 0x01, opElse, opEnd, opReturn, 0x1a, opSelect} {
		s[op] = plain
	}
	s[opBlock], s[opLoop], s[opIf] = blockt, blockt, blockt
	s[opBr], s[opBrIf], s[opBrTable] = labelIdx, labelIdx, table
	s[opCall], s[opCallIndirect] = funcIdx, indirect
	s[opLocalGet], s[opLocalSet], s[opLocalTee] = localIdx, localIdx, localIdx
	s[opGlobalGet], s[opGlobalSet] = globalG, globalS
	s[opMemorySize], s[opMemoryGrow] = memZero, memZero
	s[opI32Const], s[opI64Const], s[opF32Const], s[opF64Const] = const32, const64, float4, float8
	s[opMisc] = misc
	// ceil, floor, trunc, nearest, sqrt, add, sub, mul, div, min, max; demote; promote.
	for i := byte(0); i < 11; i++ {
		s[0x8d+i], s[0x9b+i] = nan32, nan64
	}
	s[0xb6], s[0xbb] = nan32, nan64
	return s
}()

// floats reports whether an instruction handles floating point values.
func floats(op byte) bool {
	switch {
	case op == 0x2a, op == 0x2b, op == 0x38, op == 0x39: // loads and stores
	case op == opF32Const, op == opF64Const:
	case op >= opF32Eq && op <= 0x66: // comparisons
	case op >= 0x8b && op <= 0xa6: // arithmetic
	case op >= 0xa8 && op <= 0xab, op >= 0xae && op <= 0xbf: // conversions
	default:
		return false
	}
	return true
}

// family names what a refused opcode belongs to.
func family(op byte) string {
	switch {
	case op == 0xfd:
		return "SIMD"
	case op == 0xfe:
		return "threads"
	case op == 0x12 || op == 0x13 || op == 0x15:
		return "tail calls"
	case op >= 0x06 && op <= 0x0a || op == 0x18 || op == 0x19 || op == 0x1f:
		return "exceptions"
	case op == 0x1c || op == 0x25 || op == 0x26 || op >= 0xd0 && op <= 0xd6:
		return "reference types"
	}
	return "unknown"
}

// miscName names a refused instruction behind 0xfc.
func miscName(sub uint32) string {
	names := map[uint32]string{8: "memory.init", 9: "data.drop", 12: "table.init", 13: "elem.drop",
		14: "table.copy", 15: "table.grow", 16: "table.size", 17: "table.fill"}
	if n := names[sub]; n != "" {
		return n
	}
	return fmt.Sprintf("instruction 0xfc %d", sub)
}

// weight is what an instruction costs. It bounds the work roughly; that it is
// the same everywhere matters more.
func weight(op byte) int64 {
	switch {
	case op == opBlock || op == opLoop || op == opEnd || op == opElse:
		return 0
	case op == opCall || op == opCallIndirect:
		return 4
	case op == opBrTable:
		return 2
	case op >= 0x6d && op <= 0x70 || op >= 0x7f && op <= 0x82: // integer div and rem
		return 4
	}
	return 1
}

// operands is how many operands an instruction takes and whether it leaves one; false for
// one that branches, calls or changes memory's size.
func operands(op byte) (pops int, push, ok bool) {
	switch {
	case op == 0x01:
		return 0, false, true
	case op == opDrop || op == opLocalSet || op == opGlobalSet:
		return 1, false, true
	case op == opSelect:
		return 3, true, true
	case op == opLocalGet || op == opGlobalGet || op == opMemorySize || op >= opI32Const && op <= opF64Const:
		return 0, true, true
	case op >= 0x36 && op <= 0x3e: // stores
		return 2, false, true
	case op == opLocalTee || op >= 0x28 && op <= 0x35 || unary(op):
		return 1, true, true
	case op >= 0x45 && op <= 0xa6:
		return 2, true, true
	}
	return 0, false, false
}

// unary reports whether an instruction computes something of one operand.
func unary(op byte) bool {
	switch {
	case op == 0x45 || op == 0x50: // eqz
	case op >= 0x67 && op <= 0x69 || op >= 0x79 && op <= 0x7b: // clz, ctz, popcnt
	case op >= 0x8b && op <= 0x91 || op >= 0x99 && op <= 0x9f: // abs, neg, ceil, floor, trunc, nearest, sqrt
	case op >= 0xa7 && op <= 0xc4: // conversions
	default:
		return false
	}
	return true
}

// accessBytes is how many bytes a load or a store is about.
func accessBytes(op byte) uint64 {
	const sizes = "\x04\x08\x04\x08\x01\x01\x02\x02\x01\x01\x02\x02\x04\x04\x04\x08\x04\x08\x01\x02\x01\x02\x04"
	return uint64(sizes[op-0x28])
}
