package rpc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
)

func adminRoutes() Admin {
	return Admin{Token: "secret", Routes: map[string]AdminRoute{
		"echo": func(_ context.Context, body []byte) (any, error) { return map[string]string{"body": string(body)}, nil },
		"bad": func(context.Context, []byte) (any, error) {
			return nil, api.FieldError(api.CodeInvalidParams, "level", "loud is none")
		},
		"fail": func(context.Context, []byte) (any, error) { return nil, errors.New("disk is full") },
		"odd":  func(context.Context, []byte) (any, error) { return func() {}, nil },
	}}
}

func TestAdmin(t *testing.T) {
	w := start(t, func(o *Options) { o.Admin = adminRoutes() })
	defer w.stop()
	with := map[string]string{"Authorization": "Bearer secret"}
	for _, c := range []struct {
		method, path, body string
		header             map[string]string
		status             int
		contains           string
	}{
		{"POST", "/admin/echo", `{"a":1}`, with, 200, `{"body":"{\"a\":1}"}`},
		{"POST", "/admin/echo", "", nil, 403, "AdminOnly"},
		{"POST", "/admin/echo", "", map[string]string{"Authorization": "Bearer secrets"}, 403, "AdminOnly"},
		{"POST", "/admin/echo", "", map[string]string{"Authorization": "secret"}, 403, "AdminOnly"},
		{"POST", "/admin/echo", "", map[string]string{"Authorization": "Bearer secret", "Origin": "http://127.0.0.1:1"}, 403, ""},
		{"POST", "/admin/none", "", with, 404, "admin routes are bad, echo, fail, odd"},
		{"POST", "/admin/none", "", nil, 403, "AdminOnly"}, // what there is is not told to others
		{"GET", "/admin/echo", "", with, 405, "takes POST"},
		{"POST", "/admin/bad", "", with, 400, `"field":"level"`},
		{"POST", "/admin/fail", "", with, 400, "disk is full"},
		{"POST", "/admin/odd", "", with, 400, "unsupported type"},
		{"POST", "/admin/echo", strings.Repeat("x", maxAdminBytes+1), with, 413, "BodyTooLarge"},
	} {
		status, answer := w.do(c.method, c.path, c.body, c.header)
		if status != c.status || !strings.Contains(answer, c.contains) {
			t.Errorf("%s %s %v: HTTP %d with %.200s, want %d with %s", c.method, c.path, c.header, status, answer, c.status, c.contains)
		}
	}
}

// TestPanicOfRoute: what goes wrong beside the methods is answered and logged too,
// and a broken invariant ends the process.
func TestPanicOfRoute(t *testing.T) {
	fatal := make(chan any, 1)
	w := start(t, func(o *Options) {
		o.Fatal = func(v any) { fatal <- v }
		o.Admin = Admin{Token: "secret", Routes: map[string]AdminRoute{
			"slip":   func(context.Context, []byte) (any, error) { panic("a secret of the house") },
			"broken": func(context.Context, []byte) (any, error) { panic(invariant.Violation{Message: "two heads"}) },
		}}
	})
	defer w.stop()
	with := map[string]string{"Authorization": "Bearer secret"}
	status, answer := w.do("POST", "/admin/slip", "", with)
	if status != 500 || !strings.Contains(answer, "InternalError") || strings.Contains(answer, "secret") {
		t.Errorf("a slip: HTTP %d with %s", status, answer)
	}
	select {
	case v := <-fatal:
		t.Errorf("an ordinary panic was fatal: %v", v)
	default:
	}
	w.do("POST", "/admin/broken", "", with)
	select {
	case v := <-fatal:
		if v != any(invariant.Violation{Message: "two heads"}) {
			t.Errorf("fatal with %v", v)
		}
	default:
		t.Error("a broken invariant was swallowed")
	}
}

func TestAdminOfNobody(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	if status, answer := w.do("POST", "/admin/echo", "", map[string]string{"Authorization": "Bearer "}); status != 404 {
		t.Errorf("HTTP %d with %s", status, answer)
	}
}

// Who is on this machine: loopback, and whoever calls an address of it from the
// same address.
func TestFromHere(t *testing.T) {
	for remote, want := range map[string]bool{"127.0.0.1:5": true, "[::1]:5": true, "@": true, "10.0.0.5:9": true, "10.0.0.6:9": false, "[fe80::1]:9": false} {
		r := httptest.NewRequest("POST", "/admin/echo", nil)
		r.RemoteAddr = remote
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addrText("10.0.0.5:8545")))
		if got := fromHere(r); got != want {
			t.Errorf("%s: %v", remote, got)
		}
	}
	r := httptest.NewRequest("POST", "/admin/echo", nil) // from 192.0.2.1
	if fromHere(r) {
		t.Error("without a local address")
	}
}

type addrText string

func (addrText) Network() string  { return "tcp" }
func (a addrText) String() string { return string(a) }

func TestAdminClient(t *testing.T) {
	w := start(t, func(o *Options) { o.Admin = adminRoutes() })
	defer w.stop()
	c := w.client("http://localhost")
	var v map[string]string
	if err := c.Admin(t.Context(), "secret", "echo", map[string]int{"a": 1}, &v); err != nil || v["body"] != `{"a":1}` {
		t.Errorf("%v %v", v, err)
	}
	var refused *client.Error
	if err := c.Admin(t.Context(), "wrong", "echo", nil, &v); !errors.As(err, &refused) || refused.Code != api.CodeAdminOnly {
		t.Error(err)
	}
	if err := c.Admin(t.Context(), "secret", "bad", nil, &v); !errors.As(err, &refused) || refused.Field != "level" {
		t.Error(err)
	}
}
