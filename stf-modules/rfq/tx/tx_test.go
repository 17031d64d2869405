package tx_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

var messages = flag.Int("messages", 3000, "random messages to compare with go-ethereum")

var hasher tx.Hasher

// vector is one example of spec/vectors.json.
type vector struct {
	Type, Signer, Digest, Signature string
	Message, Quote                  map[string]any
	TransactionBorsh                string `json:"transaction_borsh"`
	QuoteBorsh                      string `json:"quote_borsh"`
	QuoteHash                       string `json:"quote_hash"`
}

type vectorFile struct {
	DomainSeparator string                     `json:"domain_separator"`
	Types           map[string][]apitypes.Type `json:"types"`
	Vectors         []vector                   `json:"vectors"`
}

func loadVectors(t testing.TB) (f vectorFile) {
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors checks all examples made by an independent wallet library: decoding
// and encoding, digest, and recovered signer.
func TestVectors(t *testing.T) {
	f := loadVectors(t)
	if len(f.Vectors) != 66 {
		t.Fatalf("%d vectors, want 66", len(f.Vectors))
	}
	if want := "0x" + hex.EncodeToString(tx.DomainSeparator[:]); f.DomainSeparator != want {
		t.Errorf("domain separator %s, want %s", f.DomainSeparator, want)
	}
	for i, v := range f.Vectors {
		t.Run(fmt.Sprintf("%d/%s", i, v.Type), func(t *testing.T) {
			digest := v.check(t)
			if got := "0x" + hex.EncodeToString(digest[:]); got != v.Digest {
				t.Fatalf("digest %s, want %s", got, v.Digest)
			}
			sig := tx.Signature(unhex(t, v.Signature))
			signer, ok := secp.Recover(&digest, &sig)
			if !ok || !strings.EqualFold(signer.String(), v.Signer) {
				t.Fatalf("signer %s %v, want %s", signer, ok, v.Signer)
			}
		})
	}
}

// check decodes a vector, encodes it again, compares its fields with the message,
// and returns the digest.
func (v *vector) check(t *testing.T) [32]byte {
	if v.Type == "Kaizen:Quote" {
		raw := unhex(t, v.QuoteBorsh)
		q, ok := tx.DecodeQuote(raw)
		if !ok || string(q.Append(nil)) != string(raw) {
			t.Fatal("quote does not survive decoding and encoding")
		}
		sameQuote(t, &q, v.Message)
		if got := hasher.QuoteHash(secp.Keccak{}, &q); "0x"+hex.EncodeToString(got[:]) != v.QuoteHash {
			t.Fatalf("quote hash %x, want %s", got, v.QuoteHash)
		}
		return hasher.QuoteDigest(secp.Keccak{}, &q)
	}
	raw := unhex(t, v.TransactionBorsh)
	var x tx.Transaction
	if !tx.Decode(raw, &x) || string(x.Append(nil)) != string(raw) {
		t.Fatal("transaction does not survive decoding and encoding")
	}
	if !strings.HasPrefix(tx.Types[x.Kind], v.Type+"(") {
		t.Fatalf("decoded as %s", tx.Types[x.Kind])
	}
	if fmt.Sprint(x.Timestamp) != fmt.Sprint(v.Message["timestamp"]) {
		t.Fatalf("timestamp %d, want %v", x.Timestamp, v.Message["timestamp"])
	}
	if v.Quote != nil {
		sameQuote(t, &x.RfqSubmit.Quote, v.Quote)
		if x.RfqSubmit.UserSignature == (tx.Signature{}) {
			t.Fatal("no user signature")
		}
	}
	return hasher.Digest(secp.Keccak{}, &x)
}

func sameQuote(t *testing.T, q *tx.Quote, want map[string]any) {
	got := quoteMessage(q)
	for k, v := range want {
		if !strings.EqualFold(fmt.Sprint(got[k]), fmt.Sprint(v)) {
			t.Fatalf("%s is %v, want %v", k, got[k], v)
		}
	}
}

// TestTypes compares the type strings with the types of the vectors.
func TestTypes(t *testing.T) {
	f := loadVectors(t)
	data := apitypes.TypedData{Types: apitypes.Types(f.Types)}
	for name := range f.Types {
		encoded := string(data.EncodeType(name))
		found := false
		for _, s := range tx.Types {
			found = found || s == encoded
		}
		if !found {
			t.Errorf("%s is not one of tx.Types", encoded)
		}
	}
}

// TestDigestsAgainstGoEthereum compares digests with go-ethereum's own encoder on
// random messages of every type.
func TestDigestsAgainstGoEthereum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	types := apitypes.Types{"EIP712Domain": {{Name: "name", Type: "string"}, {Name: "version", Type: "string"}, {Name: "chainId", Type: "uint256"}}}
	for _, s := range tx.Types {
		name, fields := parseType(s)
		types[name] = fields
	}
	domain := apitypes.TypedDataDomain{Name: "Kaizen", Version: "1", ChainId: (*math.HexOrDecimal256)(big.NewInt(1))}
	for i := range *messages {
		x := random(rng, tx.Kind(i%11))
		name, message, digest := "Kaizen:Quote", quoteMessage(&x.RfqSubmit.Quote), tx.Hash{}
		if i%11 == 10 {
			digest = hasher.QuoteDigest(secp.Keccak{}, &x.RfqSubmit.Quote)
		} else {
			name, _ = parseType(tx.Types[x.Kind])
			message, digest = typedMessage(&x), hasher.Digest(secp.Keccak{}, &x)
		}
		want, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{Types: types, PrimaryType: name, Domain: domain, Message: message})
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(digest[:]) {
			t.Fatalf("%s: digest %x, go-ethereum says %x", name, digest, want)
		}
	}
}

func parseType(s string) (name string, fields []apitypes.Type) {
	name, rest, _ := strings.Cut(s, "(")
	for _, f := range strings.Split(strings.TrimSuffix(rest, ")"), ",") {
		typ, field, _ := strings.Cut(f, " ")
		fields = append(fields, apitypes.Type{Name: field, Type: typ})
	}
	return name, fields
}

// typedMessage is the typed message of a transaction, written from protocol section 4.
func typedMessage(x *tx.Transaction) apitypes.TypedDataMessage {
	m := apitypes.TypedDataMessage{"timestamp": dec(x.Timestamp), "from": addr(x.From)}
	switch x.Kind {
	case tx.KindTransfer:
		m["to"], m["amount"] = addr(x.Transfer.To), dec(x.Transfer.Amount)
	case tx.KindNominateApiWallet:
		m["wallet"], m["expiry"] = addr(x.NominateApiWallet.Wallet), dec(x.NominateApiWallet.Expiry)
	case tx.KindRevokeApiWallet:
		m["wallet"] = addr(x.RevokeApiWallet.Wallet)
	case tx.KindDeposit:
		m["user"], m["amount"], m["externalTxHash"] = addr(x.Deposit.User), dec(x.Deposit.Amount), x.Deposit.ExternalTxHash[:]
	case tx.KindWithdraw:
		m["amount"], m["destination"] = dec(x.Withdraw.Amount), addr(x.Withdraw.Destination)
	case tx.KindProcessWithdrawal:
		m["withdrawalId"], m["externalTxHash"] = dec(x.ProcessWithdrawal.WithdrawalID), x.ProcessWithdrawal.ExternalTxHash[:]
	case tx.KindRfqSubmit:
		h := secp.Keccak256(x.RfqSubmit.Quote.Append(nil))
		m["quoteHash"] = h[:]
	case tx.KindRfqSettle:
		m["thesisId"] = dec(x.RfqSettle.ThesisID)
	case tx.KindSystemSettle:
		s := x.SystemSettle.Settlement
		m["thesisId"], m["settlementType"] = dec(x.SystemSettle.ThesisID), dec(uint64(s.Kind))
		m["breachTimestamp"], m["breachPrice"] = dec(s.BreachTimestamp), dec(s.BreachPrice)
	case tx.KindAdmin:
		h := secp.Keccak256(x.Admin.Append(nil))
		m["actionHash"] = h[:]
	}
	return m
}

func quoteMessage(q *tx.Quote) apitypes.TypedDataMessage {
	return apitypes.TypedDataMessage{"thesisType": dec(uint64(q.ThesisType)), "base": addr(q.Base), "quote": addr(q.Quote),
		"lower": dec(q.Lower), "upper": dec(q.Upper), "betAmount": dec(q.BetAmount), "payout": dec(q.Payout),
		"start": dec(q.Start), "end": dec(q.End), "deadline": dec(q.Deadline), "user": addr(q.User), "solver": addr(q.Solver), "salt": dec(q.Salt)}
}

func dec(v uint64) string      { return fmt.Sprint(v) }
func addr(a tx.Address) string { return "0x" + hex.EncodeToString(a[:]) }
func edge(r *rand.Rand) uint64 {
	return [...]uint64{0, 1, 1 << 31, 1<<63 - 1, 1 << 63, ^uint64(0), r.Uint64(), r.Uint64(), r.Uint64N(1 << 40)}[r.IntN(9)]
}

func randomBytes(r *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// random makes a transaction of the kind, with edge values, and with a random
// quote whatever the kind.
func random(r *rand.Rand, kind tx.Kind) (x tx.Transaction) {
	x.Kind, x.Timestamp = kind, edge(r)
	randomBytes(r, x.From[:])
	randomBytes(r, x.Signature[:])
	var a, b tx.Address
	var h tx.Hash
	randomBytes(r, a[:])
	randomBytes(r, b[:])
	randomBytes(r, h[:])
	x.RfqSubmit.Quote = tx.Quote{ThesisType: uint8(r.Uint32()), Base: a, Quote: b, Lower: edge(r), Upper: edge(r), BetAmount: edge(r), Payout: edge(r),
		Start: edge(r), End: edge(r), Deadline: edge(r), User: b, Solver: x.From, Salt: edge(r)}
	switch kind {
	case tx.KindTransfer:
		x.Transfer = tx.Transfer{To: a, Amount: edge(r)}
	case tx.KindNominateApiWallet:
		x.NominateApiWallet = tx.NominateApiWallet{Wallet: a, Expiry: edge(r)}
	case tx.KindRevokeApiWallet:
		x.RevokeApiWallet = tx.RevokeApiWallet{Wallet: a}
	case tx.KindDeposit:
		x.Deposit = tx.Deposit{User: a, Amount: edge(r), ExternalTxHash: h}
	case tx.KindWithdraw:
		x.Withdraw = tx.Withdraw{Amount: edge(r), Destination: a}
	case tx.KindProcessWithdrawal:
		x.ProcessWithdrawal = tx.ProcessWithdrawal{WithdrawalID: edge(r), ExternalTxHash: h}
	case tx.KindRfqSubmit:
		randomBytes(r, x.RfqSubmit.UserSignature[:])
	case tx.KindRfqSettle:
		x.RfqSettle = tx.RfqSettle{ThesisID: edge(r)}
	case tx.KindSystemSettle:
		x.SystemSettle = tx.SystemSettle{ThesisID: edge(r), Settlement: tx.Settlement{Kind: tx.SettlementKind(r.IntN(3))}}
		if s := &x.SystemSettle.Settlement; s.Kind == tx.SolverWins {
			s.BreachTimestamp, s.BreachPrice = edge(r), edge(r)
		}
	case tx.KindAdmin:
		x.Admin = randomAction(r, a, b)
	}
	return x
}

func randomAction(r *rand.Rand, a, b tx.Address) tx.AdminAction {
	limits := tx.Limits{MinBet: edge(r), MaxBet: edge(r), MaxOpenInterest: edge(r)}
	all := []tx.AdminAction{
		{Kind: tx.GrantPermissions, Account: a, Permissions: uint8(r.Uint32())},
		{Kind: tx.RevokePermissions, Account: a, Permissions: uint8(r.Uint32())},
		{Kind: tx.PauseSystem}, {Kind: tx.UnpauseSystem},
		{Kind: tx.PauseMarket, Base: a, Quote: b}, {Kind: tx.UnpauseMarket, Base: a, Quote: b},
		{Kind: tx.AddMarket, Base: a, Quote: b, Name: strings.Repeat("x", r.IntN(tx.MaxMarketName+1)), Limits: limits},
		{Kind: tx.SetMarketLimits, Base: a, Quote: b, Limits: limits},
		{Kind: tx.BlacklistAdd, Account: a}, {Kind: tx.BlacklistRemove, Account: a},
		{Kind: tx.CancelThesis, ThesisID: edge(r)},
	}
	return all[r.IntN(len(all))]
}

// clean removes from a random transaction what its kind does not encode.
func clean(x tx.Transaction) tx.Transaction {
	if x.Kind != tx.KindRfqSubmit {
		x.RfqSubmit = tx.RfqSubmit{}
	}
	return x
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 2000 {
		want := clean(random(rng, tx.Kind(i%10)))
		raw := want.Append(nil)
		var got tx.Transaction
		if !tx.Decode(raw, &got) || got != want {
			t.Fatalf("kind %d: decoded %+v, want %+v", want.Kind, got, want)
		}
		for n := range raw {
			if tx.Decode(raw[:n], &got) {
				t.Fatalf("kind %d: %d of %d bytes decode", want.Kind, n, len(raw))
			}
		}
		if tx.Decode(append(raw, 0), &got) {
			t.Fatalf("kind %d: a byte too many decodes", want.Kind)
		}
	}
}

// TestUnknownTags checks every tag byte that has no meaning.
func TestUnknownTags(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var x tx.Transaction
	head := make([]byte, 28)
	for tag := 10; tag < 256; tag++ {
		if tx.Decode(append(append(append([]byte{}, head...), byte(tag)), make([]byte, 200)...), &x) {
			t.Errorf("payload tag %d decodes", tag)
		}
	}
	for tag := 3; tag < 256; tag++ {
		s := clean(random(rng, tx.KindSystemSettle))
		s.SystemSettle.Settlement = tx.Settlement{Kind: tx.SettlementKind(tag)}
		if tx.Decode(s.Append(nil), &x) {
			t.Errorf("settlement tag %d decodes", tag)
		}
	}
	for tag := 11; tag < 256; tag++ { // 11 is reserved
		for n := range 100 {
			if _, ok := tx.DecodeAction(append([]byte{byte(tag)}, make([]byte, n)...)); ok {
				t.Errorf("action tag %d decodes", tag)
			}
		}
	}
}

// TestIDCoversEverything changes each byte of a transaction: only the signature's
// may leave the id as it is, and for RfqSubmit the user's signature, which the
// quote's own digest binds.
func TestIDCoversEverything(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for kind := range tx.Kind(10) {
		x := clean(random(rng, kind))
		if kind == tx.KindSystemSettle {
			x.SystemSettle.Settlement.Kind = tx.SolverWins
		}
		raw := x.Append(nil)
		id := hasher.Digest(secp.Keccak{}, &x)
		covered := len(raw) - 65
		if kind == tx.KindRfqSubmit {
			covered -= 65
		}
		for i := range raw {
			raw[i] ^= 1
			var y tx.Transaction
			if tx.Decode(raw, &y) && (hasher.Digest(secp.Keccak{}, &y) == id) != (i >= covered) {
				t.Errorf("kind %d: byte %d of %d, covered are %d", kind, i, len(raw), covered)
			}
			raw[i] ^= 1
		}
	}
}

func TestSign(t *testing.T) {
	key, err := secp.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	x := tx.Transaction{From: key.Address(), Timestamp: 5, Kind: tx.KindTransfer, Transfer: tx.Transfer{Amount: 7}}
	if err := hasher.Sign(secp.Keccak{}, &x, key.Sign); err != nil {
		t.Fatal(err)
	}
	digest := hasher.Digest(secp.Keccak{}, &x)
	if a, ok := secp.Recover(&digest, &x.Signature); !ok || a != key.Address() {
		t.Fatalf("recovered %s, %v", a, ok)
	}
	fail := func(*tx.Hash) (tx.Signature, error) { return tx.Signature{}, os.ErrPermission }
	if err := hasher.Sign(secp.Keccak{}, &x, fail); err == nil {
		t.Fatal("the signer's error was lost")
	}
}

func FuzzDecode(f *testing.F) {
	rng := rand.New(rand.NewPCG(9, 10))
	for kind := range tx.Kind(10) {
		x := random(rng, kind)
		f.Add(x.Append(nil))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var x tx.Transaction
		if !tx.Decode(b, &x) {
			return
		}
		if got := x.Append(nil); string(got) != string(b) {
			t.Fatalf("%x encodes as %x", b, got)
		}
		if len(b) > abi.MaxTxBytes {
			t.Fatalf("a transaction of %d bytes decodes", len(b))
		}
		hasher.Digest(secp.Keccak{}, &x)
	})
}

func BenchmarkDecodeAndDigest(b *testing.B) {
	rng := rand.New(rand.NewPCG(11, 12))
	x := random(rng, tx.KindTransfer)
	raw := x.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		tx.Decode(raw, &x)
		hasher.Digest(secp.Keccak{}, &x)
	}
}
