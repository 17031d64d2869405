package rpc

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Limits bound what clients can make a node spend. [DefaultLimits] are meant to
// be right for anybody who does not know better.
type Limits struct {
	MaxBodyBytes     int // one HTTP body or WebSocket message
	MaxBatch         int // calls in one batch
	MaxTxs           int // transactions in one kaizen_sendTransactions
	MaxResponseBytes int // one answer, or one batch of answers
	MaxHeldBytes     int // request bodies and unsent answers of all clients together

	MaxConnections        int // TCP connections, HTTP and WebSocket together
	MaxPerAddress         int // of them, from one address; loopback is exempt
	MaxConcurrent         int // requests being executed
	MaxSessionCalls       int // requests of one WebSocket connection under way
	MaxSessionBytes       int // answers that one WebSocket client leaves unread
	MaxStreamTxs          int // transactions of one submit stream without an answer; above, it is not read
	MaxStreamBytes        int // of these
	MaxSubscriptions      int // subscriptions of one WebSocket connection
	MaxTotalSubscriptions int // subscriptions of all clients together
	MaxSubscriptionLag    int // blocks that a subscriber who was up to date may fall behind
	RatePerSecond         int // calls or transactions a second from one address; 0: no limit; loopback is exempt
	RateBurst             int // how many may come at once
	MaxRatedAddresses     int // addresses remembered for the rate

	HeaderTimeout time.Duration // to send the HTTP header
	ReadTimeout   time.Duration // to send a request
	CallTimeout   time.Duration // to execute it
	WriteTimeout  time.Duration // to take the answer
	IdleTimeout   time.Duration // between HTTP requests
	PingInterval  time.Duration // between WebSocket pings; an answer is due within it
}

// maxHeaderBytes bounds an HTTP header.
const maxHeaderBytes = 16 << 10

// DefaultLimits are the limits where the configuration says nothing.
func DefaultLimits() Limits {
	return Limits{
		MaxBodyBytes: 5 << 20, MaxBatch: 1000, MaxTxs: 1000, MaxResponseBytes: 16 << 20, MaxHeldBytes: 256 << 20,
		MaxConnections: 500, MaxPerAddress: 100, MaxConcurrent: 256, MaxSessionCalls: 64, MaxSessionBytes: 32 << 20,
		MaxStreamTxs: 4096, MaxStreamBytes: 4 << 20, MaxSubscriptions: 64, MaxTotalSubscriptions: 10_000, MaxSubscriptionLag: 600,
		RatePerSecond: 5000, RateBurst: 10_000, MaxRatedAddresses: 65_536,
		HeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, CallTimeout: 10 * time.Second,
		WriteTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute, PingInterval: 20 * time.Second,
	}
}

// Validate checks that every limit is set and that they fit each other; an error
// names the limit as in the configuration's [rpc] section, and both values.
func (l *Limits) Validate() error {
	for _, f := range []struct {
		name     string
		got, min int
	}{
		{"max_body_bytes", l.MaxBodyBytes, 1 << 10}, {"max_batch", l.MaxBatch, 1}, {"max_txs", l.MaxTxs, 1},
		{"max_response_bytes", l.MaxResponseBytes, 1 << 10}, {"max_held_bytes", l.MaxHeldBytes, l.MaxBodyBytes + l.MaxResponseBytes},
		{"max_connections", l.MaxConnections, 1}, {"max_per_address", l.MaxPerAddress, 1}, {"max_concurrent", l.MaxConcurrent, 1},
		{"max_session_calls", l.MaxSessionCalls, 1}, {"max_session_bytes", l.MaxSessionBytes, l.MaxResponseBytes},
		{"max_stream_txs", l.MaxStreamTxs, 1}, {"max_stream_bytes", l.MaxStreamBytes, abi.MaxTxBytes},
		{"max_subscriptions", l.MaxSubscriptions, 1}, {"max_total_subscriptions", l.MaxTotalSubscriptions, 1}, {"max_subscription_lag", l.MaxSubscriptionLag, 1},
		{"rate_per_second", l.RatePerSecond, 0}, {"rate_burst", l.RateBurst, max(l.MaxBatch, l.MaxTxs)}, {"max_rated_addresses", l.MaxRatedAddresses, 1},
	} {
		if f.got < f.min {
			return fmt.Errorf("rpc.%s is %d, want %d or more", f.name, f.got, f.min)
		}
	}
	for _, f := range []struct {
		name string
		got  time.Duration
	}{
		{"header_timeout", l.HeaderTimeout}, {"read_timeout", l.ReadTimeout}, {"call_timeout", l.CallTimeout},
		{"write_timeout", l.WriteTimeout}, {"idle_timeout", l.IdleTimeout}, {"ping_interval", l.PingInterval},
	} {
		if f.got < time.Millisecond {
			return fmt.Errorf("rpc.%s is %s, want 1ms or more", f.name, f.got)
		}
	}
	return nil
}

// budget is a number of bytes that all clients share.
type budget struct{ free atomic.Int64 }

func newBudget(n int) *budget {
	b := &budget{}
	b.free.Store(int64(n))
	return b
}

// take reserves n bytes, or reports that they are not there.
func (b *budget) take(n int) bool {
	if b.free.Add(-int64(n)) < 0 {
		b.free.Add(int64(n))
		return false
	}
	return true
}

// give returns what was taken.
func (b *budget) give(n int) { b.free.Add(int64(n)) }
