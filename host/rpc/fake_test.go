package rpc

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

const fakeSchema = `{"name":"fake","version":"1.2.3",
"errors":[{"code":1,"name":"InvalidSignature"},{"code":7,"name":"InsufficientBalance"}],
"events":[
 {"tag":1,"type":"transfer","fields":[{"name":"from","kind":"address"},{"name":"amount","kind":"amount"},{"name":"at","kind":"number"}]},
 {"tag":2,"type":"all","fields":[{"name":"a","kind":"u8"},{"name":"b","kind":"bool"},{"name":"c","kind":"hash"},{"name":"d","kind":"string"},{"name":"e","kind":"bytes"}]}]}`

func mustSchema(t testing.TB, text string) *stf.Schema {
	s, err := stf.ParseSchema([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fakeNode is a node whose chain has blocks 0 to 2 and an open block 3. The first
// byte of a transaction says what becomes of it:
//
//	00 executes    01 refused    02 fails    03 busy    04 refused, with a known id
//	05 panics      06 breaks an invariant    07 waits until ctx is done
type fakeNode struct {
	schema *stf.Schema
	blocks []*chain.Block
	checks []api.Check
	hook   func(raws [][]byte) // called before transactions are executed

	mu      sync.Mutex
	submits [][][]byte
	last    chan struct{} // of what was enqueued last
}

func newFake(t testing.TB) *fakeNode {
	f := &fakeNode{schema: mustSchema(t, fakeSchema), checks: []api.Check{{Name: "caught_up", OK: true, Detail: "0 blocks behind"}}}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var parent chain.Hash
	for height := range uint64(3) {
		b := &chain.Block{}
		if height == 2 {
			b.Txs = [][]byte{{0, 0xAA}, {2, 0xBB}}
			b.Oracle = chain.OracleSnapshot{Timestamp: 1999, Prices: []chain.Price{{Base: token(1), Quote: token(0x100), Price: 104_250_000_000, Timestamp: 1998}, {Base: token(2), Quote: token(9), Price: 1, Timestamp: 2}}}
		}
		h := chain.Header{Version: chain.BlockVersion, ChainID: 1, Height: height, Parent: parent, Time: 1000 * height, OracleHash: b.Oracle.Hash(),
			TxsRoot: chain.TxsRoot(b.Txs), ReceiptsRoot: f.results(b).Root(), StateRoot: sha256.Sum256([]byte{byte(height)}), ModuleHash: sha256.Sum256([]byte("module"))}
		copy(h.Sequencer[:], key.Public().(ed25519.PublicKey))
		h.Sign(key)
		b.Header, parent = h, h.Hash()
		f.blocks = append(f.blocks, b)
	}
	return f
}

func token(n uint16) (a chain.Address) {
	a[18], a[19] = byte(n>>8), byte(n)
	return a
}

func (f *fakeNode) results(b *chain.Block) *chain.Results {
	v := &chain.Results{End: [][]byte{{99, 1}}}
	for _, raw := range b.Txs {
		v.Receipts = append(v.Receipts, f.execute(raw))
	}
	return v
}

func (f *fakeNode) execute(raw []byte) chain.Receipt {
	r := chain.Receipt{ID: sha256.Sum256(raw)}
	if raw[0] == 2 {
		r.Code, r.Detail = 7, "has 1, needs <2>"
		return r
	}
	event := append([]byte{1}, make([]byte, 20)...)
	event = abi.AppendU64(abi.AppendU64(event, 1<<60), 12345)
	r.Events = [][]byte{event}
	return r
}

func (f *fakeNode) head() chain.BlockID { return f.blocks[len(f.blocks)-1].Header.ID() }

func (f *fakeNode) Info() api.Info {
	g := chain.Genesis{ChainID: 1}
	return api.Info{Role: api.RoleWrite, ChainID: 1, GenesisHash: g.Hash(), ModuleHash: f.blocks[0].Header.ModuleHash, Module: api.ModuleInfo{Name: "fake", Version: "1.2.3"},
		Sequencer: f.blocks[0].Header.Sequencer[:], IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3000,
		Versions: api.Versions{Kaizen: "test", Go: "go", API: api.Version, ABI: abi.Version, Block: 1, Sync: 1}}
}

func (f *fakeNode) Status() api.Status {
	h := &f.blocks[2].Header
	return api.Status{Role: api.RoleWrite, Height: h.Height, BlockHash: h.Hash(), StateRoot: h.StateRoot, HeadTime: h.Time, LagMs: 40,
		Tips: api.TipsOf(chain.LocalTips(h.ID())), Oracle: api.OracleStatus{Timestamp: 1999, AgeMs: 41}, Pending: &api.Pending{Height: 3, Transactions: 1}, UptimeMs: 5}
}

func (f *fakeNode) Schema() *stf.Schema { return f.schema }
func (f *fakeNode) Health() []api.Check { return f.checks }

func (f *fakeNode) Submit(ctx context.Context, raws [][]byte) []Submitted {
	f.record(raws)
	return f.outcome(ctx, raws)
}

func (f *fakeNode) record(raws [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.submits = append(f.submits, raws)
}

// Enqueue panics at once where Submit does.
func (f *fakeNode) Enqueue(raws [][]byte) Pending {
	f.record(raws)
	for _, raw := range raws {
		switch raw[0] {
		case 5:
			panic("five")
		case 6:
			invariant.Hold(false, "six")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &fakePending{node: f, raws: raws, after: f.last, done: make(chan struct{})}
	if raws[0][0] == 7 {
		return p // never answered
	}
	f.last = p.done
	go p.run()
	return p
}

// fakePending is answered once those before are.
type fakePending struct {
	node        *fakeNode
	raws        [][]byte
	after, done chan struct{}
	results     []Submitted
}

func (p *fakePending) run() {
	if p.after != nil {
		<-p.after
	}
	p.results = p.node.outcome(context.Background(), p.raws)
	close(p.done)
}

func (p *fakePending) Done() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *fakePending) Wait(ctx context.Context) []Submitted {
	select {
	case <-p.done:
		return p.results
	case <-ctx.Done():
		failed := make([]Submitted, len(p.raws))
		for i := range failed {
			failed[i].Err = fmt.Errorf("transaction %d: %w", i, ctx.Err())
		}
		return failed
	}
}

func (f *fakeNode) outcome(ctx context.Context, raws [][]byte) []Submitted {
	if f.hook != nil {
		f.hook(raws)
	}
	out := make([]Submitted, len(raws))
	for i, raw := range raws {
		out[i] = Submitted{Receipt: f.execute(raw), Height: 3, Index: i}
		switch raw[0] {
		case 1:
			out[i] = Submitted{Err: &stf.Refusal{Code: 1, Name: "InvalidSignature", Detail: "v is 9"}}
		case 3:
			out[i] = Submitted{Err: ErrBusy}
		case 4:
			out[i] = Submitted{Receipt: chain.Receipt{ID: sha256.Sum256(raw)}, Err: &stf.Refusal{Code: 1, Name: "InvalidSignature"}}
		case 5:
			panic("five")
		case 6:
			invariant.Hold(false, "six")
		case 7:
			<-ctx.Done()
			out[i] = Submitted{Err: fmt.Errorf("transaction %d: %w", i, ctx.Err())}
		}
	}
	return out
}

func (f *fakeNode) submitted() [][][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.submits
}

func (f *fakeNode) Simulate(_ context.Context, raw []byte, at api.Ref) (chain.Receipt, chain.BlockID, error) {
	id, err := f.Resolve(at)
	if err == nil && raw[0] == 1 {
		err = &stf.Refusal{Code: 1, Name: "InvalidSignature"}
	}
	return f.execute(raw), id, err
}

func (f *fakeNode) Resolve(at api.Ref) (chain.BlockID, error) {
	if n, ok := at.Number(); ok {
		h, err := f.Header(n)
		return h.ID(), err
	}
	if hash, ok := at.Hash(); ok {
		for _, b := range f.blocks {
			if b.Header.Hash() == hash {
				return b.Header.ID(), nil
			}
		}
		return chain.BlockID{}, fmt.Errorf("hash %s: %w", hash, ErrBlockNotFound)
	}
	switch tag, _ := at.Tag(); tag {
	case api.TagPending:
		return chain.BlockID{Number: 3}, nil
	case api.TagProven:
		return chain.BlockID{}, fmt.Errorf("tag %s: %w", tag, ErrTagUnavailable)
	case api.TagEarliest:
		return f.blocks[0].Header.ID(), nil
	}
	return f.head(), nil
}

func (f *fakeNode) Header(height uint64) (chain.Header, error) {
	if height >= uint64(len(f.blocks)) {
		return chain.Header{}, fmt.Errorf("height %d: %w", height, ErrBlockNotFound)
	}
	return f.blocks[height].Header, nil
}

func (f *fakeNode) Block(height uint64) (*chain.Block, *chain.Results, error) {
	if _, err := f.Header(height); err != nil {
		return nil, nil, err
	}
	return f.blocks[height], f.results(f.blocks[height]), nil
}

func (f *fakeNode) Watch(uint64) Watch {
	return Watch{Head: f.head(), Base: 1, Kept: f.head().Number, Moved: make(chan struct{})}
}

func (f *fakeNode) Oracle(at api.Ref) (chain.OracleSnapshot, chain.BlockID, error) {
	id, err := f.Resolve(at)
	return f.blocks[2].Oracle, id, err
}

func (f *fakeNode) Transaction(id chain.Hash) (Located, error) {
	for i, raw := range f.blocks[2].Txs {
		if r := f.execute(raw); r.ID == id {
			return Located{Raw: raw, Receipt: r, Block: f.head(), Index: i}, nil
		}
	}
	if raw := []byte{0}; sha256.Sum256(raw) == id { // in the open block
		return Located{Raw: raw, Receipt: f.execute(raw), Block: chain.BlockID{Number: 3}}, nil
	}
	return Located{}, fmt.Errorf("transaction %s: %w", id, ErrTxNotFound)
}

// Query answers "a" and an address with an account; other queries by name.
func (f *fakeNode) Query(ctx context.Context, at api.Ref, query []byte) ([]byte, chain.BlockID, error) {
	id, err := f.Resolve(at)
	switch {
	case err != nil:
		return nil, id, err
	case bytes.HasPrefix(query, []byte("a")):
		return []byte(`{"balance":"1000000","locked":"18446744073709551615","api_wallets":[{"address":"0x0000000000000000000000000000000000000001","expiry":7}],"permissions":["admin"]} `), id, nil
	case string(query) == "refuse":
		return nil, id, &stf.Refusal{Code: 7, Name: "InsufficientBalance", Detail: "query"}
	case string(query) == "state":
		return nil, id, fmt.Errorf("height %d: %w", id.Number, ErrStateUnavailable)
	case string(query) == "secret":
		return nil, id, errors.New("a secret of the node")
	case string(query) == "broken":
		return []byte(`{"a":`), id, nil
	case string(query) == "list":
		return []byte(`[1,2]`), id, nil
	case string(query) == "panic":
		panic("query")
	case string(query) == "wait":
		<-ctx.Done()
		return nil, id, ctx.Err()
	}
	return []byte(` { } `), id, nil
}

func (f *fakeNode) Prove(_ context.Context, at api.Ref, key []byte) (Proof, error) {
	id, err := f.Resolve(at)
	if err != nil {
		return Proof{}, err
	}
	if id.Hash == (chain.Hash{}) {
		return Proof{}, fmt.Errorf("proof at %s: %w", at, ErrTagUnavailable)
	}
	return Proof{Value: []byte{1, 2}, Present: key[0] == 'a', Proof: []byte{9}, Header: f.blocks[id.Number].Header}, nil
}

func fakeModule() Module {
	account := func(p *Params) []byte {
		a := p.Address("address")
		return append([]byte("a"), a[:]...)
	}
	return Module{
		DecodeTx: func(raw []byte) (any, error) {
			if raw[0] != 0 {
				return nil, errors.New("not mine")
			}
			return json.RawMessage(fmt.Sprintf(`{"kind":"fake","len":%d}`, len(raw))), nil
		},
		Symbol: func(a chain.Address) string {
			return map[chain.Address]string{token(1): "BTC", token(0x100): "USDT", token(2): "ETH"}[a]
		},
		Keys: []NamedKey{{"account", func(p *Params) []byte {
			a := p.Address("account")
			return append([]byte("a"), a[:]...)
		}}},
		Queries: []QueryMethod{
			{Name: "kaizen_getAccount", Params: []string{"address"}, Encode: account},
			{Name: "kaizen_getMarkets", Encode: func(*Params) []byte { return []byte("m") }},
			{Name: "kaizen_named", Params: []string{"name"}, Encode: func(p *Params) []byte { return []byte(p.Text("name", 16)) }},
			{Name: "kaizen_filter", Object: []string{"pair", "limit", "amount"}, Encode: func(p *Params) []byte {
				if p.Has("pair") {
					p.Text("pair", 16)
				}
				if p.Has("limit") {
					p.Number("limit", 100)
				}
				if p.Has("amount") {
					p.Amount("amount")
				}
				return []byte("m")
			}},
		},
	}
}
