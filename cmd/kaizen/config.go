package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
)

func newConfig(std cli.IO) *cobra.Command {
	return cli.Group("config", "Write, show and check configuration", newConfigInit(std), newConfigView(), newConfigValidate())
}

// addRead lets a config verb speak of a read node's defaults.
func addRead(c *cobra.Command) *bool {
	return c.Flags().Bool("read", false, "for a read node, whose default ports differ")
}

func roleOf(read bool) cli.Role {
	if read {
		return cli.Read
	}
	return cli.Write
}

func newConfigInit(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a config file with a comment for every key",
		Long: "Write a config file with a comment for every key: to FILE, or to standard output if FILE is -.\n" +
			"Without FILE it is config.toml in the data directory. An existing file is left alone. Flags and\n" +
			"variables that set values end up in the file.",
		Args: cli.Args("[FILE]"),
	}
	read := addRead(c)
	flags := cli.AddConfig(c.Flags(), cli.Write)
	c.RunE = func(_ *cobra.Command, args []string) error {
		cfg, err := flags.Load(roleOf(*read))
		if err != nil {
			return err
		}
		name := filepath.Join(cfg.DataDir, cli.ConfigName)
		if len(args) == 1 {
			name = args[0]
		}
		return runConfigInit(name, cli.WriteConfigFile(&cfg.Config, roleOf(*read)), std)
	}
	return c
}

func runConfigInit(name, text string, std cli.IO) error {
	if name == "-" {
		_, err := io.WriteString(std.Out, text)
		return err
	}
	if err := writeNewFile(name, text); err != nil {
		return cli.Hint(err, "'kaizen config init FILE' writes to another place, 'kaizen config init -' to standard output")
	}
	fmt.Fprintf(std.Err, "wrote %s\n", name)
	return nil
}

// writeNewFile never overwrites.
func writeNewFile(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(f, text); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}

func newConfigView() *cobra.Command {
	c := &cobra.Command{
		Use:   "view",
		Short: "Show every setting in force and where it comes from",
		Long:  "Show every setting in force and where it comes from: default, config file with line, environment, or flag.\nJSON: a list of {key, value, origin, accepts}.",
		Args:  cli.Args(),
	}
	read := addRead(c)
	flags := cli.AddConfig(c.Flags(), cli.Write)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := flags.Load(roleOf(*read))
		if err != nil {
			return err
		}
		return out.Print(c.OutOrStdout(), cfg.Values, func(t *cli.Table) {
			t.Row("KEY", "VALUE", "ORIGIN")
			for _, v := range cfg.Values {
				t.Row(v.Key, v.Value, v.Origin)
			}
		})
	}
	return c
}

func newConfigValidate() *cobra.Command {
	c := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a config file, with the environment, without starting anything",
		Args:  cli.Args("[FILE]"),
	}
	read := addRead(c)
	flags := cli.AddConfig(c.Flags(), cli.Write)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			if err := c.Flags().Set("config", args[0]); err != nil {
				return err
			}
		}
		cfg, err := flags.Load(roleOf(*read))
		if err != nil {
			return err
		}
		v := validation{File: cfg.File, OK: true, UnknownVariables: cfg.Unknown}
		return out.Print(c.OutOrStdout(), v, func(t *cli.Table) {
			t.Row(orNone(v.File), "ok")
			for _, name := range v.UnknownVariables {
				t.Row(name, "is set and is no setting")
			}
		})
	}
	return c
}

type validation struct {
	File             string   `json:"file"`
	OK               bool     `json:"ok"`
	UnknownVariables []string `json:"unknown_variables,omitempty"`
}

func orNone(file string) string {
	if file == "" {
		return "no config file, defaults and environment"
	}
	return file
}
