package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
)

func newConfig(std cli.IO) *cobra.Command {
	return cli.Group("config", "Write, show and check configuration", newConfigInit(std), newConfigView(), newConfigValidate(), newConfigDiff())
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
	if err := writeNew(name, []byte(text)); err != nil {
		return cli.Hint(err, "'kaizen config init FILE' writes to another place, 'kaizen config init -' to standard output")
	}
	fmt.Fprintf(std.Err, "wrote %s\n", name)
	return nil
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

func newConfigDiff() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff [FILE [FILE]]",
		Short: "Show what differs from the defaults, or between two config files",
		Long: "Show the settings in force that are not the defaults; with one FILE those of the file, with two what\n" +
			"differs between them. Variables and flags count for both sides.\nJSON: a list of {key, left, right, left_origin, right_origin}.",
		Example: "  kaizen config diff --data-dir write\n  kaizen config diff old.toml new.toml",
		Args:    cli.Args("[FILE]..."),
	}
	read := addRead(c)
	flags := cli.AddConfig(c.Flags(), cli.Write)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 2 {
			return &cli.UsageError{Command: c.CommandPath(), Err: fmt.Errorf("%d files, want at most 2", len(args))}
		}
		left, right, err := sides(c, flags, roleOf(*read), args)
		if err != nil {
			return err
		}
		v := diff(left, right)
		return out.Print(c.OutOrStdout(), v, func(t *cli.Table) {
			t.Row("KEY", "LEFT", "RIGHT", "FROM")
			for _, d := range v {
				t.Row(d.Key, fmt.Sprint(d.Left), fmt.Sprint(d.Right), d.RightOrigin)
			}
		})
	}
	return c
}

// sides are what is compared: the defaults and the settings in force, the
// defaults and a file, or two files.
func sides(c *cobra.Command, flags *cli.ConfigFlags, role cli.Role, files []string) (left, right []cli.Value, err error) {
	load := func(file string) ([]cli.Value, error) {
		if file != "" {
			if err := c.Flags().Set("config", file); err != nil {
				return nil, err
			}
		}
		cfg, err := flags.Load(role)
		if err != nil {
			return nil, err
		}
		return cfg.Values, nil
	}
	if len(files) == 2 {
		if left, err = load(files[0]); err != nil {
			return nil, nil, err
		}
		right, err = load(files[1])
		return left, right, err
	}
	if right, err = load(strings.Join(files, "")); err != nil {
		return nil, nil, err
	}
	return cli.DefaultValues(role), right, nil
}

// difference is a setting that two configurations have different values of.
type difference struct {
	Key         string `json:"key"`
	Left        any    `json:"left"`
	Right       any    `json:"right"`
	LeftOrigin  string `json:"left_origin"`
	RightOrigin string `json:"right_origin"`
}

// diff compares two lists of all settings, which are in the same order.
func diff(left, right []cli.Value) []difference {
	all := []difference{}
	for i, l := range left {
		if r := right[i]; fmt.Sprint(l.Value) != fmt.Sprint(r.Value) {
			all = append(all, difference{l.Key, l.Value, r.Value, l.Origin, r.Origin})
		}
	}
	return all
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
