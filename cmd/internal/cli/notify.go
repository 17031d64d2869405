package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
)

// States that a service manager understands (sd_notify(3)).
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
)

// NotifyUp tells the service manager that the program serves, and when it begins to
// stop. Nothing depends on the manager: what fails is logged.
func NotifyUp(ctx context.Context, log *slog.Logger) {
	tell := func(state string) {
		if err := Notify(state); err != nil {
			log.Warn("the service manager was not told", "state", state, "error", err)
		}
	}
	tell(Ready)
	context.AfterFunc(ctx, func() { tell(Stopping) })
}

// Notify tells the service manager that started the program (systemd,
// Type=notify) how far it is. Without one it does nothing.
func Notify(state string) error {
	socket := os.Getenv("NOTIFY_SOCKET") // a path, or @ and an abstract name
	if socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err == nil {
		defer c.Close()
		_, err = c.Write([]byte(state))
	}
	if err != nil {
		return fmt.Errorf("notify %s: %w", socket, err)
	}
	return nil
}
