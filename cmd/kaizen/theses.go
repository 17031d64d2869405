package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// thesis is what the tables show of one; the rest is in the JSON.
type thesis struct {
	ID      uint64 `json:"thesis_id"`
	State   string `json:"state"`
	Outcome string `json:"outcome"`
	market.Quote
	Due             uint64         `json:"due"`
	CreatedAt       uint64         `json:"created_at"`
	SettledAt       uint64         `json:"settled_at"` // this and what follows: zero while it is open
	SettledBy       *chain.Address `json:"settled_by"`
	BreachTimestamp uint64         `json:"breach_timestamp"`
	BreachPrice     api.Amount     `json:"breach_price"`
}

func newQueryThesis(std cli.IO) *cobra.Command {
	q := newQuestion("thesis ID", "Show a bet: its terms, how far it is, and who won", "the result of kaizen_getThesis", true, "ID")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		id, err := parseID(args[0])
		if err != nil {
			return err
		}
		at, err := q.at()
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (v json.RawMessage, err error) {
			return v, c.Call(ctx, "kaizen_getThesis", []any{id, at}, &v)
		}, printThesis)
	}
	return q.cmd
}

func printThesis(t *cli.Table, raw *json.RawMessage) {
	var v thesis
	if err := json.Unmarshal(*raw, &v); err != nil {
		t.Line("%s", *raw) // a later module's answer: shown as it is
		return
	}
	t.Row("thesis", v.ID)
	t.Row("state", stateText(&v))
	printQuote(t, &v.Quote)
	t.Row("opened", moment(v.CreatedAt))
	t.Row("due", moment(v.Due))
	if v.SettledBy != nil {
		t.Row("settled", fmt.Sprintf("%s by %s", moment(v.SettledAt), v.SettledBy))
	}
	if v.BreachTimestamp > 0 {
		t.Row("breach", fmt.Sprintf("%s at %s", money(v.BreachPrice), moment(v.BreachTimestamp)))
	}
}

func stateText(v *thesis) string {
	if v.Outcome == "" || strings.EqualFold(v.Outcome, v.State) {
		return v.State
	}
	return v.State + ", " + v.Outcome
}

// thesesFilter is the filter of kaizen_listTheses.
type thesesFilter struct {
	Pair   string         `json:"pair,omitempty"`
	User   *chain.Address `json:"user,omitempty"`
	Solver *chain.Address `json:"solver,omitempty"`
	State  string         `json:"state,omitempty"`
	Limit  uint64         `json:"limit"`
	Cursor api.Bytes      `json:"cursor,omitempty"`
}

func newQueryTheses(std cli.IO) *cobra.Command {
	q := newQuestion("theses", "List bets, newest or soonest due first", "the result of kaizen_listTheses", true)
	var pair, user, by, state, cursor string
	var limit uint64
	f := q.cmd.Flags()
	f.StringVar(&pair, "pair", "", "of this `market`")
	f.StringVar(&user, "user", "", "of this user's `address`")
	f.StringVar(&by, "solver", "", "of this solver's `address`")
	f.StringVar(&state, "state", query.StateNames[query.Open], strings.Join(query.StateNames[:], ", "))
	f.Uint64Var(&limit, "limit", 50, fmt.Sprintf("how many, 1 to %d", query.MaxTheses))
	f.StringVar(&cursor, "cursor", "", "go on where an earlier list ended")
	q.cmd.RunE = func(c *cobra.Command, _ []string) error {
		filter := thesesFilter{Pair: pair, State: state, Limit: limit}
		if err := filter.complete(user, by, cursor); err != nil {
			return err
		}
		at, err := q.at()
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (v json.RawMessage, err error) {
			return v, c.Call(ctx, "kaizen_listTheses", []any{filter, at}, &v)
		}, printTheses)
	}
	return q.cmd
}

func (f *thesesFilter) complete(user, by, cursor string) error {
	if f.Pair != "" {
		if _, _, err := parseMarket(f.Pair); err != nil {
			return err
		}
	}
	for _, a := range []struct {
		flag, text string
		to         **chain.Address
	}{{"--user", user, &f.User}, {"--solver", by, &f.Solver}} {
		if a.text == "" {
			continue
		}
		address, err := parseAddress(a.text)
		if err != nil {
			return fmt.Errorf("%s: %w", a.flag, err)
		}
		*a.to = &address
	}
	if i := slices.IndexFunc(query.StateNames[:], func(name string) bool { return strings.EqualFold(name, f.State) }); i >= 0 {
		f.State = query.StateNames[i]
	} else {
		return cli.Usagef("--state is %.40q, want one of %s", f.State, strings.Join(query.StateNames[:], ", "))
	}
	if f.Limit < 1 || f.Limit > query.MaxTheses {
		return cli.Usagef("--limit is %d, want 1 to %d", f.Limit, query.MaxTheses)
	}
	if cursor != "" {
		var err error
		if f.Cursor, err = api.ParseBytes(cursor); err != nil || len(f.Cursor) < 1 || len(f.Cursor) > query.MaxCursor {
			return cli.Usagef("--cursor %.40q: want what an earlier list printed", cursor)
		}
	}
	return nil
}

func printTheses(t *cli.Table, raw *json.RawMessage) {
	var v struct {
		Theses []thesis        `json:"theses"`
		Next   json.RawMessage `json:"next"`
		Block  api.BlockRef    `json:"block"`
	}
	if err := json.Unmarshal(*raw, &v); err != nil {
		t.Line("%s", *raw)
		return
	}
	t.Row("THESIS", "STATE", "MARKET", "LOWER", "UPPER", "BET", "PAYOUT", "START", "END", "USER", "SOLVER")
	for i := range v.Theses {
		x := &v.Theses[i]
		t.Row(x.ID, stateText(x), pairText(x.Base, x.Quote.Quote), money(x.Lower), money(x.Upper), money(x.BetAmount), money(x.Payout),
			clock(x.Start), clock(x.End), x.User, x.Solver)
	}
	if next := string(v.Next); next != "" && next != "null" {
		t.Line("there are more: --cursor %s", strings.Trim(next, `"`))
	}
}

// clock is a time of the day, in UTC.
func clock(ms uint64) string { return time.UnixMilli(int64(ms)).UTC().Format("15:04:05.0") }

// holder is what `query permissions` shows of an account.
type holder struct {
	Address     chain.Address `json:"address"`
	Permissions []string      `json:"permissions"`
	Blacklisted bool          `json:"blacklisted"`
}

// permissionsAnswer is the JSON of `query permissions`.
type permissionsAnswer struct {
	Params   json.RawMessage `json:"params"`
	Accounts []holder        `json:"accounts"`
}

func newQueryPermissions(std cli.IO) *cobra.Command {
	q := newQuestion("permissions [ADDRESS]", "Show who may do what: the chain's settler and pause, and an account's permissions",
		"{params: the result of kaizen_getParams, accounts: [{address, permissions, blacklisted}]}", true, "[ADDRESS]")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		var who []chain.Address
		for _, text := range args {
			a, err := parseAddress(text)
			if err != nil {
				return err
			}
			who = append(who, a)
		}
		at, err := q.at()
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (permissionsAnswer, error) {
			return fetchPermissions(ctx, c, who, at)
		}, printPermissions)
	}
	return q.cmd
}

func fetchPermissions(ctx context.Context, c *client.Client, who []chain.Address, at api.Ref) (v permissionsAnswer, err error) {
	v.Accounts = []holder{}
	if err := c.Call(ctx, "kaizen_getParams", []any{at}, &v.Params); err != nil {
		return v, err
	}
	if len(who) == 0 { // the one account that genesis names
		var p struct {
			Settler chain.Address `json:"settler"`
		}
		if err := json.Unmarshal(v.Params, &p); err != nil {
			return v, fmt.Errorf("parameters: %w", err)
		}
		who = append(who, p.Settler)
	}
	for _, a := range who {
		account, err := c.Account(ctx, a, at)
		if err != nil {
			return v, err
		}
		v.Accounts = append(v.Accounts, holder{a, account.Permissions, account.Blacklisted})
	}
	return v, nil
}

func printPermissions(t *cli.Table, v *permissionsAnswer) {
	var p struct {
		Paused  bool          `json:"paused"`
		Enabled bool          `json:"settler_enabled"`
		Settler chain.Address `json:"settler"`
		Admins  uint64        `json:"admins"`
	}
	if err := json.Unmarshal(v.Params, &p); err != nil {
		t.Line("%s", v.Params)
		return
	}
	t.Row("system", map[bool]string{true: "paused", false: "open"}[p.Paused])
	t.Row("settlement", map[bool]string{true: "by accounts with the settler permission", false: "switched off in genesis: RfqSettle only"}[p.Enabled])
	t.Row("genesis settler", p.Settler)
	t.Row("admins", p.Admins)
	t.Line("")
	t.Row("ACCOUNT", "PERMISSIONS", "BLACKLISTED")
	for _, h := range v.Accounts {
		t.Row(h.Address, orDash(strings.Join(h.Permissions, ", ")), map[bool]string{true: "yes", false: "no"}[h.Blacklisted])
	}
}

// maxHistoryPages bounds what `query history` asks for: more than the chain keeps,
// 65,536 prices of a market in pages of [query.MaxHistory].
const maxHistoryPages = 64

// history is the pages of kaizen_getOracleHistory in one.
type history struct {
	Pair         string          `json:"pair"`
	CompleteFrom uint64          `json:"complete_from"`
	Prices       []recordedPrice `json:"prices"`
	Next         *uint64         `json:"next"`
	Block        api.BlockRef    `json:"block"`
}

type recordedPrice struct {
	Timestamp uint64     `json:"timestamp"`
	Price     api.Amount `json:"price"`
}

func newQueryHistory(std cli.IO) *cobra.Command {
	q := newQuestion("history PAIR", "Show the prices that the chain has recorded of a market",
		"the result of kaizen_getOracleHistory, all pages in one; prices: [{timestamp, price}]", true, "PAIR")
	var last time.Duration
	var from, to string
	f := q.cmd.Flags()
	f.DurationVar(&last, "last", 10*time.Second, "of this long before now")
	f.StringVar(&from, "from", "", "from this time on, `ms` or 2006-01-02T15:04:05Z, instead of --last")
	f.StringVar(&to, "to", "", "up to this time (default: now)")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		if from != "" && f.Changed("last") {
			return cli.Usagef("choose one of --from and --last")
		}
		if len(args[0]) > tx.MaxMarketName {
			return cli.Usagef("market %.80q: a name has at most %d characters", args[0], tx.MaxMarketName)
		}
		span, err := parseSpan(last, from, to)
		if err != nil {
			return err
		}
		at, err := q.at()
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (history, error) {
			return fetchHistory(ctx, c, args[0], span, at)
		}, printHistory)
	}
	return q.cmd
}

// timeSpan is from when to when, ms; from 0 is last before now, to 0 is now.
type timeSpan struct{ last, from, to uint64 }

func parseSpan(last time.Duration, from, to string) (s timeSpan, err error) {
	if last < time.Millisecond {
		return s, cli.Usagef("--last is %s, want at least 1ms", last)
	}
	s.last = uint64(last.Milliseconds())
	if s.from, err = parseTime("--from", from); err != nil {
		return s, err
	}
	if s.to, err = parseTime("--to", to); err == nil && to != "" && s.to < s.from {
		err = cli.Usagef("--to is before --from")
	}
	return s, err
}

// parseTime reads ms or a date; nothing is 0.
func parseTime(flag, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	if v, err := strconv.ParseUint(text, 10, 48); err == nil && v > 0 {
		return v, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil && t.UnixMilli() > 0 {
		return uint64(t.UnixMilli()), nil
	}
	return 0, cli.Usagef("%s %.40q: want ms since 1970, or a time such as 2026-12-31T00:00:00Z", flag, text)
}

func fetchHistory(ctx context.Context, c *client.Client, pair string, s timeSpan, at api.Ref) (v history, err error) {
	if s.from == 0 || s.to == 0 {
		header, err := c.Header(ctx, at)
		if err != nil {
			return v, err
		}
		if s.to == 0 {
			s.to = max(header.Time, s.from)
		}
		if s.from == 0 {
			s.from = s.to - min(s.last, s.to)
		}
	}
	v.Prices = []recordedPrice{}
	from := s.from
	for range maxHistoryPages {
		var page history
		if err := c.Call(ctx, "kaizen_getOracleHistory", []any{pair, from, s.to, at}, &page); err != nil {
			return v, err
		}
		page.Prices = append(v.Prices, page.Prices...)
		if v = page; v.Next == nil {
			return v, nil
		}
		from = *v.Next
	}
	return v, fmt.Errorf("prices of %.80q: the node has more than %d pages of them", pair, maxHistoryPages)
}

func printHistory(t *cli.Table, v *history) {
	t.Row("TIME", "PRICE")
	for _, p := range v.Prices {
		t.Row(moment(p.Timestamp), money(p.Price))
	}
	t.Line("%s has %d prices there; the chain has every price it recorded since %s", v.Pair, len(v.Prices), moment(v.CompleteFrom))
}

// marketInfo is one market of kaizen_getMarkets.
type marketInfo struct {
	Name            string        `json:"name"`
	Base            chain.Address `json:"base"`
	Quote           chain.Address `json:"quote"`
	MinBet          api.Amount    `json:"min_bet"`
	MaxBet          api.Amount    `json:"max_bet"`
	MaxOpenInterest api.Amount    `json:"max_open_interest"`
	OpenInterest    api.Amount    `json:"open_interest"`
	OpenTheses      uint64        `json:"open_theses"`
	Paused          bool          `json:"paused"`
}

func fetchMarkets(ctx context.Context, c *client.Client) ([]marketInfo, error) {
	raw, err := c.Markets(ctx, api.ByTag(api.TagLatest))
	if err != nil {
		return nil, err
	}
	var v struct {
		Markets []marketInfo `json:"markets"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("markets: %w", err)
	}
	return v.Markets, nil
}

func findMarket(ctx context.Context, c *client.Client, name string) (*marketInfo, error) {
	markets, err := fetchMarkets(ctx, c)
	if err != nil {
		return nil, err
	}
	for i := range markets {
		if markets[i].Name == name {
			return &markets[i], nil
		}
	}
	return nil, cli.Hint(fmt.Errorf("the chain has no market %.80q", name), "'kaizen query markets' shows those that it has")
}
