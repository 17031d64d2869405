package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// Codes of this module. They are in receipts: a number never changes its meaning
// and is never given away again. The first 25 are the names of protocol section
// 12. 40 was of version 1, which opened no theses.
const (
	CodeMalformed                  abi.Code = 1
	CodeInvalidSignature           abi.Code = 2
	CodeInvalidTimestamp           abi.Code = 3
	CodeDuplicateTransaction       abi.Code = 4
	CodeUnauthorized               abi.Code = 5
	CodeApiWalletNotAllowed        abi.Code = 6
	CodeInsufficientBalance        abi.Code = 7
	CodeThesisNotFound             abi.Code = 8
	CodeThesisNotActive            abi.Code = 9
	CodeChallengeWindowNotOver     abi.Code = 10
	CodeInvalidBreachTimestamp     abi.Code = 11
	CodePriceWithinRange           abi.Code = 12
	CodeBreachFound                abi.Code = 13
	CodeQuoteDeadlineExpired       abi.Code = 14
	CodeQuoteAlreadyUsed           abi.Code = 15
	CodeInvalidSolverSignature     abi.Code = 16
	CodeInvalidUserSignature       abi.Code = 17
	CodeOracleStale                abi.Code = 18
	CodeOracleDataNotFound         abi.Code = 19
	CodeInvalidOraclePair          abi.Code = 20
	CodeMarketPaused               abi.Code = 21
	CodeSystemPaused               abi.Code = 22
	CodeUserBlacklisted            abi.Code = 23
	CodeBetAmountOutOfRange        abi.Code = 24
	CodeMarketOiExceeded           abi.Code = 25
	CodeInvalidAmount              abi.Code = 26
	CodeSupplyOverflow             abi.Code = 27
	CodeInvalidApiWallet           abi.Code = 28
	CodeApiWalletLimit             abi.Code = 29
	CodeApiWalletNotFound          abi.Code = 30
	CodeDepositAlreadyProcessed    abi.Code = 31
	CodeWithdrawalNotFound         abi.Code = 32
	CodeWithdrawalAlreadyProcessed abi.Code = 33
	CodeSettlerDisabled            abi.Code = 34
	CodeInvalidPermissions         abi.Code = 35
	CodeLastAdmin                  abi.Code = 36
	CodeInvalidMarket              abi.Code = 37
	CodeMarketExists               abi.Code = 38
	CodeMarketLimit                abi.Code = 39
	CodeInvalidGenesis             abi.Code = 41
	CodeInvalidQuery               abi.Code = 42
	CodeNotFound                   abi.Code = 43
	CodeInvalidThesisType          abi.Code = 44
	CodeInvalidPriceRange          abi.Code = 45
	CodeInvalidPayout              abi.Code = 46
	CodeInvalidStartTime           abi.Code = 47
	CodeInvalidEndTime             abi.Code = 48
	CodeSelfBet                    abi.Code = 49
	CodeOracleDataComplete         abi.Code = 50
	CodeThesisStarted              abi.Code = 51
	CodeInvalidChallengeWindow     abi.Code = 52
)

// names are the codes' names, from code 1 on.
var names = [...]string{
	"MalformedTransaction", "InvalidSignature", "InvalidTimestamp", "DuplicateTransaction", "Unauthorized",
	"ApiWalletNotAllowed", "InsufficientBalance", "ThesisNotFound", "ThesisNotActive", "ChallengeWindowNotOver",
	"InvalidBreachTimestamp", "PriceWithinRange", "BreachFound", "QuoteDeadlineExpired", "QuoteAlreadyUsed",
	"InvalidSolverSignature", "InvalidUserSignature", "OracleStale", "OracleDataNotFound", "InvalidOraclePair",
	"MarketPaused", "SystemPaused", "UserBlacklisted", "BetAmountOutOfRange", "MarketOiExceeded",
	"InvalidAmount", "SupplyOverflow", "InvalidApiWallet", "ApiWalletLimit", "ApiWalletNotFound",
	"DepositAlreadyProcessed", "WithdrawalNotFound", "WithdrawalAlreadyProcessed", "SettlerDisabled", "InvalidPermissions",
	"LastAdmin", "InvalidMarket", "MarketExists", "MarketLimit", "MarketNotOpen",
	"InvalidGenesis", "InvalidQuery", "NotFound", "InvalidThesisType", "InvalidPriceRange",
	"InvalidPayout", "InvalidStartTime", "InvalidEndTime", "SelfBet", "OracleDataComplete",
	"ThesisStarted", "InvalidChallengeWindow",
}

// Tags of the events; the schema says what is in them.
const (
	EventTransfer = 1 + iota
	EventApiWalletNominated
	EventApiWalletRevoked
	EventDeposited
	EventWithdrawalRequested
	EventWithdrawalProcessed
	EventPermissionsChanged
	EventSystemPaused
	EventMarketAdded
	EventMarketChanged
	EventBlacklistChanged
	EventPrice
	EventThesisCreated
	EventThesisSettled
)

// events are the events' types and fields, from tag 1 on: a type, then name and
// kind of each field.
var events = [...][]string{
	{"transfer", "from", "address", "to", "address", "amount", "amount"},
	{"api_wallet_nominated", "account", "address", "wallet", "address", "expiry", "number"},
	{"api_wallet_revoked", "account", "address", "wallet", "address"},
	{"deposited", "user", "address", "amount", "amount", "external_tx_hash", "hash"},
	{"withdrawal_requested", "withdrawal_id", "number", "user", "address", "amount", "amount", "destination", "address"},
	{"withdrawal_processed", "withdrawal_id", "number", "external_tx_hash", "hash"},
	{"permissions_changed", "account", "address", "permissions", "u8"},
	{"system_paused", "paused", "bool"},
	{"market_added", "base", "address", "quote", "address", "name", "string"},
	{"market_changed", "base", "address", "quote", "address", "paused", "bool", "min_bet", "amount", "max_bet", "amount", "max_open_interest", "amount"},
	{"blacklist_changed", "account", "address", "blacklisted", "bool"},
	{"price", "base", "address", "quote", "address", "timestamp", "number", "price", "amount"},
	{"thesis_created", "thesis_id", "number", "quote_hash", "hash", "user", "address", "solver", "address", "base", "address", "quote", "address",
		"lower", "amount", "upper", "amount", "bet_amount", "amount", "payout", "amount", "start", "number", "end", "number", "due", "number"},
	{"thesis_settled", "thesis_id", "number", "outcome", "string", "user", "address", "solver", "address", "payout", "amount",
		"user_received", "amount", "solver_received", "amount", "breach_timestamp", "number", "breach_price", "amount", "settled_by", "address"},
}

var queries = [...]string{"account", "account_key", "prices", "history", "markets", "totals", "withdrawal", "deposit", "params",
	"thesis", "theses", "due"}

// Schema implements [sdk.Module].
func (m *Module) Schema() []byte {
	var j sdk.JSON
	j.Object()
	member(&j, "name", "rfq")
	member(&j, "version", Version)
	j.Key("errors")
	j.Array()
	for i, name := range names {
		j.Object()
		j.Key("code")
		j.Number(uint64(i + 1))
		member(&j, "name", name)
		j.EndObject()
	}
	j.EndArray()
	j.Key("events")
	j.Array()
	for i, e := range events {
		describe(&j, i+1, e)
	}
	j.EndArray()
	j.Key("queries")
	j.Array()
	for _, q := range queries {
		j.Str(q)
	}
	j.EndArray()
	j.EndObject()
	return j.Buf
}

func describe(j *sdk.JSON, tag int, e []string) {
	j.Object()
	j.Key("tag")
	j.Number(uint64(tag))
	member(j, "type", e[0])
	j.Key("fields")
	j.Array()
	for i := 1; i < len(e); i += 2 {
		j.Object()
		member(j, "name", e[i])
		member(j, "kind", e[i+1])
		j.EndObject()
	}
	j.EndArray()
	j.EndObject()
}

//go:noinline
func member(j *sdk.JSON, key, value string) {
	j.Key(key)
	j.Str(value)
}
