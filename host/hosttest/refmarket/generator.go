package refmarket

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/traffic"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Numbers of the generator's keys: users and solvers have money, wallets sign for
// them, strangers have nothing.
const (
	FirstUser     = 0
	FirstSolver   = 8
	FirstWallet   = 12
	AdminKey      = 18
	RelayerKey    = 19
	SettlerKey    = 20
	FirstStranger = 21
	Keys          = 23 // of the traffic
	Outsider      = 23 // of nobody in it
)

// Generator makes the traffic of a market: users who take quotes, solvers who
// make them, settlers honest and not, relayers, admins, and people who try what
// they may not. It looks at the reference to know what is worth trying; it never
// looks at the module. The same seed makes the same traffic for the same market.
type Generator struct {
	Scheme traffic.Scheme
	Rand   *rand.Rand
	Market *Market
	// Weights says how often each kind is sent; NewGenerator sets it.
	Weights [10]int

	hasher tx.Hasher
	addr   [Keys + 1]tx.Address
	prices [4]uint64
	outage [4]uint64      // until when a market has no prices
	sent   [][]byte       // to be sent again
	quotes []tx.RfqSubmit // to be used again
	last   uint64
}

// NewGenerator makes a generator; Market is to be set before the first Next.
func NewGenerator(seed uint64, scheme traffic.Scheme) *Generator {
	g := &Generator{Scheme: scheme, Rand: rand.New(rand.NewPCG(seed, 0x7468657365)), prices: [4]uint64{16_000_000_000, 460_000_000, 2_000_000, 1_000_000},
		Weights: [...]int{tx.KindTransfer: 12, tx.KindNominateApiWallet: 4, tx.KindRevokeApiWallet: 2, tx.KindDeposit: 6, tx.KindWithdraw: 4,
			tx.KindProcessWithdrawal: 4, tx.KindRfqSubmit: 35, tx.KindRfqSettle: 8, tx.KindSystemSettle: 25, tx.KindAdmin: 5}}
	for n := range g.addr {
		g.addr[n] = scheme.Address(n)
	}
	return g
}

// Genesis is a chain that the traffic suits: limits that are met, and a challenge
// window that is short, but not so short that a price can be recorded for a window
// that has been judged.
func (g *Generator) Genesis() (*chain.Genesis, *params.Params) {
	p := params.Default()
	p.ChallengeWindowMs = 3_000
	for i := range p.Markets {
		p.Markets[i].Limits = tx.Limits{MinBet: 1_000, MaxBet: 5_000_000, MaxOpenInterest: 400_000_000}
	}
	for n := range FirstWallet {
		p.Accounts = append(p.Accounts, params.Account{Address: g.addr[n], Balance: 100_000_000 << (n / FirstSolver)})
	}
	for n, bit := range map[int]uint8{AdminKey: tx.PermAdmin, RelayerKey: tx.PermRelayer} {
		p.Accounts = append(p.Accounts, params.Account{Address: g.addr[n], Permissions: bit})
	}
	p.Sort()
	return &chain.Genesis{ChainID: 1, Time: 1_700_000_000_000, IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3_000,
		SettlerEnabled: true, Settler: chain.Address(g.addr[SettlerKey]), Params: p.Append(nil)}, &p
}

// one picks one of some values.
func one[T any](g *Generator, of ...T) T { return of[g.Rand.IntN(len(of))] }

// chance is true once in n times.
func (g *Generator) chance(n int) bool { return g.Rand.IntN(n) == 0 }

// about is a value near v, most often beside it.
func (g *Generator) about(v uint64) uint64 { return v + g.Rand.Uint64N(3) - 1 }

func (g *Generator) edge() uint64 {
	return one[uint64](g, 0, 1, 1<<63-1, 1<<63, ^uint64(0)-1, ^uint64(0))
}

// Step is how long after the last block the next one is: mostly not long, now and
// then as long as it takes for a thesis, the ring or the replay window to pass.
func (g *Generator) Step() uint64 {
	switch r := g.Rand.IntN(4000); {
	case r == 0:
		return 2*24*3600*1000 + g.Rand.Uint64N(3)
	case r < 4:
		return 6_540_000 + g.Rand.Uint64N(30_000)
	case r < 10:
		return g.Rand.Uint64N(100_000)
	case r < 40:
		return 2_990 + g.Rand.Uint64N(20)
	case r < 2000:
		return 100
	default:
		return 1 + g.Rand.Uint64N(900)
	}
}

// Oracle is a snapshot for a block at time now: random walks with outages, the
// same price again, prices that are ahead, late, zero or of no market.
func (g *Generator) Oracle(now uint64) (s chain.OracleSnapshot) {
	s.Timestamp, s.Stale = now, g.chance(300)
	usdt, _ := params.Token("USDT")
	for n := range g.prices {
		if g.chance(400) {
			g.outage[n] = now + one(g, 2_950+g.Rand.Uint64N(100), g.Rand.Uint64N(8_000))
		}
		if now < g.outage[n] {
			continue
		}
		at, price := now-g.Rand.Uint64N(60), g.walk(n)
		switch g.Rand.IntN(150) {
		case 0:
			at = now + 1
		case 1:
			at = now - 2_999 - g.Rand.Uint64N(3)
		case 2:
			price = 0
		case 3, 4, 5:
			at = g.last // as the last one, or before it
		case 6:
			price = g.edge()
		}
		s.Prices = append(s.Prices, chain.Price{Base: chain.Address{19: byte(n + 1)}, Quote: chain.Address(usdt), Price: price, Timestamp: at})
	}
	g.last = now
	return s
}

func (g *Generator) walk(n int) uint64 {
	p := &g.prices[n]
	step := *p / 20_000
	*p += g.Rand.Uint64N(2*step + 1)
	*p -= step
	if g.chance(100) { // a jump
		*p += 3*step - g.Rand.Uint64N(6*step+1)
	}
	return *p
}

// Next makes a transaction for the open block of the reference.
func (g *Generator) Next() []byte {
	if len(g.sent) > 0 && g.chance(40) {
		return one(g, g.sent...)
	}
	t, signer := g.transaction()
	raw := g.Sign(signer, &t)
	switch g.Rand.IntN(120) {
	case 0:
		raw[g.Rand.IntN(len(raw))] ^= 1 << g.Rand.IntN(8)
	case 1:
		raw = raw[:g.Rand.IntN(len(raw))]
	case 2:
		raw = append(raw, byte(g.Rand.Uint32()))
	}
	if g.sent = append(g.sent, raw); len(g.sent) > 300 {
		g.sent = g.sent[1:]
	}
	return raw
}

// Address is the account of a key.
func (g *Generator) Address(key int) tx.Address { return g.addr[key] }

// Sign signs t with a key and encodes it.
func (g *Generator) Sign(key int, t *tx.Transaction) []byte {
	digest := g.hasher.Digest(traffic.Keccak{Crypto: g.Scheme}, t)
	t.Signature = g.Scheme.Sign(key, &digest)
	return t.Append(nil)
}

// Accept is a key's signature under a quote.
func (g *Generator) Accept(key int, q *tx.Quote) tx.Signature {
	digest := g.hasher.QuoteDigest(traffic.Keccak{Crypto: g.Scheme}, q)
	return g.Scheme.Sign(key, &digest)
}

// transaction picks what is sent, by whom, and who signs it.
func (g *Generator) transaction() (t tx.Transaction, signer int) {
	sum := 0
	for _, w := range g.Weights {
		sum += w
	}
	pick := g.Rand.IntN(sum)
	for pick >= g.Weights[t.Kind] {
		pick -= g.Weights[t.Kind]
		t.Kind++
	}
	t.Timestamp = g.timestamp()
	sender := g.payload(&t)
	if g.Market.paused && g.chance(10) {
		t.Kind, t.Admin = tx.KindAdmin, tx.AdminAction{Kind: tx.UnpauseSystem}
		sender = g.holder(tx.PermAdmin)
	}
	if g.chance(30) {
		sender = g.Rand.IntN(Keys)
	}
	t.From = g.addr[sender]
	signer = sender
	if g.chance(8) {
		signer = g.wallet(sender)
	}
	if g.chance(60) {
		signer = g.Rand.IntN(Keys)
	}
	return t, signer
}

// wallet is a key that may sign for an account, or its own.
func (g *Generator) wallet(account int) int {
	may := g.Market.Account(g.addr[account]).Signers
	for _, n := range g.Rand.Perm(Keys) {
		for _, a := range may {
			if g.addr[n] == a {
				return n
			}
		}
	}
	return account
}

// holder is a key whose account has the permission.
func (g *Generator) holder(bit uint8) int {
	for _, n := range g.Rand.Perm(Keys) {
		if g.Market.Account(g.addr[n]).Permissions&bit != 0 {
			return n
		}
	}
	return g.Rand.IntN(Keys)
}

func (g *Generator) user() int       { return FirstUser + g.Rand.IntN(FirstSolver-FirstUser) }
func (g *Generator) solver() int     { return FirstSolver + g.Rand.IntN(FirstWallet-FirstSolver) }
func (g *Generator) any() tx.Address { return g.addr[g.Rand.IntN(Keys)] }

// timestamp is about now, and now and then at an edge of the time window.
func (g *Generator) timestamp() uint64 {
	now := g.Market.now
	switch g.Rand.IntN(400) {
	case 0:
		return g.about(now - maxSkewMs)
	case 1, 2, 3, 4:
		return now - g.Rand.Uint64N(maxSkewMs)
	case 5:
		return g.edge()
	case 6: // what is ahead stays in a signer's window for days: not often
		if g.chance(20) {
			return one(g, g.about(now+maxSkewMs), now+g.Rand.Uint64N(maxSkewMs))
		}
		return now + maxSkewMs + 1
	default:
		return now - 1_000 + g.Rand.Uint64N(2_000)
	}
}

func (g *Generator) amount() uint64 {
	switch g.Rand.IntN(20) {
	case 0:
		return g.edge()
	case 1:
		return g.Rand.Uint64N(300_000_000)
	default:
		return 1 + g.Rand.Uint64N(100_000)
	}
}

// hash is now and then one of a few, so that it comes again.
func (g *Generator) hash() tx.Hash {
	n := g.Rand.Uint64()
	if g.chance(5) {
		n %= 100
	}
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
}

// payload fills t and returns who would send that.
func (g *Generator) payload(t *tx.Transaction) (sender int) {
	now := g.Market.now
	switch t.Kind {
	case tx.KindTransfer:
		t.Transfer = tx.Transfer{To: g.any(), Amount: g.amount()}
	case tx.KindNominateApiWallet:
		expiry := one(g, 0, now-1, now, now+1, now+5_000, now+g.Rand.Uint64N(60_000), g.edge())
		t.NominateApiWallet = tx.NominateApiWallet{Wallet: g.any(), Expiry: expiry}
		if g.chance(2) {
			t.NominateApiWallet.Wallet = g.addr[FirstWallet+g.Rand.IntN(AdminKey-FirstWallet)]
		}
	case tx.KindRevokeApiWallet:
		t.RevokeApiWallet = tx.RevokeApiWallet{Wallet: g.any()}
	case tx.KindDeposit:
		t.Deposit = tx.Deposit{User: g.any(), Amount: g.amount(), ExternalTxHash: g.hash()}
		return g.holder(tx.PermRelayer)
	case tx.KindWithdraw:
		t.Withdraw = tx.Withdraw{Amount: g.amount(), Destination: g.any()}
	case tx.KindProcessWithdrawal:
		t.ProcessWithdrawal = tx.ProcessWithdrawal{WithdrawalID: g.withdrawal(), ExternalTxHash: g.hash()}
		return g.holder(tx.PermRelayer)
	case tx.KindRfqSubmit:
		return g.submit(&t.RfqSubmit)
	case tx.KindRfqSettle:
		t.RfqSettle = tx.RfqSettle{ThesisID: g.thesis(true)}
	case tx.KindSystemSettle:
		t.SystemSettle = g.settlement()
		return g.holder(tx.PermSettler)
	case tx.KindAdmin:
		t.Admin = g.action()
		return g.holder(tx.PermAdmin)
	}
	return g.Rand.IntN(FirstWallet)
}

func (g *Generator) withdrawal() uint64 {
	n := uint64(len(g.Market.withdrawals))
	return one(g, 0, n, n+1, n-min(n, g.Rand.Uint64N(10)), g.edge())
}

// thesis is an id: mostly of one that is open, the one that is due longest if
// asked for.
func (g *Generator) thesis(oldest bool) uint64 {
	n := uint64(len(g.Market.theses))
	if open := g.Market.open; len(open) > 0 && !g.chance(12) {
		if oldest && g.chance(2) {
			return open[g.Rand.IntN(min(len(open), 4))].ID
		}
		return open[g.Rand.IntN(len(open))].ID
	}
	return one(g, 0, 1, n, n+1, n/2, n-min(n, g.Rand.Uint64N(30)), g.edge())
}

// unstarted is the id of a thesis that may still be cancelled, if there is one.
func (g *Generator) unstarted() uint64 {
	for _, t := range g.Market.open {
		if g.Market.now < t.Quote.Start && !g.chance(3) {
			return t.ID
		}
	}
	return g.thesis(false)
}

// submit makes a quote that its user has signed, or almost, and returns the
// solver.
func (g *Generator) submit(s *tx.RfqSubmit) (sender int) {
	user, solver := g.user(), g.solver()
	if len(g.quotes) > 0 && g.chance(25) {
		*s = one(g, g.quotes...)
		for n, a := range g.addr[:Keys] {
			if a == s.Quote.Solver {
				return n
			}
		}
	}
	s.Quote = g.quote(user, solver)
	if g.chance(4) {
		g.spoil(&s.Quote)
	}
	signer := user
	if g.chance(5) {
		signer = g.wallet(user)
	}
	if g.chance(40) {
		signer = g.Rand.IntN(Keys)
	}
	s.UserSignature = g.Accept(signer, &s.Quote)
	if g.chance(60) {
		s.UserSignature[g.Rand.IntN(65)] ^= 1 << g.Rand.IntN(8)
	}
	if g.quotes = append(g.quotes, *s); len(g.quotes) > 12 {
		g.quotes = g.quotes[1:]
	}
	return solver
}

// quote is a sound offer about the newest price.
func (g *Generator) quote(user, solver int) tx.Quote {
	now := g.Market.now
	n := g.Rand.IntN(3)
	base, _ := params.Token([...]string{"BTC", "ETH", "SOL"}[n])
	usdt, _ := params.Token("USDT")
	price := g.Market.pair(base, usdt).newest.Price
	width := price/2_000 + price/100_000*g.Rand.Uint64N(200)
	bet := 1_000 + g.Rand.Uint64N(one[uint64](g, 20_000, 1_000_000))
	start := now + one(g, 0, g.Rand.Uint64N(4_000))
	return tx.Quote{Base: base, Quote: usdt, Lower: price - width, Upper: price + width, BetAmount: bet, Payout: bet + 1 + g.Rand.Uint64N(2*bet),
		Start: start, End: start + 1 + g.Rand.Uint64N(one[uint64](g, 3_000, 20_000)), Deadline: now + g.Rand.Uint64N(500),
		User: g.addr[user], Solver: g.addr[solver], Salt: g.Rand.Uint64()}
}

// spoil changes one term of a quote, to something that is refused or just not.
func (g *Generator) spoil(q *tx.Quote) {
	now := g.Market.now
	switch g.Rand.IntN(17) {
	case 0:
		q.ThesisType = byte(g.Rand.Uint32())
	case 1:
		q.Base = g.token()
	case 2:
		q.Quote = g.token()
	case 3:
		q.Lower = one(g, q.Upper, q.Upper-1, q.Upper+1, g.edge())
	case 4:
		q.Upper = one(g, q.Lower+1, g.edge())
	case 5:
		q.Payout = one(g, q.BetAmount, q.BetAmount+1, q.BetAmount-1, g.edge())
	case 6:
		limits := g.Market.pair(q.Base, q.Quote).limits
		q.BetAmount = one(g, 0, g.about(limits.MinBet), g.about(limits.MaxBet))
		q.Payout = q.BetAmount + q.BetAmount/2
	case 7:
		q.BetAmount = g.edge()
		q.Payout = g.edge()
	case 8:
		q.Deadline = one(g, now-1, now, now+1, g.edge())
	case 9:
		q.Start = one(g, now-1, now, now+1, g.edge())
	case 10:
		q.End = one(g, q.Start-1, q.Start, q.Start+1, g.edge())
	case 11:
		q.End = g.about(now + farthestDueMs - g.Market.challengeMs)
	case 12:
		q.End = -g.Market.challengeMs - 1 + g.Rand.Uint64N(3)
	case 13:
		q.User = q.Solver
	case 14:
		q.User = g.any()
	case 15:
		q.Solver = g.any()
	case 16: // more than the two or the market have
		q.BetAmount = 1_000 + g.Rand.Uint64N(5_000_000)
		q.Payout = q.BetAmount + g.Rand.Uint64N(600_000_000)
	}
}

// settlement is a claim of a settler, honest more often than not.
func (g *Generator) settlement() (p tx.SystemSettle) {
	p.ThesisID = g.thesis(true)
	p.Settlement.Kind = tx.SettlementKind(g.Rand.IntN(3))
	if p.ThesisID == 0 || p.ThesisID > uint64(len(g.Market.theses)) {
		return p
	}
	t := g.Market.theses[p.ThesisID-1]
	verdict, breach := g.Market.Verdict(t)
	if honest := !g.chance(3); honest {
		p.Settlement.Kind = map[Outcome]tx.SettlementKind{UserWins: tx.UserWins, SolverWins: tx.SolverWins, Voided: tx.Void}[verdict]
	}
	if p.Settlement.Kind == tx.SolverWins {
		p.Settlement.BreachTimestamp, p.Settlement.BreachPrice = g.claim(t, breach)
	}
	return p
}

// claim is a breach: the true one if there is one, or a lie.
func (g *Generator) claim(t *Thesis, breach Price) (timestamp, price uint64) {
	if breach.Timestamp == 0 {
		if prices, _ := t.market.within(t.Quote.Start, t.Quote.End); len(prices) > 0 {
			breach = one(g, prices...)
		} else if log := t.market.log; len(log) > 0 {
			breach = log[len(log)-1-g.Rand.IntN(min(len(log), 20))].Price
		}
	}
	timestamp, price = breach.Timestamp, breach.Price
	switch g.Rand.IntN(16) {
	case 0:
		timestamp = g.about(timestamp)
	case 1:
		price = g.about(price)
	case 2:
		price = one(g, g.about(t.Quote.Lower), g.about(t.Quote.Upper))
	case 3:
		timestamp = one(g, g.about(t.Quote.Start), g.about(t.Quote.End))
	case 4:
		timestamp = one(g, t.market.newest.Timestamp, g.edge())
	case 5:
		price = g.edge()
	}
	return timestamp, price
}

func (g *Generator) action() (a tx.AdminAction) {
	a.Kind = one(g, tx.CancelThesis, tx.CancelThesis, tx.GrantPermissions, tx.RevokePermissions, tx.PauseSystem, tx.PauseMarket, tx.AddMarket, tx.SetMarketLimits, tx.BlacklistAdd)
	switch a.Kind {
	case tx.CancelThesis:
		a.ThesisID = g.unstarted()
	case tx.GrantPermissions, tx.RevokePermissions:
		a.Account, a.Permissions = g.any(), uint8(g.Rand.IntN(10))
	case tx.PauseSystem:
		if g.Market.paused || !g.chance(4) { // nearly everything fails while it lasts
			a.Kind = tx.UnpauseSystem
		}
	case tx.BlacklistAdd:
		a.Account = g.any()
		for n := range g.addr { // never many at a time
			if g.Market.Account(g.addr[n]).Blacklisted {
				a.Kind, a.Account = tx.BlacklistRemove, g.addr[n]
			}
		}
	case tx.PauseMarket:
		a.Base, a.Quote = g.token(), g.token()
		for _, x := range g.Market.markets { // never several at a time
			if x.paused {
				a.Kind, a.Base, a.Quote = tx.UnpauseMarket, x.base, x.quote
			}
		}
	case tx.SetMarketLimits:
		a.Base, a.Quote = g.token(), g.token()
		a.Limits = tx.Limits{MinBet: 1_000, MaxBet: 5_000_000, MaxOpenInterest: 400_000_000}
		if g.chance(4) {
			a.Limits = tx.Limits{MinBet: g.Rand.Uint64N(3), MaxBet: g.Rand.Uint64N(100_000), MaxOpenInterest: g.Rand.Uint64N(200_000)}
		}
	case tx.AddMarket:
		a.Base, a.Quote = g.token(), g.token()
		a.Name = one(g, "", "BTC/USDT", "X/Y", "A B", fmt.Sprintf("M%d", g.Rand.IntN(30)))
		a.Limits = tx.Limits{MinBet: g.Rand.Uint64N(3), MaxBet: g.Rand.Uint64N(100), MaxOpenInterest: g.Rand.Uint64N(200)}
	}
	return a
}

// token is one of the known tokens or a made-up one.
func (g *Generator) token() (a tx.Address) {
	if a, ok := params.Token(one(g, "BTC", "ETH", "SOL", "USDT", "USDT", "USDT", "?")); ok {
		return a
	}
	a[0] = byte(g.Rand.IntN(4))
	return a
}
