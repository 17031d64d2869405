package solver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// Handler is the HTTP interface.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/quote", s.post(func(ctx context.Context, body []byte) (any, error) {
		var r QuoteRequest
		if err := decode(body, &r, "user", "pair", "lower", "upper", "bet_amount"); err != nil {
			return nil, err
		}
		return s.quote(ctx, &r)
	}))
	mux.Handle("/accept", s.post(func(ctx context.Context, body []byte) (any, error) {
		var r AcceptRequest
		if err := decode(body, &r, "quote", "user_signature"); err != nil {
			return nil, err
		}
		return s.accept(ctx, &r)
	}))
	mux.Handle("/info", s.get(func(ctx context.Context) (int, any, error) {
		v, err := s.info(ctx)
		return http.StatusOK, v, err
	}))
	mux.Handle("/health", s.get(func(ctx context.Context) (int, any, error) {
		h := s.health(ctx)
		if h.Status != "ok" {
			return http.StatusServiceUnavailable, h, nil
		}
		return http.StatusOK, h, nil
	}))
	mux.Handle("/", s.get(func(context.Context) (int, any, error) {
		return 0, nil, refuse(http.StatusNotFound, NotFound, "", "there is POST /quote, POST /accept, GET /info and GET /health")
	}))
	return mux
}

func (s *Server) post(answer func(context.Context, []byte) (any, error)) http.Handler {
	return s.guard(http.MethodPost, func(w http.ResponseWriter, r *http.Request) (int, any, error) {
		// A web page may not send this type to another site unasked.
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return 0, nil, refuse(http.StatusUnsupportedMediaType, InvalidRequest, "", "want Content-Type: application/json")
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return 0, nil, refuse(http.StatusRequestEntityTooLarge, InvalidRequest, "", fmt.Sprintf("body of more than %d bytes", maxBodyBytes))
		}
		if err != nil {
			return 0, nil, refuse(http.StatusBadRequest, InvalidRequest, "", "the body did not arrive")
		}
		v, err := answer(r.Context(), body)
		return http.StatusOK, v, err
	})
}

func (s *Server) get(answer func(context.Context) (int, any, error)) http.Handler {
	return s.guard(http.MethodGet, func(_ http.ResponseWriter, r *http.Request) (int, any, error) { return answer(r.Context()) })
}

// guard applies what holds for every path, and writes the answer.
func (s *Server) guard(method string, answer func(http.ResponseWriter, *http.Request) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, v, err := 0, any(nil), error(nil)
		select {
		case s.busy <- struct{}{}:
			defer func() { <-s.busy }()
			switch {
			case r.Method != method:
				w.Header().Set("Allow", method)
				err = refuse(http.StatusMethodNotAllowed, MethodNotAllowed, "", r.URL.Path+" takes "+method)
			case !s.limit.allow(r.RemoteAddr, s.opts.Clock()):
				err = refuse(http.StatusTooManyRequests, RateLimited, "", fmt.Sprintf("more than %d calls per second", s.opts.Rate))
			default:
				status, v, err = answer(w, r)
			}
		default:
			err = refuse(http.StatusServiceUnavailable, Busy, "", fmt.Sprintf("%d requests are under way", maxConcurrent))
		}
		if err != nil {
			e := explain(err)
			// A caller who has gone away, or a solver that stops, is nobody's fault.
			if e.Name == InternalError && r.Context().Err() == nil {
				s.opts.Log.Error("request failed", "path", r.URL.Path, "error", err)
			}
			status, v = e.Status, map[string]*Error{"error": e}
		}
		write(w, status, v)
	})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // whoever asked has gone
}

// decode reads one JSON object without members that to does not have, and with
// all those that it must have.
func decode(body []byte, to any, required ...string) error {
	var have map[string]json.RawMessage
	if err := json.Unmarshal(body, &have); err != nil {
		return refuse(http.StatusBadRequest, InvalidRequest, "", fmt.Sprintf("not a JSON object: %.200v", err))
	}
	for _, name := range required {
		if v, ok := have[name]; !ok || string(v) == "null" {
			return refuse(http.StatusBadRequest, InvalidRequest, name, "is missing")
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return refuse(http.StatusBadRequest, InvalidRequest, "", fmt.Sprintf("%.200v", err))
	}
	return nil
}
