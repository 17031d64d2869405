package refmarket

import (
	"math/bits"

	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// What an account may have.
const (
	maxApiWallets = 16
	maxMarkets    = params.MaxMarkets
)

func (m *Market) transfer(from tx.Address, p tx.Transfer) []string {
	a := m.account(from)
	failIf(p.Amount == 0, "InvalidAmount")
	failIf(a.blacklisted, "UserBlacklisted")
	failIf(a.balance < p.Amount, "InsufficientBalance")
	failIf(m.account(p.To).blacklisted, "UserBlacklisted")
	a.balance -= p.Amount
	m.account(p.To).balance += p.Amount
	return []string{event("transfer", "from", from, "to", p.To, "amount", p.Amount)}
}

func (m *Market) deposit(p tx.Deposit) []string {
	failIf(p.Amount == 0, "InvalidAmount")
	failIf(m.deposits[p.ExternalTxHash], "DepositAlreadyProcessed")
	_, carry := bits.Add64(m.genesis+m.deposited, p.Amount, 0)
	failIf(carry != 0, "SupplyOverflow")
	m.deposits[p.ExternalTxHash] = true
	m.deposited += p.Amount
	m.account(p.User).balance += p.Amount
	return []string{event("deposited", "user", p.User, "amount", p.Amount, "external_tx_hash", p.ExternalTxHash)}
}

func (m *Market) withdraw(from tx.Address, p tx.Withdraw) []string {
	a := m.account(from)
	failIf(p.Amount == 0, "InvalidAmount")
	failIf(a.blacklisted, "UserBlacklisted")
	failIf(a.balance < p.Amount, "InsufficientBalance")
	a.balance -= p.Amount
	m.withdrawals = append(m.withdrawals, &withdrawal{user: from, amount: p.Amount})
	return []string{event("withdrawal_requested", "withdrawal_id", len(m.withdrawals), "user", from, "amount", p.Amount, "destination", p.Destination)}
}

func (m *Market) processWithdrawal(p tx.ProcessWithdrawal) []string {
	failIf(p.WithdrawalID == 0 || p.WithdrawalID > uint64(len(m.withdrawals)), "WithdrawalNotFound")
	w := m.withdrawals[p.WithdrawalID-1]
	failIf(w.processed, "WithdrawalAlreadyProcessed")
	w.processed = true
	m.processed += w.amount
	return []string{event("withdrawal_processed", "withdrawal_id", p.WithdrawalID, "external_tx_hash", p.ExternalTxHash)}
}

func (m *Market) nominate(from tx.Address, p tx.NominateApiWallet) []string {
	a := m.account(from)
	failIf(p.Wallet == from || p.Wallet == tx.Address{}, "InvalidApiWallet")
	failIf(p.Expiry != 0 && p.Expiry <= m.now, "InvalidApiWallet")
	w := a.wallet(p.Wallet)
	if w == nil {
		w = m.placeFor(a)
		failIf(w == nil, "ApiWalletLimit")
		*w = wallet{address: p.Wallet}
	}
	w.expiry, w.revoked = p.Expiry, false
	return []string{event("api_wallet_nominated", "account", from, "wallet", p.Wallet, "expiry", p.Expiry)}
}

// placeFor finds a place among an account's wallets: a new one while there are
// some, then that of a wallet which can neither sign nor have anything of its
// own repeated any more.
func (m *Market) placeFor(a *account) *wallet {
	if len(a.wallets) < maxApiWallets {
		w := &wallet{}
		a.wallets = append(a.wallets, w)
		return w
	}
	for _, w := range a.wallets {
		if !m.maySign(w) && w.seen.newest+maxSkewMs < m.now {
			return w
		}
	}
	return nil
}

func (m *Market) revoke(from tx.Address, p tx.RevokeApiWallet) []string {
	w := m.account(from).wallet(p.Wallet)
	failIf(w == nil || w.revoked, "ApiWalletNotFound")
	w.revoked = true
	return []string{event("api_wallet_revoked", "account", from, "wallet", p.Wallet)}
}

func (m *Market) admin(from tx.Address, p tx.AdminAction) []string {
	switch p.Kind {
	case tx.GrantPermissions:
		return m.permissions(p.Account, p.Permissions, m.account(p.Account).permissions|p.Permissions)
	case tx.RevokePermissions:
		return m.permissions(p.Account, p.Permissions, m.account(p.Account).permissions&^p.Permissions)
	case tx.PauseSystem, tx.UnpauseSystem:
		m.paused = p.Kind == tx.PauseSystem
		return []string{event("system_paused", "paused", m.paused)}
	case tx.BlacklistAdd, tx.BlacklistRemove:
		m.account(p.Account).blacklisted = p.Kind == tx.BlacklistAdd
		return []string{event("blacklist_changed", "account", p.Account, "blacklisted", p.Kind == tx.BlacklistAdd)}
	case tx.CancelThesis:
		return m.cancel(from, p.ThesisID)
	case tx.AddMarket:
		return m.addMarket(&p)
	default:
		return m.changeMarket(&p)
	}
}

func (m *Market) permissions(a tx.Address, named, after uint8) []string {
	failIf(named == 0 || named&^tx.PermAll != 0, "InvalidPermissions")
	x := m.account(a)
	failIf(x.permissions&tx.PermAdmin != 0 && after&tx.PermAdmin == 0 && m.admins() == 1, "LastAdmin")
	x.permissions = after
	return []string{event("permissions_changed", "account", a, "permissions", after)}
}

func (m *Market) admins() (n int) {
	for _, a := range m.accounts {
		if a.permissions&tx.PermAdmin != 0 {
			n++
		}
	}
	return n
}

func (m *Market) addMarket(p *tx.AdminAction) []string {
	failIf(params.CheckMarket(p.Base, p.Quote, p.Name, &p.Limits) != "", "InvalidMarket")
	for _, x := range m.markets {
		failIf(x.name == p.Name || x.base == p.Base && x.quote == p.Quote, "MarketExists")
	}
	failIf(len(m.markets) == maxMarkets, "MarketLimit")
	m.markets = append(m.markets, &market{base: p.Base, quote: p.Quote, name: p.Name, limits: p.Limits})
	return []string{event("market_added", "base", p.Base, "quote", p.Quote, "name", p.Name)}
}

func (m *Market) changeMarket(p *tx.AdminAction) []string {
	x := m.pair(p.Base, p.Quote)
	failIf(x == nil, "InvalidOraclePair")
	switch p.Kind {
	case tx.PauseMarket, tx.UnpauseMarket:
		x.paused = p.Kind == tx.PauseMarket
	case tx.SetMarketLimits:
		failIf(!p.Limits.Valid(), "InvalidMarket")
		x.limits = p.Limits
	}
	return []string{event("market_changed", "base", p.Base, "quote", p.Quote, "paused", x.paused,
		"min_bet", x.limits.MinBet, "max_bet", x.limits.MaxBet, "max_open_interest", x.limits.MaxOpenInterest)}
}
