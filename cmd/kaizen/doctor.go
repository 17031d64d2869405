package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/cmd/internal/doctor"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

func newDoctor(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with a node, its directory and its machine, and what to do",
		Long: "Examine configuration, data directory, key, module, blocks, snapshots, disk, memory, limits, clock, ports,\n" +
			"the price service, the node that is followed, and the node itself if it runs. Nothing is changed. The role is\n" +
			"that of the directory: a write node's has a sequencer.key.\n\n" +
			"--bundle writes a .tar.gz for whoever helps: findings, configuration, names and sizes of files, metrics and\n" +
			"status. It has no keys, passwords or tokens, and no account data.\n\n" +
			"Exit codes: 0 nothing FAILED (there may be warnings), 1 something did.\n" +
			"JSON: {ok, findings: [{check, result: ok|skipped|warning|FAILED, detail, advice}], bundle}.",
		Example: "  kaizen doctor --config /etc/kaizen/config.toml\n  kaizen doctor --data-dir read --write-node ws://localhost:9000 --bundle doctor.tar.gz",
		Args:    cli.Args(),
	}
	flags := cli.AddConfig(c.Flags(), cli.Write)
	bundle := c.Flags().String("bundle", "", "write what was found to this new `file` (.tar.gz)")
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		p, err := newPatient(flags)
		if err != nil {
			return err
		}
		return runDoctor(c.Context(), p, *bundle, out, std)
	}
	return c
}

// newPatient loads the configuration with the defaults of the directory's role.
func newPatient(flags *cli.ConfigFlags) (*doctor.Patient, error) {
	cfg, err := flags.Load(cli.Write)
	if err != nil {
		return nil, err
	}
	role := api.RoleWrite
	if !hasSequencerKey(cfg.DataDir) && cfg.Sync.WriteNode != "" || isReadDir(cfg.DataDir) {
		role = api.RoleRead
		if cfg, err = flags.Load(cli.Read); err != nil {
			return nil, err
		}
	}
	p := &doctor.Patient{Config: cfg.Config, Role: role, File: cfg.File, Unknown: cfg.Unknown, Now: func() uint64 { return uint64(time.Now().UnixMilli()) }}
	for _, v := range cfg.Values {
		p.Settings = append(p.Settings, doctor.Setting{Key: v.Key, Value: v.Value, Origin: v.Origin})
	}
	if g, err := readGenesis(cfg.DataDir); err == nil {
		if err := adoptGenesis(cfg, g); err == nil { // what differs is a finding
			p.Config = cfg.Config
		}
	}
	return p, nil
}

// isReadDir says whether a directory holds a chain and no key.
func isReadDir(dir string) bool {
	_, err := readGenesis(dir)
	return err == nil && !hasSequencerKey(dir)
}

// examination is what doctor prints.
type examination struct {
	OK       bool             `json:"ok"` // nothing failed
	Findings []doctor.Finding `json:"findings"`
	Bundle   string           `json:"bundle,omitempty"`
}

// errFindings is returned when a check failed; what it was has been printed.
var errFindings = errors.New("something is wrong")

func runDoctor(ctx context.Context, p *doctor.Patient, bundle string, out *cli.Output, std cli.IO) error {
	v := examination{OK: true, Findings: doctor.Examine(ctx, p)}
	var names []string
	for _, f := range v.Findings {
		if f.Result == doctor.Fail {
			v.OK = false
			names = append(names, f.Check)
		}
	}
	if bundle != "" {
		if err := writeBundle(ctx, bundle, p, v.Findings); err != nil {
			return err
		}
		v.Bundle = bundle
	}
	err := out.Print(std.Out, &v, func(t *cli.Table) { printFindings(t, &v) })
	if !v.OK {
		err = errors.Join(err, fmt.Errorf("%w: %q", errFindings, names))
	}
	return err
}

func printFindings(t *cli.Table, v *examination) {
	for _, f := range v.Findings {
		t.Row(f.Check, f.Result, f.Detail)
		if f.Advice != "" {
			t.Row("", "", "  do: "+f.Advice)
		}
	}
	if v.Bundle != "" {
		t.Line("wrote %s", v.Bundle)
	}
}

// writeBundle never overwrites, and leaves no half a file.
func writeBundle(ctx context.Context, name string, p *doctor.Patient, findings []doctor.Finding) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(doctor.WriteBundle(ctx, f, p, findings), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(name))
	}
	return nil
}
