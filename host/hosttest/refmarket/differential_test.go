package refmarket_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/refmarket"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

var (
	transactions = flag.Int("transactions", 20_000, "random transactions of each differential test")
	seed         = flag.Uint64("seed", 1, "seed of the random transactions")
)

// module is the market that a chain runs, on one kind of machine.
type module struct {
	program   stf.Program
	exec      *stf.Executor
	inspector stf.Inspector
	tree      *state.Tree
	open      *stf.Open
	ctx       abi.Context
}

func newModule(t *testing.T, program stf.Program, genesis chain.Genesis) *module {
	t.Helper()
	exec, err := stf.NewExecutor(program)
	check(t, err)
	inspector, err := program.NewInspector()
	check(t, err)
	m := &module{program: program, exec: exec, inspector: inspector, tree: state.NewTree()}
	t.Cleanup(func() {
		inspector.Close()
		exec.Machine.Close()
		program.Close()
	})
	ov := state.NewOverlay(m.tree)
	genesis.ModuleHash = program.Hash()
	_, err = exec.Genesis(&genesis, ov)
	check(t, err)
	m.tree.Commit(ov.Changes(), nil)
	return m
}

func nativeModule(t *testing.T, crypto stf.Crypto, genesis *chain.Genesis) *module {
	p, err := native.New(chain.Hash{1}, rfq.New, native.Options{Crypto: crypto})
	check(t, err)
	return newModule(t, p, *genesis)
}

func wasmModule(t *testing.T, crypto stf.Crypto, genesis *chain.Genesis) *module {
	p, err := wasm.Load(context.Background(), rfq.Wasm, wasm.Options{Engine: wasm.Compiler, Crypto: crypto})
	check(t, err)
	return newModule(t, p, *genesis)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *module) begin(t *testing.T, height, time uint64, oracle chain.OracleSnapshot) {
	var err error
	m.ctx = abi.Context{Height: height, Time: time}
	m.open, err = m.exec.Begin(state.NewOverlay(m.tree), height, time, oracle)
	check(t, err)
}

// apply does what a write node does with a transaction.
func (m *module) apply(t *testing.T, raw []byte) (r refmarket.Result) {
	x := &stf.Tx{Raw: raw}
	check(t, m.inspector.Inspect(x))
	receipt, refusal, err := m.open.Submit(x)
	check(t, err)
	if refusal != nil {
		return refmarket.Result{Refused: true, Error: refusal.Name}
	}
	if receipt.Code != abi.CodeOK {
		r.Error = m.exec.Schema.ErrorName(receipt.Code)
	}
	r.Events = m.render(receipt.Events)
	return r
}

// render writes events as the reference does.
func (m *module) render(events [][]byte) (lines []string) {
	for _, b := range events {
		typ, fields := m.exec.Schema.Event(b)
		for _, f := range fields {
			typ += fmt.Sprintf(" %s=%v", f.Name, f.Value)
		}
		lines = append(lines, typ)
	}
	return lines
}

// end closes the block and returns the events of its prices.
func (m *module) end(t *testing.T) []string {
	c, err := m.open.Close()
	check(t, err)
	m.tree.Commit(c.Overlay.Changes(), nil)
	return m.render(c.Results.Begin)
}

// ask queries the state after the last block.
func (m *module) ask(t *testing.T, q []byte, answer any) {
	t.Helper()
	out, err := m.program.Query(m.tree, m.ctx, q)
	check(t, err)
	if out.Code != abi.CodeOK {
		t.Fatalf("query %x: %s %s", q, m.exec.Schema.ErrorName(out.Code), out.Detail)
	}
	check(t, json.Unmarshal(out.Output, answer))
}

// account asks for an account, in the reference's words.
func (m *module) account(t *testing.T, a tx.Address) (v refmarket.AccountView) {
	var answer struct {
		Balance, Locked string
		ApiWallets      []struct {
			Address chain.Address
			Expired bool
		} `json:"api_wallets"`
		Permissions []string
		Blacklisted bool
	}
	m.ask(t, query.Account(a), &answer)
	v = refmarket.AccountView{Balance: number(t, answer.Balance), Locked: number(t, answer.Locked), Blacklisted: answer.Blacklisted}
	for _, p := range answer.Permissions {
		bit, _ := tx.PermissionBit(p)
		v.Permissions |= bit
	}
	for _, w := range answer.ApiWallets {
		if !w.Expired {
			v.Signers = append(v.Signers, tx.Address(w.Address))
		}
	}
	slices.SortFunc(v.Signers, func(a, b tx.Address) int { return strings.Compare(string(a[:]), string(b[:])) })
	return v
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	check(t, err)
	return n
}

// totals asks for the totals, in the reference's words.
func (m *module) totals(t *testing.T) refmarket.Totals {
	var v map[string]any
	m.ask(t, query.Totals(), &v)
	n := func(name string) uint64 { return number(t, v[name].(string)) }
	return refmarket.Totals{Genesis: n("genesis"), Deposits: n("deposits"), Processed: n("processed_withdrawals"), Pending: n("pending_withdrawals"),
		Escrow: n("escrow"), Balances: n("balances")}
}

// pairing is the reference and the modules that are to do the same.
type pairing struct {
	ref     *refmarket.Market
	modules map[string]*module
	crypto  stf.Crypto
	height  uint64
	now     uint64
	codes   map[string]int
	touched map[uint64]bool // theses, in this block
}

func (p *pairing) begin(t *testing.T, now uint64, oracle chain.OracleSnapshot) {
	p.height, p.now = p.height+1, now
	p.touched = map[uint64]bool{}
	for _, m := range p.modules {
		m.begin(t, p.height, now, oracle)
	}
}

// apply runs a transaction everywhere and compares.
func (p *pairing) apply(t *testing.T, raw []byte) refmarket.Result {
	t.Helper()
	in := refmarket.Read(raw, p.crypto)
	want := p.ref.Apply(in)
	p.codes[want.Error]++
	for name, m := range p.modules {
		if got := m.apply(t, raw); !reflect.DeepEqual(got, want) {
			t.Fatalf("block %d at %d: %s has %+v, the reference %+v\nof %s", p.height, p.now, name, got, want, p.describe(&in))
		}
	}
	check(t, p.ref.Conserved())
	return want
}

func (p *pairing) describe(in *refmarket.Input) string {
	x := &in.Tx
	payload := map[tx.Kind]any{tx.KindTransfer: x.Transfer, tx.KindNominateApiWallet: x.NominateApiWallet, tx.KindRevokeApiWallet: x.RevokeApiWallet,
		tx.KindDeposit: x.Deposit, tx.KindWithdraw: x.Withdraw, tx.KindProcessWithdrawal: x.ProcessWithdrawal, tx.KindRfqSubmit: x.RfqSubmit,
		tx.KindRfqSettle: x.RfqSettle, tx.KindSystemSettle: x.SystemSettle, tx.KindAdmin: x.Admin}[x.Kind]
	return fmt.Sprintf("kind %d from %x at %d (%+d) signed by %x %v: %+v", x.Kind, x.From, x.Timestamp, int64(x.Timestamp-p.now), in.Signer, in.SignerOK, payload)
}

// end closes the block everywhere and compares what is in the state.
func (p *pairing) end(t *testing.T, events []string) {
	t.Helper()
	for name, m := range p.modules {
		if got := m.end(t); !slices.Equal(got, events) {
			t.Fatalf("block %d at %d: %s has prices %v, the reference %v", p.height, p.now, name, got, events)
		}
		if got, want := m.totals(t), p.ref.Totals(); got != want {
			t.Fatalf("block %d: %s has totals %+v, the reference %+v", p.height, name, got, want)
		}
		for _, a := range p.ref.Addresses() {
			if got, want := m.account(t, a), p.ref.Account(a); !reflect.DeepEqual(got, want) {
				t.Fatalf("block %d: %s has account %x as %+v, the reference %+v", p.height, name, a, got, want)
			}
		}
	}
}

// random runs random traffic.
func random(t *testing.T, scheme traffic.Scheme, count, perBlock int, make ...func(*testing.T, stf.Crypto, *chain.Genesis) *module) {
	g := refmarket.NewGenerator(*seed, scheme)
	if *accounts {
		g.Weights[6], g.Weights[7], g.Weights[8] = 0, 0, 0
	}
	genesis, params := g.Genesis()
	p := &pairing{ref: refmarket.New(genesis, params), modules: map[string]*module{}, crypto: scheme, codes: map[string]int{}}
	for i, f := range make {
		p.modules[fmt.Sprint(i)] = f(t, scheme, genesis)
	}
	g.Market = p.ref
	now := genesis.Time
	for n := 0; n < count; n += perBlock {
		now += g.Step()
		oracle := g.Oracle(now)
		p.begin(t, now, oracle)
		prices := p.ref.BeginBlock(p.height, now, &oracle)
		for range perBlock {
			p.apply(t, g.Next())
		}
		p.end(t, prices)
	}
	names := []string{}
	for name, n := range p.codes {
		names = append(names, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(names)
	t.Logf("%d blocks, %d theses: %v", p.height, len(p.ref.Theses()), names)
	outcomes := map[string]int{}
	for _, x := range p.ref.Theses() {
		outcomes[p.ref.State(x)]++
	}
	t.Log(outcomes)
}

var accounts = flag.Bool("accounts", false, "no theses")

func TestRandomNative(t *testing.T) { random(t, traffic.Fake{}, *transactions, 20, nativeModule) }
func TestRandomRef(t *testing.T)    { random(t, traffic.Fake{}, *transactions, 20) }
