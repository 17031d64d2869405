package query

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// State is what a thesis is in, by the time of the block that is asked, or a group
// of such states to ask for.
type State uint8

// The states, in the order of a thesis's life, and the groups.
const (
	Created           State = iota // before start
	Active                         // from start to end
	InChallengeWindow              // from end on
	Due                            // the challenge window is over, and nobody has settled
	SettledUserWin
	SettledSolverWin
	Voided
	Cancelled
	Any
	Open    // the first four
	Settled // the other four
	states
)

// StateNames are the names of the states and groups.
var StateNames = [states]string{"Created", "Active", "InChallengeWindow", "Due", "SettledUserWin", "SettledSolverWin", "Voided", "Cancelled",
	"any", "open", "settled"}

// Has reports whether a thesis in state of belongs to s.
func (s State) Has(of State) bool {
	switch s {
	case Any:
		return true
	case Open:
		return of <= Due
	case Settled:
		return of > Due
	default:
		return of == s
	}
}

// Limits of one page of theses.
const (
	MaxTheses = 500 // theses
	// MaxWork bounds what one answer costs: 1 for a thesis that is looked at, and
	// ShownWork more for one that is in the page. So a page may have fewer theses than
	// asked for, 286 at most, and still not be the last.
	MaxWork   = 2_000
	ShownWork = 6
	// MaxCursor bounds a cursor, bytes.
	MaxCursor = 18
)

// Page asks for a part of a long answer. Cursor is what the answer before named as
// next, as it was; nil for the first page.
type Page struct {
	Limit  uint32 // 1 to MaxTheses
	Cursor []byte
}

// Filter says which theses are asked for: those that fit all of it.
type Filter struct {
	Pair   string      // name of a market, "" for any
	User   *tx.Address // nil for any
	Solver *tx.Address // nil for any
	State  State
	Page   Page
}

// Thesis asks for one thesis.
func Thesis(id uint64) []byte { return abi.AppendU64([]byte{byte(TagThesis)}, id) }

// Theses asks for a page of theses: newest first, or, of open ones without user
// and solver, by market and in the order in which they are due.
func Theses(f *Filter) []byte { return f.append([]byte{byte(TagTheses)}) }

// DueTheses asks for a page of a market's open theses that are due, their challenge
// window over, by time until (ms, inclusive), in that order. With the greatest
// number these are all that are open.
func DueTheses(market string, until uint64, p Page) []byte {
	b := abi.AppendString([]byte{byte(TagDue)}, market)
	return p.append(abi.AppendU64(b, until))
}

func (p *Page) append(dst []byte) []byte {
	return abi.AppendBytes(abi.AppendU32(dst, p.Limit), p.Cursor)
}

// ReadPage takes a Page; its cursor is a view into the input.
func ReadPage(r *abi.Reader) Page {
	p := Page{Limit: r.U32(), Cursor: r.Bytes(MaxCursor)}
	if p.Limit < 1 || p.Limit > MaxTheses {
		r.Fail()
	}
	return p
}

func (f *Filter) append(dst []byte) []byte {
	dst = appendParty(appendParty(abi.AppendString(dst, f.Pair), f.User), f.Solver)
	return f.Page.append(append(dst, byte(f.State)))
}

func appendParty(dst []byte, a *tx.Address) []byte {
	if a == nil {
		return append(dst, 0)
	}
	return append(append(dst, 1), a[:]...)
}

// ReadFilter takes a Filter; its cursor is a view into the input.
func ReadFilter(r *abi.Reader) Filter {
	f := Filter{Pair: r.String(tx.MaxMarketName), User: readParty(r), Solver: readParty(r), State: State(r.U8())}
	if f.State >= states {
		r.Fail()
	}
	f.Page = ReadPage(r)
	return f
}

func readParty(r *abi.Reader) *tx.Address {
	if !r.Bool() {
		return nil
	}
	a := r.Bytes20()
	return &a
}
