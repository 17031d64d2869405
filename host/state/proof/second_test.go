package proof_test

// Proofs a second time, straight from TREE.md and in another style: paths are
// strings of "0" and "1", bytes are strings, trees are values that never change, and
// every rule of the document is looked up where it says so, however slowly.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

func sha(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "")))
	return string(sum[:])
}

// bitsOf spells a path.
func bitsOf(path string) string {
	var s strings.Builder
	for _, b := range []byte(path) {
		fmt.Fprintf(&s, "%08b", b)
	}
	return s.String()
}

// A subtree is one of these.
type (
	noTree struct{}
	fork   struct {
		bit         int
		left, right any
	}
	shownLeaf  struct{ key, value string }
	otherLeaf  struct{ path, valueHash string }
	hiddenTree struct{ hash string }
)

func hashOf(t any) string {
	switch t := t.(type) {
	case fork:
		return sha("\x01", string([]byte{byte(t.bit)}), hashOf(t.left), hashOf(t.right))
	case shownLeaf:
		return sha("\x00", sha(t.key), sha(t.value))
	case otherLeaf:
		return sha("\x00", t.path, t.valueHash)
	case hiddenTree:
		return t.hash
	}
	return strings.Repeat("\x00", 32)
}

// pathOf is the path of a leaf, spelled.
func pathOf(leaf any) string {
	if l, ok := leaf.(shownLeaf); ok {
		return bitsOf(sha(l.key))
	}
	return bitsOf(leaf.(otherLeaf).path)
}

var (
	errForm    = errors.New("refused")
	errOutside = errors.New("not covered")
)

// eat is the unread rest of an encoding; it panics with errForm.
type eat struct{ rest string }

func (e *eat) bytes(n int) string {
	if n > len(e.rest) {
		panic(errForm)
	}
	var b string
	b, e.rest = e.rest[:n], e.rest[n:]
	return b
}

func (e *eat) number(size int) (n int) {
	for i, b := range []byte(e.bytes(size)) {
		n += int(b) << (8 * i)
	}
	return n
}

func require(ok bool) {
	if !ok {
		panic(errForm)
	}
}

func caught(err *error) {
	if r := recover(); r != nil {
		e, ok := r.(error)
		if !ok || !errors.Is(e, errForm) && !errors.Is(e, errOutside) {
			panic(r)
		}
		*err = e
	}
}

// secondDecode reads a proof of many keys.
func secondDecode(b []byte) (tree any, err error) {
	defer caught(&err)
	require(len(b) <= 64<<20)
	e := &eat{string(b)}
	require(e.bytes(1) == "\x02")
	if tree = e.tree(); tree == (noTree{}) {
		require(e.rest == "")
		return tree, nil
	}
	require(e.rest == "")
	require(len(treesOf(tree)) <= 2_097_152)
	for _, t := range treesOf(tree) {
		if f, ok := t.(fork); ok {
			checkFork(f)
		}
	}
	return tree, nil
}

func (e *eat) tree() any {
	switch e.bytes(1) {
	case "\x00":
		return noTree{}
	case "\x01":
		f := fork{bit: e.number(1)}
		// Refused below as well; here it bounds how deep this goes.
		f.left = e.tree()
		f.right = e.tree()
		return f
	case "\x02":
		var l shownLeaf
		n := e.number(1)
		require(n <= 128)
		l.key = e.bytes(n)
		n = e.number(4)
		require(n <= 65_536)
		l.value = e.bytes(n)
		return l
	case "\x03":
		return otherLeaf{e.bytes(32), e.bytes(32)}
	case "\x04":
		return hiddenTree{e.bytes(32)}
	}
	panic(errForm)
}

// treesOf lists a subtree and all below it.
func treesOf(t any) []any {
	if f, ok := t.(fork); ok {
		return append(append([]any{t}, treesOf(f.left)...), treesOf(f.right)...)
	}
	return []any{t}
}

// checkFork is every line of the table of refusals that is about inner nodes.
func checkFork(f fork) {
	given := 0
	prefix := ""
	for side, child := range []any{f.left, f.right} {
		require(child != noTree{})
		if below, ok := child.(fork); ok {
			require(below.bit > f.bit)
		}
		if _, hidden := child.(hiddenTree); !hidden {
			given++
		}
		for _, t := range treesOf(child) {
			switch t.(type) {
			case shownLeaf, otherLeaf:
				path := pathOf(t)
				if prefix == "" {
					prefix = path[:f.bit] + "|"
				}
				require(path[:f.bit]+"|" == prefix)
				require(path[f.bit] == "01"[side])
			}
		}
	}
	require(given > 0)
}

// end is where the walk for a path ends.
func end(t any, path string) any {
	for {
		f, ok := t.(fork)
		if !ok {
			return t
		}
		if t = f.left; path[f.bit] == '1' {
			t = f.right
		}
	}
}

// secondGet looks a key up.
func secondGet(tree any, key []byte) (value string, present bool, err error) {
	path := bitsOf(sha(string(key)))
	switch l := end(tree, path).(type) {
	case hiddenTree:
		return "", false, errOutside
	case shownLeaf:
		if l.key == string(key) {
			return l.value, true, nil
		}
	case otherLeaf:
		if pathOf(l) == path {
			return "", false, errOutside
		}
	}
	return "", false, nil
}

// secondRootAfter makes insertions and new values, then deletions.
func secondRootAfter(tree any, set map[string]string, deleted []string) (root string, err error) {
	defer caught(&err)
	for _, d := range deleted {
		covered(tree, d)
	}
	old := tree
	for k, v := range set { // the order must not matter: every run has another
		covered(old, k)
		tree = put(tree, shownLeaf{k, v})
	}
	for _, d := range deleted {
		tree = cut(tree, bitsOf(sha(d)))
	}
	return hashOf(tree), nil
}

func covered(tree any, key string) {
	if _, hidden := end(tree, bitsOf(sha(key))).(hiddenTree); hidden {
		panic(errOutside)
	}
}

func put(tree any, l shownLeaf) any {
	path := pathOf(l)
	at := end(tree, path)
	if at == (noTree{}) {
		return l
	}
	near := pathOf(at)
	if near == path {
		return replaced(tree, path, 256, func(any) any { return l })
	}
	d := 0
	for near[d] == path[d] {
		d++
	}
	return replaced(tree, path, d, func(below any) any {
		if path[d] == '0' {
			return fork{d, l, below}
		}
		return fork{d, below, l}
	})
}

// replaced changes, on the walk for a path, the first inner node on a bit greater
// than d, or the leaf.
func replaced(t any, path string, d int, change func(any) any) any {
	f, ok := t.(fork)
	if !ok || f.bit > d {
		return change(t)
	}
	if path[f.bit] == '0' {
		f.left = replaced(f.left, path, d, change)
	} else {
		f.right = replaced(f.right, path, d, change)
	}
	return f
}

// cut deletes.
func cut(t any, path string) any {
	switch t := t.(type) {
	case fork:
		if path[t.bit] == '0' {
			t.left = cut(t.left, path)
		} else {
			t.right = cut(t.right, path)
		}
		if t.left == (noTree{}) {
			return t.right
		}
		if t.right == (noTree{}) {
			return t.left
		}
		return t
	case shownLeaf, otherLeaf:
		if pathOf(t) == path {
			return noTree{}
		}
	}
	return t
}

// secondVerify checks a proof of one key.
func secondVerify(root, key string, b []byte) (value string, present bool, err error) {
	defer caught(&err)
	e := &eat{string(b)}
	require(e.bytes(1) == "\x01")
	kind := e.bytes(1)
	path, h := bitsOf(sha(key)), ""
	var other string
	switch kind {
	case "\x00":
		h = strings.Repeat("\x00", 32)
	case "\x01":
		n := e.number(4)
		require(n <= 65_536)
		value, present = e.bytes(n), true
		h = sha("\x00", sha(key), sha(value))
	case "\x02":
		other = e.bytes(32)
		h = sha("\x00", other, e.bytes(32))
		other = bitsOf(other)
		require(other != path)
	default:
		panic(errForm)
	}
	n := e.number(2)
	require(n <= 256 && (kind != "\x00" || n == 0) && len(e.rest) == 33*n)
	steps := make([]string, n) // of the last first
	for i := range steps {
		steps[n-1-i] = e.bytes(33)
	}
	last := 256
	for _, s := range steps {
		bit, sibling := int(s[0]), s[1:]
		require(bit < last && (other == "" || other[bit] == path[bit]))
		last = bit
		if path[bit] == '0' {
			h = sha("\x01", s[:1], h, sibling)
		} else {
			h = sha("\x01", s[:1], sibling, h)
		}
	}
	require(h == root)
	return value, present, nil
}
