package cli

import (
	"io"
	"log/slog"
	"strings"

	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/node"
)

// LevelsAccepted is what a level of the log may be, for people.
var LevelsAccepted = "debug, info, warn or error, and levels of components: info,store=debug (components: " + strings.Join(logs.Components, ", ") + ")"

// NewLogger makes the program's logger; cfg has been checked.
func NewLogger(w io.Writer, cfg node.LogConfig) *slog.Logger {
	levels, err := logs.ParseLevels(cfg.Level)
	invariant.Hold(err == nil, "log level %q was not checked", cfg.Level)
	return logs.New(w, cfg.Format, levels)
}
