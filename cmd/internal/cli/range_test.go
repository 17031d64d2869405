package cli

import (
	"math"
	"math/big"
	"strings"
	"testing"
)

func TestRanges(t *testing.T) {
	const price = 104_250_123_457
	for _, c := range []struct {
		text         string
		lower, upper uint64
	}{
		{"104000:105000.5", 104_000_000_000, 105_000_500_000},
		{"-0.5%:+0.5%", 103_728_872_839, 104_771_374_075}, // …839.715 and …074.285: outwards
		{"-0%:+0.000001%", price, price + 1043},
		{"+1%:+2%", 105_292_624_691, 106_335_125_927},
		{"1:+0%", 1_000_000, price},
		{"0.000001:18446744073709.551615", 1, math.MaxUint64},
		{"-99.999999%:-0%", 1042, price},
	} {
		r, err := ParseRange(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		lower, upper, err := r.At(price)
		if err != nil || lower != c.lower || upper != c.upper {
			t.Errorf("%s at %d: %d to %d, %v; want %d to %d", c.text, price, lower, upper, err, c.lower, c.upper)
		}
		if r.NeedsPrice() != strings.Contains(c.text, "%") {
			t.Errorf("%s: needs price %v", c.text, r.NeedsPrice())
		}
	}
}

func TestRangesRefused(t *testing.T) {
	for _, text := range []string{
		"", "1", ":", "1:", ":1", "0.5%:1%", "-0.5:+0.5", "-100%:+1%", "-1e1%:+1%", "1:2:3", " 1:2", "-0.5 %:+1%", "--1%:+1%", "-%:+%",
		"-0.0000001%:+1%", "1.0000001:2", "NaN:1", "+1:+2", "-.5%:+.5%", "18446744073709.551616:1",
	} {
		if r, err := ParseRange(text); err == nil {
			t.Errorf("%q is %+v", text, r)
		} else if ExitCode(err) != ExitUsage {
			t.Errorf("%q: exit code %d", text, ExitCode(err))
		}
	}
	for _, text := range []string{"2:1", "1:1", "0:1", "+1%:-1%", "-0%:+0%", "1:+9999999999999%"} {
		r, err := ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		if lower, upper, err := r.At(math.MaxUint64 / 2); err == nil {
			t.Errorf("%s is %d to %d", text, lower, upper)
		}
	}
}

func TestPercent(t *testing.T) {
	for text, want := range map[string]uint64{"0%": 0, "2%": 20_000, "2.5%": 25_000, "0.0001%": 1, "100%": 1_000_000, "1000%": 10_000_000} {
		if got, err := ParsePercent(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "2", "0.00001%", "-1%", "+1%", "1e1%", "2 %"} {
		if got, err := ParsePercent(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

// A relative range contains the exact one, and misses it by less than a unit.
func FuzzRange(f *testing.F) {
	f.Add("-0.5%:+0.5%", uint64(104_250_000_000))
	f.Add("+1%:7", uint64(1))
	f.Fuzz(func(t *testing.T, text string, price uint64) {
		r, err := ParseRange(text)
		if err != nil {
			return
		}
		lower, upper, err := r.At(price)
		if err != nil {
			return
		}
		if lower >= upper || lower == 0 {
			t.Fatalf("%q at %d is %d to %d", text, price, lower, upper)
		}
		for _, b := range []struct {
			bound Bound
			got   uint64
			up    bool
		}{{r.Lower, lower, false}, {r.Upper, upper, true}} {
			if !b.bound.Relative {
				continue
			}
			exact := new(big.Rat).SetFrac(new(big.Int).SetUint64(b.bound.Value), big.NewInt(hundredPercent))
			if b.bound.Negative {
				exact.Neg(exact)
			}
			exact.Add(exact, big.NewRat(1, 1)).Mul(exact, new(big.Rat).SetInt(new(big.Int).SetUint64(price)))
			apart := new(big.Rat).Sub(new(big.Rat).SetInt(new(big.Int).SetUint64(b.got)), exact)
			if !b.up {
				apart.Neg(apart)
			}
			if apart.Sign() < 0 || apart.Cmp(big.NewRat(1, 1)) >= 0 {
				t.Fatalf("%q at %d: %d is %s from exact", text, price, b.got, apart.FloatString(9))
			}
		}
	})
}
