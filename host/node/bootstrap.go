package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/snapshot"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// restored is a state that came out as the header of its block says.
type restored struct {
	tree     *state.Tree
	manifest *snapshot.Manifest
}

// openOrFetch opens the store. Where there is none it makes one: of the write
// node's chain, from genesis or, if the configuration says so, from a snapshot,
// whose state comes along. VERSION is written last: until then the directory is none,
// and the next start goes on with what it holds.
func openOrFetch(ctx context.Context, cfg *Config, deps Deps) (*store.Store, *restored, error) {
	opts := storeOptions(cfg, deps.Log)
	st, err := store.Open(cfg.DataDir, opts)
	if !errors.Is(err, store.ErrNotInitialized) {
		return st, nil, err
	}
	g, err := fetchGenesis(ctx, cfg, deps)
	if err != nil {
		return nil, nil, err
	}
	var from *restored
	if cfg.Sync.Bootstrap {
		if from, err = bootstrap(ctx, cfg, deps, g); err != nil {
			return nil, nil, err
		}
	}
	after := chain.BlockID{}
	if from != nil {
		after = from.manifest.Header.ID()
	}
	if err := store.InitAfter(cfg.DataDir, g, after, opts); err != nil {
		return nil, nil, err
	}
	st, err = store.Open(cfg.DataDir, opts)
	return st, from, err
}

// bootstrap gets a snapshot from the sources and restores it; nil if all of them
// answer that they have none, so that the chain has to be executed from genesis.
func bootstrap(ctx context.Context, cfg *Config, deps Deps, g *chain.Genesis) (*restored, error) {
	from := &restored{}
	d := newDownload(cfg, deps, g)
	progress, fetched := deps.progress("fetch", "bytes")
	d.progress = progress
	d.finish = func(links []*snapshot.Snapshot) error {
		fetched() // one thing at a time is shown
		progress, done := deps.progress("restore", "keys")
		defer done()
		tree, _, err := snapshot.Restore(links, snapshot.Options{Run: onAllCores, Progress: func(done, total uint64) { progress(done, total, 0) }})
		if err == nil {
			from.tree, from.manifest = tree, links[len(links)-1].Manifest
		}
		return err
	}
	_, err := d.run(ctx)
	fetched()
	if err != nil && d.noneAtAll() && errors.Is(err, ErrNoSnapshot) {
		d.log.Warn("nobody has a snapshot yet; executing the chain from its first block", "sources", d.sources)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	h := &from.manifest.Header
	d.log.Info("state restored", "height", h.Height, "hash", h.Hash(), "root", h.StateRoot)
	return from, nil
}

func newDownload(cfg *Config, deps Deps, g *chain.Genesis) *download {
	sources, followed := sourcesOf(cfg)
	identity := wire.Identity{ChainID: g.ChainID, Genesis: g.Hash(), Module: g.ModuleHash, Role: wire.RoleReader, Agent: "kaizen/" + Version}
	return &download{genesis: g, dir: SnapshotDir(cfg.DataDir), sources: sources, followed: followed, free: FreeBytes, log: logs.For(deps.Log, "sync"),
		dial: func(ctx context.Context, address string) (*wire.Client, error) {
			return cfg.Sync.Dial(ctx, address, identity, wire.DialOptions{})
		}}
}

// sourcesOf lists whom to ask, the node to follow first.
func sourcesOf(cfg *Config) (sources []string, followed int) {
	followed = -1
	if cfg.Sync.WriteNode != "" {
		sources, followed = append(sources, cfg.Sync.WriteNode), 0
	}
	for _, s := range cfg.Sync.Sources {
		if !slices.Contains(sources, s) {
			sources = append(sources, s)
		}
	}
	return sources[:min(len(sources), fetch.MaxSources)], followed
}

// noneAtAll reports whether every source was asked and has no snapshot.
func (d *download) noneAtAll() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.plan != nil && len(d.refusals) == 0 && !slices.ContainsFunc(d.plan.Sources(), func(s fetch.SourceStatus) bool { return !s.Listed || s.Offers > 0 })
}

// FetchSnapshot gets a snapshot of a block up to atMost (0: the newest), and what it
// stands on, from cfg.Sync.WriteNode and cfg.Sync.Sources into cfg.DataDir, and
// checks all of it, the state root included. The last of the result is the one that was chosen. The chain is that of the
// directory, if it holds one, or else the one that the first source names. A fetch
// that is interrupted goes on when it is called again.
func FetchSnapshot(ctx context.Context, cfg Config, deps Deps, atMost uint64) ([]*snapshot.Snapshot, error) {
	g, err := chainOf(ctx, &cfg, deps)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkModule(deps.Program, g), CheckPinned(&cfg, g)); err != nil {
		return nil, err
	}
	d := newDownload(&cfg, deps, g)
	d.wish = fetch.Wish{AtMost: atMost, Newest: true}
	progress, fetched := deps.progress("fetch", "bytes")
	defer fetched()
	d.progress = progress
	d.finish = func(links []*snapshot.Snapshot) error {
		fetched()
		progress, done := deps.progress("check", "keys")
		defer done()
		return snapshot.VerifyChain(links, snapshot.Options{Run: onAllCores, Progress: func(done, total uint64) { progress(done, total, 0) }})
	}
	return d.run(ctx)
}

// chainOf is the genesis document of a directory, or of the chain that is to be in
// it.
func chainOf(ctx context.Context, cfg *Config, deps Deps) (*chain.Genesis, error) {
	st, err := store.Open(cfg.DataDir, store.Options{ReadOnly: true})
	if err == nil {
		return st.Genesis(), st.Close()
	}
	if !errors.Is(err, store.ErrNotInitialized) {
		return nil, err
	}
	return fetchGenesis(ctx, cfg, deps)
}
