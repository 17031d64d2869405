package wasm

import (
	"fmt"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// memoryLimit is the most pages a module may declare or grow to.
const memoryLimit = abi.MaxMemoryPages

// Names outside the contract's own list.
const (
	moduleWASI       = "wasi_snapshot_preview1"
	exportInitialize = "_initialize" // () -> (), optional: what a Go guest runs first
)

var (
	i32 = []valType{typeI32}
	nop = funcType{}
)

func params(ts ...valType) []valType { return ts }

// hostFunc is one function that a module may import: its type, and what calling
// it costs the guest beside its own instructions. Costs are part of the contract
// (invariant 7): they follow the work, not whether the host has the answer
// cached.
type hostFunc struct {
	typ   funcType
	base  uint32 // budget units per call
	bytes int    // the parameter that counts bytes, -1: none, -2: the result
	per8  uint32 // budget units per 8 of those bytes
}

const (
	noBytes     = -1
	resultBytes = -2
)

var (
	i32x2 = params(typeI32, typeI32)
	i32x3 = params(typeI32, typeI32, typeI32)
	i32x4 = params(typeI32, typeI32, typeI32, typeI32)
	i32x5 = params(typeI32, typeI32, typeI32, typeI32, typeI32)
)

// capabilities is every import there is: module, name, type and cost.
var capabilities = map[string]map[string]hostFunc{
	abi.ImportModule: {
		abi.ImportStateGet:    {funcType{i32x4, i32}, 400, resultBytes, 1},
		abi.ImportStateSet:    {funcType{i32x4, nil}, 1000, 3, 2},
		abi.ImportStateDelete: {funcType{i32x2, nil}, 1000, noBytes, 0},
		abi.ImportKeccak256:   {funcType{i32x3, nil}, 600, 1, 32},
		abi.ImportSHA256:      {funcType{i32x3, nil}, 200, 1, 16},
		abi.ImportRecover:     {funcType{i32x3, i32}, 50_000, noBytes, 0},
		abi.ImportSigner712:   {funcType{i32x5, i32}, 51_500, 2, 32},
		abi.ImportAccept:      {funcType{i32, nil}, 200, noBytes, 0},
		abi.ImportEmit:        {funcType{i32x2, nil}, 400, 1, 2},
		abi.ImportOutput:      {funcType{i32x2, nil}, 200, 1, 1},
		abi.ImportLog:         {funcType{i32x2, nil}, 400, 1, 8},
		abi.ImportBatch:       {funcType{i32x2, nil}, 100, noBytes, 0}, // and for each request what it costs alone
	},
	moduleWASI: {
		"args_get":          {funcType{i32x2, i32}, 50, noBytes, 0},
		"args_sizes_get":    {funcType{i32x2, i32}, 50, noBytes, 0},
		"environ_get":       {funcType{i32x2, i32}, 50, noBytes, 0},
		"environ_sizes_get": {funcType{i32x2, i32}, 50, noBytes, 0},
		"clock_time_get":    {funcType{params(typeI32, typeI64, typeI32), i32}, 50, noBytes, 0},
		"random_get":        {funcType{i32x2, i32}, 50, 1, 1},
		"fd_write":          {funcType{i32x4, i32}, 2000, 2, 64},
		"poll_oneoff":       {funcType{i32x4, i32}, 50, noBytes, 0},
		"sched_yield":       {funcType{nil, i32}, 50, noBytes, 0},
		"proc_exit":         {funcType{i32, nil}, 50, noBytes, 0},
	},
}

// exportTypes is every export the host calls.
var exportTypes = map[string]funcType{
	abi.ExportVersion:    {nil, i32},
	abi.ExportInput:      {i32, i32},
	abi.ExportSchema:     {i32, i32},
	abi.ExportGenesis:    {i32, i32},
	abi.ExportBeginBlock: {i32, i32},
	abi.ExportInspect:    {i32, i32},
	abi.ExportAdmit:      {i32, i32},
	abi.ExportExecute:    {i32, i32},
	abi.ExportEndBlock:   {i32, i32},
	abi.ExportQuery:      {i32, i32},
	exportInitialize:     nop,
}

// validate checks what parse cannot see section by section. Types of operands
// are left to the engine, which checks the instrumented module.
func (m *module) validate() error {
	if m.memories != 1 {
		return refuse(ErrMemory, "file", "no memory")
	}
	for _, f := range m.imports {
		if err := m.validateImport(f); err != nil {
			return err
		}
	}
	return m.validateExports()
}

func (m *module) validateImport(f importFunc) error {
	where := "import " + f.module + "." + f.name
	c, ok := capabilities[f.module][f.name]
	if !ok {
		return refuse(ErrImport, where, "not one of the functions a module may have")
	}
	if got := m.types[f.typ]; !got.equal(c.typ) {
		return refuse(ErrImport, where, "declared %v, want %v", got, c.typ)
	}
	return nil
}

func (m *module) validateExports() error {
	found := map[string]bool{}
	for _, e := range m.exports {
		want, ok := exportTypes[e.name]
		if !ok {
			continue
		}
		where := fmt.Sprintf("export %q", e.name)
		if e.kind != 0 {
			return refuse(ErrExport, where, "a %s, want a function", kinds[e.kind])
		}
		if int(e.index) < len(m.imports) {
			return refuse(ErrExport, where, "an imported function")
		}
		if got := m.typeOf(e.index); !got.equal(want) {
			return refuse(ErrExport, where, "declared %v, want %v", got, want)
		}
		found[e.name] = true
	}
	for id, name := range exportNames {
		if !found[name] && exportID(id) != callInitialize {
			return refuse(ErrExport, fmt.Sprintf("export %q", name), "missing")
		}
	}
	return nil
}

// exportID numbers the exports the host calls.
type exportID int

const (
	callInitialize exportID = iota
	callVersion
	callInput
	callSchema
	callGenesis
	callBeginBlock
	callInspect
	callAdmit
	callExecute
	callEndBlock
	callQuery
)

// exportNames names them.
var exportNames = [...]string{
	callInitialize: exportInitialize,
	callVersion:    abi.ExportVersion,
	callInput:      abi.ExportInput,
	callSchema:     abi.ExportSchema,
	callGenesis:    abi.ExportGenesis,
	callBeginBlock: abi.ExportBeginBlock,
	callInspect:    abi.ExportInspect,
	callAdmit:      abi.ExportAdmit,
	callExecute:    abi.ExportExecute,
	callEndBlock:   abi.ExportEndBlock,
	callQuery:      abi.ExportQuery,
}
