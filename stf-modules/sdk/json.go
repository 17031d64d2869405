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

func (j *JSON) next() {
	if j.comma {
		j.Buf = append(j.Buf, ',')
	}
	j.comma = true
}

func (j *JSON) open(c byte) {
	j.next()
	j.Buf = append(j.Buf, c)
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

// Key writes a member's name; its value is what is written next.
//
//go:noinline
func (j *JSON) Key(name string) {
	j.Str(name)
	j.Buf = append(j.Buf, ':')
	j.comma = false
}

// Str writes a string.
//
//go:noinline
func (j *JSON) Str(s string) {
	j.next()
	j.Buf = append(j.Buf, '"')
	for i := range len(s) {
		j.char(s[i])
	}
	j.Buf = append(j.Buf, '"')
}

// char escapes what JSON does not take raw. Bytes beyond ASCII pass through: text
// in state was checked to be printable ASCII or UTF-8 when it was written.
func (j *JSON) char(c byte) {
	switch {
	case c == '"' || c == '\\':
		j.Buf = append(j.Buf, '\\', c)
	case c < 0x20:
		j.Buf = append(j.Buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	default:
		j.Buf = append(j.Buf, c)
	}
}

// Number writes v as a JSON number: heights, indexes, times.
//
//go:noinline
func (j *JSON) Number(v uint64) {
	j.next()
	j.Buf = appendDecimal(j.Buf, v)
}

// Amount writes v as a decimal string: amounts and prices, which JSON numbers
// would round.
//
//go:noinline
func (j *JSON) Amount(v uint64) {
	j.next()
	j.Buf = append(appendDecimal(append(j.Buf, '"'), v), '"')
}

// Hex writes b as a string of 0x and hex.
//
//go:noinline
func (j *JSON) Hex(b []byte) {
	j.next()
	j.Buf = append(appendHex(append(j.Buf, '"', '0', 'x'), b), '"')
}

// Bool writes true or false.
//
//go:noinline
func (j *JSON) Bool(v bool) {
	j.next()
	if v {
		j.Buf = append(j.Buf, "true"...)
	} else {
		j.Buf = append(j.Buf, "false"...)
	}
}

// Null writes null.
//
//go:noinline
func (j *JSON) Null() {
	j.next()
	j.Buf = append(j.Buf, "null"...)
}
