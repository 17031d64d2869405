// Package procs owns how many goroutines of this process run at once: the count
// of cores that work is divided by, the larger number that a node which serves lets
// run, and how one of them lets others go first.
//
// It imports nothing of the project.
//
//	Cores()          how many goroutines share out long work
//	Oversubscribe()  before a node serves
//	Yield()          between two pieces of long work that others wait beside
//
// Cores and Yield may be called by any goroutine at any time.
package procs

import (
	"os"
	"runtime"
)

// perCore is how many goroutines run at once for each core of a node that serves.
// Go looks at the network when a processor of its runs out of goroutines, else
// every 10 ms; one that is in a sync of a file counts as busy until a monitor takes
// it away; and one whose thread the kernel has put aside takes its goroutine with
// it. With as many as there are cores, a commit and a collection are enough that
// nobody hears of a transaction that has arrived. With twice as many somebody
// listens, and the kernel decides who has the core, which knows of other programs.
const perCore = 2

// cores is what Go found: the processors, or the share of them that a container
// was given.
var cores = runtime.GOMAXPROCS(0)

// Cores is how many cores this process may use.
func Cores() int { return cores }

// Oversubscribe lets more goroutines run at once than there are cores. The
// environment's GOMAXPROCS wins.
func Oversubscribe() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(perCore * cores)
	}
}
