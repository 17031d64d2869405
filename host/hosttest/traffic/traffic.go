// Package traffic makes random transactions of the market for tests: mostly
// sound ones, and every kind of unsound one in between. The same seed makes the
// same transactions.
//
// It imports the market's encodings and host/secp; it is for tests and benchmarks
// only, and no package of the node may import it.
//
//	g := traffic.New(seed, traffic.Fake{})      or traffic.Secp()
//	genesis.Params = g.Params().Append(nil)
//	raw := g.Next(blockTime)
//
// A Generator belongs to one goroutine.
package traffic

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Scheme is a way to sign: real or pretended.
type Scheme interface {
	stf.Crypto
	// Address is the account of the n-th key.
	Address(n int) tx.Address
	// Sign signs with the n-th key.
	Sign(n int, digest *tx.Hash) tx.Signature
}

// Fake is a scheme that costs nothing: a signature is the signer's address, the
// digest and v, so it binds what it signs as a real one does.
type Fake struct{}

// Keccak256 implements [stf.Crypto]; it is SHA-256.
func (Fake) Keccak256(b []byte) chain.Hash { return sha256.Sum256(b) }

// Recover implements [stf.Crypto].
func (Fake) Recover(digest *[32]byte, sig *[65]byte) (a chain.Address, ok bool) {
	copy(a[:], sig[:20])
	return a, sig[64] == 27 && string(sig[20:52]) == string(digest[:])
}

// RecoverAll implements [stf.Crypto].
func (f Fake) RecoverAll(signers []*stf.Signer) {
	for _, s := range signers {
		s.Address, s.OK = f.Recover(&s.Digest, &s.Sig)
	}
}

// Address implements [Scheme].
func (Fake) Address(n int) (a tx.Address) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("fake key"), uint64(n)))
	copy(a[:], sum[:])
	return a
}

// Sign implements [Scheme].
func (f Fake) Sign(n int, digest *tx.Hash) (sig tx.Signature) {
	a := f.Address(n)
	copy(sig[:], a[:])
	copy(sig[20:], digest[:])
	sig[64] = 27
	return sig
}

// real is secp256k1.
type real struct {
	secp.Crypto
	keys map[int]*secp.Key
}

// Secp is the scheme of the chain, with keys that everybody knows.
func Secp() Scheme { return &real{keys: map[int]*secp.Key{}} }

func (r *real) key(n int) *secp.Key {
	if k := r.keys[n]; k != nil {
		return k
	}
	scalar := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("test key"), uint64(n)))
	k, err := secp.NewKey(scalar[:])
	if err != nil {
		panic(fmt.Sprintf("test key %d: %v", n, err))
	}
	r.keys[n] = k
	return k
}

func (r *real) Address(n int) tx.Address { return r.key(n).Address() }

func (r *real) Sign(n int, digest *tx.Hash) tx.Signature {
	sig, err := r.key(n).Sign(digest)
	if err != nil {
		panic(fmt.Sprintf("sign with test key %d: %v", n, err))
	}
	return sig
}

// Keccak adapts a scheme's hash to what package tx asks for.
type Keccak struct{ stf.Crypto }

// Keccak256 implements [tx.Keccak].
func (k Keccak) Keccak256(b []byte, out *[32]byte) { *out = k.Crypto.Keccak256(b) }

// Numbers of the keys. Users have money; the key of the first relayer and so on
// follow them; strangers have nothing.
const (
	Users    = 12
	Admin    = Users
	Relayer  = Users + 1
	Settler  = Users + 2
	Stranger = Users + 3
	keys     = Users + 6
)

// ChallengeMs is the challenge window of the chains here, ms: as short as it may be
// with an oracle.max_stale_ms of 3 s.
const ChallengeMs = 3000

// Generator makes transactions.
type Generator struct {
	Scheme Scheme
	Rand   *rand.Rand
	// NoTheses leaves out what opens and settles theses.
	NoTheses bool
	// Opened is how many theses there are. The generator guesses, too high; a caller
	// that counts makes most settlements about theses that are open.
	Opened uint64

	hasher tx.Hasher
	addr   [keys]tx.Address
	recent [][]byte // sent before, to be sent again
	clock  [keys]uint64
	seq    uint64
	quotes []tx.RfqSubmit  // sent before
	prices []tx.Settlement // of BTC, as claims
}

// New makes a generator.
func New(seed uint64, scheme Scheme) *Generator {
	g := &Generator{Scheme: scheme, Rand: rand.New(rand.NewPCG(seed, 0x6b61697a656e))}
	for n := range g.addr {
		g.addr[n] = scheme.Address(n)
	}
	return g
}

// Address is the account of the n-th key.
func (g *Generator) Address(n int) tx.Address { return g.addr[n] }

// Params begins a chain with the users' money, an admin, a relayer and a settler.
func (g *Generator) Params() *params.Params {
	p := params.Default()
	p.ChallengeWindowMs = ChallengeMs
	for n := range Users {
		p.Accounts = append(p.Accounts, params.Account{Address: g.addr[n], Balance: 1_000_000})
	}
	for n, bit := range map[int]uint8{Admin: tx.PermAdmin, Relayer: tx.PermRelayer, Settler: tx.PermSettler} {
		p.Accounts = append(p.Accounts, params.Account{Address: g.addr[n], Permissions: bit})
	}
	p.Sort()
	return &p
}

// Sign signs t with the n-th key and encodes it.
func (g *Generator) Sign(n int, t *tx.Transaction) []byte {
	digest := g.hasher.Digest(Keccak{g.Scheme}, t)
	t.Signature = g.Scheme.Sign(n, &digest)
	return t.Append(nil)
}

// Transfer makes a sound transfer between users, with timestamps that ascend for
// each sender.
func (g *Generator) Transfer(now uint64) []byte {
	n := g.Rand.IntN(Users)
	t := tx.Transaction{From: g.addr[n], Kind: tx.KindTransfer, Transfer: tx.Transfer{To: g.addr[g.Rand.IntN(Users)], Amount: 1 + g.Rand.Uint64N(50)}}
	g.clock[n] = max(g.clock[n]+1, now)
	t.Timestamp = g.clock[n]
	return g.Sign(n, &t)
}

// Next makes a random transaction for a block of about that time.
func (g *Generator) Next(now uint64) []byte {
	if len(g.recent) > 0 && g.Rand.IntN(25) == 0 {
		return g.recent[g.Rand.IntN(len(g.recent))]
	}
	t, signer := g.transaction(now)
	raw := g.Sign(signer, &t)
	switch g.Rand.IntN(40) {
	case 0:
		raw[g.Rand.IntN(len(raw))] ^= 1 << g.Rand.IntN(8)
	case 1:
		raw = raw[:g.Rand.IntN(len(raw))]
	case 2:
		raw = append(raw, byte(g.Rand.Uint32()))
	}
	if g.recent = append(g.recent, raw); len(g.recent) > 200 {
		g.recent = g.recent[1:]
	}
	return raw
}

// transaction picks a kind, a sender and a signer, which is mostly the sender.
func (g *Generator) transaction(now uint64) (t tx.Transaction, signer int) {
	weights := [...]int{tx.KindTransfer: 50, tx.KindNominateApiWallet: 8, tx.KindRevokeApiWallet: 4, tx.KindDeposit: 8, tx.KindWithdraw: 8,
		tx.KindProcessWithdrawal: 5, tx.KindRfqSubmit: 25, tx.KindRfqSettle: 6, tx.KindSystemSettle: 20, tx.KindAdmin: 8}
	if g.NoTheses {
		weights[tx.KindRfqSubmit], weights[tx.KindRfqSettle], weights[tx.KindSystemSettle] = 0, 0, 0
	}
	t.Kind = tx.Kind(g.weighted(weights[:]))
	sender := g.Rand.IntN(Users)
	switch {
	case g.Rand.IntN(12) == 0:
		sender = g.Rand.IntN(keys)
	case t.Kind == tx.KindAdmin:
		sender = Admin
	case t.Kind == tx.KindSystemSettle:
		sender = Settler
	case t.Kind == tx.KindDeposit || t.Kind == tx.KindProcessWithdrawal:
		sender = Relayer
	}
	signer = sender
	if g.Rand.IntN(8) == 0 {
		signer = g.Rand.IntN(keys)
	}
	t.From, t.Timestamp = g.addr[sender], g.timestamp(now)
	g.payload(&t, now)
	return t, signer
}

func (g *Generator) weighted(weights []int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	pick := g.Rand.IntN(sum)
	for i, w := range weights {
		if pick -= w; pick < 0 {
			return i
		}
	}
	panic("unreachable: the weights add up")
}

// timestamp is near now, and now and then at an edge of the time window.
func (g *Generator) timestamp(now uint64) uint64 {
	const day = 24 * 3600 * 1000
	switch g.Rand.IntN(30) {
	case 0:
		return now + 2*day + g.Rand.Uint64N(3) - 1
	case 1:
		return now - 2*day + g.Rand.Uint64N(3) - 1
	case 2:
		return g.edge()
	case 3:
		return now - day + g.Rand.Uint64N(2*day)
	default:
		g.seq++
		return now - 2000 + g.Rand.Uint64N(4000) + g.seq/64
	}
}

func (g *Generator) edge() uint64 {
	return [...]uint64{0, 1, 1<<63 - 1, 1 << 63, ^uint64(0) - 1, ^uint64(0)}[g.Rand.IntN(6)]
}

func (g *Generator) amount() uint64 {
	switch g.Rand.IntN(12) {
	case 0:
		return g.edge()
	case 1:
		return g.Rand.Uint64N(3_000_000)
	default:
		return g.Rand.Uint64N(50_000)
	}
}

func (g *Generator) any() tx.Address { return g.addr[g.Rand.IntN(keys)] }

// hash is one of a few, so that it comes again.
func (g *Generator) hash() tx.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, g.Rand.Uint64N(200)))
}

func (g *Generator) payload(t *tx.Transaction, now uint64) {
	r := g.Rand
	switch t.Kind {
	case tx.KindTransfer:
		t.Transfer = tx.Transfer{To: g.any(), Amount: g.amount()}
	case tx.KindNominateApiWallet:
		expiry := [...]uint64{0, now - 1, now, now + 1, now + 5_000, now + r.Uint64N(60_000), g.edge()}
		t.NominateApiWallet = tx.NominateApiWallet{Wallet: g.any(), Expiry: expiry[r.IntN(len(expiry))]}
	case tx.KindRevokeApiWallet:
		t.RevokeApiWallet = tx.RevokeApiWallet{Wallet: g.any()}
	case tx.KindDeposit:
		t.Deposit = tx.Deposit{User: g.any(), Amount: g.amount(), ExternalTxHash: g.hash()}
	case tx.KindWithdraw:
		t.Withdraw = tx.Withdraw{Amount: g.amount(), Destination: g.any()}
	case tx.KindProcessWithdrawal:
		t.ProcessWithdrawal = tx.ProcessWithdrawal{WithdrawalID: r.Uint64N(60), ExternalTxHash: g.hash()}
	case tx.KindRfqSubmit:
		t.RfqSubmit = g.submit(t.From, now)
	case tx.KindRfqSettle:
		t.RfqSettle = tx.RfqSettle{ThesisID: g.thesis()}
	case tx.KindSystemSettle:
		t.SystemSettle = tx.SystemSettle{ThesisID: g.thesis(), Settlement: g.settlement()}
	case tx.KindAdmin:
		t.Admin = g.action()
	}
}

// thesis is an id, mostly of one that is there.
func (g *Generator) thesis() uint64 {
	if g.Rand.IntN(20) == 0 {
		return g.edge()
	}
	return g.Opened + 1 - g.Rand.Uint64N(min(g.Opened+1, [...]uint64{10, 200}[g.Rand.IntN(2)]))
}

// settlement is a claim; a breach is mostly a price that was there.
func (g *Generator) settlement() tx.Settlement {
	kind := tx.SettlementKind(g.Rand.IntN(3))
	if kind != tx.SolverWins {
		return tx.Settlement{Kind: kind}
	}
	if len(g.prices) == 0 {
		return tx.Settlement{Kind: tx.Void}
	}
	s := g.prices[g.Rand.IntN(len(g.prices))]
	switch g.Rand.IntN(20) {
	case 0:
		s.BreachPrice++
	case 1:
		s.BreachTimestamp--
	case 2:
		s.BreachTimestamp = g.edge()
	}
	return s
}

// submit is a quote of solver that its user signed, or almost.
func (g *Generator) submit(solver tx.Address, now uint64) (s tx.RfqSubmit) {
	if len(g.quotes) > 0 && g.Rand.IntN(20) == 0 {
		return g.quotes[g.Rand.IntN(len(g.quotes))]
	}
	user := g.Rand.IntN(Users)
	s.Quote = g.quote(g.addr[user], solver, now)
	if g.Rand.IntN(5) == 0 {
		g.spoil(&s.Quote, now)
	} else {
		g.Opened++
	}
	if g.Rand.IntN(15) == 0 {
		user = g.Rand.IntN(keys)
	}
	digest := g.hasher.QuoteDigest(Keccak{g.Scheme}, &s.Quote)
	s.UserSignature = g.Scheme.Sign(user, &digest)
	if g.quotes = append(g.quotes, s); len(g.quotes) > 20 {
		g.quotes = g.quotes[1:]
	}
	return s
}

// quote is a sound offer: about a range that prices leave sooner, later or never.
func (g *Generator) quote(user, solver tx.Address, now uint64) tx.Quote {
	r := g.Rand
	base, _ := params.Token([...]string{"BTC", "BTC", "BTC", "ETH", "SOL"}[r.IntN(5)])
	quote, _ := params.Token("USDT")
	q := tx.Quote{Base: base, Quote: quote, Lower: r.Uint64N(100_000), Upper: 1_000_000 - r.Uint64N(300_000), BetAmount: 10_000 + r.Uint64N(20_000),
		Start: now + [...]uint64{0, 0, 50, 100, r.Uint64N(3000)}[r.IntN(5)], Deadline: now + r.Uint64N(300), User: user, Solver: solver, Salt: r.Uint64()}
	q.Payout = q.BetAmount + 1 + r.Uint64N(20_000)
	q.End = q.Start + 1 + r.Uint64N([...]uint64{200, 1_500, 8_000}[r.IntN(3)])
	if r.IntN(3) == 0 {
		q.Lower, q.Upper = 0, ^uint64(0)
	}
	return q
}

// spoil makes one term something that is refused, or just not.
func (g *Generator) spoil(q *tx.Quote, now uint64) {
	near := func(v uint64) uint64 { return v + g.Rand.Uint64N(3) - 1 }
	switch g.Rand.IntN(14) {
	case 0:
		q.ThesisType = byte(g.Rand.IntN(3))
	case 1:
		q.Base = g.token()
	case 2:
		q.Quote = g.token()
	case 3:
		q.Lower = near(q.Upper)
	case 4:
		q.Payout = near(q.BetAmount)
	case 5:
		q.BetAmount, q.Payout = g.edge(), g.edge()
	case 6:
		q.BetAmount = near(10_000)
	case 7:
		q.Deadline = near(now)
	case 8:
		q.Start = near(now)
	case 9:
		q.End = near(q.Start)
	case 10:
		q.End = near(now + 6_480_800 - 500)
	case 11:
		q.End = g.edge()
	case 12:
		q.User = q.Solver
	default:
		q.Solver = g.any()
	}
}

func (g *Generator) action() tx.AdminAction {
	r := g.Rand
	a := tx.AdminAction{Kind: tx.Action(min(r.IntN(14), int(tx.CancelThesis))), ThesisID: g.thesis()}
	switch a.Kind {
	case tx.GrantPermissions, tx.RevokePermissions:
		a.Account, a.Permissions = g.any(), uint8(r.IntN(10))
	case tx.BlacklistAdd, tx.BlacklistRemove:
		a.Account = g.any()
		if r.IntN(5) > 0 { // or most of the rest would fail for it
			a.Kind = tx.BlacklistRemove
		}
	case tx.PauseSystem:
		if r.IntN(6) > 0 { // likewise
			a.Kind = tx.UnpauseSystem
		}
	case tx.PauseMarket, tx.UnpauseMarket, tx.AddMarket, tx.SetMarketLimits:
		if a.Kind == tx.PauseMarket && r.IntN(4) > 0 {
			a.Kind = tx.UnpauseMarket
		}
		a.Base, a.Quote = g.token(), g.token()
	}
	if a.Kind == tx.AddMarket {
		a.Name = [...]string{"", "BTC/USDT", "X/Y", "A B", fmt.Sprintf("M%d", r.IntN(30))}[r.IntN(5)]
	}
	if a.Kind == tx.AddMarket || a.Kind == tx.SetMarketLimits {
		a.Limits = tx.Limits{MinBet: r.Uint64N(3) * 5_000, MaxBet: r.Uint64N(100_000), MaxOpenInterest: r.Uint64N(2_000_000)}
	}
	return a
}

// token is one of the known tokens or a made-up one.
func (g *Generator) token() (a tx.Address) {
	if a, ok := params.Token([...]string{"BTC", "ETH", "SOL", "USDT", "USDT", "?"}[g.Rand.IntN(6)]); ok {
		return a
	}
	a[0] = byte(g.Rand.IntN(4))
	return a
}

// Oracle makes a snapshot of random prices for a block: fresh, old, ahead, of
// unknown pairs, or stale as a whole.
func (g *Generator) Oracle(now uint64) (s chain.OracleSnapshot) {
	s.Timestamp, s.Stale = now, g.Rand.IntN(20) == 0
	quote, _ := params.Token("USDT")
	for n := byte(1); n <= 4; n++ { // the fourth is unknown
		base := chain.Address{19: n}
		at := now - g.Rand.Uint64N(120)
		switch g.Rand.IntN(15) {
		case 0:
			at = now - g.Rand.Uint64N(6_000)
		case 1:
			at = now + 1
		}
		p := chain.Price{Base: base, Quote: quote, Price: g.Rand.Uint64N(1_000_000), Timestamp: at}
		s.Prices = append(s.Prices, p)
		if n == 1 {
			g.prices = append(g.prices, tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: at, BreachPrice: p.Price})
		}
	}
	g.prices = g.prices[max(0, len(g.prices)-30):]
	return s
}
