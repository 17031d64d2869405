// Package logs is how the programs write their logs: in three forms, with a level
// for each component that can change while the program runs.
//
// It owns the forms and the levels. It imports no other package of the project and
// no library.
//
//	levels, err := logs.ParseLevels("info,store=debug")
//	log := logs.New(os.Stderr, logs.Text, levels)
//	store := logs.For(log, "store")                      a component's logger
//	logs.LevelsOf(log).Set("warn")                       while it runs
//
// Loggers and Levels may be used from any goroutine.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// The forms of a log line.
const (
	Text   = "text"   // for people: 2026-11-20 08:36:48.123 INFO  store: opened height=7
	JSON   = "json"   // one object per line: time, level, msg, component, …
	Logfmt = "logfmt" // time=… level=… msg=… component=…
)

// Forms lists them, the default first.
var Forms = []string{Text, JSON, Logfmt}

// Components are the parts of the programs that a level can be given to. What is
// logged without a component has the general level.
var Components = []string{"oracle", "prune", "rpc", "snapshot", "store", "sync", "wasm"}

// componentKey is the attribute that names a line's component.
const componentKey = "component"

// ErrLevels is wrapped by the error of a text that gives no levels.
var ErrLevels = errors.New("log levels")

// setting is one state of [Levels]; it is never changed.
type setting struct {
	general slog.Level
	of      map[string]slog.Level
}

// Levels are the least levels that are written.
type Levels struct{ now atomic.Pointer[setting] }

// ParseLevels reads a general level and levels of components: "info",
// "info,store=debug", "store=debug". Without a general level it is info.
func ParseLevels(text string) (*Levels, error) {
	l := &Levels{}
	return l, l.Set(text)
}

// Set changes the levels of every logger that was made with them; an error
// changes nothing.
func (l *Levels) Set(text string) error {
	s, err := parse(text)
	if err == nil {
		l.now.Store(s)
	}
	return err
}

func parse(text string) (*setting, error) {
	s := &setting{general: slog.LevelInfo, of: map[string]slog.Level{}}
	general := 0
	for part := range strings.SplitSeq(text, ",") {
		component, name, isOne := strings.Cut(strings.TrimSpace(part), "=")
		if !isOne {
			component, name = "", component
			general++
		}
		level, err := parseLevel(name)
		switch {
		case err != nil:
			return nil, err
		case general > 1:
			return nil, fmt.Errorf("%w: %.80q has two general levels", ErrLevels, text)
		case !isOne:
			s.general = level
		case !slices.Contains(Components, component):
			return nil, fmt.Errorf("%w: component %.40q, want one of %s", ErrLevels, component, strings.Join(Components, ", "))
		default:
			s.of[component] = level
		}
	}
	return s, nil
}

func parseLevel(name string) (slog.Level, error) {
	switch name {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%w: %.40q, want debug, info, warn or error", ErrLevels, name)
}

// String is what [ParseLevels] reads.
func (l *Levels) String() string {
	s := l.now.Load()
	parts := []string{strings.ToLower(s.general.String())}
	for _, component := range slices.Sorted(maps.Keys(s.of)) {
		parts = append(parts, component+"="+strings.ToLower(s.of[component].String()))
	}
	return strings.Join(parts, ",")
}

// of is the least level that a component writes.
func (l *Levels) of(component string) slog.Level {
	s := l.now.Load()
	if level, ok := s.of[component]; ok {
		return level
	}
	return s.general
}

// New makes a logger; form is one of [Forms].
func New(w io.Writer, form string, levels *Levels) *slog.Logger {
	all := &slog.HandlerOptions{Level: slog.LevelDebug} // what passes is decided by handler.Enabled
	var inner slog.Handler
	switch form {
	case JSON:
		inner = slog.NewJSONHandler(w, all)
	case Logfmt:
		inner = slog.NewTextHandler(w, all)
	default:
		inner = newText(w)
	}
	return slog.New(&handler{inner: inner, levels: levels})
}

// For is the logger of a component.
func For(log *slog.Logger, component string) *slog.Logger { return log.With(componentKey, component) }

// LevelsOf are the levels of a logger that [New] made, or nil.
func LevelsOf(log *slog.Logger) *Levels {
	h, ok := log.Handler().(*handler)
	if !ok {
		return nil
	}
	return h.levels
}

// handler lets pass what the component's level lets pass.
type handler struct {
	inner     slog.Handler
	levels    *Levels
	component string
	grouped   bool // attributes are no longer the line's own
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.levels.of(h.component)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error { return h.inner.Handle(ctx, r) }

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	v := *h
	v.inner = h.inner.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == componentKey && !h.grouped {
			v.component = a.Value.String()
		}
	}
	return &v
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	v := *h
	v.inner, v.grouped = h.inner.WithGroup(name), true
	return &v
}
