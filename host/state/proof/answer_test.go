package proof_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/state/proof"
)

// answer is what a node would say of a key after block 5.
func answer(t testing.TB, w *world, key string, change func(*chain.Header)) []byte {
	t.Helper()
	signer := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	h := chain.Header{Version: chain.BlockVersion, ChainID: 7, Height: 5, Parent: chain.Hash{1}, Time: 1234, OracleHash: chain.Hash{2},
		TxsRoot: chain.Hash{3}, ReceiptsRoot: chain.Hash{4}, StateRoot: w.tree.Root(), ModuleHash: chain.Hash{5}}
	copy(h.Sequencer[:], signer.Public().(ed25519.PublicKey))
	change(&h)
	h.Sign(signer)
	p := w.tree.Prove([]byte(key))
	a := api.Proof{Block: api.RefTo(h.ID()), Key: api.Bytes(key), Proof: p.Append(nil), Header: api.HeaderOf(&h)}
	if v, ok := w.now[key]; ok {
		b := api.Bytes(v)
		a.Value = &b
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func asSealed(*chain.Header) {}

// TestAnswer: what the node's own types write is verified here, without them.
func TestAnswer(t *testing.T) {
	w := newWorld(1, 10, 6)
	for _, key := range []string{"k1", "k2", "k3", "k4", "nothing"} {
		text := answer(t, w, key, asSealed)
		for _, b := range [][]byte{text, []byte(`{"jsonrpc":"2.0","id":1,"result":` + string(text) + `}`)} {
			a, err := proof.ParseAnswer(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Verify(); err != nil {
				t.Errorf("%s: %v", key, err)
			}
			if err := a.Against(w.tree.Root()); err != nil {
				t.Errorf("%s against the root: %v", key, err)
			}
			if err := a.Against([32]byte{1}); !errors.Is(err, proof.ErrInvalid) {
				t.Errorf("%s against another root: %v", key, err)
			}
		}
	}
}

// TestFalseAnswers changes one thing at a time.
func TestFalseAnswers(t *testing.T) {
	w := newWorld(1, 10, 8)
	key := "k0"
	for i := 0; w.now[key] == ""; i++ {
		key = w.key()
	}
	for name, c := range map[string]struct {
		change func(*proof.Answer)
		want   error
	}{
		"value":            {func(a *proof.Answer) { (*a.Value)[0]++ }, proof.ErrInvalid},
		"value missing":    {func(a *proof.Answer) { a.Value = nil }, proof.ErrInvalid},
		"key":              {func(a *proof.Answer) { a.Key = proof.Bytes("other") }, proof.ErrInvalid},
		"proof":            {func(a *proof.Answer) { a.Proof[len(a.Proof)-1]++ }, proof.ErrInvalid},
		"no proof":         {func(a *proof.Answer) { a.Proof = proof.Bytes{} }, proof.ErrTruncated},
		"hash":             {func(a *proof.Answer) { a.Header.Hash[0]++ }, proof.ErrHeader},
		"version":          {func(a *proof.Answer) { a.Header.Version++ }, proof.ErrHeader},
		"chain":            {func(a *proof.Answer) { a.Header.ChainID++ }, proof.ErrHeader},
		"height":           {func(a *proof.Answer) { a.Header.Height++ }, proof.ErrHeader},
		"height 0":         {func(a *proof.Answer) { a.Header.Height = 0 }, proof.ErrHeader},
		"parent":           {func(a *proof.Answer) { a.Header.ParentHash[0]++ }, proof.ErrHeader},
		"time":             {func(a *proof.Answer) { a.Header.Time++ }, proof.ErrHeader},
		"oracle":           {func(a *proof.Answer) { a.Header.OracleHash[0]++ }, proof.ErrHeader},
		"transactions":     {func(a *proof.Answer) { a.Header.TxsRoot[0]++ }, proof.ErrHeader},
		"receipts":         {func(a *proof.Answer) { a.Header.ReceiptsRoot[0]++ }, proof.ErrHeader},
		"state root":       {func(a *proof.Answer) { a.Header.StateRoot[0]++ }, proof.ErrHeader},
		"module":           {func(a *proof.Answer) { a.Header.ModuleHash[0]++ }, proof.ErrHeader},
		"sequencer":        {func(a *proof.Answer) { a.Header.Sequencer[0]++ }, proof.ErrHeader},
		"no sequencer":     {func(a *proof.Answer) { a.Header.Sequencer = nil }, proof.ErrHeader},
		"signature":        {func(a *proof.Answer) { a.Header.Signature[0]++ }, proof.ErrHeader},
		"signature, short": {func(a *proof.Answer) { a.Header.Signature = a.Header.Signature[1:] }, proof.ErrHeader},
		"state root, hashed anew": {func(a *proof.Answer) {
			a.Header.StateRoot[0]++
			a.Header.Hash = a.Header.Computed()
		}, proof.ErrHeader},
		"block":      {func(a *proof.Answer) { a.Block.Height++ }, proof.ErrHeader},
		"block hash": {func(a *proof.Answer) { a.Block.Hash[0]++ }, proof.ErrHeader},
		"no hash":    {func(a *proof.Answer) { a.Block.Hash = nil }, proof.ErrHeader},
	} {
		a, err := proof.ParseAnswer(answer(t, w, key, asSealed))
		if err != nil {
			t.Fatal(err)
		}
		c.change(a)
		if err := a.Verify(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	a, err := proof.ParseAnswer(answer(t, w, key, func(h *chain.Header) { h.Height = 0 }))
	if err != nil {
		t.Fatal(err)
	}
	a.Header.Signature = make(proof.Bytes, ed25519.SignatureSize)
	if err := a.Verify(); err != nil {
		t.Errorf("block 0, which nobody signs: %v", err)
	}
}

func TestParseAnswerRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"no JSON":       "key",
		"a list":        "[]",
		"another thing": "{}",
		"an error":      `{"jsonrpc":"2.0","id":1,"error":{"code":-32000}}`,
		"bad digits":    `{"key":"0xzz","proof":"0x00"}`,
		"no 0x":         `{"key":"00","proof":"0x00"}`,
		"short hash":    `{"key":"0x00","proof":"0x00","header":{"hash":"0x00"}}`,
		"large version": `{"key":"0x00","proof":"0x00","header":{"version":65536}}`,
		"too long":      `{"key":"0x` + string(make([]byte, proof.MaxAnswerBytes)) + `"}`,
	} {
		if _, err := proof.ParseAnswer([]byte(text)); !errors.Is(err, proof.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseAnswer: no text does harm, and none but a true one is verified by this
// sequencer.
func FuzzParseAnswer(f *testing.F) {
	w := newWorld(1, 10, 6)
	f.Add(answer(f, w, "k1", asSealed))
	f.Add(answer(f, w, "nothing", asSealed))
	f.Add([]byte(`{"result":{"key":"0x","proof":"0x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := proof.ParseAnswer(b)
		if err != nil {
			return
		}
		if a.Verify() == nil && a.Header.StateRoot == proof.Hash(w.tree.Root()) {
			if want, ok := w.now[string(a.Key)]; ok != (a.Value != nil) || ok && want != string(*a.Value) {
				t.Fatalf("%s is believed", b)
			}
		}
	})
}
