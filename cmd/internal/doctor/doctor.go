// Package doctor examines a node, its directory and its machine, and says what is
// wrong and what to do about it: kaizen doctor. It changes nothing but for a file
// of its own that it writes and removes to time the disk.
//
// It owns the checks and the bundle that is sent to whoever helps. It may import
// every package below cmd; what it finds it returns, and prints nothing.
//
//	p := doctor.Patient{Config: cfg, …}
//	findings := doctor.Examine(ctx, &p)
//	err := doctor.WriteBundle(ctx, w, &p, findings)      without secrets
//
// A program calls it from one goroutine.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/store"
)

// Result is how a check came out.
type Result string

// The results, the best first.
const (
	OK      Result = "ok"
	Skipped Result = "skipped" // there is nothing to check, or no way to
	Warn    Result = "warning" // it works, and will not for ever or not well
	Fail    Result = "FAILED"  // a node with this does not start, or does not do its work
)

// Finding is the outcome of one check.
type Finding struct {
	Check  string `json:"check"` // short and stable
	Result Result `json:"result"`
	Detail string `json:"detail"`           // what was found
	Advice string `json:"advice,omitempty"` // what to do; never empty with Warn and Fail
}

// Setting is one effective value of the configuration, for the bundle.
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// Patient is what is examined.
type Patient struct {
	Config   node.Config
	Role     string // api.RoleWrite or api.RoleRead
	Settings []Setting
	File     string   // of the configuration; empty: none
	Unknown  []string // environment variables that look like settings and are none
	Now      func() uint64

	store   *store.Store // nil: not initialised or not readable
	opened  error        // why
	runs    node.Runs
	runsErr error
	holder  string // of the lock; empty: nobody has it
}

// running reports whether a node runs on the directory and can be asked.
func (p *Patient) running() bool {
	return p.holder != "" && p.runs.Running != nil && p.runs.Running.RPC != ""
}

func (p *Patient) genesis() *chain.Genesis {
	if p.store == nil {
		return nil
	}
	return p.store.Genesis()
}

// check is one examination.
type check struct {
	name string
	run  func(context.Context, *Patient) Finding
}

var checks = []check{
	{"configuration", checkConfiguration},
	{"directory", checkDirectory},
	{"process", checkProcess},
	{"shutdown", checkShutdown},
	{"module", checkModule},
	{"key", checkKey},
	{"blocks", checkBlocks},
	{"evidence", checkEvidence},
	{"snapshots", checkSnapshots},
	{"disk space", checkSpace},
	{"disk speed", checkSpeed},
	{"memory", checkMemory},
	{"open files", checkFiles},
	{"clock", checkClock},
	{"rpc port", checkRPC},
	{"sync port", checkSync},
	{"node", checkNode},
	{"price service", checkOracle},
	{"source", checkSource},
}

// Examine runs every check, in an order in which the first finding is likely the
// cause of later ones.
func Examine(ctx context.Context, p *Patient) []Finding {
	p.open()
	defer p.close()
	findings := make([]Finding, len(checks))
	for i, c := range checks {
		findings[i] = c.run(ctx, p)
		findings[i].Check = c.name
	}
	return findings
}

// open looks at the directory. What cannot be read is what checks tell about.
func (p *Patient) open() {
	p.store, p.opened = store.Open(p.Config.DataDir, store.Options{ReadOnly: true})
	if p.opened != nil {
		p.store = nil
	}
	p.runs, p.runsErr = node.ReadRuns(p.Config.DataDir)
	if holder, err := store.Holder(p.Config.DataDir); err == nil {
		p.holder = holder
	}
}

// close gives the directory back; a store that was only read has nothing to lose.
func (p *Patient) close() {
	if p.store != nil {
		_ = p.store.Close()
	}
}

func ok(format string, args ...any) Finding { return Finding{Result: OK, Detail: detail(format, args)} }
func skipped(format string, args ...any) Finding {
	return Finding{Result: Skipped, Detail: detail(format, args)}
}
func warn(format string, args ...any) Finding {
	return Finding{Result: Warn, Detail: detail(format, args)}
}
func fail(format string, args ...any) Finding {
	return Finding{Result: Fail, Detail: detail(format, args)}
}

func detail(format string, args []any) string { return fmt.Sprintf(format, args...) }

// do says what to do about it.
func (f Finding) do(format string, args ...any) Finding {
	f.Advice = fmt.Sprintf(format, args...)
	return f
}

func checkConfiguration(_ context.Context, p *Patient) Finding {
	from := p.File
	if from == "" {
		from = "no file, defaults and environment"
	}
	if len(p.Unknown) > 0 {
		return warn("%s; variables that are no settings: %v", from, p.Unknown).do("correct or unset them: they have no effect; 'kaizen config view' shows every setting")
	}
	if g := p.genesis(); g != nil {
		if err := node.CheckConfig(&p.Config, g); err != nil {
			return fail("%s: %v", from, err).do("remove the value from %s: genesis decides it", from)
		}
	}
	return ok("%s, %s node", from, p.Role)
}

func checkDirectory(_ context.Context, p *Patient) Finding {
	dir := p.Config.DataDir
	switch err := p.opened; {
	case err == nil:
		return ok("%s, chain %d, genesis %s", dir, p.genesis().ChainID, p.store.GenesisHash())
	case errors.Is(err, store.ErrNotInitialized), errors.Is(err, fs.ErrNotExist):
		if p.Role == api.RoleRead && p.Config.Sync.WriteNode != "" {
			return skipped("%s holds no chain yet: the first contact with %s brings it", dir, p.Config.Sync.WriteNode)
		}
		return fail("%s holds no chain", dir).do("name the right directory with --data-dir; 'kaizen init --data-dir %s' creates a chain, 'kaizen follow' makes a read node of one", dir)
	case errors.Is(err, fs.ErrPermission):
		return fail("%v", err).do("run this as the user that owns %s", dir)
	case errors.Is(err, store.ErrVersion):
		return fail("%v", err).do("run the program that wrote it, or a newer one than this")
	}
	return fail("%v", p.opened).do("keep a copy of %s; a read node is made again from another node, a write node from its newest backup", dir)
}

func checkProcess(_ context.Context, p *Patient) Finding {
	switch {
	case p.holder == "" && p.runs.Running == nil:
		return ok("no node runs on the directory")
	case p.holder == "":
		return warn("no node runs, and the last one (pid %d) did not end in order", p.runs.Running.PID).
			do("its log and 'journalctl -k' (out of memory?) say why; starting it again recovers what it had answered")
	case p.runs.Running == nil:
		return warn("%s holds the directory and has not said that it serves", p.holder).do("wait if it has just been started (it executes what came after the last snapshot), else look at its log")
	}
	r := p.runs.Running
	return ok("%s node, pid %d, version %s, RPC %s", r.Role, r.PID, r.Program, orNone(r.RPC))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// manyUnclean is how many remembered runs that ended without a word are no
// accident any more.
const manyUnclean = 3

func checkShutdown(_ context.Context, p *Patient) Finding {
	n := len(p.runs.Unclean)
	switch {
	case p.runsErr != nil:
		return warn("%v", p.runsErr).do("delete it while no node runs: it is only a report")
	case n == 0:
		return ok("every run that is remembered ended in order")
	}
	last := p.runs.Unclean[n-1]
	f := warn("%d runs did not end in order, the last was started %s and found dead %s", n, moment(last.Started), moment(last.Found)).
		do("end nodes with SIGTERM and give them time (TimeoutStopSec in a unit, stop_grace_period in compose)")
	if n >= manyUnclean {
		f.Advice += "; so many speak of a lack of memory, of power, or of a bug: keep the logs"
	}
	return f
}
