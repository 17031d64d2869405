package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

func newKeyChange(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "change-password ADDRESS",
		Short: "Seal a key under another password",
		Long:  "Seal a key under another password, in the same file. The old file is only replaced when the new one has been\nopened once. A copy of the old file still opens with the old password.\nJSON: {address, path}.",
		Args:  cli.Args("ADDRESS"),
	}
	o := addKeysDir(c)
	o.addStore(c)
	fresh := cli.AddNewPassword(c.Flags())
	out := cli.AddOutput(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		a, err := parseAddress(args[0])
		if err != nil {
			return err
		}
		old, err := o.password.Read(std, fmt.Sprintf("password of %s: ", a))
		if err != nil {
			return err
		}
		password, err := fresh.ReadNew(std)
		if err != nil {
			return err
		}
		e, err := keys.Dir(o.dir).ChangePassword(a, old, password, o.cost())
		if errors.Is(err, keys.ErrNoKey) {
			return cli.Hint(err, "'kaizen key list' shows the keys that are there")
		}
		if err != nil {
			return err
		}
		return out.Print(std.Out, e, func(t *cli.Table) {
			t.Row("ADDRESS", "FILE")
			t.Row(e.Address, e.Path)
		})
	}
	return c
}

// message is what is signed or checked: an argument, a file, or standard input.
type message struct{ file string }

func addMessage(flags *pflag.FlagSet) *message {
	m := &message{}
	flags.StringVar(&m.file, "file", "", "take the message from this `file`, byte for byte; - is standard input")
	return m
}

// read takes the message from the argument that may have been given, or the file.
func (m *message) read(args []string, std cli.IO) ([]byte, error) {
	switch {
	case (m.file == "") == (len(args) == 0):
		return nil, cli.Usagef("choose one of MESSAGE and --file")
	case m.file == "":
		return []byte(args[0]), nil
	}
	return readInput(m.file, keys.MaxMessageBytes, std)
}

// signed is what `key sign` prints.
type signed struct {
	Address   chain.Address `json:"address"`
	Signature api.Bytes     `json:"signature"`
}

func newKeySign(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "sign [MESSAGE]",
		Short: "Sign a text, to prove who holds an account's key",
		Long: "Sign a text as wallets do (EIP-191, personal_sign), to prove who holds an account's key. Such a signature can be\n" +
			"neither a transaction nor a quote.\nJSON: {address, signature}; signature is r, s and v (27 or 28).",
		Example: "  kaizen key sign 'I run the read node at example.org' --account 0x…\n  kaizen key sign --file statement.txt --key-file settler.key",
		Args:    cli.Args("[MESSAGE]"),
	}
	signer := cli.AddSigner(c.Flags())
	m := addMessage(c.Flags())
	out := cli.AddOutput(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		text, err := m.read(args, std)
		if err != nil {
			return err
		}
		key, err := signer.Load(std)
		if err != nil {
			return err
		}
		sig, err := keys.SignMessage(key, text)
		if err != nil {
			return err
		}
		v := signed{key.Address(), sig[:]}
		return out.Print(std.Out, &v, func(t *cli.Table) {
			t.Row("address", v.Address)
			t.Row("signature", hexOf(v.Signature))
		})
	}
	return c
}

func newKeyVerify(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify ADDRESS SIGNATURE [MESSAGE]",
		Short: "Check who signed a text",
		Long:  "Check that the key of ADDRESS signed a text with 'kaizen key sign', or a wallet with personal_sign.\nExit code 3 if it did not.\nJSON: {address, signer, ok}.",
		Args:  cli.Args("ADDRESS", "SIGNATURE", "[MESSAGE]"),
	}
	m := addMessage(c.Flags())
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := parseAddress(args[0])
		if err != nil {
			return err
		}
		sig, err := api.ParseBytes(args[1])
		if err != nil || len(sig) != 65 {
			return &cli.UsageError{Command: c.CommandPath(), Err: fmt.Errorf("signature %.140q: want 0x and 130 hex digits", args[1])}
		}
		text, err := m.read(args[2:], std)
		if err != nil {
			return err
		}
		v := authorship{Address: a}
		if signer, ok := keys.MessageSigner(text, (*[65]byte)(sig)); ok {
			v.Signer, v.OK = &signer, signer == a
		}
		return errors.Join(out.Print(std.Out, &v, func(t *cli.Table) { printAuthorship(t, &v) }), v.err())
	}
	return c
}

// authorship is what `key verify` prints.
type authorship struct {
	Address chain.Address  `json:"address"`
	Signer  *chain.Address `json:"signer"` // null: it is no signature
	OK      bool           `json:"ok"`
}

func (v *authorship) err() error {
	switch {
	case v.OK:
		return nil
	case v.Signer == nil:
		return fmt.Errorf("%w: not a signature", node.ErrVerification)
	}
	return cli.Hint(fmt.Errorf("%w: signed by %s, not by %s", node.ErrVerification, v.Signer, v.Address),
		"a text that differs by one byte, such as a final newline, gives another signer")
}

func printAuthorship(t *cli.Table, v *authorship) {
	t.Row("address", v.Address)
	if v.Signer != nil {
		t.Row("signed by", v.Signer)
	}
	text := "yes"
	if !v.OK {
		text = "NO"
	}
	t.Row("signed by address", text)
}
