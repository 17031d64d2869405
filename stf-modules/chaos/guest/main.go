//go:build wasip1

// Command guest is the chaos module as a WebAssembly program: it does on demand
// what a module should not do. It imports the SDK and the transaction format of
// package chaos, and runs on the one thread a guest has.
//
//	execute ─▶ act (if early) ─▶ accept ─▶ act (otherwise) ─▶ event
package main

import (
	"unsafe"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/chaos"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

func init() { sdk.Run(module{}) }

func main() {}

// What must never survive a block.
var (
	count uint64
	kept  [][]byte
)

type module struct{}

const schema = `{"name":"chaos","version":"1.0.0",
"errors":[{"code":1,"name":"MalformedTransaction"},{"code":2,"name":"Asked"}],
"events":[{"tag":1,"type":"acted","fields":[{"name":"act","kind":"u8"},{"name":"nonce","kind":"number"}]}]}`

func (module) Schema() []byte                          { return []byte(schema) }
func (module) Genesis(*sdk.Env, *sdk.Genesis) abi.Code { return abi.CodeOK }
func (module) Admit(e *sdk.Env, _ abi.Context, b []byte) abi.Code {
	if _, ok := chaos.Decode(b); !ok {
		return e.Fail(chaos.CodeMalformed, e.Text("not a transaction of this module"))
	}
	return abi.CodeOK
}

func (module) BeginBlock(e *sdk.Env, ctx abi.Context, _ *sdk.Oracle) abi.Code {
	panicIf(e, chaos.KeyArmBegin, ctx)
	return abi.CodeOK
}

func (module) EndBlock(e *sdk.Env, ctx abi.Context) abi.Code {
	panicIf(e, chaos.KeyArmEnd, ctx)
	return abi.CodeOK
}

func panicIf(e *sdk.Env, key string, ctx abi.Context) {
	if v, ok := e.Get([]byte(key)); ok && number(v) == ctx.Height {
		panic("armed for this block")
	}
}

func number(b []byte) uint64 {
	r := abi.NewReader(b)
	return r.U64()
}

func (m module) Inspect(e *sdk.Env, b []byte, out *abi.Inspection) abi.Code {
	if code := m.Admit(e, abi.Context{}, b); code != abi.CodeOK {
		return code
	}
	e.SHA256(b, &out.ID)
	return abi.CodeOK
}

// Query answers the value of a state key.
func (module) Query(e *sdk.Env, _ abi.Context, key []byte) abi.Code {
	var j sdk.JSON
	if v, ok := e.Get(key); ok {
		j.Number(number(v))
	} else {
		j.Null()
	}
	e.Output(j.Buf)
	return abi.CodeOK
}

func (m module) Execute(e *sdk.Env, ctx abi.Context, b []byte) abi.Code {
	if code := m.Admit(e, ctx, b); code != abi.CodeOK {
		return code
	}
	t, _ := chaos.Decode(b)
	if t.Early {
		if code := act(e, t); code != abi.CodeOK {
			return code
		}
	}
	var id [32]byte
	e.SHA256(b, &id)
	if t.Act != chaos.NoAccept {
		e.Accept(&id)
	}
	if t.Act == chaos.AcceptTwice {
		e.Accept(&id)
	}
	if !t.Early {
		if code := act(e, t); code != abi.CodeOK {
			return code
		}
	}
	e.Emit(abi.AppendU64([]byte{chaos.EventActed, byte(t.Act)}, t.Nonce))
	return abi.CodeOK
}

func act(e *sdk.Env, t chaos.Tx) abi.Code {
	switch t.Act {
	case chaos.Count:
		count++
		set(e, chaos.KeyCount, count)
	case chaos.Where:
		set(e, chaos.KeyWhere, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(make([]byte, t.Arg))))))
	case chaos.Grow:
		kept = append(kept, make([]byte, t.Arg))
	case chaos.WriteThenPanic:
		set(e, chaos.KeyDirty, t.Arg)
		panic("asked to")
	case chaos.WriteThenFail:
		set(e, chaos.KeyDirty, t.Arg)
		e.Emit([]byte{chaos.EventActed})
		return e.Fail(chaos.CodeAsked, e.Text("asked to fail after writing"))
	case chaos.ArmBegin:
		set(e, chaos.KeyArmBegin, t.Arg)
	case chaos.ArmEnd:
		set(e, chaos.KeyArmEnd, t.Arg)
	case chaos.Fail:
		return e.Fail(chaos.CodeAsked, e.Text("asked to fail"))
	case chaos.ReservedCode:
		return abi.Code(t.Arg)
	default:
		misbehave(e, t)
	}
	return abi.CodeOK
}

func set(e *sdk.Env, key string, v uint64) { e.Set([]byte(key), abi.AppendU64(nil, v)) }

// misbehave does what traps.
func misbehave(e *sdk.Env, t chaos.Tx) {
	switch t.Act {
	case chaos.Panic:
		panic("asked to")
	case chaos.Loop:
		for spin := uint64(0); ; spin++ {
			count += spin
		}
	case chaos.Recurse:
		count = recurse(count)
	case chaos.NilDeref:
		var p *chaos.Tx
		count = through(p)
	case chaos.OutOfRange:
		count = uint64(element([]byte{1}, int(t.Nonce)+1))
	case chaos.Exhaust:
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case chaos.LongKey:
		e.Set(make([]byte, abi.MaxKeyBytes+1), nil)
	case chaos.LongValue:
		e.Set([]byte("long"), make([]byte, abi.MaxValueBytes+1))
	case chaos.ManyEvents:
		for range abi.MaxEventsPerRun + 1 {
			e.Emit([]byte{chaos.EventActed})
		}
	case chaos.WildPointer:
		e.Emit(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&count), 1<<30)), 4))
	}
}

//go:noinline
func recurse(n uint64) uint64 { return recurse(n+1) + n }

//go:noinline
func through(p *chaos.Tx) uint64 { return p.Arg }

//go:noinline
func element(b []byte, i int) byte { return b[i] }
