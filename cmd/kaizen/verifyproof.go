package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/host/state/proof"
)

// proofVerdict is what `verify proof` prints.
type proofVerdict struct {
	Key       api.Bytes   `json:"key"`
	Name      string      `json:"name,omitempty"` // what it is in the market, if it is a key of it
	Value     *api.Bytes  `json:"value"`          // null: proven absent
	Height    *uint64     `json:"height"`         // null with --root
	BlockHash *chain.Hash `json:"block_hash"`
	StateRoot chain.Hash  `json:"state_root"`
	Sequencer api.Bytes   `json:"sequencer,omitempty"`
	VouchedBy string      `json:"vouched_by,omitempty"`
	OK        bool        `json:"ok"`
	Error     string      `json:"error,omitempty"`
}

func newVerifyProof(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "proof FILE",
		Short: "Check what a node answered to kaizen_getProof, without a node",
		Long: "Check the JSON answer of kaizen_getProof in FILE, or - for standard input: that the key has the value, or is\n" +
			"absent, in the state of the block whose header is with it, and that the header is signed by the sequencer\n" +
			"it names. --trusted-key or --trusted-block says whom or what you trust; with --root the header is not looked\n" +
			"at. Exit code 3 if anything does not hold.\n" +
			"JSON: {key, name, value, height, block_hash, state_root, sequencer, vouched_by, ok, error}.",
		Example: "  kaizen query proof --account 0x7099… -o json > p.json\n  kaizen verify proof p.json --trusted-key 0x…",
		Args:    cli.Args("FILE"),
	}
	trusted := addVouching(c)
	root := c.Flags().String("root", "", "check against this state `root` instead of the header")
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *root != "" && (trusted.key != "" || trusted.block != "") {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("with --root the header is not looked at: neither --trusted-key nor --trusted-block goes with it")}
		}
		b, err := readEvidence(args[0], proof.MaxAnswerBytes, std)
		if err != nil {
			return err
		}
		return runVerifyProof(b, trusted, *root, out, std)
	}
	return c
}

func runVerifyProof(b []byte, trusted *vouching, root string, out *cli.Output, std cli.IO) error {
	a, err := proof.ParseAnswer(b)
	if err != nil {
		return fmt.Errorf("%w: %w", node.ErrVerification, err)
	}
	v := proofVerdict{Key: api.Bytes(a.Key), Value: (*api.Bytes)(a.Value)}
	v.Name, _ = market.StateKey(v.Key)
	if root != "" {
		err = v.againstRoot(a, root)
	} else {
		err = v.againstHeader(a, trusted)
	}
	var usage *cli.UsageError
	if errors.As(err, &usage) {
		return err
	}
	if v.OK = err == nil; !v.OK {
		v.Error = err.Error()
	} else {
		unknown(std, v.VouchedBy)
	}
	return errors.Join(err, out.Print(std.Out, &v, func(t *cli.Table) { printProofVerdict(t, &v) }))
}

func (v *proofVerdict) againstRoot(a *proof.Answer, root string) error {
	want, err := chain.ParseHash(root)
	if err != nil {
		return cli.Usagef("--root: %v", err)
	}
	v.StateRoot, v.VouchedBy = want, "root"
	if err := a.Against(want); err != nil {
		return fmt.Errorf("%w: %w", node.ErrVerification, err)
	}
	return nil
}

func (v *proofVerdict) againstHeader(a *proof.Answer, trusted *vouching) error {
	h := &a.Header
	hash := chain.Hash(h.Hash)
	v.Height, v.BlockHash, v.StateRoot, v.Sequencer = &h.Height, &hash, chain.Hash(h.StateRoot), api.Bytes(h.Sequencer)
	if err := a.Verify(); err != nil {
		return fmt.Errorf("%w: %w", node.ErrVerification, err)
	}
	if h.Height == 0 && trusted.block == "" && trusted.key != "" {
		return fmt.Errorf("%w: block 0 is not signed; --trusted-block says which one you trust", node.ErrVerification)
	}
	var err error
	v.VouchedBy, err = trusted.check(h.Sequencer, hash)
	return err
}

func printProofVerdict(t *cli.Table, v *proofVerdict) {
	t.Row("key", fmt.Sprintf("%s %s", hexOf(v.Key), v.Name))
	switch {
	case !v.OK:
	case v.Value == nil:
		t.Row("value", "absent")
	default:
		t.Row("value", hexOf(*v.Value))
	}
	if v.Height != nil {
		t.Row("block", fmt.Sprintf("%d %s", *v.Height, v.BlockHash))
		t.Row("signed by", hexOf(v.Sequencer))
	}
	t.Row("state root", v.StateRoot)
	t.Row("verdict", word(v.OK))
	if v.Error != "" {
		t.Row("error", v.Error)
	}
}
