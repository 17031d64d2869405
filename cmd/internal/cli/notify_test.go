package cli

import (
	"net"
	"path/filepath"
	"testing"
)

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify(Ready); err != nil {
		t.Error(err)
	}
	for _, name := range []string{filepath.Join(t.TempDir(), "n"), "@kaizen-test-" + filepath.Base(t.TempDir())} {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("NOTIFY_SOCKET", name)
		if err := Notify(Ready); err != nil {
			t.Error(err)
		}
		b := make([]byte, 64)
		n, err := c.Read(b)
		if err != nil || string(b[:n]) != "READY=1" {
			t.Errorf("%q %v", b[:n], err)
		}
		c.Close()
		if err := Notify(Stopping); err == nil {
			t.Error("nobody listens, and nothing is said of it")
		}
	}
}
