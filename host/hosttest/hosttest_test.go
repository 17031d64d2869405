package hosttest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaizenchain/kaizen/host/hosttest"
)

// TestScenarioRewrites: with update, a file gets the outputs that its commands
// really have, and then passes; comments and commands stay.
func TestScenarioRewrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "story.txt")
	text := "# A story.\nsay hello n=3\n----\nold\noutput\n\n# Nothing comes of this.\nnothing\n----\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(*testing.T) func(*hosttest.Command) string {
		return func(c *hosttest.Command) string {
			if c.Name == "nothing" {
				return ""
			}
			return strings.Repeat(c.Arg(0)+"\n", int(c.Uint("n", 1)))
		}
	}
	hosttest.Scenarios(t, file, true, run)
	hosttest.Scenarios(t, file, false, run)
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# A story.\nsay hello n=3\n----\nhello\nhello\nhello\n\n# Nothing comes of this.\nnothing\n----\n"; string(got) != want {
		t.Errorf("the file is now\n%s\nwant\n%s", got, want)
	}
}

// connect is one connection of a network, inside a bubble.
func connect(t *testing.T, n *hosttest.Network) (client, server net.Conn) {
	l := n.Listen("a")
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	client, err := n.Dial(context.Background(), "tcp", "a")
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

func TestNetworkCarriesBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, &hosttest.Network{Buffer: 3})
		go func() {
			_, err := client.Write([]byte("more than three"))
			if err != nil {
				t.Error(err)
			}
			client.Close()
		}()
		got, err := io.ReadAll(server)
		if err != nil || string(got) != "more than three" {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("writing to a closed peer: %v", err)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading after Close: %v", err)
		}
	})
}

func TestNetworkDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connect(t, &hosttest.Network{Buffer: 3})
		began := time.Now()
		if err := client.SetDeadline(began.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("more than three")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("after %s", took)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		if _, err := (&hosttest.Network{}).Dial(context.Background(), "tcp", "nobody"); !errors.Is(err, hosttest.ErrRefused) {
			t.Errorf("dial: %v", err)
		}
	})
}

// TestNetworkFaults: lost, doubled, late, and cut.
func TestNetworkFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, &hosttest.Network{Fault: func(_, write int, toClient bool, b []byte) []hosttest.Delivery {
			switch write {
			case 0:
				return nil
			case 1:
				return []hosttest.Delivery{{Bytes: b}, {Bytes: b}}
			case 2:
				return []hosttest.Delivery{{Bytes: b, After: time.Hour}}
			}
			return []hosttest.Delivery{{Bytes: b[:1], Cut: true}}
		}})
		for _, s := range []string{"a", "b", "c", "dd"} {
			if _, err := client.Write([]byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		got, err := io.ReadAll(server)
		if err != nil || string(got) != "bbcd" || time.Since(began) != time.Hour {
			t.Errorf("%q after %s, %v", got, time.Since(began), err)
		}
	})
}
