package rpc

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// The OpenRPC document is made from what the server runs on: the method table,
// the getters with which each method reads its parameters, and the Go types of
// the answers. Nothing in it is written twice.

// openRPCVersion is the version of the OpenRPC specification.
const openRPCVersion = "1.3.2"

// schema is a JSON Schema, draft 7.
type schema = map[string]any

// shape is what a method's getters say of its parameters.
type shape struct {
	schemas  map[string]schema
	optional map[string]bool
}

// errDescribed stands in the way of a method that only describes its parameters:
// it has read them all and stops.
var errDescribed = api.NewError(api.CodeInternal, "described")

// describe notes what a getter would read, whose schema is made only then; true if it
// must read nothing.
func (p *Params) describe(name string, s func() schema) bool {
	if p.shape == nil {
		return false
	}
	p.span(name) // the same check as in earnest
	p.shape.schemas[name] = s()
	return true
}

// discover is rpc.discover.
func (s *Server) discover(_ context.Context, _ *Params, dst []byte) ([]byte, error) {
	return append(dst, s.openRPC()...), nil
}

// openRPC is the document; it is made once, when somebody first asks.
func (s *Server) openRPC() []byte {
	s.documentOnce.Do(func() {
		b, err := json.Marshal(s.describeAll())
		if err != nil { // maps, strings and numbers always marshal
			panic(err)
		}
		s.document = b
	})
	return s.document
}

func (s *Server) describeAll() schema {
	info := s.backend.Info()
	types := typeSet{}
	methods := make([]schema, 0, len(s.methods))
	for _, m := range s.table() {
		methods = append(methods, s.describeMethod(m, types))
	}
	notifications := make([]schema, 0, 3)
	for _, n := range []struct {
		name   string
		params any
	}{{api.NotifySubscription, api.Notification{}}, {api.NotifyProgress, api.Progress{}}, {api.NotifyClosed, api.Closed{}}} {
		notifications = append(notifications, schema{"name": n.name, "params": types.of(reflect.TypeOf(n.params))})
	}
	topics := schema{}
	for topic, result := range map[string]any{api.TopicBlocks: api.BlockNotice{}, api.TopicEvents: api.EventNotice{}, api.TopicTheses: api.EventNotice{}, api.TopicPrices: api.PriceNotice{}} {
		topics[topic] = schema{"oneOf": []schema{types.of(reflect.TypeOf(result)), types.of(reflect.TypeOf(api.Removed{}))}}
	}
	doc := schema{
		"openrpc":         openRPCVersion,
		"info":            schema{"title": "Kaizen", "version": fmt.Sprintf("%d", api.Version), "description": "module " + info.Module.Name + " " + info.Module.Version},
		"methods":         methods,
		"x-notifications": notifications,
		"x-topics":        topics,
	}
	doc["components"] = schema{"schemas": types, "errors": describeErrors()}
	return doc
}

func describeErrors() schema {
	errors := schema{}
	for _, c := range api.Codes {
		errors[c.Name] = schema{"code": c.Code, "message": c.Name, "data": c.Meaning}
	}
	return errors
}

// describeMethod runs a method up to where it has read its parameters.
func (s *Server) describeMethod(m *method, types typeSet) schema {
	names := m.sig.names()
	p := Params{names: names, spans: make([][]byte, len(names)), err: errDescribed, shape: &shape{map[string]schema{}, map[string]bool{}}}
	switch {
	case m.raws != nil:
		m.raws(&p, s.limits.MaxTxs)
	case len(names) > 0:
		if _, err := m.run(context.Background(), &p, nil); err != error(errDescribed) {
			panic("rpc: " + m.name + " went on without its parameters")
		}
	}
	params := make([]schema, 0, len(names))
	for _, name := range names {
		described := p.shape.schemas[name]
		if described == nil {
			described = schema{} // read under a condition that a description does not meet
		}
		params = append(params, schema{"name": name, "required": !p.shape.optional[name] && len(described) > 0, "schema": described})
	}
	structure := "either"
	if len(m.sig.object) > 0 {
		structure = "by-name"
	}
	return schema{"name": m.name, "summary": m.summary, "paramStructure": structure, "params": params, "result": schema{"name": "result", "schema": types.of(reflect.TypeOf(m.result))}}
}

// typeSet collects the schemas of named struct types, by name.
type typeSet map[string]schema

var (
	rawType  = reflect.TypeFor[json.RawMessage]()
	textType = reflect.TypeFor[encoding.TextMarshaler]()
	// known are the types that say themselves how they read in JSON.
	known = map[reflect.Type]schema{
		reflect.TypeFor[chain.Hash]():    fixedHex(32),
		reflect.TypeFor[chain.Address](): fixedHex(20),
		reflect.TypeFor[api.Bytes]():     {"type": "string", "pattern": "^0x([0-9a-f]{2})*$"},
		reflect.TypeFor[api.Amount]():    {"type": "string", "pattern": "^(0|[1-9][0-9]*)$", "description": "u64, decimal"},
		reflect.TypeFor[api.Event](): {"type": "object", "required": []string{"type"}, "properties": schema{"type": schema{"type": "string"}},
			"description": "and the event's fields, by type: the module's schema"},
		reflect.TypeFor[api.EventNotice](): eventNoticeSchema(),
	}
)

func fixedHex(n int) schema {
	return schema{"type": "string", "pattern": fmt.Sprintf("^0x[0-9a-fA-F]{%d}$", 2*n)}
}

func hexSchema(min, max int) schema {
	return schema{"type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$", "minLength": 2 + 2*min, "maxLength": 2 + 2*max}
}

func numberSchema(max uint64) schema {
	return schema{"type": "integer", "minimum": 0, "maximum": max}
}

func eventNoticeSchema() schema {
	number := schema{"type": "integer", "minimum": 0}
	return schema{"type": "object", "required": []string{"height", "time", "tx_hash", "index", "type"}, "properties": schema{
		"height": number, "time": number, "type": schema{"type": "string"},
		"tx_hash": nullable(fixedHex(32)), "index": nullable(number),
	}, "description": "and the event's fields, by type: the module's schema"}
}

func nullable(s schema) schema { return schema{"oneOf": []schema{s, {"type": "null"}}} }

func refSchema() schema {
	return schema{"description": "a height, a block hash, or a tag", "default": api.TagLatest,
		"oneOf": []schema{numberSchema(maxHeight), fixedHex(32), {"type": "string", "enum": api.Tags}}}
}

// schemaOf is the schema of a type that is no struct of its own.
func schemaOf(v any) schema { return typeSet{}.of(reflect.TypeOf(v)) }

// of is the schema of a type; a named struct goes into the set and is referred
// to.
func (ts typeSet) of(t reflect.Type) schema {
	if t == nil { // whatever the module says
		return schema{"type": "object", "properties": schema{"block": ts.of(reflect.TypeFor[api.BlockRef]())}, "required": []string{"block"}}
	}
	if s := known[t]; s != nil {
		return s
	}
	switch {
	case t == rawType:
		return schema{}
	case t.Kind() == reflect.Pointer: // before its methods, which it has from what it points to
		return nullable(ts.of(t.Elem()))
	case t.Implements(textType):
		return schema{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Slice:
		return schema{"type": "array", "items": ts.of(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": ts.of(t.Elem())}
	case reflect.Struct:
		return ts.named(t)
	case reflect.Int:
		return schema{"type": "integer"}
	case reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}
	}
	panic("rpc: no schema for " + t.String())
}

func (ts typeSet) named(t reflect.Type) schema {
	if ts[t.Name()] == nil {
		properties, required := schema{}, []string{}
		ts[t.Name()] = schema{"type": "object", "properties": properties}
		ts.members(t, properties, &required)
		slices.Sort(required)
		ts[t.Name()]["required"] = required
	}
	return schema{"$ref": "#/components/schemas/" + t.Name()}
}

func (ts typeSet) members(t reflect.Type, properties schema, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			ts.members(f.Type, properties, required)
			continue
		}
		optional := strings.Contains(option, "omitempty")
		if of := f.Type; optional && of.Kind() == reflect.Pointer {
			properties[name] = ts.of(of.Elem()) // there, or not; never null
		} else {
			properties[name] = ts.of(of)
		}
		if !optional {
			*required = append(*required, name)
		}
	}
}
