package sdk

// JSON builds the answer of a query, without reflection. Methods return nothing
// and never fail; commas are its business. The zero value is ready to use, and
// Buf may be given a backing array.
//
//	j.Object()
//	j.Key("height")
//	j.Number(7)
//	j.EndObject()
//
// Nothing here is inlined: answers are not on the hot path, and a guest is as
// large as its code.
type JSON struct {
	Buf   []byte
	comma bool // a value was written at this level, the next one needs a comma
}

// next is the text so far, ready for a value: every method appends to it and stores
// it once, because inside a guest a store of a slice is what costs.
func (j *JSON) next() []byte {
	b := j.Buf
	if j.comma {
		b = append(b, ',')
	}
	j.comma = true
	return b
}

func (j *JSON) open(c byte) {
	j.Buf = append(j.next(), c)
	j.comma = false
}

func (j *JSON) close(c byte) {
	j.Buf = append(j.Buf, c)
	j.comma = true
}

// Object opens an object; EndObject closes it.
//
//go:noinline
func (j *JSON) Object() { j.open('{') }

// EndObject closes an object.
//
//go:noinline
func (j *JSON) EndObject() { j.close('}') }

// Array opens an array; EndArray closes it.
//
//go:noinline
func (j *JSON) Array() { j.open('[') }

// EndArray closes an array.
//
//go:noinline
func (j *JSON) EndArray() { j.close(']') }

// Key writes a member's name, which needs no escaping; its value is what is written
// next.
//
//go:noinline
func (j *JSON) Key(name string) {
	j.Buf = append(append(append(j.next(), '"'), name...), '"', ':')
	j.comma = false
}

// Str writes a string.
//
//go:noinline
func (j *JSON) Str(s string) {
	b := append(j.next(), '"')
	plain := 0 // up to where s has been written, whole pieces at a time
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			b = appendEscaped(append(b, s[plain:i]...), c)
			plain = i + 1
		}
	}
	j.Buf = append(append(b, s[plain:]...), '"')
}

// appendEscaped writes what JSON does not take raw. Bytes beyond ASCII pass through:
// text in state was checked to be printable ASCII or UTF-8 when it was written.
//
//go:noinline
func appendEscaped(dst []byte, c byte) []byte {
	if c < 0x20 {
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, '\\', c)
}

// Number writes v as a JSON number: heights, indexes, times.
//
//go:noinline
func (j *JSON) Number(v uint64) { j.Buf = appendDecimal(j.next(), v) }

// Amount writes v as a decimal string: amounts and prices, which JSON numbers
// would round.
//
//go:noinline
func (j *JSON) Amount(v uint64) { j.Buf = append(appendDecimal(append(j.next(), '"'), v), '"') }

// Hex writes b as a string of 0x and hex.
//
//go:noinline
func (j *JSON) Hex(b []byte) { j.Buf = append(appendHex(append(j.next(), '"', '0', 'x'), b), '"') }

// Bool writes true or false.
//
//go:noinline
func (j *JSON) Bool(v bool) {
	if v {
		j.Buf = append(j.next(), "true"...)
	} else {
		j.Buf = append(j.next(), "false"...)
	}
}

// Null writes null.
//
//go:noinline
func (j *JSON) Null() { j.Buf = append(j.next(), "null"...) }
