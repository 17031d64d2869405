package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/state/proof"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

func newQuery(std cli.IO) *cobra.Command {
	return cli.Group("query", "Ask a node about accounts, bets, blocks, transactions, prices and proofs",
		newQueryAccount(std), newQueryThesis(std), newQueryTheses(std), newQueryMarkets(std), newQueryPrices(std), newQueryHistory(std), newQueryPermissions(std),
		newQueryBlock(std), newQueryHeader(std), newQueryTx(std), newQueryTransactions(std), newQueryReceipt(std), newQueryProof(std), newQueryCall(std))
}

// question is what every query verb has.
type question struct {
	cmd    *cobra.Command
	remote *remote
	out    *cli.Output
	at     func() (api.Ref, error)
}

// newQuestion makes a query verb; with a height it has --height.
func newQuestion(use, short, answer string, height bool, args ...string) *question {
	q := &question{cmd: &cobra.Command{Use: use, Short: short, Long: short + ".\nJSON: " + answer + ".", Args: cli.Args(args...)}}
	q.remote = addRemote(q.cmd.Flags())
	q.out = cli.AddOutput(q.cmd)
	q.at = func() (api.Ref, error) { return api.ByTag(api.TagLatest), nil }
	if height {
		at := q.cmd.Flags().String("height", string(api.TagLatest), "block whose state is meant: height, hash or `tag` ("+tagNames()+")")
		q.at = func() (api.Ref, error) { return parseRef(*at) }
	}
	return q
}

func tagNames() string {
	names := make([]string, len(api.Tags))
	for i, t := range api.Tags {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

func parseRef(s string) (api.Ref, error) {
	at, err := api.ParseRef(s)
	if err != nil {
		return at, &cli.UsageError{Err: err}
	}
	return at, nil
}

// answer fetches a value and prints it.
func answer[T any](ctx context.Context, q *question, std cli.IO, fetch func(context.Context, *client.Client) (T, error), table func(*cli.Table, *T)) error {
	return q.remote.use(ctx, func(ctx context.Context, c *client.Client) error {
		v, err := fetch(ctx, c)
		if err != nil {
			return err
		}
		return q.out.Print(std.Out, &v, func(t *cli.Table) { table(t, &v) })
	})
}

func newQueryAccount(std cli.IO) *cobra.Command {
	q := newQuestion("account ADDRESS", "Show an account's balance, API wallets and permissions", "the result of kaizen_getAccount", true, "ADDRESS")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		a, err := parseAddress(args[0])
		if err != nil {
			return err
		}
		at, err := q.at()
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (api.Account, error) { return c.Account(ctx, a, at) },
			func(t *cli.Table, v *api.Account) { printAccount(t, a, v) })
	}
	return q.cmd
}

func parseAddress(s string) (chain.Address, error) {
	a, err := chain.ParseAddress(s)
	if err != nil {
		return a, &cli.UsageError{Err: err}
	}
	return a, nil
}

func printAccount(t *cli.Table, a chain.Address, v *api.Account) {
	t.Row("account", a)
	t.Row("balance", cli.FormatAmount(uint64(v.Balance))+" USDC")
	t.Row("locked", cli.FormatAmount(uint64(v.Locked))+" USDC")
	t.Row("permissions", orDash(strings.Join(v.Permissions, ", ")))
	for _, w := range v.APIWallets {
		t.Row("API wallet", fmt.Sprintf("%s, %s", w.Address, expiry(&w)))
	}
	t.Row("block", v.Block)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func expiry(w *api.APIWallet) string {
	switch {
	case w.Expiry == 0:
		return "never expires"
	case w.Expired:
		return "expired " + moment(w.Expiry)
	}
	return "expires " + moment(w.Expiry)
}

// moment is a time of the chain for people, in UTC.
func moment(ms uint64) string {
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02 15:04:05.000Z")
}

func newQueryBlock(std cli.IO) *cobra.Command {
	q := newQuestion("block HEIGHT", "Show a block with its transactions (HEIGHT: number, hash or tag)", "the result of kaizen_getBlock", false, "HEIGHT")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		at, err := parseRef(args[0])
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (api.Block, error) { return c.Block(ctx, at) }, printBlock)
	}
	return q.cmd
}

func printBlock(t *cli.Table, v *api.Block) {
	printHeader(t, &v.Header)
	t.Row("size", fmt.Sprintf("%d bytes", v.Size))
	printPrices(t, &v.Oracle)
	t.Row("transactions", len(v.Transactions))
	if len(v.Transactions) == 0 {
		return
	}
	t.Line("")
	t.Row("INDEX", "HASH", "STATUS", "ERROR", "KIND")
	for i := range v.Transactions {
		x := &v.Transactions[i]
		t.Row(x.Index, x.TxHash, x.Status, orDash(errorOf(&x.Receipt)), orDash(kindOf(x.Decoded)))
	}
}

func errorOf(r *api.Receipt) string {
	if r.Error == nil {
		return ""
	}
	return *r.Error
}

// kindOf is the transaction's kind as the node's decoder names it; nothing on a
// chain whose module it does not know.
func kindOf(decoded json.RawMessage) string {
	var v struct {
		Kind string `json:"kind"`
	}
	if len(decoded) == 0 || json.Unmarshal(decoded, &v) != nil {
		return ""
	}
	return v.Kind
}

func printHeader(t *cli.Table, h *api.Header) {
	t.Row("height", h.Height)
	t.Row("hash", h.Hash)
	t.Row("parent", h.ParentHash)
	t.Row("time", fmt.Sprintf("%s (%d)", moment(h.Time), h.Time))
	t.Row("state root", h.StateRoot)
	t.Row("transactions root", h.TransactionsRoot)
	t.Row("receipts root", h.ReceiptsRoot)
	t.Row("oracle hash", h.OracleHash)
	t.Row("module", h.ModuleHash)
	t.Row("sequencer", hexOf(h.Sequencer))
	t.Row("signature", hexOf(h.Signature))
}

func hexOf(b []byte) string { return fmt.Sprintf("0x%x", b) }

func newQueryHeader(std cli.IO) *cobra.Command {
	q := newQuestion("header HEIGHT", "Show a block header (HEIGHT: number, hash or tag)", "the result of kaizen_getHeader", false, "HEIGHT")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		at, err := parseRef(args[0])
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (api.Header, error) { return c.Header(ctx, at) }, printHeader)
	}
	return q.cmd
}

func parseTxHash(s string) (chain.Hash, error) {
	h, err := chain.ParseHash(s)
	if err != nil {
		return h, &cli.UsageError{Err: fmt.Errorf("transaction %w", err)}
	}
	return h, nil
}

func newQueryTx(std cli.IO) *cobra.Command {
	q := newQuestion("tx HASH", "Show a transaction, its receipt and what is in it", "the result of kaizen_getTransaction", false, "HASH")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		id, err := parseTxHash(args[0])
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (api.Transaction, error) { return c.Transaction(ctx, id) },
			func(t *cli.Table, v *api.Transaction) {
				printReceipt(t, &v.Receipt)
				if len(v.Decoded) > 0 {
					t.Row("decoded", string(v.Decoded))
				}
				t.Row("raw", hexOf(v.Raw))
			})
	}
	return q.cmd
}

func newQueryReceipt(std cli.IO) *cobra.Command {
	q := newQuestion("receipt HASH", "Show what became of a transaction", "the result of kaizen_getReceipt", false, "HASH")
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		id, err := parseTxHash(args[0])
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (api.Receipt, error) { return c.Receipt(ctx, id) }, printReceipt)
	}
	return q.cmd
}

func printReceipt(t *cli.Table, r *api.Receipt) {
	printOutcome(t, r)
	if r.Status != api.StatusRefused {
		t.Row("block", r.Height)
		t.Row("index", r.Index)
	}
}

// printOutcome is a receipt without its place.
func printOutcome(t *cli.Table, r *api.Receipt) {
	t.Row("transaction", r.TxHash)
	t.Row("status", r.Status)
	if r.Error != nil {
		t.Row("error", *r.Error)
	}
	if r.ErrorDetail != "" {
		t.Row("detail", r.ErrorDetail)
	}
	for i := range r.Events {
		t.Row("event", eventText(&r.Events[i]))
	}
}

func eventText(e *api.Event) string {
	var b strings.Builder
	b.WriteString(e.Type)
	for _, f := range e.Fields {
		fmt.Fprintf(&b, " %s=%v", f.Name, f.Value)
	}
	return b.String()
}

func newQueryPrices(std cli.IO) *cobra.Command {
	q := newQuestion("prices", "Show the oracle prices in force", "the result of kaizen_getOraclePrices", true)
	q.cmd.RunE = func(c *cobra.Command, _ []string) error {
		at, err := q.at()
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (api.OraclePrices, error) { return c.OraclePrices(ctx, at) },
			func(t *cli.Table, v *api.OraclePrices) {
				printPrices(t, &v.OracleSnapshot)
				t.Row("block", v.Block)
			})
	}
	return q.cmd
}

func printPrices(t *cli.Table, o *api.OracleSnapshot) {
	freshness := "fresh"
	if o.Stale {
		freshness = "stale"
	}
	if o.Timestamp == 0 {
		t.Row("oracle", "no prices yet, "+freshness)
		return
	}
	t.Row("oracle", fmt.Sprintf("%s, %s", moment(o.Timestamp), freshness))
	for _, pair := range slices.Sorted(maps.Keys(o.Prices)) {
		p := o.Prices[pair]
		t.Row(pair, fmt.Sprintf("%s at %s", money(p.Price), moment(p.Timestamp)))
	}
}

func newQueryMarkets(std cli.IO) *cobra.Command {
	q := newQuestion("markets", "Show the markets with limits and open interest", "the result of kaizen_getMarkets", true)
	q.cmd.RunE = func(c *cobra.Command, _ []string) error {
		at, err := q.at()
		if err != nil {
			return err
		}
		return answer(c.Context(), q, std, func(ctx context.Context, c *client.Client) (json.RawMessage, error) { return c.Markets(ctx, at) }, printMarkets)
	}
	return q.cmd
}

func printMarkets(t *cli.Table, raw *json.RawMessage) {
	var v struct {
		Markets []marketInfo `json:"markets"`
	}
	if err := json.Unmarshal(*raw, &v); err != nil {
		t.Line("%s", *raw) // another module's answer: shown as it is
		return
	}
	t.Row("MARKET", "MIN BET", "MAX BET", "OPEN THESES", "OPEN INTEREST", "OF", "STATE")
	for _, m := range v.Markets {
		state := "open"
		if m.Paused {
			state = "paused"
		}
		t.Row(m.Name, money(m.MinBet), money(m.MaxBet), m.OpenTheses, money(m.OpenInterest), money(m.MaxOpenInterest), state)
	}
}

// proven is a proof and what checking it here came to.
type proven struct {
	api.Proof
	Verified bool   `json:"verified"`
	Problem  string `json:"problem,omitempty"`
}

func newQueryProof(std cli.IO) *cobra.Command {
	q := newQuestion("proof", "Fetch the proof of an account, thesis or state key and check it here",
		"the result of kaizen_getProof, with verified and problem added", true)
	account := q.cmd.Flags().String("account", "", "`address` of the account")
	thesis := q.cmd.Flags().String("thesis", "", "`number` of the thesis")
	key := q.cmd.Flags().String("key", "", "state key, 0x and `hex` digits")
	q.cmd.RunE = func(c *cobra.Command, _ []string) error {
		if !exactlyOne(*account != "", *thesis != "", *key != "") {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("choose one of --account ADDRESS, --thesis ID and --key HEX")}
		}
		at, err := q.at()
		if err != nil {
			return err
		}
		v, err := newWanted(*account, *thesis, *key, at)
		if err != nil {
			return err
		}
		return runProof(c.Context(), q, v, std)
	}
	return q.cmd
}

func exactlyOne(of ...bool) bool {
	n := 0
	for _, is := range of {
		if is {
			n++
		}
	}
	return n == 1
}

// wanted is what a proof is asked for.
type wanted struct {
	key   []byte // that it must be of
	at    api.Ref
	fetch func(context.Context, *client.Client) (api.Proof, error)
}

func newWanted(account, thesis, key string, at api.Ref) (w wanted, err error) {
	w.at = at
	switch {
	case account != "":
		var a chain.Address
		a, err = parseAddress(account)
		w.key, w.fetch = rfq.AccountKey(tx.Address(a)), func(ctx context.Context, c *client.Client) (api.Proof, error) { return c.ProveAccount(ctx, a, at) }
	case thesis != "":
		var id uint64
		id, err = parseID(thesis)
		w.key, w.fetch = rfq.ThesisKey(id), func(ctx context.Context, c *client.Client) (api.Proof, error) { return c.ProveThesis(ctx, id, at) }
	default:
		if w.key, err = api.ParseBytes(key); err != nil {
			err = &cli.UsageError{Err: fmt.Errorf("--key: %w", err)}
		}
		w.fetch = func(ctx context.Context, c *client.Client) (api.Proof, error) { return c.ProveKey(ctx, w.key, at) }
	}
	return w, err
}

func runProof(ctx context.Context, q *question, want wanted, std cli.IO) error {
	var problem error
	err := answer(ctx, q, std, func(ctx context.Context, c *client.Client) (proven, error) {
		p, err := want.fetch(ctx, c)
		if err != nil {
			return proven{}, err
		}
		v := proven{Proof: p}
		if problem = want.check(&p); problem == nil {
			v.Verified = true
		} else {
			v.Problem = problem.Error()
		}
		return v, nil
	}, printProof)
	if err == nil && problem != nil {
		err = fmt.Errorf("%w: %w", node.ErrVerification, problem)
	}
	return err
}

// check believes nothing that the node says but who the sequencer is: that the
// answer is about what was asked for, and everything that [proof.Answer.Verify]
// checks.
func (w *wanted) check(p *api.Proof) error {
	if !bytes.Equal(p.Key, w.key) {
		return fmt.Errorf("asked for key %s, the node proves %s", hexOf(w.key), hexOf(p.Key))
	}
	if n, ok := w.at.Number(); ok && p.Header.Height != n {
		return fmt.Errorf("asked for block %d, the node proves block %d", n, p.Header.Height)
	}
	if h, ok := w.at.Hash(); ok && p.Header.Hash != h {
		return fmt.Errorf("asked for block %s, the node proves block %s", h, p.Header.Hash)
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	a, err := proof.ParseAnswer(b)
	if err != nil {
		return err
	}
	return a.Verify()
}

func printProof(t *cli.Table, v *proven) {
	t.Row("key", hexOf(v.Key))
	if v.Value == nil {
		t.Row("value", "absent")
	} else {
		t.Row("value", hexOf(*v.Value))
	}
	t.Row("proof", fmt.Sprintf("%d bytes", len(v.Proof.Proof)))
	t.Row("state root", v.Header.StateRoot)
	t.Row("block", v.Block)
	if v.Verified {
		t.Row("verdict", "verified here")
	} else {
		t.Row("verdict", "FAILED: "+v.Problem)
	}
}

// newQueryCall is for methods without a verb.
func newQueryCall(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:     "call METHOD [PARAMS]",
		Short:   "Call any RPC method and print its result as JSON",
		Long:    "Call any RPC method and print its result as JSON. PARAMS is a JSON array or object.",
		Example: "  kaizen query call kaizen_getTotals\n  kaizen query call kaizen_getWithdrawal '[1]'",
		Args:    cli.Args("METHOD", "[PARAMS]"),
	}
	r := addRemote(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		var params any
		if len(args) == 2 {
			raw := json.RawMessage(strings.TrimSpace(args[1]))
			if !json.Valid(raw) || raw[0] != '[' && raw[0] != '{' {
				return &cli.UsageError{Command: c.CommandPath(), Err: fmt.Errorf("parameters %.80q: want a JSON array or object", args[1])}
			}
			params = raw
		}
		return r.use(c.Context(), func(ctx context.Context, c *client.Client) error {
			var result json.RawMessage
			if err := c.Call(ctx, args[0], params, &result); err != nil {
				return err
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, result, "", "  "); err != nil {
				return err
			}
			_, err := fmt.Fprintf(std.Out, "%s\n", indented.Bytes())
			return err
		})
	}
	return c
}
