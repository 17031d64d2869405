package node

import (
	"sync/atomic"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/oracle"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/metrics"
)

// meters are what a node counts and times while it works. What can be looked up
// when somebody asks is in figures instead.
type meters struct {
	execute  *metrics.Histogram // one batch on a write node, one block on a read node
	root     *metrics.Histogram // of a block
	write    *metrics.Histogram // a block to the log, with fsync
	journal  *metrics.Histogram // a group of decisions, with fsync
	seal     *metrics.Histogram // from the closing of a block to its publication
	verify   *metrics.Histogram // a block, whole
	snapshot *metrics.Histogram

	ok, failed        atomic.Uint64 // transactions
	blocks, bytes     atomic.Uint64
	taken, notTaken   atomic.Uint64 // snapshots
	snapshotAt        atomic.Uint64 // height of the newest one taken by this process
	refusedBlocks     atomic.Uint64
	connectionsBroken atomic.Uint64
	ahead             atomic.Uint64 // transactions executed before their block was sealed
	aheadUsed         atomic.Uint64 // of those, in blocks that went on from them
}

// snapshotSeconds are the bounds of how long snapshots take.
var snapshotSeconds = []float64{0.1, 0.3, 1, 3, 10, 30, 100, 300}

func newMeters() *meters {
	seconds := func(name, help string) *metrics.Histogram {
		return metrics.NewHistogram(name, help, metrics.Seconds()...)
	}
	return &meters{
		execute:  seconds("kaizen_execute_seconds", "Executing transactions: a batch on a write node, a block on a read node. The rate of the sum is the share of one core."),
		root:     seconds("kaizen_root_seconds", "Computing the state root of a block."),
		write:    seconds("kaizen_block_write_seconds", "Writing a block to the log, with fsync."),
		journal:  seconds("kaizen_journal_write_seconds", "Writing decisions to the journal, with fsync: transactions are answered after it."),
		seal:     seconds("kaizen_seal_seconds", "From the closing of a block to its publication."),
		verify:   seconds("kaizen_verify_seconds", "Executing, comparing and storing a block of the node that is followed."),
		snapshot: metrics.NewHistogram("kaizen_snapshot_seconds", "Taking a snapshot.", snapshotSeconds...),
	}
}

// block counts a block that is durable.
func (m *meters) block(b *chain.Block, r *chain.Results) {
	failed := uint64(0)
	for i := range r.Receipts {
		if r.Receipts[i].Code != 0 {
			failed++
		}
	}
	m.blocks.Add(1)
	m.failed.Add(failed)
	m.ok.Add(uint64(len(r.Receipts)) - failed)
	m.bytes.Add(uint64(b.Size()))
}

func gauge(name, help string, value func() float64) metrics.Figure {
	return metrics.Figure{Name: name, Help: help, Value: value}
}

func counter(name, help string, value func() uint64) metrics.Figure {
	return metrics.Figure{Name: name, Help: help, Counter: true, Value: func() float64 { return float64(value()) }}
}

func labelled(f metrics.Figure, label, value string) metrics.Figure {
	f.Label, f.LabelValue = label, value
	return f
}

// seconds of a time in ms.
func seconds(ms uint64) float64 { return float64(ms) / 1000 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// freeBytes is 0 if the file system does not say: an alert is better than a gap.
func (v *views) freeBytes() float64 {
	free, err := FreeBytes(v.store.Dir())
	if err != nil {
		return 0
	}
	return float64(free)
}

// figures are what both kinds of node show on GET /metrics. health is the node's
// own.
func (v *views) figures(s *services, health func() []api.Check) []metrics.Figure {
	m := v.meters
	all := []metrics.Figure{
		labelled(gauge("kaizen_info", "1: the role of the node.", func() float64 { return 1 }), "role", v.role),
		gauge("kaizen_height", "Newest executed and durable block.", func() float64 { return float64(v.Head().Height) }),
		gauge("kaizen_head_age_seconds", "Age of the newest block.", func() float64 { return seconds(since(nowMs(), v.Head().Time)) }),
		gauge("kaizen_base_height", "First block that is kept.", func() float64 { return float64(v.store.Base()) }),
		gauge("kaizen_state_keys", "Keys in the state.", func() float64 {
			v.mu.RLock()
			defer v.mu.RUnlock()
			return float64(v.versions.Tree().Len())
		}),
		gauge("kaizen_sync_peers", "Connections to the sync port.", func() float64 { return float64(len(s.followers())) }),
		gauge("kaizen_disk_free_bytes", "Free space for the data directory.", func() float64 { return v.freeBytes() }),
		gauge("kaizen_unclean_shutdowns", "Runs on this data directory that did not end in order, of those remembered.", func() float64 { return float64(s.runs.unclean()) }),
		gauge("kaizen_snapshot_height", "Block of the newest snapshot that this process took; 0: none yet.", func() float64 { return float64(m.snapshotAt.Load()) }),
		counter("kaizen_blocks_total", "Blocks executed and stored by this process.", m.blocks.Load),
		counter("kaizen_block_bytes_total", "Their bytes.", m.bytes.Load),
		labelled(counter("kaizen_transactions_total", "Their transactions, by status.", m.ok.Load), "status", api.StatusOK),
		labelled(counter("kaizen_transactions_total", "Their transactions, by status.", m.failed.Load), "status", api.StatusFailed),
		labelled(counter("kaizen_snapshots_total", "Snapshots, by result.", m.taken.Load), "result", "taken"),
		labelled(counter("kaizen_snapshots_total", "Snapshots, by result.", m.notTaken.Load), "result", "failed"),
	}
	for i, c := range health() {
		all = append(all, labelled(gauge("kaizen_health", "The checks of GET /readyz: 1 ok, 0 not.", func() float64 { return truth(health()[i].OK) }), "check", c.Name))
	}
	return all
}

// metrics is what a write node shows.
func (w *Writer) metrics() metrics.Set {
	m := w.views.meters
	queue := func(name string, length func() int) metrics.Figure {
		return labelled(gauge("kaizen_queue_length", "What waits: transactions between arrival and answer (intake), decisions for the journal, blocks for their root (seal).",
			func() float64 { return float64(length()) }), "queue", name)
	}
	all := append(w.views.figures(w.serve, w.Health),
		queue("intake", func() int { return int(w.intake.waiting.Load()) }),
		queue("journal", func() int { return len(w.ready) }),
		queue("seal", func() int { return len(w.sealed) }),
		gauge("kaizen_intake_limit", "Transactions that may be between arrival and answer.", func() float64 { return float64(w.intake.limit) }),
		counter("kaizen_missed_ticks_total", "Ticks that came late by an interval or more.", w.missed.Load),
		gauge("kaizen_oracle_age_seconds", "Age of the prices in force.", func() float64 {
			now := nowMs()
			return seconds(since(now, w.prices.snapshot(now).Timestamp))
		}),
		gauge("kaizen_oracle_stale", "1 while the prices in force are too old to be used.", func() float64 { return truth(w.prices.snapshot(nowMs()).Stale) }),
		counter("kaizen_oracle_accepted_total", "Answers of the price service that were used.", func() uint64 { return w.prices.stats().Accepted }),
	)
	for reason := range oracle.ReasonCount {
		all = append(all, labelled(counter("kaizen_oracle_refused_total", "Answers and prices that were not used, by reason.",
			func() uint64 { return w.prices.stats().Refused[reason] }), "reason", reason.String()))
	}
	return metrics.Set{Figures: all, Histograms: []*metrics.Histogram{m.execute, m.root, m.write, m.journal, m.seal, m.snapshot, w.prices.took}}
}

// metrics is what a read node shows.
func (r *Reader) metrics() metrics.Set {
	m := r.views.meters
	all := append(r.views.figures(r.serve, r.Health),
		gauge("kaizen_lag_blocks", "Blocks behind the node that is followed.", func() float64 { return float64(r.Status().Lag) }),
		gauge("kaizen_alarm", "1 while the node holds because a block did not verify.", func() float64 { return truth(r.Status().Alarm != "") }),
		gauge("kaizen_source_connected", "1 while connected to the node that is followed.", func() float64 { return truth(r.isConnected()) }),
		gauge("kaizen_oracle_age_seconds", "Age of the prices of the newest block.", func() float64 { return seconds(since(nowMs(), r.oracle.Load().Timestamp)) }),
		gauge("kaizen_oracle_stale", "1 while the prices of the newest block are too old to be used.", func() float64 { return truth(r.oracle.Load().Stale) }),
		counter("kaizen_refused_blocks_total", "Blocks that did not verify.", m.refusedBlocks.Load),
		counter("kaizen_rollbacks_total", "Times that blocks were taken back.", func() uint64 { return r.views.Watch(0).Rollbacks }),
		counter("kaizen_executed_ahead_total", "Transactions of the node that is followed that were executed before their block was sealed.", m.ahead.Load),
		counter("kaizen_executed_ahead_used_total", "Of those, transactions whose block went on from them; the others were executed again.", m.aheadUsed.Load),
		counter("kaizen_disconnects_total", "Connections to the node that is followed that broke.", m.connectionsBroken.Load),
	)
	return metrics.Set{Figures: all, Histograms: []*metrics.Histogram{m.execute, m.root, m.write, m.verify, m.snapshot}}
}
