package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// healthPoll is how often a node is asked that is waited for.
const healthPoll = 200 * time.Millisecond

func newHealth(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "health",
		Short: "Say whether a node is ready: caught up, prices fresh, disk fine",
		Long: "Ask a node (or a settler, at its metrics port) whether it is ready, and say why not. A read node is ready\n" +
			"when what it serves is the newest verified state; a write node when a transaction sent now would be sealed\n" +
			"in time under prices that count. With --wait it is asked until it is, for units and scripts that start\n" +
			"something after it.\n\n" +
			"Exit codes: 0 ready, 4 not ready, 5 no answer.\nJSON: {ready, checks: [{name, ok, detail}]}.",
		Example: "  kaizen health --rpc-url http://127.0.0.1:8547\n  kaizen health --wait --timeout 5m && start-what-needs-it",
		Args:    cli.Args(),
	}
	r := addRemote(c.Flags())
	out := cli.AddOutput(c)
	wait := c.Flags().Bool("wait", false, "ask until it is ready")
	timeout := c.Flags().Duration("timeout", time.Minute, "how long to wait at most")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if c.Flags().Changed("timeout") && !*wait {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("--timeout is about --wait, and there is none")}
		}
		return r.use(c.Context(), func(ctx context.Context, node *client.Client) error {
			ask := node.Ready
			if *wait {
				ask = func(ctx context.Context) (api.Health, error) {
					return waitReady(ctx, node, *timeout, &waiting{std: std})
				}
			}
			v, err := ask(ctx)
			if err != nil {
				return err
			}
			return errors.Join(out.Print(std.Out, &v, func(t *cli.Table) { printHealth(t, &v) }), unready(&v))
		})
	}
	return c
}

// waitReady asks until the node is ready or time is up, and returns the last
// answer.
func waitReady(ctx context.Context, node *client.Client, timeout time.Duration, w *waiting) (api.Health, error) {
	timed, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(healthPoll)
	defer tick.Stop()
	var last api.Health
	lastErr := fmt.Errorf("%w within %s", client.ErrUnreachable, timeout)
	for {
		v, err := node.Ready(timed)
		if timed.Err() == nil { // or the question was cut off, and says nothing of the node
			last, lastErr = v, err
		}
		if err == nil && v.Ready {
			return v, nil
		}
		w.say(unreadyOr(&v, err))
		select {
		case <-tick.C:
		case <-timed.Done():
			if ctx.Err() != nil {
				return last, ctx.Err()
			}
			return last, lastErr
		}
	}
}

// waiting says what is waited for, when that changes.
type waiting struct {
	std  cli.IO
	said string
}

func (w *waiting) say(err error) {
	if text := err.Error(); text != w.said {
		w.said = text
		fmt.Fprintln(w.std.Err, "waiting:", text)
	}
}

// unreadyOr is why a node cannot be used: it did not answer, or it is not ready.
func unreadyOr(v *api.Health, err error) error {
	if err != nil {
		return err
	}
	return unready(v)
}

func printHealth(t *cli.Table, v *api.Health) {
	t.Row("CHECK", "", "DETAIL")
	for _, c := range v.Checks {
		verdict := "ok"
		if !c.OK {
			verdict = "NO"
		}
		t.Row(c.Name, verdict, c.Detail)
	}
}

// unready is the error of a node that is not ready.
func unready(v *api.Health) error {
	if v.Ready {
		return nil
	}
	var names []string
	for _, c := range v.Checks {
		if !c.OK {
			names = append(names, c.Name)
		}
	}
	return fmt.Errorf("%w: %s", cli.ErrNotReady, strings.Join(names, ", "))
}
