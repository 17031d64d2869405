package devnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/cmd/internal/wallet"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/quote"
	"github.com/kaizenchain/kaizen/host/relay"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/solver"
)

const (
	// MaxThesesPerSecond bounds the bets that the users make.
	MaxThesesPerSecond = 200
	// SettlerDir is the settler's directory inside the chain's.
	SettlerDir = "settler"
	// maxBetsUnderWay bounds the bets that wait for an answer; what the chain does
	// not keep up with is not made.
	maxBetsUnderWay = 32
	// infoEvery is how often users look at prices and limits.
	infoEvery = 500 * time.Millisecond
	// startTimeout bounds how long the solver gets to meet its node.
	startTimeout = 10 * time.Second
	// betTimeout bounds one bet, from asking to its receipt.
	betTimeout = 15 * time.Second
	// solverWindowMs is how far back the solver looks.
	solverWindowMs = 120_000
	// solverRate is its limit of calls: all users share one address.
	solverRate = 10 * MaxThesesPerSecond
)

// solverConfig is what the development solver does: as any solver, but quick, so
// that theses begin soon after they were quoted.
func solverConfig() quote.Config {
	c := quote.Default()
	c.LifetimeMs = 1_000
	c.MaxBet = 1000 * quote.PPM
	return c
}

// startSolver brings up the solver, with the account that shares its timestamps
// with the traffic.
func (n *Net) startSolver(ctx context.Context, accounts []Account) error {
	// Whoever interrupts a start gets a chain that stops in order.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // never the usual port: that is for a solver of one's own
	if err != nil {
		return fmt.Errorf("solver: %w", err)
	}
	s, err := solver.New(ctx, n.client, solver.Options{Key: accounts[solverAccount].Key, Quote: solverConfig(), WindowMs: solverWindowMs, Rate: solverRate,
		Stamp: n.stamps[solverAccount].next, Log: atLeastErrors(n.opts.Log).With("part", "solver")})
	if err != nil {
		return fmt.Errorf("solver: %w", errors.Join(err, l.Close()))
	}
	n.Services.Solver = "http://" + l.Addr().String()
	n.solver = n.start(func(ctx context.Context) error { return s.Run(ctx, l) })
	return nil
}

// startSettler brings up the settler, as the program of that name would be.
func (n *Net) startSettler(accounts []Account) error {
	s, err := relay.New(relay.Options{WriteNode: n.Services.Sync, RPCURL: n.Services.RPC, CheckInterval: relay.DefaultCheckInterval, BatchSize: relay.DefaultBatchSize,
		BufferMs: relay.DefaultBufferMs, DataDir: filepath.Join(n.opts.Dir, SettlerDir), Key: accounts[SettlerAccount].Key, Agent: "settler/" + node.Version, Log: n.opts.Log.With("part", "settler")})
	if err != nil {
		return fmt.Errorf("settler: %w", err)
	}
	n.settler = n.start(func(ctx context.Context) error { return errors.Join(s.Run(ctx), s.Close()) })
	return nil
}

// bets are the users: they ask the solver for quotes on ranges of about the size
// that prices move by, and accept them.
type bets struct {
	solver *solver.Client
	users  []*wallet.Wallet
	rate   int // per second

	asked, accepted, declined, lost atomic.Uint64
	trouble                         atomic.Pointer[string]

	mu   sync.Mutex // guards what follows, and the wallets
	info solver.Info
}

// Bets is what the users' bets have come to.
type Bets struct {
	Asked    uint64 `json:"asked"`
	Accepted uint64 `json:"accepted"` // a thesis was opened
	Declined uint64 `json:"declined"` // by the solver or the chain
	Lost     uint64 `json:"lost"`     // no answer
	Trouble  string `json:"trouble,omitempty"`
}

func (b *bets) report() Bets {
	r := Bets{Asked: b.asked.Load(), Accepted: b.accepted.Load(), Declined: b.declined.Load(), Lost: b.lost.Load()}
	if s := b.trouble.Load(); s != nil {
		r.Trouble = *s
	}
	return r
}

// run makes bets at a steady rate until ctx ends, and waits for their answers.
func (b *bets) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	underWay := make(chan struct{}, maxBetsUnderWay)
	ticker := time.NewTicker(time.Second / time.Duration(b.rate))
	defer ticker.Stop()
	var looked time.Time
	for n := uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if now.Sub(looked) >= infoEvery && b.look(ctx) {
				looked = now
			}
		}
		select {
		case underWay <- struct{}{}:
			r, w, ok := b.next(n)
			n++
			if !ok { // no market has a price to go by yet
				<-underWay
				continue
			}
			all.Go(func() {
				defer func() { <-underWay }()
				b.note(b.make(r, w))
			})
		default:
		}
	}
}

func (b *bets) look(ctx context.Context) bool {
	info, err := b.solver.Info(ctx)
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.info = info
	return true
}

// What the users choose from, in turn: durations, ms, and half widths of ranges,
// hundredths of the move to expect. A range of one move holds about every third
// time, one of two nearly always.
var (
	durationsMs = [...]uint64{10_000, 15_000, 20_000, 30_000, 45_000, 60_000}
	halfWidths  = [...]uint64{90, 120, 150, 180, 240}
)

// next is the n-th bet.
func (b *bets) next(n uint64) (*solver.QuoteRequest, *wallet.Wallet, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var open []*solver.Market
	for i := range b.info.Markets {
		if m := &b.info.Markets[i]; !m.Stale && !m.Paused && m.Moves >= quote.Default().MinMoves {
			open = append(open, m)
		}
	}
	if len(open) == 0 {
		return nil, nil, false
	}
	w := b.users[n%uint64(len(b.users))]
	r := choose(n, open[n%uint64(len(open))], b.info.Limits.Lifetime)
	r.User = w.Address
	return r, w, true
}

// choose makes a range around the price that is as wide as n says.
func choose(n uint64, m *solver.Market, leadMs uint64) *solver.QuoteRequest {
	duration := durationsMs[n%uint64(len(durationsMs))]
	half := quote.ExpectedMove(uint64(m.Price), m.Volatility, duration+leadMs) * halfWidths[n/2%uint64(len(halfWidths))] / 100
	half = max(half, 1)
	return &solver.QuoteRequest{Pair: m.Pair, Lower: m.Price - min(api.Amount(half), m.Price-1), Upper: m.Price + api.Amount(half),
		BetAmount: api.Amount((1 + n%10) * quote.PPM), Duration: duration}
}

// make asks and accepts.
func (b *bets) make(r *solver.QuoteRequest, w *wallet.Wallet) error {
	ctx, cancel := context.WithTimeout(context.Background(), betTimeout)
	defer cancel()
	b.asked.Add(1)
	terms, err := b.solver.Quote(ctx, r)
	if err != nil {
		return err
	}
	q := terms.Quote.Chain()
	b.mu.Lock() // the wallet's
	signature, err := w.SignQuote(&q)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = b.solver.Accept(ctx, &solver.AcceptRequest{Quote: terms.Quote, UserSignature: signature[:]})
	return err
}

func (b *bets) note(err error) {
	var no *solver.Error
	switch {
	case err == nil:
		b.accepted.Add(1)
		return
	case errors.As(err, &no) && no.Name != solver.Unresolved:
		b.declined.Add(1)
	default:
		b.lost.Add(1)
	}
	text := err.Error()
	b.trouble.Store(&text)
}

// startMarket brings up solver, settler and users, on a chain that has a market.
func (n *Net) startMarket(ctx context.Context) error {
	if !n.Market() {
		return nil
	}
	accounts, err := Accounts()
	if err != nil {
		return err
	}
	if n.client, err = client.New(n.Services.RPC); err != nil {
		return err
	}
	if err := n.startSettler(accounts); err != nil {
		return err
	}
	if err := n.startSolver(ctx, accounts); err != nil {
		return err
	}
	n.startTraffic(accounts)
	if n.opts.ThesesPerSecond == 0 {
		return nil
	}
	return n.startUsers(accounts)
}

func (n *Net) startUsers(accounts []Account) error {
	s, err := solver.NewClient(n.Services.Solver)
	if err != nil {
		return err
	}
	n.bets = &bets{solver: s, rate: n.opts.ThesesPerSecond}
	for _, a := range accounts[solverAccount+1 : lastTrafficAccount+1] {
		n.bets.users = append(n.bets.users, wallet.New(a.Key))
	}
	n.users = n.start(func(ctx context.Context) error {
		defer s.Close()
		n.bets.run(ctx)
		return nil
	})
	return nil
}

// stamps gives timestamps to the transactions of one account, strictly rising,
// whoever sends them: the chain remembers so many of an account and no more.
type stamps struct{ last atomic.Uint64 }

func (s *stamps) next() uint64 {
	for {
		last := s.last.Load()
		next := max(last+1, uint64(time.Now().UnixMilli()))
		if s.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// atLeastErrors drops what a solver says of each quote that comes to nothing: the
// users' own figures have it.
func atLeastErrors(l *slog.Logger) *slog.Logger { return slog.New(errorsOnly{l.Handler()}) }

type errorsOnly struct{ slog.Handler }

func (h errorsOnly) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && h.Handler.Enabled(ctx, level)
}
func (h errorsOnly) WithAttrs(a []slog.Attr) slog.Handler { return errorsOnly{h.Handler.WithAttrs(a)} }
func (h errorsOnly) WithGroup(g string) slog.Handler      { return errorsOnly{h.Handler.WithGroup(g)} }
