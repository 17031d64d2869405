package snapshot

import (
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
)

// encoder and decoder are shared: neither keeps anything between two calls. The
// decoder never takes more memory than a chunk may have, whatever a frame claims.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false), zstd.WithWindowSize(ChunkBytes))
		invariant.Hold(err == nil, "zstd encoder: %v", err)
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(ChunkBytes), zstd.WithDecoderMaxWindow(ChunkBytes), zstd.WithDecodeAllCapLimit(true))
		invariant.Hold(err == nil, "zstd decoder: %v", err)
		return d
	})
)

// packedBytes is the room that most chunks take when they are compressed.
const packedBytes = ChunkBytes * 3 / 4

// describe notes what the content of a chunk is.
func (c *Chunk) describe(content []byte, hash chain.Hash) {
	invariant.Hold(len(content) <= ChunkBytes, "chunk of %d bytes, limit %d", len(content), ChunkBytes)
	c.Bytes, c.Hash = uint32(len(content)), hash
}

// pack compresses the content of a chunk, in the memory of dst.
func pack(dst, content []byte) (file []byte) {
	file = encoder().EncodeAll(content, dst[:0])
	invariant.Hold(len(file) <= MaxCompressedBytes, "chunk of %d bytes became %d, limit %d", len(content), len(file), MaxCompressedBytes)
	return file
}

// seal notes what a chunk's file is.
func (c *Chunk) seal(file []byte, hash chain.Hash) {
	c.Compressed, c.Transfer = uint32(len(file)), hash
}

// CheckTransfer compares a chunk's file with its row: what a receiver can tell
// before it keeps the bytes.
func (c *Chunk) CheckTransfer(file []byte) error {
	if len(file) != int(c.Compressed) {
		return refuse(ErrFileSize, "%d bytes, want %d", len(file), c.Compressed)
	}
	if got := chain.Hash(sha256.Sum256(file)); got != c.Transfer {
		return refuse(ErrTransferHash, "%s, want %s", got, c.Transfer)
	}
	return nil
}

// decode returns the content of a chunk's file that passed CheckTransfer, in dst,
// which has room for ChunkBytes.
func (c *Chunk) decode(dst, file []byte) ([]byte, error) {
	content, err := decoder().DecodeAll(file, dst[:0:c.Bytes])
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, refuse(ErrBomb, "more than %d bytes: %v", c.Bytes, err)
	case err != nil:
		return nil, refuse(ErrCompression, "%v", err)
	case len(content) < int(c.Bytes):
		return nil, refuse(ErrShort, "%d bytes, want %d", len(content), c.Bytes)
	}
	if got := chain.Hash(sha256.Sum256(content)); got != c.Hash {
		return nil, refuse(ErrChunkHash, "%s, want %s", got, c.Hash)
	}
	return content, nil
}
