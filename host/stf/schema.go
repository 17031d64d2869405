package stf

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Schema is a module's description of itself: how to name its errors and render
// its events. It is the output of abi.ExportSchema and reaches no result.
type Schema struct {
	Name    string      `json:"name"`
	Version string      `json:"version"`
	Errors  []ErrorSpec `json:"errors"`
	Events  []EventSpec `json:"events"`
	Queries []string    `json:"queries,omitempty"`
	codes   map[abi.Code]string
	byTag   map[uint8]*EventSpec
}

// ErrorSpec names one of a module's codes.
type ErrorSpec struct {
	Code abi.Code `json:"code"`
	Name string   `json:"name"`
}

// EventSpec describes one kind of event: a tag byte, then the fields in Borsh.
type EventSpec struct {
	Tag    uint8       `json:"tag"`
	Type   string      `json:"type"`
	Fields []FieldSpec `json:"fields"`
}

// FieldSpec is one field. Kind is one of: amount (u64, rendered as a decimal
// string), number (u64, rendered as a JSON number: heights, times, counters),
// u8, bool, address, hash, string, bytes.
type FieldSpec struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

var fieldKinds = []string{"amount", "number", "u8", "bool", "address", "hash", "string", "bytes"}

// ParseSchema reads and checks a schema.
func ParseSchema(b []byte) (*Schema, error) {
	s := &Schema{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("module schema: %w", err)
	}
	if s.Name == "" {
		return nil, fmt.Errorf("module schema: no name")
	}
	s.codes = map[abi.Code]string{
		abi.CodeTrap: "Trap", abi.CodeBudget: "BudgetExhausted", abi.CodeMemory: "MemoryLimit", abi.CodeDepth: "CallDepth",
	}
	for _, e := range s.Errors {
		if e.Code == 0 || e.Code >= abi.HostCodeMin || e.Name == "" || s.codes[e.Code] != "" {
			return nil, fmt.Errorf("module schema: error code %d (%q) is zero, reserved, unnamed or named twice", e.Code, e.Name)
		}
		s.codes[e.Code] = e.Name
	}
	s.byTag = map[uint8]*EventSpec{}
	for i := range s.Events {
		e := &s.Events[i]
		if s.byTag[e.Tag] != nil || e.Type == "" {
			return nil, fmt.Errorf("module schema: event tag %d (%q) is unnamed or used twice", e.Tag, e.Type)
		}
		for _, f := range e.Fields {
			if f.Name == "" || f.Name == "type" {
				return nil, fmt.Errorf("module schema: event %s has a field named %q; type is the event's own", e.Type, f.Name)
			}
			if !slices.Contains(fieldKinds, f.Kind) {
				return nil, fmt.Errorf("module schema: event %s field %s has unknown kind %q, known are %v", e.Type, f.Name, f.Kind, fieldKinds)
			}
		}
		s.byTag[e.Tag] = e
	}
	return s, nil
}

// ErrorName names a code; a code without a name is "Error<code>".
func (s *Schema) ErrorName(code abi.Code) string {
	if n := s.codes[code]; n != "" {
		return n
	}
	return fmt.Sprintf("Error%d", code)
}

// Refusal names a failed outcome.
func (s *Schema) Refusal(out Outcome) *Refusal {
	return &Refusal{Code: out.Code, Name: s.ErrorName(out.Code), Detail: out.Detail}
}

// Field is one rendered value of an event: a string, uint64, bool or uint8.
type Field struct {
	Name  string
	Value any
}

// Event renders one event: its type and its fields in order. Bytes that the
// schema does not describe come out as type "unknown" with one field "data".
func (s *Schema) Event(b []byte) (typ string, fields []Field) {
	r := abi.NewReader(b)
	spec := s.byTag[r.U8()]
	if spec != nil {
		fields = make([]Field, len(spec.Fields))
		for i, f := range spec.Fields {
			fields[i] = Field{f.Name, readField(&r, f.Kind)}
		}
		if r.Done() {
			return spec.Type, fields
		}
	}
	return "unknown", []Field{{"data", fmt.Sprintf("0x%x", b)}}
}

func readField(r *abi.Reader, kind string) any {
	switch kind {
	case "amount":
		return fmt.Sprint(r.U64())
	case "number":
		return r.U64()
	case "u8":
		return r.U8()
	case "bool":
		return r.Bool()
	case "address":
		return chain.Address(r.Bytes20()).String()
	case "hash":
		return chain.Hash(r.Bytes32()).String()
	case "string":
		return r.String(abi.MaxEventBytes)
	default:
		return fmt.Sprintf("0x%x", r.Bytes(abi.MaxEventBytes))
	}
}
