package chain

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
	"reflect"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func testGenesis() *Genesis {
	g := &Genesis{ChainID: 7, Time: 1_700_000_000_000, IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3000,
		SettlerEnabled: true, Settler: Address{1, 2, 3}, ModuleHash: Hash{9}, Params: []byte("params")}
	copy(g.Sequencer[:], testKey().Public().(ed25519.PublicKey))
	return g
}

func testResults() *Results {
	return &Results{
		Begin: [][]byte{{1, 2, 3}},
		Receipts: []Receipt{
			{ID: Hash{1}, Events: [][]byte{{4}, {5, 6}}},
			{ID: Hash{2}, Code: 5, Detail: "have 3, need 4"},
		},
	}
}

func testBlock() *Block {
	b := &Block{
		Oracle: OracleSnapshot{Timestamp: 1_700_000_000_050, Prices: []Price{
			{Base: Address{19: 1}, Quote: Address{18: 1}, Price: 104_250_000_000, Timestamp: 1_700_000_000_040},
			{Base: Address{19: 2}, Quote: Address{18: 1}, Price: 3_000_000_000, Timestamp: 1_700_000_000_041},
		}},
		Txs: [][]byte{[]byte("first"), []byte("second"), {}},
	}
	parent := testGenesis().Header(Hash{3}, &Results{})
	b.Header = Header{Version: BlockVersion, ChainID: 7, Height: 1, Parent: parent.Hash(), Time: parent.Time + 100,
		OracleHash: b.Oracle.Hash(), TxsRoot: TxsRoot(b.Txs), ReceiptsRoot: testResults().Root(), StateRoot: Hash{4}, ModuleHash: Hash{9}, Sequencer: parent.Sequencer}
	b.Header.Sign(testKey())
	return b
}

// TestGolden holds format version 1 still: these bytes are what every node of
// every later version has to read.
func TestGolden(t *testing.T) {
	b, g, r := testBlock(), testGenesis(), testResults()
	text := fmt.Sprintf("genesis %x\ngenesis_hash %s\nblock %x\nblock_hash %s\nresults %x\nreceipts_root %s\n",
		g.Append(nil), g.Hash(), b.Append(nil), b.Header.Hash(), r.Append(nil), r.Root())
	file := filepath.Join("testdata", "v1.golden")
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
		t.Fatalf("format version 1 changed\n got %s\nwant %s", text, want)
	}
	fields := map[string][]byte{}
	for _, line := range strings.Split(strings.TrimSpace(string(want)), "\n") {
		name, value, _ := strings.Cut(line, " ")
		fields[name], _ = hex.DecodeString(strings.TrimPrefix(value, "0x"))
	}
	gotBlock, err := DecodeBlock(fields["block"])
	if err != nil || !reflect.DeepEqual(gotBlock, b) {
		t.Fatalf("golden block reads as %+v, %v", gotBlock, err)
	}
	gotGenesis, err := DecodeGenesis(fields["genesis"])
	if err != nil || !reflect.DeepEqual(gotGenesis, g) {
		t.Fatalf("golden genesis reads as %+v, %v", gotGenesis, err)
	}
	gotResults, err := DecodeResults(fields["results"])
	if err != nil || !reflect.DeepEqual(gotResults, r) {
		t.Fatalf("golden results read as %+v, %v", gotResults, err)
	}
}

// TestEveryByteIsCommitted flips each byte of a block: it no longer decodes, or
// its header no longer verifies, or its contents no longer match the header.
func TestEveryByteIsCommitted(t *testing.T) {
	g := testGenesis().Header(Hash{3}, &Results{})
	good := testBlock().Append(nil)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		b, err := DecodeBlock(bad)
		if err == nil {
			err = b.Header.Follows(&g)
		}
		if err == nil {
			err = b.Check(1000)
		}
		if err == nil {
			t.Fatalf("byte %d of %d can be flipped unseen", i, len(good))
		}
	}
}

func TestFollows(t *testing.T) {
	parent := testGenesis().Header(Hash{3}, &Results{})
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for _, c := range []struct {
		name   string
		change func(h *Header)
		want   error
	}{
		{"as sealed", func(*Header) {}, nil},
		{"chain id", func(h *Header) { h.ChainID++ }, ErrParent},
		{"height", func(h *Header) { h.Height++ }, ErrParent},
		{"parent hash", func(h *Header) { h.Parent[0]++ }, ErrParent},
		{"time equal", func(h *Header) { h.Time = parent.Time }, ErrTime},
		{"time back", func(h *Header) { h.Time = parent.Time - 1 }, ErrTime},
		{"other sequencer", func(h *Header) {
			copy(h.Sequencer[:], other.Public().(ed25519.PublicKey))
			h.Sign(other)
		}, ErrSequencer},
		{"signed by another", func(h *Header) { h.Sign(other) }, ErrSignature},
		{"changed after signing", func(h *Header) { h.StateRoot[5]++ }, ErrSignature},
	} {
		h := testBlock().Header
		c.change(&h)
		if err := h.Follows(&parent); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b *Block)
		max    uint32
		want   error
	}{
		{"as sealed", func(*Block) {}, 3, nil},
		{"over the limit", func(*Block) {}, 2, ErrTooLarge},
		{"oracle", func(b *Block) { b.Oracle.Prices[0].Price++ }, 3, ErrContents},
		{"transaction", func(b *Block) { b.Txs[1] = []byte("other") }, 3, ErrContents},
		{"order", func(b *Block) { b.Txs[0], b.Txs[1] = b.Txs[1], b.Txs[0] }, 3, ErrContents},
		{"missing", func(b *Block) { b.Txs = b.Txs[:2] }, 3, ErrContents},
	} {
		b := testBlock()
		c.change(b)
		if err := b.Check(c.max); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// rfc6962 is the recursion of the RFC, written from its text: the second
// implementation of MerkleRoot.
func rfc6962(leaves [][]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		l, r := rfc6962(leaves[:k]), rfc6962(leaves[k:])
		return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
}

func TestTxsRootIsRFC6962(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var txs [][]byte
	for n := range 130 {
		if got, want := TxsRoot(txs), Hash(rfc6962(txs)); got != want {
			t.Fatalf("%d leaves: %s, want %s", n, got, want)
		}
		tx := make([]byte, rng.IntN(1200))
		for i := range tx {
			tx[i] = byte(rng.Uint32())
		}
		txs = append(txs, tx)
	}
}

func TestGenesisValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(g *Genesis)
		ok     bool
	}{
		{"good", func(*Genesis) {}, true},
		{"chain id 0", func(g *Genesis) { g.ChainID = 0 }, false},
		{"interval 9", func(g *Genesis) { g.IntervalMs = 9 }, false},
		{"interval 60001", func(g *Genesis) { g.IntervalMs = 60_001 }, false},
		{"no transactions", func(g *Genesis) { g.MaxTxsPerBlock = 0 }, false},
		{"most transactions", func(g *Genesis) { g.MaxTxsPerBlock = MaxBlockTxs }, true},
		{"too many transactions", func(g *Genesis) { g.MaxTxsPerBlock = MaxBlockTxs + 1 }, false},
		{"stale 0", func(g *Genesis) { g.MaxStaleMs = 0 }, false},
		{"params", func(g *Genesis) { g.Params = make([]byte, MaxParamsBytes+1) }, false},
	} {
		g := testGenesis()
		c.change(g)
		if err := g.Validate(); (err == nil) != c.ok || (err != nil && !errors.Is(err, ErrGenesis)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What may be made can be read: a chain whose node cannot read its own genesis
// would be lost at the first restart.
func TestLargestGenesisDecodes(t *testing.T) {
	g := testGenesis()
	g.Params = bytes.Repeat([]byte{7}, MaxParamsBytes)
	b := g.Append(nil)
	if err := g.Validate(); err != nil || len(b) > MaxGenesisBytes {
		t.Fatalf("%d bytes of document: %v", len(b), err)
	}
	if got, err := DecodeGenesis(b); err != nil || got.Hash() != g.Hash() {
		t.Errorf("the largest document reads as %v", err)
	}
	g.Params = append(g.Params, 7)
	if _, err := DecodeGenesis(g.Append(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestBlockSize(t *testing.T) {
	b := testBlock()
	if got, want := b.Size(), len(b.Append(nil)); got != want {
		t.Fatalf("Size is %d, the encoding has %d bytes", got, want)
	}
	if got := len(b.Header.Append(nil)); got != HeaderBytes {
		t.Fatalf("HeaderBytes is %d, the encoding has %d bytes", HeaderBytes, got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	b := testBlock()
	b.Oracle.Prices[0], b.Oracle.Prices[1] = b.Oracle.Prices[1], b.Oracle.Prices[0]
	if _, err := DecodeBlock(b.Append(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("pairs out of order: %v", err)
	}
	b = testBlock()
	b.Header.Version = 2
	if _, err := DecodeBlock(b.Append(nil)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version 2: %v", err)
	}
	b = testBlock()
	b.Txs = [][]byte{make([]byte, abi.MaxTxBytes+1)}
	if _, err := DecodeBlock(b.Append(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("long transaction: %v", err)
	}
	if _, err := DecodeBlock(make([]byte, MaxBlockBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("long block: %v", err)
	}
	good := testBlock().Append(nil)
	for n := range good {
		if _, err := DecodeBlock(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes decode", n, len(good))
		}
	}
}

func TestText(t *testing.T) {
	h := Hash{0xab, 31: 0x01}
	if got, err := ParseHash(h.String()); err != nil || got != h {
		t.Errorf("hash: %s, %v", got, err)
	}
	for _, bad := range []string{"", "0x", "ab", "0x" + strings.Repeat("g", 64), strings.Repeat("a", 66)} {
		if _, err := ParseHash(bad); err == nil {
			t.Errorf("hash %q is accepted", bad)
		}
	}
	if _, err := ParseAddress("0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266"); err != nil {
		t.Errorf("mixed case address: %v", err)
	}
}

// decoders are round trips: what decodes encodes to the same bytes, so that no
// two byte strings mean the same block.
func fuzzRoundTrip[T interface{ Append([]byte) []byte }](f *testing.F, seed []byte, decode func([]byte) (T, error)) {
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if err == nil && !bytes.Equal(v.Append(nil), b) {
			t.Fatalf("%x decodes and encodes to %x", b, v.Append(nil))
		}
	})
}

func FuzzDecodeBlock(f *testing.F) { fuzzRoundTrip(f, testBlock().Append(nil), DecodeBlock) }
func FuzzDecodeGenesis(f *testing.F) {
	fuzzRoundTrip(f, testGenesis().Append(nil), DecodeGenesis)
}
func FuzzDecodeResults(f *testing.F) {
	fuzzRoundTrip(f, testResults().Append(nil), DecodeResults)
}
func FuzzDecodeHeader(f *testing.F) {
	b := testBlock()
	fuzzRoundTrip(f, b.Header.Append(nil), func(p []byte) (*Header, error) {
		h, err := DecodeHeader(p)
		return &h, err
	})
}
func FuzzDecodeOracle(f *testing.F) {
	b := testBlock()
	fuzzRoundTrip(f, b.Oracle.Append(nil), func(p []byte) (*OracleSnapshot, error) {
		s, err := DecodeOracle(p)
		return &s, err
	})
}
