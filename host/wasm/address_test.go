package wasm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"testing"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// accesses makes random code that loads and stores near pointers. Its locals are a result,
// three pointers, two of 64 bits and one of 32, and a loop's counter.
type accesses struct {
	r       *rand.Rand
	between []byte // stands before every instruction that is not the first
}

const (
	result64 = 1 + iota
	pointerA
	pointerB
	pointer32
	round
)

// line joins instructions.
func (a *accesses) line(instructions ...[]byte) []byte { return bytes.Join(instructions, a.between) }

// pointer is the instructions that leave an address.
func (a *accesses) pointer() []byte {
	if local := pointerA + a.r.Intn(3); local != pointer32 {
		return a.line(code(opLocalGet, local), code(opI32WrapI64))
	}
	return code(opLocalGet, pointer32)
}

// offset is the immediate of an access: near, mostly.
func (a *accesses) offset() []byte {
	v := uint32(a.r.Intn(64))
	if a.r.Intn(20) == 0 {
		v = a.r.Uint32() >> a.r.Intn(17)
	}
	return code(0, leb(v))
}

// value leaves an i64.
func (a *accesses) value(depth int) []byte {
	switch n := a.r.Intn(5); {
	case n == 0:
		return constant64(int64(a.r.Intn(8)))
	case n < 3 || depth == 0:
		return code(opLocalGet, result64)
	case n == 3:
		op := []byte{opI64Add, opI64Sub, opI64Mul, 0x80, 0x85}[a.r.Intn(5)] // 0x80 divides
		return a.line(a.value(depth-1), a.value(depth-1), code(op))
	}
	load := []byte{0x29, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35}[a.r.Intn(7)]
	return a.line(a.pointer(), code(load, a.offset()))
}

// changed leaves a new value for a pointer, mostly near the others.
func (a *accesses) changed() []byte {
	if a.r.Intn(8) == 0 {
		return a.value(1)
	}
	return a.line(code(opLocalGet, pointerA+a.r.Intn(2)), constant64(int64(a.r.Intn(65)-32)), code(opI64Add))
}

func (a *accesses) statements(depth int) []byte {
	var all [][]byte
	for range 2 + a.r.Intn(6) {
		all = append(all, a.statement(depth))
	}
	return a.line(all...)
}

// arms reads the same field in one arm or the other, of a pointer that is new.
func (a *accesses) arms() []byte {
	field := a.line(code(opLocalGet, pointerA), code(opI32WrapI64), code(0x29, 0, 0), code(opLocalSet, result64))
	return a.line(code(opLocalGet, 0), code(opI32WrapI64), constant(int32(16<<a.r.Intn(2))), code(0x71), code(opIf, 0x40), field, code(opElse), field, code(opEnd))
}

func (a *accesses) statement(depth int) []byte {
	switch n := a.r.Intn(16); {
	case n == 0 || n > 12:
		return a.line(a.changed(), code(opLocalSet, pointerA+a.r.Intn(2)))
	case n == 1:
		return a.line(code(opLocalGet, pointerB), code(opI32WrapI64), code(opLocalSet, pointer32))
	case n == 2:
		return a.line(code(opLocalGet, pointerA), constant64(int64(a.r.Intn(32))), code(opI64Add), code(opLocalTee, pointerA), code(opDrop))
	case n == 3 && depth > 0:
		return a.line(code(opLocalGet, result64), constant64(1), code(opI64And), code(opI32WrapI64), code(opIf, 0x40), a.statements(depth-1), code(opElse), a.statements(depth-1), code(opEnd))
	case n == 4 && depth > 0:
		return a.line(code(opBlock, 0x40), a.statements(depth-1), code(opLocalGet, result64), code(0x50), code(opBrIf, 0), a.statements(depth-1), code(opEnd))
	case n == 5:
		return a.line(code(opLocalGet, result64), code(opI32WrapI64), code(opIf, 0x40), code(opLocalGet, result64), code(opReturn), code(opEnd))
	case n >= 6 && n < 9 && depth > 0: // three times round
		return a.line(constant(3), code(opLocalSet, round), code(opLoop, 0x40), a.statements(0), a.statements(0),
			code(opLocalGet, round), constant(1), code(0x6b), code(opLocalTee, round), code(opBrIf, 0), code(opEnd))
	case n < 11:
		store := []byte{0x37, 0x3c, 0x3d, 0x3e}[a.r.Intn(4)]
		return a.line(a.pointer(), a.value(2), code(store, a.offset()))
	}
	return a.line(a.value(2), code(opLocalGet, result64), constant64(31), code(opI64Mul), code(opI64Add), code(opLocalSet, result64))
}

// accessing is a module whose pointers begin where the transaction says.
func accessing(seed int64, between []byte) []byte {
	a := newASM()
	g := &accesses{rand.New(rand.NewSource(seed)), between}
	body := a.fn(funcType{[]valType{typeI64}, []valType{typeI64}}, []valType{typeI64, typeI64, typeI64, typeI32, typeI32}, code(
		opLocalGet, 0, opLocalSet, pointerA, opLocalGet, 0, constant64(40), opI64Add, opLocalSet, pointerB,
		opLocalGet, 0, opI32WrapI64, opLocalSet, pointer32, g.arms(), g.statements(2), opLocalGet, result64))
	a.execute([]valType{typeI64}, constant(asmInput+abi.ContextBytes), 0x29, 3, 0, callTo(body), a.result(1))
	return a.bytes()
}

// TestAddresses: code whose addresses are kept and checked ahead comes to the same as code
// where that is not possible, because there is an empty block, which costs nothing, before
// every instruction; also at the end of memory.
func TestAddresses(t *testing.T) {
	outcomes := map[abi.Code]int{}
	for seed := range int64(250) {
		file, plain := accessing(seed, nil), accessing(seed, code(opBlock, 0x40, opEnd))
		at := []uint64{asmInput + abi.ContextBytes, 1<<16 - 112 - uint64(seed)%64, 1<<32 + 2048, 1<<32 - 16, 1<<16 - 144}[seed%5]
		tx := binary.LittleEndian.AppendUint64(nil, at)
		got, left := onBoth(t, file, tx)
		want, wantLeft := onBoth(t, plain, tx)
		if fmt.Sprint(got) != fmt.Sprint(want) || left != wantLeft {
			t.Fatalf("seed %d: %+v, %#x left, instruction by instruction %+v, %#x", seed, got, left, want, wantLeft)
		}
		outcomes[got.Code]++
	}
	if outcomes[abi.CodeOK] < 50 || outcomes[abi.CodeTrap] < 50 {
		t.Errorf("outcomes %v", outcomes)
	}
}

// TestAddressesAreFound: the loader's code for a record read field by field checks its end
// first, and takes the lower half of the pointer once.
func TestAddressesAreFound(t *testing.T) {
	a := newASM()
	field := func(offset int) []byte { return code(opLocalGet, 1, opI32WrapI64, 0x29, 3, offset, opDrop) }
	a.execute([]valType{typeI64}, field(0), field(8), field(16), constant(0))
	m, err := parse(a.bytes())
	if err != nil {
		t.Fatal(err)
	}
	ins, err := instrument(m)
	if err != nil {
		t.Fatal(err)
	}
	half := code(opLocalTee, 2, opLocalGet, 2, opI32Load8U, 0, 23, opDrop, 0x29, 3, 0, opDrop, opLocalGet, 2, 0x29, 3, 8)
	if !bytes.Contains(ins.code, half) {
		t.Errorf("%x is not in %x", half, ins.code)
	}
}
