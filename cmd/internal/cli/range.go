package cli

import (
	"math/big"
	"strings"
)

// Range is a price range as a person writes it: two prices, or two percentages of
// the price at the time, or one of each.
type Range struct{ Lower, Upper Bound }

// Bound is one end: a price, or a signed share of the price at the time, both
// exact.
type Bound struct {
	Relative bool
	Negative bool
	Value    uint64 // price with 6 decimals, or 1e-8ths: millionths of a percent
}

// hundredPercent is one in the unit of a relative bound.
const hundredPercent = 100 * unit

// ParseRange reads LOWER:UPPER, such as 104000:105000.5 or -0.5%:+0.5%. A
// percentage has a sign and at most six decimals.
func ParseRange(s string) (r Range, err error) {
	lower, upper, found := strings.Cut(s, ":")
	if !found {
		return r, Usagef("range %.80q: want LOWER:UPPER such as 104000:105000 or -0.5%%:+0.5%%", s)
	}
	if r.Lower, err = parseBound(lower); err == nil {
		r.Upper, err = parseBound(upper)
	}
	return r, err
}

func parseBound(s string) (b Bound, err error) {
	text, percent := strings.CutSuffix(s, "%")
	b.Relative = percent
	if percent {
		digits, minus := strings.CutPrefix(text, "-")
		if !minus {
			digits, percent = strings.CutPrefix(text, "+")
		}
		if !minus && !percent {
			return b, Usagef("bound %.40q: a percentage begins with + or -", s)
		}
		b.Negative, text = minus, digits
	}
	if b.Value, err = ParseAmount(text); err != nil {
		return b, Usagef("bound %.40q: want a price such as 104000.5 or a percentage such as -0.5%%, at most %d decimals", s, decimals)
	}
	if b.Negative && b.Value >= hundredPercent {
		return b, Usagef("bound %.40q: nothing is left of the price", s)
	}
	return b, nil
}

// NeedsPrice says whether the range is one only relative to a price.
func (r *Range) NeedsPrice() bool { return r.Lower.Relative || r.Upper.Relative }

// At is the range around a price. What does not come out even is rounded
// outwards: the range is never narrower than it was written.
func (r *Range) At(price uint64) (lower, upper uint64, err error) {
	lower, okLower := r.Lower.at(price, false)
	upper, okUpper := r.Upper.at(price, true)
	if !okLower || !okUpper || lower == 0 || lower >= upper {
		return 0, 0, Usagef("range: lower %s and upper %s at a price of %s: want 0 < lower < upper", FormatAmount(lower), FormatAmount(upper), FormatAmount(price))
	}
	return lower, upper, nil
}

func (b *Bound) at(price uint64, up bool) (v uint64, ok bool) {
	if !b.Relative {
		return b.Value, true
	}
	share := new(big.Int).SetUint64(b.Value)
	if b.Negative {
		share.Neg(share)
	}
	share.Add(share, big.NewInt(hundredPercent)).Mul(share, new(big.Int).SetUint64(price))
	if up {
		share.Add(share, big.NewInt(hundredPercent-1))
	}
	share.Quo(share, big.NewInt(hundredPercent))
	return share.Uint64(), share.IsUint64()
}

// ParsePercent reads a share such as 2.5% exactly, in millionths of one. It has at
// most four decimals.
func ParsePercent(s string) (ppm uint64, err error) {
	text, found := strings.CutSuffix(s, "%")
	v, err := ParseAmount(text)
	if !found || err != nil || v%100 != 0 {
		return 0, Usagef("share %.40q: want a percentage such as 2.5%%, at most 4 decimals", s)
	}
	return v / 100, nil
}
