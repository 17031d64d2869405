package rpc

import (
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/stf"
)

// Module is what the server knows about the chain's module beyond its schema.
// All of it is optional: a node that runs a module nobody told it about serves
// every method that does not need it, kaizen_query among them. Functions may be
// called from any goroutine.
type Module struct {
	// DecodeTx renders a transaction for people as a value that encoding/json
	// marshals; an error leaves the field out.
	DecodeTx func(raw []byte) (any, error)
	// Symbol names a token, "" if it has no name.
	Symbol func(token chain.Address) string
	// Keys are the things kaizen_getProof can be asked for, in the order in which
	// they are tried.
	Keys []NamedKey
	// Queries are the methods that only run one of the module's queries.
	Queries []QueryMethod
	// Thesis is the query for a thesis, whose answer has base and quote. It is
	// asked where an event about a thesis does not say which market it is of; nil:
	// every event says.
	Thesis func(id uint64) []byte
}

// NamedKey says under which state key a thing is: {"account": "0x…"}.
type NamedKey struct {
	Name string
	Key  func(p *Params) []byte // reads the parameter Name
}

// QueryMethod is a method whose answer is the JSON object of a module query,
// with "block" added. An optional height argument follows Params.
type QueryMethod struct {
	Name string // "kaizen_getAccount"
	// Object and Params are the parameters: those of Object travel in one object,
	// {pair, user, …}, when they are given by position.
	Object, Params []string
	Encode         func(p *Params) []byte
	// Summary is one line for the OpenRPC document, Result a value of the type of
	// the answer; nil: an object that only the module describes.
	Summary string
	Result  any
}

// pair names a market: BTC/USDT, or with addresses where a token has no name.
func (m *Module) pair(base, quote chain.Address) string { return m.token(base) + "/" + m.token(quote) }

func (m *Module) token(a chain.Address) string {
	if m.Symbol != nil {
		if name := m.Symbol(a); name != "" {
			return name
		}
	}
	return a.String()
}

// eventSpecs is a module's events by tag.
type eventSpecs [256]*stf.EventSpec

func specsOf(s *stf.Schema) *eventSpecs {
	var t eventSpecs
	for i := range s.Events {
		t[s.Events[i].Tag] = &s.Events[i]
	}
	return &t
}
