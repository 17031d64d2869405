package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

func newStatus(std cli.IO) *cobra.Command {
	q := newQuestion("status [URL...]", "Show where a node stands, or several side by side",
		"{info: the result of kaizen_info, status: the result of kaizen_status}; of several\n"+
			"{nodes: [{url, info, status, block_hash, state_root, error}], height, agree}", false, "[URL]...")
	q.cmd.Long += "\n\nSeveral nodes are asked at the same time, and their state roots compared at the newest height that all have.\n" +
		"Exit codes: 3 if roots or chains differ, 5 if a node does not answer."
	q.cmd.Example = "  kaizen status\n  kaizen status http://127.0.0.1:8545 http://127.0.0.1:8547"
	q.cmd.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 && c.Flags().Changed("rpc-url") {
			return &cli.UsageError{Command: c.CommandPath(), Err: errors.New("choose one of URL and --rpc-url")}
		}
		if len(args) > 1 {
			return runCluster(c.Context(), args, q.out, std)
		}
		if len(args) == 1 {
			q.remote.url = args[0]
		}
		return answer(c.Context(), q, std, fetchStatus, printStatus)
	}
	return q.cmd
}

// nodeStatus is what does not change and what does.
type nodeStatus struct {
	Info   api.Info   `json:"info"`
	Status api.Status `json:"status"`
}

func fetchStatus(ctx context.Context, c *client.Client) (v nodeStatus, err error) {
	if v.Info, err = c.Info(ctx); err != nil {
		return v, err
	}
	v.Status, err = c.Status(ctx)
	return v, err
}

func printStatus(t *cli.Table, v *nodeStatus) {
	s := &v.Status
	t.Row("role", s.Role)
	t.Row("chain id", v.Info.ChainID)
	t.Row("genesis", v.Info.GenesisHash)
	t.Row("module", fmt.Sprintf("%s %s %s", v.Info.Module.Name, v.Info.Module.Version, v.Info.ModuleHash))
	t.Row("height", s.Height)
	if s.Base > 1 {
		t.Row("kept", fmt.Sprintf("blocks %d to %d", s.Base, s.Height))
	}
	t.Row("block hash", s.BlockHash)
	t.Row("state root", s.StateRoot)
	t.Row("block time", fmt.Sprintf("%s (%s ago)", moment(s.HeadTime), ms(s.LagMs)))
	t.Row("behind", fmt.Sprintf("%d blocks", s.Lag))
	t.Row("finalized", s.Tips.Finalized.Block)
	t.Row("oracle", oracleText(&s.Oracle))
	if s.Pending != nil {
		t.Row("open block", fmt.Sprintf("%d with %d transactions", s.Pending.Height, s.Pending.Transactions))
	}
	for _, p := range s.Peers {
		t.Row("peer", peerText(&p))
	}
	t.Row("up", ms(s.UptimeMs))
	t.Row("version", v.Info.Versions.Kaizen)
	if s.Alarm != "" {
		t.Row("ALARM", s.Alarm)
	}
}

func ms(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }

func oracleText(o *api.OracleStatus) string {
	switch {
	case o.Timestamp == 0:
		return "no prices yet"
	case o.Stale:
		return fmt.Sprintf("stale, %s old", ms(o.AgeMs))
	}
	return fmt.Sprintf("fresh, %s old", ms(o.AgeMs))
}

func peerText(p *api.Peer) string {
	state := "connected"
	if !p.Connected {
		state = "not connected"
	}
	return fmt.Sprintf("%s %s at %d, %s", p.Direction, p.Address, p.Height, state)
}
