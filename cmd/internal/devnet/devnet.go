package devnet

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
)

// Directories of the two nodes inside the chain's (protocol section 1).
const (
	WriteDir = "write"
	ReadDir  = "read"
)

// ChainID is the chain id of a development chain.
const ChainID = 1

// marketModule is the module that the traffic knows how to use.
const marketModule = "rfq"

// catchUp bounds how long Stop waits for the read node.
const catchUp = 60 * time.Second

// Options say what to start.
type Options struct {
	Dir       string // holds WriteDir and ReadDir; a chain found there goes on
	FreePorts bool   // any free ports instead of the protocol's
	Source    oracle.Source
	TPS       int // transfers per second; 0: none
	// ThesesPerSecond is how many bets the users make; 0: none.
	ThesesPerSecond int
	STF             node.STFConfig // CacheDir empty: in WriteDir
	Log             *slog.Logger
}

// Services are the addresses of everything that listens.
type Services struct {
	RPC      string `json:"rpc"`
	Sync     string `json:"sync"`
	Oracle   string `json:"oracle"`
	ReadRPC  string `json:"read_rpc"`
	ReadSync string `json:"read_sync"`
	Solver   string `json:"solver,omitempty"` // of a chain with a market
}

// Net is a running chain.
type Net struct {
	Services  Services
	Genesis   *chain.Genesis
	Module    string
	Continued uint64 // the height at which an existing chain went on; 0: a new one
	Traffic   bool   // whether there is traffic

	opts    Options
	program stf.Program
	reader  *node.Reader
	writer  *node.Writer
	traffic *traffic
	bets    *bets
	client  *client.Client
	counter *counter
	stamps  map[int]*stamps // of the accounts that send, by number

	oracle, write, read, settler, solver, senders, users *part

	failed chan struct{}
	once   sync.Once
	sealed chan verified
}

// part is a component that runs until it is stopped.
type part struct {
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// start runs a component. One that ends before it is told to ends the whole.
func (n *Net) start(run func(context.Context) error) *part {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = run(ctx)
		if ctx.Err() == nil {
			n.once.Do(func() { close(n.failed) })
		}
	}()
	return p
}

// end stops a component and waits; a component that never was is fine. What went
// wrong is said once, however often it is ended.
func (p *part) end() error {
	if p == nil {
		return nil
	}
	p.stop()
	<-p.done
	err := p.err
	p.err = nil
	return err
}

// Failed is closed when a component ended by itself; [Net.Stop] says why.
func (n *Net) Failed() <-chan struct{} { return n.failed }

// Start brings everything up; on an error nothing is left running.
func Start(ctx context.Context, o Options) (n *Net, err error) {
	n = &Net{opts: o, failed: make(chan struct{}), sealed: make(chan verified, 1), stamps: make(map[int]*stamps)}
	for i := firstTrafficAccount; i <= lastTrafficAccount; i++ {
		n.stamps[i] = new(stamps)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.abandon())
		}
	}()
	addresses := protocolPorts
	if o.FreePorts {
		addresses = freePorts
	} else if err := addresses.check(); err != nil {
		return n, err
	}
	if err := n.startOracle(addresses.Oracle); err != nil {
		return n, err
	}
	if err := n.startWriter(ctx, addresses); err != nil {
		return n, fmt.Errorf("write node: %w", err)
	}
	if err := n.startReader(ctx, addresses); err != nil {
		return n, fmt.Errorf("read node: %w", err)
	}
	return n, n.startMarket(ctx)
}

// ErrPorts is wrapped when ports of the protocol are in use by others.
var ErrPorts = errors.New("ports are in use")

var protocolPorts = Services{RPC: "127.0.0.1:8545", Sync: "127.0.0.1:9000", Oracle: "127.0.0.1:8550", ReadRPC: "127.0.0.1:8547", ReadSync: "127.0.0.1:9001"}

var freePorts = Services{RPC: "127.0.0.1:0", Sync: "127.0.0.1:0", Oracle: "127.0.0.1:0", ReadRPC: "127.0.0.1:0", ReadSync: "127.0.0.1:0"}

// check names all ports that are taken at once, before anything is started.
func (s *Services) check() error {
	var taken []error
	for _, p := range []struct{ name, address string }{
		{"write node RPC", s.RPC}, {"write node sync", s.Sync}, {"price service", s.Oracle}, {"read node RPC", s.ReadRPC}, {"read node sync", s.ReadSync},
	} {
		l, err := net.Listen("tcp", p.address)
		if err == nil {
			err = l.Close()
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: %s (%s)", ErrPorts, p.address, p.name)
		}
		taken = append(taken, err)
	}
	return errors.Join(taken...)
}

func (n *Net) startOracle(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("price service: %w", err)
	}
	n.Services.Oracle = "http://" + l.Addr().String()
	service := oracle.NewService(n.opts.Source, nil)
	n.oracle = n.start(func(ctx context.Context) error { return service.Run(ctx, l) })
	return nil
}

// config is what both nodes share.
func (n *Net) config(dir, rpc, sync string) node.Config {
	c := node.Defaults()
	c.DataDir = filepath.Join(n.opts.Dir, dir)
	c.STF = n.opts.STF
	c.RPC.Listen, c.Sync.Listen = rpc, sync
	return c
}

func (n *Net) startWriter(ctx context.Context, addresses Services) (err error) {
	c := n.config(WriteDir, addresses.RPC, addresses.Sync)
	c.Oracle.ServiceURL = n.Services.Oracle
	if n.program, err = node.LoadProgram(ctx, &c, n.opts.Log); err != nil {
		return err
	}
	n.Module = n.program.Schema().Name
	if n.Genesis, err = n.openOrCreate(&c); err != nil {
		return err
	}
	c.Block.IntervalMs, c.Block.MaxTxsPerBlock, c.Oracle.MaxStaleMs = n.Genesis.IntervalMs, n.Genesis.MaxTxsPerBlock, n.Genesis.MaxStaleMs
	c.RPC.AllowedOrigins = pageOrigins(addresses.ReadRPC)
	c.Settler.Enabled, c.Settler.Address = n.Genesis.SettlerEnabled, n.Genesis.Settler
	deps := node.Deps{Program: n.program, Log: n.opts.Log.With("node", "write"), LastBlock: n.lastBlock}
	if n.writer, err = node.NewWriter(ctx, c, deps); err != nil {
		return err
	}
	n.Continued = n.writer.Head().Height
	rpc, sync := n.writer.Addrs()
	n.Services.RPC, n.Services.Sync = "http://"+rpc, "ws://"+sync
	n.write = n.start(n.writer.Run)
	return nil
}

// pageOrigins are the origins of the page that the other node shows, which
// compares the two. Of a port that is not known yet there are none: then only the
// write node's page compares.
func pageOrigins(address string) []string {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return nil
	}
	return []string{"http://" + address, "http://" + net.JoinHostPort("localhost", port)}
}

// Page is the address of the write node's page, which compares it with the read
// node.
func (n *Net) Page() string { return n.Services.RPC + "/#/?with=" + n.Services.ReadRPC }

// openOrCreate returns the genesis of the chain that is in the write node's
// directory, and makes one if there is none.
func (n *Net) openOrCreate(c *node.Config) (*chain.Genesis, error) {
	g, err := genesisOf(c.DataDir)
	if !errors.Is(err, store.ErrNotInitialized) {
		return g, err
	}
	if g, err = n.newGenesis(c); err != nil {
		return nil, err
	}
	key, err := node.CreateSequencerKey(c.DataDir)
	if err != nil {
		return nil, err
	}
	copy(g.Sequencer[:], key.Public().(ed25519.PublicKey))
	return g, node.Init(c.DataDir, g)
}

func genesisOf(dir string) (*chain.Genesis, error) {
	s, err := store.Open(dir, store.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	return s.Genesis(), s.Close()
}

func (n *Net) newGenesis(c *node.Config) (*chain.Genesis, error) {
	accounts, err := Accounts()
	if err != nil {
		return nil, err
	}
	g := &chain.Genesis{ChainID: ChainID, Time: uint64(time.Now().UnixMilli()), IntervalMs: c.Block.IntervalMs, MaxTxsPerBlock: c.Block.MaxTxsPerBlock,
		MaxStaleMs: c.Oracle.MaxStaleMs, SettlerEnabled: true, Settler: accounts[SettlerAccount].Address, ModuleHash: n.program.Hash()}
	if n.Module == marketModule {
		p, err := Params()
		if err != nil {
			return nil, err
		}
		g.Params = p.Append(nil)
	}
	return g, nil
}

// ErrOtherChain is wrapped when the two directories hold different chains.
var ErrOtherChain = errors.New("the read node's directory is of another chain")

func (n *Net) startReader(ctx context.Context, addresses Services) (err error) {
	c := n.config(ReadDir, addresses.ReadRPC, addresses.ReadSync)
	c.RPC.AllowedOrigins = pageOrigins(strings.TrimPrefix(n.Services.RPC, "http://"))
	c.Sync.WriteNode, c.Sync.Genesis = n.Services.Sync, n.Genesis.Hash().String()
	if g, err := genesisOf(c.DataDir); err == nil && g.Hash() != n.Genesis.Hash() {
		return fmt.Errorf("%w: %s has genesis %s, %s has %s", ErrOtherChain, c.DataDir, g.Hash(), filepath.Join(n.opts.Dir, WriteDir), n.Genesis.Hash())
	}
	if n.reader, err = node.NewReader(ctx, c, node.Deps{Program: n.program, Log: n.opts.Log.With("node", "read")}); err != nil {
		return err
	}
	rpc, sync := n.reader.Addrs()
	n.Services.ReadRPC, n.Services.ReadSync = "http://"+rpc, "ws://"+sync
	n.counter = &counter{reader: n.reader, market: n.Market(), height: n.Continued}
	n.read = n.start(n.reader.Run)
	return nil
}

func (n *Net) startTraffic(accounts []Account) {
	if n.Traffic = n.opts.TPS > 0; !n.Traffic {
		return
	}
	n.traffic = &traffic{client: n.client, rate: n.opts.TPS, stamps: n.stamps}
	n.senders = n.start(func(ctx context.Context) error {
		n.traffic.run(ctx, accounts)
		return nil
	})
}

// verified is what the read node had verified when the last block was sealed and
// it had its time.
type verified struct {
	sealed chain.Header
	value  *Value // after the last block; nil: not known, or no market
	theses Theses
	txs    uint64
	open   uint64
	err    error
}

// lastBlock runs in the write node after its last block and before its sync port
// closes: the read node gets its time to verify everything.
func (n *Net) lastBlock(sealed chain.Header) {
	v := verified{sealed: sealed}
	if n.reader != nil {
		ctx, cancel := context.WithTimeout(context.Background(), catchUp)
		defer cancel()
		if v.err = n.reader.WaitFor(ctx, sealed.Height); v.err == nil {
			v.err = errors.Join(n.compare(&sealed), n.takeStock(&v))
		}
		v.txs, v.theses = n.counter.count()
		// Before the port closes that it follows, or it would report a lost connection.
		v.err = errors.Join(v.err, n.read.end())
	}
	n.sealed <- v
}

// takeStock asks whether the market's books balance.
func (n *Net) takeStock(v *verified) (err error) {
	if !n.Market() {
		return nil
	}
	if v.open, err = n.openTheses(); err != nil {
		return err
	}
	value, err := n.value()
	if err != nil {
		return err
	}
	v.value = &value
	return value.check()
}

// compare asks whether both nodes mean the same block at the same height.
func (n *Net) compare(sealed *chain.Header) error {
	have, err := n.reader.Header(sealed.Height)
	if err == nil && have.Hash() != sealed.Hash() {
		err = fmt.Errorf("%w: block %d is %s on the write node and %s on the read node", node.ErrVerification, sealed.Height, sealed.Hash(), have.Hash())
	}
	return err
}

// Report is how a run ended.
type Report struct {
	Height   uint64     `json:"height"` // newest sealed block
	Root     chain.Hash `json:"state_root"`
	Blocks   uint64     `json:"blocks"` // sealed in this run
	Txs      uint64     `json:"txs"`    // in those that the read node verified
	Verified uint64     `json:"verified"`
	Traffic  *Traffic   `json:"traffic,omitempty"`
	Bets     *Bets      `json:"bets,omitempty"`
	Theses   *Theses    `json:"theses,omitempty"`
	Open     uint64     `json:"open_theses"`
	Value    *Value     `json:"value,omitempty"`
}

// Stop stops whoever sends, seals what has arrived, waits until the read node has
// verified everything, and stops the rest. The error wraps node.ErrVerification
// exactly if something sealed was not verified, or value was created or lost.
func (n *Net) Stop() (Report, error) {
	errs := []error{n.stopSenders(), n.write.end()}
	var v verified
	select {
	case v = <-n.sealed:
	default: // the write node failed before its last block
		v.sealed = n.writer.Head()
		v.txs, v.theses = n.counter.count()
	}
	r := Report{Height: v.sealed.Height, Root: v.sealed.StateRoot, Blocks: v.sealed.Height - n.Continued, Txs: v.txs, Verified: n.reader.Verified(), Open: v.open, Value: v.value}
	if n.Market() {
		r.Theses = &v.theses
	}
	if n.traffic != nil {
		t := n.traffic.report()
		r.Traffic = &t
	}
	if n.bets != nil {
		b := n.bets.report()
		r.Bets = &b
	}
	return r, r.judge(errors.Join(append(errs, v.err, n.abandon())...))
}

// stopSenders stops whoever sends transactions, the users before their solver.
func (n *Net) stopSenders() error {
	return errors.Join(n.users.end(), n.solver.end(), n.settler.end(), n.senders.end())
}

// judge makes err say so if something sealed was not verified.
func (r *Report) judge(err error) error {
	if r.Verified >= r.Height || errors.Is(err, node.ErrVerification) {
		return err
	}
	return errors.Join(fmt.Errorf("%w: %d blocks are sealed, the read node verified up to %d", node.ErrVerification, r.Height, r.Verified), err)
}

// abandon stops whatever is running.
func (n *Net) abandon() error {
	errs := []error{n.stopSenders(), n.write.end(), n.read.end(), n.oracle.end()}
	if n.client != nil {
		errs = append(errs, n.client.Close())
	}
	if n.program != nil {
		errs = append(errs, n.program.Close())
	}
	return errors.Join(errs...)
}

// Market says whether the chain's module is the one the accounts belong to.
func (n *Net) Market() bool { return n.Module == marketModule }
