package quote

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

const (
	t0    = 1_700_000_000_000
	price = 104_250_000_000
)

var user, me = chain.Address{1}, chain.Address{9}

// view has the volatility of the oracle's walk.
func view() View {
	return View{Price: price, Timestamp: t0 - 100, Volatility: Volatility{Squares: 1200 * 833_000_000, ElapsedMs: 120_000, Moves: 1200}}
}

// request is of a range that holds about every other time.
func request() Request {
	return Request{User: user, Base: chain.Address{19: 1}, Quote: chain.Address{18: 1}, Lower: price - price/2000, Upper: price + price/2000, Bet: 10_000_000, DurationMs: 20_000}
}

func config() Config {
	c := Default()
	c.Solver = me
	return c
}

func book(t *testing.T, change func(*Config)) *Book {
	t.Helper()
	c := config()
	if change != nil {
		change(&c)
	}
	b, err := NewBook(c, 7)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func refusal(t *testing.T, err error, name, field string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Name != name || r.Field != field {
		t.Errorf("error is %v, want %s of %q", err, name, field)
	}
}

// hold gets an offer out.
func hold(t *testing.T, b *Book, now uint64, r Request) (chain.Hash, *Offer) {
	t.Helper()
	v := view()
	v.Timestamp = now
	o, err := b.Quote(now, &v, r)
	if err != nil {
		t.Fatal(err)
	}
	hash := chain.Hash{byte(o.Quote.Salt), byte(o.Quote.Salt >> 8)}
	b.Hold(hash, o)
	return hash, o
}

func TestQuote(t *testing.T) {
	b, v := book(t, nil), view()
	o, err := b.Quote(t0, &v, request())
	if err != nil {
		t.Fatal(err)
	}
	r, p := request(), o.ProbabilityPPM
	want := tx.Quote{Base: tx.Address(r.Base), Quote: tx.Address(r.Quote), Lower: r.Lower, Upper: r.Upper, BetAmount: r.Bet, Payout: r.Bet * 980_000 / p,
		Start: t0 + 5000, End: t0 + 25_000, Deadline: t0 + 5000, User: tx.Address(user), Solver: tx.Address(me), Salt: 7}
	if o.Quote != want {
		t.Errorf("quote is\n%+v, want\n%+v", o.Quote, want)
	}
	if p < 500_000 || p > 750_000 {
		t.Errorf("the range holds with %d millionths", p)
	}
	again, err := b.Quote(t0, &v, request())
	if err != nil || again.Quote.Salt == o.Quote.Salt {
		t.Errorf("the same request has the same salt (%v)", err)
	}
	r.DurationMs, r.Start, r.End = 0, t0+6000, t0+11_000
	if o, err = b.Quote(t0, &v, r); err != nil || o.Quote.Start != t0+6000 || o.Quote.End != t0+11_000 {
		t.Errorf("times are not those asked for: %+v, %v", o, err)
	}
}

// The payout is cut at both ends: at the highest ratio, and where the model is
// surer than it may be.
func TestPayoutBounds(t *testing.T) {
	b, v, r := book(t, nil), view(), request()
	r.Lower, r.Upper = price-price/20000, price+price/20000
	o, err := b.Quote(t0, &v, r)
	if err != nil || o.Quote.Payout != 10*r.Bet {
		t.Errorf("a range that never holds pays %+v, %v", o, err)
	}
	r.Lower, r.Upper = price-price/100, price+price/100
	o, err = b.Quote(t0, &v, r)
	if err != nil || o.Quote.Payout != r.Bet*980_000/950_000 || o.ProbabilityPPM < 999_000 {
		t.Errorf("a range that always holds pays %+v, %v", o, err)
	}
	sure := book(t, func(c *Config) { c.MaxConfidencePPM = PPM })
	_, err = sure.Quote(t0, &v, r)
	refusal(t, err, RangeTooWide, "lower")
}

func TestQuoteRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		name, field string
		change      func(*Request, *View)
	}{
		"self":             {SelfBet, "user", func(r *Request, _ *View) { r.User = me }},
		"upside down":      {InvalidPriceRange, "lower", func(r *Request, _ *View) { r.Lower, r.Upper = r.Upper, r.Lower }},
		"no width":         {InvalidPriceRange, "lower", func(r *Request, _ *View) { r.Lower = r.Upper }},
		"from nothing":     {InvalidPriceRange, "lower", func(r *Request, _ *View) { r.Lower = 0 }},
		"small bet":        {BetAmountOutOfRange, "bet_amount", func(r *Request, _ *View) { r.Bet = 999_999 }},
		"large bet":        {BetAmountOutOfRange, "bet_amount", func(r *Request, _ *View) { r.Bet = 10_000_000_001 }},
		"largest bet":      {BetAmountOutOfRange, "bet_amount", func(r *Request, _ *View) { r.Bet = math.MaxUint64 }},
		"no times":         {InvalidEndTime, "duration", func(r *Request, _ *View) { r.DurationMs = 0 }},
		"both times":       {InvalidEndTime, "duration", func(r *Request, _ *View) { r.End = t0 + 30_000 }},
		"short":            {InvalidEndTime, "duration", func(r *Request, _ *View) { r.DurationMs = 4999 }},
		"long":             {InvalidEndTime, "duration", func(r *Request, _ *View) { r.DurationMs = 3_600_001 }},
		"longest":          {InvalidEndTime, "duration", func(r *Request, _ *View) { r.DurationMs = math.MaxUint64 }},
		"end before start": {InvalidEndTime, "duration", func(r *Request, _ *View) { r.DurationMs, r.End = 0, t0 }},
		"early start":      {InvalidStartTime, "start", func(r *Request, _ *View) { r.Start = t0 + 4999 }},
		"late start":       {InvalidStartTime, "start", func(r *Request, _ *View) { r.Start = t0 + 60_001 }},
		"latest start":     {InvalidStartTime, "start", func(r *Request, _ *View) { r.Start = math.MaxUint64 }},
		"no price":         {OracleStale, "", func(_ *Request, v *View) { v.Price = 0 }},
		"stale":            {OracleStale, "", func(_ *Request, v *View) { v.Stale = true }},
		"old price":        {OracleStale, "", func(_ *Request, v *View) { v.Timestamp = t0 - 1501 }},
		"no history":       {NotEnoughHistory, "", func(_ *Request, v *View) { v.Volatility.Moves = 19 }},
		"below":            {PriceOutsideRange, "lower", func(_ *Request, v *View) { v.Price = price - price/2000 }},
		"above":            {PriceOutsideRange, "lower", func(_ *Request, v *View) { v.Price = price + price/2000 }},
		"risk":             {RiskTooHigh, "bet_amount", func(r *Request, _ *View) { r.Bet, r.Lower = 2_000_000_000, price-price/20_000 }},
	} {
		t.Run(name, func(t *testing.T) {
			b, r, v := book(t, nil), request(), view()
			c.change(&r, &v)
			_, err := b.Quote(t0, &v, r)
			refusal(t, err, c.name, c.field)
		})
	}
	v := view()
	v.Timestamp = t0 - 1500
	if _, err := book(t, nil).Quote(t0, &v, request()); err != nil {
		t.Errorf("a price of exactly the age: %v", err)
	}
}

func TestTakeOnce(t *testing.T) {
	b := book(t, nil)
	hash, o := hold(t, b, t0, request())
	v := view()
	v.Timestamp = t0 + 5000
	if err := b.Take(t0+5000, hash, &v); err != nil {
		t.Fatal(err)
	}
	if b.Risk() != o.Risk() {
		t.Errorf("risk is %d, want %d", b.Risk(), o.Risk())
	}
	refusal(t, b.Take(t0+5000, hash, &v), QuoteAlreadyUsed, "quote")
	b.Done(hash, 10)
	refusal(t, b.Take(t0+5000, hash, &v), QuoteAlreadyUsed, "quote")
	refusal(t, b.Take(t0, chain.Hash{0xff}, &v), QuoteNotFound, "quote")
}

func TestTakeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		name   string
		now    uint64
		change func(*View)
	}{
		"late":           {QuoteDeadlineExpired, t0 + 5001, func(v *View) { v.Timestamp = t0 + 5001 }},
		"late and stale": {QuoteDeadlineExpired, t0 + 15_000, func(*View) {}},
		"forgotten":      {QuoteNotFound, t0 + 15_001, func(*View) {}},
		"stale":          {OracleStale, t0 + 4000, func(*View) {}},
		"became certain": {PriceMoved, t0 + 100, func(v *View) { v.Volatility.Squares = quiet * 120_000 }},
	} {
		t.Run(name, func(t *testing.T) {
			b := book(t, nil)
			hash, _ := hold(t, b, t0, request())
			v := view()
			c.change(&v)
			field := map[string]string{OracleStale: ""}
			want, special := field[c.name]
			if !special {
				want = "quote"
			}
			refusal(t, b.Take(c.now, hash, &v), c.name, want)
			if b.Risk() != 0 {
				t.Errorf("risk is %d", b.Risk())
			}
		})
	}
	// Against the user it is honoured: it is they who signed it.
	b := book(t, nil)
	hash, o := hold(t, b, t0, request())
	v := view()
	v.Price = o.Quote.Upper + 1
	if err := b.Take(t0+100, hash, &v); err != nil {
		t.Error(err)
	}
}

// Risk counts each thesis once, from being taken until the chain has it in its
// answer, and then by that answer.
func TestRisk(t *testing.T) {
	b := book(t, nil)
	first, o := hold(t, b, t0, request())
	second, _ := hold(t, b, t0, request())
	v, one := view(), o.Risk()
	b.Observe(5, 3)
	for _, h := range []chain.Hash{first, second} {
		if err := b.Take(t0, h, &v); err != nil {
			t.Fatal(err)
		}
	}
	want := func(risk uint64) {
		t.Helper()
		if b.Risk() != risk {
			t.Fatalf("risk is %d, want %d", b.Risk(), risk)
		}
	}
	want(3 + 2*one)
	b.Done(first, 7)
	want(3 + 2*one)
	b.Undone(second)
	want(3 + one)
	b.Observe(6, 4)
	want(4 + one)
	b.Observe(5, 99) // older: from a node that is behind
	want(4 + one)
	b.Observe(7, 4+one)
	want(4 + one)
	b.Observe(9, 4)
	want(4)
	third, _ := hold(t, b, t0, request())
	if err := b.Take(t0, third, &v); err != nil {
		t.Fatal(err)
	}
	b.Done(third, 9) // the answer had it already
	want(4)
}

func TestTotalRisk(t *testing.T) {
	probe := book(t, nil)
	_, o := hold(t, probe, t0, request())
	b := book(t, func(c *Config) { c.MaxRisk, c.MaxTotalRisk = o.Risk(), 2*o.Risk() })
	var hashes []chain.Hash
	for range 3 {
		h, _ := hold(t, b, t0, request())
		hashes = append(hashes, h)
	}
	v := view()
	for _, h := range hashes[:2] {
		if err := b.Take(t0, h, &v); err != nil {
			t.Fatal(err)
		}
	}
	refusal(t, b.Take(t0, hashes[2], &v), RiskTooHigh, "")
	_, err := b.Quote(t0, &v, request())
	refusal(t, err, RiskTooHigh, "")
	b.Undone(hashes[0])
	if err := b.Take(t0, hashes[2], &v); err != nil {
		t.Error(err)
	}
	b.Observe(1, math.MaxUint64/2)
	_, err = b.Quote(t0, &v, request())
	refusal(t, err, RiskTooHigh, "")
}

// Offers are bounded and forgotten, but not one whose fate is unknown.
func TestOffers(t *testing.T) {
	b, v := book(t, func(c *Config) { c.MaxOffers = 2 }), view()
	first, _ := hold(t, b, t0, request())
	hold(t, b, t0+1, request())
	_, err := b.Quote(t0+2, &v, request())
	refusal(t, err, TooManyOffers, "")
	if err := b.Take(t0, first, &v); err != nil {
		t.Fatal(err)
	}
	later := uint64(t0 + 5000 + graceMs + 2)
	v.Timestamp = later
	_, err = b.Quote(later, &v, request())
	refusal(t, err, TooManyOffers, "")
	b.Undone(first)
	if _, err = b.Quote(later, &v, request()); err != nil || b.Out() != 0 {
		t.Errorf("%d offers are out: %v", b.Out(), err)
	}
}

func TestConfig(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"margin":           func(c *Config) { c.MarginPPM = PPM },
		"confidence":       func(c *Config) { c.MaxConfidencePPM = 0 },
		"moves":            func(c *Config) { c.MinMoves = 0 },
		"age":              func(c *Config) { c.MaxPriceAgeMs = 0 },
		"smallest bet":     func(c *Config) { c.MinBet = 0 },
		"largest bet":      func(c *Config) { c.MaxBet = c.MinBet - 1 },
		"ratio":            func(c *Config) { c.MaxRatioPPM = PPM },
		"of a thesis":      func(c *Config) { c.MaxRisk = 0 },
		"of all theses":    func(c *Config) { c.MaxTotalRisk = c.MaxRisk - 1 },
		"shortest":         func(c *Config) { c.MinDurationMs = 0 },
		"longest duration": func(c *Config) { c.MaxDurationMs = MaxHorizonMs + 1 },
		"lifetime":         func(c *Config) { c.LifetimeMs = 0 },
		"lead":             func(c *Config) { c.MaxLeadMs = c.LifetimeMs - 1 },
		"together":         func(c *Config) { c.MaxDurationMs = MaxHorizonMs },
		"offers":           func(c *Config) { c.MaxOffers = -1 },
	} {
		c := config()
		change(&c)
		if _, err := NewBook(c, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
