// Package proof checks that a key has a value, or none, in a state whose root is
// known: the verifier's half of host/state/TREE.md, from the hash of a leaf to
// the encoding of a proof.
//
// It imports the standard library alone, so that anybody may use it without the
// node, and must stay that way.
//
//	p, err := proof.Decode(bytes)
//	value, present, err := proof.Verify(header.StateRoot, key, &p)
//
// Everything here is a pure function of its arguments: any number of goroutines
// may call it.
package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the first byte of an encoded proof of one key.
const Version = 1

// Limits of a proof.
const (
	MaxKeyBytes   = 128
	MaxValueBytes = 64 << 10
	MaxSteps      = 256 // one for each bit of a path
	// MaxBytes bounds an encoded proof.
	MaxBytes = 2 + 4 + MaxValueBytes + 2 + MaxSteps*stepBytes
)

const stepBytes = 1 + 32

// Errors of Decode and Verify; both wrap them with the particulars.
var (
	ErrMalformed = errors.New("malformed proof")
	ErrInvalid   = errors.New("proof does not hold")
)

// Kind is what a walk by the bits of a key's path ends at.
type Kind uint8

// The kinds.
const (
	Empty   Kind = iota // nothing: the state has no key at all
	Present             // the key's own leaf
	Other               // another key's leaf, which shows that the key is absent
)

// Proof is a walk from the root to a leaf.
type Proof struct {
	Kind      Kind
	Value     []byte   // Present: the value
	Path      [32]byte // Other: the path of that leaf
	ValueHash [32]byte // Other: the SHA-256 of its value
	Steps     []Step   // root first
}

// Step is one inner node of the walk: which bit of the path it decides on, and
// the hash of the child that the walk does not enter.
type Step struct {
	Bit     uint8
	Sibling [32]byte
}

// HashLeaf is the hash of a leaf.
func HashLeaf(path *[32]byte, valueHash *[32]byte) [32]byte {
	var b [65]byte
	copy(b[1:], path[:])
	copy(b[33:], valueHash[:])
	return sha256.Sum256(b[:])
}

// HashNode is the hash of an inner node whose children differ first in bit.
func HashNode(bit uint8, left, right *[32]byte) [32]byte {
	var b [66]byte
	b[0], b[1] = 1, bit
	copy(b[2:], left[:])
	copy(b[34:], right[:])
	return sha256.Sum256(b[:])
}

// Bit is bit i of a path, counted from the most significant of the first byte.
func Bit(path *[32]byte, i uint8) int { return int(path[i/8]>>(7-i%8)) & 1 }

// Verify checks p against a root and returns what it shows: the value of key, or
// that key is absent. The value is p's own.
func Verify(root [32]byte, key []byte, p *Proof) (value []byte, present bool, err error) {
	if len(key) > MaxKeyBytes || len(p.Value) > MaxValueBytes || len(p.Steps) > MaxSteps {
		return nil, false, fmt.Errorf("%w: key of %d bytes, value of %d, %d steps", ErrMalformed, len(key), len(p.Value), len(p.Steps))
	}
	path := [32]byte(sha256.Sum256(key))
	end, err := p.end(&path)
	if err != nil {
		return nil, false, err
	}
	if got := p.fold(&path, end); got != root {
		return nil, false, fmt.Errorf("%w: it leads to root %x, want %x", ErrInvalid, got, root)
	}
	return p.Value, p.Kind == Present, nil
}

// end checks the walk's form and returns the hash it ends at.
func (p *Proof) end(path *[32]byte) (h [32]byte, err error) {
	for i := 1; i < len(p.Steps); i++ {
		if p.Steps[i].Bit <= p.Steps[i-1].Bit {
			return h, fmt.Errorf("%w: step %d decides on bit %d, the one above on %d", ErrMalformed, i, p.Steps[i].Bit, p.Steps[i-1].Bit)
		}
	}
	switch p.Kind {
	case Empty:
		if len(p.Steps) != 0 {
			return h, fmt.Errorf("%w: %d steps in an empty state", ErrMalformed, len(p.Steps))
		}
		return h, nil
	case Present:
		v := [32]byte(sha256.Sum256(p.Value))
		return HashLeaf(path, &v), nil
	case Other:
		return HashLeaf(&p.Path, &p.ValueHash), p.passes(path)
	}
	return h, fmt.Errorf("%w: kind %d", ErrMalformed, p.Kind)
}

// passes checks that the walk to the other leaf is the one the key would take,
// and that the leaf is not the key's own.
func (p *Proof) passes(path *[32]byte) error {
	if p.Path == *path {
		return fmt.Errorf("%w: the other leaf is the key's own", ErrInvalid)
	}
	for _, s := range p.Steps {
		if Bit(path, s.Bit) != Bit(&p.Path, s.Bit) {
			return fmt.Errorf("%w: the key leaves the walk at bit %d", ErrInvalid, s.Bit)
		}
	}
	return nil
}

// fold hashes from the leaf up to the root.
func (p *Proof) fold(path *[32]byte, h [32]byte) [32]byte {
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s := &p.Steps[i]
		if Bit(path, s.Bit) == 0 {
			h = HashNode(s.Bit, &h, &s.Sibling)
		} else {
			h = HashNode(s.Bit, &s.Sibling, &h)
		}
	}
	return h
}

// Append appends the encoding of p to dst.
func (p *Proof) Append(dst []byte) []byte {
	dst = append(dst, Version, byte(p.Kind))
	switch p.Kind {
	case Present:
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p.Value)))
		dst = append(dst, p.Value...)
	case Other:
		dst = append(dst, p.Path[:]...)
		dst = append(dst, p.ValueHash[:]...)
	}
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(p.Steps)))
	for i := range p.Steps {
		dst = append(dst, p.Steps[i].Bit)
		dst = append(dst, p.Steps[i].Sibling[:]...)
	}
	return dst
}

// Decode reads what [Proof.Append] wrote, and nothing after it. The value is a
// part of b.
func Decode(b []byte) (Proof, error) {
	r := reader{b: b}
	var p Proof
	if v := r.take(1); r.ok() && v[0] != Version {
		return p, fmt.Errorf("%w: version %d, want %d", ErrMalformed, v[0], Version)
	}
	p.Kind = r.kind()
	switch p.Kind {
	case Present:
		p.Value = r.value()
	case Other:
		copy(p.Path[:], r.take(32))
		copy(p.ValueHash[:], r.take(32))
	}
	p.Steps = r.steps()
	if !r.ok() || len(r.b) != 0 {
		return Proof{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	return p, nil
}

// reader takes bytes off the front; once it fails it stays failed.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) ok() bool { return !r.failed }

func (r *reader) take(n int) []byte {
	if r.failed || n > len(r.b) {
		r.failed = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) kind() Kind {
	b := r.take(1)
	if b == nil || Kind(b[0]) > Other {
		r.failed = true
		return Empty
	}
	return Kind(b[0])
}

func (r *reader) value() []byte {
	n := r.take(4)
	if n == nil || binary.LittleEndian.Uint32(n) > MaxValueBytes {
		r.failed = true
		return nil
	}
	return r.take(int(binary.LittleEndian.Uint32(n)))
}

// steps checks the count against the bytes that are there before it allocates.
func (r *reader) steps() []Step {
	n := r.take(2)
	if n == nil {
		return nil
	}
	count := int(binary.LittleEndian.Uint16(n))
	raw := r.take(count * stepBytes)
	if raw == nil || count > MaxSteps {
		r.failed = true
		return nil
	}
	steps := make([]Step, count)
	for i := range steps {
		s := raw[i*stepBytes:]
		steps[i].Bit = s[0]
		copy(steps[i].Sibling[:], s[1:stepBytes])
	}
	return steps
}
