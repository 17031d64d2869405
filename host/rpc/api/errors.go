package api

import (
	"fmt"
	"strings"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Code is a JSON-RPC error code. -32700 to -32600 are JSON-RPC's own, -32099 to
// -32000 the node's, and 1000 and above the module's: see [ModuleCode]. A code
// never changes its meaning; ERRORS.md is the list.
type Code int

// JSON-RPC's own codes.
const (
	CodeParse          Code = -32700
	CodeInvalidRequest Code = -32600
	CodeMethodNotFound Code = -32601
	CodeInvalidParams  Code = -32602
	CodeInternal       Code = -32603
)

// The node's codes.
const (
	CodeBusy                Code = -32000
	CodeBlockNotFound       Code = -32001
	CodeTransactionNotFound Code = -32002
	CodeStateUnavailable    Code = -32003
	CodeTagUnavailable      Code = -32004
	CodeReadOnly            Code = -32005
	CodeStopping            Code = -32006
	CodeTimeout             Code = -32007
	CodePositionPruned      Code = -32008
	CodePositionNotOnChain  Code = -32009
	CodeRateLimited         Code = -32010
	CodeOverloaded          Code = -32011
	CodeBodyTooLarge        Code = -32012
	CodeBatchTooLarge       Code = -32013
	CodeResponseTooLarge    Code = -32014
	CodeTooManySubs         Code = -32015
	CodeNoSubscription      Code = -32016
	CodeWebSocketOnly       Code = -32017
	CodeBlockPruned         Code = -32018
	CodeHostNotAllowed      Code = -32020
	CodeOriginNotAllowed    Code = -32021
	CodePathNotFound        Code = -32022
	CodeHTTPMethod          Code = -32023
	CodeAdminOnly           Code = -32024
)

// CodeSpec describes one code.
type CodeSpec struct {
	Code    Code
	Name    string
	HTTP    int    // status of a plain HTTP answer that carries nothing else; 200 inside JSON-RPC
	Meaning string // what happened, and what to do
}

// Codes is every code below 1000, in the order of ERRORS.md.
var Codes = []CodeSpec{
	{CodeParse, "ParseError", 200, "the body is not JSON; nothing was executed"},
	{CodeInvalidRequest, "InvalidRequest", 200, "the JSON is not a JSON-RPC 2.0 request; `field` says which member is wrong"},
	{CodeMethodNotFound, "MethodNotFound", 200, "this node has no such method"},
	{CodeInvalidParams, "InvalidParams", 200, "a parameter is missing, unknown, of the wrong type or out of range; `field` names it and `want` says what is accepted"},
	{CodeInternal, "InternalError", 200, "the node failed to answer; its log says why"},
	{CodeBusy, "Busy", 200, "the intake queue is full; the transaction was not taken, send it again later"},
	{CodeBlockNotFound, "BlockNotFound", 200, "no such block here: not sealed yet, or of another chain"},
	{CodeTransactionNotFound, "TransactionNotFound", 200, "no such transaction in any block kept here"},
	{CodeStateUnavailable, "StateUnavailable", 200, "the block is known and the state after it is neither in memory nor within reach of a snapshot; `detail` says what is missing, ask for a newer height or another node"},
	{CodeTagUnavailable, "TagUnavailable", 200, "this node does not serve that tag; `pending` is the write node's"},
	{CodeReadOnly, "ReadOnly", 200, "this node takes no transactions; send them to the write node"},
	{CodeStopping, "Stopping", 200, "the node is shutting down; nothing was done"},
	{CodeTimeout, "Timeout", 200, "no answer within the call timeout; a transaction may still be executed, look it up by its hash"},
	{CodePositionPruned, "PositionPruned", 200, "what comes after that position is not kept here any more; `position` is the oldest one to go on from, and what is between is lost to this node"},
	{CodePositionNotOnChain, "PositionNotOnChain", 200, "the block of that position is not on this node's chain: it was taken back, or the position is of another chain"},
	{CodeRateLimited, "RateLimited", 429, "this address sends more calls than allowed; slow down"},
	{CodeOverloaded, "Overloaded", 503, "too many requests are being answered; try again"},
	{CodeBodyTooLarge, "BodyTooLarge", 413, "the request is larger than allowed; nothing was executed"},
	{CodeBatchTooLarge, "BatchTooLarge", 200, "the batch has more calls than allowed; nothing was executed"},
	{CodeResponseTooLarge, "ResponseTooLarge", 200, "the answer would be larger than allowed, ask for less; `detail` says whether the call was executed"},
	{CodeTooManySubs, "TooManySubscriptions", 200, "the connection, or the node, has as many subscriptions as allowed"},
	{CodeNoSubscription, "SubscriptionNotFound", 200, "this connection has no such subscription; the node may have closed it"},
	{CodeWebSocketOnly, "WebSocketOnly", 200, "subscriptions need a WebSocket; connect to /ws"},
	{CodeBlockPruned, "BlockPruned", 200, "the block is not kept here any more, or the node began after it with a snapshot; `base` is the first that is here, ask for that or a later one, or an archive node"},
	{CodeHostNotAllowed, "HostNotAllowed", 403, "the Host header is not one this node answers to (DNS rebinding); see rpc.allowed_hosts"},
	{CodeOriginNotAllowed, "OriginNotAllowed", 403, "a web page of that origin may not call this node; see rpc.allowed_origins"},
	{CodePathNotFound, "PathNotFound", 404, "nothing is served at that path"},
	{CodeHTTPMethod, "HTTPMethodNotAllowed", 405, "that path does not take this HTTP method"},
	{CodeAdminOnly, "AdminOnly", 403, "admin routes are for whoever can read the node's data directory, on its machine; `kaizen` finds the token there"},
}

// Spec describes a code of [Codes].
func (c Code) Spec() (CodeSpec, bool) {
	for _, s := range Codes {
		if s.Code == c {
			return s, true
		}
	}
	return CodeSpec{}, false
}

// moduleBase is what a module's code is added to.
const moduleBase Code = 1000

// ModuleCode is the code of an error of the module, or of the host that runs it
// (traps: abi.HostCodeMin and above): 1000 plus the code in a receipt. The names
// are those of the module's schema.
func ModuleCode(c abi.Code) Code { return moduleBase + Code(c) }

// Module is the module's own code, if c is one.
func (c Code) Module() (abi.Code, bool) {
	if c <= moduleBase || c > moduleBase+0xFFFF {
		return 0, false
	}
	return abi.Code(c - moduleBase), true
}

// Error is a JSON-RPC error object.
type Error struct {
	Code    Code      `json:"code"`
	Message string    `json:"message"` // one line for people: name, field, want, detail
	Data    ErrorData `json:"data"`
}

// ErrorData is what a program needs of an error.
type ErrorData struct {
	Name   string `json:"name"`
	Field  string `json:"field,omitempty"`  // the offending field: address, transactions[3], jsonrpc
	Want   string `json:"want,omitempty"`   // what is accepted there
	Detail string `json:"detail,omitempty"` // more, for people

	Position *Position `json:"position,omitempty"` // of PositionPruned: the oldest to go on from
	Base     uint64    `json:"base,omitempty"`     // of BlockPruned: the first block kept
}

// NewError makes an error with a code of [Codes].
func NewError(code Code, detail string) *Error {
	spec, _ := code.Spec()
	return named(code, ErrorData{Name: spec.Name, Detail: detail})
}

// PrunedError is the BlockPruned error of a block below base.
func PrunedError(base uint64, detail string) *Error {
	spec, _ := CodeBlockPruned.Spec()
	return named(CodeBlockPruned, ErrorData{Name: spec.Name, Detail: detail, Base: base})
}

// FieldError is an InvalidParams or InvalidRequest error about one field.
func FieldError(code Code, field, want string) *Error {
	spec, _ := code.Spec()
	return named(code, ErrorData{Name: spec.Name, Field: field, Want: want})
}

// ModuleError is an error of the module.
func ModuleError(code abi.Code, name, detail string) *Error {
	return named(ModuleCode(code), ErrorData{Name: name, Detail: detail})
}

func named(code Code, d ErrorData) *Error {
	e := &Error{Code: code, Data: d}
	e.Message = e.line()
	return e
}

func (e *Error) line() string {
	var b strings.Builder
	b.WriteString(e.Data.Name)
	if e.Data.Field != "" {
		b.WriteString(": " + e.Data.Field)
	}
	if e.Data.Want != "" {
		b.WriteString(": want " + e.Data.Want)
	}
	if e.Data.Detail != "" {
		b.WriteString(": " + e.Data.Detail)
	}
	return b.String()
}

func (e *Error) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }
