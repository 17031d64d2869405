package abi

import (
	"bytes"
	"testing"
)

func TestReaderTakesWhatWasAppended(t *testing.T) {
	b := AppendU16(nil, 0xABCD)
	b = AppendU32(b, 0xDEADBEEF)
	b = AppendU64(b, 1<<63|5)
	b = AppendBool(b, true)
	b = AppendBytes(b, []byte{1, 2})
	b = AppendString(b, "hé")
	var tail [20 + 32 + 65]byte
	for i := range tail {
		tail[i] = byte(i)
	}
	b = append(b, tail[:]...)
	r := NewReader(b)
	if r.U16() != 0xABCD || r.U32() != 0xDEADBEEF || r.U64() != 1<<63|5 || !r.Bool() ||
		!bytes.Equal(r.Bytes(2), []byte{1, 2}) || r.String(3) != "hé" {
		t.Fatal("a value came back different")
	}
	if r.Bytes20() != [20]byte(tail[:]) || r.Bytes32() != [32]byte(tail[20:]) {
		t.Fatal("an address or hash came back different")
	}
	if r.Done() {
		t.Fatal("done with 65 bytes left")
	}
	if r.Bytes65() != [65]byte(tail[52:]) {
		t.Fatal("a signature came back different")
	}
	if !r.Done() {
		t.Fatal("not done at the end")
	}
}

func TestReaderFails(t *testing.T) {
	for name, read := range map[string]func(r *Reader){
		"u16":             func(r *Reader) { r.Take(3); r.U16() },
		"u64":             func(r *Reader) { r.U64() },
		"negative take":   func(r *Reader) { r.Take(-1) },
		"address":         func(r *Reader) { r.Bytes20() },
		"hash":            func(r *Reader) { r.Bytes32() },
		"signature":       func(r *Reader) { r.Bytes65() },
		"bool 2":          func(r *Reader) { r.Bool() },
		"over max":        func(r *Reader) { r.Bytes(1) },
		"count too large": func(r *Reader) { r.Count(1) },
	} {
		r := NewReader([]byte{2, 0, 0, 0})
		read(&r)
		if r.OK() || r.Done() || r.U64() != 0 || r.Rest() != nil {
			t.Errorf("%s: the reader goes on", name)
		}
	}
}

func TestCountFitsTheRest(t *testing.T) {
	r := NewReader(append(AppendU32(nil, 3), make([]byte, 12)...))
	if n := r.Count(4); n != 3 || !r.OK() {
		t.Fatalf("3 items of 4 bytes in 12: %d, %v", n, r.OK())
	}
	r = NewReader(append(AppendU32(nil, 4), make([]byte, 12)...))
	if n := r.Count(4); n != 0 || r.OK() {
		t.Fatalf("4 items of 4 bytes in 12: %d, %v", n, r.OK())
	}
}

func FuzzInspection(f *testing.F) {
	f.Add(AppendInspection(nil, &Inspection{ID: [32]byte{1}, Signatures: make([]Signature, 2)}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v Inspection
		if ReadInspection(b, &v) && !bytes.Equal(AppendInspection(nil, &v), b) {
			t.Fatalf("%x reads and appends as %x", b, AppendInspection(nil, &v))
		}
	})
}
