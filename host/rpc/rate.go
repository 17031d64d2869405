package rpc

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// caller is who is on the other end of a connection, as far as limits care: an
// IPv4 address, or the /64 that an IPv6 host can choose addresses from.
type caller struct {
	key      netip.Prefix
	loopback bool
}

// callerOf reads a remote address. One that is no IP address (a Unix socket, a
// pipe) is local.
func callerOf(addr net.Addr) caller {
	if addr == nil {
		return caller{loopback: true}
	}
	return callerAt(addr.String())
}

func callerAt(addr string) caller {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return caller{loopback: true}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	return caller{key: netip.PrefixFrom(ip, bits).Masked(), loopback: ip.IsLoopback()}
}

// rates is a token bucket per client. Memory is bounded: when max clients are
// remembered, those whose bucket is full again are forgotten, and if that is not
// enough all new ones share one bucket.
type rates struct {
	perSecond, burst float64
	max              int

	mu      sync.Mutex
	buckets map[netip.Prefix]*bucket
	shared  *bucket
	swept   time.Time // when forget last ran
}

// sweepEvery bounds what a flood of new addresses can make forget cost.
const sweepEvery = time.Second

type bucket struct {
	tokens float64
	at     time.Time
}

// newRates returns nil, which allows everything, if there is no limit.
func newRates(l *Limits) *rates {
	if l.RatePerSecond == 0 {
		return nil
	}
	return &rates{perSecond: float64(l.RatePerSecond), burst: float64(l.RateBurst), max: l.MaxRatedAddresses, buckets: map[netip.Prefix]*bucket{}}
}

// allow takes cost tokens of a client, or none and reports false.
func (r *rates) allow(key netip.Prefix, cost int, now time.Time) bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(key, now)
	r.refill(b, now)
	if b.tokens < float64(cost) {
		return false
	}
	b.tokens -= float64(cost)
	return true
}

func (r *rates) refill(b *bucket, now time.Time) {
	b.tokens = min(r.burst, b.tokens+r.perSecond*now.Sub(b.at).Seconds())
	b.at = now
}

func (r *rates) bucket(key netip.Prefix, now time.Time) *bucket {
	if b := r.buckets[key]; b != nil {
		return b
	}
	if len(r.buckets) >= r.max {
		r.forget(now)
	}
	b := &bucket{tokens: r.burst, at: now}
	if len(r.buckets) < r.max {
		r.buckets[key] = b
		return b
	}
	if r.shared == nil {
		r.shared = b
	}
	return r.shared
}

func (r *rates) forget(now time.Time) {
	if now.Sub(r.swept) < sweepEvery {
		return
	}
	r.swept = now
	for key, b := range r.buckets {
		if r.refill(b, now); b.tokens >= r.burst {
			delete(r.buckets, key)
		}
	}
}
