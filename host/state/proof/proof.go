// Package proof checks that a key has a value, or none, in a state whose root is
// known: the verifier's half of host/state/TREE.md, from the hash of a leaf to
// the encodings of a proof of one key ([Proof]) and of many ([Multi]), and a node's
// answer as a whole, with the header that vouches for the root ([Answer]).
//
// It imports the standard library alone, so that anybody may use it without the
// node, and must stay that way.
//
//	p, err := proof.Decode(bytes)
//	value, present, err := proof.Verify(header.StateRoot, key, &p)
//
//	m, err := proof.DecodeMulti(bytes)
//	err = m.Check(header.StateRoot)
//	value, present, err := m.Get(key)        any key of the proof
//	root, err := m.RootAfter(updates)        after they are written
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

// What comes of a proof that is not to be believed; every error here wraps one of
// these, with the particulars.
var (
	// ErrMalformed: it is no proof at all, whatever the root. The next ones say why.
	ErrMalformed = errors.New("malformed proof")
	// ErrInvalid: it is well-formed, and leads to another root or another key.
	ErrInvalid = errors.New("proof does not hold")
	// ErrNotCovered: the proof says nothing about the key that was asked for.
	ErrNotCovered = errors.New("key is outside the proof")
	// ErrSurplus: the proof shows more than the keys it is for.
	ErrSurplus = errors.New("proof shows more than it is for")
)

// The ways of being malformed, each an [ErrMalformed].
var (
	ErrVersion   = fmt.Errorf("%w: version", ErrMalformed)
	ErrTruncated = fmt.Errorf("%w: bytes are missing", ErrMalformed)
	ErrTrailing  = fmt.Errorf("%w: bytes after the end", ErrMalformed)
	ErrTooLong   = fmt.Errorf("%w: over a limit", ErrMalformed)
	ErrTooDeep   = fmt.Errorf("%w: deeper than a path has bits", ErrMalformed)
	ErrOrder     = fmt.Errorf("%w: out of order", ErrMalformed)
	ErrDuplicate = fmt.Errorf("%w: twice", ErrMalformed)
	ErrShape     = fmt.Errorf("%w: not a tree cut back to walks", ErrMalformed)
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
	switch {
	case len(key) > MaxKeyBytes || len(p.Value) > MaxValueBytes:
		return nil, false, fmt.Errorf("%w: key of %d bytes, value of %d", ErrTooLong, len(key), len(p.Value))
	case len(p.Steps) > MaxSteps:
		return nil, false, fmt.Errorf("%w: %d steps", ErrTooDeep, len(p.Steps))
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
		if err := follows(int(p.Steps[i-1].Bit), p.Steps[i].Bit); err != nil {
			return h, fmt.Errorf("step %d: %w", i, err)
		}
	}
	switch p.Kind {
	case Empty:
		if len(p.Steps) != 0 {
			return h, fmt.Errorf("%w: %d steps in an empty state", ErrShape, len(p.Steps))
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
func Decode(b []byte) (p Proof, err error) {
	r := reader{b: b}
	head := r.take(2)
	switch {
	case head == nil:
		return p, fmt.Errorf("%w: %d, want a version and a kind", ErrTruncated, len(b))
	case head[0] != Version:
		return p, fmt.Errorf("%w: %d, want %d", ErrVersion, head[0], Version)
	}
	p.Kind = Kind(head[1])
	if err = r.end(&p); err != nil {
		return Proof{}, err
	}
	if p.Steps, err = r.steps(); err != nil {
		return Proof{}, err
	}
	if len(r.b) != 0 {
		return Proof{}, fmt.Errorf("%w: %d bytes", ErrTrailing, len(r.b))
	}
	return p, nil
}

// reader takes bytes off the front.
type reader struct{ b []byte }

// take returns the next n bytes, nil if there are fewer.
func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// end reads what the walk ends at.
func (r *reader) end(p *Proof) (err error) {
	switch p.Kind {
	case Empty:
	case Present:
		p.Value, err = r.value()
	case Other:
		leaf := r.take(64)
		if leaf == nil {
			return fmt.Errorf("%w: the other leaf", ErrTruncated)
		}
		p.Path, p.ValueHash = [32]byte(leaf), [32]byte(leaf[32:])
	default:
		err = fmt.Errorf("%w: kind %d", ErrMalformed, p.Kind)
	}
	return err
}

// value checks the length against its limit and the bytes that are there.
func (r *reader) value() ([]byte, error) {
	n := r.take(4)
	if n == nil {
		return nil, fmt.Errorf("%w: length of a value", ErrTruncated)
	}
	size := binary.LittleEndian.Uint32(n)
	if size > MaxValueBytes {
		return nil, fmt.Errorf("%w: value of %d bytes, limit %d", ErrTooLong, size, MaxValueBytes)
	}
	v := r.take(int(size))
	if v == nil {
		return nil, fmt.Errorf("%w: value of %d bytes, %d are left", ErrTruncated, size, len(r.b))
	}
	return v, nil
}

// steps checks the count against its limit and the bytes that are there before it
// allocates.
func (r *reader) steps() ([]Step, error) {
	n := r.take(2)
	if n == nil {
		return nil, fmt.Errorf("%w: number of steps", ErrTruncated)
	}
	count := int(binary.LittleEndian.Uint16(n))
	if count > MaxSteps {
		return nil, fmt.Errorf("%w: %d steps, limit %d", ErrTooDeep, count, MaxSteps)
	}
	raw := r.take(count * stepBytes)
	if raw == nil {
		return nil, fmt.Errorf("%w: %d steps take %d bytes, %d are left", ErrTruncated, count, count*stepBytes, len(r.b))
	}
	steps := make([]Step, count)
	for i := range steps {
		steps[i] = Step{Bit: raw[i*stepBytes], Sibling: [32]byte(raw[i*stepBytes+1:])}
	}
	return steps, nil
}
