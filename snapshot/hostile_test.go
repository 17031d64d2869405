package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/state"
)

// forgery is a snapshot that a test changes before it is put on the disk. What
// the manifest says is brought in line with the files only where the attack would
// do so.
type forgery struct {
	m     *Manifest
	files map[string][]byte
	raw   []byte // instead of the manifest's encoding
}

// forge starts from an honest snapshot with several chunks.
func forge(t *testing.T) *forgery {
	t.Helper()
	s := honest()
	m := *s.Manifest
	m.Chunks = slices.Clone(m.Chunks)
	f := &forgery{m: &m, files: map[string][]byte{}}
	for i := range m.Chunks {
		b, err := s.ChunkBytes(i, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.files[ChunkFile(i)] = b
	}
	return f
}

// honest has three chunks. Nobody changes it.
var honest = sync.OnceValue(func() *Snapshot {
	tree := randomTree(3, 20_000, 150)
	d := memDir()
	if err := write(d, metaOf(tree, 7), ascend(tree)); err != nil {
		panic(err)
	}
	s, err := d.At(7)
	if err != nil || len(s.Manifest.Chunks) != 3 {
		panic(fmt.Sprint("want three chunks: ", err))
	}
	return s
})

// content returns a chunk before compression.
func (f *forgery) content(i int) []byte {
	b, err := f.m.Chunks[i].decode(make([]byte, 0, ChunkBytes), f.files[ChunkFile(i)])
	if err != nil {
		panic(err)
	}
	return b
}

// put replaces a chunk and describes it truly, but for what the caller changes.
func (f *forgery) put(i int, content []byte, entries uint32, first chain.Hash) {
	f.m.Chunks[i], f.files[ChunkFile(i)] = encode(content, first, entries)
	f.sum()
}

// file replaces a chunk's compressed bytes, with the sizes and hashes of those.
func (f *forgery) file(i int, b []byte) {
	f.files[ChunkFile(i)] = b
	f.m.Chunks[i].Compressed, f.m.Chunks[i].Transfer = uint32(len(b)), sha256.Sum256(b)
}

// sum brings the totals in line with the rows.
func (f *forgery) sum() {
	f.m.Entries, f.m.Bytes = 0, 0
	for _, c := range f.m.Chunks {
		f.m.Entries, f.m.Bytes = f.m.Entries+uint64(c.Entries), f.m.Bytes+uint64(c.Bytes)
	}
}

// store puts it on a disk under the name it should have.
func (f *forgery) store(t *testing.T) (*faultfs.FS, string) {
	t.Helper()
	disk := faultfs.New()
	path := filepath.Join("/data", f.m.Name())
	if err := disk.MkdirAll(path); err != nil {
		t.Fatal(err)
	}
	if f.raw == nil {
		f.raw = f.m.Append(nil)
	}
	f.files[ManifestFile] = f.raw
	for name, b := range f.files {
		file, err := disk.Create(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	return disk, path
}

// entryOf is one entry and its path.
func entryOf(key string, value int) ([]byte, chain.Hash) {
	return appendEntry(nil, []byte(key), make([]byte, value), uint32(value)), state.PathOf([]byte(key))
}

// split divides a chunk's content after n entries.
func split(content []byte, n int) (head, tail []byte) {
	rest := content
	for range n {
		_, after, err := readEntry(rest, Full)
		if err != nil {
			panic(err)
		}
		rest = after
	}
	return content[:len(content)-len(rest)], rest
}

var hostile = []struct {
	name string
	do   func(f *forgery)
	want error
}{
	{"no manifest", func(f *forgery) { f.raw = []byte{} }, ErrNotSnapshot},
	{"another file's magic", func(f *forgery) { f.raw = append([]byte("KZBLOCKS"), f.m.Append(nil)[8:]...) }, ErrNotSnapshot},
	{"a newer version", func(f *forgery) { f.raw = f.m.Append(nil); f.raw[8] = 2 }, ErrVersion},
	{"manifest too large", func(f *forgery) { f.raw = append(f.m.Append(nil), make([]byte, MaxManifestBytes)...) }, ErrTooLarge},
	{"manifest cut off", func(f *forgery) { f.raw = f.m.Append(nil); f.raw = f.raw[:len(f.raw)-1] }, ErrMalformed},
	{"manifest cut off in its head", func(f *forgery) { f.raw = f.m.Append(nil)[:100] }, ErrMalformed},
	{"manifest with a tail", func(f *forgery) { f.raw = append(f.m.Append(nil), 0) }, ErrTrailing},
	{"count of chunks that are not there", func(f *forgery) { f.raw = f.m.Append(nil); f.raw[manifestHead-3] = 0x7F }, ErrMalformed},
	{"count of chunks over the limit", func(f *forgery) { f.raw = f.m.Append(nil); f.raw[manifestHead-1] = 0xFF }, ErrTooLarge},
	{"flipped bit in the manifest", func(f *forgery) { f.raw = f.m.Append(nil); f.raw[40] ^= 1 }, ErrManifestHash},
	{"wrong totals", func(f *forgery) { f.m.Entries++ }, ErrSums},
	{"header of another version", func(f *forgery) { f.m.Header.Version = 2 }, ErrMalformed},
	{"unknown kind", func(f *forgery) { f.m.Kind = 3 }, ErrMalformed},
	{"full with a base", func(f *forgery) { f.m.Base.Height = 1 }, ErrMalformed},
	{"incremental over a later block", func(f *forgery) { f.m.Kind, f.m.Base = Incremental, Base{7, chain.Hash{1}} }, ErrMalformed},
	{"chunk of no bytes", func(f *forgery) { f.m.Chunks[1].Bytes = 0; f.sum() }, ErrTooLarge},
	{"chunk of gigabytes", func(f *forgery) { f.m.Chunks[1].Bytes = 1 << 31; f.sum() }, ErrTooLarge},
	{"file of gigabytes", func(f *forgery) { f.m.Chunks[1].Compressed = 1 << 31 }, ErrTooLarge},
	{"more keys than bytes", func(f *forgery) { f.m.Chunks[1].Entries = f.m.Chunks[1].Bytes; f.sum() }, ErrMalformed},
	{"rows swapped", func(f *forgery) { f.m.Chunks[0], f.m.Chunks[1] = f.m.Chunks[1], f.m.Chunks[0] }, ErrOrder},
	{"row twice", func(f *forgery) { f.m.Chunks = slices.Insert(f.m.Chunks, 1, f.m.Chunks[0]); f.sum() }, ErrOrder},
	{"short chunk before the last", func(f *forgery) { f.m.Chunks[1].Bytes = 1000; f.m.Chunks[1].Entries = 1; f.sum() }, ErrCut},

	{"file missing", func(f *forgery) { delete(f.files, ChunkFile(1)) }, ErrMissing},
	{"file too many", func(f *forgery) { f.files[ChunkFile(len(f.m.Chunks))] = f.files[ChunkFile(0)] }, ErrUnexpectedFile},
	{"file of another kind", func(f *forgery) { f.files["00001.zst.orig"] = nil }, ErrUnexpectedFile},
	{"files swapped", func(f *forgery) {
		f.files[ChunkFile(0)], f.files[ChunkFile(1)] = f.files[ChunkFile(1)], f.files[ChunkFile(0)]
	}, ErrFileSize},
	{"files swapped, of equal size", func(f *forgery) {
		f.files[ChunkFile(0)] = append(slices.Clone(f.files[ChunkFile(1)]), make([]byte, 1<<20)...)[:f.m.Chunks[0].Compressed]
	}, ErrTransferHash},
	{"file longer than said", func(f *forgery) { f.files[ChunkFile(1)] = append(f.files[ChunkFile(1)], 0) }, ErrFileSize},
	{"flipped bit in a file", func(f *forgery) { f.files[ChunkFile(2)][77] ^= 1 }, ErrTransferHash},
	{"not zstd", func(f *forgery) { f.file(1, bytes.Repeat([]byte{7}, 100)) }, ErrCompression},
	{"zstd with a tail", func(f *forgery) { f.file(1, append(f.files[ChunkFile(1)], 1, 2, 3)) }, ErrCompression},
	{"bomb", func(f *forgery) { f.file(1, encoder().EncodeAll(make([]byte, 64<<20), nil)) }, ErrBomb},
	{"bomb without a size", func(f *forgery) { f.file(1, streamed(make([]byte, 64<<20))) }, ErrBomb},
	{"bomb of two frames", func(f *forgery) { f.file(1, bytes.Repeat(encoder().EncodeAll(make([]byte, ChunkBytes), nil), 2)) }, ErrBomb},
	{"window of 8 MiB", func(f *forgery) { f.file(1, streamed(f.content(1))) }, ErrBomb},
	{"lying size", func(f *forgery) { f.m.Chunks[1].Bytes--; f.sum() }, ErrBomb},
	{"lying size, larger", func(f *forgery) { f.m.Chunks[1].Bytes++; f.sum() }, ErrShort},
	{"content of another hash", func(f *forgery) { f.m.Chunks[1].Hash[0] ^= 1 }, ErrChunkHash},
	{"lying count, larger", func(f *forgery) { f.m.Chunks[1].Entries++; f.sum() }, ErrEntries},
	{"lying count, smaller", func(f *forgery) { f.m.Chunks[1].Entries--; f.sum() }, ErrTrailing},
	{"lying first path", func(f *forgery) { f.m.Chunks[1].First[31] ^= 1 }, ErrFirstPath},
	{"entry that runs over the end", func(f *forgery) {
		c := f.m.Chunks[2]
		b := f.content(2)
		f.put(2, b[:len(b)-1], c.Entries, c.First)
	}, ErrMalformed},
	{"entry with a huge length", func(f *forgery) {
		c := f.m.Chunks[2]
		b := f.content(2)
		b[4] = 0xFF
		f.put(2, b, c.Entries, c.First)
	}, ErrMalformed},
	{"deleted key in a full one", func(f *forgery) {
		b := append([]byte{1}, 0xFF, 0xFF, 0xFF, 0xFF, 'x')
		f.m.Chunks = f.m.Chunks[:1]
		f.files = map[string][]byte{}
		f.put(0, b, 1, state.PathOf([]byte("x")))
	}, ErrMalformed},
	{"two keys swapped", func(f *forgery) {
		c := f.m.Chunks[1]
		head, rest := split(f.content(1), 1)
		a, rest := split(rest, 1)
		b, rest := split(rest, 1)
		f.put(1, slices.Concat(head, b, a, rest), c.Entries, c.First)
	}, ErrOrder},
	{"key twice", func(f *forgery) {
		c := f.m.Chunks[2]
		head, rest := split(f.content(2), 1)
		f.put(2, slices.Concat(head, head, rest), c.Entries+1, c.First)
	}, ErrOrder},
	{"last key of the chunk before again", func(f *forgery) {
		_, last := split(f.content(0), int(f.m.Chunks[0].Entries)-1)
		c := f.m.Chunks[1]
		head, rest := split(f.content(1), 1)
		rest, _ = split(rest, int(c.Entries)-6)
		f.put(1, slices.Concat(head, last, rest), c.Entries-4, c.First)
	}, ErrOrder},
	{"cut one key early", func(f *forgery) {
		c := f.m.Chunks[0]
		head, last := split(f.content(0), int(c.Entries)-1)
		rest, _ := split(f.content(1), 10)
		f.m.Chunks = f.m.Chunks[:2]
		delete(f.files, ChunkFile(2))
		f.put(0, head, c.Entries-1, c.First)
		f.put(1, slices.Concat(last, rest), 11, state.PathOf(last[entryHeader:entryHeader+int(last[0])]))
	}, ErrCut},
	{"value changed", func(f *forgery) {
		c := f.m.Chunks[1]
		b := f.content(1)
		b[len(b)-1] ^= 1
		f.put(1, b, c.Entries, c.First)
	}, ErrRoot},
	{"key left out", func(f *forgery) {
		c := f.m.Chunks[2]
		head, _ := split(f.content(2), int(c.Entries)-1)
		f.put(2, head, c.Entries-1, c.First)
	}, ErrRoot},
	{"state of another block", func(f *forgery) { f.m.Header.StateRoot[0] ^= 1 }, ErrRoot},
	{"empty", func(f *forgery) { f.m.Chunks, f.files = nil, map[string][]byte{}; f.sum() }, ErrRoot},
	{"incremental", func(f *forgery) { f.m.Kind, f.m.Base = Incremental, Base{6, chain.Hash{1}} }, ErrKind},
}

// streamed is a zstd frame that does not say how long its content is.
func streamed(b []byte) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(8<<20))
	if err != nil {
		panic(err)
	}
	for part := range slices.Chunk(b, 1000) {
		if _, err := w.Write(part); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// TestHostile changes an honest snapshot in every way somebody could think of.
// Each is refused with its own error, within the memory that the format allows,
// both where it is restored and where it is only verified.
func TestHostile(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			f := forge(t)
			c.do(f)
			disk, path := f.store(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := check(disk, path)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			for _, other := range hostile {
				if other.want != c.want && errors.Is(err, other.want) {
					t.Errorf("%v is %v too", err, other.want)
				}
			}
			var d *DamageError
			if !errors.As(err, &d) || d.Path != path {
				t.Errorf("%v does not name %s", err, path)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
				t.Errorf("took %d bytes of memory", n)
			}
		})
	}
}

// check restores a snapshot, and verifies it where Restore does not look.
func check(disk *faultfs.FS, path string) error {
	s, err := Open(disk, path)
	if err != nil {
		return err
	}
	if _, _, err = s.Restore(); err == nil {
		return s.Verify()
	}
	if s.Manifest.Kind == Full {
		if again := s.Verify(); again == nil {
			return fmt.Errorf("restore said %w, verify nothing", err)
		}
	}
	return err
}

// TestWrongChain: a snapshot that is right in itself, of another chain.
func TestWrongChain(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(m *Manifest)
		want error
	}{
		"genesis":              {func(m *Manifest) { m.GenesisHash[0] ^= 1 }, ErrChain},
		"chain id":             {func(m *Manifest) { m.Header.ChainID++ }, ErrChain},
		"sequencer":            {func(m *Manifest) { m.Header.Sequencer[0] ^= 1 }, ErrChain},
		"module":               {func(m *Manifest) { m.Header.ModuleHash[0] ^= 1 }, ErrChain},
		"height":               {func(m *Manifest) { m.Header.Height++ }, ErrSignature},
		"block signature":      {func(m *Manifest) { m.Header.Signature[0] ^= 1 }, ErrSignature},
		"manifest signature":   {func(m *Manifest) { m.Sign(testKey); m.Signature[5] ^= 1 }, ErrSignature},
		"signed, then changed": {func(m *Manifest) { m.Sign(testKey); m.Chunks[0].Compressed++ }, ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			f := forge(t)
			c.do(f.m)
			s := &Snapshot{Manifest: f.m, Path: "x"}
			if err := s.CheckChain(testGenesis); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
	s := honest()
	if err := s.CheckChain(testGenesis); err != nil {
		t.Fatal(err)
	}
	trusted := s.Manifest.Header
	if err := s.CheckBlock(trusted.ID()); err != nil {
		t.Fatal(err)
	}
	trusted.Time++
	if err := s.CheckBlock(trusted.ID()); !errors.Is(err, ErrBlock) {
		t.Fatalf("another block of the height: %v", err)
	}
}

// TestRenamed: a snapshot under the name of another.
func TestRenamed(t *testing.T) {
	d := memDir()
	tree := randomTree(1, 100, 10)
	s := create(t, d, metaOf(tree, 7), ascend(tree))
	if err := d.FS.Rename(s.Path, filepath.Join(d.Path, "8-0011223344556677")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.At(8); !errors.Is(err, ErrName) {
		t.Fatalf("%v, want %v", err, ErrName)
	}
	moved, err := Open(d.FS, filepath.Join(d.Path, "8-0011223344556677", ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := moved.Verify(); !errors.Is(err, ErrName) {
		t.Fatalf("%v, want %v", err, ErrName)
	}
}

// TestIncremental reads one, which nothing here writes yet: the format has a place
// for the keys that are gone.
func TestIncremental(t *testing.T) {
	f := forge(t)
	gone := append([]byte{1}, 0xFF, 0xFF, 0xFF, 0xFF, 'a')
	kept, path := entryOf("b", 3)
	first := state.PathOf([]byte("a"))
	parts := [][]byte{gone, kept}
	if bytes.Compare(first[:], path[:]) > 0 {
		parts, first = [][]byte{kept, gone}, path
	}
	f.m.Kind, f.m.Base, f.m.Chunks = Incremental, Base{3, chain.Hash{1}}, f.m.Chunks[:1]
	f.files = map[string][]byte{}
	f.put(0, slices.Concat(parts...), 2, first)
	s, err := Open(f.store(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for e, err := range s.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		got[string(e.Key())] = e.Deleted
	}
	if len(got) != 2 || !got["a"] || got["b"] {
		t.Fatalf("deleted: %v", got)
	}
}
