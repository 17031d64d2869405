package snapshot

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
)

var update = flag.Bool("update", false, "write the golden snapshot of this version anew")

// goldenTree has keys of every length and some values up to the largest: two
// chunks.
func goldenTree() *state.Tree {
	o := state.NewOverlay(nil)
	for i := range 2000 {
		key := bytes.Repeat([]byte{byte(i)}, i%state.MaxKeyBytes)
		value := bytes.Repeat(fmt.Appendf(nil, "%d,", i), i%97)
		if i%100 == 0 {
			value = make([]byte, state.MaxValueBytes-i)
		}
		o.Set(append(key, byte(i>>8)), value)
	}
	v := state.NewVersions(0)
	v.Commit(0, o.Changes(), nil)
	return v.Tree()
}

// goldenIdentity is the identity of the golden state, in every version that has
// format 1.
const goldenIdentity = "0x0c0716cde7ceac0b89d9f3ed284da96947f9a1b1669a31af055bb5378cebc9e5"

// TestGolden reads a snapshot that format version 1 wrote, and writes the same
// state again: the identity is the same, whatever zstd makes of it today.
func TestGolden(t *testing.T) {
	tree := goldenTree()
	meta := metaOf(tree, 12345)
	meta.Key = testKey
	if *update {
		if err := os.RemoveAll("testdata/v1"); err != nil {
			t.Fatal(err)
		}
		create(t, &Dir{Path: "testdata/v1"}, meta, ascend(tree))
		if err := os.Remove("testdata/v1/" + lockFile); err != nil {
			t.Fatal(err)
		}
	}
	list, err := (&Dir{Path: "testdata/v1"}).List()
	if err != nil || len(list) != 1 || list[0].Err != nil {
		t.Fatalf("%+v, %v", list, err)
	}
	golden := list[0].Snapshot
	if got := golden.Manifest.Identity().String(); got != goldenIdentity {
		t.Errorf("golden identity is %s, want %s", got, goldenIdentity)
	}
	if err := golden.Verify(); err != nil {
		t.Fatal(err)
	}
	if err := golden.CheckChain(testGenesis); err != nil {
		t.Fatal(err)
	}
	restored, header, err := golden.Restore()
	if err != nil || header.Height != 12345 || restored.Root() != tree.Root() {
		t.Fatalf("%v, root %s, want %s", err, restored.Root(), tree.Root())
	}
	again := create(t, memDir(), meta, ascend(restored))
	if got := again.Manifest.Name(); got != filepath.Base(golden.Path) {
		t.Errorf("written again it is %s, want %s", got, golden.Path)
	}
	b, err := os.ReadFile(filepath.Join(golden.Path, ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden.Manifest.Append(nil), b) {
		t.Error("manifest does not encode to the bytes it was read from")
	}
}

// TestLimits: the numbers in FORMAT.md.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"manifest head", manifestHead, 417}, {"row", chunkRowBytes, 108}, {"tail", manifestTail, 96},
		{"manifest", MaxManifestBytes, 3_539_457}, {"chunk file", MaxCompressedBytes, 1_049_600},
		{"entry", maxEntryBytes, 5 + 128 + 65536},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d bytes, the document says %d", c.name, c.got, c.want)
		}
	}
	noise := make([]byte, ChunkBytes)
	for i, x := 0, uint64(1); i < len(noise); i++ {
		x = x*6364136223846793005 + 1442695040888963407
		noise[i] = byte(x >> 56)
	}
	if c, _ := encode(nil, noise, chain.Hash{}, 1); c.Compressed > MaxCompressedBytes {
		t.Errorf("noise of %d bytes compresses to %d, limit %d", len(noise), c.Compressed, MaxCompressedBytes)
	}
}

// FuzzManifest: what decodes encodes to the same bytes, and what is refused is
// refused with one of the errors of the format.
func FuzzManifest(f *testing.F) {
	tree := randomTree(1, 3000, 400)
	meta := metaOf(tree, 7)
	for _, key := range []bool{false, true} {
		if key {
			meta.Key = testKey
		}
		s := create(f, memDir(), meta, ascend(tree))
		f.Add(s.Manifest.Append(nil))
	}
	empty := state.NewTree()
	f.Add(create(f, memDir(), metaOf(empty, 1), ascend(empty)).Manifest.Append(nil))
	f.Add([]byte(manifestMagic + "\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, rehashed(b)} {
			m, err := DecodeManifest(b)
			if err != nil {
				if m != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrOrder) && !errors.Is(err, ErrCut) && !errors.Is(err, ErrSums) {
					t.Fatalf("refused with %v", err)
				}
				continue
			}
			if got := m.Append(nil); !bytes.Equal(got, b) {
				t.Fatalf("%x encodes to %x", b, got)
			}
		}
	})
}

// rehashed brings the manifest's hash in line, so that fuzzing gets past it.
func rehashed(b []byte) []byte {
	if len(b) < manifestTail {
		return b
	}
	c := bytes.Clone(b)
	hash := tagged(manifestTag, c[:len(c)-manifestTail])
	copy(c[len(c)-manifestTail:], hash[:])
	return c
}

// FuzzChunk feeds bytes as a chunk's file and as its content: nothing is larger
// than the row says, and what is accepted is in order.
func FuzzChunk(f *testing.F) {
	tree := randomTree(1, 50, 40)
	s := create(f, memDir(), metaOf(tree, 7), ascend(tree))
	file, err := s.ChunkBytes(0, nil)
	if err != nil {
		f.Fatal(err)
	}
	content, err := s.Manifest.Chunks[0].decode(make([]byte, 0, ChunkBytes), file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file, uint32(len(content)), uint32(50))
	f.Add(content, uint32(len(content)), uint32(50))
	f.Add([]byte{0, 0, 0, 0, 0}, uint32(5), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, size, entries uint32) {
		row := Chunk{Bytes: min(size, ChunkBytes), Entries: entries}
		if out, err := row.decode(make([]byte, 0, ChunkBytes), b); err == nil && len(out) != int(row.Bytes) {
			t.Fatalf("decoded %d bytes, the row says %d", len(out), row.Bytes)
		}
		for _, kind := range []Kind{Full, Incremental} {
			for rest := b; len(rest) > 0; {
				e, after, err := readEntry(rest, kind)
				if err != nil {
					break
				}
				if e.Deleted && kind == Full || len(e.Key()) > state.MaxKeyBytes || len(e.Value()) > state.MaxValueBytes {
					t.Fatalf("accepted a key of %d bytes, a value of %d, deleted %t", len(e.Key()), len(e.Value()), e.Deleted)
				}
				rest = after
			}
		}
	})
}
