package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/cmd/internal/devnet"
)

// live is the status line of dev: drawn in place on a terminal, a line now and
// then elsewhere. It is also the writer for log lines, which it keeps apart from
// the status line.
type live struct {
	out   io.Writer
	every time.Duration

	mu       sync.Mutex
	terminal bool
	line     string // on the screen, where the cursor is
	lastTxs  uint64
	lastTime time.Time
	rate     uint64
}

func newLive(out io.Writer, duration time.Duration) *live {
	l := &live{out: out, every: liveLong, lastTime: time.Now()}
	_, l.terminal = cli.Terminal(out)
	switch {
	case l.terminal:
		l.every = liveTerminal
	case duration > 0 && duration <= shortRun:
		l.every = liveShort
	}
	return l
}

const clearLine = "\r\x1b[K"

// Write puts other text above the status line.
func (l *live) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line == "" {
		return l.out.Write(b)
	}
	_, err := fmt.Fprintf(l.out, "%s%s%s", clearLine, b, l.line)
	return len(b), err
}

// show draws a snapshot. That the status line cannot be written is no reason to
// stop the chain.
func (l *live) show(s devnet.Snapshot, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A rate over less than a second jumps about.
	if elapsed := now.Sub(l.lastTime); elapsed >= time.Second-liveTerminal/2 {
		l.rate = uint64(float64(s.Txs-l.lastTxs)/elapsed.Seconds() + 0.5)
		l.lastTxs, l.lastTime = s.Txs, now
	}
	text := l.text(s)
	width, ok := cli.Terminal(l.out) // asked again each time: windows change
	if !ok {
		fmt.Fprintln(l.out, text)
		return
	}
	l.line = text[:min(len(text), width-1)]
	fmt.Fprint(l.out, clearLine, l.line)
}

// close leaves the cursor on a line of its own.
func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line != "" {
		l.line = ""
		fmt.Fprintln(l.out)
	}
}

func (l *live) text(s devnet.Snapshot) string {
	line := fmt.Sprintf("block %d  %d tx  %d tx/s  root %s  read node %d behind", s.Height, s.Txs, l.rate, s.Root.Short(), s.Height-min(s.Verified, s.Height))
	switch {
	case s.Pair == "":
		line += "  no prices yet"
	case s.Stale:
		line += fmt.Sprintf("  %s %s stale", s.Pair, cli.FormatAmount(s.Price))
	default:
		line += fmt.Sprintf("  %s %s", s.Pair, cli.FormatAmount(s.Price))
	}
	if m := s.Market; m != nil {
		line += fmt.Sprintf("  theses %d open, %d user, %d solver, %d void  value %s", m.Open, m.Theses.UserWins, m.Theses.SolverWins, m.Theses.Void, cli.FormatAmount(m.Total))
		if !m.Conserved {
			line += " NOT CONSERVED"
		}
	}
	if bad := s.Traffic.Failed + s.Traffic.Refused + s.Traffic.Lost; bad > 0 {
		line += fmt.Sprintf("  %d not ok", bad)
	}
	return line
}
