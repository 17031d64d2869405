package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/pflag"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// defaultRPC is the write node's RPC port on this machine.
const defaultRPC = "http://127.0.0.1:8545"

// rpcVariable names a node for every verb that asks one.
const rpcVariable = "KAIZEN_RPC_URL"

// remote is the node that a verb speaks to.
type remote struct{ url string }

func addRemote(flags *pflag.FlagSet) *remote {
	r := &remote{}
	url := defaultRPC
	if v := os.Getenv(rpcVariable); v != "" {
		url = v
	}
	flags.StringVar(&r.url, "rpc-url", url, "`URL` of the node to ask, http:// or ws:// (environment "+rpcVariable+")")
	return r
}

// use calls f with a client and adds advice to its error.
func (r *remote) use(ctx context.Context, f func(context.Context, *client.Client) error) error {
	c, err := client.New(r.url)
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	defer c.Close()
	return r.advise(f(ctx, c))
}

// advise says what can be done about an answer, or about silence.
func (r *remote) advise(err error) error {
	var answer *client.Error
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return cli.Hint(err, "is a node running there? 'kaizen dev' starts one; --rpc-url names another")
	case !errors.As(err, &answer):
		return err
	}
	switch answer.Code {
	case api.CodeReadOnly:
		return cli.Hint(err, "%s is a read node; --rpc-url must name the write node", r.url)
	case api.CodeBlockNotFound:
		return cli.Hint(err, "'kaizen status' shows the newest block")
	case api.CodeBlockPruned:
		return cli.Hint(err, "a node with prune.mode = \"archive\" keeps every block; --rpc-url names another node")
	case api.CodeTransactionNotFound:
		return cli.Hint(err, "a read node may be a moment behind; the hash is the one that 'kaizen tx' printed")
	case api.CodeBusy, api.CodeOverloaded, api.CodeRateLimited:
		return cli.Hint(err, "nothing was done; try again in a moment")
	}
	if advice, ok := moduleAdvice[answer.Name]; ok {
		return cli.Hint(err, "%s", advice)
	}
	return err
}

// moduleAdvice is what to do about the market's refusals and failures, by name.
var moduleAdvice = map[string]string{
	"InvalidTimestamp":       "compare this machine's clock with the node's: a transaction is dated by its signer",
	"DuplicateTransaction":   "it has been executed already; 'kaizen query receipt HASH' shows what came of it",
	"Unauthorized":           "the signing account lacks the permission; 'kaizen query account ADDRESS' shows what it has",
	"InvalidSignature":       "the key is neither the account's nor one of its API wallets",
	"InsufficientBalance":    "'kaizen query account ADDRESS' shows the balance",
	"ThesisNotFound":         "'kaizen query theses --state any' lists those that there are",
	"ThesisNotActive":        "'kaizen query thesis ID' shows what became of it",
	"ChallengeWindowNotOver": "'kaizen query thesis ID' shows until when its challenge window lasts; without --claim there is another minute to wait",
	"QuoteDeadlineExpired":   "ask the solver for a new quote",
	"QuoteAlreadyUsed":       "a quote opens one thesis: ask the solver for a new one",
	"InvalidUserSignature":   "the quote must be signed by its user, or one of their API wallets, exactly as it is: 'kaizen tx rfq sign'",
	"OracleStale":            "'kaizen query prices' shows when the chain had its last price",
	"MarketPaused":           "an admin must unpause the market first: 'kaizen tx admin unpause-market PAIR'",
	"InvalidOraclePair":      "'kaizen query markets' shows the chain's markets",
	"BetAmountOutOfRange":    "'kaizen query markets' shows what a market takes",
	"MarketOiExceeded":       "'kaizen query markets' shows how much is open; it falls as theses are settled",
	"SettlerDisabled":        "anybody may settle without --claim a minute after the challenge window",
	"SystemPaused":           "an admin must unpause the system first: 'kaizen tx admin unpause'",
}
