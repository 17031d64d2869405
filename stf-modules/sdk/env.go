package sdk

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// Env is what a module may ask of its host during one export call. A request
// that the contract forbids (writing in a query, a key that is too long) does not
// return: it is a trap.
type Env struct {
	raw   raw
	value [abi.MaxValueBytes]byte
	text  [abi.MaxDetailBytes]byte
}

// Get reads a state key. The value is the caller's to change, and valid until the
// next Get; false if there is no such key.
func (e *Env) Get(key []byte) ([]byte, bool) {
	n := e.raw.stateGet(key, e.value[:])
	if n < 0 {
		return nil, false
	}
	return e.value[:n], true
}

// Load reads a state key into dst and returns the value's length, or -1 if there is no
// such key. A value that is longer than dst is not copied.
func (e *Env) Load(key, dst []byte) int { return e.raw.stateGet(key, dst) }

// GetInto reads a state key into dst, which must be large enough for whatever is
// stored there, and returns the length; false if there is no such key.
func (e *Env) GetInto(key, dst []byte) (n int, ok bool) {
	n = e.raw.stateGet(key, dst)
	if n > len(dst) {
		panic("state value is longer than its buffer")
	}
	return max(n, 0), n >= 0
}

// Set writes a state key; both slices are copied.
func (e *Env) Set(key, value []byte) { e.raw.stateSet(key, value) }

// Delete removes a state key; it may be absent.
func (e *Env) Delete(key []byte) { e.raw.stateDelete(key) }

// Keccak256 puts the hash of b, as Ethereum computes it, into out.
func (e *Env) Keccak256(b []byte, out *[32]byte) { e.raw.keccak256(b, out) }

// SHA256 puts the hash of b into out.
func (e *Env) SHA256(b []byte, out *[32]byte) { e.raw.sha256(b, out) }

// Recover puts the address whose key signed digest into out; false if sig is not
// a valid signature (r ‖ s ‖ v, low s, v in {0, 1, 27, 28}).
func (e *Env) Recover(digest *[32]byte, sig *[65]byte, out *[20]byte) bool {
	return e.raw.recover(digest, sig, out)
}

// Typed is what [Env.Signer712] finds out, as the host writes it.
type Typed struct {
	Digest [32]byte // what was signed
	Signer [20]byte // by whom, if the signature is valid
}

// Signer712 is who signed a struct as EIP-712 says: out.Digest becomes
// keccak256(0x19 0x01 ‖ domain ‖ keccak256(words)), where words is the struct's type
// hash and its members, 32 bytes each, and out.Signer the address whose key signed
// it; false, and no signer, if sig is not a valid signature (see [Env.Recover]).
func (e *Env) Signer712(domain *[32]byte, words []byte, sig *[65]byte, out *Typed) bool {
	return e.raw.signer712(domain, words, sig, out)
}

// Accept names the running transaction: from here on it belongs in the block,
// and what was written so far stays even if the rest fails.
func (e *Env) Accept(id *[32]byte) { e.raw.accept(id) }

// Emit adds an event, which must be as the module's schema describes.
func (e *Env) Emit(event []byte) { e.raw.emit(event) }

// Output sets the answer of a query, replacing an earlier one.
func (e *Env) Output(b []byte) { e.raw.output(b) }

// Log passes a line to the node's log. It reaches no result.
func (e *Env) Log(line []byte) { e.raw.log(line) }

// Run makes the calls of a batch, in order and each as if it were made alone: one that
// the contract forbids is a trap. Inside a guest that is one call of the host, which
// saves some 50 ns for each of the others. Requests name what they read and write when
// they are made, and may be run again and again; the slices and arrays must be fields of
// what lasts as long as they do.
func (e *Env) Run(batch []Request) { e.raw.run(batch) }

// Fail returns code after passing on why, for people. The detail of a failed
// transaction is part of its receipt, so it must be a function of state and
// input alone.
//
//go:noinline
func (e *Env) Fail(code abi.Code, detail Text) abi.Code {
	e.raw.output(detail)
	return code
}

// Text starts a detail for [Env.Fail], in a buffer that the next call reuses.
//
//go:noinline
func (e *Env) Text(s string) Text { return Text(append(e.text[:0], s...)) }

// Text is a line of text under construction. It allocates nothing below
// abi.MaxDetailBytes, beyond which the host cuts a detail off.
type Text []byte

// Str appends s.
//
//go:noinline
func (t Text) Str(s string) Text { return append(t, s...) }

// Bytes appends b as it is.
//
//go:noinline
func (t Text) Bytes(b []byte) Text { return append(t, b...) }

// U64 appends v in decimal.
//
//go:noinline
func (t Text) U64(v uint64) Text { return appendDecimal(t, v) }

// Hex appends 0x and b in hex.
//
//go:noinline
func (t Text) Hex(b []byte) Text { return appendHex(append(t, '0', 'x'), b) }

// pairs are the decimal numbers of two digits.
const pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"

func appendDecimal(dst []byte, v uint64) []byte {
	var digits [20]byte
	i := len(digits)
	for v >= 100 {
		q := v / 100
		p := 2 * (v - 100*q)
		i -= 2
		digits[i], digits[i+1] = pairs[p], pairs[p+1]
		v = q
	}
	if v >= 10 {
		i--
		digits[i] = pairs[2*v+1]
		v /= 10
	}
	i--
	digits[i] = byte('0' + v)
	return append(dst, digits[i:]...)
}

const hexDigits = "0123456789abcdef"

// appendHex makes room once: an append for each digit is what costs in a guest.
func appendHex(dst, b []byte) []byte {
	n := len(dst)
	dst = append(append(dst, b...), b...)
	digits := dst[n:]
	for i, c := range b {
		digits[2*i], digits[2*i+1] = hexDigits[c>>4], hexDigits[c&15]
	}
	return dst
}
