package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest"
)

// TestFollowOverTLS: a read node follows a port that speaks TLS if it trusts its
// certificate, and says at once how to trust it if it does not.
func TestFollowOverTLS(t *testing.T) {
	g := testGenesis()
	cfg := testConfig(initDir(t, g), g)
	cfg.Sync.TLSCert, cfg.Sync.TLSKey = hosttest.Certificate(t)
	w, writer := startWriter(t, cfg, deps())
	_, addr := w.Addrs()
	h := send(t, w, "set a 1")
	for _, scheme := range []string{"wss://", "tls://"} {
		trusting := readerConfig(t, g, scheme+addr)
		trusting.Sync.TLSCA = cfg.Sync.TLSCert
		r, reader := startReader(t, trusting, deps())
		must(t, r.WaitFor(within(t), h))
		sameChain(t, w, r, h)
		reader.mustStop()
	}
	for _, scheme := range []string{"wss://", "tls://"} {
		if _, err := NewReader(within(t), readerConfig(t, g, scheme+addr), deps()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "sync.tls_ca") {
			t.Errorf("a read node that does not know the authority, at %s: %v", scheme, err)
		}
	}
	writer.mustStop()
}

// TestTLSSettings: what is wrong with the files is said before a node starts.
func TestTLSSettings(t *testing.T) {
	cert, key := hosttest.Certificate(t)
	for _, c := range []struct {
		cert, key, ca string
		want          string
	}{
		{cert, key, cert, ""},
		{"", "", "", ""},
		{cert, "", "", "go together"},
		{"", key, "", "go together"},
		{key, cert, "", "sync.tls_cert, sync.tls_key"},
		{"", "", key, "sync.tls_ca"},
		{"", "", key + ".not", "sync.tls_ca"},
	} {
		cfg := Defaults()
		cfg.Sync.TLSCert, cfg.Sync.TLSKey, cfg.Sync.TLSCA = c.cert, c.key, c.ca
		if err := cfg.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
