package rpc

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// FuzzRequest feeds whole bodies: no panic, no hang, and an answer that is JSON
// or none at all.
func FuzzRequest(f *testing.F) {
	for _, s := range conformance() {
		f.Add([]byte(s))
	}
	node := newFake(f)
	// In this test a panic of a method is a finding and not an answer.
	s, err := New(Options{Backend: node, Module: fakeModule(), Limits: DefaultLimits(), Fatal: func(any) {}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var answer []byte
		v, e := s.parse(b)
		if e != nil {
			answer = refuse(nil, e)
		} else {
			answer = s.answer(ctx, &v)
		}
		if len(answer) > 0 && !json.Valid(answer) {
			t.Fatalf("%q answered with %q", b, answer)
		}
		if len(answer) == 0 && e != nil {
			t.Fatalf("%q got no answer", b)
		}
		if json.Valid(b) != (e == nil || e.Code != api.CodeParse) && utf8.Valid(b) && depthOf(b) <= jsonscan.MaxDepth {
			t.Fatalf("%q: %v", b, e)
		}
	})
}

// depthOf is how deep valid JSON nests.
func depthOf(b []byte) int {
	dec := json.NewDecoder(strings.NewReader(string(b)))
	depth, deepest := 0, 0
	for {
		tok, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch tok {
		case json.Delim('['), json.Delim('{'):
			depth++
			deepest = max(deepest, depth)
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
}

// TestEventsAsTheSchemaSays compares the direct rendering with stf.Schema's.
func TestEventsAsTheSchemaSays(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	long := append([]byte{2, 7, 1}, make([]byte, 32)...)
	long = abi.AppendBytes(abi.AppendString(long, "é<\"\\\x01"), []byte{0xCA, 0xFE})
	transfer := w.node.execute([]byte{0}).Events[0]
	events := [][]byte{transfer, long, nil, {}, {1}, {99}, transfer[:len(transfer)-1], append(transfer[:len(transfer):len(transfer)], 0), append([]byte{2, 7, 2}, make([]byte, 40)...)}
	for _, b := range events {
		typ, fields := w.node.schema.Event(b)
		want := api.Event{Type: typ}
		for _, f := range fields {
			if v, ok := f.Value.(uint8); ok {
				f.Value = uint64(v)
			}
			want.Fields = append(want.Fields, api.Field(f))
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.server.appendEvent(nil, b); string(got) != string(text) {
			t.Errorf("event %x\ngot  %s\nwant %s", b, got, text)
		}
		var back api.Event
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(back); err != nil || string(again) != string(text) {
			t.Errorf("event %s came back as %s (%v)", text, again, err)
		}
	}
}

// TestAnswersHaveTheirTypes decodes what is written by hand into the types of
// package api and encodes it again: nothing is missing, named or spelled
// otherwise.
func TestAnswersHaveTheirTypes(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	node, s := w.node, w.server
	ok, failed := node.execute([]byte{0}), node.execute([]byte{2})
	refused := s.appendSent(nil, "", []Submitted{{Receipt: ok, Height: 7, Index: 1}, {Receipt: failed}, {Err: &stf.Refusal{Code: 1, Name: "InvalidSignature", Detail: "<x>"}}, {Receipt: chain.Receipt{ID: ok.ID}, Err: ErrBusy}})
	block, err := s.appendBlock(nil, node.blocks[2], node.results(node.blocks[2]), true)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := s.appendBlock(nil, node.blocks[2], node.results(node.blocks[2]), false)
	if err != nil {
		t.Fatal(err)
	}
	_, found := w.post(`{"jsonrpc":"2.0","id":1,"method":"kaizen_getTransaction","params":["` + ok.ID.String() + `"]}`)
	var answer struct{ Result json.RawMessage }
	if err := json.Unmarshal([]byte(found), &answer); err != nil {
		t.Fatal(err)
	}
	same(t, append(s.appendReceipt(nil, &ok, 1<<60, 3), '}'), &api.Receipt{}, false)
	same(t, append(s.appendReceipt(nil, &failed, 1, 0), '}'), &api.Receipt{}, false)
	same(t, block, &api.Block{}, false)
	same(t, answer.Result, &api.Transaction{}, false)
	// These leave out what does not apply, so only what is there is compared.
	same(t, refused, &[]api.Receipt{}, true)
	same(t, hashes, &api.Block{}, true)
}

// TestReceiptsAreTaken: clients read what this server says to a transaction in one
// pass, without encoding/json.
func TestReceiptsAreTaken(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	ok, failed := w.node.execute([]byte{0}), w.node.execute([]byte{2})
	ok.Events = append(ok.Events, nil, []byte{99})
	text := w.server.appendSent(nil, "", []Submitted{{Receipt: ok, Height: 1<<64 - 1, Index: 1}, {Receipt: failed}, {Err: &stf.Refusal{Code: 1, Name: "InvalidSignature", Detail: "<é\"\x01>"}}, {Receipt: chain.Receipt{ID: ok.ID}, Err: ErrBusy}})
	sc := jsonscan.New(text)
	got, taken := new(api.ReceiptReader).List(&sc, 0)
	var want []api.Receipt
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if !taken || !sc.End() || len(got) != 4 || !reflect.DeepEqual(got, want) {
		t.Errorf("%s\nis taken (%v) as %+v, want %+v", text, taken, got, want)
	}
}

// same decodes text into v and compares what v encodes to, member by member;
// with partial, members that text lacks or has as null are not compared.
func same(t *testing.T, text []byte, v any, partial bool) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	again, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	for _, p := range []struct {
		text []byte
		v    *any
	}{{text, &a}, {again, &b}} {
		if err := json.Unmarshal(p.text, p.v); err != nil {
			t.Fatal(err)
		}
	}
	compare(t, "", a, b, partial)
}

func compare(t *testing.T, at string, wire, typed any, partial bool) {
	t.Helper()
	switch w := wire.(type) {
	case map[string]any:
		ty, _ := typed.(map[string]any)
		for name, v := range w {
			compare(t, at+"."+name, v, ty[name], partial)
		}
		if !partial && len(w) != len(ty) {
			t.Errorf("%s: wire has %v, type has %v", at, w, ty)
		}
	case []any:
		ty, _ := typed.([]any)
		if len(ty) != len(w) {
			t.Errorf("%s: %d elements on the wire, %d in the type", at, len(w), len(ty))
			return
		}
		for i := range w {
			compare(t, at+"[]", w[i], ty[i], partial)
		}
	case nil:
		if !partial && typed != nil {
			t.Errorf("%s: null on the wire, %v in the type", at, typed)
		}
	default:
		if wire != typed {
			t.Errorf("%s: %v on the wire, %v in the type", at, wire, typed)
		}
	}
}
