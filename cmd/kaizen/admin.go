package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

func newAdmin(std cli.IO) *cobra.Command {
	return cli.Group("admin", "Permissions, pauses, markets and the blacklist (admins)",
		newPermission(std, "grant", "Give an account permissions", tx.GrantPermissions),
		newPermission(std, "revoke", "Take permissions from an account", tx.RevokePermissions),
		newPlain(std, "pause", "Stop everything but Admin, RevokeApiWallet and settling", tx.PauseSystem),
		newPlain(std, "unpause", "End the pause", tx.UnpauseSystem),
		newOnMarket(std, "pause-market PAIR", "Take no new theses on a market", tx.PauseMarket),
		newOnMarket(std, "unpause-market PAIR", "Take theses on a market again", tx.UnpauseMarket),
		newMarketLimits(std, "add-market PAIR", "Open a market", tx.AddMarket),
		newMarketLimits(std, "set-market-limits PAIR", "Change what a market allows new theses", tx.SetMarketLimits),
		newOnAccount(std, "blacklist ADDRESS", "Let an account move no money and open no thesis", tx.BlacklistAdd),
		newOnAccount(std, "unblacklist ADDRESS", "End that", tx.BlacklistRemove),
		newCancel(std))
}

func newCancel(std cli.IO) *cobra.Command {
	return newOrder(std, "cancel ID", "Cancel a thesis that has not begun; both sides get their money back", func(args []string) (*tx.Transaction, error) {
		id, err := parseID(args[0])
		return adminTx(tx.AdminAction{Kind: tx.CancelThesis, ThesisID: id}), err
	}, "ID").cmd
}

func adminTx(a tx.AdminAction) *tx.Transaction {
	return &tx.Transaction{Kind: tx.KindAdmin, Admin: a}
}

func newPlain(std cli.IO, use, short string, kind tx.Action) *cobra.Command {
	return newOrder(std, use, short, func([]string) (*tx.Transaction, error) { return adminTx(tx.AdminAction{Kind: kind}), nil }).cmd
}

func newOnAccount(std cli.IO, use, short string, kind tx.Action) *cobra.Command {
	return newOrder(std, use, short, func(args []string) (*tx.Transaction, error) {
		a, err := parseAddress(args[0])
		return adminTx(tx.AdminAction{Kind: kind, Account: tx.Address(a)}), err
	}, "ADDRESS").cmd
}

func newPermission(std cli.IO, verb, short string, kind tx.Action) *cobra.Command {
	names := strings.Join(tx.PermissionNames[:], ", ")
	return newOrder(std, verb+" ADDRESS PERMISSION...", short+": "+names, func(args []string) (*tx.Transaction, error) {
		a, err := parseAddress(args[0])
		if err != nil {
			return nil, err
		}
		action := tx.AdminAction{Kind: kind, Account: tx.Address(a)}
		for _, name := range args[1:] {
			bit, ok := tx.PermissionBit(name)
			if !ok {
				return nil, cli.Usagef("permission %q: want one of %s", name, names)
			}
			action.Permissions |= bit
		}
		return adminTx(action), nil
	}, "ADDRESS", "PERMISSION...").cmd
}

// parseMarket reads a pair of known tokens or of token addresses: BTC/USDT,
// 0x…/0x….
func parseMarket(name string) (base, quote tx.Address, err error) {
	b, q, found := strings.Cut(name, "/")
	if !found {
		return base, quote, cli.Usagef("market %.80q: want BASE/QUOTE such as BTC/USDT", name)
	}
	if base, err = parseToken(b); err == nil {
		quote, err = parseToken(q)
	}
	return base, quote, err
}

func parseToken(s string) (tx.Address, error) {
	if a, ok := params.Token(s); ok {
		return a, nil
	}
	a, err := parseAddress(s)
	if err != nil {
		return tx.Address{}, cli.Usagef("token %.44q: want BTC, ETH, SOL, USDT, or 0x and 40 hex digits", s)
	}
	return tx.Address(a), nil
}

func newOnMarket(std cli.IO, use, short string, kind tx.Action) *cobra.Command {
	return newOrder(std, use, short, func(args []string) (*tx.Transaction, error) {
		base, quote, err := parseMarket(args[0])
		return adminTx(tx.AdminAction{Kind: kind, Base: base, Quote: quote}), err
	}, "PAIR").cmd
}

func newMarketLimits(std cli.IO, use, short string, kind tx.Action) *cobra.Command {
	var name, minBet, maxBet, maxOpen string
	o := newOrder(std, use, short, func(args []string) (*tx.Transaction, error) {
		base, quote, err := parseMarket(args[0])
		if err != nil {
			return nil, err
		}
		a := tx.AdminAction{Kind: kind, Base: base, Quote: quote}
		if a.Limits, err = parseLimits(minBet, maxBet, maxOpen); err != nil {
			return nil, err
		}
		if kind == tx.AddMarket {
			if a.Name = name; name == "" {
				a.Name = args[0]
			}
			if problem := params.CheckMarket(base, quote, a.Name, &a.Limits); problem != "" {
				return nil, cli.Usagef("%s", problem)
			}
		}
		return adminTx(a), nil
	}, "PAIR")
	f := o.cmd.Flags()
	if kind == tx.AddMarket {
		f.StringVar(&name, "name", "", "the market's `name` (default: PAIR as typed)")
	}
	f.StringVar(&minBet, "min-bet", "0.01", "smallest bet, `USDC`")
	f.StringVar(&maxBet, "max-bet", "100000", "largest bet, `USDC`")
	f.StringVar(&maxOpen, "max-open-interest", "10000000", "largest sum of the payouts of open theses, `USDC`")
	return o.cmd
}

func parseLimits(minBet, maxBet, maxOpen string) (l tx.Limits, err error) {
	for _, f := range []struct {
		flag, text string
		to         *uint64
	}{{"--min-bet", minBet, &l.MinBet}, {"--max-bet", maxBet, &l.MaxBet}, {"--max-open-interest", maxOpen, &l.MaxOpenInterest}} {
		if *f.to, err = cli.ParseAmount(f.text); err != nil {
			return l, fmt.Errorf("%s: %w", f.flag, err)
		}
	}
	if !l.Valid() {
		return l, cli.Usagef("limits are not 0 < --min-bet <= --max-bet < --max-open-interest")
	}
	return l, nil
}
