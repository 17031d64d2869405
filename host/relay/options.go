package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/settle"
	"github.com/kaizenchain/kaizen/host/wire"
)

// Defaults of a settler (protocol section 13).
const (
	DefaultWriteNode     = "127.0.0.1:9000"
	DefaultRPCURL        = "http://127.0.0.1:8545"
	DefaultCheckInterval = 100 * time.Millisecond
	DefaultBatchSize     = 100
	DefaultBufferMs      = 200
	DefaultMetricsPort   = 9090
)

// Limits of options.
const (
	MinCheckInterval = 10 * time.Millisecond
	MaxCheckInterval = time.Minute
	MaxBatchSize     = settle.MaxBatch
	MaxBufferMs      = 3_600_000
)

// Times that nobody has had reason to change.
const (
	// saveInterval is how often the core is saved: after a crash, what happened since
	// is read from the stream again.
	saveInterval = 5 * time.Second
	// pollInterval is the safety net under lost doorbells.
	pollInterval = time.Second
	// callTimeout bounds one call of the node.
	callTimeout = 10 * time.Second
	// stopTimeout is how long a settler that stops waits for the answer to the batch
	// that is out.
	stopTimeout = 2 * time.Second
	// pullBlocks is how many blocks one request to the stream asks for.
	pullBlocks = 500
	// maxReplay is how many blocks a settler reads again rather than to ask the
	// state, blocks: half an hour at 100 ms.
	maxReplay = 20_000
)

// Errors of a settler that is told to do what cannot be done. Everything else is
// waited for.
var (
	ErrOptions = errors.New("settler options")
	// ErrPair: a pair that was named is no market of the chain.
	ErrPair = errors.New("no such market")
	// ErrOtherChain: the two addresses, or the answers over time, are of different
	// chains, or blocks are another sequencer's.
	ErrOtherChain = errors.New("nodes of different chains")
	// ErrModule: the chain does not run the market.
	ErrModule = errors.New("chain does not run the rfq module")
	// ErrInUse: another settler runs on the data directory.
	ErrInUse = errors.New("settler data directory is in use")
)

// Options of a settler.
type Options struct {
	WriteNode     string   // sync address of a node, as wire.ParseAddress reads it
	RPCURL        string   // where transactions are sent
	Pairs         []string // names of markets; empty: all
	CheckInterval time.Duration
	BatchSize     int
	BufferMs      uint64 // after the challenge window, before UserWins
	DataDir       string
	Key           *secp.Key
	Agent         string // name and version, for the operators of nodes; at most wire.MaxAgentBytes count
	Log           *slog.Logger
	Metrics       net.Listener // nil: none; owned by the settler

	// Node answers instead of RPCURL, and Dial connects to WriteNode, if not nil.
	Node Node
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (o *Options) check() error {
	if _, err := wire.ParseAddress(o.WriteNode); err != nil {
		return fmt.Errorf("%w: write node: %w", ErrOptions, err)
	}
	switch {
	case o.CheckInterval < MinCheckInterval || o.CheckInterval > MaxCheckInterval:
		return fmt.Errorf("%w: check interval %s, want %s to %s", ErrOptions, o.CheckInterval, MinCheckInterval, MaxCheckInterval)
	case o.BatchSize < 1 || o.BatchSize > MaxBatchSize:
		return fmt.Errorf("%w: batch size %d, want 1 to %d", ErrOptions, o.BatchSize, MaxBatchSize)
	case o.BufferMs > MaxBufferMs:
		return fmt.Errorf("%w: deadline buffer %d ms, want at most %d", ErrOptions, o.BufferMs, MaxBufferMs)
	case o.DataDir == "":
		return fmt.Errorf("%w: no data directory", ErrOptions)
	case o.Key == nil:
		return fmt.Errorf("%w: no key", ErrOptions)
	}
	return nil
}
