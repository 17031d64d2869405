package snapshot

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// FormatVersion is the version of manifest and chunks; FORMAT.md lists them.
const FormatVersion uint16 = 1

// manifestMagic begins every manifest.
const manifestMagic = "KZSNAPSH"

// Limits.
const (
	// ChunkBytes bounds a chunk before compression, bytes. A chunk ends before the
	// entry that would not fit any more, and nowhere else.
	ChunkBytes = 1 << 20
	// MaxCompressedBytes bounds a chunk's file: what does not compress grows by the
	// framing of zstd.
	MaxCompressedBytes = ChunkBytes + 1<<10
	// MaxChunks bounds the chunks of one snapshot: 32 GiB, as much as a state holds.
	MaxChunks = 1 << 15
	// MaxManifestBytes bounds a manifest: it fits one sync frame of 4 MiB.
	MaxManifestBytes = manifestHead + MaxChunks*chunkRowBytes + manifestTail
)

const (
	manifestHead  = len(manifestMagic) + 2 + 1 + 32 + chain.HeaderBytes + 8 + 32 + 8 + 8 + 4
	chunkRowBytes = 32 + 4 + 4 + 4 + 32 + 32
	manifestTail  = 32 + ed25519.SignatureSize
)

// Tags of the hashes, so that no two kinds of bytes can share one.
const (
	identityTag = "kaizen/snapshot/1\n"
	manifestTag = "kaizen/snapshot-manifest/1\n"
)

// Kind is what a snapshot holds.
type Kind uint8

// The kinds.
const (
	Full        Kind = 1 // every key
	Incremental Kind = 2 // the keys that changed since another snapshot
)

// String is the kind as `kaizen snapshot list` shows it.
func (k Kind) String() string {
	switch k {
	case Full:
		return "full"
	case Incremental:
		return "incremental"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Base is the snapshot that an incremental one continues; zero in a full one.
type Base struct {
	Height   uint64
	Identity chain.Hash
}

// Chunk is one row of the manifest.
type Chunk struct {
	First      chain.Hash // path of the first key
	Entries    uint32
	Bytes      uint32     // before compression
	Compressed uint32     // size of the file, bytes
	Hash       chain.Hash // SHA-256 of the content before compression
	Transfer   chain.Hash // SHA-256 of the file
}

// Manifest describes a snapshot. Chain id, height, state root and module hash are
// in the block's header.
type Manifest struct {
	Kind        Kind
	GenesisHash chain.Hash // of the genesis document
	Header      chain.Header
	Base        Base
	Entries     uint64 // keys, the deleted ones of an incremental snapshot included
	Bytes       uint64 // of the canonical stream
	Chunks      []Chunk
	Signature   [ed25519.SignatureSize]byte // the sequencer's, over Hash; zero: none
}

func (m *Manifest) appendUnsigned(dst []byte) []byte {
	dst = append(dst, manifestMagic...)
	dst = abi.AppendU16(dst, FormatVersion)
	dst = append(dst, byte(m.Kind))
	dst = append(dst, m.GenesisHash[:]...)
	dst = m.Header.Append(dst)
	dst = abi.AppendU64(dst, m.Base.Height)
	dst = append(dst, m.Base.Identity[:]...)
	dst = abi.AppendU64(abi.AppendU64(dst, m.Entries), m.Bytes)
	dst = abi.AppendU32(dst, uint32(len(m.Chunks)))
	for i := range m.Chunks {
		c := &m.Chunks[i]
		dst = append(dst, c.First[:]...)
		dst = abi.AppendU32(abi.AppendU32(abi.AppendU32(dst, c.Entries), c.Bytes), c.Compressed)
		dst = append(append(dst, c.Hash[:]...), c.Transfer[:]...)
	}
	return dst
}

// Append appends the encoding of m.
func (m *Manifest) Append(dst []byte) []byte {
	start := len(dst)
	dst = m.appendUnsigned(dst)
	hash := tagged(manifestTag, dst[start:])
	dst = append(dst, hash[:]...)
	return append(dst, m.Signature[:]...)
}

// Hash is what the sequencer signs: over everything but the signature.
func (m *Manifest) Hash() chain.Hash { return tagged(manifestTag, m.appendUnsigned(nil)) }

func tagged(tag string, b []byte) chain.Hash {
	h := sha256.New()
	h.Write([]byte(tag))
	h.Write(b)
	return chain.Hash(h.Sum(nil))
}

// Identity names the snapshot: a hash over the block and the hashes of the
// canonical stream's chunks. It does not depend on compression, so one block of
// one chain has one identity (invariant 9).
func (m *Manifest) Identity() chain.Hash {
	id := m.Header.Hash()
	b := abi.AppendU16(nil, FormatVersion)
	b = append(b, byte(m.Kind))
	b = append(append(b, m.GenesisHash[:]...), id[:]...)
	b = append(abi.AppendU64(b, m.Base.Height), m.Base.Identity[:]...)
	b = abi.AppendU64(abi.AppendU64(b, m.Entries), m.Bytes)
	b = abi.AppendU32(b, uint32(len(m.Chunks)))
	for i := range m.Chunks {
		c := &m.Chunks[i]
		b = append(abi.AppendU32(abi.AppendU32(b, c.Entries), c.Bytes), c.Hash[:]...)
	}
	return tagged(identityTag, b)
}

// Name is the directory's name: height and the beginning of the identity.
func (m *Manifest) Name() string {
	id := m.Identity()
	return fmt.Sprintf("%d-%s", m.Header.Height, hex.EncodeToString(id[:nameBytes]))
}

// AsBase is the snapshot as the base of an incremental one.
func (m *Manifest) AsBase() Base { return Base{Height: m.Header.Height, Identity: m.Identity()} }

// nameBytes is how many bytes of the identity are in a name.
const nameBytes = 8

// CompressedBytes is the size of all chunk files.
func (m *Manifest) CompressedBytes() (n uint64) {
	for i := range m.Chunks {
		n += uint64(m.Chunks[i].Compressed)
	}
	return n
}

// Sign signs the manifest with the sequencer's key.
func (m *Manifest) Sign(key ed25519.PrivateKey) {
	hash := m.Hash()
	copy(m.Signature[:], ed25519.Sign(key, hash[:]))
}

// Signed reports whether there is a signature.
func (m *Manifest) Signed() bool { return m.Signature != [ed25519.SignatureSize]byte{} }

// CheckChain checks that the snapshot is of a block that this chain's sequencer
// signed, and the manifest's own signature if it has one. It does not say that
// the block is part of the chain: for that the caller compares the header with
// one it trusts ([Snapshot.CheckBlock]).
func (m *Manifest) CheckChain(g *chain.Genesis) error {
	h := &m.Header
	switch {
	case m.GenesisHash != g.Hash():
		return refuse(ErrChain, "genesis is %s, want %s", m.GenesisHash, g.Hash())
	case h.ChainID != g.ChainID:
		return refuse(ErrChain, "chain id is %d, want %d", h.ChainID, g.ChainID)
	case h.Sequencer != g.Sequencer:
		return refuse(ErrChain, "sequencer is %x, want %x", h.Sequencer, g.Sequencer)
	case h.ModuleHash != g.ModuleHash:
		return refuse(ErrChain, "module is %s, want %s", h.ModuleHash, g.ModuleHash)
	}
	return m.checkSignatures()
}

func (m *Manifest) checkSignatures() error {
	h := &m.Header
	if h.Height > 0 { // block 0 has none
		if err := h.VerifySignature(); err != nil {
			return refuse(ErrSignature, "%v", err)
		}
	}
	hash := m.Hash()
	if m.Signed() && !ed25519.Verify(h.Sequencer[:], hash[:], m.Signature[:]) {
		return refuse(ErrSignature, "manifest of block %d, hash %s", h.Height, hash)
	}
	return nil
}

// DecodeManifest reads exactly one manifest and checks everything that can be
// checked without the chunks.
func DecodeManifest(b []byte) (*Manifest, error) {
	if err := checkEnvelope(b); err != nil {
		return nil, err
	}
	m, err := readManifest(b)
	if err != nil {
		return nil, err
	}
	return m, m.check()
}

// checkEnvelope checks size, magic and version.
func checkEnvelope(b []byte) error {
	switch {
	case len(b) > MaxManifestBytes:
		return refuse(ErrTooLarge, "manifest of %d bytes, limit %d", len(b), MaxManifestBytes)
	case !bytes.HasPrefix(b, []byte(manifestMagic)) || len(b) < len(manifestMagic)+2:
		return refuse(ErrNotSnapshot, "manifest begins with %x, want %x", b[:min(len(b), len(manifestMagic))], manifestMagic)
	}
	if v := le.Uint16(b[len(manifestMagic):]); v != FormatVersion {
		return refuse(ErrVersion, "version %d, this program reads %d", v, FormatVersion)
	}
	return nil
}

// readManifest reads the fields and compares the manifest with its hash.
func readManifest(b []byte) (*Manifest, error) {
	r := abi.NewReader(b[len(manifestMagic)+2:])
	m := &Manifest{Kind: Kind(r.U8()), GenesisHash: r.Bytes32()}
	header := r.Take(chain.HeaderBytes)
	m.Base = Base{Height: r.U64(), Identity: r.Bytes32()}
	m.Entries, m.Bytes = r.U64(), r.U64()
	n := int(r.U32())
	if n > MaxChunks {
		return nil, refuse(ErrTooLarge, "%d chunks, limit %d", n, MaxChunks)
	}
	if !r.OK() || r.Len() < n*chunkRowBytes+manifestTail {
		return nil, refuse(ErrMalformed, "manifest of %d bytes ends early", len(b))
	}
	if extra := r.Len() - n*chunkRowBytes - manifestTail; extra > 0 {
		return nil, refuse(ErrTrailing, "%d bytes after the manifest", extra)
	}
	for range n {
		m.Chunks = append(m.Chunks, Chunk{First: r.Bytes32(), Entries: r.U32(), Bytes: r.U32(), Compressed: r.U32(), Hash: r.Bytes32(), Transfer: r.Bytes32()})
	}
	if want, got := chain.Hash(r.Bytes32()), tagged(manifestTag, b[:len(b)-manifestTail]); got != want {
		return nil, refuse(ErrManifestHash, "it hashes to %s and says %s", got, want)
	}
	copy(m.Signature[:], r.Take(ed25519.SignatureSize))
	var err error
	if m.Header, err = chain.DecodeHeader(header); err != nil {
		return nil, refuse(ErrMalformed, "%v", err)
	}
	return m, nil
}

// check checks the kind, every chunk's row, their order, and the sums.
func (m *Manifest) check() error {
	if err := m.checkKind(); err != nil {
		return err
	}
	var entries, size uint64
	for i := range m.Chunks {
		c := &m.Chunks[i]
		switch {
		case c.Bytes == 0 || c.Bytes > ChunkBytes || c.Compressed == 0 || c.Compressed > MaxCompressedBytes:
			return refuse(ErrTooLarge, "chunk %d of %d bytes, compressed %d, want 1 to %d and %d", i, c.Bytes, c.Compressed, ChunkBytes, MaxCompressedBytes)
		case c.Entries == 0 || uint64(c.Entries)*entryHeader > uint64(c.Bytes):
			return refuse(ErrMalformed, "chunk %d of %d bytes has %d keys", i, c.Bytes, c.Entries)
		case i > 0 && bytes.Compare(m.Chunks[i-1].First[:], c.First[:]) >= 0:
			return refuse(ErrOrder, "chunk %d begins at %s, the one before at %s", i, c.First, m.Chunks[i-1].First)
		case i < len(m.Chunks)-1 && c.Bytes <= ChunkBytes-maxEntryBytes:
			return refuse(ErrCut, "chunk %d ends after %d bytes, before the last", i, c.Bytes)
		}
		entries, size = entries+uint64(c.Entries), size+uint64(c.Bytes)
	}
	if entries != m.Entries || size != m.Bytes {
		return refuse(ErrSums, "%d keys in %d bytes, the chunks have %d in %d", m.Entries, m.Bytes, entries, size)
	}
	return nil
}

func (m *Manifest) checkKind() error {
	switch {
	case m.Kind == Full && m.Base == (Base{}):
		return nil
	case m.Kind == Incremental && m.Base.Identity != chain.Hash{} && m.Base.Height < m.Header.Height:
		return nil
	}
	return refuse(ErrMalformed, "%s snapshot of block %d over block %d, %s", m.Kind, m.Header.Height, m.Base.Height, m.Base.Identity)
}
