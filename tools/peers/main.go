// Command peers runs other projects' software so that tools/bench can measure it
// beside ours, in the same run on the same machine: three trees with a root
// (pokt-network/smt, cosmos/iavl, go-ethereum's trie, alone and as its state commits
// it), go-ethereum's block import,
// CometBFT with its kvstore, and the load for ev-node's test application, which
// runs elsewhere.
//
//	go run ./tools/bench -run peers          what it is for
//	go run -C tools/peers . -keys 100000 smt by hand; then type: round 2
//
// It owns how each peer is set up, always in the way that is fastest for the peer
// and still does the same work; what differs is in tools/bench/method.md. It is a
// Go module of its own, so that the product depends on none of this, and imports
// nothing of the product: sizes come as flags.
//
// The parent starts one process for each peer and speaks lines with it:
//
//	start ─▶ {"peer":…} ─▶ ( "round 4" ─▶ {"rate":…,"cpu":…} )* ─▶ end of input
//
// Nothing here is to be called by more than one goroutine, unless it says so.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// peer is software that is ready to be measured.
type peer interface {
	// round works for about d.
	round(ctx context.Context, d time.Duration) (result, error)
	close() error
}

// result is what a round came to.
type result struct {
	n    int           // what was done: keys updated, transactions committed
	took time.Duration // by the clock
	cpu  time.Duration // user and system, of this process
}

// starters set up a peer; which module it is, and what of it, stands beside it, for
// the report.
var starters = map[string]struct {
	module, part string
	start        func(*options) (peer, error)
}{
	"smt":       {"github.com/pokt-network/smt", "", startSMT},
	"iavl":      {"github.com/cosmos/iavl", "", startIAVL},
	"gethtrie":  {"github.com/ethereum/go-ethereum", "its trie alone", startGethTrie},
	"gethstate": {"github.com/ethereum/go-ethereum", "its trie as its state commits it", startGethState},
	"gethchain": {"github.com/ethereum/go-ethereum", "", startGethChain},
	"cometbft":  {"github.com/cometbft/cometbft", "", startCometBFT},
	"evnode":    {"", "", startEvNode},
}

// options are what the flags say.
type options struct {
	peer               string
	keys               int
	keyBytes           int
	valueMin, valueMax int
	batch              int
	accounts, senders  int
	blockTxs, blocks   int
	txBytes            int
	callers, atOnce    int
	roundMost          int
	set                string
	keysMade, load     int
	loadTime           time.Duration
	interval           time.Duration
	dir, url           string

	ctx context.Context // of the whole run
	say func(format string, args ...any)
}

func parse(args []string, errOut io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.IntVar(&o.keys, "keys", 100_000, "trees: keys in the tree")
	f.IntVar(&o.keyBytes, "key-bytes", 21, "trees: length of a key")
	f.IntVar(&o.valueMin, "value-min", 36, "trees: length of the shortest value")
	f.IntVar(&o.valueMax, "value-max", 120, "trees: length of the longest value")
	f.IntVar(&o.batch, "batch", 4000, "trees: keys updated before a root")
	f.IntVar(&o.accounts, "accounts", 100_000, "gethchain: accounts of genesis")
	f.IntVar(&o.senders, "senders", 10_000, "gethchain: accounts of them that send")
	f.IntVar(&o.blockTxs, "block-txs", 1000, "gethchain: transfers in a block")
	f.IntVar(&o.blocks, "blocks", 10, "gethchain: blocks imported in a round")
	f.IntVar(&o.txBytes, "tx-bytes", 100, "cometbft, evnode: length of a transaction")
	f.IntVar(&o.callers, "callers", 8, "cometbft, evnode: connections that load comes over")
	f.IntVar(&o.atOnce, "at-once", 250, "cometbft, evnode: transactions that a caller sends before it waits for answers")
	f.IntVar(&o.roundMost, "round-most", 0, "evnode: transactions that a round has at most; 0: any number")
	f.StringVar(&o.set, "set", setOne, "evnode: the key that transactions set: "+setOne+" for all, each a "+setNew+" one, or random "+setLoaded+" ones")
	f.IntVar(&o.keysMade, "keys-made", 0, "evnode: keys that the application has from earlier runs with -set "+setNew+" or "+setLoaded)
	f.IntVar(&o.load, "load", 100_000, "evnode: with -set "+setLoaded+", keys that it is to have before the rounds")
	f.DurationVar(&o.loadTime, "load-time", 15*time.Minute, "evnode: after which no more keys are loaded")
	f.DurationVar(&o.interval, "interval", 100*time.Millisecond, "cometbft: from a commit to the next block")
	f.StringVar(&o.dir, "dir", "", "cometbft: `directory` for its data, which must be empty")
	f.StringVar(&o.url, "url", "", "evnode: `address` of its test application, http://host:port")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	o.peer = f.Arg(0)
	o.say = func(format string, args ...any) { fmt.Fprintf(errOut, "peers: "+o.peer+": "+format+"\n", args...) }
	if _, known := starters[o.peer]; !known || f.NArg() != 1 {
		return nil, fmt.Errorf("name one peer of %s", strings.Join(names(), ", "))
	}
	return o, o.check()
}

func names() (all []string) {
	for name := range starters {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// The shortest key, and the shortest transaction, that still can be different as
// often as load needs.
const leastKey, leastTx = 16, 24

func (o *options) check() error {
	switch {
	case o.keys < 1 || o.batch < 1 || o.batch > o.keys:
		return fmt.Errorf("-keys is %d and -batch %d, want 1 or more and no batch above the keys", o.keys, o.batch)
	case o.keyBytes < leastKey || o.txBytes < leastTx:
		return fmt.Errorf("-key-bytes is %d and -tx-bytes %d, want %d and %d or more", o.keyBytes, o.txBytes, leastKey, leastTx)
	case o.callers < 1 || o.atOnce < 1:
		return fmt.Errorf("-callers is %d and -at-once %d, want 1 or more", o.callers, o.atOnce)
	case o.set != setOne && o.set != setNew && o.set != setLoaded:
		return fmt.Errorf("-set is %q, want %s, %s or %s", o.set, setOne, setNew, setLoaded)
	case o.roundMost < 0 || o.keysMade < 0 || o.load < 1 || o.loadTime <= 0:
		return fmt.Errorf("-round-most is %d, -keys-made %d, -load %d, -load-time %s: want no less than 0, and something to load", o.roundMost, o.keysMade, o.load, o.loadTime)
	case o.valueMin < 1 || o.valueMax < o.valueMin:
		return fmt.Errorf("-value-min is %d and -value-max %d, want 1 or more, ascending", o.valueMin, o.valueMax)
	case o.senders < 1 || o.accounts < o.senders || o.blockTxs < 1 || o.blocks < 1:
		return fmt.Errorf("-accounts %d, -senders %d, -block-txs %d, -blocks %d: want 1 or more, and no more senders than accounts", o.accounts, o.senders, o.blockTxs, o.blocks)
	case o.peer == "evnode" && o.url == "":
		return errors.New("evnode needs -url")
	case o.peer == "cometbft" && o.dir == "":
		return errors.New("cometbft needs -dir")
	case o.interval <= 0:
		return fmt.Errorf("-interval is %s, want more than 0", o.interval)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// hello is the first line, answer every other one.
type (
	hello struct {
		Peer string `json:"peer"`           // with its version
		Keys int    `json:"keys,omitempty"` // numbered keys that a key-value application has
	}
	answer struct {
		Rate  float64 `json:"rate"`           // a second
		CPU   float64 `json:"cpu"`            // µs of processor time for each
		Keys  int     `json:"keys,omitempty"` // as in hello
		Error string  `json:"error,omitempty"`
	}
)

// keysOf is how many numbered keys a peer has, if it is such an application.
func keysOf(p peer) int {
	if k, ok := p.(interface{ keys() int }); ok {
		return k.keys()
	}
	return 0
}

func command(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) (err error) {
	o, err := parse(args, errOut)
	if err != nil {
		return err
	}
	o.ctx = ctx
	p, err := starters[o.peer].start(o)
	if err != nil {
		return fmt.Errorf("start %s: %w", o.peer, err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(hello{o.title(), keysOf(p)}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := answers.Encode(obey(ctx, p, lines.Text())); err != nil {
			return err
		}
	}
	return nil
}

// obey does what a line asks for.
func obey(ctx context.Context, p peer, line string) answer {
	var seconds float64
	if _, err := fmt.Sscanf(line, "round %g", &seconds); err != nil || seconds <= 0 {
		return answer{Error: fmt.Sprintf("%q is not understood, want `round SECONDS`", line)}
	}
	runtime.GC() // what was made between rounds is nobody's cost
	r, err := p.round(ctx, time.Duration(seconds*float64(time.Second)))
	if err != nil {
		return answer{Keys: keysOf(p), Error: err.Error()}
	}
	return answer{Rate: float64(r.n) / r.took.Seconds(), CPU: float64(r.cpu) / float64(time.Microsecond) / float64(r.n), Keys: keysOf(p)}
}

// title is the peer's module, its version and what of it is measured.
func (o *options) title() string {
	s := starters[o.peer]
	if s.module == "" {
		return o.peer
	}
	title := strings.TrimPrefix(s.module, "github.com/")
	if info, ok := debug.ReadBuildInfo(); ok {
		if i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == s.module }); i >= 0 {
			title += " " + info.Deps[i].Version
		}
	}
	if s.part != "" {
		title += ", " + s.part
	}
	return title
}

// meter measures what is between start and stop, again and again.
type meter struct {
	began time.Time
	used  time.Duration
	result
}

func (m *meter) start() { m.began, m.used = time.Now(), processorTime() }

func (m *meter) stop(n int) {
	m.took += time.Since(m.began)
	m.cpu += processorTime() - m.used
	m.n += n
}

// processorTime is what this process has used, user and system.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage: %v", err)) // it has no other input than a constant
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
