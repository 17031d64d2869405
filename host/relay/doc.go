// Package relay is the settler's loop: it follows a node's event stream, tells the
// core (host/settle) what happened, signs and sends what the core asks for, and
// keeps on disk what the core must not forget. STATE.md shows the files.
//
// It owns the goroutines, timers and files of a settler. What to settle, when and
// with which claim is the core's business, and it must not decide any of that. It
// may import the wire, RPC and key adapters and the market's types.
//
//	stream ─▶ blocks ─▶ ┐                       ┌ record in flight, fsync
//	timer ───▶ tick ──▶ ├ core ─▶ next batch ─▶ ┤ sign
//	answers ─▶ ─────────┘                       └ kaizen_sendTransactions ─▶ answers
//	gap ─▶ ask the state ─▶ core.Rebuild ─▶ stream from there
//
// One goroutine owns the core; one pulls the stream, one sends the batch that is
// out. New, Run and Close are called once each, in this order; Stats may be called
// from any goroutine.
package relay
