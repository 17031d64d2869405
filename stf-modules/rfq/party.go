package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// role is which side of a thesis an account is on.
type role byte

const (
	asUser role = iota
	asSolver
)

// party is the ids of all theses that an account has on one side, oldest first. The
// newest page is in the list's own record, so that one more thesis is one write:
//
//	count u64, ids of the newest page
//
// and when that page is full, its ids move to a record of their own.
type party struct {
	key   [1 + 1 + 20 + 8]byte
	n     uint64 // how many
	tail  [partyBytes]byte
	size  int // of tail
	page  [partyPage * 8]byte
	which uint64 // number + 1 of the page that was read, 0 for none
}

// partyPage is the ids of a page.
const (
	partyPage  = 64
	partyBytes = 8 + partyPage*8
)

func (p *party) open(env *sdk.Env, r role, a *tx.Address) {
	p.key[0], p.key[1] = keyParty, byte(r)
	*(*tx.Address)(p.key[2:]) = *a
	p.which = 0
	n, ok := env.GetInto(p.key[:22], p.tail[:])
	if !ok {
		n = 8
		abi.PutU64(p.tail[:], 0)
	}
	p.n, p.size = abi.U64(p.tail[:]), n
}

func (p *party) pageKey(number uint64) []byte {
	putBigU64(p.key[22:], number)
	return p.key[:]
}

// add appends a thesis to an account's list.
func (p *party) add(env *sdk.Env, r role, a *tx.Address, id uint64) {
	p.open(env, r, a)
	if p.size == partyBytes {
		env.Set(p.pageKey(p.n/partyPage-1), p.tail[8:])
		p.size = 8
	}
	abi.PutU64(p.tail[p.size:], id)
	abi.PutU64(p.tail[:], p.n+1)
	env.Set(p.key[:22], p.tail[:p.size+8])
}

// at is the i-th id of the list that was opened.
func (p *party) at(env *sdk.Env, i uint64) uint64 {
	number := i / partyPage
	if number == (p.n-1)/partyPage {
		return abi.U64(p.tail[8+i%partyPage*8:])
	}
	if p.which != number+1 {
		if _, ok := env.GetInto(p.pageKey(number), p.page[:]); !ok {
			panic("a page of an account's theses is missing from state")
		}
		p.which = number + 1
	}
	return abi.U64(p.page[i%partyPage*8:])
}
