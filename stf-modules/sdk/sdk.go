// Package sdk is the guest's side of the module contract: what a state
// transition module implements ([Module]) and what it may ask for ([Env]).
//
// It imports stf-modules/abi and nothing else of the project, and no package of
// the standard library that brings reflection or formatting with it: everything
// here is linked into every module. A module that keeps to the same rule stays
// near the 1.8 MB that an empty Go guest has.
//
//	host ── kaizen_execute(n) ──▶ Guest.Execute ──▶ Module.Execute(env, ctx, tx)
//	host ◀─ state_get, accept … ── Env ◀───────────────┘
//
// The same module runs compiled to WebAssembly, where the host calls the exports
// of raw_wasm.go, and as plain Go, where host/native calls a [Guest] whose Env
// speaks to a [Host]. Natively nothing here is global: every Guest belongs to
// one goroutine, and any number of them run side by side.
package sdk

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// Module is a state transition function. A method returns abi.CodeOK or one of
// the module's own codes, usually through [Env.Fail]; a panic is a trap.
//
// Slices that a method receives are valid until it returns. What a module keeps
// in its fields survives until the end of the block at most: the host puts a
// module back to how it was before its first call, before genesis, before every
// block, and after every trap. Inspect, Admit and Query run in instances of
// their own, so a field they set is not seen by Execute.
type Module interface {
	// Schema is the module's description of itself as JSON: name, version,
	// error names, events. See "The schema" in stf-modules/ABI.md.
	Schema() []byte
	// Genesis writes the first state.
	Genesis(env *Env, g *Genesis) abi.Code
	// BeginBlock runs before the first transaction of every block.
	BeginBlock(env *Env, ctx abi.Context, oracle *Oracle) abi.Code
	// Inspect decodes a transaction, without any state: its id and the
	// signatures it carries go into out, whose slice is empty with room for
	// abi.MaxSignatures.
	Inspect(env *Env, tx []byte, out *abi.Inspection) abi.Code
	// Admit refuses, with a code, a transaction that may be in no block. It
	// cannot write. What it lets through, Execute must accept.
	Admit(env *Env, ctx abi.Context, tx []byte) abi.Code
	// Execute runs a transaction. It calls [Env.Accept] once it knows whose
	// transaction this is and has written what keeps it from running again; a
	// code after that is a failed transaction in the block, a code before it a
	// transaction that is in no block.
	Execute(env *Env, ctx abi.Context, tx []byte) abi.Code
	// EndBlock runs after the last transaction of every block.
	EndBlock(env *Env, ctx abi.Context) abi.Code
	// Query answers a question about the state: it passes JSON to
	// [Env.Output].
	Query(env *Env, ctx abi.Context, query []byte) abi.Code
}

// Guest runs one module: it takes the input of each export apart and passes it
// on. The zero value is not usable, see [NewGuest].
type Guest struct {
	env        Env
	module     Module
	genesis    Genesis
	oracle     Oracle
	inspection abi.Inspection
	signatures [abi.MaxSignatures]abi.Signature
	out        [inspectionBytes]byte
}

// inspectionBytes is the size of the longest encoded inspection.
const inspectionBytes = 32 + 1 + abi.MaxSignatures*(32+65)

// Replace puts another module in the place of the current one and keeps the
// buffers: what host/native does where the WebAssembly host puts memory back.
func (g *Guest) Replace(m Module) { g.module = m }

// Schema is the export abi.ExportSchema.
func (g *Guest) Schema() abi.Code {
	g.env.Output(g.module.Schema())
	return abi.CodeOK
}

// Genesis is the export abi.ExportGenesis. A document that the host did not
// encode is a trap.
func (g *Guest) Genesis(input []byte) abi.Code {
	if !g.genesis.decode(input) {
		panic("malformed genesis document")
	}
	return g.module.Genesis(&g.env, &g.genesis)
}

// BeginBlock is the export abi.ExportBeginBlock.
func (g *Guest) BeginBlock(input []byte) abi.Code {
	ctx, body := context(input)
	if !g.oracle.decode(body) {
		panic("malformed oracle snapshot")
	}
	return g.module.BeginBlock(&g.env, ctx, &g.oracle)
}

// Inspect is the export abi.ExportInspect.
func (g *Guest) Inspect(input []byte) abi.Code {
	v := &g.inspection
	v.ID, v.Signatures = [32]byte{}, g.signatures[:0]
	if code := g.module.Inspect(&g.env, input, v); code != abi.CodeOK {
		return code
	}
	if len(v.Signatures) > abi.MaxSignatures {
		panic("inspect names too many signatures")
	}
	g.env.Output(abi.AppendInspection(g.out[:0], v))
	return abi.CodeOK
}

// Admit is the export abi.ExportAdmit.
func (g *Guest) Admit(input []byte) abi.Code {
	ctx, body := context(input)
	return g.module.Admit(&g.env, ctx, body)
}

// Execute is the export abi.ExportExecute.
func (g *Guest) Execute(input []byte) abi.Code {
	ctx, body := context(input)
	return g.module.Execute(&g.env, ctx, body)
}

// EndBlock is the export abi.ExportEndBlock.
func (g *Guest) EndBlock(input []byte) abi.Code {
	ctx, _ := context(input)
	return g.module.EndBlock(&g.env, ctx)
}

// Query is the export abi.ExportQuery.
func (g *Guest) Query(input []byte) abi.Code {
	ctx, body := context(input)
	return g.module.Query(&g.env, ctx, body)
}

// context splits an input into the context and the body: what abi.ReadContext does,
// without a reader, because every transaction pays for it.
func context(input []byte) (abi.Context, []byte) {
	if len(input) < abi.ContextBytes {
		panic("input without a context")
	}
	return abi.Context{Height: abi.U64(input), Time: abi.U64(input[8:])}, input[abi.ContextBytes:]
}
