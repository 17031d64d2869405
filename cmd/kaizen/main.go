// Command kaizen is the chain's one program: it runs write nodes, read nodes and
// price services, asks and instructs them, and checks data directories offline.
//
// Files here hold verbs: flags, one plain function each, and what is printed. How
// every verb behaves is written at the top of cmd/internal/cli, and what they print
// in CLI.md. It must not decide anything that host/ decides.
//
//	main ─▶ Main(args, std) ─▶ newRoot ─▶ a verb's run function ─▶ host/
//
// A process calls Main once.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/node"
)

func main() {
	node.TuneMemory()
	os.Exit(Main(os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// Main is the whole program: it runs one command line and returns the exit code.
// The first interrupt asks the verb to end, a second one ends the process.
func Main(args []string, std cli.IO) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return cli.Execute(ctx, newRoot(std), std, args)
}

// otherWords are what people of other nodes type for a verb of ours.
var otherWords = map[string][]string{
	"sequence": {"start", "run", "node", "serve"}, "follow": {"sync", "replica", "read"}, "key": {"account", "wallet", "keys", "accounts"},
	"query": {"get", "show", "q"}, "doctor": {"check", "diagnose", "debug"}, "tx": {"send", "transaction"}, "dev": {"devnet", "localnet", "testnet"},
	"verify": {"validate", "audit"}, "replay": {"re-execute", "reexecute"}, "health": {"ready", "wait"}, "status": {"info", "catchup"},
}

func newRoot(std cli.IO) *cobra.Command {
	root := &cobra.Command{
		Use:     "kaizen",
		Version: node.Version,
		Short:   "A price-range prediction market as a single-sequencer chain",
		Long: "Kaizen runs, asks and checks a chain with one write node and any number of read nodes.\n" +
			"'kaizen dev' starts everything in one process.\n\n" +
			"Exit codes: 0 ok, 1 error, 2 usage or configuration, 3 verification failed, 4 not ready, 5 unreachable.\n" +
			"An executable kaizen-foo on PATH is run by 'kaizen foo'.",
	}
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "use", Title: "Use:"},
		&cobra.Group{ID: "check", Title: "Check offline:"}, &cobra.Group{ID: "manage", Title: "Manage:"})
	for _, g := range []struct {
		id    string
		verbs []*cobra.Command
	}{
		{"run", []*cobra.Command{newDev(std), newInit(std), newSequence(std), newFollow(std), newOracle(std), newSolver(std)}},
		{"use", []*cobra.Command{newTx(std), newQuery(std), newStatus(std), newHealth(std)}},
		{"check", []*cobra.Command{newVerify(std), newWitness(std), newReplay(std), newInspect(std), newSnapshot(std), newDoctor(std)}},
		{"manage", []*cobra.Command{newKey(std), newConfig(std), newLogLevel(std), cli.NewMan("kaizen", "kaizen.1, kaizen-tx-transfer.1, …", "  kaizen man /usr/local/share/man/man1 && man kaizen-doctor"), newVersion(std)}},
	} {
		for _, v := range g.verbs {
			v.GroupID = g.id
			root.AddCommand(v)
		}
	}
	for _, v := range root.Commands() {
		v.SuggestFor = otherWords[v.Name()]
	}
	addCompletions(root)
	return root
}
