package state

// The tree a second time, straight from TREE.md and in another style: paths are
// strings of "0" and "1", the tree is built anew from a map for every question.

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
)

// naive is a state.
type naive map[string]string

// naiveNode is a leaf (bit -1) or an inner node.
type naiveNode struct {
	sum         string // hash, once computed
	bit         int
	left, right *naiveNode
	path        string
	key, value  string
}

func hashed(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "")))
	return string(sum[:])
}

func naivePath(key string) string {
	var s strings.Builder
	for _, b := range []byte(hashed(key)) {
		fmt.Fprintf(&s, "%08b", b)
	}
	return s.String()
}

func (n naive) tree() *naiveNode {
	byPath := map[string]*naiveNode{}
	for k, v := range n {
		p := naivePath(k)
		byPath[p] = &naiveNode{bit: -1, path: p, key: k, value: v}
	}
	var leaves []*naiveNode
	for _, p := range slices.Sorted(maps.Keys(byPath)) {
		leaves = append(leaves, byPath[p])
	}
	return naiveTree(leaves)
}

func naiveTree(leaves []*naiveNode) *naiveNode {
	switch len(leaves) {
	case 0:
		return nil
	case 1:
		return leaves[0]
	}
	agree := func(bit int) bool {
		return !slices.ContainsFunc(leaves, func(l *naiveNode) bool { return l.path[bit] != leaves[0].path[bit] })
	}
	bit := 0
	for agree(bit) {
		bit++
	}
	n := &naiveNode{bit: bit}
	var zeros, ones []*naiveNode
	for _, l := range leaves {
		if l.path[bit] == '0' {
			zeros = append(zeros, l)
		} else {
			ones = append(ones, l)
		}
	}
	n.left, n.right = naiveTree(zeros), naiveTree(ones)
	return n
}

func (n *naiveNode) hash() string {
	switch {
	case n == nil:
		return strings.Repeat("\x00", 32)
	case n.sum != "":
	case n.bit < 0:
		n.sum = hashed("\x00", hashed(n.key), hashed(n.value))
	default:
		n.sum = hashed("\x01", string([]byte{byte(n.bit)}), n.left.hash(), n.right.hash())
	}
	return n.sum
}

func (n naive) root() chain.Hash { return chain.Hash([]byte(n.tree().hash())) }

// prove is the encoded proof for key in the tree with the root at.
func (at *naiveNode) prove(key string) string {
	path := naivePath(key)
	var steps []string
	for at != nil && at.bit >= 0 {
		next, other := at.left, at.right
		if path[at.bit] == '1' {
			next, other = at.right, at.left
		}
		steps = append(steps, string([]byte{byte(at.bit)})+other.hash())
		at = next
	}
	head := "\x01\x00"
	switch {
	case at != nil && at.key == key:
		head = "\x01\x01" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(at.value)))) + at.value
	case at != nil:
		head = "\x01\x02" + hashed(at.key) + hashed(at.value)
	}
	return head + string(binary.LittleEndian.AppendUint16(nil, uint16(len(steps)))) + strings.Join(steps, "")
}
