package refmarket_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
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
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

var (
	transactions = flag.Int("transactions", 20_000, "random transactions of each differential test")
	seed         = flag.Uint64("seed", 1, "seed of the random transactions")
)

// module is the market that a chain runs, on one kind of machine.
type module struct {
	name      string
	program   stf.Program
	exec      *stf.Executor
	inspector stf.Inspector
	tree      *state.Tree
	root      chain.Hash
	open      *stf.Open
	ctx       abi.Context
	recovered *int // signers, outside of inspection
}

// counted is a crypto that counts the signers that execution recovers.
type counted struct {
	stf.Crypto
	recovered *int
}

func (c counted) Recover(digest *[32]byte, sig *[65]byte) (chain.Address, bool) {
	*c.recovered++
	return c.Crypto.Recover(digest, sig)
}

func newModule(t *testing.T, name string, program stf.Program, recovered *int, genesis chain.Genesis) *module {
	t.Helper()
	exec, err := stf.NewExecutor(program)
	check(t, err)
	inspector, err := program.NewInspector()
	check(t, err)
	m := &module{name: name, program: program, exec: exec, inspector: inspector, tree: state.NewTree(), recovered: recovered}
	t.Cleanup(func() {
		inspector.Close()
		exec.Machine.Close()
		program.Close()
	})
	ov := state.NewOverlay(m.tree)
	genesis.ModuleHash = program.Hash()
	_, err = exec.Genesis(&genesis, ov)
	check(t, err)
	m.root, _ = m.tree.Commit(ov.Changes(), nil)
	return m
}

func nativeModule(t *testing.T, crypto stf.Crypto, genesis *chain.Genesis) *module {
	recovered := new(int)
	p, err := native.New(sha256.Sum256(rfq.Wasm), rfq.New, native.Options{Crypto: counted{crypto, recovered}})
	check(t, err)
	return newModule(t, "native", p, recovered, *genesis)
}

func wasmModule(t *testing.T, crypto stf.Crypto, genesis *chain.Genesis) *module {
	recovered := new(int)
	p, err := wasm.Load(context.Background(), rfq.Wasm, wasm.Options{Engine: wasm.Compiler, Crypto: counted{crypto, recovered}})
	check(t, err)
	return newModule(t, "wasm", p, recovered, *genesis)
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
	m.again(t, c)
	m.root, _ = m.tree.Commit(c.Overlay.Changes(), nil)
	return m.render(c.Results.Begin)
}

// again executes a block as a node that starts does: on what it noted of who signed, with
// no inspection. It comes to the same, and nobody is recovered: the market asks for
// signatures in the order in which it names them.
func (m *module) again(t *testing.T, c *stf.Closed) {
	txs, ok := stf.Trust(c.Txs(), c.Signers())
	if !ok {
		t.Fatalf("block %d of %s: what is noted of signers is not of its transactions", c.Height, m.name)
	}
	before := *m.recovered
	open, err := m.exec.Begin(state.NewOverlay(m.tree), c.Height, c.Time, c.Oracle)
	check(t, err)
	for i := range txs {
		check(t, open.Apply(&txs[i]))
	}
	got, err := open.Close()
	check(t, err)
	if *m.recovered != before {
		t.Errorf("block %d of %s: %d signers were recovered, though all are noted", c.Height, m.name, *m.recovered-before)
	}
	if got.TxsRoot() != c.TxsRoot() || got.Results.Root() != c.Results.Root() || !reflect.DeepEqual(got.Overlay.Changes(), c.Overlay.Changes()) || !bytes.Equal(got.Signers(), c.Signers()) {
		t.Fatalf("block %d of %s comes to something else with noted signers", c.Height, m.name)
	}
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

// thesis asks for a thesis and returns its state and itself, in the reference's
// words.
func (m *module) thesis(t *testing.T, id uint64) (state string, v refmarket.Thesis) {
	var a struct {
		ThesisID                   uint64 `json:"thesis_id"`
		State, Outcome             string
		QuoteHash                  chain.Hash `json:"quote_hash"`
		ThesisType                 uint8      `json:"thesis_type"`
		Base, Quote, User, Solver  chain.Address
		Lower, Upper, Payout, Salt string
		BetAmount                  string `json:"bet_amount"`
		Start, End, Deadline       uint64
		CreatedAt                  uint64        `json:"created_at"`
		SettledAt                  uint64        `json:"settled_at"`
		SettledBy                  chain.Address `json:"settled_by"`
		BreachTimestamp            uint64        `json:"breach_timestamp"`
		BreachPrice                string        `json:"breach_price"`
	}
	a.BreachPrice = "0" // null leaves it
	m.ask(t, query.Thesis(id), &a)
	n := func(s string) uint64 { return number(t, s) }
	return a.State, refmarket.Thesis{ID: a.ThesisID, Hash: a.QuoteHash, Outcome: refmarket.Outcome(a.Outcome), CreatedAt: a.CreatedAt,
		SettledAt: a.SettledAt, SettledBy: a.SettledBy, Breach: refmarket.Price{Timestamp: a.BreachTimestamp, Price: n(a.BreachPrice)},
		Quote: tx.Quote{ThesisType: a.ThesisType, Base: a.Base, Quote: a.Quote, Lower: n(a.Lower), Upper: n(a.Upper), BetAmount: n(a.BetAmount),
			Payout: n(a.Payout), Start: a.Start, End: a.End, Deadline: a.Deadline, User: a.User, Solver: a.Solver, Salt: n(a.Salt)}}
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

// markets asks for all markets, in the reference's words.
func (m *module) markets(t *testing.T) (all []refmarket.MarketView) {
	var answer struct {
		Markets []struct {
			Name            string
			MinBet          string `json:"min_bet"`
			MaxBet          string `json:"max_bet"`
			MaxOpenInterest string `json:"max_open_interest"`
			OpenInterest    string `json:"open_interest"`
			OpenTheses      uint64 `json:"open_theses"`
			Paused          bool
		}
	}
	m.ask(t, query.Markets(), &answer)
	n := func(s string) uint64 { return number(t, s) }
	for _, x := range answer.Markets {
		all = append(all, refmarket.MarketView{Name: x.Name, Paused: x.Paused, OpenInterest: n(x.OpenInterest), OpenTheses: x.OpenTheses,
			Limits: tx.Limits{MinBet: n(x.MinBet), MaxBet: n(x.MaxBet), MaxOpenInterest: n(x.MaxOpenInterest)}})
	}
	return all
}

// pairing is the reference and the modules that are to do the same. What the
// first has in its state is compared with the reference, the others have the same
// state root.
type pairing struct {
	g        *refmarket.Generator // for its keys
	ref      *refmarket.Market
	modules  []*module
	clock    map[int]uint64 // last timestamp of each key
	height   uint64
	now      uint64
	maxStale uint64
	codes    map[string]int
	prices   []string                              // recorded at the beginning of the open block
	touched  map[uint64]bool                       // theses that were, since the state was compared
	every    uint64                                // blocks between comparisons of the state
	oracles  map[tx.Address]*refmarket.PriceOracle // of each base, from the module's events
}

// everywhere is where the shorter tests run.
var everywhere = []maker{nativeModule}

// maker makes a module on some kind of machine.
type maker func(*testing.T, stf.Crypto, *chain.Genesis) *module

func newPairing(t *testing.T, g *refmarket.Generator, genesis *chain.Genesis, params *params.Params, make []maker) *pairing {
	p := &pairing{g: g, ref: refmarket.New(genesis, params), maxStale: genesis.MaxStaleMs, every: 1, touched: map[uint64]bool{}, oracles: map[tx.Address]*refmarket.PriceOracle{}, clock: map[int]uint64{}, codes: map[string]int{}}
	for _, f := range make {
		p.modules = append(p.modules, f(t, g.Scheme, genesis))
	}
	return p
}

func (p *pairing) begin(t *testing.T, now uint64, oracle chain.OracleSnapshot) {
	p.height, p.now = p.height+1, now
	p.prices = p.ref.BeginBlock(p.height, now, &oracle)
	for _, m := range p.modules {
		m.begin(t, p.height, now, oracle)
	}
}

// send signs a transaction with a key of the generator, and runs it; the key's
// timestamps ascend.
func (p *pairing) send(t *testing.T, key int, x tx.Transaction) refmarket.Result {
	t.Helper()
	p.clock[key] = max(p.clock[key]+1, p.now)
	x.From, x.Timestamp = p.g.Address(key), p.clock[key]
	return p.apply(t, p.g.Sign(key, &x))
}

// apply runs a transaction everywhere and compares.
func (p *pairing) apply(t *testing.T, raw []byte) refmarket.Result {
	t.Helper()
	in := refmarket.Read(raw, p.g.Scheme)
	want := p.ref.Apply(in)
	p.codes[want.Error]++
	for _, m := range p.modules {
		got := m.apply(t, raw)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("block %d at %d: %s has %+v, the reference %+v\nof %s", p.height, p.now, m.name, got, want, p.describe(&in))
		}
	}
	check(t, p.ref.Conserved())
	if id := refmarket.EventThesis(want.Events); id != 0 {
		p.touched[id] = true
	}
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
func (p *pairing) end(t *testing.T) {
	t.Helper()
	for _, m := range p.modules {
		if got := m.end(t); !slices.Equal(got, p.prices) {
			t.Fatalf("block %d at %d: %s has prices %v, the reference %v", p.height, p.now, m.name, got, p.prices)
		}
		if first := p.modules[0]; m.root != first.root {
			t.Fatalf("block %d: %s has state root %s, %s %s", p.height, m.name, m.root, first.name, first.root)
		}
	}
	for _, e := range p.prices {
		p.record(e)
	}
	if p.height%p.every == 0 {
		p.sameState(t, p.modules[0])
	}
}

// record remembers a price event for those who know nothing but prices.
func (p *pairing) record(event string) {
	var base, quote chain.Address
	var at refmarket.Price
	if _, err := fmt.Sscanf(event, "price base=%v quote=%v timestamp=%d price=%d", text{&base}, text{&quote}, &at.Timestamp, &at.Price); err != nil {
		panic(fmt.Sprintf("%s: %v", event, err))
	}
	if quote == (chain.Address{18: 1}) {
		o := p.oracles[base]
		if o == nil {
			o = &refmarket.PriceOracle{MaxStaleMs: p.maxStale}
			p.oracles[base] = o
		}
		o.Prices = append(o.Prices, at)
	}
}

// text scans what can unmarshal itself.
type text struct{ encoding.TextUnmarshaler }

func (x text) Scan(s fmt.ScanState, _ rune) error {
	b, err := s.Token(true, nil)
	if err != nil {
		return err
	}
	return x.UnmarshalText(b)
}

// winners are PriceOracle's, as outcomes.
var winners = map[byte]refmarket.Outcome{'u': refmarket.UserWins, 's': refmarket.SolverWins, 'v': refmarket.Voided}

// sameWinners compares how theses ended with what prices alone say. One that was
// settled so late that the ring had lost its prices may be void for it.
func (p *pairing) sameWinners(t *testing.T) {
	t.Helper()
	for _, x := range p.ref.Theses() {
		if x.Outcome == refmarket.Open || x.Outcome == refmarket.Cancelled || x.Outcome == refmarket.Voided && x.SettledAt-x.Quote.Start > 6_500_000 {
			continue
		}
		o := p.oracles[x.Quote.Base]
		if o == nil {
			o = &refmarket.PriceOracle{MaxStaleMs: p.maxStale}
		}
		if want := winners[o.Winner(&x.Quote)]; x.Outcome != want {
			t.Fatalf("thesis %d is %s, prices alone say %s: %+v", x.ID, x.Outcome, want, *x)
		}
	}
}

func (p *pairing) sameState(t *testing.T, m *module) {
	t.Helper()
	if got, want := m.totals(t), p.ref.Totals(); got != want {
		t.Fatalf("block %d: %s has totals %+v, the reference %+v", p.height, m.name, got, want)
	}
	for _, a := range p.ref.Addresses() {
		if got, want := m.account(t, a), p.ref.Account(a); !reflect.DeepEqual(got, want) {
			t.Fatalf("block %d: %s has account %x as %+v, the reference %+v", p.height, m.name, a, got, want)
		}
	}
	for i, got := range m.markets(t) {
		if want := p.ref.MarketAt(i); got != want {
			t.Fatalf("block %d: %s has market %d as %+v, the reference %+v", p.height, m.name, i, got, want)
		}
	}
	for id := range p.touched {
		p.sameThesis(t, m, id)
	}
	clear(p.touched)
	if open := p.ref.Open(); len(open) > 0 { // what time alone does to one
		p.sameThesis(t, m, open[p.height%uint64(len(open))].ID)
	}
}

func (p *pairing) sameThesis(t *testing.T, m *module, id uint64) {
	t.Helper()
	want := p.ref.Theses()[id-1]
	wantState := p.ref.State(want)
	gotState, got := m.thesis(t, id)
	if !got.Same(want) || gotState != wantState {
		t.Fatalf("block %d: %s has thesis %d as %s %+v, the reference %s %+v", p.height, m.name, id, gotState, got, wantState, *want)
	}
}

// random runs random traffic.
func random(t *testing.T, scheme traffic.Scheme, count, perBlock int, make ...maker) {
	g := refmarket.NewGenerator(*seed, scheme)
	genesis, params := g.Genesis()
	p := newPairing(t, g, genesis, params, make)
	g.Market = p.ref
	now := genesis.Time
	for n := 0; n < count; n += perBlock {
		now += g.Step()
		p.begin(t, now, g.Oracle(now))
		for range perBlock {
			p.apply(t, g.Next())
		}
		p.end(t)
	}
	p.drain(t)
	p.sameWinners(t)
	p.report(t)
}

// ids asks for all pages of theses.
func (m *module) ids(t *testing.T, ask func(query.Page) []byte) (ids []uint64) {
	t.Helper()
	page := query.Page{Limit: query.MaxTheses}
	for {
		var answer struct {
			Theses []struct {
				ID uint64 `json:"thesis_id"`
			}
			Next *string
		}
		m.ask(t, ask(page), &answer)
		for _, x := range answer.Theses {
			ids = append(ids, x.ID)
		}
		if answer.Next == nil {
			return ids
		}
		cursor, err := hex.DecodeString(strings.TrimPrefix(*answer.Next, "0x"))
		check(t, err)
		page.Cursor = cursor
	}
}

// sameLists compares lists of theses: those that are open, as a settler asks for
// them, and those of each party.
func (p *pairing) sameLists(t *testing.T) {
	t.Helper()
	m := p.modules[0]
	for i := range m.markets(t) {
		name := p.ref.MarketAt(i).Name
		got := m.ids(t, func(page query.Page) []byte { return query.DueTheses(name, ^uint64(0), page) })
		if want := p.ref.OpenOf(name); !slices.Equal(got, want) {
			t.Fatalf("block %d: open theses of %s are %v, the reference has %v", p.height, name, got, want)
		}
	}
	for _, a := range p.ref.Addresses() {
		var asUser, asSolver []uint64 // newest first
		for _, x := range slices.Backward(p.ref.Theses()) {
			if x.Quote.User == a {
				asUser = append(asUser, x.ID)
			}
			if x.Quote.Solver == a {
				asSolver = append(asSolver, x.ID)
			}
		}
		got := m.ids(t, func(page query.Page) []byte {
			return query.Theses(&query.Filter{User: &a, State: query.Any, Page: page})
		})
		if !slices.Equal(got, asUser) {
			t.Fatalf("block %d: theses of user %x are %v, the reference has %v", p.height, a, got, asUser)
		}
		got = m.ids(t, func(page query.Page) []byte {
			return query.Theses(&query.Filter{Solver: &a, State: query.Any, Page: page})
		})
		if !slices.Equal(got, asSolver) {
			t.Fatalf("block %d: theses of solver %x are %v, the reference has %v", p.height, a, got, asSolver)
		}
	}
}

// drain settles what is left, as anybody may; then nothing is held any more.
func (p *pairing) drain(t *testing.T) {
	t.Helper()
	p.sameLists(t)
	last := p.now
	for _, x := range p.ref.Open() {
		last = max(last, p.ref.Due(x))
	}
	p.begin(t, last+graceMs, chain.OracleSnapshot{})
	for _, x := range slices.Clone(p.ref.Open()) {
		if r := p.send(t, refmarket.Outsider, tx.Transaction{Kind: tx.KindRfqSettle, RfqSettle: tx.RfqSettle{ThesisID: x.ID}}); r.Error != "" {
			t.Fatalf("thesis %d: %+v", x.ID, r)
		}
	}
	p.end(t)
	p.sameState(t, p.modules[0])
	p.sameLists(t)
	for _, x := range p.modules[0].markets(t) {
		if x.OpenInterest != 0 || x.OpenTheses != 0 {
			t.Errorf("market %s is left with open interest %d of %d theses", x.Name, x.OpenInterest, x.OpenTheses)
		}
	}
	if escrow := p.modules[0].totals(t).Escrow; escrow != 0 {
		t.Errorf("%d is left in escrow", escrow)
	}
	p.modules[0].tree.Ascend(chain.Hash{}, func(key, _ []byte) bool {
		if key[0] == 'v' { // STATE.md: a market without open theses has no node
			t.Errorf("key %x of the list of open theses is left", key)
			return false
		}
		return true
	})
}

// report says what there was.
func (p *pairing) report(t *testing.T) {
	outcomes := map[string]int{}
	for _, x := range p.ref.Theses() {
		outcomes[p.ref.State(x)]++
	}
	t.Logf("%d blocks, %d theses %v, errors %v", p.height, len(p.ref.Theses()), outcomes, p.codes)
}

// TestRandom is the module, natively and in WebAssembly, against the reference.
func TestRandom(t *testing.T) {
	random(t, traffic.Fake{}, *transactions, 20, nativeModule, wasmModule)
}

// TestRandomSigned is the same with real signatures.
func TestRandomSigned(t *testing.T) {
	random(t, traffic.Secp(), min(*transactions, 1_000), 20, nativeModule)
}
