package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

func TestRefs(t *testing.T) {
	hash := chain.Hash{1, 2}
	for _, c := range []struct {
		ref         Ref
		typed, json string
	}{
		{Ref{}, "latest", `"latest"`}, {ByTag(TagLatest), "latest", `"latest"`}, {ByTag(TagSafe), "safe", `"safe"`},
		{At(0), "0", `0`}, {At(1<<64 - 1), "18446744073709551615", `18446744073709551615`}, {ByHash(hash), hash.String(), `"` + hash.String() + `"`},
	} {
		if c.ref.String() != c.typed {
			t.Errorf("%s is written %s", c.typed, c.ref)
		}
		if got, err := ParseRef(c.typed); err != nil || got != c.ref {
			t.Errorf("%s typed is %v (%v)", c.typed, got, err)
		}
		if b, err := json.Marshal(c.ref); err != nil || string(b) != c.json {
			t.Errorf("%s in JSON is %s (%v)", c.typed, b, err)
		}
		var got Ref
		if err := json.Unmarshal([]byte(c.json), &got); err != nil || got != c.ref {
			t.Errorf("%s from JSON is %v (%v)", c.json, got, err)
		}
	}
	for _, bad := range []string{"", "01", "-1", "1.0", "1e3", "newest", "0x", "0x12", "18446744073709551616", " 1"} {
		if got, err := ParseRef(bad); err == nil {
			t.Errorf("%q typed is %v", bad, got)
		}
	}
	for _, bad := range []string{`"7"`, `-1`, `1.0`, `null`, `true`, `[]`, `""`} {
		var got Ref
		if err := got.UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s from JSON is %v", bad, got)
		}
	}
	if n, ok := At(7).Number(); n != 7 || !ok {
		t.Error("a number is none")
	}
	if _, ok := At(7).Tag(); ok {
		t.Error("a number is a tag")
	}
	if h, ok := ByHash(hash).Hash(); h != hash || !ok {
		t.Error("a hash is none")
	}
}

func TestScalars(t *testing.T) {
	for _, bad := range []string{"", "00", "01", "+1", "-1", "1_0", "0x1", "18446744073709551616", "1 "} {
		if v, err := ParseUint(bad); err == nil {
			t.Errorf("%q is %d", bad, v)
		}
	}
	var a Amount
	if err := json.Unmarshal([]byte(`"18446744073709551615"`), &a); err != nil || a != 1<<64-1 {
		t.Errorf("amount %d: %v", a, err)
	}
	if err := json.Unmarshal([]byte(`7`), &a); err == nil {
		t.Error("an amount was read from a number")
	}
	for _, bad := range []string{"", "00", "0x0", "0xgg"} {
		if v, err := ParseBytes(bad); err == nil {
			t.Errorf("%q is %x", bad, v)
		}
	}
	if b, err := json.Marshal(Bytes{0xAB}); err != nil || string(b) != `"0xab"` {
		t.Errorf("bytes are %s (%v)", b, err)
	}
	if s := RefTo(chain.BlockID{Number: 7}).String(); s != "7 pending" {
		t.Error(s)
	}
}

func TestBadEvents(t *testing.T) {
	for _, bad := range []string{`7`, `[]`, `null`, `{"type":"x","a":null}`, `{"type":"x","a":1.5}`, `{"type":"x","a":-1}`, `{"type":"x","a":{}}`} {
		var e Event
		if err := json.Unmarshal([]byte(`{"e":`+bad+`}`), &struct{ E *Event }{&e}); err == nil && bad != "null" {
			t.Errorf("%s is %+v", bad, e)
		}
	}
	if _, err := json.Marshal(Event{Type: "x", Fields: []Field{{"a", 1.5}}}); err == nil {
		t.Error("a float was written")
	}
}

func TestCodes(t *testing.T) {
	seen := map[string]Code{}
	for i, s := range Codes {
		if old, twice := seen[s.Name]; twice || s.Meaning == "" || s.HTTP == 0 {
			t.Errorf("%s (%d, also %d) is incomplete or there twice", s.Name, s.Code, old)
		}
		seen[s.Name] = s.Code
		if _, ok := s.Code.Module(); ok {
			t.Errorf("%s is a module's", s.Name)
		}
		if i > 4 && (s.Code > -32000 || s.Code < -32099 || (i > 5 && s.Code >= Codes[i-1].Code)) {
			t.Errorf("%s has code %d, want it between -32099 and -32000 and below its predecessor's", s.Name, s.Code)
		}
	}
	for _, c := range []abi.Code{1, 7, abi.CodeTrap} {
		if got, ok := ModuleCode(c).Module(); got != c || !ok {
			t.Errorf("module code %d comes back as %d", c, got)
		}
	}
	if _, ok := Code(1000).Module(); ok {
		t.Error("success is an error")
	}
	e := FieldError(CodeInvalidParams, "address", "hex")
	if e.Error() != "InvalidParams: address: want hex (code -32602)" || fmt.Sprint(ModuleError(7, "InsufficientBalance", "x")) != "InsufficientBalance: x (code 1007)" {
		t.Error(e)
	}
}

func TestBadHeader(t *testing.T) {
	good := HeaderOf(&chain.Header{Version: 1})
	if _, err := good.Chain(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Header){func(h *Header) { h.Sequencer = nil }, func(h *Header) { h.Signature = h.Signature[1:] }, func(h *Header) { h.Version = 1 << 16 }} {
		h := good
		change(&h)
		if _, err := h.Chain(); err == nil || !strings.Contains(err.Error(), "malformed") {
			t.Errorf("%+v: %v", h, err)
		}
	}
}
