package tx

import (
	"math/bits"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// EIP-712 with the domain ("Kaizen", "1", 1): every word is 32 bytes, big-endian.
//
//	digest = keccak(0x19 0x01 ‖ domain separator ‖ keccak(type hash ‖ words))

// Keccak is where hashes come from: the host inside a guest, a library outside.
type Keccak interface {
	Keccak256(b []byte, out *[32]byte)
}

// DomainSeparator is the hash of EIP712Domain(name "Kaizen", version "1",
// chainId 1), as protocol section 4 gives it.
var DomainSeparator = Hash{
	0x5d, 0xb2, 0xfe, 0x12, 0x7c, 0x29, 0x52, 0xc9, 0x12, 0xf0, 0x10, 0x52, 0xd7, 0xee, 0x81, 0x80,
	0x2f, 0xd2, 0x27, 0xc8, 0x2f, 0x01, 0x0e, 0xf3, 0xcf, 0xa2, 0x66, 0x0a, 0xe3, 0x84, 0x06, 0x90,
}

// Types are the EIP-712 types that transactions are signed as, by Kind, and the
// quote's last. A test compares their hashes with the constants of typehash.go.
var Types = [kinds + 1]string{
	"Kaizen:Transfer(uint64 timestamp,address from,address to,uint64 amount)",
	"Kaizen:NominateApiWallet(uint64 timestamp,address from,address wallet,uint64 expiry)",
	"Kaizen:RevokeApiWallet(uint64 timestamp,address from,address wallet)",
	"Kaizen:Deposit(uint64 timestamp,address from,address user,uint64 amount,bytes32 externalTxHash)",
	"Kaizen:Withdraw(uint64 timestamp,address from,uint64 amount,address destination)",
	"Kaizen:ProcessWithdrawal(uint64 timestamp,address from,uint64 withdrawalId,bytes32 externalTxHash)",
	"Kaizen:RfqSubmit(uint64 timestamp,address from,bytes32 quoteHash)",
	"Kaizen:RfqSettle(uint64 timestamp,address from,uint64 thesisId)",
	"Kaizen:SystemSettle(uint64 timestamp,address from,uint64 thesisId,uint8 settlementType,uint64 breachTimestamp,uint64 breachPrice)",
	"Kaizen:Admin(uint64 timestamp,address from,bytes32 actionHash)",
	"Kaizen:Quote(uint8 thesisType,address base,address quote,uint64 lower,uint64 upper,uint64 betAmount,uint64 payout,uint64 start,uint64 end,uint64 deadline,address user,address solver,uint64 salt)",
}

// Hasher computes digests in its own buffers, without allocating. The zero value
// is ready to use.
//
// Words are written in place, whole and at fixed offsets: inside a guest every
// small copy and every check of a bound shows.
type Hasher struct {
	words    [14 * 32]byte // the longest struct: a quote's type hash and 13 words
	transfer [5 * 32]byte  // a transfer's: most are, and half of it never changes
	borsh    [QuoteBytes]byte
	outer    [2 + 32 + 32]byte // what a digest is the hash of
	sum      Hash
}

func (h *Hasher) hash(k Keccak, b []byte) Hash {
	k.Keccak256(b, &h.sum)
	return h.sum
}

// word is the i-th word of the struct.
func (h *Hasher) word(i int) *Hash { return (*Hash)(h.words[32*i:]) }

func putU64(w *Hash, v uint64) {
	*(*[24]byte)(w[:]) = [24]byte{}
	putBig(w[24:], v)
}

func putBig(b []byte, v uint64) { abi.PutU64(b, bits.ReverseBytes64(v)) }

func putAddress(w *Hash, a *Address) {
	*(*[12]byte)(w[:]) = [12]byte{}
	abi.Copy20((*Address)(w[12:]), a)
}

// digest hashes words, and that with the domain.
func (h *Hasher) digest(k Keccak, words []byte) Hash {
	if h.outer[0] == 0 { // the first time: no digest changes these
		h.outer[0], h.outer[1] = 0x19, 0x01
		*(*Hash)(h.outer[2:]) = DomainSeparator
	}
	k.Keccak256(words, (*Hash)(h.outer[34:]))
	return h.hash(k, h.outer[:])
}

// Digest is what t's sender signs, and t's id.
func (h *Hasher) Digest(k Keccak, t *Transaction) Hash {
	return h.digest(k, h.Words(k, t))
}

// Words are the type hash and the members of the struct that t's sender signs, as
// EIP-712 encodes them; valid until the next call.
func (h *Hasher) Words(k Keccak, t *Transaction) []byte {
	if t.Kind != KindTransfer {
		return h.otherWords(k, t)
	}
	w := &h.transfer
	if w[0] == 0 {
		h.firstTransfer()
	}
	putBig(w[1*32+24:], t.Timestamp)
	abi.Copy20((*Address)(w[2*32+12:]), &t.From)
	abi.Copy20((*Address)(w[3*32+12:]), &t.Transfer.To)
	putBig(w[4*32+24:], t.Transfer.Amount)
	return w[:]
}

// firstTransfer writes what no transfer changes. It is a function of its own so that the
// compiler does not take it for the usual path.
//
//go:noinline
func (h *Hasher) firstTransfer() { *(*Hash)(h.transfer[:]) = typeHashes[KindTransfer] }

// otherWords are those of anything but a transfer.
func (h *Hasher) otherWords(k Keccak, t *Transaction) []byte {
	switch t.Kind { // what is too long to be shown in a wallet is a hash there
	case KindRfqSubmit:
		*h.word(3) = h.QuoteHash(k, &t.RfqSubmit.Quote)
	case KindAdmin:
		*h.word(3) = h.ActionHash(k, &t.Admin)
	}
	*h.word(0) = typeHashes[t.Kind]
	putU64(h.word(1), t.Timestamp)
	putAddress(h.word(2), &t.From)
	return h.words[:32*h.payload(t)]
}

// payload writes the words of anything but a transfer from the third on, and
// returns how many there are now.
func (h *Hasher) payload(t *Transaction) int {
	switch t.Kind {
	case KindNominateApiWallet:
		putAddress(h.word(3), &t.NominateApiWallet.Wallet)
		putU64(h.word(4), t.NominateApiWallet.Expiry)
		return 5
	case KindRevokeApiWallet:
		putAddress(h.word(3), &t.RevokeApiWallet.Wallet)
		return 4
	case KindDeposit:
		putAddress(h.word(3), &t.Deposit.User)
		putU64(h.word(4), t.Deposit.Amount)
		*h.word(5) = t.Deposit.ExternalTxHash
		return 6
	case KindWithdraw:
		putU64(h.word(3), t.Withdraw.Amount)
		putAddress(h.word(4), &t.Withdraw.Destination)
		return 5
	case KindProcessWithdrawal:
		putU64(h.word(3), t.ProcessWithdrawal.WithdrawalID)
		*h.word(4) = t.ProcessWithdrawal.ExternalTxHash
		return 5
	case KindRfqSettle:
		putU64(h.word(3), t.RfqSettle.ThesisID)
		return 4
	case KindSystemSettle:
		putU64(h.word(3), t.SystemSettle.ThesisID)
		return h.settlement(&t.SystemSettle.Settlement)
	default:
		return 4
	}
}

func (h *Hasher) settlement(s *Settlement) int {
	var timestamp, price uint64
	if s.Kind == SolverWins {
		timestamp, price = s.BreachTimestamp, s.BreachPrice
	}
	putU64(h.word(4), uint64(s.Kind))
	putU64(h.word(5), timestamp)
	putU64(h.word(6), price)
	return 7
}

// QuoteHash names a quote: keccak256 of its Borsh bytes.
func (h *Hasher) QuoteHash(k Keccak, q *Quote) Hash { return h.hash(k, q.Append(h.borsh[:0])) }

// ActionHash is keccak256 of an action's Borsh bytes.
func (h *Hasher) ActionHash(k Keccak, a *AdminAction) Hash { return h.hash(k, a.Append(h.borsh[:0])) }

// QuoteDigest is what a user signs to accept a quote.
func (h *Hasher) QuoteDigest(k Keccak, q *Quote) Hash { return h.digest(k, h.QuoteWords(q)) }

// QuoteWords is to a quote what Words is to a transaction.
func (h *Hasher) QuoteWords(q *Quote) []byte {
	*h.word(0) = typeHashes[kinds]
	putU64(h.word(1), uint64(q.ThesisType))
	putAddress(h.word(2), &q.Base)
	putAddress(h.word(3), &q.Quote)
	for i, v := range [...]uint64{q.Lower, q.Upper, q.BetAmount, q.Payout, q.Start, q.End, q.Deadline} {
		putU64(h.word(4+i), v)
	}
	putAddress(h.word(11), &q.User)
	putAddress(h.word(12), &q.Solver)
	putU64(h.word(13), q.Salt)
	return h.words[:]
}

// Sign puts what sign returns for t's digest into t.
func (h *Hasher) Sign(k Keccak, t *Transaction, sign func(digest *Hash) (Signature, error)) error {
	digest := h.Digest(k, t)
	sig, err := sign(&digest)
	if err != nil {
		return err
	}
	t.Signature = sig
	return nil
}
