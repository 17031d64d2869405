package wasm

import (
	"crypto/sha256"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Report is what a module file contains, for people who decide about one.
type Report struct {
	Hash           chain.Hash `json:"hash"`
	Bytes          int        `json:"bytes"`
	Instrumented   int        `json:"instrumented_bytes"` // without data
	CodeBytes      int        `json:"code_bytes"`
	DataBytes      int        `json:"data_bytes"`
	Imports        []string   `json:"imports"` // "module.name": its capabilities
	Exports        []string   `json:"exports"`
	Types          int        `json:"types"`
	Functions      int        `json:"functions"` // defined
	LargestBytes   int        `json:"largest_function_bytes"`
	Globals        int        `json:"globals"`
	MutableGlobals int        `json:"mutable_globals"`
	TableEntries   int        `json:"table_entries"`
	MemoryPages    int        `json:"memory_pages"` // at the start, 64 KiB each
	MemoryMaxPages int        `json:"memory_max_pages"`
	// FloatFunctions is the functions that use floating point, by name if the file
	// has names. They are deterministic here, but rarely what a module wants.
	FloatFunctions []string `json:"float_functions"`
}

// Describe checks a module file by every rule that needs no execution and
// reports what is in it. It gives the same [ModuleError] as [Load].
func Describe(file []byte) (*Report, error) {
	m, err := parse(file)
	if err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	ins, err := instrument(m)
	if err != nil {
		return nil, err
	}
	r := &Report{
		Hash: sha256.Sum256(file), Bytes: m.size, Instrumented: len(ins.code), Types: len(m.types), Functions: len(m.funcs),
		Globals: len(m.globals), MutableGlobals: len(ins.globals), TableEntries: int(m.table),
		MemoryPages: int(m.memMin), MemoryMaxPages: int(m.memMax),
	}
	r.count(m)
	names := functionNames(m.names)
	for _, f := range ins.floats {
		name := names[f]
		if name == "" {
			name = fmt.Sprintf("function %d", f)
		}
		r.FloatFunctions = append(r.FloatFunctions, name)
	}
	return r, nil
}

func (r *Report) count(m *module) {
	for _, f := range m.imports {
		r.Imports = append(r.Imports, f.module+"."+f.name)
	}
	for _, e := range m.exports {
		r.Exports = append(r.Exports, e.name)
	}
	for _, f := range m.bodies {
		r.CodeBytes += len(f.code)
		r.LargestBytes = max(r.LargestBytes, len(f.code))
	}
	for _, d := range m.data {
		r.DataBytes += len(d.bytes)
	}
}

// functionNames reads subsection 1 of a name section; a malformed one gives the
// names before the fault, since names decide nothing.
func functionNames(section []byte) map[uint32]string {
	names := map[uint32]string{}
	r := &reader{b: section}
	for r.left() > 0 {
		id := r.u8()
		sub := &reader{b: r.take(r.u32())}
		if id != 1 {
			continue
		}
		for range sub.count("names", len(sub.b)) {
			i := sub.u32()
			if name := sub.take(sub.u32()); sub.err == nil {
				names[i] = string(name)
			}
		}
	}
	return names
}
