package main

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/relay"
)

// TestUsage: what is wrong on the command line is said before anything is done.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open.key")
	if err := os.WriteFile(open, []byte(strings.Repeat("11", 32)), 0o644); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String()) // of a listener: it has one
	for line, want := range map[string]struct {
		code int
		says string
	}{
		"":                                       {2, "no key to sign with"},
		"extra --dev-account 9":                  {2, `nothing may follow it, got "extra"`},
		"--nope":                                 {2, "unknown flag: --nope"},
		"--dev-account 10":                       {2, "--dev-account: "},
		"--dev-account 9 -k 11":                  {2, "choose one key, not 2"},
		"-k 11":                                  {2, "--private-key: not a secp256k1 private key"},
		"--key-file " + open:                     {1, "private key file is open to others"},
		"--dev-account 9 --pairs BTC/USDT,":      {2, "a name is missing"},
		"--dev-account 9 --batch-size 0":         {2, "batch size 0, want 1 to 1000"},
		"--dev-account 9 --check-interval 1":     {2, "check interval 1ms"},
		"--dev-account 9 --deadline-buffer -1":   {2, "invalid argument"},
		"--dev-account 9 --metrics-port 70000":   {2, "invalid argument"},
		"--dev-account 9 --metrics-port " + port: {1, "hint: choose another with --metrics-port"},
		"--dev-account 9 -w http://x":            {2, "write node"},
		"--dev-account 9 -r ftp://x":             {2, "scheme"},
		"--dev-account 9 --log-level loud":       {2, "--log-level"},
	} {
		var out, errs strings.Builder
		args := append(strings.Fields(line), "--data-dir", filepath.Join(dir, "d"))
		if !strings.Contains(line, "metrics-port") {
			args = append(args, "--metrics-port", "0")
		}
		code := Main(args, cli.IO{In: strings.NewReader(""), Out: &out, Err: &errs})
		if code != want.code || !strings.Contains(errs.String(), want.says) || out.String() != "" {
			t.Errorf("%q: %d, want %d with %q\n%s%s", line, code, want.code, want.says, errs.String(), out.String())
		}
	}
}

// parse is what a command line and an environment come to.
func parse(t *testing.T, args ...string) (relay.Options, string, error) {
	t.Helper()
	set := pflag.NewFlagSet("settler", pflag.ContinueOnError)
	f := addFlags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o, err := f.options(cli.IO{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}, slog.New(slog.NewTextHandler(&log, nil)))
	return o, log.String(), err
}

// TestOptions: defaults, environment, flags; and every place a key can come from.
func TestOptions(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	secret := strings.Repeat("11", 32)
	t.Setenv(keyVariable, secret)
	o, _, err := parse(t)
	if err != nil || o.WriteNode != "127.0.0.1:9000" || o.RPCURL != "http://127.0.0.1:8545" || len(o.Pairs) != 0 || o.CheckInterval.Milliseconds() != 100 ||
		o.BatchSize != 100 || o.BufferMs != 200 || o.DataDir != filepath.Join(home, ".kaizen/settler/all") {
		t.Errorf("defaults %+v: %v", o, err)
	}
	mine := o.Key.Address()
	t.Setenv(pairsVariable, "SOL/USDT, BTC/USDT,SOL/USDT")
	if o, _, err = parse(t); err != nil || strings.Join(o.Pairs, " ") != "BTC/USDT SOL/USDT" || filepath.Base(o.DataDir) != "BTC-USDT_SOL-USDT" {
		t.Errorf("environment %+v: %v", o, err)
	}
	t.Setenv(dirVariable, "/x")
	if o, _, err = parse(t, "-p", "ETH/USDT"); err != nil || strings.Join(o.Pairs, " ") != "ETH/USDT" || o.DataDir != "/x" {
		t.Errorf("flags %+v: %v", o, err)
	}
	file, password := filepath.Join(home, "key"), filepath.Join(home, "pw")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(password, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	entry, err := keys.Dir(filepath.Join(home, "keys")).Store(o.Key, "open sesame", keys.Light)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--key-file", file}, {"--keystore", entry.Path, "--password-file", password}, {"-k", secret}} {
		o, log, err := parse(t, args...)
		if err != nil || o.Key.Address() != mine || strings.Contains(log, "command line") != (args[0] == "-k") || strings.Contains(log, secret) {
			t.Errorf("%v: %v, log %q", args[0], err, log)
		}
	}
	if o, _, err := parse(t, "--dev-account", "9"); err != nil || o.Key.Address() != settler.Address() {
		t.Error(err)
	}
	if n := dirName([]string{strings.Repeat("A/", 200)}); len(n) != 64 {
		t.Errorf("directory %q", n)
	}
}
