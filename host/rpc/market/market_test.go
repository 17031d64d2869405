package market

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// vector is an example made with an independent wallet library.
type vector struct {
	Type        string
	Message     map[string]any
	Quote       map[string]any
	Signature   string
	Transaction api.Bytes `json:"transaction_borsh"`
}

func loadVectors(t testing.TB) []vector {
	b, err := os.ReadFile("../../../stf-modules/rfq/tx/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Vectors
}

// spelling of the members whose name or place is not simply the snake_case of
// the typed data's.
var elsewhere = map[string]string{
	"timestamp": "timestamp", "from": "from",
	"breachTimestamp": "payload.settlement.breach_timestamp", "breachPrice": "payload.settlement.breach_price",
}

// TestDecodesVectors compares every value of the 66 vectors with what the JSON
// form says.
func TestDecodesVectors(t *testing.T) {
	seen := map[string]int{}
	for i, v := range loadVectors(t) {
		if v.Transaction == nil {
			continue // a quote alone
		}
		kind := strings.TrimPrefix(v.Type, "Kaizen:")
		seen[kind]++
		flat := flatten(t, v.Transaction)
		if flat["kind"] != kind || !strings.EqualFold(flat["signature"], v.Signature) {
			t.Errorf("vector %d: %s, signature %s", i, flat["kind"], flat["signature"])
		}
		for name, want := range v.Message {
			checkMember(t, flat, kind, "payload.", name, fmt.Sprint(want))
		}
		for name, want := range v.Quote {
			if got := flat["payload.quote."+snake(name)]; !strings.EqualFold(got, fmt.Sprint(want)) {
				t.Errorf("vector %d: quote %s is %s, want %v", i, name, got, want)
			}
		}
	}
	if len(seen) < 8 {
		t.Errorf("the vectors cover %v only", seen)
	}
}

func checkMember(t *testing.T, flat map[string]string, kind, prefix, name, want string) {
	t.Helper()
	at := elsewhere[name]
	if at == "" {
		at = prefix + snake(name)
	}
	got, there := flat[at]
	switch {
	case name == "quoteHash" || name == "actionHash": // of what the payload spells out
	case name == "settlementType":
		if outcomes[want[0]-'0'] != flat["payload.settlement.outcome"] {
			t.Errorf("%s: outcome %s, want %s", kind, flat["payload.settlement.outcome"], want)
		}
	case !there && want == "0" && strings.HasPrefix(name, "breach"): // not a breach
	case !strings.EqualFold(got, want):
		t.Errorf("%s: %s is %q, want %q", kind, name, got, want)
	}
}

func snake(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// flatten is the JSON form with dotted names, every value as text.
func flatten(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	v, err := Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	flat := map[string]string{}
	var walk func(prefix string, m map[string]any)
	walk = func(prefix string, m map[string]any) {
		for name, v := range m {
			if sub, ok := v.(map[string]any); ok {
				walk(prefix+name+".", sub)
			} else {
				flat[prefix+name] = fmt.Sprint(v)
			}
		}
	}
	walk("", tree)
	return flat
}

func TestDecodesAdmin(t *testing.T) {
	a, q := tx.Address{19: 1}, tx.Address{18: 1}
	const addresses = `"base":"0x0000000000000000000000000000000000000001","quote":"0x0000000000000000000000000000000000000100"`
	limits := tx.Limits{MinBet: 1, MaxBet: 2, MaxOpenInterest: 3}
	for _, c := range []struct {
		action tx.AdminAction
		want   string
	}{
		{tx.AdminAction{Kind: tx.GrantPermissions, Account: a, Permissions: tx.PermAdmin | tx.PermSettler}, `{"action":"GrantPermissions","account":"0x0000000000000000000000000000000000000001","permissions":["admin","settler"]}`},
		{tx.AdminAction{Kind: tx.RevokePermissions, Account: a, Permissions: tx.PermRelayer}, `{"action":"RevokePermissions","account":"0x0000000000000000000000000000000000000001","permissions":["relayer"]}`},
		{tx.AdminAction{Kind: tx.PauseSystem}, `{"action":"PauseSystem"}`},
		{tx.AdminAction{Kind: tx.UnpauseSystem}, `{"action":"UnpauseSystem"}`},
		{tx.AdminAction{Kind: tx.PauseMarket, Base: a, Quote: q}, `{"action":"PauseMarket",` + addresses + `}`},
		{tx.AdminAction{Kind: tx.UnpauseMarket, Base: a, Quote: q}, `{"action":"UnpauseMarket",` + addresses + `}`},
		{tx.AdminAction{Kind: tx.AddMarket, Base: a, Quote: q, Name: "A/B", Limits: limits}, `{"action":"AddMarket",` + addresses + `,"name":"A/B","limits":{"min_bet":"1","max_bet":"2","max_open_interest":"3"}}`},
		{tx.AdminAction{Kind: tx.SetMarketLimits, Base: a, Quote: q, Limits: limits}, `{"action":"SetMarketLimits",` + addresses + `,"limits":{"min_bet":"1","max_bet":"2","max_open_interest":"3"}}`},
		{tx.AdminAction{Kind: tx.BlacklistAdd, Account: a}, `{"action":"BlacklistAdd","account":"0x0000000000000000000000000000000000000001"}`},
		{tx.AdminAction{Kind: tx.BlacklistRemove, Account: a}, `{"action":"BlacklistRemove","account":"0x0000000000000000000000000000000000000001"}`},
		{tx.AdminAction{Kind: tx.CancelThesis, ThesisID: 7}, `{"action":"CancelThesis","thesis_id":7}`},
	} {
		x := tx.Transaction{Kind: tx.KindAdmin, Admin: c.action}
		v, err := Decode(x.Append(nil))
		if err != nil {
			t.Errorf("%s: %v", c.want, err)
			continue
		}
		got, err := json.Marshal(v.Payload)
		if err != nil || string(got) != c.want {
			t.Errorf("got  %s (%v)\nwant %s", got, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add([]byte(v.Transaction))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Decode(b)
		if (err == nil) != (v != nil) || (err != nil && !errors.Is(err, ErrMalformed)) {
			t.Fatalf("%x: %v %v", b, v, err)
		}
		if v == nil {
			return
		}
		if _, err := json.Marshal(v); err != nil || v.Payload == nil {
			t.Fatalf("%x: %+v: %v", b, v, err)
		}
	})
}

// TestNames holds the tables to the module's own.
func TestNames(t *testing.T) {
	if Symbol(chain.Address{19: 1}) != "BTC" || Symbol(chain.Address{18: 1}) != "USDT" || Symbol(chain.Address{}) != "" {
		t.Errorf("symbols %v", symbols)
	}
	if len(kinds) != int(tx.KindAdmin)+1 || kinds[tx.KindAdmin] != "Admin" || actions[tx.CancelThesis] != "CancelThesis" || len(actions) != int(tx.CancelThesis)+1 || outcomes[tx.Void] != "Void" || name(kinds[:], 200) != "200" {
		t.Error("a table does not fit the tags")
	}
}

// rfqNode is the rfq module at its genesis, as far as queries go.
type rfqNode struct {
	rpc.Backend // nil: nothing else is asked
	program     stf.Program
	state       *state.Overlay
}

func newNode(t *testing.T) *rfqNode {
	p := params.Default()
	p.Accounts = []params.Account{{Address: tx.Address{19: 7}, Balance: 5_000_000, Permissions: tx.PermAdmin}}
	g := &chain.Genesis{ChainID: 1, Time: 1000, IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3000, Params: p.Append(nil)}
	program, err := native.New(g.ModuleHash, rfq.New, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := stf.NewExecutor(program)
	if err != nil {
		t.Fatal(err)
	}
	n := &rfqNode{program: program, state: state.NewOverlay(nothing{})}
	if _, err := e.Genesis(g, n.state); err != nil {
		t.Fatal(err)
	}
	return n
}

// nothing is the state before genesis.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, bool) { return nil, false }

func (n *rfqNode) Schema() *stf.Schema { return n.program.Schema() }

func (n *rfqNode) Query(_ context.Context, _ api.Ref, q []byte) ([]byte, chain.BlockID, error) {
	out, err := n.program.Query(n.state, abi.Context{Time: 1000}, q)
	if err == nil && out.Code != abi.CodeOK {
		err = n.Schema().Refusal(out)
	}
	return out.Output, chain.BlockID{Hash: chain.Hash{1}}, err
}

func (n *rfqNode) Prove(_ context.Context, _ api.Ref, key []byte) (p rpc.Proof, err error) {
	p.Value, p.Present = n.state.Get(key)
	return p, nil
}

// TestMethodsAgainstTheModule asks a real module every question that this
// package knows, through the server and the client.
func TestMethodsAgainstTheModule(t *testing.T) {
	s, err := rpc.New(rpc.Options{Backend: newNode(t), Module: Module(), Limits: rpc.DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	l := httptest.NewUnstartedServer(nil).Listener
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		if err := errors.Join(s.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	}()
	c, err := client.New(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	admin := chain.Address{19: 7}
	a, err := c.Account(t.Context(), admin, api.Ref{})
	if err != nil || a.Address != admin || a.Balance != 5_000_000 || len(a.Permissions) != 1 || a.Permissions[0] != "admin" || a.APIWallets == nil || a.Block.Hash == nil {
		t.Errorf("account %+v: %v", a, err)
	}
	if p, err := c.ProveAccount(t.Context(), admin, api.Ref{}); err != nil || p.Value == nil {
		t.Errorf("the account's key %s is not in the state: %v", p.Key, err)
	}
	for _, q := range []struct {
		method   string
		params   string
		contains string
	}{
		{"kaizen_getMarkets", `[]`, `"name":"BTC/USDT"`},
		{"kaizen_getOracleHistory", `["BTC/USDT",0,281474976710655]`, `"prices":[]`},
		{"kaizen_getOracleHistory", `{"pair":"BTC/EUR","from":0,"to":1}`, "InvalidOraclePair"},
		{"kaizen_getOracleHistory", `["BTC/USDT",0]`, "InvalidParams: to: want a number"},
		{"kaizen_getTotals", `[]`, `"conserved":true`},
		{"kaizen_getWithdrawal", `[1]`, "WithdrawalNotFound"},
		{"kaizen_getDeposit", `["0x` + strings.Repeat("00", 32) + `"]`, "NotFound"},
		{"kaizen_getThesis", `[1]`, "ThesisNotFound"},
		{"kaizen_listTheses", `[]`, `"theses":[]`},
		{"kaizen_listTheses", `[{"pair":"BTC/USDT","user":"0x` + strings.Repeat("00", 20) + `","solver":null,"state":"open","limit":500,"cursor":null}]`, `"theses":[]`},
		{"kaizen_listTheses", `{"pair":"BTC/EUR"}`, "InvalidOraclePair"},
		{"kaizen_listTheses", `{"state":"closed"}`, "InvalidParams: state"},
		{"kaizen_listTheses", `{"limit":501}`, "InvalidParams: limit"},
		{"kaizen_listTheses", `{"cursor":"0x01"}`, "InvalidQuery"},
		{"kaizen_listDueTheses", `["BTC/USDT",281474976710655,500,null]`, `"theses":[]`},
		{"kaizen_listDueTheses", `["BTC/EUR",0]`, "InvalidOraclePair"},
		{"kaizen_getParams", `[]`, `"challenge_window_ms":10000`},
	} {
		var v json.RawMessage
		err := c.Call(t.Context(), q.method, json.RawMessage(q.params), &v)
		if got := fmt.Sprint(string(v), err); !strings.Contains(got, q.contains) || (err == nil && !strings.HasSuffix(string(v), `"}}`)) {
			t.Errorf("%s%s: %s", q.method, q.params, got)
		}
	}
}

// TestDocumented holds RPC.md to the methods.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../RPC.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range Module().Queries {
		if !strings.Contains(string(b), "\n### `"+q.Name+"(") {
			t.Errorf("RPC.md does not describe %s", q.Name)
		}
	}
}
