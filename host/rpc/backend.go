package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
)

// Backend is the node behind the server; host/node implements it for the write
// node and for the read node. Every method may be called from any number of
// goroutines at once, and returns promptly once ctx is done.
//
// Errors: one of this package's sentinels, wrapped with what was asked for; a
// [*stf.Refusal] where the module said no; the error of a done ctx. Any other is
// answered as InternalError without its text, and logged.
type Backend interface {
	// Info is what does not change while the node runs.
	Info() api.Info
	// Status is where the node stands now.
	Status() api.Status
	// Schema names the module's errors and describes its events.
	Schema() *stf.Schema
	// Health is what GET /readyz lists: caught up, oracle fresh, disk fine …
	Health() []api.Check

	// Submit puts transactions into the chain and returns once each has been
	// refused, or executed and made durable (invariant 2). Results are in the
	// order of raws, transactions are executed in that order, and other callers'
	// may come in between. The backend may keep raws; nobody writes to them.
	// There are 1 to MaxTxs of them, each of 1 to abi.MaxTxBytes bytes.
	Submit(ctx context.Context, raws [][]byte) []Submitted
	// Enqueue is Submit without the wait. It returns at once, and what one goroutine
	// enqueues is executed in the order of its calls, whatever is still waited for.
	Enqueue(raws [][]byte) Pending
	// Simulate executes a transaction after the block at ref (pending: after the
	// open block's transactions so far) on a scratch state, and keeps nothing. The
	// result names the block that the state is of.
	Simulate(ctx context.Context, raw []byte, at api.Ref) (chain.Receipt, chain.BlockID, error)

	// Resolve finds the block that ref names; the hash of the open block
	// (pending) is zero. Errors: ErrBlockNotFound, ErrTagUnavailable.
	Resolve(at api.Ref) (chain.BlockID, error)
	// Header, Block and Results are those of a sealed block at a height.
	// Errors: ErrBlockNotFound, as *PrunedError for one that is not kept any more.
	Header(height uint64) (chain.Header, error)
	Block(height uint64) (*chain.Block, *chain.Results, error)
	// Watch says how far the chain is; seen is Rollbacks of an earlier answer, or
	// 0. It is cheap, and costs the node nothing while nobody calls it.
	Watch(seen uint64) Watch
	// Oracle is the snapshot in force in the block at ref, the open one included.
	Oracle(at api.Ref) (chain.OracleSnapshot, chain.BlockID, error)
	// Transaction finds a transaction by id, in the open block too. Error:
	// ErrTxNotFound.
	Transaction(id chain.Hash) (Located, error)

	// Query runs the module's query export on the state after the block at ref
	// and returns the module's JSON. Errors also: ErrStateUnavailable.
	Query(ctx context.Context, at api.Ref, query []byte) (json []byte, block chain.BlockID, err error)
	// Prove proves a state key present or absent after the block at ref, which is
	// a sealed one. Errors also: ErrStateUnavailable, ErrTagUnavailable for pending.
	Prove(ctx context.Context, at api.Ref, key []byte) (Proof, error)
}

// Watch is how far the chain is, at one instant. Every block up to Head is
// durable, and on a read node its root was matched (K-19).
//
// A block that was read between two answers with the same Rollbacks is of the
// chain that both speak of.
type Watch struct {
	Head      chain.BlockID
	Base      uint64          // the first block kept, beside block 0
	Rollbacks uint64          // how often blocks were taken back since the node started
	Kept      uint64          // the highest block that no rollback after seen took back; Head.Number if there was none
	Moved     <-chan struct{} // closed when Head changes
}

// Submitted is what became of one submitted transaction. With Err nil the
// receipt is durable. Err is a *stf.Refusal, ErrBusy, ErrReadOnly, ErrStopping
// or the error of a done ctx; then Receipt.ID is set if it is known and nothing
// else means anything.
type Submitted struct {
	Receipt chain.Receipt
	Height  uint64
	Index   int
	Err     error
}

// Pending is transactions that were enqueued together.
type Pending interface {
	// Done reports whether Wait would return at once.
	Done() bool
	// Wait is the second half of [Backend.Submit]. One goroutine calls it, once.
	Wait(ctx context.Context) []Submitted
}

// Answered is the [Pending] of transactions that nobody has to wait for.
type Answered []Submitted

// Done implements [Pending].
func (Answered) Done() bool { return true }

// Wait implements [Pending].
func (a Answered) Wait(context.Context) []Submitted { return a }

// Located is a transaction in a block. Block.Hash is zero while the block is
// open.
type Located struct {
	Raw     []byte
	Receipt chain.Receipt
	Block   chain.BlockID
	Index   int
}

// Proof is a state key's value, or absence, and what proves it under the state
// root of Header.
type Proof struct {
	Value   []byte
	Present bool
	Proof   []byte // encoded as the state tree's format document says
	Header  chain.Header
}

// PrunedError is the [ErrBlockNotFound] of a block that is not kept any more.
type PrunedError struct {
	Height uint64
	Base   uint64 // the first block kept
}

func (e *PrunedError) Error() string {
	return fmt.Sprintf("block %d is not kept, the first is %d", e.Height, e.Base)
}

// Unwrap makes it an [ErrBlockNotFound].
func (e *PrunedError) Unwrap() error { return ErrBlockNotFound }

// Errors of a [Backend]. ERRORS.md has their numbers.
var (
	ErrBusy             = errors.New("the intake queue is full")
	ErrBlockNotFound    = errors.New("block not found")
	ErrTxNotFound       = errors.New("transaction not found")
	ErrStateUnavailable = errors.New("no state after that block")
	ErrTagUnavailable   = errors.New("this node does not serve that tag")
	ErrOverloaded       = errors.New("too many queries of this kind are being answered")
	ErrReadOnly         = errors.New("this node takes no transactions")
	ErrStopping         = errors.New("the node is shutting down")
)
