package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// TestWASI: every stub returns success and writes its constants over what was
// there, on both engines.
func TestWASI(t *testing.T) {
	ones := bytes.Repeat([]byte{0xff}, 16)
	sized := func(n int) []byte { return append(make([]byte, n), ones[n:]...) }
	clock := binary.LittleEndian.AppendUint64(nil, wasiTime)
	for _, c := range []struct {
		name string
		args []byte // leaves the parameters
		want []byte // the 16 bytes at 2048 afterwards
	}{
		{"args_get", code(constant(2048), constant(2052)), ones},
		{"environ_get", code(constant(2048), constant(2052)), ones},
		{"args_sizes_get", code(constant(2048), constant(2052)), sized(8)},
		{"environ_sizes_get", code(constant(2048), constant(2052)), sized(8)},
		{"clock_time_get", code(constant(0), constant64(0), constant(2048)), append(clock, ones[8:]...)},
		{"clock_time_get", code(constant(1), constant64(1), constant(2048)), append(clock, ones[8:]...)},
		{"random_get", code(constant(2048), constant(11)), sized(11)},
		{"poll_oneoff", code(constant(0), constant(0), constant(1), constant(2048)), sized(4)},
		{"sched_yield", nil, ones},
		{"fd_write", code(constant(1), constant(0), constant(0), constant(2048)), sized(4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newASM()
			fill := code(constant(2048), constant(255), constant(16), 0xfc, 11, 0)
			a.execute(nil, fill, c.args, a.call(c.name), opIf, 0x40, opUnreachable, opEnd,
				constant(2048), constant(16), a.call(abi.ImportEmit), constant(0))
			out, _ := onBoth(t, a.bytes(), nil)
			if out.Code != 0 || !bytes.Equal(out.Events[0], c.want) {
				t.Fatalf("%+v, want %x", out, c.want)
			}
		})
	}
}

// TestWrittenLinesAreLogged: fd_write joins its pieces, cuts what is too long for
// a log line, and reports all of it as written.
func TestWrittenLinesAreLogged(t *testing.T) {
	for _, e := range engines {
		a := newASM()
		vectors := binary.LittleEndian.AppendUint32(nil, 4000)
		for _, v := range []uint32{3, 5000, 2000} {
			vectors = binary.LittleEndian.AppendUint32(vectors, v)
		}
		a.data = append(a.data, code(0, constant(3000), opEnd, len(vectors), vectors), code(0, constant(4000), opEnd, 3, "abc"))
		a.execute(nil, constant(2), constant(3000), constant(2), constant(2048), a.call("fd_write"), 0x1a,
			constant(2048), constant(4), a.call(abi.ImportEmit), constant(0))
		var lines [][]byte
		p, err := Load(context.Background(), a.bytes(), Options{Engine: e, Crypto: secp.Crypto{}, Log: func(b []byte) { lines = append(lines, bytes.Clone(b)) }})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		out := newBlock(t, p).execute(nil)
		want := "abc" + strings.Repeat("\x00", abi.MaxLogBytes-3)
		if out.Code != 0 || binary.LittleEndian.Uint32(out.Events[0]) != 2003 || len(lines) != 1 || string(lines[0]) != want {
			t.Fatalf("%v: %+v, log %q", e, out, lines)
		}
	}
}

// TestPhases: an import that the running export may not call is a trap that says
// so.
func TestPhases(t *testing.T) {
	for _, c := range []struct {
		export, call string
		args         int
	}{
		{abi.ExportAdmit, abi.ImportStateSet, 4},
		{abi.ExportAdmit, abi.ImportStateDelete, 2},
		{abi.ExportAdmit, abi.ImportEmit, 2},
		{abi.ExportAdmit, abi.ImportAccept, 1},
		{abi.ExportBeginBlock, abi.ImportAccept, 1},
		{abi.ExportEndBlock, abi.ImportAccept, 1},
	} {
		t.Run(c.export+"/"+c.call, func(t *testing.T) {
			a := newASM()
			var args []byte
			for range c.args {
				args = append(args, constant(1)...)
			}
			a.body(c.export).code = code(args, a.call(c.call), constant(0))
			p := load(t, a.bytes(), Compiler)
			m, err := p.NewMachine()
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			out := runExport(t, m, c.export)
			if want := c.export + " may not call " + c.call; out.Code != abi.CodeTrap || out.Detail != want {
				t.Fatalf("%+v, want %q", out, want)
			}
		})
	}
}

func runExport(t *testing.T, m stf.Machine, export string) (out stf.Outcome) {
	t.Helper()
	ov := newOverlay()
	var err error
	switch export {
	case abi.ExportAdmit:
		out, err = m.Admit(ov, testContext, &stf.Tx{})
	case abi.ExportBeginBlock:
		out, err = m.BeginBlock(ov, testContext, noPrices)
	case abi.ExportEndBlock:
		out, err = m.EndBlock(ov, testContext)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
