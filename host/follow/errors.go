package follow

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Reasons of an [AbortError].
var (
	// ErrTipOrder: the source's tiers are not in order (S-02).
	ErrTipOrder = errors.New("source tips are out of order")
	// ErrSourceBehind: what is final here is not yet final at the source, so
	// following it could only take final blocks back.
	ErrSourceBehind = errors.New("source is behind what is final here")
	// ErrNoLocalHash: the walk back met a height without local hash, and with
	// SkipFinalized it might never find one that agrees (S-19).
	ErrNoLocalHash = errors.New("no local hash to compare with")
	// ErrMissingData: the source has no header at or below its own proposed tip
	// (S-40, S-42).
	ErrMissingData = errors.New("source lacks a block under its own tip")
	// ErrEmptyRange: the source served nothing of a range that it promised (S-35).
	ErrEmptyRange = errors.New("source served no blocks of a promised range")
	// ErrBadRange: a delivered range is too long, has gaps, or does not follow
	// what was delivered before (S-18).
	ErrBadRange = errors.New("source served blocks that do not connect")
	// ErrTipMoved: the source changed its chain while the pass was reading it
	// (S-36, S-37).
	ErrTipMoved = errors.New("source changed its chain during the pass")
	// ErrStopped: the owner asked the pass to end (S-22).
	ErrStopped = errors.New("stopped")
)

// AbortError ends a pass early without harm: no tier event was emitted, every
// event that was is true, and the next pass goes on from there.
type AbortError struct {
	Reason error // one of the reasons above
	Detail string
}

func (e *AbortError) Error() string {
	if e.Detail == "" {
		return "pass aborted: " + e.Reason.Error()
	}
	return "pass aborted: " + e.Reason.Error() + ": " + e.Detail
}

func (e *AbortError) Unwrap() error { return e.Reason }

func abort(reason error, format string, args ...any) error {
	return &AbortError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// GenesisError: the two chains have nothing in common, not even block 0 (S-15).
// Only an operator can resolve it.
type GenesisError struct{ Local, Source chain.Hash }

func (e *GenesisError) Error() string {
	return fmt.Sprintf("source is on another chain: its genesis is %s, ours %s", e.Source, e.Local)
}

// FinalizedForkError: the source contradicts a block that is final here (S-39).
// Blocks above it have been taken back, nothing was downloaded, and the node
// stays where it is until the source or the operator changes (C-18).
type FinalizedForkError struct {
	Local  chain.BlockID
	Source chain.Hash // what the source has at that height
}

func (e *FinalizedForkError) Error() string {
	return fmt.Sprintf("source contradicts the finalized block %d: it has %s, ours is %s", e.Local.Number, e.Source, e.Local.Hash)
}

// HandlerError is what the handler returned for an event. The event comes again
// with the next pass (S-22).
type HandlerError struct {
	Event Event
	Err   error
}

func (e *HandlerError) Error() string { return fmt.Sprintf("handling %s: %v", e.Event, e.Err) }

func (e *HandlerError) Unwrap() error { return e.Err }

// ReadError is a read that failed for reasons of its own: a connection, a disk.
type ReadError struct {
	Read string // which, such as "source tips"
	Err  error
}

func (e *ReadError) Error() string { return "reading " + e.Read + ": " + e.Err.Error() }

func (e *ReadError) Unwrap() error { return e.Err }

var (
	// ErrOptions is wrapped by [New] with the options that do not go together.
	ErrOptions = errors.New("follow options")
	// ErrNoCheckpointed: one side keeps no checkpointed tip, which needs
	// IgnoreCheckpoints (S-20).
	ErrNoCheckpointed = errors.New("no checkpointed tip, and checkpoints are not ignored")
)
