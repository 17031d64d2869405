package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// fallbackWidth is used where a terminal does not tell its own, columns.
const fallbackWidth = 80

// Terminal says whether w is a terminal on which lines may be drawn in place, and
// how wide it is.
func Terminal(w io.Writer) (width int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0, false
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width, true
	}
	return fallbackWidth, true
}

// Paint colours text for w where that is welcome (https://no-color.org).
func Paint(w io.Writer, c Colour, text string) string {
	if _, ok := Terminal(w); !ok || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// Colour is an SGR parameter.
type Colour string

// The colours in use.
const (
	Dim Colour = "2"
	Red Colour = "31"
)
