package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

const (
	aHash    = "0x6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
	sentText = `{"tx_hash":"` + aHash + `","height":3,"index":1,"status":"ok","error":null,"events":[{"type":"transfer","from":"0x00aa","amount":"7","n":1,"b":true},{"type":"x"}]}`
	badText  = `{"tx_hash":null,"height":null,"index":null,"status":"refused","error":"Busy","error_code":-32000,"error_detail":"a \"<\u00e9","events":[]}`
)

// taken are receipts that the reader must not leave to encoding/json.
var taken = []string{
	sentText, badText, `{}`, ` { "height" : 18446744073709551615 , "error_code":-0 } `, `{"status":"\u006fk","error":"\n","events":[{"ty\u0070e":"a\u0062"}]}`,
	`{"events":[{"type":"a","f":1},{"type":7},{"type":"a","f":"x","f":2,"type":"b"},{},{"g":false}]}`, `{"tx_hash":"0x` + strings.ToUpper(aHash[2:]) + `"}`,
}

// left are texts that it must not take: not receipts, or not such as nodes write.
var left = []string{
	``, `null`, `[]`, `7`, `{"height":-1}`, `{"height":-0}`, `{"height":1.0}`, `{"height":1e3}`, `{"height":18446744073709551616}`, `{"height":"1"}`, `{"index":[1]}`, `{"status":7}`, `{"error":{}}`,
	`{"error_code":9223372036854775808}`, `{"error_code":"1"}`, `{"tx_hash":"0x"}`, `{"tx_hash":"` + aHash + `00"}`, `{"tx_hash":"0y` + aHash[2:] + `"}`, `{"tx_hash":"\u0030` + aHash[6:] + `"}`, `{"tx_hash":7}`,
	`{"height":1,"height":2}`, `{"Height":1}`, `{"hei\u0067ht":1}`, `{"heigh\u0074":1,"height":null}`, `{"block":{"height":1}}`, `{"added":1}`, `{"status":true}`, `{"ſtatus":"ok"}`,
	`{"events":null}`, `{"events":{}}`, `{"events":[null]}`, `{"events":[7]}`, `{"events":[{"a":null}]}`, `{"events":[{"a":[]}]}`, `{"events":[{"a":1.5}]}`, `{"events":[{"a":-1}]}`, `{"events":[{"a":1}`, `{"events":[{}],}`,
	"{\"status\":\"\xff\"}", `{"status":"\x"}`, `{"height":01}`,
}

func readOne(b []byte) (v Receipt, ok bool) {
	sc := jsonscan.New(b)
	ok = new(ReceiptReader).Receipt(&sc, &v) && sc.End()
	return v, ok
}

func readList(b []byte) ([]Receipt, bool) {
	sc := jsonscan.New(b)
	v, ok := new(ReceiptReader).List(&sc, 2)
	return v, ok && sc.End()
}

func TestReceiptReader(t *testing.T) {
	for _, s := range taken {
		if _, ok := readOne([]byte(s)); !ok {
			t.Errorf("%s was left", s)
		}
	}
	if _, ok := readList([]byte("[" + strings.Join(taken, ",") + "]")); !ok {
		t.Error("the list was left")
	}
	for _, s := range left {
		if v, ok := readOne([]byte(s)); ok {
			t.Errorf("%s was taken as %+v", s, v)
		}
		if v, ok := readList([]byte("[" + sentText + "," + s + "]")); ok {
			t.Errorf("a list with %s was taken as %+v", s, v)
		}
	}
}

// FuzzReceiptReader holds the reader to encoding/json: what it takes is the same.
func FuzzReceiptReader(f *testing.F) {
	for _, s := range append(taken, left...) {
		f.Add([]byte(s))
		f.Add([]byte("[" + sentText + "," + s + "]"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, ok := readOne(b); ok {
			sameAsJSON(t, b, got)
		}
		if got, ok := readList(b); ok {
			sameAsJSON(t, b, got)
		}
	})
}

func sameAsJSON[T any](t *testing.T, b []byte, got T) {
	var want T
	if err := json.Unmarshal(b, &want); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is\n%+v, encoding/json says\n%+v (%v)", b, got, want, err)
	}
}

// TestReceiptReaderForgets: a node cannot make a reader remember much.
func TestReceiptReaderForgets(t *testing.T) {
	var r ReceiptReader
	for length := 2 * maxWordBytes; length > 0; length-- {
		r.word([]byte(`"` + strings.Repeat("x", length) + `"`))
	}
	for i := range maxWords {
		r.word([]byte(fmt.Sprintf(`"%d"`, i)))
	}
	if r.kept != maxWords || len(r.words[0]) != maxWordBytes {
		t.Errorf("%d words, the first of %d bytes", r.kept, len(r.words[0]))
	}
}
