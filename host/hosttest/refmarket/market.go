// Package refmarket is the market a second time: what the protocol page says, in
// plain Go, with maps, slices and linear scans, written without a look at the
// module that a chain runs. Tests run both on the same transactions and compare
// outcomes, events, balances and theses; what they do not agree about is a fault
// in one of them or in the page.
//
// It owns [Market], the reference; [PriceOracle], which knows quotes and prices
// and nothing else; and [Generator], random traffic for both. It imports the
// market's transactions (stf-modules/rfq/tx), its genesis parameters, and for
// signatures host/hosttest/traffic; never package rfq itself, and no package of
// the node may import it.
//
//	m := refmarket.New(genesis)
//	m.BeginBlock(height, time, snapshot)
//	result := m.Apply(refmarket.Read(raw, crypto))      once per transaction
//	err := m.Conserved()                                 after any of them
//
// Everything here belongs to one goroutine.
package refmarket

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Market is the whole state, and the block that is open.
type Market struct {
	challengeMs, maxStaleMs uint64
	settlerEnabled          bool

	height, now   uint64
	snapshotStale bool

	paused      bool
	accounts    map[tx.Address]*account
	markets     []*market
	deposits    map[tx.Hash]bool
	withdrawals []*withdrawal
	theses      []*Thesis
	quotes      map[tx.Hash]bool
	open        []*Thesis // those of theses that are not final
	executed    map[tx.Hash]bool

	genesis, deposited, processed uint64
}

// account is what one address has and may do.
type account struct {
	balance, locked uint64
	permissions     uint8
	blacklisted     bool
	own             window
	wallets         []*wallet
}

// withdrawal is money on its way out; its id is its index + 1.
type withdrawal struct {
	user      tx.Address
	amount    uint64
	processed bool
}

// market is one pair, with every price that was ever recorded for it.
type market struct {
	base, quote tx.Address
	name        string
	paused      bool
	limits      tx.Limits
	openPayouts uint64
	log         []observation
	newest      Price // also one that found no place in the log
}

// New begins a chain: p is what g.Params decodes to.
func New(g *chain.Genesis, p *params.Params) *Market {
	m := &Market{challengeMs: p.ChallengeWindowMs, maxStaleMs: g.MaxStaleMs, settlerEnabled: g.SettlerEnabled,
		accounts: map[tx.Address]*account{}, deposits: map[tx.Hash]bool{}, quotes: map[tx.Hash]bool{}, executed: map[tx.Hash]bool{}}
	for _, a := range p.Accounts {
		m.account(a.Address).balance = a.Balance
		m.account(a.Address).permissions = a.Permissions
		m.genesis += a.Balance
	}
	m.account(tx.Address(g.Settler)).permissions |= tx.PermSettler
	for _, x := range p.Markets {
		m.markets = append(m.markets, &market{base: x.Base, quote: x.Quote, name: x.Name, limits: x.Limits})
	}
	return m
}

func (m *Market) account(a tx.Address) *account {
	if m.accounts[a] == nil {
		m.accounts[a] = &account{}
	}
	return m.accounts[a]
}

// pair finds a market, or nil.
func (m *Market) pair(base, quote tx.Address) *market {
	for _, x := range m.markets {
		if x.base == base && x.quote == quote {
			return x
		}
	}
	return nil
}

// BeginBlock opens a block under a snapshot; it returns the events of the prices
// that were recorded.
func (m *Market) BeginBlock(height, time uint64, s *chain.OracleSnapshot) (events []string) {
	m.height, m.now, m.snapshotStale = height, time, s.Stale
	if s.Stale {
		return nil
	}
	for _, p := range s.Prices {
		x := m.pair(tx.Address(p.Base), tx.Address(p.Quote))
		if x == nil || p.Price == 0 || p.Timestamp > time || time-p.Timestamp > m.maxStaleMs || p.Timestamp <= x.newest.Timestamp {
			continue
		}
		if x.observe(Price{Timestamp: p.Timestamp, Price: p.Price}) {
			events = append(events, event("price", "base", x.base, "quote", x.quote, "timestamp", p.Timestamp, "price", p.Price))
		}
	}
	return events
}

// Input is a transaction and what its bytes alone say about it.
type Input struct {
	WellFormed bool
	Tx         tx.Transaction
	ID         tx.Hash
	Signer     tx.Address // who signed the transaction
	SignerOK   bool       // the signature is one
	QuoteHash  tx.Hash    // RfqSubmit only, as the next two
	User       tx.Address // who signed the quote
	UserOK     bool
}

var hasher tx.Hasher

// Read decodes a transaction and recovers its signers.
func Read(raw []byte, crypto stf.Crypto) (in Input) {
	if in.WellFormed = tx.Decode(raw, &in.Tx); !in.WellFormed {
		return in
	}
	k := traffic.Keccak{Crypto: crypto}
	in.ID = hasher.Digest(k, &in.Tx)
	in.Signer, in.SignerOK = recoverSigner(crypto, in.ID, in.Tx.Signature)
	if in.Tx.Kind == tx.KindRfqSubmit {
		in.QuoteHash = hasher.QuoteHash(k, &in.Tx.RfqSubmit.Quote)
		in.User, in.UserOK = recoverSigner(crypto, hasher.QuoteDigest(k, &in.Tx.RfqSubmit.Quote), in.Tx.RfqSubmit.UserSignature)
	}
	return in
}

func recoverSigner(crypto stf.Crypto, digest tx.Hash, sig tx.Signature) (tx.Address, bool) {
	a, ok := crypto.Recover(&digest, &sig)
	return tx.Address(a), ok
}

// Result is what a transaction came to.
type Result struct {
	Refused bool     // it belongs in no block
	Error   string   // the error's name, "" for success
	Events  []string // type, then name=value of each field
}

// failure is an error's name on its way up.
type failure string

// fail ends a transaction.
func fail(name string) { panic(failure(name)) }

func failIf(bad bool, name string) {
	if bad {
		fail(name)
	}
}

// Apply runs one transaction. Every payload checks all it has to before it
// changes anything.
func (m *Market) Apply(in Input) (r Result) {
	r.Refused = true
	defer func() {
		if v := recover(); v != nil {
			name, ok := v.(failure)
			if !ok {
				panic(v)
			}
			r.Error, r.Events = string(name), nil
		}
	}()
	signer := m.admit(&in)
	r.Refused = false
	if m.executed[in.ID] {
		panic(fmt.Sprintf("transaction %x is executed a second time", in.ID))
	}
	m.executed[in.ID] = true
	m.rights(&in.Tx, signer != in.Tx.From)
	r.Events = m.payload(&in)
	return r
}

// rights are the checks before those of the payload.
func (m *Market) rights(t *tx.Transaction, byWallet bool) {
	failIf(byWallet && t.Kind != tx.KindRevokeApiWallet && t.Kind != tx.KindRfqSubmit && t.Kind != tx.KindRfqSettle, "ApiWalletNotAllowed")
	need := map[tx.Kind]uint8{tx.KindDeposit: tx.PermRelayer, tx.KindProcessWithdrawal: tx.PermRelayer,
		tx.KindSystemSettle: tx.PermSettler, tx.KindAdmin: tx.PermAdmin}[t.Kind]
	failIf(m.account(t.From).permissions&need != need, "Unauthorized")
	settles := t.Kind == tx.KindSystemSettle || t.Kind == tx.KindRfqSettle
	failIf(m.paused && t.Kind != tx.KindAdmin && t.Kind != tx.KindRevokeApiWallet && !settles, "SystemPaused")
}

func (m *Market) payload(in *Input) []string {
	t := &in.Tx
	switch t.Kind {
	case tx.KindTransfer:
		return m.transfer(t.From, t.Transfer)
	case tx.KindNominateApiWallet:
		return m.nominate(t.From, t.NominateApiWallet)
	case tx.KindRevokeApiWallet:
		return m.revoke(t.From, t.RevokeApiWallet)
	case tx.KindDeposit:
		return m.deposit(t.Deposit)
	case tx.KindWithdraw:
		return m.withdraw(t.From, t.Withdraw)
	case tx.KindProcessWithdrawal:
		return m.processWithdrawal(t.ProcessWithdrawal)
	case tx.KindRfqSubmit:
		return m.submit(in)
	case tx.KindRfqSettle:
		return m.rfqSettle(t.From, t.RfqSettle.ThesisID)
	case tx.KindSystemSettle:
		return m.systemSettle(t.From, t.SystemSettle)
	default:
		return m.admin(t.From, t.Admin)
	}
}

// event renders an event as the tests compare it.
func event(typ string, fields ...any) string {
	var b strings.Builder
	b.WriteString(typ)
	for i := 0; i < len(fields); i += 2 {
		switch v := fields[i+1].(type) {
		case tx.Address, tx.Hash:
			fmt.Fprintf(&b, " %s=0x%x", fields[i], v)
		default:
			fmt.Fprintf(&b, " %s=%v", fields[i], v)
		}
	}
	return b.String()
}

// AccountView is an account as anybody may see it.
type AccountView struct {
	Balance, Locked uint64
	Permissions     uint8
	Blacklisted     bool
	Signers         []tx.Address // wallets that may sign now, ascending
}

// Account returns an account; one that nobody ever touched is empty.
func (m *Market) Account(a tx.Address) (v AccountView) {
	x := m.accounts[a]
	if x == nil {
		return v
	}
	v = AccountView{Balance: x.balance, Locked: x.locked, Permissions: x.permissions, Blacklisted: x.blacklisted}
	for _, w := range x.wallets {
		if m.maySign(w) {
			v.Signers = append(v.Signers, w.address)
		}
	}
	slices.SortFunc(v.Signers, func(a, b tx.Address) int { return strings.Compare(string(a[:]), string(b[:])) })
	return v
}

// Addresses are all accounts that were ever touched, ascending.
func (m *Market) Addresses() (all []tx.Address) {
	for a := range m.accounts {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b tx.Address) int { return strings.Compare(string(a[:]), string(b[:])) })
	return all
}

// Theses are all theses ever, in the order of their ids from 1.
func (m *Market) Theses() []*Thesis { return m.theses }

// Open are the theses that are not final, in the order of their ids.
func (m *Market) Open() []*Thesis { return m.open }

// OpenOf are the ids of the named market's open theses, by when they are due.
func (m *Market) OpenOf(name string) (ids []uint64) {
	open := slices.DeleteFunc(slices.Clone(m.open), func(t *Thesis) bool { return t.market.name != name })
	slices.SortStableFunc(open, func(a, b *Thesis) int { return compare(m.Due(a), m.Due(b)) })
	for _, t := range open {
		ids = append(ids, t.ID)
	}
	return ids
}

// MarketView is a market as anybody may see it.
type MarketView struct {
	Name         string
	Paused       bool
	Limits       tx.Limits
	OpenInterest uint64
	OpenTheses   uint64
}

// MarketAt returns the i-th market.
func (m *Market) MarketAt(i int) MarketView {
	x := m.markets[i]
	v := MarketView{Name: x.name, Paused: x.paused, Limits: x.limits, OpenInterest: x.openPayouts}
	for _, t := range m.open {
		if t.market == x {
			v.OpenTheses++
		}
	}
	return v
}

// Totals is where all the money is.
type Totals struct {
	Genesis, Deposits, Processed, Pending, Escrow, Balances uint64
}

// Totals adds everything up.
func (m *Market) Totals() Totals {
	t := Totals{Genesis: m.genesis, Deposits: m.deposited, Processed: m.processed}
	for _, a := range m.accounts {
		t.Balances += a.balance
	}
	for _, x := range m.open {
		t.Escrow += x.Quote.Payout
	}
	for _, w := range m.withdrawals {
		if !w.processed {
			t.Pending += w.amount
		}
	}
	return t
}

// Conserved checks that no value was made or lost: in the sum, in what each
// account has locked, and in each market's open interest.
func (m *Market) Conserved() error {
	t := m.Totals()
	if t.Balances+t.Escrow+t.Pending != t.Deposits-t.Processed+t.Genesis {
		return fmt.Errorf("balances, escrow and pending are not deposits - processed + genesis: %+v", t)
	}
	locked := map[tx.Address]uint64{}
	interest := map[*market]uint64{}
	for _, x := range m.open {
		locked[x.Quote.User] += x.Quote.BetAmount
		locked[x.Quote.Solver] += x.Quote.Payout - x.Quote.BetAmount
		interest[x.market] += x.Quote.Payout
	}
	for a, x := range m.accounts {
		if x.locked != locked[a] {
			return fmt.Errorf("account %x has %d locked, its open theses hold %d", a, x.locked, locked[a])
		}
	}
	for _, x := range m.markets {
		if x.openPayouts != interest[x] {
			return fmt.Errorf("market %s has open interest %d, its open theses %d", x.name, x.openPayouts, interest[x])
		}
	}
	return nil
}
