package doctor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/store/vfs"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/stf-modules/modules"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func testGenesis(t *testing.T) *chain.Genesis {
	t.Helper()
	code, _ := modules.Lookup("rfq")
	g := &chain.Genesis{ChainID: 7, Time: 1, IntervalMs: 100, MaxTxsPerBlock: 1000, MaxStaleMs: 3000, SettlerEnabled: true, ModuleHash: sha256.Sum256(code)}
	copy(g.Sequencer[:], testKey.Public().(ed25519.PublicKey))
	return g
}

// prices is a price service whose clock and prices are off by so many ms.
func prices(t *testing.T, clock, age int64) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now().UnixMilli() + clock
		_, _ = io.WriteString(w, `{"timestamp":`+strconv.FormatInt(now, 10)+`,"prices":{"BTC/USDT":{"base":"0x0000000000000000000000000000000000000001","quote":"0x0000000000000000000000000000000000000100",`+
			`"price":"104250000000","decimals":6,"lastUpdate":`+strconv.FormatInt(now-age, 10)+`,"sources":["x"]}}}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// healthy is a write node's directory in order.
func healthy(t *testing.T) *Patient {
	t.Helper()
	dir := t.TempDir()
	must(t, node.Init(dir, testGenesis(t)))
	must(t, node.WriteSequencerKey(dir, testKey))
	cfg := node.Defaults()
	cfg.DataDir, cfg.RPC.Listen, cfg.Sync.Listen = dir, "127.0.0.1:0", "127.0.0.1:0"
	cfg.Oracle.ServiceURL = prices(t, 0, 0)
	cfg.Oracle.TimeoutMs = 1000
	return &Patient{Config: cfg, Role: api.RoleWrite, Now: func() uint64 { return uint64(time.Now().UnixMilli()) }}
}

func find(t *testing.T, findings []Finding, check string) Finding {
	t.Helper()
	for _, f := range findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no check %s", check)
	return Finding{}
}

// Every finding that is not good says what to do.
func advised(t *testing.T, findings []Finding) {
	t.Helper()
	for _, f := range findings {
		if bad := f.Result == Warn || f.Result == Fail; bad != (f.Advice != "") || f.Detail == "" || f.Check == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestHealthy(t *testing.T) {
	findings := Examine(t.Context(), healthy(t))
	advised(t, findings)
	for _, f := range findings {
		if f.Result == Fail {
			t.Errorf("%+v", f)
		}
	}
}

// One thing is broken at a time, and the check that is about it says so.
func TestBroken(t *testing.T) {
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for _, c := range []struct {
		name   string
		breaks func(t *testing.T, p *Patient)
		check  string
		result Result
		detail string
	}{
		{"no directory", func(t *testing.T, p *Patient) { p.Config.DataDir = filepath.Join(t.TempDir(), "none") }, "directory", Fail, "holds no chain"},
		{"no key", func(t *testing.T, p *Patient) { must(t, os.Remove(filepath.Join(p.Config.DataDir, node.KeyFileName))) }, "key", Fail, "is missing"},
		{"open key", func(t *testing.T, p *Patient) {
			must(t, os.Chmod(filepath.Join(p.Config.DataDir, node.KeyFileName), 0o644))
		}, "key", Fail, "others can read it"},
		{"another key", func(t *testing.T, p *Patient) {
			must(t, os.Remove(filepath.Join(p.Config.DataDir, node.KeyFileName)))
			must(t, node.WriteSequencerKey(p.Config.DataDir, other))
		}, "key", Fail, "is not this chain's"},
		{"another module", func(t *testing.T, p *Patient) {
			code, _ := modules.Lookup("counter")
			p.Config.STF.File = filepath.Join(t.TempDir(), "counter.wasm")
			must(t, os.WriteFile(p.Config.STF.File, code, 0o600))
		}, "module", Fail, "the chain runs module"},
		{"no module", func(_ *testing.T, p *Patient) { p.Config.STF.File = "none.wasm" }, "module", Fail, "none.wasm"},
		{"another interval", func(_ *testing.T, p *Patient) { p.Config.Block.IntervalMs = 200 }, "configuration", Fail, "block.interval_ms is 200"},
		{"a slip of the pen", func(_ *testing.T, p *Patient) { p.Unknown = []string{"KAIZEN_RPC_LISTN"} }, "configuration", Warn, "KAIZEN_RPC_LISTN"},
		{"port taken", func(t *testing.T, p *Patient) { p.Config.RPC.Listen = occupied(t) }, "rpc port", Fail, "another process has it"},
		{"address of others", func(_ *testing.T, p *Patient) { p.Config.Sync.Listen = "192.0.2.1:9000" }, "sync port", Fail, "192.0.2.1"},
		{"open to all", func(_ *testing.T, p *Patient) { p.Config.RPC.Listen = "0.0.0.0:0" }, "rpc port", Warn, "open to other machines"},
		{"not served", func(_ *testing.T, p *Patient) { p.Config.RPC.Listen = "" }, "rpc port", Skipped, "empty"},
		{"no prices", func(_ *testing.T, p *Patient) { p.Config.Oracle.ServiceURL = "http://127.0.0.1:1" }, "price service", Fail, "refused"},
		{"old prices", func(t *testing.T, p *Patient) { p.Config.Oracle.ServiceURL = prices(t, 0, 5000) }, "price service", Fail, "1 older than 3000 ms"},
		{"clock ahead", func(t *testing.T, p *Patient) { p.Config.Oracle.ServiceURL = prices(t, -2000, 0) }, "clock", Fail, "from the price service's clock"},
		{"clock behind", func(t *testing.T, p *Patient) { p.Config.Oracle.ServiceURL = prices(t, 2000, 0) }, "clock", Fail, "from the price service's clock"},
		{"no snapshots", func(_ *testing.T, p *Patient) { p.Config.Snapshot.IntervalBlocks = 0 }, "snapshots", Warn, "none are taken"},
		{"damaged snapshot", func(t *testing.T, p *Patient) {
			must(t, os.MkdirAll(filepath.Join(p.Config.DataDir, "snapshots", "00000000000000000007-0123456789abcdef"), 0o700))
		}, "snapshots", OK, "none yet"}, // without a manifest it is not finished, and no snapshot
		{"killed", func(t *testing.T, p *Patient) {
			runs(t, p, `{"version":1,"running":{"started":1,"pid":4711,"program":"0.1.0","role":"write"},"unclean":[]}`)
		}, "process", Warn, "pid 4711"},
		{"killed before", func(t *testing.T, p *Patient) {
			runs(t, p, `{"version":1,"running":null,"unclean":[{"started":1000,"found":2000},{"started":3000,"found":4000}]}`)
		}, "shutdown", Warn, "2 runs did not end in order, the last was started 1970-01-01T00:00:03Z"},
		{"file of runs", func(t *testing.T, p *Patient) { runs(t, p, `{`) }, "shutdown", Warn, "runs.json"},
		{"starting", func(t *testing.T, p *Patient) {
			lock, err := vfs.OS{}.Lock(filepath.Join(p.Config.DataDir, "LOCK"), "pid 4711")
			must(t, err)
			t.Cleanup(func() { lock.Close() })
		}, "process", Warn, "pid 4711 holds the directory"},
		{"node gone silent", func(t *testing.T, p *Patient) {
			lock, err := vfs.OS{}.Lock(filepath.Join(p.Config.DataDir, "LOCK"), "pid 4711")
			must(t, err)
			t.Cleanup(func() { lock.Close() })
			runs(t, p, `{"version":1,"running":{"started":1,"pid":4711,"program":"0.1.0","role":"write","rpc":"127.0.0.1:1","token":"T"},"unclean":[]}`)
		}, "node", Fail, "does not answer"},
		{"evidence", func(t *testing.T, p *Patient) {
			must(t, os.MkdirAll(filepath.Join(p.Config.DataDir, "evidence"), 0o700))
			must(t, os.WriteFile(filepath.Join(p.Config.DataDir, "evidence", "block-7.json"), nil, 0o600))
		}, "evidence", Warn, "block-7.json"},
		{"no source", func(_ *testing.T, p *Patient) { p.Role = api.RoleRead }, "source", Fail, "is empty"},
		{"source away", func(_ *testing.T, p *Patient) { p.Role, p.Config.Sync.WriteNode = api.RoleRead, "127.0.0.1:1" }, "source", Fail, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := healthy(t)
			c.breaks(t, p)
			findings := Examine(t.Context(), p)
			advised(t, findings)
			if f := find(t, findings, c.check); f.Result != c.result || !strings.Contains(f.Detail, c.detail) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func runs(t *testing.T, p *Patient, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(p.Config.DataDir, node.RunsFileName), []byte(text), 0o600))
}

func occupied(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// What a machine says is judged apart, because no test can have a full disk.
func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	cfg := node.OracleConfig{ServiceURL: "http://x", TimeoutMs: 10, MaxStaleMs: 3000}
	for name, c := range map[string]struct {
		f    Finding
		want Result
	}{
		"full":                 {judgeSpace(1<<30 - 1), Fail},
		"nearly full":          {judgeSpace(5 << 30), Warn},
		"room":                 {judgeSpace(50 << 30), OK},
		"fast disk":            {judgeSpeed([]time.Duration{ms, ms / 10, ms / 10}, 100*ms), OK},
		"one slow sync":        {judgeSpeed([]time.Duration{ms, 200 * ms, ms}, 100*ms), Warn},
		"slow disk":            {judgeSpeed([]time.Duration{20 * ms, 20 * ms, ms}, 100*ms), Warn},
		"useless disk":         {judgeSpeed([]time.Duration{60 * ms}, 100*ms), Fail},
		"memory":               {judgeMemory(2<<30, 0), OK},
		"little memory":        {judgeMemory(1<<29, 0), Warn},
		"a small group":        {judgeMemory(8<<30, 1<<29), Warn},
		"files":                {judgeFiles(65536), OK},
		"few files":            {judgeFiles(1024), Warn},
		"clock":                {judgeClock(-20, false), OK},
		"unsynchronised":       {judgeClock(20, true), Warn},
		"clock off":            {judgeClock(-600, false), Fail},
		"slow service":         {judgeOracle(&oracle.Answer{Entries: []oracle.Entry{{LastUpdate: 9000}}}, 20*ms, &cfg, 9000), Warn},
		"one price is old":     {judgeOracle(&oracle.Answer{Entries: []oracle.Entry{{LastUpdate: 9000}, {LastUpdate: 5000}}}, ms, &cfg, 9000), Warn},
		"nothing but bad":      {judgeOracle(&oracle.Answer{Entries: []oracle.Entry{{Bad: &oracle.Refusal{}}}}, ms, &cfg, 9000), Fail},
		"no prices":            {judgeOracle(&oracle.Answer{}, ms, &cfg, 9000), Fail},
		"prices":               {judgeOracle(&oracle.Answer{Entries: []oracle.Entry{{LastUpdate: 9000}}}, ms, &cfg, 9000), OK},
		"source of another":    {judgeDial("a", wire.ErrGenesis), Fail},
		"source of other days": {judgeDial("a", wire.ErrVersion), Fail},
		"source away":          {judgeDial("a", errors.New("refused")), Fail},
	} {
		c.f.Check = name
		advised(t, []Finding{c.f})
		if c.f.Result != c.want {
			t.Errorf("%s: %+v, want %s", name, c.f, c.want)
		}
	}
}

func TestMemoryAvailable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "meminfo")
	must(t, os.WriteFile(name, []byte("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), 0o600))
	if n, err := memoryAvailable(name); n != 2<<20 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	must(t, os.WriteFile(name, []byte("MemTotal: 9 kB\n"), 0o600))
	if _, err := memoryAvailable(name); err == nil {
		t.Error("memory was made up")
	}
}

// The bundle has what helps and nothing that is secret: the key, the token, the
// user and password of an address are nowhere in it.
func TestBundle(t *testing.T) {
	p := healthy(t)
	p.Settings = []Setting{{"oracle.service_url", "https://user:hunter2@prices.example/p?apikey=hunter3#hunter4", "file"}, {"rpc.listen", "127.0.0.1:8545", "default"}, {"oracle.x", "http://%zz:hunter5@", "flag"}}
	runs(t, p, `{"version":1,"running":{"started":1,"pid":4711,"program":"0.1.0","role":"write","rpc":"127.0.0.1:1","token":"hunter6"},"unclean":[]}`)
	lock, err := vfs.OS{}.Lock(filepath.Join(p.Config.DataDir, "LOCK"), "pid 4711")
	must(t, err)
	defer lock.Close()
	findings := Examine(t.Context(), p)
	var out bytes.Buffer
	must(t, WriteBundle(t.Context(), &out, p, findings))
	files := unpack(t, &out)
	for _, name := range []string{"findings.json", "config.json", "machine.json", "runs.json", "files.txt", "node/metrics.txt", "node/status.json"} {
		if files["kaizen-doctor/"+name] == "" {
			t.Errorf("no %s", name)
		}
	}
	for name, text := range files {
		for _, secret := range []string{"hunter", hex.EncodeToString(testKey.Seed())} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has a secret:\n%s", name, text)
			}
		}
	}
	if !strings.Contains(files["kaizen-doctor/config.json"], "prices.example/p") || !strings.Contains(files["kaizen-doctor/files.txt"], node.KeyFileName) {
		t.Errorf("too much is hidden:\n%s\n%s", files["kaizen-doctor/config.json"], files["kaizen-doctor/files.txt"])
	}
}

func unpack(t *testing.T, r io.Reader) map[string]string {
	z, err := gzip.NewReader(r)
	must(t, err)
	files := map[string]string{}
	for archive := tar.NewReader(z); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		text, err := io.ReadAll(archive)
		must(t, err)
		files[h.Name] = string(text)
	}
}

func TestTipsInOrder(t *testing.T) {
	tips := func(proposed, checkpointed, proven, finalized uint64) *api.Tips {
		at := func(n uint64) api.Tip { return api.Tip{Block: api.BlockRef{Height: n}} }
		return &api.Tips{Proposed: api.BlockRef{Height: proposed}, Checkpointed: at(checkpointed), Proven: at(proven), Finalized: at(finalized)}
	}
	for _, c := range []struct {
		tips *api.Tips
		want bool
	}{{tips(9, 9, 9, 9), true}, {tips(9, 7, 5, 0), true}, {tips(9, 9, 9, 10), false}, {tips(9, 8, 9, 7), false}, {tips(9, 10, 9, 9), false}} {
		if got := inOrder(c.tips); got != c.want {
			t.Errorf("%+v: %v", *c.tips, got)
		}
	}
}
