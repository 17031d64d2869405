package rpc

import (
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

// maxIDBytes bounds the id of a request, which is echoed; maxNameBytes a name
// that an error message repeats.
const (
	maxIDBytes   = 256
	maxNameBytes = 64
)

// request is one call as it arrived. err is why it cannot be run.
type request struct {
	id     []byte // span; nil: a notification, which gets no answer
	name   string
	method *method // nil if err
	params Params
	raws   [][]byte // of a send method: what to submit
	err    *api.Error
}

// cost is what a rate limit counts: a call, or each transaction it carries.
func (r *request) cost() int { return max(1, len(r.raws)) }

// nullID answers a request whose id could not be read.
var nullID = []byte("null")

// body is a parsed HTTP body or WebSocket message.
type body struct {
	requests []request
	batch    bool // answer with an array
}

// parse reads one request or a batch. An error is about the whole body: nothing
// of it may be executed.
func (s *Server) parse(b []byte) (body, *api.Error) {
	sc := jsonscan.New(b)
	if sc.Space() != '[' {
		span, ok := sc.Value()
		if !ok || !sc.End() {
			return body{}, parseError(&sc)
		}
		v := body{requests: make([]request, 1)}
		s.parseRequest(&v.requests[0], span)
		return v, nil
	}
	return s.parseBatch(&sc)
}

func (s *Server) parseBatch(sc *jsonscan.Scanner) (body, *api.Error) {
	v := body{batch: true}
	var spans [][]byte
	tooMany := false
	ok := sc.Array(func(span []byte) bool {
		spans = append(spans, span)
		tooMany = len(spans) > s.limits.MaxBatch
		return !tooMany
	})
	switch {
	case tooMany:
		return v, api.NewError(api.CodeBatchTooLarge, limitDetail("calls", s.limits.MaxBatch))
	case !ok || !sc.End():
		return v, parseError(sc)
	case len(spans) == 0:
		return v, api.FieldError(api.CodeInvalidRequest, "batch", "at least one call")
	}
	v.requests = make([]request, len(spans))
	for i, span := range spans {
		s.parseRequest(&v.requests[i], span)
	}
	return v, nil
}

func parseError(sc *jsonscan.Scanner) *api.Error {
	if sc.TooDeep() {
		return api.NewError(api.CodeParse, limitDetail("levels of nesting", jsonscan.MaxDepth))
	}
	return api.NewError(api.CodeParse, sprintf("not JSON at byte %d", sc.Offset()))
}

func (s *Server) parseRequest(r *request, span []byte) {
	var env envelope
	r.err = env.read(span)
	r.id = env.answerTo(r.err)
	if r.err != nil {
		return
	}
	r.name = jsonscan.Unquote(env.method)
	m := s.methods[r.name]
	if m == nil {
		r.err = api.NewError(api.CodeMethodNotFound, sprintf("%.64q", r.name))
		return
	}
	r.method = m
	if r.params, r.err = m.sig.bind(env.params); r.err == nil && m.raws != nil {
		r.raws = m.raws(&r.params, s.limits.MaxTxs)
		r.err = r.params.err
	}
}

// envelope is the members of a request object that JSON-RPC defines; others are
// ignored, as the specification leaves them open.
type envelope struct{ jsonrpc, method, params, id []byte }

func (e *envelope) read(span []byte) *api.Error {
	if span[0] != '{' {
		return api.FieldError(api.CodeInvalidRequest, "request", "an object")
	}
	sc := jsonscan.Again(span)
	twice := ""
	sc.Members(func(name []byte) bool {
		value, ok := sc.Value()
		slot := e.slot(jsonscan.Text(name))
		if slot == nil {
			return ok
		}
		if *slot != nil && twice == "" {
			twice = jsonscan.Unquote(name)
		}
		*slot = value
		return ok
	})
	if twice != "" {
		return api.FieldError(api.CodeInvalidRequest, twice, "the member once")
	}
	return e.check()
}

func (e *envelope) slot(name []byte) *[]byte {
	switch string(name) {
	case "jsonrpc":
		return &e.jsonrpc
	case "method":
		return &e.method
	case "params":
		return &e.params
	case "id":
		return &e.id
	}
	return nil
}

func (e *envelope) check() *api.Error {
	switch {
	case e.id != nil && !validID(e.id):
		return api.FieldError(api.CodeInvalidRequest, "id", sprintf("a string, number or null of at most %d bytes", maxIDBytes))
	case string(e.jsonrpc) != `"2.0"`:
		return api.FieldError(api.CodeInvalidRequest, "jsonrpc", `"2.0"`)
	case len(e.method) < 3 || e.method[0] != '"':
		return api.FieldError(api.CodeInvalidRequest, "method", "a method's name")
	case e.params != nil && e.params[0] != '[' && e.params[0] != '{' && string(e.params) != "null":
		return api.FieldError(api.CodeInvalidRequest, "params", "an array or an object")
	}
	return nil
}

func validID(span []byte) bool {
	return len(span) <= maxIDBytes && span[0] != '{' && span[0] != '[' && span[0] != 't' && span[0] != 'f'
}

// answerTo is the id to answer with: a request that is broken is answered even
// if no id could be read.
func (e *envelope) answerTo(err *api.Error) []byte {
	if e.id == nil || !validID(e.id) {
		if err != nil {
			return nullID
		}
		return nil
	}
	return e.id
}
