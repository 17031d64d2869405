package cli

import (
	"io"
	"log/slog"

	"github.com/kaizenchain/kaizen/host/node"
)

// NewLogger makes the program's logger; cfg has been checked.
func NewLogger(w io.Writer, cfg node.LogConfig) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
