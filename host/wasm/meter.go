package wasm

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// The meter is one i64 global that an instrumented module counts down: how much
// work may still be done, above how many calls may still nest.
//
//	63 ................. 12 | 11 ........ 0
//	budget left             | calls left      each in two's complement
//
// Either field going below zero sets its top bit, so that one subtraction covers
// both and the budget's test is a test of the sign. Calls below zero also borrow
// one unit of budget, which is the same everywhere.
const (
	callBits   = 12
	oneUnit    = int64(1) << callBits
	overBudget = int64(-1) << 63
	overCalls  = int64(1) << (callBits - 1)
)

// fullMeter is the meter before an export call.
func fullMeter(budget int64) uint64 { return uint64(budget*oneUnit + abi.MaxCallDepth) }

// spent is why a guest with this meter was stopped, or CodeTrap if the meter did
// not stop it.
func spent(meter uint64) abi.Code {
	switch m := int64(meter); {
	case m&overBudget != 0:
		return abi.CodeBudget
	case m&overCalls != 0:
		return abi.CodeDepth
	}
	return abi.CodeTrap
}

// Costs beside one unit per instruction (see weight).
const (
	growUnitsPerPage = 8 << 10 // memory.grow, for each page it adds
)

// smallLeaf is the most work, units, of a function without calls that does not
// look at the meter when it is entered: its caller will, soon enough.
const smallLeaf = 256

// frameBytes is how much of a function (code, and eight bytes per local) counts
// as one nested call. The compiler's stack holds 400 MB and its frames may need
// a slot per instruction; with this, abi.MaxCallDepth calls never reach a tenth
// of it, so the engine's own limit can decide nothing.
const frameBytes = 8 << 10

// callWeight is what entering a function takes from the calls left.
func callWeight(code, locals int) int64 {
	return 1 + int64(code+8*locals)/frameBytes
}
