package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

func TestSettingsMatchConfig(t *testing.T) {
	var inStruct []string
	walk("", reflect.ValueOf(node.Config{}), func(key string, _ reflect.Value) { inStruct = append(inStruct, key) })
	inTable := settingKeys()
	slices.Sort(inStruct)
	slices.Sort(inTable)
	if !slices.Equal(inStruct, inTable) {
		t.Errorf("node.Config has\n%v\nSettings has\n%v", inStruct, inTable)
	}
}

func TestDefaultsAreAccepted(t *testing.T) {
	for _, role := range []Role{Write, Read} {
		defaults := defaultsByKey(role)
		for _, s := range Settings() {
			v := defaults[s.Key]
			if n := reflect.ValueOf(v); n.CanInt() {
				v = n.Int()
			} else if n.CanUint() {
				v = n.Uint()
			}
			if _, err := s.parse(v); err != nil && !reflect.ValueOf(v).IsZero() {
				t.Errorf("%s: default %v is not accepted (want %s)", s.Key, v, s.Accepts)
			}
		}
	}
}

// load reads a configuration as a verb would, from file text, environment and
// flags.
func load(t *testing.T, file string, env map[string]string, args ...string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	for k, v := range env {
		t.Setenv(k, v)
	}
	if file != "" {
		name := filepath.Join(dir, "k.toml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", name)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c := AddConfig(flags, Write)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return c.Load(Write)
}

func TestLoadPrecedence(t *testing.T) {
	const file = "[log]\nlevel = \"debug\"\nformat = \"json\"\n[rpc]\nlisten = \"127.0.0.1:1\"\nallowed_hosts = [\"a\", \"b\"]\nrate_per_second = 25\n" +
		"[settler]\naddress = \"0x00000000000000000000000000000000000000ff\"\nenabled = false\n[stf]\nfile = \"m.wasm\"\n"
	c, err := load(t, file, map[string]string{"KAIZEN_LOG_FORMAT": "text", "KAIZEN_RPC_LISTEN": "127.0.0.1:2", "KAIZEN_RPC_ALLOWED_ORIGINS": "x,y"}, "--rpc-listen", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults(Write)
	want.DataDir = filepath.Join(os.Getenv("HOME"), ".kaizen")
	want.Log = node.LogConfig{Level: "debug", Format: "text"}
	want.RPC.Listen, want.RPC.AllowedHosts, want.RPC.AllowedOrigins, want.RPC.RatePerSecond = "127.0.0.1:3", []string{"a", "b"}, []string{"x", "y"}, 25
	want.Settler.Enabled, want.Settler.Address = false, chain.Address{19: 0xff}
	want.STF.File = filepath.Join(os.Getenv("HOME"), "m.wasm")
	if !reflect.DeepEqual(c.Config, want) {
		t.Errorf("loaded\n%+v\nwant\n%+v", c.Config, want)
	}
	for key, origin := range map[string]string{
		"log.level": "file " + c.File + ":2", "log.format": "environment KAIZEN_LOG_FORMAT",
		"rpc.listen": "flag --rpc-listen", "sync.listen": "default",
	} {
		if v, _ := c.Lookup(key); v.Origin != origin {
			t.Errorf("%s has origin %q, want %q", key, v.Origin, origin)
		}
	}
	if _, set := c.Lookup("sync.listen"); set {
		t.Error("a default counts as set")
	}
	if v, set := c.Lookup("rpc.listen"); !set || v.Value != "127.0.0.1:3" {
		t.Errorf("rpc.listen is %v, set %v", v.Value, set)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		env  map[string]string
		args []string
		want []string
	}{
		"unknown key":     {file: "[block]\n\ninterval_mss = 3\n", want: []string{"k.toml:3", "unknown key block.interval_mss", "did you mean block.interval_ms"}},
		"unknown section": {file: "[blocks]\nzz = 3\n", want: []string{"k.toml:2", "unknown key blocks.zz", "[block]"}},
		"out of range":    {file: "[block]\ninterval_ms = 1\n", want: []string{"k.toml:2", "block.interval_ms is 1", "10 to 60000"}},
		"negative":        {file: "[block]\ninterval_ms = -1\n", want: []string{"-1, want"}},
		"float":           {file: "[block]\ninterval_ms = 100.0\n", want: []string{"block.interval_ms", "whole number"}},
		"all mistakes":    {file: "[block]\ninterval_ms = 1\n[log]\nlevel = \"loud\"\n", want: []string{"k.toml:2", "k.toml:4", "debug, info, warn or error"}},
		"scalar section":  {file: "block = 3\n", want: []string{"k.toml:1", "unknown key block"}},
		"syntax":          {file: "[block\n", want: []string{"k.toml:1"}},
		"environment":     {env: map[string]string{"KAIZEN_SETTLER_ADDRESS": "0x12"}, want: []string{"environment variable KAIZEN_SETTLER_ADDRESS", "0x and 40 hex digits"}},
		"flag":            {args: []string{"--write-node", "http://x:1"}, want: []string{"--write-node", "ws://HOST:PORT"}},
		"missing file":    {args: []string{"--config", "/nowhere/k.toml"}, want: []string{"/nowhere/k.toml does not exist"}},
		"list":            {file: "[rpc]\nallowed_hosts = [1]\n", want: []string{"allowed_hosts", "a list of texts"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.file, c.env, c.args...)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error lacks %q:\n%v", w, err)
				}
			}
			if name != "flag" && ExitCode(err) != ExitUsage {
				t.Errorf("exit code %d", ExitCode(err))
			}
		})
	}
}

func TestConfigFileRoundTrip(t *testing.T) {
	cfg := Defaults(Write)
	cfg.DataDir = "/d \"x\" é"
	cfg.Block.IntervalMs, cfg.RPC.AllowedHosts, cfg.Settler.Address = 200, []string{"a", `b"`}, chain.Address{1}
	text := WriteConfigFile(&cfg, Write)
	c, err := load(t, text, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(c.Config, cfg) {
		t.Errorf("read back\n%+v\nwant\n%+v", c.Config, cfg)
	}
	// Every commented line must be right too, once the mark is taken away.
	everything := strings.NewReplacer("# interval_ms", "interval_ms").Replace(text)
	var uncommented []string
	for line := range strings.Lines(everything) {
		if before, _, found := strings.Cut(line, " = "); found && strings.HasPrefix(before, "# ") && !strings.Contains(before[2:], " ") {
			line = line[2:]
		}
		uncommented = append(uncommented, line)
	}
	if _, err := load(t, strings.Join(uncommented, ""), nil); err != nil {
		t.Errorf("uncommented: %v", err)
	}
}

func TestUnknownVariables(t *testing.T) {
	got := unknownVariables([]string{"KAIZEN_BLOCK_INTERVAL_MS=1", "KAIZEN_BLOCK_INTERVALL=1", "KAIZEN_PRIVATE_KEY=x", "PATH=/bin"})
	if !slices.Equal(got, []string{"KAIZEN_BLOCK_INTERVALL"}) {
		t.Errorf("unknown are %v", got)
	}
}

func TestAmounts(t *testing.T) {
	for s, want := range map[string]uint64{
		"0": 0, "12": 12_000_000, "12.5": 12_500_000, "0.000001": 1, "007": 7_000_000,
		"18446744073709.551615": math.MaxUint64,
	} {
		if got, err := ParseAmount(s); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1_000", "0x10", "1.0000001", "18446744073709.551616", "99999999999999999999", " 1", "1 USDC", "NaN", "١"} {
		if got, err := ParseAmount(s); err == nil {
			t.Errorf("%q gave %d", s, got)
		} else if ExitCode(err) != ExitUsage {
			t.Errorf("%q: exit code %d", s, ExitCode(err))
		}
	}
	if got := FormatAmount(12_500_001); got != "12.500001" {
		t.Error(got)
	}
}

func FuzzAmount(f *testing.F) {
	f.Add("12.5")
	f.Add("18446744073709.551616")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseAmount(s)
		if err != nil {
			return
		}
		if again, err := ParseAmount(FormatAmount(v)); err != nil || again != v {
			t.Errorf("%q is %d, which reads back as %d, %v", s, v, again, err)
		}
	})
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{fmt.Errorf("in: %w", Usagef("x")), 2},
		{Hint(fmt.Errorf("in: %w", node.ErrVerification), "h"), 3},
		{fmt.Errorf("in: %w", &client.Error{Code: api.CodeBusy}), 4},
		{fmt.Errorf("in: %w", node.ErrUnreachable), 5},
		{fmt.Errorf("in: %w", client.ErrUnreachable), 5},
		{&PluginError{Code: 42}, 42},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

// run executes a command line on a small program.
func run(args ...string) (code int, stdout, stderr string) {
	root := &cobra.Command{Use: "kaizen"}
	show := &cobra.Command{Use: "show THING", Args: Args("THING")}
	out := AddOutput(show)
	show.RunE = func(c *cobra.Command, args []string) error {
		if args[0] == "bad" {
			return Hint(errors.New("it is bad"), "take another")
		}
		return out.Print(c.OutOrStdout(), map[string]string{"thing": args[0]}, func(t *Table) { t.Row("THING", args[0]) })
	}
	root.AddCommand(Group("query", "Ask", show))
	var o, e bytes.Buffer
	code = Execute(context.Background(), root, IO{In: strings.NewReader(""), Out: &o, Err: &e}, args)
	return code, o.String(), e.String()
}

func TestExecute(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"query show x", 0, "THING  x\n", ""},
		{"query show x -o json", 0, "{\n  \"thing\": \"x\"\n}\n", ""},
		{"query show x\x1b[2J", 0, "THING  x\uFFFD[2J\n", ""},
		{"query show x -o yaml", 2, "", "want table or json"},
		{"query show", 2, "", "THING is missing"},
		{"query show a b", 2, "", `nothing may follow THING, got "b"`},
		{"query shwo", 2, "", "did you mean 'kaizen query show'?"},
		{"query", 2, "", "a verb is missing"},
		{"qery", 2, "", "did you mean 'kaizen query'?"},
		{"", 2, "", "a verb is missing"},
		{"query show --nope", 2, "", "unknown flag: --nope\nhint: 'kaizen query show --help'"},
		{"query show bad", 1, "", "kaizen: it is bad\nhint: take another\n"},
		{"query show bad -o json", 1, "", `{"error":"it is bad","exit_code":1,"hints":["take another"]}`},
		{"completion nosuchshell", 2, "", `has no verb "nosuchshell"`},
	} {
		code, stdout, stderr := run(strings.Fields(c.args)...)
		if code != c.code || stdout != c.stdout || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%q: %d\nstdout %q\nstderr %q", c.args, code, stdout, stderr)
		}
	}
}

func TestPlugins(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"kaizen-hello": "#!/bin/sh\necho hello $1; exit 7\n",
		"kaizen-query": "#!/bin/sh\necho shadowed\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	if code, out, stderr := run("hello", "you"); code != 7 || out != "hello you\n" || stderr != "" {
		t.Errorf("plugin: %d %q %q", code, out, stderr)
	}
	if _, out, _ := run("query", "show", "x"); strings.Contains(out, "shadowed") {
		t.Error("a plugin replaced a verb")
	}
}

func TestProgressLog(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, slog.New(slog.NewTextHandler(&b, nil)), "replay", "blocks")
	now := p.start
	p.now = func() time.Time { return now }
	for s := range 25 {
		now = p.start.Add(time.Duration(s) * time.Second)
		p.Update(uint64(10*s), 500, uint64(100*s))
	}
	p.Done()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "done=100 total=500 per_second=10 txs_per_second=100 eta=40s") {
		t.Errorf("lines are\n%s", b.String())
	}
}

func TestProgressBarWaits(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, nil, "replay", "blocks")
	p.width = 80
	now := p.start
	p.now = func() time.Time { return now }
	p.Update(1, 100, 0)
	if b.Len() > 0 {
		t.Errorf("drew at once: %q", b.String())
	}
	now = now.Add(3 * time.Second)
	for p.bar.State().CurrentNum < 100 {
		p.Update(uint64(p.bar.State().CurrentNum)+33, 100, 0)
	}
	p.Done()
	if b.Len() == 0 {
		t.Error("never drew")
	}
}

// What a job has before it may grow while it runs: the head of a chain does.
func TestProgressBarOfMovingTotal(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, nil, "catch up", "blocks")
	p.width = 80
	now := p.start.Add(3 * time.Second)
	p.now = func() time.Time { return now }
	p.Update(90, 100, 0)
	p.Update(150, 200, 0)
	if s := p.bar.State(); s.CurrentNum != 150 || p.bar.IsFinished() || p.bar.GetMax64() != 200 {
		t.Errorf("at %d of %d, finished %v: %q", s.CurrentNum, p.bar.GetMax64(), p.bar.IsFinished(), b.String())
	}
	p.Update(210, 200, 0) // the total was read first
	if s := p.bar.State(); s.CurrentNum != 200 {
		t.Errorf("at %d of 200", s.CurrentNum)
	}
	p.Done()
}

func TestJSONError(t *testing.T) {
	var b bytes.Buffer
	report(&b, "kaizen", true, &client.Error{Code: api.CodeBusy})
	var v map[string]any
	if err := json.Unmarshal(b.Bytes(), &v); err != nil || v["exit_code"] != float64(ExitNotReady) {
		t.Errorf("%s: %v", b.String(), err)
	}
}

// Nothing that is no terminal is painted or drawn on.
func TestPlainOutput(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := Terminal(f); ok || Paint(f, Red, "x") != "x" || Paint(&bytes.Buffer{}, Red, "x") != "x" {
		t.Error("a file was taken for a terminal")
	}
}
