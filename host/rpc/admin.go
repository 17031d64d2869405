package rpc

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// AdminRoute is one thing that an operator may ask of the running node: POST
// /admin/NAME. It gets the body and returns what its answer is as JSON. An
// [api.Error] is answered as it is, any other error with its text: whoever asks
// here may know.
type AdminRoute func(ctx context.Context, body []byte) (any, error)

// Admin is what a node serves to whoever can read its data directory. It answers
// connections from this machine only, and only those that present the token: a
// proxy on this machine would make everybody local, and any page in a browser can
// post to loopback.
type Admin struct {
	Token  string // empty: there are no routes
	Routes map[string]AdminRoute
}

const (
	pathAdmin = "/admin/"
	// maxAdminBytes bounds the body of an admin request, bytes.
	maxAdminBytes = 64 << 10
	bearer        = "Bearer "
)

// serveAdmin answers one request of an operator. It may last: a snapshot does.
func (s *Server) serveAdmin(w http.ResponseWriter, r *http.Request) {
	if e := s.checkAdmin(r); e != nil {
		writeError(w, e)
		return
	}
	route := s.admin.Routes[strings.TrimPrefix(r.URL.Path, pathAdmin)]
	switch {
	case route == nil:
		writeError(w, api.NewError(api.CodePathNotFound, sprintf("%.80q; admin routes are %s", r.URL.Path, strings.Join(s.adminNames(), ", "))))
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, api.NewError(api.CodeHTTPMethod, sprintf("%.16q; an admin route takes POST", r.Method)))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminBytes))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		writeError(w, api.NewError(api.CodeBodyTooLarge, limitDetail("bytes", maxAdminBytes)))
		return
	case err != nil:
		s.writeReadError(w, err)
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
		s.log.Debug("an admin request keeps its deadline", "error", err)
	}
	s.runAdmin(w, r, route, body)
}

func (s *Server) runAdmin(w http.ResponseWriter, r *http.Request, route AdminRoute, body []byte) {
	s.log.Info("admin", "route", r.URL.Path)
	v, err := route(r.Context(), body)
	if err == nil {
		b, failed := json.Marshal(v)
		if failed == nil {
			writeAnswer(w, http.StatusOK, b)
			return
		}
		err = failed
	}
	var e *api.Error
	if !errors.As(err, &e) {
		e = api.NewError(api.CodeInternal, err.Error())
	}
	status := httpStatus(e)
	if status == http.StatusOK { // as JSON-RPC answers; here the status is what scripts look at
		status = http.StatusBadRequest
	}
	writeStatus(w, status, e)
}

// checkAdmin says why the caller is not the operator.
func (s *Server) checkAdmin(r *http.Request) *api.Error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer)
	switch {
	case s.admin.Token == "":
		return api.NewError(api.CodePathNotFound, "this node has no admin routes")
	case !fromHere(r):
		return api.NewError(api.CodeAdminOnly, "not from this machine")
	case r.Header.Get("Origin") != "":
		return api.NewError(api.CodeAdminOnly, "not from a web page")
	case !ok || subtle.ConstantTimeCompare([]byte(token), []byte(s.admin.Token)) != 1:
		return api.NewError(api.CodeAdminOnly, "not without the token of the node's data directory")
	}
	return nil
}

// fromHere reports whether a connection is one of this machine with itself: over
// loopback, or over the very address that it was made to.
func fromHere(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || remote.Addr().Unmap().IsLoopback() {
		return true // an address that is none is a pipe's
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap() == remote.Addr().Unmap()
}

func (s *Server) adminNames() []string {
	var names []string
	for name := range s.admin.Routes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
