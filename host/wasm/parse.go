package wasm

import (
	"fmt"
	"slices"
)

// valType is a value type as it is encoded.
type valType byte

const (
	typeI32 valType = 0x7f
	typeI64 valType = 0x7e
	typeF32 valType = 0x7d
	typeF64 valType = 0x7c
)

func (t valType) String() string {
	switch t {
	case typeI32:
		return "i32"
	case typeI64:
		return "i64"
	case typeF32:
		return "f32"
	case typeF64:
		return "f64"
	}
	return fmt.Sprintf("type %#x", byte(t))
}

type funcType struct{ params, results []valType }

func (t funcType) equal(u funcType) bool {
	return slices.Equal(t.params, u.params) && slices.Equal(t.results, u.results)
}

func (t funcType) String() string { return fmt.Sprintf("%v -> %v", t.params, t.results) }

type importFunc struct {
	module, name string
	typ          uint32
}

type global struct {
	typ     valType
	mutable bool
	init    []byte // one constant instruction and end
}

type export struct {
	name  string
	kind  byte // 0 function, 1 table, 2 memory, 3 global
	index uint32
}

type localRun struct {
	n   uint32
	typ valType
}

type body struct {
	offset int // of the first instruction in the file
	locals []localRun
	count  int    // locals, without parameters
	code   []byte // instructions up to and with the last end
}

type elements struct {
	offset uint32
	funcs  []uint32
}

type segment struct {
	offset uint32
	bytes  []byte
}

// module is a parsed file. Slices are views into it.
type module struct {
	size     int
	types    []funcType
	imports  []importFunc
	funcs    []uint32 // type of each defined function
	hasTable bool
	table    uint32 // entries
	memories int
	memMin   uint32
	memMax   uint32 // abi.MaxMemoryPages or less
	globals  []global
	exports  []export
	elements []elements
	bodies   []body
	data     []segment
	names    []byte // payload of the name section
}

// typeOf is the type of a function by its index, imports first.
func (m *module) typeOf(index uint32) funcType {
	if int(index) < len(m.imports) {
		return m.types[m.imports[index].typ]
	}
	return m.types[m.funcs[int(index)-len(m.imports)]]
}

func (m *module) functions() int { return len(m.imports) + len(m.funcs) }

// Section numbers of the binary format.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
)

// order is where a section may stand: as its number, but data count before code.
func order(id byte) int {
	if id == sectionDataCount {
		return 2*sectionElement + 1
	}
	return 2 * int(id)
}

var header = []byte{0, 'a', 's', 'm', 1, 0, 0, 0}

// parse reads a module file and refuses what the format of the file alone shows
// to be forbidden. It allocates in proportion to the file.
func parse(file []byte) (*module, error) {
	if len(file) > MaxModuleBytes {
		return nil, refuse(ErrLimit, "file", "%d bytes, limit %d", len(file), MaxModuleBytes)
	}
	if len(file) < len(header) || string(file[:8]) != string(header) {
		return nil, refuse(ErrMalformed, "file", "does not begin with the WebAssembly 1 header")
	}
	m := &module{size: len(file)}
	r := &reader{b: file, at: 8}
	last := 0
	for r.left() > 0 && r.err == nil {
		id := r.u8()
		n := r.u32()
		base := r.at
		s := &reader{b: r.take(n), base: base}
		if id != sectionCustom && r.err == nil {
			if order(id) <= last {
				r.fail("section %d out of order", id)
			}
			last = order(id)
		}
		if r.err == nil {
			m.section(id, s)
			r.err = s.err
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if len(m.funcs) != len(m.bodies) {
		return nil, refuse(ErrMalformed, "code section", "%d functions declared, %d have code", len(m.funcs), len(m.bodies))
	}
	return m, nil
}

func (m *module) section(id byte, r *reader) {
	switch id {
	case sectionCustom:
		m.custom(r)
		return
	case sectionType:
		m.typeSection(r)
	case sectionImport:
		m.importSection(r)
	case sectionFunction:
		m.functionSection(r)
	case sectionTable:
		m.tableSection(r)
	case sectionMemory:
		m.memorySection(r)
	case sectionGlobal:
		m.globalSection(r)
	case sectionExport:
		m.exportSection(r)
	case sectionStart:
		r.refuse(refuse(ErrStart, r.where(), "a module is initialised through its _initialize export"))
	case sectionElement:
		m.elementSection(r)
	case sectionCode:
		m.codeSection(r)
	case sectionData:
		m.dataSection(r)
	case sectionDataCount:
		r.u32()
	default:
		r.refuse(refuse(ErrFeature, r.where(), "section %d", id))
	}
	if r.left() > 0 {
		r.fail("section %d has %d bytes too many", id, r.left())
	}
}

// custom keeps the name section and ignores the rest.
func (m *module) custom(r *reader) {
	n := r.u32()
	if name := r.take(n); string(name) == "name" {
		m.names = r.b[r.at:]
	}
}

func (r *reader) valTypes(what string, max int) []valType {
	n := r.count(what, max)
	ts := make([]valType, n)
	for i := range ts {
		ts[i] = r.valType()
	}
	return ts
}

func (r *reader) valType() valType {
	t := valType(r.u8())
	switch {
	case r.err != nil:
		return 0
	case t >= typeF64 && t <= typeI32:
		return t
	}
	r.refuse(refuse(ErrFeature, r.where(), "value %v: only i32, i64, f32 and f64 are", t))
	return 0
}

func (m *module) typeSection(r *reader) {
	n := r.count("types", MaxTypes)
	for i := 0; i < n && r.err == nil; i++ {
		if form := r.u8(); form != 0x60 {
			r.fail("type %d has form %#x", i, form)
		}
		t := funcType{params: r.valTypes("parameters", MaxParams)}
		t.results = r.valTypes("results", 2)
		if len(t.results) > 1 {
			r.refuse(refuse(ErrFeature, r.where(), "type %d has %d results (multi-value)", i, len(t.results)))
		}
		m.types = append(m.types, t)
	}
}

func (m *module) typeIndex(r *reader) uint32 {
	t := r.u32()
	if int(t) >= len(m.types) {
		r.fail("type %d of %d", t, len(m.types))
		return 0
	}
	return t
}

var kinds = [...]string{"function", "table", "memory", "global"}

func (m *module) importSection(r *reader) {
	n := r.count("imports", MaxImports)
	for i := 0; i < n && r.err == nil; i++ {
		f := importFunc{module: r.name(), name: r.name()}
		kind := r.u8()
		if r.err != nil {
			return
		}
		if kind != 0 {
			name := fmt.Sprintf("kind %d", kind)
			if int(kind) < len(kinds) {
				name = kinds[kind]
			}
			r.refuse(refuse(ErrImport, "import "+f.module+"."+f.name, "a %s; only functions may be imported", name))
			return
		}
		f.typ = m.typeIndex(r)
		m.imports = append(m.imports, f)
	}
}

func (m *module) functionSection(r *reader) {
	n := r.count("functions", MaxFunctions)
	for i := 0; i < n && r.err == nil; i++ {
		m.funcs = append(m.funcs, m.typeIndex(r))
	}
}

// limits takes a minimum and an optional maximum.
func (r *reader) limits() (min, max uint32, hasMax bool) {
	flags := r.u8()
	if flags > 1 && r.err == nil {
		r.refuse(refuse(ErrFeature, r.where(), "limits flags %#x (shared or 64-bit)", flags))
		return
	}
	min = r.u32()
	if flags == 1 {
		max = r.u32()
		if max < min {
			r.fail("maximum %d below minimum %d", max, min)
		}
	}
	return min, max, flags == 1
}

func (m *module) tableSection(r *reader) {
	if n := r.u32(); n > 1 {
		r.refuse(refuse(ErrLimit, r.where(), "%d tables, limit 1", n))
	} else if n == 0 {
		return
	}
	if t := r.u8(); t != 0x70 && r.err == nil {
		r.refuse(refuse(ErrFeature, r.where(), "table of %#x, only funcref is allowed", t))
	}
	m.table, _, _ = r.limits()
	if m.table > MaxTableEntries {
		r.refuse(refuse(ErrLimit, r.where(), "table of %d entries, limit %d", m.table, MaxTableEntries))
	}
	m.hasTable = r.err == nil
}

func (m *module) memorySection(r *reader) {
	n := r.u32()
	if n != 1 && r.err == nil {
		r.refuse(refuse(ErrMemory, r.where(), "%d memories, want 1", n))
		return
	}
	min, max, hasMax := r.limits()
	m.memories, m.memMin, m.memMax = 1, min, memoryLimit
	if hasMax && max < memoryLimit {
		m.memMax = max
	}
	if (min == 0 || min > memoryLimit) && r.err == nil {
		r.refuse(refuse(ErrMemory, r.where(), "starts with %d pages, want 1 to %d", min, memoryLimit))
	}
}

func (m *module) globalSection(r *reader) {
	n := r.count("globals", MaxGlobals)
	for i := 0; i < n && r.err == nil; i++ {
		g := global{typ: r.valType()}
		if mut := r.u8(); mut > 1 {
			r.fail("mutability %d", mut)
		} else {
			g.mutable = mut == 1
		}
		start := r.at
		if t := r.constant(); t != g.typ && r.err == nil {
			r.fail("global %d is %v, its initial value %v", i, g.typ, t)
		}
		if r.err == nil {
			g.init = r.b[start:r.at]
		}
		m.globals = append(m.globals, g)
	}
}

// constant takes one constant instruction and end, and returns its type.
func (r *reader) constant() (t valType) {
	switch op := r.u8(); op {
	case opI32Const:
		r.signed(32)
		t = typeI32
	case opI64Const:
		r.signed(64)
		t = typeI64
	case opF32Const:
		r.take(4)
		t = typeF32
	case opF64Const:
		r.take(8)
		t = typeF64
	default:
		if r.err == nil {
			r.refuse(refuse(ErrFeature, r.where(), "initial value computed by instruction %#x, only constants are allowed", op))
		}
		return 0
	}
	if end := r.u8(); end != opEnd {
		r.fail("constant expression of more than one instruction")
	}
	return t
}

// offset takes a constant i32 expression: where a segment goes.
func (r *reader) offset() uint32 {
	at := r.at
	if t := r.constant(); t != typeI32 {
		r.fail("segment offset is not an i32")
		return 0
	}
	return uint32((&reader{b: r.b, at: at + 1}).signed(32))
}

func (m *module) exportSection(r *reader) {
	n := r.count("exports", MaxExports)
	seen := make(map[string]bool, n)
	for i := 0; i < n && r.err == nil; i++ {
		e := export{name: r.name(), kind: r.u8(), index: r.u32()}
		if e.kind > 3 || seen[e.name] {
			r.fail("export %q is of kind %d or named twice", e.name, e.kind)
		}
		if e.kind == 0 && int(e.index) >= m.functions() {
			r.fail("export %q is function %d of %d", e.name, e.index, m.functions())
		}
		seen[e.name] = true
		m.exports = append(m.exports, e)
	}
}

func (m *module) elementSection(r *reader) {
	n := r.count("element segments", MaxElements)
	for i := 0; i < n && r.err == nil; i++ {
		if flags := r.u32(); flags != 0 && r.err == nil {
			r.refuse(refuse(ErrSegment, r.where(), "element segment %d has flags %d; only active segments of function indices are allowed", i, flags))
			return
		}
		e := elements{offset: r.offset()}
		for range r.count("elements", MaxTableEntries) {
			f := r.u32()
			if int(f) >= m.functions() {
				r.fail("element segment %d names function %d of %d", i, f, m.functions())
				return
			}
			e.funcs = append(e.funcs, f)
		}
		if r.err == nil && uint64(e.offset)+uint64(len(e.funcs)) > uint64(m.table) {
			r.refuse(refuse(ErrSegment, r.where(), "element segment %d ends at %d, the table at %d", i, uint64(e.offset)+uint64(len(e.funcs)), m.table))
		}
		m.elements = append(m.elements, e)
	}
}

func (m *module) dataSection(r *reader) {
	n := r.count("data segments", MaxSegments)
	for i := 0; i < n && r.err == nil; i++ {
		if flags := r.u32(); flags != 0 && r.err == nil {
			r.refuse(refuse(ErrSegment, r.where(), "data segment %d has flags %d; only active segments are allowed", i, flags))
			return
		}
		s := segment{offset: r.offset()}
		s.bytes = r.take(r.u32())
		if r.err == nil && uint64(s.offset)+uint64(len(s.bytes)) > uint64(m.memMin)*pageBytes {
			r.refuse(refuse(ErrSegment, r.where(), "data segment %d ends at %d, the memory at %d", i, uint64(s.offset)+uint64(len(s.bytes)), uint64(m.memMin)*pageBytes))
		}
		m.data = append(m.data, s)
	}
}

func (m *module) codeSection(r *reader) {
	n := r.count("function bodies", MaxFunctions)
	for i := 0; i < n && r.err == nil; i++ {
		size := r.u32()
		if size > MaxFunctionBytes {
			r.refuse(refuse(ErrLimit, r.where(), "function %d has %d bytes, limit %d", i, size, MaxFunctionBytes))
			return
		}
		base := r.base + r.at
		f := &reader{b: r.take(size), base: base}
		m.bodies = append(m.bodies, f.body())
		if r.err == nil {
			r.err = f.err
		}
	}
}

func (r *reader) body() body {
	var f body
	for range r.count("local declarations", MaxLocals) {
		run := localRun{n: r.u32()}
		run.typ = r.valType()
		if r.err != nil {
			return f
		}
		if uint64(f.count)+uint64(run.n) > MaxLocals {
			r.refuse(refuse(ErrLimit, r.where(), "more than %d locals in one function", MaxLocals))
			return f
		}
		f.count += int(run.n)
		f.locals = append(f.locals, run)
	}
	f.offset = r.base + r.at
	f.code = r.b[r.at:]
	return f
}
