// Command settler settles theses: it follows a node's event stream, sees breaches
// as prices arrive, and sends SystemSettle transactions. Nobody has to trust it:
// the chain checks every claim against its own records. SETTLER.md is its manual.
//
// This package holds flags and where a key comes from; what a settler does is in
// host/relay and host/settle. It must not decide anything that they decide.
//
//	main ─▶ Main(args, std) ─▶ newRoot ─▶ run ─▶ host/relay
//
// A process calls Main once.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
)

func main() {
	os.Exit(Main(os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// Main is the whole program: it runs one command line and returns the exit code.
// The first interrupt asks it to end, a second one ends the process.
func Main(args []string, std cli.IO) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return cli.Execute(ctx, newRoot(std), std, args)
}
