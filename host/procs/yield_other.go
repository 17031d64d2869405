//go:build !linux

package procs

import "runtime"

// Yield lets the other goroutines of this process that are ready go first.
func Yield() { runtime.Gosched() }
