package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// clusterTimeout bounds how long one node of several is waited for: the others
// are to be shown.
const clusterTimeout = 5 * time.Second

// cluster is what `status` prints of several nodes.
type cluster struct {
	Nodes  []member `json:"nodes"`
	Height uint64   `json:"height"` // the newest block that all have; the roots are its
	Agree  bool     `json:"agree"`  // every node that answered has the same root there
}

// member is one node of a cluster.
type member struct {
	URL       string      `json:"url"`
	Info      *api.Info   `json:"info,omitempty"`
	Status    *api.Status `json:"status,omitempty"`
	BlockHash *chain.Hash `json:"block_hash,omitempty"` // at cluster.Height
	StateRoot *chain.Hash `json:"state_root,omitempty"`
	Error     string      `json:"error,omitempty"`

	err error
}

func (m *member) fail(err error) { m.err, m.Error = err, err.Error() }

// runCluster asks several nodes where they stand and compares their roots at the
// newest height that all have.
func runCluster(ctx context.Context, urls []string, out *cli.Output, std cli.IO) error {
	clients := make([]*client.Client, len(urls))
	for i, url := range urls {
		var err error
		if clients[i], err = client.New(url); err != nil {
			return &cli.UsageError{Err: err}
		}
		defer clients[i].Close()
	}
	v := cluster{Nodes: make([]member, len(urls))}
	askAll(ctx, clients, func(ctx context.Context, c *client.Client, i int) error {
		v.Nodes[i].URL = urls[i]
		s, err := fetchStatus(ctx, c)
		if err == nil {
			v.Nodes[i].Info, v.Nodes[i].Status = &s.Info, &s.Status
		}
		return err
	}, v.Nodes)
	v.Height = commonHeight(v.Nodes)
	askAll(ctx, clients, func(ctx context.Context, c *client.Client, i int) error {
		if v.Nodes[i].err != nil {
			return v.Nodes[i].err
		}
		h, err := c.Header(ctx, api.At(v.Height))
		if err == nil {
			v.Nodes[i].BlockHash, v.Nodes[i].StateRoot = &h.Hash, &h.StateRoot
		}
		return err
	}, v.Nodes)
	err := v.judge()
	return errors.Join(out.Print(std.Out, &v, func(t *cli.Table) { printCluster(t, &v) }), err)
}

// askAll asks every node at the same time.
func askAll(ctx context.Context, clients []*client.Client, ask func(context.Context, *client.Client, int) error, nodes []member) {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			if err := ask(ctx, c, i); err != nil {
				nodes[i].fail(err)
			}
		})
	}
	wg.Wait()
}

// commonHeight is the newest height that every node that answered has.
func commonHeight(nodes []member) (lowest uint64) {
	first := true
	for i := range nodes {
		if s := nodes[i].Status; s != nil && (first || s.Height < lowest) {
			lowest, first = s.Height, false
		}
	}
	return lowest
}

// judge says what is wrong with the whole: a node of another chain or another
// root before one that does not answer.
func (v *cluster) judge() error {
	var silent, different error
	var first *member
	for i := range v.Nodes {
		m := &v.Nodes[i]
		switch {
		case m.err != nil:
			silent = errors.Join(silent, fmt.Errorf("%s: %w", m.URL, m.err))
		case first == nil:
			first = m
		case m.Info.GenesisHash != first.Info.GenesisHash:
			different = errors.Join(different, fmt.Errorf("%w: %s is of chain %s, %s of chain %s", node.ErrVerification, m.URL, m.Info.GenesisHash, first.URL, first.Info.GenesisHash))
		case *m.StateRoot != *first.StateRoot || *m.BlockHash != *first.BlockHash:
			different = errors.Join(different, fmt.Errorf("%w: at height %d %s has root %s, %s has %s", node.ErrVerification, v.Height, m.URL, m.StateRoot, first.URL, first.StateRoot))
		}
	}
	v.Agree = different == nil && first != nil
	if different != nil {
		return cli.Hint(different, "keep both data directories; 'kaizen verify block %d --data-dir DIR' on each shows who is right", v.Height)
	}
	return silent
}

func printCluster(t *cli.Table, v *cluster) {
	t.Row("NODE", "ROLE", "HEIGHT", "BEHIND", "HEAD AGE", "ORACLE", fmt.Sprintf("ROOT AT %d", v.Height), "STATE")
	for i := range v.Nodes {
		m := &v.Nodes[i]
		if m.Status == nil {
			t.Row(m.URL, "-", "-", "-", "-", "-", "-", m.Error)
			continue
		}
		s, root, state := m.Status, "-", "ok"
		if m.StateRoot != nil {
			root = m.StateRoot.Short()
		}
		if s.Alarm != "" {
			state = "ALARM: " + s.Alarm
		}
		if m.Error != "" {
			state = m.Error
		}
		t.Row(m.URL, s.Role, s.Height, s.Lag, ms(s.LagMs), oracleText(&s.Oracle), root, state)
	}
	if v.Agree {
		t.Line("roots agree")
	} else {
		t.Line("roots DIFFER, or nobody answered")
	}
}
