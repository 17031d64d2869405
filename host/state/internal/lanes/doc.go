// Package lanes computes the SHA-256 of many messages side by side. The hashes of a
// tree's nodes on one height do not depend on each other, nor do those of a snapshot's
// chunks, and a processor with wide registers does sixteen in about the time of four.
//
// It imports crypto/sha256, which hashes what does not fill the lanes and everything
// on processors without AVX-512, and golang.org/x/sys/cpu, which tells the two apart
// (GODEBUG=cpu.avx512f=off switches the lanes off). What comes out is the same. It
// starts no goroutine.
//
//	var h lanes.Hasher
//	h.Sum(message, &out) // any number of times, of any length
//	h.Flush()            // now every out is there
//
//	Long(messages, sums, between) // messages that are worth no queue
//
// A Hasher belongs to one goroutine; different ones share nothing.
package lanes
