package wasm

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/counter"
)

// TestDescribeGoModule: what a module compiled by the stock toolchain contains.
func TestDescribeGoModule(t *testing.T) {
	r, err := Describe(counter.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	if r.Hash != sha256.Sum256(counter.Wasm) || r.Bytes != len(counter.Wasm) {
		t.Errorf("hash %s of %d bytes", r.Hash, r.Bytes)
	}
	for name := range capabilities[moduleWASI] {
		if !slices.Contains(r.Imports, moduleWASI+"."+name) {
			t.Errorf("WASI's %s is allowed, and Go does not import it", name)
		}
	}
	for _, name := range exportNames {
		if !slices.Contains(r.Exports, name) {
			t.Errorf("no export %s", name)
		}
	}
	if r.Functions < 1000 || r.LargestBytes < 1000 || r.CodeBytes < 500<<10 || r.DataBytes == 0 || r.MutableGlobals == 0 || r.TableEntries == 0 {
		t.Errorf("%+v", r)
	}
	if r.Instrumented < r.CodeBytes || r.Instrumented > 3*r.CodeBytes {
		t.Errorf("%d bytes of code became %d", r.CodeBytes, r.Instrumented)
	}
	if len(r.FloatFunctions) == 0 || len(r.FloatFunctions) > 100 {
		t.Errorf("float functions: %v", r.FloatFunctions)
	}
	t.Logf("%d functions, largest %d bytes, %d use floating point; %d bytes of code, %d instrumented, %d of data",
		r.Functions, r.LargestBytes, len(r.FloatFunctions), r.CodeBytes, r.Instrumented, r.DataBytes)
}

// TestDescribeNames: functions that use floating point are named if the file has
// names.
func TestDescribeNames(t *testing.T) {
	a := newASM()
	half := code(opF64Const, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f)
	f := a.fn(nop, nil, code(half, half, 0xa0, 0x1a))
	g := a.fn(nop, nil, code(half, 0x1a))
	file := a.bytes()
	names := code(1, 0, leb(f), 3, "sum")
	names[1] = byte(len(names) - 2)
	names = code(1, len(names)-1, 1, names[2:])
	var e encoder
	e.section(sectionCustom, func(s *encoder) { s.name("name"); s.op(names...) })
	r, err := Describe(append(file, e.b...))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"sum", fmt.Sprintf("function %d", g)}; !slices.Equal(r.FloatFunctions, want) {
		t.Fatalf("%q, want %q", r.FloatFunctions, want)
	}
}

// TestDocument: stf-modules/ABI.md says what the code does, import by import and
// limit by limit.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../stf-modules/ABI.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	for module, calls := range capabilities {
		for name, f := range calls {
			if !hasRow(doc, name, f) {
				t.Errorf("no row for %s.%s: type %s, units %q", module, name, typeText(f.typ), unitsText(f))
			}
		}
	}
	for _, name := range exportNames {
		if !strings.Contains(doc, "| `"+name+"(") {
			t.Errorf("no row for export %s", name)
		}
	}
	for what, n := range map[string]int64{"execute, admit, inspect, query |": abi.TxBudget, "end of a block |": abi.HookBudget,
		"| functions |": MaxFunctions, "data segments |": MaxSegments, "| parameters and locals of one function |": MaxLocals, "| table | 1, of": MaxTableEntries} {
		if !strings.Contains(grep(doc, what), thousands(n)) {
			t.Errorf("no row %q with %s", what, thousands(n))
		}
	}
}

func hasRow(doc, name string, f hostFunc) bool {
	for _, line := range strings.Split(doc, "\n") {
		if (strings.HasPrefix(line, "| `"+name+"`") || strings.HasPrefix(line, "| `"+name+"(")) &&
			strings.Contains(line, "| "+typeText(f.typ)+" |") && strings.Contains(line, "| "+unitsText(f)) {
			return true
		}
	}
	return false
}

func typeText(t funcType) string {
	words := func(ts []valType) string { return strings.Trim(fmt.Sprint(ts), "[]") }
	return strings.TrimSpace("(" + words(t.params) + ") -> " + words(t.results))
}

func unitsText(f hostFunc) string {
	if f.per8 == 0 {
		return fmt.Sprint(f.base, " |")
	}
	return fmt.Sprintf("%d, and %d per 8 bytes of", f.base, f.per8)
}

func grep(doc, what string) string {
	for _, line := range strings.Split(doc, "\n") {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && n >= 10_000; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
