package tidy

import (
	"path"
	"strings"
)

// kind is what a package is in the house: it decides which rules it lives by.
type kind int

const (
	// pure packages are functions of their arguments: no clock, no I/O, no
	// randomness, no goroutines, no floats, no order of a map in a result.
	pure kind = iota
	// guest packages run inside the sandbox as well: pure, and of the standard
	// library only what costs nothing there.
	guest
	// adapter packages each bind one outside thing; only the table's arrows join
	// them.
	adapter
	// loop packages are where adapters and cores are joined and goroutines live.
	loop
	// command packages hold verbs and flags.
	command
	// helper packages are imported by tests only.
	helper
	// tool packages are imported by nobody.
	tool
)

// row is one package's line of the table.
type row struct {
	kind kind
	ours string // packages of ours it may import, blank-separated; a trailing /... takes what is below
	std  string // pure and guest: standard packages beyond those their kind may use
	libs string // outside libraries it may import, and what is below them
}

// pureStd is what every pure package may use of the standard library, guestStd
// every file of a guest that runs in the sandbox. What is missing here reads a clock, does I/O, is random, starts
// goroutines or hides state.
const (
	pureStd = "bytes cmp container/heap crypto/ed25519 crypto/sha256 encoding/binary encoding/hex encoding/json errors " +
		"fmt hash iter maps math math/bits slices sort strconv strings unicode/utf8"
	guestStd = "bytes cmp errors math/bits slices strings"
)

// testLibs are the outside libraries that only tests use.
const testLibs = "github.com/VictoriaMetrics/metricsql go.yaml.in/yaml github.com/rogpeppe/go-internal github.com/coder/websocket github.com/ethereum/go-ethereum golang.org/x/sync"

// table is the house: every package, what it is, and the arrows that leave it.
// Arrows point down. A pure package never imports an adapter; adapters never
// import each other except where a row says so; nothing imports tools or cmd.
//
// A key that ends in /* stands for every package directly below.
var table = map[string]row{
	// The nouns.
	"host/invariant": {kind: pure},
	"host/chain":     {kind: pure, ours: "stf-modules/abi host/invariant"},

	// The cores.
	"host/state": {kind: pure, ours: "host/chain host/invariant host/state/proof host/state/internal/lanes",
		std: "sync/atomic hash/maphash"}, // maphash: the order of an index in memory, which no result shows
	"host/state/proof":             {kind: pure},                                        // the standard library alone: for anybody, without the node
	"host/state/internal/lanes":    {kind: pure, libs: "golang.org/x/sys"},              // x/sys/cpu: which of two ways to the same hash this processor has
	"host/secp/internal/lanes":     {kind: pure, libs: "golang.org/x/sys", std: "sync"}, // sync: a table is made once
	"host/secp/internal/lanes/gen": {kind: pure, std: "math/big"},                       // bounds of more than 64 bits
	"host/stf":                     {kind: pure, ours: "host/state host/chain host/invariant stf-modules/abi"},
	"host/witness":                 {kind: pure, ours: "host/stf host/state host/state/proof host/chain host/invariant stf-modules/abi"},
	"host/sequencer":               {kind: pure, ours: "host/stf host/state host/chain host/invariant stf-modules/abi"},
	"host/follow":                  {kind: pure, ours: "host/stf host/chain host/invariant stf-modules/abi"},
	"host/quote": {kind: pure, ours: "host/chain host/invariant stf-modules/abi stf-modules/rfq/tx",
		std: "math/big"}, // a price needs products of more than 128 bits
	"host/settle":    {kind: pure, ours: "host/chain host/invariant stf-modules/abi"},
	"snapshot/fetch": {kind: pure, ours: "host/chain host/invariant"},

	// The adapters, with the one outside library that each of them owns.
	"host/native":         {kind: adapter, ours: "host/stf host/state host/chain host/invariant stf-modules/abi stf-modules/sdk"},
	"host/wasm":           {kind: adapter, ours: "host/stf host/state host/chain host/invariant stf-modules/abi", libs: "github.com/tetratelabs/wazero golang.org/x/sys"},
	"host/store":          {kind: adapter, ours: "host/chain host/invariant host/follow host/store/vfs stf-modules/abi", libs: "go.etcd.io/bbolt golang.org/x/sys"},
	"host/store/vfs":      {kind: adapter, libs: "golang.org/x/sys"},
	"host/logs":           {kind: adapter},
	"host/procs":          {kind: adapter},
	"host/oracle":         {kind: adapter, ours: "host/chain host/invariant"},
	"host/wire":           {kind: adapter, ours: "host/chain host/follow snapshot/fetch host/invariant stf-modules/abi", libs: "github.com/coder/websocket"},
	"host/rpc":            {kind: adapter, ours: "host/rpc/api host/rpc/metrics host/rpc/internal/* host/procs " + rpcOurs, libs: "github.com/coder/websocket github.com/prometheus/client_golang"},
	"host/rpc/api":        {kind: adapter, ours: "host/rpc/internal/* " + rpcOurs},
	"host/rpc/internal/*": {kind: adapter},
	"host/rpc/market":     {kind: adapter, ours: "host/rpc host/rpc/api stf-modules/rfq " + rpcOurs},          // the market's answers; rpc itself knows no module
	"host/rpc/metrics":    {kind: adapter, ours: "host/rpc/api", libs: "github.com/prometheus/client_golang"}, // what a process shows of itself
	"host/rpc/client":     {kind: adapter, ours: "host/rpc/api host/rpc/internal/* " + rpcOurs, libs: "github.com/coder/websocket"},
	"host/web":            {kind: adapter},
	"host/secp":           {kind: adapter, ours: "host/chain host/stf host/secp/internal/lanes", libs: "github.com/ethereum/go-ethereum/crypto"},
	"host/keys":           {kind: adapter, ours: "host/secp host/chain", libs: "github.com/ethereum/go-ethereum/accounts/keystore golang.org/x/crypto"},
	"snapshot":            {kind: adapter, ours: "host/chain host/state host/store/vfs host/invariant stf-modules/abi", libs: "github.com/klauspost/compress"}, // vfs: the same faults are injected into both

	// The loops.
	"host/node":   {kind: loop, ours: belowNode, libs: "golang.org/x/sys"}, // x/sys: how full the disk is
	"host/relay":  {kind: loop, ours: "host/settle host/follow host/wire host/rpc/api host/rpc/client host/rpc/metrics host/secp host/keys host/chain host/invariant stf-modules/abi stf-modules/rfq/..."},
	"host/solver": {kind: loop, ours: "host/quote host/rpc/api host/rpc/client host/rpc/market host/secp host/chain host/invariant stf-modules/abi stf-modules/rfq/..."},

	// The commands.
	"cmd/*":               {kind: command, ours: "cmd/internal/* host/node host/relay host/solver host/quote " + belowNode, libs: "github.com/spf13/cobra github.com/spf13/pflag"},
	"cmd/internal/*":      {kind: command, ours: "cmd/internal/* host/node host/relay host/solver host/quote " + belowNode},
	"cmd/internal/doctor": {kind: command, ours: "cmd/internal/* host/node " + belowNode, libs: "golang.org/x/sys"}, // x/sys: whether the clock is kept right
	"cmd/internal/cli": {kind: command, ours: "host/node host/relay host/chain host/invariant host/keys host/logs host/secp host/rpc/api host/rpc/client",
		libs: "github.com/spf13/cobra github.com/spf13/pflag github.com/spf13/viper github.com/schollz/progressbar golang.org/x/term"},

	// The modules.
	"stf-modules/abi":       {kind: guest, std: "unsafe"}, // inside a guest alone: whole words, see word_wasip1.go
	"stf-modules/sdk":       {kind: guest, ours: "stf-modules/abi", std: "unsafe"},
	"stf-modules/modules":   {kind: pure, ours: "stf-modules/...", std: "embed"}, // the compiled modules, for programs
	"stf-modules/*":         {kind: guest, ours: "stf-modules/..."},
	"stf-modules/rfq/*":     {kind: guest, ours: "stf-modules/..."},
	"stf-modules/*/guest":   {kind: guest, ours: "stf-modules/..."},
	"stf-modules/chaos/...": {kind: guest, ours: "stf-modules/...", std: "unsafe"}, // does on purpose what a module should not

	// For tests.
	"host/hosttest":          {kind: helper, ours: "host/... stf-modules/..."},
	"host/hosttest/*":        {kind: helper, ours: "host/... stf-modules/..."},
	"host/follow/followtest": {kind: helper, ours: "host/follow host/chain host/invariant host/hosttest"},

	// The tools.
	"tools/tidy": {kind: tool},
	// Other projects' software, to be measured beside ours: a module of its own.
	"tools/peers": {kind: tool, libs: "github.com/cometbft/cometbft github.com/cosmos/iavl github.com/ethereum/go-ethereum github.com/pokt-network/smt"},
	"tools/*":     {kind: tool, ours: "host/... stf-modules/... snapshot snapshot/fetch", libs: "github.com/coder/websocket github.com/klauspost/compress github.com/schollz/progressbar github.com/tetratelabs/wazero"},
}

const (
	rpcOurs   = "host/chain host/stf host/state host/state/proof host/invariant stf-modules/abi stf-modules/rfq/query stf-modules/rfq/tx stf-modules/rfq/params"
	belowNode = "host/rpc host/rpc/market host/rpc/api host/rpc/client host/rpc/metrics host/web host/logs host/procs host/wire host/oracle host/store host/store/vfs host/wasm host/native host/secp host/keys snapshot snapshot/fetch " +
		"host/follow host/sequencer host/witness host/stf host/state host/state/proof host/chain host/invariant stf-modules/..."
)

// rowOf is the table's row for a directory: the longest key that matches it.
func rowOf(dir string) *row {
	var best string
	for key := range table {
		if matches(key, dir) && (len(key) > len(best) || len(key) == len(best) && key < best) {
			best = key
		}
	}
	if best == "" {
		return nil
	}
	r := table[best]
	return &r
}

// matches says whether dir is what pattern names: itself, a pattern of
// [path.Match], or, behind a trailing /..., it and everything below.
func matches(pattern, dir string) bool {
	if top, below := strings.CutSuffix(pattern, "/..."); below {
		return under(dir, top)
	}
	ok, err := path.Match(pattern, dir)
	return ok && err == nil
}

// under says whether p is top or below it.
func under(p, top string) bool { return p == top || strings.HasPrefix(p, top+"/") }

func anyMatches(patterns, dir string) bool {
	for _, p := range strings.Fields(patterns) {
		if matches(p, dir) {
			return true
		}
	}
	return false
}

func anyUnder(tops, p string) bool {
	for _, top := range strings.Fields(tops) {
		if under(p, top) {
			return true
		}
	}
	return false
}
