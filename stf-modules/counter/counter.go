// Package counter is the smallest useful module: named counters that anybody may
// add to. TUTORIAL.md beside this file walks through it line by line.
//
// It imports the SDK and the contract, as any module does, and nothing that
// could see the outside world.
//
//	transaction = { counter u64, sequence u64, amount u64 }     24 bytes, Borsh
//	state         "c" ‖ counter ─▶ { value u64, sequence u64 }
//
// There are no signatures. What keeps a transaction from running twice is its
// sequence number: it must be the one its counter expects next.
//
// A Module belongs to one goroutine; it has no fields, so it keeps nothing.
package counter

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// Codes of this module; Schema names them.
const (
	CodeMalformed       abi.Code = 1 // not 24 bytes
	CodeInvalidSequence abi.Code = 2 // not the number the counter expects
	CodeOverflow        abi.Code = 3 // the value would not fit 64 bits
	CodeInvalidGenesis  abi.Code = 4 // genesis parameters were given
)

// EventAdded is the tag of the one event.
const EventAdded = 1

// Tx is a transaction.
type Tx struct {
	Counter  uint64 // which counter
	Sequence uint64 // how many transactions this counter has had before
	Amount   uint64 // what to add
}

// TxBytes is the encoded size of a Tx.
const TxBytes = 24

// Append appends the encoding of t.
func (t *Tx) Append(dst []byte) []byte {
	return abi.AppendU64(abi.AppendU64(abi.AppendU64(dst, t.Counter), t.Sequence), t.Amount)
}

// Decode reads exactly one transaction.
func Decode(b []byte) (t Tx, ok bool) {
	r := abi.NewReader(b)
	t = Tx{Counter: r.U64(), Sequence: r.U64(), Amount: r.U64()}
	return t, r.Done()
}

// Key is the state key of a counter. Big-endian, so that keys sort as numbers.
func Key(counter uint64) [9]byte {
	k := [9]byte{0: 'c'}
	for i := range 8 {
		k[8-i] = byte(counter >> (8 * i))
	}
	return k
}

// Record is what state holds for a counter; an absent one is all zero.
type Record struct {
	Value    uint64
	Sequence uint64 // expected next
}

// Append appends the encoding of v.
func (v *Record) Append(dst []byte) []byte {
	return abi.AppendU64(abi.AppendU64(dst, v.Value), v.Sequence)
}

// Module implements [sdk.Module].
type Module struct{}

// New makes a module.
func New() sdk.Module { return Module{} }

const schema = `{"name":"counter","version":"1.0.0",
"errors":[{"code":1,"name":"MalformedTransaction"},{"code":2,"name":"InvalidSequence"},{"code":3,"name":"Overflow"},{"code":4,"name":"InvalidGenesis"}],
"events":[{"tag":1,"type":"added","fields":[{"name":"counter","kind":"amount"},{"name":"amount","kind":"amount"},{"name":"value","kind":"amount"}]}],
"queries":["counter"]}`

// Schema implements [sdk.Module].
func (Module) Schema() []byte { return []byte(schema) }

// Genesis implements [sdk.Module]: there is nothing to begin with.
func (Module) Genesis(env *sdk.Env, g *sdk.Genesis) abi.Code {
	if len(g.Params) != 0 {
		return env.Fail(CodeInvalidGenesis, env.Text("counter takes no parameters, got ").U64(uint64(len(g.Params))).Str(" bytes"))
	}
	return abi.CodeOK
}

// BeginBlock implements [sdk.Module].
func (Module) BeginBlock(*sdk.Env, abi.Context, *sdk.Oracle) abi.Code { return abi.CodeOK }

// EndBlock implements [sdk.Module].
func (Module) EndBlock(*sdk.Env, abi.Context) abi.Code { return abi.CodeOK }

// Inspect implements [sdk.Module]. A transaction's id is the hash of its bytes.
func (Module) Inspect(env *sdk.Env, tx []byte, out *abi.Inspection) abi.Code {
	if _, ok := Decode(tx); !ok {
		return malformed(env, tx)
	}
	env.SHA256(tx, &out.ID)
	return abi.CodeOK
}

// Admit implements [sdk.Module].
func (Module) Admit(env *sdk.Env, _ abi.Context, tx []byte) abi.Code {
	_, _, code := load(env, tx)
	return code
}

// Execute implements [sdk.Module].
func (Module) Execute(env *sdk.Env, _ abi.Context, tx []byte) abi.Code {
	t, v, code := load(env, tx)
	if code != abi.CodeOK {
		return code
	}
	// First what keeps this transaction from running again, then accept. It
	// stays even if the addition fails.
	v.Sequence++
	store(env, t.Counter, v)
	var id [32]byte
	env.SHA256(tx, &id)
	env.Accept(&id)

	sum := v.Value + t.Amount
	if sum < v.Value {
		return env.Fail(CodeOverflow, env.Text("counter is ").U64(v.Value).Str(", adding ").U64(t.Amount).Str(" does not fit 64 bits"))
	}
	v.Value = sum
	store(env, t.Counter, v)
	var buf [1 + 3*8]byte
	event := append(buf[:0], EventAdded)
	env.Emit(abi.AppendU64(abi.AppendU64(abi.AppendU64(event, t.Counter), t.Amount), v.Value))
	return abi.CodeOK
}

// Query implements [sdk.Module]: a counter's number, answered with its record.
func (Module) Query(env *sdk.Env, _ abi.Context, query []byte) abi.Code {
	r := abi.NewReader(query)
	counter := r.U64()
	if !r.Done() {
		return env.Fail(CodeMalformed, env.Text("a query is the 8 bytes of a counter's number"))
	}
	v := read(env, counter)
	var j sdk.JSON
	j.Object()
	j.Key("counter")
	j.Amount(counter)
	j.Key("value")
	j.Amount(v.Value)
	j.Key("sequence")
	j.Number(v.Sequence)
	j.EndObject()
	env.Output(j.Buf)
	return abi.CodeOK
}

// load decodes a transaction and reads its counter; the code says whether it may
// run.
func load(env *sdk.Env, tx []byte) (t Tx, v Record, code abi.Code) {
	t, ok := Decode(tx)
	if !ok {
		return t, v, malformed(env, tx)
	}
	v = read(env, t.Counter)
	if t.Sequence != v.Sequence {
		return t, v, env.Fail(CodeInvalidSequence, env.Text("sequence is ").U64(t.Sequence).Str(", counter expects ").U64(v.Sequence))
	}
	return t, v, abi.CodeOK
}

func malformed(env *sdk.Env, tx []byte) abi.Code {
	return env.Fail(CodeMalformed, env.Text("transaction of ").U64(uint64(len(tx))).Str(" bytes, want ").U64(TxBytes))
}

func read(env *sdk.Env, counter uint64) (v Record) {
	key := Key(counter)
	if b, ok := env.Get(key[:]); ok {
		r := abi.NewReader(b)
		v = Record{Value: r.U64(), Sequence: r.U64()}
	}
	return v
}

func store(env *sdk.Env, counter uint64, v Record) {
	key := Key(counter)
	var buf [16]byte
	env.Set(key[:], v.Append(buf[:0]))
}
