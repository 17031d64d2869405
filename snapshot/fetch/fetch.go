// Package fetch owns what a node does to get a snapshot from others that it does
// not believe: which one to take, what to ask of whom, what to make of the
// answers, and who is never asked again.
//
// It is pure: it must not import a clock, the network, a disk or a lock. What a
// manifest means is [Opener]'s to say; who dials, waits and writes is host/node's
// business.
//
//	Listed(s, offers) of every source ─▶ Choose ─▶ the manifests of a chain of snapshots
//	                                                 │ Accept, or Refuse: another one
//	Open(Current link, what of it is on the disk)
//	Next(s) ─▶ ask ─▶ Manifest | Chunk | Missing | Busy | Lost ─▶ … ─▶ Status().Complete
//	                                                 │ Refuse: another one
//	                                                 ▼
//	                                       the state root, compared with the header
//
// A source is believed nothing. What it says of a manifest is compared with the
// manifest, the manifest with its hash and with the chain, each chunk with the
// manifest, and in the end the state with the header that the sequencer signed. A
// source that is caught is dropped, with what it did; one that is slow, full or
// gone is not, and what it was asked for goes to the others.
//
// A Plan belongs to one goroutine at a time.
package fetch

import (
	"errors"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Limits.
const (
	// MaxOffers bounds the snapshots that one source offers.
	MaxOffers = 512
	// MaxLinks bounds the snapshots that are needed for one state: a full one and
	// the incremental ones on top of it; MaxLinksBytes bounds their manifests together.
	MaxLinks      = 256
	MaxLinksBytes = 8 << 20
	// MaxSources bounds the sources of one plan; what is in memory follows from it.
	MaxSources = 8
	// MaxManifestBytes bounds a manifest: it fits one sync frame.
	MaxManifestBytes = 4<<20 - 1<<10
	// MaxChunkBytes bounds the file of a chunk.
	MaxChunkBytes = 1<<20 + 4<<10
	// MaxChunks bounds the chunks of one snapshot.
	MaxChunks = 1 << 15
	// Window is how many requests one source has to answer at a time; one that was
	// too slow for that has one.
	Window = 2
	// maxContradictions is how often a source may offer what it then does not have:
	// snapshots go when newer ones are taken.
	maxContradictions = 3
)

// Source answers for the snapshots it has: a remote node, or the node's own
// directory. Errors are [ErrNotAvailable] and [ErrBusy], possibly wrapped, or mean
// that the source is out of reach.
type Source interface {
	// Snapshots lists at most MaxOffers, the newest first.
	Snapshots() ([]Offer, error)
	// Manifest returns the manifest with a hash, at most MaxManifestBytes.
	Manifest(hash chain.Hash) ([]byte, error)
	// Chunk returns the file of a chunk of the manifest with that hash, at most
	// MaxChunkBytes.
	Chunk(hash chain.Hash, index uint32) ([]byte, error)
}

var (
	// ErrNotAvailable: the source does not have that snapshot, or not any more.
	ErrNotAvailable = errors.New("snapshot is not available")
	// ErrBusy: the source has enough to do for others; ask again later.
	ErrBusy = errors.New("too many are being served; ask again later")
)

// Offer is what a source says of a snapshot. All of it is compared with the
// manifest.
type Offer struct {
	Hash          chain.Hash    // of the manifest without its signature; it names the very files
	Identity      chain.Hash    // of the content, however it is compressed
	Base          chain.Hash    // identity of the snapshot that it continues; zero: it is a full one
	Block         chain.BlockID // whose state it holds
	ManifestBytes uint32
	Chunks        uint32
	Bytes         uint64 // of all chunk files
	Signed        bool   // the sequencer signed the manifest
}

// Link is a manifest as far as it matters here. Several in a row, from a full
// snapshot up, make one state.
type Link struct {
	Offer    // what a source should have said
	Name     string
	Manifest []byte // the file
	Chunks   []Chunk
}

// Chunk is one file.
type Chunk struct {
	Bytes uint32     // size of the file
	Hash  chain.Hash // SHA-256 of it
}

// Opener reads a manifest and checks everything that needs no chunk: its hash,
// that the block is one of this chain, the signatures.
type Opener func(manifest []byte) (*Link, error)

// What a source can be dropped for; each comes wrapped in a *[LieError].
var (
	// ErrOffers: its list has too many snapshots, or one twice.
	ErrOffers = errors.New("list of snapshots is not one")
	// ErrManifest: what it sent is not the manifest that was asked for.
	ErrManifest = errors.New("manifest is not the one asked for")
	// ErrOffer: what it said of a snapshot is not what the manifest says.
	ErrOffer = errors.New("offer differs from the manifest")
	// ErrChain: the base of an incremental snapshot is not below it.
	ErrChain = errors.New("snapshots do not continue each other")
	// ErrChunkSize and ErrChunkHash: a chunk is not the one that the manifest names.
	ErrChunkSize = errors.New("chunk has another size than the manifest says")
	ErrChunkHash = errors.New("chunk does not match its hash in the manifest")
	// ErrContradiction: again and again it offers what it does not have.
	ErrContradiction = errors.New("offers a snapshot that it does not have")
)

// LieError is something that only a source that lies, or is broken, sends.
type LieError struct {
	Source string
	Err    error
}

func (e *LieError) Error() string { return "source " + e.Source + ": " + e.Err.Error() }
func (e *LieError) Unwrap() error { return e.Err }
