// Package params is the market's part of a genesis document: the accounts and
// markets that a chain begins with.
//
// The encoding imports stf-modules/abi and stf-modules/rfq/tx and nothing else,
// because the guest links it. The JSON form, for people, is in json.go and not in
// the guest.
//
//	version u16 = 1, challenge window u64,
//	count u32, { address [20], balance u64, permissions u8 } …   ascending addresses
//	count u32, { base [20], quote [20], name string, limits } …
//
// Values are plain; functions are pure.
package params

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Version is the version of the encoding.
const Version uint16 = 1

// Limits of a genesis.
const (
	MaxAccounts          = 50_000    // accounts a chain can begin with
	MaxMarkets           = 256       // markets a chain can have, ever
	MinChallengeWindowMs = 100       //
	MaxChallengeWindowMs = 3_600_000 //
)

// DefaultChallengeWindowMs is how long after its end a thesis may be disputed.
const DefaultChallengeWindowMs = 10_000

// Params is what the module's genesis export receives.
type Params struct {
	ChallengeWindowMs uint64
	Accounts          []Account // ascending addresses, each once
	Markets           []Market  // numbered from 0 in this order
}

// Account is one funded or privileged account.
type Account struct {
	Address     tx.Address
	Balance     uint64 // 6 decimals
	Permissions uint8  // tx.PermAdmin …
}

// Market is one pair that theses can be about.
type Market struct {
	Base, Quote tx.Address
	Name        string // "BTC/USDT"
	Limits      tx.Limits
}

const (
	accountBytes = 20 + 8 + 1
	marketBytes  = 20 + 20 + 4 + tx.LimitsBytes
)

// Append appends the encoding of p.
func (p *Params) Append(dst []byte) []byte {
	dst = abi.AppendU64(abi.AppendU16(dst, Version), p.ChallengeWindowMs)
	dst = abi.AppendU32(dst, uint32(len(p.Accounts)))
	for i := range p.Accounts {
		a := &p.Accounts[i]
		dst = append(abi.AppendU64(append(dst, a.Address[:]...), a.Balance), a.Permissions)
	}
	dst = abi.AppendU32(dst, uint32(len(p.Markets)))
	for i := range p.Markets {
		m := &p.Markets[i]
		dst = append(append(dst, m.Base[:]...), m.Quote[:]...)
		dst = m.Limits.Append(abi.AppendString(dst, m.Name))
	}
	return dst
}

// Decode reads exactly one Params. It does not judge the values: [Params.Check]
// does.
func Decode(b []byte) (p Params, ok bool) {
	r := abi.NewReader(b)
	if r.U16() != Version {
		return p, false
	}
	p.ChallengeWindowMs = r.U64()
	n := r.Count(accountBytes)
	if n > MaxAccounts {
		return Params{}, false
	}
	p.Accounts = make([]Account, n)
	for i := range p.Accounts {
		p.Accounts[i] = Account{Address: r.Bytes20(), Balance: r.U64(), Permissions: r.U8()}
	}
	n = r.Count(marketBytes)
	if n > MaxMarkets {
		return Params{}, false
	}
	p.Markets = make([]Market, n)
	for i := range p.Markets {
		p.Markets[i] = Market{Base: r.Bytes20(), Quote: r.Bytes20(), Name: r.String(tx.MaxMarketName), Limits: tx.ReadLimits(&r)}
	}
	return p, r.Done()
}

// Check says what is wrong with the values, or "" if nothing is.
func (p *Params) Check() string {
	if p.ChallengeWindowMs < MinChallengeWindowMs || p.ChallengeWindowMs > MaxChallengeWindowMs {
		return "challenge_window_ms is out of range"
	}
	if len(p.Accounts) > MaxAccounts || len(p.Markets) > MaxMarkets {
		return "too many accounts or markets"
	}
	if problem := p.checkAccounts(); problem != "" {
		return problem
	}
	for i := range p.Markets {
		if problem := p.checkMarket(i); problem != "" {
			return problem
		}
	}
	return ""
}

func (p *Params) checkAccounts() string {
	var supply uint64
	for i := range p.Accounts {
		a := &p.Accounts[i]
		if i > 0 && string(p.Accounts[i-1].Address[:]) >= string(a.Address[:]) {
			return "accounts are not in ascending order of address, each once"
		}
		if a.Permissions&^tx.PermAll != 0 {
			return "an account has an unknown permission"
		}
		if supply += a.Balance; supply < a.Balance {
			return "balances add up to more than 64 bits"
		}
	}
	return ""
}

func (p *Params) checkMarket(i int) string {
	m := &p.Markets[i]
	for j := range i {
		if o := &p.Markets[j]; o.Name == m.Name || o.Base == m.Base && o.Quote == m.Quote {
			return "two markets have the same name or pair"
		}
	}
	return CheckMarket(m.Base, m.Quote, m.Name, &m.Limits)
}

// CheckMarket says what is wrong with a market, or "": its tokens must differ,
// its name must be 1 to tx.MaxMarketName printable ASCII characters without space, quote or
// backslash, and its limits must allow some bet.
func CheckMarket(base, quote tx.Address, name string, limits *tx.Limits) string {
	if base == quote {
		return "a market's base and quote are the same token"
	}
	if len(name) == 0 || len(name) > tx.MaxMarketName {
		return "a market's name is not 1 to 32 characters"
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return "a market's name has a character that is not plain ASCII"
		}
	}
	if !limits.Valid() {
		return "a market's limits are not 0 < min bet <= max bet < max open interest"
	}
	return ""
}
