package wire

import "sync"

// push is what all subscribers share: an announcement as two finished frames, or
// transactions of the open block as one.
type push struct {
	bell []byte // the doorbell alone
	ride []byte // with the block; nil if that is too large
	open []byte // transactions of the open block; the others are nil then
}

// subscriber is what waits for one peer: at most maxPushes doorbells and maxOpens
// parts of the open block, or, once doorbells did not fit, the fact that the peer is
// lagging. The announcing side never waits for it.
type subscriber struct {
	wake chan struct{} // of capacity 1: there may be something

	mu      sync.Mutex
	active  bool
	ride    bool
	open    bool
	lagging bool
	queue   []push
	opens   int // in queue
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
	case len(s.queue)-s.opens == maxPushes:
		s.dropped += maxPushes + 1
		s.queue, s.opens, s.lagging = nil, 0, true
	default:
		s.queue = append(s.queue, p)
	}
	s.mu.Unlock()
	s.signal()
}

// subscribeOpen asks for transactions of the open block too; it reports whether the
// peer had not asked before.
func (s *subscriber) subscribeOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	had := s.open
	s.open = true
	return !had
}

// offerOpen takes transactions of the open block, or drops them: the peer then
// gets them with the block.
func (s *subscriber) offerOpen(p push) {
	s.mu.Lock()
	taken := s.open && !s.lagging && s.opens < maxOpens
	if taken {
		s.queue, s.opens = append(s.queue, p), s.opens+1
	}
	s.mu.Unlock()
	if taken {
		s.signal()
	}
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
	if p.open != nil {
		s.opens--
		return p.open, false, true
	}
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
