package market

import (
	"encoding/binary"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// keyShape is one line of the table of keys in the module's STATE.md.
type keyShape struct {
	first byte
	size  int // of the whole key, bytes; 0: any
	name  func(rest []byte) string
	query func(rest []byte) []byte // whose answer shows the value; nil: none does
}

var keyShapes = []keyShape{
	{'a', 21, named("account", address), func(r []byte) []byte { return query.Account(tx.Address(r)) }},
	{'b', 1, plain("totals"), func([]byte) []byte { return query.Totals() }},
	{'d', 33, named("deposit", bytes0x), func(r []byte) []byte { return query.Deposit(tx.Hash(r)) }},
	{'h', 3, named("top of the price history of market", u16), nil},
	{'i', 3, named("pair of market", u16), nil},
	{'l', 22, named("theses of", partyOf), nil},
	{'l', 30, named("older theses of", partyOf), nil},
	{'m', 41, named("market", pairOf), nil},
	{'n', 0, named("pair named", func(r []byte) string { return fmt.Sprintf("%q", r) }), nil},
	{'o', 3, named("newest price of market", u16), nil},
	{'p', 1, plain("parameters"), func([]byte) []byte { return query.Params() }},
	{'q', 4, named("part of the price history of market", u16), nil},
	{'r', 5, named("page of the price history of market", u16), nil},
	{'s', 1, plain("system"), nil},
	{'t', 9, named("thesis", u64), func(r []byte) []byte { return query.Thesis(binary.BigEndian.Uint64(r)) }},
	{'u', 33, named("thesis of quote", bytes0x), nil},
	{'v', 11, named("schedule of market", u16), nil},
	{'w', 41, named("API wallet of", pairOf), nil},
	{'x', 9, named("withdrawal", u64), func(r []byte) []byte { return query.Withdrawal(binary.BigEndian.Uint64(r)) }},
}

// StateKey names a state key of the module for people, and the query whose answer
// shows its value; both are empty for bytes that are no key of it.
func StateKey(key []byte) (name string, query []byte) {
	for i := range keyShapes {
		s := &keyShapes[i]
		if len(key) == 0 || key[0] != s.first || s.size != 0 && len(key) != s.size {
			continue
		}
		if s.query != nil {
			query = s.query(key[1:])
		}
		return s.name(key[1:]), query
	}
	return "", nil
}

func plain(what string) func([]byte) string { return func([]byte) string { return what } }

func named(what string, of func([]byte) string) func([]byte) string {
	return func(rest []byte) string { return what + " " + of(rest) }
}

func address(r []byte) string { return chain.Address(r).String() }
func bytes0x(r []byte) string { return fmt.Sprintf("0x%x", r) }
func u16(r []byte) string     { return fmt.Sprint(binary.BigEndian.Uint16(r)) }
func u64(r []byte) string     { return fmt.Sprint(binary.BigEndian.Uint64(r)) }
func pairOf(r []byte) string  { return address(r[:20]) + " " + address(r[20:]) }

func partyOf(r []byte) string {
	if r[0] == 0 {
		return "user " + address(r[1:21])
	}
	return "solver " + address(r[1:21])
}
