package cli

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/node"
)

// Role decides defaults and which settings matter.
type Role int

// The two kinds of node.
const (
	Write Role = iota
	Read
)

// Setting is one key of the configuration: what it means and what it accepts.
// The table [Settings] and the struct [node.Config] have the same keys; a test
// compares them.
type Setting struct {
	Key     string   // "section.key"
	Doc     string   // one line
	Accepts string   // accepted values, for people
	Flag    string   // without dashes; empty: Key with dashes
	Path    bool     // a file name: relative to the config file that holds it
	Values  []string // all that are accepted, if they can be listed
	Alone   bool     // its flag without a value means true
	Repeats bool     // its flag may be given several times, once for each item

	parse func(any) (any, error)
}

// FlagName is the name of the setting's flag.
func (s *Setting) FlagName() string {
	if s.Flag != "" {
		return s.Flag
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(s.Key)
}

// EnvName is the name of the setting's environment variable.
func (s *Setting) EnvName() string {
	return "KAIZEN_" + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
}

// SectionDocs explains the sections of the config file, in the order in which it
// has them.
var SectionDocs = [][2]string{
	{"block", "How blocks are made. Part of genesis: every node of a chain has the same."},
	{"oracle", "Where prices come from. Only a write node pulls them."},
	{"settler", "Who may settle theses. Part of genesis."},
	{"stf", "The state transition module. Its hash is part of genesis."},
	{"intake", "How much may wait before a sender is told that the node is busy. Write node only."},
	{"sync", "The port over which nodes send each other blocks."},
	{"rpc", "The JSON-RPC port. Keep it on loopback unless something guards it."},
	{"history", "How far back state can be read."},
	{"snapshot", "Snapshots of the whole state, from which a node starts."},
	{"prune", "How long blocks are kept."},
	{"log", "What is written to standard error."},
}

// Settings is every setting, in the order of the config file.
func Settings() []Setting {
	return []Setting{
		text("data_dir", "where the chain is kept", "a directory").path(),

		integer("block.interval_ms", "time between seals, ms", chain.MinIntervalMs, chain.MaxIntervalMs),
		integer("block.max_txs_per_block", "transactions at which a block is sealed at once", 1, chain.MaxBlockTxs),

		text("oracle.service_url", "the price service", "http://HOST:PORT or https://HOST:PORT").check(checkURL),
		integer("oracle.timeout_ms", "how long one pull may take, ms", 1, 60_000),
		integer("oracle.max_stale_ms", "age at which prices are no longer used, ms", chain.MinStaleMs, chain.MaxStaleMs),

		boolean("settler.enabled", "whether SystemSettle transactions are accepted at all"),
		address("settler.address", "the only account that may settle; zero: nobody has been named"),

		text("stf.file", "module to run; empty: the market (rfq) that is built in", "a .wasm file, or empty").path().flag("stf"),
		oneOf("stf.engine", "how the module is run; both give the same results", "compiler", "interpreter").flag("engine"),
		text("stf.cache_dir", "compiled code; empty: a node keeps it in its data directory", "a directory, or empty").path(),

		integer("intake.queue_txs", "transactions between arrival and answer", node.LeastQueueTxs(), 10_000_000),
		integer("intake.workers", "goroutines that recover signatures; 0: one per core", 0, 4096),

		text("sync.listen", "address to serve blocks on; empty: do not serve", "HOST:PORT, or empty").check(checkListen),
		text("sync.write_node", "where a read node gets its blocks", "HOST:PORT, tcp://HOST:PORT, ws://HOST:PORT, tls://HOST:PORT or wss://HOST:PORT").check(checkNode).flag("write-node"),
		integer("sync.poll_ms", "a read node asks for news at least this often, ms", 10, 600_000),
		integer("sync.max_peers", "connections to the sync port", 1, 100_000),
		text("sync.tls_cert", "certificate of the sync port, which is then served with TLS only; empty: without", "a PEM file, or empty").path(),
		text("sync.tls_key", "key of that certificate", "a PEM file, or empty").path(),
		text("sync.tls_ca", "who may vouch for nodes at tls:// and wss:// addresses; empty: whom the system trusts", "a PEM file with certificates, or empty").path(),
		boolean("sync.bootstrap", "a read node in an empty directory starts from the newest snapshot of its sources").alone().flag("bootstrap"),
		list("sync.sources", "nodes to ask for snapshots beside the one to follow, as sync.write_node names one").each(checkNode).flag("source"),
		integer("sync.snapshot_mib_per_second", "rate at which snapshots are sent to all who fetch them together, MiB/s; 0: none are served", 0, 1_000_000),
		text("sync.genesis_hash", "a read node refuses any other chain; empty: takes the write node's on first contact", "0x and 64 hex digits, or empty").check(checkHash).flag("genesis-hash"),

		text("rpc.listen", "address to serve JSON-RPC on; empty: do not serve", "HOST:PORT, or empty").check(checkListen),
		list("rpc.allowed_hosts", "Host headers that are answered beside loopback names"),
		list("rpc.allowed_origins", "web pages that may call from a browser"),
		integer("rpc.max_body_bytes", "largest request, bytes; 0: the default", 0, 1<<30),
		integer("rpc.max_batch", "calls in one batch; 0: the default", 0, 1_000_000),
		integer("rpc.max_connections", "connections to the RPC port; 0: the default", 0, 1_000_000),
		integer("rpc.max_subscriptions", "subscriptions of one WebSocket connection; 0: the default", 0, 1_000_000),
		integer("rpc.max_total_subscriptions", "subscriptions of all clients together; 0: the default", 0, 10_000_000),
		integer("rpc.max_subscription_lag", "blocks that a subscriber who was up to date may fall behind; 0: the default", 0, 1_000_000_000),
		integer("rpc.max_stream_txs", "transactions of one submit stream without an answer; 0: the default", 0, 10_000_000),
		integer("rpc.max_stream_bytes", "bytes of these; 0: the default", 0, 1<<30),
		integer("rpc.rate_per_second", "calls per second and address, loopback exempt; 0: the default", 0, 1_000_000_000),

		integer("history.blocks", "blocks back for which the state is in memory", 1, 10_000_000),
		integer("history.states", "older states kept in memory for queries, each about as large as the newest; 0: queries of older blocks are refused", 0, 64),
		integer("history.max_replay_blocks", "stored blocks that are executed again at most to answer for an older block", 1, 1_000_000_000),

		integer("snapshot.interval_blocks", "blocks from one snapshot to the next; 0: none are taken", 0, 1_000_000_000),
		integer("snapshot.keep", "newest snapshots that are kept, beside those that they continue; an archive node keeps one more in every half of history.max_replay_blocks", 1, 1000),
		integer("snapshot.full_every", "of so many snapshots one holds the whole state, the others what changed since the one before; 1: all are whole", 1, node.MaxFullEvery),
		boolean("snapshot.sign", "whether a write node signs its snapshots with the sequencer's key"),

		oneOf("prune.mode", "archive keeps every block, aggressive the newest ones", node.PruneArchive, node.PruneAggressive),
		integer("prune.keep_blocks", "blocks that an aggressive node keeps at least; up to a snapshot interval and a tenth more are on disk", 1_000, 1_000_000_000),

		text("log.level", "least level that is written; 'kaizen log-level' changes it while the node runs", LevelsAccepted).check(checkLevels),
		oneOf("log.format", "form of a log line", logs.Forms...),
	}
}

// Defaults are a node's settings before anybody has set any.
func Defaults(role Role) node.Config {
	c := node.Defaults()
	if role == Read {
		c.RPC.Listen, c.Sync.Listen = "127.0.0.1:8547", "127.0.0.1:9001"
	}
	return c
}

func (s Setting) path() Setting            { s.Path = true; return s }
func (s Setting) flag(name string) Setting { s.Flag = name; return s }
func (s Setting) alone() Setting           { s.Alone = true; return s }

// each adds a test to every item of a list.
func (s Setting) each(ok func(string) bool) Setting {
	s.Repeats = true
	s.Accepts += ", each HOST:PORT or SCHEME://HOST:PORT"
	s.parse = func(v any) (any, error) {
		items, err := parseList(v)
		if err == nil && slices.ContainsFunc(items.([]string), func(item string) bool { return item == "" || !ok(item) }) {
			err = errRejected
		}
		return items, err
	}
	return s
}

// check adds a test to a text setting.
func (s Setting) check(ok func(string) bool) Setting {
	s.parse = func(v any) (any, error) {
		t, isText := v.(string)
		if !isText || !ok(t) {
			return nil, errRejected
		}
		return t, nil
	}
	return s
}

// errRejected says that a value is not accepted; which are, the setting says.
var errRejected = fmt.Errorf("not accepted")

func text(key, doc, accepts string) Setting {
	return Setting{Key: key, Doc: doc, Accepts: accepts}.check(func(string) bool { return true })
}

func integer(key, doc string, least, most uint64) Setting {
	return Setting{Key: key, Doc: doc, Accepts: fmt.Sprintf("a whole number, %d to %d", least, most), parse: func(v any) (any, error) {
		n, err := wholeNumber(v)
		if err != nil || n < least || n > most {
			return nil, errRejected
		}
		return n, nil
	}}
}

// wholeNumber takes what TOML (int64), the environment and flags (text) hold; a
// float or a sign is a mistake, even if it could be rounded away.
func wholeNumber(v any) (uint64, error) {
	switch v := v.(type) {
	case string:
		return strconv.ParseUint(v, 10, 64)
	case int64:
		if v >= 0 {
			return uint64(v), nil
		}
	case uint64:
		return v, nil
	}
	return 0, errRejected
}

func boolean(key, doc string) Setting {
	return Setting{Key: key, Doc: doc, Accepts: "true or false", parse: func(v any) (any, error) {
		switch fmt.Sprint(v) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, errRejected
	}}
}

func oneOf(key, doc string, values ...string) Setting {
	s := text(key, doc, strings.Join(values[:len(values)-1], ", ")+" or "+values[len(values)-1]).
		check(func(s string) bool { return slices.Contains(values, s) })
	s.Values = values
	return s
}

func address(key, doc string) Setting {
	return Setting{Key: key, Doc: doc, Accepts: "0x and 40 hex digits", parse: func(v any) (any, error) {
		if a, ok := v.(chain.Address); ok {
			return a, nil
		}
		a, err := chain.ParseAddress(fmt.Sprint(v))
		if err != nil {
			return nil, errRejected
		}
		return a, nil
	}}
}

func list(key, doc string) Setting {
	return Setting{Key: key, Doc: doc, Accepts: `a list of texts: ["a", "b"] in the file, a,b elsewhere`, parse: parseList}
}

func parseList(v any) (any, error) {
	items := []string{}
	switch v := v.(type) {
	case string:
		if v != "" {
			items = strings.Split(v, ",")
		}
	case []string:
		items = append(items, v...)
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errRejected
			}
			items = append(items, s)
		}
	default:
		return nil, errRejected
	}
	return items, nil
}

func checkURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func checkListen(s string) bool {
	if s == "" {
		return true
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func checkNode(s string) bool {
	if s == "" {
		return true
	}
	if scheme, rest, found := strings.Cut(s, "://"); found {
		if !slices.Contains([]string{"tcp", "ws", "tls", "wss"}, scheme) {
			return false
		}
		s = strings.TrimSuffix(rest, "/")
	}
	host, _, err := net.SplitHostPort(s)
	return err == nil && host != "" && checkListen(s)
}

func checkLevels(s string) bool {
	_, err := logs.ParseLevels(s)
	return err == nil
}

func checkHash(s string) bool {
	_, err := chain.ParseHash(s)
	return s == "" || err == nil
}
