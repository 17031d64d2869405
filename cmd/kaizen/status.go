package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

func newStatus(std cli.IO) *cobra.Command {
	q := newQuestion("status", "Show where a node stands", "{info: the result of kaizen_info, status: the result of kaizen_status}", false)
	q.cmd.RunE = func(c *cobra.Command, _ []string) error {
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
