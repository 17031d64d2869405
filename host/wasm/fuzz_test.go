package wasm

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
)

// FuzzParse: no bytes make the parser panic, or allocate out of proportion.
func FuzzParse(f *testing.F) {
	f.Add(newASM().bytes())
	f.Add(stateful())
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if m, err := parse(file); err == nil {
			functionNames(m.names)
		}
		Describe(file)
	})
}

// FuzzInstrument: a function that passes the rules is valid after the rewriting
// exactly if it was before.
func FuzzInstrument(f *testing.F) {
	f.Add(code(constant(0), constant(0), constant(8), 0xfc, 10, 0, 0, constant(0)))
	f.Add(code(opLoop, 0x40, opBlock, 0x40, opLocalGet, 0, opBrTable, 2, 0, 1, 2, opEnd, opReturn, opBr, 0, opEnd, constant(0)))
	f.Add(code(opLocalGet, 0, opIf, 0x7f, constant(1), opMemoryGrow, 0, opElse, opUnreachable, opEnd))
	f.Add(code(opF64Const, make([]byte, 8), 0x9f, 0xaa))
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features))
	f.Cleanup(func() { r.Close(ctx) })
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<10 {
			return
		}
		a := newASM()
		a.globals = [][]byte{code(0x7f, 1, constant(5), opEnd)}
		a.execute([]valType{typeI32, typeI64, typeF32, typeF64}, body)
		file := a.bytes()
		if _, err := Describe(file); err != nil {
			return
		}
		m, err := parse(file)
		if err != nil {
			t.Fatal(err)
		}
		ins, err := instrument(m)
		if err != nil {
			t.Fatalf("described and not instrumented: %v", err)
		}
		before, after := compiles(ctx, r, file), compiles(ctx, r, ins.code)
		if (before == nil) != (after == nil) {
			t.Fatalf("valid before: %v\nafter: %v\n%x", before, after, body)
		}
	})
}

func compiles(ctx context.Context, r wazero.Runtime, code []byte) error {
	c, err := r.CompileModule(ctx, code)
	if err == nil {
		c.Close(ctx)
	}
	return err
}

// FuzzEngines: a function that loads does the same on both engines.
func FuzzEngines(f *testing.F) {
	f.Add(code(constant(1), opMemoryGrow, 0, 0x1a, constant(0)))
	f.Add(code(opLoop, 0x40, opBr, 0, opEnd))
	f.Add(code(opF64Const, make([]byte, 8), opF64Const, make([]byte, 8), 0xa3, 0xbd, 0xa7))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := newASM()
		a.execute([]valType{typeI32, typeI64, typeF32, typeF64}, body)
		file := a.bytes()
		if a, b := outcomeOf(file, Compiler), outcomeOf(file, Interpreter); a != b {
			t.Fatalf("%x\n%s\n%s", body, a, b)
		}
	})
}
