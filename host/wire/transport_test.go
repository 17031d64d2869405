package wire_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/host/follow/followtest"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/wire"
)

// onLoopback serves a chain of 120 blocks on a real port, with TLS if config is
// not nil.
func onLoopback(t *testing.T, config *tls.Config) (w *world, address string) {
	w = &world{T: t, archive: &hosttest.Archive{}, fork: followtest.NewFork("a", 200)}
	w.archive.Append(w.fork.Blocks(0, 120)...)
	w.server = wire.NewServer(w.archive, writer(), wire.Limits{}, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	if config != nil {
		l = tls.NewListener(l, config)
	}
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(w.server.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return w, address
}

// TestTransports: one port serves frames and WebSockets; inside TLS, if that is
// configured, both again. Everything above is the same.
func TestTransports(t *testing.T) {
	certFile, keyFile := hosttest.Certificate(t)
	server, err := wire.ServerTLS(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	trusting, err := wire.ClientTLS(certFile)
	if err != nil {
		t.Fatal(err)
	}
	plain, plainAddr := onLoopback(t, nil)
	secure, secureAddr := onLoopback(t, server)
	for _, c := range []struct {
		world     *world
		address   string
		transport string
	}{
		{plain, plainAddr, "tcp"}, {plain, "tcp://" + plainAddr, "tcp"}, {plain, "ws://" + plainAddr, "websocket"}, {plain, "ws://" + plainAddr + "/sync", "websocket"},
		{secure, "tls://" + secureAddr, "tcp"}, {secure, "wss://" + secureAddr, "websocket"},
	} {
		t.Run(strings.ReplaceAll(c.address, "/", "_"), func(t *testing.T) {
			client, err := wire.Dial(t.Context(), c.address, identity, wire.DialOptions{TLS: trusting, Doorbells: true, Ride: true})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			tips, _ := c.world.archive.Tips()
			f := newFollower(c.world.fork)
			if err := f.pass(client, nil); err != nil {
				t.Fatal(err)
			}
			f.contiguous(t, c.world.fork, tips.Proposed.Number)
			if d := <-client.Doorbells(); d.Tip != tips.Proposed {
				t.Errorf("doorbell %+v", d)
			}
			next := c.world.seal()
			d := <-client.Doorbells()
			if d.Tip != next || d.Block == nil {
				t.Errorf("doorbell %+v", d)
			}
			if err := f.pass(client, d.Block); err != nil {
				t.Fatal(err)
			}
			f.contiguous(t, c.world.fork, next.Number)
			var found bool
			for _, p := range c.world.server.Peers() {
				found = found || p.Transport == c.transport
			}
			if !found {
				t.Errorf("peers %+v", c.world.server.Peers())
			}
		})
	}

	t.Run("mismatches", func(t *testing.T) {
		if _, err := wire.Dial(t.Context(), "tls://"+secureAddr, identity, wire.DialOptions{}); !errors.As(err, new(*tls.CertificateVerificationError)) {
			t.Errorf("a certificate that nobody trusts: %v", err)
		}
		if _, err := wire.Dial(t.Context(), "tls://"+plainAddr, identity, wire.DialOptions{TLS: trusting}); err == nil {
			t.Error("TLS to a plain port")
		}
		if _, err := wire.Dial(t.Context(), "tcp://"+secureAddr, identity, wire.DialOptions{}); err == nil {
			t.Error("plain to a TLS port")
		}
	})
}

// TestRefusalOverWebSocket: a WebSocket is closed only after the reason has gone.
func TestRefusalOverWebSocket(t *testing.T) {
	_, address := onLoopback(t, nil)
	other := identity
	other.ChainID = 5
	if _, err := wire.Dial(t.Context(), "ws://"+address, other, wire.DialOptions{}); !errors.Is(err, wire.ErrChain) {
		t.Errorf("dial: %v", err)
	}
}

// TestOtherHTTP: what is no upgrade gets an HTTP answer, and no page of another
// site gets a connection.
func TestOtherHTTP(t *testing.T) {
	w, address := onLoopback(t, nil)
	response, err := http.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("status %s", response.Status)
	}
	_, _, err = websocket.Dial(t.Context(), "ws://"+address, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://evil.example"}}})
	if err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a page of another site: %v", err)
	}
	if got := len(w.server.Peers()); got != 0 {
		t.Errorf("%d peers", got)
	}
}

// TestTextOverWebSocket: frames are binary messages.
func TestTextOverWebSocket(t *testing.T) {
	_, address := onLoopback(t, nil)
	ws, _, err := websocket.Dial(t.Context(), "ws://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if err := ws.Write(t.Context(), websocket.MessageText, wire.Encode(hello())); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Errorf("read: %v", err)
	}
}

// TestFrameIsOneMessage: over a WebSocket each frame is one message, so that a
// client needs no reassembly.
func TestFrameIsOneMessage(t *testing.T) {
	_, address := onLoopback(t, nil)
	ws, _, err := websocket.Dial(t.Context(), "ws://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	for _, m := range []wire.Message{hello(), wire.GetTips{ID: 7}} {
		if err := ws.Write(t.Context(), websocket.MessageBinary, wire.Encode(m)); err != nil {
			t.Fatal(err)
		}
		_, b, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.Decode(wire.Type(b[4]), b[5:]); err != nil {
			t.Error(err)
		}
	}
}

func TestTLSFiles(t *testing.T) {
	certFile, keyFile := hosttest.Certificate(t)
	if _, err := wire.ServerTLS(keyFile, certFile); err == nil || !strings.Contains(err.Error(), certFile) {
		t.Errorf("files the wrong way round: %v", err)
	}
	if _, err := wire.ClientTLS(keyFile); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("an authority without certificate: %v", err)
	}
	if _, err := wire.ClientTLS(certFile + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if c, err := wire.ClientTLS(""); err != nil || c.RootCAs != nil {
		t.Errorf("the system's authorities: %v", err)
	}
}

// TestTLSOnPlainPort: the operator's log says what the peer tried.
func TestTLSOnPlainPort(t *testing.T) {
	var logged strings.Builder
	s := wire.NewServer(&hosttest.Archive{}, writer(), wire.Limits{}, slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	n := &hosttest.Network{}
	l := n.Listen(port)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := n.Dial(t.Context(), "tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	err = tls.Client(conn, &tls.Config{ServerName: "node"}).HandshakeContext(t.Context())
	if !errors.Is(err, io.EOF) {
		t.Errorf("handshake: %v", err)
	}
	if err := errors.Join(s.Close(), <-served); err != nil {
		t.Error(err)
	}
	if !strings.Contains(logged.String(), wire.ErrPeerTLS.Error()) {
		t.Errorf("logged %q", logged.String())
	}
}
