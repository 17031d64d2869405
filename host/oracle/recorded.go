package oracle

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
)

// Limits of a recording.
const (
	// MaxTrades bounds the lines of a file, 16 bytes of memory each.
	MaxTrades = 4_000_000
	// MaxTradeBytes bounds one line, bytes.
	MaxTradeBytes = 256
	// MaxReplaySpeed bounds how much faster than real time a file is replayed.
	MaxReplaySpeed = 10_000
	// maxUnixSeconds is the last second of the year 9999.
	maxUnixSeconds = 253_402_300_799
)

// trade is one line of a recording: a price, and when it comes after the start
// of the first second, ms.
type trade struct{ at, price uint64 }

// Recording is a file of trades of one pair, read once.
type Recording struct {
	trades []trade // ascending by at, not empty
	length uint64  // ms up to the end of the last second
}

// ErrRecording is wrapped when a file is not a recording, with the line.
var ErrRecording = errors.New("not a file of trades")

// ReadRecording reads lines `unix_seconds,price,amount,side`: whole seconds that
// do not decrease, a price above zero with at most 6 decimals, an
// amount, a word.
// Prices never pass through a float.
//
// Trades of the same second are spread evenly over it, in the order of the file.
func ReadRecording(r io.Reader) (*Recording, error) {
	rec := &Recording{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), MaxTradeBytes)
	for n := 1; lines.Scan(); n++ {
		if n > MaxTrades {
			return nil, fmt.Errorf("%w: more than %d lines", ErrRecording, MaxTrades)
		}
		second, price, err := parseTrade(lines.Text())
		if err == nil && n > 1 && second < rec.trades[n-2].at {
			err = fmt.Errorf("second %d comes after second %d", second, rec.trades[n-2].at)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrRecording, n, err)
		}
		rec.trades = append(rec.trades, trade{second, price})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrRecording, len(rec.trades)+1, err)
	}
	if len(rec.trades) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrRecording)
	}
	rec.spread()
	return rec, nil
}

// spread turns seconds into ms since the first one, and the trades of one second
// into successive moments of it.
func (r *Recording) spread() {
	first := r.trades[0].at
	for i := 0; i < len(r.trades); {
		n := 1
		for i+n < len(r.trades) && r.trades[i+n].at == r.trades[i].at {
			n++
		}
		second := r.trades[i].at
		for k := range n {
			r.trades[i+k].at = (second-first)*1000 + uint64(k)*1000/uint64(n)
		}
		r.length = (second - first + 1) * 1000
		i += n
	}
}

func parseTrade(line string) (second, price uint64, err error) {
	fields := strings.Split(line, ",")
	if len(fields) != 4 {
		return 0, 0, fmt.Errorf("%d fields, want unix_seconds,price,amount,side", len(fields))
	}
	if second, err = strconv.ParseUint(fields[0], 10, 64); err != nil || second > maxUnixSeconds {
		return 0, 0, fmt.Errorf("unix_seconds is %.40q, want a whole number of seconds up to %d", fields[0], uint64(maxUnixSeconds))
	}
	if price, err = ParsePrice(fields[1]); err != nil {
		return 0, 0, fmt.Errorf("price: %w", err)
	}
	if !isAmount(fields[2]) {
		return 0, 0, fmt.Errorf("amount is %.40q, want a decimal number", fields[2])
	}
	if len(fields[3]) == 0 || len(fields[3]) > 16 {
		return 0, 0, fmt.Errorf("side is %.40q, want a word of up to 16 bytes", fields[3])
	}
	return second, price, nil
}

// ErrPrice is wrapped when a text is not a price.
var ErrPrice = errors.New("not a price")

// ParsePrice reads a decimal number above zero, such as "15993.5", exactly: more
// than 6 decimals are refused unless what is beyond them is zeros.
func ParsePrice(s string) (uint64, error) {
	if !isDecimal(s) {
		return 0, fmt.Errorf("%w: %.40q, want digits with at most one point", ErrPrice, s)
	}
	whole, fraction, _ := strings.Cut(s, ".")
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > Decimals {
		return 0, fmt.Errorf("%w: %.40q has more than %d decimals", ErrPrice, s, Decimals)
	}
	v, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", Decimals-len(fraction)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %.40q is above %d.%06d", ErrPrice, s, uint64(math.MaxUint64)/1_000_000, uint64(math.MaxUint64)%1_000_000)
	}
	if v == 0 {
		return 0, fmt.Errorf("%w: %.40q is zero", ErrPrice, s)
	}
	return v, nil
}

// isDecimal says whether s is digits, optionally a point and digits.
func isDecimal(s string) bool {
	whole, fraction, point := strings.Cut(s, ".")
	return isDigits(whole) && (!point || isDigits(fraction))
}

// isAmount says whether s is a decimal number, with an exponent or without:
// recorders write tiny amounts as 1e-06. Nothing is computed from amounts.
func isAmount(s string) bool {
	mantissa, exponent, found := strings.Cut(s, "e")
	if found && exponent != "" && strings.Contains("+-", exponent[:1]) {
		exponent = exponent[1:]
	}
	return isDecimal(mantissa) && (!found || isDigits(exponent))
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// Replay serves a recording as if it happened now: the trade that the replay has
// come to is the price, and the present is its time.
type Replay struct {
	rec   *Recording
	pair  Pair
	start uint64
	speed uint64
	once  bool
}

// ReplayConfig says how to replay.
type ReplayConfig struct {
	Pair  Pair
	Start uint64 // when the first trade is served, ms
	Speed uint64 // 1 is real speed; up to MaxReplaySpeed
	Once  bool   // stay at the last price at the end; otherwise begin again from the first
}

// NewReplay starts a replay.
func NewReplay(rec *Recording, c ReplayConfig) (*Replay, error) {
	if c.Speed < 1 || c.Speed > MaxReplaySpeed {
		return nil, fmt.Errorf("replay speed is %d, want 1 to %d", c.Speed, MaxReplaySpeed)
	}
	return &Replay{rec: rec, pair: c.Pair, start: c.Start, speed: c.Speed, once: c.Once}, nil
}

// Quotes implements [Source].
func (r *Replay) Quotes(now uint64) []Quote {
	return []Quote{{Pair: r.pair, Price: r.price(now), LastUpdate: now, Sources: []string{"recorded"}}}
}

// Providers implements [Source].
func (r *Replay) Providers(uint64) []Provider {
	return []Provider{{Name: "recorded", Ready: true, Prices: 1}}
}

func (r *Replay) price(now uint64) uint64 {
	elapsed := max(now, r.start) - r.start
	at := min(elapsed, math.MaxUint64/r.speed) * r.speed
	if !r.once {
		at %= r.rec.length
	}
	next := sort.Search(len(r.rec.trades), func(i int) bool { return r.rec.trades[i].at > at })
	return r.rec.trades[next-1].price // the first trade is at 0, so next is at least 1
}
