package rpc

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// TestErrorsDocument holds the tables of ERRORS.md to the code's.
func TestErrorsDocument(t *testing.T) {
	b, err := os.ReadFile("ERRORS.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, c := range api.Codes {
		want = append(want, fmt.Sprintf("| %d | %s | %d | %s |", c.Code, c.Name, c.HTTP, c.Meaning))
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "| -32") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("ERRORS.md has\n%s\n\nthe code has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestMethodsDocument holds the headings of RPC.md to the method table and the
// limits to their defaults.
func TestMethodsDocument(t *testing.T) {
	b, err := os.ReadFile("RPC.md")
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, func(o *Options) { o.Module = Module{} })
	defer w.stop()
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^### `((?:kaizen_|rpc\\.)\\w+)\\(").FindAllStringSubmatch(string(b), -1) {
		documented[m[1]] = true
	}
	for name := range w.server.methods {
		if !documented[name] {
			t.Errorf("RPC.md does not describe %s", name)
		}
	}
	l := DefaultLimits()
	for name, value := range map[string]any{
		"max_body_bytes": l.MaxBodyBytes, "max_batch": l.MaxBatch, "max_txs": l.MaxTxs, "max_response_bytes": l.MaxResponseBytes, "max_held_bytes": l.MaxHeldBytes,
		"max_connections": l.MaxConnections, "max_per_address": l.MaxPerAddress, "max_concurrent": l.MaxConcurrent, "max_session_calls": l.MaxSessionCalls,
		"max_session_bytes": l.MaxSessionBytes, "max_stream_txs": l.MaxStreamTxs, "max_stream_bytes": l.MaxStreamBytes, "max_subscriptions": l.MaxSubscriptions, "max_total_subscriptions": l.MaxTotalSubscriptions, "max_subscription_lag": l.MaxSubscriptionLag, "rate_per_second": l.RatePerSecond, "rate_burst": l.RateBurst, "max_rated_addresses": l.MaxRatedAddresses,
		"header_timeout": l.HeaderTimeout, "read_timeout": l.ReadTimeout, "call_timeout": l.CallTimeout, "write_timeout": l.WriteTimeout, "idle_timeout": l.IdleTimeout, "ping_interval": l.PingInterval,
	} {
		if row := fmt.Sprintf("| `%s` | %v |", name, value); !strings.Contains(string(b), row) {
			t.Errorf("RPC.md has no row %s", row)
		}
	}
}

// TestReasonsDocument holds the reasons of ERRORS.md to the code's.
func TestReasonsDocument(t *testing.T) {
	b, err := os.ReadFile("ERRORS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{api.ReasonSlow, api.ReasonRolledBack, api.ReasonInternal, api.ReasonPruned, api.ReasonNotOnChain} {
		if !strings.Contains(string(b), "\n| "+reason+" | ") {
			t.Errorf("ERRORS.md does not describe %s", reason)
		}
	}
}
