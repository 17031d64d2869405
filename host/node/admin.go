package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/rpc"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

// adminRoutes are what an operator may ask of either kind of node while it runs.
func adminRoutes(log *slog.Logger, snaps *snapshots) map[string]rpc.AdminRoute {
	return map[string]rpc.AdminRoute{
		"log":               func(_ context.Context, body []byte) (any, error) { return changeLevels(log, body) },
		"snapshot":          snaps.route,
		"snapshot-progress": snaps.progressRoute,
	}
}

// LogLevels are the levels of a node's log: those in force, and those before.
type LogLevels struct {
	Level string `json:"level"`
	Was   string `json:"was"`
}

func changeLevels(log *slog.Logger, body []byte) (any, error) {
	var ask struct {
		Level string `json:"level"`
	}
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, api.NewError(api.CodeParse, err.Error())
	}
	levels := logs.LevelsOf(log)
	if levels == nil {
		return nil, errors.New("this node's log has fixed levels")
	}
	v := LogLevels{Was: levels.String()}
	if ask.Level != "" {
		if err := levels.Set(ask.Level); err != nil {
			return nil, api.FieldError(api.CodeInvalidParams, "level", err.Error())
		}
		log.Info("log levels changed", "level", levels.String(), "was", v.Was)
	}
	v.Level = levels.String()
	return v, nil
}

// ErrNotRunning is wrapped when no node runs on a data directory, or none that
// can be asked.
var ErrNotRunning = errors.New("no node to ask")

// Ask has the node that runs on a data directory do something: one of its admin
// routes. A node that is gone and left its file behind is [ErrNotRunning] or
// client.ErrUnreachable.
func Ask(ctx context.Context, dir, route string, params, result any) error {
	r, err := ReadRuns(dir)
	switch {
	case err != nil:
		return err
	case r.Running == nil:
		return fmt.Errorf("%w: none runs on %s", ErrNotRunning, dir)
	case r.Running.Token == "":
		return fmt.Errorf("%w: the node on %s has no RPC port", ErrNotRunning, dir)
	}
	c, err := client.New("http://" + r.Running.RPC)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Admin(ctx, r.Running.Token, route, params, result)
}
