package relay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/metrics"
	"github.com/kaizenchain/kaizen/host/settle"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/event"
)

// outcomes are what a settled thesis can come to, as events name it.
var outcomes = [...]string{event.UserWins, event.SolverWins, event.Void, event.Cancelled}

// Stats is where a settler stands, and what has happened since it started.
type Stats struct {
	Live     bool   // it has seen every block there is
	StreamUp bool   // connected to the event stream
	NodeUp   bool   // the node answered last time
	Height   uint64 // newest block
	Time     uint64 // its time, ms
	Core     settle.Counts
	Settled  [len(outcomes)]uint64 // theses that blocks told of, by outcome, whoever settled them
	Ours     uint64                // those that this settler's transactions settled

	Gaps, Disconnects, Batches, NodeErrors uint64
}

// Stats returns where the settler stands.
func (s *Settler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// note changes what Stats shows.
func (s *Settler) note(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

// publish shows where the core stands.
func (s *Settler) publish() {
	counts := s.core.Counts()
	s.note(func(v *Stats) { v.Live, v.Height, v.Time, v.Core = s.live, s.core.Height(), s.core.Time(), counts })
}

// count takes the settlements of a block.
func (s *Settler) count(told []settled) {
	now := uint64(time.Now().UnixMilli())
	s.note(func(v *Stats) {
		for _, t := range told {
			for i, name := range outcomes {
				if t.outcome == name {
					v.Settled[i]++
				}
			}
			if t.by == s.signer.address {
				v.Ours++
			}
		}
	})
	for _, t := range told {
		if s.live && t.by == s.signer.address && t.outcome == event.SolverWins && now > t.breachTimestamp {
			s.latency.Observe(float64(now - t.breachTimestamp))
		}
	}
}

// newLatency is the histogram of the time from a breach to the sealed block that
// settles it, ms.
func newLatency() *metrics.Histogram {
	return metrics.NewHistogram("settler_latency_ms", "Time from a breach, as the oracle dates it, to the arrival of the sealed block that settles it, ms.",
		50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 2000, 5000, 10_000, 30_000)
}

// figures is what GET /metrics shows.
func (s *Settler) figures() []metrics.Figure {
	gauge := func(name, help string, value func(*Stats) float64) metrics.Figure {
		return metrics.Figure{Name: name, Help: help, Value: func() float64 {
			v := s.Stats()
			return value(&v)
		}}
	}
	counter := func(name, help, label, labelValue string, value func(*Stats) uint64) metrics.Figure {
		f := gauge(name, help, func(v *Stats) float64 { return float64(value(v)) })
		f.Counter, f.Label, f.LabelValue = true, label, labelValue
		return f
	}
	all := []metrics.Figure{
		gauge("settler_height", "Newest block that was taken from the stream.", func(v *Stats) float64 { return float64(v.Height) }),
		gauge("settler_block_time_ms", "Time of that block, ms.", func(v *Stats) float64 { return float64(v.Time) }),
		gauge("settler_live", "1 once every block there is has been seen.", func(v *Stats) float64 { return truth(v.Live) }),
		gauge("settler_stream_up", "1 while connected to the event stream.", func(v *Stats) float64 { return truth(v.StreamUp) }),
		gauge("settler_node_up", "1 while the node answers.", func(v *Stats) float64 { return truth(v.NodeUp) }),
		gauge("settler_open_theses", "Open theses of this settler's pairs.", func(v *Stats) float64 { return float64(v.Core.Open) }),
		gauge("settler_watched_theses", "Of them, those whose window is open and unbroken.", func(v *Stats) float64 { return float64(v.Core.Watching) }),
		gauge("settler_queued", "Settlements that wait to be sent.", func(v *Stats) float64 { return float64(v.Core.Queued) }),
		gauge("settler_unconfirmed", "Settlements that were sent, and that no block has told of.", func(v *Stats) float64 { return float64(v.Core.Out + v.Core.Answered) }),
		counter("settler_breaches_total", "Breaches seen.", "", "", func(v *Stats) uint64 { return v.Core.Breaches }),
		counter("settler_holes_total", "Holes in the recorded prices.", "", "", func(v *Stats) uint64 { return v.Core.Holes }),
		counter("settler_own_total", "Theses that this settler settled.", "", "", func(v *Stats) uint64 { return v.Ours }),
		counter("settler_lost_total", "Settlements that were answered and never sealed.", "", "", func(v *Stats) uint64 { return v.Core.Lost }),
		counter("settler_rebuilds_total", "Times that the state was asked.", "", "", func(v *Stats) uint64 { return v.Core.Rebuilt }),
		counter("settler_gaps_total", "Gaps in the event stream.", "", "", func(v *Stats) uint64 { return v.Gaps }),
		counter("settler_disconnects_total", "Times that the event stream broke.", "", "", func(v *Stats) uint64 { return v.Disconnects }),
		counter("settler_batches_total", "Batches sent.", "", "", func(v *Stats) uint64 { return v.Batches }),
		counter("settler_node_errors_total", "Batches that the node did not take.", "", "", func(v *Stats) uint64 { return v.NodeErrors }),
	}
	for i, name := range outcomes {
		all = append(all, counter("settler_settled_total", "Theses that blocks told the end of, by outcome, whoever settled them.", "outcome", name, func(v *Stats) uint64 { return v.Settled[i] }))
	}
	for k := range settle.Kinds {
		all = append(all, counter("settler_sent_total", "Transactions sent, by claim.", "claim", settle.Kind(k).String(), func(v *Stats) uint64 { return v.Core.Sent[k] }))
	}
	for o := range settle.Outcomes {
		all = append(all, counter("settler_answers_total", "Answers to transactions, by what they mean.", "outcome", settle.Outcome(o).String(), func(v *Stats) uint64 { return v.Core.Answers[o] }))
	}
	return all
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// health is what GET /readyz shows: ready means that a breach now would be settled
// now.
func (s *Settler) health() []api.Check {
	v := s.Stats()
	return []api.Check{
		{Name: "stream", OK: v.StreamUp, Detail: fmt.Sprintf("block %d from %s", v.Height, s.opt.WriteNode)},
		{Name: "caught_up", OK: v.Live, Detail: fmt.Sprintf("%d theses are open", v.Core.Open)},
		{Name: "node", OK: v.NodeUp, Detail: fmt.Sprintf("%d batches were not taken", v.NodeErrors)},
	}
}

// serveMetrics serves the metrics port until ctx ends. A port that fails ends the
// settler too: whoever watches over it must not take silence for health.
func (s *Settler) serveMetrics(ctx context.Context, fail context.CancelCauseFunc, running *sync.WaitGroup) error {
	if s.opt.Metrics == nil {
		return nil
	}
	server, err := metrics.New(metrics.Set{Figures: s.figures(), Histograms: []*metrics.Histogram{s.latency}}, s.health)
	if err != nil {
		return err
	}
	running.Go(func() {
		if err := server.Serve(s.opt.Metrics); err != nil {
			fail(err)
		}
	})
	running.Go(func() {
		<-ctx.Done()
		_ = server.Close() // scrapes under way are cut off
	})
	return nil
}
