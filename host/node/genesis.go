package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/wire"
)

// CheckGenesis runs the module's genesis on a document before there is a chain: a
// document that the module refuses would be found out when the node starts.
func CheckGenesis(program stf.Program, g *chain.Genesis) error {
	exec, err := stf.NewExecutor(program)
	if err != nil {
		return err
	}
	defer exec.Machine.Close()
	_, err = exec.Genesis(g, state.NewOverlay(nil))
	return err
}

// fetchGenesis asks the node to follow for the document of its chain. Without
// sync.genesis_hash the first answer is believed, and said so: from then on the
// directory holds this chain and no other. With it, any source may give it.
func fetchGenesis(ctx context.Context, cfg *Config, deps Deps) (*chain.Genesis, error) {
	sources, _ := sourcesOf(cfg)
	if cfg.Sync.Genesis == "" {
		sources = sources[:min(len(sources), 1)]
	}
	err := fmt.Errorf("%w: no node is named", ErrConfig)
	for _, address := range sources {
		var g *chain.Genesis
		if g, err = genesisOf(ctx, &cfg.Sync, address, deps); err == nil {
			err = CheckPinned(cfg, g)
		}
		if err != nil {
			continue
		}
		if cfg.Sync.Genesis == "" {
			deps.Log.Warn("took the chain of the node that is followed; pin it with --genesis-hash to be sure", "node", address, "chain_id", g.ChainID, "genesis_hash", g.Hash())
		}
		return g, nil
	}
	return nil, err
}

func genesisOf(ctx context.Context, cfg *SyncConfig, address string, deps Deps) (*chain.Genesis, error) {
	client, err := dialStranger(ctx, cfg, address, deps)
	if err != nil {
		return nil, firstContact(address, err)
	}
	defer client.Close()
	g, err := client.Genesis()
	if err != nil {
		return nil, firstContact(address, err)
	}
	return g, nil
}

// firstContactPatience is how long a node without a chain waits for the node
// that is to give it one: both may have been started at the same time.
const firstContactPatience = 5 * time.Second

// dialStranger greets as a node that knows no chain yet.
func dialStranger(ctx context.Context, cfg *SyncConfig, address string, deps Deps) (*wire.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, firstContactPatience)
	defer cancel()
	identity := wire.Identity{Module: deps.Program.Hash(), Role: wire.RoleReader, Agent: "kaizen/" + Version}
	backoff := wire.Backoff{Min: backoffMin, Max: backoffMax}
	for {
		client, err := cfg.Dial(ctx, address, identity, wire.DialOptions{})
		if err == nil || otherChain(err) || untrusted(err) || errors.Is(err, wire.ErrAddress) {
			return client, err
		}
		deps.Log.Debug("the node to follow does not answer yet", "node", address, "error", err)
		if pause(ctx, backoff.Next()); ctx.Err() != nil {
			return nil, err
		}
	}
}

// untrusted reports whether a node's certificate is not one to believe.
func untrusted(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}

// firstContact tells a node that is not there from one that is another.
func firstContact(address string, err error) error {
	if otherChain(err) {
		return fmt.Errorf("%w: %s: %w", ErrVerification, address, err)
	}
	if untrusted(err) {
		return fmt.Errorf("%w: %s: %w: sync.tls_ca (--sync-tls-ca) names who may vouch for it", ErrUnreachable, address, err)
	}
	return fmt.Errorf("%w: %s: %w: is the write node running, is this its sync port, and does that speak TLS (wss://) or not (ws://)?", ErrUnreachable, address, err)
}
