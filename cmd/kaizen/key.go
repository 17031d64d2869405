package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/secp"
)

// maxKeyInput bounds a private key that is piped in, bytes.
const maxKeyInput = 256

// keyOptions is what all key verbs share.
type keyOptions struct {
	dir      string
	light    bool
	password *cli.PasswordFlag
}

func newKey(std cli.IO) *cobra.Command {
	return cli.Group("key", "Make, keep and use account keys (web3 keystore files)",
		newKeyNew(std), newKeyList(), newKeyImport(std), newKeyExport(std), newKeyChange(std), newKeySign(std), newKeyVerify(std))
}

func addKeysDir(c *cobra.Command) *keyOptions {
	o := &keyOptions{}
	c.Flags().StringVar(&o.dir, "keys", string(cli.KeysDir(cli.DefaultDataDir())), "`directory` of the key files")
	cli.ShowHome(c.Flags(), "keys")
	return o
}

func (o *keyOptions) addStore(c *cobra.Command) {
	o.password = cli.AddPassword(c.Flags())
	c.Flags().BoolVar(&o.light, "light", false, "cheaper password stretching: faster to open, and to guess")
}

func newKeyNew(std cli.IO) *cobra.Command {
	c := &cobra.Command{Use: "new", Short: "Make a key and seal it under a password", Args: cli.Args()}
	o := addKeysDir(c)
	o.addStore(c)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		key, err := secp.GenerateKey()
		if err != nil {
			return err
		}
		return o.store(key, std, out)
	}
	return c
}

// store seals key and prints where it is.
func (o *keyOptions) store(key *secp.Key, std cli.IO, out *cli.Output) error {
	password, err := o.password.ReadNew(std)
	if err != nil {
		return err
	}
	entry, err := keys.Dir(o.dir).Store(key, password, o.cost())
	if err != nil {
		return err
	}
	return out.Print(std.Out, entry, func(t *cli.Table) {
		t.Row("ADDRESS", "FILE")
		t.Row(entry.Address, entry.Path)
	})
}

func (o *keyOptions) cost() keys.Cost {
	if o.light {
		return keys.Light
	}
	return keys.Strong
}

func newKeyList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the keys of the directory", Args: cli.Args()}
	o := addKeysDir(c)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		entries, err := keys.Dir(o.dir).List()
		if err != nil {
			return err
		}
		if entries == nil {
			entries = []keys.Entry{} // [] in JSON
		}
		return out.Print(c.OutOrStdout(), entries, func(t *cli.Table) {
			t.Row("ADDRESS", "FILE")
			for _, e := range entries {
				t.Row(e.Address, e.Path)
			}
		})
	}
	return c
}

func newKeyImport(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Seal a private key (hex, from FILE or - for standard input) under a password",
		Args:  cli.Args("FILE"),
	}
	o := addKeysDir(c)
	o.addStore(c)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		key, err := readKey(args[0], std.In)
		if err != nil {
			return err
		}
		return o.store(key, std, out)
	}
	return c
}

func readKey(name string, in io.Reader) (*secp.Key, error) {
	if name != "-" {
		return keys.ReadHexFile(name)
	}
	b, err := io.ReadAll(io.LimitReader(in, maxKeyInput))
	if err != nil {
		return nil, err
	}
	return secp.ParseKey(string(bytes.TrimSpace(b)))
}

func newKeyExport(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "export ADDRESS",
		Short: "Write a key as hex, unsealed, to a new file with mode 0600",
		Args:  cli.Args("ADDRESS"),
	}
	o := addKeysDir(c)
	o.password = cli.AddPassword(c.Flags())
	to := c.Flags().String("to", "", "`file` to write; - prints the key")
	c.RunE = func(c *cobra.Command, args []string) error {
		address, err := chain.ParseAddress(args[0])
		if err != nil {
			return &cli.UsageError{Command: c.CommandPath(), Err: err}
		}
		if *to == "" {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("--to is missing: the file to write")}
		}
		return runKeyExport(o, address, *to, std)
	}
	return c
}

func runKeyExport(o *keyOptions, address chain.Address, to string, std cli.IO) error {
	entry, err := keys.Dir(o.dir).Find(address)
	if err != nil {
		return cli.Hint(err, "'kaizen key list' shows the keys that are there")
	}
	password, err := o.password.Read(std, fmt.Sprintf("password of %s: ", entry.Path))
	if err != nil {
		return err
	}
	key, err := keys.Load(entry.Path, password)
	if err != nil {
		return err
	}
	if to == "-" {
		_, err := fmt.Fprintf(std.Out, "%x\n", key.Bytes())
		return err
	}
	if err := keys.WriteHexFile(to, key); err != nil {
		return err
	}
	fmt.Fprintf(std.Err, "wrote %s; whoever reads it owns the account\n", to)
	return nil
}
