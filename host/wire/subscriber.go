package wire

import "sync"

// push is one announcement as two finished frames that all subscribers share.
type push struct {
	bell []byte // the doorbell alone
	ride []byte // with the block; nil if that is too large
}

// subscriber is what waits for one peer: at most maxPushes doorbells, or, once
// they did not fit, the fact that the peer is lagging. The announcing side never
// waits for it.
type subscriber struct {
	wake chan struct{} // of capacity 1: there may be something

	mu      sync.Mutex
	active  bool
	ride    bool
	lagging bool
	queue   []push
	dropped uint64
}

func newSubscriber() *subscriber { return &subscriber{wake: make(chan struct{}, 1)} }

// subscribe starts the pushes with one doorbell, because the peer does not know
// what happened before.
func (s *subscriber) subscribe(ride bool) {
	s.mu.Lock()
	s.active, s.ride, s.lagging = true, ride, true
	s.mu.Unlock()
	s.signal()
}

// offer takes an announcement or drops it.
func (s *subscriber) offer(p push) {
	s.mu.Lock()
	switch {
	case !s.active:
		s.mu.Unlock()
		return
	case s.lagging:
		s.dropped++
	case len(s.queue) == maxPushes:
		s.dropped += uint64(len(s.queue)) + 1
		s.queue, s.lagging = nil, true
	default:
		s.queue = append(s.queue, p)
	}
	s.mu.Unlock()
	s.signal()
}

func (s *subscriber) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next takes what to send next: a frame, or, for a peer that was lagging, the
// order to ring once with the present tip.
func (s *subscriber) next() (frame []byte, ring, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lagging:
		s.lagging = false
		return nil, true, true
	case len(s.queue) == 0:
		return nil, false, false
	}
	p := s.queue[0]
	s.queue[0] = push{} // let go of the block
	s.queue = s.queue[1:]
	if s.ride && p.ride != nil {
		return p.ride, false, true
	}
	return p.bell, false, true
}

func (s *subscriber) state() (active, lagging bool, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active, s.lagging, s.dropped
}
