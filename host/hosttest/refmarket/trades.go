package refmarket

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Trades reads recorded trades (lines "unix_seconds,price,amount,side"): each
// with its time in ms and its price with 6 decimals. The trades of one second are
// spread over it, in their order.
func Trades(r io.Reader) (trades []Price, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Split(lines.Text(), ",")
		if len(fields) != 4 {
			return nil, fmt.Errorf("line %d: %d fields, want 4", n, len(fields))
		}
		seconds, err := strconv.ParseUint(fields[0], 10, 40)
		if err != nil {
			return nil, fmt.Errorf("line %d: time: %w", n, err)
		}
		price, err := decimal(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: price: %w", n, err)
		}
		trades = append(trades, Price{Timestamp: seconds * 1000, Price: price})
	}
	for i := 0; i < len(trades); {
		i += spread(trades[i:])
	}
	return trades, lines.Err()
}

// decimal reads a number with up to 6 decimals, without a float.
func decimal(s string) (uint64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 6 {
		return 0, fmt.Errorf("%q has more than 6 decimals", s)
	}
	return strconv.ParseUint(whole+fraction+strings.Repeat("0", 6-len(fraction)), 10, 64)
}

// spread spreads the trades of the first second over it; it returns how many.
func spread(trades []Price) (n int) {
	for n < len(trades) && trades[n].Timestamp == trades[0].Timestamp {
		n++
	}
	for i := range n {
		trades[i].Timestamp += uint64(i * 1000 / n)
	}
	return n
}
