package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/snapshot"
)

// Config is everything an operator can set. The first three sections are given
// by the protocol; `kaizen config view` prints all of them with their origin.
//
// What changes results (block, stale limit, settler) is part of genesis and only
// compared with it at start.
type Config struct {
	DataDir  string         `mapstructure:"data_dir"`
	Block    BlockConfig    `mapstructure:"block"`
	Oracle   OracleConfig   `mapstructure:"oracle"`
	Settler  SettlerConfig  `mapstructure:"settler"`
	STF      STFConfig      `mapstructure:"stf"`
	Intake   IntakeConfig   `mapstructure:"intake"`
	Sync     SyncConfig     `mapstructure:"sync"`
	RPC      RPCConfig      `mapstructure:"rpc"`
	History  HistoryConfig  `mapstructure:"history"`
	Snapshot SnapshotConfig `mapstructure:"snapshot"`
	Prune    PruneConfig    `mapstructure:"prune"`
	Log      LogConfig      `mapstructure:"log"`
}

// BlockConfig is `[block]`.
type BlockConfig struct {
	IntervalMs     uint64 `mapstructure:"interval_ms"`       // ms between seals
	MaxTxsPerBlock uint32 `mapstructure:"max_txs_per_block"` // transactions
}

// OracleConfig is `[oracle]`.
type OracleConfig struct {
	ServiceURL string `mapstructure:"service_url"`
	TimeoutMs  uint64 `mapstructure:"timeout_ms"`
	MaxStaleMs uint64 `mapstructure:"max_stale_ms"`
}

// SettlerConfig is `[settler]`.
type SettlerConfig struct {
	Enabled bool          `mapstructure:"enabled"`
	Address chain.Address `mapstructure:"address"`
}

// STFConfig is `[stf]`: which module to run, and how.
type STFConfig struct {
	File     string `mapstructure:"file"`      // .wasm; empty: the embedded rfq module
	Engine   string `mapstructure:"engine"`    // compiler | interpreter
	CacheDir string `mapstructure:"cache_dir"` // compiled code; empty: DataDir/cache
}

// IntakeConfig is `[intake]`: how much may wait before a submitter is told
// "busy".
type IntakeConfig struct {
	QueueTxs int `mapstructure:"queue_txs"` // transactions between arrival and answer
	Workers  int `mapstructure:"workers"`   // signature recovery goroutines; 0: one per core
}

// LeastQueueTxs is the least intake.queue_txs: a call with more transactions than may
// wait would be told to come again for ever.
func LeastQueueTxs() uint64 { return uint64(rpc.DefaultLimits().MaxTxs) }

// SyncConfig is `[sync]`.
type SyncConfig struct {
	Listen    string `mapstructure:"listen"`       // host:port of the sync port; empty: do not serve
	WriteNode string `mapstructure:"write_node"`   // read node: where blocks come from
	PollMs    uint64 `mapstructure:"poll_ms"`      // read node: a pass at least this often
	MaxPeers  int    `mapstructure:"max_peers"`    // connections to the sync port
	TLSCert   string `mapstructure:"tls_cert"`     // PEM file with the sync port's certificate; empty: no TLS
	TLSKey    string `mapstructure:"tls_key"`      // PEM file with its key
	TLSCA     string `mapstructure:"tls_ca"`       // PEM file with who may vouch for nodes at tls:// and wss://; empty: whom the system trusts
	Genesis   string `mapstructure:"genesis_hash"` // read node: refuse any other chain; empty: take the write node's on first contact

	Bootstrap            bool     `mapstructure:"bootstrap"`               // read node: an empty directory begins with a snapshot
	Sources              []string `mapstructure:"sources"`                 // beside the write node, whom to ask for snapshots
	SnapshotMiBPerSecond int      `mapstructure:"snapshot_mib_per_second"` // snapshots to all who fetch together; 0: none are served
}

// RPCConfig is `[rpc]`. A zero limit means the default of host/rpc.
type RPCConfig struct {
	Listen         string   `mapstructure:"listen"` // host:port; empty: do not serve
	AllowedHosts   []string `mapstructure:"allowed_hosts"`
	AllowedOrigins []string `mapstructure:"allowed_origins"`
	MaxBodyBytes   int      `mapstructure:"max_body_bytes"`
	MaxBatch       int      `mapstructure:"max_batch"`
	MaxConns       int      `mapstructure:"max_connections"`
	RatePerSecond  int      `mapstructure:"rate_per_second"` // calls per address, loopback exempt

	MaxSubscriptions      int `mapstructure:"max_subscriptions"`       // of one connection
	MaxTotalSubscriptions int `mapstructure:"max_total_subscriptions"` // of all together
	MaxSubscriptionLag    int `mapstructure:"max_subscription_lag"`    // blocks
	MaxStreamTxs          int `mapstructure:"max_stream_txs"`          // of one submit stream without an answer
	MaxStreamBytes        int `mapstructure:"max_stream_bytes"`        // the same
}

// HistoryConfig is `[history]`: how the state after old blocks is read.
type HistoryConfig struct {
	Blocks          int    `mapstructure:"blocks"`            // back from the newest that are in memory
	States          int    `mapstructure:"states"`            // older ones in memory that were made again for queries; 0: none are
	MaxReplayBlocks uint64 `mapstructure:"max_replay_blocks"` // executed at most to make one again
}

// MaxFullEvery bounds snapshot.full_every.
const MaxFullEvery = snapshot.MaxLinks

// SnapshotConfig is `[snapshot]`.
type SnapshotConfig struct {
	IntervalBlocks uint64 `mapstructure:"interval_blocks"` // blocks from one to the next; 0: none are taken
	Keep           int    `mapstructure:"keep"`            // how many are kept, at least 1, beside what those stand on
	FullEvery      int    `mapstructure:"full_every"`      // of so many one holds the whole state, the others what changed; 1: all hold it
	Sign           bool   `mapstructure:"sign"`            // whether a write node signs them
}

// PruneConfig is `[prune]`.
type PruneConfig struct {
	Mode       string `mapstructure:"mode"`        // archive | aggressive
	KeepBlocks uint64 `mapstructure:"keep_blocks"` // how many an aggressive node keeps at least
}

// LogConfig is `[log]`.
type LogConfig struct {
	Level  string `mapstructure:"level"`  // logs.ParseLevels: info,store=debug
	Format string `mapstructure:"format"` // one of logs.Forms
}

// Defaults are the values of a write node without a config file.
func Defaults() Config {
	return Config{
		Block:    BlockConfig{IntervalMs: 100, MaxTxsPerBlock: 1000},
		Oracle:   OracleConfig{ServiceURL: "http://oracle:8550", TimeoutMs: 10, MaxStaleMs: 3000},
		Settler:  SettlerConfig{Enabled: true},
		STF:      STFConfig{Engine: "compiler"},
		Intake:   IntakeConfig{QueueTxs: 20_000},
		Sync:     SyncConfig{Listen: "127.0.0.1:9000", PollMs: 1000, MaxPeers: 64, SnapshotMiBPerSecond: 64},
		RPC:      RPCConfig{Listen: "127.0.0.1:8545"},
		History:  HistoryConfig{Blocks: 1024, States: 2, MaxReplayBlocks: 100_000},
		Snapshot: SnapshotConfig{IntervalBlocks: 10_000, Keep: 2, FullEvery: 1, Sign: true},
		Prune:    PruneConfig{Mode: PruneArchive, KeepBlocks: DefaultKeepBlocks},
		Log:      LogConfig{Level: "info", Format: "text"},
	}
}

// Check refuses settings that contradict each other, or what stands behind them.
func (c *Config) Check() error {
	limits := c.RPC.limits()
	return errors.Join(c.checkPrune(), limits.Validate(), c.Sync.checkTLS())
}

// checkTLS reads the files, so that a node says at its start what is wrong with them.
func (c *SyncConfig) checkTLS() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("sync.tls_cert and sync.tls_key go together: set both or neither")
	}
	var errs []error
	if c.TLSCert != "" {
		if _, err := wire.ServerTLS(c.TLSCert, c.TLSKey); err != nil {
			errs = append(errs, fmt.Errorf("sync.tls_cert, sync.tls_key: %w", err))
		}
	}
	if _, err := wire.ClientTLS(c.TLSCA); err != nil {
		errs = append(errs, fmt.Errorf("sync.tls_ca: %w", err))
	}
	return errors.Join(errs...)
}

// Dial connects to another node, trusting whom tls_ca names.
func (c *SyncConfig) Dial(ctx context.Context, address string, identity wire.Identity, opt wire.DialOptions) (*wire.Client, error) {
	var err error
	if opt.TLS, err = wire.ClientTLS(c.TLSCA); err != nil {
		return nil, fmt.Errorf("sync.tls_ca: %w", err)
	}
	return wire.Dial(ctx, address, identity, opt)
}

// checkTogether is Check where nobody may have called it.
func checkTogether(cfg *Config) error {
	if err := cfg.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// Interval is the time between two ticks.
func (c *BlockConfig) Interval() time.Duration {
	return time.Duration(c.IntervalMs) * time.Millisecond
}

// Timeout bounds one pull.
func (c *OracleConfig) Timeout() time.Duration {
	return time.Duration(c.TimeoutMs) * time.Millisecond
}
