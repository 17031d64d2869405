package node

import (
	"context"
	"fmt"
	"sync"
)

// group runs a node's loops. The first one that fails stops the others.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	aside  sync.WaitGroup

	once sync.Once
	err  error
}

func newGroup() *group {
	ctx, cancel := context.WithCancel(context.Background())
	return &group{ctx: ctx, cancel: cancel}
}

// loop runs until it returns; an error is fatal to the node (invariant 5).
func (g *group) loop(name string, run func(context.Context) error) {
	g.wg.Go(func() {
		if err := run(g.ctx); err != nil {
			g.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// background runs until the loops have ended.
func (g *group) background(run func(context.Context)) {
	g.aside.Go(func() { run(g.ctx) })
}

func (g *group) fail(err error) {
	g.once.Do(func() { g.err = err })
	g.cancel()
}

// failed is closed when a loop has failed.
func (g *group) failed() <-chan struct{} { return g.ctx.Done() }

// wait waits for the loops to end by themselves, then ends the rest, and returns
// the first failure. Without one it calls last, if not nil, in between.
func (g *group) wait(last func()) error {
	g.wg.Wait()
	if g.ctx.Err() == nil && last != nil {
		last()
	}
	g.cancel()
	g.aside.Wait()
	return g.err
}
