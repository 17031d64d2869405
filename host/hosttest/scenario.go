package hosttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Command is one command of a scenario file.
type Command struct {
	Line  int
	Name  string
	Args  []string          // words without "="
	Named map[string]string // words with one
}

// Arg returns the i-th word after the name, or "".
func (c *Command) Arg(i int) string {
	if i < len(c.Args) {
		return c.Args[i]
	}
	return ""
}

// Has reports whether a word without "=" is among the arguments.
func (c *Command) Has(word string) bool {
	for _, a := range c.Args {
		if a == word {
			return true
		}
	}
	return false
}

// Uint returns a named number, or otherwise.
func (c *Command) Uint(name string, otherwise uint64) uint64 {
	text, ok := c.Named[name]
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("line %d: %s=%s is not a number", c.Line, name, text))
	}
	return n
}

// Scenarios runs every scenario file that matches the pattern as a subtest.
//
// A scenario file tells a story: comments say which one, a command line acts, and
// what stands below its four dashes, up to the next empty line, is everything
// that came of it.
//
//	# a pass of a consumer that has everything costs one read.
//	pass
//	----
//	read tips 9a
//	ok
//
// world makes a fresh world for each file and returns what runs its commands.
// With update, the outputs are rewritten instead of compared: read the diff.
func Scenarios(t *testing.T, pattern string, update bool, world func(t *testing.T) func(*Command) string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario matches %s: %v", pattern, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		t.Run(name, func(t *testing.T) { runScenario(t, file, update, world(t)) })
	}
}

func runScenario(t *testing.T, file string, update bool, run func(*Command) string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := replay(string(text), run)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	switch {
	case got == string(text):
	case update:
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		line, was, is := firstDifference(string(text), got)
		t.Errorf("%s:%d: came out differently (-update rewrites)\nwant: %s\n got: %s\n\nall of it:\n%s", file, line, was, is, got)
	}
}

// replay returns the file with what the commands really print.
func replay(text string, run func(*Command) string) (string, error) {
	if !strings.HasPrefix(text, "#") {
		return "", fmt.Errorf("a scenario begins with a comment that tells its story")
	}
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if i+1 == len(lines) || lines[i+1] != "----" {
			return "", fmt.Errorf("line %d: command %q has no line of four dashes below it", i+1, line)
		}
		printed := strings.TrimRight(run(parseCommand(line, i+1)), "\n")
		out.WriteString("----\n")
		if printed != "" {
			out.WriteString(printed + "\n")
		}
		for i++; i+1 < len(lines) && lines[i+1] != ""; i++ { // skip the old output
			continue
		}
	}
	return out.String(), nil
}

func parseCommand(line string, number int) *Command {
	words := strings.Fields(line)
	c := &Command{Line: number, Name: words[0], Named: make(map[string]string)}
	for _, w := range words[1:] {
		if name, value, named := strings.Cut(w, "="); named {
			c.Named[name] = value
		} else {
			c.Args = append(c.Args, w)
		}
	}
	return c
}

func firstDifference(a, b string) (line int, was, is string) {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(as), len(bs)) {
		was, is = "(nothing)", "(nothing)"
		if i < len(as) {
			was = as[i]
		}
		if i < len(bs) {
			is = bs[i]
		}
		if was != is {
			return i + 1, was, is
		}
	}
	return 0, "", ""
}
