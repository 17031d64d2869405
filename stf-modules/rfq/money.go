package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// totals is where all the money is:
//
//	balances + escrow + pending = deposits − processed + genesis
//
// after every transaction. genesis + deposits never exceeds 64 bits, so neither
// does any sum of balances.
type totals struct {
	genesis   uint64 // balances that the chain began with
	deposits  uint64 // ever credited
	processed uint64 // withdrawals ever paid out
	pending   uint64 // withdrawals asked for and not paid out
	escrow    uint64 // held by theses
	balances  uint64 // of all accounts
}

// totalsBytes is the size of its record: the fields in their order.
const totalsBytes = 6 * 8

func (m *Module) totals(env *sdk.Env) (t totals) {
	if b, ok := env.Get(m.plainKey(keyTotals)); ok {
		t = totals{genesis: abi.U64(b), deposits: abi.U64(b[8:]), processed: abi.U64(b[16:]),
			pending: abi.U64(b[24:]), escrow: abi.U64(b[32:]), balances: abi.U64(b[40:])}
	}
	return t
}

func (m *Module) setTotals(env *sdk.Env, t *totals) {
	b := (*[totalsBytes]byte)(m.event[:])
	abi.PutU64(b[0:], t.genesis)
	abi.PutU64(b[8:], t.deposits)
	abi.PutU64(b[16:], t.processed)
	abi.PutU64(b[24:], t.pending)
	abi.PutU64(b[32:], t.escrow)
	abi.PutU64(b[40:], t.balances)
	env.Set(m.plainKey(keyTotals), b[:])
}

// transferEvent is the size of a transfer's event.
const transferEvent = 1 + 20 + 20 + 8

// transfer moves money in m.from and m.other, and returns with which of m.writes what
// it comes to begins. One to oneself is checked like any other and moves nothing.
func (m *Module) transfer(env *sdk.Env, t *tx.Transfer) (first int, code abi.Code) {
	if !m.from.maySpend(t.Amount) {
		return writeFrom, m.cannotSpend(env, t.Amount)
	}
	first = writeEvent
	if !abi.Same20(&t.To, &m.tx.From) {
		m.other.loaded(&m.reads[readTo])
		if m.other.blacklisted() {
			return writeFrom, blacklisted(env, &t.To)
		}
		m.other.credit(t.Amount)
		m.writes[writeTo].Resize(m.other.n)
		m.from.setBalance(m.from.balance() - t.Amount)
		first = writeTo
	}
	e := (*[transferEvent]byte)(m.event[:])
	e[0] = EventTransfer
	abi.Copy20((*tx.Address)(e[1:]), &m.tx.From)
	abi.Copy20((*tx.Address)(e[21:]), &t.To)
	abi.PutU64(e[41:], t.Amount)
	return first, abi.CodeOK
}

// maySpend reports whether an account may give up amount.
func (a *account) maySpend(amount uint64) bool {
	return amount != 0 && amount <= a.balance() && !a.blacklisted()
}

// cannotSpend says why the sender may not: for the first of its reasons, in this
// order.
func (m *Module) cannotSpend(env *sdk.Env, amount uint64) abi.Code {
	switch {
	case amount == 0:
		return zeroAmount(env)
	case m.from.blacklisted():
		return blacklisted(env, &m.tx.From)
	default:
		return env.Fail(CodeInsufficientBalance, env.Text("balance is ").U64(m.from.balance()).Str(", needed are ").U64(amount))
	}
}

func zeroAmount(env *sdk.Env) abi.Code {
	return env.Fail(CodeInvalidAmount, env.Text("amount is 0, want 1 or more"))
}

func blacklisted(env *sdk.Env, a *tx.Address) abi.Code {
	return env.Fail(CodeUserBlacklisted, env.Text("").Hex(a[:]).Str(" is blacklisted"))
}

// deposit credits a user, once per external transaction. A blacklisted user is
// credited too: the money has arrived.
func (m *Module) deposit(env *sdk.Env, ctx abi.Context, t *tx.Deposit) abi.Code {
	if t.Amount == 0 {
		return zeroAmount(env)
	}
	if _, ok := env.Get(m.depositKey(&t.ExternalTxHash)); ok {
		return env.Fail(CodeDepositAlreadyProcessed, env.Text("deposit ").Hex(t.ExternalTxHash[:]).Str(" was credited before"))
	}
	sums := m.totals(env)
	if supply := sums.genesis + sums.deposits; supply+t.Amount < supply {
		return env.Fail(CodeSupplyOverflow, env.Text("genesis and deposits add up to ").U64(supply).Str(", ").U64(t.Amount).Str(" more do not fit 64 bits"))
	}
	sums.deposits += t.Amount
	sums.balances += t.Amount
	m.setTotals(env, &sums)
	record := abi.AppendU64(append(m.event[:0], t.User[:]...), t.Amount)
	env.Set(m.depositKey(&t.ExternalTxHash), abi.AppendU64(record, ctx.Height))
	m.other.read(env, &t.User)
	m.other.credit(t.Amount)
	m.other.write(env)
	e := abi.AppendU64(append(m.newEvent(EventDeposited), t.User[:]...), t.Amount)
	env.Emit(append(e, t.ExternalTxHash[:]...))
	return abi.CodeOK
}

// withdrawal is a request to pay money out elsewhere.
type withdrawal struct {
	user        tx.Address
	amount      uint64
	destination tx.Address
	requested   uint64 // block time, ms
	processed   bool
	external    tx.Hash // of the payment, once processed
}

func (w *withdrawal) append(dst []byte) []byte {
	dst = abi.AppendU64(append(dst, w.user[:]...), w.amount)
	dst = abi.AppendU64(append(dst, w.destination[:]...), w.requested)
	return append(abi.AppendBool(dst, w.processed), w.external[:]...)
}

func (m *Module) withdrawal(env *sdk.Env, id uint64) (w withdrawal, ok bool) {
	b, ok := env.Get(m.withdrawalKey(id))
	if !ok {
		return w, false
	}
	r := abi.NewReader(b)
	return withdrawal{user: r.Bytes20(), amount: r.U64(), destination: r.Bytes20(), requested: r.U64(), processed: r.Bool(), external: r.Bytes32()}, true
}

func (m *Module) setWithdrawal(env *sdk.Env, id uint64, w *withdrawal) {
	env.Set(m.withdrawalKey(id), w.append(m.event[:0]))
}

// withdraw takes money out of the sender's balance, to be paid out by a relayer.
func (m *Module) withdraw(env *sdk.Env, ctx abi.Context, t *tx.Withdraw) abi.Code {
	if !m.from.maySpend(t.Amount) {
		return m.cannotSpend(env, t.Amount)
	}
	m.from.setBalance(m.from.balance() - t.Amount)
	m.from.write(env)
	sums := m.totals(env)
	sums.balances -= t.Amount
	sums.pending += t.Amount
	m.setTotals(env, &sums)
	sys := m.system(env)
	sys.withdrawals++
	m.setSystem(env, &sys)
	id := sys.withdrawals
	m.setWithdrawal(env, id, &withdrawal{user: m.tx.From, amount: t.Amount, destination: t.Destination, requested: ctx.Time})
	e := append(abi.AppendU64(m.newEvent(EventWithdrawalRequested), id), m.tx.From[:]...)
	env.Emit(append(abi.AppendU64(e, t.Amount), t.Destination[:]...))
	return abi.CodeOK
}

// processWithdrawal notes that a withdrawal was paid out.
func (m *Module) processWithdrawal(env *sdk.Env, t *tx.ProcessWithdrawal) abi.Code {
	w, ok := m.withdrawal(env, t.WithdrawalID)
	if !ok {
		return env.Fail(CodeWithdrawalNotFound, env.Text("there is no withdrawal ").U64(t.WithdrawalID))
	}
	if w.processed {
		return env.Fail(CodeWithdrawalAlreadyProcessed, env.Text("withdrawal ").U64(t.WithdrawalID).Str(" was paid out in ").Hex(w.external[:]))
	}
	w.processed, w.external = true, t.ExternalTxHash
	m.setWithdrawal(env, t.WithdrawalID, &w)
	sums := m.totals(env)
	sums.pending -= w.amount
	sums.processed += w.amount
	m.setTotals(env, &sums)
	e := abi.AppendU64(m.newEvent(EventWithdrawalProcessed), t.WithdrawalID)
	env.Emit(append(e, t.ExternalTxHash[:]...))
	return abi.CodeOK
}

// newEvent starts an event in the module's buffer.
func (m *Module) newEvent(tag byte) []byte { return append(m.event[:0], tag) }
