package stf_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// counting counts what really is computed.
type counting struct {
	secp.Crypto
	keccaks, recovers int
}

func (c *counting) Keccak256(b []byte) chain.Hash { c.keccaks++; return c.Crypto.Keccak256(b) }
func (c *counting) Recover(d *[32]byte, s *[65]byte) (chain.Address, bool) {
	c.recovers++
	return c.Crypto.Recover(d, s)
}
func (c *counting) RecoverAll(all []*stf.Signer) {
	for _, s := range all {
		s.Address, s.OK = c.Recover(&s.Digest, &s.Sig)
	}
}

// calls makes every host call with harmless arguments and reports which trap.
func calls(s *stf.Session) map[string]*stf.Trap {
	_, _, get := s.StateGet([]byte("k"))
	_, _, recover := s.Recover(&[32]byte{}, &[65]byte{})
	_, signer := s.Signer712(&[32]byte{}, nil, &[65]byte{})
	s.Keccak256(nil)
	s.SHA256(nil)
	return map[string]*stf.Trap{
		abi.ImportStateGet: get, abi.ImportRecover: recover, abi.ImportSigner712: signer,
		abi.ImportStateSet: s.StateSet([]byte("k"), nil), abi.ImportStateDelete: s.StateDelete([]byte("k")),
		abi.ImportEmit: s.Emit(nil), abi.ImportAccept: s.Accept(&[32]byte{}),
		abi.ImportOutput: s.Output(nil), abi.ImportLog: s.LogLine(nil),
	}
}

// TestPhases: which export may call what (ABI.md, the table of imports).
func TestPhases(t *testing.T) {
	always := []string{abi.ImportOutput, abi.ImportLog}
	read := append(always, abi.ImportStateGet, abi.ImportRecover, abi.ImportSigner712)
	hook := append(read, abi.ImportStateSet, abi.ImportStateDelete, abi.ImportEmit)
	for phase, allowed := range map[abi.Phase][]string{
		abi.PhaseNone: always, abi.PhaseRead: read, abi.PhaseHook: hook, abi.PhaseExecute: append(hook, abi.ImportAccept),
	} {
		ov := state.NewOverlay(nil)
		s := &stf.Session{Crypto: secp.Crypto{}}
		s.Start("export", phase, ov, ov, nil)
		for name, trap := range calls(s) {
			if want := strings.Contains(" "+strings.Join(allowed, " ")+" ", " "+name+" "); (trap == nil) != want {
				t.Errorf("phase %d, %s: allowed %v, want %v (%v)", phase, name, trap == nil, want, trap)
			}
		}
	}
}

func TestSessionLimits(t *testing.T) {
	ov := state.NewOverlay(nil)
	s := &stf.Session{Crypto: secp.Crypto{}}
	s.Start("execute", abi.PhaseExecute, ov, ov, nil)
	b := func(n int) []byte { return make([]byte, n) }
	for _, c := range []struct {
		name string
		trap *stf.Trap
		want bool
	}{
		{"empty key", s.StateSet(nil, nil), true},
		{"longest key", s.StateSet(b(abi.MaxKeyBytes), nil), false},
		{"key too long", s.StateSet(b(abi.MaxKeyBytes+1), nil), true},
		{"delete key too long", s.StateDelete(b(abi.MaxKeyBytes + 1)), true},
		{"longest value", s.StateSet([]byte("k"), b(abi.MaxValueBytes)), false},
		{"value too long", s.StateSet([]byte("k"), b(abi.MaxValueBytes+1)), true},
		{"longest event", s.Emit(b(abi.MaxEventBytes)), false},
		{"event too long", s.Emit(b(abi.MaxEventBytes + 1)), true},
		{"output too long", s.Output(b(abi.MaxOutputBytes + 1)), true},
		{"log too long", s.LogLine(b(abi.MaxLogBytes + 1)), true},
		{"first accept", s.Accept(&[32]byte{}), false},
		{"second accept", s.Accept(&[32]byte{}), true},
	} {
		if (c.trap != nil) != c.want {
			t.Errorf("%s: trap %v", c.name, c.trap)
		}
	}
	for range abi.MaxEventsPerRun - 1 {
		if trap := s.Emit(nil); trap != nil {
			t.Fatal(trap)
		}
	}
	if s.Emit(nil) == nil {
		t.Errorf("event %d is accepted", abi.MaxEventsPerRun+1)
	}
}

// One transaction may write so much and no more, however often it rewrites one
// key.
func TestWritesAreBounded(t *testing.T) {
	ov := state.NewOverlay(nil)
	s := &stf.Session{Crypto: secp.Crypto{}}
	s.Start("execute", abi.PhaseExecute, ov, ov, nil)
	value := make([]byte, abi.MaxValueBytes)
	n := 0
	for s.StateSet([]byte("k"), value) == nil {
		n += 1 + len(value)
	}
	if n > abi.MaxTxWrites || n+len(value)+1 <= abi.MaxTxWrites {
		t.Fatalf("wrote %d bytes, limit %d", n, abi.MaxTxWrites)
	}
	s.Start("execute", abi.PhaseExecute, ov, ov, nil)
	if trap := s.StateSet([]byte("k"), value); trap != nil {
		t.Fatalf("the next call: %v", trap)
	}
}

// TestFinish: what survives which ending.
func TestFinish(t *testing.T) {
	for _, c := range []struct {
		name       string
		code       abi.Code
		trap       string
		accept     bool
		before     bool // the write before accept survives
		after      bool // the one after it
		events     int
		wantDetail string
	}{
		{"ok", 0, "", true, true, true, 1, ""},
		{"error", 7, "", true, true, false, 0, "said so"},
		{"session trap", abi.CodeTrap, "key too long", true, true, false, 0, "key too long"},
		{"engine trap has no words", abi.CodeTrap, "", true, true, false, 0, ""},
		{"refused", 7, "", false, false, false, 0, "said so"},
		{"ok without accept", 0, "", false, false, false, 0, ""},
	} {
		ov := state.NewOverlay(nil)
		ov.Set([]byte("older"), []byte("1"))
		s := &stf.Session{Crypto: secp.Crypto{}}
		s.Start("execute", abi.PhaseExecute, ov, ov, nil)
		s.StateSet([]byte("before"), []byte("1"))
		if c.accept {
			s.Accept(&[32]byte{1})
		}
		s.StateSet([]byte("after"), []byte("1"))
		s.StateDelete([]byte("older"))
		s.Emit([]byte{1})
		s.Output([]byte("said so"))
		out := s.Finish(c.code, c.trap)
		_, before := ov.Get([]byte("before"))
		_, after := ov.Get([]byte("after"))
		_, older := ov.Get([]byte("older"))
		if before != c.before || after != c.after || older == c.after || len(out.Events) != c.events || out.Detail != c.wantDetail || out.Accepted != c.accept {
			t.Errorf("%s: before %v, after %v, older %v, outcome %+v", c.name, before, after, older, out)
		}
	}
}

func TestDetailIsBounded(t *testing.T) {
	ov := state.NewOverlay(nil)
	s := &stf.Session{Crypto: secp.Crypto{}}
	s.Start("execute", abi.PhaseExecute, ov, ov, nil)
	s.Output(bytes.Repeat([]byte("x"), 1000))
	if out := s.Finish(1, ""); len(out.Detail) != abi.MaxDetailBytes {
		t.Fatalf("detail of %d bytes", len(out.Detail))
	}
}

// TestInspectionIsACache: what inspect computed is not computed again, and a
// transaction that was never inspected comes to the same.
func TestInspectionIsACache(t *testing.T) {
	key, err := secp.ParseKey("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
	if err != nil {
		t.Fatal(err)
	}
	digest := secp.Keccak256([]byte("message"))
	sig, err := key.Sign((*[32]byte)(&digest))
	if err != nil {
		t.Fatal(err)
	}
	crypto := &counting{}
	s := &stf.Session{Crypto: crypto}
	tx := &stf.Tx{Raw: []byte("tx")}
	s.Start("inspect", abi.PhaseNone, nil, nil, tx)
	s.Keccak256([]byte("message"))
	s.Output(abi.AppendInspection(nil, &abi.Inspection{ID: digest, Signatures: []abi.Signature{{Digest: digest, Sig: sig}}}))
	s.Inspected(tx, s.Finish(0, ""), nil)
	new(stf.Recovery).Run(crypto, []*stf.Tx{tx})
	if crypto.keccaks != 1 || crypto.recovers != 1 || tx.ID != digest || tx.Leaf != chain.LeafHash(tx.Raw) {
		t.Fatalf("%d hashes, %d recoveries, id %s", crypto.keccaks, crypto.recovers, tx.ID)
	}
	for _, tx := range []*stf.Tx{tx, {Raw: tx.Raw}} {
		ov := state.NewOverlay(nil)
		s.Start("execute", abi.PhaseExecute, ov, ov, tx)
		sum := s.Keccak256([]byte("message"))
		who, ok, _ := s.Recover((*[32]byte)(&digest), &sig)
		if sum != digest || !ok || who != key.Address() {
			t.Fatalf("hash %s, signer %s %v", sum, who, ok)
		}
	}
	if crypto.keccaks != 2 || crypto.recovers != 2 {
		t.Fatalf("%d hashes, %d recoveries: the inspected one was not free", crypto.keccaks, crypto.recovers)
	}
}

// TestSigner712: the answer is that of two hashes and a recovery, which a transaction
// that was inspected remembers.
func TestSigner712(t *testing.T) {
	key, err := secp.ParseKey("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
	if err != nil {
		t.Fatal(err)
	}
	domain, words := chain.Hash{7}, []byte("type hash and members")
	crypto := &counting{}
	s := &stf.Session{Crypto: crypto}
	tx := &stf.Tx{Raw: []byte("tx")}
	s.Start("inspect", abi.PhaseNone, nil, nil, tx)
	inner := s.Keccak256(words)
	digest := s.Keccak256(append(append([]byte{0x19, 0x01}, domain[:]...), inner[:]...))
	sig, err := key.Sign((*[32]byte)(&digest))
	if err != nil {
		t.Fatal(err)
	}
	s.Output(abi.AppendInspection(nil, &abi.Inspection{ID: digest, Signatures: []abi.Signature{{Digest: digest, Sig: sig}}}))
	s.Inspected(tx, s.Finish(0, ""), nil)
	new(stf.Recovery).Run(crypto, []*stf.Tx{tx})
	for i, tx := range []*stf.Tx{tx, {Raw: tx.Raw}} {
		s.Start("admit", abi.PhaseRead, state.NewOverlay(nil), nil, tx)
		v, trap := s.Signer712((*[32]byte)(&domain), words, &sig)
		if trap != nil || v.Digest != digest || v.Signer != key.Address() || !v.OK {
			t.Fatalf("%+v %v, want digest %s of %s", v, trap, digest, key.Address())
		}
		if crypto.keccaks != 2+2*i || crypto.recovers != 1+i {
			t.Fatalf("%d hashes, %d recoveries", crypto.keccaks, crypto.recovers)
		}
	}
	if v, trap := s.Signer712((*[32]byte)(&domain), words, &[65]byte{}); trap != nil || v.OK || v.Digest != digest {
		t.Fatalf("no signature: %+v %v", v, trap)
	}
}

func TestInspectedRefuses(t *testing.T) {
	schema, err := stf.ParseSchema([]byte(`{"name":"m","errors":[{"code":3,"name":"Malformed"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := &stf.Session{Crypto: secp.Crypto{}}
	for _, c := range []struct {
		out  stf.Outcome
		want string
	}{
		{stf.Outcome{Code: 3, Detail: "too short"}, "Malformed: too short"},
		{stf.Outcome{Code: 9}, "Error9"},
		{stf.Outcome{Code: abi.CodeBudget}, "BudgetExhausted"},
		{stf.Outcome{Output: []byte("short")}, "Trap: inspect returned malformed output"},
		{stf.Outcome{Output: append(make([]byte, 32), abi.MaxSignatures+1)}, "Trap: inspect returned malformed output"},
	} {
		tx := &stf.Tx{}
		s.Inspected(tx, c.out, schema)
		if tx.Refusal == nil || tx.Refusal.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.out, tx.Refusal, c.want)
		}
	}
}

func TestSchema(t *testing.T) {
	for _, bad := range []string{
		``, `{}`, `{"name":"m","errors":[{"code":0,"name":"Zero"}]}`, `{"name":"m","errors":[{"code":65281,"name":"Host"}]}`,
		`{"name":"m","errors":[{"code":1,"name":"A"},{"code":1,"name":"B"}]}`, `{"name":"m","events":[{"tag":1,"type":""}]}`,
		`{"name":"m","events":[{"tag":1,"type":"e","fields":[{"name":"f","kind":"float"}]}]}`,
		`{"name":"m","events":[{"tag":1,"type":"e","fields":[{"name":"type","kind":"u8"}]}]}`,
	} {
		if _, err := stf.ParseSchema([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	s, err := stf.ParseSchema([]byte(`{"name":"m","events":[{"tag":1,"type":"e","fields":[
		{"name":"a","kind":"amount"},{"name":"n","kind":"number"},{"name":"u","kind":"u8"},{"name":"b","kind":"bool"},
		{"name":"w","kind":"address"},{"name":"h","kind":"hash"},{"name":"s","kind":"string"},{"name":"x","kind":"bytes"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	event := abi.AppendU64([]byte{1}, 1<<63)
	event = append(abi.AppendU64(event, 5), 6, 1)
	event = append(append(event, make([]byte, 20)...), make([]byte, 32)...)
	event = abi.AppendBytes(abi.AppendString(event, "hi"), []byte{0xab})
	typ, fields := s.Event(event)
	want := "[{a 9223372036854775808} {n 5} {u 6} {b true} {w 0x" + strings.Repeat("0", 40) + "} {h 0x" + strings.Repeat("0", 64) + "} {s hi} {x 0xab}]"
	if got := fmt.Sprint(fields); typ != "e" || got != want {
		t.Errorf("%s %s, want %s", typ, got, want)
	}
	for _, bad := range [][]byte{nil, {9}, event[:len(event)-1], append(event, 0)} {
		if typ, _ := s.Event(bad); typ != "unknown" {
			t.Errorf("%x renders as %s", bad, typ)
		}
	}
}
