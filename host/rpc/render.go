package rpc

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// The answers of the send methods are written by hand into one buffer; a test
// compares them with what encoding/json makes of the types in api.

func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			b, err := json.Marshal(s)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(dst, b...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func appendHexText(dst, b []byte) []byte {
	return append(hex.AppendEncode(append(dst, '"', '0', 'x'), b), '"')
}

// appendJSON appends what encoding/json makes of v, one of the types in api.
func appendJSON(dst []byte, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

// appendReceipt appends a receipt without its closing brace, so that more
// members may follow.
func (s *Server) appendReceipt(dst []byte, r *chain.Receipt, height uint64, index int) []byte {
	dst = appendHexText(append(dst, `{"tx_hash":`...), r.ID[:])
	dst = strconv.AppendUint(append(dst, `,"height":`...), height, 10)
	dst = strconv.AppendInt(append(dst, `,"index":`...), int64(index), 10)
	dst = s.appendOutcome(dst, r)
	return s.appendEvents(append(dst, `,"events":`...), r.Events)
}

// appendOutcome appends status, error and its explanation.
func (s *Server) appendOutcome(dst []byte, r *chain.Receipt) []byte {
	if r.Code == abi.CodeOK {
		return append(dst, `,"status":"ok","error":null`...)
	}
	e := api.ModuleError(r.Code, s.schema.ErrorName(r.Code), r.Detail)
	return appendFailure(append(dst, `,"status":"failed"`...), e)
}

func appendFailure(dst []byte, e *api.Error) []byte {
	dst = appendText(append(dst, `,"error":`...), e.Data.Name)
	dst = strconv.AppendInt(append(dst, `,"error_code":`...), int64(e.Code), 10)
	if e.Data.Detail != "" {
		dst = appendText(append(dst, `,"error_detail":`...), e.Data.Detail)
	}
	return dst
}

// appendRefused appends the entry of a transaction that is in no block.
func appendRefused(dst []byte, id chain.Hash, e *api.Error) []byte {
	dst = append(dst, `{"tx_hash":`...)
	if id == (chain.Hash{}) {
		dst = append(dst, "null"...)
	} else {
		dst = appendHexText(dst, id[:])
	}
	dst = append(dst, `,"height":null,"index":null,"status":"refused"`...)
	return append(appendFailure(dst, e), `,"events":[]}`...)
}

func (s *Server) appendEvents(dst []byte, events [][]byte) []byte {
	dst = append(dst, '[')
	for i, e := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = s.appendEvent(dst, e)
	}
	return append(dst, ']')
}

// appendEvent is [stf.Schema.Event] straight into JSON; a test holds the two
// together.
func (s *Server) appendEvent(dst, event []byte) []byte {
	start := len(dst)
	r := abi.NewReader(event)
	spec := s.events[r.U8()]
	if spec == nil || !r.OK() {
		return appendUnknown(dst, event)
	}
	dst = appendText(append(dst, `{"type":`...), spec.Type)
	for i := range spec.Fields {
		dst = append(appendText(append(dst, ','), spec.Fields[i].Name), ':')
		dst = appendField(dst, &r, spec.Fields[i].Kind)
	}
	if !r.Done() {
		return appendUnknown(dst[:start], event)
	}
	return append(dst, '}')
}

func appendUnknown(dst, event []byte) []byte {
	return append(appendHexText(append(dst, `{"type":"unknown","data":`...), event), '}')
}

func appendField(dst []byte, r *abi.Reader, kind string) []byte {
	switch kind {
	case "amount":
		return append(strconv.AppendUint(append(dst, '"'), r.U64(), 10), '"')
	case "number":
		return strconv.AppendUint(dst, r.U64(), 10)
	case "u8":
		return strconv.AppendUint(dst, uint64(r.U8()), 10)
	case "bool":
		return strconv.AppendBool(dst, r.Bool())
	case "address":
		return appendHexText(dst, r.Take(20))
	case "hash":
		return appendHexText(dst, r.Take(32))
	case "string":
		return appendText(dst, r.String(abi.MaxEventBytes))
	default:
		return appendHexText(dst, r.Bytes(abi.MaxEventBytes))
	}
}

// appendBlockRef appends the member that names the block an answer speaks of.
func appendBlockRef(dst []byte, id chain.BlockID) []byte {
	dst = strconv.AppendUint(append(dst, `,"block":{"height":`...), id.Number, 10)
	dst = append(dst, `,"hash":`...)
	if id.Hash == (chain.Hash{}) {
		return append(dst, "null}"...)
	}
	return append(appendHexText(dst, id.Hash[:]), '}')
}

// oracle renders a snapshot with its markets named.
func (s *Server) oracle(o *chain.OracleSnapshot) api.OracleSnapshot {
	v := api.OracleSnapshot{Timestamp: o.Timestamp, Stale: o.Stale, Prices: make(map[string]api.Price, len(o.Prices))}
	for i := range o.Prices {
		p := &o.Prices[i]
		v.Prices[s.module.pair(p.Base, p.Quote)] = apiPrice(p)
	}
	return v
}

func apiPrice(p *chain.Price) api.Price {
	return api.Price{Base: p.Base, Quote: p.Quote, Price: api.Amount(p.Price), Decimals: priceDecimals, Timestamp: p.Timestamp}
}

// priceDecimals is how many decimals every price and amount has.
const priceDecimals = 6

// appendTransaction appends an entry of a block, or the answer of
// kaizen_getTransaction, without its closing brace.
func (s *Server) appendTransaction(dst, raw []byte, r *chain.Receipt, height uint64, index int) []byte {
	dst = s.appendReceipt(dst, r, height, index)
	dst = appendHexText(append(dst, `,"raw":`...), raw)
	if s.module.DecodeTx == nil {
		return dst
	}
	if v, err := s.module.DecodeTx(raw); err == nil {
		if b, err := json.Marshal(v); err == nil {
			dst = append(append(dst, `,"decoded":`...), b...)
		}
	}
	return dst
}

// appendBlock appends the answer of kaizen_getBlock. It stops as soon as the
// answer is larger than allowed.
func (s *Server) appendBlock(dst []byte, b *chain.Block, v *chain.Results, full bool) ([]byte, error) {
	if len(b.Txs) != len(v.Receipts) {
		return dst, fmt.Errorf("block %d has %d transactions and %d receipts", b.Header.Height, len(b.Txs), len(v.Receipts))
	}
	start := len(dst)
	dst, err := appendJSON(append(dst, `{"header":`...), api.HeaderOf(&b.Header))
	if err != nil {
		return dst, err
	}
	dst = strconv.AppendInt(append(dst, `,"size":`...), int64(b.Size()), 10)
	if dst, err = appendJSON(append(dst, `,"oracle":`...), s.oracle(&b.Oracle)); err != nil {
		return dst, err
	}
	dst = s.appendEvents(append(dst, `,"begin_events":`...), v.Begin)
	dst = append(dst, `,"transactions":[`...)
	for i := range v.Receipts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = s.appendEntry(dst, b.Txs[i], &v.Receipts[i], b.Header.Height, i, full)
		if len(dst)-start > s.limits.MaxResponseBytes {
			return dst, errResponseTooLarge
		}
	}
	dst = s.appendEvents(append(dst, `],"end_events":`...), v.End)
	return append(dst, '}'), nil
}

func (s *Server) appendEntry(dst, raw []byte, r *chain.Receipt, height uint64, i int, full bool) []byte {
	if full {
		return append(s.appendTransaction(dst, raw, r, height, i), '}')
	}
	dst = appendHexText(append(dst, `{"tx_hash":`...), r.ID[:])
	dst = strconv.AppendInt(append(dst, `,"index":`...), int64(i), 10)
	return append(s.appendOutcome(dst, r), '}')
}
