package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
)

func TestLevels(t *testing.T) {
	for text, want := range map[string]string{
		"info": "info", "debug": "debug", "store=debug": "info,store=debug",
		"warn, sync=info,rpc=error": "warn,rpc=error,sync=info",
	} {
		l, err := ParseLevels(text)
		if err != nil || l.String() != want {
			t.Errorf("%q is %v (%v), want %s", text, l, err, want)
		}
		if again, err := ParseLevels(want); err != nil || again.String() != want {
			t.Errorf("%q does not read what it writes: %v", want, err)
		}
	}
	for _, bad := range []string{"", "loud", "INFO", "info,warn", "info,", "weather=debug", "store=", "=info", "store=debug=info"} {
		if l, err := ParseLevels(bad); !errors.Is(err, ErrLevels) {
			t.Errorf("%q is %v (%v)", bad, l.now.Load(), err)
		}
	}
}

func mustLevels(t *testing.T, text string) *Levels {
	t.Helper()
	l, err := ParseLevels(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A level counts for its component only, for loggers made before it was set as
// well, and a text that is none changes nothing.
func TestLevelsWhileRunning(t *testing.T) {
	var out bytes.Buffer
	log := New(&out, Text, mustLevels(t, "warn,store=debug"))
	store, rpc := For(log, "store").With("dir", "d"), For(log, "rpc")
	say := func() string {
		out.Reset()
		log.Info("general")
		store.Debug("of store")
		rpc.Info("of rpc")
		var said []string
		for _, line := range []string{"general", "of store", "of rpc"} {
			if strings.Contains(out.String(), line) {
				said = append(said, line)
			}
		}
		return strings.Join(said, ", ")
	}
	if got := say(); got != "of store" {
		t.Errorf("said %s", got)
	}
	levels := LevelsOf(store)
	if err := levels.Set("info,rpc=error"); err != nil {
		t.Fatal(err)
	}
	if got := say(); got != "general" {
		t.Errorf("said %s", got)
	}
	if err := levels.Set("silent"); err == nil || levels.String() != "info,rpc=error" {
		t.Errorf("%v: levels are %s", err, levels)
	}
	if LevelsOf(slog.New(slog.NewTextHandler(io.Discard, nil))) != nil {
		t.Error("a logger of others has levels")
	}
}

func TestForms(t *testing.T) {
	line := func(form string) string {
		var out bytes.Buffer
		log := For(New(&out, form, mustLevels(t, "info")), "sync")
		log.With("peer", "10.0.0.1:7").WithGroup("g").Warn("gone\x1b[2J", "why", `said "no"`, "empty", "", "after", time.Second, slog.Group("deep", "n", 1))
		return out.String()
	}
	const text = `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARN  sync: gone�\[2J peer=10\.0\.0\.1:7 g\.why="said \\"no\\"" g\.empty="" g\.after=1s g\.deep\.n=1\n$`
	if got := line(Text); !regexp.MustCompile(text).MatchString(got) {
		t.Errorf("text is %q", got)
	}
	if got := line(Logfmt); !strings.Contains(got, ` level=WARN msg="gone\x1b[2J" component=sync peer=10.0.0.1:7 g.why="said \"no\"" `) {
		t.Errorf("logfmt is %q", got)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(line(JSON)), &v); err != nil || v["component"] != "sync" || v["level"] != "WARN" {
		t.Errorf("json is %v (%v)", v, err)
	}
}

// The handler for people keeps slog's rules; the others are slog's own.
func TestSlogRules(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return New(&out, JSON, mustLevels(t, "debug")).Handler()
	}, func(t *testing.T) map[string]any {
		v := map[string]any{}
		if err := json.Unmarshal(out.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		return v
	})
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return New(&out, Text, mustLevels(t, "debug")).Handler()
	}, func(t *testing.T) map[string]any { return readText(t, strings.TrimSpace(out.String())) })
}

// readText reads a line of slogtest's, whose messages are one word and whose
// values have no blanks.
func readText(t *testing.T, line string) map[string]any {
	v := map[string]any{}
	fields := strings.Fields(line)
	if _, err := time.Parse(stamp, strings.Join(fields[:min(2, len(fields))], " ")); err == nil {
		v[slog.TimeKey], fields = "set", fields[2:]
	}
	v[slog.LevelKey], v[slog.MessageKey] = fields[0], fields[1]
	for _, kv := range fields[2:] {
		key, value, found := strings.Cut(kv, "=")
		if !found {
			t.Fatalf("%q in %q", kv, line)
		}
		at, names := v, strings.Split(key, ".")
		for _, name := range names[:len(names)-1] {
			if at[name] == nil {
				at[name] = map[string]any{}
			}
			at = at[name].(map[string]any)
		}
		at[names[len(names)-1]] = value
	}
	return v
}
