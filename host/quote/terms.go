package quote

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// PPM is one, in millionths: probabilities, margins and payout ratios are.
const PPM = 1_000_000

// Bounds of a [Config].
const (
	MaxRatioPPM   = 1000 * PPM // payout per bet
	MaxLifetimeMs = 600_000    // of an offer
	MaxOffers     = 100_000    // out at once
	// MaxHorizonMs bounds how far ahead a thesis may end, ms: what the chain's price
	// history can hold of one (protocol section 6), less the longest challenge
	// window anybody would want.
	MaxHorizonMs = 6_000_000
	// MaxAmount bounds every amount of money, so that no product of two limits can
	// overflow: 10^12 USDC.
	MaxAmount = 1_000_000_000_000 * PPM
)

// Config is what a solver is willing to do. Amounts and prices have 6 decimals,
// times are ms, ratios millionths.
type Config struct {
	Solver chain.Address

	// The model. An offer pays bet × (1 − margin) / probability.
	MarginPPM uint64
	// MaxConfidencePPM is the highest probability that is believed of a range that
	// holds: recent moves know nothing of the next jump.
	MaxConfidencePPM uint64
	MinMoves         uint64 // observations without which nothing is priced
	MaxPriceAgeMs    uint64 // older prices are stale

	// The limits.
	MinBet, MaxBet uint64
	MaxRatioPPM    uint64 // of payout to bet; what the model would pay above it is offered at it
	MaxRisk        uint64 // payout − bet of one thesis
	MaxTotalRisk   uint64 // of all open ones together
	MinDurationMs  uint64
	MaxDurationMs  uint64
	MaxLeadMs      uint64 // from now to the start
	LifetimeMs     uint64 // of an offer
	MaxOffers      int    // out at once
}

// Default is what a solver does unless it is told otherwise.
func Default() Config {
	return Config{
		MarginPPM: 20_000, MaxConfidencePPM: 950_000, MinMoves: 20, MaxPriceAgeMs: 1500,
		MinBet: PPM, MaxBet: 10_000 * PPM, MaxRatioPPM: 10 * PPM, MaxRisk: 10_000 * PPM, MaxTotalRisk: 100_000 * PPM,
		MinDurationMs: 5_000, MaxDurationMs: 3_600_000, MaxLeadMs: 60_000, LifetimeMs: 5_000, MaxOffers: 10_000,
	}
}

// Validate says what is wrong with a configuration, naming the field as a person
// knows it.
func (c *Config) Validate() error {
	for _, f := range []struct {
		name              string
		have, least, most uint64
	}{
		{"margin, millionths", c.MarginPPM, 0, PPM - 1},
		{"highest confidence, millionths", c.MaxConfidencePPM, 1, PPM},
		{"moves to price by", c.MinMoves, 1, MaxSamples - 1},
		{"age of a price, ms", c.MaxPriceAgeMs, 1, MaxLifetimeMs},
		{"smallest bet", c.MinBet, 1, MaxAmount},
		{"largest bet", c.MaxBet, c.MinBet, MaxAmount},
		{"highest payout ratio, millionths", c.MaxRatioPPM, PPM + 1, MaxRatioPPM},
		{"risk of a thesis", c.MaxRisk, 1, MaxAmount},
		{"risk of all theses", c.MaxTotalRisk, c.MaxRisk, MaxAmount},
		{"shortest duration, ms", c.MinDurationMs, 1, MaxHorizonMs},
		{"longest duration, ms", c.MaxDurationMs, c.MinDurationMs, MaxHorizonMs},
		{"lifetime of an offer, ms", c.LifetimeMs, 1, MaxLifetimeMs},
		{"longest lead, ms", c.MaxLeadMs, c.LifetimeMs, MaxHorizonMs},
		{"offers", uint64(max(0, c.MaxOffers)), 1, MaxOffers},
	} {
		if f.have < f.least || f.have > f.most {
			return fmt.Errorf("%s: %d, want %d to %d", f.name, f.have, f.least, f.most)
		}
	}
	if c.MaxLeadMs+c.MaxDurationMs > MaxHorizonMs {
		return fmt.Errorf("longest lead and longest duration: %d ms together, at most %d", c.MaxLeadMs+c.MaxDurationMs, uint64(MaxHorizonMs))
	}
	return nil
}

// Refusal is a no, with a name that programs can go by and the offending field,
// if one is.
type Refusal struct {
	Name   string
	Field  string
	Detail string
}

func (r *Refusal) Error() string {
	if r.Field != "" {
		return fmt.Sprintf("%s: %s: %s", r.Name, r.Field, r.Detail)
	}
	return r.Name + ": " + r.Detail
}

func refuse(name, field, format string, args ...any) *Refusal {
	return &Refusal{name, field, fmt.Sprintf(format, args...)}
}

// Names of refusals. Those that the chain has too mean the same.
const (
	InvalidPriceRange    = "InvalidPriceRange"
	InvalidStartTime     = "InvalidStartTime"
	InvalidEndTime       = "InvalidEndTime"
	BetAmountOutOfRange  = "BetAmountOutOfRange"
	SelfBet              = "SelfBet"
	OracleStale          = "OracleStale"
	NotEnoughHistory     = "NotEnoughHistory"
	PriceOutsideRange    = "PriceOutsideRange"
	RangeTooWide         = "RangeTooWide"
	RiskTooHigh          = "RiskTooHigh"
	TooManyOffers        = "TooManyOffers"
	QuoteNotFound        = "QuoteNotFound"
	QuoteAlreadyUsed     = "QuoteAlreadyUsed"
	QuoteDeadlineExpired = "QuoteDeadlineExpired"
	PriceMoved           = "PriceMoved"
)

// Request is what a user asks for: a bet that the price stays within [Lower,
// Upper] from Start to End.
type Request struct {
	User         chain.Address
	Base, Quote  chain.Address
	Lower, Upper uint64
	Bet          uint64
	Start        uint64 // ms; 0: as soon as the offer has expired
	End          uint64 // ms; 0: DurationMs after the start
	DurationMs   uint64 // 0: to End; exactly one of both is given
}

// View is what the chain has recorded of a market.
type View struct {
	Price      uint64
	Timestamp  uint64 // when Price was observed, ms
	Stale      bool   // the chain says so
	Volatility Volatility
}

// Offer is what the solver would sign, and why.
type Offer struct {
	Quote          tx.Quote
	Price          uint64 // that it was made at
	ProbabilityPPM uint64 // that the range holds, by the model, before the highest confidence
}

// Risk is what the solver loses if the range holds.
func (o *Offer) Risk() uint64 { return o.Quote.Payout - o.Quote.BetAmount }

// request checks what is asked for against the limits, and fills in its times.
func (c *Config) request(now uint64, r *Request) error {
	switch {
	case r.User == c.Solver:
		return refuse(SelfBet, "user", "the solver does not bet against itself")
	case r.Lower >= r.Upper || r.Lower == 0:
		return refuse(InvalidPriceRange, "lower", "want 0 < lower < upper")
	case r.Bet < c.MinBet || r.Bet > c.MaxBet:
		return refuse(BetAmountOutOfRange, "bet_amount", "%d, want %d to %d", r.Bet, c.MinBet, c.MaxBet)
	case (r.End == 0) == (r.DurationMs == 0):
		return refuse(InvalidEndTime, "duration", "want exactly one of duration and end")
	}
	earliest, latest := now+c.LifetimeMs, now+c.MaxLeadMs
	if r.Start == 0 {
		r.Start = earliest
	}
	// Not before the offer expires: a thesis cannot start in the past, and nobody
	// may wait and see how it goes.
	if r.Start < earliest || r.Start > latest {
		return refuse(InvalidStartTime, "start", "%d, want %d to %d", r.Start, earliest, latest)
	}
	if r.End == 0 {
		if r.DurationMs > MaxHorizonMs {
			return refuse(InvalidEndTime, "duration", "%d ms, want %d to %d", r.DurationMs, c.MinDurationMs, c.MaxDurationMs)
		}
		r.End = r.Start + r.DurationMs
	}
	if lasts := r.End - min(r.Start, r.End); lasts < c.MinDurationMs || lasts > c.MaxDurationMs {
		return refuse(InvalidEndTime, "duration", "%d ms, want %d to %d", lasts, c.MinDurationMs, c.MaxDurationMs)
	}
	return nil
}

// usable says whether a market can be priced at all.
func (c *Config) usable(now uint64, v *View) error {
	age := now - min(v.Timestamp, now)
	switch {
	case v.Price == 0 || v.Stale:
		return refuse(OracleStale, "", "the chain has no fresh price")
	case age > c.MaxPriceAgeMs:
		return refuse(OracleStale, "", "the newest price is %d ms old, at most %d", age, c.MaxPriceAgeMs)
	case v.Volatility.Moves < c.MinMoves:
		return refuse(NotEnoughHistory, "", "%d moves are recorded, at least %d are needed to judge the market", v.Volatility.Moves, c.MinMoves)
	}
	return nil
}

// probability is that a range holds, millionths.
func probability(now uint64, v *View, lower, upper, start, end uint64) uint64 {
	s := situation{price: v.Price, lower: lower, upper: upper, volatility: v.Volatility, lead: start - min(now, start), duration: end - start}
	return mulDiv(uint64(s.stays()), PPM, one)
}

// payout is what the model pays on a bet; certain is its probability.
func (c *Config) payout(bet, certain uint64) uint64 {
	most := mulDiv(bet, c.MaxRatioPPM, PPM)
	certain = min(certain, c.MaxConfidencePPM)
	if certain == 0 {
		return most
	}
	return min(most, mulDiv(bet, PPM-c.MarginPPM, certain))
}

// fair is the most that may be paid on a bet without a loss to expect.
func (c *Config) fair(bet, certain uint64) uint64 {
	return mulDiv(bet, PPM, max(1, min(certain, c.MaxConfidencePPM)))
}

// price makes the offer for a request that passed [Config.request].
func (c *Config) price(now uint64, v *View, r *Request) (*Offer, error) {
	if err := c.usable(now, v); err != nil {
		return nil, err
	}
	if v.Price <= r.Lower || v.Price >= r.Upper {
		return nil, refuse(PriceOutsideRange, "lower", "the price is %d, not between %d and %d", v.Price, r.Lower, r.Upper)
	}
	// Whoever accepts at the last moment has seen where the price went until then:
	// the offer is made as if it stood still, so that it can be honoured if it did.
	deadline := now + c.LifetimeMs
	o := &Offer{Price: v.Price, ProbabilityPPM: probability(deadline, v, r.Lower, r.Upper, r.Start, r.End)}
	o.Quote = tx.Quote{Base: r.Base, Quote: r.Quote, Lower: r.Lower, Upper: r.Upper, BetAmount: r.Bet,
		Payout: c.payout(r.Bet, o.ProbabilityPPM), Start: r.Start, End: r.End, Deadline: deadline, User: r.User, Solver: c.Solver}
	switch {
	case o.Quote.Payout <= r.Bet:
		return nil, refuse(RangeTooWide, "lower", "the range holds with %d millionths: nothing more than the bet could be paid", o.ProbabilityPPM)
	case o.Risk() > c.MaxRisk:
		return nil, refuse(RiskTooHigh, "bet_amount", "the payout would be %d and %d more than the bet; a thesis may risk %d", o.Quote.Payout, o.Risk(), c.MaxRisk)
	}
	return o, nil
}

// Ratio is payout per bet, millionths, rounded down.
func Ratio(payout, bet uint64) uint64 { return mulDiv(payout, PPM, max(1, bet)) }
