//go:build !wasip1

package sdk

// Host answers a module that runs as plain Go: one method per import of the
// contract. A method that must not return (a trap) panics, and whoever called
// the [Guest] recovers.
type Host interface {
	// StateGet returns a view that is valid until the next write.
	StateGet(key []byte) (value []byte, ok bool)
	StateSet(key, value []byte)
	StateDelete(key []byte)
	Keccak256(b []byte) [32]byte
	SHA256(b []byte) [32]byte
	Recover(digest *[32]byte, sig *[65]byte) ([20]byte, bool)
	Signer712(domain *[32]byte, words []byte, sig *[65]byte) (digest [32]byte, signer [20]byte, ok bool)
	Accept(id *[32]byte)
	Emit(event []byte)
	Output(b []byte)
	Log(line []byte)
}

// NewGuest makes a guest that runs m natively and asks host.
func NewGuest(m Module, host Host) *Guest {
	return &Guest{module: m, env: Env{raw: raw{host}}}
}

// raw passes calls on to the host.
type raw struct{ host Host }

// stateGet copies, as the WebAssembly host does: a module that keeps a value
// across a write must see the same bytes on both.
func (r *raw) stateGet(key, dst []byte) int {
	v, ok := r.host.StateGet(key)
	if !ok {
		return -1
	}
	copy(dst, v)
	return len(v)
}

func (r *raw) stateSet(key, value []byte)        { r.host.StateSet(key, value) }
func (r *raw) stateDelete(key []byte)            { r.host.StateDelete(key) }
func (r *raw) keccak256(b []byte, out *[32]byte) { *out = r.host.Keccak256(b) }
func (r *raw) sha256(b []byte, out *[32]byte)    { *out = r.host.SHA256(b) }
func (r *raw) accept(id *[32]byte)               { r.host.Accept(id) }
func (r *raw) emit(b []byte)                     { r.host.Emit(b) }
func (r *raw) output(b []byte)                   { r.host.Output(b) }
func (r *raw) log(b []byte)                      { r.host.Log(b) }

func (r *raw) recover(digest *[32]byte, sig *[65]byte, out *[20]byte) (ok bool) {
	*out, ok = r.host.Recover(digest, sig)
	return ok
}

func (r *raw) signer712(domain *[32]byte, words []byte, sig *[65]byte, out *Typed) bool {
	digest, signer, ok := r.host.Signer712(domain, words, sig)
	out.Digest = digest
	if ok {
		out.Signer = signer
	}
	return ok
}
