package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// method is one entry of the method table: either run, which appends the result,
// or raws, which reads what is to be submitted.
type method struct {
	name string
	sig  signature
	// For the OpenRPC document: one line, and a value of the type of the answer.
	summary string
	result  any
	run     func(ctx context.Context, p *Params, dst []byte) ([]byte, error)
	raws    func(p *Params, limit int) [][]byte
	many    bool // the answer of a send method is a list
	seen    methodMetrics
}

func named(names ...string) signature { return signature{rest: names} }

// table is every method that this node serves.
func (s *Server) table() []*method {
	list := []*method{
		{name: "kaizen_info", run: s.info, result: api.Info{}, summary: "What does not change while the node runs."},
		{name: "kaizen_status", run: s.status, result: api.Status{}, summary: "Where the node stands now."},
		{name: "kaizen_sendTransaction", sig: named("transaction"), raws: oneRaw, result: api.Receipt{}, summary: "Executes a transaction; answers once it is on disk."},
		{name: "kaizen_sendTransactions", sig: named("transactions"), raws: (*Params).transactions, many: true, result: []api.Sent{}, summary: "Executes transactions in order."},
		{name: "kaizen_simulateTransaction", sig: named("transaction", heightParam), run: s.simulate, result: api.Simulation{}, summary: "What a transaction would come to; nothing is kept."},
		{name: "kaizen_getBlock", sig: named(heightParam, "transactions"), run: s.getBlock, result: api.Block{}, summary: "A block with its transactions and their receipts."},
		{name: "kaizen_getHeader", sig: named(heightParam), run: s.getHeader, result: api.Header{}, summary: "A block's header."},
		{name: "kaizen_getTransaction", sig: named("tx_hash"), run: s.getTransaction, result: api.Transaction{}, summary: "A transaction and its receipt."},
		{name: "kaizen_getReceipt", sig: named("tx_hash"), run: s.getReceipt, result: api.Receipt{}, summary: "A transaction's receipt."},
		{name: "kaizen_getAccountTransactions", sig: named("address", "limit", "cursor"), run: s.getAccountTransactions, result: api.AccountTransactions{}, summary: "Transactions that name an account, newest first, by looking through stored blocks."},
		{name: "kaizen_getOraclePrices", sig: named(heightParam), run: s.getOraclePrices, result: api.OraclePrices{}, summary: "The prices in force in a block."},
		{name: "kaizen_getProof", sig: s.proofSignature(), run: s.getProof, result: api.Proof{}, summary: "That a state key has a value, or is absent."},
		{name: "kaizen_query", sig: named("query", heightParam), run: s.query, result: api.QueryAnswer{}, summary: "Any query of the module, in the module's encoding."},
		{name: "kaizen_subscribe", sig: subscribeSignature, run: s.subscribe, result: "", summary: "Begins a subscription and answers with its name; WebSocket only."},
		{name: "kaizen_unsubscribe", sig: named("subscription"), run: s.unsubscribe, result: true, summary: "Ends a subscription of this connection."},
		{name: "rpc.discover", run: s.discover, result: json.RawMessage{}, summary: "This document."},
	}
	for _, q := range s.module.Queries {
		sig := signature{object: q.Object, rest: append(append([]string(nil), q.Params...), heightParam)}
		list = append(list, &method{name: q.Name, sig: sig, run: s.moduleQuery(q.Encode), summary: q.Summary, result: q.Result})
	}
	return list
}

func oneRaw(p *Params, _ int) [][]byte {
	if raw := p.transaction(); raw != nil {
		return [][]byte{raw}
	}
	return nil
}

func (s *Server) info(_ context.Context, _ *Params, dst []byte) ([]byte, error) {
	return appendJSON(dst, s.backend.Info())
}

func (s *Server) status(_ context.Context, _ *Params, dst []byte) ([]byte, error) {
	v := s.backend.Status()
	if v.Peers == nil {
		v.Peers = []api.Peer{} // [] and not null
	}
	return appendJSON(dst, v)
}

func (s *Server) simulate(ctx context.Context, p *Params, dst []byte) ([]byte, error) {
	raw, at := p.transaction(), p.Height()
	if p.err != nil {
		return dst, p.err
	}
	r, block, err := s.backend.Simulate(ctx, raw, at)
	if err != nil {
		return dst, err
	}
	dst = appendHexText(append(dst, `{"tx_hash":`...), r.ID[:])
	dst = s.appendEvents(append(s.appendOutcome(dst, &r), `,"events":`...), r.Events)
	return append(appendBlockRef(dst, block), '}'), nil
}

// sealed resolves a height argument to a block that has a header.
func (s *Server) sealed(at api.Ref) (chain.BlockID, error) {
	id, err := s.backend.Resolve(at)
	if err == nil && id.Hash == (chain.Hash{}) {
		err = fmt.Errorf("block %d is still open: %w", id.Number, ErrBlockNotFound)
	}
	return id, err
}

func (s *Server) getBlock(_ context.Context, p *Params, dst []byte) ([]byte, error) {
	at, form := p.Height(), p.Choice("transactions", "full", "hashes")
	if p.err != nil {
		return dst, p.err
	}
	id, err := s.sealed(at)
	if err != nil {
		return dst, err
	}
	b, v, err := s.backend.Block(id.Number)
	if err != nil {
		return dst, err
	}
	return s.appendBlock(dst, b, v, form == "full")
}

func (s *Server) getHeader(_ context.Context, p *Params, dst []byte) ([]byte, error) {
	at := p.Height()
	if p.err != nil {
		return dst, p.err
	}
	id, err := s.sealed(at)
	if err != nil {
		return dst, err
	}
	h, err := s.backend.Header(id.Number)
	if err != nil {
		return dst, err
	}
	return appendJSON(dst, api.HeaderOf(&h))
}

func (s *Server) getTransaction(_ context.Context, p *Params, dst []byte) ([]byte, error) {
	v, err := s.locate(p)
	if err != nil {
		return dst, err
	}
	dst = s.appendTransaction(dst, v.Raw, &v.Receipt, v.Block.Number, v.Index)
	return append(appendBlockRef(dst, v.Block), '}'), nil
}

func (s *Server) getReceipt(_ context.Context, p *Params, dst []byte) ([]byte, error) {
	v, err := s.locate(p)
	if err != nil {
		return dst, err
	}
	dst = s.appendReceipt(dst, &v.Receipt, v.Block.Number, v.Index)
	return append(appendBlockRef(dst, v.Block), '}'), nil
}

func (s *Server) locate(p *Params) (Located, error) {
	id := p.Hash("tx_hash")
	if p.err != nil {
		return Located{}, p.err
	}
	return s.backend.Transaction(id)
}

func (s *Server) getOraclePrices(_ context.Context, p *Params, dst []byte) ([]byte, error) {
	at := p.Height()
	if p.err != nil {
		return dst, p.err
	}
	o, block, err := s.backend.Oracle(at)
	if err != nil {
		return dst, err
	}
	return appendJSON(dst, api.OraclePrices{OracleSnapshot: s.oracle(&o), Block: api.RefTo(block)})
}

// keyParam asks for a proof of a raw state key.
const keyParam = "key"

func (s *Server) proofSignature() signature {
	g := signature{rest: []string{heightParam}}
	for _, k := range s.module.Keys {
		g.object = append(g.object, k.Name)
	}
	g.object = append(g.object, keyParam)
	return g
}

func (s *Server) getProof(ctx context.Context, p *Params, dst []byte) ([]byte, error) {
	key, at := s.proofKey(p), p.Height()
	if p.err != nil {
		return dst, p.err
	}
	v, err := s.backend.Prove(ctx, at, key)
	if err != nil {
		return dst, err
	}
	answer := api.Proof{Key: key, Proof: v.Proof, Header: api.HeaderOf(&v.Header), Block: api.RefTo(v.Header.ID())}
	if v.Present {
		answer.Value = (*api.Bytes)(&v.Value)
	}
	return appendJSON(dst, answer)
}

// proofKey is the state key that exactly one parameter names.
func (s *Server) proofKey(p *Params) (key []byte) {
	given := 0
	for _, k := range s.module.Keys {
		if p.Has(k.Name) {
			given++
			key = k.Key(p)
		}
	}
	if p.Has(keyParam) {
		given++
		key = p.Bytes(keyParam, 1, abi.MaxKeyBytes)
	}
	if given != 1 {
		names := s.proofSignature().object
		p.fail(names[0], "exactly one of: "+strings.Join(names, ", "))
	}
	return key
}

// query runs any query of the module: for modules that the node does not know.
func (s *Server) query(ctx context.Context, p *Params, dst []byte) ([]byte, error) {
	query, at := p.Bytes("query", 0, abi.MaxTxBytes), p.Height()
	if p.err != nil {
		return dst, p.err
	}
	out, block, err := s.backend.Query(ctx, at, query)
	if err != nil {
		return dst, err
	}
	if !json.Valid(out) {
		return dst, fmt.Errorf("module query answered %.80q, which is not JSON", out)
	}
	dst = append(append(dst, `{"result":`...), bytes.TrimSpace(out)...)
	return append(appendBlockRef(dst, block), '}'), nil
}

// moduleQuery makes a method of one query: the module's object, and the block.
func (s *Server) moduleQuery(encode func(p *Params) []byte) func(context.Context, *Params, []byte) ([]byte, error) {
	return func(ctx context.Context, p *Params, dst []byte) ([]byte, error) {
		query, at := encode(p), p.Height()
		if p.err != nil {
			return dst, p.err
		}
		out, block, err := s.backend.Query(ctx, at, query)
		if err != nil {
			return dst, err
		}
		return appendWithBlock(dst, out, block)
	}
}

// appendWithBlock appends a JSON object with the member "block" added.
func appendWithBlock(dst, object []byte, block chain.BlockID) ([]byte, error) {
	object = bytes.TrimSpace(object)
	if !json.Valid(object) || object[0] != '{' {
		return dst, fmt.Errorf("module query answered %.80q, which is not a JSON object", object)
	}
	dst = append(dst, bytes.TrimSpace(object[:len(object)-1])...)
	ref := appendBlockRef(nil, block)
	if dst[len(dst)-1] == '{' { // the object is empty: no comma
		ref = ref[1:]
	}
	return append(append(dst, ref...), '}'), nil
}

// errResponseTooLarge is returned by a method that stops early.
var errResponseTooLarge = errors.New("response too large")

// sentinels maps a backend's errors to their codes.
var sentinels = []struct {
	err  error
	code api.Code
}{
	{ErrBusy, api.CodeBusy}, {ErrBlockNotFound, api.CodeBlockNotFound}, {ErrTxNotFound, api.CodeTransactionNotFound},
	{ErrStateUnavailable, api.CodeStateUnavailable}, {ErrTagUnavailable, api.CodeTagUnavailable}, {ErrReadOnly, api.CodeReadOnly},
	{ErrOverloaded, api.CodeOverloaded}, {ErrStopping, api.CodeStopping}, {context.DeadlineExceeded, api.CodeTimeout}, {context.Canceled, api.CodeStopping},
}

// answerable turns an error into what the client is told. One that is nobody's
// business is logged and answered without its text.
func (s *Server) answerable(err error, method string) *api.Error {
	var told *api.Error
	var refusal *stf.Refusal
	var pruned *PrunedError
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &refusal):
		return api.ModuleError(refusal.Code, refusal.Name, refusal.Detail)
	case errors.As(err, &pruned):
		return api.PrunedError(pruned.Base, pruned.Error())
	case errors.Is(err, errResponseTooLarge):
		return api.NewError(api.CodeResponseTooLarge, "executed; "+limitDetail("bytes", s.limits.MaxResponseBytes))
	}
	for _, known := range sentinels {
		if errors.Is(err, known.err) {
			return api.NewError(known.code, err.Error())
		}
	}
	s.log.Error("rpc call failed", slog.String("method", method), slog.Any("err", err))
	return api.NewError(api.CodeInternal, "")
}
