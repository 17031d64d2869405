package rpc

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kaizenchain/kaizen/host/rpc/api"
	figures "github.com/kaizenchain/kaizen/host/rpc/metrics"
)

// metrics are the server's own; the rest of GET /metrics is the node's.
type metrics struct {
	requests      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	connections   *prometheus.GaugeVec
	limited       *prometheus.CounterVec
	subscriptions *prometheus.GaugeVec
	notifications *prometheus.CounterVec
	notified      [topicCount]prometheus.Counter // the same, looked up once
	closed        *prometheus.CounterVec
	unknown       methodMetrics
	stream        methodMetrics
}

// limitNames are the values of the label limit (RPC.md, Metrics).
var limitNames = []string{"body", "rate", "concurrent", "memory", "connections", "per_address", "read_timeout", "slow_client", "subscriptions", "total_subscriptions"}

// closeReasons are the values of the label reason of subscriptions that the node
// closed.
var closeReasons = []string{api.ReasonSlow, api.ReasonRolledBack, api.ReasonInternal, api.ReasonPruned, api.ReasonNotOnChain}

// methodMetrics are the two that every successful call touches, looked up once.
type methodMetrics struct {
	ok      prometheus.Counter
	seconds prometheus.Observer
}

// unknownMethod is the label of calls that name no method of ours: a label must
// never hold what a client chose.
const unknownMethod = "unknown"

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kaizen_rpc_requests_total",
			Help: "JSON-RPC calls and transactions of submit streams answered, by method and error code (0: success)."}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kaizen_rpc_request_seconds",
			Help: "Time to execute a JSON-RPC call, or what a submit stream submits together, by method.", Buckets: figures.Seconds()}, []string{"method"}),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kaizen_rpc_connections",
			Help: "Open connections: tcp counts all of them, ws the WebSocket ones among them, stream the submit streams among these."}, []string{"transport"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kaizen_rpc_limited_total",
			Help: "Requests and connections turned away, by limit."}, []string{"limit"}),
		subscriptions: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kaizen_rpc_subscriptions",
			Help: "Open subscriptions, by topic."}, []string{"topic"}),
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kaizen_rpc_notifications_total",
			Help: "Messages to subscribers, by topic."}, []string{"topic"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kaizen_rpc_subscriptions_closed_total",
			Help: "Subscriptions that the node closed, by reason."}, []string{"reason"}),
	}
	// A series that begins at zero shows its first increase.
	for _, limit := range limitNames {
		m.limited.WithLabelValues(limit)
	}
	for _, reason := range closeReasons {
		m.closed.WithLabelValues(reason)
	}
	for t, name := range topicNames {
		m.notified[t] = m.notifications.WithLabelValues(name)
		m.subscriptions.WithLabelValues(name)
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.connections, m.limited, m.subscriptions, m.notifications, m.closed} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	m.unknown, m.stream = m.method(unknownMethod), m.method(submitStream)
	return m, nil
}

func (m *metrics) method(name string) methodMetrics {
	return methodMetrics{ok: m.requests.WithLabelValues(name, "0"), seconds: m.seconds.WithLabelValues(name)}
}

// observe counts one call; method is nil if there is no such method.
func (m *metrics) observe(method *method, code api.Code, took time.Duration) {
	name, seen := unknownMethod, &m.unknown
	if method != nil {
		name, seen = method.name, &method.seen
	}
	if code == 0 {
		seen.ok.Inc()
	} else {
		m.requests.WithLabelValues(name, strconv.Itoa(int(code))).Inc()
	}
	seen.seconds.Observe(took.Seconds())
}
