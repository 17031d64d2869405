package wasm

import (
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// asm builds small modules: a complete one that does nothing, which a test then
// spoils or gives something to do.
type asm struct {
	types    []funcType
	imports  []importFunc
	funcs    []asmFunc
	tables   [][]byte
	memories [][]byte
	globals  [][]byte
	exports  []export
	elements [][]byte
	data     [][]byte
	start    []byte // start section, if any
	count    []byte // data count section, if any
}

type asmFunc struct {
	typ    uint32
	locals []valType
	code   []byte // without the last end
}

// Where the assembled module keeps things.
const (
	asmInput  = 1024 // the input buffer
	asmSchema = 16   // the schema text
	asmID     = 512  // 32 bytes for accept
)

const asmSchemaText = `{"name":"asm"}`

// newASM is a module with every import, whose exports return success.
func newASM() *asm {
	a := &asm{memories: [][]byte{{0, 1}}, tables: [][]byte{{0x70, 0, 4}}}
	for _, module := range []string{abi.ImportModule, moduleWASI} {
		var names []string
		for name := range capabilities[module] {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			a.imports = append(a.imports, importFunc{module, name, a.typ(capabilities[module][name].typ)})
		}
	}
	for _, name := range exportNames[1:] {
		a.export(name, exportTypes[name], nil, code(opI32Const, 0))
	}
	a.body(abi.ExportVersion).code = constant(abi.Version)
	a.body(abi.ExportInput).code = constant(asmInput)
	a.body(abi.ExportSchema).code = code(constant(asmSchema), constant(int32(len(asmSchemaText))), a.call(abi.ImportOutput), opI32Const, 0)
	a.data = [][]byte{code(0, constant(asmSchema), opEnd, len(asmSchemaText), asmSchemaText)}
	a.body(abi.ExportExecute).code = code(a.accept(), opI32Const, 0)
	return a
}

// code joins bytes, small integers, strings and byte slices.
func code(parts ...any) (out []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			out = append(out, byte(p))
		case byte:
			out = append(out, p)
		case string:
			out = append(out, p...)
		case []byte:
			out = append(out, p...)
		default:
			panic(fmt.Sprintf("code: %T", p))
		}
	}
	return out
}

func leb(v uint32) []byte {
	var e encoder
	e.u32(v)
	return e.b
}

func constant(v int32) []byte {
	var e encoder
	e.i32(v)
	return e.b
}

func constant64(v int64) []byte {
	var e encoder
	e.i64(v)
	return e.b
}

func (a *asm) typ(t funcType) uint32 {
	for i := range a.types {
		if a.types[i].equal(t) {
			return uint32(i)
		}
	}
	a.types = append(a.types, t)
	return uint32(len(a.types) - 1)
}

// fn adds a function and returns its index.
func (a *asm) fn(t funcType, locals []valType, body []byte) uint32 {
	a.funcs = append(a.funcs, asmFunc{a.typ(t), locals, body})
	return uint32(len(a.imports) + len(a.funcs) - 1)
}

func (a *asm) export(name string, t funcType, locals []valType, body []byte) {
	a.exports = append(a.exports, export{name, 0, a.fn(t, locals, body)})
}

// body is the function behind an export.
func (a *asm) body(name string) *asmFunc {
	for _, e := range a.exports {
		if e.name == name {
			return &a.funcs[int(e.index)-len(a.imports)]
		}
	}
	panic(name)
}

// call is the instruction that calls an import.
func (a *asm) call(name string) []byte {
	for i, f := range a.imports {
		if f.name == name {
			return code(opCall, leb(uint32(i)))
		}
	}
	panic(name)
}

func callTo(f uint32) []byte { return code(opCall, leb(f)) }

// accept is the instructions that accept the transaction.
func (a *asm) accept() []byte { return code(constant(asmID), a.call(abi.ImportAccept)) }

// execute makes execute accept and then run body, which leaves a code.
func (a *asm) execute(locals []valType, body ...any) *asm {
	f := a.body(abi.ExportExecute)
	f.locals, f.code = locals, code(a.accept(), code(body...))
	return a
}

// result is the instructions that emit the i64 on the stack as an event and leave
// success.
func (a *asm) result(local byte) []byte {
	return code(0x21, local, constant(0), opLocalGet, local, 0x37, 3, 0, constant(0), constant(8), a.call(abi.ImportEmit), constant(0))
}

func vec(items [][]byte) []byte {
	out := leb(uint32(len(items)))
	for _, x := range items {
		out = append(out, x...)
	}
	return out
}

func name(s string) []byte { return code(leb(uint32(len(s))), s) }

func (a *asm) bytes() []byte {
	e := encoder{b: slices.Clone(header)}
	section := func(id byte, payload []byte) {
		if len(payload) > 0 && payload[0] > 0 || len(payload) > 1 {
			e.section(id, func(s *encoder) { s.op(payload...) })
		}
	}
	each := func(n int, f func(i int) []byte) []byte {
		items := make([][]byte, n)
		for i := range items {
			items[i] = f(i)
		}
		return vec(items)
	}
	types := func(ts []valType) []byte { return each(len(ts), func(i int) []byte { return []byte{byte(ts[i])} }) }
	section(sectionType, each(len(a.types), func(i int) []byte { return code(0x60, types(a.types[i].params), types(a.types[i].results)) }))
	section(sectionImport, each(len(a.imports), func(i int) []byte {
		return code(name(a.imports[i].module), name(a.imports[i].name), 0, leb(a.imports[i].typ))
	}))
	section(sectionFunction, each(len(a.funcs), func(i int) []byte { return leb(a.funcs[i].typ) }))
	section(sectionTable, vec(a.tables))
	section(sectionMemory, vec(a.memories))
	section(sectionGlobal, vec(a.globals))
	section(sectionExport, each(len(a.exports), func(i int) []byte {
		return code(name(a.exports[i].name), a.exports[i].kind, leb(a.exports[i].index))
	}))
	section(sectionStart, a.start)
	section(sectionElement, vec(a.elements))
	section(sectionDataCount, a.count)
	section(sectionCode, each(len(a.funcs), func(i int) []byte {
		f := a.funcs[i]
		b := code(each(len(f.locals), func(i int) []byte { return code(1, byte(f.locals[i])) }), f.code, opEnd)
		return code(leb(uint32(len(b))), b)
	}))
	section(sectionData, vec(a.data))
	return e.b
}
