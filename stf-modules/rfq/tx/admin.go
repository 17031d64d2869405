package tx

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// Action is the tag of an AdminAction.
type Action uint8

// The admin actions. Number 11 (schedule a module upgrade) is reserved for what
// does not exist yet: a transaction that carries it is malformed.
const (
	GrantPermissions  Action = iota // Account gets Permissions besides those it has
	RevokePermissions               // Account loses Permissions
	PauseSystem                     // everything but Admin, RevokeApiWallet and settling fails
	UnpauseSystem                   //
	PauseMarket                     // no new theses on the market
	UnpauseMarket                   //
	AddMarket                       // a market that the oracle's prices are kept for
	SetMarketLimits                 // for new theses
	BlacklistAdd                    // Account may move no money and open no thesis
	BlacklistRemove                 //
	CancelThesis                    // a thesis that has not begun ends, both sides are refunded
)

// Permission bits of an account.
const (
	PermAdmin   uint8 = 1 << iota // Admin
	PermRelayer                   // Deposit, ProcessWithdrawal
	PermSettler                   // SystemSettle
	PermAll     = PermAdmin | PermRelayer | PermSettler
)

// MaxMarketName bounds a market's name, bytes.
const MaxMarketName = 32

// Limits are what a market allows a new thesis.
type Limits struct {
	MinBet          uint64 // smallest bet amount
	MaxBet          uint64 // largest bet amount
	MaxOpenInterest uint64 // largest sum of the payouts of open theses
}

// LimitsBytes is the encoded size of Limits.
const LimitsBytes = 24

// Append appends the encoding of l.
func (l *Limits) Append(dst []byte) []byte {
	return abi.AppendU64(abi.AppendU64(abi.AppendU64(dst, l.MinBet), l.MaxBet), l.MaxOpenInterest)
}

// ReadLimits takes a Limits.
func ReadLimits(r *abi.Reader) Limits {
	return Limits{MinBet: r.U64(), MaxBet: r.U64(), MaxOpenInterest: r.U64()}
}

// Valid reports whether some bet could be within the limits.
func (l *Limits) Valid() bool {
	return 0 < l.MinBet && l.MinBet <= l.MaxBet && l.MaxBet < l.MaxOpenInterest
}

// AdminAction is what an Admin transaction does. Kind says which fields count;
// the others are not encoded, and zero after decoding.
type AdminAction struct {
	Kind        Action
	Account     Address // GrantPermissions, RevokePermissions, BlacklistAdd, BlacklistRemove
	Permissions uint8   // GrantPermissions, RevokePermissions
	Base, Quote Address // the four market actions
	Name        string  // AddMarket, at most MaxMarketName bytes
	Limits      Limits  // AddMarket, SetMarketLimits
	ThesisID    uint64  // CancelThesis
}

// Append appends the encoding of a, which is also what its hash is over.
func (a *AdminAction) Append(dst []byte) []byte {
	dst = append(dst, byte(a.Kind))
	switch a.Kind {
	case GrantPermissions, RevokePermissions:
		return append(append(dst, a.Account[:]...), a.Permissions)
	case BlacklistAdd, BlacklistRemove:
		return append(dst, a.Account[:]...)
	case PauseMarket, UnpauseMarket:
		return a.appendPair(dst)
	case AddMarket:
		return a.Limits.Append(abi.AppendString(a.appendPair(dst), a.Name))
	case SetMarketLimits:
		return a.Limits.Append(a.appendPair(dst))
	case CancelThesis:
		return abi.AppendU64(dst, a.ThesisID)
	default:
		return dst
	}
}

//go:noinline
func (a *AdminAction) appendPair(dst []byte) []byte {
	return append(append(dst, a.Base[:]...), a.Quote[:]...)
}

func (a *AdminAction) read(r *abi.Reader) {
	*a = AdminAction{Kind: Action(r.U8())}
	switch a.Kind {
	case GrantPermissions, RevokePermissions:
		a.Account, a.Permissions = r.Bytes20(), r.U8()
	case BlacklistAdd, BlacklistRemove:
		a.Account = r.Bytes20()
	case PauseMarket, UnpauseMarket:
		a.Base, a.Quote = r.Bytes20(), r.Bytes20()
	case AddMarket:
		a.Base, a.Quote = r.Bytes20(), r.Bytes20()
		a.Name = r.String(MaxMarketName)
		a.Limits = ReadLimits(r)
	case SetMarketLimits:
		a.Base, a.Quote = r.Bytes20(), r.Bytes20()
		a.Limits = ReadLimits(r)
	case CancelThesis:
		a.ThesisID = r.U64()
	case PauseSystem, UnpauseSystem:
	default:
		r.Fail()
	}
}

// DecodeAction reads exactly one action.
func DecodeAction(b []byte) (a AdminAction, ok bool) {
	r := abi.NewReader(b)
	a.read(&r)
	return a, r.Done()
}

// PermissionNames are the names of the permission bits, lowest first, as people
// write them.
var PermissionNames = [...]string{"admin", "relayer", "settler"}

// PermissionBit is the bit of that name.
func PermissionBit(name string) (bit uint8, ok bool) {
	for i, n := range PermissionNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}
