package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/node"
)

// A settler that runs can be asked to log more or less, by whoever may write to its
// data directory: over a socket there, one JSON object for another.
const (
	controlName    = "control.sock"
	controlTimeout = 5 * time.Second // for a question and its answer
	maxControl     = 4 << 10         // bytes of either
)

// levelQuestion asks for levels, or, empty, which there are.
type levelQuestion struct {
	Level string `json:"level"`
}

// levelAnswer has Error, or the levels.
type levelAnswer struct {
	node.LogLevels
	Error string `json:"error,omitempty"`
}

// control answers questions about the log until the listener is closed. The data
// directory is ours, so that a socket in it is one of a settler that was killed.
func control(dir string, log *slog.Logger) (net.Listener, error) {
	name := filepath.Join(dir, controlName)
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // it is closed
			}
			if err := answerLevels(conn, log); err != nil {
				log.Debug("a question about the log was not answered", "error", err)
			}
		}
	}()
	return l, nil
}

func answerLevels(conn net.Conn, log *slog.Logger) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(controlTimeout)); err != nil {
		return err
	}
	var ask levelQuestion
	if err := json.NewDecoder(io.LimitReader(conn, maxControl)).Decode(&ask); err != nil {
		return err
	}
	levels := logs.LevelsOf(log)
	answer := levelAnswer{LogLevels: node.LogLevels{Was: levels.String()}}
	if ask.Level != "" {
		if err := levels.Set(ask.Level); err != nil {
			answer.Error = err.Error()
		} else {
			log.Info("log levels changed", "level", levels.String(), "was", answer.Was)
		}
	}
	answer.Level = levels.String()
	return json.NewEncoder(conn).Encode(answer)
}

// askLevels is the other end.
func askLevels(ctx context.Context, dir, level string) (v levelAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, controlName))
	if err != nil {
		return v, cli.Hint(fmt.Errorf("no settler to ask on %s: %w", dir, err), "--data-dir names the directory of the settler that is meant")
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	if err == nil {
		err = json.NewEncoder(conn).Encode(levelQuestion{level})
	}
	if err == nil {
		err = json.NewDecoder(io.LimitReader(conn, maxControl)).Decode(&v)
	}
	if err != nil {
		return v, fmt.Errorf("the settler on %s gave no answer: %w", dir, err)
	}
	if v.Error != "" {
		err = errors.New(v.Error)
	}
	return v, err
}

func newLogLevel(std cli.IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "log-level [LEVEL]",
		Short: "Show or change what a running settler writes to its log",
		Long: "Show or change what the settler that runs on --data-dir writes to its log, until it is started again.\n" +
			"LEVEL is debug, info, warn or error.\nJSON: {level, was}.",
		Example:           "  settler log-level debug --pairs BTC/USDT\n  settler log-level --data-dir /var/lib/kaizen/settler",
		Args:              cli.Args("[LEVEL]"),
		ValidArgsFunction: cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp),
	}
	f := &flags{set: c.Flags()}
	f.addDirectory()
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		pairs, err := f.pairNames()
		if err != nil {
			return err
		}
		level := ""
		if len(args) == 1 {
			level = args[0]
			if _, err := logs.ParseLevels(level); err != nil {
				return &cli.UsageError{Command: c.CommandPath(), Err: err}
			}
		}
		v, err := askLevels(c.Context(), f.directory(pairs), level)
		if err != nil {
			return err
		}
		return out.Print(std.Out, &v.LogLevels, func(t *cli.Table) {
			t.Row("level", v.Level)
			if v.Was != v.Level {
				t.Row("was", v.Was)
			}
		})
	}
	return c
}
