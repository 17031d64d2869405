package oracle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
)

// example is the answer of protocol section 6 with its addresses written out.
const example = `{"timestamp": 1700000000000, "prices": {"BTC/USDT": {"base": "0x0000000000000000000000000000000000000001",
 "quote": "0x0000000000000000000000000000000000000100", "price": "104250000000", "decimals": 6, "lastUpdate": 1699999999990, "sources": ["binance", "okx"]}}}`

func TestDecodeAnswer(t *testing.T) {
	got, err := DecodeAnswer([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	want := answer(t0, Entry{Pair: mustPair(t, "BTC/USDT"), Price: 104_250_000_000, LastUpdate: t0 - 10, Sources: []string{"binance", "okx"}})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, want %+v", got, want)
	}
}

func TestDecodeAnswerRefusesWhole(t *testing.T) {
	many := make([]string, chain.MaxMarkets+1)
	for i := range many {
		many[i] = fmt.Sprintf("%q: {}", fmt.Sprint("P", i))
	}
	for _, c := range []struct {
		name, body string
		reason     Reason
	}{
		{"empty", ``, Malformed},
		{"not JSON", `<html>`, Malformed},
		{"cut off", example[:len(example)-1], Malformed},
		{"more behind it", example + `{}`, Malformed},
		{"not an object", `[]`, Malformed},
		{"null", `null`, Malformed},
		{"no timestamp", `{"prices": {"BTC/USDT": {}}}`, Malformed},
		{"zero timestamp", `{"timestamp": 0, "prices": {"BTC/USDT": {}}}`, Malformed},
		{"negative timestamp", `{"timestamp": -1, "prices": {"BTC/USDT": {}}}`, Malformed},
		{"fractional timestamp", `{"timestamp": 1.5, "prices": {"BTC/USDT": {}}}`, Malformed},
		{"timestamp beyond u64", `{"timestamp": 18446744073709551616, "prices": {"BTC/USDT": {}}}`, Malformed},
		{"timestamp is text", `{"timestamp": "1700000000000", "prices": {"BTC/USDT": {}}}`, Malformed},
		{"no prices", `{"timestamp": 1}`, Malformed},
		{"prices null", `{"timestamp": 1, "prices": null}`, Malformed},
		{"prices empty", `{"timestamp": 1, "prices": {}}`, Malformed},
		{"prices a list", `{"timestamp": 1, "prices": []}`, Malformed},
		{"prices twice", `{"timestamp": 1, "prices": {"A": {}}, "prices": {"B": {}}}`, Malformed},
		{"a pair twice", `{"timestamp": 1, "prices": {"A": {}, "A": {}}}`, Malformed},
		{"too many pairs", `{"timestamp": 1, "prices": {` + strings.Join(many, ",") + `}}`, Malformed},
		{"too long", example + strings.Repeat(" ", MaxAnswerBytes), TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := DecodeAnswer([]byte(c.body))
			var r *Refusal
			if !errors.As(err, &r) || r.Reason != c.reason || r.Pair != "" {
				t.Errorf("got %+v, %v, want a refusal of the whole for %v", a, err, c.reason)
			}
		})
	}
}

func TestDecodeAnswerRefusesPair(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		reason         Reason
	}{
		{"price a number", `"104250000000"`, `104250000000`, Malformed},
		{"price negative", `"104250000000"`, `"-1"`, Malformed},
		{"price signed", `"104250000000"`, `"+1"`, Malformed},
		{"price with a point", `"104250000000"`, `"104250.5"`, Malformed},
		{"price with an exponent", `"104250000000"`, `"1e5"`, Malformed},
		{"price NaN", `"104250000000"`, `"NaN"`, Malformed},
		{"price empty", `"104250000000"`, `""`, Malformed},
		{"price with a leading zero", `"104250000000"`, `"0104"`, Malformed},
		{"price beyond u64", `"104250000000"`, `"18446744073709551616"`, Malformed},
		{"price missing", `"price": "104250000000",`, ``, Malformed},
		{"price null", `"104250000000"`, `null`, Malformed},
		{"price zero", `"104250000000"`, `"0"`, Zero},
		{"eight decimals", `"decimals": 6`, `"decimals": 8`, Malformed},
		{"no decimals", `"decimals": 6,`, ``, Malformed},
		{"short address", `000000000001"`, `0001"`, Malformed},
		{"no base", `"base": "0x0000000000000000000000000000000000000001",`, ``, Malformed},
		{"lastUpdate a text", `1699999999990`, `"1699999999990"`, Malformed},
		{"no lastUpdate", `"lastUpdate": 1699999999990,`, ``, Malformed},
		{"sources a text", `["binance", "okx"]`, `"binance"`, Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := strings.Replace(example, c.old, c.new, 1)
			if body == example {
				t.Fatal("the case changes nothing")
			}
			a, err := DecodeAnswer([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if e := a.Entries[0]; e.Bad == nil || e.Bad.Reason != c.reason || e.Bad.Pair != "BTC/USDT" {
				t.Errorf("entry %+v, want it refused for %v", e, c.reason)
			}
			if refused := newFeed().Accept(a, t0); len(refused) != 1 {
				t.Errorf("the feed refused %v, want the pair", refused)
			}
		})
	}
}

func TestRefusalsAreShort(t *testing.T) {
	long := strings.Repeat("9", 100_000)
	for _, body := range []string{`{"timestamp": ` + long + `}`, `{"timestamp":1,"prices":"` + long + `"}`} {
		if _, err := DecodeAnswer([]byte(body)); err == nil || len(err.Error()) > 400 {
			t.Errorf("error of %d bytes for a log", len(fmt.Sprint(err)))
		}
	}
	a, err := DecodeAnswer([]byte(`{"timestamp": 1, "prices": {"` + long + `": {"price": ` + long + `}}}`))
	if err != nil || len(a.Entries[0].Bad.Error()) > 400 {
		t.Errorf("pair: %v", err)
	}
}

func TestAnswerRoundTrip(t *testing.T) {
	a := answer(t0, Entry{Pair: mustPair(t, "BTC/USDT"), Price: 1, LastUpdate: 2, Sources: []string{"a"}},
		Entry{Pair: mustPair(t, "ETH/USDT"), Price: 1<<64 - 1, LastUpdate: 1<<64 - 1, Sources: []string{}})
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeAnswer(b)
	if err != nil || !reflect.DeepEqual(back, a) {
		t.Errorf("%s decodes to %+v, %v", b, back, err)
	}
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`{"timestamp": 1, "prices": {"BTC/USDT": null, "A": 1, "": {}}}`))
	f.Add([]byte(`{"timestamp": 18446744073709551615, "prices": {"BTC/USDT": {"price": "0"}}}`))
	f.Add([]byte(`{"prices": {"A": {`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := DecodeAnswer(body)
		if err != nil {
			var r *Refusal
			if a != nil || !errors.As(err, &r) {
				t.Fatalf("got %v, %T", a, err)
			}
			return
		}
		feed := newFeed()
		refused := feed.Accept(a, t0)
		s := feed.Snapshot(t0, 3000)
		if len(s.Prices)+len(refused) < len(a.Entries) && s.Timestamp != 0 {
			t.Fatalf("%d pairs, %d used, %d refused", len(a.Entries), len(s.Prices), len(refused))
		}
		checkSuccession(t, chain.OracleSnapshot{}, s, t0)
		roundTrip(t, a)
	})
}

// roundTrip checks the good entries of an answer only: a bad one is not encoded.
func roundTrip(t *testing.T, a *Answer) {
	good := answer(a.Timestamp)
	for _, e := range a.Entries {
		if e.Bad == nil {
			good.Entries = append(good.Entries, e)
		}
	}
	if len(good.Entries) == 0 {
		return
	}
	b, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeAnswer(b)
	if len(b) > MaxAnswerBytes {
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	again, err := json.Marshal(back)
	if err != nil || !bytes.Equal(b, again) {
		t.Fatalf("%s encodes again to %s, %v", b, again, err)
	}
}
