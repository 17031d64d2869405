package stf

import (
	"crypto/sha256"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Trap is how a host call stops the guest: a machine turns it into its engine's
// trap and reports CodeTrap.
type Trap struct{ Reason string }

func (t *Trap) Error() string { return t.Reason }

// Session is the host's side of one export call: what the guest asked for, and
// what it is allowed to ask for. host/wasm and host/native both call it, so that
// the rules exist once. A method that returns a Trap must stop the guest.
type Session struct {
	Crypto Crypto
	Log    func(line []byte) // nil: dropped

	export string
	phase  abi.Phase
	view   View
	state  State
	tx     *Tx
	start  int // mark before the call
	kept   int // mark at accept

	accepted bool
	id       chain.Hash
	written  int // bytes of keys and values
	output   []byte
	record   bool              // remember hashes in tx
	sum      chain.Hash        // the last hash that was computed
	address  chain.Address     // the last address that was
	outer    [2 + 32 + 32]byte // what an EIP-712 digest is the hash of
	typed    Typed

	// What outlives the call: events, and what a Tx caches.
	events     arena[[]byte]
	hashes     arena[Keccak]
	signers    arena[Signer]
	bytes      bytesArena
	inspection abi.Inspection // reused
}

// Start begins an export call. state is nil in a phase that cannot write; tx is
// nil where there is none.
func (s *Session) Start(export string, phase abi.Phase, view View, state State, tx *Tx) {
	s.export, s.phase, s.view, s.state, s.tx = export, phase, view, state, tx
	s.accepted, s.id, s.written, s.output = false, chain.Hash{}, 0, s.output[:0]
	s.events.begin()
	if s.record = phase == abi.PhaseNone && tx != nil; s.record {
		s.hashes.begin()
		tx.Hashes = nil
	}
	if state != nil {
		s.start = state.Mark()
		s.kept = s.start
	}
}

// Finish ends the call: the writes of a failed one are taken back, to accept's
// mark if it got that far. The detail of a module's own error is its output; the
// detail of a trap is the reason of the [Trap] that a method here returned, and
// empty for a trap of the engine's own, whose words differ between engines and
// would reach the receipts root.
func (s *Session) Finish(code abi.Code, trap string) Outcome {
	out := Outcome{Code: code, Accepted: s.accepted, ID: s.id, Output: s.output}
	switch {
	case code == abi.CodeOK:
		if s.phase == abi.PhaseExecute && !s.accepted {
			// Nothing may be written for a transaction that never was accepted.
			s.state.Revert(s.start)
			break
		}
		out.Events = s.events.run()
	case s.state != nil:
		s.state.Revert(s.kept)
	}
	if out.Events == nil {
		s.events.drop()
	}
	if code != abi.CodeOK {
		out.Detail = trap
		if code < abi.HostCodeMin {
			out.Detail = string(s.output)
		}
		if len(out.Detail) > abi.MaxDetailBytes {
			out.Detail = out.Detail[:abi.MaxDetailBytes]
		}
	}
	s.view, s.state, s.tx = nil, nil, nil
	return out
}

func (s *Session) forbid(call string) *Trap {
	return &Trap{fmt.Sprintf("%s may not call %s", s.export, call)}
}

func checkKey(key []byte) *Trap {
	if len(key) == 0 || len(key) > abi.MaxKeyBytes {
		return &Trap{fmt.Sprintf("state key of %d bytes, want 1 to %d", len(key), abi.MaxKeyBytes)}
	}
	return nil
}

// StateGet reads a key: the value, valid until the next write, or false.
func (s *Session) StateGet(key []byte) ([]byte, bool, *Trap) {
	if s.phase < abi.PhaseRead {
		return nil, false, s.forbid(abi.ImportStateGet)
	}
	if t := checkKey(key); t != nil {
		return nil, false, t
	}
	v, ok := s.view.Get(key)
	return v, ok, nil
}

// StateSet writes a key; both slices are copied.
func (s *Session) StateSet(key, value []byte) *Trap {
	if s.phase < abi.PhaseHook {
		return s.forbid(abi.ImportStateSet)
	}
	if t := checkKey(key); t != nil {
		return t
	}
	if len(value) > abi.MaxValueBytes {
		return &Trap{fmt.Sprintf("state value of %d bytes, limit %d", len(value), abi.MaxValueBytes)}
	}
	if t := s.count(len(key) + len(value)); t != nil {
		return t
	}
	s.state.Set(key, value)
	return nil
}

// count bounds what one call may write: every write is kept until the block is
// committed, also of a key that is written again and again.
func (s *Session) count(n int) *Trap {
	limit := abi.MaxHookWrites
	if s.phase == abi.PhaseExecute {
		limit = abi.MaxTxWrites
	}
	if s.written += n; s.written > limit {
		return &Trap{fmt.Sprintf("%s writes more than %d bytes", s.export, limit)}
	}
	return nil
}

// StateDelete removes a key; removing one that is absent is allowed.
func (s *Session) StateDelete(key []byte) *Trap {
	if s.phase < abi.PhaseHook {
		return s.forbid(abi.ImportStateDelete)
	}
	if t := checkKey(key); t != nil {
		return t
	}
	if t := s.count(len(key)); t != nil {
		return t
	}
	s.state.Delete(key)
	return nil
}

// Keccak256 hashes b, or remembers that inspect hashed the same bytes.
func (s *Session) Keccak256(b []byte) chain.Hash { return *s.keccak(b) }

// keccak is Keccak256; what it points to is valid until the next call.
func (s *Session) keccak(b []byte) *chain.Hash {
	if s.tx != nil {
		for i := range s.tx.Hashes {
			if h := &s.tx.Hashes[i]; string(h.Input) == string(b) {
				return &h.Sum
			}
		}
	}
	s.sum = s.Crypto.Keccak256(b)
	if s.record && len(s.tx.Hashes) < maxRemembered {
		s.hashes.add(Keccak{Input: s.bytes.keep(b), Sum: s.sum})
		s.tx.Hashes = s.hashes.run()
	}
	return &s.sum
}

// maxRemembered bounds the hashes remembered for one transaction.
const maxRemembered = 4 * abi.MaxSignatures

// SHA256 hashes b.
func (s *Session) SHA256(b []byte) chain.Hash { return sha256.Sum256(b) }

// Recover returns the signer of digest, from the cache if inspect named the
// signature.
func (s *Session) Recover(digest *[32]byte, sig *[65]byte) (chain.Address, bool, *Trap) {
	if s.phase < abi.PhaseRead {
		return chain.Address{}, false, s.forbid(abi.ImportRecover)
	}
	a, ok := s.signer(digest, sig)
	return *a, ok, nil
}

// signer is Recover; what it points to is valid until the next call.
func (s *Session) signer(digest *[32]byte, sig *[65]byte) (*chain.Address, bool) {
	if s.tx != nil {
		for i := range s.tx.Signers {
			c := &s.tx.Signers[i]
			if c.Noted {
				c.Digest, c.Sig, c.Noted = *digest, *sig, false
			}
			if c.Digest == *digest && c.Sig == *sig {
				return &c.Address, c.OK
			}
		}
	}
	var ok bool
	s.address, ok = s.Crypto.Recover(digest, sig)
	return &s.address, ok
}

// Signer712 is the EIP-712 digest of a struct's words under a domain, and who signed
// it: Keccak256 twice and Recover, with what each of them remembers.
// The answer is valid until the next call.
func (s *Session) Signer712(domain *[32]byte, words []byte, sig *[65]byte) (*Typed, *Trap) {
	if s.phase < abi.PhaseRead {
		return nil, s.forbid(abi.ImportSigner712)
	}
	b, v := &s.outer, &s.typed
	b[0], b[1] = 0x19, 0x01
	*(*[32]byte)(b[2:]), *(*chain.Hash)(b[34:]) = *domain, *s.keccak(words)
	v.Digest = *s.keccak(b[:])
	signer, ok := s.signer((*[32]byte)(&v.Digest), sig)
	v.Signer, v.OK = *signer, ok
	return v, nil
}

// Typed is a struct that was signed as EIP-712 says.
type Typed struct {
	Digest chain.Hash
	Signer chain.Address
	OK     bool // the signature is valid
}

// Accept names the running transaction: from here on it belongs in the block,
// and what has been written so far stays even if the rest fails.
func (s *Session) Accept(id *[32]byte) *Trap {
	if s.phase != abi.PhaseExecute {
		return s.forbid(abi.ImportAccept)
	}
	if s.accepted {
		return &Trap{"accept called twice"}
	}
	s.accepted, s.id, s.kept = true, *id, s.state.Mark()
	return nil
}

// Emit adds an event; the bytes are copied.
func (s *Session) Emit(event []byte) *Trap {
	if s.phase < abi.PhaseHook {
		return s.forbid(abi.ImportEmit)
	}
	if n := s.events.count(); len(event) > abi.MaxEventBytes || n >= abi.MaxEventsPerRun {
		return &Trap{fmt.Sprintf("event %d of %d bytes, limits %d and %d", n+1, len(event), abi.MaxEventsPerRun, abi.MaxEventBytes)}
	}
	s.events.add(s.bytes.keep(event))
	return nil
}

// Output sets the call's output, replacing an earlier one; the bytes are copied.
func (s *Session) Output(b []byte) *Trap {
	if len(b) > abi.MaxOutputBytes {
		return &Trap{fmt.Sprintf("output of %d bytes, limit %d", len(b), abi.MaxOutputBytes)}
	}
	s.output = append(s.output[:0], b...)
	return nil
}

// LogLine passes a line to the node's log; it reaches no result.
func (s *Session) LogLine(b []byte) *Trap {
	if len(b) > abi.MaxLogBytes {
		return &Trap{fmt.Sprintf("log line of %d bytes, limit %d", len(b), abi.MaxLogBytes)}
	}
	if s.Log != nil {
		s.Log(b)
	}
	return nil
}

// Inspected turns the output of an inspect call into what tx caches: its id and
// its signers, which [Recovery.Run] completes. The hashes were recorded on the
// way.
func (s *Session) Inspected(tx *Tx, out Outcome, schema *Schema) {
	tx.Leaf = chain.LeafHash(tx.Raw)
	if out.Code != abi.CodeOK {
		tx.Refusal = schema.Refusal(out)
		return
	}
	v := &s.inspection
	if !abi.ReadInspection(out.Output, v) {
		tx.Refusal = &Refusal{Code: abi.CodeTrap, Name: "Trap", Detail: "inspect returned malformed output"}
		return
	}
	tx.ID = v.ID
	s.signers.begin()
	for i := range v.Signatures {
		s.signers.add(Signer{Signature: v.Signatures[i]})
	}
	tx.Signers = s.signers.run()
}

// Recovery recovers the signers of transactions that were inspected: of all together,
// since that is faster than one by one. It keeps nothing but room, so that whatever happens
// to a session between two inspections loses no signer.
type Recovery struct{ signers []*Signer }

// Run sets Address and OK of every signer that [Session.Inspected] named.
func (r *Recovery) Run(crypto Crypto, txs []*Tx) {
	for _, tx := range txs {
		for i := range tx.Signers {
			r.signers = append(r.signers, &tx.Signers[i])
		}
	}
	crypto.RecoverAll(r.signers)
	clear(r.signers)
	r.signers = r.signers[:0]
}
