package snapshot

import (
	"errors"
	"fmt"
)

// What can be wrong with a snapshot. All of them come wrapped in a *[DamageError]
// that names the snapshot and the chunk.
var (
	// ErrNotSnapshot: the directory has no manifest, or it does not begin like one.
	ErrNotSnapshot = errors.New("not a snapshot")
	// ErrVersion: written in a format that this program does not read.
	ErrVersion = errors.New("snapshot format is not supported")
	// ErrTooLarge: the manifest, or a number in it, is over its limit.
	ErrTooLarge = errors.New("over the limit of the format")
	// ErrMalformed: the manifest's bytes, or a chunk's, are not an encoding.
	ErrMalformed = errors.New("malformed encoding")
	// ErrTrailing: there are bytes after the end.
	ErrTrailing = errors.New("bytes after the end")
	// ErrManifestHash: the manifest differs from its own hash.
	ErrManifestHash = errors.New("manifest does not match its hash")
	// ErrSums: the manifest's totals are not the sums of its chunks.
	ErrSums = errors.New("totals differ from the chunks'")
	// ErrOrder: keys, or chunks, are not in ascending path order: one is there
	// twice, or two were swapped.
	ErrOrder = errors.New("not in ascending path order")
	// ErrCut: chunks end where the format does not end them, so that one state
	// would have two identities.
	ErrCut = errors.New("chunk ends at another place than the format says")
	// ErrMissing: a chunk's file is not there.
	ErrMissing = errors.New("chunk is missing")
	// ErrUnexpectedFile: the directory holds a file that the manifest does not name.
	ErrUnexpectedFile = errors.New("file does not belong to the snapshot")
	// ErrFileSize: a chunk's file is not as long as the manifest says.
	ErrFileSize = errors.New("file has another size than the manifest says")
	// ErrTransferHash: a chunk's compressed bytes differ from the manifest's hash of
	// them.
	ErrTransferHash = errors.New("compressed bytes do not match their hash")
	// ErrBomb: a chunk decompresses to more than the manifest says.
	ErrBomb = errors.New("decompresses to more than the manifest says")
	// ErrShort: a chunk decompresses to less than the manifest says.
	ErrShort = errors.New("decompresses to less than the manifest says")
	// ErrCompression: a chunk is not zstd.
	ErrCompression = errors.New("does not decompress")
	// ErrChunkHash: a chunk's content differs from the manifest's hash of it.
	ErrChunkHash = errors.New("content does not match its hash")
	// ErrFirstPath: a chunk begins at another key than the manifest says.
	ErrFirstPath = errors.New("begins at another key than the manifest says")
	// ErrEntries: a chunk holds another number of keys than the manifest says.
	ErrEntries = errors.New("holds another number of keys than the manifest says")
	// ErrRoot: the keys do not have the state root of the block's header.
	ErrRoot = errors.New("state root differs from the block's")
	// ErrChain: the snapshot is of another chain.
	ErrChain = errors.New("snapshot is of another chain")
	// ErrBlock: the snapshot is of another block than the one that is trusted.
	ErrBlock = errors.New("snapshot is of another block")
	// ErrSignature: a signature, the block's or the manifest's, does not verify.
	ErrSignature = errors.New("signature does not verify")
	// ErrKind: an incremental snapshot, where a full one is needed.
	ErrKind = errors.New("snapshot is not a full one")
	// ErrBase: what an incremental snapshot continues is not there, is another, or
	// is wrong itself.
	ErrBase = errors.New("base of the incremental snapshot")
	// ErrUnsigned: a manifest without a signature, where one is demanded.
	ErrUnsigned = errors.New("manifest is not signed")
	// ErrName: the directory's name is not that of its content.
	ErrName = errors.New("name differs from the content's")
)

// ErrLocked is wrapped when another process, or another writer in this one,
// changes the directory of snapshots.
var ErrLocked = errors.New("snapshots are being changed by another")

// ErrNotFound is wrapped when a directory has no such snapshot, or there is nothing at a
// path.
var ErrNotFound = errors.New("no such snapshot")

// DamageError is a snapshot that is not what it claims to be, as opposed to one
// that could not be read.
type DamageError struct {
	Path  string // of the snapshot
	Chunk int    // -1: the manifest, or the whole
	Err   error
}

func (e *DamageError) Error() string {
	if e.Chunk < 0 {
		return fmt.Sprintf("snapshot %s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("snapshot %s: chunk %d: %v", e.Path, e.Chunk, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// refuse wraps one of the errors above with the values that differ.
func refuse(err error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", err, fmt.Sprintf(format, args...))
}
