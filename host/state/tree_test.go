package state

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state/proof"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestLimitsAreTheContracts(t *testing.T) {
	if MaxKeyBytes != abi.MaxKeyBytes || MaxValueBytes != abi.MaxValueBytes {
		t.Fatal("limits of the state and of the module contract differ")
	}
}

// history makes random batches over few keys, so that every kind of change
// meets every other.
type history struct {
	rng  *rand.Rand
	keys int
	now  naive
}

func newHistory(seed uint64, keys int) *history {
	return &history{rng: rand.New(rand.NewPCG(seed, uint64(keys))), keys: keys, now: naive{}}
}

func (h *history) key() string { return fmt.Sprint("key", h.rng.IntN(h.keys)) }

func (h *history) value() string {
	n := h.rng.IntN(100)
	switch h.rng.IntN(50) {
	case 0:
		n = 0
	case 1:
		n = h.rng.IntN(3000)
	}
	return strings.Repeat(string([]byte{byte(h.rng.IntN(256))}), n)
}

// block writes a random block to o and to the model.
func (h *history) block(o *Overlay, writes int) {
	deletes := h.rng.IntN(10)
	for range writes {
		k := h.key()
		if h.rng.IntN(10) < deletes {
			o.Delete([]byte(k))
			delete(h.now, k)
			continue
		}
		v := h.value()
		o.Set([]byte(k), []byte(v))
		h.now[k] = v
	}
}

func clone(n naive) naive {
	c := naive{}
	for k, v := range n {
		c[k] = v
	}
	return c
}

// shuffled runs jobs in a random order.
func shuffled(rng *rand.Rand) Runner {
	return func(jobs []func()) {
		for _, i := range rng.Perm(len(jobs)) {
			jobs[i]()
		}
	}
}

// same compares everything a tree can be asked with the model.
func same(t *testing.T, tree *Tree, want naive) {
	t.Helper()
	if got := tree.Root(); got != want.root() {
		t.Fatalf("root of %d keys is %s, want %s", len(want), got, want.root())
	}
	if tree.Len() != len(want) {
		t.Fatalf("%d keys, want %d", tree.Len(), len(want))
	}
	seen := 0
	last := chain.Hash{}
	tree.Ascend(chain.Hash{}, func(key, value []byte) bool {
		if v, ok := want[string(key)]; !ok || v != string(value) {
			t.Fatalf("key %q is %.20q, want %.20q, %t", key, value, v, ok)
		}
		path := PathOf(key)
		if seen++; bytes.Compare(last[:], path[:]) >= 0 {
			t.Fatalf("key %q is out of order", key)
		}
		last = path
		return true
	})
	if seen != len(want) {
		t.Fatalf("%d keys visited, want %d", seen, len(want))
	}
}

func sameGets(t *testing.T, v View, want naive, keys int) {
	t.Helper()
	for i := range keys {
		k := fmt.Sprint("key", i)
		got, ok := v.Get([]byte(k))
		if value, present := want[k]; ok != present || string(got) != value {
			t.Fatalf("key %q is %.20q, %t, want %.20q, %t", k, got, ok, value, present)
		}
	}
}

// checkArena looks for inner nodes that are neither in the tree nor free, and for
// slots of the index that nothing needs.
func checkArena(t *testing.T, tree *Tree) {
	t.Helper()
	var count func(ref uint32) int
	count = func(ref uint32) int {
		if ref == 0 || isLeaf(ref) {
			return 0
		}
		n := tree.nodes.at(ref)
		return 1 + count(n.child[0]) + count(n.child[1])
	}
	free := map[uint32]bool{}
	for _, ref := range tree.nodes.free {
		if ref < tree.nodes.next {
			free[ref] = true
		}
	}
	if used, next := count(tree.root.ref), int(tree.nodes.next); used+len(free) != max(0, next-1) {
		t.Fatalf("%d inner nodes in use and %d free of %d", used, len(free), next-1)
	}
	if want := max(0, tree.Len()-1); count(tree.root.ref) != want {
		t.Fatalf("%d inner nodes for %d keys", count(tree.root.ref), tree.Len())
	}
	taken := 0
	slots := tree.index.table.Load().slots
	for i := range slots {
		if slots[i].Load() != 0 {
			taken++
		}
		if uint32(slots[i].Load()) == grave && slots[(i+1)%len(slots)].Load() == 0 {
			t.Fatalf("slot %d of the index is a grave that nothing needs", i)
		}
	}
	if taken != tree.index.used {
		t.Fatalf("%d slots of the index are taken, it counts %d", taken, tree.index.used)
	}
}

func TestTreeAgreesWithNaive(t *testing.T) {
	for _, keys := range []int{1, 2, 5, 40, 400} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			for seed := range uint64(8) {
				h, tree := newHistory(seed, keys), NewTree()
				run := shuffled(h.rng)
				for range 12 {
					o := NewOverlay(tree)
					h.block(o, h.rng.IntN(3*keys+2))
					tree.Commit(o.Changes(), run)
					same(t, tree, h.now)
					checkArena(t, tree)
				}
				sameGets(t, tree, h.now, keys+3)
			}
		})
	}
}

// TestLargeBatches is large enough for jobs, forks above them and several
// chunks.
func TestLargeBatches(t *testing.T) {
	h, tree := newHistory(1, 20_000), NewTree()
	for _, writes := range []int{200, 10_000, 15_000, 3_000, 20_000} {
		o := NewOverlay(tree)
		h.block(o, writes)
		tree.Commit(o.Changes(), shuffled(h.rng))
		same(t, tree, h.now)
		checkArena(t, tree)
	}
}

func TestRootDoesNotDependOnHistory(t *testing.T) {
	h := newHistory(9, 300)
	h.block(NewOverlay(nil), 1000)
	want := h.now.root()
	keys := make([]string, 0, len(h.now))
	for k := range h.now {
		keys = append(keys, k)
	}
	for range 20 {
		h.rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		tree, o := NewTree(), NewOverlay(nil)
		for i, k := range keys {
			o.Set([]byte(k), []byte(h.now[k]))
			detour := fmt.Sprint("detour", i)
			o.Set([]byte(detour), nil)
			if h.rng.IntN(20) == 0 || i == len(keys)-1 {
				tree.Commit(o.Changes(), nil)
				o = NewOverlay(nil)
			}
		}
		for i := range keys {
			o.Delete(fmt.Append(nil, "detour", i))
		}
		if got, _ := tree.Commit(o.Changes(), nil); got != want {
			t.Fatalf("root %s, want %s", got, want)
		}
	}
}

func TestCommitOfNothing(t *testing.T) {
	tree := NewTree()
	o := NewOverlay(nil)
	o.Delete([]byte("absent"))
	if root, undo := tree.Commit(o.Changes(), nil); root != (chain.Hash{}) || len(undo.entries) != 0 {
		t.Fatalf("root %s and %d undo entries of an empty tree", root, len(undo.entries))
	}
	o.Set([]byte("a"), []byte("1"))
	first, _ := tree.Commit(o.Changes(), nil)
	if again, undo := tree.Commit(o.Changes(), nil); again != first || len(undo.entries) != 0 {
		t.Fatalf("the same value again: root %s, was %s, %d undo entries", again, first, len(undo.entries))
	}
}

func TestCommitRefusesDisorder(t *testing.T) {
	o := NewOverlay(nil)
	o.Set([]byte("a"), nil)
	o.Set([]byte("b"), nil)
	changes := o.Changes()
	slices.Reverse(changes)
	mustPanic(t, "disorder", func() { NewTree().Commit(changes, nil) })
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Fatalf("%s was accepted", what)
		}
	}()
	f()
}

func TestAscend(t *testing.T) {
	h, tree, o := newHistory(4, 5*walkRun), NewTree(), NewOverlay(nil)
	h.block(o, 8*walkRun)
	tree.Commit(o.Changes(), nil)
	var paths []chain.Hash
	tree.Ascend(chain.Hash{}, func(key, _ []byte) bool {
		paths = append(paths, PathOf(key))
		return true
	})
	near := func(h chain.Hash, by int) chain.Hash {
		h[31] += byte(by) // no carry is needed for a path beside it
		return h
	}
	for range 2000 {
		from := PathOf([]byte(fmt.Sprint(h.rng.Uint64())))
		if h.rng.IntN(2) == 0 {
			from = near(paths[h.rng.IntN(len(paths))], h.rng.IntN(3)-1)
		}
		want, _ := slices.BinarySearchFunc(paths, from, func(a, b chain.Hash) int { return comparePaths(&a, &b) })
		limit, got := h.rng.IntN(5), want
		tree.Ascend(from, func(key, _ []byte) bool {
			if PathOf(key) != paths[got] {
				t.Fatalf("from %s: key %d is %s, want %s", from, got-want, PathOf(key), paths[got])
			}
			got++
			return got-want < limit
		})
		if got-want != min(max(limit, 1), len(paths)-want) {
			t.Fatalf("from %s: %d keys of %d, limit %d", from, got-want, len(paths)-want, limit)
		}
		got = want
		tree.AscendPaths(from, func(path *chain.Hash, key, value []byte) bool {
			if v, ok := tree.Get(key); !ok || !bytes.Equal(v, value) || *path != paths[got] || *path != PathOf(key) {
				t.Fatalf("from %s: key %d is %q, %s, want %s", from, got-want, key, path, paths[got])
			}
			got++
			return true
		})
		if got != len(paths) {
			t.Fatalf("from %s: %d paths of %d", from, got-want, len(paths)-want)
		}
	}
}

func TestBuild(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 100, 5000} {
		h, tree, o := newHistory(uint64(n), n+1), NewTree(), NewOverlay(nil)
		h.block(o, 2*n)
		tree.Commit(o.Changes(), nil)
		built, err := Build(func(yield func(k, v []byte) bool) { tree.Ascend(chain.Hash{}, yield) })
		if err != nil {
			t.Fatal(err)
		}
		same(t, built, h.now)
		checkArena(t, built)
		o = NewOverlay(built)
		h.block(o, n)
		built.Commit(o.Changes(), nil)
		same(t, built, h.now)
	}
}

func TestBuildRefuses(t *testing.T) {
	big := make([]byte, MaxValueBytes+1)
	for name, stream := range map[string][][2][]byte{
		"disorder":    {{[]byte("a"), nil}, {[]byte("b"), nil}},
		"a key twice": {{[]byte("b"), nil}, {[]byte("b"), nil}},
		"large key":   {{big[:MaxKeyBytes+1], nil}},
		"large value": {{[]byte("a"), big}},
	} {
		_, err := Build(func(yield func(k, v []byte) bool) {
			for _, kv := range stream {
				if !yield(kv[0], kv[1]) {
					return
				}
			}
		})
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestReleasedSlotsRest: a reader may have met the record of a deleted key, so
// its slot holds no other until the next batch.
func TestReleasedSlotsRest(t *testing.T) {
	tree, o := NewTree(), NewOverlay(nil)
	const keys = 100
	for i := range keys {
		o.Set(fmt.Append(nil, "old", i), []byte("value"))
	}
	tree.Commit(o.Changes(), nil)
	for _, name := range []string{"new", "newer"} {
		o = NewOverlay(tree)
		records := map[uint32]string{}
		tree.Ascend(chain.Hash{}, func(key, _ []byte) bool {
			r, _ := tree.index.find(key, tagOf(key))
			records[r] = string(key)
			o.Delete(key)
			return true
		})
		for i := range keys {
			o.Set(fmt.Append(nil, name, i), []byte("value"))
		}
		tree.Commit(o.Changes(), nil)
		for r, key := range records {
			if got := string(tree.records.key(r)); got != key {
				t.Fatalf("record %d of key %q holds %q while it rests", r, key, got)
			}
		}
		if p := &tree.records.page[1]; len(tree.records.page) != 2 || p.taken != 2*keys {
			t.Fatalf("after %q: %d pages, %d slots taken of the first, want 1 and %d", name, len(tree.records.page)-1, p.taken, 2*keys)
		}
	}
}

func TestLargestRecords(t *testing.T) {
	tree, want := NewTree(), naive{}
	o := NewOverlay(tree)
	for i := range 40 {
		key := bytes.Repeat([]byte{byte(i)}, MaxKeyBytes)
		value := bytes.Repeat([]byte{byte(i + 1)}, MaxValueBytes-i)
		o.Set(key, value)
		want[string(key)] = string(value)
	}
	tree.Commit(o.Changes(), nil)
	same(t, tree, want)
	mustPanic(t, "large key", func() { o.Set(make([]byte, MaxKeyBytes+1), nil) })
	mustPanic(t, "large value", func() { o.Set(nil, make([]byte, MaxValueBytes+1)) })
}

// TestGetDuringCommit is the one concurrency that is allowed: the executor reads
// keys outside the batch while it is committed. Run it with -race.
func TestGetDuringCommit(t *testing.T) {
	const keys = 6000
	tree, rng := NewTree(), rand.New(rand.NewPCG(6, 6))
	model := make([]string, keys)
	key := func(i int) []byte { return fmt.Append(nil, "key", i) }
	for round := range 30 {
		o := NewOverlay(tree)
		frozen := map[int]bool{}
		for range 1500 {
			i := rng.IntN(keys)
			frozen[i] = true
			if model[i] = strings.Repeat("v", rng.IntN(80)); rng.IntN(3) == 0 {
				model[i] = "-"
				o.Delete(key(i))
			} else {
				o.Set(key(i), []byte(model[i]))
			}
		}
		before := slices.Clone(model)
		changes := o.Changes()
		var done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			read := rand.New(rand.NewPCG(uint64(round), 7))
			for n := 0; n < 2000 || !done.Load(); n++ {
				i := read.IntN(keys)
				if frozen[i] {
					continue
				}
				got, ok := tree.Get(key(i))
				if want := before[i]; round > 0 && want != "" && ok != (want != "-") || ok && string(got) != want {
					t.Errorf("round %d: key %d is %q, %t, want %q", round, i, got, ok, want)
					return
				}
			}
		})
		tree.Commit(changes, twoWorkers)
		done.Store(true)
		wg.Wait()
	}
}

// TestProbesDuringCommit: on its way to its own key a reader may look at the
// record of any other whose tag is the same. Here one looks at all of them. Run
// it with -race.
func TestProbesDuringCommit(t *testing.T) {
	h, tree := newHistory(8, 1000), NewTree()
	for range 30 {
		o := NewOverlay(tree)
		h.block(o, 700)
		changes := o.Changes()
		var done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for more := true; more; more = !done.Load() {
				slots := tree.index.table.Load().slots
				for i := range slots {
					if r := uint32(slots[i].Load()); r != 0 && r != grave && !strings.HasPrefix(string(tree.records.key(r)), "key") {
						t.Errorf("record %d has key %q", r, tree.records.key(r))
					}
				}
			}
		})
		tree.Commit(changes, nil)
		done.Store(true)
		wg.Wait()
	}
}

// TestIndexGrowsBeside: a reader that still has the smaller table finds in it
// what it had.
func TestIndexGrowsBeside(t *testing.T) {
	h, tree, o := newHistory(8, 40), NewTree(), NewOverlay(nil)
	h.block(o, 60)
	tree.Commit(o.Changes(), nil)
	old := tree.index.table.Load()
	var before []uint64
	for i := range old.slots {
		before = append(before, old.slots[i].Load())
	}
	if !tree.index.reserve(1000) || tree.index.table.Load() == old {
		t.Fatal("the index did not grow")
	}
	for i := range old.slots {
		if old.slots[i].Load() != before[i] {
			t.Fatalf("slot %d of the old table has changed", i)
		}
	}
	sameGets(t, tree, h.now, 42)
}

func TestProofs(t *testing.T) {
	for _, keys := range []int{0, 1, 2, 3, 10, 200} {
		h, tree, o := newHistory(uint64(keys), keys+1), NewTree(), NewOverlay(nil)
		if keys > 0 {
			h.block(o, 3*keys)
		}
		tree.Commit(o.Changes(), nil)
		root := h.now.tree()
		for i := range 2*keys + 5 {
			checkProof(t, tree.Prove(fmt.Append(nil, "key", i)), h.now, root, fmt.Sprint("key", i))
		}
	}
}

// checkProof compares a proof with the naive one for the state with that root.
func checkProof(t *testing.T, p proof.Proof, state naive, root *naiveNode, key string) {
	t.Helper()
	raw := p.Append(nil)
	if string(raw) != root.prove(key) {
		t.Fatalf("proof of %q among %d keys is %x, want %x", key, len(state), raw, root.prove(key))
	}
	decoded, err := proof.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	value, present, err := proof.Verify([32]byte([]byte(root.hash())), []byte(key), &decoded)
	if err != nil {
		t.Fatalf("proof of %q: %v", key, err)
	}
	if want, ok := state[key]; ok != present || want != string(value) {
		t.Fatalf("proof of %q shows %q, %t, want %q, %t", key, value, present, want, ok)
	}
}

func TestMutatedProofsAreRefused(t *testing.T) {
	h, tree, o := newHistory(3, 50), NewTree(), NewOverlay(nil)
	h.block(o, 60)
	tree.Commit(o.Changes(), nil)
	other := PathOf([]byte("another root"))
	for i := range 60 {
		key := fmt.Append(nil, "key", i)
		p := tree.Prove(key)
		raw := p.Append(nil)
		if _, _, err := proof.Verify(other, key, &p); err == nil {
			t.Fatal("a proof holds for another root")
		}
		if _, _, err := proof.Verify(tree.Root(), fmt.Append(key, "'"), &p); err == nil && p.Kind == proof.Present {
			t.Fatal("a proof of presence holds for another key")
		}
		for at := range raw {
			for _, flip := range []byte{1, 0x80, 0xff} {
				bad := bytes.Clone(raw)
				bad[at] ^= flip
				if d, err := proof.Decode(bad); err == nil {
					if _, _, err = proof.Verify(tree.Root(), key, &d); err == nil {
						t.Fatalf("proof of %q with byte %d of %d changed by %#x holds", key, at, len(raw), flip)
					}
				}
			}
		}
	}
}

// TestGolden fixes the roots and proofs of version 1.
func TestGolden(t *testing.T) {
	var b strings.Builder
	for _, n := range []int{0, 1, 3, 100} {
		tree, o := NewTree(), NewOverlay(nil)
		for i := range n {
			o.Set(goldenKey(i), goldenValue(i))
		}
		root, _ := tree.Commit(o.Changes(), nil)
		fmt.Fprintf(&b, "keys %d root %x\n", n, root[:])
		for i := range 5 {
			p := tree.Prove(goldenKey(i))
			fmt.Fprintf(&b, "keys %d proof of %s %s\n", n, goldenKey(i), hex.EncodeToString(p.Append(nil)))
		}
	}
	checkGolden(t, "tree.v1.golden", b.String())
}

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs: what a version hashes or encodes must never change", file)
	}
}

// The first three are the example of TREE.md.
func goldenKey(i int) []byte {
	if i < 26 {
		return []byte{byte('a' + i)}
	}
	return fmt.Append(nil, "key", i)
}

func goldenValue(i int) []byte {
	if i == 2 {
		return nil
	}
	return fmt.Append(nil, i+1)
}

func TestExampleOfTheDocument(t *testing.T) {
	a, b, c := hashed("\x00", hashed("a"), hashed("1")), hashed("\x00", hashed("b"), hashed("2")), hashed("\x00", hashed("c"), hashed(""))
	want := hashed("\x01\x00", hashed("\x01\x03", c, b), a)
	o := NewOverlay(nil)
	for i := range 3 {
		o.Set(goldenKey(i), goldenValue(i))
	}
	if got, _ := NewTree().Commit(o.Changes(), nil); string(got[:]) != want {
		t.Fatalf("root %s, want %x", got, want)
	}
}
