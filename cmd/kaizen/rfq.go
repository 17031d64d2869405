package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/cmd/internal/wallet"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/host/solver"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

func newRfq(std cli.IO) *cobra.Command {
	return cli.Group("rfq", "Bets on prices: accept a solver's quote, submit one, settle", newAccept(std), newSignQuote(std), newSubmit(std), newSettle(std))
}

// parseID reads a thesis' number.
func parseID(s string) (uint64, error) {
	id, err := api.ParseUint(s)
	if err != nil || id == 0 {
		return 0, cli.Usagef("thesis %.40q: want its number, from 1 on", s)
	}
	return id, nil
}

// Bounds of what a user takes from a solver without having asked for it.
const (
	// maxLead is how long a bet may take to start.
	maxLead = 2 * time.Minute
	// maxBetDuration bounds --duration; the chain's price history is shorter.
	maxBetDuration = 24 * time.Hour
)

// bet is what `tx rfq accept` is about.
type bet struct {
	remote    *remote
	signer    *cli.SignerFlags
	out       *cli.Output
	solver    string
	from      string
	pair      string
	rangeText string
	amount    string
	minPayout string
	duration  time.Duration
	dryRun    bool
	hurry     bool

	limits cli.Range
	bet    uint64
	least  uint64
}

func newAccept(std cli.IO) *cobra.Command {
	b := &bet{}
	c := &cobra.Command{
		Use:   "accept",
		Short: "Ask a solver for a quote, check it, sign it and have it executed",
		Long: "Bet that a price stays within a range for a while: ask a solver what it pays, check that its quote is what was\n" +
			"asked for, sign it, and have the solver submit it. Percentages are of the price that the node has now. What the\n" +
			"solver says of the outcome is checked with the node.\n" +
			"JSON: {terms, thesis_id, receipt}; with --dry-run {terms}.",
		Example: "  kaizen tx rfq accept --pair BTC/USDT --range -0.5%:+0.5% --duration 30s --bet 10 --dev-account 4\n" +
			"  kaizen tx rfq accept --pair BTC/USDT --range 104000:105000 --duration 5m --bet 10 --min-payout 15 --dev-account 4",
		Args: cli.Args(),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := b.finalize(); err != nil {
				return err
			}
			return runAccept(c.Context(), b, std)
		},
	}
	f := c.Flags()
	b.remote, b.signer, b.out = addRemote(f), cli.AddSigner(f), cli.AddOutput(c)
	f.StringVar(&b.solver, "solver", "http://"+solverListen, "`URL` of the solver")
	f.StringVar(&b.from, "from", "", "`address` of the account that bets, if an API wallet of it signs (default: the signer's own)")
	f.StringVar(&b.pair, "pair", "", "`market` of the price (required)")
	f.StringVar(&b.rangeText, "range", "", "where the price must stay, `LOWER:UPPER`: prices, or percentages of the price now (required)")
	f.DurationVar(&b.duration, "duration", 0, "for how long, such as 30s (required)")
	f.StringVar(&b.amount, "bet", "", "what is bet, `USDC` (required)")
	f.StringVar(&b.minPayout, "min-payout", "", "sign nothing that pays less than this, `USDC`")
	f.BoolVar(&b.dryRun, "dry-run", false, "show the quote and do not sign it")
	f.BoolVar(&b.hurry, "no-wait", false, "return as soon as it is executed and durable, before its block is sealed")
	return c
}

func (b *bet) finalize() (err error) {
	for _, f := range []struct{ name, value string }{{"pair", b.pair}, {"range", b.rangeText}, {"bet", b.amount}} {
		if f.value == "" {
			return cli.Usagef("--%s is missing", f.name)
		}
	}
	if b.duration < time.Millisecond || b.duration > maxBetDuration || b.duration%time.Millisecond != 0 {
		return cli.Usagef("--duration is %s, want whole milliseconds, more than 0 and at most %s", b.duration, maxBetDuration)
	}
	if b.limits, err = cli.ParseRange(b.rangeText); err != nil {
		return fmt.Errorf("--range: %w", err)
	}
	if !b.limits.NeedsPrice() {
		if _, _, err := b.limits.At(0); err != nil {
			return fmt.Errorf("--range: %w", err)
		}
	}
	if b.bet, err = cli.ParseAmount(b.amount); err != nil {
		return fmt.Errorf("--bet: %w", err)
	}
	if b.bet == 0 {
		return cli.Usagef("--bet is 0")
	}
	if b.minPayout != "" {
		if b.least, err = cli.ParseAmount(b.minPayout); err != nil {
			return fmt.Errorf("--min-payout: %w", err)
		}
	}
	return nil
}

// betResult is what comes of a bet.
type betResult struct {
	Terms    solver.Terms `json:"terms"`
	ThesisID uint64       `json:"thesis_id,omitempty"`
	Receipt  *api.Receipt `json:"receipt,omitempty"`
}

func runAccept(ctx context.Context, b *bet, std cli.IO) error {
	key, err := b.signer.Load(std)
	if err != nil {
		return err
	}
	w := wallet.New(key)
	user := w.Address
	if b.from != "" {
		if user, err = parseAddress(b.from); err != nil {
			return err
		}
	}
	s, err := solver.NewClient(b.solver)
	if err != nil {
		return &cli.UsageError{Err: fmt.Errorf("--solver: %w", err)}
	}
	defer s.Close()
	var v betResult
	err = b.remote.use(ctx, func(ctx context.Context, node *client.Client) error {
		if v.Terms, err = b.ask(ctx, node, s, user); err != nil || b.dryRun {
			return err
		}
		return b.accept(ctx, node, s, w, &v)
	})
	if err != nil {
		return adviseBet(err, b.solver)
	}
	return b.out.Print(std.Out, &v, func(t *cli.Table) { printBet(t, &v) })
}

// ask gets the solver's quote, and checks it against what was asked for.
func (b *bet) ask(ctx context.Context, node *client.Client, s *solver.Client, user chain.Address) (t solver.Terms, err error) {
	m, err := findMarket(ctx, node, b.pair)
	if err != nil {
		return t, err
	}
	r := solver.QuoteRequest{User: user, Pair: b.pair, BetAmount: api.Amount(b.bet), Duration: uint64(b.duration.Milliseconds())}
	if err := b.place(ctx, node, m, &r); err != nil {
		return t, err
	}
	if t, err = s.Quote(ctx, &r); err != nil {
		return t, err
	}
	status, err := node.Status(ctx)
	if err != nil {
		return t, err
	}
	if problem := b.compare(&t.Quote, &r, m, status.HeadTime); problem != "" {
		return t, fmt.Errorf("the solver's quote is not what was asked for, nothing was signed: %s", problem)
	}
	if uint64(t.Quote.Payout) < b.least {
		return t, cli.Hint(fmt.Errorf("the solver pays %s, less than --min-payout %s; nothing was signed", cli.FormatAmount(uint64(t.Quote.Payout)), cli.FormatAmount(b.least)),
			"a narrower range or a longer duration pays more")
	}
	return t, nil
}

// place turns the range into prices.
func (b *bet) place(ctx context.Context, node *client.Client, m *marketInfo, r *solver.QuoteRequest) error {
	var price uint64
	if b.limits.NeedsPrice() {
		prices, err := node.OraclePrices(ctx, api.ByTag(api.TagLatest))
		if err != nil {
			return err
		}
		for _, p := range prices.Prices {
			if p.Base == m.Base && p.Quote == m.Quote {
				price = uint64(p.Price)
			}
		}
		if price == 0 || prices.Stale {
			return fmt.Errorf("--range %s: the node has no fresh price of %s", b.rangeText, b.pair)
		}
	}
	lower, upper, err := b.limits.At(price)
	r.Lower, r.Upper = api.Amount(lower), api.Amount(upper)
	return err
}

// compare says in what a quote is not what was asked for. A solver is not trusted.
func (b *bet) compare(q *market.Quote, r *solver.QuoteRequest, m *marketInfo, now uint64) string {
	switch {
	case q.ThesisType != 0 || q.Base != m.Base || q.Quote != m.Quote:
		return "another market"
	case q.User != r.User:
		return fmt.Sprintf("it is for %s", q.User)
	case q.Lower != r.Lower || q.Upper != r.Upper:
		return fmt.Sprintf("its range is %s to %s, not %s to %s", money(q.Lower), money(q.Upper), money(r.Lower), money(r.Upper))
	case q.BetAmount != r.BetAmount:
		return fmt.Sprintf("its bet is %s", money(q.BetAmount))
	case q.Payout <= q.BetAmount:
		return fmt.Sprintf("it pays %s, no more than the bet", money(q.Payout))
	case q.End <= q.Start || q.End-q.Start != r.Duration:
		return fmt.Sprintf("it is from %s to %s", moment(q.Start), moment(q.End))
	case q.Start > now+uint64(maxLead.Milliseconds()):
		return fmt.Sprintf("it starts at %s, in more than %s", moment(q.Start), maxLead)
	case q.Deadline > q.Start:
		return "it could still be submitted after its start"
	}
	return ""
}

// accept signs, hands over, and looks for itself what came of it.
func (b *bet) accept(ctx context.Context, node *client.Client, s *solver.Client, w *wallet.Wallet, v *betResult) error {
	q := v.Terms.Quote.Chain()
	signature, err := w.SignQuote(&q)
	if err != nil {
		return err
	}
	accepted, err := s.Accept(ctx, &solver.AcceptRequest{Quote: v.Terms.Quote, UserSignature: signature[:]})
	if err != nil {
		return err
	}
	receipt, err := node.Receipt(ctx, accepted.Receipt.TxHash)
	if err != nil {
		return fmt.Errorf("the solver says that transaction %s opened thesis %d, the node cannot confirm it: %w", accepted.Receipt.TxHash, accepted.ThesisID, err)
	}
	if receipt.Status != api.StatusOK {
		return &failure{&receipt}
	}
	hash, _ := solver.Digests(&q)
	if v.ThesisID, err = openedBy(&receipt, hash); err != nil {
		return err
	}
	v.Receipt = &receipt
	if !b.hurry {
		awaitSeal(ctx, node, receipt.Height)
	}
	return nil
}

// openedBy is the thesis that a transaction opened, if it is that of the quote.
func openedBy(r *api.Receipt, quote chain.Hash) (uint64, error) {
	for i := range r.Events {
		if e := &r.Events[i]; e.Type == "thesis_created" && e.Get("quote_hash") == quote.String() {
			return solver.ThesisID(r)
		}
	}
	return 0, fmt.Errorf("transaction %s did not open a thesis on quote %s", r.TxHash, quote)
}

// adviseBet says what can be done about a solver's no.
func adviseBet(err error, url string) error {
	var no *solver.Error
	switch {
	case errors.As(err, &no):
	case errors.Is(err, client.ErrUnreachable) && strings.HasPrefix(err.Error(), "solver "):
		return cli.Hint(err, "is a solver running at %s? 'kaizen solver' starts one; --solver names another", url)
	default:
		return err
	}
	if no.TxHash != "" && no.Name == solver.Unresolved {
		return cli.Hint(err, "'kaizen query receipt %s' shows whether it was executed", no.TxHash)
	}
	if advice, ok := solverAdvice[no.Name]; ok {
		return cli.Hint(err, "%s", advice)
	}
	if advice, ok := moduleAdvice[no.Name]; ok {
		return cli.Hint(err, "%s", advice)
	}
	return err
}

// solverAdvice is what to do about a solver's refusals, by name.
var solverAdvice = map[string]string{
	"RangeTooWide":        "a narrower range or a longer duration is less certain to hold, and pays more",
	"NotEnoughHistory":    "the solver needs a few seconds of prices to judge the market; try again then",
	"PriceMoved":          "ask again: the price has moved since the quote",
	"DryRun":              "this solver only shows what it would pay: --dry-run shows its quote",
	"RiskTooHigh":         "bet less, or ask for a range that is more certain to hold",
	"PriceOutsideRange":   "choose a range around the price: 'kaizen query prices' shows it",
	"BetAmountOutOfRange": "the solver's GET /info and 'kaizen query markets' show what is taken",
	"InvalidEndTime":      "the solver's GET /info shows the durations that it takes",
}

func money(a api.Amount) string { return cli.FormatAmount(uint64(a)) }

// ratioText writes millionths as a factor or a share, exactly.
func ratioText(ppm uint64) string { return cli.FormatAmount(ppm) }

func printBet(t *cli.Table, v *betResult) {
	if v.Receipt != nil {
		t.Row("thesis", v.ThesisID)
	}
	printQuote(t, &v.Terms.Quote)
	t.Row("pays", fmt.Sprintf("%s times the bet", ratioText(v.Terms.RatioPPM)))
	t.Row("solver's chance", fmt.Sprintf("%s%% that it holds", percentText(v.Terms.ProbabilityPPM)))
	if v.Receipt == nil {
		t.Row("quote", fmt.Sprintf("%s, not signed", v.Terms.QuoteHash))
		return
	}
	t.Row("transaction", v.Receipt.TxHash)
	t.Row("block", v.Receipt.Height)
	t.Row("index", v.Receipt.Index)
}

// percentText writes millionths in percent, exactly.
func percentText(ppm uint64) string { return fmt.Sprintf("%d.%04d", ppm/10_000, ppm%10_000) }

func printQuote(t *cli.Table, q *market.Quote) {
	t.Row("market", pairText(q.Base, q.Quote))
	t.Row("range", fmt.Sprintf("%s to %s", money(q.Lower), money(q.Upper)))
	t.Row("bet", money(q.BetAmount)+" USDC")
	t.Row("payout", money(q.Payout)+" USDC")
	t.Row("from", moment(q.Start))
	t.Row("to", fmt.Sprintf("%s (%s)", moment(q.End), ms(q.End-min(q.Start, q.End))))
	t.Row("deadline", moment(q.Deadline))
	t.Row("user", q.User)
	t.Row("solver", q.Solver)
}

// pairText names a market by its tokens.
func pairText(base, quote chain.Address) string { return tokenText(base) + "/" + tokenText(quote) }

func tokenText(a chain.Address) string {
	if name := market.Symbol(a); name != "" {
		return name
	}
	return a.String()
}

// maxQuoteBytes bounds a quote's file.
const maxQuoteBytes = 16 << 10

// readQuote reads a quote as solvers give it: itself, or their whole answer, or
// what `tx rfq accept --dry-run -o json` makes of that.
func readQuote(name string, std cli.IO) (*market.Quote, error) {
	b, err := readInput(name, maxQuoteBytes, std)
	if errors.Is(err, errInputSize) {
		return nil, cli.Usagef("quote in %s: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	for _, around := range []string{"terms", "quote"} {
		var outer map[string]json.RawMessage
		if json.Unmarshal(b, &outer) == nil && strings.HasPrefix(string(outer[around]), "{") {
			b = outer[around]
		}
	}
	q, err := decodeQuote(b)
	if err != nil {
		return nil, cli.Usagef("quote in %s: %w", name, err)
	}
	return q, nil
}

// quoteMembers are those that a quote must have: all of them.
var quoteMembers = []string{"thesis_type", "base", "quote", "lower", "upper", "bet_amount", "payout", "start", "end", "deadline", "user", "solver", "salt"}

func decodeQuote(b []byte) (*market.Quote, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, err
	}
	for _, name := range quoteMembers {
		if _, ok := members[name]; !ok {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	var q market.Quote
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return &q, d.Decode(&q)
}

// signedQuote is the JSON of `tx rfq sign`.
type signedQuote struct {
	QuoteHash     chain.Hash `json:"quote_hash"`
	Digest        chain.Hash `json:"digest"`
	UserSignature api.Bytes  `json:"user_signature"`
}

func newSignQuote(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a quote as its user, and send nothing (FILE, or - for standard input)",
		Long: "Sign a quote as its user, and send nothing: the solver then submits it. FILE has the quote as JSON, or a solver's\n" +
			"whole answer. The terms are shown on standard error.\nJSON: {quote_hash, digest, user_signature}.",
		Args: cli.Args("FILE"),
	}
	signer, out := cli.AddSigner(c.Flags()), cli.AddOutput(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		q, err := readQuote(args[0], std)
		if err != nil {
			return err
		}
		key, err := signer.Load(std)
		if err != nil {
			return err
		}
		plain := q.Chain()
		signature, err := wallet.New(key).SignQuote(&plain)
		if err != nil {
			return err
		}
		v := signedQuote{UserSignature: signature[:]}
		v.QuoteHash, v.Digest = solver.Digests(&plain)
		if err := new(cli.Output).Print(std.Err, nil, func(t *cli.Table) { printQuote(t, q) }); err != nil {
			return err
		}
		return out.Print(std.Out, &v, func(t *cli.Table) { t.Row(hexOf(v.UserSignature)) })
	}
	return c
}

func newSubmit(std cli.IO) *cobra.Command {
	var signature string
	o := newOrder(std, "submit FILE", "Open a thesis on a quote that its user has signed (solvers; FILE, or - for standard input)", func(args []string) (*tx.Transaction, error) {
		if signature == "" {
			return nil, cli.Usagef("--user-signature is missing: what 'kaizen tx rfq sign' prints")
		}
		sig, err := api.ParseBytes(signature)
		if err != nil || len(sig) != len(tx.Signature{}) {
			return nil, cli.Usagef("--user-signature %.40q: want 0x and 130 hex digits", signature)
		}
		q, err := readQuote(args[0], std)
		if err != nil {
			return nil, err
		}
		return &tx.Transaction{Kind: tx.KindRfqSubmit, RfqSubmit: tx.RfqSubmit{Quote: q.Chain(), UserSignature: tx.Signature(sig)}}, nil
	}, "FILE")
	o.cmd.Flags().StringVar(&signature, "user-signature", "", "the user's signature of the quote, 0x and `hex` (required)")
	return o.cmd
}

// claims are what a settler can claim, by name.
var claims = map[string]tx.SettlementKind{"user-wins": tx.UserWins, "solver-wins": tx.SolverWins, "void": tx.Void}

func newSettle(std cli.IO) *cobra.Command {
	var claim, at, price string
	o := newOrder(std, "settle ID", "Settle a thesis that no settler has settled, a minute after it was due", func(args []string) (*tx.Transaction, error) {
		id, err := parseID(args[0])
		if err != nil {
			return nil, err
		}
		if claim == "" {
			if at != "" || price != "" {
				return nil, cli.Usagef("--breach-time and --breach-price belong to --claim solver-wins")
			}
			return &tx.Transaction{Kind: tx.KindRfqSettle, RfqSettle: tx.RfqSettle{ThesisID: id}}, nil
		}
		s, err := parseClaim(claim, at, price)
		return &tx.Transaction{Kind: tx.KindSystemSettle, SystemSettle: tx.SystemSettle{ThesisID: id, Settlement: s}}, err
	}, "ID")
	f := o.cmd.Flags()
	f.StringVar(&claim, "claim", "", "as a settler, at any time: user-wins, solver-wins or void (default: anybody; the chain decides the outcome)")
	f.StringVar(&at, "breach-time", "", "of solver-wins: when the price was outside the range, `ms`")
	f.StringVar(&price, "breach-price", "", "of solver-wins: that `price`")
	return o.cmd
}

func parseClaim(claim, at, price string) (s tx.Settlement, err error) {
	kind, ok := claims[claim]
	if !ok {
		return s, cli.Usagef("--claim is %q, want user-wins, solver-wins or void", claim)
	}
	s.Kind = kind
	if given := at != "" && price != ""; kind == tx.SolverWins != given || kind != tx.SolverWins && (at != "" || price != "") {
		return s, cli.Usagef("--breach-time and --breach-price belong to --claim solver-wins, both")
	}
	if kind != tx.SolverWins {
		return s, nil
	}
	if s.BreachTimestamp, err = strconv.ParseUint(at, 10, 64); err != nil {
		return s, cli.Usagef("--breach-time %.40q: want ms", at)
	}
	if s.BreachPrice, err = cli.ParseAmount(price); err != nil {
		return s, fmt.Errorf("--breach-price: %w", err)
	}
	return s, nil
}
