package abi

// Signature is one secp256k1 signature that a transaction carries, over a digest
// that the module computed: r ‖ s ‖ v.
type Signature struct {
	Digest [32]byte
	Sig    [65]byte
}

// Inspection is what [ExportInspect] outputs for a well-formed transaction: its
// id, and the signatures that the host may recover ahead of execution.
type Inspection struct {
	ID         [32]byte
	Signatures []Signature
}

// AppendInspection appends the encoding of v.
func AppendInspection(dst []byte, v *Inspection) []byte {
	dst = append(dst, v.ID[:]...)
	dst = append(dst, byte(len(v.Signatures)))
	for i := range v.Signatures {
		dst = append(dst, v.Signatures[i].Digest[:]...)
		dst = append(dst, v.Signatures[i].Sig[:]...)
	}
	return dst
}

// ReadInspection decodes what [AppendInspection] wrote into v, reusing its
// slice; it reports whether b was well-formed.
func ReadInspection(b []byte, v *Inspection) bool {
	r := NewReader(b)
	v.ID = r.Bytes32()
	n := int(r.U8())
	if n > MaxSignatures {
		return false
	}
	v.Signatures = v.Signatures[:0]
	for range n {
		v.Signatures = append(v.Signatures, Signature{Digest: r.Bytes32(), Sig: r.Bytes65()})
	}
	return r.Done()
}
