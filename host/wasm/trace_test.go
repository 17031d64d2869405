package wasm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/chaos"
)

// listener is a tracer that keeps what it is told.
type listener struct {
	calls []HostCall
	words string
}

func (l *listener) Called(c *HostCall)  { l.calls = append(l.calls, *c) }
func (l *listener) Trapped(words error) { l.words = words.Error() }

func (l *listener) names() (names []string) {
	for _, c := range l.calls {
		names = append(names, c.Name)
	}
	return names
}

func loadTraced(t *testing.T, engine Engine, tracer Tracer) *Program {
	t.Helper()
	return loadWith(t, chaos.Wasm, Options{Engine: engine, Crypto: secp.Crypto{}, Tracer: tracer})
}

// A tracer hears every host call in order, with what was asked and answered, on
// both engines, and changes nothing.
func TestTracer(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.String(), func(t *testing.T) {
			var heard listener
			with, without := newBlock(t, loadTraced(t, engine, &heard)), newBlock(t, load(t, chaos.Wasm, engine))
			for i, c := range []struct {
				act     chaos.Act
				calls   []string
				refused string
				trapped bool
			}{
				{chaos.Count, []string{abi.ImportSHA256, abi.ImportAccept, abi.ImportStateSet, abi.ImportEmit}, "", false},
				{chaos.WriteThenFail, []string{abi.ImportSHA256, abi.ImportAccept, abi.ImportStateSet, abi.ImportEmit, abi.ImportOutput}, "", false},
				{chaos.LongKey, []string{abi.ImportSHA256, abi.ImportAccept, abi.ImportStateSet}, "state key of", true},
				{chaos.AcceptTwice, []string{abi.ImportSHA256, abi.ImportAccept, abi.ImportAccept}, "accept called twice", true},
				{chaos.WildPointer, []string{abi.ImportSHA256, abi.ImportAccept, abi.ImportEmit}, "outside memory", true},
				{chaos.NilDeref, nil, "", true},
			} {
				heard = listener{}
				tx := (&chaos.Tx{Act: c.act, Nonce: uint64(i), Arg: 5}).Append(nil)
				if got, want := with.result(tx), without.result(tx); got != want {
					t.Errorf("act %d: traced it gives %s, otherwise %s", c.act, got, want)
				}
				if c.calls != nil && !slices.Equal(heard.names(), c.calls) {
					t.Errorf("act %d: heard %v, want %v", c.act, heard.names(), c.calls)
				}
				last := heard.calls[len(heard.calls)-1]
				if got := last.Refused; (got != "") != (c.refused != "") || !strings.Contains(got, c.refused) {
					t.Errorf("act %d: the last call was refused for %q, want %q", c.act, got, c.refused)
				}
				if got := heard.words; (got != "") != c.trapped || c.trapped && !strings.Contains(got, "wasm stack trace") {
					t.Errorf("act %d: the trap is %q", c.act, got)
				}
			}
		})
	}
}

// What a tracer is told are copies of what the guest passed and got.
func TestTracerValues(t *testing.T) {
	var heard listener
	b := newBlock(t, loadTraced(t, Compiler, &heard))
	heard = listener{}
	tx := (&chaos.Tx{Act: chaos.WriteThenFail, Nonce: 1, Arg: 0x0102}).Append(nil)
	id := b.execute(tx).ID
	if c := heard.calls[0]; string(c.Input) != string(tx) || string(c.Value) != string(id[:]) {
		t.Errorf("sha256 is %+v", c)
	}
	if c := heard.calls[2]; string(c.Input) != chaos.KeyDirty || fmt.Sprintf("%x", c.Value) != "0201000000000000" {
		t.Errorf("state_set is %+v", c)
	}
}
