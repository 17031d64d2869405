// Package invariant is how the code says "this cannot be": a broken invariant is
// fatal (README, invariant 5), so the process stops before it can answer or
// write anything built on the mistake, and recovers on restart.
//
// It imports nothing of the project. Any goroutine may call it.
package invariant

import "fmt"

// Violation is the value that [Hold] and [Broken] panic with.
type Violation struct{ Message string }

func (v Violation) Error() string { return "invariant broken: " + v.Message }

// Hold panics with a [Violation] unless ok. Arguments are only formatted on
// failure, but each that is a number is allocated before: where that would be for
// every key or transaction, ask first and call [Broken].
func Hold(ok bool, format string, args ...any) {
	if !ok {
		Broken(format, args...)
	}
}

// Broken panics with a [Violation].
func Broken(format string, args ...any) { panic(Violation{fmt.Sprintf(format, args...)}) }
