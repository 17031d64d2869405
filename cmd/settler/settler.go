package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/relay"
	"github.com/kaizenchain/kaizen/host/secp"
)

// Environment variables that stand in for flags.
const (
	keyVariable   = "SETTLER_PRIVATE_KEY"
	pairsVariable = "SETTLER_PAIRS"
	dirVariable   = "SETTLER_DATA_DIR"
)

// flags is the command line.
type flags struct {
	set           *pflag.FlagSet
	writeNode     string
	rpcURL        string
	pairs         []string
	checkInterval uint32
	batchSize     int
	buffer        uint64
	metricsPort   uint16
	metricsHost   string
	dataDir       string
	jsonLogs      bool
	logLevel      string

	privateKey string
	keyFile    string
	keystore   string
	dev        int
	password   *cli.PasswordFlag
}

func newRoot(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "settler",
		Short: "Settle theses as they are broken or become due",
		Long: "Settler follows the event stream of a node, sees breaches as prices arrive, and settles each thesis once.\n" +
			"It keeps its place in --data-dir and goes on from there; what it missed it asks the node for. Nodes that are\n" +
			"away are waited for. Run one for all pairs, or several for pairs of their own, each with its own directory.\n\n" +
			"The key is that of the account that the chain's genesis names as settler (or of one with the settler\n" +
			"permission). Without it theses are settled a minute after their challenge windows, the chain deciding.\n\n" +
			"Exit codes: 0 told to stop, 1 error, 2 usage.",
		Example: "  settler --pairs BTC/USDT --keystore settler.json --password-file pw\n" +
			"  settler --write-node ws://10.0.0.1:9000 --rpc-url http://10.0.0.1:8545 --key-file settler.key\n" +
			"  settler --dev-account 9                       beside 'kaizen dev'\n" +
			"  SETTLER_PRIVATE_KEY=… SETTLER_PAIRS=BTC/USDT,ETH/USDT settler --json-logs",
		Version: node.Version,
		Args:    cli.Args(),
	}
	f := addFlags(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(c.Context(), std) }
	c.AddCommand(newLogLevel(std), cli.NewMan("settler", "settler.1, settler-log-level.1", "  settler man /usr/local/share/man/man1 && man settler"))
	return c
}

func addFlags(set *pflag.FlagSet) *flags {
	f := &flags{set: set}
	set.StringVarP(&f.writeNode, "write-node", "w", relay.DefaultWriteNode, "sync `address` of a node: HOST:PORT, tcp://, ws://, tls:// or wss://HOST:PORT")
	set.StringVarP(&f.rpcURL, "rpc-url", "r", relay.DefaultRPCURL, "`URL` of the write node's JSON-RPC, where settlements are sent")
	set.Uint32Var(&f.checkInterval, "check-interval", uint32(relay.DefaultCheckInterval/time.Millisecond), "how often to look for theses that have become due, `ms`")
	set.IntVar(&f.batchSize, "batch-size", relay.DefaultBatchSize, "most settlements in one batch")
	set.Uint64Var(&f.buffer, "deadline-buffer", relay.DefaultBufferMs, "wait this long after the challenge window before a user wins, `ms`")
	set.Uint16Var(&f.metricsPort, "metrics-port", relay.DefaultMetricsPort, "`port` of /metrics, /livez and /readyz; 0: off")
	set.StringVar(&f.metricsHost, "metrics-host", "127.0.0.1", "`address` that the metrics port is bound to")
	f.addDirectory()
	set.BoolVar(&f.jsonLogs, "json-logs", false, "log as JSON")
	set.StringVar(&f.logLevel, "log-level", "info", "least `level` that is logged: debug, info, warn or error; 'settler log-level' changes it while the settler runs")

	set.StringVarP(&f.privateKey, "private-key", "k", "", "private `key`, 64 hex digits: every user of this machine can see it; use --keystore")
	set.StringVar(&f.keystore, "keystore", "", "web3 keystore `file` (version 3) with the settler's key")
	set.StringVar(&f.keyFile, "key-file", "", "`file` with the settler's key: 64 hex digits, mode 0600")
	set.IntVar(&f.dev, "dev-account", 0, "account 0 to 9 of the development mnemonic; 9 is the settler of 'kaizen dev'")
	f.password = cli.AddPassword(set)
	return f
}

// addDirectory adds what says where a settler has its files.
func (f *flags) addDirectory() {
	f.set.StringSliceVarP(&f.pairs, "pairs", "p", nil, "markets to settle, such as BTC/USDT,ETH/USDT (default all; environment "+pairsVariable+")")
	f.set.StringVar(&f.dataDir, "data-dir", "", "`directory` of the settler's own files (default ~/.kaizen/settler/PAIRS; environment "+dirVariable+")")
}

// directory is where a settler of pairs has its files.
func (f *flags) directory(pairs []string) string {
	if f.dataDir != "" {
		return f.dataDir
	}
	if dir := os.Getenv(dirVariable); dir != "" {
		return dir
	}
	return filepath.Join(cli.DefaultDataDir(), "settler", dirName(pairs))
}

// run settles until ctx ends.
func (f *flags) run(ctx context.Context, std cli.IO) error {
	log, err := f.logger(std)
	if err != nil {
		return err
	}
	opt, err := f.options(std, log)
	if err != nil {
		return err
	}
	if opt.Metrics, err = f.listen(log); err != nil {
		return err
	}
	s, err := relay.New(opt)
	if err != nil {
		if opt.Metrics != nil {
			err = errors.Join(err, opt.Metrics.Close())
		}
		return explain(err, &opt)
	}
	if l, err := control(opt.DataDir, log); err == nil {
		defer l.Close()
	} else { // the name of a socket may not be long
		log.Warn("the log's level cannot be changed while this settler runs", "error", err)
	}
	cli.NotifyUp(ctx, log)
	return explain(errors.Join(s.Run(ctx), s.Close()), &opt)
}

func (f *flags) logger(std cli.IO) (*slog.Logger, error) {
	cfg := node.LogConfig{Level: f.logLevel, Format: logs.Text}
	if _, err := logs.ParseLevels(f.logLevel); err != nil {
		return nil, cli.Usagef("--log-level: %w", err)
	}
	if f.jsonLogs {
		cfg.Format = logs.JSON
	}
	return cli.NewLogger(std.Err, cfg), nil
}

// options are the command line and the environment as the loop wants them.
func (f *flags) options(std cli.IO, log *slog.Logger) (relay.Options, error) {
	opt := relay.Options{WriteNode: f.writeNode, RPCURL: f.rpcURL, CheckInterval: time.Duration(f.checkInterval) * time.Millisecond,
		BatchSize: f.batchSize, BufferMs: f.buffer, Agent: "settler/" + node.Version, Log: log}
	var err error
	if opt.Pairs, err = f.pairNames(); err != nil {
		return opt, err
	}
	opt.DataDir = f.directory(opt.Pairs)
	opt.Key, err = f.key(std, log)
	return opt, err
}

// pairNames are the names of the markets, each once, in order.
func (f *flags) pairNames() ([]string, error) {
	names := f.pairs
	if !f.set.Changed("pairs") && os.Getenv(pairsVariable) != "" {
		names = strings.Split(os.Getenv(pairsVariable), ",")
	}
	names = slices.Clone(names)
	for i := range names {
		if names[i] = strings.TrimSpace(names[i]); names[i] == "" {
			return nil, cli.Usagef("--pairs %q: a name is missing, want names of markets such as BTC/USDT,ETH/USDT", strings.Join(f.pairs, ","))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// maxDirName bounds the name of a directory that is made of pairs, bytes.
const maxDirName = 100

// dirName is a name for the directory of those who settle these pairs, so that
// settlers of other pairs on one machine do not meet.
func dirName(pairs []string) string {
	if len(pairs) == 0 {
		return "all"
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, strings.Join(pairs, "_"))
	if len(name) > maxDirName {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
	}
	return name
}

// key reads the key that signs: from a flag, and only one, or the environment.
func (f *flags) key(std cli.IO, log *slog.Logger) (*secp.Key, error) {
	var given []string
	for _, name := range []string{"private-key", "keystore", "key-file", "dev-account"} {
		if f.set.Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) > 1 {
		return nil, cli.Usagef("%s: choose one key, not %d", strings.Join(given, ", "), len(given))
	}
	if len(given) == 0 {
		return fromEnvironment()
	}
	switch given[0] {
	case "--keystore":
		password, err := f.password.Read(std, fmt.Sprintf("password of %s: ", f.keystore))
		if err != nil {
			return nil, err
		}
		return keys.Load(f.keystore, password)
	case "--key-file":
		return keys.ReadHexFile(f.keyFile)
	case "--dev-account":
		return asUsage(given[0])(keys.DevKey(f.dev))
	}
	log.Warn("a key on the command line can be seen by every user of this machine: use --keystore, --key-file or the variable " + keyVariable)
	return asUsage(given[0])(secp.ParseKey(f.privateKey))
}

func fromEnvironment() (*secp.Key, error) {
	secret := os.Getenv(keyVariable)
	if secret == "" {
		return nil, cli.Hint(cli.Usagef("no key to sign with"), "use --keystore or --key-file, or the variable %s; beside 'kaizen dev' --dev-account 9", keyVariable)
	}
	return asUsage("environment variable " + keyVariable)(secp.ParseKey(secret))
}

// asUsage makes an error one of usage, and says whose.
func asUsage(what string) func(*secp.Key, error) (*secp.Key, error) {
	return func(key *secp.Key, err error) (*secp.Key, error) {
		if err != nil {
			err = &cli.UsageError{Err: fmt.Errorf("%s: %w", what, err)}
		}
		return key, err
	}
}

// listen binds the metrics port. One that nobody asked for by number is done
// without if another settler has it.
func (f *flags) listen(log *slog.Logger) (net.Listener, error) {
	if f.metricsPort == 0 {
		return nil, nil
	}
	address := net.JoinHostPort(f.metricsHost, strconv.Itoa(int(f.metricsPort)))
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		log.Info("metrics", "url", "http://"+l.Addr().String()+"/metrics")
		return l, nil
	case f.set.Changed("metrics-port"):
		return nil, cli.Hint(fmt.Errorf("metrics port: %w", err), "choose another with --metrics-port, or 0 for none")
	}
	log.Warn("no metrics: the port is taken, choose another with --metrics-port", "address", address, "error", err)
	return nil, nil
}

// explain adds what to do next.
func explain(err error, opt *relay.Options) error {
	switch {
	case errors.Is(err, relay.ErrOptions):
		return &cli.UsageError{Command: "settler", Err: err}
	case errors.Is(err, relay.ErrPair):
		return cli.Hint(&cli.UsageError{Err: err}, "'kaizen query markets' lists them; --pairs takes names separated by commas")
	case errors.Is(err, relay.ErrInUse):
		return cli.Hint(err, "a settler of the same pairs runs on this machine; another one needs its own --data-dir")
	case errors.Is(err, relay.ErrOtherChain):
		return cli.Hint(err, "--write-node %s and --rpc-url %s have to be of one chain", opt.WriteNode, opt.RPCURL)
	}
	return err
}
