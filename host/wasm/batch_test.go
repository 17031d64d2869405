package wasm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Where the module of these tests keeps things, behind its input area.
const (
	batchList  = 20 << 10 // the requests
	batchBytes = 30 << 10 // what they are about
	batchDst   = 31 << 10 // what they answer
)

// ask is a request as a guest writes it.
func ask(number uint64, params ...uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, number)
	for i := range abi.RequestParams {
		v := uint64(0)
		if i < len(params) {
			v = params[i]
		}
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, make([]byte, 8)...)
}

func dataAt(at int32, b []byte) []byte { return code(0, constant(at), opEnd, leb(uint32(len(b))), b) }

// batching is a module whose execute makes the first n of these requests at once and
// then emits all of them, with their answers.
func batching(n int, list [][]byte) *asm {
	a := newASM()
	all := slices.Concat(list...)
	a.data = append(a.data, dataAt(batchList, all), dataAt(batchBytes, []byte("what requests are about")))
	a.body(abi.ExportExecute).code = code(constant(batchList), constant(int32(n)), a.call(abi.ImportBatch),
		constant(batchList), constant(int32(len(all))), a.call(abi.ImportEmit), constant(0))
	return a
}

// everything is one request of each function, with what ABI.md says it costs.
var everything = []struct {
	request []byte
	units   int64
	answer  uint64
}{
	{ask(abi.RequestStateSet, batchBytes, 4, batchBytes, 17), 1000 + 2*17/8, 0},
	{ask(abi.RequestStateGet, batchBytes, 4, batchDst, 32), 400 + 17/8, 17},
	{ask(abi.RequestStateDelete, batchBytes, 4), 1000, 0},
	{ask(abi.RequestStateGet, batchBytes, 4, batchDst, 32), 400, 0xffffffff},
	{ask(abi.RequestKeccak256, batchBytes, 23, batchDst+32), 600 + 32*23/8, 0},
	{ask(abi.RequestSHA256, batchBytes, 23, batchDst+64), 200 + 16*23/8, 0},
	{ask(abi.RequestRecover, batchBytes, batchBytes, batchDst), 50_000, 0},
	{ask(abi.RequestSigner712, batchBytes, batchBytes, 23, batchBytes, batchDst+96), 51_500 + 32*23/8, 0},
	{ask(abi.RequestAccept, batchDst+32), 200, 0},
	{ask(abi.RequestEmit, 5<<32|batchDst, 1<<63|96, 7), 400 + 2*96/8, 0}, // more than it looks at
	{ask(abi.RequestOutput, batchBytes, 23), 200 + 23/8, 0},
	{ask(abi.RequestLog, batchBytes, 23), 400 + 8*23/8, 0},
}

func allRequests() (list [][]byte) {
	for _, r := range everything {
		list = append(list, r.request)
	}
	return list
}

// TestBatch: the requests of a batch are made in order, and each finds, answers and
// costs what it does alone, on both engines.
func TestBatch(t *testing.T) {
	list := allRequests()
	out, _ := onBoth(t, batching(len(list), list).bytes(), nil)
	hash := secp.Keccak256([]byte("what requests are about"))
	if out.Code != 0 || !out.Accepted || out.ID != hash || string(out.Output) != "what requests are about" || len(out.Events) != 2 {
		t.Fatalf("%+v", out)
	}
	if e := out.Events[0]; string(e[:17]) != "what requests are" || !bytes.Equal(e[32:64], hash[:]) {
		t.Errorf("after the requests memory is %x", e)
	}
	for i, r := range everything {
		if got := binary.LittleEndian.Uint64(out.Events[1][(i+1)*abi.RequestBytes-8:]); got != r.answer {
			t.Errorf("request %d answers %#x, want %#x", i, got, r.answer)
		}
	}
	_, before := onBoth(t, batching(0, list).bytes(), nil)
	for i, r := range everything {
		_, left := onBoth(t, batching(i+1, list).bytes(), nil)
		if got := int64(before-left) >> callBits; got != r.units {
			t.Errorf("request %d costs %d units, want %d", i, got, r.units)
		}
		before = left
	}
}

// TestBatchHasEveryImport: whatever a module may import it may ask for in a batch, but
// for a batch.
func TestBatchHasEveryImport(t *testing.T) {
	for name := range capabilities[abi.ImportModule] {
		if n := slices.Index(abi.Requests[:], name); (n < 0) != (name == abi.ImportBatch) || n >= 0 && (requests[n].name != name || requests[n].call == nil) {
			t.Errorf("%s is request %d", name, n)
		}
	}
}

// TestBatchStops: what may not be asked for stops the module as it does alone, and what
// was asked for before it has been done.
func TestBatchStops(t *testing.T) {
	accept := ask(abi.RequestAccept, batchBytes)
	for _, c := range []struct {
		name   string
		last   []byte
		count  int // of requests, or as many as there are
		code   abi.Code
		detail string
	}{
		{"no function", ask(0), 0, abi.CodeTrap, "batch asks for function 0, want 1 to 11"},
		{"unknown function", ask(uint64(len(abi.Requests))), 0, abi.CodeTrap, "batch asks for function 12, want 1 to 11"},
		{"function of 2^32", ask(1<<32 | abi.RequestAccept), 0, abi.CodeTrap, "batch asks for function 4294967304, want 1 to 11"},
		{"accepted twice", accept, 0, abi.CodeTrap, "accept called twice"},
		{"empty key", ask(abi.RequestStateDelete, batchBytes, 0), 0, abi.CodeTrap, "state key of 0 bytes, want 1 to 128"},
		{"outside memory", ask(abi.RequestEmit, pageBytes-1, 2), 0, abi.CodeTrap, "2 bytes at 65535 are outside memory"},
		{"longer than the budget", ask(abi.RequestKeccak256, 0, 0xffffffff, batchDst), 0, abi.CodeBudget, ""},
		{"too many", nil, abi.MaxBatch + 1, abi.CodeTrap, "batch of 33 requests, limit 32"},
		{"a count that wraps", nil, -1, abi.CodeTrap, "batch of 4294967295 requests, limit 32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := [][]byte{ask(abi.RequestStateSet, batchBytes, 4, batchBytes, 4), accept, ask(abi.RequestStateSet, batchBytes, 8, batchBytes, 4)}
			if c.last != nil {
				list = append(list, c.last)
			}
			if c.count == 0 {
				c.count = len(list)
			}
			for _, e := range engines {
				b := newBlock(t, load(t, batching(c.count, list).bytes(), e))
				out := b.execute(nil)
				if out.Code != c.code || out.Detail != c.detail || out.Accepted != (c.last != nil) {
					t.Fatalf("%v: %+v, want code %#x %q", e, out, c.code, c.detail)
				}
				_, before := b.ov.Get([]byte("what"))
				if _, after := b.ov.Get([]byte("what req")); before != out.Accepted || after {
					t.Errorf("%v: before accept written %v, after it %v", e, before, after)
				}
			}
		})
	}
}

// TestBatchBudget: batches without end run out of budget, at the same request on both
// engines.
func TestBatchBudget(t *testing.T) {
	a := batching(1, [][]byte{ask(abi.RequestRecover, batchBytes, batchBytes, batchDst)})
	a.body(abi.ExportExecute).code = code(a.accept(), opLoop, 0x40, constant(batchList), constant(1), a.call(abi.ImportBatch), opBr, 0, opEnd, constant(0))
	if out, _ := onBoth(t, a.bytes(), nil); out.Code != abi.CodeBudget || out.Detail != "" || !out.Accepted {
		t.Errorf("%+v", out)
	}
}

// TestBatchPhase: a batch gives no export what it may not call alone.
func TestBatchPhase(t *testing.T) {
	a := batching(1, [][]byte{ask(abi.RequestStateGet, batchBytes, 4, batchDst, 32)})
	a.body(abi.ExportInspect).code = code(constant(batchList), constant(1), a.call(abi.ImportBatch), constant(0))
	in, err := load(t, a.bytes(), Compiler).NewInspector()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	tx := &stf.Tx{Raw: []byte("x")}
	if err := in.Inspect(tx); err != nil || tx.Refusal == nil || tx.Refusal.Detail != "kaizen_inspect may not call state_get" {
		t.Fatalf("%+v, %v", tx.Refusal, err)
	}
}

// TestBatchTraced: a tracer hears the requests one by one, as far as they went.
func TestBatchTraced(t *testing.T) {
	list := append(allRequests(), ask(abi.RequestAccept, batchDst))
	for _, e := range engines {
		var heard listener
		p := loadWith(t, batching(len(list), list).bytes(), Options{Engine: e, Crypto: secp.Crypto{}, Tracer: &heard})
		b := newBlock(t, p)
		heard = listener{}
		b.execute(nil)
		if len(heard.calls) != len(list) {
			t.Fatalf("%v: heard %v", e, heard.names())
		}
		for i, r := range list {
			want := abi.Requests[binary.LittleEndian.Uint64(r)]
			if c := heard.calls[i]; c.Name != want || (c.Refused != "") != (i == len(list)-1) {
				t.Errorf("%v: heard %+v, want %s", e, c, want)
			}
		}
		if c := heard.calls[1]; !c.Found || string(c.Input) != "what" || string(c.Value) != "what requests are" {
			t.Errorf("%v: state_get is %+v", e, c)
		}
	}
}

// TestVersions: modules of the version before are run, as far as they keep to it.
func TestVersions(t *testing.T) {
	old := func() *asm {
		a := newASM()
		a.body(abi.ExportVersion).code = constant(abi.OldestVersion)
		return a
	}
	expectRefusal(t, old().bytes(), ErrVersion, fmt.Sprintf("import kaizen.batch: version %d does not have it", abi.OldestVersion))
	a := old()
	for i := range a.imports {
		if a.imports[i].name == abi.ImportBatch {
			a.imports[i].name = abi.ImportEmit // which is of the same type
		}
	}
	if out, _ := onBoth(t, a.bytes(), []byte("tx")); out.Code != 0 || !out.Accepted {
		t.Errorf("%+v", out)
	}
}
