package proof_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/state/proof"
)

// world is a state of some of the keys k0, k1, ….
type world struct {
	rng  *rand.Rand
	keys int
	now  map[string]string
	tree *state.Tree
}

func newWorld(seed uint64, keys, present int) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, uint64(keys))), keys: keys, now: map[string]string{}, tree: state.NewTree()}
	set := map[string]string{}
	for range present {
		set[w.key()] = w.value()
	}
	w.commit(set, nil)
	return w
}

func (w *world) key() string   { return fmt.Sprint("k", w.rng.IntN(w.keys)) }
func (w *world) value() string { return strings.Repeat("v", w.rng.IntN(40)) }

func (w *world) commit(set map[string]string, deleted []string) {
	o := state.NewOverlay(nil)
	for k, v := range set {
		o.Set([]byte(k), []byte(v))
		w.now[k] = v
	}
	for _, k := range deleted {
		o.Delete([]byte(k))
		delete(w.now, k)
	}
	w.tree.Commit(o.Changes(), nil)
}

// some are different keys, present or not.
func (w *world) some(n int) (keys [][]byte) {
	for range n {
		if k := []byte(w.key()); !slices.ContainsFunc(keys, func(o []byte) bool { return bytes.Equal(o, k) }) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (w *world) prove(t *testing.T, keys [][]byte) []byte {
	t.Helper()
	b, err := w.tree.ProveMany(keys)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writes are random updates of some of the keys.
func (w *world) writes(keys [][]byte) (updates []proof.Update, set map[string]string, deleted []string) {
	set = map[string]string{}
	share := w.rng.IntN(11)
	for _, k := range keys {
		switch {
		case w.rng.IntN(4) == 0:
		case w.rng.IntN(10) < share:
			updates, deleted = append(updates, proof.Update{Key: k, Delete: true}), append(deleted, string(k))
		default:
			v := w.value()
			updates, set[string(k)] = append(updates, proof.Update{Key: k, Value: []byte(v)}), v
		}
	}
	w.rng.Shuffle(len(updates), func(i, j int) { updates[i], updates[j] = updates[j], updates[i] })
	return updates, set, deleted
}

// TestMultiAgrees compares this package with the tree and with the second verifier:
// roots, what every key is, and the root after random writes.
func TestMultiAgrees(t *testing.T) {
	for seed := range uint64(400) {
		size := []int{1, 2, 3, 8, 40, 300}[seed%6]
		w := newWorld(seed, 2*size, int(seed%7)*size/3)
		keys := w.some(w.rng.IntN(size + 2))
		b := w.prove(t, keys)
		m, err := proof.DecodeMulti(b)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		second, err := secondDecode(b)
		if err != nil {
			t.Fatalf("seed %d: the second verifier: %v", seed, err)
		}
		if err := errors.Join(m.Check(w.tree.Root()), m.Exactly(keys)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if hashOf(second) != string(root(w)) {
			t.Fatalf("seed %d: the second verifier comes to another root", seed)
		}
		for i := range w.keys {
			checkGet(t, w, m, second, fmt.Sprint("k", i), keys)
		}
		updates, set, deleted := w.writes(keys)
		got, err := m.RootAfter(updates)
		other, otherErr := secondRootAfter(second, set, deleted)
		w.commit(set, deleted)
		if err != nil || otherErr != nil || string(got[:]) != string(root(w)) || other != string(root(w)) {
			t.Fatalf("seed %d: root after %d writes of %d keys is %x, %v; second %x, %v; want %x", seed, len(updates), len(keys), got, err, other, otherErr, root(w))
		}
	}
}

func root(w *world) []byte {
	r := w.tree.Root()
	return r[:]
}

// checkGet: the proof says the truth of a key or nothing, and always the truth of
// those it is for.
func checkGet(t *testing.T, w *world, m *proof.Multi, second any, key string, keys [][]byte) {
	t.Helper()
	value, present, err := m.Get([]byte(key))
	value2, present2, err2 := secondGet(second, []byte(key))
	if (err == nil) != (err2 == nil) || present != present2 || string(value) != value2 {
		t.Fatalf("key %s is %q, %t, %v; second %q, %t, %v", key, value, present, err, value2, present2, err2)
	}
	if err != nil {
		if !errors.Is(err, proof.ErrNotCovered) || slices.ContainsFunc(keys, func(k []byte) bool { return string(k) == key }) {
			t.Fatalf("key %s: %v", key, err)
		}
		return
	}
	if want, ok := w.now[key]; ok != present || want != string(value) {
		t.Fatalf("key %s is %q, %t, want %q, %t", key, value, present, want, ok)
	}
}

// TestMultiChanged changes bytes of proofs: both verifiers refuse the same ones, and
// nothing but the proof itself leads to the root.
func TestMultiChanged(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(seed, 30, 20)
		keys := w.some(5)
		b := w.prove(t, keys)
		for at := range b {
			for _, flip := range []byte{1, 4, 0xff} {
				bad := bytes.Clone(b)
				bad[at] ^= flip
				checkHostile(t, w, bad, w.tree.Root())
			}
			checkHostile(t, w, b[:at], w.tree.Root())
		}
	}
}

func checkHostile(t *testing.T, w *world, b []byte, root [32]byte) {
	t.Helper()
	m, err := proof.DecodeMulti(b)
	second, err2 := secondDecode(b)
	if (err == nil) != (err2 == nil) {
		t.Fatalf("%x: %v; second: %v", b, err, err2)
	}
	if err != nil {
		if !errors.Is(err, proof.ErrMalformed) {
			t.Fatalf("%x: %v", b, err)
		}
		return
	}
	if got := m.Root(); string(got[:]) != hashOf(second) {
		t.Fatalf("%x leads to root %x, second %x", b, got, hashOf(second))
	}
	if err := m.Check(root); !errors.Is(err, proof.ErrInvalid) {
		t.Fatalf("%x: %v", b, err)
	}
	for i := range w.keys {
		key := fmt.Append(nil, "k", i)
		value, present, err := m.Get(key)
		value2, present2, err2 := secondGet(second, key)
		if (err == nil) != (err2 == nil) || present != present2 || string(value) != value2 {
			t.Fatalf("%x: key %s is %q, %t, %v; second %q, %t, %v", b, key, value, present, err, value2, present2, err2)
		}
	}
}

// TestProofAgrees compares proofs of one key, whole and changed.
func TestProofAgrees(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(seed, 20, int(seed))
		for i := range 3 {
			key := fmt.Sprint("k", i)
			p := w.tree.Prove([]byte(key))
			b := p.Append(nil)
			checkSingle(t, w, key, b)
			for at := range b {
				for _, flip := range []byte{1, 2, 0xff} {
					bad := bytes.Clone(b)
					bad[at] ^= flip
					checkSingle(t, w, key, bad)
				}
				checkSingle(t, w, key, b[:at])
			}
		}
	}
}

func checkSingle(t *testing.T, w *world, key string, b []byte) {
	t.Helper()
	value2, present2, err2 := secondVerify(string(root(w)), key, b)
	p, err := proof.Decode(b)
	var value []byte
	var present bool
	if err == nil {
		value, present, err = proof.Verify(w.tree.Root(), []byte(key), &p)
	}
	if (err == nil) != (err2 == nil) || err == nil && (present != present2 || string(value) != value2) {
		t.Fatalf("proof %x of %s: %q, %t, %v; second %q, %t, %v", b, key, value, present, err, value2, present2, err2)
	}
}

// A little language for hostile proofs.
func inner(bit uint8, left, right []byte) []byte {
	return slices.Concat(proof.AppendInner(nil, bit), left, right)
}

func shown(key, value string) []byte { return proof.AppendShown(nil, []byte(key), []byte(value)) }

func otherOf(key, value string) []byte {
	path, sum := [32]byte([]byte(sha(key))), [32]byte([]byte(sha(value)))
	return proof.AppendOther(nil, &path, &sum)
}

func hiddenOf(key string) []byte {
	h := [32]byte([]byte(sha(key)))
	return proof.AppendHidden(nil, &h)
}

func multi(tree []byte) []byte { return append(proof.AppendMulti(nil), tree...) }

// a begins with bits 1100, b with 00111, c with 00101 (TREE.md).
func TestDecodeMultiRefuses(t *testing.T) {
	a, b, c := shown("a", "1"), shown("b", "2"), shown("c", "")
	good := multi(inner(0, inner(3, c, b), a))
	if _, err := proof.DecodeMulti(good); err != nil {
		t.Fatal(err)
	}
	deep := a
	for range 300 {
		deep = inner(7, deep, hiddenOf("x"))
	}
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, proof.ErrTruncated},
		{"version", append([]byte{1}, good[1:]...), proof.ErrVersion},
		{"only a version", good[:1], proof.ErrTruncated},
		{"a byte less", good[:len(good)-1], proof.ErrTruncated},
		{"a byte more", append(bytes.Clone(good), 0), proof.ErrTrailing},
		{"two trees", append(bytes.Clone(good), a...), proof.ErrTrailing},
		{"kind of node", multi([]byte{5}), proof.ErrMalformed},
		{"no bit", multi([]byte{1}), proof.ErrTruncated},
		{"hidden, cut", multi(hiddenOf("x")[:20]), proof.ErrTruncated},
		{"other, cut", multi(otherOf("x", "")[:64]), proof.ErrTruncated},
		{"key, cut", multi([]byte{2, 3, 'a'}), proof.ErrTruncated},
		{"no key", multi([]byte{2}), proof.ErrTruncated},
		{"long key", multi(append([]byte{2, 129}, make([]byte, 200)...)), proof.ErrTooLong},
		{"no value", multi([]byte{2, 1, 'a', 1, 0}), proof.ErrTruncated},
		{"value, cut", multi([]byte{2, 1, 'a', 2, 0, 0, 0, 'v'}), proof.ErrTruncated},
		{"long value", multi(append([]byte{2, 1, 'a', 1, 0, 1, 0}, make([]byte, 70_000)...)), proof.ErrTooLong},
		{"empty below", multi(inner(0, []byte{0}, a)), proof.ErrShape},
		{"all hidden", multi(inner(0, hiddenOf("x"), hiddenOf("y"))), proof.ErrShape},
		{"all hidden below", multi(inner(0, inner(3, hiddenOf("x"), hiddenOf("y")), a)), proof.ErrShape},
		{"bit twice", multi(inner(0, inner(0, c, b), a)), proof.ErrDuplicate},
		{"bits down", multi(inner(3, inner(0, b, a), hiddenOf("x"))), proof.ErrOrder},
		{"deep", multi(deep), proof.ErrDuplicate},
		{"leaf twice", multi(inner(0, b, b)), proof.ErrDuplicate},
		{"leaf twice, as another", multi(inner(0, otherOf("b", "2"), b)), proof.ErrDuplicate},
		{"swapped", multi(inner(0, a, b)), proof.ErrOrder},
		{"another bit", multi(inner(2, c, b)), proof.ErrOrder},
		{"leaf on the wrong side of what is hidden", multi(inner(0, a, hiddenOf("x"))), proof.ErrOrder},
		{"the other wrong side", multi(inner(0, hiddenOf("x"), b)), proof.ErrOrder},
		{"wrong side of a bit above", multi(inner(0, inner(3, c, b), inner(5, hiddenOf("x"), b))), proof.ErrOrder},
		{"too long", make([]byte, proof.MaxMultiBytes+1), proof.ErrTooLong},
	} {
		m, err := proof.DecodeMulti(c.b)
		if !errors.Is(err, c.want) || !errors.Is(err, proof.ErrMalformed) || m != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if len(c.b) < 1<<20 {
			if _, err := secondDecode(c.b); err == nil {
				t.Errorf("%s: the second verifier takes it", c.name)
			}
		}
	}
}

// TestNodesAreLimited: a proof of many small nodes ends at their number.
func TestNodesAreLimited(t *testing.T) {
	b := multi(inner(0, inner(3, shown("c", ""), shown("b", "2")), shown("a", "1")))
	if _, err := proof.DecodeMultiOf(b, 5); err != nil {
		t.Error(err)
	}
	if _, err := proof.DecodeMultiOf(b, 4); !errors.Is(err, proof.ErrTooLong) {
		t.Error(err)
	}
}

func TestExactly(t *testing.T) {
	a, b, c := shown("a", "1"), shown("b", "2"), shown("c", "")
	cases := []struct {
		name string
		tree []byte
		keys string // of one letter each
		want error
	}{
		{"all", inner(0, inner(3, c, b), a), "abc", nil},
		{"in another order, twice", inner(0, inner(3, c, b), a), "cbabc", nil},
		{"one", inner(0, hiddenOf("x"), a), "a", nil},
		{"one too many", inner(0, inner(3, c, b), a), "ac", proof.ErrSurplus},
		{"one not there", inner(0, hiddenOf("x"), a), "ab", proof.ErrNotCovered},
		{"none", hiddenOf("x"), "", nil},
		{"none, and one is there", a, "", proof.ErrSurplus},
		{"own leaf not shown", otherOf("a", "1"), "a", proof.ErrNotCovered},
		{"absent, at another leaf", otherOf("a", "1"), "d", nil},
		{"absent, at a leaf that is shown", a, "d", proof.ErrSurplus},
		{"absent, at a leaf that is shown for itself", a, "ad", nil},
		{"empty", []byte{0}, "ad", nil},
	}
	for _, c := range cases {
		m, err := proof.DecodeMulti(multi(c.tree))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var keys [][]byte
		for _, k := range c.keys {
			keys = append(keys, []byte(string(k)))
		}
		if err := m.Exactly(keys); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestRootAfterRefuses names what it will not compute.
func TestRootAfterRefuses(t *testing.T) {
	m, err := proof.DecodeMulti(multi(inner(0, hiddenOf("x"), shown("a", "1"))))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		updates []proof.Update
		want    error
	}{
		"write of a hidden key":  {[]proof.Update{{Key: []byte("b")}}, proof.ErrNotCovered},
		"delete of a hidden key": {[]proof.Update{{Key: []byte("b"), Delete: true}}, proof.ErrNotCovered},
		"a key twice":            {[]proof.Update{{Key: []byte("a")}, {Key: []byte("a"), Delete: true}}, proof.ErrDuplicate},
		"a large key":            {[]proof.Update{{Key: make([]byte, proof.MaxKeyBytes+1)}}, proof.ErrTooLong},
		"a large value":          {[]proof.Update{{Key: []byte("a"), Value: make([]byte, proof.MaxValueBytes+1)}}, proof.ErrTooLong},
	} {
		if _, err := m.RootAfter(c.updates); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, _, err := m.Get(make([]byte, proof.MaxKeyBytes+1)); !errors.Is(err, proof.ErrTooLong) {
		t.Errorf("a large key: %v", err)
	}
	// What is hidden takes the place of its parent as it is.
	if got, err := m.RootAfter([]proof.Update{{Key: []byte("a"), Delete: true}}); err != nil || string(got[:]) != sha("x") {
		t.Errorf("after the deletion: %x, %v", got, err)
	}
}

// FuzzDecodeMulti: whatever decodes, the second verifier takes for the same, and
// nothing in it does harm.
func FuzzDecodeMulti(f *testing.F) {
	w := newWorld(1, 30, 20)
	for n := range 5 {
		b, err := w.tree.ProveMany(w.some(n * 3))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(multi(inner(0, inner(3, shown("c", ""), otherOf("b", "2")), shown("a", "1"))))
	f.Add([]byte{2, 0})
	trusted := w.tree.Root()
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := proof.DecodeMulti(b); err == nil && m.Check(trusted) == nil {
			for i := range w.keys {
				checkTruth(t, w, m, fmt.Sprint("k", i))
			}
			return
		}
		checkHostile(t, w, b, trusted)
	})
}

func checkTruth(t *testing.T, w *world, m *proof.Multi, key string) {
	value, present, err := m.Get([]byte(key))
	if want, ok := w.now[key]; err == nil && (ok != present || want != string(value)) {
		t.Fatalf("key %s is %q, %t, want %q, %t", key, value, present, want, ok)
	}
}
