package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/abci/example/kvstore"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/types"
)

// maxAnswer bounds an answer to one call, bytes.
const maxAnswer = 1 << 20

// counted is the key-value store of CometBFT, which also counts what it committed.
type counted struct {
	*kvstore.Application
	open      int // transactions of the block that is not committed yet
	committed atomic.Int64
}

func (a *counted) FinalizeBlock(ctx context.Context, r *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	a.open = len(r.Txs)
	return a.Application.FinalizeBlock(ctx, r)
}

func (a *counted) Commit(ctx context.Context, r *abci.RequestCommit) (*abci.ResponseCommit, error) {
	answer, err := a.Application.Commit(ctx, r)
	a.committed.Add(int64(a.open))
	return answer, err
}

// cometBFT is one validator in this process, its store and write-ahead log on disk.
type cometBFT struct {
	*offered
	node *node.Node
	app  *counted
	http *http.Client
	url  string
}

func startCometBFT(o *options) (peer, error) {
	rpc, err := freePort()
	if err != nil {
		return nil, err
	}
	c := &cometBFT{app: &counted{Application: kvstore.NewInMemoryApplication()}, url: "http://" + rpc,
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.callers, DisableCompression: true}}}
	c.offered = &offered{txs: keyValues{length: o.txBytes, set: setNew}, callers: o.callers, atOnce: o.atOnce, patience: stalled, prepare: broadcasts, send: c.send,
		done: func(context.Context) (int, error) { return int(c.app.committed.Load()), nil }}
	if c.node, err = newCometNode(cometConfig(o, rpc), c.app); err != nil {
		return nil, err
	}
	return c, c.node.Start()
}

// freePort is a loopback address that was free just now: CometBFT does not say
// which port it took.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// cometConfig differs from the defaults where they would limit the rate: see
// tools/bench/method.md.
func cometConfig(o *options, rpc string) *config.Config {
	const room = 1_000_000 // transactions under way
	cfg := config.DefaultConfig().SetRoot(o.dir)
	cfg.RPC.ListenAddress = "tcp://" + rpc
	cfg.RPC.MaxRequestBatchSize = o.atOnce
	cfg.P2P.ListenAddress = "tcp://127.0.0.1:0"
	cfg.P2P.PexReactor = false // it has nobody to talk to, and writes that down even after it was stopped
	cfg.Consensus.TimeoutCommit = o.interval
	cfg.Mempool.Size, cfg.Mempool.CacheSize = room, room
	cfg.Mempool.Recheck = false
	cfg.TxIndex.Indexer = "null"
	return cfg
}

func newCometNode(cfg *config.Config, app abci.Application) (*node.Node, error) {
	for _, file := range []string{cfg.PrivValidatorKeyFile(), cfg.PrivValidatorStateFile()} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
	}
	validator := privval.LoadOrGenFilePV(cfg.PrivValidatorKeyFile(), cfg.PrivValidatorStateFile())
	key, err := p2p.LoadOrGenNodeKey(cfg.NodeKeyFile())
	if err != nil {
		return nil, err
	}
	genesis := func() (*types.GenesisDoc, error) {
		public, err := validator.GetPubKey()
		g := &types.GenesisDoc{ChainID: "peers", GenesisTime: time.Now(), Validators: []types.GenesisValidator{{PubKey: public, Power: 1}}}
		return g, errors.Join(err, g.ValidateAndComplete())
	}
	return node.NewNode(cfg, validator, key, proxy.NewLocalClientCreator(app), genesis, config.DefaultDBProvider,
		node.DefaultMetricsProvider(cfg.Instrumentation), log.NewNopLogger())
}

// broadcasts is one JSON-RPC request with a call of broadcast_tx_sync for each.
func broadcasts(batch [][]byte) []byte {
	b := []byte{'['}
	for i, tx := range batch {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"jsonrpc":"2.0","id":%d,"method":"broadcast_tx_sync","params":{"tx":"%s"}}`, i, base64.StdEncoding.EncodeToString(tx))
	}
	return append(b, ']')
}

// send counts what was taken without understanding more of the answer.
func (c *cometBFT) send(ctx context.Context, _ int, request []byte, n int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(request))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if got := bytes.Count(text, []byte(`"code":0`)) + bytes.Count(text, []byte(`"code": 0`)); got != n {
		return fmt.Errorf("HTTP %d: %d of %d transactions were taken: %.300s", response.StatusCode, got, n, text)
	}
	return nil
}

func (c *cometBFT) close() error {
	err := c.node.Stop()
	c.node.Wait()
	c.http.CloseIdleConnections()
	return err
}
