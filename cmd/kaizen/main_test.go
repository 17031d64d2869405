package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/stf-modules/modules"
)

// The scripts run the real program in processes of its own: testscript.Main lets
// this test binary be `kaizen`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kaizen": main})
}

// patience bounds every wait for a process; it is never slept through.
const patience = 60 * time.Second

func TestScripts(t *testing.T) {
	cache := t.TempDir() // modules are compiled once for all scripts
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CACHE_HOME", cache)
			env.Setenv("KAIZEN_STF_CACHE_DIR", filepath.Join(cache, "kaizen", "modules"))
			env.Setenv("HOME", env.Getenv("WORK"))
			env.Values[running{}] = map[string]*process{}
			for _, name := range modules.Names() {
				file, _ := modules.Lookup(name)
				if err := os.WriteFile(filepath.Join(env.WorkDir, name+".wasm"), file, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": runCode, "start": runStart, "end": runEnd, "until": runUntil, "capture": runCapture, "flip": runFlip, "occupy": runOccupy, "replace": runReplace,
		},
	})
}

func check(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

// code N COMMAND...: run it and demand this exit code.
func runCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	check(ts, err)
	if got := exitCode(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func exitCode(err error) int {
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	}
	return -1
}

// running is the key of the script's processes.
type running struct{}

type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when stderr has ended
}

// start NAME REGEXP COMMAND...: run it in the background and go on when a line
// of its stderr matches. Every key=value of that line becomes $NAME_key; all of
// it is in NAME.err.
func runStart(ts *testscript.TestScript, _ bool, args []string) {
	name, ready := args[0], regexp.MustCompile(args[1])
	path, err := exec.LookPath(args[2])
	check(ts, err)
	p := &process{cmd: exec.Command(path, args[3:]...), done: make(chan struct{})}
	p.cmd.Dir = ts.Getenv("WORK")
	for _, v := range []string{"HOME", "PATH", "XDG_CACHE_HOME", "KAIZEN_STF_CACHE_DIR"} {
		p.cmd.Env = append(p.cmd.Env, v+"="+ts.Getenv(v))
	}
	out, err := os.Create(filepath.Join(ts.Getenv("WORK"), name+".out"))
	check(ts, err)
	defer out.Close()
	p.cmd.Stdout = out
	stderr, err := p.cmd.StderrPipe()
	check(ts, err)
	check(ts, p.cmd.Start())
	ts.Value(running{}).(map[string]*process)[name] = p
	ts.Defer(func() { p.cmd.Process.Kill() })
	line := make(chan string, 1)
	log, err := os.Create(filepath.Join(ts.Getenv("WORK"), name+".err"))
	check(ts, err)
	go watch(p, stderr, log, ready, line)
	select {
	case l, ok := <-line:
		if !ok {
			ts.Fatalf("%s ended before it was ready: %s", name, p.cmd.Stderr)
		}
		for _, kv := range regexp.MustCompile(`(\w+)="?([^\s"]+)"?`).FindAllStringSubmatch(l, -1) {
			ts.Setenv(name+"_"+kv[1], kv[2])
		}
	case <-time.After(patience):
		ts.Fatalf("%s is not ready", name)
	}
}

func watch(p *process, stderr io.Reader, log *os.File, ready *regexp.Regexp, line chan<- string) {
	defer close(p.done)
	defer log.Close()
	defer close(line)
	for s := bufio.NewScanner(io.TeeReader(stderr, log)); s.Scan(); {
		if ready != nil && ready.MatchString(s.Text()) {
			line <- s.Text()
			ready = nil
		}
	}
}

// end NAME SIGNAL CODE: end a process and demand its exit code (-1: by the
// signal). What it wrote to stdout is in NAME.out.
func runEnd(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.Value(running{}).(map[string]*process)[args[0]]
	signal := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}[args[1]]
	check(ts, p.cmd.Process.Signal(signal))
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	want, err := strconv.Atoi(args[2])
	check(ts, err)
	if got := exitCode(p.cmd.Wait()); got != want {
		ts.Fatalf("%s ended with exit code %d, want %d", args[0], got, want)
	}
}

// until REGEXP COMMAND...: run it again until it succeeds and its stdout
// matches: for what another process is still to do.
func runUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(patience); ; {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v: never came to that: %v", args, err)
		}
	}
}

// capture NAME REGEXP: set $NAME to what the group matches in stdout.
func runCapture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("stdout does not match %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// flip FILE N: invert a bit of the byte at N, or at N from the end if negative.
func runFlip(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	check(ts, err)
	n, err := strconv.Atoi(args[1])
	check(ts, err)
	if n < 0 {
		n += len(b)
	}
	b[n] ^= 1
	check(ts, os.WriteFile(name, b, 0o600))
}

// replace FILE OLD NEW: put NEW where OLD was, which must be there.
func runReplace(ts *testscript.TestScript, _ bool, args []string) {
	old := ts.ReadFile(args[0])
	text := strings.ReplaceAll(old, args[1], args[2])
	if text == old {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	check(ts, os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// occupy NAME: listen on a port until the script ends; its address is $NAME.
func runOccupy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(ts, err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// Every verb is in the document, and has a help text that says something.
func TestEveryVerbIsDocumented(t *testing.T) {
	document, err := os.ReadFile("CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range leaves(newRoot(std())) {
		if !strings.Contains(string(document), "`"+c.CommandPath()) {
			t.Errorf("CLI.md does not mention `%s`", c.CommandPath())
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help is %q", c.CommandPath(), c.Short)
		}
	}
}

func std() cli.IO { return cli.IO{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard} }

func leaves(c *cobra.Command) []*cobra.Command {
	if !c.HasSubCommands() {
		return []*cobra.Command{c}
	}
	var all []*cobra.Command
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	return all
}

// silent are verbs without -o: they run until they are stopped, write files or
// are JSON anyway.
var silent = []string{"kaizen sequence", "kaizen follow", "kaizen oracle", "kaizen solver", "kaizen key export", "kaizen config init", "kaizen man", "kaizen query call"}

// Whatever answers a question answers it as JSON too.
func TestEveryAnswerIsAlsoJSON(t *testing.T) {
	for _, c := range leaves(newRoot(std())) {
		if has := c.Flags().Lookup("output") != nil; has == slices.Contains(silent, c.CommandPath()) {
			t.Errorf("%s: has -o: %v", c.CommandPath(), has)
		}
	}
}

// Every verb is run in a script with input that it takes and with input that it
// refuses.
func TestEveryVerbIsScripted(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(string(b), "\n")...)
	}
	for _, c := range leaves(newRoot(std())) {
		verb := regexp.MustCompile(`^(code ([0-9]) |start \w+ .* |until .* )?` + regexp.QuoteMeta(c.CommandPath()) + `( |$)`)
		good, bad := false, false
		for _, line := range lines {
			if m := verb.FindStringSubmatch(line); m != nil {
				refused := m[2] != "" && m[2] != "0"
				good, bad = good || !refused, bad || refused
			}
		}
		if !good || !bad {
			t.Errorf("%s: scripted with good input %v, with bad input %v", c.CommandPath(), good, bad)
		}
	}
}
