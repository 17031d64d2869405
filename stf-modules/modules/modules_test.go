package modules_test

import (
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/chaos"
	"github.com/kaizenchain/kaizen/stf-modules/modules"
)

var exports = []string{abi.ExportVersion, abi.ExportInput, abi.ExportSchema, abi.ExportGenesis, abi.ExportBeginBlock,
	abi.ExportInspect, abi.ExportAdmit, abi.ExportExecute, abi.ExportEndBlock, abi.ExportQuery}

var imports = []string{abi.ImportStateGet, abi.ImportStateSet, abi.ImportStateDelete, abi.ImportKeccak256, abi.ImportSHA256,
	abi.ImportRecover, abi.ImportSigner712, abi.ImportAccept, abi.ImportEmit, abi.ImportOutput, abi.ImportLog, abi.ImportBatch}

// TestNames compares what the compiled modules export and import with the
// contract: the SDK has to repeat the names as literals.
func TestNames(t *testing.T) {
	files := map[string][]byte{"chaos": chaos.Wasm}
	for _, name := range modules.Names() {
		wasm, ok := modules.Lookup(name)
		if !ok {
			t.Fatalf("%s is listed and not there", name)
		}
		files[name] = wasm
	}
	for name, wasm := range files {
		in, out := sections(t, wasm)
		for _, want := range exports {
			if !slices.Contains(out, want) {
				t.Errorf("%s does not export %s", name, want)
			}
		}
		for _, got := range in {
			if !slices.Contains(imports, got) {
				t.Errorf("%s imports %s", name, got)
			}
		}
		if len(in) == 0 {
			t.Errorf("%s imports nothing", name)
		}
	}
	if _, ok := modules.Lookup("chaos"); ok {
		t.Error("the chaos module ships")
	}
}

// sections reads the names of a module's imports from the host and of its
// exports.
func sections(t *testing.T, wasm []byte) (in, out []string) {
	r := &reader{t: t, b: wasm[8:]}
	for len(r.b) > 0 {
		id := r.byte()
		s := &reader{t: t, b: r.take(r.number())}
		switch id {
		case 2:
			for range s.number() {
				module, name := s.name(), s.name()
				if kind := s.byte(); kind != 0 {
					t.Fatalf("import %s.%s is of kind %d, want a function", module, name, kind)
				}
				s.number()
				if module == abi.ImportModule {
					in = append(in, name)
				}
			}
		case 7:
			for range s.number() {
				out = append(out, s.name())
				s.byte()
				s.number()
			}
		}
	}
	return in, out
}

type reader struct {
	t *testing.T
	b []byte
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.t.Fatal("the module is cut off")
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) name() string { return string(r.take(r.number())) }

func (r *reader) number() (v int) {
	for shift := 0; ; shift += 7 {
		c := r.byte()
		v |= int(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}
