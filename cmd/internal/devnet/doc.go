// Package devnet is a whole chain in one process for development: price service,
// write node, read node and traffic, each the real component, speaking to the
// others over loopback sockets as separate processes would.
//
// It owns which accounts a development chain funds, how the parts are started and
// stopped in order, and the traffic. It must not print; cmd/kaizen does.
//
//	net, err := devnet.Start(ctx, options)    ports are bound, nodes are up
//	<-net.Failed() or a signal
//	report := net.Stop()                      the read node has verified what was sealed, or says why not
//
// Start and Stop belong to one goroutine; [Net.Snapshot] may be called by any
// between them.
package devnet
