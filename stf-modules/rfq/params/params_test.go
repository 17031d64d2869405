package params_test

import (
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

var update = flag.Bool("update", false, "rewrite golden files")

func sample() params.Params {
	p := params.Default()
	p.Accounts = []params.Account{
		{Address: tx.Address{2}, Balance: ^uint64(0) - 1, Permissions: tx.PermAll},
		{Address: tx.Address{1}, Balance: 1},
	}
	p.Sort()
	return p
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	if err := want.Validate(); err != nil {
		t.Fatal(err)
	}
	b := want.Append(nil)
	got, ok := params.Decode(b)
	if !ok || !reflect.DeepEqual(got, want) {
		t.Fatalf("decoded %+v, %v, want %+v", got, ok, want)
	}
	for n := range b {
		if _, ok := params.Decode(b[:n]); ok {
			t.Fatalf("%d of %d bytes decode", n, len(b))
		}
	}
	if _, ok := params.Decode(append(b, 0)); ok {
		t.Fatal("a byte too many decodes")
	}
	fromJSON, err := params.ParseJSON(want.JSON())
	if err != nil || !reflect.DeepEqual(*fromJSON, want) {
		t.Fatalf("from JSON %+v, %v, want %+v", fromJSON, err, want)
	}
}

// TestGolden pins version 1 of both encodings.
func TestGolden(t *testing.T) {
	p := sample()
	for file, got := range map[string][]byte{"testdata/params.v1.bin": p.Append(nil), "testdata/params.v1.json": p.JSON()} {
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: the encoding has changed", file)
		}
	}
}

func TestJSONIsStrict(t *testing.T) {
	p := sample()
	good := string(p.JSON())
	for name, bad := range map[string]string{
		"unknown member":     strings.Replace(good, `"markets"`, `"markts"`, 1),
		"second value":       good + "{}",
		"number as amount":   strings.Replace(good, `"balance": "1"`, `"balance": 1`, 1),
		"float as amount":    strings.Replace(good, `"balance": "1"`, `"balance": "1.0"`, 1),
		"negative amount":    strings.Replace(good, `"balance": "1"`, `"balance": "-1"`, 1),
		"short address":      strings.Replace(good, `0x01000`, `0x01`, 1),
		"address without 0x": strings.Replace(good, `"0x01`, `"01`, 1),
		"permission":         strings.Replace(good, `"relayer"`, `"root"`, 1),
		"challenge window":   strings.Replace(good, `10000`, `99`, 1),
		"supply":             strings.Replace(good, `"balance": "1"`, `"balance": "2"`, 1),
		"account twice":      strings.Replace(good, `0x02`, `0x01`, 1),
		"empty":              "",
	} {
		if bad == good {
			t.Fatalf("%s: the sample did not change", name)
		}
		if _, err := params.ParseJSON([]byte(bad)); !errors.Is(err, params.ErrParams) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckMarket(t *testing.T) {
	ok := tx.Limits{MinBet: 1, MaxBet: 1, MaxOpenInterest: 2}
	for _, c := range []struct {
		name   string
		limits tx.Limits
		good   bool
	}{
		{"BTC/USDT", ok, true}, {"x", ok, true}, {strings.Repeat("x", 32), ok, true},
		{"", ok, false}, {strings.Repeat("x", 33), ok, false}, {"a b", ok, false}, {"a\"", ok, false}, {"a\\", ok, false}, {"é", ok, false}, {"a\n", ok, false},
		{"x", tx.Limits{MaxBet: 1, MaxOpenInterest: 2}, false},
		{"x", tx.Limits{MinBet: 2, MaxBet: 1, MaxOpenInterest: 2}, false},
		{"x", tx.Limits{MinBet: 1, MaxBet: 2, MaxOpenInterest: 2}, false},
	} {
		if got := params.CheckMarket(tx.Address{1}, tx.Address{2}, c.name, &c.limits); (got == "") != c.good {
			t.Errorf("%q %+v: %q", c.name, c.limits, got)
		}
	}
	if params.CheckMarket(tx.Address{1}, tx.Address{1}, "x", &ok) == "" {
		t.Error("a market of one token is taken")
	}
}

func FuzzDecode(f *testing.F) {
	p := sample()
	f.Add(p.Append(nil))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := params.Decode(b); ok {
			if string(p.Append(nil)) != string(b) {
				t.Fatalf("%x decodes and encodes differently", b)
			}
			p.Check()
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	p := sample()
	f.Add(p.JSON())
	f.Add([]byte(`{"challenge_window_ms":1000,"accounts":[],"markets":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := params.ParseJSON(b)
		if err != nil {
			return
		}
		if again, err := params.ParseJSON(p.JSON()); err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%s: %v", b, err)
		}
	})
}
