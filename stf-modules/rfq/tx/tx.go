// Package tx is the market's transactions: their Borsh encoding, and the EIP-712
// digests that wallets sign and that are their ids.
//
// It imports stf-modules/abi and math/bits, nothing else, because the guest links
// it; hashes come from whoever calls ([Keccak]). Wallets, the command line and
// tests build transactions with the same types.
//
//	t := tx.Transaction{From: a, Timestamp: ms, Kind: tx.KindTransfer, Transfer: tx.Transfer{To: b, Amount: n}}
//	err := hasher.Sign(keccak, &t, sign)
//	wire := t.Append(nil)
//
// Types are plain values. A [Hasher] has a buffer and belongs to one goroutine.
package tx

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// Address is an account, Hash a Keccak-256 digest, Signature r ‖ s ‖ v.
type (
	Address   = [20]byte
	Hash      = [32]byte
	Signature = [65]byte
)

// Kind is the payload's tag byte.
type Kind uint8

// The payloads, in the order of protocol section 4.
const (
	KindTransfer Kind = iota
	KindNominateApiWallet
	KindRevokeApiWallet
	KindDeposit
	KindWithdraw
	KindProcessWithdrawal
	KindRfqSubmit
	KindRfqSettle
	KindSystemSettle
	KindAdmin
	kinds
)

// Transaction is one signed instruction. Kind says which of the payload fields
// counts; the others are not encoded, and decoding leaves them alone.
type Transaction struct {
	From      Address
	Timestamp uint64 // ms; what replay protection goes by
	Kind      Kind
	Signature Signature

	Transfer          Transfer
	NominateApiWallet NominateApiWallet
	RevokeApiWallet   RevokeApiWallet
	Deposit           Deposit
	Withdraw          Withdraw
	ProcessWithdrawal ProcessWithdrawal
	RfqSubmit         RfqSubmit
	RfqSettle         RfqSettle
	SystemSettle      SystemSettle
	Admin             AdminAction
}

// The payloads. Amounts have 6 decimals, times are ms.
type (
	// Transfer moves Amount to To.
	Transfer struct {
		To     Address
		Amount uint64
	}
	// NominateApiWallet lets Wallet sign for the account until Expiry, 0 =
	// never expires.
	NominateApiWallet struct {
		Wallet Address
		Expiry uint64
	}
	// RevokeApiWallet ends a nomination.
	RevokeApiWallet struct{ Wallet Address }
	// Deposit credits User for money that arrived elsewhere, in the transaction
	// ExternalTxHash; relayers send it.
	Deposit struct {
		User           Address
		Amount         uint64
		ExternalTxHash Hash
	}
	// Withdraw asks for Amount to be paid out to Destination elsewhere.
	Withdraw struct {
		Amount      uint64
		Destination Address
	}
	// ProcessWithdrawal reports that a withdrawal was paid out; relayers send it.
	ProcessWithdrawal struct {
		WithdrawalID   uint64
		ExternalTxHash Hash
	}
	// RfqSubmit opens a thesis on a quote that its user accepted by signing it.
	RfqSubmit struct {
		Quote         Quote
		UserSignature Signature
	}
	// RfqSettle settles a thesis that no settler has settled.
	RfqSettle struct{ ThesisID uint64 }
	// SystemSettle settles a thesis; settlers send it.
	SystemSettle struct {
		ThesisID   uint64
		Settlement Settlement
	}
)

// SettlementKind is the tag of a Settlement.
type SettlementKind uint8

// The settlements.
const (
	UserWins SettlementKind = iota
	SolverWins
	Void
	settlements
)

// Settlement is the outcome that a settler claims. The breach is encoded for
// SolverWins only, and zero otherwise.
type Settlement struct {
	Kind            SettlementKind
	BreachTimestamp uint64
	BreachPrice     uint64
}

// Quote is a solver's offer: the user bets BetAmount to win Payout if the price
// stays within [Lower, Upper] from Start to End.
type Quote struct {
	ThesisType  uint8 // 0 = Box
	Base, Quote Address
	Lower       uint64
	Upper       uint64
	BetAmount   uint64
	Payout      uint64
	Start       uint64
	End         uint64
	Deadline    uint64
	User        Address
	Solver      Address
	Salt        uint64
}

// Box is the thesis type: the price stays within a range.
const Box uint8 = 0

// QuoteBytes is the encoded size of a Quote.
const QuoteBytes = 1 + 4*20 + 8*8

// Where an encoded Quote has some of its fields.
const (
	QuotePair   = 1 // base, then quote
	QuoteStart  = QuotePair + 2*20 + 4*8
	QuoteEnd    = QuoteStart + 8
	QuoteUser   = QuoteEnd + 2*8
	QuoteSolver = QuoteUser + 20
)

// Append appends the encoding of q.
func (q *Quote) Append(dst []byte) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, QuoteBytes)...)
	q.encode((*[QuoteBytes]byte)(dst[n:]))
	return dst
}

func (q *Quote) encode(b *[QuoteBytes]byte) {
	b[0] = q.ThesisType
	abi.Copy20((*Address)(b[QuotePair:]), &q.Base)
	abi.Copy20((*Address)(b[QuotePair+20:]), &q.Quote)
	abi.PutU64(b[41:], q.Lower)
	abi.PutU64(b[49:], q.Upper)
	abi.PutU64(b[57:], q.BetAmount)
	abi.PutU64(b[65:], q.Payout)
	abi.PutU64(b[QuoteStart:], q.Start)
	abi.PutU64(b[QuoteEnd:], q.End)
	abi.PutU64(b[QuoteEnd+8:], q.Deadline)
	abi.Copy20((*Address)(b[QuoteUser:]), &q.User)
	abi.Copy20((*Address)(b[QuoteSolver:]), &q.Solver)
	abi.PutU64(b[QuoteSolver+20:], q.Salt)
}

// Decode reads an encoded quote: any bytes of that number are one.
func (q *Quote) Decode(b *[QuoteBytes]byte) {
	q.ThesisType = b[0]
	q.Base, q.Quote = Address(b[QuotePair:]), Address(b[QuotePair+20:])
	q.Lower, q.Upper = abi.U64(b[41:]), abi.U64(b[49:])
	q.BetAmount, q.Payout = abi.U64(b[57:]), abi.U64(b[65:])
	q.Start, q.End, q.Deadline = abi.U64(b[QuoteStart:]), abi.U64(b[QuoteEnd:]), abi.U64(b[QuoteEnd+8:])
	q.User, q.Solver = Address(b[QuoteUser:]), Address(b[QuoteSolver:])
	q.Salt = abi.U64(b[QuoteSolver+20:])
}

// DecodeQuote reads exactly one quote.
func DecodeQuote(b []byte) (q Quote, ok bool) {
	if len(b) != QuoteBytes {
		return q, false
	}
	q.Decode((*[QuoteBytes]byte)(b))
	return q, true
}

// Append appends the encoding of t.
func (t *Transaction) Append(dst []byte) []byte {
	dst = abi.AppendU64(append(dst, t.From[:]...), t.Timestamp)
	dst = t.appendPayload(append(dst, byte(t.Kind)))
	return append(dst, t.Signature[:]...)
}

func (t *Transaction) appendPayload(dst []byte) []byte {
	switch t.Kind {
	case KindTransfer:
		return abi.AppendU64(append(dst, t.Transfer.To[:]...), t.Transfer.Amount)
	case KindNominateApiWallet:
		return abi.AppendU64(append(dst, t.NominateApiWallet.Wallet[:]...), t.NominateApiWallet.Expiry)
	case KindRevokeApiWallet:
		return append(dst, t.RevokeApiWallet.Wallet[:]...)
	case KindDeposit:
		dst = abi.AppendU64(append(dst, t.Deposit.User[:]...), t.Deposit.Amount)
		return append(dst, t.Deposit.ExternalTxHash[:]...)
	case KindWithdraw:
		return append(abi.AppendU64(dst, t.Withdraw.Amount), t.Withdraw.Destination[:]...)
	case KindProcessWithdrawal:
		return append(abi.AppendU64(dst, t.ProcessWithdrawal.WithdrawalID), t.ProcessWithdrawal.ExternalTxHash[:]...)
	case KindRfqSubmit:
		return append(t.RfqSubmit.Quote.Append(dst), t.RfqSubmit.UserSignature[:]...)
	case KindRfqSettle:
		return abi.AppendU64(dst, t.RfqSettle.ThesisID)
	case KindSystemSettle:
		return t.SystemSettle.Settlement.append(abi.AppendU64(dst, t.SystemSettle.ThesisID))
	default:
		return t.Admin.Append(dst)
	}
}

func (s *Settlement) append(dst []byte) []byte {
	dst = append(dst, byte(s.Kind))
	if s.Kind == SolverWins {
		dst = abi.AppendU64(abi.AppendU64(dst, s.BreachTimestamp), s.BreachPrice)
	}
	return dst
}

func (s *Settlement) read(r *abi.Reader) {
	*s = Settlement{Kind: SettlementKind(r.U8())}
	if s.Kind >= settlements {
		r.Fail()
	}
	if s.Kind == SolverWins {
		s.BreachTimestamp, s.BreachPrice = r.U64(), r.U64()
	}
}

// Sizes of what every transaction has, before and after its payload.
const (
	headBytes      = 20 + 8 + 1
	signatureBytes = 65
	transferBytes  = 20 + 8
)

// Decode reads exactly one transaction from b into t: an unknown tag or a byte
// too many is no transaction. Payload fields of other kinds keep what they had.
func Decode(b []byte, t *Transaction) bool {
	sig := DecodeUnsigned(b, t)
	if sig == nil {
		return false
	}
	t.Signature = *sig
	return true
}

// DecodeUnsigned is Decode without the longest of the copies: the signature stays
// where it is in b, and t.Signature as it was. It is nil if b is no transaction.
func DecodeUnsigned(b []byte, t *Transaction) *Signature {
	if len(b) < headBytes+signatureBytes {
		return nil
	}
	end := len(b) - signatureBytes
	abi.Copy20(&t.From, (*Address)(b))
	t.Timestamp = abi.U64(b[20:])
	t.Kind = Kind(b[28])
	if t.Kind != KindTransfer { // most are, and this is four times as fast
		r := abi.NewReader(b[headBytes:end])
		if t.readPayload(&r); !r.Done() {
			return nil
		}
	} else if end == headBytes+transferBytes {
		abi.Copy20(&t.Transfer.To, (*Address)(b[headBytes:]))
		t.Transfer.Amount = abi.U64(b[headBytes+20:])
	} else {
		return nil
	}
	return (*Signature)(b[end:])
}

func (t *Transaction) readPayload(r *abi.Reader) {
	switch t.Kind {
	case KindNominateApiWallet:
		t.NominateApiWallet = NominateApiWallet{Wallet: r.Bytes20(), Expiry: r.U64()}
	case KindRevokeApiWallet:
		t.RevokeApiWallet = RevokeApiWallet{Wallet: r.Bytes20()}
	case KindDeposit:
		t.Deposit = Deposit{User: r.Bytes20(), Amount: r.U64(), ExternalTxHash: r.Bytes32()}
	case KindWithdraw:
		t.Withdraw = Withdraw{Amount: r.U64(), Destination: r.Bytes20()}
	case KindProcessWithdrawal:
		t.ProcessWithdrawal = ProcessWithdrawal{WithdrawalID: r.U64(), ExternalTxHash: r.Bytes32()}
	case KindRfqSubmit:
		if b := r.Take(QuoteBytes); b != nil {
			t.RfqSubmit.Quote.Decode((*[QuoteBytes]byte)(b))
		}
		t.RfqSubmit.UserSignature = r.Bytes65()
	case KindRfqSettle:
		t.RfqSettle = RfqSettle{ThesisID: r.U64()}
	case KindSystemSettle:
		t.SystemSettle.ThesisID = r.U64()
		t.SystemSettle.Settlement.read(r)
	case KindAdmin:
		t.Admin.read(r)
	default:
		r.Fail()
	}
}
