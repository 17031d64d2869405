// Package wire is the sync protocol: how a read node asks another node for tips,
// blocks and headers, and how it hears that there is something new. WIRE.md
// shows every byte.
//
// It is an adapter: it owns sockets, deadlines and goroutines; its outside library
// is coder/websocket, which host/rpc has too. It must not import another
// adapter. What to do with the answers is host/follow's business: a [Client] is
// a follow.Source and a fetch.Source, a [Server] answers from a follow.Archive,
// and from a fetch.Source if its archive is one.
//
//	client                         server (one port: TCP, WebSocket, TLS around either)
//	  Hello            ─────────▶    checks, refuses with both values
//	                   ◀─────────  Hello
//	  GetTips|GetBlocks|GetHeader|GetEvents ▶  one at a time, in order
//	                   ◀─────────  Tips|Blocks|Header|Events|Failed
//	  GetSnapshots|GetManifest|GetChunk     ▶  the same, from slots and a rate of their own
//	                   ◀─────────  Snapshots|Manifest|Chunk|Failed
//	  Subscribe        ─────────▶
//	                   ◀─────────  Doorbell …   coalesced, never waited for
//	  SubscribeOpen    ─────────▶
//	                   ◀─────────  OpenTxs …    what the open block has so far, never waited for
//	                   ◀── Ping ──▶ Pong
//
// Every exported method of Client and Server may be called from any goroutine.
package wire

import "time"

// ProtocolVersion is the version of the handshake and of every message. Nodes of
// different versions refuse each other.
const ProtocolVersion uint16 = 1

// Sizes. A frame is a u32 length and that many bytes, the first of which is the
// message type.
const (
	// MaxFrameBytes bounds what a length prefix may announce, bytes.
	MaxFrameBytes = 4 << 20
	// MaxRequestFrameBytes bounds a frame from a client to a server, bytes: a
	// server never holds more than this of a peer that it does not know yet.
	MaxRequestFrameBytes = 1 << 10
	// MaxRideBytes bounds a block that rides along with a doorbell, bytes. What a
	// stalled subscriber can keep alive follows from it.
	MaxRideBytes = 256 << 10
	// MaxRangeBlocks bounds the limit of one GetBlocks, blocks.
	MaxRangeBlocks = 1000
	// MaxAgentBytes bounds the name and version that a peer gives itself, bytes.
	MaxAgentBytes = 64
	// MaxTextBytes bounds each text of a refusal or failure, bytes.
	MaxTextBytes = 128
	// MaxInFlight bounds the requests of one client that are not answered yet.
	MaxInFlight = 16
	// maxPushes bounds the doorbells that wait for one subscriber.
	maxPushes = 4
)

// Limits of a server and of a client. The zero value of a field means its
// default.
type Limits struct {
	// MaxConns bounds connections, default 128; MaxConnsPerIP those from one
	// address, default 16. Negative means unlimited.
	MaxConns, MaxConnsPerIP int
	// MaxResponseBytes is what a server puts into one answer if several blocks are
	// asked for, default 1 MiB. One block is always sent whole.
	MaxResponseBytes int
	// MaxReads bounds archive reads at the same time, over all connections;
	// default 4.
	MaxReads int
	// MaxSnapshotAnswers bounds the lists, manifests and chunks of snapshots that are
	// read or on their way at the same time, over all connections; default 4.
	MaxSnapshotAnswers int
	// SnapshotBytesPerSecond bounds what is sent of snapshots, over all connections;
	// default 64 MiB. Negative means unlimited.
	SnapshotBytesPerSecond int
	// HandshakeTimeout bounds connecting and greeting, default 5 s.
	HandshakeTimeout time.Duration
	// IdleTimeout is how long a peer may be silent, default 45 s; a server pings
	// every third of it.
	IdleTimeout time.Duration
	// FrameTimeout bounds a frame from its length to its last byte, either way,
	// default 20 s: what trickles is cut off.
	FrameTimeout time.Duration
	// RequestTimeout is how long a client waits for an answer, default 30 s.
	RequestTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	ints := []struct {
		field *int
		value int
	}{{&l.MaxConns, 128}, {&l.MaxConnsPerIP, 16}, {&l.MaxResponseBytes, 1 << 20}, {&l.MaxReads, 4},
		{&l.MaxSnapshotAnswers, 4}, {&l.SnapshotBytesPerSecond, 64 << 20}}
	for _, d := range ints {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	times := []struct {
		field *time.Duration
		value time.Duration
	}{{&l.HandshakeTimeout, 5 * time.Second}, {&l.IdleTimeout, 45 * time.Second}, {&l.FrameTimeout, 20 * time.Second}, {&l.RequestTimeout, 30 * time.Second}}
	for _, d := range times {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	l.MaxResponseBytes = min(l.MaxResponseBytes, MaxFrameBytes-blocksOverhead)
	return l
}
