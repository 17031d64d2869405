package main

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/node"
)

// shortDir is a directory whose sockets have names that are not too long.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "settler")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func runLine(args ...string) (code int, out, errs string) {
	var o, e strings.Builder
	code = Main(args, cli.IO{In: strings.NewReader(""), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

// TestLogLevel changes the levels of a log that is written, over the socket.
func TestLogLevel(t *testing.T) {
	dir := shortDir(t)
	log := cli.NewLogger(io.Discard, node.LogConfig{Level: "info", Format: logs.Text})
	// One that was killed has left its socket.
	left, err := net.Listen("unix", filepath.Join(dir, controlName))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	if code, _, errs := runLine("log-level", "--data-dir", dir); code == 0 || !strings.Contains(errs, "no settler to ask on "+dir) {
		t.Errorf("with nobody there: %d %s", code, errs)
	}
	l, err := control(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(filepath.Join(dir, controlName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v: %v", info.Mode(), err)
	}
	for _, want := range []struct {
		args  []string
		out   string
		debug bool
	}{
		{nil, `{"level": "info", "was": "info"}`, false},
		{[]string{"debug"}, `{"level": "debug", "was": "info"}`, true},
		{[]string{"warn"}, `{"level": "warn", "was": "debug"}`, false},
	} {
		code, out, errs := runLine(append([]string{"log-level", "--data-dir", dir, "-o", "json"}, want.args...)...)
		if compact := strings.Join(strings.Fields(out), " "); code != 0 || strings.NewReplacer("{ ", "{", " }", "}").Replace(compact) != want.out || log.Enabled(t.Context(), slog.LevelDebug) != want.debug {
			t.Errorf("%q: %d %s%s", want.args, code, out, errs)
		}
	}
	if code, _, errs := runLine("log-level", "loud", "--data-dir", dir); code != 2 || !strings.Contains(errs, "loud") {
		t.Errorf("a level that is none: %d %s", code, errs)
	}
}

// TestControlTakesNonsense: whoever sends what is no question is not answered, and
// the next one is.
func TestControlTakesNonsense(t *testing.T) {
	dir := shortDir(t)
	l, err := control(dir, cli.NewLogger(io.Discard, node.LogConfig{Level: "info", Format: logs.Text}))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", strings.Repeat("[", 2*maxControl)} {
		conn, err := net.Dial("unix", filepath.Join(dir, controlName))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, text) // it may be cut off
		if b, _ := io.ReadAll(conn); len(b) != 0 {
			t.Errorf("answered %q", b)
		}
		conn.Close()
	}
	if v, err := askLevels(t.Context(), dir, "loud"); err == nil || v.Level != "info" {
		t.Errorf("%+v %v", v, err)
	}
	if v, err := askLevels(t.Context(), dir, "error"); err != nil || v.Level != "error" {
		t.Errorf("%+v %v", v, err)
	}
}

// TestMan writes the pages.
func TestMan(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := runLine("man", dir); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	for name, says := range map[string]string{"settler.1": "write-node", "settler-log-level.1": "until it is started again"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(b), says) {
			t.Errorf("%s: %v: %.300s", name, err, b)
		}
	}
}
