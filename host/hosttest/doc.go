// Package hosttest is the world that tests put the cores into: a scripted STF
// program ([Script]), a runner of scenario files ([Scenarios]), an in-memory
// network with faults ([Network]), an archive in memory ([Archive]), a certificate
// for TLS ([Certificate]), and in faultfs a file system that crashes.
//
// It may import the pure packages; no program may import it, and it must not
// import an adapter, so that every adapter's tests can use it. Clocks are not
// here: cores take the time as an argument, and what waits is tested inside a
// testing/synctest bubble.
//
//	scenario file ─▶ Scenarios ─▶ commands of the test's own world ─▶ log, compared
//	client ─▶ Network.Dial ═ writes, through Fault ═▶ Network.Listen ─▶ server
//
// Network and Archive may be used from any goroutine; the others belong to one.
package hosttest
