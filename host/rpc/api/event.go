package api

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

// Event is one event of a transaction or block hook. In JSON it is flat: its
// type, then its fields in the order of the module's schema.
type Event struct {
	Type   string
	Fields []Field
}

// Field is one field of an event: a string (amounts in decimal, bytes in
// 0x-hex), a uint64 (heights, times, counters) or a bool.
type Field struct {
	Name  string
	Value any
}

// Get is the value of the named field, or nil.
func (e *Event) Get(name string) any {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// MarshalJSON writes the flat form.
func (e Event) MarshalJSON() ([]byte, error) {
	dst := append([]byte(`{"type":`), quote(e.Type)...)
	for _, f := range e.Fields {
		dst = append(append(append(dst, ','), quote(f.Name)...), ':')
		switch v := f.Value.(type) {
		case string:
			dst = append(dst, quote(v)...)
		case uint64:
			dst = strconv.AppendUint(dst, v, 10)
		case bool:
			dst = strconv.AppendBool(dst, v)
		default:
			return nil, fmt.Errorf("event %s field %s: value of type %T, want string, uint64 or bool", e.Type, f.Name, v)
		}
	}
	return append(dst, '}'), nil
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always marshals
		panic(err)
	}
	return b
}

// UnmarshalJSON reads the flat form and keeps the order of the fields.
func (e *Event) UnmarshalJSON(b []byte) error {
	*e = Event{}
	var bad error
	sc := jsonscan.New(b)
	ok := sc.Object(func(name string, value []byte) bool {
		bad = e.set(name, value)
		return bad == nil
	})
	if bad == nil && !ok {
		bad = fmt.Errorf("event %.80q: want an object", b)
	}
	return bad
}

// set reads one member.
func (e *Event) set(name string, value []byte) error {
	f := Field{Name: name}
	switch value[0] {
	case '"':
		f.Value = jsonscan.Unquote(value)
	case 't', 'f':
		f.Value = value[0] == 't'
	default:
		n, err := ParseUint(string(value))
		if err != nil {
			return fmt.Errorf("event field %s: %.80q is not a string, a bool or a u64", name, value)
		}
		f.Value = n
	}
	if text, ok := f.Value.(string); ok && name == "type" {
		e.Type = text
		return nil
	}
	e.Fields = append(e.Fields, f)
	return nil
}
