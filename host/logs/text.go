package logs

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// stamp is the form of a line's time: UTC, because logs of several machines are
// read side by side.
const stamp = "2006-01-02 15:04:05.000"

// textHandler writes lines for people: what happened first, then the attributes.
type textHandler struct {
	w         io.Writer
	mu        *sync.Mutex // shared by all loggers of one writer
	component string
	attrs     string // written already
	prefix    string // of the groups
}

func newText(w io.Writer) *textHandler { return &textHandler{w: w, mu: new(sync.Mutex)} }

// Enabled implements slog.Handler.
func (h *textHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if !r.Time.IsZero() {
		b.WriteString(r.Time.UTC().Format(stamp))
		b.WriteByte(' ')
	}
	level := r.Level.String()
	b.WriteString(level)
	b.WriteString(strings.Repeat(" ", max(1, len("ERROR ")-len(level))))
	if h.component != "" {
		b.WriteString(h.component + ": ")
	}
	b.WriteString(printable(r.Message))
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.prefix, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

// WithAttrs implements slog.Handler.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	v := *h
	var b strings.Builder
	for _, a := range attrs {
		if a.Key == componentKey && h.prefix == "" {
			v.component = printable(a.Value.String())
			continue
		}
		writeAttr(&b, h.prefix, a)
	}
	v.attrs += b.String()
	return &v
}

// WithGroup implements slog.Handler.
func (h *textHandler) WithGroup(name string) slog.Handler {
	v := *h
	if name != "" {
		v.prefix += name + "."
	}
	return &v
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return
	}
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range a.Value.Group() {
			writeAttr(b, prefix, inner)
		}
		return
	}
	b.WriteByte(' ')
	b.WriteString(quoted(prefix + a.Key))
	b.WriteByte('=')
	b.WriteString(quoted(a.Value.String()))
}

// quoted is a key or value as it can be told from its neighbours.
func quoted(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r == ' ' || r == '"' || r == '=' || r == unicode.ReplacementChar || !unicode.IsPrint(r)
	})
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// printable keeps a message on its line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
