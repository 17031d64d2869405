package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
)

// evolving is a state that changes from one snapshot to the next.
type evolving struct {
	versions *state.Versions
	rng      *rand.Rand
	height   uint64
	dir      *Dir
	last     *Snapshot
}

func newEvolving(t testing.TB, seed uint64, keys, value int) *evolving {
	e := &evolving{versions: state.RestoreVersions(randomTree(seed, keys, value), 0, 0), rng: rand.New(rand.NewPCG(seed, 9)), dir: memDir()}
	e.height = 10
	e.last = create(t, e.dir, metaOf(e.tree(), e.height), ascend(e.tree()))
	return e
}

func (e *evolving) tree() *state.Tree { return e.versions.Tree() }

// advance changes, adds and removes keys, and takes an incremental snapshot of
// what came of it.
func (e *evolving) advance(t testing.TB, changes int) *Snapshot {
	t.Helper()
	o := state.NewOverlay(e.tree())
	var keys [][]byte
	e.tree().Ascend(chain.Hash{}, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	for i := range changes {
		key := keys[e.rng.IntN(len(keys))]
		switch i % 3 {
		case 0:
			o.Set(key, fmt.Appendf(nil, "changed at %d", e.height))
		case 1:
			o.Set(fmt.Appendf(key, "+%d", e.height), make([]byte, e.rng.IntN(300)))
		case 2:
			o.Delete(key)
		}
	}
	list := o.Changes()
	height, _ := e.versions.Height()
	e.versions.Commit(height+1, list, nil)
	e.height += 10
	meta := metaOf(e.tree(), e.height)
	meta.Base = e.last.Manifest.AsBase()
	e.last = createFrom(t, e.dir, meta, list)
	return e.last
}

// createFrom writes an incremental snapshot of changes.
func createFrom(t testing.TB, d *Dir, meta Meta, changes []state.Change) *Snapshot {
	t.Helper()
	w, err := d.Create(meta)
	if err != nil {
		t.Fatal(err)
	}
	for i := range changes {
		c := &changes[i]
		if c.Delete {
			err = w.Delete(&c.Path, c.Key)
		} else {
			err = w.Add(&c.Path, c.Key, c.Value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func chainOf(t testing.TB, s *Snapshot) []*Snapshot {
	t.Helper()
	links, err := s.Chain()
	if err != nil {
		t.Fatal(err)
	}
	return links
}

// TestChain: what a chain restores is the state that it was taken of, to the bit
// (Restore compares the root after every link), and every link of it can be had.
func TestChain(t *testing.T) {
	e := newEvolving(t, 3, 9000, 200)
	full := e.last
	var roots []chain.Hash
	for _, n := range []int{1, 300, 0, 6000} {
		e.advance(t, n)
		roots = append(roots, e.tree().Root())
	}
	links := chainOf(t, e.last)
	if len(links) != 5 || links[0].Path != full.Path || links[4].Path != e.last.Path {
		t.Fatalf("the chain has %d links", len(links))
	}
	for i, s := range links[1:] {
		if s.Manifest.Kind != Incremental {
			t.Errorf("link %d is %s", i+1, s.Manifest.Kind)
		}
		tree, header, err := Restore(chainOf(t, s), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if tree.Root() != roots[i] || header.Height != s.Manifest.Header.Height {
			t.Errorf("block %d restores to %s, want %s", header.Height, tree.Root(), roots[i])
		}
	}
	if one, two := len(links[1].Manifest.Chunks), links[2].Manifest.Entries; one != 1 || two > 300 {
		t.Errorf("one changed key took %d chunks, 300 changes %d entries", one, two)
	}
	if err := VerifyChain(links, Options{}); err != nil {
		t.Fatal(err)
	}
	if again, err := e.dir.Find(e.last.Manifest.Identity()); err != nil || again.Path != e.last.Path {
		t.Errorf("found %v, %v", again, err)
	}
	if _, err := e.dir.Find(chain.Hash{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an identity that nothing has: %v", err)
	}
}

// TestBrokenChain: each way in which a chain can be wrong is an error of its own,
// which names the link.
func TestBrokenChain(t *testing.T) {
	e := newEvolving(t, 4, 500, 50)
	for range 3 {
		e.advance(t, 100)
	}
	links := chainOf(t, e.last)
	named := func(err, want error, at *Snapshot) {
		t.Helper()
		var bad *DamageError
		if !errors.Is(err, want) || !errors.As(err, &bad) || bad.Path != at.Path {
			t.Errorf("%v, want %v at %s", err, want, at.Path)
		}
	}
	restore := func(links ...*Snapshot) error {
		_, _, err := Restore(links, Options{})
		return err
	}
	named(restore(links[1:]...), ErrKind, links[1])
	named(restore(links[0], links[2]), ErrBase, links[2])
	named(restore(links[0], links[2], links[1]), ErrBase, links[2])
	named(restore(links[0], links[0]), ErrBase, links[0])
	other := randomTree(9, 20, 20)
	twin := create(t, memDir(), metaOf(other, links[0].Manifest.Header.Height), ascend(other)) // of the same height
	named(restore(twin, links[1]), ErrBase, links[1])
	if err := restore(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("no link: %v", err)
	}
	if err := restore(make([]*Snapshot, MaxLinks+1)...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many links: %v", err)
	}

	// Keys that are right in themselves, of another state: a key more, a value that
	// is not the block's.
	lie := metaOf(e.tree(), e.height+10)
	lie.Base = e.last.Manifest.AsBase()
	wrong := createFrom(t, e.dir, lie, []state.Change{{Key: []byte("more"), Path: state.PathOf([]byte("more")), Value: []byte("x")}})
	named(restore(chainOf(t, wrong)...), ErrRoot, wrong)

	// What stands on a wrong link is wrong, and says whose fault it is.
	after := metaOf(e.tree(), e.height+20)
	after.Base = wrong.Manifest.AsBase()
	top := createFrom(t, e.dir, after, nil)
	verdicts := map[string]error{}
	if err := e.dir.VerifyAll(Options{}, func(i Info, err error) {
		if _, twice := verdicts[i.Path]; twice {
			t.Errorf("%s is reported twice", i.Path)
		}
		verdicts[i.Path] = err
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range links {
		if verdicts[s.Path] != nil {
			t.Errorf("%s: %v", s.Path, verdicts[s.Path])
		}
	}
	named(verdicts[wrong.Path], ErrRoot, wrong)
	named(verdicts[top.Path], ErrBase, top)

	// A link that is gone, and one that is damaged, are named by whoever needs them.
	if err := e.dir.Remove(filepath.Base(links[1].Path)); err != nil {
		t.Fatal(err)
	}
	_, err := links[3].Chain()
	named(err, ErrBase, links[2])
	damage(t, e.dir, filepath.Base(links[2].Path), ManifestFile)
	_, err = links[3].Chain()
	named(err, ErrBase, links[3])
}

// TestDeleteRefused: a full snapshot has no deleted keys.
func TestDeleteRefused(t *testing.T) {
	w, err := memDir().Create(metaOf(state.NewTree(), 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(&chain.Hash{}, []byte("a")); !errors.Is(err, ErrKind) {
		t.Errorf("%v, want %v", err, ErrKind)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
}

// TestPruneKeepsChains: what a snapshot that is kept stands on is kept with it.
func TestPruneKeepsChains(t *testing.T) {
	e := newEvolving(t, 5, 200, 20)
	heights := func() (h []uint64) {
		list, err := e.dir.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			h = append(h, i.Height)
		}
		return h
	}
	e.advance(t, 10) // 20, over 10
	e.advance(t, 10) // 30, over 20
	e.height += 10
	e.last = create(t, e.dir, metaOf(e.tree(), e.height), ascend(e.tree())) // 40, full
	e.advance(t, 10)                                                        // 50, over 40
	for _, c := range []struct {
		keep int
		also uint64
		left []uint64
	}{{4, 0, []uint64{50, 40, 30, 20, 10}}, {3, 0, []uint64{50, 40, 30, 20, 10}}, {2, 20, []uint64{50, 40, 20, 10}}, {2, 0, []uint64{50, 40}}, {1, 0, []uint64{50, 40}}} {
		if _, err := e.dir.PruneExcept(c.keep, func(height uint64) bool { return height == c.also }); err != nil {
			t.Fatal(err)
		}
		if got := heights(); !slices.Equal(got, c.left) {
			t.Errorf("keep %d leaves %d, want %d", c.keep, got, c.left)
		}
	}
	if err := VerifyChain(chainOf(t, e.last), Options{}); err != nil {
		t.Error(err)
	}
}

// maxBeside is what restoring may hold beside the state that it builds, bytes:
// FORMAT.md says about 11 MiB.
const maxBeside = 16 << 20

// TestRestoreMemory: what is alive while a chain is restored is the state and
// little more, however large the snapshots are.
func TestRestoreMemory(t *testing.T) {
	e := newEvolving(t, 6, 60_000, 400)
	e.advance(t, 60_000)
	links := chainOf(t, e.last)
	if len(links[0].Manifest.Chunks) < 8 || len(links[1].Manifest.Chunks) < 4 {
		t.Fatalf("%d and %d chunks: too few to tell", len(links[0].Manifest.Chunks), len(links[1].Manifest.Chunks))
	}
	alive := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	if err := links[0].Verify(); err != nil { // the decoder's own tables
		t.Fatal(err)
	}
	before, most := alive(), uint64(0)
	tree, _, err := Restore(links, Options{Progress: func(uint64, uint64) { most = max(most, alive()) }})
	if err != nil {
		t.Fatal(err)
	}
	after := alive()
	t.Logf("before %d, at most %d, after %d bytes", before, most, after)
	if beside := int64(most) - int64(after); beside > maxBeside {
		t.Errorf("%d bytes were alive beside a state of %d", beside, after-before)
	}
	runtime.KeepAlive(tree)
	runtime.KeepAlive(e)
}
