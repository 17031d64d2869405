package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/cmd/internal/wallet"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

func newTx(std cli.IO) *cobra.Command {
	return cli.Group("tx", "Sign transactions and send them, look into those that are stored",
		newTransfer(std), newNominate(std), newRevoke(std), newDeposit(std), newWithdraw(std), newProcessWithdrawal(std), newRfq(std), newAdmin(std), newSend(std), newTrace(std), newTxReplay(std))
}

// order is a verb that sends one transaction.
type order struct {
	cmd      *cobra.Command
	remote   *remote
	signer   *cli.SignerFlags
	out      *cli.Output
	from     string
	print    bool
	delivery delivery
}

// How long a verb waits for the block that its transaction is in.
const (
	sealWait = 5 * time.Second
	sealPoll = 20 * time.Millisecond
)

const txLong = "\nAmounts are USDC with at most six decimals: 12.5. The transaction is final when it is answered; the verb then\n" +
	"waits for its block to be sealed, so that a query sees it, unless --no-wait. Exit code 1 if it was refused or failed.\n" +
	"JSON: the receipt {tx_hash, height, index, status, error, events}."

// newOrder makes such a verb; build fills in what is special about it.
func newOrder(std cli.IO, use, short string, build func(args []string) (*tx.Transaction, error), args ...string) *order {
	o := &order{cmd: &cobra.Command{Use: use, Short: short, Long: short + "." + txLong, Args: cli.Args(args...)}}
	f := o.cmd.Flags()
	o.remote, o.signer, o.out = addRemote(f), cli.AddSigner(f), cli.AddOutput(o.cmd)
	f.StringVar(&o.from, "from", "", "`address` of the account, if an API wallet of it signs (default: the signer's own)")
	o.delivery.add(f)
	f.BoolVar(&o.print, "print", false, "print the signed transaction as hex and do not send it")
	o.cmd.RunE = func(c *cobra.Command, args []string) error {
		if o.delivery.simulate && o.print {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("choose one of --simulate and --print")}
		}
		if err := o.delivery.valid(c); err != nil {
			return err
		}
		t, err := build(args)
		if err != nil {
			return err
		}
		return runOrder(c.Context(), o, t, std)
	}
	return o
}

func runOrder(ctx context.Context, o *order, t *tx.Transaction, std cli.IO) error {
	key, err := o.signer.Load(std)
	if err != nil {
		return err
	}
	w := wallet.New(key)
	t.From, t.Timestamp = tx.Address(w.Address), uint64(time.Now().UnixMilli())
	if o.from != "" {
		from, err := parseAddress(o.from)
		if err != nil {
			return err
		}
		t.From = tx.Address(from)
	}
	raw, _, err := w.Sign(t)
	if err != nil {
		return err
	}
	if o.print {
		_, err := fmt.Fprintf(std.Out, "0x%x\n", raw)
		return err
	}
	return submit(ctx, o.remote, o.out, raw, o.delivery, std)
}

// failure is a transaction that is in a block and changed nothing.
type failure struct{ receipt *api.Receipt }

func (f *failure) Error() string {
	text := "transaction failed: " + errorOf(f.receipt)
	if f.receipt.ErrorDetail != "" {
		text += ": " + f.receipt.ErrorDetail
	}
	return text
}

// delivery is how a transaction is sent.
type delivery struct {
	simulate, hurry bool
	after           string // the block after which it is simulated
}

func (d *delivery) add(f *pflag.FlagSet) {
	f.BoolVar(&d.simulate, "simulate", false, "show what would happen and change nothing")
	f.StringVar(&d.after, "height", string(api.TagLatest), "with --simulate: after which block, by height, hash or `tag`")
	f.BoolVar(&d.hurry, "no-wait", false, "return as soon as it is executed and durable, before its block is sealed")
}

// valid refuses a height that says nothing: whoever gives one wants nothing sent.
func (d *delivery) valid(c *cobra.Command) error {
	if c.Flags().Changed("height") && !d.simulate {
		return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("--height is about --simulate, and there is none; nothing was sent")}
	}
	return nil
}

// submit sends a signed transaction, prints its receipt, and fails if it did.
func submit(ctx context.Context, r *remote, out *cli.Output, raw []byte, how delivery, std cli.IO) error {
	return r.use(ctx, func(ctx context.Context, c *client.Client) error {
		receipt, err := how.deliver(ctx, c, raw)
		if err != nil {
			return err
		}
		if err := out.Print(std.Out, &receipt, func(t *cli.Table) { how.print(t, &receipt) }); err != nil {
			return err
		}
		if receipt.Status == api.StatusOK {
			return nil
		}
		err = &failure{&receipt}
		if advice, ok := moduleAdvice[errorOf(&receipt)]; ok {
			err = cli.Hint(err, "%s", advice)
		}
		return err
	})
}

func (d delivery) print(t *cli.Table, r *api.Receipt) {
	if !d.simulate {
		printReceipt(t, r)
		return
	}
	printOutcome(t, r)
	if r.Block != nil {
		t.Row("simulated after", fmt.Sprintf("block %s; nothing was changed", r.Block))
	}
}

func (d delivery) deliver(ctx context.Context, c *client.Client, raw []byte) (api.Receipt, error) {
	if d.simulate {
		at, err := parseRef(d.after)
		if err != nil {
			return api.Receipt{}, err
		}
		return c.Simulate(ctx, raw, at)
	}
	receipt, err := c.SendTransaction(ctx, raw)
	if err != nil || d.hurry {
		return receipt, err
	}
	awaitSeal(ctx, c, receipt.Height)
	return receipt, nil
}

// awaitSeal waits until a block is sealed. That it takes long is no failure: the
// transaction is durable, and the receipt is the answer.
func awaitSeal(ctx context.Context, c *client.Client, height uint64) {
	ctx, cancel := context.WithTimeout(ctx, sealWait)
	defer cancel()
	poll := time.NewTicker(sealPoll)
	defer poll.Stop()
	for {
		_, err := c.Header(ctx, api.At(height))
		var answer *client.Error
		if err == nil || !errors.As(err, &answer) || answer.Code != api.CodeBlockNotFound {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

func newTransfer(std cli.IO) *cobra.Command {
	o := newOrder(std, "transfer TO AMOUNT", "Move USDC to another account", func(args []string) (*tx.Transaction, error) {
		to, err := parseAddress(args[0])
		if err != nil {
			return nil, err
		}
		amount, err := cli.ParseAmount(args[1])
		return &tx.Transaction{Kind: tx.KindTransfer, Transfer: tx.Transfer{To: tx.Address(to), Amount: amount}}, err
	}, "TO", "AMOUNT")
	o.cmd.Example = "  kaizen tx transfer 0x70997970c51812dc3a010c7d01b50e0d17dc79c8 12.5 --dev-account 0"
	return o.cmd
}

func newNominate(std cli.IO) *cobra.Command {
	var until string
	o := newOrder(std, "nominate WALLET", "Let another key sign revocations, quotes and settlements for the account", func(args []string) (*tx.Transaction, error) {
		w, err := parseAddress(args[0])
		if err != nil {
			return nil, err
		}
		end, err := parseExpiry(until, time.Now())
		return &tx.Transaction{Kind: tx.KindNominateApiWallet, NominateApiWallet: tx.NominateApiWallet{Wallet: tx.Address(w), Expiry: end}}, err
	}, "WALLET")
	o.cmd.Flags().StringVar(&until, "expires", "never", "when that ends: `never`, a duration such as 24h, or a time such as 2026-12-31T00:00:00Z")
	return o.cmd
}

// parseExpiry is the end of a nomination, ms; 0 is never.
func parseExpiry(s string, now time.Time) (uint64, error) {
	if s == "never" {
		return 0, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return uint64(now.Add(d).UnixMilli()), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil && t.After(now) {
		return uint64(t.UnixMilli()), nil
	}
	return 0, cli.Usagef("--expires %q: want never, a positive duration such as 24h, or a future time such as 2026-12-31T00:00:00Z", s)
}

func newRevoke(std cli.IO) *cobra.Command {
	return newOrder(std, "revoke WALLET", "End an API wallet's right to sign for the account", func(args []string) (*tx.Transaction, error) {
		w, err := parseAddress(args[0])
		return &tx.Transaction{Kind: tx.KindRevokeApiWallet, RevokeApiWallet: tx.RevokeApiWallet{Wallet: tx.Address(w)}}, err
	}, "WALLET").cmd
}

// addExternalTx gives a relayer's verb the transaction on the other chain.
func addExternalTx(c *cobra.Command, hash *string) {
	c.Flags().StringVar(hash, "external-tx", "", "`hash` of the transaction on the other chain (required)")
}

func parseExternalTx(s string) (tx.Hash, error) {
	if s == "" {
		return tx.Hash{}, cli.Usagef("--external-tx is missing: the hash of the transaction on the other chain")
	}
	h, err := chain.ParseHash(s)
	if err != nil {
		return tx.Hash{}, &cli.UsageError{Err: fmt.Errorf("--external-tx: %w", err)}
	}
	return tx.Hash(h), nil
}

func newDeposit(std cli.IO) *cobra.Command {
	var external string
	o := newOrder(std, "deposit USER AMOUNT", "Credit a user for money that arrived on another chain (relayers)", func(args []string) (*tx.Transaction, error) {
		user, err := parseAddress(args[0])
		if err != nil {
			return nil, err
		}
		amount, err := cli.ParseAmount(args[1])
		if err != nil {
			return nil, err
		}
		hash, err := parseExternalTx(external)
		return &tx.Transaction{Kind: tx.KindDeposit, Deposit: tx.Deposit{User: tx.Address(user), Amount: amount, ExternalTxHash: hash}}, err
	}, "USER", "AMOUNT")
	addExternalTx(o.cmd, &external)
	return o.cmd
}

func newWithdraw(std cli.IO) *cobra.Command {
	var to string
	o := newOrder(std, "withdraw AMOUNT", "Ask for USDC to be paid out on another chain", func(args []string) (*tx.Transaction, error) {
		amount, err := cli.ParseAmount(args[0])
		if err != nil {
			return nil, err
		}
		if to == "" {
			return nil, cli.Usagef("--to is missing: the address on the other chain that is paid")
		}
		destination, err := parseAddress(to)
		return &tx.Transaction{Kind: tx.KindWithdraw, Withdraw: tx.Withdraw{Amount: amount, Destination: tx.Address(destination)}}, err
	}, "AMOUNT")
	o.cmd.Flags().StringVar(&to, "to", "", "`address` on the other chain (required)")
	return o.cmd
}

func newProcessWithdrawal(std cli.IO) *cobra.Command {
	var external string
	o := newOrder(std, "process-withdrawal ID", "Report that a withdrawal was paid out (relayers)", func(args []string) (*tx.Transaction, error) {
		id, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return nil, cli.Usagef("withdrawal id %.40q: want a whole number", args[0])
		}
		hash, err := parseExternalTx(external)
		return &tx.Transaction{Kind: tx.KindProcessWithdrawal, ProcessWithdrawal: tx.ProcessWithdrawal{WithdrawalID: id, ExternalTxHash: hash}}, err
	}, "ID")
	addExternalTx(o.cmd, &external)
	return o.cmd
}

// newSend sends what was signed elsewhere, by --print or another wallet.
func newSend(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "send HEX",
		Short: "Send a transaction that is signed already (HEX, or - for standard input)",
		Args:  cli.Args("HEX"),
	}
	r, out := addRemote(c.Flags()), cli.AddOutput(c)
	var how delivery
	how.add(c.Flags())
	c.Long = c.Short + "." + txLong
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := how.valid(c); err != nil {
			return err
		}
		raw, err := readHex(args[0], std.In)
		if err != nil {
			return err
		}
		return submit(c.Context(), r, out, raw, how, std)
	}
	return c
}

func readHex(arg string, in io.Reader) ([]byte, error) {
	if arg == "-" {
		b, err := io.ReadAll(io.LimitReader(in, 2*abi.MaxTxBytes+16))
		if err != nil {
			return nil, err
		}
		arg = strings.TrimSpace(string(b))
	}
	raw, err := api.ParseBytes(arg)
	if err == nil && (len(raw) == 0 || len(raw) > abi.MaxTxBytes) {
		err = fmt.Errorf("%d bytes, want 1 to %d", len(raw), abi.MaxTxBytes)
	}
	if err != nil {
		return nil, cli.Usagef("transaction %w", err)
	}
	return raw, nil
}
