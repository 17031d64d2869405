package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// decimals of USDC and of every price (protocol section 3).
const decimals, unit = 6, 1_000_000

// ParseAmount reads USDC as a person writes it: digits, and after a point at most
// six more. No sign, no exponent, no separators, and no float on the way.
func ParseAmount(s string) (uint64, error) {
	whole, fraction, point := strings.Cut(s, ".")
	if !isDigits(whole) || point && !isDigits(fraction) {
		return 0, Usagef("amount %.40q: want USDC such as 12 or 12.5", s)
	}
	if len(fraction) > decimals {
		return 0, Usagef("amount %.40q: USDC has %d decimals, got %d", s, decimals, len(fraction))
	}
	w, err := strconv.ParseUint(whole, 10, 64)
	f, _ := strconv.ParseUint(fraction+strings.Repeat("0", decimals-len(fraction)), 10, 64)
	if err != nil || w > (math.MaxUint64-f)/unit {
		return 0, Usagef("amount %.40q: more than %s", s, FormatAmount(math.MaxUint64))
	}
	return w*unit + f, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// FormatAmount is the inverse of [ParseAmount], always with six decimals.
func FormatAmount(v uint64) string { return fmt.Sprintf("%d.%06d", v/unit, v%unit) }
