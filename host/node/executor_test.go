package node

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// alone is a writer's executor whose journal and sealer do nothing: ready has room
// for so many decisions.
func alone(t *testing.T, room int) *executor {
	g := testGenesis()
	w, err := NewWriter(context.Background(), testConfig(initDir(t, g), g), deps())
	must(t, err)
	t.Cleanup(func() { must(t, w.close()) })
	w.intake.stop()
	return &executor{core: w.core, clock: nowMs, oracle: w.prices.snapshot, ordered: w.intake.ordered, ready: make(chan decided, room),
		committed: make(chan uint64), jobs: w.jobs, interval: time.Hour, ticks: make(chan time.Time, 1), missed: new(atomic.Uint64), took: w.views.meters.execute}
}

// A journal or a sealer that has failed is not waited for: the node must stop,
// whatever the executor was doing (invariant 5).
func TestExecutorOutlivesNobody(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for name, run := range map[string]func(*testing.T) error{
		"nothing is taken": func(t *testing.T) error { return alone(t, 0).run(over) },
		"nothing is committed": func(t *testing.T) error {
			e := alone(t, 8)
			must(t, e.tick(over))
			must(t, e.tick(over))
			if e.core.Uncommitted() == 0 {
				t.Fatal("no block waits for its root")
			}
			return e.finish(over)
		},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() { done <- run(t) }()
			select {
			case err := <-done:
				must(t, err)
			case <-time.After(patience):
				t.Fatal("the executor waits for ever")
			}
		})
	}
}
