package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/wire"
)

// update is what the stream's goroutine tells the loop: one of its fields counts.
type update struct {
	blocks []*follow.EventBlock
	live   bool  // there is no block that the loop has not been given
	gap    error // the stream cannot go on: ask the state
	fatal  error
	up     bool // connected
	down   error
}

// Reconnecting to a node that went away.
const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
)

// stream gives the loop every block from number from on, whatever becomes of the
// connection, until ctx ends or there is a gap.
type stream struct {
	s    *Settler
	next uint64
	out  chan<- update
}

func (st *stream) run(ctx context.Context) {
	backoff := wire.Backoff{Min: backoffMin, Max: backoffMax}
	for ctx.Err() == nil {
		client, err := st.dial(ctx)
		if err == nil {
			backoff.Reset()
			st.tell(ctx, update{up: true})
			stop := context.AfterFunc(ctx, func() { _ = client.Close() }) // a call under way ends with it
			err = st.session(ctx, client)
			stop()
			_ = client.Close() // whatever ended the session has been said
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, new(*follow.GapError)):
			st.tell(ctx, update{gap: err})
			return
		case errors.Is(err, ErrOtherChain): // a block says so
			st.tell(ctx, update{fatal: fmt.Errorf("%s: %w", st.s.opt.WriteNode, err)})
			return
		case otherChain(err):
			st.tell(ctx, update{fatal: fmt.Errorf("%w: %s: %w", ErrOtherChain, st.s.opt.WriteNode, err)})
			return
		}
		st.tell(ctx, update{down: err})
		pause(ctx, backoff.Next())
	}
}

func (st *stream) dial(ctx context.Context) (*wire.Client, error) {
	id := &st.s.identity
	return wire.Dial(ctx, st.s.opt.WriteNode,
		wire.Identity{ChainID: id.chainID, Genesis: id.genesis, Module: id.module, Role: wire.RoleSettler, Agent: st.s.opt.Agent},
		wire.DialOptions{Head: chain.BlockID{Number: st.next - 1}, Doorbells: true, Dial: st.s.opt.Dial})
}

// otherChain reports whether a peer refused, or was refused, because it is on
// another chain or runs another module: waiting does not mend that.
func otherChain(err error) bool {
	for _, reason := range []error{wire.ErrVersion, wire.ErrChain, wire.ErrGenesis, wire.ErrModule} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

func (st *stream) tell(ctx context.Context, u update) {
	select {
	case st.out <- u:
	case <-ctx.Done():
	}
}

// session pulls until the connection ends. A doorbell says when there is more; a
// timer is the safety net for one that was lost.
func (st *stream) session(ctx context.Context, client *wire.Client) error {
	tip := client.Server().Head.Number
	if tip > st.next && tip-st.next > maxReplay {
		return &follow.GapError{From: st.next, Base: tip}
	}
	poll := time.NewTimer(pollInterval)
	defer poll.Stop()
	for {
		if err := st.pull(ctx, client, tip); err != nil {
			return err
		}
		poll.Reset(pollInterval)
		select {
		case bell := <-client.Doorbells():
			tip = bell.Tip.Number
		case <-poll.C:
			tips, err := client.Tips()
			if err != nil {
				return err
			}
			tip = tips.Proposed.Number
		case <-client.Done():
			return client.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pull gives the loop everything up to the tip.
func (st *stream) pull(ctx context.Context, client *wire.Client, tip uint64) error {
	for st.next <= tip {
		blocks, err := client.Events(st.next, pullBlocks)
		if errors.Is(err, follow.ErrNotAvailable) {
			return nil // the tip has moved back: a reader that rolled back
		}
		if err != nil {
			return err
		}
		for _, b := range blocks {
			if err := st.s.identity.check(&b.Header); err != nil {
				return err
			}
		}
		st.next += uint64(len(blocks))
		st.tell(ctx, update{blocks: blocks})
	}
	st.tell(ctx, update{live: true})
	return nil
}

// check compares a header with what is known of the chain. That it follows its
// parent is for the core.
func (id *identity) check(h *chain.Header) error {
	if h.ChainID != id.chainID || h.Sequencer != id.sequencer {
		return fmt.Errorf("%w: block %d is by sequencer %x of chain %d, want %x of %d", ErrOtherChain, h.Height, h.Sequencer, h.ChainID, id.sequencer, id.chainID)
	}
	return h.VerifySignature()
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
