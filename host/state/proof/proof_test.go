package proof_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/kaizenchain/kaizen/host/state/proof"
)

// leafOf is a state of one key.
func leafOf(key, value string) (path, valueHash, root [32]byte) {
	path, valueHash = sha256.Sum256([]byte(key)), sha256.Sum256([]byte(value))
	return path, valueHash, proof.HashLeaf(&path, &valueHash)
}

// two is a state of the keys a and b of TREE.md, which differ in bit 0.
func two() (root [32]byte, ofA, ofB proof.Proof, other proof.Proof) {
	pa, va, a := leafOf("a", "1")
	_, _, b := leafOf("b", "2")
	root = proof.HashNode(0, &b, &a)
	ofA = proof.Proof{Kind: proof.Present, Value: []byte("1"), Steps: []proof.Step{{Bit: 0, Sibling: b}}}
	ofB = proof.Proof{Kind: proof.Present, Value: []byte("2"), Steps: []proof.Step{{Bit: 0, Sibling: a}}}
	other = proof.Proof{Kind: proof.Other, Path: pa, ValueHash: va, Steps: []proof.Step{{Bit: 0, Sibling: b}}}
	return root, ofA, ofB, other
}

func TestVerify(t *testing.T) {
	root, ofA, ofB, other := two()
	path, valueHash, single := leafOf("a", "1")
	misled := other
	misled.Steps = []proof.Step{{Bit: 0, Sibling: ofB.Steps[0].Sibling}}
	for _, c := range []struct {
		name    string
		root    [32]byte
		key     string
		p       proof.Proof
		value   string
		present bool
		err     error
	}{
		{"present", root, "a", ofA, "1", true, nil},
		{"present on the other side", root, "b", ofB, "2", true, nil},
		{"absent", root, "e2", other, "", false, nil}, // sha256(e2) begins with bit 1 like a's
		{"empty state", [32]byte{}, "a", proof.Proof{}, "", false, nil},
		{"one key, present", single, "a", proof.Proof{Kind: proof.Present, Value: []byte("1")}, "1", true, nil},
		{"one key, absent", single, "b", proof.Proof{Kind: proof.Other, Path: path, ValueHash: valueHash}, "", false, nil},

		{"wrong value", root, "a", proof.Proof{Kind: proof.Present, Value: []byte("2"), Steps: ofA.Steps}, "", false, proof.ErrInvalid},
		{"wrong key", root, "b", ofA, "", false, proof.ErrInvalid},
		{"wrong root", single, "a", ofA, "", false, proof.ErrInvalid},
		{"step missing", root, "a", proof.Proof{Kind: proof.Present, Value: []byte("1")}, "", false, proof.ErrInvalid},
		{"a present key as absent", root, "a", other, "", false, proof.ErrInvalid},
		{"a key of the other side", root, "b", other, "", false, proof.ErrInvalid},
		{"empty, though it is not", root, "a", proof.Proof{}, "", false, proof.ErrInvalid},
		{"steps in an empty state", [32]byte{}, "a", proof.Proof{Steps: ofA.Steps}, "", false, proof.ErrShape},
		{"a bit twice", root, "a", proof.Proof{Kind: proof.Present, Value: []byte("1"), Steps: []proof.Step{{Bit: 4}, {Bit: 4}}}, "", false, proof.ErrDuplicate},
		{"bits not increasing", root, "a", proof.Proof{Kind: proof.Present, Value: []byte("1"), Steps: []proof.Step{{Bit: 4}, {Bit: 3}}}, "", false, proof.ErrOrder},
		{"too deep", root, "a", proof.Proof{Kind: proof.Present, Value: []byte("1"), Steps: make([]proof.Step, 257)}, "", false, proof.ErrTooDeep},
		{"unknown kind", root, "a", proof.Proof{Kind: 3}, "", false, proof.ErrMalformed},
		{"large key", root, string(make([]byte, proof.MaxKeyBytes+1)), ofA, "", false, proof.ErrTooLong},
		{"large value", root, "a", proof.Proof{Kind: proof.Present, Value: make([]byte, proof.MaxValueBytes+1)}, "", false, proof.ErrTooLong},
	} {
		value, present, err := proof.Verify(c.root, []byte(c.key), &c.p)
		if !errors.Is(err, c.err) || present != c.present || err == nil && string(value) != c.value {
			t.Errorf("%s: %q, %t, %v; want %q, %t, %v", c.name, value, present, err, c.value, c.present, c.err)
		}
	}
}

// TestLeafIsNoNode: an inner node given as a leaf's bytes, or the reverse, has
// another hash.
func TestLeafIsNoNode(t *testing.T) {
	var a, b [32]byte
	if proof.HashLeaf(&a, &b) == proof.HashNode(0, &a, &b) {
		t.Fatal("leaf and inner node have one hash")
	}
}

func TestDecodeRefuses(t *testing.T) {
	_, ofA, _, other := two()
	good := ofA.Append(nil)
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":           {nil, proof.ErrTruncated},
		"version":           {append([]byte{2}, good[1:]...), proof.ErrVersion},
		"kind":              {[]byte{1, 3, 0, 0}, proof.ErrMalformed},
		"a byte more":       {append(bytes.Clone(good), 0), proof.ErrTrailing},
		"a byte less":       {good[:len(good)-1], proof.ErrTruncated},
		"other cut":         {other.Append(nil)[:40], proof.ErrTruncated},
		"large value":       {append([]byte{1, 1, 1, 0, 1, 0}, make([]byte, 65537+2)...), proof.ErrTooLong},
		"value not there":   {[]byte{1, 1, 255, 0, 0, 0, 0, 0}, proof.ErrTruncated},
		"value not counted": {[]byte{1, 1, 255, 0}, proof.ErrTruncated},
		"no steps":          {[]byte{1, 0, 0}, proof.ErrTruncated},
		"steps not there":   {[]byte{1, 0, 1, 0}, proof.ErrTruncated},
		"too many steps":    {append([]byte{1, 0, 1, 1}, make([]byte, 257*33)...), proof.ErrTooDeep},
		"steps not counted": {append([]byte{1, 0, 0, 0}, make([]byte, 33)...), proof.ErrTrailing},
	} {
		if p, err := proof.Decode(c.b); !errors.Is(err, c.want) || !errors.Is(err, proof.ErrMalformed) {
			t.Errorf("%s: %+v, %v, want %v", name, p, err, c.want)
		}
	}
}

func TestLargestProof(t *testing.T) {
	p := proof.Proof{Kind: proof.Present, Value: make([]byte, proof.MaxValueBytes), Steps: make([]proof.Step, proof.MaxSteps)}
	raw := p.Append(nil)
	if len(raw) != proof.MaxBytes {
		t.Fatalf("%d bytes, limit says %d", len(raw), proof.MaxBytes)
	}
	if _, err := proof.Decode(raw); err != nil {
		t.Fatal(err)
	}
}

// FuzzDecode: whatever decodes encodes to the same bytes and can be verified
// without harm.
func FuzzDecode(f *testing.F) {
	root, ofA, ofB, other := two()
	for _, p := range []proof.Proof{ofA, ofB, other, {}} {
		f.Add(p.Append(nil))
	}
	f.Add([]byte{1, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := proof.Decode(b)
		if err != nil {
			if !errors.Is(err, proof.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes and encodes to %x", b, again)
		}
		value, present, err := proof.Verify(root, []byte("a"), &p)
		if err == nil && (!present || string(value) != "1") {
			t.Fatalf("%x shows that a is %q, %t", b, value, present)
		}
	})
}
