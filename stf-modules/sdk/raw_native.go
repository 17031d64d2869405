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

// Request is one call in a batch.
type Request struct {
	make   func(r *raw, q *Request)
	a, b   []byte
	hash   *[32]byte
	sig    *[65]byte
	typed  *Typed
	answer int
}

func (r *raw) run(list []Request) {
	for i := range list {
		list[i].make(r, &list[i])
	}
}

// Load makes q what [Env.Load] does.
func (q *Request) Load(key, dst []byte) {
	*q = Request{a: key, b: dst, make: func(r *raw, q *Request) { q.answer = r.stateGet(q.a, q.b) }}
}

// Set makes q what [Env.Set] does.
func (q *Request) Set(key, value []byte) {
	*q = Request{a: key, b: value, make: func(r *raw, q *Request) { r.stateSet(q.a, q.b) }}
}

// Resize makes the value that q sets n bytes long, from where it began.
func (q *Request) Resize(n int) { q.b = q.b[:n] }

// Emit makes q what [Env.Emit] does.
func (q *Request) Emit(event []byte) {
	*q = Request{a: event, make: func(r *raw, q *Request) { r.emit(q.a) }}
}

// Accept makes q what [Env.Accept] does.
func (q *Request) Accept(id *[32]byte) {
	*q = Request{hash: id, make: func(r *raw, q *Request) { r.accept(q.hash) }}
}

// Signer712 makes q what [Env.Signer712] does, of what [Request.Signed] says.
func (q *Request) Signer712(domain *[32]byte, out *Typed) {
	*q = Request{hash: domain, typed: out, make: signer712}
}

// Signed says what a Signer712 is about.
func (q *Request) Signed(words []byte, sig *[65]byte) { q.a, q.sig = words, sig }

func signer712(r *raw, q *Request) {
	q.answer = 0
	if r.signer712(q.hash, q.a, q.sig, q.typed) {
		q.answer = 1
	}
}

// Answer is what the call returned: the length or -1 of a Load, 1 or 0 of a Signer712.
func (q *Request) Answer() int { return q.answer }
