package market

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Transaction is how a transaction reads in JSON: Payload is one of the types
// below, by Kind.
type Transaction struct {
	Kind      string        `json:"kind"`
	From      chain.Address `json:"from"`
	Timestamp uint64        `json:"timestamp"` // ms
	Payload   any           `json:"payload"`
	Signature api.Bytes     `json:"signature"` // r ‖ s ‖ v
}

// The payloads, named as in protocol section 4.
type (
	Transfer struct {
		To     chain.Address `json:"to"`
		Amount api.Amount    `json:"amount"`
	}
	NominateApiWallet struct {
		Wallet chain.Address `json:"wallet"`
		Expiry uint64        `json:"expiry"` // ms, 0 = never
	}
	RevokeApiWallet struct {
		Wallet chain.Address `json:"wallet"`
	}
	Deposit struct {
		User           chain.Address `json:"user"`
		Amount         api.Amount    `json:"amount"`
		ExternalTxHash chain.Hash    `json:"external_tx_hash"`
	}
	Withdraw struct {
		Amount      api.Amount    `json:"amount"`
		Destination chain.Address `json:"destination"`
	}
	ProcessWithdrawal struct {
		WithdrawalID   uint64     `json:"withdrawal_id"`
		ExternalTxHash chain.Hash `json:"external_tx_hash"`
	}
	RfqSubmit struct {
		Quote         Quote     `json:"quote"`
		UserSignature api.Bytes `json:"user_signature"`
	}
	RfqSettle struct {
		ThesisID uint64 `json:"thesis_id"`
	}
	SystemSettle struct {
		ThesisID   uint64     `json:"thesis_id"`
		Settlement Settlement `json:"settlement"`
	}
	Admin struct {
		Action      string         `json:"action"`
		Account     *chain.Address `json:"account,omitempty"`
		Permissions []string       `json:"permissions,omitempty"`
		Base        *chain.Address `json:"base,omitempty"`
		Quote       *chain.Address `json:"quote,omitempty"`
		Name        string         `json:"name,omitempty"`
		Limits      *Limits        `json:"limits,omitempty"`
		ThesisID    *uint64        `json:"thesis_id,omitempty"`
	}
)

// Quote is a solver's offer, as the RPC and the solver's own interface write it.
type Quote struct {
	ThesisType uint8         `json:"thesis_type"`
	Base       chain.Address `json:"base"`
	Quote      chain.Address `json:"quote"`
	Lower      api.Amount    `json:"lower"`
	Upper      api.Amount    `json:"upper"`
	BetAmount  api.Amount    `json:"bet_amount"`
	Payout     api.Amount    `json:"payout"`
	Start      uint64        `json:"start"`
	End        uint64        `json:"end"`
	Deadline   uint64        `json:"deadline"`
	User       chain.Address `json:"user"`
	Solver     chain.Address `json:"solver"`
	Salt       api.Amount    `json:"salt"`
}

// Settlement is what a settler claims; the breach is there for SolverWins only.
type Settlement struct {
	Outcome         string      `json:"outcome"`
	BreachTimestamp *uint64     `json:"breach_timestamp,omitempty"`
	BreachPrice     *api.Amount `json:"breach_price,omitempty"`
}

// Limits are what a market allows.
type Limits struct {
	MinBet          api.Amount `json:"min_bet"`
	MaxBet          api.Amount `json:"max_bet"`
	MaxOpenInterest api.Amount `json:"max_open_interest"`
}

// ErrMalformed says that bytes are no transaction of the market.
var ErrMalformed = errors.New("malformed transaction")

// kinds and actions are named in the order of their tags.
var (
	kinds = [...]string{"Transfer", "NominateApiWallet", "RevokeApiWallet", "Deposit", "Withdraw", "ProcessWithdrawal", "RfqSubmit", "RfqSettle", "SystemSettle", "Admin"}

	actions = [...]string{"GrantPermissions", "RevokePermissions", "PauseSystem", "UnpauseSystem", "PauseMarket", "UnpauseMarket", "AddMarket", "SetMarketLimits", "BlacklistAdd", "BlacklistRemove", "CancelThesis"}

	outcomes = [...]string{"UserWins", "SolverWins", "Void"}
)

// name is the tag's name; one that a later module knows is its number.
func name(names []string, tag uint8) string {
	if int(tag) < len(names) {
		return names[tag]
	}
	return fmt.Sprint(tag)
}

// Decode reads a transaction.
func Decode(raw []byte) (*Transaction, error) {
	var t tx.Transaction
	if !tx.Decode(raw, &t) {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(raw))
	}
	return &Transaction{Kind: name(kinds[:], uint8(t.Kind)), From: t.From, Timestamp: t.Timestamp, Payload: payload(&t), Signature: t.Signature[:]}, nil
}

func payload(t *tx.Transaction) any {
	switch t.Kind {
	case tx.KindTransfer:
		return Transfer{To: t.Transfer.To, Amount: api.Amount(t.Transfer.Amount)}
	case tx.KindNominateApiWallet:
		return NominateApiWallet{Wallet: t.NominateApiWallet.Wallet, Expiry: t.NominateApiWallet.Expiry}
	case tx.KindRevokeApiWallet:
		return RevokeApiWallet{Wallet: t.RevokeApiWallet.Wallet}
	case tx.KindDeposit:
		return Deposit{User: t.Deposit.User, Amount: api.Amount(t.Deposit.Amount), ExternalTxHash: t.Deposit.ExternalTxHash}
	case tx.KindWithdraw:
		return Withdraw{Amount: api.Amount(t.Withdraw.Amount), Destination: t.Withdraw.Destination}
	case tx.KindProcessWithdrawal:
		return ProcessWithdrawal{WithdrawalID: t.ProcessWithdrawal.WithdrawalID, ExternalTxHash: t.ProcessWithdrawal.ExternalTxHash}
	case tx.KindRfqSubmit:
		return RfqSubmit{Quote: QuoteOf(&t.RfqSubmit.Quote), UserSignature: t.RfqSubmit.UserSignature[:]}
	case tx.KindRfqSettle:
		return RfqSettle{ThesisID: t.RfqSettle.ThesisID}
	case tx.KindSystemSettle:
		return SystemSettle{ThesisID: t.SystemSettle.ThesisID, Settlement: settlement(&t.SystemSettle.Settlement)}
	case tx.KindAdmin:
		return admin(&t.Admin)
	}
	return nil
}

// QuoteOf renders q.
func QuoteOf(q *tx.Quote) Quote {
	return Quote{
		ThesisType: q.ThesisType, Base: q.Base, Quote: q.Quote, Lower: api.Amount(q.Lower), Upper: api.Amount(q.Upper),
		BetAmount: api.Amount(q.BetAmount), Payout: api.Amount(q.Payout), Start: q.Start, End: q.End, Deadline: q.Deadline,
		User: q.User, Solver: q.Solver, Salt: api.Amount(q.Salt),
	}
}

// Chain is the quote itself.
func (q *Quote) Chain() tx.Quote {
	return tx.Quote{
		ThesisType: q.ThesisType, Base: tx.Address(q.Base), Quote: tx.Address(q.Quote), Lower: uint64(q.Lower), Upper: uint64(q.Upper),
		BetAmount: uint64(q.BetAmount), Payout: uint64(q.Payout), Start: q.Start, End: q.End, Deadline: q.Deadline,
		User: tx.Address(q.User), Solver: tx.Address(q.Solver), Salt: uint64(q.Salt),
	}
}

func settlement(s *tx.Settlement) Settlement {
	v := Settlement{Outcome: name(outcomes[:], uint8(s.Kind))}
	if s.Kind == tx.SolverWins {
		v.BreachTimestamp, v.BreachPrice = &s.BreachTimestamp, (*api.Amount)(&s.BreachPrice)
	}
	return v
}

func admin(a *tx.AdminAction) Admin {
	v := Admin{Action: name(actions[:], uint8(a.Kind))}
	switch a.Kind {
	case tx.GrantPermissions, tx.RevokePermissions:
		v.Permissions = permissions(a.Permissions)
		v.Account = (*chain.Address)(&a.Account)
	case tx.BlacklistAdd, tx.BlacklistRemove:
		v.Account = (*chain.Address)(&a.Account)
	case tx.PauseMarket, tx.UnpauseMarket, tx.AddMarket, tx.SetMarketLimits:
		v.Base, v.Quote, v.Name = (*chain.Address)(&a.Base), (*chain.Address)(&a.Quote), a.Name
	case tx.CancelThesis:
		v.ThesisID = &a.ThesisID
	}
	if a.Kind == tx.AddMarket || a.Kind == tx.SetMarketLimits {
		v.Limits = &Limits{MinBet: api.Amount(a.Limits.MinBet), MaxBet: api.Amount(a.Limits.MaxBet), MaxOpenInterest: api.Amount(a.Limits.MaxOpenInterest)}
	}
	return v
}

func permissions(bits uint8) []string {
	var names []string
	for i, n := range tx.PermissionNames {
		if bits>>i&1 == 1 {
			names = append(names, n)
		}
	}
	return names
}
