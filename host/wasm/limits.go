package wasm

// Limits of a module file. They bound the work of loading one and the stack that
// abi.MaxCallDepth nested calls can take; a market compiled by the stock Go
// toolchain uses a tenth of each (stf-modules/ABI.md, Limits).
const (
	MaxModuleBytes   = 16 << 20 // whole file
	MaxTypes         = 1 << 10  // function types
	MaxParams        = 32       // parameters of one function type
	MaxImports       = 64       // imported functions
	MaxFunctions     = 32 << 10 // defined functions
	MaxFunctionBytes = 256 << 10
	MaxLocals        = 1 << 10  // parameters and locals of one function
	MaxGlobals       = 256      // globals
	MaxTableEntries  = 64 << 10 // entries of the one table
	MaxExports       = 256
	MaxNameBytes     = 256       // one import or export name
	MaxElements      = 4 << 10   // element segments
	MaxSegments      = 256 << 10 // data segments; Go makes one for every gap of zeros
)

// pageBytes is the unit of memory size.
const pageBytes = 64 << 10
