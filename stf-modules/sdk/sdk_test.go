package sdk_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// recorder is a module that notes what it was called with, and a host that notes
// what it was asked.
type recorder struct {
	sdk.Module
	genesis *sdk.Genesis
	oracle  *sdk.Oracle
	ctx     abi.Context
	body    string
	inspect func(*abi.Inspection)
	output  string
}

func (r *recorder) Schema() []byte { return []byte("{}") }
func (r *recorder) Genesis(_ *sdk.Env, g *sdk.Genesis) abi.Code {
	r.genesis = g
	return abi.CodeOK
}

func (r *recorder) BeginBlock(_ *sdk.Env, ctx abi.Context, o *sdk.Oracle) abi.Code {
	r.ctx, r.oracle = ctx, o
	return abi.CodeOK
}

func (r *recorder) Inspect(_ *sdk.Env, tx []byte, out *abi.Inspection) abi.Code {
	r.body = string(tx)
	r.inspect(out)
	return abi.CodeOK
}

func (r *recorder) Execute(env *sdk.Env, ctx abi.Context, tx []byte) abi.Code {
	r.ctx, r.body = ctx, string(tx)
	return env.Fail(7, env.Text("amount ").U64(^uint64(0)).Str(" of ").Hex([]byte{0, 0xab}).Bytes([]byte("!")))
}

func (r *recorder) StateGet(key []byte) ([]byte, bool) { return key, len(key) > 0 }
func (r *recorder) StateSet(key, value []byte)         {}
func (r *recorder) StateDelete(key []byte)             {}
func (r *recorder) Keccak256(b []byte) [32]byte        { return [32]byte{1} }
func (r *recorder) SHA256(b []byte) [32]byte           { return [32]byte{2} }
func (r *recorder) Recover(digest *[32]byte, sig *[65]byte) ([20]byte, bool) {
	return [20]byte{3}, true
}
func (r *recorder) Signer712(domain *[32]byte, words []byte, sig *[65]byte) ([32]byte, [20]byte, bool) {
	return [32]byte{4}, [20]byte{5}, true
}
func (r *recorder) Accept(id *[32]byte) {}
func (r *recorder) Emit(event []byte)   {}
func (r *recorder) Output(b []byte)     { r.output = string(b) }
func (r *recorder) Log(line []byte)     {}

// TestGenesisIsTheChains checks that the guest reads what host/chain writes.
func TestGenesisIsTheChains(t *testing.T) {
	want := chain.Genesis{ChainID: 1, Time: 2, IntervalMs: 3, MaxTxsPerBlock: 4, MaxStaleMs: 5, SettlerEnabled: true,
		Settler: chain.Address{6}, Sequencer: [32]byte{7}, ModuleHash: chain.Hash{8}, Params: []byte("nine")}
	r := &recorder{}
	g := sdk.NewGuest(r, r)
	doc := want.Append(nil)
	if code := g.Genesis(doc); code != abi.CodeOK {
		t.Fatal(code)
	}
	got := chain.Genesis{ChainID: r.genesis.ChainID, Time: r.genesis.Time, IntervalMs: r.genesis.IntervalMs, MaxTxsPerBlock: r.genesis.MaxTxsPerBlock,
		MaxStaleMs: r.genesis.MaxStaleMs, SettlerEnabled: r.genesis.SettlerEnabled, Settler: r.genesis.Settler, Sequencer: r.genesis.Sequencer,
		ModuleHash: r.genesis.ModuleHash, Params: r.genesis.Params}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("read %+v, want %+v", got, want)
	}
	for _, b := range [][]byte{nil, doc[:len(doc)-1], append(doc[:len(doc):len(doc)], 0), append([]byte{2}, doc[1:]...)} {
		if !panics(func() { g.Genesis(b) }) {
			t.Errorf("%d bytes are taken as a genesis document", len(b))
		}
	}
}

// TestOracleIsTheChains does the same for snapshots.
func TestOracleIsTheChains(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := &recorder{}
	g := sdk.NewGuest(r, r)
	for _, n := range []int{0, 1, 3, chain.MaxMarkets} {
		want := chain.OracleSnapshot{Timestamp: rng.Uint64(), Stale: n == 1}
		for i := range n {
			want.Prices = append(want.Prices, chain.Price{Base: chain.Address{byte(i), 1}, Quote: chain.Address{2}, Price: rng.Uint64(), Timestamp: rng.Uint64()})
		}
		ctx := abi.Context{Height: 9, Time: 10}
		input := want.Append(abi.AppendContext(nil, ctx))
		if code := g.BeginBlock(input); code != abi.CodeOK || r.ctx != ctx {
			t.Fatal(code, r.ctx)
		}
		got := chain.OracleSnapshot{Timestamp: r.oracle.Timestamp, Stale: r.oracle.Stale}
		for _, p := range r.oracle.Prices() {
			got.Prices = append(got.Prices, chain.Price(convert(p)))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%d prices: read %+v, want %+v", n, got, want)
		}
		if !panics(func() { g.BeginBlock(input[:len(input)-1]) }) || !panics(func() { g.BeginBlock(append(input, 0)) }) {
			t.Errorf("a cut or longer snapshot of %d prices is taken", n)
		}
	}
	tooMany := abi.AppendU32(append(make([]byte, abi.ContextBytes+8), 0), chain.MaxMarkets+1)
	if !panics(func() { g.BeginBlock(append(tooMany, make([]byte, 56*(chain.MaxMarkets+1))...)) }) {
		t.Error("a snapshot with too many prices is taken")
	}
}

func convert(p sdk.Price) chain.Price {
	return chain.Price{Base: p.Base, Quote: p.Quote, Price: p.Price, Timestamp: p.Timestamp}
}

func panics(f func()) (v bool) {
	defer func() { v = recover() != nil }()
	f()
	return false
}

func TestCalls(t *testing.T) {
	r := &recorder{}
	g := sdk.NewGuest(r, r)
	ctx := abi.Context{Height: 3, Time: 4}
	if code := g.Execute(append(abi.AppendContext(nil, ctx), "body"...)); code != 7 || r.ctx != ctx || r.body != "body" {
		t.Fatalf("code %d, %+v, %q", code, r.ctx, r.body)
	}
	if want := "amount 18446744073709551615 of 0x00ab!"; r.output != want {
		t.Errorf("detail %q, want %q", r.output, want)
	}
	if !panics(func() { g.Execute(make([]byte, abi.ContextBytes-1)) }) {
		t.Error("an input without a context is taken")
	}
	want := abi.Inspection{ID: [32]byte{1}, Signatures: []abi.Signature{{Digest: [32]byte{2}, Sig: [65]byte{3}}}}
	r.inspect = func(v *abi.Inspection) {
		if len(v.Signatures) != 0 || cap(v.Signatures) != abi.MaxSignatures {
			t.Errorf("%d signatures, room for %d", len(v.Signatures), cap(v.Signatures))
		}
		v.ID, v.Signatures = want.ID, append(v.Signatures, want.Signatures...)
	}
	var got abi.Inspection
	for range 2 {
		if code := g.Inspect([]byte("tx")); code != abi.CodeOK || r.body != "tx" || !abi.ReadInspection([]byte(r.output), &got) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("code %d, %+v, want %+v", code, got, want)
		}
	}
	r.inspect = func(v *abi.Inspection) { v.Signatures = make([]abi.Signature, abi.MaxSignatures+1) }
	if !panics(func() { g.Inspect(nil) }) {
		t.Error("too many signatures are taken")
	}
	if g.Schema(); r.output != "{}" {
		t.Errorf("schema %q", r.output)
	}
}

// asked is a host that notes what it was asked, in order.
type asked struct {
	recorder
	calls []string
}

func (a *asked) StateGet(key []byte) ([]byte, bool) {
	a.calls = append(a.calls, "get "+string(key))
	return []byte("value of " + string(key)), len(key) > 1
}
func (a *asked) StateSet(key, value []byte) {
	a.calls = append(a.calls, "set "+string(key)+" "+string(value))
}
func (a *asked) Emit(event []byte)   { a.calls = append(a.calls, "emit "+string(event)) }
func (a *asked) Accept(id *[32]byte) { a.calls = append(a.calls, fmt.Sprint("accept ", id[0])) }
func (a *asked) Signer712(domain *[32]byte, words []byte, sig *[65]byte) ([32]byte, [20]byte, bool) {
	a.calls = append(a.calls, fmt.Sprint("signer ", domain[0], " ", string(words), " ", sig[0]))
	return [32]byte{4}, [20]byte{5}, sig[0] == 3
}

// batching runs its requests.
type batching struct {
	sdk.Module
	list []sdk.Request
}

func (b *batching) Query(env *sdk.Env, _ abi.Context, _ []byte) abi.Code {
	env.Run(b.list)
	return abi.CodeOK
}

// TestRun: natively too the requests of a batch are made in order, and again when they
// are run again, on what they then name.
func TestRun(t *testing.T) {
	host, m := &asked{}, &batching{list: make([]sdk.Request, 6)}
	key, value, typed := []byte("key"), []byte("12345"), sdk.Typed{}
	dst := make([]byte, 32)
	m.list[0].Signer712(&[32]byte{1}, &typed)
	m.list[0].Signed([]byte("words"), &[65]byte{3})
	m.list[1].Load(key, dst)
	m.list[2].Load([]byte("k"), dst)
	m.list[3].Set(key, value)
	m.list[3].Resize(2)
	m.list[4].Emit([]byte("event"))
	m.list[5].Accept(&[32]byte{6})
	g := sdk.NewGuest(m, host)
	run := func(want ...string) {
		t.Helper()
		host.calls = nil
		if g.Query(make([]byte, abi.ContextBytes)); fmt.Sprint(host.calls) != fmt.Sprint(want) {
			t.Errorf("asked %q, want %q", host.calls, want)
		}
	}
	run("signer 1 words 3", "get key", "get k", "set key 12", "emit event", "accept 6")
	if m.list[0].Answer() != 1 || typed != (sdk.Typed{Digest: [32]byte{4}, Signer: [20]byte{5}}) || m.list[1].Answer() != 12 || m.list[2].Answer() != -1 || string(dst[:12]) != "value of key" {
		t.Errorf("answers %d %+v %d %d %q", m.list[0].Answer(), typed, m.list[1].Answer(), m.list[2].Answer(), dst)
	}
	m.list[0].Signed([]byte("other"), &[65]byte{4})
	m.list[3].Resize(5)
	copy(value, "6789")
	run("signer 1 other 4", "get key", "get k", "set key 67895", "emit event", "accept 6")
	if m.list[0].Answer() != 0 {
		t.Errorf("a bad signature answers %d", m.list[0].Answer())
	}
}

// TestJSON compares the builder with encoding/json on random documents.
func TestJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		j := &sdk.JSON{}
		want := build(rng, j, 3)
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got, again any
		if err := json.Unmarshal(j.Buf, &got); err != nil {
			t.Fatalf("%v in %s", err, j.Buf)
		}
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(again) {
			t.Fatalf("built %s, want %s", j.Buf, b)
		}
	}
}

// build writes a random value into j and returns what it means.
func build(rng *rand.Rand, j *sdk.JSON, depth int) any {
	kind := rng.IntN(8)
	if depth == 0 {
		kind = rng.IntN(6)
	}
	switch v := rng.Uint64() >> rng.IntN(64); kind {
	case 0:
		j.Number(v >> 12)
		return v >> 12
	case 1:
		j.Amount(v)
		return fmt.Sprint(v)
	case 2:
		s := strings.Map(func(r rune) rune { return r % 128 }, fmt.Sprint(v)) + "\"\\\n\x00é"
		j.Str(s)
		return s
	case 3:
		j.Hex([]byte{byte(v), byte(v >> 8)})
		return fmt.Sprintf("0x%02x%02x", byte(v), byte(v>>8))
	case 4:
		j.Bool(v%2 == 0)
		return v%2 == 0
	case 5:
		j.Null()
		return nil
	case 6:
		list := []any{}
		j.Array()
		for range rng.IntN(4) {
			list = append(list, build(rng, j, depth-1))
		}
		j.EndArray()
		return list
	default:
		m := map[string]any{}
		j.Object()
		for i := range rng.IntN(4) {
			k := fmt.Sprintf("k%d", i)
			j.Key(k)
			m[k] = build(rng, j, depth-1)
		}
		j.EndObject()
		return m
	}
}
