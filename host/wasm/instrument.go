package wasm

import (
	"fmt"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Exports that instrumentation adds. Of its own exports a module keeps those of
// the contract only, so the names are free.
const (
	exportMeter   = "host.meter"
	exportRefused = "host.refused" // 1 after a memory.grow that was refused
	exportGlobal  = "host.global." // and the index of a mutable global
)

// instrumented is a module as it runs.
type instrumented struct {
	code    []byte
	globals []string // export names of the module's own mutable globals
	floats  []uint32 // functions that use floating point
}

// instrumenter writes a parsed module with the meter built in. Data segments are
// left out: the host writes them, once, before _initialize.
type instrumenter struct {
	m       *module
	out     encoder
	scan    scanner
	scratch encoder
	meter   uint32 // global
	refused uint32 // global
	grow    uint32 // function that replaces memory.grow
	wrap    uint32 // function that replaces import 0; the others follow
	floats  []uint32
}

func instrument(m *module) (*instrumented, error) {
	in := &instrumenter{m: m, meter: uint32(len(m.globals)), refused: uint32(len(m.globals)) + 1,
		wrap: uint32(m.functions()), grow: uint32(m.functions() + len(m.imports))}
	in.scan.m = m
	in.out.op(header...)
	in.out.section(sectionType, in.types)
	in.out.section(sectionImport, in.imports)
	in.out.section(sectionFunction, in.functions)
	if m.hasTable {
		in.out.section(sectionTable, func(e *encoder) { e.op(1, 0x70, 0); e.u32(m.table) })
	}
	in.out.section(sectionMemory, func(e *encoder) { e.op(1, 1); e.u32(m.memMin); e.u32(m.memMax) })
	in.out.section(sectionGlobal, in.globals)
	var names []string
	in.out.section(sectionExport, func(e *encoder) { names = in.exports(e) })
	if len(m.elements) > 0 {
		in.out.section(sectionElement, in.elements)
	}
	var err error
	in.out.section(sectionCode, func(e *encoder) { err = in.code(e) })
	if err != nil {
		return nil, err
	}
	return &instrumented{code: in.out.b, globals: names, floats: in.floats}, nil
}

// types writes the module's types and that of memory.grow.
func (in *instrumenter) types(e *encoder) {
	e.u32(uint32(len(in.m.types) + 1))
	for _, t := range append(in.m.types[:len(in.m.types):len(in.m.types)], funcType{i32, i32}) {
		e.op(0x60)
		e.types(t.params)
		e.types(t.results)
	}
}

func (in *instrumenter) imports(e *encoder) {
	e.u32(uint32(len(in.m.imports)))
	for _, f := range in.m.imports {
		e.name(f.module)
		e.name(f.name)
		e.op(0)
		e.u32(f.typ)
	}
}

func (in *instrumenter) functions(e *encoder) {
	e.u32(uint32(len(in.m.funcs) + len(in.m.imports) + 1))
	for _, t := range in.m.funcs {
		e.u32(t)
	}
	for _, f := range in.m.imports {
		e.u32(f.typ)
	}
	e.u32(uint32(len(in.m.types)))
}

func (in *instrumenter) globals(e *encoder) {
	e.u32(uint32(len(in.m.globals) + 2))
	for _, g := range in.m.globals {
		e.op(byte(g.typ), mutability(g.mutable))
		e.op(g.init...)
	}
	e.op(byte(typeI64), 1, opI64Const, 0, opEnd)
	e.op(byte(typeI32), 1, opI32Const, 0, opEnd)
}

func mutability(m bool) byte {
	if m {
		return 1
	}
	return 0
}

func (in *instrumenter) exports(e *encoder) (names []string) {
	type item struct {
		name  string
		kind  byte
		index uint32
	}
	items := []item{{exportMeter, 3, in.meter}, {exportRefused, 3, in.refused}}
	for i, g := range in.m.globals {
		if g.mutable {
			names = append(names, fmt.Sprint(exportGlobal, i))
			items = append(items, item{names[len(names)-1], 3, uint32(i)})
		}
	}
	for _, x := range in.m.exports {
		if _, ok := exportTypes[x.name]; ok {
			items = append(items, item{x.name, 0, x.index})
		}
	}
	e.u32(uint32(len(items)))
	for _, x := range items {
		e.name(x.name)
		e.op(x.kind)
		e.u32(x.index)
	}
	return names
}

// function is the index that stands for function i in the output: imports are
// called through their wrappers.
func (in *instrumenter) function(i uint32) uint32 {
	if int(i) < len(in.m.imports) {
		return in.wrap + i
	}
	return i
}

func (in *instrumenter) elements(e *encoder) {
	e.u32(uint32(len(in.m.elements)))
	for _, s := range in.m.elements {
		e.op(0)
		e.i32(int32(s.offset))
		e.op(opEnd)
		e.u32(uint32(len(s.funcs)))
		for _, f := range s.funcs {
			e.u32(in.function(f))
		}
	}
}

func (in *instrumenter) code(e *encoder) error {
	e.u32(uint32(len(in.m.funcs) + len(in.m.imports) + 1))
	for i := range in.m.bodies {
		if err := in.scan.scan(i); err != nil {
			return err
		}
		if in.scan.floats {
			in.floats = append(in.floats, uint32(len(in.m.imports)+i))
		}
		in.body(e, func(f *encoder) { in.rewrite(f, i) })
	}
	for i := range in.m.imports {
		in.body(e, func(f *encoder) { in.wrapper(f, uint32(i)) })
	}
	in.body(e, in.growBody)
	return nil
}

func (in *instrumenter) body(e *encoder, fill func(*encoder)) {
	in.scratch.b = in.scratch.b[:0]
	fill(&in.scratch)
	e.u32(uint32(len(in.scratch.b)))
	e.b = append(e.b, in.scratch.b...)
}

// extra is the indices of the locals that a function is given.
type extra struct{ length, f32, f64, temps uint32 }

// declare writes a function's locals with the extra ones.
func (in *instrumenter) declare(e *encoder, f *body, first uint32) (x extra) {
	var add []valType
	next := func(need bool, t valType) uint32 {
		if need {
			add = append(add, t)
		}
		return first + uint32(len(add)) - 1
	}
	x.length = next(in.scan.bulk, typeI32)
	x.f32 = next(in.scan.nan32, typeF32)
	x.f64 = next(in.scan.nan64, typeF64)
	x.temps = first + uint32(len(add))
	for range in.scan.temps {
		add = append(add, typeI32)
	}
	e.u32(uint32(len(f.locals) + len(add)))
	for _, run := range f.locals {
		e.u32(run.n)
		e.op(byte(run.typ))
	}
	for _, t := range add {
		e.op(1, byte(t))
	}
	return x
}

// rewrite writes function i as the scan planned it. A function that calls others
// takes part of the calls left while it runs: its code becomes a block, every
// return a branch to that block's end, and there they are given back.
func (in *instrumenter) rewrite(e *encoder, i int) {
	f, p := &in.m.bodies[i], &in.scan.plan
	x := in.declare(e, f, in.scan.locals)
	var calls int64
	if p.calls {
		calls = callWeight(len(f.code), f.count)
	}
	in.take(e, p.costs[0]*oneUnit+calls)
	switch {
	case p.headLoop:
	case p.calls:
		in.check(e, overBudget|overCalls)
	case p.total() > smallLeaf:
		in.check(e, overBudget)
	}
	if p.calls {
		e.op(opBlock, blockOf(in.m.types[in.m.funcs[i]].results))
	}
	in.copyEdited(e, f.code, x)
	if p.calls {
		in.take(e, -calls)
		e.op(opEnd)
	}
}

func blockOf(results []valType) byte {
	if len(results) == 0 {
		return blockEmpty
	}
	return byte(results[0])
}

func (in *instrumenter) copyEdited(e *encoder, code []byte, x extra) {
	at := 0
	for _, ed := range in.scan.edits {
		e.b = append(e.b, code[at:ed.at]...)
		at = ed.at + ed.skip
		in.apply(e, ed, x)
	}
	e.b = append(e.b, code[at:]...)
}

func (in *instrumenter) apply(e *encoder, ed edit, x extra) {
	switch ed.kind {
	case editCharge:
		in.take(e, in.scan.costs[ed.arg]*oneUnit)
	case editLoop:
		in.take(e, in.scan.costs[ed.arg]*oneUnit)
		in.check(e, overBudget)
	case editHead:
		in.take(e, in.scan.costs[ed.arg]*oneUnit)
		in.check(e, overBudget|overCalls)
	case editReturn:
		if in.scan.calls {
			e.idx(opBr, ed.arg)
		} else {
			e.op(opReturn)
		}
	case editCall:
		e.idx(opCall, in.function(ed.arg))
	case editJump:
		in.jump(e, &in.scan.jumps[ed.arg])
	case editKeep:
		e.idx(opLocalTee, x.temps+ed.arg)
		in.ahead(e, &ed, x.temps+ed.arg)
	case editKept:
		e.idx(opLocalGet, x.temps+ed.arg)
		in.ahead(e, &ed, x.temps+ed.arg)
	case editGrow:
		e.idx(opCall, in.grow)
	case editBulk:
		e.idx(opLocalTee, x.length)
		in.chargeBytes(e, x.length, 1)
		in.check(e, overBudget)
	case editNaN32:
		canonical32(e, x.f32)
	case editNaN64:
		canonical64(e, x.f64)
	}
}

// jump writes a branch to a dispatching header as a branch to where that goes. A header
// that is charged for has to be gone through.
func (in *instrumenter) jump(e *encoder, j *jump) {
	if in.scan.costs[j.region] != 0 {
		e.idx(opBr, j.header)
		return
	}
	in.check(e, overBudget)
	e.idx(opBr, j.target)
}

// take takes n off the meter, both fields at once.
func (in *instrumenter) take(e *encoder, n int64) {
	if n == 0 {
		return
	}
	e.idx(opGlobalGet, in.meter)
	e.i64(n)
	e.op(opI64Sub)
	e.idx(opGlobalSet, in.meter)
}

// chargeBytes takes per8 units off the meter for every 8 bytes of the length in
// a local.
func (in *instrumenter) chargeBytes(e *encoder, local uint32, per8 int64) {
	e.idx(opGlobalGet, in.meter)
	e.idx(opLocalGet, local)
	e.op(opI64ExtendU)
	if per8 != 1 {
		e.i64(per8)
		e.op(opI64Mul)
	}
	e.i64(3)
	e.op(opI64ShrU)
	e.i64(callBits)
	e.op(opI64Shl, opI64Sub)
	e.idx(opGlobalSet, in.meter)
}

// check stops the guest if a field of the meter is below zero; bits says which
// are looked at.
func (in *instrumenter) check(e *encoder, bits int64) {
	e.idx(opGlobalGet, in.meter)
	test := byte(opI64LtS)
	if bits != overBudget {
		e.i64(bits)
		e.op(opI64And)
		test = opI64Ne
	}
	e.i64(0)
	e.op(test, opIf, blockEmpty, opUnreachable, opEnd)
}

// canonical32 replaces a NaN on the stack by the one canonical one: the engines
// produce different bits, and bits can reach a result.
func canonical32(e *encoder, local uint32) {
	e.idx(opLocalTee, local)
	e.op(opF32Const, 0, 0, 0xc0, 0x7f)
	e.idx(opLocalGet, local)
	e.idx(opLocalGet, local)
	e.op(opF32Eq, opSelect)
}

func canonical64(e *encoder, local uint32) {
	e.idx(opLocalTee, local)
	e.op(opF64Const, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f)
	e.idx(opLocalGet, local)
	e.idx(opLocalGet, local)
	e.op(opF64Eq, opSelect)
}

// wrapper writes the function through which import i is called: it charges for
// the host's work first, and for a value that came back afterwards.
func (in *instrumenter) wrapper(e *encoder, i uint32) {
	f := in.m.imports[i]
	c := capabilities[f.module][f.name]
	n := uint32(len(c.typ.params))
	e.op(1, 1, byte(typeI32)) // one local: the result
	in.take(e, int64(c.base)*oneUnit)
	if c.bytes >= 0 {
		in.chargeBytes(e, uint32(c.bytes), int64(c.per8))
	}
	in.check(e, overBudget)
	for p := range n {
		e.idx(opLocalGet, p)
	}
	e.idx(opCall, i)
	if c.bytes == resultBytes {
		e.idx(opLocalTee, n)
		e.i32(0)
		e.op(opI32GtS, opIf, blockEmpty)
		in.chargeBytes(e, n, int64(c.per8))
		e.op(opEnd)
		e.idx(opLocalGet, n)
	}
	e.op(opEnd)
}

// growBody writes the function that replaces memory.grow: it charges for pages
// that can be had, and notes when some were refused.
func (in *instrumenter) growBody(e *encoder) {
	e.op(0)
	e.idx(opLocalGet, 0)
	e.i32(abi.MaxMemoryPages)
	e.op(opI32LeU, opIf, blockEmpty)
	in.chargeBytes(e, 0, growUnitsPerPage*8)
	in.check(e, overBudget)
	e.op(opEnd)
	e.idx(opLocalGet, 0)
	e.op(opMemoryGrow, 0)
	e.op(opLocalTee, 0, opI32Const, 0x7f, opI32Eq, opIf, blockEmpty, opI32Const, 1)
	e.idx(opGlobalSet, in.refused)
	e.op(opEnd, opLocalGet, 0, opEnd)
}
