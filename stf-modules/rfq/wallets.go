package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// nominate lets a wallet sign, or changes the expiry of one that may.
func (m *Module) nominate(env *sdk.Env, ctx abi.Context, t *tx.NominateApiWallet) abi.Code {
	switch {
	case t.Wallet == m.tx.From || t.Wallet == tx.Address{}:
		return env.Fail(CodeInvalidApiWallet, env.Text("").Hex(t.Wallet[:]).Str(" is the account itself or nobody"))
	case t.Expiry != 0 && t.Expiry <= ctx.Time:
		return env.Fail(CodeInvalidApiWallet, env.Text("expiry ").U64(t.Expiry).Str(" is not after the block's time ").U64(ctx.Time))
	}
	w := wallet{Address: t.Wallet, Expiry: t.Expiry}
	if !m.place(env, ctx, w) {
		return env.Fail(CodeApiWalletLimit, env.Text("the account has ").U64(MaxApiWallets).
			Str(" API wallets; revoke one, whose place is free 2 days after the last transaction it signed"))
	}
	m.from.write(env)
	e := append(append(m.newEvent(EventApiWalletNominated), m.tx.From[:]...), t.Wallet[:]...)
	env.Emit(abi.AppendU64(e, t.Expiry))
	return abi.CodeOK
}

// place puts w into the sender's record: over its own entry, at the end, or over
// one that nobody needs any more.
func (m *Module) place(env *sdk.Env, ctx abi.Context, w wallet) bool {
	if i := m.from.findWallet(&w.Address); i >= 0 {
		m.from.setWallet(i, w)
		return true
	}
	if m.from.wallets() < MaxApiWallets {
		m.from.addWallet(w)
		return true
	}
	for i := range m.from.wallets() {
		if old := m.from.walletAt(i); m.forgettable(env, ctx, &old) {
			env.Delete(m.walletKey(&m.tx.From, &old.Address))
			m.from.setWallet(i, w)
			return true
		}
	}
	return false
}

// forgettable reports whether a wallet may not sign any more and everything that
// it has signed is refused for its timestamp alone.
func (m *Module) forgettable(env *sdk.Env, ctx abi.Context, w *wallet) bool {
	if w.usable(ctx.Time) {
		return false
	}
	b, ok := env.Get(m.walletKey(&m.tx.From, &w.Address))
	return !ok || window(b).newest()+MaxSkewMs < ctx.Time
}

// revoke ends a nomination. The wallet's replay window stays: the account's own
// key could sign the same transactions again.
func (m *Module) revoke(env *sdk.Env, t *tx.RevokeApiWallet) abi.Code {
	i := m.from.findWallet(&t.Wallet)
	if i < 0 || m.from.walletAt(i).Revoked {
		return env.Fail(CodeApiWalletNotFound, env.Text("").Hex(t.Wallet[:]).Str(" is no API wallet of ").Hex(m.tx.From[:]))
	}
	w := m.from.walletAt(i)
	w.Revoked = true
	m.from.setWallet(i, w)
	m.from.write(env)
	env.Emit(append(append(m.newEvent(EventApiWalletRevoked), m.tx.From[:]...), t.Wallet[:]...))
	return abi.CodeOK
}
