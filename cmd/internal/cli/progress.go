package cli

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	// quietFor is how long a job may run before it shows progress.
	quietFor = 2 * time.Second
	// logEvery is the time between progress lines where there is no terminal.
	logEvery = 10 * time.Second
	// drawEvery is the least time between two drawings of the bar.
	drawEvery = 100 * time.Millisecond
)

// Progress shows how far a long job is: a bar on a terminal, a log line every ten
// seconds elsewhere; both with rate and remaining time.
type Progress struct {
	what  string
	unit  string
	log   *slog.Logger
	width int // 0: not a terminal
	now   func() time.Time

	mu    sync.Mutex
	start time.Time
	last  time.Time
	bar   *progressbar.ProgressBar
	gate  gate
}

// gate keeps the bar off the screen while the job is young; the bar itself runs
// from the start, or its rate would be wrong.
type gate struct {
	w    io.Writer
	open bool
}

func (g *gate) Write(b []byte) (int, error) {
	if !g.open {
		return len(b), nil
	}
	return g.w.Write(b)
}

// NewProgress starts the clock; unit is the plural of what is counted.
func NewProgress(w io.Writer, log *slog.Logger, what, unit string) *Progress {
	p := &Progress{what: what, unit: unit, log: log, now: time.Now, gate: gate{w: w}}
	p.width, _ = Terminal(w)
	p.start = p.now()
	p.last = p.start
	return p
}

// Update says that done of total are finished, and how many items (transactions)
// those held, 0 if they hold none. It may be called as often as one likes.
func (p *Progress) Update(done, total, items uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.width > 0 {
		p.gate.open = now.Sub(p.start) >= quietFor
		p.draw(done, total)
		return
	}
	if now.Sub(p.last) < logEvery {
		return
	}
	p.last = now
	elapsed := now.Sub(p.start)
	line := []any{"done", done, "total", total, "per_second", perSecond(done, elapsed)}
	if items > 0 {
		line = append(line, "txs_per_second", perSecond(items, elapsed))
	}
	p.log.Info(p.what, append(line, "eta", remaining(done, total, elapsed))...)
}

func (p *Progress) draw(done, total uint64) {
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(int64(total), progressbar.OptionSetWriter(&p.gate), progressbar.OptionSetDescription(p.what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(p.unit),
			progressbar.OptionThrottle(drawEvery), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(min(40, p.width/3)))
	}
	if p.bar.GetMax64() != int64(total) { // what is caught up with grows meanwhile
		p.bar.ChangeMax64(int64(total))
	}
	// The bar writes to a terminal; that it cannot is no reason to stop the job.
	_ = p.bar.Set64(int64(min(done, total)))
}

// Done takes the bar away.
func (p *Progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear() // as above
		p.bar = nil
	}
}

func perSecond(n uint64, elapsed time.Duration) uint64 {
	return uint64(float64(n) / max(elapsed.Seconds(), 1e-9))
}

func remaining(done, total uint64, elapsed time.Duration) time.Duration {
	if done == 0 || done >= total {
		return 0
	}
	return time.Duration(float64(elapsed) / float64(done) * float64(total-done)).Round(time.Second)
}
