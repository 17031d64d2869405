package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
	"github.com/kaizenchain/kaizen/host/state"
)

// TestRoundTrip writes random states and builds them again.
func TestRoundTrip(t *testing.T) {
	for _, c := range []struct{ keys, value int }{{0, 0}, {1, 10}, {2, 0}, {500, 40}, {30_000, 120}, {200, state.MaxValueBytes}} {
		t.Run(fmt.Sprint(c.keys, "x", c.value), func(t *testing.T) {
			tree := randomTree(uint64(c.keys), c.keys, c.value)
			meta := metaOf(tree, 7)
			s := create(t, memDir(), meta, ascend(tree))
			if err := s.Verify(); err != nil {
				t.Fatal(err)
			}
			got, header, err := s.Restore()
			if err != nil {
				t.Fatal(err)
			}
			if *header != meta.Header || got.Root() != tree.Root() || got.Len() != c.keys {
				t.Fatalf("restored block %d, root %s, %d keys", header.Height, got.Root(), got.Len())
			}
			tree.Ascend(chain.Hash{}, func(key, value []byte) bool {
				v, ok := got.Get(key)
				if !ok || !bytes.Equal(v, value) {
					t.Fatalf("key %x is %x, %t, want %x", key, v, ok, value)
				}
				return true
			})
		})
	}
}

// TestIdentity does not depend on how the files are made (invariant 9).
func TestIdentity(t *testing.T) {
	tree := randomTree(3, 20_000, 150)
	one := create(t, memDir(), metaOf(tree, 7), ascend(tree))
	meta := metaOf(tree, 7)
	meta.Jobs, meta.Key = 4, testKey
	two := create(t, memDir(), meta, ascend(tree))
	if one.Manifest.Identity() != two.Manifest.Identity() {
		t.Fatal("the number of jobs or the signature changes the identity")
	}
	if one.Manifest.Signed() || !two.Manifest.Signed() {
		t.Fatal("signed where no key was given, or not where one was")
	}
	if err := two.Manifest.CheckChain(testGenesis); err != nil {
		t.Fatal(err)
	}
	other := create(t, memDir(), metaOf(tree, 8), ascend(tree))
	if one.Manifest.Identity() == other.Manifest.Identity() {
		t.Fatal("another block has the same identity")
	}
}

// TestWriterRests: compressing rests after each chunk, hashing once it comes to that,
// and nothing else depends on it.
func TestWriterRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := randomTree(3, 20_000, 150)
		meta := metaOf(tree, 7)
		want := create(t, memDir(), meta, ascend(tree)).Manifest
		var rests atomic.Int64
		meta.Rest = func(time.Duration) {
			rests.Add(1)
			time.Sleep(time.Second) // of the test's clock
		}
		w, err := memDir().Create(meta)
		if err != nil {
			t.Fatal(err)
		}
		tree.AscendPaths(chain.Hash{}, func(path *chain.Hash, key, value []byte) bool {
			err = w.Add(path, key, value)
			return err == nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got, handed := rests.Load(), len(w.handed); int(got) != handed || handed == 0 || handed >= hashedTogether {
			t.Errorf("%d rests, %d chunks were compressed", got, handed)
		}
		got, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(want.Chunks); int(rests.Load()) <= n {
			t.Errorf("%d rests after %d chunks were compressed and hashed", rests.Load(), n)
		}
		if got.Manifest.Identity() != want.Identity() {
			t.Errorf("identity %s, without rests %s", got.Manifest.Identity(), want.Identity())
		}
	})
}

// TestSignedStays: an unsigned snapshot does not take the place of a signed one with
// the same content, unless that is damaged.
func TestSignedStays(t *testing.T) {
	tree := randomTree(3, 100, 50)
	d := memDir()
	signed := metaOf(tree, 7)
	signed.Key = testKey
	first := create(t, d, signed, ascend(tree))
	if again := create(t, d, metaOf(tree, 7), ascend(tree)); again.Path != first.Path || !again.Manifest.Signed() {
		t.Errorf("%s, signed %t", again.Path, again.Manifest.Signed())
	}
	damage(t, d, first.Manifest.Name(), ChunkFile(0))
	again := create(t, d, metaOf(tree, 7), ascend(tree))
	if again.Manifest.Signed() {
		t.Error("the damaged one is still there")
	}
	if err := again.Verify(); err != nil {
		t.Error(err)
	}
	if n := len(remains(t, d)); n > 0 {
		t.Errorf("%d remains", n)
	}
}

// TestOrderOverChunks: a chunk that begins below the end of the one before is
// refused, although each is in order.
func TestOrderOverChunks(t *testing.T) {
	var keys [][]byte
	zeros().Ascend(chain.Hash{}, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	perChunk := ChunkBytes / entrySize(keys[0], make([]byte, state.MaxValueBytes))
	w, err := memDir().Create(metaOf(state.NewTree(), 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys[:perChunk] {
		if err := add(w, key, make([]byte, state.MaxValueBytes)); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(w, keys[0], make([]byte, state.MaxValueBytes)); !errors.Is(err, ErrOrder) {
		t.Errorf("%v, want %v", err, ErrOrder)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}

// TestPathOfAnother: a chunk never begins under a path that is not its key's.
func TestPathOfAnother(t *testing.T) {
	w, err := memDir().Create(metaOf(state.NewTree(), 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("it was accepted")
		}
		if err := w.Abort(); err != nil {
			t.Fatal(err)
		}
	}()
	path := state.PathOf([]byte("a"))
	_ = w.Add(&path, []byte("b"), nil)
}

func TestWriterRefuses(t *testing.T) {
	tree := randomTree(3, 3, 3)
	for name, c := range map[string]struct {
		keys [][2]int // lengths of key and value
		want error
	}{
		"key twice":   {[][2]int{{1, 1}, {1, 1}}, ErrOrder},
		"large key":   {[][2]int{{state.MaxKeyBytes + 1, 1}}, ErrTooLarge},
		"large value": {[][2]int{{1, state.MaxValueBytes + 1}}, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			d := memDir()
			w, err := d.Create(metaOf(tree, 1))
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range c.keys {
				err = errors.Join(err, add(w, make([]byte, k[0]), make([]byte, k[1])))
			}
			if err == nil {
				_, err = w.Commit()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if err := w.Abort(); err != nil {
				t.Fatal(err)
			}
			if list, err := d.List(); err != nil || len(list) > 0 {
				t.Errorf("%d snapshots after Abort, %v", len(list), err)
			}
		})
	}
}

// TestReaderRecycles: memory does not grow with the snapshot.
func TestReaderRecycles(t *testing.T) {
	tree := randomTree(9, 60_000, 400)
	d := &Dir{Path: t.TempDir()}
	s := create(t, d, metaOf(tree, 7), ascend(tree))
	if len(s.Manifest.Chunks) < 8 {
		t.Fatalf("%d chunks: too few to tell", len(s.Manifest.Chunks))
	}
	spent := func(do func() error) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := do(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	spent(s.Verify) // the decoder's own tables
	if n := spent(s.Verify); n > 12<<20 {
		t.Errorf("checking %d bytes took %d bytes of memory", s.Manifest.Bytes, n)
	}
}

// TestEntriesStops: a consumer may leave at any point.
func TestEntriesStops(t *testing.T) {
	tree := randomTree(9, 30_000, 100)
	s := create(t, memDir(), metaOf(tree, 7), ascend(tree))
	for _, n := range []int{1, batchEntries, batchEntries + 1, 20_000} {
		seen := 0
		for _, err := range s.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen == n {
				break
			}
		}
	}
}

func TestDir(t *testing.T) {
	d := memDir()
	if list, err := d.List(); err != nil || len(list) > 0 {
		t.Fatalf("a directory that is not there has %d snapshots, %v", len(list), err)
	}
	tree := randomTree(1, 100, 50)
	var names []string
	for _, height := range []uint64{9, 100, 20, 3} {
		names = append(names, create(t, d, metaOf(tree, height), ascend(tree)).Manifest.Name())
	}
	heights := func() (h []uint64) {
		list, err := d.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			h = append(h, i.Height)
		}
		return h
	}
	if got := heights(); !slices.Equal(got, []uint64{100, 20, 9, 3}) {
		t.Fatalf("listed %d", got)
	}
	if s, err := d.At(20); err != nil || s.Manifest.Header.Height != 20 {
		t.Fatalf("at 20: %v", err)
	}
	if _, err := d.At(21); !errors.Is(err, ErrNotFound) {
		t.Fatalf("at 21: %v", err)
	}
	// Again, with the same content: it replaces the first.
	create(t, d, metaOf(tree, 20), ascend(tree))
	if removed, err := d.RemoveAbove(20); err != nil || !slices.Equal(removed, []string{names[1]}) {
		t.Fatalf("removed %q, %v", removed, err)
	}
	damage(t, d, names[2], ManifestFile)
	if removed, err := d.Prune(1); err != nil || !slices.Equal(removed, []string{names[3]}) {
		t.Fatalf("pruned %q, %v; the damaged 20 does not count, 9 stays", removed, err)
	}
	if got := heights(); !slices.Equal(got, []uint64{20, 9}) {
		t.Fatalf("left are %d", got)
	}
	if err := d.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove("../elsewhere"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("removed a directory that is no snapshot: %v", err)
	}
	var skipped []string
	if err := d.Newest(100, func(*Snapshot) bool { return true }, func(i Info) { skipped = append(skipped, i.Name) }); err != nil || len(skipped) != 1 {
		t.Fatalf("skipped %q, %v", skipped, err)
	}
}

// damage flips the last bit of a file.
func damage(t *testing.T, d *Dir, name, file string) {
	t.Helper()
	f, err := d.FS.OpenWrite(filepath.Join(d.Path, name, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	at := size - 100 // in the hash of a manifest
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestLocked(t *testing.T) {
	d := memDir()
	tree := randomTree(1, 10, 10)
	w, err := d.Create(metaOf(tree, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create(metaOf(tree, 2)); !errors.Is(err, ErrLocked) {
		t.Errorf("two at once: %v", err)
	}
	if _, err := d.Prune(1); !errors.Is(err, ErrLocked) {
		t.Errorf("prune: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("the second Abort: %v", err)
	}
	create(t, d, metaOf(tree, 2), ascend(tree))
}

// TestCrash breaks every single change to the file system in every way: what can
// be opened afterwards is whole, and writing again works.
func TestCrash(t *testing.T) {
	small, large := randomTree(1, 200, 50), zeros()
	script := func(d *Dir) error {
		for height, tree := range []*state.Tree{small, large, small} {
			if err := write(d, metaOf(tree, uint64(height+1)), ascend(tree)); err != nil {
				return err
			}
			if _, err := d.Prune(2); err != nil {
				return err
			}
		}
		return nil
	}
	disk := faultfs.New()
	if err := script(&Dir{Path: "/data/snapshots", FS: disk}); err != nil {
		t.Fatal(err)
	}
	ops := disk.Ops()
	if ops < 40 {
		t.Fatalf("%d changes: too few for three snapshots", ops)
	}
	for op := 1; op <= ops; op++ {
		for _, fault := range []faultfs.Fault{faultfs.Fail, faultfs.FailPersisted, faultfs.Crash, faultfs.CrashShort} {
			for seed, loss := range []faultfs.Loss{faultfs.LoseAll, faultfs.KeepAll, faultfs.Torn(uint64(op))} {
				disk := faultfs.New()
				d := &Dir{Path: "/data/snapshots", FS: disk}
				disk.FailAt(op, fault)
				err := script(d)
				disk.PowerLoss(loss)
				if whole := checkWhole(t, d); t.Failed() || err == nil && whole != 2 {
					t.Fatalf("change %d, %s, %s, loss %d: %d whole snapshots, script said %v\n%s", op, fault, loss, seed, whole, err, strings.Join(disk.Trace(), "\n"))
				}
				create(t, d, metaOf(small, 9), ascend(small))
				if n := len(remains(t, d)); n > 0 {
					t.Fatalf("change %d, %s, %s: %d remains after the next snapshot", op, fault, loss, n)
				}
			}
		}
	}
}

// write is create with the error returned.
func write(d *Dir, meta Meta, keys func(func(k, v []byte) bool)) error {
	w, err := d.Create(meta)
	if err != nil {
		return err
	}
	if err := addAll(w, keys); err != nil {
		return errors.Join(err, w.Abort())
	}
	_, err = w.Commit()
	return err
}

// checkWhole verifies every snapshot that can be opened, and returns how many.
func checkWhole(t *testing.T, d *Dir) (n int) {
	t.Helper()
	list, err := d.List()
	if err != nil {
		t.Error(err)
	}
	for _, i := range list {
		if i.Err != nil {
			if !errors.Is(i.Err, ErrNotSnapshot) { // being removed
				t.Error(i.Err)
			}
			continue
		}
		if err := i.Snapshot.Verify(); err != nil {
			t.Error(err)
		}
		n++
	}
	return n
}

func remains(t *testing.T, d *Dir) (names []string) {
	t.Helper()
	all, err := d.FS.ReadDir(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if strings.HasSuffix(name, tmpSuffix) {
			names = append(names, name)
		}
	}
	return names
}

// randomTree has keys of all lengths and values up to a size.
func randomTree(seed uint64, keys, value int) *state.Tree {
	rng := rand.New(rand.NewPCG(seed, 5))
	o := state.NewOverlay(nil)
	for i := range keys {
		key := fmt.Appendf(nil, "%d/", i)
		for range rng.IntN(20) {
			key = append(key, byte(rng.Uint32()))
		}
		v := make([]byte, value-rng.IntN(value/4+1))
		for i := range v {
			v[i] = byte(rng.Uint32N(60))
		}
		o.Set(key, v)
	}
	v := state.NewVersions(0)
	v.Commit(0, o.Changes(), nil)
	return v.Tree()
}
