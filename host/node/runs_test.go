package node

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// A run that ends in order leaves nothing behind; one that does not is noted by
// the next, at most ten of them, and without its token.
func TestRuns(t *testing.T) {
	dir := t.TempDir()
	r := openRuns(dir, quiet())
	r.begin("write", "127.0.0.1:1")
	if len(r.token()) < 20 {
		t.Errorf("token %q", r.token())
	}
	r.end()
	if got, err := ReadRuns(dir); err != nil || got.Running != nil || got.Unclean == nil || len(got.Unclean) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	tokens := map[string]bool{}
	for range MaxUnclean + 3 {
		r = openRuns(dir, quiet())
		r.begin("read", "127.0.0.1:1")
		tokens[r.token()] = true
	}
	got, err := ReadRuns(dir)
	if err != nil || len(got.Unclean) != MaxUnclean || len(tokens) != MaxUnclean+3 || got.Running.PID != os.Getpid() {
		t.Errorf("%+v %v", got, err)
	}
	for _, u := range got.Unclean {
		if u.Token != "" || u.Found == 0 || u.Role != "read" {
			t.Errorf("%+v", u)
		}
	}
	info, err := os.Stat(filepath.Join(dir, RunsFileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestRunsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "{", "a later version": `{"version": 2}`, "too long": strings.Repeat(" ", maxRunsBytes+1),
		"too many": `{"version": 1, "unclean": [` + strings.Repeat("{},", MaxUnclean) + `{}]}`,
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, RunsFileName), []byte(text), 0o600))
		if v, err := ReadRuns(dir); !errors.Is(err, ErrRuns) || v.Running != nil {
			t.Errorf("%s: %+v %v", name, v, err)
		}
		r := openRuns(dir, quiet()) // and goes on
		r.begin("write", "")
		if v, err := ReadRuns(dir); err != nil || v.Running == nil || v.Running.Token != "" {
			t.Errorf("%s: %+v %v", name, v, err)
		}
	}
}

// The file is version 1 as RUNS.md has it.
func TestRunsGolden(t *testing.T) {
	dir := t.TempDir()
	const text = `{
  "version": 1,
  "running": {
    "started": 1000,
    "pid": 7,
    "program": "0.1.0",
    "role": "write",
    "rpc": "127.0.0.1:8545",
    "token": "T"
  },
  "unclean": [
    {
      "started": 500,
      "pid": 6,
      "program": "0.1.0",
      "role": "write",
      "rpc": "127.0.0.1:8545",
      "found": 900
    }
  ]
}
`
	name := filepath.Join(dir, RunsFileName)
	must(t, os.WriteFile(name, []byte(text), 0o600))
	v, err := ReadRuns(dir)
	must(t, err)
	r := &runs{dir: dir, log: quiet(), file: v}
	must(t, r.write())
	if b, err := os.ReadFile(name); err != nil || string(b) != text {
		t.Errorf("%v\n%s", err, b)
	}
}

// A node notes its run, answers whoever reads the token there, and says in its
// log that the last run ended without a word.
func TestAdminOfANode(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	var out bytes.Buffer
	levels, err := logs.ParseLevels("info")
	must(t, err)
	d := deps()
	d.Log = logs.New(&out, logs.Text, levels)
	stale := openRuns(cfg.DataDir, quiet())
	stale.begin("write", "")
	w, run := startWriter(t, cfg, d)
	must(t, w.WaitFor(within(t), 1))
	var v LogLevels
	must(t, Ask(t.Context(), cfg.DataDir, "log", map[string]string{"level": "warn,sync=debug"}, &v))
	if v.Was != "info" || v.Level != "warn,sync=debug" || levels.String() != v.Level {
		t.Errorf("%+v, in force %s", v, levels)
	}
	var refused *client.Error
	if err := Ask(t.Context(), cfg.DataDir, "log", map[string]string{"level": "loud"}, &v); !errors.As(err, &refused) || refused.Field != "level" {
		t.Error(err)
	}
	run.mustStop()
	if !strings.Contains(out.String(), "the last run did not end in order") {
		t.Errorf("the log says nothing of it:\n%s", out.String())
	}
	if err := Ask(t.Context(), cfg.DataDir, "log", nil, &v); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	got, err := ReadRuns(cfg.DataDir)
	if err != nil || got.Running != nil || len(got.Unclean) != 1 {
		t.Errorf("%+v %v", got, err)
	}
}
