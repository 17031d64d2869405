package jsonscan

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var seeds = []string{
	``, ` `, `7`, `"0x00aB"`, `"0x0"`, `"0xg0"`, `{"jsonrpc":"2.0","id":1,"method":"m","params":[["0x00","0x01"]]}`, `[{"a":"b\"c"},null,true,false,-1.5e3]`,
	`"\u00g0"`, `"\x"`, `"\`, `"\u12`, `-`, `-0`, `01`, `1.`, `1.5e`, `1e+7`, `.5`, `[1,]`, `{"a":1,}`, `{"a"}`, `{1:2}`, `[1 2]`, "\"\n\"", "\"\x7f\"", "\"\xc0\"", "\"é\"", "tru", "nulll", "\v1", "[", strings.Repeat("[", 31) + strings.Repeat("]", 31), strings.Repeat("[", 33) + strings.Repeat("]", 33),
}

// FuzzScanner holds the scanner to encoding/json: the same inputs are valid, as
// long as they are UTF-8 and nest no deeper than allowed.
func FuzzScanner(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sc := New(b)
		span, ok := sc.Value()
		ok = ok && sc.End()
		want := json.Valid(b) && utf8.Valid(b) && depthOf(b) <= MaxDepth
		if ok != want {
			t.Fatalf("%q: scanner says %v, encoding/json %v", b, ok, want)
		}
		if ok {
			again := Again(span)
			if got, ok := again.Value(); !ok || string(got) != string(span) {
				t.Fatalf("%q: scanned again it is %q", span, got)
			}
		}
		if ok && span[0] == '"' {
			var text string
			if err := json.Unmarshal(span, &text); err != nil || text != Unquote(span) {
				t.Fatalf("%q: unquoted as %q, encoding/json says %q (%v)", b, Unquote(span), text, err)
			}
		}
		if got, ok := AppendHex(nil, b); ok {
			want, err := hex.DecodeString(string(b[3 : len(b)-1]))
			if err != nil || string(want) != string(got) {
				t.Fatalf("%q: hex %x, want %x (%v)", b, got, want, err)
			}
		}
	})
}

// TestCountPlain: every byte, at every place of eight and behind them, in a row of
// bytes that it may be confused with.
func TestCountPlain(t *testing.T) {
	for c := range 256 {
		for _, filler := range []byte{' ', '!', '#', '[', ']', 0x7F, byte(c)} {
			for length := range 20 {
				for at := range length {
					b := bytes.Repeat([]byte{filler}, length)
					b[at] = byte(c)
					want := 0
					for want < length && plain[b[want]] {
						want++
					}
					if got := countPlain(b); got != want {
						t.Fatalf("%q: %d plain bytes, want %d", b, got, want)
					}
				}
			}
		}
	}
}

// TestMembers: who takes the values himself sees what Object and Array show.
func TestMembers(t *testing.T) {
	const text = ` {"a" : [1, "x"],"b\u0063":{} , "d":null} `
	var names, values []string
	sc := New([]byte(text))
	ok := sc.Members(func(name []byte) bool {
		names = append(names, string(name))
		if sc.Space() != '[' {
			v, ok := sc.Value()
			values = append(values, string(v))
			return ok
		}
		return sc.Items(func() bool {
			v, ok := sc.Value()
			values = append(values, string(v))
			return ok
		})
	})
	if !ok || !sc.End() || !slices.Equal(names, []string{`"a"`, `"b\u0063"`, `"d"`}) || !slices.Equal(values, []string{"1", `"x"`, "{}", "null"}) {
		t.Errorf("%v: %q, %q", ok, names, values)
	}
	for _, bad := range []string{`{"a":1,}`, `{"a"}`, `{"a":1`, `{1:2}`, `[1]`, ``} {
		sc := New([]byte(bad))
		if sc.Members(func([]byte) bool { return sc.skip() }) {
			t.Errorf("%s has members", bad)
		}
	}
	sc = New([]byte(`[[1,2],3]`))
	if sc.Items(func() bool { return false }) {
		t.Error("an item that was refused was taken")
	}
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
