//go:build wasip1

package sdk

import (
	"unsafe"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// The exports and imports of stf-modules/abi, as the Go compiler wants them. The
// names are string literals because a directive cannot name a constant; a test
// of the compiled modules compares them with abi.

// guest is this module's one guest: an instance of a WebAssembly module runs on
// one thread and serves one call at a time.
var guest Guest

// smallInput is where inputs up to 64 KiB arrive, without allocation; input is
// that, or a larger one that was allocated.
var (
	smallInput [64 << 10]byte
	input      = smallInput[:]
)

// Run makes m the module of this instance. A guest's main package calls it from
// an init function: main itself never runs.
func Run(m Module) { guest.module = m }

// Collection never happens: nothing allocates on the hot path, the host puts
// memory back before every block, and a collection in the middle of a block
// would be paid by whichever transaction met it. A module that allocates without
// bound meets abi.MaxMemoryPages instead.
func init() { setGCPercent(-1) }

//go:linkname setGCPercent runtime/debug.setGCPercent
func setGCPercent(percent int32) int32

//go:wasmexport kaizen_abi_version
func exportVersion() uint32 { return abi.Version }

//go:wasmexport kaizen_input
func exportInput(size uint32) uint32 {
	if size > abi.MaxInputBytes {
		return 0
	}
	input = smallInput[:]
	if int(size) > len(input) {
		input = make([]byte, size)
	}
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(input))))
}

//go:wasmexport kaizen_schema
func exportSchema(uint32) uint32 { return uint32(guest.Schema()) }

//go:wasmexport kaizen_genesis
func exportGenesis(n uint32) uint32 { return uint32(guest.Genesis(input[:n])) }

//go:wasmexport kaizen_begin_block
func exportBeginBlock(n uint32) uint32 { return uint32(guest.BeginBlock(input[:n])) }

//go:wasmexport kaizen_inspect
func exportInspect(n uint32) uint32 { return uint32(guest.Inspect(input[:n])) }

//go:wasmexport kaizen_admit
func exportAdmit(n uint32) uint32 { return uint32(guest.Admit(input[:n])) }

//go:wasmexport kaizen_execute
func exportExecute(n uint32) uint32 { return uint32(guest.Execute(input[:n])) }

//go:wasmexport kaizen_end_block
func exportEndBlock(n uint32) uint32 { return uint32(guest.EndBlock(input[:n])) }

//go:wasmexport kaizen_query
func exportQuery(n uint32) uint32 { return uint32(guest.Query(input[:n])) }

//go:wasmimport kaizen state_get
//go:noescape
func stateGet(key unsafe.Pointer, klen uint32, dst unsafe.Pointer, max uint32) int32

//go:wasmimport kaizen state_set
//go:noescape
func stateSet(key unsafe.Pointer, klen uint32, val unsafe.Pointer, vlen uint32)

//go:wasmimport kaizen state_delete
//go:noescape
func stateDelete(key unsafe.Pointer, klen uint32)

//go:wasmimport kaizen keccak256
//go:noescape
func keccak256(ptr unsafe.Pointer, n uint32, dst unsafe.Pointer)

//go:wasmimport kaizen sha256
//go:noescape
func sha256(ptr unsafe.Pointer, n uint32, dst unsafe.Pointer)

//go:wasmimport kaizen recover
//go:noescape
func recoverSigner(digest, sig, dst unsafe.Pointer) int32

//go:wasmimport kaizen accept
//go:noescape
func accept(id unsafe.Pointer)

//go:wasmimport kaizen emit
//go:noescape
func emit(ptr unsafe.Pointer, n uint32)

//go:wasmimport kaizen output
//go:noescape
func output(ptr unsafe.Pointer, n uint32)

//go:wasmimport kaizen log
//go:noescape
func logLine(ptr unsafe.Pointer, n uint32)

// raw makes the calls.
type raw struct{}

func at(b []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))
}

func (raw) stateGet(key, dst []byte) int {
	k, klen := at(key)
	d, max := at(dst)
	return int(stateGet(k, klen, d, max))
}

func (raw) stateSet(key, value []byte) {
	k, klen := at(key)
	v, vlen := at(value)
	stateSet(k, klen, v, vlen)
}

func (raw) stateDelete(key []byte) { stateDelete(at(key)) }
func (raw) accept(id *[32]byte)    { accept(unsafe.Pointer(id)) }
func (raw) emit(b []byte)          { emit(at(b)) }
func (raw) output(b []byte)        { output(at(b)) }
func (raw) log(b []byte)           { logLine(at(b)) }
func (raw) keccak256(b []byte, out *[32]byte) {
	p, n := at(b)
	keccak256(p, n, unsafe.Pointer(out))
}

func (raw) sha256(b []byte, out *[32]byte) {
	p, n := at(b)
	sha256(p, n, unsafe.Pointer(out))
}

func (raw) recover(digest *[32]byte, sig *[65]byte, out *[20]byte) bool {
	return recoverSigner(unsafe.Pointer(digest), unsafe.Pointer(sig), unsafe.Pointer(out)) == 1
}
