// Package event is the market's events that other programs act on: their tags and
// Borsh fields, as the module's schema describes them.
//
// It imports stf-modules/abi and nothing else, because the guest may link it.
// Whoever watches the chain decodes what it finds in results; a test compares with
// the schema.
//
//	for each event of a block's results:
//		switch event.TagOf(b) {
//		case event.TagThesisCreated: e, ok := event.DecodeThesisCreated(b)
//		…
//
// Functions are pure.
package event

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// Tag is the first byte of an event.
type Tag uint8

// The tags, as in the module's schema.
const (
	TagPrice         Tag = 12 // a block hook's: a price was recorded
	TagThesisCreated Tag = 13
	TagThesisSettled Tag = 14
)

// TagOf is the tag of an event, 0 if there are no bytes.
func TagOf(b []byte) Tag {
	if len(b) == 0 {
		return 0
	}
	return Tag(b[0])
}

// Price is a price that was recorded: what breach and hole are decided by.
// Timestamp is when it was observed, ms.
type Price struct {
	Base, Quote      [20]byte
	Timestamp, Price uint64
}

// ThesisCreated is a thesis that was opened. Times are ms, amounts have 6
// decimals. Due is the end of the challenge window.
type ThesisCreated struct {
	ThesisID          uint64
	QuoteHash         [32]byte
	User, Solver      [20]byte
	Base, Quote       [20]byte
	Lower, Upper      uint64
	BetAmount, Payout uint64
	Start, End, Due   uint64
}

// Outcomes of a settled thesis.
const (
	UserWins   = "user_wins"
	SolverWins = "solver_wins"
	Void       = "void"
	Cancelled  = "cancelled"
)

// maxOutcome bounds the name of an outcome, bytes.
const maxOutcome = 16

// ThesisSettled is a thesis that reached its final state. The breach is zero
// unless Outcome is SolverWins.
type ThesisSettled struct {
	ThesisID                     uint64
	Outcome                      string
	User, Solver                 [20]byte
	Payout                       uint64
	UserReceived, SolverReceived uint64
	BreachTimestamp, BreachPrice uint64
	SettledBy                    [20]byte
}

// Append appends the encoding of e.
func (e *Price) Append(dst []byte) []byte {
	dst = append(append(append(dst, byte(TagPrice)), e.Base[:]...), e.Quote[:]...)
	return abi.AppendU64(abi.AppendU64(dst, e.Timestamp), e.Price)
}

// Append appends the encoding of e.
func (e *ThesisCreated) Append(dst []byte) []byte {
	dst = abi.AppendU64(append(dst, byte(TagThesisCreated)), e.ThesisID)
	dst = append(append(append(dst, e.QuoteHash[:]...), e.User[:]...), e.Solver[:]...)
	dst = append(append(dst, e.Base[:]...), e.Quote[:]...)
	for _, v := range [...]uint64{e.Lower, e.Upper, e.BetAmount, e.Payout, e.Start, e.End, e.Due} {
		dst = abi.AppendU64(dst, v)
	}
	return dst
}

// Append appends the encoding of e.
func (e *ThesisSettled) Append(dst []byte) []byte {
	dst = abi.AppendString(abi.AppendU64(append(dst, byte(TagThesisSettled)), e.ThesisID), e.Outcome)
	dst = append(append(dst, e.User[:]...), e.Solver[:]...)
	for _, v := range [...]uint64{e.Payout, e.UserReceived, e.SolverReceived, e.BreachTimestamp, e.BreachPrice} {
		dst = abi.AppendU64(dst, v)
	}
	return append(dst, e.SettledBy[:]...)
}

// open is a reader behind the tag, failed if that is another.
func open(b []byte, tag Tag) abi.Reader {
	r := abi.NewReader(b)
	if Tag(r.U8()) != tag {
		r.Fail()
	}
	return r
}

// DecodePrice reads exactly one event of that tag.
func DecodePrice(b []byte) (e Price, ok bool) {
	r := open(b, TagPrice)
	e = Price{Base: r.Bytes20(), Quote: r.Bytes20(), Timestamp: r.U64(), Price: r.U64()}
	return e, r.Done()
}

// DecodeThesisCreated reads exactly one event of that tag.
func DecodeThesisCreated(b []byte) (e ThesisCreated, ok bool) {
	r := open(b, TagThesisCreated)
	e.ThesisID, e.QuoteHash = r.U64(), r.Bytes32()
	e.User, e.Solver, e.Base, e.Quote = r.Bytes20(), r.Bytes20(), r.Bytes20(), r.Bytes20()
	for _, p := range [...]*uint64{&e.Lower, &e.Upper, &e.BetAmount, &e.Payout, &e.Start, &e.End, &e.Due} {
		*p = r.U64()
	}
	return e, r.Done()
}

// DecodeThesisSettled reads exactly one event of that tag.
func DecodeThesisSettled(b []byte) (e ThesisSettled, ok bool) {
	r := open(b, TagThesisSettled)
	e.ThesisID, e.Outcome = r.U64(), r.String(maxOutcome)
	e.User, e.Solver = r.Bytes20(), r.Bytes20()
	for _, p := range [...]*uint64{&e.Payout, &e.UserReceived, &e.SolverReceived, &e.BreachTimestamp, &e.BreachPrice} {
		*p = r.U64()
	}
	e.SettledBy = r.Bytes20()
	return e, r.Done()
}
