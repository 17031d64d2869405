package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/witness"
)

func newWitness(std cli.IO) *cobra.Command {
	return cli.Group("witness", "Everything that it takes to execute one block, in one file", newWitnessExport(std))
}

// exported is what `witness export` prints.
type exported struct {
	File       string     `json:"file"`
	Height     uint64     `json:"height"`
	Hash       chain.Hash `json:"hash"`
	Txs        int        `json:"txs"`
	Bytes      int        `json:"bytes"`
	BlockBytes int        `json:"block_bytes"`
	ProofBytes int        `json:"proof_bytes"`
}

func newWitnessExport(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "export N",
		Short: "Write the witness of a block",
		Long: "Write one file with block N, the header of its parent, and a proof of exactly the keys that the block\n" +
			"reads or writes. 'kaizen verify witness' executes the block on that file alone. It may be run while the\n" +
			"node runs, and needs no network.\n" +
			"JSON: {file, height, hash, txs, bytes, block_bytes, proof_bytes}.",
		Example: "  kaizen witness export 100 --out block100.witness\n  kaizen verify witness block100.witness",
		Args:    cli.Args("N"),
	}
	to := c.Flags().String("out", "", "`file` to write (default N.witness); it must not exist")
	flags := cli.AddConfig(c.Flags(), cli.Write, offlineKeys...)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		height, err := parseHeight(args[0])
		if err != nil {
			return err
		}
		file := *to
		if file == "" {
			file = fmt.Sprintf("%d.witness", height)
		}
		return offline(c.Context(), flags, std, func(ctx context.Context, cfg *cli.Config, deps node.Deps) error {
			return runExport(ctx, cfg.DataDir, height, file, deps, out, std)
		})
	}
	return c
}

func runExport(ctx context.Context, dir string, height uint64, file string, deps node.Deps, out *cli.Output, std cli.IO) error {
	if _, err := os.Lstat(file); err == nil { // before the work, not only after it
		return cli.Hint(&fs.PathError{Op: "create", Path: file, Err: fs.ErrExist}, "--out names another file")
	}
	progress := cli.NewProgress(std.Err, deps.Log, "execute", "blocks")
	w, err := node.ExportWitness(ctx, dir, deps, height, progressOf(progress))
	progress.Done()
	if err != nil {
		return err
	}
	if err := writeNew(file, w.Append(nil)); err != nil {
		return err
	}
	v := exported{File: file, Height: height, Hash: w.Block.Header.Hash(), Txs: len(w.Block.Txs), Bytes: w.Size(), BlockBytes: w.Block.Size(), ProofBytes: w.State.Size()}
	return out.Print(std.Out, &v, func(t *cli.Table) {
		t.Row("file", v.File)
		t.Row("block", fmt.Sprintf("%d %s", v.Height, v.Hash))
		t.Row("transactions", v.Txs)
		t.Row("size", fmt.Sprintf("%d bytes: block %d, proof %d", v.Bytes, v.BlockBytes, v.ProofBytes))
	})
}

// vouching is what the caller knows to be the chain's.
type vouching struct {
	key   string
	block string
}

func addVouching(c *cobra.Command) *vouching {
	t := &vouching{}
	c.Flags().StringVar(&t.key, "trusted-key", "", "the public `key` that must have signed the block (64 hex digits)")
	c.Flags().StringVar(&t.block, "trusted-block", "", "the `hash` that the block must have")
	return t
}

// check compares a header with what the caller trusts, and says what that was.
func (t *vouching) check(sequencer []byte, hash chain.Hash) (vouched string, err error) {
	if t.block != "" {
		want, err := chain.ParseHash(t.block)
		if err != nil {
			return "", cli.Usagef("--trusted-block: %v", err)
		}
		if want != hash {
			return "", fmt.Errorf("%w: the block is %s, --trusted-block says %s", node.ErrVerification, hash, want)
		}
		vouched = "block"
	}
	if t.key != "" {
		want, err := parseTrustedKey(t.key)
		if err != nil {
			return "", err
		}
		if string(want[:]) != string(sequencer) {
			return "", fmt.Errorf("%w: signed by %x, --trusted-key says %x", node.ErrVerification, sequencer, want)
		}
		vouched = "key"
	}
	return vouched, nil
}

// parseTrustedKey reads a sequencer's public key: 64 hex digits of either case, with
// 0x, as 'kaizen init' and 'inspect genesis' print it, or without.
func parseTrustedKey(s string) (key [ed25519.PublicKeySize]byte, err error) {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != len(key) {
		return key, cli.Usagef("--trusted-key %.80q: want %d hex digits", s, 2*len(key))
	}
	copy(key[:], b)
	return key, nil
}

// unknown is said where nobody has vouched for a signature.
func unknown(std cli.IO, vouched string) {
	if vouched == "" {
		fmt.Fprintln(std.Err, "hint: anybody can sign as a sequencer: --trusted-key or --trusted-block says who or what you trust")
	}
}

// witnessed is what `verify witness` prints.
type witnessed struct {
	File        string     `json:"file"`
	Height      uint64     `json:"height"`
	Hash        chain.Hash `json:"hash"`
	GenesisHash chain.Hash `json:"genesis_hash"` // as the witness says
	ModuleHash  chain.Hash `json:"module_hash"`
	Sequencer   api.Bytes  `json:"sequencer"`
	VouchedBy   string     `json:"vouched_by,omitempty"` // what of --trusted-key and --trusted-block was compared
	ParentRoot  chain.Hash `json:"parent_root"`
	HeaderRoot  chain.Hash `json:"header_root"`
	Txs         int        `json:"txs"`
	Keys        int        `json:"keys"`
	Written     int        `json:"written"`
	Deleted     int        `json:"deleted"`
	Bytes       int        `json:"bytes"`
	ElapsedMs   float64    `json:"elapsed_ms"`
	OK          bool       `json:"ok"`
	Error       string     `json:"error,omitempty"`
}

func newVerifyWitness(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "witness FILE",
		Short: "Execute a block again on its witness alone",
		Long: "Execute the block of a witness on the proof that is in it, with no data directory, and compare every root\n" +
			"with its header. FILE may be -, for standard input. It shows that the sequencer named there signed a block\n" +
			"that is what it says, given its parent: --trusted-key or --trusted-block says whom or what you trust. Exit code 3\n" +
			"if the witness does not hold.\n" +
			"JSON: {file, height, hash, genesis_hash, module_hash, sequencer, vouched_by, parent_root, header_root, txs, keys,\n" +
			"written, deleted, bytes, elapsed_ms, ok, error}.",
		Args: cli.Args("FILE"),
	}
	trusted := addVouching(c)
	flags := cli.AddConfig(c.Flags(), cli.Write, "stf.file", "stf.engine", "stf.cache_dir", "log.level", "log.format")
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		b, err := readEvidence(args[0], witness.MaxBytes, std)
		if err != nil {
			return err
		}
		cfg, err := flags.Load(cli.Write)
		if err != nil {
			return err
		}
		return withModule(c.Context(), cfg, std, func(_ context.Context, _ *cli.Config, deps node.Deps) error {
			return runVerifyWitness(args[0], b, trusted, deps, out, std)
		})
	}
	return c
}

func runVerifyWitness(name string, b []byte, trusted *vouching, deps node.Deps, out *cli.Output, std cli.IO) error {
	start := time.Now()
	w, r, err := node.VerifyWitness(b, deps)
	if w == nil {
		return err
	}
	h := &w.Block.Header
	v := witnessed{File: name, Height: h.Height, Hash: h.Hash(), GenesisHash: w.Genesis, ModuleHash: h.ModuleHash, Sequencer: h.Sequencer[:],
		ParentRoot: w.Parent.StateRoot, HeaderRoot: h.StateRoot, Txs: len(w.Block.Txs), Bytes: len(b), ElapsedMs: float64(time.Since(start).Microseconds()) / 1000}
	if err == nil {
		v.Keys, v.Written, v.Deleted = r.Keys, r.Written, r.Deleted
		v.VouchedBy, err = trusted.check(h.Sequencer[:], v.Hash)
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
	if errors.Is(err, stf.ErrModule) {
		err = cli.Hint(err, "--stf names the module's file")
	}
	return errors.Join(err, out.Print(std.Out, &v, func(t *cli.Table) { printWitnessed(t, &v) }))
}

func printWitnessed(t *cli.Table, v *witnessed) {
	t.Row("block", fmt.Sprintf("%d %s", v.Height, v.Hash))
	t.Row("genesis", fmt.Sprintf("%s, as the witness says", v.GenesisHash))
	t.Row("signed by", hexOf(v.Sequencer))
	t.Row("parent root", v.ParentRoot)
	t.Row("header root", v.HeaderRoot)
	t.Row("transactions", v.Txs)
	if v.OK {
		t.Row("keys", fmt.Sprintf("%d, of which %d written and %d deleted", v.Keys, v.Written, v.Deleted))
	}
	t.Row("size", fmt.Sprintf("%d bytes", v.Bytes))
	t.Row("time", fmt.Sprintf("%.3f ms", v.ElapsedMs))
	t.Row("verdict", word(v.OK))
	if v.Error != "" {
		t.Row("error", v.Error)
	}
}
