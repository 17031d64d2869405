package doctor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/wire"
)

// patience bounds every question to another process.
const patience = 3 * time.Second

// skewLimit is how far another clock may differ from ours; prices are dated by
// the clock of their service.
const skewLimit = 500 * time.Millisecond

func checkClock(ctx context.Context, p *Patient) Finding {
	state, known := clockState()
	if p.Role == api.RoleWrite {
		if answer, _, err := pull(ctx, p); err == nil {
			return judgeClock(int64(p.Now())-int64(answer.Timestamp), known && !state)
		}
	}
	switch {
	case known && !state:
		return warn("the kernel says that its clock is not synchronised").do("run an NTP client (chrony, systemd-timesyncd): block times and the age of prices come from this clock")
	case !known:
		return skipped("no other clock to compare with")
	}
	return ok("synchronised, says the kernel")
}

// judgeClock compares with the price service's clock; ms is ours minus its.
func judgeClock(ms int64, unsynchronised bool) Finding {
	skew := time.Duration(ms) * time.Millisecond
	switch {
	case skew > skewLimit || skew < -skewLimit:
		return fail("%s from the price service's clock", skew).do("synchronise both machines (chrony, systemd-timesyncd): prices from the future are refused, old ones are stale")
	case unsynchronised:
		return warn("%s from the price service's clock; the kernel says that it is not synchronised", skew).do("run an NTP client (chrony, systemd-timesyncd)")
	}
	return ok("%s from the price service's clock", skew)
}

func checkRPC(_ context.Context, p *Patient) Finding {
	return p.checkPort("rpc.listen", p.Config.RPC.Listen, "put a proxy with TLS in front of it, or a firewall, unless everybody may ask this node")
}

func checkSync(_ context.Context, p *Patient) Finding {
	return p.checkPort("sync.listen", p.Config.Sync.Listen, "")
}

// checkPort looks whether a port is there to be had, unless the node has it.
// guard is what to do if it is open to other machines; empty: nothing.
func (p *Patient) checkPort(key, address, guard string) Finding {
	if address == "" {
		return skipped("%s is empty: not served", key)
	}
	if p.holder == "" {
		l, err := net.Listen("tcp", address)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fail("%s: another process has it", address).do("'ss -ltnp' shows which; or choose another with %s", key)
		case errors.Is(err, syscall.EACCES):
			return fail("%s: this user may not listen there", address).do("choose a port above 1023 with %s", key)
		case err != nil:
			return fail("%v", err).do("%s must be an address of this machine", key)
		}
		_ = l.Close() // it was never used
	}
	if guard != "" && !isLoopback(address) {
		return warn("%s is open to other machines", address).do("%s", guard)
	}
	if p.holder == "" {
		return ok("%s is free", address)
	}
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return warn("the node runs, and nothing answers at %s: %v", address, err).do("it was started with another %s (flag or variable), or is still starting", key)
	}
	_ = c.Close() // it was never used
	return ok("%s answers", address)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func checkNode(ctx context.Context, p *Patient) Finding {
	if !p.running() {
		return skipped("no node to ask")
	}
	c, err := client.New("http://" + p.runs.Running.RPC)
	if err != nil {
		return fail("%v", err).do("delete %s while no node runs", node.RunsFileName)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	health, err := c.Ready(ctx)
	if err != nil {
		return fail("the node does not answer: %v", err).do("look at its log; a node that hangs is ended with SIGTERM, then SIGKILL, and recovers")
	}
	status, err := c.Status(ctx)
	switch {
	case err != nil:
		return fail("the node does not say where it stands: %v", err).do("look at its log")
	case status.Alarm != "":
		return fail("it holds at block %d: %s", status.Height, status.Alarm).do("docs/alerts.md, KaizenAlarm")
	case !inOrder(&status.Tips):
		return fail("its tips are out of order: proposed %d, checkpointed %d, proven %d, finalized %d", status.Tips.Proposed.Height,
			status.Tips.Checkpointed.Block.Height, status.Tips.Proven.Block.Height, status.Tips.Finalized.Block.Height).
			do("keep the directory, and make the read node anew (docs/operations.md): its cursors cannot be believed")
	case !health.Ready:
		return fail("not ready: %s", unready(health.Checks)).do("docs/alerts.md, KaizenNotReady")
	}
	return ok("ready, block %d, %d behind", status.Height, status.Lag)
}

// inOrder: what is final has been proven, what is proven checkpointed, and
// what is checkpointed proposed.
func inOrder(t *api.Tips) bool {
	return slices.IsSorted([]uint64{t.Finalized.Block.Height, t.Proven.Block.Height, t.Checkpointed.Block.Height, t.Proposed.Height})
}

func unready(checks []api.Check) string {
	var bad []string
	for _, c := range checks {
		if !c.OK {
			bad = append(bad, c.Name+": "+c.Detail)
		}
	}
	return strings.Join(bad, "; ")
}

// pull asks the price service with patience, and says how long it took.
func pull(ctx context.Context, p *Patient) (*oracle.Answer, time.Duration, error) {
	c, err := oracle.NewClient(p.Config.Oracle.ServiceURL, patience)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	if _, err := c.Pull(ctx); err != nil { // the first one connects
		return nil, 0, err
	}
	start := time.Now()
	answer, err := c.Pull(ctx)
	return answer, time.Since(start), err
}

func checkOracle(ctx context.Context, p *Patient) Finding {
	if p.Role != api.RoleWrite {
		return skipped("a read node takes prices from blocks")
	}
	answer, took, err := pull(ctx, p)
	if err != nil {
		return fail("%s: %v", p.Config.Oracle.ServiceURL, err).do("start it ('kaizen oracle'), or correct oracle.service_url; without prices nothing that depends on them is accepted")
	}
	return judgeOracle(answer, took, &p.Config.Oracle, p.Now())
}

func judgeOracle(answer *oracle.Answer, took time.Duration, cfg *node.OracleConfig, now uint64) Finding {
	bad, old := 0, 0
	for _, e := range answer.Entries {
		switch {
		case e.Bad != nil:
			bad++
		case now > e.LastUpdate && now-e.LastUpdate > cfg.MaxStaleMs:
			old++
		}
	}
	const format = "%s: %d prices in %s"
	have := fmt.Sprintf(format, cfg.ServiceURL, len(answer.Entries), took.Round(10*time.Microsecond))
	switch {
	case len(answer.Entries) == bad+old:
		return fail("%s; %d malformed, %d older than %d ms", have, bad, old, cfg.MaxStaleMs).do("look at the price service: none of its prices can be used")
	case took > cfg.Timeout():
		return warn("%s, and oracle.timeout_ms is %d", have, cfg.TimeoutMs).do("set oracle.timeout_ms to more than it takes, or run the price service nearer")
	case bad+old > 0:
		return warn("%s; %d malformed, %d older than %d ms", have, bad, old, cfg.MaxStaleMs).do("look at the price service: those markets cannot be used")
	}
	return ok("%s", have)
}

func checkSource(ctx context.Context, p *Patient) Finding {
	address := p.Config.Sync.WriteNode
	switch {
	case p.Role != api.RoleRead:
		return skipped("a write node follows nobody")
	case address == "":
		return fail("sync.write_node is empty").do("name the node to follow: --write-node ws://HOST:9000")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	identity := wire.Identity{Role: wire.RoleReader, Agent: "kaizen doctor/" + node.Version}
	var head chain.BlockID
	if code, err := node.ModuleBytes(p.Config.STF.File); err == nil {
		identity.Module = sha256.Sum256(code)
	}
	if g := p.genesis(); g != nil {
		identity.ChainID, identity.Genesis = g.ChainID, g.Hash()
		if h, any := p.store.Head(); any {
			head = h.ID()
		}
	}
	c, err := p.Config.Sync.Dial(ctx, address, identity, wire.DialOptions{Head: head})
	if err != nil {
		return judgeDial(address, err)
	}
	defer c.Close()
	return ok("%s is at block %d, this directory at %d", address, c.Server().Head.Number, head.Number)
}

func judgeDial(address string, err error) Finding {
	f := fail("%s: %v", address, err)
	for _, other := range []error{wire.ErrChain, wire.ErrGenesis, wire.ErrModule} {
		if errors.Is(err, other) {
			return f.do("that node is of another chain than this directory, or this one is told to run another module: correct sync.write_node, --data-dir or --stf")
		}
	}
	if errors.Is(err, wire.ErrVersion) {
		return f.do("the two programs are too far apart: upgrade the older one")
	}
	return f.do("is that node running, is this its sync port (not RPC), does a firewall stand between? sync.listen of that node must not be loopback if it is another machine")
}
