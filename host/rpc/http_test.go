package rpc

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

func TestPaths(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	for _, c := range []struct {
		method, path string
		status       int
		contains     string
	}{
		{"GET", "/", 200, "kaizen_sendTransaction"},
		{"HEAD", "/", 200, ""},
		{"GET", "/livez", 200, `{"live":true}`},
		{"GET", "/readyz", 200, `{"ready":true,"checks":[{"name":"caught_up","ok":true,"detail":"0 blocks behind"}]}`},
		{"GET", "/readyz/", 404, `"name":"PathNotFound"`},
		{"GET", "/index.html", 404, `"name":"PathNotFound"`},
		{"POST", "/livez", 405, `"name":"HTTPMethodNotAllowed"`},
		{"POST", "/ws", 405, `"name":"HTTPMethodNotAllowed"`},
		{"PUT", "/", 405, `GET, HEAD, OPTIONS, POST`},
		{"OPTIONS", "/", 204, ""},
		{"GET", "/ws", 426, `"field":"Upgrade"`},
		{"GET", "/metrics", 200, "kaizen_rpc_connections{"},
	} {
		status, header, answer := w.fetch(c.method, c.path, "", nil)
		if status != c.status || !strings.Contains(answer, c.contains) {
			t.Errorf("%s %s: HTTP %d with %.200s, want %d with %s", c.method, c.path, status, answer, c.status, c.contains)
		}
		if status == 405 && header.Get("Allow") == "" {
			t.Errorf("%s %s: 405 without Allow", c.method, c.path)
		}
		if status >= 400 && !json.Valid([]byte(answer)) {
			t.Errorf("%s %s: error is not JSON: %s", c.method, c.path, answer)
		}
	}
}

// TestPages checks that a browser gets the page and everybody else what they got
// before, behind the same checks.
func TestPages(t *testing.T) {
	said := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
	w := start(t, func(o *Options) {
		o.Pages = map[string]http.Handler{"/": said("document"), "/page/1/app.js": said("script"), "/livez": said("not ours")}
	})
	defer w.stop()
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, c := range []struct {
		method, path, accept, host string
		status                     int
		contains                   string
	}{
		{"GET", "/", browser, "", 200, "document"},
		{"GET", "/", "*/*", "", 200, "kaizen_sendTransaction"},
		{"GET", "/", "", "", 200, "kaizen_sendTransaction"},
		{"GET", "/page/1/app.js", "*/*", "", 200, "script"},
		{"GET", "/page/2/app.js", "*/*", "", 404, `"name":"PathNotFound"`},
		{"GET", "/page/1/", browser, "", 404, `"name":"PathNotFound"`},
		{"POST", "/page/1/app.js", browser, "", 405, `"name":"HTTPMethodNotAllowed"`},
		{"GET", "/livez", browser, "", 200, `{"live":true}`},
		{"GET", "/", browser, "evil.example", 403, `"name":"HostNotAllowed"`},
		{"GET", "/page/1/app.js", browser, "evil.example", 403, `"name":"HostNotAllowed"`},
	} {
		header := map[string]string{"Accept": c.accept}
		if c.host != "" {
			header["Host"] = c.host
		}
		status, got, answer := w.fetch(c.method, c.path, "", header)
		if status != c.status || !strings.Contains(answer, c.contains) {
			t.Errorf("%s %s for %q: HTTP %d with %.200s, want %d with %s", c.method, c.path, c.accept, status, answer, c.status, c.contains)
		}
		if c.path == "/" && status == 200 && got.Get("Vary") != "Accept" {
			t.Errorf("GET / for %q: Vary is %q", c.accept, got.Get("Vary"))
		}
	}
}

func TestReadiness(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	w.node.checks = append(w.node.checks, api.Check{Name: "oracle_fresh", Detail: "3100 ms old, limit 3000"})
	status, answer := w.do("GET", "/readyz", "", nil)
	if status != http.StatusServiceUnavailable || !strings.HasPrefix(answer, `{"ready":false,"checks":[{"name":"caught_up","ok":true,`) || !strings.Contains(answer, `"name":"oracle_fresh","ok":false,"detail":"3100 ms old, limit 3000"`) {
		t.Errorf("HTTP %d with %s", status, answer)
	}
	w.node.checks = nil
	if status, answer := w.do("GET", "/readyz", "", nil); status != 200 || answer != `{"ready":true,"checks":[]}` {
		t.Errorf("HTTP %d with %s", status, answer)
	}
}

func TestHostsAndOrigins(t *testing.T) {
	public := func(o *Options) {}
	named := func(o *Options) {
		o.AllowedHosts, o.AllowedOrigins = []string{"node.example"}, []string{"https://app.example"}
	}
	anything := func(o *Options) { o.AllowedHosts, o.AllowedOrigins = []string{"*"}, []string{"*"} }
	for _, c := range []struct {
		name         string
		options      func(*Options)
		host, origin string
		want         api.Code
		granted      string
	}{
		{"localhost", public, "localhost:8545", "", 0, ""},
		{"address", public, "127.0.0.1:8545", "", 0, ""},
		{"IPv6 address", public, "[::1]", "", 0, ""},
		{"rebound name", public, "evil.example:8545", "", api.CodeHostNotAllowed, ""},
		{"rebound name with its own origin", public, "evil.example", "http://evil.example", api.CodeHostNotAllowed, ""},
		{"name not in the list", named, "other.example", "", api.CodeHostNotAllowed, ""},
		{"name in the list", named, "Node.Example:8545", "", 0, ""},
		{"localhost beside a list", named, "localhost", "", 0, ""},
		{"any name", anything, "evil.example", "", 0, ""},
		{"foreign page", public, "localhost:8545", "https://app.example", api.CodeOriginNotAllowed, ""},
		{"page from a file", public, "localhost:8545", "null", api.CodeOriginNotAllowed, ""},
		{"own page", public, "localhost:8545", "http://localhost:8545", 0, ""},
		{"page of another port", public, "localhost:8545", "http://localhost:3000", api.CodeOriginNotAllowed, ""},
		{"page in the list", named, "localhost", "https://app.example", 0, "https://app.example"},
		{"page not in the list", named, "localhost", "https://app.example.evil", api.CodeOriginNotAllowed, ""},
		{"any page", anything, "localhost", "https://x.example", 0, "https://x.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := start(t, c.options)
			defer w.stop()
			header := map[string]string{"Host": c.host}
			if c.origin != "" {
				header["Origin"] = c.origin
			}
			status, got, answer := w.fetch("POST", "/", goodCall, header)
			if c.want == 0 {
				wantAnswer(t, answer)
			} else if wantCode(t, answer, c.want); status != http.StatusForbidden {
				t.Errorf("HTTP %d", status)
			}
			if got.Get("Access-Control-Allow-Origin") != c.granted {
				t.Errorf("granted %q, want %q", got.Get("Access-Control-Allow-Origin"), c.granted)
			}
			_, preflight, _ := w.fetch("OPTIONS", "/", "", header)
			if (preflight.Get("Access-Control-Allow-Methods") != "") != (c.granted != "") {
				t.Errorf("preflight: %v", preflight)
			}
			// A WebSocket is not subject to the browser's own check: ours is all there is.
			status, _, _ = w.fetch("GET", "/ws", "", header)
			if (status == http.StatusForbidden) != (c.want != 0) {
				t.Errorf("/ws: HTTP %d", status)
			}
		})
	}
}

// TestPublicListener checks that a node that listens on other than loopback, with
// no list of hosts, answers to any name: a compose file's service name, say.
func TestPublicListener(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	w.net.local = tcp("10.1.2.3")
	_, answer := w.do("POST", "/", goodCall, map[string]string{"Host": "write-node:8545"})
	wantAnswer(t, answer)
}

func TestHelpRepeatsNoMarkup(t *testing.T) {
	w := start(t, func(o *Options) { o.AllowedHosts = []string{"*"} })
	defer w.stop()
	_, header, answer := w.fetch("GET", "/", "", map[string]string{"Host": "a'b"})
	if strings.Contains(answer, "a'b") || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("%v %s", header, answer)
	}
}

func TestMetrics(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	w.post(goodCall)
	w.post(`{"jsonrpc":"2.0","id":1,"method":"kaizen_sendTransaction","params":["0x01"]}`)
	w.post(`{"jsonrpc":"2.0","id":1,"method":"anything at all"}`)
	w.post(`{`)
	for _, c := range []struct {
		code, method string
		want         float64
	}{
		{"0", "kaizen_getMarkets", 1}, {"1001", "kaizen_sendTransaction", 1}, {"0", "kaizen_sendTransaction", 0}, {"-32601", "unknown", 1}, {"-32700", "unknown", 1},
	} {
		if got := w.metric("kaizen_rpc_requests_total", c.code, c.method); got != c.want {
			t.Errorf("%s code %s counted %v times, want %v", c.method, c.code, got, c.want)
		}
	}
}
