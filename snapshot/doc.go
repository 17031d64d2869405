// Package snapshot owns the files that hold the whole state after one block, so
// that a node can start from there: writing them, reading them without trusting
// them, and the directory they are kept in. FORMAT.md beside this file shows
// every byte and says what a snapshot can and cannot be trusted for.
//
// It is an adapter: only here is zstd imported. It must not import another
// adapter (the file system it sees is host/store/vfs), nor execute anything.
//
//	Dir.Create(meta) ─▶ Writer.Add every key, in path order ─▶ Writer.Commit
//	    cuts, compresses, stores, hashes                         names the snapshot by its
//	                                                             content, makes it appear at once
//	Dir.Receive(manifest) ─▶ Incoming.Put every Missing chunk, from anybody ─▶ Incoming.Commit
//	    goes on where the last run ended
//	Open ─▶ CheckChain, CheckBlock: compare the header with one that is trusted
//	     ─▶ Chain: what an incremental one stands on ─▶ Restore
//	                                                             every hash, every order, and
//	                                                             the state root (invariant 9)
//
// Nothing is believed before it is checked: sizes before memory is taken,
// compressed bytes before they are decompressed, decompressed bytes before they
// are parsed, and the state before it is handed out.
//
// Changes of one directory (Create, Receive, Remove, Prune) take its lock, across
// processes too. A Writer and an Incoming belong to one goroutine each. A Snapshot never changes and
// may be read by any number of goroutines.
package snapshot
