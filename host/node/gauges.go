package node

import (
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc"
)

// gauges are what both kinds of node show on GET /metrics.
func (v *views) gauges(s *services) []rpc.Gauge {
	height := func() float64 { return float64(v.Head().Height) }
	return []rpc.Gauge{
		{Name: "kaizen_height", Help: "Newest executed and durable block.", Value: height},
		{Name: "kaizen_head_age_ms", Help: "Age of the newest block, ms.", Value: func() float64 { return float64(since(nowMs(), v.Head().Time)) }},
		{Name: "kaizen_state_keys", Help: "Keys in the state.", Value: func() float64 {
			v.mu.RLock()
			defer v.mu.RUnlock()
			return float64(v.versions.Tree().Len())
		}},
		{Name: "kaizen_sync_peers", Help: "Connections to the sync port.", Value: func() float64 { return float64(len(s.followers())) }},
	}
}

func (w *Writer) gauges() []rpc.Gauge {
	g := append(w.views.gauges(w.serve),
		rpc.Gauge{Name: "kaizen_intake_waiting", Help: "Transactions between arrival and answer.", Value: func() float64 { return float64(w.intake.waiting.Load()) }},
		rpc.Gauge{Name: "kaizen_missed_ticks_total", Help: "Ticks that came late by an interval or more.", Counter: true, Value: func() float64 { return float64(w.missed.Load()) }},
		rpc.Gauge{Name: "kaizen_oracle_age_ms", Help: "Age of the prices in force, ms.", Value: func() float64 {
			now := nowMs()
			return float64(since(now, w.prices.snapshot(now).Timestamp))
		}},
		rpc.Gauge{Name: "kaizen_oracle_accepted_total", Help: "Answers of the price service that were used.", Counter: true, Value: func() float64 { return float64(w.prices.stats().Accepted) }},
	)
	for reason := range oracle.ReasonCount {
		g = append(g, rpc.Gauge{Name: "kaizen_oracle_refused_" + reason.String() + "_total", Help: "Prices or answers not used: " + reason.String() + ".", Counter: true,
			Value: func() float64 { return float64(w.prices.stats().Refused[reason]) }})
	}
	return g
}

func (r *Reader) gauges() []rpc.Gauge {
	return append(r.views.gauges(r.serve),
		rpc.Gauge{Name: "kaizen_lag_blocks", Help: "Blocks behind the node that is followed.", Value: func() float64 { return float64(r.Status().Lag) }},
		rpc.Gauge{Name: "kaizen_alarm", Help: "1 while the node holds because a block did not verify.", Value: func() float64 {
			if r.Status().Alarm != "" {
				return 1
			}
			return 0
		}},
	)
}
