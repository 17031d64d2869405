package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/snapshot"
)

func newSnapshot(std cli.IO) *cobra.Command {
	return cli.Group("snapshot", "Take, list, check, fetch and restore snapshots of the state",
		newSnapshotCreate(std), newSnapshotList(std), newSnapshotInspect(std), newSnapshotVerify(std), newSnapshotFetch(std), newSnapshotRestore(std))
}

// namesSnapshot is how SNAPSHOT is written on the command line.
const namesSnapshot = "SNAPSHOT is 'latest', a height, a name, the beginning of an identity (0x…), or a path."

// infoFields are the members of node.SnapshotInfo.
const infoFields = "name, path, kind, height, identity, block_hash, block_time, state_root, chain_id, genesis_hash, module_hash, base, keys, bytes, compressed_bytes, chunks, signed, signer"

func newSnapshotCreate(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "create",
		Short: "Take a snapshot, of a running node or of a directory",
		Long: "Take a full snapshot. If a node runs on --data-dir, that node takes one of its newest block while it goes on;\n" +
			"otherwise, or with --height or --offline, the stored blocks are executed from the nearest older snapshot on.\n" +
			"JSON: {" + infoFields + "}.",
		Example: "  kaizen snapshot create --data-dir write\n  kaizen snapshot create --data-dir write --height 5000",
		Args:    cli.Args(),
	}
	height := c.Flags().Uint64("height", 0, "of the block of this `height` (default: the newest)")
	alone := c.Flags().Bool("offline", false, "execute the stored blocks, also while the node runs")
	flags := cli.AddConfig(c.Flags(), cli.Write, append([]string{"snapshot.sign"}, offlineKeys...)...)
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if c.Flags().Changed("height") && *height == 0 {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("--height is 0, want 1 or more")}
		}
		v, err := createSnapshot(c.Context(), flags, *height, *alone, std)
		if err != nil {
			return explainSnapshot(err)
		}
		return out.Print(std.Out, v, func(t *cli.Table) { printSnapshot(t, v) })
	}
	return c
}

// createSnapshot asks the node of the directory, unless there is none or the
// newest block is not what is wanted.
func createSnapshot(ctx context.Context, flags *cli.ConfigFlags, height uint64, alone bool, std cli.IO) (*node.SnapshotInfo, error) {
	cfg, err := flags.Load(cli.Write)
	if err != nil {
		return nil, err
	}
	log := cli.NewLogger(std.Err, cfg.Log)
	if height == 0 && !alone {
		v, err := askSnapshot(ctx, cfg.DataDir, log, std)
		if !errors.Is(err, node.ErrNotRunning) && !errors.Is(err, client.ErrUnreachable) {
			return v, err
		}
		log.Debug("no node takes it", "reason", err)
	}
	var v *node.SnapshotInfo
	err = offline(ctx, flags, std, func(ctx context.Context, cfg *cli.Config, deps node.Deps) error {
		replayed, written := cli.NewProgress(std.Err, deps.Log, "replay", "blocks"), cli.NewProgress(std.Err, deps.Log, "snapshot", "keys")
		defer written.Done()
		s, err := node.CreateSnapshot(ctx, cfg.DataDir, deps, node.CreateOptions{Height: height, Unsigned: !cfg.Snapshot.Sign,
			Replayed: progressOf(replayed), Written: func(done, total uint64) {
				replayed.Done()
				written.Update(done, total, 0)
			}})
		replayed.Done()
		if err == nil {
			info := node.InfoOf(s)
			v = &info
		}
		return err
	})
	return v, err
}

// askEvery is the time between two looks at how far a node is with a snapshot.
const askEvery = time.Second

// askSnapshot has the node take one, and shows how far it is.
func askSnapshot(ctx context.Context, dir string, log *slog.Logger, std cli.IO) (*node.SnapshotInfo, error) {
	progress := cli.NewProgress(std.Err, log, "snapshot", "keys")
	defer progress.Done()
	var v node.SnapshotInfo
	done := make(chan error, 1)
	go func() { done <- node.Ask(ctx, dir, "snapshot", struct{}{}, &v) }()
	look := time.NewTicker(askEvery)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return &v, err
		case <-look.C:
			var p node.SnapshotProgress
			if err := node.Ask(ctx, dir, "snapshot-progress", struct{}{}, &p); err == nil && p.Total > 0 {
				progress.Update(p.Done, p.Total, 0)
			}
		}
	}
}

// explainSnapshot adds advice, and the exit code of damage, to an error about a
// snapshot.
func explainSnapshot(err error) error {
	var bad *snapshot.DamageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad) && !errors.Is(err, node.ErrVerification):
		err = fmt.Errorf("%w: %w", node.ErrVerification, err)
	case errors.Is(err, snapshot.ErrNotFound):
		return cli.Hint(err, "'kaizen snapshot list' shows those that there are")
	case errors.Is(err, snapshot.ErrLocked):
		return cli.Hint(err, "a snapshot is being taken or fetched there; try again in a moment")
	case errors.Is(err, node.ErrNotEmpty):
		return cli.Hint(err, "choose another --data-dir, or move away what is there")
	case errors.Is(err, node.ErrNoState):
		return cli.Hint(err, "'kaizen snapshot list' shows what there is to start from")
	}
	return err
}

// listed is a line of `snapshot list`.
type listed struct {
	node.SnapshotInfo
	Error string `json:"error,omitempty"` // what is wrong with its manifest
}

func newSnapshotList(std cli.IO) *cobra.Command {
	l := newLook("list", "List the snapshots of a data directory, the newest first", "a list of {"+infoFields+"}, or {name, path, height, error} where the manifest is damaged")
	l.cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := l.flags.Load(cli.Write)
		if err != nil {
			return err
		}
		if _, err := readGenesis(cfg.DataDir); err != nil {
			return err
		}
		list, err := node.SnapshotDir(cfg.DataDir).List()
		if err != nil {
			return err
		}
		lines := make([]listed, len(list))
		for i := range list {
			lines[i] = lineOf(&list[i])
		}
		return l.out.Print(std.Out, lines, func(t *cli.Table) { printSnapshots(t, lines) })
	}
	return l.cmd
}

func lineOf(i *snapshot.Info) listed {
	if i.Err != nil {
		return listed{SnapshotInfo: node.SnapshotInfo{Name: i.Name, Path: i.Path, Height: i.Height}, Error: i.Err.Error()}
	}
	return listed{SnapshotInfo: node.InfoOf(i.Snapshot)}
}

func printSnapshots(t *cli.Table, lines []listed) {
	if len(lines) == 0 {
		t.Line("no snapshots")
		return
	}
	t.Row("HEIGHT", "KIND", "CONTINUES", "KEYS", "SIZE", "RATIO", "SIGNED", "NAME")
	for i := range lines {
		v := &lines[i]
		if v.Error != "" {
			t.Row(v.Height, "damaged", "", "", "", "", "", v.Name)
			continue
		}
		base := "-"
		if v.Base != nil {
			base = fmt.Sprint(v.Base.Height)
		}
		t.Row(v.Height, v.Kind, base, v.Keys, inBytes(v.Compressed), ratioOf(v.Compressed, v.Bytes), yesNo(v.Signed), v.Name)
	}
	for i := range lines {
		if lines[i].Error != "" {
			t.Line("%s", lines[i].Error)
		}
	}
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// ratioOf is compressed to raw size.
func ratioOf(compressed, raw uint64) string {
	if raw == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(compressed)/float64(raw))
}

// inBytes is a size for people.
func inBytes(n uint64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// inspected is what `snapshot inspect` prints.
type inspected struct {
	node.SnapshotInfo
	SignatureValid *bool          `json:"signature_valid"` // null: not signed
	Chain          []string       `json:"chain"`           // names of what restores it, the full one first
	ChainError     string         `json:"chain_error,omitempty"`
	Files          []snapshotFile `json:"files,omitempty"`
}

// snapshotFile is a chunk.
type snapshotFile struct {
	Name       string     `json:"name"`
	Keys       uint32     `json:"keys"`
	Bytes      uint32     `json:"bytes"`
	Compressed uint32     `json:"compressed_bytes"`
	Hash       chain.Hash `json:"hash"`
	Transfer   chain.Hash `json:"transfer_hash"`
}

func newSnapshotInspect(std cli.IO) *cobra.Command {
	l := newLook("inspect SNAPSHOT", "Show what a snapshot's manifest says; its chunks are not read", "{"+infoFields+", signature_valid, chain, chain_error, files}", "SNAPSHOT")
	l.cmd.Long = "Show what a snapshot's manifest says; its chunks are not read.\n" + namesSnapshot + "\n" + l.cmd.Long[len(l.cmd.Short)+2:]
	files := l.cmd.Flags().Bool("files", false, "list the chunks")
	l.cmd.RunE = func(_ *cobra.Command, args []string) error {
		cfg, err := l.flags.Load(cli.Write)
		if err != nil {
			return err
		}
		s, err := node.FindSnapshot(cfg.DataDir, args[0])
		if err != nil {
			return explainSnapshot(err)
		}
		v := inspectSnapshot(s, *files)
		return l.out.Print(std.Out, &v, func(t *cli.Table) { printInspected(t, &v) })
	}
	return l.cmd
}

func inspectSnapshot(s *snapshot.Snapshot, files bool) inspected {
	v := inspected{SnapshotInfo: node.InfoOf(s), Chain: []string{}}
	if v.Signed {
		valid := s.CheckSigned() == nil
		v.SignatureValid = &valid
	}
	links, err := s.Chain()
	if err != nil {
		v.ChainError = err.Error()
	}
	for _, link := range links {
		v.Chain = append(v.Chain, link.Manifest.Name())
	}
	if files {
		for i, c := range s.Manifest.Chunks {
			v.Files = append(v.Files, snapshotFile{snapshot.ChunkFile(i), c.Entries, c.Bytes, c.Compressed, c.Hash, c.Transfer})
		}
	}
	return v
}

func printSnapshot(t *cli.Table, v *node.SnapshotInfo) {
	t.Row("snapshot", v.Name)
	t.Row("directory", v.Path)
	t.Row("kind", v.Kind)
	t.Row("identity", v.Identity)
	t.Row("block", fmt.Sprintf("%d %s", v.Height, v.BlockHash))
	t.Row("sealed", moment(v.BlockTime))
	t.Row("state root", v.StateRoot)
	t.Row("chain", fmt.Sprintf("%d, genesis %s", v.ChainID, v.GenesisHash))
	t.Row("module", v.ModuleHash)
	if v.Base != nil {
		t.Row("continues", fmt.Sprintf("%d %s", v.Base.Height, v.Base.Identity))
	}
	t.Row("keys", v.Keys)
	t.Row("size", fmt.Sprintf("%s in %d files, %s before compression (ratio %s)", inBytes(v.Compressed), v.Chunks, inBytes(v.Bytes), ratioOf(v.Compressed, v.Bytes)))
	t.Row("signed", signedBy(v))
}

func signedBy(v *node.SnapshotInfo) string {
	if !v.Signed {
		return "no"
	}
	return "by " + hex.EncodeToString(v.Signer)
}

func printInspected(t *cli.Table, v *inspected) {
	printSnapshot(t, &v.SnapshotInfo)
	if v.SignatureValid != nil {
		t.Row("signature", map[bool]string{true: "valid", false: "NOT VALID"}[*v.SignatureValid])
	}
	for i, name := range v.Chain {
		if len(v.Chain) > 1 {
			t.Row(fmt.Sprintf("restore %d", i+1), name)
		}
	}
	if v.ChainError != "" {
		t.Row("cannot restore", v.ChainError)
	}
	if len(v.Files) == 0 {
		return
	}
	t.Line("")
	t.Row("FILE", "KEYS", "BYTES", "COMPRESSED", "CONTENT", "TRANSFER")
	for _, f := range v.Files {
		t.Row(f.Name, f.Keys, f.Bytes, f.Compressed, short(f.Hash.String()), short(f.Transfer.String()))
	}
}

// trust is what a snapshot must be signed by.
type trust struct {
	require *bool
	key     *string
}

func addTrust(c *cobra.Command) *trust {
	return &trust{
		require: c.Flags().Bool("require-signature", false, "refuse a snapshot that the sequencer did not sign"),
		key:     c.Flags().String("trusted-key", "", "refuse a snapshot, or a block, of another sequencer than the one with this public `key` (64 hex digits); implies --require-signature"),
	}
}

// check refuses a snapshot that is not signed as demanded.
func (t *trust) check(s *snapshot.Snapshot) error {
	if *t.key != "" {
		want, err := parseTrustedKey(*t.key)
		if err != nil {
			return err
		}
		if got := s.Manifest.Header.Sequencer; got != want {
			return &snapshot.DamageError{Path: s.Path, Chunk: -1, Err: fmt.Errorf("%w: the sequencer is %x, trusted is %x", snapshot.ErrSignature, got, want)}
		}
	}
	if *t.require || *t.key != "" {
		return s.CheckSigned()
	}
	return nil
}

// valid says whether the flags are.
func (t *trust) valid() error {
	if *t.key == "" {
		return nil
	}
	_, err := parseTrustedKey(*t.key)
	return err
}

// verified is a line of `snapshot verify`.
type verified struct {
	Name      string  `json:"name"`
	Height    uint64  `json:"height"`
	Kind      string  `json:"kind"`
	Keys      uint64  `json:"keys"`
	Signed    bool    `json:"signed"`
	ElapsedMs float64 `json:"elapsed_ms"`
	OK        bool    `json:"ok"`
	Error     string  `json:"error,omitempty"`
}

func newSnapshotVerify(std cli.IO) *cobra.Command {
	l := newLook("verify [SNAPSHOT]", "Check every byte of snapshots and the state roots", "a list of {name, height, kind, keys, signed, elapsed_ms, ok, error}", "[SNAPSHOT]")
	l.cmd.Long = "Check every byte of a snapshot, and of those that it continues, and compute the state root of each again;\n" +
		"without SNAPSHOT, all of a data directory. No node and no network are needed. Exit code 3 if anything is wrong.\n" +
		namesSnapshot + " One that does not lie in a data directory is checked against\nits own header: --trusted-key says whose that must be.\n" + l.cmd.Long[len(l.cmd.Short)+2:]
	trusted := addTrust(l.cmd)
	l.cmd.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := l.flags.Load(cli.Write)
		if err == nil {
			err = trusted.valid()
		}
		if err != nil {
			return err
		}
		log := cli.NewLogger(std.Err, cfg.Log)
		lines, err := verifySnapshots(c.Context(), cfg.DataDir, args, trusted, log, std)
		if len(lines) == 0 {
			return explainSnapshot(err)
		}
		return errors.Join(l.out.Print(std.Out, lines, func(t *cli.Table) { printVerified(t, lines) }), explainSnapshot(err))
	}
	return l.cmd
}

// verifySnapshots checks those that are named, or all.
func verifySnapshots(ctx context.Context, dataDir string, names []string, trusted *trust, log *slog.Logger, std cli.IO) ([]verified, error) {
	all := []*snapshot.Snapshot{}
	var lines []verified
	var failures []error
	if len(names) == 1 {
		s, err := node.FindSnapshot(dataDir, names[0])
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	} else {
		if _, err := readGenesis(dataDir); err != nil {
			return nil, err
		}
		list, err := node.SnapshotDir(dataDir).List()
		if err != nil {
			return nil, err
		}
		for i := range list {
			if list[i].Err != nil {
				lines = append(lines, verified{Name: list[i].Name, Height: list[i].Height, Error: list[i].Err.Error()})
				failures = append(failures, list[i].Err)
				continue
			}
			all = append(all, list[i].Snapshot)
		}
	}
	for _, s := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		progress := cli.NewProgress(std.Err, log, "verify "+s.Manifest.Name(), "keys")
		line, err := verifySnapshot(s, trusted, func(done, total uint64) { progress.Update(done, total, 0) })
		progress.Done()
		lines, failures = append(lines, line), append(failures, err)
	}
	return lines, errors.Join(failures...)
}

func verifySnapshot(s *snapshot.Snapshot, trusted *trust, progress func(done, total uint64)) (verified, error) {
	m := s.Manifest
	v := verified{Name: m.Name(), Height: m.Header.Height, Kind: m.Kind.String(), Keys: m.Entries, Signed: m.Signed()}
	begin := time.Now()
	err := trusted.check(s)
	if err == nil {
		err = node.VerifySnapshot(s, progress)
	}
	v.ElapsedMs = float64(time.Since(begin).Microseconds()) / 1000
	v.OK = err == nil
	if err != nil {
		v.Error = err.Error()
	}
	return v, err
}

func printVerified(t *cli.Table, lines []verified) {
	t.Row("HEIGHT", "KIND", "KEYS", "SIGNED", "MS", "VERDICT", "NAME")
	for i := range lines {
		v := &lines[i]
		t.Row(v.Height, v.Kind, v.Keys, yesNo(v.Signed), v.ElapsedMs, word(v.OK), v.Name)
	}
}

// restored is what `snapshot restore` prints.
type restored struct {
	Dir       string     `json:"dir"`
	Height    uint64     `json:"height"`
	BlockHash chain.Hash `json:"block_hash"`
	StateRoot chain.Hash `json:"state_root"`
	Keys      uint64     `json:"keys"`  // read, those of all links
	Links     int        `json:"links"` // snapshots that were restored one over the other
	ElapsedMs float64    `json:"elapsed_ms"`
}

func newSnapshotRestore(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "restore PATH",
		Short: "Make a read node's data directory of a snapshot",
		Long: "Check a snapshot, and those that it continues, and make an empty or new --data-dir the data directory of a read\n" +
			"node that begins there: 'kaizen follow' goes on from it. The directory is there whole or not at all. The genesis\n" +
			"document is that of the data directory in which the snapshot lies, or --genesis.\n" +
			"That its block is part of the chain is proved by the signature of the sequencer in genesis, and once more by the\n" +
			"first block that follows it.\nJSON: {dir, height, block_hash, state_root, keys, links, elapsed_ms}.",
		Example: "  kaizen snapshot restore write/snapshots/10000-1f2e3d4c5b6a7988 --data-dir read",
		Args:    cli.Args("PATH"),
	}
	genesis := c.Flags().String("genesis", "", "genesis.bin of the chain (default: that of the directory in which the snapshot lies)")
	trusted := addTrust(c)
	flags := cli.AddConfig(c.Flags(), cli.Read, "data_dir", "sync.genesis_hash", "log.level", "log.format")
	out := cli.AddOutput(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		cfg, err := flags.Load(cli.Read)
		if err == nil {
			err = trusted.valid()
		}
		if err != nil {
			return err
		}
		v, err := restoreSnapshot(cfg, args[0], *genesis, trusted, std)
		if err != nil {
			return explainSnapshot(err)
		}
		return out.Print(std.Out, v, func(t *cli.Table) { printRestored(t, v) })
	}
	return c
}

func restoreSnapshot(cfg *cli.Config, path, genesisFile string, trusted *trust, std cli.IO) (*restored, error) {
	s, err := snapshot.Open(nil, path)
	if err != nil {
		return nil, err
	}
	g, err := genesisOf(s, genesisFile)
	if err != nil {
		return nil, err
	}
	if err := node.CheckPinned(&cfg.Config, g); err != nil {
		return nil, err
	}
	if err := trusted.check(s); err != nil {
		return nil, err
	}
	links, err := s.Chain()
	if err != nil {
		return nil, err
	}
	progress := cli.NewProgress(std.Err, cli.NewLogger(std.Err, cfg.Log), "restore", "keys")
	defer progress.Done()
	begin := time.Now()
	err = node.RestoreDir(cfg.DataDir, links, node.RestoreOptions{Genesis: g, Progress: func(done, total uint64) { progress.Update(done, total, 0) }})
	if err != nil {
		return nil, err
	}
	h := &s.Manifest.Header
	v := &restored{Dir: cfg.DataDir, Height: h.Height, BlockHash: h.Hash(), StateRoot: h.StateRoot, Links: len(links), ElapsedMs: float64(time.Since(begin).Microseconds()) / 1000}
	for _, link := range links {
		v.Keys += link.Manifest.Entries
	}
	return v, nil
}

// genesisOf reads the genesis document for a snapshot.
func genesisOf(s *snapshot.Snapshot, file string) (*chain.Genesis, error) {
	if file == "" {
		file = filepath.Join(s.Path, "..", "..", "genesis.bin")
	}
	g, err := store.ReadGenesis(file)
	if err != nil {
		return nil, cli.Hint(fmt.Errorf("genesis document: %w", err), "--genesis names the genesis.bin of a data directory of this chain")
	}
	return g, nil
}

func printRestored(t *cli.Table, v *restored) {
	t.Row("restored", v.Dir)
	t.Row("block", fmt.Sprintf("%d %s", v.Height, v.BlockHash))
	t.Row("state root", v.StateRoot)
	t.Row("keys read", fmt.Sprintf("%d from %d snapshots", v.Keys, v.Links))
	t.Row("time", fmt.Sprintf("%.0f ms", v.ElapsedMs))
	t.Row("next", "kaizen follow --data-dir "+v.Dir+" --write-node HOST:PORT")
}
