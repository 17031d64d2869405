// Package abi is what a module and its host agree on: export and import names,
// result codes, limits, and the byte encoding of everything that crosses the
// boundary. stf-modules/ABI.md is the same contract in prose.
//
// It imports nothing but, inside a guest, unsafe, so that it means the same there and in
// the host.
//
//	host ── kaizen_execute(len) ──▶ guest
//	host ◀─ state_get, accept, emit … ── guest     (imports of module "kaizen")
//
// Everything here is a constant or a pure function: any number of goroutines may
// use it.
package abi

// Version is the contract's version, which a module returns from [ExportVersion]. A
// host also runs modules of the versions since [OldestVersion], and refuses any other.
const (
	Version       = 3
	OldestVersion = 2 // as Version, without ImportBatch
)

// ImportModule is the one import module, beside WASI, that a module may name.
const ImportModule = "kaizen"

// Exports of a module. Every export but the first two takes the length of the
// input that the host has written, at the pointer that [ExportInput] returned for
// it or, up to [InputAreaBytes], when the module was loaded, and returns a [Code].
const (
	ExportVersion    = "kaizen_abi_version" // () -> i32
	ExportInput      = "kaizen_input"       // (size i32) -> i32 pointer, 0 if refused
	ExportSchema     = "kaizen_schema"      // (0) -> code; output: schema JSON
	ExportGenesis    = "kaizen_genesis"     // input: genesis document
	ExportBeginBlock = "kaizen_begin_block" // input: Context, oracle snapshot
	ExportInspect    = "kaizen_inspect"     // input: transaction; output: Inspection
	ExportAdmit      = "kaizen_admit"       // input: Context, transaction
	ExportExecute    = "kaizen_execute"     // input: Context, transaction
	ExportEndBlock   = "kaizen_end_block"   // input: Context
	ExportQuery      = "kaizen_query"       // input: Context, query; output: JSON
)

// Imports offered by the host under [ImportModule]. All pointers and lengths are
// i32. A call that breaks a limit, reaches outside the guest's memory, or is not
// allowed in the running export traps.
const (
	ImportStateGet    = "state_get"    // (key, klen, dst, cap) -> i32 length, or -1 if absent; copies only if length <= cap
	ImportStateSet    = "state_set"    // (key, klen, val, vlen)
	ImportStateDelete = "state_delete" // (key, klen)
	ImportKeccak256   = "keccak256"    // (ptr, len, dst32)
	ImportSHA256      = "sha256"       // (ptr, len, dst32)
	ImportRecover     = "recover"      // (digest32, sig65, dst20) -> i32: 1 recovered, 0 not a valid signature
	ImportSigner712   = "signer712"    // (domain32, ptr, len, sig65, dst52) -> i32: as recover; dst is the EIP-712 digest, then the signer
	ImportAccept      = "accept"       // (id32)
	ImportEmit        = "emit"         // (ptr, len)
	ImportOutput      = "output"       // (ptr, len)
	ImportLog         = "log"          // (ptr, len)
	ImportBatch       = "batch"        // (ptr, count): calls of the others, see [Requests]
)

// Requests are the imports that [ImportBatch] can call, by the number that a request
// names them with. A request is seven little-endian u64: that number, the parameters
// of the import in their order, as many more as there are to five, and the answer: where
// the import's result goes if it has one. The lower half of a parameter counts.
var Requests = [...]string{
	RequestStateGet:    ImportStateGet,
	RequestStateSet:    ImportStateSet,
	RequestStateDelete: ImportStateDelete,
	RequestKeccak256:   ImportKeccak256,
	RequestSHA256:      ImportSHA256,
	RequestRecover:     ImportRecover,
	RequestSigner712:   ImportSigner712,
	RequestAccept:      ImportAccept,
	RequestEmit:        ImportEmit,
	RequestOutput:      ImportOutput,
	RequestLog:         ImportLog,
}

// The numbers. 0 is none, so that a request which nobody has written is no request.
const (
	RequestStateGet = 1 + iota
	RequestStateSet
	RequestStateDelete
	RequestKeccak256
	RequestSHA256
	RequestRecover
	RequestSigner712
	RequestAccept
	RequestEmit
	RequestOutput
	RequestLog
)

// Size of a request, by words of 8 bytes.
const (
	RequestParams = 5 // the most parameters of an import
	RequestBytes  = (1 + RequestParams + 1) * 8
)

// Code is what an export returns. Zero is success; a module numbers its own
// errors from 1 and names them in its schema; the host's own start at
// [CodeTrap] and no module may return them.
type Code uint16

// The host's own codes.
const (
	CodeOK     Code = 0
	CodeTrap   Code = 0xFF01 // unreachable, out-of-bounds, division by zero, exit, a forbidden host call
	CodeBudget Code = 0xFF02 // the instruction budget ran out
	CodeMemory Code = 0xFF03 // the guest asked for more than MaxMemoryPages
	CodeDepth  Code = 0xFF04 // calls nested deeper than MaxCallDepth
)

// HostCodeMin is the first code a module may not use.
const HostCodeMin Code = 0xFF00

// Limits of the contract. A host asserts them where a value is produced and
// again where it is consumed (invariant 11).
const (
	MaxTxBytes      = 16 << 10  // one encoded transaction
	MaxKeyBytes     = 128       // one state key
	MaxValueBytes   = 64 << 10  // one state value
	MaxTxWrites     = 1 << 20   // keys and values that one execute writes, bytes
	MaxHookWrites   = 256 << 20 // keys and values that one hook or genesis writes, bytes
	MaxEventBytes   = 4 << 10   // one event
	MaxEventsPerRun = 256       // events of one export call
	MaxOutputBytes  = 4 << 20   // output of one export call
	MaxDetailBytes  = 256       // text that explains a failure
	MaxInputBytes   = 16 << 20  // input of one export call
	MaxSignatures   = 8         // signatures one transaction may carry
	MaxBatch        = 32        // requests of one batch
	MaxLogBytes     = 1 << 10   // one log line
	MaxMemoryPages  = 1024      // 64 KiB each: 64 MiB of guest memory
	MaxCallDepth    = 1000      // nested guest calls
	TxBudget        = 20 << 20  // instructions of one execute, admit, inspect or query
	HookBudget      = 200 << 20 // instructions of genesis, begin_block or end_block
)

// Phase says which export runs, and so which imports it may call.
type Phase uint8

// The phases.
const (
	PhaseNone    Phase = iota // _initialize, schema, inspect: hashes, output and log only
	PhaseRead                 // admit, query: also state_get and recover
	PhaseHook                 // genesis, begin_block, end_block: also state_set, state_delete, emit
	PhaseExecute              // execute: everything
)

// Context goes before the body of every input that runs inside a block.
type Context struct {
	Height uint64 // the block's height
	Time   uint64 // the block's time, ms
}

// ContextBytes is the encoded size of a Context.
const ContextBytes = 16

// InputAreaBytes is the longest input that arrives where the host was told when it
// loaded the module, instead of asking for room: that of any transaction.
const InputAreaBytes = ContextBytes + MaxTxBytes

// AppendContext appends the encoding of c to dst.
func AppendContext(dst []byte, c Context) []byte {
	return AppendU64(AppendU64(dst, c.Height), c.Time)
}

// ReadContext reads what [AppendContext] wrote.
func ReadContext(r *Reader) Context {
	return Context{Height: r.U64(), Time: r.U64()}
}
