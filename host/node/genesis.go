package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/wire"
)

// fetchGenesis asks the node to follow for the document of its chain. Without
// sync.genesis_hash the first answer is believed, and said so: from then on the
// directory holds this chain and no other.
func fetchGenesis(ctx context.Context, cfg *Config, deps Deps) (*chain.Genesis, error) {
	client, err := dialStranger(ctx, cfg, deps)
	if err != nil {
		return nil, firstContact(cfg, err)
	}
	defer client.Close()
	g, err := client.Genesis()
	if err != nil {
		return nil, firstContact(cfg, err)
	}
	if err := CheckPinned(cfg, g); err != nil {
		return nil, err
	}
	if cfg.Sync.Genesis == "" {
		deps.Log.Warn("took the chain of the node that is followed; pin it with --genesis-hash to be sure", "node", cfg.Sync.WriteNode, "chain_id", g.ChainID, "genesis_hash", g.Hash())
	}
	return g, nil
}

// firstContactPatience is how long a node without a chain waits for the node
// that is to give it one: both may have been started at the same time.
const firstContactPatience = 5 * time.Second

// dialStranger greets as a node that knows no chain yet.
func dialStranger(ctx context.Context, cfg *Config, deps Deps) (*wire.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, firstContactPatience)
	defer cancel()
	identity := wire.Identity{Module: deps.Program.Hash(), Role: wire.RoleReader, Agent: "kaizen/" + Version}
	backoff := wire.Backoff{Min: backoffMin, Max: backoffMax}
	for {
		client, err := wire.Dial(ctx, cfg.Sync.WriteNode, identity, wire.DialOptions{})
		if err == nil || otherChain(err) || errors.Is(err, wire.ErrAddress) {
			return client, err
		}
		deps.Log.Debug("the node to follow does not answer yet", "node", cfg.Sync.WriteNode, "error", err)
		if pause(ctx, backoff.Next()); ctx.Err() != nil {
			return nil, err
		}
	}
}

// firstContact tells a node that is not there from one that is another.
func firstContact(cfg *Config, err error) error {
	if otherChain(err) {
		return fmt.Errorf("%w: %s: %w", ErrVerification, cfg.Sync.WriteNode, err)
	}
	return fmt.Errorf("%w: %s: %w: is the write node running, and is this its sync port?", ErrUnreachable, cfg.Sync.WriteNode, err)
}
