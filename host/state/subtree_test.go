package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
)

// checkHashes computes every hash below a link anew and compares.
func checkHashes(t *testing.T, tree *Tree, at link) {
	t.Helper()
	if at.ref == 0 {
		if at.hash != (chain.Hash{}) {
			t.Fatalf("nothing has hash %s", at.hash)
		}
		return
	}
	if isLeaf(at.ref) {
		path := tree.leafPath(at.ref)
		if want := hashLeaf(&path, tree.records.value(at.ref&^leafBit)); at.hash != want {
			t.Fatalf("leaf at path %s has hash %s, want %s", path, at.hash, want)
		}
		return
	}
	n := tree.nodes.at(at.ref)
	left, right := n.link(0), n.link(1)
	if want := hashNode(n.bit(), &left.hash, &right.hash); at.hash != want {
		t.Fatalf("node on bit %d has hash %s, want %s", n.bit(), at.hash, want)
	}
	checkHashes(t, tree, left)
	checkHashes(t, tree, right)
}

// TestBatchesInAllJobs has batches that divide into all their jobs, and some for which
// no memory is kept, with keys that come, change, stay as they are and go. The tree
// must be the one that Build makes of the same keys.
func TestBatchesInAllJobs(t *testing.T) {
	rng, tree := rand.New(rand.NewPCG(1, 2)), NewTree()
	for i, size := range []int{3000, 40, 2000, maxScratchOps + 3000, 500, 6000, 1, 9000} {
		o := NewOverlay(tree)
		for range size {
			key := fmt.Appendf(nil, "key%d", rng.IntN(12_000))
			if rng.IntN(5) < 2+i%3 { // one batch in three mostly takes away
				o.Set(key, bytes.Repeat([]byte{byte(rng.IntN(2))}, rng.IntN(3)*70))
			} else {
				o.Delete(key)
			}
		}
		if i == 5 {
			everyKey(tree, o.Delete)
		}
		root, _ := tree.Commit(o.Changes(), twoWorkers)
		checkArena(t, tree)
		checkHashes(t, tree, tree.root)
		built, err := Build(func(yield func(k, v []byte) bool) { tree.Ascend(chain.Hash{}, yield) })
		if err != nil || built.Root() != root || built.Len() != tree.Len() {
			t.Fatalf("batch %d: root %s of %d keys, built %s of %d: %v", i, root, tree.Len(), built.Root(), built.Len(), err)
		}
	}
}

func everyKey(tree *Tree, do func(key []byte)) {
	tree.Ascend(chain.Hash{}, func(key, _ []byte) bool {
		do(key)
		return true
	})
}

// TestScratchIsLetGo looks for what a batch leaves behind: no more than the limits,
// and nothing that points into it.
func TestScratchIsLetGo(t *testing.T) {
	tree := NewTree()
	for _, size := range []int{100, maxScratchOps + 1, 2000} {
		o := NewOverlay(tree)
		for i := range size {
			o.Set(fmt.Append(nil, size, i), []byte("value"))
		}
		tree.Commit(o.Changes(), nil)
		s := &tree.scratch
		if len(s.ops) > maxScratchOps || slices.ContainsFunc(s.ops, func(o op) bool { return o != op{} }) {
			t.Fatalf("a batch of %d leaves %d ops behind", size, len(s.ops))
		}
		for _, u := range s.subtrees {
			all := u.owed[:cap(u.owed)]
			if len(all) > maxScratchOwed || slices.ContainsFunc(all, func(o owed) bool { return o != owed{} }) || u.owing != [pathBits + 1]uint32{} || len(u.freed) != 0 {
				t.Fatalf("a batch of %d leaves %d owed hashes behind", size, len(all))
			}
		}
	}
}

// TestInOrder sorts paths that nobody would meet: crowded into a share of the range,
// with one prefix, and few.
func TestInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, crowd := range []uint64{1<<64 - 1, 1 << 50, 4, 1} {
		for _, n := range []int{0, 1, 2, 3, 4, 5, 31, 32, 33, 1000} {
			paths := make([]chain.Hash, n)
			for i := range paths {
				binary.BigEndian.PutUint64(paths[i][:], 1<<63+rng.Uint64N(crowd))
				binary.BigEndian.PutUint64(paths[i][24:], rng.Uint64())
			}
			order := inOrder(paths)
			seen := make(map[uint32]bool)
			for i, p := range order {
				seen[p.entry] = true
				if p.prefix != prefixOf(&paths[p.entry]) || i > 0 && comparePaths(&paths[order[i-1].entry], &paths[p.entry]) >= 0 {
					t.Fatalf("%d paths in %d: number %d is out of order", n, crowd, i)
				}
			}
			if len(seen) != n {
				t.Fatalf("%d of %d paths in the order", len(seen), n)
			}
		}
	}
}

// TestWithoutWideRegisters runs the tests of this package that know the right roots
// as a processor without AVX-512 would.
func TestWithoutWideRegisters(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("wide registers are used on amd64 only: every other test here ran on the portable code already")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^(TestGolden|TestBatchesInAllJobs)$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=cpu.avx512f=off")
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("--- PASS: Test")) != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
}
