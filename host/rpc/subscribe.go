package rpc

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
	"github.com/kaizenchain/kaizen/host/stf"
)

// Bounds of the parameters of kaizen_subscribe.
const (
	maxTypes     = 32        // event types of one filter
	maxPairBytes = 96        // a pair's name: two addresses and more
	maxHeight    = 1<<53 - 1 // of a position: exact in a double
)

// filter says what of its topic a subscription wants.
type filter struct {
	topic        topic
	types        []string // of events; nil: all
	user, solver *chain.Address
	pair         string // "": all
	users        int    // subscriptions that share it; the hub's, under its lock
}

// match reports whether a message of the filter's topic is wanted.
func (q *filter) match(m *notice) bool {
	switch q.topic {
	case topicEvents:
		return q.types == nil || slices.Contains(q.types, m.eventType())
	case topicTheses:
		return (q.user == nil || *q.user == m.thesis.user) && (q.solver == nil || *q.solver == m.thesis.solver) &&
			(q.pair == "" || strings.EqualFold(q.pair, m.thesis.pair))
	case topicPrices:
		return strings.EqualFold(q.pair, m.pair)
	}
	return true
}

// unknownEvent is the type of an event that the schema does not describe.
const unknownEvent = "unknown"

func (m *notice) eventType() string {
	if m.spec == nil {
		return unknownEvent
	}
	return m.spec.Type
}

// origin is where a subscription begins.
type origin struct {
	earliest bool          // with the oldest block kept
	after    *api.Position // nil: with the next block
}

var subscribeSignature = signature{lead: []string{"topic"}, object: []string{"type", "user", "solver", "pair"}, rest: []string{"from"}}

// subscribe is kaizen_subscribe.
func (s *Server) subscribe(ctx context.Context, p *Params, dst []byte) ([]byte, error) {
	q, from := s.filter(p), p.origin("from")
	if p.err != nil {
		return dst, p.err
	}
	call, ok := ctx.Value(callKey{}).(*sessionCall)
	if !ok {
		return dst, api.NewError(api.CodeWebSocketOnly, "")
	}
	sub, err := s.hub.subscribe(call.session, q, from)
	if err != nil {
		return dst, err
	}
	call.started = append(call.started, sub)
	return append(append(append(dst, '"'), sub.name()...), '"'), nil
}

// unsubscribe is kaizen_unsubscribe.
func (s *Server) unsubscribe(ctx context.Context, p *Params, dst []byte) ([]byte, error) {
	name := p.Text("subscription", maxNameBytes)
	if p.err != nil {
		return dst, p.err
	}
	call, ok := ctx.Value(callKey{}).(*sessionCall)
	if !ok {
		return dst, api.NewError(api.CodeWebSocketOnly, "")
	}
	if !s.hub.unsubscribe(call.session, name) {
		return dst, api.NewError(api.CodeNoSubscription, strconv.Quote(name))
	}
	return append(dst, "true"...), nil
}

// callKey finds the [sessionCall] in a call's context.
type callKey struct{}

// sessionCall is a message that came over a WebSocket, and the subscriptions that
// it made: they begin once it is answered, so that a client knows their names.
type sessionCall struct {
	session *session
	started []*subscription
}

// filter reads the topic and what belongs to it.
func (s *Server) filter(p *Params) (q filter) {
	name := p.OneOf("topic", s.topics()...)
	q.topic = topic(max(0, slices.Index(topicNames[:], name)))
	q.types = p.eventTypes("type", s.eventTypes())
	for _, a := range []struct {
		name string
		to   **chain.Address
	}{{"user", &q.user}, {"solver", &q.solver}} {
		if p.Has(a.name) {
			v := p.Address(a.name)
			*a.to = &v
		}
	}
	if p.Has("pair") {
		q.pair = p.pair("pair")
	}
	s.checkFilter(p, &q)
	return q
}

// wants are the filter's members by topic.
var wants = [topicCount][]string{topicEvents: {"type"}, topicTheses: {"user", "solver", "pair"}, topicPrices: {"pair"}}

func (s *Server) checkFilter(p *Params, q *filter) {
	for _, name := range subscribeSignature.object {
		if p.Has(name) && !slices.Contains(wants[q.topic], name) {
			p.fail(name, "no value with topic "+topicNames[q.topic])
		}
	}
	if q.topic == topicPrices && q.pair == "" {
		p.fail("pair", "a market, such as BTC/USDT")
	}
	if q.topic == topicTheses && q.pair != "" && !s.thesisMarkets() {
		p.fail("pair", "no value: this module does not say which market a thesis is of")
	}
}

// thesisMarkets reports whether the market of every event about a thesis can be
// known.
func (s *Server) thesisMarkets() bool {
	return s.module.Thesis != nil || !slices.ContainsFunc(s.schema.Events, func(e stf.EventSpec) bool {
		has := func(name string) bool {
			return slices.ContainsFunc(e.Fields, func(f stf.FieldSpec) bool { return f.Name == name && f.Kind == "address" })
		}
		return strings.HasPrefix(e.Type, thesisPrefix) && !(has("base") && has("quote"))
	})
}

// topics are those that make sense with the module.
func (s *Server) topics() []string {
	names := []string{api.TopicBlocks, api.TopicEvents}
	if slices.ContainsFunc(s.eventTypes(), func(t string) bool { return strings.HasPrefix(t, thesisPrefix) }) {
		names = append(names, api.TopicTheses)
	}
	return append(names, api.TopicPrices)
}

func (s *Server) eventTypes() []string {
	types := make([]string, 0, len(s.schema.Events)+1)
	for i := range s.schema.Events {
		types = append(types, s.schema.Events[i].Type)
	}
	return append(types, unknownEvent)
}

// eventTypes is one event type or a list of them; nil if absent.
func (p *Params) eventTypes(name string, known []string) (types []string) {
	if !p.Has(name) || p.describe(name, func() schema { return eventTypesSchema(known) }) {
		return nil
	}
	add := func(span []byte) bool {
		text := ""
		if span[0] == '"' {
			text = jsonscan.Unquote(span)
		}
		types = append(types, text)
		return len(types) <= maxTypes && slices.Contains(known, text)
	}
	span, ok := p.span(name), false
	if span[0] == '[' {
		sc := jsonscan.Again(span)
		ok = sc.Array(add)
	} else {
		ok = add(span)
	}
	if !ok || len(types) == 0 {
		p.fail(name, sprintf("an event's type, or a list of 1 to %d: %s", maxTypes, strings.Join(known, ", ")))
	}
	return types
}

func eventTypesSchema(known []string) schema {
	one := schema{"type": "string", "enum": known}
	return schema{"oneOf": []schema{one, {"type": "array", "items": one, "minItems": 1, "maxItems": maxTypes}}}
}

// pair is a market: two tokens, each a name or an address.
func (p *Params) pair(name string) string {
	if p.describe(name, pairSchema) {
		return ""
	}
	text, ok := p.text(name)
	base, quote, cut := strings.Cut(text, "/")
	if !ok || !cut || base == "" || quote == "" || strings.Contains(quote, "/") || len(text) > maxPairBytes {
		p.fail(name, "a market, such as BTC/USDT")
	}
	return text
}

func pairSchema() schema {
	return schema{"type": "string", "maxLength": maxPairBytes, "pattern": "^[^/]+/[^/]+$"}
}

// origin is where to begin: a position, "earliest" or "latest".
func (p *Params) origin(name string) (o origin) {
	if !p.Has(name) || p.describe(name, originSchema) {
		return o
	}
	if text, ok := p.text(name); ok {
		o.earliest = text == string(api.TagEarliest)
		if !o.earliest && text != string(api.TagLatest) {
			p.fail(name, wantOrigin)
		}
		return o
	}
	at, ok := readPosition(p.span(name))
	if !ok {
		p.fail(name, wantOrigin)
	}
	o.after = &at
	return o
}

var wantOrigin = sprintf(`{"height", "index", "hash"} of a position, of which height is needed and at most %d and index at most %d; or "earliest" or "latest"`, uint64(maxHeight), uint64(api.EndOfBlock))

func originSchema() schema {
	return schema{"default": api.TagLatest, "oneOf": []schema{
		{"type": "object", "required": []string{"height"}, "additionalProperties": false, "properties": schema{
			"height": numberSchema(maxHeight), "hash": fixedHex(32),
			"index": schema{"type": "integer", "minimum": 0, "maximum": uint64(api.EndOfBlock), "default": uint64(api.EndOfBlock)},
		}},
		{"type": "string", "enum": []api.Tag{api.TagEarliest, api.TagLatest}},
	}}
}

// readPosition reads a position; one without an index is the end of its block.
func readPosition(span []byte) (at api.Position, ok bool) {
	at.Index = api.EndOfBlock
	given := map[string]bool{}
	good := true
	sc := jsonscan.Again(span)
	ok = span[0] == '{' && sc.Object(func(name string, v []byte) bool {
		good = !given[name]
		given[name] = true
		switch {
		case v[0] == 'n' && name != "height": // null is the same as absent
		case name == "height":
			good = good && readNumber(v, maxHeight, &at.Height)
		case name == "index":
			good = good && readNumber(v, api.EndOfBlock, &at.Index)
		case name == "hash" && v[0] == '"':
			at.Hash = new(chain.Hash)
			good = good && at.Hash.UnmarshalText([]byte(jsonscan.Unquote(v))) == nil
		default:
			good = false
		}
		return good
	})
	return at, ok && good && given["height"]
}

func readNumber(span []byte, max uint64, to *uint64) bool {
	n, err := api.ParseUint(string(span))
	*to = n
	return err == nil && n <= max
}
