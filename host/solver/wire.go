package solver

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// QuoteRequest is the body of POST /quote. Prices and amounts have 6 decimals,
// times are ms; exactly one of Duration and End is given.
type QuoteRequest struct {
	User      chain.Address `json:"user"`
	Pair      string        `json:"pair"`
	Lower     api.Amount    `json:"lower"`
	Upper     api.Amount    `json:"upper"`
	BetAmount api.Amount    `json:"bet_amount"`
	Start     uint64        `json:"start,omitempty"` // 0: as soon as the quote has expired
	End       uint64        `json:"end,omitempty"`
	Duration  uint64        `json:"duration,omitempty"`
}

// Terms is the answer to POST /quote.
type Terms struct {
	Pair           string       `json:"pair"`
	Quote          market.Quote `json:"quote"`
	QuoteHash      chain.Hash   `json:"quote_hash"`
	Digest         chain.Hash   `json:"digest"`           // EIP-712: what the user signs
	Price          api.Amount   `json:"price"`            // that the quote was made at
	ProbabilityPPM uint64       `json:"probability_ppm"`  // that the range holds, by the solver's model
	RatioPPM       uint64       `json:"payout_ratio_ppm"` // payout per bet
	Time           uint64       `json:"time"`             // the chain's, ms: the deadline is one of it
}

// AcceptRequest is the body of POST /accept.
type AcceptRequest struct {
	Quote         market.Quote `json:"quote"`
	UserSignature api.Bytes    `json:"user_signature"`
}

// Accepted is the answer to POST /accept.
type Accepted struct {
	ThesisID uint64      `json:"thesis_id"`
	Receipt  api.Receipt `json:"receipt"`
}

// Info is the answer to GET /info.
type Info struct {
	Solver  chain.Address `json:"solver"`
	ChainID uint64        `json:"chain_id"`
	DryRun  bool          `json:"dry_run"`
	Time    uint64        `json:"time"` // the chain's, ms
	Balance api.Amount    `json:"balance"`
	Locked  api.Amount    `json:"locked"` // in escrow
	Risk    api.Amount    `json:"risk"`   // in escrow, or about to be
	Offers  int           `json:"offers"` // remembered
	Limits  Limits        `json:"limits"`
	Model   Model         `json:"model"`
	Markets []Market      `json:"markets"`
}

// Limits are what the solver is willing to do.
type Limits struct {
	MinBet       api.Amount `json:"min_bet"`
	MaxBet       api.Amount `json:"max_bet"`
	MaxRatioPPM  uint64     `json:"max_payout_ratio_ppm"`
	MaxRisk      api.Amount `json:"max_risk"`
	MaxTotalRisk api.Amount `json:"max_total_risk"`
	MinDuration  uint64     `json:"min_duration"` // ms, as all that follow
	MaxDuration  uint64     `json:"max_duration"`
	MaxLead      uint64     `json:"max_lead"`
	Lifetime     uint64     `json:"lifetime"`
}

// Model is what the solver's price follows from.
type Model struct {
	MarginPPM        uint64 `json:"margin_ppm"`
	MaxConfidencePPM uint64 `json:"max_confidence_ppm"`
	Window           uint64 `json:"window"` // ms
	MaxPriceAge      uint64 `json:"max_price_age"`
}

// Market is one that the solver quotes.
type Market struct {
	Pair   string        `json:"pair"`
	Base   chain.Address `json:"base"`
	Quote  chain.Address `json:"quote"`
	Paused bool          `json:"paused"`
	Price  api.Amount    `json:"price"`     // "0": none yet
	Time   uint64        `json:"timestamp"` // of the price, ms
	Stale  bool          `json:"stale"`
	// Volatility is the deviation after one minute, millionths of the price.
	Volatility uint64 `json:"volatility_ppm"`
	Moves      uint64 `json:"moves"` // that it was measured by
}

// Health is the answer to GET /health, with status 200 if OK, else 503.
type Health struct {
	Status string        `json:"status"` // "ok" or "not ready"
	Solver chain.Address `json:"solver"`
	DryRun bool          `json:"dry_run"`
	Checks []api.Check   `json:"checks"`
}

// Digests are a quote's two names: the hash by which the chain knows it, and the
// EIP-712 digest that its user signs.
func Digests(q *tx.Quote) (hash, digest chain.Hash) {
	var h tx.Hasher
	return h.QuoteHash(secp.Keccak{}, q), h.QuoteDigest(secp.Keccak{}, q)
}

// ThesisID is the id in a receipt's thesis_created event.
func ThesisID(r *api.Receipt) (uint64, error) {
	for i := range r.Events {
		if e := &r.Events[i]; e.Type == "thesis_created" {
			if id, ok := e.Get("thesis_id").(uint64); ok {
				return id, nil
			}
		}
	}
	return 0, fmt.Errorf("transaction %s opened no thesis", r.TxHash)
}
