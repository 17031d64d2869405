// Package node is the loops: the write node ([Writer]), the read node
// ([Reader]), and offline replay, verification and witnesses ([Replay],
// [VerifyRange], [ExportWitness]). It starts and stops goroutines, keeps the clock,
// and drains what the pure cores ask for in the order that their comments prescribe.
//
// It may import every package below it; nothing but cmd and tools imports it.
// All rules about what a block is live in host/stf, host/sequencer and
// host/follow; here is only who runs when.
//
//	write node:  Submit ─▶ inspect on all cores ─▶ executor ─▶ journal (in groups)     ─▶ answer
//	                                                  │ tick or full
//	                                                  ▼
//	                                               sealer: root, sign, block log (fsync), publish
//	read node:   the open block, as it grows ─▶ inspect, execute and commit ahead
//	             doorbell or poll ─▶ pass ─▶ inspect ahead ─▶ execute
//	                                                             │ beside the next block
//	                                                             ▼
//	                                                          compare roots ─▶ block log ─▶ publish
//
// A Writer and a Reader may be used from any goroutine once Run has been called;
// every exported method says if it blocks.
package node
