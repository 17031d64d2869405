package solver

import (
	"net/netip"
	"sync"
	"time"
)

// maxCallers bounds the addresses whose rate is remembered.
const maxCallers = 4096

// limiter allows each address so many calls per second, and twice as many at
// once. When it knows too many addresses it forgets those that were quiet for
// two seconds, and if none was, turns away new ones.
type limiter struct {
	perSecond int

	mu      sync.Mutex
	callers map[netip.Prefix]*caller
}

// caller has credit in thousandths of a call.
type caller struct {
	credit int
	at     time.Time
}

func newCallers() map[netip.Prefix]*caller { return make(map[netip.Prefix]*caller) }

// allow takes one call of the address's credit.
func (l *limiter) allow(remote string, now time.Time) bool {
	key := addressOf(remote)
	l.mu.Lock()
	defer l.mu.Unlock()
	full := 2000 * l.perSecond
	c := l.callers[key]
	if c == nil {
		if len(l.callers) >= maxCallers && !l.forget(now) {
			return false
		}
		c = &caller{credit: full, at: now}
		l.callers[key] = c
	}
	quiet := min(now.Sub(c.at), 2*time.Second).Milliseconds()
	if quiet > 0 {
		c.credit = min(full, c.credit+int(quiet)*l.perSecond)
		c.at = now
	}
	if c.credit < 1000 {
		return false
	}
	c.credit -= 1000
	return true
}

func (l *limiter) forget(now time.Time) (some bool) {
	for key, c := range l.callers {
		if now.Sub(c.at) >= 2*time.Second {
			delete(l.callers, key)
			some = true
		}
	}
	return some
}

// addressOf is an IPv4 address, or the /64 that an IPv6 host can choose from.
func addressOf(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := ap.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
