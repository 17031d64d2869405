package solver

import (
	"errors"
	"net/http"

	"github.com/kaizenchain/kaizen/host/quote"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// Names of refusals beside those of host/quote and of the chain, which are passed
// on under their own.
const (
	InvalidRequest       = "InvalidRequest"
	InvalidOraclePair    = "InvalidOraclePair"
	InvalidUserSignature = "InvalidUserSignature"
	MarketPaused         = "MarketPaused"
	DryRun               = "DryRun"
	RateLimited          = "RateLimited"
	Busy                 = "Busy"
	NodeUnavailable      = "NodeUnavailable"
	Unresolved           = "Unresolved"
	NotFound             = "NotFound"
	MethodNotAllowed     = "MethodNotAllowed"
	InternalError        = "InternalError"
)

// Error is a no, in the answer's body under "error".
type Error struct {
	Status  int    `json:"-"` // of HTTP
	Name    string `json:"name"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	TxHash  string `json:"tx_hash,omitempty"` // of a transaction that was sent
}

func (e *Error) Error() string {
	if e.Field != "" {
		return "solver: " + e.Name + ": " + e.Field + ": " + e.Message
	}
	return "solver: " + e.Name + ": " + e.Message
}

func refuse(status int, name, field, message string) *Error {
	return &Error{Status: status, Name: name, Field: field, Message: message}
}

// statuses are those of refusals whose status is not 422.
var statuses = map[string]int{
	quote.QuoteNotFound:        http.StatusNotFound,
	quote.QuoteAlreadyUsed:     http.StatusConflict,
	quote.QuoteDeadlineExpired: http.StatusGone,
	quote.PriceMoved:           http.StatusConflict,
	quote.OracleStale:          http.StatusServiceUnavailable,
	quote.NotEnoughHistory:     http.StatusServiceUnavailable,
	quote.TooManyOffers:        http.StatusServiceUnavailable,
}

// explain makes an [Error] of any error.
func explain(err error) *Error {
	var e *Error
	var r *quote.Refusal
	var answer *client.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &r):
		status := statuses[r.Name]
		if status == 0 {
			status = http.StatusUnprocessableEntity
		}
		return refuse(status, r.Name, r.Field, r.Detail)
	case errors.As(err, &answer), errors.Is(err, client.ErrUnreachable):
		return refuse(http.StatusBadGateway, NodeUnavailable, "", err.Error())
	}
	return refuse(http.StatusInternalServerError, InternalError, "", "see the solver's log")
}
