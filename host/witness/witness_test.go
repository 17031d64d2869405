package witness_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/native"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/state/proof"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/witness"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

var update = flag.Bool("update", false, "rewrite the golden file")

var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))

// lines is a module whose transactions are lines of text: "get K", "set K V",
// "del K"; "fail K" reads, writes and fails; "copy K L" writes what it reads. A
// block counts itself, and forgets a key at its end. "refuse" is in no block.
type lines struct{}

var linesHash = chain.Hash(sha256.Sum256([]byte("witness_test.lines")))

func (lines) Schema() []byte {
	return []byte(`{"name":"lines","version":"1","errors":[{"code":1,"name":"Failed"},{"code":2,"name":"Refused"}]}`)
}
func (lines) Genesis(env *sdk.Env, g *sdk.Genesis) abi.Code {
	for i := range 60 {
		env.Set(fmt.Append(nil, "k", i), fmt.Append(nil, "first", i))
	}
	return abi.CodeOK
}
func (lines) BeginBlock(env *sdk.Env, _ abi.Context, _ *sdk.Oracle) abi.Code {
	n, _ := env.Get([]byte("blocks"))
	env.Set([]byte("blocks"), append(bytes.Clone(n), '.'))
	return abi.CodeOK
}
func (lines) EndBlock(env *sdk.Env, ctx abi.Context) abi.Code {
	env.Delete(fmt.Append(nil, "k", ctx.Height))
	return abi.CodeOK
}
func (lines) Inspect(env *sdk.Env, tx []byte, out *abi.Inspection) abi.Code {
	env.SHA256(tx, &out.ID)
	return abi.CodeOK
}
func (lines) Admit(*sdk.Env, abi.Context, []byte) abi.Code { return abi.CodeOK }
func (lines) Query(*sdk.Env, abi.Context, []byte) abi.Code { return abi.CodeOK }
func (lines) Execute(env *sdk.Env, _ abi.Context, tx []byte) abi.Code {
	word := append(bytes.Fields(tx), []byte("-"), []byte("-"))
	if string(word[0]) == "refuse" {
		return env.Fail(2, env.Text("asked to"))
	}
	var id [32]byte
	env.SHA256(tx, &id)
	env.Accept(&id)
	switch string(word[0]) {
	case "get":
		env.Get(word[1])
	case "set":
		env.Set(word[1], word[2])
	case "del":
		env.Delete(word[1])
	case "copy":
		v, _ := env.Get(word[1])
		env.Set(word[2], bytes.Clone(v))
	case "fail":
		env.Get(word[1])
		env.Set(word[2], []byte("taken back"))
		return env.Fail(1, env.Text("asked to"))
	}
	return abi.CodeOK
}

func program(t testing.TB) stf.Program {
	t.Helper()
	p, err := native.New(linesHash, func() sdk.Module { return lines{} }, native.Options{Crypto: secp.Crypto{}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is a chain whose every block can be made a witness of.
type world struct {
	t       testing.TB
	program stf.Program
	genesis *chain.Genesis
	exec    *stf.Executor
	tree    *state.Tree
	head    chain.Header

	receipts []chain.Receipt // of the block sealed last
}

func newWorld(t testing.TB, p stf.Program, params []byte) *world {
	t.Helper()
	g := &chain.Genesis{ChainID: 7, Time: 1_000, IntervalMs: 100, MaxTxsPerBlock: 100, MaxStaleMs: 3000, ModuleHash: p.Hash(), Params: params}
	copy(g.Sequencer[:], signer.Public().(ed25519.PublicKey))
	exec, err := stf.NewExecutor(p)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, program: p, genesis: g, exec: exec, tree: state.NewTree()}
	ov := state.NewOverlay(nil)
	results, err := exec.Genesis(g, ov)
	if err != nil {
		t.Fatal(err)
	}
	root, _ := w.tree.Commit(ov.Changes(), nil)
	w.head = g.Header(root, results)
	return w
}

// seal makes the next block of raw transactions and returns what a witness of it is
// made from. commit makes it the head.
func (w *world) seal(oracle chain.OracleSnapshot, raws ...[]byte) (s witness.Source, commit func()) {
	w.t.Helper()
	inspect, err := w.program.NewInspector()
	if err != nil {
		w.t.Fatal(err)
	}
	defer inspect.Close()
	open, err := w.exec.Begin(state.NewOverlay(w.tree), w.head.Height+1, w.head.Time+100, oracle)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, raw := range raws {
		tx := &stf.Tx{Raw: raw}
		if err := inspect.Inspect(tx); err != nil {
			w.t.Fatal(err)
		}
		if _, _, err := open.Submit(tx); err != nil {
			w.t.Fatal(err)
		}
	}
	closed, err := open.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	w.receipts = closed.Results.Receipts
	changes := closed.Overlay.Changes()
	root, undo := w.tree.Commit(changes, nil)
	back := state.NewOverlay(nil)
	undo.Into(back)
	w.tree.Commit(back.Changes(), nil)
	parent, header := w.head, closed.Header(&w.head, root)
	header.Sign(signer)
	s = witness.Source{Genesis: w.genesis, Parent: &parent, Block: &chain.Block{Header: header, Oracle: oracle, Txs: closed.Txs()}, Tree: w.tree}
	return s, func() {
		w.tree.Commit(changes, nil)
		w.head = header
	}
}

func (w *world) build(s witness.Source) *witness.Witness {
	w.t.Helper()
	wit, err := witness.Build(w.program, s)
	if err != nil {
		w.t.Fatal(err)
	}
	return wit
}

func texts(lines ...string) (raws [][]byte) {
	for _, l := range lines {
		raws = append(raws, []byte(l))
	}
	return raws
}

// random are n transactions about few keys, some of them absent.
func random(rng *rand.Rand, n int) (raws [][]byte) {
	key := func() string { return fmt.Sprint("k", rng.IntN(90)) }
	for i := range n {
		line := []string{"get " + key(), "set " + key() + " v" + fmt.Sprint(rng.IntN(9)), "del " + key(), "copy " + key() + " " + key(), "fail " + key() + " " + key()}[rng.IntN(5)]
		raws = append(raws, fmt.Append(nil, line, " ", i))
	}
	return raws
}

// again is the witness as a stranger has it: from its bytes.
func again(t testing.TB, wit *witness.Witness) *witness.Witness {
	t.Helper()
	b := wit.Append(nil)
	if len(b) != wit.Size() {
		t.Fatalf("%d bytes, Size says %d", len(b), wit.Size())
	}
	got, err := witness.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestWitness: random blocks are executed again on their witnesses alone.
func TestWitness(t *testing.T) {
	w := newWorld(t, program(t), nil)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		s, commit := w.seal(chain.OracleSnapshot{}, random(rng, rng.IntN(30))...)
		wit := again(t, w.build(s))
		r, err := wit.Verify(w.program)
		if err != nil {
			t.Fatalf("block %d: %v", s.Block.Header.Height, err)
		}
		if r.Header != s.Block.Header || r.Before != s.Parent.StateRoot || r.Txs != len(s.Block.Txs) || r.Written > r.Keys || r.Deleted == 0 {
			t.Fatalf("block %d: %+v", s.Block.Header.Height, r)
		}
		commit()
	}
}

// TestEveryKeyIsNeeded: without any one of its keys, or with one more, a witness is
// refused, and the missing key is named.
func TestEveryKeyIsNeeded(t *testing.T) {
	w := newWorld(t, program(t), nil)
	s, _ := w.seal(chain.OracleSnapshot{}, texts("get k1", "set k2 x", "set new1 y", "del k3", "del new2", "copy k4 k5", "fail k6 k7", "get new3")...)
	keys := [][]byte{[]byte("blocks")}
	for _, k := range []string{"k1", "k2", "new1", "k3", "new2", "k4", "k5", "k6", "new3"} { // not k7: that write is taken back
		keys = append(keys, []byte(k))
	}
	wit := w.build(s)
	if err := wit.State.Exactly(keys); err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		var rest [][]byte
		rest = append(append(rest, keys[:i]...), keys[i+1:]...)
		_, err := w.with(wit, rest).Verify(w.program)
		var missing *witness.MissingKeyError
		switch {
		case !errors.As(err, &missing) || !errors.Is(err, witness.ErrInvalid) || !errors.Is(err, proof.ErrNotCovered):
			if !absentAnyway(w, rest, key) {
				t.Errorf("without %s: %v", key, err)
			}
		case !bytes.Equal(missing.Key, key):
			t.Errorf("without %s: %v", key, err)
		}
	}
	for _, key := range []string{"k7", "k20", "other"} {
		more := append(append([][]byte(nil), keys...), []byte(key))
		if absentAnyway(w, keys, []byte(key)) {
			t.Fatalf("%s is no example", key)
		}
		if _, err := w.with(wit, more).Verify(w.program); !errors.Is(err, proof.ErrSurplus) || !errors.Is(err, witness.ErrInvalid) {
			t.Errorf("with %s: %v", key, err)
		}
	}
}

// absentAnyway: what shows that other keys are absent, or are there, may show it of
// this one too.
func absentAnyway(w *world, keys [][]byte, key []byte) bool {
	b, err := w.tree.ProveMany(keys)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := proof.DecodeMulti(b)
	if err != nil {
		w.t.Fatal(err)
	}
	_, _, err = m.Get(key)
	return err == nil
}

// with is a witness with a proof of other keys.
func (w *world) with(wit *witness.Witness, keys [][]byte) *witness.Witness {
	w.t.Helper()
	b, err := w.tree.ProveMany(keys)
	if err != nil {
		w.t.Fatal(err)
	}
	return decodeParts(w.t, replaceState(wit.Append(nil), b))
}

// The offsets of FORMAT.md.
const (
	genesisAt = 10
	parentAt  = genesisAt + 32 + 4
	blockAt   = parentAt + chain.HeaderBytes
)

func stateAt(b []byte) int {
	r := abi.NewReader(b[blockAt:])
	return blockAt + 4 + int(r.U32())
}

func replaceState(b, state []byte) []byte {
	return abi.AppendBytes(bytes.Clone(b[:stateAt(b)]), state)
}

// sealed puts the right checksum behind a witness without one.
func sealed(b []byte) []byte {
	sum := sha256.Sum256(append([]byte("kaizen/witness/1\n"), b...))
	return append(bytes.Clone(b), sum[:]...)
}

func decodeParts(t testing.TB, b []byte) *witness.Witness {
	t.Helper()
	wit, err := witness.Decode(sealed(b))
	if err != nil {
		t.Fatal(err)
	}
	return wit
}

// TestEveryByteCounts changes each byte: the checksum notices, and where a forger
// has put it right, nothing is verified but the two claims of which FORMAT.md says
// so.
func TestEveryByteCounts(t *testing.T) {
	w := newWorld(t, program(t), nil)
	_, commit := w.seal(chain.OracleSnapshot{})
	commit()
	s, _ := w.seal(chain.OracleSnapshot{Timestamp: 1}, texts("get k1", "set k2 x", "del k9", "copy nothing k3")...)
	good := w.build(s).Append(nil)
	body := good[:len(good)-32]
	for at := range body {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if _, err := witness.Decode(bad); !errors.Is(err, witness.ErrMalformed) {
			t.Fatalf("byte %d: %v", at, err)
		}
		wit, err := witness.Decode(sealed(bad[:len(body)]))
		if err == nil {
			_, err = wit.Verify(w.program)
		}
		claim := at >= genesisAt && at < parentAt // true or not, the block is
		if claim && err != nil && at < genesisAt+32 || !claim && !errors.Is(err, witness.ErrMalformed) && !errors.Is(err, witness.ErrInvalid) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

// TestForged: what a forger would do, and what stops him.
func TestForged(t *testing.T) {
	w := newWorld(t, program(t), nil)
	first, commit := w.seal(chain.OracleSnapshot{}, texts("get k1")...)
	one := w.build(first)
	commit()
	s, _ := w.seal(chain.OracleSnapshot{}, texts("copy k5 k2")...)
	wit := w.build(s)
	mismatch := func(field string) func(error) bool {
		return func(err error) bool {
			var m *stf.Mismatch
			return errors.As(err, &m) && m.Field == field
		}
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for _, c := range []struct {
		name  string
		forge func() *witness.Witness
		want  func(error) bool
	}{
		{"value", func() *witness.Witness { return forgeValue(t, wit, nil) }, is(proof.ErrInvalid)},
		{"value, and the parent's root", func() *witness.Witness { return forgeValue(t, wit, &wit.Parent) }, is(chain.ErrParent)},
		{"state root", func() *witness.Witness { return resigned(wit, func(h *chain.Header) { h.StateRoot[0]++ }, signer) }, mismatch("state_root")},
		{"receipts root", func() *witness.Witness { return resigned(wit, func(h *chain.Header) { h.ReceiptsRoot[0]++ }, signer) }, mismatch("receipts_root")},
		{"unsigned", func() *witness.Witness { return resigned(wit, func(h *chain.Header) {}, other) }, is(chain.ErrSignature)},
		{"another sequencer", func() *witness.Witness {
			return resigned(wit, func(h *chain.Header) { copy(h.Sequencer[:], other.Public().(ed25519.PublicKey)) }, other)
		}, is(chain.ErrSequencer)},
		{"another module", func() *witness.Witness { return resigned(wit, func(h *chain.Header) { h.ModuleHash[0]++ }, signer) }, is(stf.ErrModule)},
		{"a transaction less", func() *witness.Witness { return withTxs(wit, func(h *chain.Header) {}) }, is(chain.ErrContents)},
		{"a refused transaction", func() *witness.Witness {
			raws := texts("copy k5 k2", "refuse")
			return withTxs(wit, func(h *chain.Header) { h.TxsRoot = chain.TxsRoot(raws) }, raws...)
		}, is(stf.ErrRefusedInBlock)},
		{"too many transactions", func() *witness.Witness {
			raws := make([][]byte, 101)
			return withTxs(wit, func(h *chain.Header) { h.TxsRoot = chain.TxsRoot(raws) }, raws...)
		}, is(chain.ErrTooLarge)},
		{"another genesis", func() *witness.Witness { v := *one; v.Genesis[0]++; return &v }, is(chain.ErrParent)},
		{"another chain", func() *witness.Witness { return resigned(wit, func(h *chain.Header) { h.ChainID++ }, signer) }, is(chain.ErrParent)},
		{"the block before", func() *witness.Witness { v := *wit; v.Block = one.Block; return &v }, is(chain.ErrParent)},
	} {
		if _, err := c.forge().Verify(w.program); !errors.Is(err, witness.ErrInvalid) || !c.want(err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := wit.Verify(w.program); err != nil {
		t.Errorf("the forgers have changed the original: %v", err)
	}
}

// forgeValue changes a value in the proof and, if given, the parent's state root to
// fit.
func forgeValue(t *testing.T, wit *witness.Witness, parent *chain.Header) *witness.Witness {
	b := wit.Append(nil)
	at := bytes.Index(b, []byte("first5"))
	b[at] ^= 1
	forged := decodeParts(t, b[:len(b)-32])
	if parent != nil {
		forged.Parent = *parent
		forged.Parent.StateRoot = forged.State.Root()
		forged.Parent.Sign(signer)
	}
	return forged
}

func resigned(wit *witness.Witness, change func(*chain.Header), key ed25519.PrivateKey) *witness.Witness {
	return withTxsBy(wit, change, key, wit.Block.Txs)
}

func withTxs(wit *witness.Witness, change func(*chain.Header), raws ...[]byte) *witness.Witness {
	return withTxsBy(wit, change, signer, raws)
}

func withTxsBy(wit *witness.Witness, change func(*chain.Header), key ed25519.PrivateKey, raws [][]byte) *witness.Witness {
	v, b := *wit, *wit.Block
	b.Txs = raws
	change(&b.Header)
	b.Header.Sign(key)
	v.Block = &b
	return &v
}

func TestBuildRefuses(t *testing.T) {
	w := newWorld(t, program(t), nil)
	s, commit := w.seal(chain.OracleSnapshot{}, texts("set k1 x")...)
	bad := s
	b := *s.Block
	b.Header.StateRoot[0]++
	b.Header.Sign(signer)
	bad.Block = &b
	if _, err := witness.Build(w.program, bad); !errors.Is(err, witness.ErrInvalid) {
		t.Errorf("a block with another root: %v", err)
	}
	commit()
	if _, err := witness.Build(w.program, s); err == nil || !strings.Contains(err.Error(), "the state has root") {
		t.Errorf("over the state after the block: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	w := newWorld(t, program(t), nil)
	s, _ := w.seal(chain.OracleSnapshot{}, texts("set k1 x")...)
	good := w.build(s).Append(nil)
	body := good[:len(good)-32]
	version := bytes.Clone(body)
	version[8] = 2
	long := bytes.Clone(body)
	long[blockAt+3] = 1
	parent := bytes.Clone(body)
	parent[parentAt] = 9
	block := bytes.Clone(body)
	block[blockAt+4] = 9
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":         {nil, witness.ErrMalformed},
		"another file":    {bytes.Repeat([]byte("KZSNAPSH"), 100), witness.ErrMalformed},
		"version":         {sealed(version), witness.ErrVersion},
		"too large":       {make([]byte, witness.MaxBytes+1), witness.ErrTooLarge},
		"cut":             {good[:len(good)-1], witness.ErrChecksum},
		"longer":          {append(bytes.Clone(good), 0), witness.ErrChecksum},
		"longer, sealed":  {sealed(append(bytes.Clone(body), 0)), witness.ErrMalformed},
		"length of block": {sealed(long), witness.ErrMalformed},
		"parent":          {sealed(parent), chain.ErrMalformed},
		"block":           {sealed(block), chain.ErrMalformed},
		"proof":           {sealed(replaceState(body, []byte{9})), proof.ErrVersion},
		"no proof":        {sealed(replaceState(body, nil)), proof.ErrTruncated},
	} {
		if _, err := witness.Decode(c.b); !errors.Is(err, c.want) || !errors.Is(err, witness.ErrMalformed) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// goldenWitness is small and has every part of the format.
func goldenWitness(t testing.TB) *witness.Witness {
	w := newWorld(t, program(t), nil)
	s, _ := w.seal(chain.OracleSnapshot{Timestamp: 1_050, Prices: []chain.Price{{Base: chain.Address{19: 1}, Quote: chain.Address{18: 1}, Price: 5, Timestamp: 1_040}}},
		texts("get k1", "set new x", "del k2", "get nothing")...)
	return w.build(s)
}

// TestGolden holds format version 1 still.
func TestGolden(t *testing.T) {
	wit := goldenWitness(t)
	text := hex.EncodeToString(wit.Append(nil)) + "\n"
	file := filepath.Join("testdata", "witness.v1.golden")
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs: what version 1 encodes must never change", file)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(want)))
	if err != nil {
		t.Fatal(err)
	}
	old, err := witness.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Verify(program(t)); err != nil {
		t.Error(err)
	}
}

// FuzzDecode: what decodes encodes to the same bytes, and verifying it does no
// harm. The checksum is made right: it is no defence.
func FuzzDecode(f *testing.F) {
	good := goldenWitness(f).Append(nil)
	p := program(f)
	f.Add(good[:len(good)-32])
	f.Add([]byte("KZWITNES\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		wit, err := witness.Decode(sealed(b))
		if err != nil {
			if !errors.Is(err, witness.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if got := wit.Append(nil); !bytes.Equal(got, sealed(b)) {
			t.Fatalf("%x decodes and encodes to %x", b, got)
		}
		if _, err := wit.Verify(p); err != nil && !errors.Is(err, witness.ErrInvalid) {
			t.Fatal(err)
		}
	})
}
