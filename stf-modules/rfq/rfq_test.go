package rfq_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

var update = flag.Bool("update", false, "rewrite golden files")

func fake(t testing.TB) *world { return newWorld(t, traffic.New(1, traffic.Fake{}), nil) }

func transfer(to tx.Address, amount uint64) tx.Transaction {
	return tx.Transaction{Kind: tx.KindTransfer, Transfer: tx.Transfer{To: to, Amount: amount}}
}

func nominate(wallet tx.Address, expiry uint64) tx.Transaction {
	return tx.Transaction{Kind: tx.KindNominateApiWallet, NominateApiWallet: tx.NominateApiWallet{Wallet: wallet, Expiry: expiry}}
}

func revoke(wallet tx.Address) tx.Transaction {
	return tx.Transaction{Kind: tx.KindRevokeApiWallet, RevokeApiWallet: tx.RevokeApiWallet{Wallet: wallet}}
}

func deposit(user tx.Address, amount uint64, hash byte) tx.Transaction {
	return tx.Transaction{Kind: tx.KindDeposit, Deposit: tx.Deposit{User: user, Amount: amount, ExternalTxHash: tx.Hash{hash}}}
}

func withdraw(amount uint64) tx.Transaction {
	return tx.Transaction{Kind: tx.KindWithdraw, Withdraw: tx.Withdraw{Amount: amount, Destination: tx.Address{9}}}
}

func process(id uint64) tx.Transaction {
	return tx.Transaction{Kind: tx.KindProcessWithdrawal, ProcessWithdrawal: tx.ProcessWithdrawal{WithdrawalID: id, ExternalTxHash: tx.Hash{7}}}
}

func settle(id uint64) tx.Transaction {
	return tx.Transaction{Kind: tx.KindRfqSettle, RfqSettle: tx.RfqSettle{ThesisID: id}}
}

func admin(a tx.AdminAction) tx.Transaction { return tx.Transaction{Kind: tx.KindAdmin, Admin: a} }

func (w *world) balance(n int) string {
	w.Helper()
	return w.query(query.Account(w.gen.Address(n)))["balance"].(string)
}

// TestTimeWindow checks both edges, inclusive, and one beyond each.
func TestTimeWindow(t *testing.T) {
	w := fake(t)
	now := w.ctx.Time
	for i, c := range []struct {
		at   uint64
		want string
	}{
		{now - twoDays - 1, "InvalidTimestamp"}, {now - twoDays, "ok"}, {now - 1, "ok"}, {now, "ok"},
		{now + 1, "ok"}, {now + twoDays, "ok"}, {now + twoDays + 1, "InvalidTimestamp"}, {^uint64(0), "InvalidTimestamp"}, {1, "InvalidTimestamp"},
	} {
		x := transfer(w.gen.Address(1), 1)
		x.Timestamp = c.at
		if r := w.send(0, x); r.name != c.want || r.refused != (c.want != "ok") {
			t.Errorf("case %d, %d ms from now: %s, refused %v, want %s", i, int64(c.at-now), r.name, r.refused, c.want)
		}
	}
}

// TestTimeWindowNearZero checks that a chain whose time is near zero does not
// wrap around.
func TestTimeWindowNearZero(t *testing.T) {
	w := fake(t)
	w.block(1000, chain.OracleSnapshot{})
	for _, at := range []uint64{1, 1000 + twoDays, 2} {
		x := transfer(w.gen.Address(1), 1)
		x.Timestamp = at
		if r := w.send(0, x); r.name != "ok" {
			t.Errorf("at %d: %s %s", at, r.name, r.detail)
		}
	}
	x := transfer(w.gen.Address(1), 1)
	x.Timestamp = 1001 + twoDays
	if r := w.send(0, x); r.name != "InvalidTimestamp" {
		t.Errorf("beyond the edge: %s", r.name)
	}
}

func TestDuplicate(t *testing.T) {
	w := fake(t)
	x := transfer(w.gen.Address(1), 5)
	x.Timestamp, x.From = w.ctx.Time, w.gen.Address(0)
	raw := w.gen.Sign(0, &x)
	if r := w.raw(raw); r.name != "ok" {
		t.Fatal(r)
	}
	for range 2 {
		if r := w.raw(raw); r.name != "DuplicateTransaction" || !r.refused {
			t.Fatalf("%+v", r)
		}
		w.block(w.ctx.Time+twoDays/2, chain.OracleSnapshot{})
	}
	w.block(w.ctx.Time+1, chain.OracleSnapshot{})
	if r := w.raw(raw); r.name != "InvalidTimestamp" || !r.refused {
		t.Fatalf("%+v", r)
	}
	// One that failed is not executed again either.
	x = transfer(w.gen.Address(1), 1<<60)
	x.Timestamp, x.From = w.ctx.Time, w.gen.Address(0)
	raw = w.gen.Sign(0, &x)
	if r := w.raw(raw); r.name != "InsufficientBalance" || r.refused {
		t.Fatalf("%+v", r)
	}
	if r := w.raw(raw); r.name != "DuplicateTransaction" || !r.refused {
		t.Fatalf("%+v", r)
	}
}

// TestSignatureIsNotInTheID signs the same transaction as wallets may: with v 0
// or 27 it is the same transaction.
func TestSignatureIsNotInTheID(t *testing.T) {
	w := newWorld(t, traffic.New(1, traffic.Secp()), nil)
	x := transfer(w.gen.Address(1), 5)
	x.Timestamp, x.From = w.ctx.Time, w.gen.Address(0)
	raw := w.gen.Sign(0, &x)
	if r := w.raw(raw); r.name != "ok" {
		t.Fatal(r)
	}
	raw[len(raw)-1] -= 27
	if r := w.raw(raw); r.name != "DuplicateTransaction" {
		t.Fatalf("%+v", r)
	}
	raw[len(raw)-1] += 2
	if r := w.raw(raw); r.name != "InvalidSignature" || !r.refused {
		t.Fatalf("v of 2: %+v", r)
	}
}

func TestMalformed(t *testing.T) {
	w := fake(t)
	x := transfer(w.gen.Address(1), 5)
	x.Timestamp, x.From = w.ctx.Time, w.gen.Address(0)
	raw := w.gen.Sign(0, &x)
	for _, b := range [][]byte{{}, raw[:len(raw)-1], append(slices.Clone(raw), 0), slices.Concat(raw[:28], []byte{10}, raw[29:])} {
		if r := w.raw(b); r.name != "MalformedTransaction" || !r.refused {
			t.Errorf("%x: %+v", b, r)
		}
	}
}

func TestUnattributable(t *testing.T) {
	w := fake(t)
	x := transfer(w.gen.Address(1), 5)
	x.From = w.gen.Address(0)
	r := w.send(3, x)
	if r.name != "InvalidSignature" || !r.refused || !strings.Contains(r.detail, chain.Address(w.gen.Address(3)).String()) {
		t.Fatalf("signed by a stranger: %+v", r)
	}
	x.Timestamp = w.ctx.Time
	raw := w.gen.Sign(0, &x)
	raw[len(raw)-1] = 2
	if r := w.raw(raw); r.name != "InvalidSignature" || !r.refused {
		t.Fatalf("no signature: %+v", r)
	}
	if len(w.state.log) != w.state.Mark() || w.balance(0) != "1000000" {
		t.Fatal("something was written")
	}
}

// TestTransfers is a table of amounts and parties, with the balances after each.
func TestTransfers(t *testing.T) {
	w := fake(t)
	a, b, fresh := w.gen.Address(0), w.gen.Address(1), tx.Address{0xfe}
	for _, c := range []struct {
		name   string
		to     tx.Address
		amount uint64
		want   string
		left   string
	}{
		{"zero", b, 0, "InvalidAmount", "1000000"},
		{"one", b, 1, "ok", "999999"},
		{"too much by one", b, 1_000_000, "InsufficientBalance", "999999"},
		{"largest number", b, ^uint64(0), "InsufficientBalance", "999999"},
		{"to oneself", a, 5, "ok", "999999"},
		{"to oneself, too much", a, 1_000_000, "InsufficientBalance", "999999"},
		{"to a new account", fresh, 9, "ok", "999990"},
		{"everything", b, 999_990, "ok", "0"},
		{"of nothing", b, 1, "InsufficientBalance", "0"},
	} {
		r := w.send(0, transfer(c.to, c.amount))
		if r.name != c.want || r.refused || w.balance(0) != c.left {
			t.Errorf("%s: %s, balance %s, want %s, %s", c.name, r.name, w.balance(0), c.want, c.left)
		}
		if (len(r.events) == 1) != (c.want == "ok") {
			t.Errorf("%s: events %v", c.name, r.events)
		}
	}
	if w.balance(1) != "1999991" {
		t.Errorf("the receiver has %s", w.balance(1))
	}
	if got := w.query(query.Account(fresh))["balance"]; got != "9" {
		t.Errorf("the new account has %v", got)
	}
	want := fmt.Sprintf("transfer from=%q to=%q amount=%q", chain.Address(b), chain.Address(a), "3")
	if r := w.send(1, transfer(a, 3)); !slices.Equal(r.events, []string{want}) {
		t.Errorf("events %v, want %s", r.events, want)
	}
}

func TestApiWallets(t *testing.T) {
	w := fake(t)
	owner, wallet := w.gen.Address(0), w.gen.Address(5)
	as := func(signer int, x tx.Transaction) tx.Transaction { x.From = owner; return x }
	w.must("InvalidApiWallet", 0, nominate(owner, 0))
	w.must("InvalidApiWallet", 0, nominate(tx.Address{}, 0))
	w.must("InvalidApiWallet", 0, nominate(wallet, w.ctx.Time))
	w.must("InvalidSignature", 5, as(5, settle(1)))
	w.must("ok", 0, nominate(wallet, w.ctx.Time+500))

	// What it may and may not sign; the latter is in the block.
	w.must("ThesisNotFound", 5, as(5, settle(1)))
	w.must("InvalidOraclePair", 5, as(5, tx.Transaction{Kind: tx.KindRfqSubmit}))
	for _, x := range []tx.Transaction{transfer(wallet, 1), nominate(tx.Address{1}, 0), deposit(wallet, 1, 1), withdraw(1), process(1),
		{Kind: tx.KindSystemSettle}, admin(tx.AdminAction{Kind: tx.PauseSystem})} {
		if r := w.must("ApiWalletNotAllowed", 5, as(5, x)); r.refused {
			t.Errorf("kind %d was refused", x.Kind)
		}
	}

	// Expiry is exclusive, and a new nomination moves it.
	w.block(w.ctx.Time+499, chain.OracleSnapshot{})
	w.must("ThesisNotFound", 5, as(5, settle(1)))
	w.block(w.ctx.Time+1, chain.OracleSnapshot{})
	if r := w.must("InvalidSignature", 5, as(5, settle(1))); !r.refused || !strings.Contains(r.detail, "expired") {
		t.Errorf("%+v", r)
	}
	w.must("ok", 0, nominate(wallet, 0))
	w.must("ThesisNotFound", 5, as(5, settle(1)))
	got := fmt.Sprint(w.query(query.Account(owner))["api_wallets"])
	if want := fmt.Sprintf("[map[address:%s expired:false expiry:0]]", chain.Address(wallet)); got != want {
		t.Errorf("api_wallets %s, want %s", got, want)
	}

	// It may take back its own rights, once.
	w.must("ok", 5, as(5, revoke(wallet)))
	if r := w.must("InvalidSignature", 5, as(5, settle(1))); !r.refused || !strings.Contains(r.detail, "revoked") {
		t.Errorf("%+v", r)
	}
	w.must("ApiWalletNotFound", 0, revoke(wallet))
	w.must("ApiWalletNotFound", 0, revoke(tx.Address{3}))
	if got := fmt.Sprint(w.query(query.Account(owner))["api_wallets"]); got != "[]" {
		t.Errorf("api_wallets %s", got)
	}
}

// TestTwoSignersOneTransaction signs one transaction with the account's key and
// with its API wallet's: it is executed once, in either order, also when the
// wallet has been revoked since.
func TestTwoSignersOneTransaction(t *testing.T) {
	for _, order := range [][2]int{{0, 5}, {5, 0}} {
		w := fake(t)
		w.must("ok", 0, nominate(w.gen.Address(5), 0))
		x := settle(1)
		x.From, x.Timestamp = w.gen.Address(0), w.ctx.Time+50
		if r := w.send(order[0], x); r.refused {
			t.Fatal(r)
		}
		if r := w.send(order[1], x); !r.refused || r.name != "DuplicateTransaction" {
			t.Fatalf("signers %v: %+v", order, r)
		}
		if order[0] == 5 {
			w.must("ok", 0, revoke(w.gen.Address(5)))
			if r := w.send(0, x); !r.refused || r.name != "DuplicateTransaction" {
				t.Fatalf("after the revocation: %+v", r)
			}
		}
	}
}

// TestTwoSignersForgotten lets one signer's window forget a transaction: the
// other's key cannot bring it back.
func TestTwoSignersForgotten(t *testing.T) {
	for _, order := range [][2]int{{0, 5}, {5, 0}} {
		w := fake(t)
		w.must("ok", 0, nominate(w.gen.Address(5), 0))
		first := settle(1)
		first.From, first.Timestamp = w.gen.Address(0), w.ctx.Time+1000
		w.must("ThesisNotFound", order[0], first)
		for i := range uint64(81) {
			x := settle(2)
			x.From, x.Timestamp = w.gen.Address(0), w.ctx.Time+1001+i
			w.must("ThesisNotFound", order[0], x)
		}
		if r := w.send(order[1], first); !r.refused || r.name != "InvalidTimestamp" {
			t.Fatalf("signers %v: %+v", order, r)
		}
	}
}

// TestSignersDoNotFillEachOther fills the owner's window; the API wallet's own
// still takes 64 in any order.
func TestSignersDoNotFillEachOther(t *testing.T) {
	w := fake(t)
	w.must("ok", 0, nominate(w.gen.Address(5), 0))
	for range 70 {
		w.must("ThesisNotFound", 0, settle(1))
	}
	for _, i := range w.gen.Rand.Perm(64) {
		x := settle(3)
		x.From, x.Timestamp = w.gen.Address(0), w.ctx.Time+uint64(i)
		w.must("ThesisNotFound", 5, x)
	}
}

// TestApiWalletPlaces fills an account with wallets and frees places.
func TestApiWalletPlaces(t *testing.T) {
	w := fake(t)
	w.must("ok", 0, nominate(w.gen.Address(5), w.ctx.Time+10))
	x := settle(1)
	x.From, x.Timestamp = w.gen.Address(0), w.ctx.Time
	w.must("ThesisNotFound", 5, x) // so that its window is not empty
	for i := range byte(rfq.MaxApiWallets - 1) {
		w.must("ok", 0, nominate(tx.Address{1, i}, 0))
	}
	w.must("ApiWalletLimit", 0, nominate(tx.Address{2}, 0))
	w.must("ok", 0, nominate(tx.Address{1, 3}, w.ctx.Time+5)) // its own place
	w.block(w.ctx.Time+twoDays, chain.OracleSnapshot{})
	w.must("ok", 0, nominate(tx.Address{2}, 0)) // over {1, 3}, which expired and never signed
	w.must("ApiWalletLimit", 0, nominate(tx.Address{3}, 0))
	if r := w.send(0, x); !r.refused || r.name != "DuplicateTransaction" {
		t.Fatalf("the expired wallet's transaction: %+v", r)
	}
	w.block(w.ctx.Time+1, chain.OracleSnapshot{})
	w.must("ok", 0, nominate(tx.Address{3}, 0)) // over the wallet that signed once
	w.must("ok", 0, revoke(tx.Address{1, 0}))
	w.must("ok", 0, nominate(tx.Address{4}, 0))
	w.must("ApiWalletLimit", 0, nominate(tx.Address{5}, 0))
	if got := len(w.query(query.Account(w.gen.Address(0)))["api_wallets"].([]any)); got != rfq.MaxApiWallets {
		t.Errorf("%d API wallets", got)
	}
}

func TestPermissions(t *testing.T) {
	w := fake(t)
	for _, x := range []tx.Transaction{deposit(tx.Address{1}, 1, 1), process(1), {Kind: tx.KindSystemSettle}, admin(tx.AdminAction{Kind: tx.PauseSystem})} {
		if r := w.must("Unauthorized", 0, x); r.refused {
			t.Errorf("kind %d was refused", x.Kind)
		}
	}
	grant := func(n int, bits uint8) tx.Transaction {
		return admin(tx.AdminAction{Kind: tx.GrantPermissions, Account: w.gen.Address(n), Permissions: bits})
	}
	take := func(n int, bits uint8) tx.Transaction {
		return admin(tx.AdminAction{Kind: tx.RevokePermissions, Account: w.gen.Address(n), Permissions: bits})
	}
	w.must("InvalidPermissions", traffic.Admin, grant(0, 0))
	w.must("InvalidPermissions", traffic.Admin, grant(0, 8))
	w.must("ok", traffic.Admin, grant(0, tx.PermRelayer))
	w.must("ok", 0, deposit(tx.Address{1}, 1, 1))
	w.must("ok", traffic.Admin, take(0, tx.PermRelayer))
	w.must("Unauthorized", 0, deposit(tx.Address{1}, 1, 2))
	if got := fmt.Sprint(w.query(query.Account(w.gen.Address(traffic.Relayer)))["permissions"]); got != "[relayer]" {
		t.Errorf("permissions %s", got)
	}

	// The last admin stays; two can hand over.
	w.must("LastAdmin", traffic.Admin, take(traffic.Admin, tx.PermAll))
	w.must("ok", traffic.Admin, grant(3, tx.PermAdmin))
	w.must("ok", traffic.Admin, grant(3, tx.PermAdmin))
	w.must("ok", traffic.Admin, take(traffic.Admin, tx.PermAdmin))
	w.must("Unauthorized", traffic.Admin, grant(4, tx.PermAdmin))
	w.must("LastAdmin", 3, take(3, tx.PermAdmin))
	w.must("ok", 3, take(7, tx.PermAdmin)) // who never had it
}

// TestSettler is K-24: only the settler of the genesis may settle, and nobody
// where it is disabled.
func TestSettler(t *testing.T) {
	w := fake(t)
	x := tx.Transaction{Kind: tx.KindSystemSettle, SystemSettle: tx.SystemSettle{ThesisID: 5}}
	w.must("ThesisNotFound", traffic.Settler, x)
	w.must("Unauthorized", 0, x)
	w = newWorld(t, traffic.New(1, traffic.Fake{}), func(g *chain.Genesis, _ *params.Params) { g.SettlerEnabled = false })
	w.must("SettlerDisabled", traffic.Settler, x)
	w.must("Unauthorized", 0, x)
	settler := chain.Address{0x77}
	w = newWorld(t, traffic.New(1, traffic.Fake{}), func(g *chain.Genesis, _ *params.Params) { g.Settler = settler })
	if got := fmt.Sprint(w.query(query.Account(settler))["permissions"]); got != "[settler]" {
		t.Errorf("the settler of the genesis has %s", got)
	}
}

func TestDepositsAndWithdrawals(t *testing.T) {
	w := fake(t)
	user := w.gen.Address(0)
	w.must("InvalidAmount", traffic.Relayer, deposit(user, 0, 1))
	r := w.must("ok", traffic.Relayer, deposit(user, 500, 1))
	want := fmt.Sprintf("deposited user=%q amount=\"500\" external_tx_hash=%q", chain.Address(user), chain.Hash{1})
	if !slices.Equal(r.events, []string{want}) {
		t.Errorf("events %v, want %s", r.events, want)
	}
	w.must("DepositAlreadyProcessed", traffic.Relayer, deposit(user, 500, 1))
	w.must("DepositAlreadyProcessed", traffic.Relayer, deposit(tx.Address{4}, 9, 1))
	w.must("ok", traffic.Relayer, deposit(w.gen.Address(traffic.Relayer), 20, 2)) // to the relayer itself
	if w.balance(0) != "1000500" || w.balance(traffic.Relayer) != "20" {
		t.Errorf("balances %s and %s", w.balance(0), w.balance(traffic.Relayer))
	}
	supply := uint64(12_000_520)
	w.must("SupplyOverflow", traffic.Relayer, deposit(user, ^uint64(0)-supply+1, 3))
	w.must("ok", traffic.Relayer, deposit(tx.Address{6}, ^uint64(0)-supply, 3))
	w.must("SupplyOverflow", traffic.Relayer, deposit(user, 1, 4))

	w.must("InvalidAmount", 0, withdraw(0))
	w.must("InsufficientBalance", 0, withdraw(1_000_501))
	r = w.must("ok", 0, withdraw(1_000_000))
	want = fmt.Sprintf("withdrawal_requested withdrawal_id=1 user=%q amount=\"1000000\" destination=%q", chain.Address(user), chain.Address{9})
	if !slices.Equal(r.events, []string{want}) {
		t.Errorf("events %v, want %s", r.events, want)
	}
	w.must("ok", 0, withdraw(500))
	w.must("WithdrawalNotFound", traffic.Relayer, process(0))
	w.must("WithdrawalNotFound", traffic.Relayer, process(3))
	w.must("ok", traffic.Relayer, process(1))
	w.must("WithdrawalAlreadyProcessed", traffic.Relayer, process(1))
	got := w.query(query.Totals())
	for k, v := range map[string]any{"genesis": "12000000", "pending_withdrawals": "500", "processed_withdrawals": "1000000", "escrow": "0", "conserved": true} {
		if got[k] != v {
			t.Errorf("totals: %s is %v, want %v", k, got[k], v)
		}
	}
	if got := w.query(query.Withdrawal(1)); got["processed"] != true || got["external_tx_hash"] != (chain.Hash{7}).String() {
		t.Errorf("withdrawal 1: %v", got)
	}
	if got := w.query(query.Withdrawal(2)); got["processed"] != false || got["external_tx_hash"] != nil || got["amount"] != "500" {
		t.Errorf("withdrawal 2: %v", got)
	}
	if got := w.query(query.Deposit(tx.Hash{1})); got["amount"] != "500" {
		t.Errorf("deposit: %v", got)
	}
}

func TestPauseAndBlacklist(t *testing.T) {
	w := fake(t)
	list := func(kind tx.Action, n int) tx.Transaction {
		return admin(tx.AdminAction{Kind: kind, Account: w.gen.Address(n)})
	}
	w.must("ok", 0, nominate(w.gen.Address(8), 0))
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.PauseSystem}))
	for _, x := range []tx.Transaction{transfer(tx.Address{1}, 1), nominate(tx.Address{1}, 0), withdraw(1), {Kind: tx.KindRfqSubmit}} {
		w.must("SystemPaused", 0, x)
	}
	w.must("SystemPaused", traffic.Relayer, deposit(tx.Address{1}, 1, 1))
	w.must("ok", 0, revoke(w.gen.Address(8)))
	if got := w.query(query.Params()); got["paused"] != true {
		t.Errorf("params %v", got)
	}
	w.must("ok", traffic.Admin, list(tx.BlacklistAdd, 0))
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.UnpauseSystem}))
	w.must("UserBlacklisted", 0, transfer(w.gen.Address(1), 1))
	w.must("UserBlacklisted", 0, withdraw(1))
	w.must("UserBlacklisted", 1, transfer(w.gen.Address(0), 1))
	w.must("ok", traffic.Relayer, deposit(w.gen.Address(0), 7, 1))
	if w.balance(0) != "1000007" {
		t.Errorf("balance %s", w.balance(0))
	}
	w.must("ok", traffic.Admin, list(tx.BlacklistRemove, 0))
	w.must("ok", 0, transfer(w.gen.Address(1), 1))
	// An admin on the list can still act, and so take itself off.
	w.must("ok", traffic.Admin, list(tx.BlacklistAdd, traffic.Admin))
	w.must("ok", traffic.Admin, list(tx.BlacklistRemove, traffic.Admin))
}

func TestMarkets(t *testing.T) {
	w := fake(t)
	limits := tx.Limits{MinBet: 1, MaxBet: 2, MaxOpenInterest: 3}
	usdt, _ := params.Token("USDT")
	btc, _ := params.Token("BTC")
	add := func(base tx.Address, name string, l tx.Limits) tx.Transaction {
		return admin(tx.AdminAction{Kind: tx.AddMarket, Base: base, Quote: usdt, Name: name, Limits: l})
	}
	w.must("InvalidMarket", traffic.Admin, add(usdt, "X", limits))
	w.must("InvalidMarket", traffic.Admin, add(tx.Address{1}, "", limits))
	w.must("InvalidMarket", traffic.Admin, add(tx.Address{1}, "a b", limits))
	w.must("InvalidMarket", traffic.Admin, add(tx.Address{1}, "X", tx.Limits{MinBet: 2, MaxBet: 1, MaxOpenInterest: 3}))
	w.must("MarketExists", traffic.Admin, add(btc, "X", limits))
	w.must("MarketExists", traffic.Admin, add(tx.Address{1}, "BTC/USDT", limits))
	for i := range params.MaxMarkets - 3 {
		w.must("ok", traffic.Admin, add(tx.Address{1, byte(i), byte(i >> 8)}, fmt.Sprintf("X%d/USDT", i), limits))
	}
	w.must("MarketLimit", traffic.Admin, add(tx.Address{2}, "Y", limits))
	w.must("InvalidOraclePair", traffic.Admin, admin(tx.AdminAction{Kind: tx.PauseMarket, Base: usdt, Quote: btc}))
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.PauseMarket, Base: btc, Quote: usdt}))
	w.must("InvalidMarket", traffic.Admin, admin(tx.AdminAction{Kind: tx.SetMarketLimits, Base: btc, Quote: usdt}))
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.SetMarketLimits, Base: btc, Quote: usdt, Limits: limits}))
	all := w.query(query.Markets())["markets"].([]any)
	if len(all) != params.MaxMarkets {
		t.Fatalf("%d markets", len(all))
	}
	first := all[0].(map[string]any)
	if first["name"] != "BTC/USDT" || first["paused"] != true || first["max_bet"] != "2" || first["open_interest"] != "0" {
		t.Errorf("market 0: %v", first)
	}
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.UnpauseMarket, Base: btc, Quote: usdt}))
}

// oracle is a snapshot with one price of BTC/USDT.
func oracle(price, at uint64) chain.OracleSnapshot {
	base, _ := params.Token("BTC")
	quote, _ := params.Token("USDT")
	return chain.OracleSnapshot{Timestamp: at, Prices: []chain.Price{{Base: base, Quote: quote, Price: price, Timestamp: at}}}
}

func TestOracle(t *testing.T) {
	w := fake(t)
	now := w.ctx.Time
	price := func() string {
		p := w.query(query.Prices())["prices"].(map[string]any)["BTC/USDT"].(map[string]any)
		return fmt.Sprintf("%v at %.0f stale %v", p["price"], p["timestamp"].(float64)-float64(now), p["stale"])
	}
	stale := oracle(9, now+8900)
	stale.Stale = true
	for i, c := range []struct {
		at     uint64 // of the block, from now
		oracle chain.OracleSnapshot
		events int
		want   string
	}{
		{100, oracle(5, now+50), 1, "5 at 50 stale false"},
		{200, oracle(6, now+50), 0, "5 at 50 stale false"},   // observed already
		{300, oracle(6, now+49), 0, "5 at 50 stale false"},   // backwards
		{400, oracle(0, now+400), 0, "5 at 50 stale false"},  // zero
		{500, oracle(7, now+501), 0, "5 at 50 stale false"},  // from the future
		{600, oracle(7, now+600), 1, "7 at 600 stale false"}, // as old as the block
		{3600, chain.OracleSnapshot{}, 0, "7 at 600 stale false"},
		{3601, chain.OracleSnapshot{}, 0, "7 at 600 stale true"},
		{5000, oracle(8, now+1999), 0, "7 at 600 stale true"}, // 3001 ms old
		{5001, oracle(8, now+2001), 1, "8 at 2001 stale false"},
		{9000, stale, 0, "8 at 2001 stale true"},
		{9100, oracle(9, now+9001), 1, "9 at 9001 stale false"},
		{9200, oracle(10, now+9002), 1, "10 at 9002 stale false"}, // the slot is taken, the next is free
		{9300, oracle(11, now+9003), 0, "11 at 9003 stale false"}, // and now that one is taken too
	} {
		events := w.block(now+c.at, c.oracle)
		if got := price(); len(events) != c.events || got != c.want {
			t.Errorf("block %d: %d events, %s, want %d, %s", i, len(events), got, c.events, c.want)
		}
	}
	h := w.query(query.History("BTC/USDT", now, now+9002))
	var got []string
	for _, p := range h["prices"].([]any) {
		got = append(got, p.(map[string]any)["price"].(string))
	}
	if want := []string{"5", "7", "8", "9", "10"}; !slices.Equal(got, want) || h["next"] != nil {
		t.Errorf("history %v, want %v", got, want)
	}
	unknown := oracle(3, now+9300)
	unknown.Prices[0].Base[0] = 1
	if events := w.block(now+9400, unknown); len(events) != 0 {
		t.Errorf("an unknown pair gave %d events", len(events))
	}
}

// TestHistoryPages follows next through more prices than one answer holds.
func TestHistoryPages(t *testing.T) {
	w := fake(t)
	start := w.ctx.Time
	const n = query.MaxHistory + 700
	for i := range uint64(n) {
		w.block(start+100*(i+1), oracle(i+1, start+100*(i+1)))
	}
	var count, from uint64
	for from = start; ; {
		h := w.query(query.History("BTC/USDT", from, ^uint64(0)))
		count += uint64(len(h["prices"].([]any)))
		if h["next"] == nil {
			break
		}
		from = uint64(h["next"].(float64))
	}
	if count != n {
		t.Errorf("%d prices, want %d", count, n)
	}
}

func TestQueries(t *testing.T) {
	w := fake(t)
	if got := w.query(query.AccountKey(w.gen.Address(0)))["key"]; got != "0x"+hex.EncodeToString(rfq.AccountKey(w.gen.Address(0))) {
		t.Errorf("account key %v", got)
	}
	if _, ok := w.state.m[string(rfq.AccountKey(w.gen.Address(0)))]; !ok {
		t.Error("no state under the account key")
	}
	nobody := w.query(query.Account(tx.Address{0xaa}))
	want := map[string]any{"address": (chain.Address{0xaa}).String(), "balance": "0", "locked": "0", "api_wallets": []any{}, "permissions": []any{}, "blacklisted": false}
	if !reflect.DeepEqual(nobody, want) {
		t.Errorf("an account that does not exist: %v", nobody)
	}
	for _, c := range []struct {
		q    []byte
		want string
	}{
		{nil, "InvalidQuery"}, {[]byte{0}, "InvalidQuery"}, {[]byte{200}, "InvalidQuery"},
		{query.Account(tx.Address{})[:20], "InvalidQuery"}, {append(query.Prices(), 0), "InvalidQuery"},
		{query.History("nope", 0, 1), "InvalidOraclePair"}, {query.Withdrawal(1), "WithdrawalNotFound"}, {query.Deposit(tx.Hash{}), "NotFound"},
	} {
		out, err := w.program.Query(w.state, w.ctx, c.q)
		if err != nil || w.name(out.Code) != c.want {
			t.Errorf("query %x: %s %v, want %s", c.q, w.name(out.Code), err, c.want)
		}
	}
}

func TestGenesisRefused(t *testing.T) {
	a := params.Account{Address: tx.Address{1}, Balance: 1}
	for name, change := range map[string]func(*params.Params){
		"challenge window":     func(p *params.Params) { p.ChallengeWindowMs = 0 },
		"accounts twice":       func(p *params.Params) { p.Accounts = []params.Account{a, a} },
		"accounts unsorted":    func(p *params.Params) { p.Accounts = []params.Account{{Address: tx.Address{2}}, a} },
		"permissions":          func(p *params.Params) { p.Accounts[0].Permissions = 8 },
		"supply":               func(p *params.Params) { p.Accounts[0].Balance, p.Accounts[1].Balance = ^uint64(0), 1 },
		"market twice":         func(p *params.Params) { p.Markets = append(p.Markets, p.Markets[0]) },
		"market of one token":  func(p *params.Params) { p.Markets[0].Base = p.Markets[0].Quote },
		"market without name":  func(p *params.Params) { p.Markets[0].Name = "" },
		"market without limit": func(p *params.Params) { p.Markets[0].Limits = tx.Limits{} },
	} {
		w := fake(t)
		w.state = &mapState{m: map[string]string{}}
		out := w.genesis(func(_ *chain.Genesis, p *params.Params) { change(p) })
		if w.name(out.Code) != "InvalidGenesis" || out.Detail == "" {
			t.Errorf("%s: %s %s", name, w.name(out.Code), out.Detail)
		}
	}
	for stale, want := range map[uint64]string{traffic.ChallengeMs: "ok", traffic.ChallengeMs + 1: "InvalidChallengeWindow"} {
		w := fake(t)
		w.state = &mapState{m: map[string]string{}}
		out := w.genesis(func(g *chain.Genesis, _ *params.Params) { g.MaxStaleMs = stale })
		if w.name(out.Code) != want || (out.Detail == "") != (want == "ok") {
			t.Errorf("prices may be %d ms old, the challenge window is %d ms: %s %s, want %s", stale, traffic.ChallengeMs, w.name(out.Code), out.Detail, want)
		}
	}
	w := fake(t)
	out := w.genesis(func(g *chain.Genesis, p *params.Params) { g.Params = append(p.Append(nil), 0) })
	if w.name(out.Code) != "InvalidGenesis" {
		t.Errorf("trailing byte: %s", w.name(out.Code))
	}
}

// TestSchema checks that every name of protocol section 12 is there under a
// stable number, and that events are described.
func TestSchema(t *testing.T) {
	w := fake(t)
	for i, name := range []string{"MalformedTransaction", "InvalidSignature", "InvalidTimestamp", "DuplicateTransaction", "Unauthorized",
		"ApiWalletNotAllowed", "InsufficientBalance", "ThesisNotFound", "ThesisNotActive", "ChallengeWindowNotOver", "InvalidBreachTimestamp",
		"PriceWithinRange", "BreachFound", "QuoteDeadlineExpired", "QuoteAlreadyUsed", "InvalidSolverSignature", "InvalidUserSignature",
		"OracleStale", "OracleDataNotFound", "InvalidOraclePair", "MarketPaused", "SystemPaused", "UserBlacklisted", "BetAmountOutOfRange", "MarketOiExceeded"} {
		if got := w.name(abi.Code(i + 1)); got != name {
			t.Errorf("code %d is %s, want %s", i+1, got, name)
		}
	}
	if got := w.name(rfq.CodeNotFound); got != "NotFound" {
		t.Errorf("the last code is %s", got)
	}
}

// TestInspect names the signatures of a quote too.
func TestInspect(t *testing.T) {
	w := newWorld(t, traffic.New(1, traffic.Secp()), nil)
	x := tx.Transaction{Kind: tx.KindRfqSubmit, From: w.gen.Address(0), Timestamp: w.ctx.Time}
	x.RfqSubmit.Quote = tx.Quote{User: w.gen.Address(1), Solver: w.gen.Address(0)}
	var h tx.Hasher
	digest := h.QuoteDigest(traffic.Keccak{Crypto: w.gen.Scheme}, &x.RfqSubmit.Quote)
	x.RfqSubmit.UserSignature = w.gen.Scheme.Sign(1, &digest)
	v := &stf.Tx{Raw: w.gen.Sign(0, &x)}
	if err := w.inspector.Inspect(v); err != nil || v.Refusal != nil {
		t.Fatal(err, v.Refusal)
	}
	if len(v.Signers) != 2 || v.Signers[0].Address != w.gen.Address(0) || v.Signers[1].Address != w.gen.Address(1) {
		t.Fatalf("signers %+v", v.Signers)
	}
}

// TestStateGolden runs one of everything and compares every byte of state with
// STATE.md's version 2.
func TestStateGolden(t *testing.T) {
	w := fake(t)
	w.must("ok", 0, transfer(w.gen.Address(1), 5))
	w.must("ok", 0, nominate(w.gen.Address(5), w.ctx.Time+1000))
	x := settle(1)
	x.From = w.gen.Address(0)
	w.must("ThesisNotFound", 5, x)
	w.must("ok", traffic.Relayer, deposit(w.gen.Address(2), 5, 1))
	w.must("ok", 0, withdraw(6))
	w.must("ok", 0, withdraw(7))
	w.must("ok", traffic.Relayer, process(1))
	w.must("ok", traffic.Admin, admin(tx.AdminAction{Kind: tx.BlacklistAdd, Account: w.gen.Address(7)}))
	for _, at := range []uint64{100, 200, 10_000, 500_000} {
		w.block(genesisTime+200+at, oracle(at, genesisTime+200+at))
	}
	// Theses: one that is open, one that a breach has settled, one cancelled.
	w.block(genesisTime+600_000, oracle(100, genesisTime+600_000))
	for i := range uint64(3) {
		q := w.quoteOf(3+int(i), 6)
		q.Start, q.Salt = q.Start+100*(i%2), i
		w.must("ok", 6, w.accept(3+int(i), q))
	}
	w.block(genesisTime+600_050, oracle(500, genesisTime+600_050))
	w.must("ok", traffic.Settler, claim(1, tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: genesisTime + 600_050, BreachPrice: 500}))
	w.must("ok", traffic.Admin, cancel(2))
	var lines []string
	for k, v := range w.state.m {
		lines = append(lines, fmt.Sprintf("%x %s", k, compact(v)))
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	const file = "testdata/state.v2.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("state differs from %s; a new layout is a new version in STATE.md\ngot:\n%s", file, got)
	}
}

// compact is hex with long runs of zeroes counted.
func compact(v string) string {
	s := hex.EncodeToString([]byte(v))
	var b strings.Builder
	for len(s) > 0 {
		n := len(s) - len(strings.TrimLeft(s, "0"))
		if n = n / 2 * 2; n >= 32 {
			fmt.Fprintf(&b, "(%d×00)", n/2)
			s = s[n:]
			continue
		}
		b.WriteString(s[:2])
		s = s[2:]
	}
	return b.String()
}

// BenchmarkTransfer executes signed transfers that were inspected before.
func BenchmarkTransfer(b *testing.B) {
	w := newWorld(b, traffic.New(1, traffic.Secp()), nil)
	var txs []*stf.Tx
	for range 2000 {
		x := &stf.Tx{Raw: w.gen.Transfer(w.ctx.Time)}
		if err := w.inspector.Inspect(x); err != nil {
			b.Fatal(err)
		}
		txs = append(txs, x)
	}
	clean := w.state.Mark()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(txs) == 0 {
			b.StopTimer()
			w.state.Revert(clean)
			w.block(w.ctx.Time+100, chain.OracleSnapshot{})
			b.StartTimer()
		}
		out, err := w.machine.Execute(w.state, w.ctx, txs[i%len(txs)])
		if err != nil || out.Code != 0 {
			b.Fatal(w.name(out.Code), out.Detail, err)
		}
	}
}
