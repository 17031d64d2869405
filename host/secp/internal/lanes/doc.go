// Package lanes recovers the signers of many signatures side by side: eight points
// of secp256k1, one in each 64-bit lane of the widest registers that amd64 has, with
// its multiplier of 52-bit numbers (AVX-512 IFMA). It owns everything between a
// signature and an address: field, scalars, point operations, Keccak-256.
//
// It imports golang.org/x/sys/cpu, which says whether this processor has those
// instructions, and nothing else outside the standard library. It must not import
// go-ethereum: host/secp owns that, decides what the lanes leave open (Unsure) and
// recovers where there are no lanes.
//
//	if lanes.Available() {
//		batch.Recover(jobs) // any number; each job gets a Verdict
//	}
//
// How it is computed and why the result is the reference's is in RECOVERY.md. All
// inputs are public, so nothing here takes constant time on purpose.
//
// A Batch belongs to one goroutine; the table that all share is made once and only
// read. lanes_amd64.s is printed by package gen.
package lanes
