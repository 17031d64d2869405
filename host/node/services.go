package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/host/rpc/metrics"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/web"
	"github.com/kaizenchain/kaizen/host/wire"
)

// services are the two ports of a node.
type services struct {
	cfg     *Config
	log     *slog.Logger
	snaps   *snapshots // set before start
	runs    *runs
	rpcPort net.Listener // nil: not served
	syncTCP net.Listener // nil: not served
	rpc     *rpc.Server
	sync    *wire.Server
}

// listen binds the ports. Nothing is accepted before start.
func listen(cfg *Config, log *slog.Logger, runs *runs) (*services, error) {
	s := &services{cfg: cfg, log: log, runs: runs}
	var err error
	if s.rpcPort, err = bind("rpc.listen", cfg.RPC.Listen); err != nil {
		return nil, err
	}
	if s.syncTCP, err = bind("sync.listen", cfg.Sync.Listen); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.syncTCP != nil && cfg.Sync.TLSCert != "" {
		config, err := wire.ServerTLS(cfg.Sync.TLSCert, cfg.Sync.TLSKey)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.syncTCP = tls.NewListener(s.syncTCP, config)
	}
	return s, nil
}

// ErrPort is wrapped when a port cannot be bound.
var ErrPort = errors.New("cannot listen")

func bind(key, addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w on %s, as %s says: %w", ErrPort, addr, key, err)
	}
	return l, nil
}

func (s *services) addrs() (rpc, sync string) { return addrOf(s.rpcPort), addrOf(s.syncTCP) }

func addrOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// start serves both ports until drain and close. A port that fails is fatal.
func (s *services) start(g *group, backend rpc.Backend, v *views, own metrics.Set) {
	if s.rpcPort != nil {
		o := s.options(backend, v, own)
		o.Admin = rpc.Admin{Token: s.runs.token(), Routes: adminRoutes(s.log, s.snaps)}
		server, err := rpc.New(o)
		if err != nil {
			g.fail(err)
			return
		}
		s.rpc = server
		g.background(func(context.Context) { s.end(g, server.Serve(s.rpcPort)) })
		g.background(func(ctx context.Context) {
			<-ctx.Done()
			s.drain(stopTimeout)
		})
	}
	if s.syncTCP != nil {
		server := wire.NewServer(s.archive(v), identityOf(v), wire.Limits{MaxConns: s.cfg.Sync.MaxPeers, SnapshotBytesPerSecond: s.cfg.Sync.SnapshotMiBPerSecond << 20}, logs.For(s.log, "sync"))
		s.sync = server
		g.background(func(context.Context) { s.end(g, server.Serve(s.syncTCP)) })
		g.background(func(ctx context.Context) {
			<-ctx.Done()
			if err := server.Close(); err != nil {
				s.log.Debug("close sync port", "error", err)
			}
		})
	}
}

func (s *services) end(g *group, err error) {
	if err != nil {
		g.fail(err)
	}
}

func (s *services) options(backend rpc.Backend, v *views, own metrics.Set) rpc.Options {
	c := &s.cfg.RPC
	o := rpc.Options{Backend: backend, Limits: c.limits(), AllowedHosts: c.AllowedHosts, AllowedOrigins: c.AllowedOrigins, Pages: web.Handlers(), Metrics: own, Log: logs.For(s.log, "rpc")}
	if v.Schema().Name == market.Name {
		o.Module = market.Module()
	}
	return o
}

// limits are the defaults of host/rpc and what was configured instead.
func (c *RPCConfig) limits() rpc.Limits {
	limits := rpc.DefaultLimits()
	for _, o := range []struct {
		limit *int
		value int
	}{{&limits.MaxBodyBytes, c.MaxBodyBytes}, {&limits.MaxBatch, c.MaxBatch}, {&limits.MaxConnections, c.MaxConns}, {&limits.RatePerSecond, c.RatePerSecond},
		{&limits.MaxSubscriptions, c.MaxSubscriptions}, {&limits.MaxTotalSubscriptions, c.MaxTotalSubscriptions}, {&limits.MaxSubscriptionLag, c.MaxSubscriptionLag},
		{&limits.MaxStreamTxs, c.MaxStreamTxs}, {&limits.MaxStreamBytes, c.MaxStreamBytes}} {
		if o.value != 0 {
			*o.limit = o.value
		}
	}
	// What depends on a configured limit follows it.
	limits.RateBurst = max(limits.RateBurst, limits.MaxBatch)
	limits.MaxHeldBytes = max(limits.MaxHeldBytes, 4*(limits.MaxBodyBytes+limits.MaxResponseBytes), 4*limits.MaxStreamBytes)
	return limits
}

// drain lets calls under way finish; new ones are refused.
func (s *services) drain(timeout time.Duration) {
	if s.rpc == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.rpc.Shutdown(ctx); err != nil {
		s.log.Warn("calls were cut off", "error", err)
	}
}

// announce rings the doorbell of every follower.
func (s *services) announce(b *chain.Block) {
	if s.sync == nil {
		return
	}
	var ride []byte
	if n := b.Size(); n <= wire.MaxRideBytes {
		ride = b.Append(make([]byte, 0, n))
	}
	s.sync.Announce(b.Header.ID(), ride)
}

// hasOpen reports whether a follower wants to know of the open block.
func (s *services) hasOpen() bool { return s.sync != nil && s.sync.HasOpen() }

// open tells those of transactions in it that are durable.
func (s *services) open(m wire.OpenTxs) { s.sync.Open(m) }

// close releases ports that were never served.
func (s *services) close() error {
	var errs []error
	for _, l := range []net.Listener{s.rpcPort, s.syncTCP} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func identityOf(v *views) wire.Identity {
	role := wire.RoleReader
	if v.role == "write" {
		role = wire.RoleWriter
	}
	return wire.Identity{ChainID: v.genesis.ChainID, Genesis: v.store.GenesisHash(), Module: v.genesis.ModuleHash, Role: role, Agent: "kaizen/" + Version, Document: v.genesis.Append(nil)}
}

// archive is what the sync port serves from: blocks, and snapshots unless none are to
// be served.
func (s *services) archive(v *views) follow.Archive {
	blocks := &archive{v}
	if s.cfg.Sync.SnapshotMiBPerSecond == 0 {
		return blocks
	}
	return &struct {
		*archive
		*offers
	}{blocks, s.snaps.offers}
}

// archive serves followers from the store. It serves what is executed here and
// durable, and nothing else (invariants 2 and 12).
type archive struct{ v *views }

// Tips implements follow.Archive: the tiers, no higher than what is executed.
func (a *archive) Tips() (chain.Tips, error) {
	return chain.LocalTips(a.v.headID()), nil
}

// Block implements follow.Archive.
func (a *archive) Block(number uint64) ([]byte, error) {
	b, err := a.v.store.BlockBytes(number)
	return b, unavailable(err)
}

// Header implements follow.Archive.
func (a *archive) Header(number uint64) (chain.Header, error) {
	if number == 0 {
		return a.v.genesisHeader, nil
	}
	h, err := a.v.store.Header(number)
	if errors.Is(err, store.ErrPruned) && number == a.v.store.Before().Number {
		return a.v.headerBefore()
	}
	return h, unavailable(err)
}

// Results implements follow.EventArchive.
func (a *archive) Results(number uint64) ([]byte, error) {
	r, err := a.v.store.Results(number)
	if err != nil {
		return nil, unavailable(err)
	}
	return r.Append(nil), nil
}

// Base implements follow.EventArchive. Block 0 has no events to serve: what
// genesis made is in the state.
func (a *archive) Base() uint64 { return max(1, a.v.store.Base()) }

var _ follow.EventArchive = (*archive)(nil)

func unavailable(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrPruned) {
		return fmt.Errorf("%w: %w", follow.ErrNotAvailable, err)
	}
	return err
}
