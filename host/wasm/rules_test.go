package wasm

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// TestRules: every rule about a module file, by a module that breaks it alone.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(a *asm)
		rule  error
		where string // part of the message
	}{
		{"unknown function", func(a *asm) { a.imports[0].name = "clock" }, ErrImport, "kaizen.clock"},
		{"unknown module", func(a *asm) { a.imports[0].module = "env" }, ErrImport, "import env."},
		{"WASI beyond Go's ten", func(a *asm) { a.imports[12].name = "path_open" }, ErrImport, "path_open"},
		{"import of another type", func(a *asm) { a.imports[0].typ = a.typ(nop) }, ErrImport, "kaizen.accept: declared"},
		{"export missing", func(a *asm) { a.exports[5].name = "other" }, ErrExport, `"kaizen_inspect": missing`},
		{"export of another type", func(a *asm) { a.funcs[5].typ = a.typ(nop) }, ErrExport, "kaizen_inspect"},
		{"export is an import", func(a *asm) { a.exports[0].index = 19 }, ErrExport, "imported function"},
		{"export is a memory", func(a *asm) { a.exports[5].kind = 2; a.exports[5].index = 0 }, ErrExport, "a memory"},
		{"exported twice", func(a *asm) { a.exports[5].name = a.exports[4].name }, ErrMalformed, "twice"},
		{"no memory", func(a *asm) { a.memories, a.data = nil, nil }, ErrMemory, "no memory"},
		{"two memories", func(a *asm) { a.memories = append(a.memories, a.memories[0]) }, ErrMemory, "2 memories"},
		{"memory too large", func(a *asm) { a.memories[0] = code(0, leb(abi.MaxMemoryPages+1)) }, ErrMemory, "1025 pages"},
		{"memory of nothing", func(a *asm) { a.memories[0], a.data = []byte{0, 0}, nil }, ErrMemory, "0 pages"},
		{"shared memory", func(a *asm) { a.memories[0] = []byte{3, 1, 2} }, ErrFeature, "shared"},
		{"two tables", func(a *asm) { a.tables = append(a.tables, a.tables[0]) }, ErrLimit, "2 tables"},
		{"table of references", func(a *asm) { a.tables[0][0] = 0x6f }, ErrFeature, "funcref"},
		{"table too large", func(a *asm) { a.tables[0] = code(0x70, 0, leb(MaxTableEntries+1)) }, ErrLimit, "65537 entries"},
		{"passive data", func(a *asm) { a.data = append(a.data, []byte{1, 1, 'x'}) }, ErrSegment, "data segment 1"},
		{"data outside memory", func(a *asm) { a.data = append(a.data, code(0, constant(65535), opEnd, 2, "xx")) }, ErrSegment, "ends at 65537"},
		{"passive elements", func(a *asm) { a.elements = [][]byte{{1, 0, 1, 20}} }, ErrSegment, "element segment 0"},
		{"elements outside the table", func(a *asm) { a.elements = [][]byte{code(0, constant(4), opEnd, 1, 20)} }, ErrSegment, "ends at 5"},
		{"start section", func(a *asm) { a.start = leb(20) }, ErrStart, "_initialize"},
		{"two results", func(a *asm) { a.types = append(a.types, funcType{nil, params(typeI32, typeI32)}) }, ErrFeature, "multi-value"},
		{"vector type", func(a *asm) { a.types = append(a.types, funcType{params(0x7b), nil}) }, ErrFeature, "0x7b"},
		{"computed global", func(a *asm) { a.globals = [][]byte{{0x7f, 0, opGlobalGet, 0, opEnd}} }, ErrFeature, "computed"},
		{"imported memory", nil, ErrImport, "a memory"},
		{"too many locals", func(a *asm) { a.funcs[0].locals = make([]valType, MaxLocals+1) }, ErrLimit, "local"},
		{"too many globals", func(a *asm) {
			for range MaxGlobals + 1 {
				a.globals = append(a.globals, code(0x7f, 0, constant(0), opEnd))
			}
		}, ErrLimit, "257 globals"},
		{"too many types", func(a *asm) {
			for range MaxTypes {
				a.types = append(a.types, nop)
			}
		}, ErrLimit, "types"},
		{"too many parameters", func(a *asm) { a.types = append(a.types, funcType{make([]valType, MaxParams+1), nil}) }, ErrLimit, "33 parameters"},
		{"function too large", func(a *asm) { a.fn(nop, nil, make([]byte, MaxFunctionBytes)) }, ErrLimit, "limit 262144"},
		{"an ABI version too old", func(a *asm) { a.body(abi.ExportVersion).code = constant(abi.OldestVersion - 1) }, ErrVersion, "returned 1, this host speaks 2 to 3"},
		{"an ABI version to come", func(a *asm) { a.body(abi.ExportVersion).code = constant(abi.Version + 1) }, ErrVersion, "returned 4, this host speaks 2 to 3"},
		{"no input area", func(a *asm) { a.body(abi.ExportInput).code = constant(0) }, ErrInit, "returned 0, want"},
		{"input area outside memory", func(a *asm) { a.body(abi.ExportInput).code = constant(pageBytes - abi.InputAreaBytes + 1) }, ErrInit, abi.ExportInput},
		{"input area traps", func(a *asm) { a.body(abi.ExportInput).code = code(opUnreachable) }, ErrInit, abi.ExportInput},
		{"initialisation traps", func(a *asm) { a.export(exportInitialize, nop, nil, code(opUnreachable)) }, ErrInit, exportInitialize},
		{"initialisation exits", func(a *asm) {
			a.export(exportInitialize, nop, nil, code(constant(3), a.call("proc_exit")))
		}, ErrInit, "status 3"},
		{"initialisation loops", func(a *asm) { a.export(exportInitialize, nop, nil, code(opLoop, 0x40, opBr, 0, opEnd)) }, ErrInit, "0xff02"},
		{"initialisation reads state", func(a *asm) {
			a.export(exportInitialize, nop, nil, code(constant(1), constant(1), constant(0), constant(0), a.call(abi.ImportStateGet), 0x1a))
		}, ErrInit, "may not call state_get"},
		{"operands do not fit", func(a *asm) { a.execute(nil, opI64Const, 0) }, ErrInvalid, "result[0] type i32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newASM()
			file := importMemory(a)
			if c.spoil != nil {
				a = newASM()
				c.spoil(a)
				file = a.bytes()
			}
			expectRefusal(t, file, c.rule, c.where)
		})
	}
}

// importMemory is a module that imports its memory.
func importMemory(a *asm) []byte {
	file := a.bytes()
	kind := code(name(abi.ImportModule), name("accept"), 0)
	at := bytes.Index(file, kind)
	file[at+len(kind)-1] = 2
	return file
}

func expectRefusal(t *testing.T, file []byte, rule error, where string) {
	t.Helper()
	p, err := Load(context.Background(), file, Options{Crypto: secp.Crypto{}})
	if err == nil {
		p.Close()
	}
	var refused *ModuleError
	if !errors.As(err, &refused) || !errors.Is(err, rule) || !strings.Contains(err.Error(), where) {
		t.Fatalf("loaded with %v, want %v that names %q", err, rule, where)
	}
}

// TestForbiddenInstructions: every opcode that is not allowed, each in otherwise
// valid code.
func TestForbiddenInstructions(t *testing.T) {
	for _, c := range []struct {
		code []byte
		want string
	}{
		{code(0xfd, 0x0c, make([]byte, 16)), "SIMD"},
		{code(0xfe, 0x03, 0x00), "threads"},
		{code(0x12, 30), "tail calls"},
		{code(0x13, 0, 0), "tail calls"},
		{code(0x06, 0x40, 0x0b), "exceptions"},
		{code(0xd0, 0x70, 0x1a), "reference types"},
		{code(0xd2, 30, 0x1a), "reference types"},
		{code(constant(0), 0x25, 0, 0x1a), "reference types"},
		{code(constant(0), constant(0), constant(0), 0x1c, 1, 0x7f), "reference types"},
		{code(constant(0), constant(0), constant(0), 0xfc, 8, 0, 0), "memory.init"},
		{code(0xfc, 9, 0), "data.drop"},
		{code(constant(0), constant(0), constant(0), 0xfc, 12, 0, 0), "table.init"},
		{code(0xfc, 13, 0), "elem.drop"},
		{code(constant(0), constant(0), constant(0), 0xfc, 14, 0, 0), "table.copy"},
		{code(0xfc, 16, 0, 0x1a), "table.size"},
		{code(opBlock, 0x00, opEnd), "multi-value"},
		{code(0xff), "unknown"},
	} {
		t.Run(c.want, func(t *testing.T) {
			a := newASM()
			a.execute(nil, c.code, constant(0))
			expectRefusal(t, a.bytes(), ErrFeature, c.want)
		})
	}
}

// TestIndicesAddedByTheHost: code may not name what instrumentation adds, which
// would be valid in the instrumented module and is not in the original.
func TestIndicesAddedByTheHost(t *testing.T) {
	a := newASM()
	functions := uint32(len(a.imports) + len(a.funcs))
	for name, body := range map[string][]byte{
		"local":    code(opLocalGet, 1, 0x1a),
		"global":   code(opGlobalGet, 0, 0x1a),
		"function": code(constant(0), opCall, leb(functions), 0x1a),
		"wrapper":  code(opCall, leb(functions+1)),
		"type":     code(constant(0), constant(0), opCallIndirect, leb(uint32(len(a.types))), 0, 0x1a),
		"label":    code(opBr, 1),
	} {
		t.Run(name, func(t *testing.T) {
			a := newASM()
			a.execute(nil, body, constant(0))
			expectRefusal(t, a.bytes(), ErrMalformed, "function ")
		})
	}
}

// TestMalformed: cutting a valid file anywhere is refused, and so is a section
// out of order, twice, or longer than what is in it.
func TestMalformed(t *testing.T) {
	a := newASM()
	a.data = nil // a section that a file may lack would end at a valid file
	file := a.bytes()
	for n := range file {
		if _, err := Describe(file[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes pass", n, len(file))
		}
	}
	for name, tail := range map[string][]byte{
		"section twice":        {sectionMemory, 3, 1, 0, 1},
		"unknown section":      {13, 0},
		"longer than the file": {sectionCustom, 0x80, 0x80, 0x80, 0x80, 0x08},
		"integer too long":     {sectionCustom, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00},
	} {
		if _, err := Describe(append(bytes.Clone(file), tail...)); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if _, err := Describe(make([]byte, MaxModuleBytes+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("a file over the limit: %v", err)
	}
}
