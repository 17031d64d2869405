package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

func newTrace(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "trace HASH",
		Short: "Execute a stored transaction again and show everything it did",
		Long: "Execute a stored transaction again, on the state that it was executed on, and show what the module asked of\n" +
			"its host, in order, what that changed in the state, the events, and the stack of the module if it trapped.\n" +
			"It needs no network and may be run while the node runs. Exit code 3 if the receipt is not the stored one.\n" +
			"JSON: {tx_hash, height, index, block_hash, time, transaction, raw, run}; run is {module_hash, status, error,\n" +
			"error_detail, events, calls: [{name, input, value, found, refused}], changes: [{key, name, before, after}],\n" +
			"trap, skipped}.",
		Args: cli.Args("HASH"),
	}
	flags := cli.AddConfig(c.Flags(), cli.Write, offlineKeys...)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := parseTxHash(args[0])
		if err != nil {
			return err
		}
		return offline(c.Context(), flags, std, func(ctx context.Context, cfg *cli.Config, deps node.Deps) error {
			return runTrace(ctx, id, cfg, deps, out, std)
		})
	}
	return c
}

func newTxReplay(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "replay HASH --stf FILE",
		Short: "Execute a stored transaction under another module and compare",
		Long: "Execute the block of a stored transaction, up to the transaction, under the chain's module and under another\n" +
			"one, both on the state before the block, and show what each made of the transaction: what a new version of\n" +
			"the module would have done. It needs no network, changes nothing, and may be run while the node runs.\n" +
			"Exit code 0 whether they differ or not.\n" +
			"JSON: {tx_hash, height, index, block_hash, time, transaction, raw, chain, other, same}; chain and other are\n" +
			"like run of 'tx trace', same is whether receipt and state changes are equal.",
		Args: cli.Args("HASH"),
	}
	other := c.Flags().String("stf", "", "the other module, a .wasm `file`")
	keys := slices.DeleteFunc(slices.Clone(offlineKeys), func(k string) bool { return k == "stf.file" })
	flags := cli.AddConfig(c.Flags(), cli.Write, keys...)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := parseTxHash(args[0])
		if err != nil {
			return err
		}
		if *other == "" {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("--stf is missing: the module to compare with")}
		}
		return offline(c.Context(), flags, std, func(ctx context.Context, cfg *cli.Config, deps node.Deps) error {
			return runTxReplay(ctx, id, *other, cfg, deps, out, std)
		})
	}
	return c
}

// tracedTx is what both verbs print about the transaction itself.
type tracedTx struct {
	TxHash      chain.Hash          `json:"tx_hash"`
	Height      uint64              `json:"height"`
	Index       int                 `json:"index"`
	BlockHash   chain.Hash          `json:"block_hash"`
	Time        uint64              `json:"time"`
	Transaction *market.Transaction `json:"transaction,omitempty"` // of a chain with a market
	Raw         api.Bytes           `json:"raw"`
}

// tracedRun is what one module made of it.
type tracedRun struct {
	ModuleHash  chain.Hash     `json:"module_hash"`
	Status      string         `json:"status"`
	Error       string         `json:"error,omitempty"`
	ErrorDetail string         `json:"error_detail,omitempty"`
	Events      []api.Event    `json:"events"`
	Calls       []tracedCall   `json:"calls"`
	Changes     []tracedChange `json:"changes"`
	Trap        string         `json:"trap,omitempty"`
	Skipped     int            `json:"skipped,omitempty"`
}

type tracedCall struct {
	Name    string    `json:"name"`
	Input   api.Bytes `json:"input"`
	Value   api.Bytes `json:"value,omitempty"`
	Found   bool      `json:"found,omitempty"`
	Refused string    `json:"refused,omitempty"`
}

// tracedChange is a key before and after; null is absent.
type tracedChange struct {
	Key    api.Bytes  `json:"key"`
	Name   string     `json:"name,omitempty"` // of a key of the market
	Before *api.Bytes `json:"before"`
	After  *api.Bytes `json:"after"`
}

func runTrace(ctx context.Context, id chain.Hash, cfg *cli.Config, deps node.Deps, out *cli.Output, std cli.IO) error {
	traces, schemas, err := traceUnder(ctx, id, cfg, deps, std, cfg.STF.File)
	if err != nil {
		return err
	}
	v := struct {
		tracedTx
		Run tracedRun `json:"run"`
	}{tracedTxOf(traces[0], schemas[0]), runOf(traces[0], schemas[0])}
	return out.Print(std.Out, v, func(t *cli.Table) {
		printTracedTx(t, &v.tracedTx)
		printRun(t, &v.Run)
	})
}

func runTxReplay(ctx context.Context, id chain.Hash, other string, cfg *cli.Config, deps node.Deps, out *cli.Output, std cli.IO) error {
	traces, schemas, err := traceUnder(ctx, id, cfg, deps, std, cfg.STF.File, other)
	if err != nil {
		return err
	}
	v := struct {
		tracedTx
		Chain tracedRun `json:"chain"`
		Other tracedRun `json:"other"`
		Same  bool      `json:"same"`
	}{tracedTxOf(traces[0], schemas[0]), runOf(traces[0], schemas[0]), runOf(traces[1], schemas[1]), sameOutcome(traces[0], traces[1])}
	return out.Print(std.Out, v, func(t *cli.Table) {
		printTracedTx(t, &v.tracedTx)
		t.Line("")
		t.Line("THE CHAIN'S MODULE")
		printRun(t, &v.Chain)
		t.Line("")
		t.Line("THE OTHER MODULE")
		printRun(t, &v.Other)
		t.Line("")
		t.Row("receipt and state changes", map[bool]string{true: "the same", false: "DIFFERENT"}[v.Same])
	})
}

// traceUnder traces under each of the modules in files.
func traceUnder(ctx context.Context, id chain.Hash, cfg *cli.Config, deps node.Deps, std cli.IO, files ...string) (traces []*node.TxTrace, schemas []*stf.Schema, err error) {
	var modules []node.Traced
	for _, file := range files {
		c, r := cfg.Config, &node.Recorder{}
		c.STF.File = file
		p, err := node.LoadTraced(ctx, &c, deps.Log, r)
		if err != nil {
			return nil, nil, err
		}
		defer p.Close()
		modules, schemas = append(modules, node.Traced{Program: p, Recorder: r}), append(schemas, p.Schema())
	}
	bar := cli.NewProgress(std.Err, deps.Log, "replay", "blocks")
	traces, err = node.TraceTx(ctx, cfg.DataDir, deps, id, progressOf(bar), modules...)
	bar.Done()
	if errors.Is(err, store.ErrNotFound) {
		err = cli.Hint(err, "is it in a sealed block of the chain in %s? 'kaizen query receipt' asks a node", cfg.DataDir)
	}
	return traces, schemas, err
}

func tracedTxOf(t *node.TxTrace, schema *stf.Schema) tracedTx {
	v := tracedTx{TxHash: t.ID, Height: t.Height, Index: t.Index, BlockHash: t.Block, Time: t.Time, Raw: t.Raw}
	if schema.Name == market.Name {
		v.Transaction, _ = market.Decode(t.Raw) // without it there is Raw
	}
	return v
}

func runOf(t *node.TxTrace, schema *stf.Schema) tracedRun {
	r := tracedRun{ModuleHash: t.Module, Status: api.StatusOK, Skipped: t.Skipped, Events: []api.Event{}, Calls: []tracedCall{}, Changes: []tracedChange{}}
	switch {
	case t.Receipt == nil:
		r.Status, r.Error = api.StatusRefused, t.Refusal.Error()
	case t.Receipt.Code != 0:
		r.Status, r.Error, r.ErrorDetail = api.StatusFailed, schema.ErrorName(t.Receipt.Code), t.Receipt.Detail
	}
	if t.Receipt != nil {
		for _, b := range t.Receipt.Events {
			r.Events = append(r.Events, eventOf(b, schema))
		}
	}
	for i := range t.Calls {
		c := &t.Calls[i]
		r.Calls = append(r.Calls, tracedCall{c.Name, c.Input, c.Value, c.Found, c.Refused})
	}
	for i := range t.Changes {
		c := &t.Changes[i]
		v := tracedChange{Key: c.Key, Before: orNull(c.Before), After: orNull(c.After)}
		if schema.Name == market.Name {
			v.Name, _ = market.StateKey(c.Key)
		}
		r.Changes = append(r.Changes, v)
	}
	if t.Trap != nil {
		r.Trap = t.Trap.Error()
	}
	return r
}

func eventOf(b []byte, schema *stf.Schema) api.Event {
	typ, fields := schema.Event(b)
	e := api.Event{Type: typ}
	for _, f := range fields {
		v := f.Value
		if n, ok := v.(uint8); ok {
			v = uint64(n) // as the RPC has it
		}
		e.Fields = append(e.Fields, api.Field{Name: f.Name, Value: v})
	}
	return e
}

func orNull(b []byte) *api.Bytes {
	if b == nil {
		return nil
	}
	return (*api.Bytes)(&b)
}

// sameOutcome compares what reaches roots: receipt and state.
func sameOutcome(a, b *node.TxTrace) bool {
	if a.Receipt == nil || b.Receipt == nil {
		return a.Receipt == b.Receipt
	}
	return bytes.Equal(a.Receipt.Append(nil), b.Receipt.Append(nil)) && slices.EqualFunc(a.Changes, b.Changes, func(x, y node.KeyChange) bool {
		return bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Before, y.Before) && bytes.Equal(x.After, y.After)
	})
}

func printTracedTx(t *cli.Table, v *tracedTx) {
	t.Row("transaction", v.TxHash)
	t.Row("block", fmt.Sprintf("%d %s, index %d", v.Height, v.BlockHash, v.Index))
	t.Row("time", v.Time)
	if v.Transaction != nil {
		t.Row("kind", v.Transaction.Kind)
		t.Row("from", v.Transaction.From)
	}
}

func printRun(t *cli.Table, r *tracedRun) {
	t.Row("module", r.ModuleHash)
	t.Row("status", r.Status)
	if r.Error != "" {
		t.Row("error", r.Error)
	}
	if r.ErrorDetail != "" {
		t.Row("detail", r.ErrorDetail)
	}
	if r.Skipped > 0 {
		t.Row("before it", fmt.Sprintf("%d transactions of the block that this module refuses", r.Skipped))
	}
	for i := range r.Events {
		t.Row("event", eventText(&r.Events[i]))
	}
	t.Line("")
	t.Line("%d host calls", len(r.Calls))
	t.Row("#", "CALL", "INPUT", "ANSWER")
	for i := range r.Calls {
		c := &r.Calls[i]
		t.Row(i+1, c.Name, c.given(), c.answer())
	}
	t.Line("")
	t.Line("%d keys changed", len(r.Changes))
	t.Row("KEY", "NAME", "BEFORE", "AFTER")
	for i := range r.Changes {
		c := &r.Changes[i]
		t.Row(brief(c.Key), c.Name, briefOrAbsent(c.Before), briefOrAbsent(c.After))
	}
	if r.Trap != "" {
		t.Line("")
		t.Line("trap")
		for line := range strings.Lines(r.Trap) {
			t.Line("  %s", strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "  "))
		}
	}
}

// given is the input, as text where the module means it as such.
func (c *tracedCall) given() string {
	if c.Name == abi.ImportOutput || c.Name == abi.ImportLog {
		return fmt.Sprintf("%q", c.Input)
	}
	return brief(c.Input)
}

func (c *tracedCall) answer() string {
	switch {
	case c.Refused != "":
		return "refused: " + c.Refused
	case c.Value != nil:
		return brief(c.Value)
	case c.Name == abi.ImportStateGet:
		return "absent"
	}
	return ""
}

// brief is the beginning of bytes, in hex; all of them are in the JSON.
func brief(b []byte) string {
	const most = 36
	if len(b) <= most {
		return "0x" + hex.EncodeToString(b)
	}
	return fmt.Sprintf("0x%x… %d bytes", b[:most-4], len(b))
}

func briefOrAbsent(b *api.Bytes) string {
	if b == nil {
		return "absent"
	}
	return brief(*b)
}
