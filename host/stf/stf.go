// Package stf is what a state transition is: the module contract as Go
// interfaces ([Program], [Machine], [Inspector]), what one export call may do
// ([Session]), and the one way to execute a block ([Open]).
//
// The write node, the read node, replay, verify and the tests all run blocks
// through [Open]; host/wasm and host/native are the two kinds of machine below
// it. It imports host/state and host/chain; it must not import an adapter, a
// clock or anything that can block.
//
//	Begin(machine, state, block context) ─▶ Open
//	    Submit / Apply (transaction) …      one receipt each
//	    Close                          ─▶ Closed: results and changes
//
// A Program may be shared. A Machine, an Inspector, a Session and an Open belong
// to one goroutine.
package stf

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// View is a state that can be read. A value stays valid until the state is
// written.
type View interface {
	Get(key []byte) (value []byte, ok bool)
}

// State is a view that can be written and taken back to a mark.
type State interface {
	View
	Set(key, value []byte)
	Delete(key []byte)
	Mark() int
	Revert(mark int)
}

// Outcome is what one export call came to. A Code other than zero is the
// module's own error or one of the host's.
type Outcome struct {
	Code     abi.Code
	Detail   string     // for people, at most abi.MaxDetailBytes
	Accepted bool       // execute only: accept was called
	ID       chain.Hash // execute only: what accept was given
	Events   [][]byte
	Output   []byte // schema, inspect, query: valid until the next call
}

// Program is a loaded module. Its methods may be called from any goroutine.
type Program interface {
	Hash() chain.Hash
	Schema() *Schema
	NewMachine() (Machine, error)
	NewInspector() (Inspector, error)
	// Query runs the module's query export on a view that nobody writes
	// meanwhile, from the first memory image.
	Query(view View, ctx abi.Context, query []byte) (Outcome, error)
	// Simulate runs Execute on a scratch state from the first memory image.
	Simulate(st State, ctx abi.Context, tx *Tx) (Outcome, error)
	Close() error
}

// Machine executes blocks. Its memory is put back to the first image before
// Genesis and BeginBlock, and after any trap; between two of those, what
// Execute leaves in memory stays, so every node must run the same calls in
// between. Admit has its own memory and never influences the others.
//
// An error is fatal to the machine's owner. Traps are not errors: they are an
// Outcome with one of the host's codes.
type Machine interface {
	Genesis(st State, document []byte) (Outcome, error)
	BeginBlock(st State, ctx abi.Context, oracle []byte) (Outcome, error)
	Admit(view View, ctx abi.Context, tx *Tx) (Outcome, error)
	Execute(st State, ctx abi.Context, tx *Tx) (Outcome, error)
	EndBlock(st State, ctx abi.Context) (Outcome, error)
	// Refresh makes ready what the next BeginBlock needs, so that it takes less time.
	// Nothing depends on it. One goroutine may call it while another executes; not
	// beside Close.
	Refresh() error
	Close() error
}

// Inspector runs a module's pure export and recovers signers: the work that
// needs no state, done ahead of execution on all cores.
type Inspector interface {
	// Inspect fills each transaction from its Raw; many at once cost less than
	// one by one. A transaction that the module calls malformed gets its Refusal.
	// After an error nothing may be read of any of them.
	Inspect(txs ...*Tx) error
	Close() error
}

// Crypto is the arithmetic that modules leave to the host.
type Crypto interface {
	Keccak256(b []byte) chain.Hash
	// Recover returns the address that signed digest; false if sig is not a
	// valid, low-s signature with v in {0, 1, 27, 28}.
	Recover(digest *[32]byte, sig *[65]byte) (chain.Address, bool)
	// RecoverAll sets Address and OK of each signer to what Recover says of its
	// Digest and Sig.
	RecoverAll(signers []*Signer)
}

// Tx is a transaction on its way: the bytes, and what is known about them
// without state. Everything but Raw is a cache of pure functions of Raw, so a Tx
// that was never inspected executes to the same result, only slower.
type Tx struct {
	Raw     []byte
	Leaf    chain.Hash // chain.LeafHash(Raw)
	ID      chain.Hash // as the module's inspect export says
	Refusal *Refusal   // why it can be in no block, or nil
	Signers []Signer   // recovered, or as [Trust] says
	Hashes  []Keccak
}

// Signer is a recovered signature; OK is false if it is not a valid one. One that is
// Noted was not recovered: it is of the first signature that the module asks for and
// that no other Signer of the transaction is of, whose digest and bytes it then gets.
type Signer struct {
	abi.Signature
	Address chain.Address
	OK      bool
	Noted   bool
}

// Keccak is one hash that inspect asked for and execute will ask for again.
type Keccak struct {
	Input []byte
	Sum   chain.Hash
}

// Refusal is why a transaction can be in no block: it is malformed, cannot be
// attributed, or has been executed before. It changes nothing and goes back to
// its sender.
type Refusal struct {
	Code   abi.Code
	Name   string
	Detail string
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Name
	}
	return r.Name + ": " + r.Detail
}

// HookError reports that a block hook failed or trapped: fatal to the writer, an
// invalid block to everybody else.
type HookError struct {
	Export string
	Height uint64
	Code   abi.Code
	Name   string
	Detail string
}

func (e *HookError) Error() string {
	return fmt.Sprintf("%s of block %d failed: %s (code %d) %s", e.Export, e.Height, e.Name, e.Code, e.Detail)
}

// ErrRefusedInBlock is wrapped when a block contains a transaction that the
// module refuses: such a block is invalid.
var ErrRefusedInBlock = errors.New("block contains a transaction that must not be in one")
