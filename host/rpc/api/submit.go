package api

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// SubmitProtocol is the WebSocket subprotocol of a submit stream: SUBMIT.md has
// every byte. Another version has another name.
const SubmitProtocol = "kaizen.submit.v1"

// ErrMalformedSubmit says that a message is none of [SubmitProtocol].
var ErrMalformedSubmit = errors.New("malformed message of " + SubmitProtocol)

// AppendSubmission appends a transaction as a client sends it.
func AppendSubmission(dst, raw []byte) []byte { return abi.AppendBytes(dst, raw) }

// CountSubmissions is how many transactions a client's message has, at least one.
// Error: ErrMalformedSubmit.
func CountSubmissions(message []byte) (n int, err error) {
	for rest := message; len(rest) > 0 || n == 0; n++ {
		r := abi.NewReader(rest)
		if raw := r.Bytes(abi.MaxTxBytes); len(raw) == 0 {
			return 0, fmt.Errorf("transaction %d of a message, at byte %d of %d: %w", n, len(message)-len(rest), len(message), ErrMalformedSubmit)
		}
		rest = r.Rest()
	}
	return n, nil
}

// CutSubmission takes the first transaction off a message that
// [CountSubmissions] has found good: a view into it.
func CutSubmission(message []byte) (raw, rest []byte) {
	r := abi.NewReader(message)
	return r.Bytes(abi.MaxTxBytes), r.Rest()
}

// Values of the status byte of an answer.
const (
	submitExecuted = 0
	submitRefused  = 1
)

const (
	// maxSubmitName and maxSubmitDetail bound the texts of a refusal, bytes; what is
	// longer is cut.
	maxSubmitName   = 64
	maxSubmitDetail = 1024
)

// SubmitAnswer is what became of one transaction of a submit stream.
type SubmitAnswer struct {
	Number uint64 // of the transaction on its connection, from 0
	// Refused is the error that JSON-RPC would answer with; nil if the transaction
	// has executed. Then what follows it here is set, otherwise ID.
	Refused *Error
	ID      chain.Hash // zero: not known
	Height  uint64
	Index   uint32
	Receipt chain.Receipt
}

// Append appends the encoding of a.
func (a *SubmitAnswer) Append(dst []byte) []byte {
	dst = abi.AppendU64(dst, a.Number)
	status := byte(submitExecuted)
	if a.Refused != nil {
		status = submitRefused
	}
	dst = abi.AppendU32(append(dst, status), 0)
	start := len(dst)
	if a.Refused == nil {
		dst = abi.AppendU32(abi.AppendU64(dst, a.Height), a.Index)
		dst = a.Receipt.Append(dst)
	} else {
		dst = append(dst, a.ID[:]...)
		dst = abi.AppendU32(dst, uint32(int32(a.Refused.Code)))
		dst = abi.AppendString(dst, clip(a.Refused.Data.Name, maxSubmitName))
		dst = abi.AppendString(dst, clip(a.Refused.Data.Detail, maxSubmitDetail))
	}
	abi.AppendU32(dst[:start-4], uint32(len(dst)-start))
	return dst
}

func clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// CutSubmitAnswer takes the first answer off a node's message; events of its
// receipt are views into it. Error: ErrMalformedSubmit.
func CutSubmitAnswer(message []byte) (a SubmitAnswer, rest []byte, err error) {
	r := abi.NewReader(message)
	a.Number = r.U64()
	status := r.U8()
	body := r.Bytes(len(message))
	if !r.OK() {
		return a, nil, fmt.Errorf("answer of %d bytes: %w", len(message), ErrMalformedSubmit)
	}
	switch status {
	case submitExecuted:
		err = a.readExecuted(body)
	case submitRefused:
		err = a.readRefused(body)
	default:
		err = fmt.Errorf("status %d, want 0 or 1: %w", status, ErrMalformedSubmit)
	}
	if err != nil {
		return a, nil, fmt.Errorf("answer %d: %w", a.Number, err)
	}
	return a, r.Rest(), nil
}

func (a *SubmitAnswer) readExecuted(body []byte) (err error) {
	r := abi.NewReader(body)
	a.Height, a.Index = r.U64(), r.U32()
	if a.Receipt, err = chain.DecodeReceipt(r.Rest()); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformedSubmit, err)
	}
	return nil
}

func (a *SubmitAnswer) readRefused(body []byte) error {
	r := abi.NewReader(body)
	a.ID = r.Bytes32()
	code := Code(int32(r.U32()))
	d := ErrorData{Name: r.String(maxSubmitName), Detail: r.String(maxSubmitDetail)}
	if !r.Done() || code == 0 {
		return fmt.Errorf("refusal of %d bytes with code %d: %w", len(body), code, ErrMalformedSubmit)
	}
	a.Refused = named(code, d)
	return nil
}
