package wire

import "time"

// Backoff is how long to wait before the next attempt to connect: Min, twice
// that, and so on up to Max. It has no randomness; a server is protected by its
// limits.
type Backoff struct {
	Min, Max time.Duration // 250 ms and 15 s if zero
	next     time.Duration
}

// Next returns the pause before the next attempt.
func (b *Backoff) Next() time.Duration {
	lo, hi := b.Min, b.Max
	if lo == 0 {
		lo = 250 * time.Millisecond
	}
	if hi == 0 {
		hi = 15 * time.Second
	}
	pause := min(max(b.next, lo), hi)
	b.next = min(2*pause, hi)
	return pause
}

// Reset starts over; a connection that worked calls it.
func (b *Backoff) Reset() { b.next = 0 }
