package rfq_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

var modelTxs = flag.Int("txs", 20_000, "random transactions to compare with the model")

const twoDays = 2 * 24 * 3600 * 1000

// model is the market without theses (package host/hosttest/refmarket has those) as
// one would write it down without caring about state, bytes or speed.
type model struct {
	accounts    map[tx.Address]*modelAccount
	deposits    map[tx.Hash]bool
	withdrawals []*modelWithdrawal
	markets     map[string]bool // "base/quote" and names
	paused      bool
	supply      uint64 // genesis and deposits
	processed   uint64
	executed    map[tx.Hash]bool
	hasher      tx.Hasher
	scheme      traffic.Scheme
}

type modelAccount struct {
	balance     uint64
	perms       uint8
	blacklisted bool
	wallets     []*modelWallet
	own         modelWindow
}

type modelWallet struct {
	address tx.Address
	expiry  uint64
	revoked bool
	window  modelWindow
}

type modelWithdrawal struct {
	amount    uint64
	processed bool
}

// modelWindow is what is known about a signer: nothing below from is taken.
type modelWindow struct {
	from   uint64
	stamps []uint64
}

// visible are the stamps within the time window.
func (w *modelWindow) visible(now uint64) (v []uint64) {
	for _, s := range w.stamps {
		if s+twoDays >= now {
			v = append(v, s)
		}
	}
	slices.Sort(v)
	return v
}

func (w *modelWindow) full(now, ts uint64) bool {
	v := w.visible(now)
	return len(v) == 80 && ts <= v[0]
}

func (w *modelWindow) add(now, ts uint64) {
	v := w.visible(now)
	if len(v) == 80 {
		w.from = v[0] + 1
		v = slices.DeleteFunc(v, func(s uint64) bool { return s < w.from })
	}
	w.stamps = append(v, ts)
}

func newModel(g *traffic.Generator) *model {
	m := &model{accounts: map[tx.Address]*modelAccount{}, deposits: map[tx.Hash]bool{}, markets: map[string]bool{}, executed: map[tx.Hash]bool{}, scheme: g.Scheme}
	p := g.Params()
	for _, a := range p.Accounts {
		m.account(a.Address).balance, m.account(a.Address).perms = a.Balance, a.Permissions
		m.supply += a.Balance
	}
	m.account(g.Address(traffic.Settler)).perms |= tx.PermSettler
	for _, v := range p.Markets {
		m.addMarket(v.Base, v.Quote, v.Name)
	}
	return m
}

func (m *model) addMarket(base, quote tx.Address, name string) {
	m.markets[pair(base, quote)], m.markets[name] = true, true
}

func pair(base, quote tx.Address) string { return fmt.Sprintf("%x/%x", base, quote) }

func (m *model) account(a tx.Address) *modelAccount {
	if m.accounts[a] == nil {
		m.accounts[a] = &modelAccount{}
	}
	return m.accounts[a]
}

// run says what has to come of a transaction, and does it.
func (m *model) run(now uint64, raw []byte) (refused bool, name string) {
	var t tx.Transaction
	if !tx.Decode(raw, &t) {
		return true, "MalformedTransaction"
	}
	if t.Timestamp+twoDays < now && t.Timestamp < now || t.Timestamp > now+twoDays {
		return true, "InvalidTimestamp"
	}
	id := m.hasher.Digest(traffic.Keccak{Crypto: m.scheme}, &t)
	signer, ok := m.scheme.Recover(&id, &t.Signature)
	if !ok {
		return true, "InvalidSignature"
	}
	a := &modelAccount{}
	if m.accounts[t.From] != nil {
		a = m.accounts[t.From]
	}
	own, ok := a.signer(tx.Address(signer), t.From, now)
	if !ok {
		return true, "InvalidSignature"
	}
	if name := m.replay(a, own, now, t.Timestamp, id); name != "" {
		return true, name
	}
	m.accounts[t.From] = a
	own.add(now, t.Timestamp)
	m.executed[id] = true
	return false, m.payload(now, a, own != &a.own, &t)
}

func (a *modelAccount) signer(signer, from tx.Address, now uint64) (*modelWindow, bool) {
	if signer == from {
		return &a.own, true
	}
	for _, w := range a.wallets {
		if w.address == signer {
			return &w.window, !w.revoked && (w.expiry == 0 || now < w.expiry)
		}
	}
	return nil, false
}

// replay decides by everything that was ever executed; only where that is not
// known any more does it decide by the windows.
func (m *model) replay(a *modelAccount, own *modelWindow, now, ts uint64, id tx.Hash) string {
	windows := []*modelWindow{&a.own}
	for _, w := range a.wallets {
		windows = append(windows, &w.window)
	}
	for _, w := range windows {
		if ts < w.from || w == own && w.full(now, ts) {
			if m.executed[id] && ts >= w.from {
				return "DuplicateTransaction"
			}
			return "InvalidTimestamp or DuplicateTransaction"
		}
	}
	if m.executed[id] {
		return "DuplicateTransaction"
	}
	return ""
}

func (m *model) payload(now uint64, a *modelAccount, byWallet bool, t *tx.Transaction) string {
	k := t.Kind
	if byWallet && k != tx.KindRevokeApiWallet && k != tx.KindRfqSubmit && k != tx.KindRfqSettle {
		return "ApiWalletNotAllowed"
	}
	need := map[tx.Kind]uint8{tx.KindDeposit: 2, tx.KindProcessWithdrawal: 2, tx.KindSystemSettle: 4, tx.KindAdmin: 1}[k]
	if a.perms&need != need {
		return "Unauthorized"
	}
	if m.paused && k != tx.KindAdmin && k != tx.KindRevokeApiWallet {
		return "SystemPaused"
	}
	switch k {
	case tx.KindTransfer:
		return m.transfer(a, t)
	case tx.KindNominateApiWallet:
		return m.nominate(now, a, t)
	case tx.KindRevokeApiWallet:
		for _, w := range a.wallets {
			if w.address == t.RevokeApiWallet.Wallet && !w.revoked {
				w.revoked = true
				return "ok"
			}
		}
		return "ApiWalletNotFound"
	case tx.KindDeposit:
		return m.deposit(&t.Deposit)
	case tx.KindWithdraw:
		return m.withdraw(a, t.Withdraw.Amount)
	case tx.KindProcessWithdrawal:
		return m.process(t.ProcessWithdrawal.WithdrawalID)
	default:
		return m.admin(&t.Admin)
	}
}

func spend(a *modelAccount, amount uint64) string {
	switch {
	case amount == 0:
		return "InvalidAmount"
	case a.blacklisted:
		return "UserBlacklisted"
	case a.balance < amount:
		return "InsufficientBalance"
	}
	return ""
}

func (m *model) transfer(a *modelAccount, t *tx.Transaction) string {
	if name := spend(a, t.Transfer.Amount); name != "" {
		return name
	}
	if to := m.accounts[t.Transfer.To]; to != nil && to.blacklisted {
		return "UserBlacklisted"
	}
	a.balance -= t.Transfer.Amount
	m.account(t.Transfer.To).balance += t.Transfer.Amount
	return "ok"
}

func (m *model) nominate(now uint64, a *modelAccount, t *tx.Transaction) string {
	n := t.NominateApiWallet
	if n.Wallet == t.From || n.Wallet == (tx.Address{}) || n.Expiry != 0 && n.Expiry <= now {
		return "InvalidApiWallet"
	}
	for _, w := range a.wallets {
		if w.address == n.Wallet {
			w.expiry, w.revoked = n.Expiry, false
			return "ok"
		}
	}
	if len(a.wallets) < 16 {
		a.wallets = append(a.wallets, &modelWallet{address: n.Wallet, expiry: n.Expiry})
		return "ok"
	}
	for i, w := range a.wallets {
		usable := !w.revoked && (w.expiry == 0 || now < w.expiry)
		if !usable && !slices.ContainsFunc(w.window.stamps, func(s uint64) bool { return s+twoDays >= now }) {
			a.wallets[i] = &modelWallet{address: n.Wallet, expiry: n.Expiry}
			return "ok"
		}
	}
	return "ApiWalletLimit"
}

func (m *model) deposit(d *tx.Deposit) string {
	switch {
	case d.Amount == 0:
		return "InvalidAmount"
	case m.deposits[d.ExternalTxHash]:
		return "DepositAlreadyProcessed"
	case m.supply > ^uint64(0)-d.Amount:
		return "SupplyOverflow"
	}
	m.deposits[d.ExternalTxHash] = true
	m.supply += d.Amount
	m.account(d.User).balance += d.Amount
	return "ok"
}

func (m *model) withdraw(a *modelAccount, amount uint64) string {
	if name := spend(a, amount); name != "" {
		return name
	}
	a.balance -= amount
	m.withdrawals = append(m.withdrawals, &modelWithdrawal{amount: amount})
	return "ok"
}

func (m *model) process(id uint64) string {
	switch {
	case id == 0 || id > uint64(len(m.withdrawals)):
		return "WithdrawalNotFound"
	case m.withdrawals[id-1].processed:
		return "WithdrawalAlreadyProcessed"
	}
	m.withdrawals[id-1].processed = true
	m.processed += m.withdrawals[id-1].amount
	return "ok"
}

func (m *model) admins() (n int) {
	for _, a := range m.accounts {
		n += int(a.perms & 1)
	}
	return n
}

func (m *model) admin(a *tx.AdminAction) string {
	limitsOK := a.Limits.MinBet > 0 && a.Limits.MinBet <= a.Limits.MaxBet && a.Limits.MaxBet < a.Limits.MaxOpenInterest
	switch a.Kind {
	case tx.GrantPermissions:
		if a.Permissions == 0 || a.Permissions > 7 {
			return "InvalidPermissions"
		}
		m.account(a.Account).perms |= a.Permissions
	case tx.RevokePermissions:
		if a.Permissions == 0 || a.Permissions > 7 {
			return "InvalidPermissions"
		}
		if m.accounts[a.Account] != nil && m.accounts[a.Account].perms&a.Permissions&1 == 1 && m.admins() == 1 {
			return "LastAdmin"
		}
		m.account(a.Account).perms &^= a.Permissions
	case tx.PauseSystem, tx.UnpauseSystem:
		m.paused = a.Kind == tx.PauseSystem
	case tx.BlacklistAdd, tx.BlacklistRemove:
		m.account(a.Account).blacklisted = a.Kind == tx.BlacklistAdd
	case tx.AddMarket:
		if a.Base == a.Quote || a.Name == "" || a.Name == "A B" || !limitsOK {
			return "InvalidMarket"
		}
		if m.markets[pair(a.Base, a.Quote)] || m.markets[a.Name] {
			return "MarketExists"
		}
		m.addMarket(a.Base, a.Quote, a.Name)
	case tx.CancelThesis:
		return "ThesisNotFound"
	default:
		if !m.markets[pair(a.Base, a.Quote)] {
			return "InvalidOraclePair"
		}
		if a.Kind == tx.SetMarketLimits && !limitsOK {
			return "InvalidMarket"
		}
	}
	return "ok"
}

// TestAgainstModel runs random transactions through the module and the model:
// every outcome, every balance, and after each transaction the conservation of
// money.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := traffic.New(seed, traffic.Fake{})
			g.NoTheses = true
			w, m := newWorld(t, g, nil), newModel(g)
			seen := map[string]int{}
			for i := range *modelTxs / 4 {
				if i%40 == 0 {
					step := uint64(100)
					if i%2000 == 0 {
						step = g.Rand.Uint64N(3 * twoDays)
					}
					w.block(w.ctx.Time+step, g.Oracle(w.ctx.Time+step))
				}
				raw := g.Next(w.ctx.Time)
				refused, want := m.run(w.ctx.Time, raw)
				got := w.raw(raw)
				if got.refused != refused || got.name != want && !(refused && containsName(want, got.name)) {
					t.Fatalf("transaction %d: %s %q, refused %v, the model says %s, %v", i, got.name, got.detail, got.refused, want, refused)
				}
				seen[got.name]++
				conserved(t, w, m)
			}
			compareAccounts(t, w, m)
			t.Logf("%v", seen)
		})
	}
}

func containsName(want, got string) bool {
	return want == "InvalidTimestamp or DuplicateTransaction" && (got == "InvalidTimestamp" || got == "DuplicateTransaction")
}

// conserved adds up the account records themselves and compares them with the
// totals that the module keeps.
func conserved(t *testing.T, w *world, m *model) {
	t.Helper()
	var balances, locked uint64
	for k, v := range w.state.m {
		if k[0] == 'a' {
			balances += binary.LittleEndian.Uint64([]byte(v))
			locked += binary.LittleEndian.Uint64([]byte(v[8:]))
		}
	}
	var sums [6]uint64 // genesis, deposits, processed, pending, escrow, balances
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint64([]byte(w.state.m["b"][8*i:]))
	}
	if balances != sums[5] || locked != sums[4] {
		t.Fatalf("accounts hold %d and %d locked, totals say %d and %d", balances, locked, sums[5], sums[4])
	}
	if balances+sums[4]+sums[3] != sums[1]-sums[2]+sums[0] || sums[0]+sums[1] != m.supply || sums[2] != m.processed {
		t.Fatalf("value was created or lost: %v, the model has %d supplied, %d paid out", sums, m.supply, m.processed)
	}
}

func compareAccounts(t *testing.T, w *world, m *model) {
	t.Helper()
	for address, a := range m.accounts {
		got := w.query(query.Account(address))
		if got["balance"] != fmt.Sprint(a.balance) || got["blacklisted"] != a.blacklisted || len(got["permissions"].([]any)) != bits(a.perms) {
			t.Errorf("account %x is %v, the model has %+v", address, got, a)
		}
		live := 0
		for _, w := range a.wallets {
			if !w.revoked {
				live++
			}
		}
		if n := len(got["api_wallets"].([]any)); n != live {
			t.Errorf("account %x has %d API wallets, the model has %d", address, n, live)
		}
	}
	if got := w.query(query.Totals()); got["conserved"] != true {
		t.Errorf("totals: %v", got)
	}
}

func bits(v uint8) (n int) {
	for ; v != 0; v &= v - 1 {
		n++
	}
	return n
}
