// Package quote is a solver's judgement: what it would pay on a range, from how
// much the price has moved lately, and which of its offers it still honours.
//
// It owns the model, in integers only, the limits, and the book of offers that
// are out. It does no I/O and knows no clock: times are arguments, ms of the
// chain. It must not import an adapter; host/solver joins it with a node.
//
//	window.Add(timestamp, price)                    as prices are recorded
//	offer, err := book.Quote(now, view, request)    a *Refusal, or terms to sign
//	book.Hold(hash, offer)                          the offer is out
//	err = book.Take(now, hash, view)                its user has accepted: at most once
//	book.Done(hash, height)                         it is in that block; or book.Undone(hash)
//	book.Observe(height, locked)                    what the chain says is at risk
//
// Nothing here may be used by two goroutines at once.
package quote
