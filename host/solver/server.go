package solver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/quote"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Limits of the HTTP side.
const (
	maxBodyBytes   = 16 << 10
	maxHeaderBytes = 16 << 10
	// maxConcurrent bounds the requests under way; others are told to come back.
	maxConcurrent = 64
	// maxConnections bounds the connections that are open; one more is closed.
	maxConnections = 512
	readTimeout    = 10 * time.Second
	idleTimeout    = time.Minute
	// writeTimeout bounds a request from its header to the last byte of its answer:
	// what may take its time, and ten seconds for the caller to read it.
	writeTimeout = readTimeout + askTimeout + answerTimeout + 10*time.Second
	// stopTimeout bounds how long Run waits for what was accepted.
	stopTimeout = 15 * time.Second
	// MaxRate bounds Options.Rate.
	MaxRate = 100_000
)

// Bounds of Options.WindowMs: at the highest rate of the chain's price history,
// one price per 100 ms, more than enough and not more than a window can hold.
const (
	MinWindowMs = 1_000
	MaxWindowMs = 400_000
)

// Options say who quotes what.
type Options struct {
	Key      *secp.Key     // signs RfqSubmit: the account's own, or one of its API wallets
	Account  chain.Address // zero: the key's own
	Pairs    []string      // markets to quote; empty: every one
	Quote    quote.Config  // its Solver is Account
	WindowMs uint64        // how far back the model looks
	DryRun   bool          // quote, and accept nothing
	Rate     int           // calls per second and address
	Log      *slog.Logger
	Clock    func() time.Time // nil: the machine's
	// Stamp gives a transaction its timestamp, ms; nil: the clock. Whoever sends
	// other transactions of the account too gives all of them from one place, in
	// ascending order, as the chain wants to see them.
	Stamp func() uint64
}

// Server is a solver.
type Server struct {
	opts  Options
	node  Node
	chain api.Info
	limit *limiter

	lock chan struct{} // holds a token while free; a channel so that waiting can be given up
	feed feed
	book *quote.Book
	busy chan struct{} // one element per request under way

	work context.Context // of submissions: outlives requests
	stop context.CancelFunc
	sent sync.WaitGroup
}

// New asks the node which chain it is and whether the pairs are there.
func New(ctx context.Context, node Node, o Options) (*Server, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Stamp == nil {
		o.Stamp = func() uint64 { return uint64(o.Clock().UnixMilli()) }
	}
	if o.Account == (chain.Address{}) {
		o.Account = o.Key.Address()
	}
	o.Quote.Solver = o.Account
	if err := o.check(); err != nil {
		return nil, err
	}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	book, err := quote.NewBook(o.Quote, binary.LittleEndian.Uint64(seed[:]))
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, node: node, book: book, lock: make(chan struct{}, 1), busy: make(chan struct{}, maxConcurrent),
		limit: &limiter{perSecond: o.Rate, callers: newCallers()},
		feed:  feed{node: node, solver: o.Account, pairs: o.Pairs, windowMs: o.WindowMs, clock: o.Clock}}
	s.lock <- struct{}{}
	s.work, s.stop = context.WithCancel(context.Background())
	return s, s.meet(ctx)
}

func (o *Options) check() error {
	if o.WindowMs < MinWindowMs || o.WindowMs > MaxWindowMs {
		return fmt.Errorf("window: %d ms, want %d to %d", o.WindowMs, MinWindowMs, MaxWindowMs)
	}
	if o.Rate < 1 || o.Rate > MaxRate {
		return fmt.Errorf("rate: %d, want 1 to %d", o.Rate, MaxRate)
	}
	return nil
}

// ErrChain is wrapped when the node's chain is none that can be quoted on.
var ErrChain = errors.New("nothing can be quoted on this chain")

// ErrKey is wrapped when the key may not sign for the account.
var ErrKey = errors.New("the key may not sign for the account")

// moduleName is the module whose transactions are sent.
const moduleName = "rfq"

func (s *Server) meet(ctx context.Context) (err error) {
	if s.chain, err = s.node.Info(ctx); err != nil {
		return err
	}
	if s.chain.Module.Name != moduleName {
		return fmt.Errorf("%w: it runs module %.40q, not %s", ErrChain, s.chain.Module.Name, moduleName)
	}
	if err := s.feed.refresh(ctx); err != nil {
		return err
	}
	if signer := s.opts.Key.Address(); !maySign(&s.feed.account, s.opts.Account, signer) {
		return fmt.Errorf("%w: %s is not an API wallet of %s", ErrKey, signer, s.opts.Account)
	}
	for _, pair := range s.opts.Pairs {
		if s.feed.markets[pair] == nil {
			return fmt.Errorf("%w: there is no market %.40q", ErrChain, pair)
		}
	}
	if len(s.feed.markets) == 0 {
		return fmt.Errorf("%w: it has no markets", ErrChain)
	}
	return nil
}

// Account is whose money is quoted.
func (s *Server) Account() chain.Address { return s.opts.Account }

// Run serves on l until ctx ends. Requests under way and submissions whose fate
// is unknown are waited for, for a while.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	h := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug)}
	h.ConnState = new(doorman).watch
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	select {
	case err := <-served:
		s.stop()
		s.sent.Wait()
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	context.AfterFunc(bounded, s.stop)
	err := h.Shutdown(bounded)
	s.sent.Wait()
	s.stop()
	return err
}

// doorman counts the connections of a server.
type doorman struct{ open atomic.Int64 }

// watch is an http.Server's ConnState.
func (d *doorman) watch(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if d.open.Add(1) > maxConnections {
			_ = c.Close() // its server finds out by reading
		}
	case http.StateClosed, http.StateHijacked:
		d.open.Add(-1)
	}
}

// locked runs f with the feed and the book. It gives up waiting when ctx ends.
func (s *Server) locked(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	select {
	case <-s.lock:
	case <-ctx.Done():
		return refuse(http.StatusServiceUnavailable, Busy, "", "the solver is waiting for its node")
	}
	defer func() { s.lock <- struct{}{} }()
	return f(ctx)
}

// look brings feed and book up to date for a market that is open, and says what
// is known of it.
func (s *Server) look(ctx context.Context, pair string) (*watched, quote.View, error) {
	m, v, err := s.feed.view(ctx, pair)
	if err != nil {
		return nil, v, err
	}
	s.book.Observe(s.feed.account.Block.Height, uint64(s.feed.account.Locked))
	if m.Paused {
		return nil, v, refuse(http.StatusUnprocessableEntity, MarketPaused, "pair", m.Name+" takes no new theses now")
	}
	return m, v, nil
}

// quote answers POST /quote.
func (s *Server) quote(ctx context.Context, r *QuoteRequest) (t *Terms, err error) {
	err = s.locked(ctx, func(ctx context.Context) error {
		m, view, err := s.look(ctx, r.Pair)
		if err != nil {
			return err
		}
		if r.BetAmount < m.MinBet || r.BetAmount > m.MaxBet {
			return refuse(http.StatusUnprocessableEntity, quote.BetAmountOutOfRange, "bet_amount", fmt.Sprintf("%d, the market takes %d to %d", r.BetAmount, m.MinBet, m.MaxBet))
		}
		now := s.feed.now()
		o, err := s.book.Quote(now, &view, quote.Request{User: r.User, Base: m.Base, Quote: m.Quote, Lower: uint64(r.Lower), Upper: uint64(r.Upper),
			Bet: uint64(r.BetAmount), Start: r.Start, End: r.End, DurationMs: r.Duration})
		if err != nil {
			return err
		}
		if balance := s.feed.account.Balance; uint64(balance) < o.Risk() {
			return refuse(http.StatusUnprocessableEntity, quote.RiskTooHigh, "", "the solver's balance does not cover it")
		}
		hash, digest := Digests(&o.Quote)
		s.book.Hold(hash, o)
		t = &Terms{Pair: m.Name, Quote: market.QuoteOf(&o.Quote), QuoteHash: hash, Digest: digest, Price: api.Amount(o.Price),
			ProbabilityPPM: o.ProbabilityPPM, RatioPPM: ratioPPM(&o.Quote), Time: now}
		return nil
	})
	return t, err
}

// ratioPPM is payout per bet, millionths, rounded down.
func ratioPPM(q *tx.Quote) uint64 { return quote.Ratio(q.Payout, q.BetAmount) }

// info answers GET /info.
func (s *Server) info(ctx context.Context) (v *Info, err error) {
	err = s.locked(ctx, func(ctx context.Context) error {
		if err := s.feed.refresh(ctx); err != nil {
			return err
		}
		s.book.Observe(s.feed.account.Block.Height, uint64(s.feed.account.Locked))
		c, a := &s.opts.Quote, &s.feed.account
		v = &Info{Solver: s.opts.Account, ChainID: s.chain.ChainID, DryRun: s.opts.DryRun, Time: s.feed.now(), Balance: a.Balance, Locked: a.Locked,
			Risk: api.Amount(s.book.Risk()), Offers: s.book.Out(),
			Limits: Limits{MinBet: api.Amount(c.MinBet), MaxBet: api.Amount(c.MaxBet), MaxRatioPPM: c.MaxRatioPPM, MaxRisk: api.Amount(c.MaxRisk),
				MaxTotalRisk: api.Amount(c.MaxTotalRisk), MinDuration: c.MinDurationMs, MaxDuration: c.MaxDurationMs, MaxLead: c.MaxLeadMs, Lifetime: c.LifetimeMs},
			Model:   Model{MarginPPM: c.MarginPPM, MaxConfidencePPM: c.MaxConfidencePPM, Window: s.opts.WindowMs, MaxPriceAge: c.MaxPriceAgeMs},
			Markets: []Market{}}
		for _, name := range s.feed.names() {
			m, view, err := s.feed.view(ctx, name)
			if err != nil {
				return err
			}
			v.Markets = append(v.Markets, s.marketOf(m, &view))
		}
		return nil
	})
	return v, err
}

func (s *Server) marketOf(m *watched, v *quote.View) Market {
	now := s.feed.now()
	return Market{Pair: m.Name, Base: m.Base, Quote: m.Quote, Paused: m.Paused, Price: api.Amount(v.Price), Time: v.Timestamp,
		Stale:      v.Stale || v.Price == 0 || now-min(v.Timestamp, now) > s.opts.Quote.MaxPriceAgeMs,
		Volatility: v.Volatility.PPMPerRootMinute(), Moves: v.Volatility.Moves}
}

// health answers GET /health.
func (s *Server) health(ctx context.Context) *Health {
	h := &Health{Status: "ok", Solver: s.opts.Account, DryRun: s.opts.DryRun}
	v, err := s.info(ctx)
	node := api.Check{Name: "node", OK: err == nil, Detail: "answers"}
	prices := api.Check{Name: "prices", Detail: "no market has a fresh price"}
	if err != nil {
		node.Detail = explain(err).Message
	} else {
		for _, m := range v.Markets {
			if !m.Stale {
				prices.OK, prices.Detail = true, m.Pair+" is fresh"
			}
		}
	}
	h.Checks = []api.Check{node, prices}
	if !node.OK || !prices.OK {
		h.Status = "not ready"
	}
	return h
}
