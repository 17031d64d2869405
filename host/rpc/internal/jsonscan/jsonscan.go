// Package jsonscan walks JSON without building anything: a value is a span of the
// input. It accepts exactly what encoding/json calls valid, down to [MaxDepth]
// and with UTF-8 required; a fuzz test holds it to that.
//
// It exists because a body of 500 transactions is 120 KB of hex, and decoding it
// through reflection costs more than everything else the RPC server does with it;
// the same for 500 receipts in a client. It imports encoding/json for strings
// with escapes and nothing of the project.
//
//	sc := jsonscan.New(b)
//	span, ok := sc.Value()
//	ok = ok && sc.End()
//	again := jsonscan.Again(span)
//	again.Object(func(name string, value []byte) bool { … })
//
// A Scanner belongs to one goroutine; functions are pure.
package jsonscan

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// MaxDepth bounds how deep JSON may nest. A batch of calls with a list inside an
// Object needs four levels.
const MaxDepth = 32

// Scanner is a position in JSON text.
type Scanner struct {
	b     []byte
	i     int
	depth int
	// scanned says that b is a span of an earlier scan: strings need no second
	// check, only their end.
	scanned bool
}

// New scans b, which nobody has looked at.
func New(b []byte) Scanner { return Scanner{b: b} }

// Again scans a span that an earlier scan returned; of other input it may make
// anything.
func Again(span []byte) Scanner { return Scanner{b: span, scanned: true} }

// Offset is how far the scan got, bytes.
func (s *Scanner) Offset() int { return s.i }

// TooDeep reports whether it got as deep as it may.
func (s *Scanner) TooDeep() bool { return s.depth == MaxDepth }

// Space skips white space and returns the next byte, or 0 at the end.
func (s *Scanner) Space() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// End reports whether only white space is left.
func (s *Scanner) End() bool { return s.Space() == 0 && s.i == len(s.b) }

// Value takes one value of any kind: its span, or false if it is malformed.
func (s *Scanner) Value() (span []byte, ok bool) {
	c := s.Space()
	start := s.i
	switch {
	case c == '"':
		ok = s.skipString()
	case c == '{':
		ok = s.Members(func([]byte) bool { return s.skip() })
	case c == '[':
		ok = s.Items(s.skip)
	case c == '-' || (c >= '0' && c <= '9'):
		ok = s.number()
	default:
		ok = s.word("true") || s.word("false") || s.word("null")
	}
	return s.b[start:s.i:s.i], ok
}

func (s *Scanner) skip() bool {
	_, ok := s.Value()
	return ok
}

func (s *Scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

// Array takes an array and calls each with every element's span; it stops with
// false if each does.
func (s *Scanner) Array(each func(span []byte) bool) bool {
	return s.Items(func() bool {
		v, ok := s.Value()
		return ok && each(v)
	})
}

// Object takes an object and calls each with every member.
func (s *Scanner) Object(each func(name string, span []byte) bool) bool {
	return s.Members(func(name []byte) bool {
		v, ok := s.Value()
		return ok && each(Unquote(name), v)
	})
}

// Items takes an array whose elements item takes, each by one call: for who would
// otherwise scan their spans again. It stops with false if item does.
func (s *Scanner) Items(item func() bool) bool { return s.list('[', ']', item) }

// Members is what [Scanner.Items] is, of an object: member takes the value. name
// is a span, with its quotes and escapes.
func (s *Scanner) Members(member func(name []byte) bool) bool {
	return s.list('{', '}', func() bool {
		if s.Space() != '"' {
			return false
		}
		start := s.i
		if !s.skipString() {
			return false
		}
		name := s.b[start:s.i:s.i]
		if s.Space() != ':' {
			return false
		}
		s.i++
		return member(name)
	})
}

// list takes what stands between two brackets, separated by commas.
func (s *Scanner) list(open, closing byte, item func() bool) bool {
	if s.Space() != open || s.depth == MaxDepth {
		return false
	}
	s.depth++
	s.i++
	if s.Space() == closing {
		s.i++
		s.depth--
		return true
	}
	for {
		if !item() {
			return false
		}
		switch s.Space() {
		case ',':
			s.i++
		case closing:
			s.i++
			s.depth--
			return true
		default:
			return false
		}
	}
}

// plain marks the bytes that stand for themselves in a string: ASCII but
// control characters, the quote and the backslash.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func (s *Scanner) skipString() bool {
	s.i++ // the opening quote
	if s.scanned {
		if n := bytes.IndexByte(s.b[s.i:], '"'); bytes.IndexByte(s.b[s.i:s.i+n], '\\') < 0 {
			s.i += n + 1
			return true
		}
	}
	for s.i < len(s.b) {
		s.i += countPlain(s.b[s.i:])
		if s.i == len(s.b) {
			break
		}
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			return true
		case c == '\\':
			if !s.escape() {
				return false
			}
		case c < 0x20:
			return false
		default:
			r, n := utf8.DecodeRune(s.b[s.i:])
			if r == utf8.RuneError && n == 1 {
				return false
			}
			s.i += n
		}
	}
	return false
}

// countPlain is how many bytes at the front stand for themselves. It looks at
// eight at a time, because most of what is scanned is hex.
func countPlain(b []byte) int {
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		if special := notPlain(binary.LittleEndian.Uint64(b[i:])); special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(b) && plain[b[i]]; i++ {
	}
	return i
}

// notPlain is 0 if every byte of w is plain; else its lowest bit is that of the first
// byte that is not. What is above may be wrong: subtractions borrow from there.
func notPlain(w uint64) uint64 {
	const ones, highest = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^ones*'"', w^ones*'\\'
	return (w | (w - ones*' ') | (quote - ones) | (backslash - ones)) & highest
}

func (s *Scanner) escape() bool {
	if s.i+1 >= len(s.b) {
		return false
	}
	switch s.b[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return true
	case 'u':
		if s.i+6 > len(s.b) {
			return false
		}
		for _, c := range s.b[s.i+2 : s.i+6] {
			if !isHex(c) {
				return false
			}
		}
		s.i += 6
		return true
	}
	return false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (s *Scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

func (s *Scanner) take(chars string) bool {
	for i := range len(chars) {
		if s.i < len(s.b) && s.b[s.i] == chars[i] {
			s.i++
			return true
		}
	}
	return false
}

func (s *Scanner) number() bool {
	s.take("-")
	if !s.take("0") && !s.digits() {
		return false
	}
	if s.take(".") && !s.digits() {
		return false
	}
	if s.take("eE") {
		s.take("+-")
		return s.digits()
	}
	return true
}

// Unquote is the text of a valid string span.
func Unquote(span []byte) string { return string(Text(span)) }

// Text is what [Unquote] is: a part of the span, unless that has escapes.
func Text(span []byte) []byte {
	inner := span[1 : len(span)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var text string
	if json.Unmarshal(span, &text) != nil {
		return nil // cannot be: the span was scanned
	}
	return []byte(text)
}

// AppendHex decodes the span of a JSON string that holds 0x and an even number
// of hex digits.
func AppendHex(dst, span []byte) ([]byte, bool) {
	n := len(span)
	if n < 4 || n%2 != 0 || span[0] != '"' || span[1] != '0' || span[2] != 'x' {
		return dst, false
	}
	digits := span[3 : n-1]
	dst = slices.Grow(dst, len(digits)/2)
	end := len(dst) + len(digits)/2
	if _, err := hex.Decode(dst[len(dst):end], digits); err != nil {
		return dst, false
	}
	return dst[:end], true
}
