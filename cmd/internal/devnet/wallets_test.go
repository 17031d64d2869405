package devnet

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// installTime bounds what npm may take for the wallet libraries.
const installTime = 2 * time.Minute

// Transactions of every type that viem and ethers sign, which know nothing of
// Kaizen but the types of protocol section 4, are taken by a running chain.
func TestWallets(t *testing.T) {
	if testing.Short() {
		t.Skip("installs npm packages and starts a chain")
	}
	signer := startSigner(t, installWallets(t))
	c := startChain(t)
	for _, library := range []string{"viem", "ethers"} {
		t.Run(library, func(t *testing.T) {
			(&walletUser{T: t, client: c, signer: signer, library: library}).run()
		})
	}
}

// installWallets returns the script that signs, beside its libraries. Those are
// installed once per machine and lock file: they are thousands of files.
func installWallets(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"npm", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the wallet libraries need %s, which is not here: %v", program, err)
		}
	}
	lock, err := os.ReadFile(filepath.Join("testdata", "wallets", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(os.TempDir(), fmt.Sprintf("kaizen-test-wallets-%x", sha256.Sum256(lock)))
	if _, err := os.Stat(installed); err != nil {
		npmInstall(t, installed)
	}
	const name = "sign.mjs"
	script, err := os.ReadFile(filepath.Join("testdata", "wallets", name))
	if err != nil {
		t.Fatal(err)
	}
	// node looks for libraries beside the script and above it.
	dir, err := os.MkdirTemp(installed, "run-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, name), script, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// npmInstall installs into a directory that appears whole or not at all.
func npmInstall(t *testing.T, installed string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kaizen-test-wallets-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "wallets"))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTime)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install the wallet libraries here: %v\n%s", err, out)
	}
	if err := os.Rename(dir, installed); err != nil && !errors.Is(err, fs.ErrExist) { // another test run was faster
		t.Fatal(err)
	}
}

// signer is the script under way.
type signer struct {
	in  *json.Encoder
	out *json.Decoder
}

func startSigner(t *testing.T, script string) *signer {
	t.Helper()
	cmd := exec.Command("node", script)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return &signer{json.NewEncoder(in), json.NewDecoder(out)}
}

// startChain is a chain with its market and no traffic, and a client of it.
func startChain(t *testing.T) *client.Client {
	t.Helper()
	source, err := oracle.NewWalk(1, uint64(time.Now().UnixMilli()), oracle.DefaultWalk())
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(context.Background(), Options{Dir: t.TempDir(), FreePorts: true, Source: source, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r, err := n.Stop(); err != nil {
			t.Errorf("%+v, %v", r, err)
		}
	})
	c, err := client.New(n.Services.RPC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// walletUser is everybody who has a wallet of one library.
type walletUser struct {
	*testing.T
	client  *client.Client
	signer  *signer
	library string
	stamp   uint64
}

// typed is what a wallet is asked to sign.
type typed struct {
	Key     string         `json:"key"`
	Type    string         `json:"type"`
	Message map[string]any `json:"message"`
}

func (u *walletUser) sign(account int, kind string, message map[string]any) (sig tx.Signature) {
	u.Helper()
	a := u.account(account)
	if err := u.signer.in.Encode(typed{fmt.Sprintf("0x%x", a.Key.Bytes()), "Kaizen:" + kind, message}); err != nil {
		u.Fatalf("sign %s: %v", kind, err)
	}
	var signed map[string]api.Bytes
	if err := u.signer.out.Decode(&signed); err != nil || copy(sig[:], signed[u.library]) != len(sig) {
		u.Fatalf("sign %s: %v, %v", kind, signed, err)
	}
	return sig
}

func (u *walletUser) account(i int) Account {
	u.Helper()
	all, err := Accounts()
	if err != nil {
		u.Fatal(err)
	}
	return all[i]
}

// send signs t as an account's wallet does, message being its own fields, and
// returns the receipt.
func (u *walletUser) send(account int, kind string, t *tx.Transaction, message map[string]any) api.Receipt {
	u.Helper()
	status, err := u.client.Status(context.Background())
	if err != nil {
		u.Fatal(err)
	}
	u.stamp = max(u.stamp+1, status.HeadTime)
	t.From, t.Timestamp = u.account(account).Address, u.stamp
	message["from"], message["timestamp"] = hexOf(t.From[:]), number(t.Timestamp)
	t.Signature = u.sign(account, kind, message)
	r, err := u.client.SendTransaction(context.Background(), t.Append(nil))
	if err != nil {
		u.Fatalf("%s: %v", kind, err)
	}
	return r
}

// done is send of what must succeed.
func (u *walletUser) done(account int, kind string, t *tx.Transaction, message map[string]any) api.Receipt {
	u.Helper()
	r := u.send(account, kind, t, message)
	if r.Status != api.StatusOK {
		u.Fatalf("%s: %s %s", kind, *r.Error, r.ErrorDetail)
	}
	return r
}

// fails is send of what is taken, attributed and then fails by the market's rules.
func (u *walletUser) fails(account int, kind, want string, t *tx.Transaction, message map[string]any) {
	u.Helper()
	r := u.send(account, kind, t, message)
	got := "no error"
	if r.Error != nil {
		got = *r.Error
	}
	if got != want {
		u.Fatalf("%s: %s %s, want %s", kind, got, r.ErrorDetail, want)
	}
}

func hexOf(b []byte) string  { return fmt.Sprintf("0x%x", b) }
func number(v uint64) string { return fmt.Sprint(v) }

func (u *walletUser) run() {
	const admin, user, solver, other, relayer, settler = AdminAccount, 1, 2, 3, RelayerAccount, SettlerAccount
	to, name := u.account(other).Address, []byte(u.library)
	external := secp.Keccak256(name)
	wallet := tx.Address(external[12:])

	u.done(user, "Transfer", &tx.Transaction{Kind: tx.KindTransfer, Transfer: tx.Transfer{To: to, Amount: 1_500_000}},
		map[string]any{"to": hexOf(to[:]), "amount": "1500000"})
	u.done(user, "NominateApiWallet", &tx.Transaction{Kind: tx.KindNominateApiWallet, NominateApiWallet: tx.NominateApiWallet{Wallet: wallet}},
		map[string]any{"wallet": hexOf(wallet[:]), "expiry": "0"})
	u.done(user, "RevokeApiWallet", &tx.Transaction{Kind: tx.KindRevokeApiWallet, RevokeApiWallet: tx.RevokeApiWallet{Wallet: wallet}},
		map[string]any{"wallet": hexOf(wallet[:])})
	u.done(relayer, "Deposit", &tx.Transaction{Kind: tx.KindDeposit, Deposit: tx.Deposit{User: to, Amount: 7, ExternalTxHash: external}},
		map[string]any{"user": hexOf(to[:]), "amount": "7", "externalTxHash": hexOf(external[:])})
	withdrawn := u.done(user, "Withdraw", &tx.Transaction{Kind: tx.KindWithdraw, Withdraw: tx.Withdraw{Amount: 9, Destination: to}},
		map[string]any{"amount": "9", "destination": hexOf(to[:])})
	id := u.fromEvent(withdrawn, "withdrawal_id")
	u.done(relayer, "ProcessWithdrawal", &tx.Transaction{Kind: tx.KindProcessWithdrawal, ProcessWithdrawal: tx.ProcessWithdrawal{WithdrawalID: id, ExternalTxHash: external}},
		map[string]any{"withdrawalId": number(id), "externalTxHash": hexOf(external[:])})
	thesis := u.thesis(user, solver)
	u.fails(settler, "SystemSettle", "ChallengeWindowNotOver", &tx.Transaction{Kind: tx.KindSystemSettle, SystemSettle: tx.SystemSettle{ThesisID: thesis}},
		map[string]any{"thesisId": number(thesis), "settlementType": 0, "breachTimestamp": "0", "breachPrice": "0"})
	u.fails(other, "RfqSettle", "ChallengeWindowNotOver", &tx.Transaction{Kind: tx.KindRfqSettle, RfqSettle: tx.RfqSettle{ThesisID: thesis}},
		map[string]any{"thesisId": number(thesis)})
	cancel := tx.AdminAction{Kind: tx.CancelThesis, ThesisID: thesis}
	action := secp.Keccak256(cancel.Append(nil))
	u.done(admin, "Admin", &tx.Transaction{Kind: tx.KindAdmin, Admin: cancel}, map[string]any{"actionHash": hexOf(action[:])})
}

// thesis opens one: the user's wallet signs the quote, the solver's the
// transaction.
func (u *walletUser) thesis(user, solver int) uint64 {
	u.Helper()
	prices, err := u.client.OraclePrices(context.Background(), api.Ref{})
	if err != nil {
		u.Fatal(err)
	}
	status, err := u.client.Status(context.Background())
	if err != nil {
		u.Fatal(err)
	}
	p := prices.Prices["BTC/USDT"]
	const lead, length = 30_000, 60_000 // ms
	q := tx.Quote{Base: tx.Address(p.Base), Quote: tx.Address(p.Quote), Lower: uint64(p.Price) / 2, Upper: 2 * uint64(p.Price), BetAmount: 2_000_000, Payout: 3_000_000,
		Start: status.HeadTime + lead, End: status.HeadTime + lead + length, Deadline: status.HeadTime + lead, User: u.account(user).Address, Solver: u.account(solver).Address, Salt: status.HeadTime}
	signature := u.sign(user, "Quote", map[string]any{"thesisType": 0, "base": hexOf(q.Base[:]), "quote": hexOf(q.Quote[:]), "lower": number(q.Lower), "upper": number(q.Upper),
		"betAmount": number(q.BetAmount), "payout": number(q.Payout), "start": number(q.Start), "end": number(q.End), "deadline": number(q.Deadline),
		"user": hexOf(q.User[:]), "solver": hexOf(q.Solver[:]), "salt": number(q.Salt)})
	hash := chain.Hash(secp.Keccak256(q.Append(nil)))
	r := u.done(solver, "RfqSubmit", &tx.Transaction{Kind: tx.KindRfqSubmit, RfqSubmit: tx.RfqSubmit{Quote: q, UserSignature: signature}},
		map[string]any{"quoteHash": hexOf(hash[:])})
	return u.fromEvent(r, "thesis_id")
}

// fromEvent is a number in a receipt's events.
func (u *walletUser) fromEvent(r api.Receipt, field string) uint64 {
	u.Helper()
	var seen strings.Builder
	for i := range r.Events {
		if v, ok := r.Events[i].Get(field).(uint64); ok {
			return v
		}
		fmt.Fprintf(&seen, "%+v ", r.Events[i])
	}
	u.Fatalf("no %s in %s", field, &seen)
	return 0
}
