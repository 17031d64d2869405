package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// Execute implements [sdk.Module].
func (m *Module) Execute(env *sdk.Env, ctx abi.Context, b []byte) abi.Code {
	if code := m.attribute(env, ctx, b); code != abi.CodeOK {
		return code
	}
	m.remember(env, ctx)
	env.Accept(&m.id)
	if code := m.authorize(env); code != abi.CodeOK {
		return code
	}
	return m.run(env, ctx)
}

// walletKinds are the payloads that an API wallet may sign, as bits.
const walletKinds = 1<<tx.KindRevokeApiWallet | 1<<tx.KindRfqSubmit | 1<<tx.KindRfqSettle

// pausedKinds are the payloads that go through while the system is paused: what
// is needed to end the pause, and to take a stolen key's rights away; and
// settling, because prices go on and their history is short: a pause that kept
// theses from being settled would decide them.
const pausedKinds = 1<<tx.KindAdmin | 1<<tx.KindRevokeApiWallet | 1<<tx.KindRfqSettle | 1<<tx.KindSystemSettle

// needs is the permission that a payload asks of its sender, or 0.
var needs = [...]uint8{
	tx.KindDeposit:           tx.PermRelayer,
	tx.KindProcessWithdrawal: tx.PermRelayer,
	tx.KindSystemSettle:      tx.PermSettler,
	tx.KindAdmin:             tx.PermAdmin,
}

// authorize decides whether the signer may do this at all.
func (m *Module) authorize(env *sdk.Env) abi.Code {
	kind := m.tx.Kind
	if m.wallet != owner && walletKinds>>kind&1 == 0 {
		return env.Fail(CodeApiWalletNotAllowed, env.Text("API wallets may sign RevokeApiWallet, RfqSubmit and RfqSettle only"))
	}
	if need := needs[kind]; need != 0 && !m.from.may(need) {
		return env.Fail(CodeUnauthorized, permissionText(env.Text("").Hex(m.tx.From[:]).Str(" lacks the permission "), need))
	}
	if pausedKinds>>kind&1 == 0 && m.paused(env) {
		return env.Fail(CodeSystemPaused, env.Text("an admin has paused the system"))
	}
	return abi.CodeOK
}

func permissionText(t sdk.Text, bits uint8) sdk.Text {
	for i, name := range tx.PermissionNames {
		if bits>>i&1 == 1 {
			return t.Str(name)
		}
	}
	return t
}

// run does what the payload says, on m.from as it is after accept.
func (m *Module) run(env *sdk.Env, ctx abi.Context) abi.Code {
	switch m.tx.Kind {
	case tx.KindTransfer:
		return m.transfer(env, &m.tx.Transfer)
	case tx.KindNominateApiWallet:
		return m.nominate(env, ctx, &m.tx.NominateApiWallet)
	case tx.KindRevokeApiWallet:
		return m.revoke(env, &m.tx.RevokeApiWallet)
	case tx.KindDeposit:
		return m.deposit(env, ctx, &m.tx.Deposit)
	case tx.KindWithdraw:
		return m.withdraw(env, ctx, &m.tx.Withdraw)
	case tx.KindProcessWithdrawal:
		return m.processWithdrawal(env, &m.tx.ProcessWithdrawal)
	case tx.KindRfqSubmit:
		return m.submit(env, ctx, &m.tx.RfqSubmit)
	case tx.KindRfqSettle:
		return m.rfqSettle(env, ctx, m.tx.RfqSettle.ThesisID)
	case tx.KindSystemSettle:
		return m.systemSettle(env, ctx, &m.tx.SystemSettle)
	default:
		return m.admin(env, ctx, &m.tx.Admin)
	}
}
