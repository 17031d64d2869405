package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// MultiVersion is the first byte of an encoded proof of many keys.
const MultiVersion = 2

// Limits of a proof of many keys.
const (
	// MaxMultiBytes bounds its encoding, bytes.
	MaxMultiBytes = 64 << 20
	// MaxMultiNodes bounds its nodes, of all kinds together: in memory they take
	// some 200 MB at most.
	MaxMultiNodes = 1 << 21
)

// Tags of the nodes in an encoded proof of many keys (TREE.md).
const (
	tagEmpty  = 0 // the state has no key: the whole tree
	tagInner  = 1
	tagShown  = 2 // a leaf with its key and value
	tagOther  = 3 // a leaf of which only path and value hash are given
	tagHidden = 4 // a subtree of which only the hash is given
)

// Multi is a proof of many keys: the tree of the state, cut back to the walks for
// those keys. It answers for each of them, and computes the root after they are
// written. It is made by [DecodeMulti] and never changes.
type Multi struct {
	nodes  []multiNode // children before their parents; the last is the root
	leaves []multiLeaf
	bytes  int
}

type multiNode struct {
	tag         uint8
	bit         uint8 // inner
	left, right int32 // inner: numbers of nodes
	near        int32 // the first leaf at or below; -1 below a hidden one
	hash        [32]byte
}

type multiLeaf struct {
	path       [32]byte
	key, value []byte // shown
	shown      bool
}

// The parts of an encoded proof of many keys, for whoever has the tree: the
// version, and then its nodes, each inner one followed by its left and right.

// AppendMulti begins the encoding.
func AppendMulti(dst []byte) []byte { return append(dst, MultiVersion) }

// AppendEmpty is the whole tree of a state without keys.
func AppendEmpty(dst []byte) []byte { return append(dst, tagEmpty) }

// AppendInner is an inner node on a bit; its left and right child follow.
func AppendInner(dst []byte, bit uint8) []byte { return append(dst, tagInner, bit) }

// AppendShown is a leaf that a key of the proof has.
func AppendShown(dst, key, value []byte) []byte {
	dst = append(dst, tagShown, uint8(len(key)))
	dst = append(dst, key...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}

// AppendOther is a leaf at which the walk for an absent key ends.
func AppendOther(dst []byte, path, valueHash *[32]byte) []byte {
	return append(append(append(dst, tagOther), path[:]...), valueHash[:]...)
}

// AppendHidden is a subtree that no walk enters.
func AppendHidden(dst []byte, hash *[32]byte) []byte {
	return append(append(dst, tagHidden), hash[:]...)
}

// DecodeMulti reads a proof of many keys, and nothing after it, and checks its
// form. Keys and values are parts of b. What it is worth, [Multi.Check] says.
func DecodeMulti(b []byte) (*Multi, error) { return decodeMulti(b, MaxMultiNodes) }

func decodeMulti(b []byte, maxNodes int) (*Multi, error) {
	if len(b) > MaxMultiBytes {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLong, len(b), MaxMultiBytes)
	}
	d := multiDecoder{reader: reader{b: b}, m: &Multi{bytes: len(b)}, maxNodes: maxNodes}
	v := d.take(1)
	if v == nil {
		return nil, fmt.Errorf("%w: no version", ErrTruncated)
	}
	if v[0] != MultiVersion {
		return nil, fmt.Errorf("%w: %d, want %d", ErrVersion, v[0], MultiVersion)
	}
	if _, err := d.node(-1); err != nil {
		return nil, err
	}
	if len(d.b) != 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrTrailing, len(d.b))
	}
	return d.m, nil
}

type multiDecoder struct {
	reader
	m        *Multi
	maxNodes int
	nodes    int // begun
}

// node reads a subtree below an inner node on bit above, -1 for the whole tree.
// Bits increase on the way down, so it calls itself at most 256 times deep.
func (d *multiDecoder) node(above int) (int32, error) {
	t := d.take(1)
	if t == nil {
		return 0, fmt.Errorf("%w: a node is missing", ErrTruncated)
	}
	if d.nodes++; d.nodes > d.maxNodes {
		return 0, fmt.Errorf("%w: more than %d nodes", ErrTooLong, d.maxNodes)
	}
	switch t[0] {
	case tagEmpty:
		if above >= 0 {
			return 0, fmt.Errorf("%w: an empty subtree", ErrShape)
		}
		return d.add(multiNode{tag: tagEmpty, near: -1}), nil
	case tagInner:
		return d.inner(above)
	case tagShown:
		return d.shown()
	case tagOther:
		return d.other()
	case tagHidden:
		return d.hidden()
	}
	return 0, fmt.Errorf("%w: node of kind %d", ErrMalformed, t[0])
}

func (d *multiDecoder) add(n multiNode) int32 {
	d.m.nodes = append(d.m.nodes, n)
	return int32(len(d.m.nodes) - 1)
}

func (d *multiDecoder) inner(above int) (int32, error) {
	b := d.take(1)
	if b == nil {
		return 0, fmt.Errorf("%w: inner node without a bit", ErrTruncated)
	}
	if err := follows(above, b[0]); err != nil {
		return 0, err
	}
	left, err := d.node(int(b[0]))
	if err != nil {
		return 0, err
	}
	right, err := d.node(int(b[0]))
	if err != nil {
		return 0, err
	}
	return d.join(b[0], left, right)
}

// follows checks that a walk decides on bit after the one above.
func follows(above int, bit uint8) error {
	switch {
	case int(bit) == above:
		return fmt.Errorf("%w: bit %d is decided on twice", ErrDuplicate, bit)
	case int(bit) < above:
		return fmt.Errorf("%w: bit %d is below bit %d", ErrOrder, bit, above)
	}
	return nil
}

// join makes an inner node. That each child's leaves agree on all bits before its
// own is known of both; so one leaf of each is enough to know it of the node.
func (d *multiDecoder) join(bit uint8, left, right int32) (int32, error) {
	m := d.m
	l, r := &m.nodes[left], &m.nodes[right]
	switch {
	case l.near < 0 && r.near < 0:
		return 0, fmt.Errorf("%w: both children of the node on bit %d are hidden", ErrShape, bit)
	case l.near < 0 || r.near < 0:
		near, side := l.near, 0
		if near < 0 {
			near, side = r.near, 1
		}
		if path := &m.leaves[near].path; Bit(path, bit) != side {
			return 0, fmt.Errorf("%w: the leaf with path %x is on side %d of bit %d", ErrOrder, *path, side, bit)
		}
	default:
		if err := splits(bit, &m.leaves[l.near].path, &m.leaves[r.near].path); err != nil {
			return 0, err
		}
	}
	near := l.near
	if near < 0 {
		near = r.near
	}
	return d.add(multiNode{tag: tagInner, bit: bit, left: left, right: right, near: near, hash: HashNode(bit, &l.hash, &r.hash)}), nil
}

// splits checks that two paths differ first in bit, the left with 0.
func splits(bit uint8, left, right *[32]byte) error {
	switch at := firstDifference(left, right); {
	case at == MaxSteps:
		return fmt.Errorf("%w: two leaves have path %x", ErrDuplicate, *left)
	case at != int(bit) || Bit(left, bit) != 0:
		return fmt.Errorf("%w: paths %x and %x below the node on bit %d", ErrOrder, *left, *right, bit)
	}
	return nil
}

// firstDifference is the first bit in which two paths differ, MaxSteps if none.
func firstDifference(a, b *[32]byte) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return MaxSteps
}

func (d *multiDecoder) leaf(tag uint8, l multiLeaf, valueHash [32]byte) int32 {
	d.m.leaves = append(d.m.leaves, l)
	return d.add(multiNode{tag: tag, near: int32(len(d.m.leaves) - 1), hash: HashLeaf(&l.path, &valueHash)})
}

func (d *multiDecoder) shown() (int32, error) {
	n := d.take(1)
	if n == nil {
		return 0, fmt.Errorf("%w: length of a key", ErrTruncated)
	}
	if n[0] > MaxKeyBytes {
		return 0, fmt.Errorf("%w: key of %d bytes, limit %d", ErrTooLong, n[0], MaxKeyBytes)
	}
	key := d.take(int(n[0]))
	if key == nil {
		return 0, fmt.Errorf("%w: key of %d bytes, %d are left", ErrTruncated, n[0], len(d.b))
	}
	value, err := d.value()
	if err != nil {
		return 0, err
	}
	return d.leaf(tagShown, multiLeaf{path: sha256.Sum256(key), key: key, value: value, shown: true}, sha256.Sum256(value)), nil
}

func (d *multiDecoder) other() (int32, error) {
	b := d.take(64)
	if b == nil {
		return 0, fmt.Errorf("%w: leaf", ErrTruncated)
	}
	return d.leaf(tagOther, multiLeaf{path: [32]byte(b)}, [32]byte(b[32:])), nil
}

func (d *multiDecoder) hidden() (int32, error) {
	b := d.take(32)
	if b == nil {
		return 0, fmt.Errorf("%w: hidden subtree", ErrTruncated)
	}
	return d.add(multiNode{tag: tagHidden, near: -1, hash: [32]byte(b)}), nil
}

func (m *Multi) top() int32 { return int32(len(m.nodes) - 1) }

// Root is the root of the state that the proof is about.
func (m *Multi) Root() [32]byte { return m.nodes[m.top()].hash }

// Size is the length of the encoding, bytes.
func (m *Multi) Size() int { return m.bytes }

// Check compares the proof with a root that is trusted.
func (m *Multi) Check(root [32]byte) error {
	if got := m.Root(); got != root {
		return fmt.Errorf("%w: it leads to root %x, want %x", ErrInvalid, got, root)
	}
	return nil
}

// walk returns the leaf at which the walk for a path ends, -1 if the state is
// empty.
func (m *Multi) walk(path *[32]byte) (int32, error) {
	n := &m.nodes[m.top()]
	for n.tag == tagInner {
		next := n.left
		if Bit(path, n.bit) == 1 {
			next = n.right
		}
		n = &m.nodes[next]
	}
	if n.tag == tagHidden {
		return -1, fmt.Errorf("%w: path %x", ErrNotCovered, *path)
	}
	return n.near, nil
}

// Get returns what a key is. A key that the proof is not about is [ErrNotCovered],
// never absent. The value is a part of what was decoded.
func (m *Multi) Get(key []byte) (value []byte, present bool, err error) {
	if len(key) > MaxKeyBytes {
		return nil, false, fmt.Errorf("%w: key of %d bytes, limit %d", ErrTooLong, len(key), MaxKeyBytes)
	}
	path := [32]byte(sha256.Sum256(key))
	at, err := m.walk(&path)
	if err != nil {
		return nil, false, fmt.Errorf("key %x: %w", key, err)
	}
	if at < 0 || m.leaves[at].path != path {
		return nil, false, nil
	}
	if l := &m.leaves[at]; l.shown {
		return l.value, true, nil
	}
	return nil, false, fmt.Errorf("key %x: %w: its value is not shown", key, ErrNotCovered)
}

// Shown calls yield for every key that the proof shows, in path order, until yield
// returns false.
func (m *Multi) Shown(yield func(key, value []byte) bool) {
	for i := range m.leaves {
		if l := &m.leaves[i]; l.shown && !yield(l.key, l.value) {
			return
		}
	}
}

// Exactly checks that the proof is about these keys and no others: that every leaf
// is the end of the walk for one of them, and that it is shown if it is its own.
// Together with the rules of [DecodeMulti] this makes the encoding the only one.
func (m *Multi) Exactly(keys [][]byte) error {
	used := make([]uint8, len(m.leaves)) // by leaf: 1 if a walk ends there, 2 if it is the key's own
	for _, key := range keys {
		path := [32]byte(sha256.Sum256(key))
		at, err := m.walk(&path)
		switch {
		case err != nil:
			return fmt.Errorf("key %x: %w", key, err)
		case at >= 0 && m.leaves[at].path == path:
			used[at] = 2
		case at >= 0:
			used[at] = max(used[at], 1)
		}
	}
	for i := range m.leaves {
		l := &m.leaves[i]
		switch {
		case used[i] == 0 || used[i] == 1 && l.shown:
			return fmt.Errorf("%w: the leaf with path %x", ErrSurplus, l.path)
		case used[i] == 2 && !l.shown:
			return fmt.Errorf("%w: the value at path %x is not shown", ErrNotCovered, l.path)
		}
	}
	return nil
}

// Update is a write of one key.
type Update struct {
	Key    []byte
	Value  []byte // ignored if Delete
	Delete bool   // a key that is absent may be deleted
}

// written is an update where it is in the tree.
type written struct {
	path [32]byte
	hash [32]byte // of the leaf
	gone bool
}

// RootAfter is the root of the state once the updates are made, each key at most
// once and in any order. A key that the proof is not about is [ErrNotCovered].
//
// No hash here depends on what is above it. So where a deletion leaves an inner
// node with one child, that child takes its place as it is, hidden or not.
func (m *Multi) RootAfter(updates []Update) (root [32]byte, err error) {
	writes := make([]written, len(updates))
	for i, u := range updates {
		if len(u.Key) > MaxKeyBytes || !u.Delete && len(u.Value) > MaxValueBytes {
			return root, fmt.Errorf("%w: key of %d bytes, value of %d", ErrTooLong, len(u.Key), len(u.Value))
		}
		writes[i] = written{path: sha256.Sum256(u.Key), gone: u.Delete}
		if !u.Delete {
			v := [32]byte(sha256.Sum256(u.Value))
			writes[i].hash = HashLeaf(&writes[i].path, &v)
		}
	}
	slices.SortFunc(writes, func(a, b written) int { return bytes.Compare(a.path[:], b.path[:]) })
	for i := 1; i < len(writes); i++ {
		if writes[i].path == writes[i-1].path {
			return root, fmt.Errorf("%w: two updates of path %x", ErrDuplicate, writes[i].path)
		}
	}
	for i := range writes {
		if _, err := m.walk(&writes[i].path); err != nil {
			return root, err
		}
	}
	root, _, err = m.after(m.top(), writes)
	return root, err
}

// after is the hash of a subtree once writes, which all belong there, are made;
// false if nothing is left of it. It reorders writes.
func (m *Multi) after(at int32, writes []written) (hash [32]byte, exists bool, err error) {
	n := &m.nodes[at]
	switch {
	case n.tag == tagEmpty:
		hash, exists = grow(writes)
		return hash, exists, nil
	case len(writes) == 0:
		return n.hash, true, nil
	case n.tag == tagHidden:
		return hash, false, fmt.Errorf("%w: path %x is written", ErrNotCovered, writes[0].path)
	}
	near, end := &m.leaves[n.near].path, MaxSteps
	if n.tag == tagInner {
		end = int(n.bit)
	}
	writes, leaving := leave(writes, near, end)
	switch {
	case len(writes) == 0:
		return n.hash, true, nil
	case leaving < end:
		return m.fork(at, uint8(leaving), Bit(near, uint8(leaving)), writes)
	case n.tag == tagInner:
		cut := split(writes, n.bit)
		return m.both(n.bit, [2]int32{n.left, n.right}, [2][]written{writes[:cut], writes[cut:]})
	}
	return writes[0].hash, !writes[0].gone, nil
}

// leave returns the first bit before end at which a new key leaves a subtree, one of
// whose leaves is near, or end; and the writes without the keys that leave it only
// to be deleted: they are not there.
func leave(writes []written, near *[32]byte, end int) (rest []written, first int) {
	rest, first = writes[:0], end
	for _, w := range writes {
		at := firstDifference(&w.path, near)
		if w.gone && at < end {
			continue
		}
		rest, first = append(rest, w), min(first, at)
	}
	return rest, first
}

// none stands for a subtree that is not there.
const none = -1

// fork puts an inner node on a bit above a subtree, all of which is on one side.
func (m *Multi) fork(at int32, bit uint8, side int, writes []written) ([32]byte, bool, error) {
	cut := split(writes, bit)
	below := [2]int32{none, none}
	below[side] = at
	return m.both(bit, below, [2][]written{writes[:cut], writes[cut:]})
}

// both joins what becomes of two subtrees.
func (m *Multi) both(bit uint8, below [2]int32, writes [2][]written) (hash [32]byte, exists bool, err error) {
	var h [2][32]byte
	var ok [2]bool
	for side, at := range below {
		if at == none {
			h[side], ok[side] = grow(writes[side])
		} else if h[side], ok[side], err = m.after(at, writes[side]); err != nil {
			return hash, false, err
		}
	}
	hash, exists = joined(bit, &h, ok)
	return hash, exists, nil
}

// joined is an inner node, or the only child that there is.
func joined(bit uint8, h *[2][32]byte, ok [2]bool) ([32]byte, bool) {
	switch {
	case ok[0] && ok[1]:
		return HashNode(bit, &h[0], &h[1]), true
	case ok[0]:
		return h[0], true
	}
	return h[1], ok[1]
}

// grow is a subtree of new keys alone, in path order; what is deleted there was
// absent.
func grow(writes []written) (hash [32]byte, exists bool) {
	switch len(writes) {
	case 0:
		return hash, false
	case 1:
		return writes[0].hash, !writes[0].gone
	}
	bit := uint8(firstDifference(&writes[0].path, &writes[len(writes)-1].path))
	cut := split(writes, bit)
	var h [2][32]byte
	var ok [2]bool
	h[0], ok[0] = grow(writes[:cut])
	h[1], ok[1] = grow(writes[cut:])
	return joined(bit, &h, ok)
}

// split returns how many of the writes, which are in path order and agree on all
// bits before bit, are on its left.
func split(writes []written, bit uint8) int {
	cut, _ := slices.BinarySearchFunc(writes, 1, func(w written, one int) int { return Bit(&w.path, bit) - one })
	return cut
}
