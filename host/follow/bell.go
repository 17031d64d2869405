package follow

import "github.com/kaizenchain/kaizen/host/chain"

// DefaultPollMs is the poll interval, ms: the safety net under lost doorbells
// (S-21).
const DefaultPollMs = 1000

// Bell decides when a pass starts (S-21): when somebody rang, or when the last
// one ended a poll interval ago. Passes never overlap, and any number of rings
// during one come to one more pass. Times are ms of any clock that does not go
// backwards.
//
//	for {
//		if ride, ok := bell.Begin(now()); ok {
//			follower.Pass(ride)
//			bell.End(now())
//		}
//		wait for a doorbell (Ring) or bell.Wait(now()) ms
//	}
type Bell struct {
	// PollMs is the poll interval, ms; 0 means DefaultPollMs.
	PollMs uint64

	running, rung, ended bool
	endedAt              uint64
	ride                 *chain.Block
}

// Ring asks for a pass. ride is the block that came with the doorbell, or nil;
// the newest one is kept.
func (b *Bell) Ring(ride *chain.Block) {
	b.rung = true
	if ride != nil && (b.ride == nil || ride.Header.Height >= b.ride.Header.Height) {
		b.ride = ride
	}
}

// Begin reports whether a pass starts now, and the block to give to it. The first
// call always starts one.
func (b *Bell) Begin(nowMs uint64) (ride *chain.Block, ok bool) {
	if b.running || b.Wait(nowMs) > 0 {
		return nil, false
	}
	ride = b.ride
	b.running, b.rung, b.ride = true, false, nil
	return ride, true
}

// End says that the pass is over.
func (b *Bell) End(nowMs uint64) { b.running, b.ended, b.endedAt = false, true, nowMs }

// Wait is how long nothing has to happen unless somebody rings, ms.
func (b *Bell) Wait(nowMs uint64) uint64 {
	poll := b.PollMs
	if poll == 0 {
		poll = DefaultPollMs
	}
	if b.rung || !b.ended || nowMs >= b.endedAt+poll {
		return 0
	}
	return b.endedAt + poll - nowMs
}
