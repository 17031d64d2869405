package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Address is where a sync port is and how to talk to it.
type Address struct {
	WebSocket bool
	TLS       bool
	Host      string // host:port
	Path      string // of a WebSocket, "/" by default
}

// ParseAddress reads host:port, tcp://host:port, ws://host:port, tls://host:port
// and wss://host:port.
func ParseAddress(s string) (Address, error) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "tcp", s
	}
	var a Address
	switch scheme {
	case "tcp":
	case "tls":
		a.TLS = true
	case "ws":
		a.WebSocket = true
	case "wss":
		a.WebSocket, a.TLS = true, true
	default:
		return a, fmt.Errorf("%w: %q: scheme %q, want tcp, ws, tls or wss", ErrAddress, s, scheme)
	}
	u, err := url.Parse("any://" + rest)
	if err != nil {
		return a, fmt.Errorf("%w: %q: want host:port: %w", ErrAddress, s, err)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || !a.WebSocket && u.Path != "" {
		return a, fmt.Errorf("%w: %q: want nothing but host:port", ErrAddress, s)
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 || u.Hostname() == "" {
		return a, fmt.Errorf("%w: %q: want host:port with a port of 1 to 65535, such as localhost:9000", ErrAddress, s)
	}
	a.Host, a.Path = net.JoinHostPort(u.Hostname(), u.Port()), "/"
	if u.Path != "" {
		a.Path = u.Path
	}
	return a, nil
}

// String is the address as [ParseAddress] takes it.
func (a Address) String() string {
	scheme := [2][2]string{{"tcp", "tls"}, {"ws", "wss"}}[index(a.WebSocket)][index(a.TLS)]
	if a.WebSocket && a.Path != "/" {
		return scheme + "://" + a.Host + a.Path
	}
	return scheme + "://" + a.Host
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ClientTLS is the configuration for tls:// and wss:// addresses whose
// certificate is signed by the authority in a PEM file; with an empty name, by
// one that the system trusts.
func ClientTLS(caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority %s: no certificate in PEM form", caFile)
	}
	return config, nil
}

// ServerTLS is the configuration of a listener, to be given to [tls.NewListener]:
// every connection to it is then TLS, with frames or a WebSocket inside.
func ServerTLS(certFile, keyFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s, key %s: %w", certFile, keyFile, err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}, nil
}
