package wasm

import "encoding/binary"

// encoder writes the binary format.
type encoder struct{ b []byte }

func (e *encoder) op(bs ...byte) { e.b = append(e.b, bs...) }

func (e *encoder) u32(v uint32) { e.b = binary.AppendUvarint(e.b, uint64(v)) }

func (e *encoder) signed(v int64) {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			e.b = append(e.b, c)
			return
		}
		e.b = append(e.b, c|0x80)
	}
}

func (e *encoder) name(s string) {
	e.u32(uint32(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) types(ts []valType) {
	e.u32(uint32(len(ts)))
	for _, t := range ts {
		e.op(byte(t))
	}
}

// idx writes an instruction with one index.
func (e *encoder) idx(op byte, i uint32) {
	e.op(op)
	e.u32(i)
}

func (e *encoder) i64(v int64) {
	e.op(opI64Const)
	e.signed(v)
}

func (e *encoder) i32(v int32) {
	e.op(opI32Const)
	e.signed(int64(v))
}

// section writes a section whose payload fill writes.
func (e *encoder) section(id byte, fill func(*encoder)) {
	var payload encoder
	fill(&payload)
	e.op(id)
	e.u32(uint32(len(payload.b)))
	e.b = append(e.b, payload.b...)
}
