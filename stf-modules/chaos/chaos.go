// Package chaos is a module that misbehaves on demand, so that the tests of a
// host can see what a trap, a full memory or a leaking global comes to. It is no
// example of anything else.
//
// It imports stf-modules/abi; the module itself is in chaos/guest, only as
// WebAssembly: what it does would kill a native process.
//
//	transaction = { act u8, early bool, nonce u64, arg u64 }     18 bytes, Borsh
//
// The act happens before accept if early is set, and after it otherwise. The id
// is the SHA-256 of the bytes; there is no replay rule, so a test takes care that
// nonces differ. Everything here is a constant or a pure function.
package chaos

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// Act is what a transaction does.
type Act uint8

// The acts. State keys are [KeyCount] and so on; values are u64.
const (
	Count          Act = iota // adds 1 to a Go global and writes the global to KeyCount
	Where                     // allocates arg bytes and writes their address to KeyWhere
	Grow                      // allocates arg bytes and keeps them
	Panic                     // panics
	Loop                      // loops for ever
	Recurse                   // calls itself for ever
	NilDeref                  // reads through a nil pointer
	OutOfRange                // indexes a slice beyond its end
	Exhaust                   // allocates until there is no memory
	WriteThenPanic            // writes arg to KeyDirty, then panics
	WriteThenFail             // writes arg to KeyDirty, emits an event, then fails with CodeAsked
	LongKey                   // writes a key one byte longer than allowed
	LongValue                 // writes a value one byte longer than allowed
	ManyEvents                // emits one event more than allowed
	AcceptTwice               // calls accept a second time
	NoAccept                  // returns success without accept, which Admit does not foresee
	WildPointer               // makes a host call with a pointer outside memory
	ArmBegin                  // makes the BeginBlock of block arg panic
	ArmEnd                    // makes the EndBlock of block arg panic
	Fail                      // fails with CodeAsked
	ReservedCode              // returns arg as its code, which the host may reserve
	acts
)

// Codes of this module.
const (
	CodeMalformed abi.Code = 1 // not a transaction
	CodeAsked     abi.Code = 2 // the transaction asked to fail
)

// State keys.
const (
	KeyCount    = "count"     // what Count wrote
	KeyWhere    = "where"     // what Where wrote
	KeyDirty    = "dirty"     // what WriteThenPanic and WriteThenFail wrote
	KeyArmBegin = "arm_begin" // height whose BeginBlock panics
	KeyArmEnd   = "arm_end"   // height whose EndBlock panics
)

// EventActed is the tag of the event that every successful act ends with.
const EventActed = 1

// Tx is a transaction.
type Tx struct {
	Act   Act
	Early bool
	Nonce uint64
	Arg   uint64
}

// Append appends the encoding of t.
func (t *Tx) Append(dst []byte) []byte {
	return abi.AppendU64(abi.AppendU64(abi.AppendBool(append(dst, byte(t.Act)), t.Early), t.Nonce), t.Arg)
}

// Decode reads exactly one transaction.
func Decode(b []byte) (t Tx, ok bool) {
	r := abi.NewReader(b)
	t = Tx{Act: Act(r.U8()), Early: r.Bool(), Nonce: r.U64(), Arg: r.U64()}
	return t, r.Done() && t.Act < acts
}
