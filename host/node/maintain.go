package node

import (
	"context"
	"log/slog"

	"github.com/kaizenchain/kaizen/host/store"
)

// maintainer keeps the transaction index in order, in the background: sorting,
// writing and merging its runs takes 10 ms at a time, which neither the next block
// nor an answer should wait for. It rests as long as it works.
type maintainer struct {
	store *store.Store
	log   *slog.Logger
	due   chan struct{} // capacity 1
}

func newMaintainer(st *store.Store, log *slog.Logger) *maintainer {
	return &maintainer{store: st, log: log, due: make(chan struct{}, 1)}
}

// sealed is told of every block when it is durable. It never waits.
func (m *maintainer) sealed() {
	select {
	case m.due <- struct{}{}:
	default:
	}
}

// run does what is due until ctx ends. What it keeps is derived data: a failure
// costs lookups, and a disk that is broken fails the next append.
func (m *maintainer) run(ctx context.Context) {
	for {
		select {
		case <-m.due:
			if err := m.store.Maintain(newRests(ctx).take); err != nil {
				m.log.Warn("the transaction index was not maintained", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
