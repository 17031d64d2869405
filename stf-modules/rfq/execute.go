package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// Execute implements [sdk.Module].
//
// A transfer, which most transactions are, goes another way to the same state: its
// sender's record is written once. What it comes to is known before anything is
// written, and nothing can fail after that, so all of it is before accept: the
// transfer's writes and event, or the replay record alone.
func (m *Module) Execute(env *sdk.Env, ctx abi.Context, b []byte) abi.Code {
	if code := m.attribute(env, ctx, b, true); code != abi.CodeOK {
		return code
	}
	m = m.kept()
	if m.tx.Kind != tx.KindTransfer || m.wallet != owner {
		return m.execute(env, ctx)
	}
	m.from.remember(ctx.Time, m.tx.Timestamp, &m.typed.Digest)
	first, code := writeFrom, m.checkPause(env)
	if code == abi.CodeOK {
		first, code = m.transfer(env, &m.tx.Transfer)
	}
	m.writes[writeFrom].Resize(m.from.n)
	env.Run(m.writes[first:])
	return code
}

// What a transfer writes, by its place in m.writes: a transfer to oneself begins with
// the second, one that failed with the third.
const (
	writeTo = iota
	writeEvent
	writeFrom
	writeAccept
)

// execute does what may fail after accept.
func (m *Module) execute(env *sdk.Env, ctx abi.Context) abi.Code {
	m.remember(env, ctx)
	env.Accept(&m.typed.Digest)
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
	if pausedKinds>>kind&1 == 0 {
		return m.checkPause(env)
	}
	return abi.CodeOK
}

// pause is whether the system is paused, once it was looked up: the one field in
// memory that lasts from one transaction of a block to the next. Only
// [Module.setSystem] changes what it is about, and forgets it, which also holds if
// the transaction then fails: none asks twice.
type pause uint8

const (
	unknown pause = iota
	running
	paused
)

func (m *Module) checkPause(env *sdk.Env) abi.Code {
	if m.pause == running {
		return abi.CodeOK
	}
	return m.lookUpPause(env)
}

func (m *Module) lookUpPause(env *sdk.Env) abi.Code {
	if m.pause == unknown {
		m.pause = running
		if m.system(env).paused {
			m.pause = paused
		}
	}
	if m.pause == paused {
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

// run does what the payload says, on m.from as it is after accept. A transfer is none
// that comes here: one that an API wallet signed has been refused.
func (m *Module) run(env *sdk.Env, ctx abi.Context) abi.Code {
	switch m.tx.Kind {
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
	case tx.KindAdmin:
		return m.admin(env, ctx, &m.tx.Admin)
	default:
		panic("a payload that nothing executes")
	}
}
