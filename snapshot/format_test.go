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

// goldenNext is what the block after did to the golden state: keys changed, gone and
// new, of all lengths.
func goldenNext(tree *state.Tree) []state.Change {
	o, n := state.NewOverlay(tree), 0
	tree.Ascend(chain.Hash{}, func(key, _ []byte) bool {
		switch n++; n % 9 {
		case 0:
			o.Delete(key)
		case 1:
			o.Set(key, bytes.Repeat(key, n%5))
		}
		return true
	})
	for i := range 30 {
		o.Set(fmt.Appendf(nil, "new %d", i), make([]byte, i*i))
	}
	return o.Changes()
}

// The identities of the golden snapshots, in every version that has format 1.
const (
	goldenIdentity     = "0x0c0716cde7ceac0b89d9f3ed284da96947f9a1b1669a31af055bb5378cebc9e5"
	goldenNextIdentity = "0x4c1b25f0e3bedeb03d92f57527539e03b23034bde03fff9b5d53918a861fac54"
)

// goldenDir holds what format version 1 wrote: a full snapshot, and one that
// continues it.
const goldenDir = "testdata/v1"

func writeGolden(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(goldenDir); err != nil {
		t.Fatal(err)
	}
	d, tree := &Dir{Path: goldenDir}, goldenTree()
	meta := metaOf(tree, 12345)
	meta.Key = testKey
	full := create(t, d, meta, ascend(tree))
	changes := goldenNext(tree)
	state.RestoreVersions(tree, 0, 0).Commit(1, changes, nil)
	next := metaOf(tree, 12346)
	next.Base = full.Manifest.AsBase() // not signed
	createFrom(t, d, next, changes)
	if err := os.Remove(filepath.Join(goldenDir, lockFile)); err != nil {
		t.Fatal(err)
	}
}

// golden opens one and checks that its manifest encodes to the bytes that it was
// read from.
func golden(t *testing.T, height uint64, identity string) *Snapshot {
	t.Helper()
	s, err := (&Dir{Path: goldenDir}).At(height)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Manifest.Identity().String(); got != identity {
		t.Errorf("golden identity is %s, want %s", got, identity)
	}
	if err := s.Verify(); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckChain(testGenesis); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(s.Path, ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.Manifest.Append(nil), b) {
		t.Error("manifest does not encode to the bytes it was read from")
	}
	return s
}

// TestGolden reads a snapshot that format version 1 wrote, and writes the same
// state again: the identity is the same, whatever zstd makes of it today.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	s, tree := golden(t, 12345, goldenIdentity), goldenTree()
	restored, header, err := s.Restore()
	if err != nil || header.Height != 12345 || restored.Root() != tree.Root() || !s.Manifest.Signed() {
		t.Fatalf("%v, root %s, want %s", err, restored.Root(), tree.Root())
	}
	again := create(t, memDir(), metaOf(tree, 12345), ascend(restored))
	if got := again.Manifest.Name(); got != filepath.Base(s.Path) {
		t.Errorf("written again it is %s, want %s", got, s.Path)
	}
}

// TestGoldenIncremental does the same with the one that continues it.
func TestGoldenIncremental(t *testing.T) {
	s, tree := golden(t, 12346, goldenNextIdentity), goldenTree()
	changes := goldenNext(tree)
	state.RestoreVersions(tree, 0, 0).Commit(1, changes, nil)
	restored, header, err := Restore(chainOf(t, s), Options{})
	if err != nil || header.Height != 12346 || restored.Root() != tree.Root() || restored.Len() != tree.Len() {
		t.Fatalf("%v, root %s, want %s", err, restored.Root(), tree.Root())
	}
	meta := metaOf(tree, 12346)
	meta.Base = s.Manifest.Base
	if got := createFrom(t, memDir(), meta, changes).Manifest.Name(); got != filepath.Base(s.Path) {
		t.Errorf("written again it is %s, want %s", got, s.Path)
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
	if c, _ := encode(noise, chain.Hash{}, 1); c.Compressed > MaxCompressedBytes {
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

// FuzzIncremental gives any bytes as the content of an incremental snapshot that
// is right in everything else: it is refused as damage, or its state root is the
// header's.
func FuzzIncremental(f *testing.F) {
	base := randomTree(8, 40, 20)
	d := memDir()
	full := create(f, d, metaOf(base, 7), ascend(base))
	entry := func(key string, value []byte, length uint32) []byte {
		return appendEntry(nil, []byte(key), value, length)
	}
	f.Add(entry("a", []byte("b"), 1), uint32(1))
	f.Add(entry("a", nil, deleted), uint32(1))
	f.Add(append(entry("b", nil, deleted), entry("a", nil, 0)...), uint32(2))
	f.Add(entry("", nil, deleted-1), uint32(1))
	meta := metaOf(base, 8)
	f.Fuzz(func(t *testing.T, content []byte, entries uint32) {
		if len(content) == 0 || len(content) > ChunkBytes {
			return
		}
		first := chain.Hash{}
		if e, _, err := readEntry(content, Incremental); err == nil {
			first = state.PathOf(e.Key())
		}
		row, file := encode(content, first, entries)
		m := &Manifest{Kind: Incremental, GenesisHash: meta.GenesisHash, Header: meta.Header, Base: full.Manifest.AsBase(), Entries: uint64(entries), Bytes: uint64(len(content)), Chunks: []Chunk{row}}
		if _, err := DecodeManifest(m.Append(nil)); err != nil {
			return // the manifest's own checks: FuzzManifest
		}
		in := receive(t, d, m.Append(nil))
		if err := in.Put(0, file); err != nil {
			t.Fatal(err)
		}
		s, err := in.Commit()
		if err != nil {
			t.Fatal(err)
		}
		var bad *DamageError
		tree, _, err := Restore([]*Snapshot{full, s}, Options{})
		if err != nil && !errors.As(err, &bad) || err == nil && tree.Root() != m.Header.StateRoot {
			t.Fatalf("restored with %v", err)
		}
		if err := d.Remove(m.Name()); err != nil {
			t.Fatal(err)
		}
	})
}
