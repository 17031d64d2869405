package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// defaultPage is how many transactions query transactions shows.
const defaultPage = 25

func newQueryTransactions(std cli.IO) *cobra.Command {
	q := newQuestion("transactions ADDRESS", "Show the transactions that name an account, newest first", "the result of kaizen_getAccountTransactions", false, "ADDRESS")
	limit := q.cmd.Flags().Uint64("limit", defaultPage, "how many at most; a node gives up to 100")
	cursor := q.cmd.Flags().String("cursor", "", "go on where an earlier page ended: the `cursor` it names")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		a, err := parseAddress(args[0])
		if err != nil {
			return err
		}
		var from api.Bytes
		if *cursor != "" {
			if from, err = api.ParseBytes(*cursor); err != nil {
				return &cli.UsageError{Err: fmt.Errorf("--cursor %w", err)}
			}
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (api.AccountTransactions, error) {
			return c.AccountTransactions(ctx, a, *limit, from)
		}, printTransactions)
	}
	return q.cmd
}

func printTransactions(t *cli.Table, v *api.AccountTransactions) {
	if len(v.Transactions) > 0 {
		t.Row("TIME", "BLOCK", "INDEX", "HASH", "STATUS", "ERROR", "KIND")
	}
	for i := range v.Transactions {
		x := &v.Transactions[i]
		t.Row(moment(x.Time), x.Height, x.Index, x.TxHash, x.Status, orDash(errorOf(&x.Receipt)), orDash(kindOf(x.Decoded)))
	}
	looked := "no block"
	if v.Scanned.To > 0 {
		looked = fmt.Sprintf("blocks %d to %d", v.Scanned.From, v.Scanned.To)
	}
	switch {
	case v.Next != nil:
		t.Line("%d in %s; older: --cursor %s", len(v.Transactions), looked, hexOf(*v.Next))
	case v.Scanned.From > 1:
		t.Line("%d in %s; nothing older is kept.", len(v.Transactions), looked)
	default:
		t.Line("%d in %s; there is nothing older.", len(v.Transactions), looked)
	}
}
