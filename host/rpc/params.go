package rpc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

var sprintf = fmt.Sprintf

func limitDetail(what string, limit int) string { return sprintf("at most %d %s", limit, what) }

// heightParam is the optional last parameter of every method about state.
const heightParam = "height"

// signature is a method's parameters. A caller gives them by position (a JSON
// array) or by name (an object). A method whose object is not empty takes those
// names in one object as its first positional parameter:
//
//	["0x…", 7]               {"address": "0x…", "height": 7}      rest: address, height
//	[{"account": "0x…"}, 7]  {"account": "0x…", "height": 7}      object: account, key; rest: height
//	["events", {"type": "…"}, {…}]                                lead: topic; object: type, …; rest: from
//
// After a lead the object may be left out.
type signature struct {
	lead   []string
	object []string
	rest   []string
}

// names are all parameters.
func (g *signature) names() []string {
	if len(g.lead)+len(g.object) == 0 {
		return g.rest
	}
	return slices.Concat(g.lead, g.object, g.rest)
}

// bind matches what a caller sent to the signature.
func (g *signature) bind(span []byte) (Params, *api.Error) {
	p := Params{names: g.names()}
	if len(p.names) > 0 {
		p.spans = make([][]byte, len(p.names))
	}
	switch {
	case len(span) == 0 || span[0] == 'n':
	case span[0] == '{':
		p.bindNames(span)
	default:
		g.bindPositions(&p, span)
	}
	return p, p.err
}

func (g *signature) bindPositions(p *Params, span []byte) {
	want, object := p.names, -1 // object is its place, if there is one
	if len(g.object) > 0 {
		want = slices.Concat(g.lead, []string{"{" + strings.Join(g.object, "|") + "}"}, g.rest)
		object = len(g.lead)
	}
	at := 0
	sc := jsonscan.Again(span)
	sc.Array(func(v []byte) bool {
		if at == object && g.skipsObject(v) {
			at++
		}
		switch {
		case at >= len(want):
			p.fail("params", atMost(want))
		case v[0] == 'n': // null is the same as absent
		case at == object && v[0] != '{':
			p.fail(sprintf("params[%d]", at), "an object with "+strings.Join(g.object, " or "))
		case at == object:
			p.bindNames(v)
		case at < object:
			p.spans[at] = v
		default:
			p.spans[len(p.names)-len(want)+at] = v
		}
		at++
		return p.err == nil
	})
}

// skipsObject reports whether v, in the object's place, is the parameter after
// it: ["blocks", {"height": 7}].
func (g *signature) skipsObject(v []byte) bool {
	if len(g.lead) == 0 || v[0] == 'n' {
		return false
	}
	first, names := "", g.names()
	sc := jsonscan.Again(v)
	if v[0] == '{' {
		sc.Object(func(name string, _ []byte) bool { first = name; return false })
	}
	return v[0] != '{' || first != "" && !slices.Contains(names, first)
}

func atMost(names []string) string {
	if len(names) == 0 {
		return "no parameters"
	}
	return sprintf("at most %d: %s", len(names), strings.Join(names, ", "))
}

func (p *Params) bindNames(span []byte) {
	sc := jsonscan.Again(span)
	sc.Object(func(name string, v []byte) bool {
		i := slices.Index(p.names, name)
		switch {
		case i < 0:
			p.fail(clip(name), atMost(p.names))
		case p.spans[i] != nil:
			p.fail(name, "the parameter once")
		case v[0] != 'n':
			p.spans[i] = v
		}
		return p.err == nil
	})
}

// clip shortens a name that came from outside before a message repeats it.
func clip(s string) string {
	if len(s) <= maxNameBytes {
		return s
	}
	n := maxNameBytes
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Params are the parameters of one call, each still JSON. A getter that finds
// its parameter missing or wrong remembers the first such error and returns a
// zero value: a method reads all it needs and the server asks once. A name that
// the method does not declare is a bug, and panics.
type Params struct {
	names []string
	spans [][]byte // parallel to names; nil: absent
	err   *api.Error
	shape *shape // not nil: getters describe what they would read, see [Server.discover]
}

func (p *Params) fail(field, want string) {
	if p.err == nil {
		p.err = api.FieldError(api.CodeInvalidParams, field, want)
	}
}

func (p *Params) span(name string) []byte {
	i := slices.Index(p.names, name)
	if i < 0 {
		panic("rpc: parameter " + name + " is not declared")
	}
	return p.spans[i]
}

// Has reports whether the parameter was given.
func (p *Params) Has(name string) bool {
	if p.shape != nil {
		p.span(name)
		p.shape.optional[name] = true
		return true
	}
	return p.span(name) != nil
}

// text is a string parameter's content; ok only if it is a string.
func (p *Params) text(name string) (text string, ok bool) {
	span := p.span(name)
	if len(span) == 0 || span[0] != '"' {
		return "", false
	}
	return jsonscan.Unquote(span), true
}

// Address is 0x and 40 hex digits.
func (p *Params) Address(name string) (v chain.Address) {
	if p.describe(name, func() schema { return schemaOf(chain.Address{}) }) {
		return v
	}
	text, ok := p.text(name)
	if !ok || v.UnmarshalText([]byte(text)) != nil {
		p.fail(name, "an address: 0x and 40 hex digits")
		return chain.Address{}
	}
	return v
}

// Hash is 0x and 64 hex digits.
func (p *Params) Hash(name string) (v chain.Hash) {
	if p.describe(name, func() schema { return schemaOf(chain.Hash{}) }) {
		return v
	}
	text, ok := p.text(name)
	if !ok || v.UnmarshalText([]byte(text)) != nil {
		p.fail(name, "a hash: 0x and 64 hex digits")
		return chain.Hash{}
	}
	return v
}

// Bytes is 0x and hex digits for min to max bytes.
func (p *Params) Bytes(name string, min, max int) []byte {
	if p.describe(name, func() schema { return hexSchema(min, max) }) {
		return nil
	}
	span := p.span(name)
	if (len(span)-4)/2 <= max {
		if v, ok := jsonscan.AppendHex(nil, span); ok && len(v) >= min {
			return v
		}
	}
	p.fail(name, wantBytes(min, max))
	return nil
}

func wantBytes(min, max int) string {
	return sprintf("0x and hex digits of %d to %d bytes", min, max)
}

// Amount is a u64 as a decimal string.
func (p *Params) Amount(name string) uint64 {
	if p.describe(name, func() schema { return schemaOf(api.Amount(0)) }) {
		return 0
	}
	text, ok := p.text(name)
	v, err := api.ParseUint(text)
	if !ok || err != nil {
		p.fail(name, "a string of decimal digits, a u64")
		return 0
	}
	return v
}

// Number is a JSON number from 0 to max.
func (p *Params) Number(name string, max uint64) uint64 {
	if p.describe(name, func() schema { return numberSchema(max) }) {
		return 0
	}
	v, err := api.ParseUint(string(p.span(name)))
	if err != nil || v > max {
		p.fail(name, sprintf("a number from 0 to %d", max))
		return 0
	}
	return v
}

// Choice is one of the given strings; the first if the parameter is absent.
func (p *Params) Choice(name string, choices ...string) string {
	if !p.Has(name) {
		return choices[0]
	}
	return p.OneOf(name, choices...)
}

// OneOf is one of the given strings, and needed.
func (p *Params) OneOf(name string, choices ...string) string {
	if p.describe(name, func() schema { return schema{"type": "string", "enum": choices} }) {
		return choices[0]
	}
	text, ok := p.text(name)
	if !ok || !slices.Contains(choices, text) {
		p.fail(name, "one of: "+strings.Join(choices, ", "))
	}
	return text
}

// Text is a string of at most max bytes.
func (p *Params) Text(name string, max int) string {
	if p.describe(name, func() schema { return schema{"type": "string", "maxLength": max} }) {
		return ""
	}
	text, ok := p.text(name)
	if !ok || len(text) > max {
		p.fail(name, sprintf("a string of at most %d bytes", max))
		return ""
	}
	return text
}

// Height is the height argument, latest if absent.
func (p *Params) Height() (r api.Ref) {
	if p.Has(heightParam) && p.describe(heightParam, refSchema) {
		return r
	}
	span := p.span(heightParam)
	if span == nil {
		return r
	}
	if json.Unmarshal(span, &r) != nil {
		p.fail(heightParam, sprintf("a number, a block hash, or one of %v", api.Tags))
	}
	return r
}

// transaction is the one transaction of kaizen_sendTransaction and its kin.
func (p *Params) transaction() []byte { return p.Bytes("transaction", 1, abi.MaxTxBytes) }

// transactions is the list of kaizen_sendTransactions: 1 to max of them, decoded
// into one allocation.
func (p *Params) transactions(limit int) [][]byte {
	const name = "transactions"
	if p.describe(name, func() schema {
		return schema{"type": "array", "minItems": 1, "maxItems": limit, "items": hexSchema(1, abi.MaxTxBytes)}
	}) {
		return nil
	}
	span := p.span(name)
	want := sprintf("a list of 1 to %d transactions", limit)
	if len(span) == 0 || span[0] != '[' {
		p.fail(name, want)
		return nil
	}
	var raws [][]byte
	arena := make([]byte, 0, len(span)/2)
	sc := jsonscan.Again(span)
	sc.Array(func(v []byte) bool {
		if len(raws) == limit {
			p.fail(name, want)
			return false
		}
		start, ok := len(arena), false
		arena, ok = jsonscan.AppendHex(arena, v)
		raw := arena[start:len(arena):len(arena)]
		if !ok || len(raw) < 1 || len(raw) > abi.MaxTxBytes {
			p.fail(sprintf("%s[%d]", name, len(raws)), wantBytes(1, abi.MaxTxBytes))
			return false
		}
		raws = append(raws, raw)
		return true
	})
	if len(raws) == 0 {
		p.fail(name, want)
	}
	return raws
}
