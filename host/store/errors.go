package store

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Sentinel errors. Those of opening name the directory; those of a call name the
// height or value that was refused.
var (
	// ErrLocked: another process has the directory open to write. The error text
	// names it.
	ErrLocked = errors.New("data directory is in use")
	// ErrNotInitialized: the directory has no chain in it.
	ErrNotInitialized = errors.New("data directory is not initialized")
	// ErrInitialized: the directory has a chain in it already.
	ErrInitialized = errors.New("data directory is initialized already")
	// ErrVersion: the directory has a format that this program does not read.
	ErrVersion = errors.New("data directory format is not supported")
	// ErrGenesis: a part of the directory belongs to another chain.
	ErrGenesis = errors.New("data directory belongs to another chain")
	// ErrReadOnly: the store was opened to read.
	ErrReadOnly = errors.New("store is open read-only")
	// ErrFailed: an earlier write failed, so nobody knows what is on the disk and
	// nothing more is written. Close the store, and open it again (invariant 5).
	ErrFailed = errors.New("store failed earlier")
	// ErrNotFound: no block, transaction or entry has that height, hash or key.
	ErrNotFound = errors.New("not found")
	// ErrPruned: the block is below [Store.Base].
	ErrPruned = errors.New("block was pruned")
	// ErrOrder: a block that does not follow the head.
	ErrOrder = errors.New("block does not follow the stored head")
	// ErrTooLarge: a value over its limit.
	ErrTooLarge = errors.New("too large to store")
	// ErrHasJournal: a rollback in a directory whose journal holds transactions
	// that were answered.
	ErrHasJournal = errors.New("directory has a journal of answered transactions")
	// ErrIndexIncomplete: the hash is not in the index, and the index lacks some
	// blocks. [Store.Maintain] builds what is missing.
	ErrIndexIncomplete = errors.New("transaction index is incomplete")
	// ErrEvidenceFull: the evidence directory holds [MaxEvidenceFiles].
	ErrEvidenceFull = errors.New("evidence directory is full")
)

// CorruptionError is stored bytes that differ from what was written.
type CorruptionError struct {
	File   string // relative to the data directory
	Offset int64  // bytes from the start of the file; -1 when no place can be named
	Height uint64 // of the block it concerns; NoHeight if none
	What   string
}

// NoHeight is the height of damage that concerns no single block.
const NoHeight = ^uint64(0)

func (e *CorruptionError) Error() string {
	at := ""
	if e.Height != NoHeight {
		at = fmt.Sprintf(" (block %d)", e.Height)
	}
	if e.Offset < 0 {
		return fmt.Sprintf("%s%s is damaged: %s", e.File, at, e.What)
	}
	return fmt.Sprintf("%s is damaged at byte %d%s: %s", e.File, e.Offset, at, e.What)
}

func corrupt(file string, offset int64, height uint64, format string, args ...any) *CorruptionError {
	return &CorruptionError{File: filepath.ToSlash(file), Offset: offset, Height: height, What: fmt.Sprintf(format, args...)}
}

// isCorrupt finds the damage in an error's chain.
func isCorrupt(err error) (*CorruptionError, bool) {
	var c *CorruptionError
	return c, errors.As(err, &c)
}
