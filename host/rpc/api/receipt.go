package api

import (
	"bytes"
	"strconv"

	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

// ReceiptReader reads receipts as the send methods answer them, straight from the
// text that arrived: nobody has to look at it before. It takes what nodes write and
// leaves everything else to encoding/json: members that it does not know, that are
// there twice or that have escapes in their names, numbers that do not fit, null for
// a list. What it takes is what encoding/json makes of the same text; a fuzz test
// holds it to that.
//
// Words that come again, as names of fields do, are kept once. A ReceiptReader
// belongs to one goroutine.
type ReceiptReader struct {
	words  [maxWords]string
	kept   int // of words
	fields int // of the event before
}

// Limits of what a reader remembers.
const (
	maxWords     = 16 // words
	maxWordBytes = 32
)

// fewFields is how many fields an event has room for when nothing is known of it.
const fewFields = 4

// List takes a list. room is how many receipts are expected. false: it may stand
// anywhere, and the text is encoding/json's.
func (r *ReceiptReader) List(sc *jsonscan.Scanner, room int) ([]Receipt, bool) {
	list := make([]Receipt, 0, room)
	ok := sc.Items(func() bool {
		list = append(list, Receipt{})
		return r.Receipt(sc, &list[len(list)-1])
	})
	return list, ok
}

// Receipt takes one receipt into v, which is zero. false is as for
// [ReceiptReader.List], and v is of no use then.
func (r *ReceiptReader) Receipt(sc *jsonscan.Scanner, v *Receipt) bool {
	seen := 0
	return sc.Space() == '{' && sc.Members(func(name []byte) bool {
		member := receiptMember(name)
		if member == 0 || seen&member != 0 {
			return false
		}
		seen |= member
		if member == memberEvents {
			return r.events(sc, v)
		}
		value, ok := sc.Value()
		return ok && r.set(v, member, value)
	})
}

// The members of a receipt, as bits.
const (
	memberTxHash = 1 << iota
	memberHeight
	memberIndex
	memberStatus
	memberError
	memberErrorCode
	memberErrorDetail
	memberEvents
)

// receiptMember is a name's bit, or 0.
func receiptMember(name []byte) int {
	switch string(name) {
	case `"tx_hash"`:
		return memberTxHash
	case `"height"`:
		return memberHeight
	case `"index"`:
		return memberIndex
	case `"status"`:
		return memberStatus
	case `"error"`:
		return memberError
	case `"error_code"`:
		return memberErrorCode
	case `"error_detail"`:
		return memberErrorDetail
	case `"events"`:
		return memberEvents
	}
	return 0
}

// set reads a member that is no list. null leaves it as it is.
func (r *ReceiptReader) set(v *Receipt, member int, value []byte) bool {
	switch {
	case string(value) == "null":
		return true
	case value[0] == '"':
		return r.setText(v, member, value)
	}
	return setNumber(v, member, value)
}

func (r *ReceiptReader) setText(v *Receipt, member int, value []byte) bool {
	switch member {
	case memberTxHash:
		if len(value) != len(`"0x"`)+2*len(v.TxHash) {
			return false
		}
		_, ok := jsonscan.AppendHex(v.TxHash[:0], value)
		return ok
	case memberStatus:
		v.Status = r.word(value)
	case memberError:
		text := r.word(value)
		v.Error = &text
	case memberErrorDetail:
		v.ErrorDetail = jsonscan.Unquote(value)
	default:
		return false
	}
	return true
}

func setNumber(v *Receipt, member int, value []byte) bool {
	var err error
	switch member {
	case memberHeight:
		v.Height, err = strconv.ParseUint(string(value), 10, 64)
	case memberIndex:
		v.Index, err = strconv.ParseUint(string(value), 10, 64)
	case memberErrorCode:
		var code int64
		code, err = strconv.ParseInt(string(value), 10, strconv.IntSize)
		v.ErrorCode = int(code)
	default:
		return false
	}
	return err == nil
}

func (r *ReceiptReader) events(sc *jsonscan.Scanner, v *Receipt) bool {
	v.Events = []Event{}
	return sc.Items(func() bool {
		v.Events = append(v.Events, Event{})
		return r.event(sc, &v.Events[len(v.Events)-1])
	})
}

// event is [Event.UnmarshalJSON].
func (r *ReceiptReader) event(sc *jsonscan.Scanner, e *Event) bool {
	ok := sc.Space() == '{' && sc.Members(func(name []byte) bool {
		value, ok := sc.Value()
		if !ok {
			return false
		}
		if string(name) == `"type"` && value[0] == '"' {
			e.Type = r.word(value)
			return true
		}
		if e.Fields == nil {
			e.Fields = make([]Field, 0, max(r.fields, fewFields))
		}
		return e.set(r.word(name), value) == nil
	})
	if len(e.Fields) == 0 {
		e.Fields = nil
	}
	r.fields = len(e.Fields)
	return ok
}

// word is the text of a string, and the one that was there before if one was.
func (r *ReceiptReader) word(span []byte) string {
	inner := span[1 : len(span)-1]
	for _, w := range r.words[:r.kept] {
		if w == string(inner) {
			return w
		}
	}
	w := jsonscan.Unquote(span)
	if r.kept < maxWords && len(inner) <= maxWordBytes && bytes.IndexByte(inner, '\\') < 0 {
		r.words[r.kept] = w
		r.kept++
	}
	return w
}
