package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// attribute decides whether a transaction may be in a block at all: admit and
// execute both ask it, so that one never lets through what the other refuses. On
// success m.tx (but for its signature), m.typed, m.from, m.wallet and m.signed are set.
// With receiver, m.reads has the record of a transfer's receiver, for m.other.
//
// What decides about an ordinary transaction is written out here; what is rarely so
// is left to functions of its own, because calls are what costs inside a guest.
func (m *Module) attribute(env *sdk.Env, ctx abi.Context, b []byte, receiver bool) abi.Code {
	m = m.kept()
	t := &m.tx
	sig := tx.DecodeUnsigned(b, t)
	if sig == nil {
		return malformed(env, b)
	}
	if max(t.Timestamp, ctx.Time)-min(t.Timestamp, ctx.Time) > MaxSkewMs {
		return m.farTime(env, ctx)
	}
	m.lookUp(env, t, sig, receiver)
	m = m.kept()
	t = &m.tx
	if m.reads[readSigner].Answer() == 0 {
		return env.Fail(m.badSignature(), env.Text("r, s, v do not form a valid low-s signature with v in 0, 1, 27, 28"))
	}
	m.from.loaded(&m.reads[readFrom])
	m.wallet = owner
	if !abi.Same20(&m.typed.Signer, &t.From) {
		if code := m.findWallet(env, ctx); code != abi.CodeOK {
			return code
		}
	}
	w := m.from.window()
	if m.from.wallets() == 0 && t.Timestamp > w.newest() && t.Timestamp >= w.from() {
		return abi.CodeOK // newer than all that its one possible signer has sent
	}
	return m.checkReplay(env, ctx)
}

// What [Module.lookUp] reads, by its place in m.reads.
const (
	readSigner = iota // and the digest
	readFrom
	readTo
)

// lookUp asks the host in one batch for the signer and the sender's record, and for the
// record of a transfer's receiver if that is wanted.
func (m *Module) lookUp(env *sdk.Env, t *tx.Transaction, sig *tx.Signature, receiver bool) {
	m.reads[readSigner].Signed(m.hasher.Words(env, t), sig)
	m.from.is(&t.From)
	n := readTo
	if receiver && t.Kind == tx.KindTransfer {
		m.other.is(&t.Transfer.To)
		n = readTo + 1
	}
	env.Run(m.reads[:n])
}

// farTime refuses a timestamp more than MaxSkewMs from the block's time.
func (m *Module) farTime(env *sdk.Env, ctx abi.Context) abi.Code {
	return env.Fail(CodeInvalidTimestamp, env.Text("timestamp ").U64(m.tx.Timestamp).Str(" is more than 2 days from the block's time ").U64(ctx.Time))
}

// badSignature is the code of a signature that is not its sender's: the solver's
// under a quote has its own, because it is one of two.
func (m *Module) badSignature() abi.Code {
	if m.tx.Kind == tx.KindRfqSubmit && m.tx.From == m.tx.RfqSubmit.Quote.Solver {
		return CodeInvalidSolverSignature
	}
	return CodeInvalidSignature
}

// findWallet sets m.wallet: a signer that is not the account must be a usable API
// wallet of it.
func (m *Module) findWallet(env *sdk.Env, ctx abi.Context) abi.Code {
	detail := env.Text("signed by ").Hex(m.typed.Signer[:])
	i := m.from.findWallet(&m.typed.Signer)
	if i < 0 {
		return env.Fail(m.badSignature(), detail.Str(", which is neither the sender ").Hex(m.tx.From[:]).Str(" nor one of its API wallets"))
	}
	w := m.from.walletAt(i)
	switch {
	case w.Revoked:
		return env.Fail(m.badSignature(), detail.Str(", an API wallet that was revoked"))
	case !w.usable(ctx.Time):
		return env.Fail(m.badSignature(), detail.Str(", an API wallet that expired at ").U64(w.Expiry))
	}
	m.wallet = i
	return abi.CodeOK
}

// checkReplay looks for the transaction in the replay windows of every signer of
// the account, since two of them can sign the same one. What a window has
// forgotten may have been this transaction, so each window's from counts for all; being full concerns only the window that the transaction would go into.
func (m *Module) checkReplay(env *sdk.Env, ctx abi.Context) abi.Code {
	code := m.checkWindow(env, ctx, m.from.window(), m.wallet == owner)
	if code != abi.CodeOK || m.from.wallets() == 0 {
		return code
	}
	return m.checkWallets(env, ctx)
}

// checkWallets looks into the replay windows of the account's API wallets.
func (m *Module) checkWallets(env *sdk.Env, ctx abi.Context) abi.Code {
	for i := range m.from.wallets() {
		w := m.from.walletAt(i)
		b, ok := env.Get(m.walletKey(&m.tx.From, &w.Address))
		if i == m.wallet {
			m.signed.load(b, ok)
			b, ok = m.signed.window(), true
		}
		if !ok {
			continue
		}
		if code := m.checkWindow(env, ctx, b, i == m.wallet); code != abi.CodeOK {
			return code
		}
	}
	return abi.CodeOK
}

func (m *Module) checkWindow(env *sdk.Env, ctx abi.Context, w window, own bool) abi.Code {
	ts := m.tx.Timestamp
	if ts <= w.newest() && w.has(ts, &m.typed.Digest) {
		return env.Fail(CodeDuplicateTransaction, env.Text("transaction ").Hex(m.typed.Digest[:]).Str(" has been executed"))
	}
	from := w.from()
	if own && w.count() == windowEntries {
		from = w.open(ctx.Time)
	}
	if ts >= from {
		return abi.CodeOK
	}
	return env.Fail(CodeInvalidTimestamp, env.Text("timestamp ").U64(ts).Str(" is older than the last ").U64(windowEntries).
		Str(" transactions of a signer of this account: sign again with ").U64(from).Str(" or later"))
}

// remember writes the transaction into its signer's replay window.
func (m *Module) remember(env *sdk.Env, ctx abi.Context) {
	if m.wallet == owner {
		m.from.remember(ctx.Time, m.tx.Timestamp, &m.typed.Digest)
		m.from.write(env)
		return
	}
	m.signed.n = len(m.signed.window().insert(ctx.Time, m.tx.Timestamp, &m.typed.Digest))
	env.Set(m.walletKey(&m.tx.From, &m.typed.Signer), m.signed.window())
}
