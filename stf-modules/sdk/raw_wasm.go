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

// area is where inputs up to its size arrive: the host learns its address once.
// large is where the last larger one did.
var (
	area  [abi.InputAreaBytes]byte
	large []byte
)

// input is the first n bytes of where the host has put an input of n bytes.
func input(n uint32) []byte {
	if n <= abi.InputAreaBytes {
		return area[:n]
	}
	return large[:n]
}

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
	if size <= abi.InputAreaBytes {
		return uint32(uintptr(unsafe.Pointer(&area)))
	}
	large = make([]byte, size)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(large))))
}

//go:wasmexport kaizen_schema
func exportSchema(uint32) uint32 { return uint32(guest.Schema()) }

//go:wasmexport kaizen_genesis
func exportGenesis(n uint32) uint32 { return uint32(guest.Genesis(input(n))) }

//go:wasmexport kaizen_begin_block
func exportBeginBlock(n uint32) uint32 { return uint32(guest.BeginBlock(input(n))) }

//go:wasmexport kaizen_inspect
func exportInspect(n uint32) uint32 { return uint32(guest.Inspect(input(n))) }

//go:wasmexport kaizen_admit
func exportAdmit(n uint32) uint32 { return uint32(guest.Admit(input(n))) }

//go:wasmexport kaizen_execute
func exportExecute(n uint32) uint32 { return uint32(guest.Execute(input(n))) }

//go:wasmexport kaizen_end_block
func exportEndBlock(n uint32) uint32 { return uint32(guest.EndBlock(input(n))) }

//go:wasmexport kaizen_query
func exportQuery(n uint32) uint32 { return uint32(guest.Query(input(n))) }

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

//go:wasmimport kaizen signer712
//go:noescape
func signer712(domain, words unsafe.Pointer, n uint32, sig, dst unsafe.Pointer) int32

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

//go:wasmimport kaizen batch
//go:noescape
func batch(ptr unsafe.Pointer, n uint32)

// raw makes the calls. Each is written out: a call too many costs more than the host's
// work, and the compiler inlines these only as they are.
type raw struct{}

func (raw) stateGet(key, dst []byte) int {
	return int(stateGet(unsafe.Pointer(unsafe.SliceData(key)), uint32(len(key)), unsafe.Pointer(unsafe.SliceData(dst)), uint32(len(dst))))
}

func (raw) stateSet(key, value []byte) {
	stateSet(unsafe.Pointer(unsafe.SliceData(key)), uint32(len(key)), unsafe.Pointer(unsafe.SliceData(value)), uint32(len(value)))
}

func (raw) stateDelete(key []byte) {
	stateDelete(unsafe.Pointer(unsafe.SliceData(key)), uint32(len(key)))
}

func (raw) keccak256(b []byte, out *[32]byte) {
	keccak256(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)), unsafe.Pointer(out))
}

func (raw) sha256(b []byte, out *[32]byte) {
	sha256(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)), unsafe.Pointer(out))
}

func (raw) recover(digest *[32]byte, sig *[65]byte, out *[20]byte) bool {
	return recoverSigner(unsafe.Pointer(digest), unsafe.Pointer(sig), unsafe.Pointer(out)) == 1
}

func (raw) signer712(domain *[32]byte, words []byte, sig *[65]byte, out *Typed) bool {
	return signer712(unsafe.Pointer(domain), unsafe.Pointer(unsafe.SliceData(words)), uint32(len(words)), unsafe.Pointer(sig), unsafe.Pointer(out)) == 1
}

func (raw) accept(id *[32]byte) { accept(unsafe.Pointer(id)) }
func (raw) emit(b []byte)       { emit(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))) }
func (raw) output(b []byte)     { output(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))) }
func (raw) log(b []byte)        { logLine(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))) }

func (raw) run(list []Request) {
	batch(unsafe.Pointer(unsafe.SliceData(list)), uint32(len(list)))
}

// Request is one call in a batch, as the host reads it (abi.Requests). The types after
// it are the same bytes for one function or another: storing an address as a pointer
// tells the compiler that what is there outlives the call.
type Request struct {
	function uint64
	params   [abi.RequestParams]uint64
	answer   uint64
}

type bytesRequest struct {
	function uint64
	a        unsafe.Pointer
	lenA     uint64
	b        unsafe.Pointer
	lenB     uint64
}

type typedRequest struct {
	function uint64
	domain   unsafe.Pointer
	words    unsafe.Pointer
	length   uint64
	sig, out unsafe.Pointer
}

var _ [unsafe.Sizeof(Request{}) - abi.RequestBytes]struct{}
var _ [abi.RequestBytes - unsafe.Sizeof(Request{})]struct{}

// Load makes r what [Env.Load] does.
func (r *Request) Load(key, dst []byte) { r.bytes(abi.RequestStateGet, key, dst) }

// Set makes r what [Env.Set] does.
func (r *Request) Set(key, value []byte) { r.bytes(abi.RequestStateSet, key, value) }

// Resize makes the value that r sets n bytes long, from where it began.
func (r *Request) Resize(n int) { r.params[3] = uint64(n) }

// Emit makes r what [Env.Emit] does.
func (r *Request) Emit(event []byte) { r.bytes(abi.RequestEmit, event, nil) }

// Accept makes r what [Env.Accept] does.
func (r *Request) Accept(id *[32]byte) { r.bytes(abi.RequestAccept, id[:], nil) }

// Signer712 makes r what [Env.Signer712] does, of what [Request.Signed] says.
func (r *Request) Signer712(domain *[32]byte, out *Typed) {
	t := (*typedRequest)(unsafe.Pointer(r))
	t.function, t.domain, t.out = abi.RequestSigner712, unsafe.Pointer(domain), unsafe.Pointer(out)
}

// Signed says what a Signer712 is about.
func (r *Request) Signed(words []byte, sig *[65]byte) {
	t := (*typedRequest)(unsafe.Pointer(r))
	t.words, t.length, t.sig = unsafe.Pointer(unsafe.SliceData(words)), uint64(len(words)), unsafe.Pointer(sig)
}

// Answer is what the call returned: the length or -1 of a Load, 1 or 0 of a Signer712.
func (r *Request) Answer() int { return int(int32(r.answer)) }

func (r *Request) bytes(function uint64, a, b []byte) {
	t := (*bytesRequest)(unsafe.Pointer(r))
	t.function, t.a, t.lenA = function, unsafe.Pointer(unsafe.SliceData(a)), uint64(len(a))
	t.b, t.lenB = unsafe.Pointer(unsafe.SliceData(b)), uint64(len(b))
}
